//! Modern and legacy clients against modern and legacy upstreams: all four pairs, on every node.

use reqwest::Method;
use serde_json::json;
use sluice_tests::client::{LEGACY, MODERN, send};

use crate::house::{house, until};

#[tokio::test]
async fn every_pair_of_eras_lists_and_calls_on_every_node() {
    for client in house().clients() {
        let session = client.initialize(LEGACY).await;
        assert_eq!(session.tools().await, client.tools().await);
        for server in ["modern", "legacy"] {
            let tool = format!("{server}__echo");
            let answer = client.call(&tool, json!({"message": "hello"})).await;
            assert_eq!(answer.tool_text(), r#"{"message":"hello"}"#);
            assert_eq!(answer.message()["result"]["resultType"], "complete");
            let answer = session.call(&tool, json!({"message": "hello"})).await;
            assert_eq!(answer.tool_text(), r#"{"message":"hello"}"#);
            assert_eq!(answer.message()["result"].get("resultType"), None);
        }
    }
}

#[tokio::test]
async fn discover_and_initialize_name_us_and_the_versions_we_speak() {
    let client = house().client();
    let discovered = client.modern("server/discover", json!({})).await.message();
    assert_eq!(discovered["result"]["supportedVersions"], json!([MODERN]));
    for version in ["2025-11-25", "2025-06-18", "2025-03-26"] {
        assert_eq!(client.initialize(version).await.initialized["protocolVersion"], version);
    }
    assert_eq!(client.initialize("2099-01-01").await.initialized["protocolVersion"], LEGACY);
}

#[tokio::test]
async fn a_session_of_one_node_is_good_at_the_others_until_it_is_ended() {
    let clients = house().clients();
    let mut session = clients[0].initialize(LEGACY).await;
    for client in &clients {
        session.client = client.clone();
        assert_eq!(session.send("ping", json!({})).await.message()["result"], json!({}));
    }
    let ended = send(session.request(Method::DELETE)).await.unwrap();
    assert!(ended.status.is_success(), "{ended:?}");
    for client in &clients {
        session.client = client.clone();
        // A node that has just seen the session alive may believe in it for a second.
        until("the end of the session", || async { session.send("ping", json!({})).await.status == 404 }).await;
    }
}

#[tokio::test]
async fn unknown_members_big_integers_and_key_order_pass_unharmed() {
    let client = house().client();
    for server in ["modern", "legacy"] {
        let answer = client.call(&format!("{server}__vendor"), json!({"n": 1})).await;
        assert!(answer.text.contains(r#""zeta":12345678901234567890123"#), "{}", answer.text);
        assert!(answer.text.contains(r#""x-vendor":{"b":1,"a":1e3}"#), "{}", answer.text);
        assert!(answer.text.find("zeta") < answer.text.find("alpha"), "{}", answer.text);
    }
}

#[tokio::test]
async fn progress_is_passed_on_before_the_answer_exists() {
    let house = house();
    for (server, upstream) in [("modern", &house.modern), ("legacy", &house.legacy)] {
        let params =
            json!({"name": format!("{server}__progress"), "arguments": {}, "_meta": {"progressToken": "mine"}});
        let mut response = house.client().modern_request("tools/call", params).send().await.unwrap();
        let mut seen = String::new();
        while !seen.contains("notifications/progress") {
            seen.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
        }
        // The upstream is still waiting at its gate: what came was not held back.
        assert!(seen.contains(r#""progressToken":"mine""#) && !seen.contains("result"), "{seen}");
        upstream.open_gate();
        while let Some(chunk) = response.chunk().await.unwrap() {
            seen.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        assert!(seen.contains("\"done\""), "{seen}");
    }
}

#[tokio::test]
async fn a_mirrored_header_is_checked_and_made_anew_for_the_upstream() {
    let house = house();
    let params = || json!({"name": "modern__regional", "arguments": {"region": "eu west"}});
    let right = house.client().modern_request("tools/call", params()).header("mcp-param-region", "eu west");
    assert_eq!(send(right).await.unwrap().status, 200);
    let seen = house.modern.has_seen("regional").await;
    assert_eq!((seen.headers["mcp-name"].as_str(), seen.headers["mcp-param-region"].as_str()), ("regional", "eu west"));
    let wrong = house.client().modern_request("tools/call", params()).header("mcp-param-region", "us");
    let answer = send(wrong).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.error_code()), (400, Some(-32020)));
}

#[tokio::test]
async fn what_later_issues_bring_is_refused_properly() {
    let client = house().client();
    let session = client.initialize(LEGACY).await;
    for method in ["resources/list", "prompts/list", "subscriptions/listen", "completion/complete"] {
        let answer = client.modern(method, json!({})).await;
        assert_eq!((answer.status.as_u16(), answer.error_code()), (404, Some(-32601)), "{method}");
    }
    for method in ["resources/list", "prompts/list", "resources/subscribe"] {
        let answer = session.send(method, json!({})).await;
        assert_eq!((answer.status.as_u16(), answer.error_code()), (200, Some(-32601)), "{method}");
    }
    assert_eq!(send(session.request(Method::GET)).await.unwrap().status, 405);
}

#[tokio::test]
async fn a_denied_call_says_why_and_never_reaches_the_upstream() {
    let house = house();
    let answer = house.client().call("modern__delete_all", json!({"n": 4_000_000_001_u64})).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.message()["result"]["isError"], true);
    assert!(answer.tool_text().contains("Nobody may delete everything."), "{}", answer.tool_text());
    assert!(!house.modern.numbers().contains(&4_000_000_001));
    let records = house.api.wait_for_records(&answer.trace_id(), 1).await;
    assert_eq!(records[0]["decision"]["effect"], "deny");
    assert_eq!(records[0]["outcome"]["status"], "denied");
}
