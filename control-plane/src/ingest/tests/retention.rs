//! What is older than it is kept goes, by whole days, and the sequence goes on.

use sqlx::PgPool;
use store::IngestTx;
use store::audit::rollup;

use super::super::upkeep;
use super::{Bench, call, denied, needs, source, tenant};

/// As the role that takes records in.
async fn ingesting<T>(pool: &PgPool, sql: &'static str) -> Vec<T>
where
    T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    let mut tx = pool.begin().await.unwrap();
    sqlx::raw_sql("set local role sluice_ingest").execute(&mut *tx).await.unwrap();
    let rows = sqlx::query_scalar(sql).fetch_all(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    rows
}

/// A record of another tenant, its count and its key, so many days ago.
const OLD: &str = "with day as (
        select now() - make_interval(days => d) as at, d from unnest(array[402, 399]) d),
    records as (
        insert into audit_record (tenant_id, time, id, part_time, displaced, received_at, epoch, seq, leaf_hash, kind, final, body)
        select gen_random_uuid(), at, gen_random_uuid(), at, false, at, 1, 0, '', 'call', true, '' from day),
    minutes as (
        insert into audit_rollup_minute (tenant_id, start, effect, status, bucket, count, duration_us)
        select gen_random_uuid(), at, 'allow', 'success', 0, 1, 1 from day),
    hours as (
        insert into audit_rollup_hour (tenant_id, start, effect, status, bucket, count, duration_us)
        select gen_random_uuid(), at, 'allow', 'success', 0, 1, 1 from day),
    servers as (
        insert into audit_rollup_server (tenant_id, start, effect, status, bucket, count, duration_us)
        select gen_random_uuid(), at, 'allow', 'success', 0, 1, 1 from day),
    callers as (
        insert into audit_rollup_caller (tenant_id, start, kind, actor_kind, actor_id, client_name, effect, status, count, first_at, last_at)
        select gen_random_uuid(), at, 'call', '', '', '', '', '', 1, at, at from day),
    aside as (
        insert into audit_quarantine (shard, stream_id, frame, reason, added_at)
        select 0, d::text, '', 'unopened', at from day)
    insert into audit_subject_key (tenant_id, subject, month, key_id, wrapped)
    select gen_random_uuid(), 'tenant',
        (date_trunc('month', (now() at time zone 'UTC') - interval '400 days') - make_interval(months => m))::date, 'k', 'w'
    from unnest(array[1, 0]) m returning 1";

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_is_older_than_it_is_kept_goes_and_the_sequence_goes_on(pool: PgPool) {
    let mut bench = Bench::new(&pool).await;
    let (source, tenant) = (source(), tenant());
    bench.take(source, 1, vec![denied(tenant, call())]).await;
    ingesting::<bool>(
        &pool,
        "select audit_add_partition((now() at time zone 'UTC')::date - d) from unnest(array[402, 401, 399]) d",
    )
    .await;
    ingesting::<i32>(&pool, OLD).await;
    let needs = needs(&pool, "redis://nowhere");
    upkeep::round(&needs).await.unwrap();

    let ages =
        "select ((now() at time zone 'UTC')::date - to_date(right(c.relname, 8), 'YYYYMMDD'))::int from pg_class c
        join pg_inherits i on i.inhrelid = c.oid where i.inhparent = 'audit_record'::regclass order by 1 desc limit 2";
    assert_eq!(ingesting::<i32>(&pool, ages).await, [399, 2]);
    let left = "select (select count(*) from audit_record) || ' ' || (select count(*) from audit_rollup_minute where count = 1 and start < now() - interval '1 day')
        || ' ' || (select count(*) from audit_rollup_hour where start < now() - interval '1 day')
        || ' ' || (select count(*) from audit_rollup_server where start < now() - interval '1 day')
        || ' ' || (select count(*) from audit_rollup_caller where start < now() - interval '1 day') || ' ' || (select count(*) from audit_subject_key where key_id = 'k')
        || ' ' || (select string_agg(stream_id, ' ') from audit_quarantine)";
    assert_eq!(ingesting::<String>(&pool, left).await, ["2 1 1 1 1 1 399"]);
    // Nothing is left to drop; what comes next is the log's next.
    upkeep::round(&needs).await.unwrap();
    bench.take(source, 2, vec![denied(tenant, call())]).await;
    let sizes = "select size from audit_head order by 1 desc limit 1";
    assert_eq!(ingesting::<i64>(&pool, sizes).await, [2]);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn keys_are_erased_though_counts_can_not_be_dropped(pool: PgPool) {
    ingesting::<bool>(
        &pool,
        "select audit_add_partition((now() at time zone 'UTC')::date - d) from unnest(array[402, 399]) d",
    )
    .await;
    ingesting::<i32>(&pool, OLD).await;
    sqlx::raw_sql("revoke delete on audit_rollup_hour from sluice_ingest").execute(&pool).await.unwrap();
    upkeep::round(&needs(&pool, "redis://nowhere")).await.unwrap_err();
    let keys = "select count(*) from audit_subject_key where key_id = 'k'";
    assert_eq!(ingesting::<i64>(&pool, keys).await, [1]);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn old_counts_go_in_parts_that_are_found_by_their_age(pool: PgPool) {
    let add = "insert into audit_rollup_minute (tenant_id, start, effect, status, bucket, count, duration_us)
        select gen_random_uuid(), now() - make_interval(days => d), 'allow', 'success', 0, 1, 1
        from generate_series(1, 7) d returning 1";
    ingesting::<i32>(&pool, add).await;
    let mut gone = Vec::new();
    for _ in 0..3 {
        let mut tx = IngestTx::begin(&pool, 0).await.unwrap();
        let before = super::clock().now() - chrono::TimeDelta::hours(36);
        gone.push(rollup::forget(&mut tx, before, 4).await.unwrap());
        tx.commit().await.unwrap();
    }
    assert_eq!(gone, [4, 2, 0]);
    let indexed = "select c.relname::text from pg_index i join pg_class c on c.oid = i.indrelid
        join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
        where (c.relname, a.attname) in (('audit_rollup_minute', 'start'), ('audit_rollup_hour', 'start'),
            ('audit_rollup_server', 'start'), ('audit_rollup_caller', 'start'), ('audit_quarantine', 'added_at')) order by 1";
    let tables =
        ["audit_quarantine", "audit_rollup_caller", "audit_rollup_hour", "audit_rollup_minute", "audit_rollup_server"];
    assert_eq!(ingesting::<String>(&pool, indexed).await, tables);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_a_spool_may_still_hold_is_never_dropped(pool: PgPool) {
    let mut tx = pool.begin().await.unwrap();
    sqlx::raw_sql("set local role sluice_ingest").execute(&mut *tx).await.unwrap();
    let sql = "select audit_drop_partition((now() at time zone 'UTC')::date - 31)";
    let refused = sqlx::raw_sql(sql).execute(&mut *tx).await.unwrap_err();
    assert!(refused.to_string().contains("never dropped"), "{refused}");
    assert!("34".parse::<super::super::Retention>().is_err() && "35".parse::<super::super::Retention>().is_ok());
}
