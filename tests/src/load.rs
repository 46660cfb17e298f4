//! Load: calls that are numbered and accounted for, and calls that are only fast.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::client::{Client, send};

/// The errors of refusals that are answered with 503 (docs/ARCHITECTURE.md): the call's record could not be kept, and the node
/// has no configuration.
const NOT_RECORDED: &str = "\"code\":-31001";
const OUT_OF_TOUCH: &str = "\"code\":-31003";

/// What became of a numbered call, as its client saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered, with whatever but what follows.
    Answered,
    /// Its record could not be kept, so it was not made (503).
    Refused,
    /// The gateway had no room for it (503).
    NoRoom,
    /// The node had no configuration yet, and so did not know whose call it was (503).
    Unready,
    /// The connection broke before the answer was whole.
    Broken,
}

/// How often each caller begins a call.
#[derive(Debug, Clone, Copy)]
enum Rate {
    /// Never more often than that.
    Every(Duration),
    /// Not at present.
    Held,
    /// No more.
    Over,
}

/// Clients that call a tool with the argument `n` = 1, 2, 3 … until they are stopped, and remember what became of each.
pub struct NumberedLoad {
    tasks: JoinSet<()>,
    shared: Arc<Shared>,
    pace: Duration,
}

struct Shared {
    tool: String,
    ledger: Mutex<BTreeMap<u64, Outcome>>,
    ended: Notify,
    next: AtomicU64,
    rate: watch::Sender<Rate>,
}

impl NumberedLoad {
    /// Starts `clients` callers of `tool`, numbering from `first` on.
    pub fn start(client: &Client, tool: &str, clients: usize, first: u64) -> Self {
        Self::start_paced(client, tool, (clients, Duration::ZERO), first)
    }

    /// As [`NumberedLoad::start`], but each caller begins a call no more often than that.
    pub fn start_paced(client: &Client, tool: &str, (clients, pace): (usize, Duration), first: u64) -> Self {
        let shared = Arc::new(Shared {
            tool: tool.to_owned(),
            ledger: Mutex::default(),
            ended: Notify::new(),
            next: AtomicU64::new(first),
            rate: watch::Sender::new(Rate::Every(pace)),
        });
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            tasks.spawn(Shared::call_on(shared.clone(), client.clone()));
        }
        Self { tasks, shared, pace }
    }

    /// The number of the next call.
    pub fn next(&self) -> u64 {
        self.shared.next.load(Ordering::Relaxed)
    }

    /// How many calls have ended so far.
    pub fn ended(&self) -> usize {
        self.shared.ledger.lock().unwrap().len()
    }

    /// Waits until this many more calls have ended.
    pub async fn goes_on_for(&self, more: usize) {
        let wanted = self.ended() + more;
        while self.ended() < wanted {
            let came = tokio::time::timeout(Duration::from_mins(1), self.shared.ended.notified()).await;
            assert!(came.is_ok(), "only {} of {wanted} calls ended", self.ended());
        }
    }

    /// No caller begins a call until [`NumberedLoad::goes_on`].
    pub fn hold(&self) {
        self.shared.rate.send_replace(Rate::Held);
    }

    /// Each caller begins a call no more often than that until [`NumberedLoad::goes_on`].
    pub fn slow_down(&self, pace: Duration) {
        self.shared.rate.send_replace(Rate::Every(pace));
    }

    /// Each caller calls as often as at the start.
    pub fn goes_on(&self) {
        self.shared.rate.send_replace(Rate::Every(self.pace));
    }

    /// Makes one more call, by another client; gives its number. Kept only when it was answered or refused for its record:
    /// whoever asks until a node serves is no load.
    pub async fn ask(&self, client: &Client) -> (u64, Outcome) {
        let (number, outcome) = self.shared.call(client).await;
        if matches!(outcome, Outcome::Answered | Outcome::Refused) {
            self.shared.note(number, outcome);
        }
        (number, outcome)
    }

    /// Stops the callers, and waits for the calls under way.
    pub async fn halt(&mut self) {
        self.shared.rate.send_replace(Rate::Over);
        while self.tasks.join_next().await.is_some() {}
    }

    /// Stops, waits for the calls under way, and gives what became of each number.
    pub async fn stop(mut self) -> BTreeMap<u64, Outcome> {
        self.halt().await;
        std::mem::take(&mut self.shared.ledger.lock().unwrap())
    }
}

impl Shared {
    /// One caller.
    async fn call_on(self: Arc<Self>, client: Client) {
        let (mut rate, mut began) = (self.rate.subscribe(), None::<tokio::time::Instant>);
        loop {
            let now = *rate.borrow_and_update();
            match (now, began) {
                (Rate::Over, _) => return,
                (Rate::Held, _) => {
                    if rate.changed().await.is_err() {
                        return;
                    }
                    continue;
                }
                (Rate::Every(pace), Some(began)) if !pace.is_zero() => {
                    tokio::select! {
                        () = tokio::time::sleep_until(began + pace) => {}
                        _ = rate.changed() => continue,
                    }
                }
                (Rate::Every(_), _) => {}
            }
            began = Some(tokio::time::Instant::now());
            let (number, outcome) = self.call(&client).await;
            self.note(number, outcome);
        }
    }

    async fn call(&self, client: &Client) -> (u64, Outcome) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let params = json!({"name": self.tool, "arguments": {"n": number}});
        let trace = format!("00-{}-00000000000000aa-01", trace_of(number));
        let request = client.modern_request("tools/call", params).header("traceparent", trace);
        let outcome = match send(request.timeout(Duration::from_secs(30))).await {
            Ok(answer) if answer.status != 503 => Outcome::Answered,
            Ok(answer) if answer.text.contains(NOT_RECORDED) => Outcome::Refused,
            Ok(answer) if answer.text.contains(OUT_OF_TOUCH) => Outcome::Unready,
            Ok(_) => Outcome::NoRoom,
            Err(_) => Outcome::Broken,
        };
        (number, outcome)
    }

    fn note(&self, number: u64, outcome: Outcome) {
        self.ledger.lock().unwrap().insert(number, outcome);
        self.ended.notify_one();
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
