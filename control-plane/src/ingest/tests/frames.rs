//! Every row of the protocol's two tables, lapses, poison and the fence.

use audit::Entry;
use audit::protocol::DEPLOYMENT;
use domain::{BootId, Clock};
use sqlx::PgPool;

use super::super::arrival::Payload;
use super::{
    Bench, body, call, clock, count, denied, intent, last, log, long_ago, record, source, tenant, told, wire_of,
};

const OPEN_ROWS: &str = "select count(*) from audit_open";
const HELD_ROWS: &str = "select count(*) from audit_held";

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn the_next_frame_takes_effect_and_the_mark_rises(pool: PgPool) {
    let (mut bench, source, tenant) = (Bench::new(&pool).await, source(), tenant());
    bench.take(source, 1, vec![denied(tenant, call())]).await;
    let done = bench.take(source, 2, vec![denied(tenant, call()), Entry::Beat]).await;
    assert_eq!(done.acks.len(), 1);
    assert_eq!((done.acks[0].0, done.acks[0].1.wm), (source, 2));
    assert_eq!(done.grown, [tenant]);
    assert_eq!(told(&pool, tenant).await, ["call! denied", "call! denied"]);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_duplicate_changes_nothing_and_is_acknowledged(pool: PgPool) {
    let (mut bench, source, tenant) = (Bench::new(&pool).await, source(), tenant());
    let frame = bench.frame(source, 1, vec![denied(tenant, call())]);
    bench.commit(std::slice::from_ref(&frame)).await;
    let again = bench.commit(&[frame.clone(), frame]).await;
    assert_eq!((again.duplicates, again.acks[0].1.wm), (2, 1));
    assert_eq!(told(&pool, tenant).await.len(), 1);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_frame_ahead_waits_for_those_before_it(pool: PgPool) {
    let (mut bench, source, tenant) = (Bench::new(&pool).await, source(), tenant());
    let call = call();
    let early = bench.take(source, 3, vec![last(tenant, call)]).await;
    bench.take(source, 3, vec![last(tenant, call)]).await;
    assert_eq!((early.acks[0].1.wm, count(&pool, HELD_ROWS).await), (0, 1));
    bench.take(source, 2, vec![intent(tenant, call)]).await;
    assert_eq!(log(&pool, tenant).await.len(), 0);
    let whole = bench.take(source, 1, vec![Entry::Beat]).await;
    assert_eq!((whole.acks[0].1.wm, count(&pool, HELD_ROWS).await), (3, 0));
    assert_eq!(told(&pool, tenant).await, ["call! success"]);
    assert_eq!(count(&pool, OPEN_ROWS).await, 0);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_frame_given_up_for_lost_fills_its_gap_when_it_comes(pool: PgPool) {
    let (mut bench, source, tenant) = (Bench::new(&pool).await, source(), tenant());
    bench.take(source, 1, vec![denied(tenant, call())]).await;
    bench.take(source, 3, vec![denied(tenant, call())]).await;
    bench.pass(0, 30).await;
    assert_eq!(told(&pool, tenant).await, ["call! denied", "gap", "call! denied", "boot_end"]);
    let found = bench.take(source, 2, vec![denied(tenant, call())]).await;
    assert!(found.acks[0].1.missing.is_empty());
    assert_eq!(told(&pool, tenant).await[4..], ["call! denied", "gap_filled"]);
    assert_eq!(bench.take(source, 2, vec![denied(tenant, call())]).await.duplicates, 1);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_call_has_one_last_word(pool: PgPool) {
    let (mut bench, source, tenant, call) = (Bench::new(&pool).await, source(), tenant(), call());
    bench.take(source, 1, vec![intent(tenant, call)]).await;
    assert_eq!((told(&pool, tenant).await.len(), count(&pool, OPEN_ROWS).await), (0, 1));
    bench.take(source, 2, vec![intent(tenant, call), last(tenant, call)]).await;
    assert_eq!(told(&pool, tenant).await, ["call! success"]);
    assert_eq!(count(&pool, OPEN_ROWS).await, 0);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_last_word_before_its_intent_leaves_a_tombstone(pool: PgPool) {
    let (mut bench, source, tenant, call) = (Bench::new(&pool).await, source(), tenant(), call());
    bench.take(source, 1, vec![last(tenant, call)]).await;
    bench.take(source, 2, vec![intent(tenant, call)]).await;
    bench.take(source, 3, vec![last(tenant, call)]).await;
    assert_eq!(told(&pool, tenant).await, ["call! success"]);
    assert_eq!(count(&pool, "select count(*) from audit_open where state = 'done'").await, 1);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_silent_node_s_calls_end_unknown_and_their_outcome_comes_late(pool: PgPool) {
    let (mut bench, source, tenant, call) = (Bench::new(&pool).await, source(), tenant(), call());
    bench.take(source, 1, vec![intent(tenant, call)]).await;
    bench.pass(0, 29).await;
    assert_eq!(told(&pool, tenant).await.len(), 0);
    bench.pass(29, 1).await;
    assert_eq!(told(&pool, tenant).await, ["call! unknown", "boot_end"]);
    bench.pass(30, 40).await;
    assert_eq!(told(&pool, tenant).await.len(), 2, "a source lapses once");
    bench.take(source, 2, vec![last(tenant, call)]).await;
    bench.take(source, 3, vec![last(tenant, call)]).await;
    let log = log(&pool, tenant).await;
    assert_eq!(told(&pool, tenant).await[2..], ["late success"]);
    assert_eq!(log[2]["amends"]["seq"], 0);
    assert_eq!(log[2]["call_id"], log[0]["call_id"]);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn notes_are_appended_as_they_are(pool: PgPool) {
    let (mut bench, source, tenant) = (Bench::new(&pool).await, source(), tenant());
    let note = Entry::Note { tenant, n: 1, body: body(&record(tenant, call(), None)) };
    bench.take(source, 1, vec![note.clone()]).await;
    bench.take(source, 2, vec![denied(tenant, call())]).await;
    assert_eq!(told(&pool, tenant).await, ["call", "call! denied"]);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_beat_keeps_a_source_alive(pool: PgPool) {
    let (mut bench, source, tenant) = (Bench::new(&pool).await, source(), tenant());
    bench.take(source, 1, vec![intent(tenant, call())]).await;
    bench.pass(0, 20).await;
    bench.take(source, 2, vec![Entry::Beat]).await;
    bench.pass(20, 20).await;
    assert_eq!(told(&pool, tenant).await.len(), 0);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn an_orderly_end_is_clean_only_without_holes(pool: PgPool) {
    let (mut bench, tenant) = (Bench::new(&pool).await, tenant());
    bench.take(source(), 1, vec![denied(tenant, call()), Entry::End]).await;
    let log = log(&pool, tenant).await;
    assert_eq!((&log[1]["kind"], &log[1]["source"]["clean"]), (&"boot_end".into(), &true.into()));
    assert_eq!(log[1]["source"]["last_n"], 1);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_new_boot_ends_the_calls_of_the_dead_one(pool: PgPool) {
    let (mut bench, old, tenant) = (Bench::new(&pool).await, source(), tenant());
    bench.take(old, 1, vec![intent(tenant, call())]).await;
    let new = audit::Source { boot: BootId::new(&clock()), ..old };
    bench.take(new, 1, vec![Entry::Dead(vec![old.boot])]).await;
    assert_eq!(told(&pool, tenant).await, ["call! unknown", "boot_end"]);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn an_unreadable_frame_is_put_aside_and_holds_nothing_up(pool: PgPool) {
    let (mut bench, source, tenant) = (Bench::new(&pool).await, source(), tenant());
    bench.take(source, 1, vec![denied(tenant, call())]).await;
    let poison = wire_of(&bench.means, source, 2, b"\x01not a frame");
    let poison = bench.judge(Payload::Frame(poison));
    bench.commit(std::slice::from_ref(&poison)).await;
    let done = bench.take(source, 3, vec![denied(tenant, call())]).await;
    bench.commit(&[poison]).await;
    assert_eq!(done.acks[0].1.wm, 3);
    assert_eq!(told(&pool, tenant).await, ["call! denied", "gap", "call! denied"]);
    assert_eq!(count(&pool, "select count(*) from audit_quarantine").await, 1);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_record_of_another_tenant_than_its_entry_s_is_poison(pool: PgPool) {
    let (mut bench, source, mine, other) = (Bench::new(&pool).await, source(), tenant(), tenant());
    let call = call();
    let slipped = Entry::Note { tenant: mine, n: 1, body: body(&record(other, call, None)) };
    bench.take(source, 1, vec![slipped]).await;
    assert_eq!(told(&pool, mine).await.len() + told(&pool, other).await.len(), 0);
    assert_eq!(told(&pool, DEPLOYMENT).await, ["gap"]);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_forged_or_moved_frame_changes_nothing_and_is_named_once(pool: PgPool) {
    let (mut bench, source, tenant) = (Bench::new(&pool).await, source(), tenant());
    let mut forged = super::wire(&bench.means, source, 1, vec![denied(tenant, call())]).to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let forged = bench.judge(Payload::Frame(forged.into()));
    let elsewhere = audit::Source { shard: 9, ..source };
    let moved = bench.frame(elsewhere, 1, vec![denied(tenant, call())]);
    let rubbish = bench.judge(Payload::Frame(bytes::Bytes::from_static(b"rubbish")));
    let batch = [forged, moved, rubbish];
    bench.commit(&batch).await;
    bench.commit(&batch).await;
    assert_eq!(told(&pool, tenant).await.len(), 0);
    assert_eq!(told(&pool, DEPLOYMENT).await, ["gap", "gap"]);
    assert_eq!(count(&pool, "select count(*) from audit_quarantine").await, 3);
    assert_eq!(count(&pool, "select count(*) from audit_source").await, 0);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_frame_of_a_forgotten_boot_is_put_aside(pool: PgPool) {
    let (mut bench, tenant) = (Bench::new(&pool).await, tenant());
    let then = Clock::new(|| long_ago(40), || [3; 10]);
    let old = audit::Source { boot: BootId::new(&then), ..source() };
    bench.take(old, 1, vec![denied(tenant, call())]).await;
    assert_eq!(told(&pool, tenant).await.len(), 0);
    assert_eq!(count(&pool, "select count(*) from audit_quarantine where reason = 'too_old'").await, 1);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn only_the_present_owner_s_next_tick_counts(pool: PgPool) {
    let mut bench = Bench::new(&pool).await;
    let fence = bench.fence;
    let batch = [bench.tick(fence, 1), bench.tick(fence, 1), bench.tick(fence, 3), bench.tick(fence - 1, 2)];
    assert_eq!(bench.commit(&batch).await.tick, 1);
    assert_eq!(bench.commit(&batch).await.tick, 1, "reading again makes no time pass");
    let forged = bench.judge(Payload::Tick(bytes::Bytes::from_static(b"tick 2")));
    assert_eq!(bench.commit(&[forged]).await.tick, 1);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn who_lost_the_fence_commits_nothing(pool: PgPool) {
    let (mut bench, source, tenant) = (Bench::new(&pool).await, source(), tenant());
    let fence = bench.acquire().await.unwrap();
    let frame = bench.frame(source, 1, vec![denied(tenant, call())]);
    assert!(bench.try_commit(std::slice::from_ref(&frame)).await.is_none());
    assert_eq!(told(&pool, tenant).await.len(), 0);
    bench.fence = fence;
    bench.commit(&[frame]).await;
    assert_eq!(told(&pool, tenant).await.len(), 1);
}
