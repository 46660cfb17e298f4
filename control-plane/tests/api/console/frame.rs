//! The frame every page stands in.

use axum::body::Body;
use axum::http::{Request, header};
use sqlx::PgPool;

use super::browser::Browser;
use super::markup::{self, text};
use crate::app::App;

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn every_page_keeps_the_rules(pool: PgPool) {
    let app = App::new(&pool).await;
    let outside = Browser::new(&app);
    for path in ["/sign-in", "/sign-up", "/forgot", "/sign-up/none", "/reset/none", "/nothing", "/dev/components"] {
        let answer = outside.get(path).await;
        assert!(answer.text.contains("</html>"), "{path}");
    }
    let (owner, _) = Browser::of_owner(&app).await;
    for path in [
        "/w/acme",
        "/w/acme?guide=off",
        "/w/acme/activity",
        "/w/acme/evidence",
        "/w/acme/live",
        "/w/acme/connect",
        "/workspaces",
        "/workspaces/new",
        "/account",
        "/account/email/none",
        "/w/nobodys",
        "/w/acme/policies",
        "/w/acme/policies/new",
        "/w/acme/policies/access",
        "/w/acme/tokens",
        "/w/acme/tokens/new",
        "/w/acme/tokens/new?kind=api",
        "/w/acme/destinations",
        "/w/acme/destinations/new",
        "/w/acme/destinations/new?kind=webhook",
        "/w/acme/destinations/new?kind=splunk_hec",
    ] {
        let answer = owner.get(path).await;
        assert!(answer.text.contains("</html>"), "{path}");
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn one_arrives_in_the_only_workspace(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, _) = Browser::of_owner(&app).await;
    assert_eq!(owner.get("/").await.expect(303).location(), "/w/acme");
    let overview = owner.get("/w/acme").await.expect(200);
    assert!(text(&overview.text).contains("Acme"));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn whoever_is_signed_out_signs_in_and_comes_back(pool: PgPool) {
    let app = App::new(&pool).await;
    app.owner().await;
    let browser = Browser::new(&app);
    let sent_on = browser.get("/w/acme?q=a%20b").await.expect(303);
    assert_eq!(sent_on.location(), "/sign-in?next=%2Fw%2Facme%3Fq%3Da%2520b");
    let part = browser.get_part("/w/acme").await.expect(401);
    assert_eq!(part.headers["hx-redirect"], "/sign-in");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn assets_are_the_same_for_ever_and_compressed(pool: PgPool) {
    let app = App::new(&pool).await;
    let browser = Browser::new(&app);
    let page = browser.get("/sign-in").await;
    let style = page.text.split('"').find(|part| part.starts_with("/assets/sluice.") && part.contains(".css")).unwrap();
    let plain = browser.get(style).await.expect(200);
    assert_eq!(plain.headers[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
    assert_eq!(plain.text.matches("url(\"/assets/geist").count(), 4);
    let request = Request::get(style).header(header::ACCEPT_ENCODING, "gzip, br").body(Body::empty()).unwrap();
    let response = tower::ServiceExt::oneshot(app.router.clone(), request).await.unwrap();
    assert_eq!(response.headers()[header::CONTENT_ENCODING], "br");
    let bytes = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    assert!(bytes.len() < 16_000, "{} bytes of style", bytes.len());
    browser.get("/assets/sluice.000000000000.css").await.expect(404);
    browser.get("/assets/..%2f..%2fetc%2fpasswd").await.expect(404);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn the_api_takes_no_cookie_and_the_console_no_token(pool: PgPool) {
    let app = App::new(&pool).await;
    let (browser, owner) = Browser::of_owner(&app).await;
    let api = browser.get("/api/v1/tenants/acme").await.expect(401);
    assert_eq!(api.headers[header::CONTENT_TYPE], "application/problem+json");
    let request = Request::get("/w/acme").header(header::AUTHORIZATION, format!("Bearer {}", owner.token));
    let console = app.answer(request.body(Body::empty()).unwrap()).await;
    assert_eq!(console.location(), "/sign-in?next=%2Fw%2Facme");
    app.get(&owner, "/nothing").await.expect(404);
    assert_eq!(browser.get("/api/nothing").await.expect(404).headers[header::CONTENT_TYPE], "application/problem+json");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn htmx_is_told_where_to_go_and_what_went_wrong(pool: PgPool) {
    let app = App::new(&pool).await;
    let (browser, _) = Browser::of_owner(&app).await;
    browser.get("/account").await;
    let gone = browser.post_part("/account/sessions/ses_00000000000000000000000000/end", &[]).await.expect(404);
    assert!(!gone.text.contains("<html") && text(&gone.text).contains("There is no such thing here"), "{}", gone.text);
    markup::check_tags("a problem", &markup::tags(&gone.text));
    let wrong = browser.post_part("/account/password", &[("present", "no")]).await.expect(400);
    assert!(!wrong.text.contains("<html"), "{}", wrong.text);
    let done = browser.post_part("/sign-out", &[]).await.expect(200);
    assert_eq!(done.headers["hx-redirect"], "/sign-in");
    assert_eq!(browser.session(), None);
}

#[test]
fn templates_hold_nothing_that_runs_or_escapes_the_style_files() {
    fn walk(folder: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let mut templates = Vec::new();
    walk(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../web/templates"), &mut templates);
    assert!(templates.len() > 10);
    for template in templates {
        let text = std::fs::read_to_string(&template).unwrap();
        for forbidden in ["|safe", "| safe", " style=", "<style", " hx-on", "javascript:", "js:", " onclick", "http://"]
        {
            assert!(!text.contains(forbidden), "{} holds `{forbidden}`", template.display());
        }
        // htmx 4: nothing of what version 2 was told is understood.
        for old in ["hx-ext", "sse-connect", "sse-swap", "hx-disabled-elt", "hx-boost"] {
            assert!(!text.contains(old), "{} holds `{old}`", template.display());
        }
    }
}
