//! Load: calls that are numbered and accounted for, and calls that are only fast.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::client::{Client, send};

/// The error of a node that is out of touch with its configuration.
const OUT_OF_TOUCH: &str = "\"code\":-31003";

/// What became of a numbered call, as its client saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered, with whatever but what follows.
    Answered,
    /// The gateway had no room for it, or for its record (503).
    Refused,
    /// The node had no configuration yet, and so did not know whose call it was (503).
    Unready,
    /// The connection broke before the answer was whole.
    Broken,
}

/// Clients that call a tool with the argument `n` = 1, 2, 3 … until they are stopped, and remember what became of each.
pub struct NumberedLoad {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
    ledger: Arc<Mutex<BTreeMap<u64, Outcome>>>,
    ended: Arc<Notify>,
    next: Arc<AtomicU64>,
}

impl NumberedLoad {
    /// Starts `clients` callers of `tool`, numbering from `first` on.
    pub fn start(client: &Client, tool: &str, clients: usize, first: u64) -> Self {
        Self::start_paced(client, tool, (clients, Duration::ZERO), first)
    }

    /// As [`NumberedLoad::start`], but each caller begins a call no more often than that.
    pub fn start_paced(client: &Client, tool: &str, (clients, pace): (usize, Duration), first: u64) -> Self {
        let (stop, ledger) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(BTreeMap::new())));
        let (next, ended) = (Arc::new(AtomicU64::new(first)), Arc::new(Notify::new()));
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            let (client, tool, ended) = (client.clone(), tool.to_owned(), ended.clone());
            let (stop, ledger, next) = (stop.clone(), ledger.clone(), next.clone());
            tasks.spawn(async move {
                let mut every = (!pace.is_zero()).then(|| tokio::time::interval(pace));
                if let Some(every) = &mut every {
                    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
                }
                while !stop.load(Ordering::Relaxed) {
                    if let Some(every) = &mut every {
                        every.tick().await;
                    }
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let params = json!({"name": tool, "arguments": {"n": number}});
                    let trace = format!("00-{}-00000000000000aa-01", trace_of(number));
                    let request = client.modern_request("tools/call", params).header("traceparent", trace);
                    let request = request.timeout(Duration::from_secs(30));
                    let outcome = match send(request).await {
                        Ok(answer) if answer.status == 503 && answer.text.contains(OUT_OF_TOUCH) => Outcome::Unready,
                        Ok(answer) if answer.status == 503 => Outcome::Refused,
                        Ok(_) => Outcome::Answered,
                        Err(_) => Outcome::Broken,
                    };
                    ledger.lock().unwrap().insert(number, outcome);
                    ended.notify_one();
                }
            });
        }
        Self { stop, tasks, ledger, ended, next }
    }

    /// The number of the next call.
    pub fn next(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// How many calls have ended so far.
    pub fn ended(&self) -> usize {
        self.ledger.lock().unwrap().len()
    }

    /// Waits until this many more calls have ended.
    pub async fn goes_on_for(&self, more: usize) {
        let wanted = self.ended() + more;
        while self.ended() < wanted {
            let came = tokio::time::timeout(Duration::from_mins(1), self.ended.notified()).await;
            assert!(came.is_ok(), "only {} of {wanted} calls ended", self.ended());
        }
    }

    /// Stops, waits for the calls under way, and gives what became of each number.
    pub async fn stop(mut self) -> BTreeMap<u64, Outcome> {
        self.stop.store(true, Ordering::Relaxed);
        while self.tasks.join_next().await.is_some() {}
        std::mem::take(&mut self.ledger.lock().unwrap())
    }
}

/// The trace id a numbered call carries, by which its record is found.
pub fn trace_of(number: u64) -> String {
    format!("{:032x}", u128::from(number) | 1 << 127)
}

/// The number of a call with this trace id, if it is one of ours.
pub fn number_of(trace: &str) -> Option<u64> {
    let trace = u128::from_str_radix(trace, 16).ok()?;
    (trace >> 127 == 1).then(|| u64::try_from(trace & u128::from(u64::MAX)).ok()).flatten()
}

/// Where a fast load goes and what it sends; the same bytes again and again.
#[derive(Clone)]
pub struct Target {
    /// Whom to connect to.
    pub address: SocketAddr,
    /// A whole HTTP/1.1 request.
    pub request: Vec<u8>,
}

/// What a fast load measured.
pub struct Report {
    /// Calls that were answered with status 200.
    pub calls: u64,
    /// Other answers.
    pub failed: u64,
    /// How long it ran.
    pub elapsed: Duration,
    /// Latencies in microseconds, sorted.
    pub latencies: Vec<u32>,
    /// How long calls waited for their record, as the gateway says in `Server-Timing`, sorted; only with a pace.
    pub waits: Vec<u32>,
    /// What is left of each latency without it, sorted.
    pub rests: Vec<u32>,
}

impl Report {
    /// Calls a second.
    #[expect(clippy::cast_precision_loss, reason = "a figure to read")]
    pub fn rate(&self) -> f64 {
        self.calls as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency that this share of the calls, in per cent, did not exceed, in microseconds.
    pub fn percentile(&self, percent: usize) -> u32 {
        percentile(&self.latencies, percent)
    }
}

/// The time that this share of sorted times, in per cent, did not exceed.
pub fn percentile(times: &[u32], percent: usize) -> u32 {
    times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or(0)
}

/// What became of the calls of one connection.
#[derive(Default)]
struct Told {
    latencies: Vec<u32>,
    waits: Vec<u32>,
    rests: Vec<u32>,
    failed: u64,
}

/// Sends the same request over keep-alive connections for a while, each connection one call at a time. With `pace`, each
/// connection begins a call no more often than that.
pub async fn run(target: &Target, connections: usize, length: Duration, pace: Option<Duration>) -> Report {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for number in 0..u32::try_from(connections).unwrap() {
        let target = target.clone();
        // Evenly in time: all connections at once would be a burst, whatever the pace.
        let ticks = pace.map(|pace| (start + pace * number / u32::try_from(connections).unwrap(), pace));
        tasks.spawn(async move { one_connection(&target, start + length, ticks).await });
    }
    let mut all = Told::default();
    while let Some(done) = tasks.join_next().await {
        let told = done.unwrap();
        all.failed += told.failed;
        all.latencies.extend(told.latencies);
        all.waits.extend(told.waits);
        all.rests.extend(told.rests);
    }
    let elapsed = start.elapsed();
    let Told { mut latencies, mut waits, mut rests, failed } = all;
    for times in [&mut latencies, &mut waits, &mut rests] {
        times.sort_unstable();
    }
    Report { calls: latencies.len() as u64, failed, elapsed, latencies, waits, rests }
}

async fn one_connection(target: &Target, end: Instant, ticks: Option<(Instant, Duration)>) -> Told {
    let mut stream = TcpStream::connect(target.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut told, mut buffer) = (Told::default(), Vec::with_capacity(64 * 1024));
    let mut ticks = ticks.map(|(first, pace)| tokio::time::interval_at(first.into(), pace));
    while Instant::now() < end {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        let begin = Instant::now();
        stream.write_all(&target.request).await.unwrap();
        if read_answer(&mut stream, &mut buffer).await == 200 {
            let latency = u32::try_from(begin.elapsed().as_micros()).unwrap();
            told.latencies.push(latency);
            if let Some(wait) = ticks.as_ref().and_then(|_| record_wait(&buffer)) {
                told.waits.push(wait);
                told.rests.push(latency.saturating_sub(wait));
            }
        } else {
            told.failed += 1;
        }
    }
    told
}

/// How long the call waited for its record, microseconds.
fn record_wait(answer: &[u8]) -> Option<u32> {
    let text = String::from_utf8_lossy(answer);
    let (_, rest) = text.split_once("audit;dur=")?;
    let milliseconds: String = rest.chars().take_while(|letter| letter.is_ascii_digit() || *letter == '.').collect();
    let (whole, parts) = milliseconds.split_once('.')?;
    Some(whole.parse::<u32>().ok()? * 1000 + parts.parse::<u32>().ok()?)
}

/// Reads one HTTP/1.1 answer, of known length or in chunks, and gives its status.
async fn read_answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> u16 {
    buffer.clear();
    let head = loop {
        if let Some(end) = find(buffer, b"\r\n\r\n") {
            break end + 4;
        }
        assert!(stream.read_buf(buffer).await.unwrap() > 0, "the connection was closed");
    };
    let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
    let status = text[9..12].parse().unwrap();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .map(|length| length.trim().parse::<usize>().unwrap());
    loop {
        let whole = match length {
            Some(length) => buffer.len() >= head + length,
            None => buffer[head..].ends_with(b"0\r\n\r\n"),
        };
        if whole {
            return status;
        }
        assert!(stream.read_buf(buffer).await.unwrap() > 0, "the connection was closed");
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// The CPU time a process has used, user and system together.
pub fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_ascii_whitespace().collect()).unwrap_or_default();
    let ticks: u64 =
        fields.get(11..13).map_or(0, |fields| fields.iter().map(|field| field.parse::<u64>().unwrap()).sum());
    // Linux counts in hundredths of a second.
    Duration::from_millis(ticks * 10)
}
