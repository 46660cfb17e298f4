//! Who sends: one at a time, and nobody for one tenant alone.

use std::time::Duration;

use control_plane::sinks::{Means, Metrics};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde_json::json;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use store::lanes::{self, Claim, Kind, Room};
use store::{PlatformTx, TenantTx};
use uuid::Uuid;

use super::receiver::{How, Receiver};
use super::{MEMORY, grow, webhook, worker_counting, worker_with};
use crate::app::App;

const LEASE: Duration = Duration::from_mins(1);
const PATIENT: Duration = Duration::from_secs(30);

async fn claim(pool: &PgPool, per_tenant: u32) -> Vec<Claim> {
    let mut tx = PlatformTx::begin(pool).await.unwrap();
    let room = Room { free: 100, per_tenant };
    let claims = lanes::claim(&mut tx, Uuid::from_u128(1), room, LEASE).await.unwrap();
    tx.commit().await.unwrap();
    claims
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn who_held_a_replay_that_was_ended_does_not_hold_the_next_one(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let path = webhook(&app, &owner, "hook", "https://siem.example/hook").await;
    grow(&pool, &owner, "call", 5).await;
    let replay = format!("{path}/replay");
    let mut held = Vec::new();
    for seq in [3, 1] {
        app.post(&owner, &replay, json!({"seq": seq})).await.expect(202);
        held.extend(claim(&pool, 100).await.into_iter().filter(|claim| claim.kind == Kind::Replay));
        if seq == 3 {
            app.delete(&owner, &replay).await.expect(204);
        }
    }
    let [old, new] = held[..] else { panic!("{held:?}") };
    let mut tx = TenantTx::begin(&pool, owner.tenant).await.unwrap();
    assert!(!lanes::pend(&mut tx, old, (4, 1), LEASE).await.unwrap());
    assert!(!lanes::advance(&mut tx, old, (1, 5), None).await.unwrap());
    assert!(!lanes::finish(&mut tx, old).await.unwrap());
    assert!(lanes::hold(&mut tx, old, LEASE).await.unwrap().is_none());
    let lane = lanes::hold(&mut tx, new, LEASE).await.unwrap().unwrap();
    assert_eq!((lane.next, lane.pending), (1, None));
    assert!(lanes::finish(&mut tx, new).await.unwrap());
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_tenant_with_many_lanes_leaves_room_for_others_and_what_waits_is_seen(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let stranger = app.stranger(&owner).await;
    for number in 0..4 {
        webhook(&app, &owner, &format!("hook {number}"), "https://siem.example/hook").await;
    }
    webhook(&app, &stranger, "hook", "https://siem.example/hook").await;
    grow(&pool, &owner, "call", 7).await;
    let held = claim(&pool, 2).await;
    assert_eq!(held.iter().map(|claim| claim.tenant).collect::<Vec<_>>(), [owner.tenant, owner.tenant]);
    grow(&pool, &stranger, "call", 1).await;
    let held = claim(&pool, 2).await;
    assert_eq!(held.iter().map(|claim| claim.tenant).collect::<Vec<_>>(), [stranger.tenant]);
    assert!(claim(&pool, 2).await.is_empty());
    // Two of them are nobody's, and are behind all the same.
    let mut tx = PlatformTx::begin(&pool).await.unwrap();
    lanes::note_waiting(&mut tx).await.unwrap();
    let behind = lanes::behind(&mut tx).await.unwrap();
    assert_eq!(behind.iter().map(|one| one.2).sum::<u64>(), 4 * 7 + 1);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_batch_that_was_long_in_the_making_is_sent_by_nobody_else(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    webhook(&app, &owner, "hook", "https://siem.example/hook").await;
    grow(&pool, &owner, "call", 5).await;
    let [held] = claim(&pool, 1).await[..] else { panic!("one lane") };
    let mut tx = TenantTx::begin(&pool, owner.tenant).await.unwrap();
    // By now its lease is over, but nobody came.
    lanes::hold(&mut tx, held, Duration::ZERO).await.unwrap().unwrap();
    assert!(lanes::pend(&mut tx, held, (4, 1), LEASE).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(claim(&pool, 1).await, []);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn who_wants_nothing_of_a_log_that_grows_is_not_behind(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let path = webhook(&app, &owner, "hook", "https://siem.example/hook").await;
    grow(&pool, &owner, "call", 8).await;
    let [claim] = claim(&pool, 1).await[..] else { panic!("one lane") };
    // It was taken two hours ago, and the log has not stood still since.
    let mut tx = pool.begin_with("begin; set local role sluice_platform").await.unwrap();
    sqlx::query("update destination_lanes set behind_since = now() - interval '2 hours'")
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let mut tx = TenantTx::begin(&pool, owner.tenant).await.unwrap();
    assert!(lanes::advance(&mut tx, claim, (1, 5), Some(app.parts.clock.now())).await.unwrap());
    tx.commit().await.unwrap();
    let progress = app.get(&owner, &path).await.expect(200).json()["progress"].clone();
    assert_eq!(progress["lag_records"], 3);
    assert!(progress["lag_seconds"].as_u64() < Some(60), "{progress:#}");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn sending_needs_no_connection_that_is_anybody_elses(pool: PgPool) {
    let (app, receiver) = (App::new(&pool).await, Receiver::new().await);
    let owner = app.owner().await;
    for number in 0..8 {
        webhook(&app, &owner, &format!("hook {number}"), &receiver.url).await;
    }
    grow(&pool, &owner, "call", 5).await;
    let own = PgPoolOptions::new().max_connections(1).connect_with((*pool.connect_options()).clone()).await.unwrap();
    let mut all = Vec::new();
    while all.len() < pool.options().get_max_connections() as usize {
        all.push(pool.acquire().await.unwrap());
    }
    let _drain = worker_with(&app, PATIENT, Means { pool: own.clone(), memory: MEMORY });
    receiver.has(8 * 5).await;
    drop(all);
    // And the other way: those who are sent to wait, and nobody else does.
    let held = own.acquire().await.unwrap();
    grow(&pool, &owner, "call", 5).await;
    app.get(&owner, &format!("{}/audit/destinations", owner.path())).await.expect(200);
    assert_eq!(receiver.places().len(), 8 * 5);
    drop(held);
    receiver.has(8 * 10).await;
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn no_more_is_held_than_there_is_memory_for(pool: PgPool) {
    let (app, receiver) = (App::new(&pool).await, Receiver::new().await);
    let owner = app.owner().await;
    for number in 0..4 {
        webhook(&app, &owner, &format!("hook {number}"), &receiver.url).await;
    }
    grow(&pool, &owner, "call", 5).await;
    receiver.then(&[How::TakeWhenTold; 4]);
    // Room for one batch, however small.
    let (mut registry, means) = (Registry::default(), Means { pool: pool.clone(), memory: 1 });
    let _drain = worker_counting(&app, PATIENT, means, Metrics::register(&mut registry));
    let waiting = || {
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text.lines().find_map(|line| line.strip_prefix("sluice_sink_memory_waiting ")?.parse::<usize>().ok()).unwrap()
    };
    for inside in 1..=4 {
        receiver.has(5 * inside).await;
        // Then each of the four is accounted for: whoever was answered waits for its next batch.
        let mut turns = tokio::time::interval(Duration::from_millis(20));
        let others_wait = async {
            while waiting() < 3 {
                turns.tick().await;
            }
        };
        assert!(tokio::time::timeout(PATIENT, others_wait).await.is_ok(), "{} wait for one", waiting());
        assert_eq!(receiver.asked(), inside, "the others wait until it was answered");
        receiver.answer();
    }
}
