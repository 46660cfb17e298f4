//! What is counted by caller and hour is what the records say.

use std::collections::BTreeMap;

use audit::Entry;
use audit::words::{Effect, Kind, Status};
use chrono::{DateTime, Duration, DurationRound as _, Utc};
use domain::ServerId;
use sqlx::PgPool;
use store::TenantTx;
use store::audit::callers;
use store::audit::search::{Among, Filter};
use uuid::Uuid;

use super::{Bench, body, call, clock, count, record, source, tenant};
use crate::activity::actions::{self, Scope};

/// By caller, program and end: how many, the first, the last.
type Counted = BTreeMap<[Option<String>; 5], (i64, DateTime<Utc>, DateTime<Utc>)>;

/// Records of 45 hours: two people, a service and nobody, two programs, some kinds and ends; some of a time that nobody
/// believes, and one of a name that is longer than its column.
async fn fill(bench: &mut Bench, now: DateTime<Utc>) -> domain::TenantId {
    let (tenant, source) = (tenant(), source());
    let one = |n: u64| {
        let mut record = record(tenant, call(), Some(Status::Success));
        let back =
            Duration::minutes(9 * n.cast_signed()) + if n % 37 == 5 { Duration::days(3) } else { Duration::zero() };
        record.time = Some(if n == 20 { (now - back).duration_trunc(Duration::hours(1)).unwrap() } else { now - back });
        record.actor.id = ["usr_ada", "usr_bob", "svc_ci"].get(usize::try_from(n % 4).unwrap()).map(|&id| id.into());
        record.client.name = ["codex", "cursor"].get(usize::try_from(n % 3).unwrap()).map(|&name| name.into());
        if n == 33 {
            record.client.name = Some("x".repeat(1000).into());
        }
        if n.is_multiple_of(11) {
            record.kind = Some(Kind::Auth);
            (record.server.id, record.decision.effect, record.outcome.status) = (None, None, None);
        } else if n.is_multiple_of(5) {
            (record.decision.effect, record.outcome.status) = (Some(Effect::Deny), Some(Status::Denied));
        }
        if n.is_multiple_of(7) {
            (record.trace.id, record.tool.name) = (Some("ab12".into()), Some("wiki__write".into()));
        }
        Entry::Note { tenant, n: n + 1, body: body(&record) }
    };
    // The same hours come in several transactions.
    for part in 0..3 {
        bench.take(source, part + 1, (part * 100..part * 100 + 100).map(one).collect()).await;
    }
    tenant
}

/// The same counts, from one record after the other.
async fn of_records(tx: &mut TenantTx, filter: Filter) -> Counted {
    let page = actions::search(tx, Scope::All, filter, None, 1000).await.unwrap();
    assert_eq!(page.next, None);
    let mut counted = Counted::new();
    for row in page.rows {
        let key = [row.actor_kind, row.actor_id, row.client_name, row.effect, row.status];
        let count = counted.entry(key).or_insert((0, row.time, row.time));
        *count = (count.0 + 1, count.1.min(row.time), count.2.max(row.time));
    }
    counted
}

fn filters(from: DateTime<Utc>, until: DateTime<Utc>) -> Vec<Filter> {
    let all = Filter::of(from, until);
    let server = ServerId::from_uuid(Uuid::from_u128(6));
    vec![
        Filter { kinds: vec!["call".into()], ..all.clone() },
        Filter { kinds: vec!["auth".into()], ..all.clone() },
        Filter { actor: Some("usr_ada".into()), ..all.clone() },
        Filter { statuses: vec!["denied".into(), "timeout".into()], ..all.clone() },
        Filter {
            actor: Some("usr_bob".into()),
            kinds: vec!["call".into()],
            effect: Some("deny".into()),
            ..all.clone()
        },
        Filter { server: Some(server), ..all.clone() },
        Filter { tool: Some("wiki__write".into()), ..all.clone() },
        Filter { trace: Some("ab12".into()), actor: Some("usr_ada".into()), ..all.clone() },
        Filter { among: Some(Among { servers: vec![server.uuid()], tools: Vec::new() }), ..all.clone() },
        Filter { text: Some("CURSOR".into()), ..all.clone() },
        all,
    ]
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn counts_by_caller_are_those_of_the_records_for_every_filter(pool: PgPool) {
    let (mut bench, now) = (Bench::new(&pool).await, clock().now());
    let (tenant, other) = (fill(&mut bench, now).await, fill(&mut bench, now).await);
    let hour = now.duration_trunc(Duration::hours(1)).unwrap();
    let ranges = [
        (now - Duration::hours(47), now + Duration::minutes(5)),
        (now - Duration::hours(24), now + Duration::minutes(5)),
        (hour - Duration::hours(30), hour - Duration::hours(4)),
        (now - Duration::minutes(400), now - Duration::minutes(90)),
        (now - Duration::minutes(59), now),
        (now - Duration::days(6), now),
    ];
    let mut tx = TenantTx::begin(&pool, tenant).await.unwrap();
    // All but the one that begins now.
    let (seen, most) = compare(&mut tx, &ranges).await;
    assert!(seen > 300 && most == 299, "{seen} {most}");
    // Most of it is read from counts, which hold each record that begins when it says once, of both tenants.
    let sums = count(&pool, "select sum(count)::int8 from audit_rollup_caller").await;
    let records = count(&pool, "select count(*) from audit_record where not displaced").await;
    assert!(sums == records && records > 500, "{sums} {records}");
    // As if these counts had begun twenty hours ago: what was before is only in the records.
    sqlx::raw_sql(BEGUN).execute(&pool).await.unwrap();
    let left = count(&pool, "select sum(count)::int8 from audit_rollup_caller").await;
    assert!(left > 100 && left < sums - 100, "{left} of {sums}");
    assert_eq!(compare(&mut tx, &ranges).await, (seen, most));
    let mut nobody = TenantTx::begin(&pool, super::tenant()).await.unwrap();
    let (from, until) = ranges[0];
    let none = actions::by_caller(&mut nobody, Scope::All, Filter::of(from, until)).await.unwrap();
    assert_eq!(none, (Vec::new(), false), "{other} and {tenant} are not theirs");
}

const BEGUN: &str = "begin; set local role sluice_ingest;
    update audit_shard set counted_from = date_trunc('hour', now(), 'UTC') - interval '20 hours';
    delete from audit_rollup_caller where start < (select counted_from from audit_shard);
    commit;";

/// Holds both ways to count to one another, for every filter; gives how many counts there were, and the most records.
async fn compare(tx: &mut TenantTx, ranges: &[(DateTime<Utc>, DateTime<Utc>)]) -> (usize, i64) {
    let (mut seen, mut most) = (0, 0);
    for &(from, until) in ranges {
        for filter in filters(from, until) {
            // A text is looked for in the records, and only that.
            if filter.text.is_some() && until - from > actions::TEXT_RANGE {
                continue;
            }
            let expected = of_records(tx, filter.clone()).await;
            let (counts, is_partial) = actions::by_caller(tx, Scope::All, filter.clone()).await.unwrap();
            assert!(!is_partial);
            let mut counted = Counted::new();
            for count in counts {
                let key = [count.actor_kind, count.actor_id, count.client_name, count.effect, count.status];
                let one = counted.entry(key).or_insert((0, count.first, count.last));
                let total = if filter.text.is_some() { one.0 + count.count } else { count.count };
                *one = (total, one.1.min(count.first), one.2.max(count.last));
            }
            assert_eq!(counted, expected, "{filter:?}");
            seen += expected.len();
            most = most.max(expected.values().map(|count| count.0).sum());
        }
    }
    (seen, most)
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn programs_that_a_caller_makes_up_are_counted_together(pool: PgPool) {
    let (mut bench, now) = (Bench::new(&pool).await, clock().now());
    let (tenant, source) = (tenant(), source());
    let hour = now.duration_trunc(Duration::hours(1)).unwrap() - Duration::hours(3);
    let one = |n: u64| {
        let mut record = record(tenant, call(), Some(Status::Success));
        record.time = Some(hour + Duration::minutes((n % 60).cast_signed()));
        // Every tenth is another's, who has one program only; another has none.
        record.actor.id = Some(if n.is_multiple_of(10) { "usr_bob" } else { "usr_eve" }.into());
        record.client.name =
            (n % 10 != 1).then(|| if n.is_multiple_of(10) { "codex".into() } else { format!("program {n}").into() });
        Entry::Note { tenant, n: n + 1, body: body(&record) }
    };
    for part in 0..6 {
        bench.take(source, part + 1, (part * 10..part * 10 + 10).map(one).collect()).await;
    }
    // A program that is known already stays known.
    bench.take(source, 7, vec![one(2), one(3)]).await;
    let by_name =
        "select case when client_name like 'program %' then 'program' else client_name end collate \"C\", count(*),
            sum(count)::int8 from audit_rollup_caller group by 1 order by 1";
    let mut tx = pool.begin_with("begin; set local role sluice_ingest").await.unwrap();
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(by_name).fetch_all(&mut *tx).await.unwrap();
    let expected = [("", 1, 6), ("codex", 1, 6), ("program", 20, 22), (callers::OTHERS, 1, 28)];
    assert_eq!(rows, expected.map(|(name, rows, sum)| (name.to_owned(), rows, sum)));
}
