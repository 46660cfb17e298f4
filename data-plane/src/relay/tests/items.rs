//! What a server offers beside tools, as a look finds it.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use domain::EraPin;
use http::StatusCode;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use super::Place;

/// A server that answers each method as it is told; what it is told nothing of it does not have. A cursor stands behind
/// the method: `prompts/list@2`.
struct Answers {
    url: Url,
    asked: Arc<Mutex<Vec<String>>>,
    _end: DropGuard,
}

impl Answers {
    async fn serve(answers: Value) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap()).parse().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (told, answers) = (Arc::clone(&asked), Arc::new(answers));
        let handler = move |body: Bytes| async move { answer(&answers, &told, &body) };
        let end = CancellationToken::new();
        let ended = end.clone();
        tokio::spawn(async move {
            let served = axum::serve(listener, Router::new().fallback(handler));
            let _ = served.with_graceful_shutdown(async move { ended.cancelled().await }).await;
        });
        Self { url, asked, _end: end.drop_guard() }
    }

    fn asked(&self, method: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == method).count()
    }

    /// What a look at it finds: the steps after the tools', and the end.
    async fn looked(&self) -> (Vec<Value>, Value) {
        let place = Place::new().await;
        let events = place.look(&place.asked(&self.url, EraPin::Auto)).await;
        let (kind, found) = events.last().unwrap();
        assert_eq!(kind, "found", "{found}");
        let steps = events.iter().skip_while(|(_, step)| step["step"] != "tools").skip(1);
        (steps.filter(|(kind, _)| kind == "step").map(|(_, step)| step.clone()).collect(), found.clone())
    }
}

fn answer(answers: &Value, asked: &Mutex<Vec<String>>, body: &[u8]) -> Response {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let method = body["method"].as_str().unwrap_or_default();
    let cursor = body["params"]["cursor"].as_str().map(|cursor| format!("@{cursor}")).unwrap_or_default();
    asked.lock().unwrap().push(format!("{method}{cursor}"));
    if body["id"].is_null() {
        return StatusCode::ACCEPTED.into_response();
    }
    let told = &answers[format!("{method}{cursor}")];
    let (status, member, value) = match told.get("error") {
        Some(error) => (StatusCode::OK, "error", error.clone()),
        None if told.is_object() => (StatusCode::OK, "result", told.clone()),
        None => (StatusCode::NOT_FOUND, "error", json!({"code": -32601, "message": "Method not found"})),
    };
    let text = json!({"jsonrpc": "2.0", "id": body["id"], member: value}).to_string();
    (status, [("content-type", "application/json")], text).into_response()
}

/// A modern server with these capabilities beside tools.
fn modern(capabilities: &Value, lists: &Value) -> Value {
    let mut capabilities = capabilities.clone();
    capabilities["tools"] = json!({});
    let mut answers = json!({
        "server/discover": {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": capabilities},
        "tools/list": {"resultType": "complete", "tools": [{"name": "search", "inputSchema": {}}]},
    });
    answers.as_object_mut().unwrap().extend(lists.as_object().unwrap().clone());
    answers
}

#[tokio::test]
async fn all_pages_of_all_kinds_are_found_and_both_eras() {
    let initialized = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "x"}});
    let lists = json!({
        "initialize": initialized,
        "prompts/list": {"prompts": [{"name": "a"}, {"name": 5}, "none"], "nextCursor": "2"},
        "prompts/list@2": {"prompts": [{"name": "b", "big": 12_345_678_901_234_567_890_u64}]},
        "resources/list": {"resources": [{"uri": "x://a", "name": "A"}]},
        "resources/templates/list": {"resourceTemplates": [{"uriTemplate": "x://{id}"}]},
    });
    let capabilities = json!({"prompts": {}, "resources": {"subscribe": true}});
    let server = Answers::serve(modern(&capabilities, &lists)).await;
    let (steps, found) = server.looked().await;
    let details: Vec<_> = steps.iter().map(|step| (step["ok"].clone(), step["detail"].clone())).collect();
    let told = ["It has 2 prompts.", "It has 1 resources and 1 resource templates."];
    assert_eq!(details, told.map(|detail| (json!(true), json!(detail))));
    let prompts = json!([{"name": "a"}, {"name": "b", "big": 12_345_678_901_234_567_890_u64}]);
    assert_eq!(found["items"]["prompts"], prompts, "what has no name is left out");
    assert_eq!(found["items"]["resources"], json!([{"uri": "x://a", "name": "A"}]));
    assert_eq!(found["items"]["templates"], json!([{"uriTemplate": "x://{id}"}]));
    assert_eq!(found["speaks"], json!(["2026-07-28", "2025-11-25"]));
    assert_eq!(found["capabilities"]["resources"], json!({"subscribe": true}));
    assert_eq!((&found["transport"], found.get("findings")), (&json!("streamable_http"), None));
}

#[tokio::test]
async fn what_a_server_does_not_have_is_none_and_is_not_asked_for() {
    let lists = json!({"resources/list": {"resources": []}});
    let server = Answers::serve(modern(&json!({"resources": {}}), &lists)).await;
    let (_, found) = server.looked().await;
    assert_eq!(found["items"], json!({"prompts": [], "resources": [], "templates": []}));
    assert_eq!(found["speaks"], json!(["2026-07-28"]));
    assert_eq!((server.asked("prompts/list"), server.asked("resources/templates/list")), (0, 1));
}

#[tokio::test]
async fn a_list_a_server_fails_at_is_told_and_the_others_are_found() {
    let prompt = |number: usize| json!({"name": format!("p{number}")});
    let large = |number: usize| json!({"name": format!("p{number}"), "description": "x".repeat(60_000)});
    let broken = [
        (json!({"error": {"code": -32603, "message": "Broken"}}), "Its prompts were not taken in: "),
        (json!({"prompts": "none"}), "Its prompts were not taken in: "),
        (json!({"prompts": [{"name": "a"}], "nextCursor": "gone"}), "Its prompts were not taken in: "),
        (json!({"prompts": (0..1_001).map(prompt).collect::<Vec<_>>()}), "there are more than 1000."),
        (json!({"prompts": (0..71).map(large).collect::<Vec<_>>()}), "together they have more than 4194304 bytes."),
    ];
    for (prompts, says) in broken {
        let lists = json!({"prompts/list": prompts, "resources/list": {"resources": [{"uri": "x://a"}]}});
        let server = Answers::serve(modern(&json!({"prompts": {}, "resources": {}}), &lists)).await;
        let (steps, found) = server.looked().await;
        assert_eq!((&steps[0]["step"], &steps[0]["ok"]), (&json!("prompts"), &json!(false)));
        let finding = found["findings"][0].as_str().unwrap();
        assert!(finding.contains(says) && steps[0]["detail"] == finding, "{finding}");
        assert_eq!(found["items"], json!({"resources": [{"uri": "x://a"}], "templates": []}));
        assert_eq!(found["tools"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_control_plane_that_knows_no_items_is_told_of_none() {
    let server = Answers::serve(modern(&json!({"prompts": {}}), &json!({"prompts/list": {"prompts": []}}))).await;
    let place = Place::new().await;
    let asked = domain::relay::Discover { items: false, ..place.asked(&server.url, EraPin::Auto) };
    let events = place.look(&asked).await;
    let steps: Vec<_> = events.iter().filter_map(|(_, data)| data["step"].as_str()).collect();
    assert_eq!(steps, ["address", "connect", "era", "auth", "tools"]);
    assert_eq!(events.last().unwrap().1["items"], json!({}));
    assert_eq!((server.asked("prompts/list"), server.asked("initialize")), (0, 0));
}
