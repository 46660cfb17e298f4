//! Calls that ask their client for input, and go on when it answers.

use std::sync::Arc;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{EraPin, Principal, ServerVersionId, TokenId, UserId};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{stage, status};
use crate::audit::tests::eventually;
use crate::call::rounds::ROUNDS_MAX;
use crate::caller::Caller;
use crate::testing::upstream::{Speaks, Upstream};
use crate::testing::{Stage, Told, legacy, legacy_call, modern};

const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// A question as upstreams ask it, with the state they want back.
fn question(state: &str) -> Value {
    let params = json!({"message": "Sure?", "requestedSchema": {"type": "object", "properties": {}}});
    json!({"requestState": state, "inputRequests": {"sure": {"method": "elicitation/create", "params": params}}})
}

/// A call of a client that shows forms, which has the upstream ask this; `input` is what it answers.
fn call(asks: &Value, input: &Value) -> Request<Body> {
    call_of("crm__input", &json!({"asks": asks}), input, &json!({"elicitation": {}}))
}

fn call_of(tool: &str, arguments: &Value, input: &Value, can: &Value) -> Request<Body> {
    let mut params = json!({"name": tool, "arguments": arguments, "_meta": {CAPABILITIES: can, "progressToken": 1}});
    for (key, value) in input.as_object().unwrap() {
        params[key] = value.clone();
    }
    modern("tools/call", Some(tool), params)
}

/// What a client sends back: its answer, and the state that came with the question.
fn answer(told: &Told) -> Value {
    let state = told.json()["result"]["requestState"].clone();
    assert!(state.is_string(), "{}", told.text);
    json!({"inputResponses": {"sure": {"action": "accept", "content": {}}}, "requestState": state})
}

/// The records so far, when there are that many.
async fn records(stage: &Stage, count: usize) -> Vec<Value> {
    eventually(async || stage.records().await.len() >= count).await;
    let records = stage.records().await;
    assert_eq!(records.len(), count, "{records:#?}");
    records
}

#[tokio::test]
async fn a_question_reaches_a_client_that_can_answer_it() {
    let (stage, upstream) = stage(Speaks::Modern).await;
    let can = json!({"elicitation": {}, "vendor": 1, "extensions": {"a/b": {}}});
    let told = stage.ask(call_of("crm__input", &json!({"asks": [question("theirs")]}), &json!({}), &can)).await;
    let mut result = told.json()["result"].clone();
    assert_eq!((told.status, &told.json()["id"]), (StatusCode::OK, &json!(41)), "{}", told.text);
    assert_ne!(result["requestState"].take(), "theirs");
    assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "sluice");
    result["_meta"].take();
    let mut asked = question("");
    asked["inputRequests"]["sure"]["params"]["message"] = json!("[crm] Sure?");
    asked["resultType"] = json!("input_required");
    (asked["requestState"], asked["_meta"]) = (Value::Null, Value::Null);
    assert_eq!(result, asked);
    let sent = &upstream.calls()[0].body["params"];
    assert_eq!(sent["_meta"][CAPABILITIES], json!({"elicitation": {"form": {}}}));
}

#[tokio::test]
async fn the_answer_reaches_the_upstream_with_its_own_state_at_another_node() {
    let (mut stage, upstream) = stage(Speaks::Modern).await;
    let mut stateless = question("");
    stateless.as_object_mut().unwrap().remove("requestState");
    for (round, asks) in [json!([question("th\"eirs é")]), json!([stateless])].into_iter().enumerate() {
        let first = stage.ask(call(&asks, &json!({}))).await;
        stage.move_to_another_node().await;
        let answer = answer(&first);
        let last = stage.ask(call(&asks, &answer)).await;
        assert_eq!(last.json()["result"]["resultType"], "complete", "{}", last.text);
        assert_eq!(last.json()["result"]["content"][0]["text"], answer["inputResponses"].to_string());
        let sent = &upstream.calls()[2 * round + 1].body["params"];
        assert_eq!(sent["inputResponses"], answer["inputResponses"]);
        assert_eq!(sent.get("requestState"), asks[0].get("requestState"));
    }
}

#[tokio::test]
async fn a_state_is_worth_nothing_to_anybody_and_for_anything_else() {
    let other = Uuid::from_u128(77);
    let asks = json!([question("theirs")]);
    for different in ["user", "token", "tenant", "version", "tool", "arguments"] {
        let (mut stage, upstream) = stage(Speaks::Modern).await;
        let answer = answer(&stage.ask(call(&asks, &json!({}))).await);
        let us = stage.caller.principal.clone();
        let acting = |principal: Principal| Arc::new(Caller::new(principal));
        let mut request = call(&asks, &answer);
        match different {
            "user" => stage.caller = acting(Principal { user: UserId::from_uuid(other), ..us }),
            "token" => stage.caller = acting(Principal { token: TokenId::from_uuid(other), ..us }),
            "tenant" => stage.move_to_another_tenant().await,
            "version" => stage.publish(|to| to.servers[0].version = ServerVersionId::from_uuid(other)).await,
            "tool" => request = call_of("crm__echo", &json!({"asks": asks}), &answer, &json!({"elicitation": {}})),
            _ => request = call(&json!([question("theirs"), {}]), &answer),
        }
        let told = stage.ask(request).await;
        let error = &told.json()["error"];
        assert_eq!((told.status, &error["message"]), (StatusCode::OK, &json!("Invalid requestState")), "{different}");
        assert_eq!((&error["code"], upstream.calls().len()), (&json!(-32602), 1), "{different}");
    }
}

#[tokio::test]
async fn a_changed_or_made_up_state_is_refused_and_recorded() {
    let (stage, upstream) = stage(Speaks::Modern).await;
    let asks = json!([question("theirs")]);
    let mut answer = answer(&stage.ask(call(&asks, &json!({}))).await);
    let ours = answer["requestState"].as_str().unwrap().to_owned();
    for (number, state) in [format!("{ours}-TAMPERED"), "theirs".to_owned(), String::new()].iter().enumerate() {
        answer["requestState"] = json!(state);
        let told = stage.ask(call(&asks, &answer)).await;
        assert_eq!(told.json()["error"]["code"], -32602, "{}", told.text);
        let record = records(&stage, number + 2).await.remove(number + 1);
        assert_eq!((status(&record), &record["outcome"]["reason"]), ("protocol_error", &json!("bad_request_state")));
        assert_eq!(record["outcome"]["error_type"], "bad_request_state");
        assert_eq!((&record["tool"]["upstream_name"], &record["mcp"]["mrtr_round"]), (&json!("input"), &Value::Null));
    }
    assert_eq!(upstream.calls().len(), 1);
}

#[tokio::test]
async fn an_answer_without_a_state_is_the_upstreams_to_judge() {
    let (stage, upstream) = stage(Speaks::Modern).await;
    let told = stage.ask(call(&json!([]), &json!({"inputResponses": {"other": 5}}))).await;
    assert_eq!(told.json()["result"]["content"][0]["text"], r#"{"other":5}"#, "{}", told.text);
    assert_eq!(upstream.calls()[0].body["params"].get("requestState"), None);
    let wrong = stage.ask(call(&json!([]), &json!({"inputResponses": null}))).await;
    assert_eq!((&wrong.json()["error"]["code"], upstream.calls().len()), (&json!(-32602), 1));
}

#[tokio::test]
async fn what_a_client_may_not_be_asked_is_not_asked() {
    let mut http = question("");
    http["inputRequests"]["sure"]["params"] = json!({"mode": "url", "message": "", "url": "http://x.test"});
    let sampling = json!({"inputRequests": {"a": {"method": "sampling/createMessage", "params": {}}}});
    for (asked, reason) in [
        (sampling, "asks_for_input"),
        (http, "malformed"),
        (json!({}), "malformed"),
        (question(&"x".repeat(mcp::input::STATE_MAX + 1)), "too_large"),
    ] {
        let (stage, _upstream) = stage(Speaks::Modern).await;
        let told = stage.ask(call(&json!([asked]), &json!({}))).await;
        assert_eq!((told.status, &told.json()["error"]["code"]), (StatusCode::OK, &json!(-32603)), "{}", told.text);
        assert_eq!(told.json()["error"]["data"]["upstream"], "crm");
        let record = stage.record().await;
        assert_eq!((status(&record), &record["outcome"]["reason"]), ("protocol_error", &json!(reason)));
    }
}

#[tokio::test]
async fn each_round_has_its_record_and_all_name_the_first() {
    let (stage, _upstream) = stage(Speaks::Modern).await;
    let asks = json!([question("one"), question("two")]);
    let first = stage.ask(call(&asks, &json!({}))).await;
    let second = stage.ask(call(&asks, &answer(&first))).await;
    stage.ask(call(&asks, &answer(&second))).await;
    let records = records(&stage, 3).await;
    for (number, (record, kind)) in records.iter().zip(["input_required", "input_required", "complete"]).enumerate() {
        assert_eq!((status(record), &record["decision"]["effect"]), ("success", &json!("allow")));
        assert_eq!((&record["mcp"]["mrtr_round"], &record["mcp"]["result_type"]), (&json!(number + 1), &json!(kind)));
        assert_eq!(record["correlation_id"], records[0]["call_id"]);
        assert!(record["result"]["hmac"].is_string(), "{record}");
    }
    assert_ne!(records[1]["call_id"], records[0]["call_id"]);
}

#[tokio::test]
async fn each_round_is_decided_anew() {
    let (mut stage, upstream) = stage(Speaks::Modern).await;
    let asks = json!([question("theirs")]);
    let answer = answer(&stage.ask(call(&asks, &json!({}))).await);
    stage.publish(|snapshot| snapshot.servers[0].paused = true).await;
    let paused = stage.ask(call(&asks, &answer)).await.json();
    assert_eq!(paused["result"]["_meta"]["dev.sluice/denial"]["code"], "server_paused", "{paused}");
    stage.publish(|snapshot| snapshot.policies[0].text.push_str("forbid (principal, action, resource);")).await;
    let hidden = stage.ask(call(&asks, &answer)).await.json();
    assert_eq!(hidden["error"]["message"], "Unknown tool", "{hidden}");
    let records = records(&stage, 3).await;
    for record in &records[1..] {
        assert_eq!((status(record), &record["mcp"]["mrtr_round"]), ("denied", &json!(2)));
        assert_eq!(record["correlation_id"], records[0]["call_id"]);
    }
    assert!(records[0]["call_id"].is_string());
    assert_eq!(upstream.calls().len(), 1);
}

#[tokio::test]
async fn no_answer_is_passed_on_that_can_not_be_recorded() {
    let (mut stage, upstream) = stage(Speaks::Modern).await;
    let asks = json!([question("theirs")]);
    let answer = answer(&stage.ask(call(&asks, &json!({}))).await);
    stage.end_redis();
    let told = stage.ask(call(&asks, &answer)).await;
    assert_eq!((told.status, &told.json()["error"]["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(-31001)));
    assert_eq!(upstream.calls().len(), 1);
}

#[tokio::test]
async fn a_question_at_the_end_of_a_stream_is_passed_on() {
    let (stage, _upstream) = stage(Speaks::Modern).await;
    let arguments = json!({"asks": [question("theirs")], "stream": true});
    let call = |input: &Value| call_of("crm__input", &arguments, input, &json!({"elicitation": {}}));
    let told = stage.ask(call(&json!({}))).await;
    assert_eq!((told.headers["content-type"].as_bytes(), told.events().len()), (&b"text/event-stream"[..], 2));
    assert_eq!(told.json()["result"]["inputRequests"]["sure"]["params"]["message"], "[crm] Sure?");
    let last = stage.ask(call(&answer(&told))).await;
    assert_eq!(last.json()["result"]["resultType"], "complete", "{}", last.text);
    assert_eq!(records(&stage, 2).await[0]["mcp"]["result_type"], "input_required");
}

#[tokio::test]
async fn a_client_or_a_server_of_the_older_era_is_not_part_of_it() {
    let (stage, upstream) = stage(Speaks::Modern).await;
    let session = stage.session("2025-11-25").await;
    let told = stage.ask(legacy(Some(&session), &legacy_call(1, "input"))).await.json();
    assert_eq!((&told["error"]["code"], &told["error"]["data"]["upstream"]), (&json!(-32603), &json!("crm")));
    assert_eq!(upstream.calls()[0].body["params"]["_meta"][CAPABILITIES], json!({}));
    for (member, value) in [("requestState", json!("x")), ("inputResponses", json!({}))] {
        let mut call = legacy_call(2, "input");
        call["params"][member] = value;
        assert_eq!(stage.ask(legacy(Some(&session), &call)).await.json()["error"]["code"], -32602, "{member}");
    }
    assert_eq!(upstream.calls().len(), 1);
    let (stage, _upstream) = super::stage(Speaks::Legacy).await;
    assert_eq!(stage.call("input", json!({})).await.json()["error"]["code"], -32603);
    assert_eq!(stage.record().await["outcome"]["reason"], "asks_for_input");
}

#[tokio::test]
async fn a_server_that_can_not_have_asked_gets_no_answers() {
    for pin in [EraPin::Auto, EraPin::Legacy] {
        let (mut stage, upstream) = stage(Speaks::Legacy).await;
        stage.publish(|snapshot| snapshot.servers[0].era = pin).await;
        let told = stage.ask(call(&json!([]), &json!({"inputResponses": {"here": 1}}))).await;
        assert_eq!((told.status, &told.json()["error"]["code"]), (StatusCode::OK, &json!(-32602)), "{}", told.text);
        assert_eq!((upstream.calls().len(), upstream.count("initialize")), (0, 0));
        let record = records(&stage, 1).await.remove(0);
        assert_eq!((status(&record), &record["outcome"]["jsonrpc_code"]), ("protocol_error", &json!(-32602)));
        assert_eq!(record["outcome"]["error_type"], "answer_unasked");
    }
}

#[tokio::test]
async fn a_server_that_changed_its_era_is_not_called_a_second_time() {
    let upstream = Upstream::start(Speaks::Modern).await;
    let mut stage = Stage::new(&upstream.url()).await;
    let asks = json!([question("theirs")]);
    let answer = answer(&stage.ask(call(&asks, &json!({}))).await);
    stage.publish(|snapshot| snapshot.servers[0].era = EraPin::Legacy).await;
    assert_eq!(stage.ask(call(&asks, &answer)).await.json()["error"]["code"], -32603);
    assert_eq!(records(&stage, 2).await[1]["outcome"]["reason"], "no_common_version");
    assert_eq!((upstream.calls().len(), upstream.count("initialize")), (1, 0));
}

#[tokio::test]
async fn answers_pass_byte_for_byte() {
    let (stage, upstream) = stage(Speaks::Modern).await;
    let answers = r#"{"z": {"action":"accept","content":{"n":12345678901234567890123,"b":1e3,"a":"\u00e9"}} ,"a":{}}"#;
    let request = call(&json!([]), &json!({"inputResponses": {"here": 1}}));
    let (head, body) = request.into_parts();
    let text = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap().replace(r#"{"here":1}"#, answers);
    stage.ask(Request::from_parts(head, Body::from(text))).await;
    let sent = &upstream.calls()[0].text;
    assert!(sent.contains(&format!(r#""inputResponses":{answers}"#)), "{sent}");
}

#[tokio::test]
async fn nothing_of_an_upstreams_state_is_readable_in_ours() {
    let (stage, _upstream) = stage(Speaks::Modern).await;
    let asks = json!([question("canary-canary-canary")]);
    let answer = answer(&stage.ask(call(&asks, &json!({}))).await);
    let ours = answer["requestState"].as_str().unwrap();
    let sealed = URL_SAFE_NO_PAD.decode(ours.rsplit('.').next().unwrap()).unwrap();
    for bytes in [ours.as_bytes(), &sealed] {
        assert!(!bytes.windows(6).any(|window| window == b"canary"), "{ours}");
    }
    let record = stage.record().await.to_string();
    assert!(!record.contains("canary") && !record.contains(ours), "{record}");
}

#[tokio::test]
async fn a_call_may_not_ask_for_ever() {
    let (stage, upstream) = stage(Speaks::Modern).await;
    let asks: Vec<_> = (0..=ROUNDS_MAX).map(|number| json!({"requestState": number.to_string()})).collect();
    let asks = json!(asks);
    let mut input = json!({});
    for _ in 0..ROUNDS_MAX {
        let told = stage.ask(call(&asks, &input)).await;
        input = json!({"requestState": told.json()["result"]["requestState"].clone()});
    }
    let told = stage.ask(call(&asks, &input)).await;
    assert_eq!(told.json()["error"]["code"], -32603, "{}", told.text);
    let records = records(&stage, upstream.calls().len()).await;
    let last = records.last().unwrap();
    assert_eq!(
        (&last["outcome"]["reason"], &last["mcp"]["mrtr_round"]),
        (&json!("asks_again"), &json!(ROUNDS_MAX + 1))
    );
}
