//! How a session ends, and what becomes of what one was at.

use axum::body::Body;
use axum::http::{Request, header};
use sqlx::PgPool;

use super::browser::Browser;
use super::markup::text;
use crate::app::App;

/// Everybody's session ends in half a minute unless something is done.
const NEARLY_IDLE: &str = "update login_sessions set seen_at = now() - interval '11 hours 59 minutes 30 seconds'";
/// Everybody's session ended.
const IDLE: &str = "update login_sessions set seen_at = now() - interval '12 hours 1 minute'";
/// Everybody's session ends soon, whatever is done.
const LAST: &str = "update login_sessions set ends_at = now() + interval '100 seconds'";

async fn left(browser: &Browser<'_>) -> i64 {
    browser.get("/session").await.expect(200).text.parse().unwrap()
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn asking_how_long_keeps_nobody_signed_in_and_staying_does(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, _) = Browser::of_owner(&app).await;
    owner.get("/w/acme").await.expect(200);
    assert_eq!(app.in_platform(NEARLY_IDLE).await, 1);
    assert!((1..=60).contains(&left(&owner).await));
    // Nor does what a page asks by itself, again and again.
    let poll = Request::get("/w/acme").header("hx-request", "true").header("x-poll", "1");
    owner.send(poll, Body::empty()).await.expect(200);
    assert!((1..=60).contains(&left(&owner).await));
    owner.send(Browser::form("/session"), Body::from("_csrf=forged")).await.expect(403);
    let stayed: i64 = owner.post("/session", &[]).await.expect(200).text.parse().unwrap();
    assert!(stayed > 11 * 3600, "{stayed}");
    assert!(left(&owner).await > 11 * 3600);
    // The end after seven days is not put off.
    assert_eq!(app.in_platform(LAST).await, 1);
    let stayed: i64 = owner.post("/session", &[]).await.expect(200).text.parse().unwrap();
    assert!((1..=100).contains(&stayed), "{stayed}");
    assert!(owner.get("/w/acme").await.text.contains("7 days after you signed in"));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_form_of_an_ended_session_leads_back_to_its_page_and_says_it_was_not_saved(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, _) = Browser::of_owner(&app).await;
    owner.get("/w/acme/settings").await.expect(200);
    assert_eq!(app.in_platform(IDLE).await, 1);
    let send = |from: (&'static str, &'static str)| {
        owner.send(Browser::form("/w/acme/settings").header(from.0, from.1), owner.fields(&[("title", "Mine")]))
    };
    let sent = send(("referer", "https://console.example.com/w/acme/settings?a=b")).await.expect(303);
    assert_eq!(sent.location(), "/sign-in?next=%2Fw%2Facme%2Fsettings%3Fa%3Db&unsaved=1");
    let page = owner.get(sent.location()).await.expect(200);
    assert!(text(&page.text).contains("that was not saved") && page.text.contains("value=\"/w/acme/settings?a=b\""));
    // What is no page of ours is nowhere to go on to.
    for from in
        ["https://evil.example/w/acme", "//evil.example", "/w/acme", "https://console.example.com.evil.example/"]
    {
        assert_eq!(send(("referer", from)).await.expect(303).location(), "/sign-in?unsaved=1", "{from}");
    }
    let part = Request::get("/w/acme/activity?after=x")
        .header("hx-request", "true")
        .header("sec-fetch-site", "same-origin")
        .header("hx-current-url", "https://console.example.com/w/acme/activity?q=a");
    let part = owner.send(part, Body::empty()).await.expect(401);
    assert_eq!(part.headers["hx-redirect"], "/sign-in?next=%2Fw%2Facme%2Factivity%3Fq%3Da");
    let told = app.answer(Request::get("/session").body(Body::empty()).unwrap()).await.expect(303);
    assert_eq!(told.headers[header::LOCATION], "/sign-in?next=%2Fsession");
}
