//! The screens of servers and policies in a workspace with 500 tools and 30 policies.

use std::time::Instant;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::browser::Browser;
use super::markup;
use crate::app::{App, Person};

const TOOLS: usize = 500;
const POLICIES: usize = 30;

/// Tools as servers have them: a few hundred characters of text, a handful of arguments.
pub(super) fn tools(word: &str) -> Vec<Value> {
    let verbs = ["list", "get", "search", "create", "update", "delete", "export", "send"];
    let things = ["invoice", "customer", "ticket", "deployment", "branch", "alert", "document", "calendar_event"];
    let tool = |number: usize| {
        let (verb, thing) = (verbs[number % verbs.len()], things[number / verbs.len() % things.len()]);
        let said = format!(
            "{word} a {thing} of workspace {number}: {verb}s it by its number, and gives what it is, who made it and when. \
             Use it where the person names a {thing}; ask before using it for more than {} at a time.",
            number % 7 + 2
        );
        json!({"name": format!("{verb}_{thing}_{number:03}"), "description": said, "inputSchema": {"type": "object",
            "required": ["id"], "properties": {
                "id": {"type": "string", "description": "The number"},
                "limit": {"type": "integer"}, "team": {"type": "string", "enum": ["north", "south"]},
                "dry_run": {"type": "boolean"}, "where": {"type": "object", "properties": {"city": {"type": "string"}}}}}})
    };
    (0..TOOLS).map(tool).collect()
}

fn policy(number: usize) -> String {
    let tool = format!("Sluice::Action::\"call:wiki/list_invoice_{:03}\"", number * 64 % 448);
    match number % 3 {
        0 => "@id(\"members\")\npermit (principal, action in Sluice::Action::\"tools/call\", resource) when { resource.readOnly };"
            .to_owned(),
        1 => format!(
            "@id(\"big\")\n@reason(\"At most 50 at a time.\")\n@visible\nforbid (principal, action == {tool}, resource)\nwhen {{ \
             context.arguments has limit && context.arguments.limit > {number} }};"
        ),
        _ => format!(
            "@id(\"few\")\npermit (principal, action == {tool}, resource)\nunless {{ context.arguments has team && \
             context.arguments.team == \"team-{number}\" }};"
        ),
    }
}

/// Where each screen is, of a workspace with all this.
async fn screens(app: &App, owner: &Browser<'_>, person: &Person) -> Vec<String> {
    let server = app.server(person, "wiki", &tools("Handles")).await;
    let tool =
        app.get(person, &format!("/tenants/acme/servers/{server}/tools")).await.expect(200).text_at("/tools/0/id");
    let mut last = String::new();
    for number in 0..POLICIES {
        let body = json!({"name": format!("Policy {number}"), "text": policy(number)});
        let added = app.post(person, "/tenants/acme/policies", body).await.expect(201);
        last = added.text_at("/policy/id");
        let body = json!({"revision": 1, "version": 1});
        app.post(person, &format!("/tenants/acme/policies/{last}/activate"), body).await.expect(200);
    }
    owner.get(&format!("/w/acme/policies/{last}")).await.expect(200);
    let text = format!("{}\n// more", policy(POLICIES - 1));
    owner.post(&format!("/w/acme/policies/{last}"), &[("text", &text), ("revision", "2")]).await.expect(303);
    app.node_finds(&tools("Looks after"));
    let held = app.post(person, &format!("/tenants/acme/servers/{server}/import"), json!({})).await.expect(201);
    let (server, policy) = (format!("/w/acme/servers/{server}"), format!("/w/acme/policies/{last}"));
    vec![
        "/w/acme/servers".to_owned(),
        "/w/acme/servers?q=invoice".to_owned(),
        server.clone(),
        format!("{server}?q=invoice"),
        format!("{server}/calls"),
        format!("{server}/settings"),
        format!("{server}/versions"),
        format!("{server}/versions/{}", held.text_at("/held/id")),
        format!("{server}/tools/{tool}"),
        "/w/acme/policies".to_owned(),
        "/w/acme/policies/new".to_owned(),
        policy.clone(),
        format!("{policy}/versions/2"),
        "/w/acme/policies/access".to_owned(),
        "/w/acme/policies/access?q=invoice".to_owned(),
        "/w/acme/connect".to_owned(),
    ]
}

/// `cargo test … -- --nocapture five_hundred` says how long each takes, the first time and then; the program is not optimised
/// here. What a page weighs is the same everywhere, and is bounded.
#[sqlx::test(migrator = "store::MIGRATOR")]
async fn pages_stay_light_with_five_hundred_tools(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    for path in screens(&app, &owner, &person).await {
        let mut took = Vec::new();
        let mut size = 0;
        for _ in 0..6 {
            let began = Instant::now();
            let page =
                owner.send(Request::get(&path).header("sec-fetch-site", "none"), Body::empty()).await.expect(200);
            took.push(began.elapsed().as_secs_f64() * 1e3);
            markup::check_page(&path, &page);
            size = markup::compressed(&page.text);
        }
        let first = took.remove(0);
        took.sort_by(f64::total_cmp);
        println!("{path}: {:.1} ms, the first time {first:.1} ms; {size} bytes", took[took.len() / 2]);
    }
}
