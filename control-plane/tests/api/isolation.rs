use serde_json::{Value, json};
use sqlx::PgPool;

use crate::app::{App, Person, tool};

/// Ids of one of everything a tenant may have.
struct Things {
    member: String,
    server: String,
    version: String,
    tool: String,
    item: String,
    policy: String,
    gateway_token: String,
    api_token: String,
}

async fn things(app: &App, owner: &Person) -> Things {
    let path = owner.path();
    let server = app.server(owner, "wiki", &[tool("search", "x")]).await;
    let prompts = json!({"prompts": [{"name": "their-prompt"}]});
    app.node_finds_items(&[tool("search", "x")], &prompts);
    app.post(owner, &format!("{path}/servers/{server}/import"), json!({})).await.expect(201);
    let at = format!("{path}/servers/{server}");
    app.put(owner, &format!("{at}/credential"), json!({"kind": "bearer", "value": "canary"})).await.expect(200);
    let body = json!({"name": "all", "text": "permit (principal, action, resource);"});
    let policy = app.post(owner, &format!("{path}/policies"), body).await.expect(201);
    let body = json!({"title": "x", "days": 1});
    Things {
        member: app.get(owner, &format!("{path}/members")).await.text_at("/members/0/id"),
        version: app.get(owner, &format!("{at}/versions")).await.text_at("/versions/0/id"),
        tool: app.get(owner, &format!("{at}/tools")).await.text_at("/tools/0/id"),
        item: app.get(owner, &format!("{at}/items")).await.text_at("/items/0/id"),
        server,
        policy: policy.text_at("/policy/id"),
        gateway_token: app.post(owner, &format!("{path}/gateway-tokens"), body.clone()).await.text_at("/token/id"),
        api_token: app.post(owner, &format!("{path}/api-tokens"), body).await.text_at("/token/id"),
    }
}

/// Every route of the description with its path filled in; a route that is added is tried without being listed here.
fn routes(app: &App, things: &Things, tenant: &str) -> Vec<(String, String)> {
    let document = serde_json::to_value(control_plane::app::openapi(&app.parts)).unwrap();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| ["get", "put", "post", "patch", "delete"].contains(&key.as_str()))
        {
            let token = if path.contains("gateway") { &things.gateway_token } else { &things.api_token };
            let filled = path
                .replace("/api/v1", "")
                .replace("{tenant}", tenant)
                .replace("{member}", &things.member)
                .replace("{server}", &things.server)
                .replace("{tool}", &things.tool)
                .replace("{item}", &things.item)
                .replace("{policy}", &things.policy)
                .replace("{token}", token);
            let version = if path.contains("/policies/") { "1" } else { &things.version };
            routes.push((method.to_uppercase(), filled.replace("{version}", version)));
        }
    }
    assert!(routes.len() > 30, "{}", routes.len());
    routes
}

/// A body that is refused late, so that whatever would tell two tenants apart had its chance before.
fn body(method: &str) -> Option<String> {
    (method != "GET" && method != "DELETE").then(|| json!({}).to_string())
}

/// An id of the same kind that is nobody's.
fn unknown(path: &str) -> String {
    let letters: Vec<String> = path
        .split('/')
        .map(|part| match part.split_once('_') {
            Some((prefix, digits)) if digits.len() == 26 => format!("{prefix}_01hzzzzzzzzzzzzzzzzzzzzzzz"),
            _ => part.to_owned(),
        })
        .collect();
    letters.join("/")
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn another_tenants_path_looks_like_nobodys_on_every_route(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let stranger = app.stranger(&owner).await;
    let things = things(&app, &owner).await;
    let under_theirs = routes(&app, &things, &owner.slug).into_iter().zip(routes(&app, &things, "nobody"));
    for ((method, theirs), (_, nobodys)) in under_theirs.filter(|((_, path), _)| path != "/tenants") {
        let theirs = app.send(&method, &theirs, Some(&stranger.token), body(&method)).await;
        let nobodys = app.send(&method, &nobodys, Some(&stranger.token), body(&method)).await;
        assert_eq!(theirs.shown(), nobodys.shown(), "{method}");
        assert_eq!(theirs.status, 404, "{method} {}", theirs.text);
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn another_tenants_ids_look_like_nobodys_on_every_route(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let stranger = app.stranger(&owner).await;
    let things = things(&app, &owner).await;
    for (method, path) in routes(&app, &things, &stranger.slug) {
        let nobodys = unknown(&path);
        if nobodys == path {
            continue;
        }
        let theirs = app.send(&method, &path, Some(&stranger.token), body(&method)).await;
        let nobodys = app.send(&method, &nobodys, Some(&stranger.token), body(&method)).await;
        assert_eq!(theirs.shown(), nobodys.shown(), "{method} {path}");
        assert!(theirs.status.is_client_error(), "{method} {path} {}", theirs.status);
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn without_a_good_token_every_route_is_the_same_401(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let things = things(&app, &owner).await;
    let gateway = secrets::new_token(domain::TokenKind::Gateway);
    let unknown = secrets::new_token(domain::TokenKind::Api);
    let (most, last) = owner.token.split_at(owner.token.len() - 1);
    let typo = format!("{most}{}", if last == "x" { "y" } else { "x" });
    let bad = [None, Some(gateway.expose()), Some(unknown.expose()), Some(typo.as_str()), Some("")];
    for tenant in [owner.slug.as_str(), "nobody"] {
        for (method, path) in routes(&app, &things, tenant) {
            for token in bad {
                let answer = app.send(&method, &path, token, body(&method)).await;
                let expected = r#"{"type":"unauthenticated","title":"An API token is needed","status":401,"detail":"send `Authorization: Bearer sla_…` with a token that has neither expired nor been revoked"}"#;
                assert_eq!((answer.status.as_u16(), answer.text.as_str()), (401, expected), "{method} {path}");
                assert!(answer.headers.contains_key("www-authenticate"));
            }
        }
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn lists_hold_only_ones_own(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    things(&app, &owner).await;
    let stranger = app.stranger(&owner).await;
    for list in ["members", "servers", "policies", "gateway-tokens"] {
        let text = app.get(&stranger, &format!("{}/{list}", stranger.path())).await.expect(200).text;
        assert!(!text.contains("wiki") && !text.contains("\"all\"") && !text.contains("Olive"), "{list}: {text}");
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_tokens_scope_can_name_only_the_tenants_own(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let theirs = things(&app, &owner).await;
    let stranger = app.stranger(&owner).await;
    for scope in [json!({"servers": [theirs.server]}), json!({"tools": [theirs.tool]})] {
        let body = json!({"title": "x", "days": 1, "scope": scope});
        let path = format!("{}/gateway-tokens", stranger.path());
        app.post(&stranger, &path, body).await.expect(422);
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn the_same_keys_names_and_prefixes_serve_two_tenants(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let stranger = app.stranger(&owner).await;
    things(&app, &owner).await;
    things(&app, &stranger).await;
    let taken = json!({"slug": "globex", "title": "x", "owner_name": "x"});
    let refused: Value = app.post(&owner, "/tenants", taken).await.expect(409).json();
    assert_eq!(refused["type"], "slug-taken");
}
