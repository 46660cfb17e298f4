//! Whether memory stays flat, and records are found as fast, while half of what a node can take goes on for long.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use sluice_tests::api::Api;
use sluice_tests::client::Client;
use sluice_tests::load::{Report, Target, run};
use sluice_tests::patience::until_within;

use crate::{LENGTH, Way, call_request, deployment};

const CONNECTIONS: u32 = 64;
/// Minutes, unless `SLUICE_SOAK_MINUTES` says how many.
const MINUTES: u64 = 60;
/// Between two calls that are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// What a line of the table is about.
const MINUTE: Duration = Duration::from_mins(1);
/// The processes whose memory is printed.
const PROCESSES: [&str; 4] = ["node-1", "control-plane", "redis", "postgres"];

/// Half of what the node takes, or `SLUICE_SOAK_RATE` calls a second.
#[expect(clippy::disallowed_methods, reason = "a measurement, run by hand")]
pub(crate) async fn soak() {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let minutes = number("SLUICE_SOAK_MINUTES").unwrap_or(MINUTES);
    let (stack, api, _) = deployment(&[]).await;
    let node: SocketAddr = stack.endpoints.data_plane_urls[0].trim_start_matches("http://").parse().unwrap();
    let way = Way {
        name: "sluice".into(),
        address: node,
        path: format!("/{}/mcp", stack.endpoints.tenant),
        token: Some(stack.endpoints.token.clone()),
        pid: None,
    };
    let client = Client::new(&stack.endpoints.tenant_url, &stack.endpoints.token);
    let target = Target { address: node, request: call_request(&way, 0) };
    let rate = match number("SLUICE_SOAK_RATE") {
        Some(rate) => f64::from(u32::try_from(rate).unwrap()),
        None => run(&target, 64, LENGTH, None).await.rate() / 2.0,
    };
    let pace = Duration::from_secs_f64(f64::from(CONNECTIONS) / rate);
    println!(
        "{rate:.0} calls/s over {CONNECTIONS} connections for {minutes} minutes; memory in MiB, times in µs and ms\n"
    );
    print!(
        "{:>6} {:>8} {:>7} {:>8} {:>8} {:>9} {:>9}",
        "minute", "calls/s", "failed", "p50 us", "p99 us", "found p50", "p99 ms"
    );
    println!("  {}", PROCESSES.map(|name| format!("{name:>13}")).concat());
    let mut all = Vec::new();
    for minute in 1..=minutes {
        let looking = look(&api, &client);
        let (report, mut found) = tokio::join!(run(&target, CONNECTIONS as usize, MINUTE, Some(pace)), looking);
        found.sort_unstable();
        print_line(minute, &report, &found, &memory(&stack.current().unwrap().pids));
        all.extend(found);
    }
    all.sort_unstable();
    println!(
        "\n{} calls looked for: found after p50 {} ms, p99 {} ms, at most {} ms",
        all.len(),
        at(&all, 50),
        at(&all, 99),
        at(&all, 100)
    );
}

fn print_line(minute: u64, report: &Report, found: &[u64], memory: &BTreeMap<String, f64>) {
    let (rate, failed) = (report.rate(), report.failed);
    print!("{minute:>6} {rate:>8.0} {failed:>7} {:>8} {:>8}", report.percentile(50), report.percentile(99));
    print!(" {:>9} {:>9}", at(found, 50), at(found, 99));
    let each = PROCESSES.map(|name| format!("{:>13.1}", memory.get(name).copied().unwrap_or_default()));
    println!("  {}", each.concat());
}

/// For a minute makes a call every second, and measures, ms, how long after its answer its record is found.
async fn look(api: &Api, client: &Client) -> Vec<u64> {
    let mut found = Vec::new();
    let mut every = tokio::time::interval(LOOK);
    for _ in 0..MINUTE.as_secs() / LOOK.as_secs() {
        every.tick().await;
        let trace = client.call("bench__echo", json!({"message": "find me"})).await.trace_id();
        let answered = Instant::now();
        let is_found = async || api.has_record_of(&trace).await.then_some(());
        until_within(MINUTE, "the record is found", is_found).await;
        found.push(u64::try_from(answered.elapsed().as_millis()).unwrap());
    }
    found
}

fn at(sorted: &[u64], percent: usize) -> u64 {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// What each process and its children keep for themselves, MiB: pages that Postgres' processes share are counted by part.
fn memory(pids: &BTreeMap<String, u32>) -> BTreeMap<String, f64> {
    let own = |pid: u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let pss =
            text.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        pss.unwrap_or_default() / 1024.0
    };
    pids.iter()
        .map(|(name, pid)| (name.clone(), own(*pid) + children(*pid).into_iter().map(own).sum::<f64>()))
        .collect()
}

/// The processes below one.
fn children(pid: u32) -> Vec<u32> {
    let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")) else { return Vec::new() };
    let own: Vec<u32> = text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    own.iter().copied().chain(own.iter().flat_map(|pid| children(*pid))).collect()
}
