//! The durability table: everything that can fail does, under numbered load, and afterwards the records are counted from
//! a bundle that verifies. `make chaos` prints it over 200 rounds.

mod faults;
mod log;
mod means;
mod set_back;
mod siem;
mod table;

use std::time::{Duration, SystemTime};

use serde_json::json;
use sluice_tests::api::Api;
use sluice_tests::balancer::Balancer;
use sluice_tests::behind::{log_is_at_rest, log_is_at_rest_but_for_gaps};
use sluice_tests::client::{Client, send};
use sluice_tests::load::{NumberedLoad, Outcome, trace_of};
use sluice_tests::patience::until_within;
use sluice_tests::stack::{Stack, test_folder};
use sluice_tests::upstream::{Eras, Upstream};

use faults::{Damage, Durable, FAULTS, Fault, LAPSE, SLOWLY, World};
use log::Evidence;
use means::{Clock, OwnRedis, SecondControlPlane, SmallDisk};
use set_back::Age;
use siem::Siem;
use table::{Counted, Strike};

/// Callers at once, and how often each begins a call at most.
type Callers = (usize, Duration);
/// As many calls as the machine bears.
const MANY: Callers = (16, Duration::ZERO);
/// So few that their records are taken in as they come: only once the stream was read to its end what is missing is known.
const FEW: Callers = (2, Duration::from_millis(40));

/// How many rounds of each fault.
#[expect(clippy::disallowed_methods, reason = "`make chaos` asks for more rounds")]
fn rounds() -> usize {
    let all: usize = std::env::var("SLUICE_CHAOS_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1);
    all.div_ceil(FAULTS.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_has_one_final_record_whatever_fails() {
    let folder = test_folder();
    let disk = SmallDisk::mount(&folder);
    if disk.is_none() {
        println!("SKIPPED a full disk: this process may not mount a small one");
    }
    let faults: Vec<Fault> = FAULTS.into_iter().filter(|fault| *fault != Fault::FullDisk || disk.is_some()).collect();
    let stack = Stack::start_in(&folder, 3, &[]);
    strike_all(&stack, (&stack.endpoints.tenant_url, MANY), &faults).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_has_one_final_record_when_the_machine_loses_power_and_calls_wait_for_its_disk() {
    let stack = Stack::start(2, &[("SLUICE_AUDIT_SPOOL", "first")]);
    strike_all(&stack, (&stack.endpoints.tenant_url, MANY), &[Fault::MachineKilled(Durable::Disk)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_has_one_final_record_when_the_clock_jumps() {
    let folder = test_folder();
    let Some(mut environment) = Clock::environment(&folder) else {
        return println!("SKIPPED clocks that jump: libfaketime is not installed");
    };
    let (_redis, url) = OwnRedis::start();
    environment.push(("REDIS_URL", url));
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let stack = Stack::start_in(&folder, 2, &environment);
    strike_all(&stack, (&stack.endpoints.tenant_url, MANY), &[Fault::ClockJumps]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_has_one_final_record_or_is_in_a_gap_when_postgres_is_set_back() {
    let stack = Stack::start(2, &[]);
    // The deployment's own round robin stands still with its supervisor.
    let balancer = Balancer::start(&stack.endpoints).await;
    let url = format!("{}/{}/mcp", balancer.url, stack.endpoints.tenant);
    strike_all(&stack, (&url, FEW), &[Fault::SetBack(Age::Young), Fault::SetBack(Age::Old)]).await;
}

/// Brings about each fault in each round, under the load of callers of this address, and counts.
async fn strike_all(stack: &Stack, (url, callers): (&str, Callers), faults: &[Fault]) {
    let upstream = Upstream::start(Eras::Modern).await;
    let api = Api::of(&stack.endpoints);
    api.add_server("load", &upstream.url()).await;
    api.allow_everything().await;
    api.is_live().await;
    let mut siem = if faults.contains(&Fault::SiemAway) { Some(Siem::start(&api).await) } else { None };
    let client = Client::new(url, &stack.endpoints.token);
    let mut load = NumberedLoad::start_paced(&client, "load__echo", callers, 1);
    let mut evidence = Evidence::new(&api, stack);
    let (mut struck, mut killed_at) = (Vec::new(), None);
    let (mut damage, mut second) = (Damage::default(), SecondControlPlane::default());
    for round in 0..rounds() {
        for fault in faults {
            let first = load.next();
            if fault.kills(stack.endpoints.data_plane_urls.len()) > 0 {
                killed_at = Some(SystemTime::now());
            }
            eprintln!("round {}: {fault}", round + 1);
            let siem = siem.as_mut();
            let mut world = World { stack, api: &api, upstream: &upstream, load: &load, siem, second, damage };
            fault.strike(&mut world, round).await;
            (second, damage) = (world.second, world.damage);
            load.slow_down(SLOWLY);
            each_node_serves(stack, (&load, &client), &api).await;
            let news = evidence.news().await;
            load.goes_on();
            struck.push(Strike { first, fault: *fault, verify: news.fault, together: news.together });
        }
    }
    load.halt().await;
    if damage.set_backs.is_empty() {
        each_node_serves(stack, (&load, &client), &api).await;
        log_is_at_rest(stack, killed_at).await;
    } else {
        // A call whose intent is in the backup and whose end is lost has its last word once the run is over.
        let ended_at = SystemTime::now();
        restart_nodes(stack);
        each_node_serves(stack, (&load, &client), &api).await;
        log_is_at_rest_but_for_gaps(stack, Some(ended_at)).await;
    }
    let log = evidence.whole().await;
    let mut lost = set_back::lost(&damage.set_backs, &log.notes);
    lost.extend(damage.nowhere.iter().cloned().flatten());
    let (ledger, reached) = (load.stop().await, upstream.numbers());
    table::report(faults, &struck, &Counted { ledger, reached, records: log.finals, lost, verify: log.fault });
    assert!(log.unclean_ends >= damage.killed_runs, "each run of a node that was killed is named in the log");
    if let Some(siem) = siem {
        siem.has_all(stack).await;
        siem.agrees_with(&log.leaves);
    }
}

/// Waits until every node serves, and what it takes is in the log: a call's record comes after those of all calls before it
/// at its node. Then a fault is got over, and the next one strikes alone. A run that nobody calls is unknown to the log, too,
/// and the one before it not over.
async fn each_node_serves(stack: &Stack, (load, client): (&NumberedLoad, &Client), api: &Api) {
    for node in &stack.endpoints.data_plane_urls {
        let client = client.at(&format!("{node}/{}/mcp", stack.endpoints.tenant));
        let number = until_within(LAPSE, "each node serves again", async || {
            let (number, outcome) = load.ask(&client).await;
            (outcome == Outcome::Answered).then_some(number)
        })
        .await;
        let found = async || api.has_record_of(&trace_of(number)).await.then_some(());
        until_within(LAPSE, "what each node takes is in the log again", found).await;
    }
}

fn restart_nodes(stack: &Stack) {
    for node in 1..=stack.endpoints.data_plane_urls.len() {
        let name = format!("node-{node}");
        let before = stack.begin_end(&name);
        tokio::task::block_in_place(|| stack.has_begun_again(&name, before));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_wakes_after_its_calls_were_given_up_adds_no_second_final_record() {
    let stack = Stack::start(2, &[]);
    let upstream = Upstream::start(Eras::Modern).await;
    let api = Api::of(&stack.endpoints);
    api.add_server("slow", &upstream.url()).await;
    api.allow_everything().await;
    api.is_live().await;
    let node = format!("{}/{}/mcp", stack.endpoints.data_plane_urls[0], stack.endpoints.tenant);
    let client = Client::new(&node, &stack.endpoints.token);
    assert_eq!(client.call("slow__echo", json!({"message": "before"})).await.status, 200);
    let request = client
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
    assert_eq!(api.count_finals().await[&1], 1);
    assert_eq!(kinds("late").await.unwrap().len(), 1);
    // It ends in order, under the name that had fallen silent: nothing that it numbered is missing.
    let before = stack.begin_end("node-1");
    tokio::task::block_in_place(|| stack.has_begun_again("node-1", before));
    let ends = until_within(LAPSE, "its silence and its end", async || {
        let found = api.activity("kind=boot_end").await;
        (found.len() == 2).then_some(found)
    })
    .await;
    let mut clean = Vec::new();
    for end in ends {
        clean.push(api.record(end["id"].as_str().unwrap()).await["record"]["source"]["clean"].clone());
    }
    assert_eq!(clean, [json!(true), json!(false)], "the newest first");
    let log = Evidence::new(&api, &stack).whole().await;
    assert_eq!(log.fault, None);
    assert_eq!(log.finals[&1].iter().map(|is| is.status.as_str()).collect::<Vec<_>>(), ["unknown"]);
}
