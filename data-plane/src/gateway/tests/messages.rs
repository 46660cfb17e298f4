//! What a client may send, and in which words.

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use super::{stage, status};
use crate::audit::tests::eventually;
use crate::testing::upstream::{Speaks, Upstream};
use crate::testing::{Stage, initialize, legacy, legacy_call, modern, modern_call};

#[tokio::test]
async fn malformed_messages_have_their_answers_and_records() {
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    for (body, status_code, code) in [
        ("{", StatusCode::BAD_REQUEST, -32700),
        ("7", StatusCode::BAD_REQUEST, -32600),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"a":{"b":1,"b":2}}}"#,
            StatusCode::BAD_REQUEST,
            -32600,
        ),
        (
            &format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"a":{deep}}}}}"#),
            StatusCode::BAD_REQUEST,
            -32600,
        ),
        ("[]", StatusCode::BAD_REQUEST, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#, StatusCode::BAD_REQUEST, -32000),
    ] {
        let (stage, upstream) = stage(Speaks::Modern).await;
        let request = legacy(None, &Value::Null).map(|_| Body::from(body.to_owned()));
        let told = stage.ask(request).await;
        assert_eq!((told.status, &told.json()["error"]["code"]), (status_code, &json!(code)), "{body:.80}");
        assert_eq!(status(&stage.record().await), "protocol_error", "{body:.80}");
        assert!(upstream.seen().is_empty());
    }
}

#[tokio::test]
async fn a_header_that_says_something_else_is_refused() {
    for (name, value) in
        [("mcp-name", "crm__other"), ("mcp-method", "tools/list"), ("mcp-protocol-version", "2025-11-25")]
    {
        let (stage, upstream) = stage(Speaks::Modern).await;
        let mut request = modern_call("echo", json!({}));
        request.headers_mut().insert(name, value.parse().unwrap());
        let told = stage.ask(request).await;
        assert_eq!((told.status, &told.json()["error"]["code"]), (StatusCode::BAD_REQUEST, &json!(-32020)), "{name}");
        assert_eq!(status(&stage.record().await), "protocol_error");
        assert!(upstream.seen().is_empty());
        let mut missing = modern_call("echo", json!({}));
        missing.headers_mut().remove(name);
        assert_eq!(stage.ask(missing).await.json()["error"]["code"], -32020, "{name}");
    }
}

#[tokio::test]
async fn a_header_that_repeats_an_argument_is_checked_and_made_anew() {
    let upstream = Upstream::start(Speaks::Modern).await;
    let stage = Stage::with(&upstream.url(), |snapshot, _| {
        let schema = json!({"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}});
        let definition = json!({"name": "echo", "inputSchema": schema}).to_string();
        snapshot.servers[0].tools[0].definition = serde_json::value::RawValue::from_string(definition).unwrap();
    })
    .await;
    let request = |value: Option<&str>| {
        let mut request = modern_call("echo", json!({"region": "eu"}));
        if let Some(value) = value {
            request.headers_mut().insert("mcp-param-region", value.parse().unwrap());
        }
        request
    };
    for wrong in [None, Some("us")] {
        let told = stage.ask(request(wrong)).await;
        assert_eq!((told.status, &told.json()["error"]["code"]), (StatusCode::BAD_REQUEST, &json!(-32020)));
    }
    assert!(upstream.seen().is_empty());
    assert_eq!(stage.ask(request(Some("=?base64?ZXU=?="))).await.status, StatusCode::OK);
    assert_eq!(upstream.calls()[0].headers["mcp-param-region"], "eu");
}

#[tokio::test]
async fn requests_that_are_not_json_or_too_large_are_refused_before_they_are_read() {
    let (stage, _upstream) = stage(Speaks::Modern).await;
    let mut form = modern_call("echo", json!({}));
    form.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    assert_eq!(stage.ask(form).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let large = modern_call("echo", json!({"a": "x".repeat(5 * 1024 * 1024)}));
    assert_eq!(stage.ask(large).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let get = Request::get("/acme/mcp").body(Body::empty()).unwrap();
    let told = stage.ask(get).await;
    assert_eq!(
        (told.status, told.headers["allow"].to_str().unwrap()),
        (StatusCode::METHOD_NOT_ALLOWED, "POST, DELETE")
    );
    eventually(async || stage.records().await.len() == 3).await;
}

#[tokio::test]
async fn methods_of_another_era_or_of_later_are_not_found() {
    let (stage, _upstream) = stage(Speaks::Modern).await;
    for method in ["initialize", "ping", "prompts/list", "nonsense"] {
        let told = stage.ask(modern(method, None, json!({}))).await;
        assert_eq!((told.status, &told.json()["error"]["code"]), (StatusCode::NOT_FOUND, &json!(-32601)), "{method}");
    }
    let session = stage.session("2025-11-25").await;
    let ask = json!({"jsonrpc": "2.0", "id": 1, "method": "prompts/list"});
    let told = stage.ask(legacy(Some(&session), &ask)).await;
    assert_eq!((told.status, &told.json()["error"]["code"]), (StatusCode::OK, &json!(-32601)));
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    assert_eq!(stage.ask(legacy(Some(&session), &ping)).await.json()["result"], json!({}));
}

#[tokio::test]
async fn a_batch_is_answered_only_where_the_version_has_batches() {
    let (stage, _upstream) = stage(Speaks::Modern).await;
    let ping = |id: u64| json!({"jsonrpc": "2.0", "id": id, "method": "ping"});
    let batch = json!([ping(1), legacy_call(2, "echo"), legacy_call(3, "progress"), {"jsonrpc": "2.0", "id": 4}]);
    let session = stage.session("2025-03-26").await;
    let told = stage.ask(legacy(Some(&session), &batch)).await;
    assert_eq!(told.headers["content-type"], "text/event-stream");
    let mut ids: Vec<_> = told.events().iter().map(|event| event["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3, 4]);
    let mut whole = legacy(Some(&session), &batch);
    whole.headers_mut().insert("accept", "application/json".parse().unwrap());
    assert_eq!(stage.ask(whole).await.json().as_array().unwrap().len(), 4);
    let newer = stage.session("2025-06-18").await;
    let refused = stage.ask(legacy(Some(&newer), &batch)).await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (StatusCode::BAD_REQUEST, &json!(-32600)));
}

#[tokio::test]
async fn the_handshake_is_ours() {
    let (stage, upstream) = stage(Speaks::Legacy).await;
    let told = stage.ask(legacy(None, &initialize("2026-07-28"))).await;
    let result = told.json()["result"].clone();
    assert_eq!(result["protocolVersion"], "2025-11-25");
    assert_eq!(
        (&result["serverInfo"]["name"], &result["instructions"]),
        (&json!("sluice"), &json!("## crm\nBe kind."))
    );
    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let session = told.headers["mcp-session-id"].to_str().unwrap();
    assert!(session.len() < 1024);
    assert_eq!(stage.ask(legacy(Some(session), &initialized)).await.status, StatusCode::ACCEPTED);
    assert!(upstream.seen().is_empty());
}
