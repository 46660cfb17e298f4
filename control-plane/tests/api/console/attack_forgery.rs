//! Requests that a page of somebody else's has a browser send: none does anything, whatever route it goes to.

use axum::body::Body;
use axum::http::header;
use sqlx::PgPool;

use super::browser::Browser;
use super::markup;
use super::routes::{self, Route, World, everything, posts, refs};
use crate::app::{Answer, App};

const OLIVE: &str = "olive@acme.example";
const FORM: &str = "application/x-www-form-urlencoded";

/// A form with these fields, as another site's page would have it sent.
fn body(fields: &[(&'static str, String)], token: Option<&str>) -> Body {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields);
    if let Some(token) = token {
        form.append_pair("_csrf", token);
    }
    Body::from(form.finish())
}

/// The token that forms of a signed-in browser carry.
async fn token(browser: &Browser<'_>) -> String {
    markup::csrf(&browser.get("/account").await.expect(200).text).unwrap()
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn no_form_of_another_site_does_anything_on_any_route(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let world = World::of(&app, (&owner, &person), OLIVE).await;
    app.member(&person, "mei@acme.example", "admin").await;
    let (own, others) = (token(&owner).await, token(&Browser::of(&app, "mei@acme.example").await).await);
    let before = everything(&pool).await;
    for route in posts() {
        let (path, fields) = (world.path(&route.path), world.fields(&route.path));
        // The browser says that another site has it sent; the token is right, as if it had leaked.
        let sent_by = [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "none"),
            ("sec-fetch-site", "SAME-ORIGIN "),
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("origin", "https://console.example.com:8443"),
            ("origin", "https://console.example.com@evil.example"),
            ("referer", "https://console.example.com/account"),
        ];
        for (name, value) in sent_by {
            for kind in [FORM, "text/plain", "multipart/form-data; boundary=x", "application/json"] {
                let request = axum::http::Request::post(&path).header(name, value).header(header::CONTENT_TYPE, kind);
                owner.send(request, body(&fields, Some(&own))).await.expect(403);
            }
        }
        // One header says yes and the other no: the browser's own word counts.
        let both = axum::http::Request::post(&path)
            .header("sec-fetch-site", "cross-site")
            .header("origin", "https://console.example.com")
            .header(header::CONTENT_TYPE, FORM);
        owner.send(both, body(&fields, Some(&own))).await.expect(403);
        // Our own page, with another token than this session's.
        for wrong in [None, Some(""), Some("0000"), Some(others.as_str()), Some(&own[..63]), Some(&own.to_uppercase())]
        {
            owner.send(Browser::form(&path), body(&fields, wrong)).await.expect(403);
            let request = Browser::form(&path).header("x-csrf-token", wrong.unwrap_or_default());
            owner.send(request, body(&fields, Some(&own))).await.expect(403);
        }
        let in_query = Browser::form(&format!("{path}?_csrf={own}"));
        owner.send(in_query, body(&fields, None)).await.expect(403);
    }
    let after = everything(&pool).await;
    for (table, rows) in &before {
        assert_eq!(Some(rows), after.get(table), "{table} was changed");
    }
}

/// What makes the test above one that can fail: with the right token each of these forms is taken.
#[sqlx::test(migrator = "store::MIGRATOR")]
async fn the_same_forms_are_taken_from_our_own_pages(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let world = World::of(&app, (&owner, &person), OLIVE).await;
    for route in posts() {
        // A link that was mailed to somebody is opened by somebody who is not signed in.
        let visitor = Browser::new(&app);
        let is_theirs = matches!(route.path.as_str(), "/sign-up/{token}" | "/reset/{token}" | "/invitations/{token}");
        let sender = if is_theirs { &visitor } else { &owner };
        if !is_theirs && sender.get("/account").await.status != 200 {
            owner.post("/sign-in", &refs(&world.fields("/sign-in"))).await.expect(303);
            owner.get("/account").await.expect(200);
        }
        let fields = world.fields(&route.path);
        let answer: Answer = sender.post(&world.path(&route.path), &refs(&fields)).await;
        let taken = matches!(answer.status.as_u16(), 200 | 303 | 409);
        assert!(taken, "{}: {} {}", route.path, answer.status, markup::text(&answer.text));
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn looking_changes_nothing_on_any_route(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let world = World::of(&app, (&owner, &person), OLIVE).await;
    let visitor = Browser::new(&app);
    let before = everything(&pool).await;
    for route in routes::all().into_iter().filter(|route| route.gets && !route.path.ends_with("/live/events")) {
        let path = world.path(&route.path);
        for browser in [&owner, &visitor] {
            let answer = browser.look(&path).await;
            assert!(answer.status.as_u16() < 500, "{path}: {}", answer.status);
            browser.get_part(&path).await;
        }
    }
    let after = everything(&pool).await;
    for (table, rows) in &before {
        assert_eq!(Some(rows), after.get(table), "{table} was changed");
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn whoever_is_signed_out_is_sent_to_sign_in_from_every_route_of_the_signed_in(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let world = World::of(&app, (&owner, &person), OLIVE).await;
    let visitor = Browser::new(&app);
    let before = everything(&pool).await;
    for route in routes::all().into_iter().filter(Route::is_private) {
        let path = world.path(&route.path);
        if route.gets {
            let answer = visitor.get(&path).await.expect(303);
            assert!(answer.location().starts_with("/sign-in"), "{path}: {}", answer.location());
            assert_eq!(visitor.get_part(&path).await.expect(401).headers["hx-redirect"], "/sign-in", "{path}");
        }
        if route.posts {
            let answer = visitor.post(&path, &refs(&world.fields(&route.path))).await.expect(303);
            assert!(answer.location().starts_with("/sign-in"), "{path}: {}", answer.location());
        }
    }
    assert_eq!(before, everything(&pool).await);
}
