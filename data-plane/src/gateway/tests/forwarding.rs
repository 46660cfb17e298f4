//! What reaches an upstream of either era, from a client of either, and what does not.

use domain::snapshot::{CredentialPlace, CredentialStore};
use domain::{Credential, CredentialId, EraPin};
use http::StatusCode;
use serde_json::json;

use super::{stage, status};
use crate::testing::upstream::{ODD, Speaks, Upstream};
use crate::testing::{Stage, legacy, legacy_call, modern_call};

#[tokio::test]
async fn a_modern_client_calls_a_modern_upstream() {
    let (stage, upstream) = stage(Speaks::Modern).await;
    let told = stage.call("echo", json!({"a": 1})).await;
    assert_eq!(told.status, StatusCode::OK);
    assert_eq!(told.headers["content-type"], "application/json");
    let answer = told.json();
    assert_eq!((&answer["id"], &answer["result"]["content"][0]["text"]), (&json!(41), &json!(r#"{"a":1}"#)));
    assert_eq!(answer["result"]["resultType"], "complete");
    let sent = &upstream.calls()[0];
    assert_eq!(sent.headers["mcp-name"], "echo");
    assert_eq!(sent.body["params"]["name"], "echo");
    let record = stage.record().await;
    assert_eq!((status(&record), record["decision"]["effect"].as_str()), ("success", Some("allow")));
    assert_eq!((&record["tool"]["name"], &record["tool"]["upstream_name"]), (&json!("crm__echo"), &json!("echo")));
    assert_eq!(record["decision"]["policies"][0]["version"], 3);
    assert_eq!(record["client"]["name"], "tester");
    assert_eq!(record["result"]["content_types"], json!(["text"]));
}

#[tokio::test]
async fn a_modern_client_calls_a_legacy_upstream_in_one_session() {
    let (stage, upstream) = stage(Speaks::Legacy).await;
    for _ in 0..2 {
        let answer = stage.call("echo", json!({"a": 1})).await.json();
        assert_eq!(answer["result"]["resultType"], "complete");
        assert_eq!(answer["result"]["content"][0]["text"], r#"{"a":1}"#);
    }
    assert_eq!((upstream.count("initialize"), upstream.count("notifications/initialized")), (1, 1));
    assert_eq!(upstream.count("server/discover"), 1, "the era is found out once");
    assert_eq!(upstream.calls()[1].headers["mcp-session-id"], "s0");
    assert_eq!(upstream.calls()[1].headers["mcp-protocol-version"], "2025-11-25");
}

#[tokio::test]
async fn a_legacy_client_calls_a_modern_upstream() {
    let (stage, _upstream) = stage(Speaks::Modern).await;
    let session = stage.session("2025-06-18").await;
    let told = stage.ask(legacy(Some(&session), &legacy_call(7, "echo"))).await;
    let answer = told.json();
    assert_eq!((&answer["id"], &answer["result"]["content"][0]["text"]), (&json!(7), &json!(r#"{"a":1}"#)));
    assert!(answer["result"].get("resultType").is_none(), "{answer}");
    let record = stage.record().await;
    assert_eq!((status(&record), record["mcp"]["protocol_version"].as_str()), ("success", Some("2025-06-18")));
    assert_eq!(record["server"]["protocol_version"], "2026-07-28");
}

#[tokio::test]
async fn a_legacy_client_calls_a_legacy_upstream_in_a_session_of_its_own() {
    let (stage, upstream) = stage(Speaks::Legacy).await;
    let (first, second) = (stage.session("2025-11-25").await, stage.session("2025-11-25").await);
    for session in [&first, &second, &first] {
        let answer = stage.ask(legacy(Some(session), &legacy_call(7, "echo"))).await.json();
        assert_eq!(answer["result"]["content"][0]["text"], r#"{"a":1}"#);
    }
    let sessions: Vec<_> = upstream.calls().iter().map(|call| call.headers["mcp-session-id"].clone()).collect();
    assert_eq!(sessions, ["s0", "s1", "s0"]);
}

#[tokio::test]
async fn nothing_of_the_clients_headers_reaches_the_upstream() {
    let (stage, upstream) = stage(Speaks::Modern).await;
    let mut request = modern_call("echo", json!({}));
    request.headers_mut().insert("x-secret", "canary".parse().unwrap());
    request.headers_mut().insert("cookie", "canary".parse().unwrap());
    stage.ask(request).await;
    let sent = format!("{:?}", upstream.seen());
    assert!(!sent.contains("canary") && !sent.contains("slc_of_the_client"), "{sent}");
    assert!(!upstream.calls()[0].headers.contains_key("authorization"));
}

#[tokio::test]
async fn our_credential_reaches_the_upstream_and_nobody_else() {
    let upstream = Upstream::start(Speaks::Modern).await;
    let stage = Stage::with(&upstream.url(), |snapshot, key| {
        let id = CredentialId::from_uuid(uuid::Uuid::from_u128(9));
        let value = domain::Secret::new("canary".to_owned());
        let envelope = secrets::sealed::seal(key, snapshot.tenant, id, 1, &value);
        let place = CredentialPlace { id, version: 1, store: CredentialStore::Sealed { envelope } };
        snapshot.servers[0].credential = Credential::Bearer { place };
    })
    .await;
    let told = stage.call("echo", json!({})).await;
    assert_eq!(upstream.calls()[0].headers["authorization"], "Bearer canary");
    assert!(!format!("{told:?} {} {:?}", stage.record().await, stage.tenant).contains("canary"));
}

#[tokio::test]
async fn a_credential_that_does_not_open_ends_the_call_before_anything_leaves() {
    let upstream = Upstream::start(Speaks::Modern).await;
    let stage = Stage::with(&upstream.url(), |snapshot, _| {
        let id = CredentialId::from_uuid(uuid::Uuid::from_u128(9));
        let store = CredentialStore::Sealed { envelope: "v1.AAAA".to_owned() };
        snapshot.servers[0].credential = Credential::Bearer { place: CredentialPlace { id, version: 1, store } };
    })
    .await;
    let answer = stage.call("echo", json!({})).await.json();
    assert_eq!(answer["error"]["code"], -32603);
    assert!(upstream.seen().is_empty());
    assert_eq!(status(&stage.record().await), "gateway_error");
}

#[tokio::test]
async fn a_server_that_changes_its_era_is_found_out_again() {
    let legacy_one = Upstream::start(Speaks::Legacy).await;
    let stage = Stage::with(&legacy_one.url(), |snapshot, _| {
        snapshot.servers[0].probed_version = Some("2026-07-28".to_owned());
    })
    .await;
    let answer = stage.call("echo", json!({"a": 1})).await.json();
    assert_eq!(answer["result"]["content"][0]["text"], r#"{"a":1}"#, "{answer}");
    let calls = legacy_one.calls();
    assert!(!calls[0].headers.contains_key("mcp-session-id"), "the first was refused there, not made");
}

#[tokio::test]
async fn a_trace_goes_through() {
    let (stage, upstream) = stage(Speaks::Modern).await;
    let mut request = modern_call("echo", json!({}));
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    request.headers_mut().insert("traceparent", given.parse().unwrap());
    for (name, value) in [("tracestate", "rojo=1"), ("tracestate", "congo=2"), ("baggage", "canary=1")] {
        request.headers_mut().append(name, value.parse().unwrap());
    }
    let told = stage.ask(request).await;
    assert_eq!(told.headers["x-trace-id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert!(told.headers["server-timing"].to_str().unwrap().contains("upstream;dur="));
    let sent = &upstream.calls()[0];
    let onward = sent.headers["traceparent"].to_str().unwrap();
    assert!(onward.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && onward != given, "{onward}");
    assert_eq!(sent.body["params"]["_meta"]["traceparent"], onward);
    assert_eq!(sent.headers["tracestate"], "rojo=1,congo=2");
    assert_eq!(sent.body["params"]["_meta"]["tracestate"], "rojo=1,congo=2");
    assert!(!format!("{sent:?}").contains("canary"), "baggage stays here");
    let record = stage.record().await;
    assert_eq!(
        (&record["trace"]["parent_id"], &record["trace"]["source"]),
        (&json!("00f067aa0ba902b7"), &json!("http"))
    );
}

#[tokio::test]
async fn a_pinned_era_is_not_probed() {
    let upstream = Upstream::start(Speaks::Legacy).await;
    let stage = Stage::with(&upstream.url(), |snapshot, _| snapshot.servers[0].era = EraPin::Legacy).await;
    stage.call("echo", json!({})).await;
    assert_eq!(upstream.count("server/discover"), 0);
}

#[tokio::test]
async fn what_a_tool_found_is_passed_on_whatever_text_it_is() {
    for speaks in [Speaks::Modern, Speaks::Legacy] {
        let (stage, _upstream) = stage(speaks).await;
        let told = stage.call("odd", json!({})).await;
        assert!(told.text.contains(ODD), "{}", told.text);
        let record = stage.record().await;
        assert_eq!((status(&record), &record["result"]["content_types"]), ("success", &json!(["text"])));
    }
}

#[tokio::test]
async fn an_upstream_does_not_speak_in_our_name() {
    for speaks in [Speaks::Modern, Speaks::Legacy] {
        let (stage, _upstream) = stage(speaks).await;
        let told = stage.call("forge", json!({})).await;
        let meta = &told.json()["result"]["_meta"];
        assert_eq!((meta.get("dev.sluice/denial"), &meta["example/kept"]), (None, &json!(1)), "{}", told.text);
    }
}
