//! A look behind the API: Postgres past all fences, Redis as the control plane sees it, the nodes' metrics.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use redis::aio::MultiplexedConnection;
use tokio::process::Command;

use crate::stack::{Endpoints, Stack};

/// The deployment's Postgres, as its superuser.
#[derive(Debug, Clone)]
pub struct Postgres {
    url: String,
}

impl Postgres {
    /// That of a deployment, by its folder.
    pub fn of(endpoints: &Endpoints, folder: &Path) -> Self {
        let password = std::fs::read_to_string(folder.join("data/postgres-superuser.password")).unwrap();
        let mut url = url::Url::parse(&endpoints.postgres_url).unwrap();
        url.set_username("postgres").unwrap();
        url.set_password(Some(password.trim())).unwrap();
        Self { url: url.into() }
    }

    /// How to reach it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What a statement answers: columns divided by `|`, a line for each row.
    pub async fn query(&self, statement: &str) -> String {
        let options = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement];
        said(Command::new("psql").args(options).arg(&self.url)).await.trim_end().to_owned()
    }

    /// Whether a statement answers true; not, while nobody answers: psql ends with 2 where it has no connection.
    pub async fn holds(&self, statement: &str) -> bool {
        let options = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement];
        let output =
            Command::new("psql").args(options).arg(&self.url).output().await.expect("psql comes with Postgres");
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 2)), "{}", String::from_utf8_lossy(&output.stderr));
        code == Some(0) && output.stdout.trim_ascii() == b"t"
    }

    /// Whether it lets us in.
    pub async fn answers(&self) -> bool {
        let output = Command::new("psql").args(["-X", "-q", "-c", "select 1"]).arg(&self.url).output().await;
        output.expect("psql comes with Postgres").status.success()
    }

    /// Every row of every table, bytes as hexadecimal.
    pub async fn dump(&self) -> String {
        said(Command::new("pg_dump").args(["--data-only", "--inserts"]).arg(&self.url)).await
    }
}

async fn said(command: &mut Command) -> String {
    let output = command.output().await.expect("psql and pg_dump come with Postgres");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The deployment's Redis, as the control plane.
#[derive(Clone)]
pub struct Redis(MultiplexedConnection);

impl Redis {
    /// That of a deployment.
    pub async fn of(endpoints: &Endpoints) -> Self {
        let client = redis::Client::open(endpoints.redis_url.as_str()).unwrap();
        Self(client.get_multiplexed_async_connection().await.unwrap())
    }

    /// The names of all keys that match.
    pub async fn keys(&self, pattern: &str) -> Vec<String> {
        redis::cmd("KEYS").arg(pattern).query_async(&mut self.0.clone()).await.unwrap()
    }

    /// The value of a key.
    pub async fn get(&self, key: &str) -> Vec<u8> {
        redis::cmd("GET").arg(key).query_async(&mut self.0.clone()).await.unwrap()
    }

    /// Gives a key a value.
    pub async fn set(&self, key: &str, value: &[u8]) {
        redis::cmd("SET").arg(key).arg(value).query_async::<()>(&mut self.0.clone()).await.unwrap();
    }

    /// Forgets records up to a place in the audit stream, as the control plane has it do ten minutes after they took effect.
    pub async fn forget_records(&self, up_to: &str) {
        let (time, number) = up_to.split_once('-').unwrap();
        let next = format!("{time}-{}", number.parse::<u64>().unwrap() + 1);
        let mut trim = redis::cmd("XTRIM");
        trim.arg("audit:{0}").arg("MINID").arg(next).query_async::<()>(&mut self.0.clone()).await.unwrap();
    }

    /// Forgets everything.
    pub async fn flush(&self) {
        redis::cmd("FLUSHALL").query_async::<()>(&mut self.0.clone()).await.unwrap();
    }

    /// Every key and its value, packed as Redis keeps it and plain; snapshots also unpacked.
    pub async fn dump(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for key in self.keys("*").await {
            all.extend_from_slice(key.as_bytes());
            let packed: Option<Vec<u8>> = redis::cmd("DUMP").arg(&key).query_async(&mut self.0.clone()).await.unwrap();
            all.extend(packed.unwrap_or_default());
            all.extend(self.plain(&key).await);
            if key.ends_with(":snapshot") {
                all.extend(zstd::decode_all(body(&self.get(&key).await)).unwrap());
            }
        }
        all
    }

    /// A value as its readers get it: Redis packs long texts when it dumps them.
    async fn plain(&self, key: &str) -> Vec<u8> {
        let kind: String = redis::cmd("TYPE").arg(key).query_async(&mut self.0.clone()).await.unwrap();
        let read = match kind.as_str() {
            "string" => redis::cmd("GET").arg(key).take(),
            "hash" => redis::cmd("HGETALL").arg(key).take(),
            "stream" => redis::cmd("XRANGE").arg(key).arg("-").arg("+").take(),
            "set" => redis::cmd("SMEMBERS").arg(key).take(),
            "list" => redis::cmd("LRANGE").arg(key).arg(0).arg(-1).take(),
            // Gone meanwhile.
            "none" => return Vec::new(),
            kind => panic!("`{key}` is a {kind}: say here how it is read"),
        };
        let mut plain = Vec::new();
        flatten(read.query_async(&mut self.0.clone()).await.unwrap(), &mut plain);
        plain
    }
}

fn flatten(value: redis::Value, into: &mut Vec<u8>) {
    match value {
        redis::Value::BulkString(bytes) => into.extend(bytes),
        redis::Value::SimpleString(text) => into.extend(text.into_bytes()),
        redis::Value::Array(values) | redis::Value::Set(values) => {
            for value in values {
                flatten(value, into);
            }
        }
        redis::Value::Map(pairs) => {
            for (key, value) in pairs {
                flatten(key, into);
                flatten(value, into);
            }
        }
        _ => {}
    }
}

/// The body of a signed envelope, below its header and signature.
pub fn body(envelope: &[u8]) -> &[u8] {
    envelope.splitn(3, |byte| *byte == b'\n').nth(2).unwrap()
}

/// Longest time in which nothing comes into a log that is not at rest: a source lapses 30 s after its last word, by a clock
/// that stands still while the owner can't commit.
const REST: Duration = Duration::from_mins(2);

/// Waits until nothing more can come into the log of calls that have ended: every run of a node but the present ones is
/// over or lapsed, no frame is held back or missing, no call is open, and what the nodes hold has taken effect.
///
/// `killed_at` is when a node was last killed: its present run is a later one.
pub async fn log_is_at_rest(stack: &Stack, killed_at: Option<SystemTime>) {
    rests(stack, killed_at, Holes::None).await;
}

/// As [`log_is_at_rest`], where frames of runs that are over may be missing for good.
pub async fn log_is_at_rest_but_for_gaps(stack: &Stack, killed_at: Option<SystemTime>) {
    rests(stack, killed_at, Holes::OfEndedRuns).await;
}

/// What may be missing of a log at rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holes {
    None,
    OfEndedRuns,
}

async fn rests(stack: &Stack, killed_at: Option<SystemTime>, holes: Holes) {
    let may_be = if holes == Holes::OfEndedRuns { "state <> 'live'" } else { "false" };
    let postgres = Postgres::of(&stack.endpoints, stack.folder());
    let nodes = stack.endpoints.data_plane_urls.len();
    let killed_at = killed_at.map_or(0, |at| at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis());
    // The first 48 bits of a boot's id (UUIDv7) are the milliseconds at which it began.
    let began = "('x' || left(replace(boot::text, '-', ''), 12))::bit(48)::bigint";
    let at_rest = format!(
        "select (select count(distinct boot) from audit_source where state = 'live') = {nodes} \
         and ({killed_at} = 0 or exists (select from audit_source where state = 'live' and {began} > {killed_at})) \
         and not exists (select from audit_source where missing <> '{{}}' and not ({may_be})) \
         and not exists (select from audit_held) and not exists (select from audit_inbox) \
         and not exists (select from audit_open where state = 'open')"
    );
    let rests = async || {
        for url in &stack.endpoints.metrics_urls[..nodes] {
            if metric(url, "sluice_audit_uncommitted_bytes").await != Some(0) {
                return Some("a node's records have taken effect");
            }
        }
        (postgres.query(&at_rest).await != "t").then_some("every killed run of a node is over")
    };
    // What many rounds of kills leave behind takes its time; only a log that stands still has failed.
    let (mut size, mut grown) = (String::new(), Instant::now());
    while let Some(missing) = rests().await {
        let now = postgres.query("select coalesce(sum(size), 0) from audit_head").await;
        if now != size {
            (size, grown) = (now, Instant::now());
        }
        if grown.elapsed() >= REST {
            let why = "select json_build_object('sources', (select json_agg(s) from audit_source s where state = 'live' or missing <> '{}'), \
                       'shards', (select json_agg(s) from audit_shard s), 'held', (select count(*) from audit_held), \
                       'inbox', (select count(*) from audit_inbox), \
                       'open', (select json_agg(json_build_array(node, boot, state)) from audit_open where state = 'open'))";
            panic!("{missing}: the log has stood still for {} s: {}", REST.as_secs(), postgres.query(why).await);
        }
    }
}

/// The value of a metric, by its name and labels; `None` where it is not, or while nobody answers.
pub async fn metric(url: &str, name: &str) -> Option<u64> {
    let text = reqwest::get(url).await.ok()?.text().await.ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}
