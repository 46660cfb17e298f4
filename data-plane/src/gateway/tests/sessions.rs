//! Sessions of legacy clients, and ours at legacy upstreams.

use domain::SessionMode;
use http::StatusCode;
use serde_json::{Value, json};

use super::stage;
use crate::audit::tests::eventually;
use crate::testing::upstream::{Speaks, Upstream};
use crate::testing::{Stage, legacy, legacy_call};

#[tokio::test]
async fn a_lost_session_is_opened_again_and_the_call_sent_once_more() {
    let (stage, upstream) = stage(Speaks::Legacy).await;
    stage.call("echo", json!({})).await;
    upstream.forget_sessions();
    let answer = stage.call("echo", json!({"b": 2})).await.json();
    assert_eq!(answer["result"]["content"][0]["text"], r#"{"b":2}"#);
    assert_eq!(upstream.count("initialize"), 2);
}

#[tokio::test]
async fn a_clients_session_holds_at_every_node_and_so_does_the_upstreams() {
    let (mut stage, upstream) = stage(Speaks::Legacy).await;
    let session = stage.session("2025-11-25").await;
    stage.ask(legacy(Some(&session), &legacy_call(1, "echo"))).await;
    stage.move_to_another_node().await;
    let answer = stage.ask(legacy(Some(&session), &legacy_call(2, "echo"))).await.json();
    assert_eq!(answer["result"]["content"][0]["text"], r#"{"a":1}"#);
    assert_eq!(upstream.count("initialize"), 1);
    upstream.forget_sessions();
    let answer = stage.ask(legacy(Some(&session), &legacy_call(3, "echo"))).await.json();
    assert_eq!(answer["result"]["content"][0]["text"], r#"{"a":1}"#);
    assert_eq!(upstream.count("initialize"), 2);
}

#[tokio::test]
async fn a_session_that_ended_at_one_node_has_ended_at_the_others() {
    let (mut stage, _upstream) = stage(Speaks::Modern).await;
    let session = stage.session("2025-11-25").await;
    let mut end = legacy(Some(&session), &Value::Null);
    *end.method_mut() = http::Method::DELETE;
    assert_eq!(stage.ask(end).await.status, StatusCode::OK);
    stage.move_to_another_node().await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    assert_eq!(stage.ask(legacy(Some(&session), &ping)).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_was_written_to_redis_by_hand_is_not_believed() {
    let (mut stage, upstream) = stage(Speaks::Legacy).await;
    let session = stage.session("2025-11-25").await;
    stage.ask(legacy(Some(&session), &legacy_call(1, "echo"))).await;
    let mut redis = stage.redis().await;
    let mut names: Vec<String> = redis::cmd("KEYS").arg("*:upstream_session:*").query_async(&mut redis).await.unwrap();
    let nonce = stage.record().await["session"]["id"].as_str().unwrap().to_owned();
    names.push(domain::projection::keys::session_ended(stage.tenant.snapshot.tenant, &nonce));
    assert_eq!(names.len(), 2);
    for name in &names {
        let forged = r#"{"id":"s-of-somebody-else","version":"2025-11-25"}"#;
        let () = redis::cmd("SET").arg(name).arg(forged).query_async(&mut redis).await.unwrap();
    }
    stage.move_to_another_node().await;
    let answer = stage.ask(legacy(Some(&session), &legacy_call(2, "echo"))).await.json();
    assert_eq!(answer["result"]["content"][0]["text"], r#"{"a":1}"#);
    assert_ne!(upstream.calls()[1].headers["mcp-session-id"], "s-of-somebody-else");
}

#[tokio::test]
async fn a_server_with_a_session_for_each_call_has_it_ended() {
    let upstream = Upstream::start(Speaks::Legacy).await;
    let stage = Stage::with(&upstream.url(), |snapshot, _| snapshot.servers[0].sessions = SessionMode::PerCall).await;
    for _ in 0..2 {
        stage.call("echo", json!({})).await;
    }
    let ended = || upstream.seen().iter().filter(|seen| seen.http_method == http::Method::DELETE).count();
    eventually(async || ended() == 2).await;
    assert_eq!(upstream.count("initialize"), 2);
}

#[tokio::test]
async fn a_session_that_ends_takes_its_own_session_at_the_upstream_along() {
    let (mut stage, upstream) = stage(Speaks::Legacy).await;
    let (mine, other) = (stage.session("2025-11-25").await, stage.session("2025-11-25").await);
    for session in [&mine, &other] {
        stage.ask(legacy(Some(session), &legacy_call(1, "echo"))).await;
    }
    stage.call("echo", json!({})).await;
    // Whichever node ends it.
    stage.move_to_another_node().await;
    let mut end = legacy(Some(&mine), &Value::Null);
    *end.method_mut() = http::Method::DELETE;
    assert_eq!(stage.ask(end).await.status, StatusCode::OK);
    let ended = || {
        let deletes = upstream.seen().into_iter().filter(|seen| seen.http_method == http::Method::DELETE);
        deletes.map(|seen| seen.headers["mcp-session-id"].clone()).collect::<Vec<_>>()
    };
    eventually(async || !ended().is_empty()).await;
    stage.ask(legacy(Some(&other), &legacy_call(2, "echo"))).await;
    stage.call("echo", json!({})).await;
    assert_eq!(ended(), ["s0"]);
    assert_eq!(upstream.count("initialize"), 3, "the others' sessions go on");
}

#[tokio::test]
async fn sessions_that_are_shared_outlive_a_clients() {
    let upstream = Upstream::start(Speaks::Legacy).await;
    let stage = Stage::with(&upstream.url(), |snapshot, _| snapshot.servers[0].sessions = SessionMode::Shared).await;
    for _ in 0..2 {
        let session = stage.session("2025-11-25").await;
        stage.ask(legacy(Some(&session), &legacy_call(1, "echo"))).await;
        let mut end = legacy(Some(&session), &Value::Null);
        *end.method_mut() = http::Method::DELETE;
        assert_eq!(stage.ask(end).await.status, StatusCode::OK);
    }
    assert_eq!(upstream.count("initialize"), 1);
    assert!(upstream.seen().iter().all(|seen| seen.http_method != http::Method::DELETE));
}

#[tokio::test]
async fn a_session_is_its_callers_and_ends_when_told() {
    let (mut stage, _upstream) = stage(Speaks::Modern).await;
    let session = stage.session("2025-11-25").await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let owner = std::sync::Arc::clone(&stage.caller);
    let mut other = owner.principal.clone();
    other.token = domain::TokenId::from_uuid(uuid::Uuid::from_u128(77));
    stage.caller = std::sync::Arc::new(crate::caller::Caller::new(other));
    assert_eq!(stage.ask(legacy(Some(&session), &ping)).await.status, StatusCode::NOT_FOUND);
    stage.caller = owner;
    assert_eq!(stage.ask(legacy(Some(&session), &ping)).await.status, StatusCode::OK);
    let mut end = legacy(Some(&session), &Value::Null);
    *end.method_mut() = http::Method::DELETE;
    assert_eq!(stage.ask(end).await.status, StatusCode::OK);
    assert_eq!(stage.ask(legacy(Some(&session), &ping)).await.status, StatusCode::NOT_FOUND);
    assert_eq!(stage.ask(legacy(Some("v1.made.up"), &ping)).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_session_can_not_be_ended_while_nobody_could_hear_of_it() {
    let (mut stage, _upstream) = stage(Speaks::Modern).await;
    let session = stage.session("2025-11-25").await;
    stage.end_redis();
    let mut end = legacy(Some(&session), &Value::Null);
    *end.method_mut() = http::Method::DELETE;
    assert_eq!(stage.ask(end).await.status, StatusCode::METHOD_NOT_ALLOWED);
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    assert_eq!(stage.ask(legacy(Some(&session), &ping)).await.status, StatusCode::OK);
}
