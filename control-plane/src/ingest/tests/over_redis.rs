//! Owners as they run: reading a real stream, killed, emptied, two at once.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use audit::ack::{self, Ack, StreamId};
use audit::{Entry, Source, frame};
use domain::projection::keys;
use domain::{CallId, TenantId};
use redis::AsyncCommands as _;
use redis::aio::ConnectionManager;
use sqlx::PgPool;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::super::owner::Owner;
use super::super::stream::{ENTRIES_MAX, Stream};
use super::{Means, Metrics, Needs, SHARD, body, call, count, denied, intent, last, last_words, log, needs, record};
use super::{source, tenant, told, wire, wire_of};

/// A Redis of one's own, ended with the test.
struct Redis {
    child: Child,
    url: String,
}

impl Redis {
    async fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let redis = Self { child, url: format!("redis://127.0.0.1:{port}/") };
        within(async || service::redis::connect(&redis.url).await.is_ok()).await;
        redis
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until it is so, at most 30 s.
pub(super) async fn within(mut is_so: impl AsyncFnMut() -> bool) {
    let mut turns = tokio::time::interval(Duration::from_millis(20));
    let asked = async {
        while !is_so().await {
            turns.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asked).await.expect("in time");
}

/// A deployment with one shard, its stream and its database.
pub(super) struct House {
    redis: Redis,
    pub(super) means: Means,
    pub(super) connection: ConnectionManager,
}

/// An owner in a task; dropping it kills it wherever it is.
pub(super) struct Running {
    pub(super) task: JoinHandle<()>,
    pub(super) stop: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl House {
    pub(super) async fn new(pool: &PgPool) -> Self {
        let redis = Redis::start().await;
        let needs = Needs { ..needs(pool, &redis.url) };
        let means = Means::new(&needs, Arc::new(Metrics::default()));
        let connection = service::redis::connect(&redis.url).await.unwrap();
        Self { redis, means, connection }
    }

    pub(super) fn start(&self, process: u128) -> Running {
        let stop = CancellationToken::new();
        let owner = Owner::new(self.means.clone(), SHARD, Uuid::from_u128(process));
        let begun = stop.clone();
        Running { task: tokio::spawn(async move { owner.run(&begun).await }), stop }
    }

    pub(super) async fn send(&mut self, source: Source, s: u64, entries: Vec<Entry>) {
        let wire = wire(&self.means, source, s, entries).to_vec();
        let () = self.connection.xadd(keys::audit(SHARD), "*", &[(frame::FIELD, wire)]).await.unwrap();
    }

    async fn ack(&mut self, source: Source) -> Option<Ack> {
        let sealed: Option<Vec<u8>> = self.connection.hget(keys::audit_ack(SHARD), source.ack_field()).await.unwrap();
        let aad = ack::aad(&self.means.needs.deployment, &source);
        sealed.map(|sealed| Ack::parse(&self.means.acks.open(&aad.parts(), &sealed).unwrap()).unwrap())
    }

    pub(super) async fn acked(&mut self, source: Source, s: u64) {
        within(async || self.ack(source).await.is_some_and(|ack| ack.wm >= s)).await;
    }
}

fn calls(count: usize) -> Vec<CallId> {
    (0..count).map(|_| call()).collect()
}

async fn each_has_one_last_word(pool: &PgPool, tenant: TenantId, calls: &[CallId]) {
    let words = last_words(pool, tenant).await;
    assert_eq!(words.len(), calls.len());
    assert!(words.values().all(|count| *count == 1), "{words:?}");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_is_sent_is_logged_and_acknowledged(pool: PgPool) {
    let (mut house, source, tenant) = (House::new(&pool).await, source(), tenant());
    let _owner = house.start(1);
    let call = call();
    house.send(source, 1, vec![intent(tenant, call)]).await;
    house.send(source, 2, vec![last(tenant, call)]).await;
    house.acked(source, 2).await;
    assert_eq!(told(&pool, tenant).await, ["call! success"]);
    let ack = house.ack(source).await.unwrap();
    assert!(ack.cursor > StreamId::default() && ack.version > 0 && ack.missing.is_empty());
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_frame_of_a_later_release_waits_for_the_upgrade_and_what_came_before_does_not(pool: PgPool) {
    let (mut house, source, tenant) = (House::new(&pool).await, source(), tenant());
    let _owner = house.start(1);
    house.send(source, 1, vec![denied(tenant, call())]).await;
    let later = wire_of(&house.means, source, 2, &[9, 1, 2, 3]).to_vec();
    let () = house.connection.xadd(keys::audit(SHARD), "*", &[(frame::FIELD, later)]).await.unwrap();
    house.acked(source, 1).await;
    // It is read again and again, and whoever knows it may take the shard in between.
    let fence = async || count(&pool, "select fence from audit_shard").await;
    let before = fence().await;
    within(async || fence().await > before + 2).await;
    assert_eq!(house.ack(source).await.unwrap().wm, 1);
    assert_eq!(told(&pool, tenant).await, ["call! denied"]);
    assert_eq!(count(&pool, "select count(*) from audit_quarantine").await, 0);
    let waiting: u64 = house.connection.xlen(keys::audit(SHARD)).await.unwrap();
    assert!(waiting >= 1, "it is not trimmed");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn an_owner_killed_again_and_again_gives_each_call_one_last_word(pool: PgPool) {
    let (mut house, source, tenant) = (House::new(&pool).await, source(), tenant());
    let calls = calls(40);
    let mut s = 0;
    for (round, part) in (1..).zip(calls.chunks(10)) {
        let owner = house.start(7);
        for call in part {
            house.send(source, s + 1, vec![intent(tenant, *call)]).await;
            house.send(source, s + 2, vec![last(tenant, *call)]).await;
            s += 2;
        }
        // Somewhere in the middle of this round's work.
        within(async || !log(&pool, tenant).await.is_empty() && log(&pool, tenant).await.len() >= round).await;
        drop(owner);
    }
    let _owner = house.start(7);
    house.acked(source, s).await;
    each_has_one_last_word(&pool, tenant, &calls).await;
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn an_emptied_redis_gets_a_new_name_and_what_is_sent_again_counts_once(pool: PgPool) {
    let (mut house, source, tenant) = (House::new(&pool).await, source(), tenant());
    let _owner = house.start(1);
    let calls = calls(3);
    house.send(source, 1, vec![denied(tenant, calls[0])]).await;
    house.acked(source, 1).await;
    let name: String = house.connection.get(keys::audit_incarnation(SHARD)).await.unwrap();
    house.send(source, 2, vec![denied(tenant, calls[1])]).await;
    let () = redis::cmd("FLUSHALL").query_async(&mut house.connection).await.unwrap();
    within(async || {
        let now: Option<String> = house.connection.get(keys::audit_incarnation(SHARD)).await.unwrap();
        now.is_some_and(|now| now != name)
    })
    .await;
    for s in 1..=3 {
        house.send(source, s, vec![denied(tenant, calls[usize::try_from(s).unwrap() - 1])]).await;
    }
    house.acked(source, 3).await;
    each_has_one_last_word(&pool, tenant, &calls).await;
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn of_two_owners_one_commits_and_the_other_takes_over(pool: PgPool) {
    let (mut house, source, tenant) = (House::new(&pool).await, source(), tenant());
    let (first, second) = (house.start(1), house.start(2));
    let calls = calls(2);
    house.send(source, 1, vec![denied(tenant, calls[0])]).await;
    house.acked(source, 1).await;
    let owner: Option<Uuid> = owner_of(&pool).await;
    let (leaving, _staying) = if owner == Some(Uuid::from_u128(1)) { (first, second) } else { (second, first) };
    leaving.stop.cancel();
    within(async || owner_of(&pool).await != owner).await;
    house.send(source, 2, vec![denied(tenant, calls[1])]).await;
    house.acked(source, 2).await;
    each_has_one_last_word(&pool, tenant, &calls).await;
    assert_eq!(count(&pool, "select fence from audit_shard").await, 2);
}

async fn owner_of(pool: &PgPool) -> Option<Uuid> {
    let mut tx = pool.begin_with("begin; set local role sluice_ingest").await.unwrap();
    sqlx::query_scalar("select owner from audit_shard").fetch_one(&mut *tx).await.unwrap()
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_record_the_database_refuses_holds_up_no_other(pool: PgPool) {
    let (mut house, source, tenant) = (House::new(&pool).await, source(), tenant());
    let calls = calls(6);
    let twin = body(&record(tenant, call(), None));
    let twins = vec![
        Entry::Note { tenant, n: 1, body: twin.clone() },
        // The same record again: its key is taken.
        Entry::Note { tenant, n: 2, body: twin },
    ];
    for (s, call) in (1..).zip(&calls[..3]) {
        house.send(source, s, vec![denied(tenant, *call)]).await;
    }
    house.send(source, 4, twins).await;
    for (s, call) in (5..).zip(&calls[3..]) {
        house.send(source, s, vec![denied(tenant, *call)]).await;
    }
    let _owner = house.start(1);
    house.acked(source, 7).await;
    each_has_one_last_word(&pool, tenant, &calls).await;
    assert_eq!(told(&pool, tenant).await.iter().filter(|kind| *kind == "gap").count(), 1);
    assert_eq!(count(&pool, "select count(*) from audit_quarantine where reason = 'not_storable'").await, 1);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_postgres_that_went_back_is_brought_up_again_and_acknowledged_anew(pool: PgPool) {
    let (mut house, source, tenant) = (House::new(&pool).await, source(), tenant());
    let calls = calls(2);
    let owner = house.start(1);
    for (s, call) in (1..).zip(&calls) {
        house.send(source, s, vec![denied(tenant, *call)]).await;
    }
    house.acked(source, 2).await;
    let before = house.ack(source).await.unwrap();
    drop(owner);
    // As if restored to the state before both frames.
    let back = "begin; set local role sluice_ingest; delete from audit_source; delete from audit_source_last;
         delete from audit_tile; delete from audit_head; update audit_shard set version = 0;
         reset role; set local role sluice; alter table audit_record no force row level security;
         delete from audit_record; alter table audit_record force row level security; commit";
    sqlx::raw_sql(back).execute(&pool).await.unwrap();
    assert_eq!(told(&pool, tenant).await.len(), 0);
    let _owner = house.start(1);
    within(async || house.ack(source).await.is_some_and(|ack| ack.epoch > before.epoch && ack.wm == 2)).await;
    each_has_one_last_word(&pool, tenant, &calls).await;
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_took_effect_is_dropped_from_the_stream_after_the_hold(pool: PgPool) {
    let mut house = House::new(&pool).await;
    for s in 1..=3 {
        house.send(source(), s, vec![Entry::Beat]).await;
    }
    let mut stream = Stream::connect(&house.means, SHARD).await.unwrap();
    let second = stream.read(StreamId::default(), ENTRIES_MAX).await.unwrap().entries[1].id;
    stream.trim(second).await.unwrap();
    assert_eq!(
        stream.read(StreamId::default(), ENTRIES_MAX).await.unwrap().entries.len(),
        3,
        "the hold is ten minutes"
    );
    house.means.needs.hold = Duration::ZERO;
    let mut stream = Stream::connect(&house.means, SHARD).await.unwrap();
    // The whole millisecond stays.
    stream.trim(StreamId(second.0 + 1, 0)).await.unwrap();
    assert!(
        stream.read(StreamId::default(), ENTRIES_MAX).await.unwrap().entries.iter().all(|entry| entry.id.0 > second.0)
    );
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_waits_is_read_by_the_hundreds_and_large_frames_are_few(pool: PgPool) {
    let mut house = House::new(&pool).await;
    let source = source();
    for s in 1..=1500 {
        house.send(source, s, vec![Entry::Beat]).await;
    }
    let mut stream = Stream::connect(&house.means, SHARD).await.unwrap();
    // Each needs as many round trips as it needs: how long they take is the machine's.
    let gather = Duration::MAX;
    let first = stream.read_within(gather, StreamId::default(), ENTRIES_MAX).await.unwrap();
    assert_eq!((first.entries.len(), first.is_all), (1024, false));
    let rest = stream.read_within(gather, first.entries.last().unwrap().id, ENTRIES_MAX).await.unwrap();
    assert_eq!((rest.entries.len(), rest.is_all), (476, true));
    let mut redis = service::redis::connect(&house.means.needs.redis_url).await.unwrap();
    let large = vec![0_u8; 256 * 1024];
    for _ in 0..100 {
        let key = domain::projection::keys::audit(SHARD);
        let () = redis::AsyncCommands::xadd(&mut redis, key, "*", &[(audit::frame::FIELD, &large)]).await.unwrap();
    }
    let large = stream.read_within(gather, rest.entries.last().unwrap().id, ENTRIES_MAX).await.unwrap();
    assert_eq!((large.entries.len(), large.is_all), (32, false), "two MiB are enough for a commit");
    // Nothing is gathered for longer than it may be.
    let at_once = stream.read_within(Duration::ZERO, StreamId::default(), ENTRIES_MAX).await.unwrap();
    assert_eq!((at_once.entries.len(), at_once.is_all), (32, false));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn changes_are_recorded_while_redis_is_away(pool: PgPool) {
    let (mut house, tenant) = (House::new(&pool).await, tenant());
    let _owner = house.start(1);
    within(async || count(&pool, "select count(*) from audit_shard where version > 0").await > 0).await;
    house.redis.child.kill().unwrap();
    let mut tx = store::TenantTx::begin(&pool, tenant).await.unwrap();
    let change = crate::ingest::change::Change::new("server.add", "server", "srv_1");
    let actor = crate::ingest::change::Actor::System;
    crate::ingest::change::record(&mut tx, &super::clock(), &actor, change).await.unwrap();
    tx.commit().await.unwrap();
    within(async || told(&pool, tenant).await == ["admin"]).await;
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn an_owner_stopped_inside_its_transaction_is_ended_by_its_successor(pool: PgPool) {
    let (mut house, source, tenant) = (House::new(&pool).await, source(), tenant());
    let mut stopped = store::IngestTx::begin(&pool, SHARD).await.unwrap();
    store::audit::shard::add(&mut stopped, SHARD).await.unwrap();
    stopped.commit().await.unwrap();
    // Longer than any time-out of ours but the successor's own.
    let stopped = "begin; set local role sluice_ingest; set local application_name = 'audit-owner-0';
        select * from audit_shard for update";
    let mut stopped = pool.begin_with(stopped).await.unwrap();
    let _owner = house.start(1);
    let call = call();
    house.send(source, 1, vec![denied(tenant, call)]).await;
    house.acked(source, 1).await;
    each_has_one_last_word(&pool, tenant, &[call]).await;
    assert!(sqlx::query("select 1").execute(&mut *stopped).await.is_err(), "its session was ended");
}
