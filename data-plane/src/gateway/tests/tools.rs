//! What a caller sees and may call.

use domain::{Reach, TokenScope};
use http::StatusCode;
use serde_json::json;

use super::{stage, status};
use crate::testing::upstream::{Speaks, Upstream};
use crate::testing::{Stage, Told, legacy, modern};

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
    assert_eq!(second["result"]["tools"].as_array().unwrap().len(), 600 + 28 - 500);
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
async fn a_tool_that_can_not_be_offered_is_left_out_alone() {
    let upstream = Upstream::start(Speaks::Modern).await;
    let stage = Stage::with(&upstream.url(), |snapshot, _| {
        let template = snapshot.servers[0].tools[0].clone();
        let schema = json!({"type": "object", "properties": {"of": {"type": "object", "x-mcp-header": "Of"}}});
        let bad = [
            ("header", json!({"name": "header", "inputSchema": schema})),
            ("schemaless", json!({"name": "schemaless"})),
        ];
        for (number, (name, definition)) in (2000..).zip(bad) {
            snapshot.servers[0].tools.push(domain::Tool {
                id: domain::ToolId::from_uuid(uuid::Uuid::from_u128(number)),
                definition: serde_json::value::RawValue::from_string(definition.to_string()).unwrap(),
                name: name.to_owned(),
                ..template.clone()
            });
        }
    })
    .await;
    let listed = stage.ask(modern("tools/list", None, json!({}))).await.json();
    let names: Vec<_> = listed["result"]["tools"].as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
    assert_eq!(names.len(), 28, "{names:?}");
    for absent in ["header", "schemaless"] {
        assert!(!names.contains(&&json!(format!("crm__{absent}"))), "{absent}");
        assert_eq!(stage.call(absent, json!({})).await.json()["error"]["code"], -32602, "{absent}");
    }
    assert_eq!(stage.call("echo", json!({})).await.json()["result"]["content"][0]["text"], "{}");
}

#[tokio::test]
async fn of_two_tools_of_one_name_without_a_prefix_none_is_offered() {
    let upstream = Upstream::start(Speaks::Modern).await;
    let stage = Stage::with(&upstream.url(), |snapshot, _| {
        snapshot.prefix = domain::snapshot::Prefix::None;
        let mut other = snapshot.servers[0].clone();
        other.id = domain::ServerId::from_uuid(uuid::Uuid::from_u128(3000));
        (other.alias, other.key) = ("git".parse().unwrap(), "git".parse().unwrap());
        other.tools.truncate(1);
        other.tools[0].id = domain::ToolId::from_uuid(uuid::Uuid::from_u128(3001));
        snapshot.servers.push(other);
    })
    .await;
    let listed = stage.ask(modern("tools/list", None, json!({}))).await.json();
    let names: Vec<_> = listed["result"]["tools"].as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
    assert!(!names.contains(&&json!("echo")) && names.contains(&&json!("fail")), "{names:?}");
}
