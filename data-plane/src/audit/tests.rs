//! The node's side against a Redis of its own, with acks written by hand.

mod disk;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use audit::ack::{self, StreamId};
use audit::entry::Entry;
use audit::frame::{self, FIELD, Frame, Source};
use audit::record::Outcome;
use audit::words::{Kind, Status};
use audit::{Ack, Columns, Record};
use domain::projection;
use domain::{BootId, Clock, NodeId, RecordId, TenantId};
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use redis::streams::StreamRangeReply;
use secrets::{MasterKey, Purpose};

use super::{AuditUnavailable, Condition, Keys, Recorder, Settings, SpoolMode, SpoolSettings, StartError};

const DEPLOYMENT: &str = "dep";

/// A `redis-server` of the test's own, empty at every start.
pub(crate) struct Redis {
    port: u16,
    child: Child,
}

impl Redis {
    fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    pub(crate) async fn start() -> Self {
        Self::start_at(Self::free_port()).await
    }

    async fn start_at(port: u16) -> Self {
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let redis = Self { port, child };
        let client = redis::Client::open(redis.url()).unwrap();
        eventually(async || client.get_multiplexed_async_connection().await.is_ok()).await;
        redis
    }

    pub(crate) fn url(&self) -> String {
        url(self.port)
    }

    pub(crate) async fn connection(&self) -> MultiplexedConnection {
        redis::Client::open(self.url()).unwrap().get_multiplexed_async_connection().await.unwrap()
    }

    pub(crate) fn stop(mut self) -> u16 {
        self.end();
        self.port
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.end();
    }
}

fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}/")
}

/// A folder that is removed with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("sluice-spool-{}", hex::encode(secrets::random::<8>()));
        Self(std::env::temp_dir().join(name))
    }

    fn spool(&self, mode: SpoolMode) -> SpoolSettings {
        SpoolSettings::new(self.0.clone(), mode)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Looks again and again until it holds, for at most ten seconds.
pub(crate) async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let look = async {
        let mut again = tokio::time::interval(Duration::from_millis(5));
        while !holds().await {
            again.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), look).await.unwrap();
}

/// A deployment's keys, a node and its tenant.
struct Place {
    master: MasterKey,
    clock: Clock,
    node: NodeId,
    tenant: TenantId,
}

impl Place {
    fn new() -> Self {
        let clock = service::clock::clock();
        Self { master: MasterKey::generate(), node: NodeId::new(&clock), tenant: TenantId::new(&clock), clock }
    }

    fn settings(&self, url: String, spool: Option<SpoolSettings>) -> Settings {
        Settings {
            shards: 1,
            spool,
            beat: Duration::from_hours(1),
            poll: Duration::from_millis(10),
            ..Settings::new(DEPLOYMENT.to_owned(), self.node, BootId::new(&self.clock), url)
        }
    }

    fn start(&self, settings: Settings) -> Result<Recorder, StartError> {
        let keys = Keys {
            frames: self.master.sealer(Purpose::AuditFrame, DEPLOYMENT),
            acks: self.master.sealer(Purpose::AuditAck, DEPLOYMENT),
        };
        Recorder::start(settings, keys, self.clock.clone())
    }

    fn record(&self) -> Record {
        Record::new(RecordId::new(&self.clock), Kind::Call, self.tenant, self.clock.now())
    }

    /// Every frame in the stream, in its order there.
    async fn frames(&self, connection: &mut MultiplexedConnection) -> Vec<(StreamId, Source, u64, Frame)> {
        let stream: StreamRangeReply = connection.xrange_all(projection::keys::audit(0)).await.unwrap();
        let keys = self.master.sealer(Purpose::AuditFrame, DEPLOYMENT);
        let open = |entry: redis::streams::StreamId| {
            let wire: Vec<u8> = entry.get(FIELD).unwrap();
            let (source, s, sealed) = frame::from_wire(&wire).unwrap();
            let plain = keys.open(&frame::aad(DEPLOYMENT, &source, s).parts(), sealed).unwrap();
            (entry.id.parse().unwrap(), source, s, Frame::parse(&plain.into()).unwrap())
        };
        stream.ids.into_iter().map(open).collect()
    }

    async fn entries(&self, connection: &mut MultiplexedConnection) -> Vec<Entry> {
        self.frames(connection).await.into_iter().flat_map(|(_, _, _, frame)| frame.entries).collect()
    }

    async fn ack(&self, connection: &mut MultiplexedConnection, source: &Source, ack: &Ack) {
        let keys = self.master.sealer(Purpose::AuditAck, DEPLOYMENT);
        let sealed = keys.seal(&ack::aad(DEPLOYMENT, source).parts(), &ack.to_bytes());
        let () = connection.hset(projection::keys::audit_ack(0), source.ack_field(), sealed).await.unwrap();
    }
}

fn ack_up_to(wm: u64, version: u64) -> Ack {
    Ack { epoch: 0, version, cursor: StreamId::default(), wm, missing: audit::Ranges::default() }
}

fn success() -> Outcome {
    Outcome { status: Some(Status::Success), ..Outcome::default() }
}

fn columns(entry: &Entry) -> Columns {
    match entry {
        Entry::Intent { body, .. } | Entry::Final { body, .. } | Entry::Note { body, .. } => {
            Columns::of(&body.record).unwrap()
        }
        other => panic!("{other:?} has no record"),
    }
}

#[tokio::test]
async fn a_call_is_an_intent_in_the_stream_and_then_its_outcome_under_one_number() {
    let (place, redis) = (Place::new(), Redis::start().await);
    let recorder = place.start(place.settings(redis.url(), None)).unwrap();
    let mut connection = redis.connection().await;

    let mut record = place.record();
    record.pii.client.ip = Some("192.0.2.7".into());
    let open = recorder.open(record).await.unwrap();
    let entries = place.entries(&mut connection).await;
    let Entry::Intent { tenant, call, n: 0, body } = &entries[0] else { panic!("{entries:?}") };
    assert_eq!((entries.len(), *tenant), (1, place.tenant));
    let private = body.private.clone().unwrap();
    let text = String::from_utf8(body.record.to_vec()).unwrap();
    assert!(text.contains(&audit::pii::commitment(&private.key, &private.pii)) && !text.contains("192.0.2.7"));

    open.finish(success());
    recorder.close(Duration::ZERO).await;
    let entries = place.entries(&mut connection).await;
    let Entry::Final { call: same, n: 0, had_intent: true, .. } = &entries[1] else { panic!("{entries:?}") };
    assert_eq!((same, &entries[2]), (call, &Entry::End));
    let columns = columns(&entries[1]);
    assert_eq!((columns.is_final, columns.n, columns.status.as_deref()), (true, Some(0), Some("success")));
    assert!(columns.dur_total.is_some());
}

#[tokio::test]
async fn a_call_that_is_dropped_anywhere_has_an_outcome() {
    let (place, redis) = (Place::new(), Redis::start().await);
    let recorder = place.start(place.settings(redis.url(), None)).unwrap();
    drop(recorder.open(place.record()).await.unwrap());
    {
        let mut waiting = Box::pin(recorder.open(place.record()));
        // Once polled, the intent is in line; then the client goes away.
        assert!(futures_util::poll!(&mut waiting).is_pending());
    }
    recorder.close(Duration::ZERO).await;
    let entries = place.entries(&mut redis.connection().await).await;
    let finals = entries.iter().filter(|entry| matches!(entry, Entry::Final { .. }));
    let statuses: Vec<_> = finals.map(|entry| columns(entry).status.unwrap()).collect();
    assert_eq!(statuses, ["cancelled", "cancelled"]);
}

#[tokio::test]
async fn numbers_have_no_holes_and_frames_arrive_in_order() {
    let (place, redis) = (Place::new(), Redis::start().await);
    let recorder = place.start(place.settings(redis.url(), None)).unwrap();
    let calls = (0..300).map(|_| async {
        recorder.open(place.record()).await.unwrap().finish(success());
    });
    futures_util::future::join_all(calls).await;
    recorder.note(place.record()).await.unwrap();
    recorder.close(Duration::ZERO).await;
    let frames = place.frames(&mut redis.connection().await).await;
    let numbers: Vec<u64> = frames.iter().map(|(_, _, s, _)| *s).collect();
    assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "{numbers:?}");
    assert!(numbers.len() < 200, "many calls share a frame: {}", numbers.len());
    let entries: Vec<Entry> = frames.into_iter().flat_map(|(_, _, _, frame)| frame.entries).collect();
    let new = entries.iter().filter_map(|entry| match entry {
        Entry::Intent { n, .. } | Entry::Final { n, had_intent: false, .. } => Some(*n),
        _ => None,
    });
    assert!(new.eq(0..301));
    assert_eq!(entries.iter().filter(|entry| matches!(entry, Entry::Final { .. })).count(), 301);
}

#[tokio::test]
async fn only_the_owners_ack_frees_a_frame() {
    let (place, redis) = (Place::new(), Redis::start().await);
    let settings = place.settings(redis.url(), None);
    let source = Source { node: place.node, boot: settings.boot, shard: 0 };
    let recorder = place.start(settings).unwrap();
    let mut connection = redis.connection().await;
    recorder.note(place.record()).await.unwrap();
    recorder.note(place.record()).await.unwrap();
    let held = || recorder.counters().uncommitted_bytes.get();
    let both = held();

    let forged = Place::new();
    forged.ack(&mut connection, &source, &ack_up_to(2, 9)).await;
    eventually(async || recorder.counters().acks_refused.get() > 0).await;
    assert_eq!(held(), both);

    let missing = [(1, 2)].into_iter().collect();
    place.ack(&mut connection, &source, &Ack { missing, ..ack_up_to(2, 1) }).await;
    eventually(async || held() < both).await;
    assert!(held() > 0, "a missing frame is not free");
    place.ack(&mut connection, &source, &ack_up_to(2, 2)).await;
    eventually(async || held() == 0).await;
}

#[tokio::test]
async fn a_frame_the_owner_has_read_past_without_effect_is_sent_again_byte_for_byte() {
    let (place, redis) = (Place::new(), Redis::start().await);
    let settings = place.settings(redis.url(), None);
    let source = Source { node: place.node, boot: settings.boot, shard: 0 };
    let recorder = place.start(settings).unwrap();
    let mut connection = redis.connection().await;
    recorder.note(place.record()).await.unwrap();
    let first = place.frames(&mut connection).await.remove(0);
    place.ack(&mut connection, &source, &Ack { cursor: first.0, ..ack_up_to(0, 1) }).await;
    eventually(async || recorder.counters().frames_resent.get() == 1).await;
    eventually(async || place.frames(&mut connection).await.len() == 2).await;
    let frames = place.frames(&mut connection).await;
    assert_eq!((frames[1].1, frames[1].2, &frames[1].3), (first.1, first.2, &first.3));
}

#[tokio::test]
async fn without_redis_and_spool_a_call_is_refused_in_time_and_its_refusal_recorded_later() {
    let place = Place::new();
    let port = Redis::free_port();
    let recorder = place.start(place.settings(url(port), None)).unwrap();
    let began = tokio::time::Instant::now();
    assert_eq!(recorder.open(place.record()).await.unwrap_err(), AuditUnavailable);
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(recorder.condition(), Condition::Refusing);

    let redis = Redis::start_at(port).await;
    let mut connection = redis.connection().await;
    eventually(async || place.entries(&mut connection).await.len() == 2).await;
    let entries = place.entries(&mut connection).await;
    assert!(matches!(entries[0], Entry::Intent { .. }));
    let columns = columns(&entries[1]);
    assert_eq!(
        (columns.status.as_deref(), columns.decision_code.as_deref()),
        (Some("denied"), Some("audit_unavailable"))
    );
    eventually(async || recorder.condition() == Condition::Well).await;
    recorder.open(place.record()).await.unwrap().finish(success());
}

#[tokio::test]
async fn while_redis_is_away_the_spool_takes_the_frames_and_redis_gets_them_later() {
    let (place, folder) = (Place::new(), Folder::new());
    let port = Redis::free_port();
    let settings = place.settings(url(port), Some(folder.spool(SpoolMode::Fallback)));
    let source = Source { node: place.node, boot: settings.boot, shard: 0 };
    let recorder = place.start(settings).unwrap();
    for _ in 0..3 {
        recorder.open(place.record()).await.unwrap().finish(success());
    }
    assert_eq!(recorder.condition(), Condition::Spooling);
    assert!(recorder.counters().frames_spooled.get() >= 3);

    let redis = Redis::start_at(port).await;
    let mut connection = redis.connection().await;
    eventually(async || place.entries(&mut connection).await.len() == 6).await;
    let frames = place.frames(&mut connection).await;
    assert!(frames.iter().map(|(_, _, s, _)| *s).eq(1..=frames.len() as u64));
    assert_eq!(recorder.condition(), Condition::Spooling, "until all that was spooled took effect");
    place.ack(&mut connection, &source, &ack_up_to(99, 1)).await;
    eventually(async || recorder.condition() == Condition::Well).await;
}

#[tokio::test]
async fn after_redis_lost_its_memory_every_uncommitted_frame_comes_again() {
    let (place, folder) = (Place::new(), Folder::new());
    let redis = Redis::start().await;
    let settings = place.settings(redis.url(), Some(folder.spool(SpoolMode::Fallback)));
    let source = Source { node: place.node, boot: settings.boot, shard: 0 };
    let recorder = place.start(settings).unwrap();
    let mut connection = redis.connection().await;
    let () = connection.set(projection::keys::audit_incarnation(0), "first").await.unwrap();
    for _ in 0..3 {
        recorder.open(place.record()).await.unwrap().finish(success());
    }
    eventually(async || place.entries(&mut connection).await.len() == 6).await;
    let before = place.frames(&mut connection).await;
    place.ack(&mut connection, &source, &ack_up_to(1, 1)).await;
    let all = recorder.counters().uncommitted_bytes.get();
    eventually(async || recorder.counters().uncommitted_bytes.get() < all).await;

    let redis = Redis::start_at(redis.stop()).await;
    let mut connection = redis.connection().await;
    let () = connection.set(projection::keys::audit_incarnation(0), "second").await.unwrap();
    recorder.open(place.record()).await.unwrap().finish(success());
    let last = before.last().unwrap().2;
    eventually(async || {
        let frames = place.frames(&mut connection).await;
        (2..=last).all(|s| frames.iter().any(|frame| frame.2 == s))
    })
    .await;
    let frames = place.frames(&mut connection).await;
    assert!(frames.iter().all(|frame| frame.2 != 1), "what took effect is not sent again");
}

#[test]
fn what_a_killed_node_had_spooled_is_sent_under_its_old_name_and_it_is_declared_dead() {
    let (place, folder) = (Place::new(), Folder::new());
    let port = Redis::free_port();
    let settings = place.settings(url(port), Some(folder.spool(SpoolMode::Always)));
    let old = Source { node: place.node, boot: settings.boot, shard: 0 };
    let killed = tokio::runtime::Runtime::new().unwrap();
    let (recorder, open) = killed.block_on(async {
        let recorder = place.start(settings).unwrap();
        let open = recorder.open(place.record()).await.unwrap();
        recorder.open(place.record()).await.unwrap().finish(success());
        eventually(async || recorder.counters().frames_spooled.get() >= 3).await;
        (recorder, open)
    });
    // Its tasks stop where they are, without a good-bye; what is formed afterwards reaches nobody.
    killed.shutdown_timeout(Duration::from_secs(5));
    drop((open, recorder));

    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let redis = Redis::start_at(port).await;
        let mut connection = redis.connection().await;
        // The first frame had taken effect.
        place.ack(&mut connection, &old, &ack_up_to(1, 1)).await;
        let settings = place.settings(url(port), Some(folder.spool(SpoolMode::Always)));
        let recorder = place.start(settings).unwrap();
        eventually(async || {
            let entries = place.entries(&mut connection).await;
            entries.iter().any(|entry| matches!(entry, Entry::Dead(_)))
        })
        .await;
        let frames = place.frames(&mut connection).await;
        let (dead, of_old): (Vec<_>, Vec<_>) = frames.iter().partition(|frame| frame.1 != old);
        assert_eq!(dead[0].3.entries, [Entry::Dead(vec![old.boot])]);
        assert!(of_old.iter().map(|frame| frame.2).eq(2..=of_old.len() as u64 + 1));
        assert!(of_old.iter().all(|frame| frame.0 < dead[0].0), "its frames come first");
        recorder.close(Duration::ZERO).await;
    });
}

#[tokio::test]
async fn one_process_at_a_time_has_a_nodes_spool() {
    let (place, folder) = (Place::new(), Folder::new());
    let settings = || place.settings(url(Redis::free_port()), Some(folder.spool(SpoolMode::Fallback)));
    let recorder = place.start(settings()).unwrap();
    assert!(matches!(place.start(settings()), Err(StartError::Spool(super::SpoolError::Locked(_)))));
    recorder.close(Duration::ZERO).await;
    drop(recorder);
    assert!(place.start(settings()).is_ok());
}

#[tokio::test]
async fn a_tenant_whose_share_of_the_spool_is_full_is_refused_and_no_other() {
    let (place, folder) = (Place::new(), Folder::new());
    let spool = SpoolSettings { tenant_max_bytes: 600, ..folder.spool(SpoolMode::Fallback) };
    let recorder = place.start(place.settings(url(Redis::free_port()), Some(spool))).unwrap();
    recorder.open(place.record()).await.unwrap().finish(success());
    recorder.note(place.record()).await.unwrap();
    assert_eq!(recorder.open(place.record()).await.unwrap_err(), AuditUnavailable);
    let other = Record { tenant: audit::record::Tenant::default(), ..place.record() };
    assert!(recorder.open(other).await.is_ok());
}

#[tokio::test]
async fn what_is_in_memory_is_bounded_whatever_kind_of_record_it_is() {
    const MOST: u64 = 20_000;
    let (place, redis) = (Place::new(), Redis::start().await);
    let settings = Settings { uncommitted_max: MOST, ..place.settings(redis.url(), None) };
    let source = Source { node: place.node, boot: settings.boot, shard: 0 };
    let recorder = place.start(settings).unwrap();
    let open = recorder.open(place.record()).await.unwrap();
    // Nothing is awaited, so nothing leaves the line meanwhile.
    while recorder.add(place.record()).is_ok() {
        assert!(recorder.counters().memory_bytes() < MOST + 2_000);
    }
    assert_eq!(recorder.note(place.record()).await, Err(AuditUnavailable));
    assert_eq!(recorder.open(place.record()).await.unwrap_err(), AuditUnavailable);
    assert_eq!(recorder.condition(), Condition::Refusing);
    // A call that has begun has its outcome all the same.
    open.finish(success());

    let mut connection = redis.connection().await;
    eventually(async || recorder.counters().waiting_bytes.get() == 0).await;
    place.ack(&mut connection, &source, &ack_up_to(99, 1)).await;
    eventually(async || recorder.counters().memory_bytes() == 0).await;
    assert_eq!(recorder.add(place.record()), Ok(()));
    recorder.close(Duration::ZERO).await;
    let entries = place.entries(&mut connection).await;
    assert!(entries.iter().any(|entry| matches!(entry, Entry::Final { had_intent: true, .. })));
    let notes = entries.iter().filter_map(|entry| match entry {
        Entry::Note { body, .. } => Some(String::from_utf8(body.record.to_vec()).unwrap()),
        _ => None,
    });
    let notes: Vec<String> = notes.collect();
    assert!(notes.len() == 1 && notes[0].contains(r#""count":3,"decision":{"code":"audit_unavailable""#), "{notes:?}");
}

#[tokio::test]
async fn refused_requests_are_one_record_per_reason() {
    let (place, redis) = (Place::new(), Redis::start().await);
    let recorder = place.start(place.settings(redis.url(), None)).unwrap();
    for _ in 0..5 {
        recorder.refused(place.tenant, "bad_token");
    }
    recorder.close(Duration::ZERO).await;
    let entries = place.entries(&mut redis.connection().await).await;
    let Entry::Note { tenant, body, .. } = &entries[0] else { panic!("{entries:?}") };
    let text = String::from_utf8(body.record.to_vec()).unwrap();
    assert_eq!((entries.len(), *tenant), (2, place.tenant));
    assert!(text.contains(r#""count":5,"decision":{"code":"bad_token","effect":"deny""#), "{text}");
    assert!(text.contains(r#""final":false"#));
}
