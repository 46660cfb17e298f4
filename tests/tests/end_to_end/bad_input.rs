//! Whatever is wrong, with the client's message or with the upstream's answer, has one defined answer and one record.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sluice_tests::client::{Answer, Client, MODERN, send};

use crate::house::house;

fn raw(body: &str) -> RequestBuilder {
    let request = house().client().request(Method::POST);
    request
        .header("mcp-protocol-version", MODERN)
        .header("mcp-method", "tools/call")
        .header("mcp-name", "modern__echo")
        .body(body.to_owned())
}

fn call_with(arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"modern__echo","arguments":{arguments},"_meta":{{"io.modelcontextprotocol/protocolVersion":"{MODERN}","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
    )
}

async fn status_and_code(request: RequestBuilder) -> (u16, Option<i64>) {
    let answer = send(request).await.unwrap();
    (answer.status.as_u16(), answer.error_code())
}

#[tokio::test]
async fn malformed_messages_are_refused_before_anything_is_done() {
    for (body, code) in [
        ("{\"jsonrpc\":\"2.0\",", -32700),
        ("[]", -32600),
        ("\"text\"", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"tools/call\",\"params\":{}}", -32600),
        (&call_with(r#"{"marked":"broken","a":1,"a":2}"#), -32600),
        (&call_with(r#"{"marked":"broken","deep":[{"x":{"k":1,"\u006b":2}}]}"#), -32600),
        (&call_with(&format!("{}1{}", "[".repeat(200), "]".repeat(200))), -32600),
    ] {
        let (status, found) = status_and_code(raw(body)).await;
        assert_eq!(status, 400, "{body}");
        assert_eq!(found, Some(code), "{body}");
    }
    assert_eq!(status_and_code(raw(&call_with(r#"{"marked":"whole"}"#))).await.0, 200);
    let reached =
        |mark: &str| house().modern.seen().iter().filter(|seen| seen.message.to_string().contains(mark)).count();
    assert_eq!((reached("whole"), reached("broken")), (1, 0));
}

#[tokio::test]
async fn headers_that_are_missing_or_wrong_are_refused() {
    let client = house().client();
    let body = call_with("{}");
    let base = || client.request(Method::POST).body(body.clone());
    let cases = [
        (base().header("mcp-method", "tools/call").header("mcp-name", "modern__echo"), -32020),
        (base().header("mcp-protocol-version", MODERN).header("mcp-name", "modern__echo"), -32020),
        (
            base()
                .header("mcp-protocol-version", MODERN)
                .header("mcp-method", "tools/list")
                .header("mcp-name", "modern__echo"),
            -32020,
        ),
        (base().header("mcp-protocol-version", MODERN).header("mcp-method", "tools/call"), -32020),
        (
            base()
                .header("mcp-protocol-version", MODERN)
                .header("mcp-method", "tools/call")
                .header("mcp-name", "other"),
            -32020,
        ),
        (
            base()
                .header("mcp-protocol-version", "2025-11-25")
                .header("mcp-method", "tools/call")
                .header("mcp-name", "modern__echo"),
            -32020,
        ),
    ];
    for (index, (request, code)) in cases.into_iter().enumerate() {
        assert_eq!(status_and_code(request).await, (400, Some(code)), "case {index}");
    }
    let text = client.request(Method::POST).header("content-type", "text/plain").body(body.clone());
    assert!(send(text).await.unwrap().status.is_client_error());
}

#[tokio::test]
async fn a_huge_body_is_refused_with_413() {
    let body = call_with(&json!({"message": "x".repeat(5 * 1024 * 1024)}).to_string());
    let refused = match send(raw(&body)).await {
        Ok(answer) => answer.status == 413,
        // The node may close the connection while the rest is still being sent.
        Err(error) => error.is_request() || error.is_body(),
    };
    assert!(refused);
    assert_eq!(house().client().call("modern__echo", json!({})).await.status, 200, "and the node goes on");
}

#[tokio::test]
async fn a_foreign_origin_or_host_is_refused() {
    let client = house().client();
    let origin = client.modern_request("tools/list", json!({})).header("origin", "http://evil.example.com");
    assert_eq!(send(origin).await.unwrap().status, 403);
    let host = client.modern_request("tools/list", json!({})).header("host", "evil.example.com");
    assert!(send(host).await.unwrap().status.is_client_error());
}

#[tokio::test]
async fn an_unknown_tool_looks_the_same_whether_its_server_exists() {
    let client = house().client();
    let unknown = client.call("modern__nothing", json!({})).await;
    assert_eq!((unknown.status.as_u16(), unknown.error_code()), (200, Some(-32602)));
    let other = client.call("nowhere__echo", json!({})).await;
    let strip = |answer: &Answer| {
        let mut message = answer.message();
        message["id"] = Value::Null;
        message.to_string().replace("modern__nothing", "").replace("nowhere__echo", "")
    };
    assert_eq!(strip(&unknown), strip(&other));
}

/// How one way to fail looks to the client and in the record.
struct Failure {
    tool: &'static str,
    outcome: &'static str,
}

#[tokio::test]
async fn each_way_an_upstream_fails_has_its_answer_and_its_record() {
    let failures = [
        Failure { tool: "tool_error", outcome: "tool_error" },
        Failure { tool: "protocol_error", outcome: "protocol_error" },
        Failure { tool: "legacy_error", outcome: "protocol_error" },
        Failure { tool: "status_500", outcome: "upstream_unavailable" },
        Failure { tool: "status_401", outcome: "upstream_unavailable" },
        Failure { tool: "garbage", outcome: "protocol_error" },
        Failure { tool: "html", outcome: "protocol_error" },
        Failure { tool: "half", outcome: "upstream_unavailable" },
        Failure { tool: "redirect", outcome: "upstream_unavailable" },
        Failure { tool: "wrong_id", outcome: "protocol_error" },
        Failure { tool: "endless", outcome: "protocol_error" },
        Failure { tool: "hang", outcome: "timeout" },
    ];
    for failure in failures {
        for server in ["modern", "legacy"] {
            fails_as(&house().client(), server, &failure).await;
        }
    }
}

async fn fails_as(client: &Client, server: &str, failure: &Failure) {
    let name = format!("{server}__{}", failure.tool);
    let answer = client.call(&name, json!({})).await;
    let message = answer.message();
    let failed = message.get("error").is_some() || message["result"]["isError"] == true;
    assert!(failed, "{name}: {answer:?}");
    assert!(!answer.text.contains("Bearer realm"), "{name} passed on the upstream's challenge");
    assert!(answer.headers.get("www-authenticate").is_none(), "{name}");
    let records = house().api.wait_for_records(&answer.trace_id(), 1).await;
    assert_eq!(records.len(), 1, "{name}: {records:?}");
    assert_eq!(records[0]["outcome"]["status"], failure.outcome, "{name}: {}", records[0]);
}

#[tokio::test]
async fn a_large_answer_passes() {
    let answer = house().client().call("modern__big", json!({})).await;
    assert_eq!(answer.tool_text().len(), 3 * 1024 * 1024);
}

#[tokio::test]
async fn what_a_legacy_upstream_asks_mid_call_is_answered_for_the_client() {
    let answer = house().client().call("legacy__asks", json!({})).await;
    assert_eq!(answer.tool_text(), "asked");
    assert!(!answer.text.contains("roots/list"), "{}", answer.text);
}

#[tokio::test]
async fn a_legacy_upstream_that_forgot_its_sessions_is_greeted_again() {
    let house = house();
    assert_eq!(house.client().call("legacy__echo", json!({"message": "1"})).await.tool_text(), r#"{"message":"1"}"#);
    house.legacy.forget_sessions();
    assert_eq!(house.client().call("legacy__echo", json!({"message": "2"})).await.tool_text(), r#"{"message":"2"}"#);
}

#[tokio::test]
async fn a_modern_client_that_hangs_up_cancels_the_call_and_leaves_one_record() {
    let house = house();
    let trace = "c0ffee00c0ffee00c0ffee00c0ffee00";
    let request = house
        .client()
        .modern_request("tools/call", json!({"name": "modern__gated", "arguments": {"n": 4_000_000_002_u64}}));
    let call = tokio::spawn(send(request.header("traceparent", format!("00-{trace}-00000000000000aa-01"))));
    house.modern.has_seen("gated").await;
    call.abort();
    let records = house.api.wait_for_records(trace, 1).await;
    assert_eq!(records[0]["outcome"]["status"], "cancelled", "{}", records[0]);
}
