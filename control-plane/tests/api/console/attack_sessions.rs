//! Sessions: what begins one, what ends it, and what is done with one that somebody stole, planted or raced for.

use axum::body::Body;
use axum::http::{Request, header};
use futures_util::StreamExt as _;
use sqlx::PgPool;
use tower::ServiceExt as _;

use super::browser::{Browser, PASSWORD};
use super::routes::OTHER_PASSWORD;
use super::sign_up::mailed;
use crate::app::App;

const OLIVE: &str = "olive@acme.example";
const MEI: &str = "mei@acme.example";
const COOKIE: &str = "__Host-sluice_session";

/// A browser of somebody who has come by another's cookie.
fn thief<'a>(app: &'a App, browser: &Browser<'_>) -> Browser<'a> {
    let thief = Browser::new(app);
    thief.set_cookie(COOKIE, &browser.session().unwrap());
    thief
}

async fn as_platform(pool: &PgPool) -> sqlx::Transaction<'static, sqlx::Postgres> {
    pool.begin_with("begin; set local role sluice_platform").await.unwrap()
}

/// How many sessions there are.
async fn sessions(pool: &PgPool) -> i64 {
    let mut tx = as_platform(pool).await;
    sqlx::query_scalar("select count(*) from login_sessions").fetch_one(&mut *tx).await.unwrap()
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_stolen_cookie_is_worth_nothing_after_whatever_ends_sessions(pool: PgPool) {
    let app = App::new(&pool).await;
    app.owner().await;
    for way in [
        "/sign-out",
        "/sign-in",
        "/account/password",
        "/account/email/",
        "/reset/",
        "end",
        "/account/sessions/end-others",
    ] {
        let owner = Browser::of(&app, OLIVE).await;
        let other = Browser::of(&app, OLIVE).await;
        // The last two leave the session in which it is done.
        let stolen = if way.contains("end") { &other } else { &owner };
        let thief = thief(&app, stolen);
        thief.get("/account").await.expect(200);
        let page = owner.get("/account").await.expect(200);
        let of_other = page.text.split('"').find(|part| part.starts_with("/account/sessions/ses_"));
        match way {
            "/sign-in" => owner.post(way, &[("email", OLIVE), ("password", PASSWORD)]).await.expect(303),
            "/account/password" => {
                owner.post(way, &[("present", PASSWORD), ("password", OTHER_PASSWORD)]).await.expect(303)
            }
            "/account/email/" => {
                let there = owner.post("/account/email", &[("present", PASSWORD), ("email", "o@new.example")]).await;
                owner.post(&mailed(&there), &[]).await.expect(303);
                owner.get("/account").await.expect(200);
                let back = owner.post("/account/email", &[("present", PASSWORD), ("email", OLIVE)]).await;
                owner.post(&mailed(&back), &[]).await.expect(303)
            }
            "/reset/" => {
                let path = mailed(&owner.post("/forgot", &[("email", OLIVE)]).await);
                owner.post(&path, &[("password", OTHER_PASSWORD)]).await.expect(303)
            }
            "end" => owner.post(of_other.unwrap(), &[]).await.expect(303),
            path => owner.post(path, &[]).await.expect(303),
        };
        assert!(way.contains("end") || owner.session() != thief.session(), "{way}");
        thief.get("/account").await.expect(303);
        let mut tx = as_platform(&pool).await;
        sqlx::query("delete from login_sessions").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_session_that_was_planted_ends_when_its_victim_signs_in(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    app.member(&person, MEI, "member").await;
    let attacker = Browser::of(&app, MEI).await;
    // The attacker's own cookie, put into the victim's browser: what the victim does must not be the attacker's to see.
    let victim = thief(&app, &attacker);
    victim.get("/account").await.expect(200);
    victim.post("/sign-in", &[("email", OLIVE), ("password", PASSWORD)]).await.expect(303);
    attacker.get("/account").await.expect(303);
    assert!(victim.get("/account").await.expect(200).text.contains(OLIVE));
    owner.get("/account").await.expect(200);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn nothing_but_the_cookie_is_a_session(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, _) = Browser::of_owner(&app).await;
    let secret = owner.session().unwrap();
    let get = |path: String| Request::get(path).header("sec-fetch-site", "none");
    for request in [
        get(format!("/account?{COOKIE}={secret}")),
        get("/account".to_owned()).header(header::AUTHORIZATION, format!("Bearer {secret}")),
        get("/account".to_owned()).header("x-session", &secret),
        get("/account".to_owned()).header(header::COOKIE, format!("sluice_session={secret}")),
        get("/account".to_owned()).header(header::COOKIE, format!("{COOKIE}={secret}; {COOKIE}=0")),
        get("/account".to_owned()).header(header::COOKIE, format!("{COOKIE}={}", secret.to_uppercase())),
        get("/account".to_owned()).header(header::COOKIE, format!("{COOKIE}={secret} ' or 1=1 --")),
    ] {
        let answer = app.answer(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
    }
    owner.get("/account").await.expect(200);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_sign_in_that_meets_a_change_of_password_begins_no_session_with_the_old_one(pool: PgPool) {
    let app = App::new(&pool).await;
    app.owner().await;
    Browser::of(&app, OLIVE).await.post("/sign-out", &[]).await;
    // Somebody's change of the password is under way: it has ended all sessions, and is not through yet.
    let mut changing = as_platform(&pool).await;
    let mut now = store::PlatformTx::begin(&pool).await.unwrap();
    let account = store::accounts::find(&mut now, OLIVE).await.unwrap().unwrap();
    drop(now);
    for statement in [
        "update passwords set phc = '$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' where user_id = $1",
        "select 1 from users where user_id = $1 for update",
        "delete from login_sessions where user_id = $1",
    ] {
        sqlx::query(statement).bind(account.user.uuid()).execute(&mut *changing).await.unwrap();
    }
    let browser = Browser::new(&app);
    let fields = [("email", OLIVE), ("password", PASSWORD)];
    let (answer, ()) = tokio::join!(browser.post("/sign-in", &fields), async {
        until_somebody_waits(&pool).await;
        changing.commit().await.unwrap();
    });
    answer.expect(422);
    assert_eq!((browser.session(), sessions(&pool).await), (None, 0));
}

/// Until a statement of this database waits for another's lock; that it never does shows as the test not ending in time.
async fn until_somebody_waits(pool: &PgPool) {
    let waiting =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    let look = async {
        while sqlx::query_scalar::<_, i64>(waiting).fetch_one(pool).await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), look).await.unwrap();
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn all_other_sessions_end_however_many_there_are(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, _) = Browser::of_owner(&app).await;
    let mut tx = as_platform(&pool).await;
    let more = "insert into login_sessions (session_id, digest, user_id, created_at, seen_at, ends_at, agent, address)
        select gen_random_uuid(), sha256(n::text::bytea), user_id, created_at, seen_at - make_interval(mins => n),
            ends_at, agent, address from login_sessions, generate_series(1, 150) n";
    sqlx::query(more).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    owner.get("/account").await.expect(200);
    owner.post("/account/sessions/end-others", &[]).await.expect(303);
    assert_eq!(sessions(&pool).await, 1);
    owner.get("/account").await.expect(200);
}

/// The head and the stream of a live page.
async fn live(app: &App, browser: &Browser<'_>) -> (u16, axum::body::BodyDataStream) {
    let cookie = format!("{COOKIE}={}", browser.session().unwrap());
    let request = Request::get("/w/acme/live/events?decision=all").header(header::COOKIE, cookie);
    let response = app.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    (response.status().as_u16(), response.into_body().into_data_stream())
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_live_page_ends_with_its_session_its_role_or_its_membership(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    for way in ["sign-out", "role", "remove"] {
        let email = format!("{way}@acme.example");
        let (_, member) = app.member(&person, &email, "admin").await;
        let mei = Browser::of(&app, &email).await;
        let (status, mut stream) = live(&app, &mei).await;
        assert_eq!(status, 200);
        owner.get("/account").await;
        mei.get("/account").await;
        let fields = [("name", "M"), ("role", "member"), ("groups", "")];
        match way {
            "sign-out" => mei.post("/sign-out", &[]).await.expect(303),
            "role" => owner.post(&format!("/w/acme/people/{member}"), &fields).await.expect(303),
            _ => owner.post(&format!("/w/acme/people/{member}/remove"), &[]).await.expect(303),
        };
        let ended = async { while stream.next().await.is_some() {} };
        tokio::time::timeout(std::time::Duration::from_secs(12), ended)
            .await
            .unwrap_or_else(|_| panic!("{way}: it goes on"));
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn one_person_holds_so_many_live_pages_and_no_more(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    app.member(&person, MEI, "member").await;
    let mei = Browser::of(&app, MEI).await;
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(live(&app, &mei).await);
    }
    assert!(held.iter().all(|(status, _)| *status == 200));
    // Another browser of the same person counts with the first; other people do not.
    assert_eq!(live(&app, &Browser::of(&app, MEI).await).await.0, 429);
    assert_eq!(live(&app, &owner).await.0, 200);
    held.pop();
    assert_eq!(live(&app, &mei).await.0, 200);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn whoever_locks_an_account_from_outside_keeps_its_person_from_nothing(pool: PgPool) {
    let app = App::new(&pool).await;
    app.owner().await;
    let olive = Browser::of(&app, OLIVE).await;
    let stranger = Browser::new(&app);
    let wrong = [("email", OLIVE), ("password", "wrong wrong wrong")];
    for _ in 0..10 {
        stranger.post("/sign-in", &wrong).await.expect(422);
    }
    stranger.post("/sign-in", &wrong).await.expect(429);
    // Who is signed in stays so, and changes the password.
    olive.get("/account").await.expect(200);
    olive.post("/account/password", &[("present", PASSWORD), ("password", OTHER_PASSWORD)]).await.expect(303);
    // Who is not comes in by mail, while the guessing goes on.
    for _ in 0..12 {
        stranger.post("/sign-in", &wrong).await;
    }
    let anew = Browser::new(&app);
    let path = mailed(&anew.post("/forgot", &[("email", OLIVE)]).await);
    anew.post(&path, &[("password", PASSWORD)]).await.expect(303);
    anew.get("/w/acme").await.expect(200);
    // A stolen session does not guess the password without end either.
    anew.get("/account").await.expect(200);
    for _ in 0..10 {
        anew.post("/account/password", &[("present", "no"), ("password", OTHER_PASSWORD)]).await.expect(422);
    }
    anew.post("/account/password", &[("present", PASSWORD), ("password", OTHER_PASSWORD)]).await.expect(429);
    anew.post("/account/email", &[("present", PASSWORD), ("email", "thief@evil.example")]).await.expect(429);
}
