//! Signing in, attacked.

use axum::body::Body;
use axum::http::{Request, header};
use control_plane::app::{Parts, router};
use control_plane::console::Site;
use sqlx::PgPool;

use super::browser::{Browser, PASSWORD};
use super::markup::text;
use crate::app::App;

const OLIVE: &str = "olive@acme.example";

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_no_page_of_ours_sent_is_refused(pool: PgPool) {
    let app = App::new(&pool).await;
    let (browser, _) = Browser::of_owner(&app).await;
    browser.get("/account").await;
    let from = |name: &'static str, value: &'static str| {
        let request = Request::post("/sign-out").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if name.is_empty() { request } else { request.header(name, value) }
    };
    for request in [
        from("", ""),
        from("sec-fetch-site", "cross-site"),
        from("sec-fetch-site", "same-site"),
        from("sec-fetch-site", "none"),
        from("origin", "https://evil.example"),
        from("origin", "null"),
        from("origin", "https://console.example.com.evil.example"),
        from("origin", "http://console.example.com"),
    ] {
        browser.send(request, browser.fields(&[])).await.expect(403);
    }
    // One of our own pages, from before this session, or with no token at all.
    browser.send(Browser::form("/sign-out"), Body::from("_csrf=0000")).await.expect(403);
    browser.send(Browser::form("/sign-out"), Body::empty()).await.expect(403);
    browser.send(Browser::form("/sign-out").header("x-csrf-token", ""), Body::empty()).await.expect(403);
    browser.get("/account").await.expect(200);
    // Signing somebody in unasked would make their browser ours.
    let sign_in = Request::post("/sign-in").header("sec-fetch-site", "cross-site");
    Browser::new(&app).send(sign_in, Body::empty()).await.expect(403);
    browser.send(from("origin", "https://console.example.com"), browser.fields(&[])).await.expect(303);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_session_is_never_one_that_somebody_else_chose(pool: PgPool) {
    let app = App::new(&pool).await;
    app.owner().await;
    let browser = Browser::new(&app);
    browser.set_cookie("__Host-sluice_session", "00000000000000000000000000000000");
    browser.get("/w/acme").await.expect(303);
    let signed_in = Browser::of(&app, OLIVE).await;
    let first = signed_in.session().unwrap();
    assert_eq!(first.len(), 64);
    // Signing in again ends the session there was.
    signed_in.get("/account").await;
    signed_in.post("/sign-in", &[("email", OLIVE), ("password", PASSWORD)]).await.expect(303);
    assert_ne!(signed_in.session().unwrap(), first);
    let thief = Browser::new(&app);
    thief.set_cookie("__Host-sluice_session", &first);
    thief.get("/w/acme").await.expect(303);
    // The database holds nothing that could be sent.
    let mut tx = pool.begin_with("begin; set local role sluice_platform").await.unwrap();
    let digest: Vec<u8> = sqlx::query_scalar("select digest from login_sessions").fetch_one(&mut *tx).await.unwrap();
    thief.set_cookie("__Host-sluice_session", &hex::encode(digest));
    thief.get("/w/acme").await.expect(303);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn who_has_an_account_is_not_told(pool: PgPool) {
    let app = App::new(&pool).await;
    app.owner().await;
    Browser::of(&app, OLIVE).await;
    let browser = Browser::new(&app);
    let said = async |email: &str| {
        let answer = browser.post("/sign-in", &[("email", email), ("password", "wrong wrong wrong")]).await.expect(422);
        answer.text.replace(email, "…")
    };
    assert_eq!(said(OLIVE).await, said("nobody@acme.example").await);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn nothing_leads_away_after_signing_in(pool: PgPool) {
    let app = App::new(&pool).await;
    app.owner().await;
    let signed_in = Browser::of(&app, OLIVE).await;
    for (next, to) in [
        ("/w/acme/servers?q=1", "/w/acme/servers?q=1"),
        ("https://evil.example", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("javascript:alert(1)", "/"),
    ] {
        let fields = [("email", OLIVE), ("password", PASSWORD), ("next", next)];
        let browser = Browser::new(&app);
        assert_eq!(browser.post("/sign-in", &fields).await.expect(303).location(), to);
        let query: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        assert_eq!(signed_in.get(&format!("/sign-in?next={query}")).await.expect(303).location(), to);
    }
    let page = Browser::new(&app).get("/sign-in?next=%22%3E%3Cscript%3Ealert(1)%3C/script%3E").await.expect(200);
    assert!(!page.text.contains("<script>alert"), "{}", page.text);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn guessing_ends_after_ten_and_a_new_password_by_mail_begins_anew(pool: PgPool) {
    let app = App::new(&pool).await;
    app.owner().await;
    Browser::of(&app, OLIVE).await;
    let browser = Browser::new(&app);
    for email in [OLIVE, "nobody@acme.example"] {
        let guesses = futures_util::future::join_all((0..14).map(|_| {
            let fields = [("email", email), ("password", "wrong wrong wrong")];
            let browser = &browser;
            async move { browser.post("/sign-in", &fields).await.status.as_u16() }
        }))
        .await;
        let count = |status| guesses.iter().filter(|one| **one == status).count();
        assert_eq!((count(422), count(429)), (10, 4), "{email}");
    }
    // Now the right one does not help either.
    let right = [("email", OLIVE), ("password", PASSWORD)];
    let refused = browser.post("/sign-in", &right).await.expect(429);
    assert!(text(&refused.text).contains("Wait 15 minutes"));
    let path = super::sign_up::mailed(&browser.post("/forgot", &[("email", OLIVE)]).await);
    browser.post(&path, &[("password", "granite lantern 77 moss")]).await.expect(303);
    let anew = [("email", OLIVE), ("password", "granite lantern 77 moss")];
    Browser::new(&app).post("/sign-in", &anew).await.expect(303);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn mails_to_one_address_have_an_end(pool: PgPool) {
    let app = App::new(&pool).await;
    let browser = Browser::new(&app);
    let mut shown = 0;
    for _ in 0..8 {
        let answer = browser.post("/sign-up", &[("email", "victim@acme.example")]).await.expect(200);
        shown += usize::from(answer.text.contains("Finish signing up for Sluice"));
    }
    assert_eq!(shown, 5);
}

async fn as_platform(pool: &PgPool, statement: &'static str) {
    let mut tx = pool.begin_with("begin; set local role sluice_platform").await.unwrap();
    assert_eq!(sqlx::query(statement).execute(&mut *tx).await.unwrap().rows_affected(), 1);
    tx.commit().await.unwrap();
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_session_ends_when_it_is_not_used_and_in_any_case(pool: PgPool) {
    let app = App::new(&pool).await;
    let (browser, _) = Browser::of_owner(&app).await;
    browser.get("/w/acme").await.expect(200);
    as_platform(&pool, "update login_sessions set seen_at = seen_at - interval '11 hours 59 minutes'").await;
    browser.get("/w/acme").await.expect(200);
    as_platform(&pool, "update login_sessions set seen_at = seen_at - interval '12 hours 1 minute'").await;
    browser.get("/w/acme").await.expect(303);
    as_platform(&pool, "delete from login_sessions").await;
    let other = Browser::of(&app, OLIVE).await;
    as_platform(&pool, "update login_sessions set ends_at = ends_at - interval '7 days'").await;
    other.get("/w/acme").await.expect(303);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_role_that_is_taken_away_is_gone_at_once(pool: PgPool) {
    let app = App::new(&pool).await;
    let (_, owner) = Browser::of_owner(&app).await;
    let (_, member) = app.member(&owner, "mei@acme.example", "admin").await;
    let mei = Browser::of(&app, "mei@acme.example").await;
    mei.get("/w/acme").await.expect(200);
    app.delete(&owner, &format!("{}/members/{member}", owner.path())).await.expect(204);
    // No member: no such workspace.
    let gone = mei.get("/w/acme").await.expect(404);
    assert!(!gone.text.contains("Acme"));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_console_that_shows_mails_answers_its_own_machine_only(pool: PgPool) {
    let app = App::new(&pool).await;
    let site = Site::new("http://127.0.0.1:7301".parse().unwrap(), "dep_1").unwrap();
    let router = router(&Parts { site, ..app.parts.clone() });
    let ask = async |host: &'static str| {
        let request = Request::post("/forgot")
            .header(header::HOST, host)
            .header("sec-fetch-site", "same-origin")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let request = request.body(Body::from("email=olive%40acme.example")).unwrap();
        tower::ServiceExt::oneshot(router.clone(), request).await.unwrap().status().as_u16()
    };
    // A page of somebody else's whose name was pointed at this machine is of the same origin to the browser.
    assert_eq!(ask("rebound.evil.example:7301").await, 421);
    assert_eq!(ask("localhost:7301").await, 200);
}
