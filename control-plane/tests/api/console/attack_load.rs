//! Requests that cost their sender little and might cost the console much.

use axum::body::Body;
use sqlx::PgPool;

use super::browser::Browser;
use super::markup::text;
use super::routes::{self, World, everything, refs};
use crate::app::App;

const OLIVE: &str = "olive@acme.example";

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn an_address_of_a_thousand_words_makes_no_page_of_a_million(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    app.member(&person, "mia@acme.example", "member").await;
    let mia = Browser::of(&app, "mia@acme.example").await;
    let words: Vec<String> = (0..8000).map(|number| format!("w{number}=1")).collect();
    let words = words.join("&");
    for route in routes::all().into_iter().filter(|route| route.gets && route.path.starts_with("/w/{tenant}")) {
        let path = route.path.replace("{tenant}", "acme");
        if path.contains('{') || path.ends_with("/live/events") {
            continue;
        }
        for browser in [&owner, &mia] {
            let answer = browser.look(&format!("{path}?{words}")).await;
            assert!(answer.status.as_u16() < 500 && answer.text.len() < 100_000, "{path}: {} bytes", answer.text.len());
        }
    }
    mia.get("/account").await.expect(200);
    let form: Vec<(String, &str)> = (0..60_000).map(|number| (format!("w{number}"), "1")).collect();
    let form: Vec<(&str, &str)> =
        form.iter().map(|(name, value)| (name.as_str(), *value)).chain([("format", "csv")]).collect();
    mia.post("/w/acme/activity/export", &form).await.expect(422);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn no_form_is_longer_than_it_may_be_on_any_route(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let world = World::of(&app, (&owner, &person), OLIVE).await;
    let visitor = Browser::new(&app);
    let page = owner.get("/account").await.expect(200);
    let token = super::markup::csrf(&page.text).unwrap();
    let before = everything(&pool).await;
    for route in routes::all().into_iter().filter(|route| route.posts) {
        let (path, fields) = (world.path(&route.path), world.fields(&route.path));
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("_csrf", &token).extend_pairs(refs(&fields)).append_pair("more", &"a".repeat(1024 * 1024));
        let form = form.finish();
        let answer = owner.send(Browser::form(&path), Body::from(form.clone())).await;
        assert_eq!(answer.status, 413, "{path}: {}", text(&answer.text));
        if !route.is_private() && !fields.is_empty() {
            assert_eq!(visitor.send(Browser::form(&path), Body::from(form)).await.status, 413, "{path}");
        }
    }
    assert_eq!(before, everything(&pool).await);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_password_of_a_megabyte_is_not_worked_on(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let world = World::of(&app, (&owner, &person), OLIVE).await;
    let visitor = Browser::new(&app);
    let long = "correct horse battery staple ".repeat(20_000);
    let before = app.parts.passwords.worked();
    let answer = visitor.post("/sign-in", &[("email", OLIVE), ("password", &long)]).await.expect(422);
    assert!(text(&answer.text).contains("The e-mail address or the password is wrong."));
    assert_eq!(app.parts.passwords.worked() - before, 1, "as for any other wrong one");
    for route in ["/reset/{token}", "/invitations/{token}", "/sign-up/{token}"] {
        let fields = [("name", "x"), ("title", "New"), ("slug", "brand-new"), ("password", long.as_str())];
        let answer = visitor.post(&world.path(route), &fields).await.expect(422);
        assert!(text(&answer.text).contains("Use at most 128 characters."), "{}", text(&answer.text));
    }
}
