//! Ids and links of somebody else's, guessed or leaked: whatever route they are tried on, they are like those of nobody.

use sqlx::PgPool;

use super::browser::Browser;
use super::routes::{self, Route, World, everything, refs};
use crate::app::{Answer, App};

const OLIVE: &str = "olive@acme.example";
const GRETA: &str = "greta@globex.example";

/// The same path with ids and links of the same kinds that are nobody's.
fn nobodys(path: &str) -> String {
    let part = |part: &str| match part.split_once('_') {
        Some((prefix, digits)) if digits.len() == 26 => format!("{prefix}_01hzzzzzzzzzzzzzzzzzzzzzzz"),
        _ if part.len() == 64 && part.chars().all(|char| char.is_ascii_hexdigit()) => "ab".repeat(32),
        _ => part.to_owned(),
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// All of an answer that somebody who asks gets to see; the path they asked for is theirs.
fn seen(answer: &Answer, path: &str) -> String {
    let mut text = format!("{} {:?} {}", answer.status, answer.headers, answer.text);
    let encoded: String = url::form_urlencoded::byte_serialize(path.as_bytes()).collect();
    // How long the session lasts goes down from one page to the next.
    if let Some((before, after)) = text.split_once("data-left=\"") {
        text = format!("{before}{}", after.trim_start_matches(|char: char| char.is_ascii_digit()));
    }
    let parts = path.split(['/', '?', '=']).filter(|part| part.len() > 25).map(str::to_owned);
    for part in parts.chain([encoded]) {
        text = text.replace(&part, "…");
    }
    text
}

/// What somebody gets at a path, by every way there is to ask for it.
async fn tried(browser: &Browser<'_>, route: &Route, world: &World, path: &str) -> Vec<String> {
    let mut all = Vec::new();
    // What the page before said of itself is said here, and not on the one that is looked at.
    browser.get("/account").await.expect(200);
    if route.gets {
        all.push(seen(&browser.look(path).await, path));
        all.push(seen(&browser.get_part(path).await, path));
    }
    if route.posts {
        browser.get("/account").await.expect(200);
        let fields = world.fields(&route.path);
        all.push(seen(&browser.post(path, &refs(&fields)).await, path));
        all.push(seen(&browser.post_part(path, &refs(&fields)).await, path));
    }
    all
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn another_workspace_is_like_none_on_every_route(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let world = World::of(&app, (&owner, &person), OLIVE).await;
    app.stranger(&person).await;
    let greta = Browser::of(&app, GRETA).await;
    let before = everything(&pool).await;
    for route in routes::all().into_iter().filter(|route| route.path.starts_with("/w/")) {
        let theirs = world.path(&route.path);
        let none = theirs.replacen("/w/acme", "/w/nobody", 1);
        let (theirs, none) = (tried(&greta, &route, &world, &theirs).await, tried(&greta, &route, &world, &none).await);
        assert_eq!(theirs, none, "{}", route.path);
        assert!(theirs.iter().all(|answer| answer.starts_with("404 ")), "{}: {theirs:?}", route.path);
    }
    assert_eq!(before, everything(&pool).await);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn another_workspaces_ids_are_like_nobodys_on_every_route(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let world = World::of(&app, (&owner, &person), OLIVE).await;
    app.stranger(&person).await;
    let greta = Browser::of(&app, GRETA).await;
    let before = everything(&pool).await;
    let mut count = 0;
    for route in routes::all() {
        // Links that were mailed let in whoever has them; they are tried below.
        let is_link = matches!(route.path.as_str(), "/sign-up/{token}" | "/reset/{token}" | "/invitations/{token}");
        let theirs = world.path(&route.path).replacen("/w/acme", "/w/globex", 1);
        let none = nobodys(&theirs);
        if none == theirs || is_link {
            continue;
        }
        let (theirs, none) = (tried(&greta, &route, &world, &theirs).await, tried(&greta, &route, &world, &none).await);
        assert_eq!(theirs, none, "{}", route.path);
        // A page that shows a new token once sends whoever asks for any other on: to that token's own, which is not there, or
        // to Connect.
        let is_none = |answer: &String| {
            let leads_on = answer.starts_with("303 ") || answer.contains("\"hx-redirect\"");
            answer.starts_with("404 ") || route.path.contains("/issued") && leads_on
        };
        assert!(theirs.iter().all(is_none), "{}: {theirs:?}", route.path);
        count += 1;
    }
    assert!(count > 25, "{count}");
    assert_eq!(before, everything(&pool).await);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn another_workspaces_ids_in_a_query_or_a_form_are_like_nobodys(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let world = World::of(&app, (&owner, &person), OLIVE).await;
    let stranger = app.stranger(&person).await;
    let greta = Browser::of(&app, GRETA).await;
    let theirs = World::of(&app, (&greta, &stranger), GRETA).await;
    greta.get("/account").await.expect(200);
    let before = everything(&pool).await;
    for route in [
        "policies/access?member={member}",
        "policies/access?token={gateway}",
        "activity?server={server}",
        "activity?caller={member}",
        "palette?q={server}",
        "palette?q={policy}",
        "servers?q={server}",
    ] {
        let path = world.path(&format!("/w/globex/{route}"));
        let (prefix, id) = path.split_once('=').unwrap();
        let none = format!("{prefix}={}", nobodys(id));
        let got = (greta.look(&path).await, greta.look(&none).await);
        assert_eq!(seen(&got.0, &path), seen(&got.1, &none), "{route}");
        let got = (greta.get_part(&path).await, greta.get_part(&none).await);
        assert_eq!(seen(&got.0, &path), seen(&got.1, &none), "{route}");
    }
    // In forms of one's own workspace.
    for (route, name, id) in [
        ("/w/globex/tokens/new", "member", world.path("{member}")),
        ("/w/globex/tokens/new", "server", world.path("{server}")),
        ("/w/globex/servers/{server}/versions/{version}/accept", "tool", world.path("{tool}")),
        ("/w/globex/servers/{server}/versions/{version}/reject", "tool", world.path("{tool}")),
    ] {
        let path = theirs.path(route);
        let form = |id: String| {
            vec![(name, id), ("title", "x".to_owned()), ("days", "7".to_owned()), ("servers", "some".to_owned())]
        };
        let (foreign, none) = (form(id.clone()), form(nobodys(&id)));
        let (foreign, none) = (greta.post(&path, &refs(&foreign)).await, greta.post(&path, &refs(&none)).await);
        assert!(foreign.status.is_client_error(), "{route} {name}: {}", foreign.status);
        assert_eq!(seen(&foreign, &id), seen(&none, &nobodys(&id)), "{route} {name}");
    }
    // A server of theirs with a version of ours, and the other way about.
    for (server, version) in [(&theirs, &world), (&world, &theirs)] {
        let (server, version) = (server.path("{server}"), version.path("{version}"));
        greta.get(&format!("/w/globex/servers/{server}/versions/{version}")).await.expect(404);
    }
    assert_eq!(before, everything(&pool).await);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_a_workspace_has_is_found_in_no_other(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    super::activity::seed(&app, &person, 30, 600).await;
    drop(owner);
    app.stranger(&person).await;
    let greta = Browser::of(&app, GRETA).await;
    for q in ["wiki", "search", "olive", "delete"] {
        let found = greta.get_part(&format!("/w/globex/palette?q={q}")).await.expect(200);
        assert!(!found.text.contains("data-href"), "{q}: {}", found.text);
    }
    greta.get("/w/globex/activity").await.expect(200);
    for format in ["csv", "ndjson"] {
        let fields = [("format", format), ("kind", "all"), ("range", "30d")];
        let file = greta.post("/w/globex/activity/export", &fields).await.expect(200);
        assert!(!file.text.contains("wiki") && !file.text.contains("claude-code"), "{}", file.text);
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_link_is_good_for_what_it_was_mailed_for_and_nothing_else(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let world = World::of(&app, (&owner, &person), OLIVE).await;
    let kinds = ["/sign-up/{token}", "/reset/{token}", "/invitations/{token}", "/account/email/{token}"];
    let before = everything(&pool).await;
    for of in kinds {
        let token = world.path(of).rsplit('/').next().unwrap().to_owned();
        for at in kinds.into_iter().filter(|at| *at != of) {
            let path = at.replace("{token}", &token);
            for browser in [&owner, &Browser::new(&app)] {
                if at.starts_with("/account") && browser.session().is_none() {
                    continue;
                }
                browser.get(&path).await.expect(404);
                if browser.session().is_some() {
                    browser.get("/account").await.expect(200);
                }
                browser.post(&path, &refs(&world.fields(at))).await.expect(404);
            }
        }
    }
    assert_eq!(before, everything(&pool).await);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_member_learns_no_names_of_people_or_servers(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    World::of(&app, (&owner, &person), OLIVE).await;
    let mia = Browser::of(&app, "someone@acme.example").await;
    for caller in ["olive", "ol", "li", "o"] {
        let answer = mia.get(&format!("/w/acme/activity?caller={caller}")).await.expect(200);
        assert!(!answer.text.contains("Olive") && !answer.text.contains("people are called so"), "{caller}");
        assert_eq!(
            answer.text.contains("nobody here is called so"),
            caller != "o",
            "{caller}: her own name is Somebody"
        );
    }
    let form = mia.get("/w/acme/tokens/new").await.expect(200);
    assert!(!form.text.contains("wiki") && !form.text.contains("srv_"), "{}", form.text);
    let form = owner.get("/w/acme/tokens/new").await.expect(200);
    assert!(form.text.contains("wiki"));
    for path in ["", "/connect", "/live", "/settings", "/palette?q=i", "/tokens"] {
        let page = mia.get(&format!("/w/acme{path}")).await.expect(200);
        // Who issued one's own token is said.
        assert!(!page.text.contains("wiki") && (path == "/tokens" || !page.text.contains("Olive")), "{path}");
    }
}
