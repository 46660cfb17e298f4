//! Whatever fails has its answer and its record.

use http::StatusCode;
use serde_json::{Value, json};

use super::{stage, status};
use crate::audit::tests::eventually;
use crate::testing::upstream::{Speaks, Upstream};
use crate::testing::{Stage, initialize, legacy, modern, modern_call};

/// What a faulty upstream comes to: the words of its record, and part of what the client reads.
async fn fault(speaks: Speaks, tool: &str) -> (Value, String, String) {
    let (stage, _upstream) = stage(speaks).await;
    let told = stage.call(tool, json!({})).await;
    assert_eq!(told.status, StatusCode::OK, "{tool}: {}", told.text);
    let record = stage.record().await;
    let reason = record["outcome"]["reason"].as_str().unwrap_or_default().to_owned();
    (told.json(), status(&record).to_owned(), reason)
}

#[tokio::test]
async fn each_fault_of_an_upstream_has_its_answer_and_its_record() {
    for (tool, ended, reason) in [
        ("garbage", "protocol_error", "malformed"),
        ("garbage_event", "protocol_error", "malformed"),
        ("wrong_id", "protocol_error", "malformed"),
        ("html", "protocol_error", "not_mcp"),
        ("huge", "protocol_error", "too_large"),
        ("huge_event", "protocol_error", "too_large"),
        ("redirect", "upstream_unavailable", "redirected"),
        ("unavailable", "upstream_unavailable", "http_status"),
        ("unauthorized", "upstream_unavailable", "unauthorized"),
        ("cut", "upstream_unavailable", "cut_off"),
    ] {
        for speaks in [Speaks::Modern, Speaks::Legacy] {
            let (answer, status, code) = fault(speaks, tool).await;
            assert_eq!(answer["error"]["code"], -32603, "{tool}: {answer}");
            assert_eq!(answer["error"]["data"]["upstream"], "crm", "{tool}: {answer}");
            assert_eq!((status.as_str(), code.as_str()), (ended, reason), "{tool} {speaks:?}");
        }
    }
}

#[tokio::test]
async fn an_upstreams_challenge_is_not_passed_on() {
    let (stage, _upstream) = stage(Speaks::Modern).await;
    let told = stage.call("unauthorized", json!({})).await;
    assert!(!told.headers.contains_key("www-authenticate"));
}

#[tokio::test]
async fn an_error_of_the_tool_is_the_clients_to_read() {
    for speaks in [Speaks::Modern, Speaks::Legacy] {
        let (stage, _upstream) = stage(speaks).await;
        let failed = stage.call("fail", json!({})).await.json();
        assert_eq!(failed["result"]["isError"], true);
        let record = stage.record().await;
        assert_eq!((status(&record), &record["result"]["is_error"]), ("tool_error", &json!(true)));
    }
    let (stage, _upstream) = stage(Speaks::Legacy).await;
    let invalid = stage.call("rpc_error", json!({})).await.json();
    assert_eq!(invalid["error"]["code"], -32602, "-32002 is not of the modern era");
    let record = stage.record().await;
    assert_eq!((status(&record), &record["outcome"]["jsonrpc_code"]), ("protocol_error", &json!(-32602)));
}

#[tokio::test]
async fn an_upstream_that_refuses_connections_is_told_apart_from_one_that_may_not_be_dialled() {
    for (url, reason) in [("http://127.0.0.1:1/mcp", "unreachable"), ("https://10.0.0.1/mcp", "address_refused")] {
        let stage = Stage::new(&url.parse().unwrap()).await;
        let answer = stage.call("echo", json!({})).await.json();
        assert_eq!(
            (&answer["error"]["code"], answer["error"]["data"]["upstream"].as_str()),
            (&json!(-32603), Some("crm"))
        );
        let record = stage.record().await;
        assert_eq!((status(&record), &record["outcome"]["reason"]), ("upstream_unavailable", &json!(reason)));
    }
}

#[tokio::test]
async fn a_slow_upstream_is_given_up_in_time() {
    for (speaks, tool) in [(Speaks::Modern, "slow"), (Speaks::Modern, "hang"), (Speaks::Legacy, "slow")] {
        let upstream = Upstream::start(speaks).await;
        let stage = Stage::with(&upstream.url(), |snapshot, _| snapshot.servers[0].timeout_ms = 300).await;
        let answer = stage.call(tool, json!({})).await.json();
        assert_eq!(answer["error"]["data"]["upstream"], "crm", "{answer}");
        assert_eq!(status(&stage.record().await), "timeout");
        if speaks == Speaks::Legacy {
            eventually(async || upstream.count("notifications/cancelled") == 1).await;
        }
    }
}

#[tokio::test]
async fn nothing_is_forwarded_while_it_can_not_be_recorded() {
    let upstream = Upstream::start(Speaks::Modern).await;
    let mut stage = Stage::new(&upstream.url()).await;
    stage.end_redis();
    let told = stage.call("echo", json!({})).await;
    assert_eq!((told.status, &told.json()["error"]["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(-31001)));
    assert_eq!(told.headers["retry-after"], "1");
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn while_there_is_no_room_for_its_record_nothing_is_told_of_a_request() {
    let upstream = Upstream::start(Speaks::Modern).await;
    let mut stage = Stage::new(&upstream.url()).await;
    let session = stage.session("2025-11-25").await;
    stage.fill_up().await;
    assert_eq!(stage.call("denied", json!({})).await.status, StatusCode::OK, "the first has room");
    for request in [
        modern_call("denied", json!({})),
        modern_call("hidden", json!({})),
        modern_call("echo", json!({})),
        modern("tools/list", None, json!({})),
        modern("server/discover", None, json!({})),
        modern("no/such", None, json!({})),
        legacy(None, &initialize("2025-11-25")),
        legacy(Some(&session), &json!({"jsonrpc": "2.0", "id": 41, "method": "initialize", "params": {}})),
    ] {
        let told = stage.ask(request).await;
        assert_eq!((told.status, &told.json()["error"]["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(-31001)));
    }
    assert!(upstream.seen().is_empty());
}
