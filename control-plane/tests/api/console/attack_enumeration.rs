//! Who has an account is not to be learned: neither from what is said, nor from the work that is done to say it.

use std::time::Duration;

use axum::body::Body;
use control_plane::app::{Parts, router};
use control_plane::login::{Mail, Passwords};
use service::Drain;
use sqlx::PgPool;

use super::browser::{Browser, PASSWORD};
use super::markup;
use crate::app::{Answer, App};

const OLIVE: &str = "olive@acme.example";
/// Was added to a workspace, and has never chosen a password.
const ADDED: &str = "added@acme.example";
/// Was asked in by a mail that waits.
const ASKED: &str = "asked@acme.example";
/// As long as the others: a page says its length.
const NOBODY: &str = "noone@acme.example";

/// A deployment that sends its mails, to a server that takes none.
async fn app(pool: &PgPool) -> App {
    let mut app = App::new(pool).await;
    let mail = Mail::smtp("smtp://127.0.0.1:1", "sluice@console.example", Drain::new()).unwrap();
    app.parts = Parts { mail, ..app.parts };
    app.router = router(&app.parts);
    app
}

/// All that somebody gets to see: the status, every header, and the page without the address they gave themselves.
fn seen(answer: &Answer, email: &str) -> String {
    format!("{} {:#?} {}", answer.status, answer.headers, answer.text.replace(email, "…"))
}

async fn with_people(app: &App) -> Browser<'_> {
    let (owner, person) = Browser::of_owner(app).await;
    let added = serde_json::json!({"email": ADDED, "name": "Added", "role": "member"});
    app.post(&person, "/tenants/acme/members", added).await.expect(201);
    owner.get("/w/acme/people/invite").await.expect(200);
    owner.post("/w/acme/people/invite", &[("email", ASKED), ("role", "member")]).await.expect(303);
    owner
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn every_open_form_answers_the_same_whoever_is_named(pool: PgPool) {
    let app = app(&pool).await;
    let owner = with_people(&app).await;
    owner.get("/account").await.expect(200);
    let visitor = Browser::new(&app);
    for path in ["/sign-in", "/sign-up", "/forgot", "/account/email"] {
        let sender = if path.starts_with("/account") { &owner } else { &visitor };
        let ask = async |email: &'static str, by_htmx: bool| {
            let password = if path == "/sign-in" { "wrong wrong wrong" } else { PASSWORD };
            let fields = [("email", email), ("password", password), ("present", PASSWORD)];
            let answer = if by_htmx { sender.post_part(path, &fields).await } else { sender.post(path, &fields).await };
            seen(&answer, email)
        };
        for by_htmx in [false, true] {
            let nobody = ask(NOBODY, by_htmx).await;
            for email in [OLIVE, ADDED, ASKED] {
                assert_eq!(ask(email, by_htmx).await, nobody, "{path} {email}");
            }
        }
    }
    // Neither does it show once there were too many of them.
    for email in [OLIVE, NOBODY] {
        for _ in 0..12 {
            visitor.post("/sign-in", &[("email", email), ("password", "wrong wrong wrong")]).await;
            visitor.post("/forgot", &[("email", email)]).await.expect(200);
        }
    }
    for path in ["/sign-in", "/forgot", "/sign-up"] {
        let ask = async |email| {
            seen(&visitor.post(path, &[("email", email), ("password", "wrong wrong wrong")]).await, email)
        };
        assert_eq!(ask(OLIVE).await, ask(NOBODY).await, "{path}");
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn as_much_work_is_done_for_nobody_as_for_somebody(pool: PgPool) {
    let app = app(&pool).await;
    with_people(&app).await;
    let passwords = &app.parts.passwords;
    let visitor = Browser::new(&app);
    let work = async |path: &'static str, email: &'static str| {
        let before = passwords.worked();
        visitor.post(path, &[("email", email), ("password", "wrong wrong wrong")]).await;
        passwords.worked() - before
    };
    for email in [OLIVE, ADDED, ASKED, NOBODY] {
        assert_eq!(work("/sign-in", email).await, 1, "{email}");
        assert_eq!(work("/sign-up", email).await + work("/forgot", email).await, 0, "{email}");
    }
    // Nor is anything worked out for whoever is refused by their number of tries.
    for email in [OLIVE, NOBODY] {
        for _ in 0..9 {
            assert_eq!(work("/sign-in", email).await, 1, "{email}");
        }
        assert_eq!(work("/sign-in", email).await, 0, "{email}");
    }
}

/// How long an answer takes tells nothing either: whoever asks has it before anybody's account is looked for.
#[sqlx::test(migrator = "store::MIGRATOR")]
async fn an_address_is_looked_for_after_the_answer(pool: PgPool) {
    let mut app = app(&pool).await;
    with_people(&app).await;
    let links = async || -> Vec<(String, String)> {
        let mut tx = pool.begin_with("begin; set local role sluice_platform").await.unwrap();
        sqlx::query_as("select purpose, email from mail_links").fetch_all(&mut *tx).await.unwrap()
    };
    for (path, emails, due) in
        [("/sign-up", [OLIVE, ASKED], ("sign_up", ASKED)), ("/forgot", [OLIVE, NOBODY], ("reset", OLIVE))]
    {
        let drain = Drain::new();
        let mail = Mail::smtp("smtp://127.0.0.1:1", "sluice@console.example", drain.clone()).unwrap();
        app.parts = Parts { mail, ..app.parts };
        app.router = router(&app.parts);
        let visitor = Browser::new(&app);
        let before = links().await;
        // Whoever looks for an account waits until this is over.
        let mut other = pool.begin().await.unwrap();
        sqlx::raw_sql("lock table users").execute(&mut *other).await.unwrap();
        for email in emails {
            let answer = tokio::time::timeout(Duration::from_secs(20), visitor.post(path, &[("email", email)])).await;
            answer.unwrap_or_else(|_| panic!("{path} waits for what is known of {email}")).expect(200);
        }
        assert_eq!(links().await, before, "nothing is done yet");
        other.commit().await.unwrap();
        // Then it is: a link for whom one is due, and for nobody else.
        drain.finish(Duration::from_secs(20)).await.unwrap();
        let mut after = links().await;
        after.retain(|link| !before.contains(link));
        assert_eq!(after, [(due.0.to_owned(), due.1.to_owned())], "{path}");
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn without_a_mail_server_nothing_is_worked_out_for_anybody(pool: PgPool) {
    let mut app = App::new(&pool).await;
    app.parts = Parts { mail: Mail::none(), ..app.parts };
    app.router = router(&app.parts);
    with_people(&app).await;
    let visitor = Browser::new(&app);
    let links = async || -> i64 {
        let mut tx = pool.begin_with("begin; set local role sluice_platform").await.unwrap();
        sqlx::query_scalar("select count(*) from mail_links").fetch_one(&mut *tx).await.unwrap()
    };
    let before = links().await;
    for path in ["/sign-up", "/forgot"] {
        let nobody = seen(&visitor.post(path, &[("email", NOBODY)]).await.expect(200), NOBODY);
        assert!(nobody.contains("No mail could be sent") && !nobody.contains("We wrote to"), "{nobody}");
        for email in [OLIVE, ADDED, ASKED] {
            assert_eq!(seen(&visitor.post(path, &[("email", email)]).await, email), nobody, "{path} {email}");
            assert_eq!(links().await, before, "{path} {email}: a link that nobody is sent");
        }
    }
    // Nor does the time tell: nobody's account is even looked for, which this takes away.
    sqlx::raw_sql("alter table users rename to users_elsewhere").execute(&pool).await.unwrap();
    for path in ["/sign-up", "/forgot"] {
        visitor.post(path, &[("email", OLIVE)]).await.expect(200);
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn another_address_in_a_header_is_no_other_address(pool: PgPool) {
    let app = app(&pool).await;
    with_people(&app).await;
    let tried = async |number: u32| {
        let form = format!("email=n{number}%40acme.example&password=wrong+wrong+wrong");
        let mut request = Browser::form("/sign-in");
        for name in ["x-forwarded-for", "x-real-ip", "forwarded", "true-client-ip", "cf-connecting-ip"] {
            request = request.header(name, format!("198.51.100.{}", number % 250));
        }
        let answer = app.answer(request.body(Body::from(form)).unwrap()).await;
        answer.status.as_u16()
    };
    let mut answers = Vec::new();
    for number in 0..105 {
        answers.push(tried(number).await);
    }
    let count = |status| answers.iter().filter(|one| **one == status).count();
    assert_eq!((count(422), count(429)), (100, 5));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn one_visitor_has_only_so_many_mails_sent(pool: PgPool) {
    let app = App::new(&pool).await;
    app.owner().await;
    let visitor = Browser::new(&app);
    let mut shown = 0;
    for number in 0..35 {
        let email = format!("victim{number}@acme.example");
        let path = if number % 2 == 0 { "/forgot" } else { "/sign-up" };
        shown += usize::from(
            visitor.post(path, &[("email", &email)]).await.expect(200).text.contains("class=\"card-body mail\""),
        );
    }
    assert_eq!(shown, 30);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn an_address_that_would_be_two_or_look_like_another_is_none(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, _) = Browser::of_owner(&app).await;
    let visitor = Browser::new(&app);
    for email in [
        "ana@acme.example\r\nBcc: all@acme.example",
        "ana@acme.example,eve@evil.example",
        "ana@acme.example;eve@evil.example",
        "Ana <eve@evil.example>",
        "<eve@evil.example>",
        "\"ana@acme.example\"@evil.example",
        "ana@acme.example(@evil.example",
        "ana\u{202e}@acme.example",
        "ana\u{200b}@acme.example",
        "ana@acme.example\u{feff}x",
        "ana@acme..example",
        "@acme.example",
        "ana",
    ] {
        for path in ["/sign-up", "/forgot"] {
            let answer = visitor.post(path, &[("email", email)]).await.expect(422);
            assert!(markup::text(&answer.text).contains("This is no e-mail address."), "{email:?}");
        }
        owner.get("/w/acme/people/invite").await.expect(200);
        owner.post("/w/acme/people/invite", &[("email", email), ("role", "member")]).await.expect(422);
    }
}

/// The password that counts is of the account that is meant, however it is written.
#[sqlx::test(migrator = "store::MIGRATOR")]
async fn one_address_written_in_other_ways_is_one_account_and_one_count(pool: PgPool) {
    let app = App::new(&pool).await;
    app.owner().await;
    Browser::of(&app, OLIVE).await;
    let visitor = Browser::new(&app);
    let ways = [" olive@acme.example", "OLIVE@ACME.EXAMPLE", "Olive@acme.example\t"];
    for number in 0..10 {
        visitor.post("/sign-in", &[("email", ways[number % 3]), ("password", "wrong wrong wrong")]).await.expect(422);
    }
    visitor.post("/sign-in", &[("email", OLIVE), ("password", PASSWORD)]).await.expect(429);
}

/// With how many samples of each: `cargo test … -- --nocapture samples` says how long they took.
const ROUNDS: usize = 8;

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn samples_of_how_long_signing_in_takes_overlap(pool: PgPool) {
    let mut app = app(&pool).await;
    app.parts = Parts { passwords: Passwords::default(), ..app.parts };
    app.router = router(&app.parts);
    with_people(&app).await;
    let visitor = Browser::new(&app);
    let mut took: [Vec<f64>; 3] = Default::default();
    for round in 0..ROUNDS {
        for (place, email) in [OLIVE, ADDED, NOBODY].into_iter().enumerate() {
            let began = std::time::Instant::now();
            visitor.post("/sign-in", &[("email", email), ("password", "wrong wrong wrong")]).await.expect(422);
            took[place].push(began.elapsed().as_secs_f64() * 1e3);
        }
        if round % 4 == 3 {
            // The limits are not what is measured.
            let mut tx = pool.begin_with("begin; set local role sluice_platform").await.unwrap();
            sqlx::query("delete from attempts").execute(&mut *tx).await.unwrap();
            tx.commit().await.unwrap();
        }
    }
    for (samples, who) in took.iter_mut().zip(["with a password", "without one", "nobody"]) {
        samples.sort_by(f64::total_cmp);
        let at = |share: usize| samples[(samples.len() - 1) * share / 100];
        println!("{who}: {} samples, p5 {:.1} ms, median {:.1} ms, p95 {:.1} ms", samples.len(), at(5), at(50), at(95));
    }
    // Without the work for nobody they would be apart altogether.
    assert!(took[2][0] < took[0][took[0].len() - 1] && took[0][0] < took[2][took[2].len() - 1], "{took:?}");
}
