//! The log level of a legacy session: which lines its client gets, and what its upstreams are told.

use domain::SessionMode;
use http::StatusCode;
use serde_json::{Value, json};

use super::stage;
use crate::testing::upstream::{Speaks, Upstream};
use crate::testing::{Stage, initialize, legacy, legacy_call, modern};

fn set(level: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 5, "method": "logging/setLevel", "params": {"level": level}})
}

/// A session whose client has set a level.
async fn session(stage: &Stage, level: &str) -> String {
    let session = stage.session("2025-11-25").await;
    let told = stage.ask(legacy(Some(&session), &set(level))).await;
    assert_eq!((told.status, told.json()), (StatusCode::OK, json!({"jsonrpc": "2.0", "id": 5, "result": {}})));
    session
}

/// The levels of the lines that a call brings; its upstream says one of `info` and one of `debug`.
async fn heard(stage: &Stage, session: &str) -> Vec<String> {
    let events = stage.ask(legacy(Some(session), &legacy_call(7, "logs"))).await.events();
    let lines = events.iter().filter(|event| event["method"] == "notifications/message");
    lines.map(|line| line["params"]["level"].as_str().unwrap().to_owned()).collect()
}

/// The levels that the upstream was told, each with the session it was told in.
fn told(upstream: &Upstream) -> Vec<(String, String)> {
    let told = upstream.seen().into_iter().filter(|seen| seen.method() == "logging/setLevel");
    let read = |text: &Value| text.as_str().unwrap_or_default().to_owned();
    told.map(|seen| {
        let session = seen.headers["mcp-session-id"].to_str().unwrap().to_owned();
        (session, read(&seen.body["params"]["level"]))
    })
    .collect()
}

#[tokio::test]
async fn a_level_set_at_one_node_holds_at_the_others() {
    for speaks in [Speaks::Modern, Speaks::Legacy] {
        let (mut stage, _upstream) = stage(speaks).await;
        let (info, debug, error) =
            (session(&stage, "info").await, session(&stage, "debug").await, session(&stage, "error").await);
        for _ in 0..2 {
            assert_eq!(heard(&stage, &info).await, ["info"], "{speaks:?}");
            assert_eq!(heard(&stage, &debug).await, ["info", "debug"], "{speaks:?}");
            assert!(heard(&stage, &error).await.is_empty(), "{speaks:?}");
            stage.move_to_another_node().await;
        }
    }
}

#[tokio::test]
async fn a_level_can_be_changed() {
    let (stage, upstream) = stage(Speaks::Legacy).await;
    let session = session(&stage, "error").await;
    assert!(heard(&stage, &session).await.is_empty());
    stage.ask(legacy(Some(&session), &set("debug"))).await;
    assert_eq!(heard(&stage, &session).await, ["info", "debug"]);
    assert_eq!(told(&upstream), [("s0".into(), "error".into()), ("s0".into(), "debug".into())]);
}

#[tokio::test]
async fn a_legacy_upstream_is_told_the_level_once_in_each_session_and_at_each_node() {
    let (mut stage, upstream) = stage(Speaks::Legacy).await;
    let session = session(&stage, "info").await;
    assert!(told(&upstream).is_empty(), "nobody is asked before there is a call");
    for _ in 0..2 {
        heard(&stage, &session).await;
    }
    assert_eq!(told(&upstream), [("s0".into(), "info".into())]);
    upstream.forget_sessions();
    assert_eq!(heard(&stage, &session).await, ["info"]);
    assert_eq!(told(&upstream)[1..], [("s1".into(), "info".into())]);
    stage.move_to_another_node().await;
    heard(&stage, &session).await;
    assert_eq!(told(&upstream)[2..], [("s1".into(), "info".into())], "another node can't know");
}

#[tokio::test]
async fn a_session_that_others_share_keeps_its_level() {
    let upstream = Upstream::start(Speaks::Legacy).await;
    let stage = Stage::with(&upstream.url(), |snapshot, _| snapshot.servers[0].sessions = SessionMode::Shared).await;
    let (error, none) = (session(&stage, "error").await, stage.session("2025-11-25").await);
    assert!(heard(&stage, &error).await.is_empty());
    assert_eq!(heard(&stage, &none).await, ["info", "debug"]);
    assert!(told(&upstream).is_empty());
}

#[tokio::test]
async fn a_modern_upstream_is_told_the_level_with_each_call() {
    let (stage, upstream) = stage(Speaks::Modern).await;
    let session = session(&stage, "info").await;
    assert_eq!(heard(&stage, &session).await, ["info"]);
    let meta = &upstream.calls()[0].body["params"]["_meta"];
    assert_eq!(meta["io.modelcontextprotocol/logLevel"], "info");
}

#[tokio::test]
async fn a_level_is_one_of_eight() {
    let (stage, _upstream) = stage(Speaks::Legacy).await;
    let session = session(&stage, "error").await;
    for params in [json!({"level": "loud"}), json!({"level": "Info"}), json!({"level": 3}), json!({})] {
        let body = json!({"jsonrpc": "2.0", "id": 6, "method": "logging/setLevel", "params": params});
        let told = stage.ask(legacy(Some(&session), &body)).await;
        assert_eq!((told.status, &told.json()["error"]["code"]), (StatusCode::OK, &json!(-32602)), "{body}");
    }
    let refused = stage.records().await.pop().unwrap();
    assert_eq!((&refused["mcp"]["method"], &refused["kind"]), (&json!("logging/setLevel"), &json!("mcp_request")));
    assert!(heard(&stage, &session).await.is_empty(), "what stood before stands");
}

#[tokio::test]
async fn only_legacy_clients_set_a_level_and_are_told_that_they_can() {
    let (stage, _upstream) = stage(Speaks::Both).await;
    let begun = stage.ask(legacy(None, &initialize("2025-11-25"))).await.json();
    assert_eq!(begun["result"]["capabilities"], json!({"tools": {}, "logging": {}}));
    let told = stage.ask(modern("logging/setLevel", None, json!({"level": "info"}))).await;
    assert_eq!((told.status, &told.json()["error"]["code"]), (StatusCode::NOT_FOUND, &json!(-32601)));
}

#[tokio::test]
async fn a_level_that_no_node_sealed_is_not_believed() {
    let (mut stage, _upstream) = stage(Speaks::Legacy).await;
    let (mine, other) = (session(&stage, "error").await, session(&stage, "debug").await);
    let mut redis = stage.redis().await;
    let mut names: Vec<String> = redis::cmd("KEYS").arg("*:session:*").query_async(&mut redis).await.unwrap();
    assert_eq!(names.len(), 2);
    names.sort();
    let mut levels = Vec::new();
    for name in &names {
        let life: i64 = redis::cmd("TTL").arg(name).query_async(&mut redis).await.unwrap();
        assert!((600_000..=604_800).contains(&life), "as long as the session: {life}");
        let level: Vec<u8> = redis::cmd("HGET").arg(name).arg("level").query_async(&mut redis).await.unwrap();
        levels.push(level);
    }
    // Each other's, and then what is no seal at all.
    levels.reverse();
    for forged in [levels, vec![b"debug".to_vec(), b"debug".to_vec()]] {
        for (name, level) in names.iter().zip(forged) {
            let () = redis::cmd("HSET").arg(name).arg("level").arg(level).query_async(&mut redis).await.unwrap();
        }
        stage.move_to_another_node().await;
        for session in [&mine, &other] {
            assert_eq!(heard(&stage, session).await, ["info", "debug"], "as if none was set");
        }
    }
}

#[tokio::test]
async fn a_level_that_can_not_be_kept_is_refused() {
    let (mut stage, _upstream) = stage(Speaks::Modern).await;
    let session = stage.session("2025-11-25").await;
    stage.end_redis();
    let told = stage.ask(legacy(Some(&session), &set("info"))).await;
    assert_eq!(told.json()["error"]["code"], -32603, "{}", told.text);
}

#[tokio::test]
async fn what_a_session_has_set_goes_with_it() {
    let (stage, _upstream) = stage(Speaks::Modern).await;
    let session = session(&stage, "info").await;
    let mut end = legacy(Some(&session), &Value::Null);
    *end.method_mut() = http::Method::DELETE;
    assert_eq!(stage.ask(end).await.status, StatusCode::OK);
    let mut redis = stage.redis().await;
    let names: Vec<String> = redis::cmd("KEYS").arg("*:session:*").query_async(&mut redis).await.unwrap();
    assert!(names.is_empty(), "{names:?}");
}
