//! What the log is made of: places, hashes, partitions, counts, personal parts, and what a search finds of it.

use audit::Entry;
use audit::entry::Body;
use audit::merkle::{self, Frontier};
use audit::words::Status;
use chrono::Duration;
use domain::{Clock, RecordId, SessionId, UserId};
use sqlx::PgPool;
use store::TenantTx;
use store::audit::rollup::{self, Range};
use store::audit::search::{self, Filter};
use store::audit::{token_use, usage};
use uuid::Uuid;

use super::{Bench, call, clock, count, denied, last, log, long_ago, private, record, source, tenant, told};
use crate::activity::actions::{self, Scope};
use crate::ingest::change::{self, Actor, By, Change};

fn everything() -> Filter {
    Filter::of(long_ago(1), clock().now() + Duration::hours(1))
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn the_frontier_and_the_tiles_are_those_of_the_leaves(pool: PgPool) {
    let (mut bench, source, tenant) = (Bench::new(&pool).await, source(), tenant());
    for s in 1..=6 {
        bench.take(source, s, (0..100).map(|_| denied(tenant, call())).collect()).await;
    }
    let mut tx = TenantTx::begin(&pool, tenant).await.unwrap();
    let leaves = search::leaves(&mut tx, 1, 0, 1000).await.unwrap();
    let hashes: Vec<merkle::Hash> = leaves.iter().map(|leaf| merkle::leaf_hash(&leaf.body)).collect();
    assert!(leaves.iter().zip(&hashes).all(|(leaf, hash)| leaf.leaf_hash == hash));
    let mut frontier = Frontier::default();
    for hash in &hashes {
        frontier.append(*hash);
    }
    let mut tx = pool.begin_with("begin; set local role sluice_ingest").await.unwrap();
    let heads: Vec<(Vec<u8>, i64)> =
        sqlx::query_as("select frontier, size from audit_head where size > 0").fetch_all(&mut *tx).await.unwrap();
    assert_eq!(heads, [(frontier.to_bytes(), 600)]);
    let tiles: Vec<(i16, i64, Vec<u8>)> =
        sqlx::query_as("select level, index, hashes from audit_tile order by 1, 2").fetch_all(&mut *tx).await.unwrap();
    let roots = [merkle::tile_root(&hashes[..256]), merkle::tile_root(&hashes[256..512])];
    let wanted = [
        (0, 0, hashes[..256].concat()),
        (0, 1, hashes[256..512].concat()),
        (0, 2, hashes[512..].concat()),
        (1, 0, roots.concat()),
    ];
    assert_eq!(tiles, wanted);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_record_of_an_implausible_time_is_kept_and_found(pool: PgPool) {
    let (mut bench, tenant) = (Bench::new(&pool).await, tenant());
    let mut old = record(tenant, call(), None);
    old.time = Some(long_ago(400));
    let note = Entry::Note { tenant, n: 1, body: super::body(&old) };
    bench.take(source(), 1, vec![note]).await;
    let then = Filter { from: long_ago(401), until: long_ago(399), ..everything() };
    let mut tx = TenantTx::begin(&pool, tenant).await.unwrap();
    let found = actions::search(&mut tx, Scope::All, then, None, 10).await.unwrap();
    assert_eq!(found.rows.len(), 1);
    let now = actions::search(&mut tx, Scope::All, everything(), None, 10).await.unwrap();
    assert_eq!(now.rows.len(), 0);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn names_the_caller_chose_are_stored_whatever_their_length(pool: PgPool) {
    let (mut bench, source, tenant) = (Bench::new(&pool).await, source(), tenant());
    // Nothing in it repeats, so that no compression makes it fit an index.
    let long: String = (0..1200_u32).filter_map(|place| char::from_u32(0x4e00 + place * 7)).collect();
    let mut odd = record(tenant, call(), None);
    (odd.tool.name, odd.actor.id) = (Some(long.clone().into()), Some("nul \0".to_owned().into()));
    odd.client.name = Some(long.into());
    let note = |n| Entry::Note { tenant, n, body: super::body(&odd) };
    bench.take(source, 1, vec![note(1)]).await;
    assert_eq!(told(&pool, tenant).await, ["call"]);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_change_of_configuration_is_recorded_when_it_commits(pool: PgPool) {
    let (mut bench, tenant) = (Bench::new(&pool).await, tenant());
    let change = || Change::new("server.add", "server", "srv_1").named("wiki").after(&"secret value");
    let actor = Actor::User {
        user: UserId::from_uuid(Uuid::from_u128(4)),
        by: By::Session(SessionId::from_uuid(Uuid::from_u128(5))),
    };
    for commits in [true, false] {
        let mut tx = TenantTx::begin(&pool, tenant).await.unwrap();
        change::record(&mut tx, &clock(), &actor, change()).await.unwrap();
        if commits {
            tx.commit().await.unwrap();
        }
    }
    assert_eq!(bench.commit(&[]).await.drained, 1);
    assert_eq!(bench.commit(&[]).await.drained, 0);
    let log = log(&pool, tenant).await;
    assert_eq!((log.len(), &log[0]["kind"], &log[0]["change"]["action"]), (1, &"admin".into(), &"server.add".into()));
    assert!(!log[0].to_string().contains("secret value"));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_personal_part_rests_sealed_and_is_gone_with_its_key(pool: PgPool) {
    let (mut bench, tenant) = (Bench::new(&pool).await, tenant());
    let whole = record(tenant, call(), None);
    let body = Body { record: whole.to_bytes().into(), private: Some(private()) };
    bench.take(source(), 1, vec![Entry::Note { tenant, n: 1, body }]).await;
    let id = RecordId::from_uuid(whole.id.unwrap().uuid());
    let mut tx = TenantTx::begin(&pool, tenant).await.unwrap();
    let (leaf, personal) = actions::find(&mut tx, Scope::All, &bench.means.needs.master, id).await.unwrap().unwrap();
    assert_eq!(personal.as_deref(), Some(r#"{"actor":{"email":"ada@example.org"}}"#));
    let rests = [leaf.body, leaf.pii.unwrap()].concat();
    assert!(!rests.windows(7).any(|part| part == b"example"), "nothing personal rests in the clear");
    let mut erase = pool.begin_with("begin; set local role sluice_ingest").await.unwrap();
    sqlx::query("delete from audit_subject_key").execute(&mut *erase).await.unwrap();
    erase.commit().await.unwrap();
    let erased = actions::find(&mut tx, Scope::All, &bench.means.needs.master, id).await.unwrap().unwrap();
    assert_eq!(erased.1, None);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn calls_are_counted_and_their_tokens_were_used(pool: PgPool) {
    let (mut bench, source, tenant) = (Bench::new(&pool).await, source(), tenant());
    bench.take(source, 1, (0..3).map(|_| denied(tenant, call())).collect()).await;
    bench.take(source, 2, vec![last(tenant, call())]).await;
    let range =
        Range { from: long_ago(1), until: clock().now() + Duration::hours(1), step_s: 60, server: None, tool: None };
    let mut tx = TenantTx::begin(&pool, tenant).await.unwrap();
    let (_, points) = actions::series(&mut tx, range.clone()).await.unwrap();
    let mut counts: Vec<(String, i64)> = points.iter().map(|point| (point.status.clone(), point.count)).collect();
    counts.sort();
    counts.dedup();
    assert_eq!(points.iter().map(|point| point.count).sum::<i64>(), 4);
    assert!(points.iter().all(|point| point.buckets[0] == point.count && point.duration_us == 1500 * point.count));
    let hours = rollup::series(&mut tx, &Range { step_s: 3600, ..range }).await.unwrap();
    assert_eq!(hours.iter().map(|hour| hour.count).sum::<i64>(), 4);
    assert_eq!(token_use::list(&mut tx).await.unwrap().len(), 1);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_call_without_a_duration_is_counted_and_not_timed(pool: PgPool) {
    let (mut bench, source, tenant) = (Bench::new(&pool).await, source(), tenant());
    let refused = |_| {
        let call = call();
        let mut refused = record(tenant, call, Some(Status::Denied));
        refused.dur.total = None;
        Entry::Final { tenant, call, n: 1, had_intent: false, body: super::body(&refused) }
    };
    let timed = (0..2).map(|_| last(tenant, call()));
    bench.take(source, 1, (0..5).map(refused).chain(timed).collect()).await;
    let range =
        Range { from: long_ago(1), until: clock().now() + Duration::hours(1), step_s: 60, server: None, tool: None };
    let mut tx = TenantTx::begin(&pool, tenant).await.unwrap();
    let (_, points) = actions::series(&mut tx, range).await.unwrap();
    let of = |status| points.iter().find(|point| point.status == status).unwrap();
    let (denied, success) = (of("denied"), of("success"));
    assert_eq!((denied.count, denied.duration_us, denied.buckets.iter().sum::<i64>()), (5, 0, 0));
    assert_eq!((success.count, success.duration_us, success.buckets[0]), (2, 3000, 2));
    let by_server = usage::by_server(&mut tx, long_ago(1), None).await.unwrap();
    let untimed: Vec<_> = by_server.iter().filter(|row| row.bucket == rollup::UNTIMED).collect();
    assert_eq!((untimed.len(), untimed[0].count), (1, 5));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_search_sees_one_tenant_and_a_member_their_own_calls(pool: PgPool) {
    let (mut bench, source, mine, other) = (Bench::new(&pool).await, source(), tenant(), tenant());
    let user = UserId::from_uuid(Uuid::from_u128(9));
    let mut own = record(mine, call(), None);
    own.actor.id = Some(user.to_string().into());
    let own = Entry::Note { tenant: mine, n: 2, body: super::body(&own) };
    bench.take(source, 1, vec![denied(mine, call()), own, denied(other, call())]).await;
    let mut tx = TenantTx::begin(&pool, mine).await.unwrap();
    let all = actions::search(&mut tx, Scope::All, everything(), None, 10).await.unwrap();
    let seen = actions::search(&mut tx, Scope::Own(user), everything(), None, 10).await.unwrap();
    assert_eq!((all.rows.len(), seen.rows.len()), (2, 1));
    let foreign = Filter { actor: Some("usr_ada".into()), ..everything() };
    assert_eq!(actions::search(&mut tx, Scope::Own(user), foreign, None, 10).await.unwrap().rows.len(), 0);
    let not_mine = RecordId::from_uuid(all.rows.iter().find(|row| row.id != seen.rows[0].id).unwrap().id);
    let master = &bench.means.needs.master;
    assert!(actions::find(&mut tx, Scope::Own(user), master, not_mine).await.unwrap().is_none());
    let mut tx = TenantTx::begin(&pool, other).await.unwrap();
    assert!(actions::find(&mut tx, Scope::All, master, not_mine).await.unwrap().is_none());
    let mut tx = TenantTx::begin(&pool, tenant()).await.unwrap();
    assert_eq!(actions::search(&mut tx, Scope::All, everything(), None, 10).await.unwrap().rows.len(), 0);
    // Nor does a plain connection, or one that reads a partition.
    let plain: i64 = sqlx::query_scalar("select count(*) from audit_record").fetch_one(&pool).await.unwrap();
    assert_eq!((plain, count(&pool, "select count(*) from audit_record").await), (0, 3));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn pages_follow_one_another_and_every_filter_narrows(pool: PgPool) {
    let (mut bench, source, tenant) = (Bench::new(&pool).await, source(), tenant());
    bench.take(source, 1, (0..25).map(|_| denied(tenant, call())).collect()).await;
    bench.take(source, 2, vec![last(tenant, call())]).await;
    let mut tx = TenantTx::begin(&pool, tenant).await.unwrap();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = actions::search(&mut tx, Scope::All, everything(), after, 10).await.unwrap();
        seen.extend(page.rows.iter().map(|row| row.id));
        after = page.next.map(|next| actions::from_cursor(&actions::to_cursor(next)).unwrap());
        if after.is_none() {
            break;
        }
    }
    let whole = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((whole, seen.len()), (26, 26));
    let found = async |filter: Filter| {
        let mut tx = TenantTx::begin(&pool, tenant).await.unwrap();
        actions::search(&mut tx, Scope::All, filter, None, 100).await.unwrap().rows.len()
    };
    assert_eq!(found(Filter { statuses: vec!["success".into()], ..everything() }).await, 1);
    assert_eq!(found(Filter { text: Some("\"SUCCESS\"".into()), ..everything() }).await, 1);
    assert_eq!(found(Filter { tool: Some("wiki__write".into()), ..everything() }).await, 0);
    assert_eq!(found(Filter { text: Some("wiki__".into()), ..everything() }).await, 26);
    let too_long = Filter { from: long_ago(8), text: Some("a".into()), ..everything() };
    assert!(actions::search(&mut tx, Scope::All, too_long, None, 10).await.is_err());
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_partition_is_made_for_a_day_that_has_none(pool: PgPool) {
    let (mut bench, tenant) = (Bench::new(&pool).await, tenant());
    let today = clock().now().format("audit_record_%Y%m%d").to_string();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("drop table {today}"))).execute(&pool).await.unwrap();
    bench.take(source(), 1, vec![denied(tenant, call())]).await;
    assert_eq!(told(&pool, tenant).await.len(), 1);
    let seen: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) from {today}")))
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(seen, 0, "a partition read directly has a fence of its own");
}

#[test]
fn a_cursor_is_read_back_and_rubbish_is_none() {
    let clock: Clock = clock();
    let place = search::Place { time: clock.now(), id: RecordId::new(&clock) };
    let read = actions::from_cursor(&actions::to_cursor(place)).unwrap();
    assert_eq!((read.id, read.time.timestamp_micros()), (place.id, place.time.timestamp_micros()));
    assert!(actions::from_cursor("AAAA").is_none() && actions::from_cursor("é").is_none());
}
