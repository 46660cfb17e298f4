//! Checkpoints as an owner signs them, and marks as it notes them.

use audit::Entry;
use audit::merkle::Frontier;
use domain::projection::keys;
use domain::{Clock, TenantId};
use redis::AsyncCommands as _;
use serde_json::json;
use sqlx::PgPool;
use store::TenantTx;
use store::audit::checkpoint::{self, Signed};
use store::audit::search;

use super::over_redis::{House, within};
use super::{Bench, SHARD, call, count, denied, intent, needs, source, tenant};
use crate::ingest::{marks, origin, upkeep, verifier_key};

async fn last(pool: &PgPool, tenant: TenantId) -> Option<Signed> {
    checkpoint::last(&mut TenantTx::begin(pool, tenant).await.unwrap()).await.unwrap()
}

pub(super) async fn as_owner(pool: &PgPool, sql: &'static str) {
    let mut tx = pool.begin_with("begin; set local role sluice_ingest").await.unwrap();
    sqlx::raw_sql(sql).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_checkpoint_is_over_what_is_in_the_log_and_kept_outside_of_the_database(pool: PgPool) {
    let (mut house, source, tenant) = (House::new(&pool).await, source(), tenant());
    let _owner = house.start(1);
    house.send(source, 1, vec![denied(tenant, call()), denied(tenant, call())]).await;
    within(async || last(&pool, tenant).await.is_some_and(|last| last.size == 2)).await;
    let signed = last(&pool, tenant).await.unwrap();
    let needs = &house.means.needs;
    let read = verifier_key(&needs.deployment, &needs.checkpoints).open(&signed.note).unwrap();
    let mut tree = Frontier::default();
    let leaves = search::leaves(&mut TenantTx::begin(&pool, tenant).await.unwrap(), 1, 0, 10).await.unwrap();
    for leaf in &leaves {
        tree.append(leaf.leaf_hash.as_slice().try_into().unwrap());
    }
    assert_eq!((read.size, read.root, read.origin), (2, tree.root(), origin(&needs.deployment, tenant, 1)));
    let kept: String = house.connection.get(keys::checkpoint(tenant)).await.unwrap();
    assert_eq!(kept, signed.note);
    assert_eq!(last(&pool, super::tenant()).await, None, "nobody else reads it");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn an_epoch_that_was_set_back_is_never_signed_again(pool: PgPool) {
    let (mut house, source, tenant) = (House::new(&pool).await, source(), tenant());
    let owner = house.start(1);
    house.send(source, 1, vec![denied(tenant, call()), denied(tenant, call())]).await;
    within(async || last(&pool, tenant).await.is_some_and(|last| last.size == 2)).await;
    owner.stop.cancel();
    within(async || owner.task.is_finished()).await;
    as_owner(
        &pool,
        r"delete from audit_tile; delete from audit_checkpoint;
          update audit_head set size = 0, signed_size = 0, frontier = '\x0000000000000000'",
    )
    .await;
    let _owner = house.start(2);
    within(async || last(&pool, tenant).await.is_some_and(|last| (last.epoch, last.size) == (2, 2))).await;
    for s in 2..5 {
        house.send(source, s, vec![denied(tenant, call())]).await;
        within(async || last(&pool, tenant).await.is_some_and(|last| (last.epoch, last.size) == (2, s + 1))).await;
        assert_eq!(count(&pool, "select count(*) from audit_checkpoint where epoch = 1").await, 0, "{s}");
    }
    assert_eq!(house.means.metrics.epochs.get(), 1);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_checkpoint_whose_commit_was_lost_is_gone_on_from(pool: PgPool) {
    let (mut house, source, tenant) = (House::new(&pool).await, source(), tenant());
    let _owner = house.start(1);
    house.send(source, 1, vec![denied(tenant, call()), denied(tenant, call())]).await;
    within(async || last(&pool, tenant).await.is_some_and(|last| last.size == 2)).await;
    as_owner(&pool, "delete from audit_checkpoint; update audit_head set signed_size = 0").await;
    house.send(source, 2, vec![denied(tenant, call())]).await;
    within(async || last(&pool, tenant).await.is_some_and(|last| last.size == 3)).await;
    assert_eq!(house.means.metrics.refused_checkpoints.get(), 0);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn of_old_checkpoints_the_last_of_each_hour_is_kept(pool: PgPool) {
    as_owner(
        &pool,
        "insert into audit_checkpoint
         select t::uuid, 1, n, '', timestamptz '2026-01-01 10:00:00Z' + n * interval '20 minutes'
         from generate_series(1, 7) n, unnest(array['00000000-0000-0000-0000-000000000001',
             '00000000-0000-0000-0000-000000000002']) t",
    )
    .await;
    let mut needs = needs(&pool, "redis://nowhere");
    let now = "2026-01-01T13:00:00Z".parse().unwrap();
    needs.clock = Clock::new(move || now, || [0; 10]);
    upkeep::thin_out_checkpoints(&needs, now).await.unwrap();
    // 10:20 and 10:40, 11:00 to 11:40, 12:00 and 12:20: the younger than an hour stay as they are.
    assert_eq!(count(&pool, "select count(*) from audit_checkpoint where size in (2, 5, 6, 7)").await, 8);
    assert_eq!(count(&pool, "select count(*) from audit_checkpoint").await, 8);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn once_an_hour_a_log_says_how_far_its_sources_are_or_that_it_is_alive(pool: PgPool) {
    let mut bench = Bench::new(&pool).await;
    let (source, tenant, idle) = (source(), tenant(), super::tenant());
    let numbered = |n, entry: Entry| match entry {
        Entry::Intent { tenant, call, body, .. } => Entry::Intent { tenant, call, n, body },
        Entry::Final { tenant, call, had_intent, body, .. } => Entry::Final { tenant, call, n, had_intent, body },
        other => other,
    };
    let entries = vec![
        numbered(0, denied(tenant, call())),
        numbered(1, intent(tenant, call())),
        numbered(2, denied(tenant, call())),
    ];
    bench.take(source, 1, entries).await;
    bench.take(source, 2, vec![numbered(0, denied(idle, call()))]).await;
    let shard = (SHARD, bench.fence);
    assert!(marks::note(&bench.means, shard).await.unwrap());
    assert_eq!(count(&pool, "select count(*) from audit_inbox").await, 0, "none is due");
    two_hours_later(&pool, &bench).await;
    bench.commit(&[]).await;
    let log = super::log(&pool, tenant).await;
    let mark = log.last().unwrap();
    assert_eq!((&mark["kind"], &mark["source"]["complete_n"]), (&json!("mark"), &json!(1)), "the second call is open");
    assert_eq!(mark["source"]["boot"], json!(source.boot.to_string()));
    assert_eq!(super::log(&pool, idle).await.last().unwrap()["source"]["complete_n"], json!(1));
    two_hours_later(&pool, &bench).await;
    bench.commit(&[]).await;
    assert_eq!(super::log(&pool, idle).await.last().unwrap()["kind"], json!("heartbeat"), "nothing new");
    let fenced = (SHARD, bench.fence - 1);
    assert!(!marks::note(&bench.means, fenced).await.unwrap());
}

/// Lets logs become due, and notes what is to be noted.
async fn two_hours_later(pool: &PgPool, bench: &Bench) {
    as_owner(pool, "update audit_head set marked_at = marked_at - interval '2 hours'").await;
    assert!(marks::note(&bench.means, (SHARD, bench.fence)).await.unwrap());
}
