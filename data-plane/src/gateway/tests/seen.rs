//! What a caller has read decides what it may do next, where a policy asks.

use std::sync::Arc;

use domain::projection::keys;
use domain::{Principal, TokenId};
use http::StatusCode;
use redis::AsyncCommands as _;
use serde_json::json;
use uuid::Uuid;

use crate::caller::Caller;
use crate::testing::upstream::{Speaks, Upstream};
use crate::testing::{Stage, Told};

const NO_WRITE_AFTER_READ: &str = r#"
@id("all") permit (principal, action in Sluice::Action::"tools/call", resource);
@id("no-write") @visible forbid (principal, action == Sluice::Action::"call:crm/echo", resource)
when { context.session.seenLabels.contains(Sluice::Label::"customer-data") };
"#;

/// A stage whose tool `headers` reads what carries a label.
async fn labelled(upstream: &Upstream, policy: Option<&str>) -> Stage {
    Stage::with(&upstream.url(), |snapshot, _| {
        let tools = &mut snapshot.servers[0].tools;
        let tool = tools.iter_mut().find(|tool| tool.name == "headers").unwrap();
        tool.labels.insert("customer-data".parse().unwrap());
        if let Some(policy) = policy {
            policy.clone_into(&mut snapshot.policies[0].text);
        }
    })
    .await
}

#[tokio::test]
async fn who_has_read_what_is_labelled_may_not_write_at_any_node() {
    let upstream = Upstream::start(Speaks::Modern).await;
    let mut stage = labelled(&upstream, Some(NO_WRITE_AFTER_READ)).await;
    let denied = |told: &Told| told.json()["result"]["isError"] == json!(true);
    assert!(!denied(&stage.call("echo", json!({})).await), "nothing was read yet");
    stage.call("headers", json!({})).await;
    assert!(denied(&stage.call("echo", json!({})).await));
    stage.move_to_another_node().await;
    assert!(denied(&stage.call("echo", json!({})).await));
    assert!(!denied(&stage.call("headers", json!({})).await), "reading goes on");
    assert_eq!(upstream.calls().iter().filter(|call| call.headers["mcp-name"] == "echo").count(), 1);

    let other = TokenId::from_uuid(Uuid::from_u128(77));
    let principal = Principal { token: other, ..stage.caller.principal.clone() };
    stage.caller = Arc::new(Caller::new(principal));
    assert!(!denied(&stage.call("echo", json!({})).await), "another client of the person has read nothing");
}

#[tokio::test]
async fn while_it_can_not_be_kept_what_is_labelled_is_not_read() {
    let upstream = Upstream::start(Speaks::Modern).await;
    let stage = labelled(&upstream, Some(NO_WRITE_AFTER_READ)).await;
    let mut redis = stage.redis().await;
    let principal = &stage.caller.principal;
    let name = keys::seen_labels(principal.tenant, principal.user, principal.token);
    // A value of another type under the name: what is there can't be read or added to.
    let () = redis.set(&name, "x").await.unwrap();
    let told = stage.call("headers", json!({})).await;
    assert_eq!((told.status, &told.json()["error"]["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(-31003)));
    assert_eq!(told.headers["retry-after"], "1");
    let told = stage.call("echo", json!({})).await;
    assert_eq!(told.json()["result"]["isError"], true, "what is unknown is forbidden: {}", told.text);
    assert!(upstream.calls().is_empty());
}

#[tokio::test]
async fn nothing_is_kept_of_what_no_policy_asks_for() {
    let upstream = Upstream::start(Speaks::Modern).await;
    let stage = labelled(&upstream, None).await;
    stage.call("headers", json!({})).await;
    let kept: Vec<String> = stage.redis().await.keys("*:seen_labels:*").await.unwrap();
    assert!(kept.is_empty() && upstream.calls().len() == 1);
}
