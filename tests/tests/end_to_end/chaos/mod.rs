//! The durability table: everything that can fail does, under numbered load, and afterwards the records are counted from
//! a bundle that verifies. `make chaos` prints it over 200 rounds.

mod faults;
mod set_back;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use sluice_tests::api::Api;
use sluice_tests::balancer::Balancer;
use sluice_tests::behind::{Postgres, log_is_at_rest, log_is_at_rest_but_for_gaps};
use sluice_tests::client::{Client, send};
use sluice_tests::load::{NumberedLoad, Outcome, number_of, trace_of};
use sluice_tests::patience::{until, until_within};
use sluice_tests::stack::{Stack, program, test_folder};
use sluice_tests::upstream::{Eras, Upstream};

use faults::{Clock, FAULTS, Fault, OwnRedis, SecondControlPlane, SmallDisk, World};
use set_back::Age;

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
    let client = Client::new(url, &stack.endpoints.token);
    let load = NumberedLoad::start_paced(&client, "load__echo", callers, 1);
    let (mut struck, mut killed_at, mut second) = (Vec::new(), None, SecondControlPlane::default());
    let mut set_backs = Vec::new();
    for round in 0..rounds() {
        for fault in faults {
            struck.push((load.next(), *fault));
            if fault.kills_a_node() {
                killed_at = Some(SystemTime::now());
            }
            eprintln!("round {}: {fault}", round + 1);
            let (second, set_backs) = (&mut second, &mut set_backs);
            let mut world = World { stack, upstream: &upstream, load: &load, second, set_backs };
            fault.strike(&mut world, round).await;
            each_node_serves(stack, &client, &api).await;
        }
    }
    let ledger = load.stop().await;
    if set_backs.is_empty() {
        each_node_serves(stack, &client, &api).await;
        log_is_at_rest(stack, killed_at).await;
    } else {
        // A call whose intent is in the backup and whose end is lost has its last word once the run is over.
        let ended_at = SystemTime::now();
        restart_nodes(stack);
        each_node_serves(stack, &client, &api).await;
        log_is_at_rest_but_for_gaps(stack, Some(ended_at)).await;
    }
    let Log { finals, notes, together } = whole_log(&api, stack).await;
    let lost = set_back::lost(&set_backs, &notes);
    report(faults, &struck, &Counted { ledger, reached: upstream.numbers(), records: finals, lost, together });
}

/// Waits until every node serves, and what it takes is in the log: a call's record comes after those of all calls before it
/// at its node. Then a fault is got over, and the next one strikes alone. A run that nobody calls is unknown to the log, too,
/// and the one before it not over.
async fn each_node_serves(stack: &Stack, client: &Client, api: &Api) {
    for node in &stack.endpoints.data_plane_urls {
        let client = client.at(&format!("{node}/{}/mcp", stack.endpoints.tenant));
        let trace = until_within(LAPSE, "each node serves again", async || {
            let answer = client.call("load__echo", json!({"message": "all"})).await;
            (answer.status == 200).then(|| answer.trace_id())
        })
        .await;
        let found = async || api.has_record_of(&trace).await.then_some(());
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

/// What is compared: what clients saw, what the upstream saw, and what the log has.
struct Counted {
    ledger: BTreeMap<u64, Outcome>,
    reached: Vec<u64>,
    /// The statuses of each number's final records.
    records: BTreeMap<u64, Vec<String>>,
    /// The numbers whose records nobody has any more, as gaps in the log say.
    lost: BTreeSet<u64>,
    /// How many refusals the log counts together: a node that can't record refuses before it knows who calls.
    together: u64,
}

/// One row of the table.
#[derive(Default)]
struct Row {
    rounds: usize,
    sent: usize,
    answered: usize,
    refused: usize,
    finals: usize,
    unknown: usize,
    in_gap: usize,
    /// Refused, and in no record of its own.
    together: u64,
    missing: Vec<u64>,
    twice: Vec<u64>,
}

/// Prints the table, and fails where a call has no final record, two, or reached the upstream twice.
fn report(faults: &[Fault], struck: &[(u64, Fault)], counted: &Counted) {
    let reached: BTreeSet<u64> = counted.reached.iter().copied().collect();
    println!(
        "{:<24} {:>6} {:>7} {:>8} {:>7} {:>7} {:>7} {:>7} {:>7} {:>5}",
        "fault", "rounds", "sent", "answered", "refused", "final", "unknown", "in gap", "missing", "twice"
    );
    let (mut missing, mut twice, mut together) = (Vec::new(), Vec::new(), 0);
    for fault in faults {
        let mut row = Row::default();
        for (at, (first, _)) in struck.iter().enumerate().filter(|(_, (_, by))| by == fault) {
            let end = struck.get(at + 1).map_or(u64::MAX, |(next, _)| *next);
            row.rounds += 1;
            for (number, outcome) in counted.ledger.range(*first..end) {
                row.count(*number, *outcome, counted, reached.contains(number));
            }
        }
        let Row { rounds, sent, answered, refused, finals, unknown, in_gap, .. } = row;
        println!(
            "{:<24} {rounds:>6} {sent:>7} {answered:>8} {refused:>7} {finals:>7} {unknown:>7} {in_gap:>7} {:>7} {:>5}",
            fault.to_string(),
            row.missing.len(),
            row.twice.len(),
        );
        together += row.together;
        missing.extend(row.missing);
        twice.extend(row.twice);
        assert!(row.answered > row.sent / 2, "{fault}: most calls should be answered");
    }
    assert!(missing.is_empty(), "without a final record: {missing:?}");
    assert!(together <= counted.together, "{together} refused without a record, but {} are counted", counted.together);
    assert!(twice.is_empty(), "with more than one: {twice:?}");
    assert_eq!(counted.reached.len(), reached.len(), "no call may reach the upstream twice");
}

impl Row {
    fn count(&mut self, number: u64, outcome: Outcome, counted: &Counted, reached: bool) {
        self.sent += 1;
        self.answered += usize::from(outcome == Outcome::Answered);
        self.refused += usize::from(matches!(outcome, Outcome::Refused | Outcome::Unready));
        let finals = counted.records.get(&number).map_or(&[][..], Vec::as_slice);
        self.finals += finals.len();
        self.unknown += finals.iter().filter(|status| *status == "unknown").count();
        if finals.is_empty() && counted.lost.contains(&number) {
            self.in_gap += 1;
        } else if finals.is_empty() {
            match outcome {
                Outcome::Refused if !reached => self.together += 1,
                Outcome::Unready | Outcome::Broken if !reached => {}
                _ => self.missing.push(number),
            }
        }
        if finals.len() > 1 {
            self.twice.push(number);
        }
    }
}

/// What a bundle of the whole log says.
#[derive(Default)]
struct Log {
    /// The statuses of each numbered call's final records.
    finals: BTreeMap<u64, Vec<String>>,
    /// Of each epoch the lines of records that say what is missing.
    notes: Vec<Vec<Value>>,
    /// How many refusals for want of a record are counted together.
    together: u64,
}

/// The whole log, from a bundle that `sluice audit verify` finds good.
async fn whole_log(api: &Api, stack: &Stack) -> Log {
    let postgres = Postgres::of(&stack.endpoints, stack.folder());
    let size = format!(
        "select size from audit_head where tenant_id = (select tenant_id from tenants where slug = '{}') order by epoch desc limit 1",
        stack.endpoints.tenant
    );
    let size: u64 = postgres.query(&size).await.parse().unwrap();
    let last =
        until("a checkpoint over all records", async || api.checkpoint().await.filter(|last| last.size >= size)).await;
    let packed = api.bundle("").await;
    verifies(&stack.folder().join("chaos.ndjson.zst"), &packed, &last.verifier_key);
    let mut log = Log { notes: vec![Vec::new()], ..Log::default() };
    for line in zstd::decode_all(packed.as_slice()).unwrap().split(|byte| *byte == b'\n') {
        if line.starts_with(b"{\"epoch\":") {
            log.notes.push(Vec::new());
        } else if line.starts_with(b"{\"seq\":") {
            log.take(serde_json::from_slice(line).unwrap());
        }
    }
    log
}

impl Log {
    fn take(&mut self, line: Value) {
        let record = &line["record"];
        if record["kind"] == "call"
            && record["final"] == true
            && let Some(number) = record["trace"]["id"].as_str().and_then(number_of)
        {
            let status = record["outcome"]["status"].as_str().unwrap().to_owned();
            self.finals.entry(number).or_default().push(status);
        } else if record["kind"] == "auth" && record["decision"]["code"] == "audit_unavailable" {
            self.together += record["count"].as_u64().unwrap_or(1);
        } else if record["kind"] == "epoch" || record["kind"] == "gap" {
            self.notes.last_mut().unwrap().push(line);
        }
    }
}

fn verifies(bundle: &Path, packed: &[u8], key: &str) {
    std::fs::write(bundle, packed).unwrap();
    let output = Command::new(program()).args(["audit", "verify"]).arg(bundle).args(["--vkey", key]).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    println!("verify: {}\n{said}", output.status);
    assert!(output.status.success(), "the log does not verify: {said}");
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
    let log = whole_log(&api, &stack).await;
    assert_eq!(log.finals[&1], ["unknown"]);
}
