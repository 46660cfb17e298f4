//! How many records a second one shard takes in: sends frames, then waits until the last is acknowledged.
//!
//! `DATABASE_URL=… REDIS_URL=… cargo run --release -p control-plane --example ingest_rate` (an empty database, a Redis
//! of its own).
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
use secrets::{MasterKey, Purpose};
use service::Drain;

/// Calls of a frame, an intent and a last word each.
const CALLS: usize = 60;
const FRAMES: u64 = 1000;

fn entries(clock: &Clock, tenants: &[TenantId], s: u64) -> Vec<Entry> {
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
    (0..CALLS)
        .flat_map(|place| {
            let (tenant, call) = (tenants[place % tenants.len()], CallId::new(clock));
            let n = s * 100 + place as u64;
            [
                Entry::Intent { tenant, call, n, body: record(tenant, call, None) },
                Entry::Final { tenant, call, n, had_intent: true, body: record(tenant, call, Some(Status::Success)) },
            ]
        })
        .collect()
}

#[tokio::main]
async fn main() {
    let clock = service::clock();
    let pool = store::connect(&std::env::var("DATABASE_URL").unwrap(), 8).await.unwrap();
    store::migrate(&pool).await.unwrap();
    let url = std::env::var("REDIS_URL").unwrap();
    let mut redis = service::redis::connect(&url).await.unwrap();
    let master = Arc::new(MasterKey::generate());
    let (frames, acks) = (master.sealer(Purpose::AuditFrame, "dep"), master.sealer(Purpose::AuditAck, "dep"));
    let source = Source { node: NodeId::new(&clock), boot: BootId::new(&clock), shard: 0 };
    let tenants: Vec<TenantId> = (0..10).map(|_| TenantId::new(&clock)).collect();
    for s in 1..=FRAMES {
        let plain = Frame { entries: entries(&clock, &tenants, s) }.to_bytes();
        let sealed = frames.seal(&frame::aad("dep", &source, s).parts(), &plain);
        let wire = frame::to_wire(&source, s, &sealed).to_vec();
        let () = redis.xadd(keys::audit(0), "*", &[(frame::FIELD, wire)]).await.unwrap();
    }
    let needs = Needs {
        pool,
        redis_url: url,
        deployment: "dep".to_owned(),
        master,
        checkpoints: Arc::new(secrets::SigningKey::generate()),
        clock,
        shards: 1,
        hold: HOLD,
        horizon: HORIZON,
        retention: "400".parse().unwrap(),
    };
    let (drain, began) = (Drain::new(), Instant::now());
    let metrics = ingest::spawn(&needs, &drain).unwrap();
    let aad = ack::aad("dep", &source);
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let sealed: Option<Vec<u8>> = redis.hget(keys::audit_ack(0), source.ack_field()).await.unwrap();
        let ack = sealed.map(|sealed| Ack::parse(&acks.open(&aad.parts(), &sealed).unwrap()).unwrap());
        if ack.is_some_and(|ack| ack.wm == FRAMES) {
            break;
        }
    }
    let (took, records) = (began.elapsed(), metrics.records.get());
    let rate = f64::from(u32::try_from(records).unwrap()) / took.as_secs_f64();
    println!(
        "{records} records of {FRAMES} frames in {took:.1?}: {rate:.0} records/s, {} commits",
        metrics.commits.get()
    );
    drain.finish(Duration::from_secs(5)).await.unwrap();
}
