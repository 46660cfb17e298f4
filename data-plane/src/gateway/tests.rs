//! The pipeline, from a client's request to an upstream in this process, with the record each leaves.

use axum::body::Body;
use domain::snapshot::{CredentialPlace, CredentialStore};
use domain::{Credential, CredentialId, EraPin, Reach, SessionMode, TokenScope};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::audit::tests::eventually;
use crate::testing::upstream::{Speaks, Upstream};
use crate::testing::{Stage, Told, initialize, legacy, legacy_call, modern, modern_call, room};

async fn stage(speaks: Speaks) -> (Stage, Upstream) {
    let upstream = Upstream::start(speaks).await;
    (Stage::new(&upstream.url()).await, upstream)
}

fn status(record: &Value) -> &str {
    record["outcome"]["status"].as_str().unwrap()
}

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
async fn a_hidden_tool_and_an_unknown_one_look_alike_to_the_last_byte() {
    let (stage, upstream) = stage(Speaks::Modern).await;
    let (hidden, unknown) = (stage.call("hidden", json!({})).await, stage.call("nothing", json!({})).await);
    assert_eq!((hidden.status, &hidden.text), (unknown.status, &unknown.text));
    assert_eq!(hidden.status, StatusCode::OK);
    assert_eq!(hidden.json()["error"], json!({"code": -32602, "message": "Unknown tool"}));
    let names = |told: &Told| told.headers.keys().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&hidden), names(&unknown));
    assert!(upstream.seen().is_empty());
    let records = stage.records().await;
    assert!(records.iter().all(|record| status(record) == "denied"), "{records:#?}");
    assert_eq!(records[0]["tool"]["upstream_name"], "hidden");
}

#[tokio::test]
async fn a_visible_denial_tells_the_model_why() {
    let (stage, upstream) = stage(Speaks::Modern).await;
    let told = stage.call("denied", json!({})).await;
    let result = &told.json()["result"];
    assert_eq!((told.status, &result["isError"]), (StatusCode::OK, &json!(true)));
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(
        text.contains("Not this one") && text.contains("It is not for you.") && text.contains("Use echo."),
        "{text}"
    );
    assert!(upstream.seen().is_empty());
    let record = stage.record().await;
    assert_eq!((status(&record), &record["decision"]["effect"]), ("denied", &json!("deny")));
    assert_eq!(record["outcome"]["reason"], "forbidden_by_policy");
}

#[tokio::test]
async fn a_token_that_does_not_reach_a_tool_neither_sees_nor_calls_it() {
    let (mut stage, upstream) = stage(Speaks::Modern).await;
    let mut principal = stage.caller.principal.clone();
    principal.scope = TokenScope { tools: Reach::Only(std::iter::empty().collect()), ..TokenScope::default() };
    stage.caller = std::sync::Arc::new(crate::caller::Caller::new(principal));
    assert_eq!(stage.call("echo", json!({})).await.json()["error"]["code"], -32602);
    assert_eq!(stage.ask(modern("tools/list", None, json!({}))).await.json()["result"]["tools"], json!([]));
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_paused_server_is_not_called() {
    let upstream = Upstream::start(Speaks::Modern).await;
    let stage = Stage::with(&upstream.url(), |snapshot, _| snapshot.servers[0].paused = true).await;
    let result = stage.call("echo", json!({})).await.json();
    assert_eq!(result["result"]["_meta"]["dev.sluice/denial"]["code"], "server_paused");
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_list_is_answered_from_memory_without_hidden_tools() {
    let (stage, upstream) = stage(Speaks::Modern).await;
    let told = stage.ask(modern("tools/list", None, json!({}))).await;
    let result = &told.json()["result"];
    let names: Vec<_> = result["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"crm__echo") && names.contains(&"crm__denied") && !names.contains(&"crm__hidden"));
    assert_eq!((&result["cacheScope"], &result["resultType"]), (&json!("private"), &json!("complete")));
    assert_eq!(told.headers["content-length"], told.text.len().to_string());
    let session = stage.session("2025-11-25").await;
    let ask = json!({"jsonrpc": "2.0", "id": "x", "method": "tools/list"});
    let legacy_result = stage.ask(legacy(Some(&session), &ask)).await.json();
    assert!(legacy_result["result"].get("ttlMs").is_none() && legacy_result["id"] == "x", "{legacy_result}");
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_long_list_comes_in_pages_whose_cursor_is_worth_nothing_to_others() {
    let upstream = Upstream::start(Speaks::Modern).await;
    let mut stage = Stage::with(&upstream.url(), |snapshot, _| {
        let template = snapshot.servers[0].tools[0].clone();
        for number in 0..600_u128 {
            let name = format!("tool{number}");
            let definition = json!({"name": name, "inputSchema": {"type": "object"}}).to_string();
            snapshot.servers[0].tools.push(domain::Tool {
                id: domain::ToolId::from_uuid(uuid::Uuid::from_u128(1000 + number)),
                definition: serde_json::value::RawValue::from_string(definition).unwrap(),
                name,
                ..template.clone()
            });
        }
    })
    .await;
    let first = stage.ask(modern("tools/list", None, json!({}))).await.json();
    assert_eq!(first["result"]["tools"].as_array().unwrap().len(), 500);
    let cursor = first["result"]["nextCursor"].clone();
    let second = stage.ask(modern("tools/list", None, json!({"cursor": cursor}))).await.json();
    assert_eq!(second["result"]["tools"].as_array().unwrap().len(), 600 + 23 - 500);
    assert!(second["result"].get("nextCursor").is_none());
    let made_up = stage.ask(modern("tools/list", None, json!({"cursor": "500"}))).await.json();
    assert_eq!(made_up["error"]["code"], -32602);
    let mut other = stage.caller.principal.clone();
    other.token = domain::TokenId::from_uuid(uuid::Uuid::from_u128(77));
    stage.caller = std::sync::Arc::new(crate::caller::Caller::new(other));
    let stolen = stage.ask(modern("tools/list", None, json!({"cursor": cursor}))).await.json();
    assert_eq!(stolen["error"]["code"], -32602);
}

#[tokio::test]
async fn discover_says_what_is_spoken_and_how_to_use_it() {
    let (stage, _upstream) = stage(Speaks::Modern).await;
    let result = stage.ask(modern("server/discover", None, json!({}))).await.json()["result"].clone();
    assert_eq!(result["supportedVersions"], json!(["2026-07-28"]));
    assert_eq!(result["instructions"], "## crm\nBe kind.");
    assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["title"], "Acme");
}

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
        ("input", "protocol_error", "asks_for_input"),
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
async fn a_modern_client_that_leaves_cancels_the_call() {
    for tool in ["slow", "hang"] {
        let (stage, upstream) = stage(Speaks::Modern).await;
        let call = async {
            let body = stage.send(modern_call(tool, json!({}))).await.into_body();
            let _ = body.collect().await;
        };
        tokio::select! {
            () = call => panic!("it does not end by itself"),
            () = upstream.begun() => {}
        }
        upstream.dropped().await;
        assert_eq!(status(&stage.record().await), "cancelled", "{tool}");
    }
}

#[tokio::test]
async fn a_modern_client_whose_connection_breaks_cancels_the_call() {
    let (stage, upstream) = stage(Speaks::Modern).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (gateway, tenant, caller) = (stage.gateway.clone(), stage.tenant.clone(), stage.caller.clone());
    let seat = stage.room.enter().unwrap();
    let answers = tower::service_fn(move |request: Request<hyper::body::Incoming>| {
        let (gateway, tenant, caller, seat) = (gateway.clone(), tenant.clone(), caller.clone(), seat.clone());
        let request = request.map(Body::new);
        async move { Ok::<_, std::convert::Infallible>(gateway.answer(tenant, caller, request, &seat).await) }
    });
    let drain = service::Drain::new();
    drain.spawn(service::listen::serve(listener, answers, drain.clone()));
    let (head, body) = modern_call("slow", json!({})).into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut text = format!("POST /acme/mcp HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in &head.headers {
        text.extend([name.as_str(), ": ", value.to_str().unwrap(), "\r\n"]);
    }
    let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
    let whole = [text.as_bytes(), b"\r\n", &body].concat();
    tokio::io::AsyncWriteExt::write_all(&mut connection, &whole).await.unwrap();
    upstream.begun().await;
    drop(connection);
    upstream.dropped().await;
    assert_eq!(status(&stage.record().await), "cancelled");
}

#[tokio::test]
async fn a_modern_client_that_leaves_has_a_legacy_upstream_told() {
    let (stage, upstream) = stage(Speaks::Legacy).await;
    tokio::select! {
        _ = stage.send(modern_call("slow", json!({}))) => panic!("it does not end by itself"),
        () = upstream.begun() => {}
    }
    eventually(async || upstream.count("notifications/cancelled") == 1).await;
    let told = upstream.seen().into_iter().find(|seen| seen.method() == "notifications/cancelled").unwrap();
    assert_eq!(told.body["params"]["requestId"], upstream.calls()[0].body["id"]);
}

#[tokio::test]
async fn a_legacy_client_that_leaves_cancels_nothing() {
    let (stage, upstream) = stage(Speaks::Modern).await;
    let session = stage.session("2025-11-25").await;
    tokio::select! {
        _ = stage.send(legacy(Some(&session), &legacy_call(7, "slow"))) => panic!("it does not end by itself"),
        () = upstream.begun() => {}
    }
    upstream.go_on();
    assert_eq!(status(&stage.record().await), "success");
}

#[tokio::test]
async fn a_legacy_call_keeps_its_place_until_it_ends_though_its_client_left() {
    let (mut stage, upstream) = stage(Speaks::Modern).await;
    stage.room = room(&[("SLUICE_CONCURRENCY", "8"), ("SLUICE_CALLER_SHARE", "12")]);
    let session = stage.session("2025-11-25").await;
    tokio::select! {
        _ = stage.send(legacy(Some(&session), &legacy_call(7, "slow"))) => panic!("it does not end by itself"),
        () = upstream.begun() => {}
    }
    let ping = || legacy(Some(&session), &json!({"jsonrpc": "2.0", "id": 8, "method": "ping"}));
    let refused = stage.ask(ping()).await;
    assert_eq!(
        (refused.status, &refused.headers["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap())
    );
    assert_eq!(refused.json()["error"]["code"], -31004);
    assert_eq!(stage.record().await["outcome"]["reason"], "overloaded_caller");
    upstream.go_on();
    eventually(async || stage.ask(ping()).await.status == StatusCode::OK).await;
}

#[tokio::test]
async fn each_call_of_a_batch_counts() {
    let (mut stage, upstream) = stage(Speaks::Modern).await;
    let session = stage.session("2025-03-26").await;
    // One for the batch itself, two for its calls.
    stage.room = room(&[("SLUICE_CONCURRENCY", "8"), ("SLUICE_TENANT_SHARE", "38")]);
    let calls: Vec<Value> = (1..=5).map(|id| legacy_call(id, "echo")).collect();
    let told = stage.ask(legacy(Some(&session), &json!(calls))).await;
    let codes = told.events().into_iter().map(|event| event["error"]["code"].clone());
    assert_eq!(codes.filter(|code| *code == -31004).count(), 3, "{}", told.text);
    assert_eq!(upstream.calls().len(), 2);
}

#[tokio::test]
async fn a_legacy_client_takes_a_call_back_with_a_notification() {
    for speaks in [Speaks::Modern, Speaks::Legacy] {
        let (stage, upstream) = stage(speaks).await;
        let session = stage.session("2025-11-25").await;
        let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}});
        let (told, ()) = tokio::join!(stage.ask(legacy(Some(&session), &legacy_call(7, "slow"))), async {
            upstream.begun().await;
            let accepted = stage.ask(legacy(Some(&session), &cancel)).await;
            assert_eq!(accepted.status, StatusCode::ACCEPTED);
        });
        assert!(told.text.is_empty(), "a call taken back has no answer: {}", told.text);
        assert_eq!(status(&stage.record().await), "cancelled");
        upstream.dropped().await;
    }
}

#[tokio::test]
async fn a_call_is_taken_back_at_any_node() {
    let (mut stage, upstream) = stage(Speaks::Modern).await;
    let session = stage.session("2025-11-25").await;
    let (gateway, tenant, caller) = (stage.gateway.clone(), stage.tenant.clone(), stage.caller.clone());
    let call = tokio::spawn({
        let request = legacy(Some(&session), &legacy_call(7, "slow"));
        let seat = stage.room.enter().unwrap();
        async move { Told::read(gateway.answer(tenant, caller, request, &seat).await).await }
    });
    upstream.begun().await;
    stage.move_to_another_node().await;
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}});
    // The first node may not be listening yet.
    eventually(async || {
        stage.ask(legacy(Some(&session), &cancel)).await;
        call.is_finished()
    })
    .await;
    assert!(call.await.unwrap().text.is_empty());
    assert_eq!(status(&stage.record().await), "cancelled");
}

#[tokio::test]
async fn a_revoked_token_ends_running_calls() {
    let (stage, upstream) = stage(Speaks::Modern).await;
    let (told, ()) = tokio::join!(stage.ask(modern_call("hang", json!({}))), async {
        upstream.begun().await;
        stage.caller.ended.cancel();
    });
    assert!(!told.text.contains("result"), "{}", told.text);
    let record = stage.record().await;
    assert_eq!((status(&record), &record["outcome"]["reason"]), ("cancelled", &json!("revoked")));
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
