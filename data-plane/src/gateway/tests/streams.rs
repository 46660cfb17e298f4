//! What comes before an answer.

use serde_json::json;

use super::{stage, status};
use crate::audit::tests::eventually;
use crate::testing::modern_call;
use crate::testing::upstream::Speaks;

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
