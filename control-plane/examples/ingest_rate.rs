//! How many records a second one shard takes in, from frames in Redis to rows that are found: `ingest_rate SECONDS CALLS`
//! sends frames of so many calls each for so long, never more ahead than a node would be, and waits until the last is
//! acknowledged.
//!
//! `DATABASE_URL=… REDIS_URL=… cargo run --release -p control-plane --example ingest_rate -- 600 60` (an empty database, a
//! Redis of its own).
#![expect(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods, reason = "a measurement, run by hand")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use audit::ack::{self, Ack};
use audit::entry::Body;
use audit::words::{ActorKind, Effect, Kind, Status};
use audit::{Entry, Frame, Record, Source, frame};
use control_plane::ingest::{self, HOLD, HORIZON, Needs};
use domain::projection::keys;
use domain::{BootId, CallId, Clock, NodeId, RecordId, ServerId, TenantId};
use redis::AsyncCommands as _;
use secrets::{MasterKey, Purpose, Sealer};
use service::Drain;

/// Most calls sent and not yet acknowledged.
const AHEAD: u64 = 20_000;
/// A line is printed every so often.
const LINE: Duration = Duration::from_mins(1);

/// Of each call an intent and a last word.
fn entries(clock: &Clock, tenants: &[TenantId], s: u64, calls: u64) -> Vec<Entry> {
    let record = |tenant, call, status: Option<Status>| {
        let mut record = Record::new(RecordId::new(clock), Kind::Call, tenant, clock.now());
        (record.call_id, record.is_final, record.outcome.status) = (Some(call), status.is_some(), status);
        record.decision.effect = Some(Effect::Allow);
        (record.actor.kind, record.actor.id) = (Some(ActorKind::User), Some("usr_00000000000000000000000001".into()));
        record.server.id = Some(ServerId::new(clock));
        record.tool.name = Some("wiki__read_page".into());
        record.args.hmac = Some("hs256:0123456789abcdef:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into());
        record.trace.id = Some("0123456789abcdef0123456789abcdef".into());
        record.dur.total = Some(1500);
        Body { record: record.to_bytes().into(), private: None }
    };
    (s * calls..(s + 1) * calls)
        .flat_map(|n| {
            let tenant = tenants[usize::try_from(n).unwrap() % tenants.len()];
            let call = CallId::new(clock);
            [
                Entry::Intent { tenant, call, n, body: record(tenant, call, None) },
                Entry::Final { tenant, call, n, had_intent: true, body: record(tenant, call, Some(Status::Success)) },
            ]
        })
        .collect()
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>().unwrap());
    let (seconds, calls) = (arguments.next().unwrap_or(20), arguments.next().unwrap_or(60));
    let clock = service::clock();
    let pool = store::connect(&std::env::var("DATABASE_URL").unwrap(), 8).await.unwrap();
    store::migrate(&pool).await.unwrap();
    let url = std::env::var("REDIS_URL").unwrap();
    let mut redis = service::redis::connect(&url).await.unwrap();
    let master = Arc::new(MasterKey::generate());
    let (frames, acks) = (master.sealer(Purpose::AuditFrame, "dep"), master.sealer(Purpose::AuditAck, "dep"));
    let source = Source { node: NodeId::new(&clock), boot: BootId::new(&clock), shard: 0 };
    let tenants: Vec<TenantId> = (0..10).map(|_| TenantId::new(&clock)).collect();
    let needs = Needs {
        pool,
        redis_url: url,
        deployment: "dep".to_owned(),
        master,
        checkpoints: Arc::new(secrets::SigningKey::generate()),
        clock: clock.clone(),
        shards: 1,
        hold: HOLD,
        horizon: HORIZON,
        retention: "400".parse().unwrap(),
    };
    let drain = Drain::new();
    let metrics = ingest::spawn(&needs, &drain).unwrap();
    let (began, mut line, mut s) = (Instant::now(), Instant::now(), 0);
    let rate = |records: u64, took: Duration| f64::from(u32::try_from(records).unwrap()) / took.as_secs_f64();
    let mut counted = 0;
    while began.elapsed() < Duration::from_secs(seconds) {
        s += 1;
        let plain = Frame { entries: entries(&clock, &tenants, s, calls) }.to_bytes();
        let sealed = frames.seal(&frame::aad("dep", &source, s).parts(), &plain);
        let wire = frame::to_wire(&source, s, &sealed).to_vec();
        let () = redis.xadd(keys::audit(0), "*", &[(frame::FIELD, wire)]).await.unwrap();
        while s * calls > acknowledged(&mut redis, &acks, source).await * calls + AHEAD {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if line.elapsed() >= LINE {
            let records = metrics.records.get();
            println!("{:.0} records/s in the last minute", rate(records - counted, line.elapsed()));
            (line, counted) = (Instant::now(), records);
        }
    }
    while acknowledged(&mut redis, &acks, source).await < s {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (took, records) = (began.elapsed(), metrics.records.get());
    let commits = metrics.commits.get();
    println!("{records} records of {s} frames in {took:.1?}: {:.0} records/s, {commits} commits", rate(records, took));
    drain.finish(Duration::from_secs(5)).await.unwrap();
}

/// Up to which frame the owner has acknowledged.
async fn acknowledged(redis: &mut redis::aio::ConnectionManager, acks: &Sealer, source: Source) -> u64 {
    let sealed: Option<Vec<u8>> = redis.hget(keys::audit_ack(0), source.ack_field()).await.unwrap();
    let aad = ack::aad("dep", &source);
    sealed.map_or(0, |sealed| Ack::parse(&acks.open(&aad.parts(), &sealed).unwrap()).unwrap().wm)
}
