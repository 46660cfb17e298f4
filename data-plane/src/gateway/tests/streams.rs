//! What comes before an answer.

use mcp::notification::Dropped;
use serde_json::{Value, json};

use super::{stage, status};
use crate::audit::tests::eventually;
use crate::metrics::DroppedLabels;
use crate::testing::upstream::Speaks;
use crate::testing::{Stage, legacy, legacy_call, modern, modern_call};

#[tokio::test]
async fn progress_is_passed_on_under_the_clients_own_token() {
    for speaks in [Speaks::Modern, Speaks::Legacy] {
        let (stage, upstream) = stage(speaks).await;
        let told = stage.call("progress", json!({})).await;
        assert_eq!(told.headers["content-type"], "text/event-stream");
        let events = told.events();
        assert_eq!(events.len(), 3, "{speaks:?} {}", told.text);
        assert_eq!(events[0]["params"], json!({"progressToken": "mine", "progress": 1, "total": 2}));
        assert_eq!((&events[2]["id"], &events[2]["result"]["content"][0]["text"]), (&json!(41), &json!("done")));
        assert_ne!(upstream.calls()[0].body["params"]["_meta"]["progressToken"], "mine");
        assert_eq!(status(&stage.record().await), "success");
        let stray = stage.call("stray", json!({})).await;
        assert_eq!(stray.events().len(), 1, "another call's progress is nobody's business here");
    }
}

#[tokio::test]
async fn a_client_that_takes_only_json_gets_only_json() {
    let (stage, _upstream) = stage(Speaks::Modern).await;
    let mut request = modern_call("progress", json!({}));
    request.headers_mut().insert("accept", "application/json".parse().unwrap());
    let told = stage.ask(request).await;
    assert_eq!(told.headers["content-type"], "application/json");
    assert_eq!(told.json()["result"]["content"][0]["text"], "done");
    assert_eq!(status(&stage.record().await), "success");
}

#[tokio::test]
async fn a_legacy_upstream_that_asks_is_answered_by_us() {
    let (stage, upstream) = stage(Speaks::Legacy).await;
    let told = stage.call("asks", json!({})).await;
    assert_eq!(told.json()["result"]["content"][0]["text"], "asked");
    let answers =
        || upstream.seen().into_iter().filter(|seen| seen.body["id"].as_str().is_some_and(|id| id.starts_with("srv-")));
    eventually(async || answers().count() == 2).await;
    let answer = |id: &str| answers().find(|seen| seen.body["id"] == id).unwrap().body;
    assert_eq!(answer("srv-1")["result"], json!({}));
    assert_eq!(answer("srv-2")["error"]["code"], -32601);
}

#[tokio::test]
async fn a_legacy_upstream_may_close_the_stream_and_be_asked_again() {
    let (stage, upstream) = stage(Speaks::Legacy).await;
    let told = stage.call("poll", json!({})).await;
    assert_eq!(told.json()["result"]["content"][0]["text"], "polled");
    let came_back = upstream.seen().into_iter().find(|seen| seen.http_method == http::Method::GET).unwrap();
    assert_eq!(came_back.headers["last-event-id"], "e1");
}

/// The levels of the log lines in a stream.
fn levels(events: &[Value]) -> Vec<&str> {
    let lines = events.iter().filter(|event| event["method"] == "notifications/message");
    lines.map(|line| line["params"]["level"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_legacy_client_that_set_no_level_gets_the_log_lines_of_its_call() {
    for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let (stage, _upstream) = stage(Speaks::Legacy).await;
        let session = stage.session(version).await;
        let events = stage.ask(legacy(Some(&session), &legacy_call(7, "logs"))).await.events();
        assert_eq!(levels(&events), ["info", "debug"], "{version}");
        assert_eq!(events[0]["params"], json!({"level": "info", "data": {"line": 1}}));
        assert_eq!((events.len(), &events[2]["id"]), (3, &json!(7)), "{events:?}");
        let mut whole = legacy(Some(&session), &legacy_call(8, "logs"));
        whole.headers_mut().insert("accept", "application/json".parse().unwrap());
        assert_eq!(stage.ask(whole).await.json()["id"], 8, "who takes no stream gets no lines");
    }
}

#[tokio::test]
async fn a_modern_upstream_is_told_no_level_for_a_client_that_named_none() {
    let (stage, upstream) = stage(Speaks::Modern).await;
    let session = stage.session("2025-11-25").await;
    let events = stage.ask(legacy(Some(&session), &legacy_call(7, "logs"))).await.events();
    assert_eq!((levels(&events).len(), events.len()), (0, 1));
    assert!(upstream.calls()[0].body["params"]["_meta"].get("io.modelcontextprotocol/logLevel").is_none());
}

#[tokio::test]
async fn a_modern_client_gets_the_log_lines_it_asks_for() {
    for speaks in [Speaks::Modern, Speaks::Legacy] {
        for (level, lines) in [(None, &[][..]), (Some("info"), &["info"]), (Some("debug"), &["info", "debug"])] {
            let (stage, _upstream) = stage(speaks).await;
            let mut params = json!({"name": "crm__logs", "_meta": {}});
            if let Some(level) = level {
                params["_meta"]["io.modelcontextprotocol/logLevel"] = json!(level);
            }
            let told = stage.ask(modern("tools/call", Some("crm__logs"), params)).await;
            assert_eq!(levels(&told.events()), lines, "{speaks:?} {level:?}");
        }
    }
}

/// How many notifications were dropped for that reason.
fn dropped(stage: &Stage, why: Dropped) -> u64 {
    let labels = DroppedLabels { reason: why.as_str() };
    stage.gateway.0.metrics.dropped_notifications.get_or_create(&labels).get()
}

#[tokio::test]
async fn what_a_client_does_not_get_is_counted() {
    let (stage, _upstream) = stage(Speaks::Legacy).await;
    for _ in 0..2 {
        assert_eq!(stage.call("logs", json!({})).await.events().len(), 1);
    }
    stage.call("stray", json!({})).await;
    let counted = [Dropped::Unknown, Dropped::Misplaced, Dropped::Unwanted].map(|why| dropped(&stage, why));
    assert_eq!(counted, [2, 2, 5]);
}
