//! What is held is taken in a part at a time, and nothing of it is lost, named for missing or told twice.

use audit::Entry;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::super::arrival::Judged;
use super::super::commit::{Committed, Plan};
use super::super::draining::{GiveUp, Part};
use super::over_redis::{House, within};
use super::{Bench, body, call, count, denied, log, record, source, tenant, told};

const HELD_ROWS: &str = "select count(*) from audit_held";

/// A plan that takes in four held frames at once.
fn plan(give_up: GiveUp) -> Plan {
    Plan { part: Part(4), give_up, ..Plan::default() }
}

/// Commits a batch as an owner does: whatever is to be taken in before it first. Gives what each transaction came to.
async fn commit_all(bench: &mut Bench, batch: &[Judged], mut plan: Plan) -> Vec<Committed> {
    let mut all = Vec::new();
    loop {
        let done = bench.commit_as(batch, &plan).await;
        let (is_drained, has_more) = (done.is_drained, done.has_more);
        plan.goes_on |= has_more;
        all.push(done);
        if !is_drained {
            return all;
        }
    }
}

/// The frames that a log says are missing, or came after all.
fn spans(log: &[Value], kind: &str) -> Vec<(u64, u64)> {
    let of_kind = log.iter().filter(|record| record["kind"] == kind);
    let missing = of_kind.flat_map(|record| record["source"]["missing"].as_array().unwrap().clone());
    missing.map(|span| (span["first"].as_u64().unwrap(), span["last"].as_u64().unwrap())).collect()
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_waited_for_one_frame_follows_it_part_by_part(pool: PgPool) {
    let (mut bench, source, tenant) = (Bench::new(&pool).await, source(), tenant());
    let held: Vec<Judged> = (2..=11).map(|s| bench.frame(source, s, vec![denied(tenant, call())])).collect();
    bench.commit(&held).await;
    let first = bench.frame(source, 1, vec![denied(tenant, call())]);
    let done = bench.commit_as(&[first], &plan(GiveUp::Nothing)).await;
    assert_eq!((done.acks[0].1.wm, done.has_more, done.is_drained), (5, true, false));
    // What stands in the table meanwhile comes once more, and the source says something new.
    let again = bench.frame(source, 6, vec![denied(tenant, call())]);
    let new = bench.frame(source, 12, vec![denied(tenant, call())]);
    let all = commit_all(&mut bench, &[again, new], Plan { goes_on: true, ..plan(GiveUp::Nothing) }).await;
    assert_eq!(
        all.iter().map(|done| (done.is_drained, done.acks[0].1.wm)).collect::<Vec<_>>(),
        [(true, 9), (true, 11), (false, 12)]
    );
    assert_eq!((all[2].duplicates, count(&pool, HELD_ROWS).await), (1, 0));
    assert_eq!(told(&pool, tenant).await, vec!["call! denied"; 12]);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn holes_are_given_up_part_by_part_and_named_exactly(pool: PgPool) {
    let (mut bench, source, tenant) = (Bench::new(&pool).await, source(), tenant());
    bench.take(source, 1, vec![denied(tenant, call())]).await;
    let held: Vec<Judged> = (3..=21).step_by(2).map(|s| bench.frame(source, s, vec![denied(tenant, call())])).collect();
    bench.commit(&held).await;
    let new = bench.frame(source, 22, vec![denied(tenant, call())]);
    let all = commit_all(&mut bench, &[new], plan(GiveUp::Of(vec![source]))).await;
    assert_eq!(all.iter().map(|done| done.acks[0].1.wm).collect::<Vec<_>>(), [9, 17, 21, 22]);
    let log = log(&pool, tenant).await;
    assert_eq!(spans(&log, "gap"), (2..=20).step_by(2).map(|s| (s, s)).collect::<Vec<_>>());
    assert_eq!(log.iter().filter(|record| record["kind"] == "call").count(), 12);
    assert_eq!(count(&pool, HELD_ROWS).await, 0);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_source_that_ends_is_taken_in_whole_before_its_end_is_told(pool: PgPool) {
    let (mut bench, source, tenant) = (Bench::new(&pool).await, source(), tenant());
    let held: Vec<Judged> = (3..=12).map(|s| bench.frame(source, s, vec![denied(tenant, call())])).collect();
    bench.commit(&held).await;
    let end = bench.frame(source, 13, vec![Entry::End]);
    let all = commit_all(&mut bench, &[end], plan(GiveUp::Nothing)).await;
    assert!(all.len() > 2, "{}", all.len());
    let log = log(&pool, tenant).await;
    assert_eq!(spans(&log, "gap"), [(1, 2)]);
    let end = log.last().unwrap();
    assert_eq!((&end["kind"], &end["source"]["clean"]), (&json!("boot_end"), &json!(false)));
    assert_eq!(log.iter().filter(|record| record["kind"] == "call").count(), 10);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn frames_that_fill_the_hole_are_not_given_up_however_many_wait(pool: PgPool) {
    let (mut bench, source, tenant) = (Bench::new(&pool).await, source(), tenant());
    let held: Vec<Judged> = (3..=12).map(|s| bench.frame(source, s, vec![denied(tenant, call())])).collect();
    bench.commit(&held).await;
    let mut last: Vec<Judged> = (1..=2).map(|s| bench.frame(source, s, vec![denied(tenant, call())])).collect();
    last.push(bench.frame(source, 13, vec![Entry::End]));
    let all = commit_all(&mut bench, &last, plan(GiveUp::Nothing)).await;
    assert_eq!(all.len(), 1);
    let log = log(&pool, tenant).await;
    assert_eq!(spans(&log, "gap"), []);
    assert_eq!(log.last().unwrap()["source"]["clean"], json!(true));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn thousands_follow_the_one_they_waited_for_though_nothing_more_is_sent(pool: PgPool) {
    let (mut house, source, tenant) = (House::new(&pool).await, source(), tenant());
    let _owner = house.start(1);
    for s in 2..=2600 {
        house.send(source, s, vec![denied(tenant, call())]).await;
    }
    within(async || count(&pool, HELD_ROWS).await == 2599).await;
    house.send(source, 1, vec![denied(tenant, call())]).await;
    house.acked(source, 2600).await;
    assert_eq!(count(&pool, HELD_ROWS).await, 0);
    assert_eq!(told(&pool, tenant).await, vec!["call! denied"; 2600]);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_held_frame_the_database_refuses_is_put_aside_and_no_other(pool: PgPool) {
    let (mut house, source, tenant) = (House::new(&pool).await, source(), tenant());
    let _owner = house.start(1);
    let twin = body(&record(tenant, call(), None));
    // The same record twice: its key is taken.
    let twins = [1, 2].map(|n| Entry::Note { tenant, n, body: twin.clone() }).to_vec();
    for s in 2..=9 {
        house.send(source, s, if s == 5 { twins.clone() } else { vec![denied(tenant, call())] }).await;
    }
    within(async || count(&pool, HELD_ROWS).await == 8).await;
    house.send(source, 1, vec![denied(tenant, call())]).await;
    house.acked(source, 9).await;
    assert_eq!(count(&pool, "select count(*) from audit_quarantine where reason = 'not_storable'").await, 1);
    let log = log(&pool, tenant).await;
    assert_eq!(spans(&log, "gap"), [(5, 5)]);
    assert_eq!(log.iter().filter(|record| record["kind"] == "call").count(), 8);
}
