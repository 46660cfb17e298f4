//! Processes are killed under numbered load; afterwards records are counted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use serde_json::json;
use sluice_tests::api::Api;
use sluice_tests::behind::log_is_at_rest;
use sluice_tests::client::{Client, send};
use sluice_tests::load::{NumberedLoad, Outcome, trace_of};
use sluice_tests::patience::until_within;
use sluice_tests::stack::Stack;
use sluice_tests::upstream::{Eras, Upstream};

/// Callers at once.
const CLIENTS: usize = 8;
/// Calls that must end before and after each kill, so that it falls into the middle of work.
const CALLS: usize = 150;

#[expect(clippy::disallowed_methods, reason = "`make chaos` asks for more rounds")]
fn rounds() -> usize {
    std::env::var("SLUICE_CHAOS_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(3)
}

#[tokio::test(flavor = "multi_thread")]
async fn conservation_holds_whatever_is_killed() {
    let stack = Stack::start(3, &[]);
    let upstream = Upstream::start(Eras::Modern).await;
    let api = Api::of(&stack.endpoints);
    api.add_server("load", &upstream.url()).await;
    api.allow_everything().await;
    api.is_live().await;
    let client = Client::new(&stack.endpoints.tenant_url, &stack.endpoints.token);
    let mut killed_at = None;
    let kills = ["node-1", "control-plane", "redis"].into_iter().cycle().take(3 * rounds());
    let load = NumberedLoad::start(&client, "load__echo", CLIENTS, 1);
    for name in kills {
        load.goes_on_for(CALLS).await;
        if name.starts_with("node") {
            killed_at = Some(SystemTime::now());
        }
        tokio::task::block_in_place(|| stack.kill(name));
        load.goes_on_for(CALLS).await;
    }
    let ledger = load.stop().await;
    log_is_at_rest(&stack, killed_at).await;
    check(&api, &ledger, &upstream.numbers()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_on_while_redis_or_postgres_is_away() {
    let stack = Stack::start(2, &[]);
    let upstream = Upstream::start(Eras::Modern).await;
    let api = Api::of(&stack.endpoints);
    api.add_server("load", &upstream.url()).await;
    api.allow_everything().await;
    api.is_live().await;
    let client = Client::new(&stack.endpoints.tenant_url, &stack.endpoints.token);
    let load = NumberedLoad::start(&client, "load__echo", CLIENTS, 1);
    load.goes_on_for(CALLS).await;
    for name in ["redis", "postgres"] {
        let stopped = stack.stop_process(name);
        load.goes_on_for(CALLS).await;
        let reached = upstream.numbers().len();
        load.goes_on_for(CALLS).await;
        assert!(upstream.numbers().len() > reached, "calls must reach the upstream while {name} is away");
        stopped.go_on();
        load.goes_on_for(CALLS).await;
    }
    let ledger = load.stop().await;
    log_is_at_rest(&stack, None).await;
    check(&api, &ledger, &upstream.numbers()).await;
}

/// How long a source may be silent before its open calls are given up, with what the owner needs besides.
const LAPSE: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_wakes_after_its_calls_were_given_up_adds_no_second_final_record() {
    let stack = Stack::start(2, &[]);
    let upstream = Upstream::start(Eras::Modern).await;
    let api = Api::of(&stack.endpoints);
    api.add_server("slow", &upstream.url()).await;
    api.allow_everything().await;
    api.is_live().await;
    let node = format!("{}/{}/mcp", stack.endpoints.data_plane_urls[0], stack.endpoints.tenant);
    let request = Client::new(&node, &stack.endpoints.token)
        .modern_request("tools/call", json!({"name": "slow__gated", "arguments": {"n": 1}}))
        .header("traceparent", format!("00-{}-00000000000000aa-01", trace_of(1)));
    let call = tokio::spawn(send(request));
    upstream.has_seen("gated").await;
    let kinds = async |kind: &str| {
        let found = api.activity(&format!("trace={}&kind={kind}", trace_of(1))).await;
        (!found.is_empty()).then_some(found)
    };
    let asleep = stack.stop_process("node-1");
    let given_up = until_within(LAPSE, "the call is given up", async || kinds("call").await).await;
    assert_eq!(api.record(given_up[0]["id"].as_str().unwrap()).await["record"]["outcome"]["status"], "unknown");
    asleep.go_on();
    upstream.open_gate();
    let _ = call.await.unwrap();
    until_within(LAPSE, "the true outcome", async || kinds("late").await).await;
    log_is_at_rest(&stack, None).await;
    assert_eq!(api.count_finals().await, BTreeMap::from([(1, 1)]));
    assert_eq!(kinds("late").await.unwrap().len(), 1);
}

/// Every answered call and every call the upstream saw has exactly one final record; no call has two.
async fn check(api: &Api, ledger: &BTreeMap<u64, Outcome>, reached: &[u64]) {
    let answered: BTreeSet<u64> =
        ledger.iter().filter(|(_, outcome)| **outcome == Outcome::Answered).map(|(number, _)| *number).collect();
    let needed: BTreeSet<u64> = answered.iter().chain(reached).copied().collect();
    let records = api.count_finals().await;
    let twice: Vec<_> = records.iter().filter(|(_, count)| **count > 1).collect();
    let missing: Vec<_> = needed.iter().filter(|number| !records.contains_key(number)).collect();
    let sent_twice = reached.len() - reached.iter().collect::<BTreeSet<_>>().len();
    eprintln!(
        "sent {}, answered {}, reached the upstream {} ({sent_twice} twice), final records {}, missing {}, twice {}",
        ledger.len(),
        answered.len(),
        reached.len(),
        records.len(),
        missing.len(),
        twice.len(),
    );
    assert!(missing.is_empty(), "without a final record: {missing:?}");
    assert!(twice.is_empty(), "with more than one: {twice:?}");
    assert_eq!(sent_twice, 0, "no call may reach the upstream twice");
    assert!(answered.len() > ledger.len() / 2, "most calls should be answered");
}
