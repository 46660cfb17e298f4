//! What legacy upstreams ask legacy clients while a call runs.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use domain::{SessionMode, TokenId};
use http::StatusCode;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;

use super::{stage, status};
use crate::audit::tests::eventually;
use crate::call::rounds::ROUNDS_MAX;
use crate::caller::Caller;
use crate::metrics::{Lost, LostLabels};
use crate::testing::upstream::{Speaks, Upstream};
use crate::testing::{Stage, initialize, legacy, modern};

/// A session of a client that can do this.
async fn session(stage: &Stage, can: Value) -> String {
    let mut begin = initialize("2025-11-25");
    begin["params"]["capabilities"] = can;
    let told = stage.ask(legacy(None, &begin)).await;
    told.headers["mcp-session-id"].to_str().unwrap().to_owned()
}

fn all() -> Value {
    json!({"roots": {}, "sampling": {}, "elicitation": {"form": {}, "url": {}}})
}

fn form() -> Value {
    json!({"method": "elicitation/create",
        "params": {"message": "Sure?", "requestedSchema": {"type": "object", "properties": {}}}})
}

/// A call whose upstream asks this, and then does that.
fn call(id: u64, asks: &Value, then: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": {"name": "crm__ask", "arguments": {"asks": asks, "then": then}}})
}

fn answer(id: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": {"action": "accept", "content": {"n": 1}}})
}

/// The stream of a call that was sent.
struct Stream(Body, String);

impl Stream {
    async fn of(stage: &Stage, session: &str, call: &Value) -> Self {
        let response = stage.send(legacy(Some(session), call)).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self(response.into_body(), String::new())
    }

    /// The next message.
    async fn next(&mut self) -> Value {
        loop {
            if let Some((event, rest)) = self.1.split_once("\n\n") {
                let message = event.split_once("data: ").map(|(_, data)| serde_json::from_str(data).unwrap());
                self.1 = rest.to_owned();
                if let Some(message) = message {
                    return message;
                }
                continue;
            }
            let frame = self.0.frame().await.unwrap().unwrap().into_data().unwrap();
            self.1.push_str(std::str::from_utf8(&frame).unwrap());
        }
    }

    /// What the upstream says it was told, when the call has ended.
    async fn told(mut self) -> Value {
        let end = self.next().await;
        let text = end["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{end}"));
        serde_json::from_str(text).unwrap()
    }
}

/// The answers that the upstream was sent.
fn answers(upstream: &Upstream) -> Vec<Value> {
    let bodies = upstream.seen().into_iter().map(|seen| seen.body);
    bodies.filter(|body| body.get("method").is_none() && body.get("id").is_some()).collect()
}

fn lost(stage: &Stage, reason: Lost) -> u64 {
    stage.gateway.0.metrics.lost_answers.get_or_create(&LostLabels { reason }).get()
}

/// Gives an answer; the client is told that it came, whatever becomes of it.
async fn give(stage: &Stage, session: &str, answer: &Value) {
    let told = stage.ask(legacy(Some(session), answer)).await;
    assert_eq!((told.status, told.text.as_str()), (StatusCode::ACCEPTED, ""));
}

#[tokio::test]
async fn what_a_server_asks_is_answered_at_any_node() {
    let sampling = json!({"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 5}});
    for asks in [form(), sampling, json!({"method": "roots/list"})] {
        let (mut stage, upstream) = stage(Speaks::Both).await;
        let session = session(&stage, all()).await;
        let mut stream = Stream::of(&stage, &session, &call(7, &asks, "")).await;
        let asked = stream.next().await;
        assert!(asked["id"].as_str().unwrap().starts_with("q."), "{asked}");
        let mut expected = asks.clone();
        (expected["jsonrpc"], expected["id"]) = (json!("2.0"), asked["id"].clone());
        if asks["method"] == "elicitation/create" {
            expected["params"]["message"] = json!("[crm] Sure?");
        } else if asks["method"] == "roots/list" {
            expected["params"] = json!({});
        }
        assert_eq!(asked, expected);
        stage.move_to_another_node().await;
        let error = json!({"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -1, "message": "no", "data": [1e3]}});
        let given = if asks["method"] == "roots/list" { error } else { answer(&asked["id"]) };
        give(&stage, &session, &given).await;
        let told = stream.told().await;
        let outcome = ["result", "error"].map(|member| (told[member].clone(), given[member].clone()));
        assert!(outcome.iter().all(|(told, given)| told == given), "{told}");
        assert_eq!(told["id"], json!(format!("srv \"{}\"", upstream.calls()[0].body["id"])));
        let begun = upstream.seen().into_iter().find(|seen| seen.method() == "initialize").unwrap();
        assert_eq!(begun.body["params"]["capabilities"], all());
    }
}

#[tokio::test]
async fn each_question_and_each_answer_is_recorded_with_its_call() {
    let (stage, _upstream) = stage(Speaks::Legacy).await;
    let session = session(&stage, all()).await;
    let mut stream = Stream::of(&stage, &session, &call(7, &form(), "")).await;
    let asked = stream.next().await;
    give(&stage, &session, &answer(&asked["id"])).await;
    stream.told().await;
    let call = stage.record().await;
    assert_eq!((status(&call), &call["mcp"]["method"]), ("success", &json!("tools/call")));
    let within = async || {
        let records = stage.all_records().await.into_iter();
        records.filter(|record| record["mcp"]["method"] == "elicitation/create").collect::<Vec<_>>()
    };
    eventually(async || within().await.len() == 2).await;
    for record in within().await {
        assert_eq!((status(&record), &record["kind"]), ("success", &json!("mcp_request")), "{record}");
        let id = record["correlation_id"].as_str().unwrap();
        assert_eq!(id, call["call_id"].as_str().unwrap(), "{record}");
        assert_eq!(record["server"]["id"], call["server"]["id"], "{record}");
        assert_eq!(record["session"]["id"], call["session"]["id"], "{record}");
        assert!(!record.to_string().contains("Sure?"), "what is asked and answered is between the two");
    }
    let [question, _] = &within().await[..] else { unreachable!() };
    assert_eq!(question["mcp"]["result_type"], "input_required");
    assert_eq!(question["tool"], call["tool"]);
}

#[tokio::test]
async fn an_answer_to_what_was_not_asked_reaches_nobody() {
    let (mut stage, upstream) = stage(Speaks::Legacy).await;
    let (mine, other) = (session(&stage, all()).await, session(&stage, all()).await);
    let mut stream = Stream::of(&stage, &mine, &call(7, &form(), "")).await;
    let asked = stream.next().await["id"].clone();
    let changed = format!("{}x", asked.as_str().unwrap());
    for id in [json!("srv \"1\""), json!("q.made-up"), json!(changed), json!(7)] {
        give(&stage, &mine, &answer(&id)).await;
    }
    give(&stage, &other, &answer(&asked)).await;
    let owner = Arc::clone(&stage.caller);
    let mut stranger = owner.principal.clone();
    stranger.token = TokenId::from_uuid(Uuid::from_u128(77));
    stage.caller = Arc::new(Caller::new(stranger));
    let theirs = session(&stage, all()).await;
    give(&stage, &theirs, &answer(&asked)).await;
    stage.caller = owner;
    assert_eq!(lost(&stage, Lost::Unknown), 6);
    give(&stage, &mine, &answer(&asked)).await;
    assert_eq!(stream.told().await["result"]["content"]["n"], 1);
    assert_eq!(answers(&upstream).len(), 1);
}

#[tokio::test]
async fn an_answer_that_comes_twice_reaches_the_server_once() {
    let (stage, upstream) = stage(Speaks::Legacy).await;
    let session = session(&stage, all()).await;
    let mut stream = Stream::of(&stage, &session, &call(7, &form(), "")).await;
    let asked = stream.next().await;
    give(&stage, &session, &answer(&asked["id"])).await;
    give(&stage, &session, &answer(&asked["id"])).await;
    assert_eq!(lost(&stage, Lost::Unknown), 1);
    assert_eq!(stream.told().await["result"]["content"]["n"], 1);
    assert_eq!(answers(&upstream).len(), 1);
}

#[tokio::test]
async fn what_a_client_can_not_do_is_refused_to_the_server() {
    let url =
        json!({"method": "elicitation/create", "params": {"message": "?", "mode": "url", "url": "http://x.test"}});
    let context = json!({"method": "sampling/createMessage", "params": {"includeContext": "allServers"}});
    for (can, asks, code, reason) in [
        (json!({}), form(), -32601, "asks_for_input"),
        (json!({"sampling": {}}), form(), -32601, "asks_for_input"),
        (all(), json!({"method": "vendor/ask"}), -32601, "asks_for_input"),
        (all(), url, -32602, "malformed"),
        (all(), context, -32602, "asks_for_input"),
    ] {
        let (stage, _upstream) = stage(Speaks::Legacy).await;
        let session = session(&stage, can.clone()).await;
        let told = Stream::of(&stage, &session, &call(7, &asks, "")).await.told().await;
        assert_eq!(told["error"]["code"], code, "{can} {asks}: {told}");
        eventually(async || stage.records().await.len() == 2).await;
        let records = stage.records().await;
        let refused = records.iter().find(|record| record["kind"] == "mcp_request").unwrap();
        assert_eq!(refused["outcome"]["reason"], reason, "{refused}");
    }
}

#[tokio::test]
async fn a_client_without_a_stream_is_asked_nothing() {
    let (stage, _upstream) = stage(Speaks::Legacy).await;
    let session = session(&stage, all()).await;
    let mut request = legacy(Some(&session), &call(7, &form(), ""));
    request.headers_mut().insert("accept", "application/json".parse().unwrap());
    let told = stage.ask(request).await;
    assert!(told.text.contains("-32601"), "{}", told.text);
}

#[tokio::test]
async fn a_modern_client_is_not_asked_by_a_legacy_server() {
    let (stage, upstream) = stage(Speaks::Legacy).await;
    let can = json!({"io.modelcontextprotocol/clientCapabilities": all()});
    let params = json!({"name": "crm__ask", "arguments": {"asks": form()}, "_meta": can});
    let told = stage.ask(modern("tools/call", Some("crm__ask"), params)).await;
    assert!(told.json()["result"]["content"][0]["text"].as_str().unwrap().contains("-32601"), "{}", told.text);
    let begun = upstream.seen().into_iter().find(|seen| seen.method() == "initialize").unwrap();
    assert_eq!(begun.body["params"]["capabilities"], json!({}));
}

#[tokio::test]
async fn a_server_that_is_lost_while_it_asks_ends_the_call() {
    let (stage, upstream) = stage(Speaks::Legacy).await;
    let session = session(&stage, all()).await;
    let mut stream = Stream::of(&stage, &session, &call(7, &form(), "die")).await;
    let asked = stream.next().await;
    upstream.forget_sessions();
    upstream.go_on();
    let end = stream.next().await;
    assert_eq!((&end["id"], &end["error"]["code"]), (&json!(7), &json!(-32603)), "{end}");
    assert!(stream.0.frame().await.is_none(), "nothing follows");
    let record = stage.record().await;
    assert_eq!((status(&record), &record["outcome"]["reason"]), ("upstream_unavailable", &json!("cut_off")));
    give(&stage, &session, &answer(&asked["id"])).await;
    eventually(async || lost(&stage, Lost::NotTaken) == 1).await;
    let calls = stage.records().await.into_iter().filter(|record| record["kind"] == "call");
    assert_eq!(calls.count(), 1, "the call has one record");
}

/// The call ends because its answer is lost.
async fn ends(stage: &Stage, mut stream: Stream) {
    let end = timeout(60 * SHORT, stream.next()).await.unwrap();
    assert_eq!((&end["id"], &end["error"]["code"]), (&json!(7), &json!(-32603)), "{end}");
    let is_end = |record: &Value| record["kind"] == "call" && record["outcome"]["reason"] == "answer_lost";
    eventually(async || stage.records().await.iter().any(is_end)).await;
}

#[tokio::test]
async fn a_server_that_is_paused_or_elsewhere_gets_no_answer() {
    for paused in [true, false] {
        let (mut stage, upstream) = stage(Speaks::Legacy).await;
        let session = session(&stage, all()).await;
        let mut stream = Stream::of(&stage, &session, &call(7, &form(), "")).await;
        let asked = stream.next().await;
        stage
            .publish(|snapshot| {
                let server = &mut snapshot.servers[0];
                server.paused = paused;
                if !paused {
                    server.endpoint.set_path("/elsewhere");
                }
            })
            .await;
        give(&stage, &session, &answer(&asked["id"])).await;
        eventually(async || lost(&stage, Lost::ServerGone) == 1).await;
        assert!(answers(&upstream).is_empty());
        ends(&stage, stream).await;
    }
}

#[tokio::test]
async fn an_answer_reaches_a_server_that_was_reviewed_anew_meanwhile() {
    let (mut stage, _upstream) = stage(Speaks::Legacy).await;
    let session = session(&stage, all()).await;
    let mut stream = Stream::of(&stage, &session, &call(7, &form(), "")).await;
    let asked = stream.next().await;
    let version = domain::ServerVersionId::from_uuid(Uuid::from_u128(44));
    stage.publish(|snapshot| snapshot.servers[0].version = version).await;
    give(&stage, &session, &answer(&asked["id"])).await;
    assert_eq!(stream.told().await["result"]["content"]["n"], 1);
}

#[tokio::test]
async fn an_answer_that_the_server_does_not_take_ends_its_call() {
    let (stage, upstream) = stage(Speaks::Legacy).await;
    let session = session(&stage, all()).await;
    let mut stream = Stream::of(&stage, &session, &call(7, &form(), "")).await;
    let asked = stream.next().await;
    upstream.forget_sessions();
    give(&stage, &session, &answer(&asked["id"])).await;
    ends(&stage, stream).await;
    let records = stage.records().await;
    let given = records.iter().find(|record| record["kind"] == "mcp_request").unwrap();
    assert_eq!((status(given), &given["outcome"]["reason"]), ("upstream_unavailable", &json!("http_status")));
}

/// The time-out of servers that are not waited for long.
const SHORT: Duration = Duration::from_millis(500);

async fn impatient() -> (Stage, Upstream) {
    let upstream = Upstream::start(Speaks::Legacy).await;
    let within = u32::try_from(SHORT.as_millis()).unwrap();
    let stage = Stage::with(&upstream.url(), |snapshot, _| snapshot.servers[0].timeout_ms = within).await;
    (stage, upstream)
}

#[tokio::test]
async fn whoever_is_asked_has_longer_than_the_server() {
    let (stage, _upstream) = impatient().await;
    let session = session(&stage, all()).await;
    let mut stream = Stream::of(&stage, &session, &call(7, &form(), "")).await;
    let asked = stream.next().await;
    assert!(timeout(2 * SHORT, stream.next()).await.is_err(), "nothing comes until it is answered");
    give(&stage, &session, &answer(&asked["id"])).await;
    assert_eq!(stream.told().await["result"]["content"]["n"], 1);
}

#[tokio::test]
async fn a_server_that_was_answered_has_its_own_time_again() {
    for elsewhere in [false, true] {
        let (mut stage, _upstream) = impatient().await;
        let session = session(&stage, all()).await;
        let mut stream = Stream::of(&stage, &session, &call(7, &form(), "hang")).await;
        let asked = stream.next().await;
        if elsewhere {
            stage.move_to_another_node().await;
        }
        give(&stage, &session, &answer(&asked["id"])).await;
        let end = timeout(60 * SHORT, stream.next()).await.unwrap();
        assert_eq!((&end["id"], &end["error"]["code"]), (&json!(7), &json!(-32603)), "{end}");
        let record = stage.record().await;
        assert_eq!((status(&record), &record["outcome"]["reason"]), ("timeout", &json!("timeout")));
    }
}

#[tokio::test]
async fn a_client_that_is_gone_is_not_waited_for() {
    let (stage, upstream) = stage(Speaks::Legacy).await;
    let session = session(&stage, all()).await;
    let mut stream = Stream::of(&stage, &session, &call(7, &form(), "")).await;
    stream.next().await;
    drop(stream);
    eventually(async || !answers(&upstream).is_empty()).await;
    assert_eq!(answers(&upstream)[0]["error"]["code"], -32603);
    assert_eq!(status(&stage.record().await), "success", "the call goes on");
}

#[tokio::test]
async fn a_question_that_the_server_takes_back_is_taken_back() {
    let (stage, _upstream) = stage(Speaks::Legacy).await;
    let session = session(&stage, all()).await;
    let mut stream = Stream::of(&stage, &session, &call(7, &form(), "stop")).await;
    let asked = stream.next().await;
    let stopped = stream.next().await;
    assert_eq!(stopped["method"], "notifications/cancelled");
    assert_eq!(stopped["params"]["requestId"], asked["id"]);
    assert!(stopped["params"].get("reason").is_some_and(|reason| reason != "never mind"), "in our words: {stopped}");
}

#[tokio::test]
async fn a_server_that_asks_again_and_again_ends_its_call() {
    for can in [all(), json!({})] {
        let (stage, upstream) = stage(Speaks::Legacy).await;
        let session = session(&stage, can.clone()).await;
        let mut stream = Stream::of(&stage, &session, &call(7, &form(), "again")).await;
        let (mut asked, mut message) = (0, stream.next().await);
        while message["method"] == "elicitation/create" {
            (asked, message) = (asked + 1, stream.next().await);
        }
        assert_eq!(asked, if can == all() { ROUNDS_MAX } else { 0 });
        assert_eq!((&message["id"], &message["error"]["code"]), (&json!(7), &json!(-32603)), "{message}");
        eventually(async || stage.records().await.iter().any(|record| record["kind"] == "call")).await;
        let records = stage.records().await;
        let call = records.iter().find(|record| record["kind"] == "call").unwrap();
        assert_eq!((status(call), &call["outcome"]["reason"]), ("protocol_error", &json!("asks_again")));
        eventually(async || upstream.count("notifications/cancelled") == 1).await;
    }
}

#[tokio::test]
async fn in_a_session_that_is_shared_nobody_is_asked() {
    let upstream = Upstream::start(Speaks::Legacy).await;
    let stage = Stage::with(&upstream.url(), |snapshot, _| snapshot.servers[0].sessions = SessionMode::Shared).await;
    for can in [all(), json!({}), json!({"roots": {}})] {
        let session = session(&stage, can).await;
        let told = Stream::of(&stage, &session, &call(7, &form(), "")).await.told().await;
        assert_eq!(told["error"]["code"], -32601, "{told}");
    }
    let begun = upstream.seen().into_iter().filter(|seen| seen.method() == "initialize");
    let declared: Vec<Value> = begun.map(|seen| seen.body["params"]["capabilities"].clone()).collect();
    assert_eq!(declared, [json!({})]);
}
