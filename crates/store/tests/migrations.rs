//! What was taken in before an upgrade, and while it goes on, is on the screens after it.
#![expect(clippy::unwrap_used, reason = "a test may stop here")]

use std::time::Duration;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use domain::{ServerId, TenantId};
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use store::audit::callers;
use store::audit::rollup::{self, Range};
use store::audit::search::{self, Filter};
use store::audit::{shard, usage};
use store::{IngestTx, TenantTx};
use uuid::Uuid;

const TENANT: Uuid = Uuid::from_u128(1);
const SERVER: Uuid = Uuid::from_u128(9);

/// As the program before takes in: a call every seven minutes from `$from` minutes ago to `$to` minutes ago, in the log and
/// counted by hour and tool, by an owner of shard 0. One says that it is of another time than it is.
const OLDER: &str = "begin; set local role sluice_ingest;
    insert into audit_shard (shard) values (0) on conflict do nothing;
    update audit_shard set fence = fence + 1, lease_until = '-infinity';
    insert into audit_record (tenant_id, time, id, part_time, displaced, received_at, epoch, seq, leaf_hash, kind, final,
        actor_kind, actor_id, client_name, server_id, effect, status, body)
    select '00000000-0000-0000-0000-000000000001', now() - make_interval(mins => n * 7), gen_random_uuid(),
        now() - make_interval(mins => case when n = 100 then 0 else n * 7 end), n = 100, now(), 1, n, '', 'call', true,
        'user', 'usr_' || n % 3, case when n % 4 > 0 then 'codex' end, '00000000-0000-0000-0000-000000000009', 'allow',
        'success', ''
    from generate_series($to / 7, $from / 7 - 1) n;
    insert into audit_rollup_hour (tenant_id, start, server_id, tool_name, effect, status, bucket, count, duration_us)
    select tenant_id, date_trunc('hour', part_time, 'UTC'), server_id, 'tool_' || seq % 4, effect, status, 0, count(*), 7
    from audit_record where seq >= $to / 7 and seq < $from / 7 group by 1, 2, 3, 4, 5, 6, 7
    on conflict (tenant_id, start, server_id, tool_name, effect, status, bucket) do update
        set count = audit_rollup_hour.count + excluded.count;
    commit;";

async fn take_in_as_before(pool: &PgPool, from: u32, to: u32) {
    let sql = OLDER.replace("$from", &from.to_string()).replace("$to", &to.to_string());
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(pool).await.unwrap();
}

/// Owns the shard as this program does.
async fn own(pool: &PgPool) {
    let mut tx = IngestTx::begin(pool, 0).await.unwrap();
    shard::add(&mut tx, 0).await.unwrap();
    assert!(shard::acquire(&mut tx, 0, Uuid::from_u128(3), Duration::ZERO).await.unwrap().is_some());
    tx.commit().await.unwrap();
}

/// Since when it is counted; `None` for never.
async fn counted_from(pool: &PgPool) -> Option<DateTime<Utc>> {
    let sql = "select nullif(audit_counted_from(), 'infinity')";
    let mut tx = pool.begin_with("begin; set local role sluice_ingest").await.unwrap();
    sqlx::query_scalar(sql).fetch_one(&mut *tx).await.unwrap()
}

async fn now(pool: &PgPool) -> DateTime<Utc> {
    sqlx::query_scalar("select now()").fetch_one(pool).await.unwrap()
}

async fn run(pool: &PgPool, sql: &'static str) {
    let mut tx = pool.begin_with("begin; set local role sluice_ingest").await.unwrap();
    sqlx::raw_sql(sql).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}

/// Calls of the last 30 hours: by caller, over time, by server, and as the servers' pages have them.
async fn shown(pool: &PgPool) -> [i64; 4] {
    let now = now(pool).await;
    let mut tx = TenantTx::begin(pool, TenantId::from_uuid(TENANT)).await.unwrap();
    let filter = Filter::of(now - TimeDelta::hours(30), now + TimeDelta::hours(1));
    let partitions = search::partitions(&mut tx, filter.from, filter.until).await.unwrap();
    let callers = callers::by_caller(&mut tx, &filter, partitions, 1000).await.unwrap();
    let whole = |time: DateTime<Utc>| time.duration_trunc(TimeDelta::hours(1)).unwrap();
    let (from, until) = (whole(filter.from), whole(filter.until) + TimeDelta::hours(1));
    let range = Range { from, until, step_s: 3600, server: None, tool: None };
    let series = rollup::series(&mut tx, &range).await.unwrap();
    let servers = rollup::by_server(&mut tx, &range).await.unwrap();
    let pages = usage::by_server(&mut tx, from, Some(ServerId::from_uuid(SERVER))).await.unwrap();
    [
        callers.iter().map(|count| count.count).sum(),
        series.iter().map(|count| count.count).sum(),
        servers.iter().map(|count| count.count).sum(),
        pages.iter().map(|count| count.count).sum(),
    ]
}

async fn upgrade(pool: &PgPool) {
    let older = store::MIGRATOR.iter().filter(|migration| migration.version < 70).cloned().collect();
    Migrator::with_migrations(older).run(pool).await.unwrap();
    take_in_as_before(pool, 1400, 700).await;
    store::MIGRATOR.run(pool).await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn what_the_program_before_took_in_is_shown_after_an_upgrade(pool: PgPool) {
    upgrade(&pool).await;
    assert_eq!((counted_from(&pool).await, shown(&pool).await), (None, [100; 4]), "nobody counts yet");
    take_in_as_before(&pool, 700, 350).await;
    assert_eq!((counted_from(&pool).await, shown(&pool).await), (None, [150; 4]), "instances are being replaced");
    own(&pool).await;
    let from = counted_from(&pool).await.unwrap();
    let ahead = from - now(&pool).await;
    assert!(ahead > TimeDelta::minutes(4) && ahead <= TimeDelta::minutes(65), "{from}");
    assert_eq!(from, from.duration_trunc(TimeDelta::hours(1)).unwrap());
    assert_eq!(shown(&pool).await, [150; 4]);
    own(&pool).await;
    assert_eq!(counted_from(&pool).await.unwrap(), from, "the next owner that counts goes on");
}

#[sqlx::test(migrations = false)]
async fn hours_since_it_is_counted_are_read_from_counts_and_only_those(pool: PgPool) {
    upgrade(&pool).await;
    own(&pool).await;
    // Hours later: what is since then is in the counts, with three calls that nothing else has; what was counted of hours
    // before is not whole.
    let since = "update audit_shard set counted_from = date_trunc('hour', now() - interval '18 hours', 'UTC');
        insert into audit_rollup_caller
            (tenant_id, start, kind, actor_kind, actor_id, client_name, effect, status, count, first_at, last_at)
        select tenant_id, date_trunc('hour', time, 'UTC'), kind, actor_kind, actor_id, coalesce(client_name, ''), effect,
            status, count(*), min(time), max(time)
        from audit_record where not displaced group by 1, 2, 3, 4, 5, 6, 7, 8;
        insert into audit_rollup_server (tenant_id, start, server_id, effect, status, bucket, count, duration_us)
        select tenant_id, start, server_id, effect, status, bucket, sum(count), 7 from audit_rollup_hour
        group by 1, 2, 3, 4, 5, 6;
        update audit_rollup_caller set count = count + 7 where start < (select counted_from from audit_shard);
        update audit_rollup_server set count = count + 7 where start < (select counted_from from audit_shard);
        insert into audit_rollup_caller
        select tenant_id, (select counted_from from audit_shard), kind, 'user', 'usr_later', '', effect, status, 3,
            first_at, last_at from audit_rollup_caller limit 1;
        insert into audit_rollup_server
        select tenant_id, (select counted_from from audit_shard), server_id, 'allow', 'timeout', 13, 3, 7
        from audit_rollup_server limit 1";
    run(&pool, since).await;
    assert_eq!(shown(&pool).await, [103; 4]);
    // An instance of the program before is back: it takes in without counting, so counts are of no use until it is gone.
    take_in_as_before(&pool, 700, 350).await;
    assert_eq!((counted_from(&pool).await, shown(&pool).await), (None, [150; 4]));
    own(&pool).await;
    assert!(counted_from(&pool).await.unwrap() > now(&pool).await);
    assert_eq!(shown(&pool).await, [150; 4]);
    // A shard that is new has nothing that is not counted; one that nobody counts in has.
    run(&pool, "insert into audit_shard (shard) values (1); update audit_shard set counted_from = '-infinity'").await;
    assert_eq!(shown(&pool).await.map(|count| count != 150), [true; 4], "all of it is read from counts");
    run(&pool, "update audit_shard set fence = 4 where shard = 1").await;
    assert_eq!(shown(&pool).await, [150; 4]);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_new_database_is_counted_from_its_first_record_on(pool: PgPool) {
    own(&pool).await;
    let sql = "select counted_from = '-infinity' from audit_shard";
    let mut tx = pool.begin_with("begin; set local role sluice_ingest").await.unwrap();
    assert!(sqlx::query_scalar::<_, bool>(sql).fetch_one(&mut *tx).await.unwrap());
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn counts_and_shards_are_hidden_outside_of_a_tenant(pool: PgPool) {
    own(&pool).await;
    let sql = "select (select count(*) from audit_shard) + (select count(*) from audit_rollup_caller)
        + (select count(*) from audit_rollup_server)";
    run(&pool, "insert into audit_rollup_server values (gen_random_uuid(), now(), gen_random_uuid(), '', '', 0, 1, 1)")
        .await;
    assert_eq!(sqlx::query_scalar::<_, i64>(sql).fetch_one(&pool).await.unwrap(), 0);
}
