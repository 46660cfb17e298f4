//! Every route of the console as each role: what it answers, and that no page offers what its reader may not do.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::json;
use sqlx::PgPool;

use super::browser::Browser;
use super::markup::tags;
use crate::app::{App, Person, tool};

const ROLES: [&str; 5] = ["owner", "admin", "policy_author", "auditor", "member"];

/// Every route with what each of [`ROLES`] is answered. `GET`s name what is there; most `POST`s name what is nobody's, so
/// that 404 or 422 is the answer to whoever may, and nothing changes on the way.
const TABLE: &str = r"
GET  /                                                   303 303 303 303 303
GET  /workspaces                                         200 200 200 200 200
GET  /workspaces/new                                     200 200 200 200 200
POST /workspaces/new                                     422 422 422 422 422
GET  /session                                            200 200 200 200 200
POST /session                                            200 200 200 200 200
GET  /account                                            200 200 200 200 200
POST /account/password                                   422 422 422 422 422
POST /account/email                                      422 422 422 422 422
GET  /account/email/{token}                              404 404 404 404 404
POST /account/email/{token}                              404 404 404 404 404
POST /account/sessions/{session}/end                     404 404 404 404 404
POST /account/sessions/end-others                        303 303 303 303 303
GET  /sign-in                                            303 303 303 303 303
POST /sign-in                                            422 422 422 422 422
GET  /sign-up                                            303 303 303 303 303
POST /sign-up                                            422 422 422 422 422
GET  /sign-up/{token}                                    404 404 404 404 404
POST /sign-up/{token}                                    404 404 404 404 404
GET  /invitations/{token}                                404 404 404 404 404
POST /invitations/{token}                                404 404 404 404 404
GET  /forgot                                             200 200 200 200 200
POST /forgot                                             422 422 422 422 422
GET  /reset/{token}                                      404 404 404 404 404
POST /reset/{token}                                      404 404 404 404 404
GET  /w/{tenant}                                         200 200 200 200 200
GET  /w/{tenant}/palette                                 200 200 200 200 200
GET  /w/{tenant}/access                                  200 200 200 200 200
GET  /w/{tenant}/activity                                200 200 200 200 200
POST /w/{tenant}/activity/export                         200 200 200 200 200
GET  /w/{tenant}/evidence                                200 200 200 200 403
POST /w/{tenant}/evidence/verify                         200 200 200 200 403
POST /w/{tenant}/evidence/bundle                         409 409 403 409 403
GET  /w/{tenant}/live                                    200 200 200 200 200
GET  /w/{tenant}/live/events                             200 200 200 200 200
GET  /w/{tenant}/servers                                 200 200 200 200 403
GET  /w/{tenant}/servers/new                             200 200 403 403 403
POST /w/{tenant}/servers/new                             422 422 403 403 403
POST /w/{tenant}/servers/sandbox                         303 303 403 403 403
POST /w/{tenant}/servers/add                             422 422 403 403 403
GET  /w/{tenant}/servers/{server}                        200 200 200 200 403
GET  /w/{tenant}/servers/{server}/calls                  200 200 200 200 403
GET  /w/{tenant}/servers/{server}/versions               200 200 200 200 403
GET  /w/{tenant}/servers/{server}/settings               200 200 200 200 403
POST /w/{tenant}/servers/{server}/settings               404 404 403 403 403
POST /w/{tenant}/servers/{server}/pause                  404 404 403 403 403
POST /w/{tenant}/servers/{server}/resume                 404 404 403 403 403
POST /w/{tenant}/servers/{server}/remove                 404 404 403 403 403
POST /w/{tenant}/servers/{server}/refresh                404 404 403 403 403
GET  /w/{tenant}/servers/{server}/versions/{version}     200 200 200 200 403
POST /w/{tenant}/servers/{server}/versions/{version}/accept 404 404 403 403 403
POST /w/{tenant}/servers/{server}/versions/{version}/reject 404 404 403 403 403
GET  /w/{tenant}/servers/{server}/tools/{tool}           200 200 200 200 403
POST /w/{tenant}/servers/{server}/tools/{tool}           404 404 403 403 403
GET  /w/{tenant}/servers/{server}/credential             200 200 200 200 403
POST /w/{tenant}/servers/{server}/credential             404 404 403 403 403
POST /w/{tenant}/servers/{server}/credential/remove      404 404 403 403 403
GET  /w/{tenant}/policies                                200 200 200 200 403
GET  /w/{tenant}/policies/new                            200 200 200 403 403
POST /w/{tenant}/policies/new                            422 422 422 403 403
POST /w/{tenant}/policies/begin                          422 422 403 403 403
POST /w/{tenant}/policies/check                          200 200 200 403 403
GET  /w/{tenant}/policies/words                          200 200 200 200 403
GET  /w/{tenant}/policies/live                           200 200 200 200 403
GET  /w/{tenant}/policies/access                         200 200 200 200 403
GET  /w/{tenant}/policies/{policy}                       200 200 200 200 403
POST /w/{tenant}/policies/{policy}                       404 404 404 403 403
POST /w/{tenant}/policies/{policy}/deactivate            404 404 403 403 403
POST /w/{tenant}/policies/{policy}/remove                404 404 404 403 403
GET  /w/{tenant}/policies/{policy}/versions/{version}    200 200 200 200 403
POST /w/{tenant}/policies/{policy}/versions/{version}/publish 404 404 403 403 403
GET  /w/{tenant}/tokens                                  200 200 200 200 200
GET  /w/{tenant}/tokens/new                              200 200 200 403 200
POST /w/{tenant}/tokens/new                              422 422 422 403 422
GET  /w/{tenant}/tokens/gateway/{token}                  200 200 404 200 404
POST /w/{tenant}/tokens/gateway/{token}                  404 404 404 404 404
GET  /w/{tenant}/tokens/gateway/{token}/issued           303 303 303 403 303
GET  /w/{tenant}/tokens/api/{token}                      200 200 404 200 404
POST /w/{tenant}/tokens/api/{token}                      404 404 404 404 404
GET  /w/{tenant}/tokens/api/{token}/issued               303 303 303 403 303
GET  /w/{tenant}/connect                                 200 200 200 403 200
POST /w/{tenant}/connect/token                           303 303 303 403 303
GET  /w/{tenant}/connect/issued/{token}                  303 303 303 403 303
GET  /w/{tenant}/connect/calls                           200 200 200 403 200
POST /w/{tenant}/connect/blocked                         200 200 200 403 200
GET  /w/{tenant}/people                                  200 200 200 200 403
GET  /w/{tenant}/people/invite                           200 200 403 403 403
POST /w/{tenant}/people/invite                           422 422 403 403 403
POST /w/{tenant}/people/invitations/{invitation}/withdraw 404 404 403 403 403
GET  /w/{tenant}/people/{member}                         200 200 200 200 403
POST /w/{tenant}/people/{member}                         404 404 403 403 403
POST /w/{tenant}/people/{member}/remove                  404 404 403 403 403
GET  /w/{tenant}/destinations                            200 200 403 200 403
GET  /w/{tenant}/destinations/new                        200 200 403 403 403
POST /w/{tenant}/destinations/new                        404 404 403 403 403
GET  /w/{tenant}/destinations/{destination}              200 200 403 200 403
POST /w/{tenant}/destinations/{destination}/settings     404 404 403 403 403
POST /w/{tenant}/destinations/{destination}/start        404 404 403 403 403
POST /w/{tenant}/destinations/{destination}/pause        404 404 403 403 403
POST /w/{tenant}/destinations/{destination}/retry        404 404 403 403 403
POST /w/{tenant}/destinations/{destination}/test         404 404 403 403 403
POST /w/{tenant}/destinations/{destination}/replay       404 404 403 403 403
POST /w/{tenant}/destinations/{destination}/replay-end   404 404 403 403 403
POST /w/{tenant}/destinations/{destination}/resend       404 404 403 403 403
POST /w/{tenant}/destinations/{destination}/remove       404 404 403 403 403
GET  /w/{tenant}/settings                                200 200 200 200 200
POST /w/{tenant}/settings                                422 422 403 403 403
POST /sign-out                                           303 303 303 303 303
";

/// What only a page asks for by itself.
const PARTS: [&str; 2] = ["/w/{tenant}/policies/live", "/w/{tenant}/connect/calls"];

/// What a form needs so that it is the role that stops it, or else what it says.
fn fields(route: &str) -> Vec<(&'static str, &'static str)> {
    match route {
        "/w/{tenant}/activity/export" => vec![("format", "csv")],
        "/w/{tenant}/people/{member}" => vec![("name", "x"), ("role", "member"), ("groups", "")],
        "/w/{tenant}/policies/{policy}" => vec![("text", "x"), ("revision", "1"), ("do", "save")],
        "/w/{tenant}/policies/check" => vec![("text", "")],
        "/w/{tenant}/policies/{policy}/versions/{version}/publish" | "/w/{tenant}/policies/{policy}/deactivate" => {
            vec![("revision", "1")]
        }
        "/w/{tenant}/settings" => vec![("title", "")],
        "/w/{tenant}/destinations/{destination}/settings" => vec![("revision", "")],
        "/sign-in" => vec![("email", "nobody@acme.example"), ("password", "wrong")],
        _ => vec![("email", "none"), ("password", "x"), ("present", "x"), ("name", ""), ("title", "")],
    }
}

/// A row of the table.
struct Row {
    method: &'static str,
    route: &'static str,
    expected: [u16; 5],
}

fn table() -> Vec<Row> {
    let row = |line: &'static str| {
        let mut words = line.split_whitespace();
        let (method, route) = (words.next().unwrap(), words.next().unwrap());
        let expected: Vec<u16> = words.map(|word| word.parse().unwrap()).collect();
        Row { method, route, expected: expected.try_into().unwrap() }
    };
    TABLE.lines().filter(|line| !line.is_empty()).map(row).collect()
}

/// What the parameters of routes stand for: things that are there, and things that are nobody's.
type Things = BTreeMap<&'static str, String>;

fn filled(route: &str, things: &Things) -> String {
    let part = |part: &str| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
        Some(name) => things.get(name).cloned().unwrap_or_else(|| panic!("{route}: nothing is called {name}")),
        None => part.to_owned(),
    };
    route.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// A workspace that has one of each.
async fn things(app: &App, owner: &Person) -> Things {
    let at = |rest: &str| format!("{}{rest}", owner.path());
    let server = app.server(owner, "wiki", &[tool("search", "x"), tool("delete_page", "x")]).await;
    let tools = app.get(owner, &at(&format!("/servers/{server}/tools"))).await.expect(200);
    let versions = app.get(owner, &at(&format!("/servers/{server}/versions"))).await.expect(200);
    let rule = "permit (principal, action == Sluice::Action::\"call:wiki/search\", resource);";
    let policy = app.in_force(owner, "Reading", rule).await;
    let body = json!({"title": "Laptop", "days": 1});
    let gateway = app.post(owner, &at("/gateway-tokens"), body.clone()).await.expect(201).text_at("/token/id");
    let (_, member) = app.member(owner, "zoe@acme.example", "member").await;
    let settings = json!({"kind": "webhook", "url": "https://nobody.invalid/hook"});
    let hook = json!({"name": "hook", "settings": settings});
    let destination = app.post(owner, &at("/audit/destinations"), hook).await.expect(201).text_at("/id");
    BTreeMap::from([
        ("destination", destination),
        ("tenant", "acme".to_owned()),
        ("tool", tools.text_at("/tools/0/id")),
        ("sver", versions.text_at("/versions/0/id")),
        ("server", server),
        ("policy", policy),
        ("token", gateway),
        ("member", member),
    ])
}

/// The same, of what is nobody's.
fn nobodys(app: &App) -> Things {
    let id = domain::TokenId::new(&app.parts.clock).to_string();
    let of = |prefix: &str| id.replacen("tok", prefix, 1);
    let names = [
        ("server", "srv"),
        ("tool", "tool"),
        ("policy", "pol"),
        ("token", "tok"),
        ("member", "mem"),
        ("invitation", "inv"),
        ("session", "ses"),
        ("destination", "dst"),
        ("version", "sver"),
    ];
    let mut things: Things = names.into_iter().map(|(name, prefix)| (name, of(prefix))).collect();
    things.insert("tenant", "acme".to_owned());
    things
}

/// The path of a row: of what is there for pages, of nobody's for what would change it.
fn path(row: &Row, there: &Things, nobodys: &Things) -> String {
    let mut things = if row.method == "GET" { there.clone() } else { nobodys.clone() };
    let is_policy = row.route.contains("/policies/");
    let version = if is_policy { Some("1".to_owned()) } else { there.get("sver").cloned() };
    if let Some(version) = version.filter(|_| is_policy || row.method == "GET") {
        things.insert("version", version);
    }
    if row.route.ends_with("/api/{token}") && row.method == "GET" {
        things.insert("token", there["api"].clone());
    }
    if !row.route.starts_with("/w/") {
        things.insert("token", "none".to_owned());
        things.insert("session", nobodys["session"].clone());
    }
    filled(row.route, &things)
}

/// The routes that the sources name, each as `GET /path` or `POST /path`.
fn routes() -> BTreeSet<String> {
    fn walk(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else {
                of_file(&std::fs::read_to_string(&path).unwrap(), found);
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found
}

fn of_file(text: &str, found: &mut BTreeSet<String>) {
    // `let at = |path: &str| format!("/w/{{tenant}}/policies{path}");`
    let prefix = text.split("format!(\"").find(|rest| rest.starts_with("/w/{{tenant}}/") && rest.contains("{path}\")"));
    let prefix = prefix.and_then(|rest| rest.split("{path}").next()).unwrap_or_default();
    let prefix = prefix.replace("{{", "{").replace("}}", "}");
    for route in text.split(".route(").skip(1) {
        let Some((before, rest)) = route.split_once('"') else { continue };
        let (path, rest) = rest.split_once('"').unwrap();
        let path = if before.trim().starts_with("&at(") { format!("{prefix}{path}") } else { path.to_owned() };
        let is_ours = !path.starts_with("/api/") && !path.starts_with("/assets/") && !path.starts_with("/dev/");
        let handlers = rest.split(".with_state").next().unwrap_or_default();
        let handlers = handlers.split("\n        .").next().unwrap_or_default();
        for (call, method) in [("get(", "GET"), ("post(", "POST")] {
            if is_ours && handlers.contains(call) {
                found.insert(format!("{method} {path}"));
            }
        }
    }
}

#[test]
fn every_route_of_the_console_is_in_the_table() {
    let listed: BTreeSet<String> = table().iter().map(|row| format!("{} {}", row.method, row.route)).collect();
    let routes = routes();
    assert!(routes.len() > 60, "{routes:?}");
    let missing: Vec<_> = routes.difference(&listed).collect();
    assert_eq!(missing, Vec::<&String>::new(), "say in the table what each role is answered");
    let gone: Vec<_> = listed.difference(&routes).collect();
    assert_eq!(gone, Vec::<&String>::new(), "there is no such route any more");
}

/// The row that a path of a page is of; literal parts win over parameters.
fn row_of<'a>(rows: &'a [Row], method: &str, path: &str) -> Option<&'a Row> {
    let path: Vec<&str> = path.split(['?', '#']).next().unwrap_or_default().split('/').collect();
    let fits = |row: &&Row| {
        let parts: Vec<&str> = row.route.split('/').collect();
        row.method == method
            && parts.len() == path.len()
            && parts.iter().zip(&path).all(|(part, given)| part.starts_with('{') || part == given)
    };
    rows.iter().filter(fits).min_by_key(|row| row.route.matches('{').count())
}

/// What a page offers: links and forms, each with its row of the table.
fn offered<'a>(rows: &'a [Row], page: &str, html: &str) -> Vec<(String, &'a Row)> {
    let mut offered = Vec::new();
    for tag in tags(html) {
        let is_post = tag.name == "form" && tag.get("method") == Some("post");
        let (method, address) = match tag.name.as_str() {
            "form" => (if is_post { "POST" } else { "GET" }, tag.get("action")),
            _ => ("GET", tag.get("href").or_else(|| tag.get("data-href"))),
        };
        let others = [("POST", tag.get("hx-post").or_else(|| tag.get("formaction"))), ("GET", tag.get("hx-get"))];
        for (method, address) in others.into_iter().chain([(method, address)]) {
            let Some(address) = address.filter(|address| address.starts_with('/')) else { continue };
            if address.starts_with("/api/") || address.starts_with("/assets/") {
                continue;
            }
            let row = row_of(rows, method, address);
            let row = row.unwrap_or_else(|| panic!("{page} offers {method} {address}, which is no route"));
            offered.push((format!("{method} {address}"), row));
        }
    }
    offered
}

async fn browsers<'a>(app: &'a App, owner: &Person) -> Vec<Browser<'a>> {
    let mut browsers = Vec::new();
    for role in ROLES {
        let email = format!("{role}@acme.example");
        app.member(owner, &email, role).await;
        browsers.push(Browser::of(app, &email).await);
    }
    browsers
}

async fn answered(browser: &Browser<'_>, row: &Row, path: &str) -> (u16, String) {
    if row.route.ends_with("/events") {
        // A stream without an end: its head is the answer.
        return (browser.head(path).await, String::new());
    }
    if row.method == "GET" {
        let is_part = PARTS.contains(&row.route);
        let answer = if is_part { browser.get_part(path).await } else { browser.get(path).await };
        return (answer.status.as_u16(), answer.text);
    }
    browser.get("/account").await;
    (browser.post(path, &fields(row.route)).await.status.as_u16(), String::new())
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn each_role_is_answered_as_the_table_says_and_offered_nothing_else(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let mut there = things(&app, &owner).await;
    let api = app.get(&owner, &format!("{}/api-tokens", owner.path())).await.expect(200);
    there.insert("api", api.text_at("/tokens/0/id"));
    let (nobodys, rows) = (nobodys(&app), table());
    let browsers = browsers(&app, &owner).await;
    let mut wrong = Vec::new();
    for row in &rows {
        let path = path(row, &there, &nobodys);
        for (place, browser) in browsers.iter().enumerate() {
            let (status, html) = answered(browser, row, &path).await;
            if status != row.expected[place] {
                let (role, expected) = (ROLES[place], row.expected[place]);
                wrong.push(format!("{} {} as {role}: {status}, and not {expected}", row.method, row.route));
            }
            for (offer, of) in offered(&rows, &path, &html) {
                if of.expected[place] == 403 {
                    wrong.push(format!("{path} offers {offer} to {}", ROLES[place]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
