//! Two tenants try each other's doors: every route of both planes with the other's ids and tokens.

use reqwest::Method;
use serde_json::{Value, json};
use sluice_tests::api::filled;
use sluice_tests::client::{Answer, Client, LEGACY, send};

use crate::house::{house, is_known};

/// An answer without what may differ by time and trace.
fn bare(answer: &Answer) -> (u16, Option<String>, String) {
    let challenge = answer.headers.get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
    (answer.status.as_u16(), challenge, answer.text.clone())
}

#[tokio::test]
async fn no_token_bad_token_foreign_token_and_unknown_slug_are_one_answer() {
    let house = house();
    let other = house.api.another_tenant("rival").await;
    for node in &house.endpoints.data_plane_urls {
        let at = |slug: &str| Client::new(&format!("{node}/{slug}/mcp"), &house.endpoints.token);
        let ours = at(&house.endpoints.tenant);
        let mut answers = Vec::new();
        let wrong = format!("slc_{}", "A".repeat(38));
        for token in [
            None,
            Some("garbage"),
            Some(wrong.as_str()),
            Some(other.token.as_str()),
            Some(house.endpoints.api_token.as_str()),
        ] {
            answers.push(ours.with_token(token).modern("tools/list", json!({})).await);
        }
        answers.push(at(&other.slug).modern("tools/list", json!({})).await);
        answers.push(at("no-such-tenant").modern("tools/list", json!({})).await);
        for answer in &answers {
            let (status, challenge, text) = bare(answer);
            let slug = if answer.text == answers[0].text { "" } else { "?" };
            assert_eq!((status, slug), (401, ""), "{text}");
            assert!(challenge.unwrap().contains("/.well-known/oauth-protected-resource/"));
        }
        let path = |answer: &Answer, slug: &str| bare(answer).1.unwrap().replace(slug, "SLUG");
        assert_eq!(path(&answers[0], &house.endpoints.tenant), path(&answers[5], &other.slug));
        assert_eq!(path(&answers[0], &house.endpoints.tenant), path(&answers[6], "no-such-tenant"));
    }
}

#[tokio::test]
async fn a_session_of_one_principal_is_unknown_to_another() {
    let house = house();
    let colleague = house.api.issue_token("colleague").await;
    let session = house.client().initialize(LEGACY).await;
    let mut stolen = session.clone();
    stolen.client = house.clients()[0].with_token(Some(&colleague.text));
    is_known(&stolen.client).await;
    assert_eq!(stolen.send("tools/list", json!({})).await.status, 404);
    let ended = send(stolen.request(Method::DELETE)).await.unwrap();
    assert_eq!(ended.status, 404);
    assert_eq!(session.send("tools/list", json!({})).await.status, 200);
}

/// A body with which an operation would do something, were the id in its path one of the caller's own.
fn body(method: &str, path: &str) -> Option<Value> {
    let is = |end: &str| path.ends_with(end);
    match method {
        "patch" if is("{server}") => Some(json!({"revision": 1, "title": "Theirs"})),
        "patch" if is("{tool}") || is("{item}") => Some(json!({"labels": ["theirs"]})),
        "patch" if is("{destination}") => Some(json!({"revision": 1, "name": "Theirs"})),
        "post" if is("/replay") => Some(json!({"seq": 0})),
        "patch" if is("{member}") => Some(json!({"name": "Theirs"})),
        "put" if is("/credential") => Some(json!({"kind": "bearer", "value": "theirs"})),
        "post" if is("/activate") => Some(json!({"revision": 1, "version": 1})),
        "post" if is("/deactivate") => Some(json!({"revision": 1})),
        "post" if is("{policy}/versions") => {
            Some(json!({"revision": 1, "text": "permit (principal, action, resource);"}))
        }
        "post" | "put" | "patch" => Some(json!({})),
        _ => None,
    }
}

#[tokio::test]
async fn every_route_of_the_api_hides_the_other_tenant() {
    let house = house();
    let other = house.api.another_tenant("stranger").await;
    let routes = house.api.routes().await;
    assert!(routes.len() > 20, "the API description has only {} operations", routes.len());
    let ids = house.api.ids("legacy").await;
    let mut with_ids = 0;
    for (method, path) in routes.iter().filter(|(_, path)| path.contains("{tenant}")) {
        let body = body(method, path);
        let ask = async |tenant: &str, token: &str| {
            house.api.send_as(token, method, &filled(path, tenant, &ids), body.as_ref()).await
        };
        let known = ask(&house.endpoints.tenant, &other.api_token).await;
        let missing = ask("no-such-tenant", &other.api_token).await;
        assert_eq!(known.status, missing.status, "{method} {path} tells a foreign tenant from none");
        assert_eq!(known.text, missing.text, "{method} {path} tells a foreign tenant from none");
        assert!(known.status.is_client_error(), "{method} {path}: {known:?}");
        if path.matches('{').count() == 1 {
            continue;
        }
        with_ids += 1;
        // Their ids below our own path.
        let mixed = ask(&other.slug, &other.api_token).await;
        assert_eq!(mixed.status, 404, "{method} {path}: {mixed:?}");
        if method == "get" {
            let own = ask(&house.endpoints.tenant, &house.endpoints.api_token).await;
            assert_eq!(own.status, 200, "{path} is not asked with ids of the right kind: {own:?}");
        }
    }
    assert!(with_ids > 20, "only {with_ids} operations have an id in their path");
    assert_eq!(house.client().call("modern__echo", json!({"message": "x"})).await.status, 200, "nothing was changed");
}

#[tokio::test]
async fn audit_search_never_shows_the_other_tenants_calls() {
    let house = house();
    let other = house.api.another_tenant("watcher").await;
    house.client().call("modern__echo", json!({"message": "secret plans"})).await;
    let records = other.api(&house.endpoints).all_records().await;
    assert!(!records.is_empty(), "making a tenant is on its own record");
    let theirs = other.api(&house.endpoints);
    for record in &records {
        let body = theirs.record(record["id"].as_str().unwrap()).await;
        assert_eq!(body["record"]["tenant"]["id"], Value::String(other.id.clone()), "{body}");
    }
    let ours = house.api.activity("limit=1").await[0]["id"].clone();
    let path = format!("/api/v1/tenants/{}/activity/{}", other.slug, ours.as_str().unwrap());
    assert_eq!(house.api.send_as(&other.api_token, "GET", &path, None).await.status, 404);
}
