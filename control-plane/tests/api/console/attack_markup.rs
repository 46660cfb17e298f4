//! Texts that an upstream, a caller or a colleague wrote to do harm, on every page; and the headers that bound what a page
//! could do if one of them got through.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::json;
use sqlx::PgPool;

use super::activity::seed;
use super::browser::Browser;
use super::markup::{self, tags, text};
use super::routes::{self, Route, World, refs};
use crate::app::{Answer, App, Person};

const OLIVE: &str = "olive@acme.example";

/// Markup, an end of an attribute, something a script would take for its own, and characters that are not seen.
const EVIL: &str =
    "\"'><img src=x onerror=alert(1)><script>alert(2)</script>{{7*7}}</title></textarea>\u{202e}\u{200b}";

fn evil(start: &str) -> String {
    format!("{start}{EVIL}")
}

/// Fails where a text has become more than a text.
fn check(path: &str, answer: &Answer) {
    let kind = answer.headers.get(header::CONTENT_TYPE).map_or("", |kind| kind.to_str().unwrap());
    if !kind.starts_with("text/html") {
        return;
    }
    let html = &answer.text;
    for forbidden in ["<img", "<script>", "alert(2)</script", "</title></textarea"] {
        assert!(!html.contains(forbidden), "{path} holds {forbidden:?}: {}", around(html, forbidden));
    }
    let shown = without_values(html);
    for forbidden in ["\u{202e}", "\u{200b}"] {
        assert!(!shown.contains(forbidden), "{path} holds {forbidden:?}: {}", around(&shown, forbidden));
    }
    let tags = tags(html);
    markup::check_tags(path, &tags);
    for tag in &tags {
        for (name, value) in &tag.attributes {
            let known = |char: char| char.is_ascii_lowercase() || "-:0123456789".contains(char);
            assert!(
                name.chars().all(known) || tag.name == "svg" || name == "viewbox",
                "{path}: {name}={value:?} in <{}>",
                tag.name
            );
            if matches!(name.as_str(), "href" | "action" | "formaction" | "src" | "hx-get" | "hx-post") {
                let own = ["/", "#", "?", "cursor://anysphere", "vscode:mcp/install", "https://console.example.com/"];
                assert!(own.iter().any(|start| value.starts_with(start)), "{path}: {name}={value:?}");
                assert!(!value.starts_with("//"), "{path}: {name}={value:?}");
            }
        }
    }
}

/// A page without what is in its fields, and what its buttons copy: there a text is as it is.
fn without_values(html: &str) -> String {
    let mut shown = html.to_owned();
    for (start, end) in [(" value=\"", "\""), (" data-copy=\"", "\""), ("<textarea", "</textarea>")] {
        let mut parts = shown.split(start);
        let first = parts.next().unwrap_or_default().to_owned();
        let rest = parts.map(|part| part.split_once(end).map_or("", |(_, after)| after));
        shown = rest.fold(first, |shown, part| shown + part);
    }
    shown
}

fn around<'a>(html: &'a str, part: &str) -> &'a str {
    let place = html.find(part).unwrap();
    let start = html.floor_char_boundary(place.saturating_sub(200));
    &html[start..html.ceil_char_boundary(place + 100)]
}

/// What a server that means harm says of itself, and of a tool.
fn says(round: &str) -> String {
    let tool = json!({
        "name": "search", "title": evil("t"), "description": evil(round),
        "annotations": {"title": evil("a"), "readOnlyHint": true},
        "inputSchema": {"type": "object", "title": evil("s"), "required": [evil("q")], "properties": {
            evil("q"): {"type": "string", "description": evil("p"), "enum": [evil("e")], "default": evil("d")}}},
        "outputSchema": {"type": "object", "properties": {evil("o"): {"type": "string"}}},
    });
    let found = json!({
        "era": "modern", "protocol_version": "2026-07-28", "tools": [tool], "instructions": evil("i"),
        "server_info": {"name": evil("n"), "version": evil("v")},
    });
    let step = json!({"step": "tools", "ok": true, "detail": evil("step"), "ms": 3});
    format!("event: step\ndata: {step}\n\nevent: found\ndata: {found}\n\n")
}

/// Gives everything that has a name a name that means harm.
async fn poison(app: &App, owner: &Browser<'_>, person: &Person) {
    let path = person.path();
    let body = json!({"key": "evil", "title": evil("s"), "endpoint": "https://evil.example/mcp?a=\"><img src=x>"});
    let server = app.post(person, &format!("{path}/servers"), body).await.expect(201).text_at("/id");
    let at = format!("{path}/servers/{server}");
    for round in ["one", "two"] {
        app.node_says(&says(round));
        let held = app.post(person, &format!("{at}/import"), json!({})).await.expect(201).text_at("/held/id");
        if round == "one" {
            app.post(person, &format!("{at}/versions/{held}/accept"), json!({})).await.expect(200);
        }
    }
    app.post(
        person,
        &format!("{path}/members"),
        json!({"email": "e@evil.example", "name": evil("m"), "role": "member"}),
    )
    .await
    .expect(201);
    let policy = format!(
        "// {}\n@id({:?})\n@reason({:?})\nforbid (principal, action, resource);",
        EVIL, "rule", "because of \\u{202e}"
    );
    app.post(person, &format!("{path}/policies"), json!({"name": evil("p"), "text": policy})).await.expect(201);
    for kind in ["gateway-tokens", "api-tokens"] {
        app.post(person, &format!("{path}/{kind}"), json!({"title": evil("t"), "days": 1})).await.expect(201);
    }
    app.patch(person, &path, json!({"title": evil("w")})).await.expect(200);
    // A browser that says something odd of itself, and one's own name.
    let odd = Browser::form("/sign-in")
        .header(header::USER_AGENT, "<img src=x onerror=alert(1)>\"'><script>alert(2)</script>");
    let fields = [("email", OLIVE), ("password", super::browser::PASSWORD)];
    let stranger = Browser::new(app);
    stranger.send(odd, stranger.fields(&fields)).await.expect(303);
    let people = owner.get("/w/acme/people").await;
    let me = people.text.split('"').find(|part| part.starts_with("/w/acme/people/mem_")).unwrap().to_owned();
    owner.post(&me, &[("name", &evil("o")), ("role", "owner"), ("groups", "")]).await.expect(303);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn no_text_of_somebody_elses_is_more_than_a_text_on_any_route(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    seed(&app, &person, 120, 600).await;
    poison(&app, &owner, &person).await;
    let links = links(&owner).await;
    assert!(links.len() > 40, "{links:#?}");
    for path in &links {
        let page = owner.look(path).await;
        assert!(page.status.as_u16() < 500, "{path}: {}", page.status);
        check(path, &page);
        check(path, &owner.get_part(path).await);
    }
    // That it was there to be seen: every one of these shows the text as a text.
    for part in
        ["/servers/srv_", "/versions/", "/tools/", "/people", "/policies/pol_", "/tokens/", "/settings", "/palette?q=s"]
    {
        let shown = links.iter().filter(|path| path.contains(part));
        let mut texts = Vec::new();
        for path in shown {
            texts.push(owner.look(path).await.text);
        }
        assert!(texts.iter().any(|text| text.contains("onerror=alert(1)") && text.contains("U+202E")), "{part}");
    }
}

/// Every address that pages of the workspace lead to, from its first on, and some that are typed.
async fn links(owner: &Browser<'_>) -> Vec<String> {
    let typed = [
        "/w/acme",
        "/w/acme?guide=off",
        "/w/acme/palette?q=s",
        "/w/acme/palette?q=%3Cimg",
        "/account",
        "/workspaces",
        "/workspaces/new",
        "/w/acme/activity?q=%22%3E%3Cimg+src%3Dx%3E%E2%80%AE&caller=%3Cimg%3E&tool=%22%3E&zz%22%3E%3Cimg=%3Cscript%3E&kind=all",
        "/w/acme/servers?q=%22%3E%3Cimg+src%3Dx%3E%E2%80%AE",
        "/w/acme/tokens/new?title=%22%3E%3Cimg+src%3Dx%3E",
        "/w/acme/servers/new?url=%22%3E%3Cimg+src%3Dx%3E",
        "/w/acme/connect?client=%22%3E%3Cimg&since=%3Cscript%3E",
        "/w/acme/policies/access?q=%22%3E%3Cimg+src%3Dx%3E&answer=%3Cscript%3E",
        "/%22%3E%3Cimg+src=x%3E",
        "/w/%3Cimg%3E/servers",
    ];
    let mut found: Vec<String> = typed.iter().map(|&path| path.to_owned()).collect();
    let mut place = 0;
    while let Some(path) = found.get(place).cloned() {
        place += 1;
        let page = owner.look(&path).await;
        for tag in tags(&page.text) {
            for name in ["href", "hx-get", "data-href"] {
                let link = tag.get(name).unwrap_or_default().replace("&amp;", "&").replace("&#38;", "&");
                let link = link.split('#').next().unwrap().to_owned();
                // One page of a list is like the other; the log's rows are many.
                let shape = |link: &str| (link.split('?').next().unwrap().to_owned(), link.contains("call="));
                let is_new =
                    found.iter().filter(|known| shape(known) == shape(&link)).count() < 4 && !found.contains(&link);
                if (link.starts_with("/w/") || link.starts_with("/account")) && is_new && found.len() < 160 {
                    found.push(link);
                }
            }
        }
    }
    found
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_a_look_finds_and_how_it_fails_is_shown_as_text(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let server = app.server(&person, "wiki", &[crate::app::tool("search", "x")]).await;
    let failed = json!({"step": "era", "code": "protocol", "detail": evil("failed")});
    for stream in [says("one"), format!("event: failed\ndata: {failed}\n\n")] {
        app.node_says(&stream);
        owner.get("/w/acme/servers/new").await.expect(200);
        let url = [("url", "https://evil.example/%22%3E%3Cimg%20src=x%3E")];
        let page = owner.post("/w/acme/servers/new", &url).await.expect(200);
        check("a look", &page);
        assert!(text(&page.text).contains("onerror=alert(1)"), "{}", text(&page.text));
        app.node_says(&stream);
        let streamed = owner.post_part("/w/acme/servers/new", &url).await.expect(200);
        for forbidden in ["<img", "<script>", "\u{202e}", "\u{200b}"] {
            assert!(!streamed.text.contains(forbidden), "{forbidden:?}");
        }
        assert!(
            streamed.text.lines().all(|line| line.is_empty() || line.starts_with("data: ") || line.starts_with(':')),
            "{}",
            streamed.text
        );
        // Looked at anew, it is said in the flash.
        app.node_says(&stream);
        let done = owner.post(&format!("/w/acme/servers/{server}/refresh"), &[]).await.expect(303);
        check("the flash", &owner.get(done.location()).await.expect(200));
        check("the list", &owner.get("/w/acme/servers").await.expect(200));
        check("the overview", &owner.get("/w/acme").await.expect(200));
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_is_typed_comes_back_as_a_text_from_every_form(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let world = World::of(&app, (&owner, &person), OLIVE).await;
    let is_ending =
        |route: &Route| ["/sign-out", "/end-others"].contains(&route.path.as_str()) || route.path.ends_with("/remove");
    for route in routes::all().into_iter().filter(|route| route.posts && !is_ending(route)) {
        owner.get("/account").await.expect(200);
        let mut fields = world.fields(&route.path);
        let path = world.path(&route.path);
        for (name, value) in &mut fields {
            // What has to be right for the rest to be looked at stays.
            if !matches!(*name, "present" | "revision" | "kind") {
                *value = evil(value);
            }
        }
        for answer in [owner.post(&path, &refs(&fields)).await, owner.post_part(&path, &refs(&fields)).await] {
            assert!(answer.status.as_u16() < 500, "{path}: {} {}", answer.status, answer.text);
            check(&path, &answer);
            let next = answer.location().to_owned();
            if !next.is_empty() {
                check(&next, &owner.look(&next).await);
            }
        }
    }
}

/// A header's value, or nothing.
fn value<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn every_answer_says_that_it_is_framed_sniffed_and_kept_by_nobody(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let world = World::of(&app, (&owner, &person), OLIVE).await;
    let visitor = Browser::new(&app);
    let mut answers: Vec<(String, Answer)> = Vec::new();
    for route in routes::all().into_iter().filter(|route| !route.path.ends_with("/live/events")) {
        let path = world.path(&route.path);
        for browser in [&owner, &visitor] {
            for method in ["GET", "HEAD", "PUT", "OPTIONS", "TRACE"] {
                let request = Request::builder().method(method).uri(&path).header("sec-fetch-site", "same-origin");
                answers.push((format!("{method} {path}"), browser.send(request, Body::empty()).await));
            }
        }
        if route.posts {
            let forged = Request::post(&path).header("sec-fetch-site", "cross-site");
            answers.push((format!("forged {path}"), owner.send(forged, Body::empty()).await));
            answers.push((format!("empty {path}"), visitor.send(Browser::form(&path), Body::empty()).await));
        }
    }
    owner.get("/w/acme/activity").await.expect(200);
    answers.push(("export".to_owned(), owner.post("/w/acme/activity/export", &[("format", "csv")]).await.expect(200)));
    let long = vec![b'a'; 2 * 1024 * 1024];
    answers
        .push(("a long form".to_owned(), visitor.send(Browser::form("/sign-in"), Body::from(long)).await.expect(413)));
    let page = visitor.get("/sign-in").await;
    for tag in tags(&page.text) {
        for name in ["src", "href"] {
            let file = tag.get(name).unwrap_or_default().split('#').next().unwrap().to_owned();
            if file.starts_with("/assets/") && !file.contains(".woff2") {
                answers.push((file.clone(), visitor.send(Request::get(&file), Body::empty()).await.expect(200)));
            }
        }
    }
    for path in
        ["/assets/none.js", "/api/v1/openapi.json", "/api/v1/tenants/acme", "/api/v1/nothing", "/api", "/nothing"]
    {
        for method in ["GET", "POST", "DELETE", "OPTIONS"] {
            let request = Request::builder().method(method).uri(path);
            answers.push((format!("{method} {path}"), visitor.send(request, Body::empty()).await));
        }
    }
    let api = app.get(&person, &person.path()).await.expect(200);
    answers.push(("the API".to_owned(), api));
    for (what, answer) in &answers {
        let policy = value(answer, "content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{what}: {policy}"
        );
        assert!(!policy.contains("unsafe-eval") && !policy.contains("script-src 'unsafe"), "{what}: {policy}");
        assert_eq!(value(answer, "x-frame-options"), "DENY", "{what}");
        assert_eq!(value(answer, "x-content-type-options"), "nosniff", "{what}");
        assert!(matches!(value(answer, "referrer-policy"), "same-origin" | "no-referrer"), "{what}");
        assert_eq!(value(answer, "cross-origin-resource-policy"), "same-origin", "{what}");
        assert_eq!(value(answer, "access-control-allow-origin"), "", "{what}");
        let is_asset = what.starts_with("/assets/");
        assert_eq!(
            value(answer, "cache-control").contains("no-store"),
            !is_asset,
            "{what}: {}",
            value(answer, "cache-control")
        );
    }
    assert!(answers.len() > 500, "{}", answers.len());
}
