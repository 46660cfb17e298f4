//! Calls that have a person asked and go on when the person has answered, over all nodes.

use serde_json::{Value, json};
use sluice_tests::client::{Answer, Client};

use crate::house::{house, is_known};

/// Calls the tool that asks, as a client that shows forms; `state` goes with the answer.
async fn call(client: &Client, state: Option<&str>) -> Answer {
    let can = json!({"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}});
    let mut params = json!({"name": "modern__question", "arguments": {"n": 5}, "_meta": can});
    if let Some(state) = state {
        params["requestState"] = json!(state);
        params["inputResponses"] = json!({"sure": {"action": "accept"}});
    }
    client.modern("tools/call", params).await
}

fn state(asked: &Answer) -> String {
    let result = &asked.message()["result"];
    assert_eq!(result["inputRequests"]["sure"]["params"]["message"], "[modern] Sure?", "{asked:?}");
    result["requestState"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_one_node_asked_is_answered_at_another_and_both_are_recorded() {
    let house = house();
    let clients = house.clients();
    for (asks, goes_on) in [(0, 1), (1, 2), (2, 0)] {
        let asked = call(&clients[asks], None).await;
        let answered = call(&clients[goes_on], Some(&state(&asked))).await;
        assert_eq!(answered.tool_text(), r#"[{"sure":{"action":"accept"}},"of the fixture"]"#);
        let mut records = Vec::new();
        for answer in [&asked, &answered] {
            records.push(house.api.wait_for_records(&answer.trace_id(), 1).await.remove(0));
        }
        let round = |record: &Value| (record["mcp"]["mrtr_round"].clone(), record["mcp"]["result_type"].clone());
        assert_eq!(round(&records[0]), (json!(1), json!("input_required")));
        assert_eq!(round(&records[1]), (json!(2), json!("complete")));
        assert_eq!(records[0]["correlation_id"], records[1]["correlation_id"]);
    }
}

#[tokio::test]
async fn what_was_asked_of_one_person_nobody_else_can_answer() {
    let house = house();
    let asked = state(&call(&house.client(), None).await);
    let member = house.api.add_member("answers@example.com").await;
    let member = house.client().with_token(Some(&house.api.issue_token_for(&member).await.text));
    let second = house.client().with_token(Some(&house.api.issue_token("answers").await.text));
    let tenant = house.api.another_tenant("answers").await;
    let neighbour = tenant.api(&house.endpoints);
    neighbour.add_server("modern", &house.modern.url()).await;
    neighbour.allow_everything().await;
    neighbour.is_live().await;
    let url =
        house.endpoints.tenant_url.replace(&format!("/{}/", house.endpoints.tenant), &format!("/{}/", tenant.slug));
    for other in [member, second, Client::new(&url, &tenant.token)] {
        is_known(&other).await;
        let theirs = state(&call(&other, None).await);
        let stolen = call(&other, Some(&asked)).await;
        assert_eq!(stolen.message()["error"]["message"], "Invalid requestState", "{stolen:?}");
        assert!(call(&other, Some(&theirs)).await.message()["result"]["content"].is_array(), "their own is good");
    }
    assert!(
        call(&house.client(), Some(&asked)).await.message()["result"]["content"].is_array(),
        "and so is ours still"
    );
}
