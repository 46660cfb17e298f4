//! Every route of the console, read from where routes are made, so that one that is added is attacked without being listed;
//! a workspace with one of everything that routes name; and what all of the database holds, as one text.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;
use sqlx::PgPool;

use super::browser::{Browser, PASSWORD};
use super::sign_up::mailed;
use crate::app::{App, Person, tool};

/// A path as the router has it, and what it answers to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Route {
    pub(crate) path: String,
    pub(crate) gets: bool,
    pub(crate) posts: bool,
}

impl Route {
    /// Whether it is for whoever is signed in only.
    pub(crate) fn is_private(&self) -> bool {
        ["/w/", "/account", "/workspaces"].iter().any(|start| self.path.starts_with(start)) || self.path == "/"
    }
}

/// The console's routes; not the API's, which its description lists, nor the files that pages are made of.
pub(crate) fn all() -> Vec<Route> {
    let mut files = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut routes = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for (place, _) in text.match_indices(".route(") {
            routes.push(read(&text[..place], &text[place + ".route(".len()..]));
        }
    }
    routes.retain(|route| !route.path.starts_with("/api/") && !route.path.starts_with("/assets/"));
    routes.sort();
    assert!(routes.len() > 55 && routes.iter().filter(|route| route.posts).count() > 35, "{routes:#?}");
    routes
}

/// Routes that take a form, in an order in which none takes away what another one needs.
pub(crate) fn posts() -> Vec<Route> {
    let rank = |path: &str| match path {
        "/account/password" => 5,
        "/account/email/{token}" => 4,
        "/account/sessions/end-others" | "/sign-out" => 3,
        _ if path.ends_with("/remove") => 2,
        _ => {
            u8::from(["/end", "/withdraw", "/deactivate", "/{token}", "/reject"].iter().any(|end| path.ends_with(end)))
        }
    };
    let mut routes: Vec<Route> = all().into_iter().filter(|route| route.posts).collect();
    routes.sort_by_key(|route| rank(&route.path));
    routes
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// Reads `"/path", get(a).post(b))` or `&at("/path"), …`, whose `at` is the last one before it.
fn read(before: &str, after: &str) -> Route {
    let (path, rest) = if let Some(rest) = after.strip_prefix("&at(\"") {
        let start =
            before.rfind("let at = |path: &str| format!(\"").unwrap_or_else(|| panic!("no `at` before {after:.60}"));
        let prefix = before[start..].split('"').nth(1).unwrap().strip_suffix("{path}").unwrap();
        let (path, rest) = rest.split_once('"').unwrap();
        (format!("{}{path}", prefix.replace("{{", "{").replace("}}", "}")), rest)
    } else {
        let rest = after
            .trim_start()
            .strip_prefix('"')
            .unwrap_or_else(|| panic!("a route's path is hard to read: {after:.60}"));
        let (path, rest) = rest.split_once('"').unwrap();
        (path.to_owned(), rest)
    };
    let handlers = rest.split(".route(").next().unwrap().split(".with_state").next().unwrap();
    let (gets, posts) = (handlers.contains("get("), handlers.contains("post("));
    assert!(gets || posts, "{path} answers to nothing that is known here: {handlers:.60}");
    Route { path, gets, posts }
}

/// A workspace with one of everything, and links that were mailed.
pub(crate) struct World {
    named: BTreeMap<&'static str, String>,
    /// Whose it is.
    pub(crate) email: &'static str,
}

/// The tools of the one server.
fn tools(says: &str) -> [serde_json::Value; 2] {
    [tool("search", says), tool("delete_page", "Deletes.")]
}

impl World {
    /// Makes one of everything in the workspace of `owner`, who is signed in in `browser`.
    pub(crate) async fn of(app: &App, (browser, owner): (&Browser<'_>, &Person), email: &'static str) -> Self {
        let path = owner.path();
        let server = app.server(owner, "wiki", &tools("Searches.")).await;
        let at = format!("{path}/servers/{server}");
        app.put(owner, &format!("{at}/credential"), json!({"kind": "bearer", "value": "canary"})).await.expect(200);
        // A version that waits.
        app.node_finds(&tools("Searches better."));
        let held = app.post(owner, &format!("{at}/import"), json!({})).await.expect(201).text_at("/held/id");
        let body = json!({"name": "all", "text": "permit (principal, action, resource);"});
        let policy = app.post(owner, &format!("{path}/policies"), body).await.expect(201).text_at("/policy/id");
        let token = json!({"title": "x", "days": 1});
        let gateway = app.post(owner, &format!("{path}/gateway-tokens"), token.clone()).await.text_at("/token/id");
        let api = app.post(owner, &format!("{path}/api-tokens"), token).await.text_at("/token/id");
        let tool = app.get(owner, &format!("{at}/tools")).await.text_at("/tools/0/id");
        let hook = json!({"name": "hook", "settings": {"kind": "webhook", "url": "https://nobody.invalid/hook"}});
        let destination = app.post(owner, &format!("{path}/audit/destinations"), hook).await.expect(201).text_at("/id");
        let someone = format!("someone@{}.example", owner.slug);
        let (_, member) = app.member(owner, &someone, "member").await;
        let mut named = BTreeMap::from([
            ("tenant", owner.slug.clone()),
            ("server", server),
            ("version", held),
            ("policy", policy),
            ("gateway", gateway),
            ("api", api),
            ("tool", tool),
            ("member", member),
            ("destination", destination),
        ]);
        links(app, (browser, owner), &mut named).await;
        named.insert("session", session(app, browser, email).await);
        Self { named, email }
    }

    /// A route's path in this world.
    pub(crate) fn path(&self, route: &str) -> String {
        let token = match route {
            "/sign-up/{token}" => "sign-up",
            "/reset/{token}" => "reset",
            "/invitations/{token}" => "invited",
            "/account/email/{token}" => "change",
            _ if route.contains("/tokens/api/") => "api",
            _ => "gateway",
        };
        let mut path = route.replace("{token}", &self.named[token]);
        if route.contains("/policies/") {
            path = path.replace("{version}", "1");
        }
        for (name, value) in &self.named {
            path = path.replace(&format!("{{{name}}}"), value);
        }
        assert!(!path.contains('{'), "a new kind of thing: say what stands for it in {path}");
        path
    }

    /// What the form of a route sends, and what does something when it is taken.
    pub(crate) fn fields(&self, route: &str) -> Vec<(&'static str, String)> {
        let own =
            |fields: &[(&'static str, &str)]| fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        match route {
            "/sign-in" => own(&[("email", self.email), ("password", PASSWORD)]),
            "/sign-up" | "/forgot" => own(&[("email", self.email)]),
            "/sign-up/{token}" => {
                own(&[("name", "New"), ("password", PASSWORD), ("title", "New"), ("slug", "brand-new")])
            }
            "/invitations/{token}" => own(&[("name", "New"), ("password", PASSWORD)]),
            "/reset/{token}" => own(&[("password", OTHER_PASSWORD)]),
            "/account/password" => own(&[("present", PASSWORD), ("password", OTHER_PASSWORD)]),
            "/account/email" => own(&[("present", PASSWORD), ("email", "other@new.example")]),
            "/workspaces/new" => own(&[("name", "New"), ("title", "New"), ("slug", "another-one")]),
            _ => own(workspace_fields(route.strip_prefix("/w/{tenant}").unwrap_or(route))),
        }
    }
}

/// What a password is changed to.
pub(crate) const OTHER_PASSWORD: &str = "granite lantern 77 moss";

/// Fields of forms below a workspace. A form without fields is named here too: so nobody forgets one.
fn workspace_fields(route: &str) -> &'static [(&'static str, &'static str)] {
    match route {
        "/activity/export" => &[("format", "csv")],
        "/connect/token" => &[("client", "codex")],
        "/evidence/bundle" => &[("from", ""), ("until", "")],
        "/people/invite" => &[("email", "asked@new.example"), ("role", "member")],
        "/people/{member}" => &[("name", "Renamed"), ("role", "admin"), ("groups", "on-call")],
        "/policies/new" => &[("name", "other"), ("text", "permit (principal, action, resource);")],
        "/policies/begin" => &[("pack", "read_only")],
        "/policies/check" => &[("text", "permit (principal, action, resource);")],
        "/policies/{policy}" => &[("text", "forbid (principal, action, resource);"), ("revision", "1")],
        "/policies/{policy}/deactivate" | "/policies/{policy}/versions/{version}/publish" => &[("revision", "1")],
        "/servers/new" => &[("url", "https://other.example/mcp")],
        "/servers/add" => {
            &[("endpoint", "https://other.example/mcp"), ("title", "Other"), ("key", "other"), ("kind", "none")]
        }
        "/servers/{server}/credential" => &[("kind", "bearer"), ("value", "other")],
        "/servers/{server}/remove" => &[("typed", "wiki")],
        "/servers/{server}/settings" => &[
            ("title", "Renamed"),
            ("endpoint", "https://upstream.example/mcp"),
            ("alias", "wiki"),
            ("labels", ""),
            ("timeout", "30"),
            ("largest", "4"),
            ("revision", "2"),
        ],
        "/servers/{server}/tools/{tool}" => &[("risk", "execute"), ("labels", "odd")],
        "/servers/{server}/versions/{version}/accept" | "/servers/{server}/versions/{version}/reject" => {
            &[("all", "1")]
        }
        "/settings" => &[("title", "Renamed")],
        "/tokens/new" => &[("title", "mine"), ("days", "7")],
        "/sign-out"
        | "/session"
        | "/servers/sandbox"
        | "/account/email/{token}"
        | "/account/sessions/{session}/end"
        | "/account/sessions/end-others"
        | "/connect/blocked"
        | "/evidence/verify"
        | "/people/invitations/{invitation}/withdraw"
        | "/people/{member}/remove"
        | "/policies/{policy}/remove"
        | "/servers/{server}/credential/remove"
        | "/servers/{server}/pause"
        | "/servers/{server}/refresh"
        | "/servers/{server}/resume"
        | "/tokens/api/{token}"
        | "/tokens/gateway/{token}" => &[],
        other => destination_fields(other),
    }
}

/// The same of destinations.
fn destination_fields(route: &str) -> &'static [(&'static str, &'static str)] {
    match route {
        "/destinations/new" => &[
            ("kind", "webhook"),
            ("name", "Other"),
            ("format", "native"),
            ("url", "https://nobody.invalid/other"),
            ("secret", "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="),
        ],
        "/destinations/{destination}/settings" => {
            &[("revision", "1"), ("name", "hook"), ("format", "ecs"), ("url", "https://nobody.invalid/new")]
        }
        "/destinations/{destination}/remove" => &[("typed", "hook")],
        "/destinations/{destination}/start"
        | "/destinations/{destination}/pause"
        | "/destinations/{destination}/retry"
        | "/destinations/{destination}/test"
        | "/destinations/{destination}/replay"
        | "/destinations/{destination}/replay-end"
        | "/destinations/{destination}/resend" => &[],
        new => panic!("{new} takes a form: say in routes.rs what it sends, so that it is attacked"),
    }
}

/// Has every kind of link mailed, and an invitation that waits.
async fn links(app: &App, (browser, owner): (&Browser<'_>, &Person), named: &mut BTreeMap<&'static str, String>) {
    let last = |path: String| path.rsplit('/').next().unwrap().to_owned();
    let slug = &owner.slug;
    let visitor = Browser::new(app);
    let fields = [("email", format!("new@{slug}.example"))];
    let sent = visitor.post("/sign-up", &refs(&fields)).await.expect(200);
    named.insert("sign-up", last(mailed(&sent)));
    let someone = [("email", format!("someone@{slug}.example"))];
    named.insert("reset", last(mailed(&visitor.post("/forgot", &refs(&someone)).await.expect(200))));
    browser.get("/account").await.expect(200);
    let change = [("present", PASSWORD.to_owned()), ("email", format!("changed@{slug}.example"))];
    named.insert("change", last(mailed(&browser.post("/account/email", &refs(&change)).await.expect(200))));
    let ask = async |name: &str| {
        let asked = [("email", format!("{name}@{slug}.example")), ("role", "member".to_owned())];
        browser.post(&format!("/w/{slug}/people/invite"), &refs(&asked)).await.expect(200)
    };
    // One that is taken back, and one that is taken up.
    let sent = ask("waiting").await;
    let withdraw = sent.text.split('"').find(|part| part.ends_with("/withdraw")).unwrap();
    named.insert("invitation", withdraw.split('/').nth(5).unwrap().to_owned());
    named.insert("invited", last(mailed(&ask("invited").await)));
}

/// Another session of the person, by its id.
async fn session(app: &App, browser: &Browser<'_>, email: &str) -> String {
    Browser::of(app, email).await;
    let page = browser.get("/account").await.expect(200);
    let end = page.text.split('"').find(|part| part.starts_with("/account/sessions/ses_")).unwrap();
    end.split('/').nth(3).unwrap().to_owned()
}

/// Fields as [`Browser::post`] takes them.
pub(crate) fn refs<'a>(fields: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    fields.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// What all tables hold, of every tenant, by table. Only when a session was last seen is left out.
pub(crate) async fn everything(pool: &PgPool) -> BTreeMap<String, String> {
    let mut tx = pool.begin().await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'public' and c.relkind in ('r', 'p') and not c.relispartition and c.relname <> '_sqlx_migrations'",
    )
    .fetch_all(&mut *tx)
    .await
    .unwrap();
    let mut found = BTreeMap::new();
    for table in tables {
        // The owner of the tables is fenced off like everybody else; for this transaction it is not.
        let open = format!("alter table {table} no force row level security");
        sqlx::raw_sql(sqlx::AssertSqlSafe(open)).execute(&mut *tx).await.unwrap();
        let rows = format!(
            "select coalesce(string_agg(row, E'\\n' order by row), '')
            from (select (to_jsonb(t) - 'seen_at')::text as row from {table} t) rows"
        );
        let rows: String = sqlx::query_scalar(sqlx::AssertSqlSafe(rows)).fetch_one(&mut *tx).await.unwrap();
        found.insert(table, rows);
    }
    assert!(found.len() > 20 && !found["users"].is_empty(), "{:?}", found.keys());
    tx.rollback().await.unwrap();
    found
}

#[test]
fn routes_are_read_as_they_are_written() {
    let routes = all();
    let find = |path: &str| routes.iter().find(|route| route.path == path).unwrap_or_else(|| panic!("no {path}"));
    assert!(find("/").gets && find("/sign-in").posts && find("/sign-in").gets && !find("/sign-out").gets);
    assert!(find("/w/{tenant}/servers/{server}/tools/{tool}").posts && find("/w/{tenant}/palette").gets);
    assert!(!find("/w/{tenant}/policies/{policy}/versions/{version}/publish").gets);
    assert!(find("/w/{tenant}").is_private() && !find("/forgot").is_private());
}
