//! Every plane is ended in order and started again under numbered load, as an upgrade does it; afterwards calls are counted.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use sluice_tests::api::Api;
use sluice_tests::balancer::Balancer;
use sluice_tests::behind::log_is_at_rest;
use sluice_tests::client::Client;
use sluice_tests::load::{NumberedLoad, Outcome};
use sluice_tests::patience::{PATIENCE, until};
use sluice_tests::stack::Stack;
use sluice_tests::upstream::{Eras, Upstream};

/// Callers at once.
const CLIENTS: usize = 8;
/// Calls that must end before, during and after each restart.
const CALLS: usize = 150;
/// Longer than the balancer needs to see that a node leaves.
const LEAVE_S: &str = "3";

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_no_call() {
    let stack = Stack::start(2, &[("SLUICE_LEAVE_S", LEAVE_S)]);
    let upstream = Upstream::start(Eras::Modern).await;
    let api = Api::of(&stack.endpoints);
    api.add_server("load", &upstream.url()).await;
    api.allow_everything().await;
    api.is_live().await;
    let balancer = Balancer::start(&stack.endpoints).await;
    let client = Client::new(&format!("{}/{}/mcp", balancer.url, stack.endpoints.tenant), &stack.endpoints.token);
    let load = NumberedLoad::start(&client, "load__echo", CLIENTS, 1);
    for name in ["control-plane", "node-1", "node-2"] {
        load.goes_on_for(CALLS).await;
        let before = stack.begin_end(name);
        if name.starts_with("node") {
            balancer.passes_over_one().await;
        }
        load.goes_on_for(CALLS).await;
        tokio::task::block_in_place(|| stack.has_begun_again(name, before));
        balancer.all_are_ready().await;
        control_plane_is_ready(&stack).await;
    }
    load.goes_on_for(CALLS).await;
    let ledger = load.stop().await;
    // A log rests once each node has said something in it: connections that were kept may all lead to one.
    for node in &stack.endpoints.data_plane_urls {
        let list = client.at(&format!("{node}/{}/mcp", stack.endpoints.tenant)).modern("tools/list", json!({})).await;
        assert_eq!(list.status, 200, "{}", list.text);
    }
    log_is_at_rest(&stack, None).await;
    check(&ledger, &upstream.numbers(), &api.count_finals().await);
}

async fn control_plane_is_ready(stack: &Stack) {
    let http = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
    let url = format!("{}/readyz", stack.endpoints.control_plane_url);
    until("the control plane is ready", async || {
        let answer = http.get(&url).send().await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
}

/// Every call was answered, reached the upstream once, and has one final record.
fn check(ledger: &BTreeMap<u64, Outcome>, reached: &[u64], finals: &BTreeMap<u64, usize>) {
    let sent: BTreeSet<u64> = ledger.keys().copied().collect();
    let broken: Vec<_> = ledger.iter().filter(|(_, outcome)| **outcome == Outcome::Broken).collect();
    let once: BTreeSet<u64> = reached.iter().copied().collect();
    let refused: Vec<_> = sent.difference(&once).collect();
    println!("sent {}, broken {}, refused {}, final records {}", sent.len(), broken.len(), refused.len(), finals.len());
    assert!(broken.is_empty(), "lost: {broken:?}");
    assert!(refused.is_empty(), "answered, but not made: {refused:?}");
    assert_eq!(once.len(), reached.len(), "no call may reach the upstream twice");
    assert_eq!(finals.keys().copied().collect::<BTreeSet<_>>(), sent, "each call has its record");
    assert!(finals.values().all(|count| *count == 1), "and one only: {finals:?}");
}
