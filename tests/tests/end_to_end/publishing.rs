//! What is changed at the control plane is live on every node; what Redis loses comes back.

use serde_json::json;
use sluice_tests::client::Client;

use crate::house::{house, is_known, until};

#[tokio::test]
async fn a_new_tool_waits_for_review_and_is_then_live_on_every_node() {
    let house = house();
    let upstream = sluice_tests::upstream::Upstream::start(sluice_tests::upstream::Eras::Dual).await;
    let server = house.api.add_server("growing", &upstream.url()).await;
    house.api.is_live().await;
    upstream.add_tool(json!({"name": "later", "description": "Came later.", "inputSchema": {"type": "object"}}));
    let held = house.api.import(&server).await;
    for client in house.clients() {
        assert!(!client.tools().await.contains(&"growing__later".to_owned()), "not before it is reviewed");
    }
    house.api.accept(&server, &held).await;
    for client in house.clients() {
        until("the new tool", || async { client.tools().await.contains(&"growing__later".to_owned()) }).await;
    }
}

#[tokio::test]
async fn a_revoked_token_is_refused_by_every_node() {
    let house = house();
    let token = house.api.issue_token("short lived").await;
    let clients: Vec<Client> = house.clients().into_iter().map(|client| client.with_token(Some(&token.text))).collect();
    for client in &clients {
        is_known(client).await;
    }
    house.api.revoke(&token.id).await;
    for client in &clients {
        until("the refusal", || async { client.modern("tools/list", json!({})).await.status == 401 }).await;
    }
}

#[tokio::test]
async fn a_token_reaches_only_what_it_is_scoped_to() {
    let house = house();
    let token = house.api.issue_scoped_token("only legacy", "legacy").await;
    let client = house.clients()[0].with_token(Some(&token.text));
    is_known(&client).await;
    let tools = client.tools().await;
    assert!(!tools.is_empty() && tools.iter().all(|name| name.starts_with("legacy__")), "{tools:?}");
    let refused = client.call("modern__echo", json!({})).await;
    assert_eq!(refused.error_code(), Some(-32602), "what a token does not reach looks unknown");
}

#[tokio::test]
async fn a_paused_server_is_refused_and_comes_back() {
    let house = house();
    let upstream = sluice_tests::upstream::Upstream::start(sluice_tests::upstream::Eras::Modern).await;
    let server = house.api.add_server("resting", &upstream.url()).await;
    house.api.is_live().await;
    let works =
        || async { house.client().call("resting__echo", json!({})).await.message()["result"]["isError"] == false };
    assert!(works().await);
    house.api.pause(&server, true).await;
    until("the pause", || async { !works().await }).await;
    house.api.pause(&server, false).await;
    until("the end of the pause", works).await;
}
