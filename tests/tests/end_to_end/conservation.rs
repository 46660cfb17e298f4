//! Processes are killed under numbered load; afterwards records are counted.

use std::collections::{BTreeMap, BTreeSet};

use sluice_tests::api::Api;
use sluice_tests::client::Client;
use sluice_tests::load::{NumberedLoad, Outcome};
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
    let mut ledger = BTreeMap::new();
    let kills = ["node-1", "control-plane", "redis"].into_iter().cycle().take(3 * rounds());
    let load = NumberedLoad::start(&client, "load__echo", CLIENTS, 1);
    for name in kills {
        load.goes_on_for(CALLS).await;
        tokio::task::block_in_place(|| stack.kill(name));
        load.goes_on_for(CALLS).await;
    }
    ledger.extend(load.stop().await);
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
    check(&api, &ledger, &upstream.numbers()).await;
}

/// Every answered call and every call the upstream saw has exactly one final record; no call has two.
async fn check(api: &Api, ledger: &BTreeMap<u64, Outcome>, reached: &[u64]) {
    let answered: BTreeSet<u64> =
        ledger.iter().filter(|(_, outcome)| **outcome == Outcome::Answered).map(|(number, _)| *number).collect();
    let needed: BTreeSet<u64> = answered.iter().chain(reached).copied().collect();
    let records = api.wait_for_finals(&needed).await;
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
