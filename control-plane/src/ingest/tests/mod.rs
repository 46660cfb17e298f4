//! The owner against a real Postgres, and over a real Redis.

mod callers;
mod draining;
mod epochs;
mod frames;
mod log;
mod over_redis;
mod retention;
mod signing;

use std::collections::BTreeMap;
use std::sync::Arc;

use audit::ack::StreamId;
use audit::entry::{Body, Private};
use audit::words::{ActorKind, Effect, Kind, Status};
use audit::{Entry, Frame, Record, Source, frame};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use domain::{BootId, CallId, Clock, NodeId, RecordId, ServerId, TenantId, TokenId};
use secrets::{MasterKey, SigningKey};
use serde_json::Value;
use sqlx::PgPool;
use store::audit::{search, shard};
use store::{IngestTx, TenantTx};
use uuid::Uuid;

use super::arrival::{self, Incoming, Judged, Payload};
use super::commit::{Committed, INBOX_MAX, LEASE, Plan, commit};
use super::placing::Caches;
use super::{HOLD, HORIZON, Means, Metrics, Needs};

pub(super) const SHARD: u16 = 0;

pub(super) fn clock() -> Clock {
    service::clock::clock()
}

pub(super) fn needs(pool: &PgPool, redis_url: &str) -> Needs {
    Needs {
        pool: pool.clone(),
        redis_url: redis_url.to_owned(),
        deployment: "dep_test".to_owned(),
        master: Arc::new(MasterKey::generate()),
        checkpoints: Arc::new(SigningKey::generate()),
        clock: clock(),
        shards: 1,
        hold: HOLD,
        horizon: HORIZON,
        retention: "400".parse().unwrap(),
    }
}

/// A run of a node that sends frames to shard 0.
pub(super) fn source() -> Source {
    Source { node: NodeId::new(&clock()), boot: BootId::new(&clock()), shard: SHARD }
}

pub(super) fn tenant() -> TenantId {
    TenantId::new(&clock())
}

pub(super) fn call() -> CallId {
    CallId::new(&clock())
}

/// A record of a call, its outcome as given.
pub(super) fn record(tenant: TenantId, call: CallId, status: Option<Status>) -> Record {
    let mut record = Record::new(RecordId::new(&clock()), Kind::Call, tenant, clock().now());
    record.call_id = Some(call);
    record.is_final = status.is_some();
    record.outcome.status = status;
    record.decision.effect = Some(Effect::Allow);
    (record.actor.kind, record.actor.id) = (Some(ActorKind::User), Some("usr_ada".into()));
    record.actor.token_id = Some(TokenId::from_uuid(Uuid::from_u128(5)));
    record.server.id = Some(ServerId::from_uuid(Uuid::from_u128(6)));
    record.tool.name = Some("wiki__read".into());
    record.dur.total = Some(1500);
    record
}

pub(super) fn body(record: &Record) -> Body {
    Body { record: record.to_bytes().into(), private: None }
}

pub(super) fn intent(tenant: TenantId, call: CallId) -> Entry {
    Entry::Intent { tenant, call, n: 1, body: body(&record(tenant, call, None)) }
}

/// The last word on a call that had an intent.
pub(super) fn last(tenant: TenantId, call: CallId) -> Entry {
    Entry::Final { tenant, call, n: 1, had_intent: true, body: body(&record(tenant, call, Some(Status::Success))) }
}

/// The last word on a call that was denied before anything was formed of it.
pub(super) fn denied(tenant: TenantId, call: CallId) -> Entry {
    Entry::Final { tenant, call, n: 1, had_intent: false, body: body(&record(tenant, call, Some(Status::Denied))) }
}

/// A frame as it stands in the stream.
pub(super) fn wire(means: &Means, source: Source, s: u64, entries: Vec<Entry>) -> Bytes {
    wire_of(means, source, s, &Frame { entries }.to_bytes())
}

pub(super) fn wire_of(means: &Means, source: Source, s: u64, plain: &[u8]) -> Bytes {
    let aad = frame::aad(&means.needs.deployment, &source, s);
    frame::to_wire(&source, s, &means.frames.seal(&aad.parts(), plain))
}

/// An owner whose turns the test takes itself.
pub(super) struct Bench {
    pub(super) means: Means,
    caches: Caches,
    pub(super) fence: i64,
    next_id: u64,
}

impl Bench {
    pub(super) async fn new(pool: &PgPool) -> Self {
        let means = Means::new(&needs(pool, "redis://nowhere"), Arc::new(Metrics::default()));
        let caches = Caches::new(&means);
        let mut bench = Self { means, caches, fence: 0, next_id: 1 };
        bench.fence = bench.acquire().await.unwrap();
        bench
    }

    /// Takes the shard over, whoever has it.
    pub(super) async fn acquire(&self) -> Option<i64> {
        let mut tx = IngestTx::begin(&self.means.needs.pool, SHARD).await.unwrap();
        shard::add(&mut tx, SHARD).await.unwrap();
        let owner = Uuid::from_u128(1);
        let row = shard::acquire(&mut tx, SHARD, owner, LEASE).await.unwrap();
        tx.commit().await.unwrap();
        row.map(|row| row.fence)
    }

    pub(super) fn judge(&mut self, what: Payload) -> Judged {
        self.next_id += 1;
        arrival::judge(&self.means, SHARD, Incoming { id: StreamId(self.next_id, 0), what }).unwrap()
    }

    pub(super) fn frame(&mut self, source: Source, s: u64, entries: Vec<Entry>) -> Judged {
        let wire = wire(&self.means, source, s, entries);
        self.judge(Payload::Frame(wire))
    }

    pub(super) fn tick(&mut self, fence: i64, tick: u64) -> Judged {
        let sealed = arrival::seal_tick(&self.means, SHARD, fence.cast_unsigned(), tick);
        self.judge(Payload::Tick(sealed.into()))
    }

    /// Commits; `None` when fenced.
    pub(super) async fn try_commit(&mut self, batch: &[Judged]) -> Option<Committed> {
        let plan = Plan { inbox: INBOX_MAX, ..Plan::default() };
        commit(&self.means, &mut self.caches, (SHARD, self.fence), batch, &plan).await.unwrap()
    }

    /// Commits as a plan says.
    pub(super) async fn commit_as(&mut self, batch: &[Judged], plan: &Plan) -> Committed {
        commit(&self.means, &mut self.caches, (SHARD, self.fence), batch, plan).await.unwrap().unwrap()
    }

    pub(super) async fn commit(&mut self, batch: &[Judged]) -> Committed {
        self.try_commit(batch).await.unwrap()
    }

    /// One frame in a transaction of its own.
    pub(super) async fn take(&mut self, source: Source, s: u64, entries: Vec<Entry>) -> Committed {
        let judged = self.frame(source, s, entries);
        self.commit(&[judged]).await
    }

    /// Lets time pass, tick by tick, in one batch.
    pub(super) async fn pass(&mut self, from: u64, ticks: u64) {
        let ticks: Vec<Judged> = (from + 1..=from + ticks).map(|tick| self.tick(self.fence, tick)).collect();
        self.commit(&ticks).await;
    }
}

/// A tenant's log, in order, parsed.
pub(super) async fn log(pool: &PgPool, tenant: TenantId) -> Vec<Value> {
    let mut tx = TenantTx::begin(pool, tenant).await.unwrap();
    let leaves = search::leaves(&mut tx, 1, 0, 10_000).await.unwrap();
    assert!(leaves.iter().map(|leaf| leaf.seq).eq(0..i64::try_from(leaves.len()).unwrap()), "the log has no holes");
    leaves.iter().map(|leaf| serde_json::from_slice(&leaf.body).unwrap()).collect()
}

/// A log in words: each record's kind, `!` when it is final, and its status.
pub(super) async fn told(pool: &PgPool, tenant: TenantId) -> Vec<String> {
    let word = |record: &Value| {
        let last = if record["final"] == true { "!" } else { "" };
        let status = record["outcome"]["status"].as_str().map(|status| format!(" {status}"));
        format!("{}{last}{}", record["kind"].as_str().unwrap(), status.unwrap_or_default())
    };
    log(pool, tenant).await.iter().map(word).collect()
}

/// How often each call has a last word in a tenant's log.
pub(super) async fn last_words(pool: &PgPool, tenant: TenantId) -> BTreeMap<String, usize> {
    let mut words = BTreeMap::new();
    for record in log(pool, tenant).await.iter().filter(|record| record["final"] == true) {
        *words.entry(record["call_id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    words
}

pub(super) async fn count(pool: &PgPool, sql: &'static str) -> i64 {
    let mut tx = pool.begin_with("begin; set local role sluice_ingest").await.unwrap();
    sqlx::query_scalar(sql).fetch_one(&mut *tx).await.unwrap()
}

pub(super) fn private() -> Private {
    Private { key: [7; 32], pii: Bytes::from_static(br#"{"actor":{"email":"ada@example.org"}}"#) }
}

pub(super) fn long_ago(days: i64) -> DateTime<Utc> {
    clock().now() - chrono::Duration::days(days)
}
