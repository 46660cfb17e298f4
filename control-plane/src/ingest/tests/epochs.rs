//! Postgres set back to an earlier copy of itself: the log goes on in a new epoch, and both verify.

use audit::bundle::Line;
use audit::merkle::{Frontier, Hash};
use audit::note::Checkpoint;
use audit::verify::{Check, Report, Verifier};
use domain::projection::{Sign as _, keys};
use redis::AsyncCommands as _;
use serde_json::json;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use store::audit::checkpoint::Signed;
use store::audit::{checkpoint, epoch, partition, search};

use super::over_redis::{House, Running, within};
use super::*;
use crate::evidence::bundle::covered;
use crate::evidence::plan::{Part, Wanted, parts, sections};
use crate::ingest::{origin, verifier_key};

/// A database, and the copy of it that was made.
struct Copied {
    options: PgConnectOptions,
    copy: PgConnectOptions,
}

impl Copied {
    /// Copies a database, whose connections it ends.
    async fn of(pool: PgPool) -> Self {
        let options = (*pool.connect_options()).clone();
        let name = options.get_database().unwrap().to_owned();
        pool.close().await;
        let mut admin = PgConnection::connect_with(&options.clone().database("postgres")).await.unwrap();
        let copy = format!("{}_copy", &name[..name.len().min(50)]);
        // One may be left of a test that failed.
        for sql in [
            format!(r#"drop database if exists "{copy}" with (force)"#),
            format!(r#"create database "{copy}" template "{name}""#),
        ] {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
        }
        let copy = options.clone().database(&copy);
        Self { options, copy }
    }

    async fn open(options: &PgConnectOptions) -> PgPool {
        PgPoolOptions::new().max_connections(8).connect_with(options.clone()).await.unwrap()
    }

    async fn forget(self) {
        let mut admin = PgConnection::connect_with(&self.options.database("postgres")).await.unwrap();
        let sql = format!(r#"drop database "{}" with (force)"#, self.copy.get_database().unwrap());
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
    }
}

async fn last_signed(pool: &PgPool, tenant: TenantId) -> Option<Signed> {
    checkpoint::last(&mut TenantTx::begin(pool, tenant).await.unwrap()).await.unwrap()
}

async fn signed_up_to(pool: &PgPool, tenant: TenantId, (epoch, size): (u64, u64)) -> Signed {
    let is_so = |last: &Signed| (last.epoch, last.size) == (epoch, size);
    within(async || last_signed(pool, tenant).await.as_ref().is_some_and(is_so)).await;
    last_signed(pool, tenant).await.unwrap()
}

async fn stop(owner: Running) {
    owner.stop.cancel();
    within(async || owner.task.is_finished()).await;
}

/// An epoch of the log, parsed.
async fn told_of(pool: &PgPool, tenant: TenantId, epoch: i64) -> Vec<Value> {
    let leaves = search::leaves(&mut TenantTx::begin(pool, tenant).await.unwrap(), epoch, 0, 1000).await.unwrap();
    leaves.iter().map(|leaf| serde_json::from_slice(&leaf.body).unwrap()).collect()
}

fn kinds(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["kind"].as_str().unwrap()).collect()
}

/// Verifies all epochs that the database has of the log.
async fn verified(house: &House, pool: &PgPool, tenant: TenantId, since: Option<&str>) -> Report {
    let needs = &house.means.needs;
    let key = verifier_key(&needs.deployment, &needs.checkpoints);
    let mut tx = TenantTx::begin(pool, tenant).await.unwrap();
    let ended: Vec<u64> = epoch::ended(&mut tx).await.unwrap().iter().map(|ended| ended.epoch).collect();
    let last = checkpoint::last(&mut tx).await.unwrap().unwrap();
    let mut out = Vec::new();
    Line::Header { origin: origin(&needs.deployment, tenant, ended[0]), tenant }.write(&mut out);
    for epoch in ended.iter().copied().chain([last.epoch]) {
        if epoch != ended[0] {
            Line::Epoch { origin: origin(&needs.deployment, tenant, epoch) }.write(&mut out);
        }
        let mark = checkpoint::last_of(&mut tx, epoch).await.unwrap();
        let leaves = search::leaves(&mut tx, epoch.cast_signed(), 0, 1000).await.unwrap();
        for leaf in leaves.iter().take_while(|leaf| epoch < last.epoch || leaf.seq < last.size.cast_signed()) {
            let hash: Hash = leaf.leaf_hash.as_slice().try_into().unwrap();
            Line::Record { seq: leaf.seq.cast_unsigned(), leaf: hash, record: &leaf.body }.write(&mut out);
            if let Some(mark) = mark.as_ref().filter(|mark| mark.size.cast_signed() == leaf.seq + 1) {
                Line::Checkpoint(mark.note.clone()).write(&mut out);
            }
        }
    }
    let mut lines = out.split(|byte| *byte == b'\n');
    let since = since.map(|note| key.open(note).unwrap());
    let mut verifier = Verifier::new(key, since, lines.next().unwrap()).unwrap();
    lines.filter(|line| !line.is_empty()).for_each(|line| verifier.line(line));
    verifier.finish()
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_log_that_was_set_back_goes_on_in_a_new_epoch_and_both_verify(pool: PgPool) {
    let (mut house, source, tenant) = (House::new(&pool).await, source(), tenant());
    let owner = house.start(1);
    house.send(source, 1, vec![denied(tenant, call()), denied(tenant, call()), denied(tenant, call())]).await;
    signed_up_to(&pool, tenant, (1, 3)).await;
    stop(owner).await;
    let copied = Copied::of(pool).await;
    let later = Copied::open(&copied.options).await;
    house.means.needs.pool = later.clone();
    let owner = house.start(2);
    house.send(source, 2, vec![denied(tenant, call()), denied(tenant, call())]).await;
    let gone = signed_up_to(&later, tenant, (1, 5)).await;
    stop(owner).await;
    later.close().await;

    let pool = Copied::open(&copied.copy).await;
    house.means.needs.pool = pool.clone();
    let owner = house.start(3);
    signed_up_to(&pool, tenant, (2, 4)).await;
    let log = told_of(&pool, tenant, 2).await;
    assert_eq!(kinds(&log), ["epoch", "gap", "call", "call"], "the stream still had what was recorded since");
    let epoch = &log[0]["epoch"];
    assert_eq!((&epoch["signed"]["size"], &epoch["signed"]["epoch"]), (&json!(5), &json!(1)));
    assert_eq!((&epoch["recovered"]["size"], &log[1]["source"]["reason"]), (&json!(3), &json!("set_back")));
    assert_eq!(told_of(&pool, tenant, 1).await.len(), 3, "nothing is added to the old one");
    assert_eq!(count(&pool, "select max(size) from audit_checkpoint where epoch = 1").await, 3, "nor signed");
    let begun = house.means.metrics.epochs.get();
    assert_eq!(begun, 1);
    let report = verified(&house, &pool, tenant, None).await;
    assert_eq!((report.failed(), report.epochs, report.records), (None, (1, 2), 7));
    let report = verified(&house, &pool, tenant, Some(&gone.note)).await;
    let (check, fault) = report.failed().unwrap();
    assert_eq!((check, fault.epoch, fault.seq), (Check::Consistency, 1, 3), "whoever kept it sees what is gone");
    let mut tx = TenantTx::begin(&pool, tenant).await.unwrap();
    let ended = epoch::ended(&mut tx).await.unwrap();
    assert_eq!((ended.len(), ended[0].size, ended[0].signed.as_ref()), (1, 3, Some(&gone.note)));
    drop(tx);
    house.send(source, 3, vec![denied(tenant, call())]).await;
    signed_up_to(&pool, tenant, (2, 5)).await;
    assert_eq!(house.means.metrics.epochs.get(), begun, "once");
    stop(owner).await;
    pool.close().await;
    copied.forget().await;
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_neither_stream_nor_node_has_any_more_is_named_and_holds_nothing_up(pool: PgPool) {
    let (mut house, source, tenant) = (House::new(&pool).await, source(), tenant());
    let owner = house.start(1);
    house.send(source, 1, vec![denied(tenant, call())]).await;
    signed_up_to(&pool, tenant, (1, 1)).await;
    stop(owner).await;
    let copied = Copied::of(pool).await;
    let later = Copied::open(&copied.options).await;
    house.means.needs.pool = later.clone();
    let owner = house.start(2);
    house.send(source, 2, vec![denied(tenant, call())]).await;
    house.send(source, 3, vec![denied(tenant, call())]).await;
    signed_up_to(&later, tenant, (1, 3)).await;
    stop(owner).await;
    later.close().await;
    let () = redis::cmd("XTRIM")
        .arg(keys::audit(SHARD))
        .arg("MAXLEN")
        .arg(0)
        .query_async(&mut house.connection)
        .await
        .unwrap();

    let pool = Copied::open(&copied.copy).await;
    house.means.needs.pool = pool.clone();
    let owner = house.start(3);
    house.send(source, 4, vec![denied(tenant, call())]).await;
    house.acked(source, 4).await;
    let log = told_of(&pool, tenant, 2).await;
    assert_eq!(kinds(&log), ["epoch", "gap", "gap", "call"]);
    let gap = &log[2]["source"];
    assert_eq!((&gap["reason"], &gap["missing"]), (&json!("set_back"), &json!([{"first": 2, "last": 3}])));
    within(async || count(&pool, "select count(*) from audit_shard where set_back").await == 0).await;
    signed_up_to(&pool, tenant, (2, 4)).await;
    assert_eq!(verified(&house, &pool, tenant, None).await.failed(), None);
    // A node that still has one of them sends it: it takes effect all the same.
    house.send(source, 3, vec![denied(tenant, call())]).await;
    within(async || kinds(&told_of(&pool, tenant, 2).await).ends_with(&["call", "gap_filled"])).await;
    stop(owner).await;
    pool.close().await;
    copied.forget().await;
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_node_that_speaks_only_after_the_gaps_were_named_is_taken_in_all_the_same(pool: PgPool) {
    let (mut house, source, tenant) = (House::new(&pool).await, source(), tenant());
    let owner = house.start(1);
    house.send(source, 1, vec![denied(tenant, call())]).await;
    signed_up_to(&pool, tenant, (1, 1)).await;
    stop(owner).await;
    let mut tx = IngestTx::begin(&pool, SHARD).await.unwrap();
    epoch::set_all_back(&mut tx, 1).await.unwrap();
    tx.commit().await.unwrap();
    let owner = house.start(2);
    within(async || count(&pool, "select count(*) from audit_shard where set_back").await == 0).await;
    // The node was out of touch with Redis, and what it had sent before is gone.
    house.send(source, 4, vec![denied(tenant, call())]).await;
    house.acked(source, 4).await;
    let log = told_of(&pool, tenant, 2).await;
    assert_eq!(kinds(&log), ["epoch", "gap", "gap", "call"]);
    assert_eq!(log[2]["source"]["missing"], json!([{"first": 2, "last": 3}]));
    stop(owner).await;
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_log_whose_hashes_were_rewritten_is_not_signed_over(pool: PgPool) {
    let (mut house, source, tenant) = (House::new(&pool).await, source(), tenant());
    let owner = house.start(1);
    house.send(source, 1, vec![denied(tenant, call()), denied(tenant, call())]).await;
    signed_up_to(&pool, tenant, (1, 2)).await;
    stop(owner).await;
    // As many records, and as many signed for, as before: other ones.
    super::signing::as_owner(
        &pool,
        "update audit_tile set hashes = set_byte(hashes, 40, get_byte(hashes, 40) # 1) where level = 0",
    )
    .await;
    let owner = house.start(2);
    house.send(source, 2, vec![denied(tenant, call())]).await;
    signed_up_to(&pool, tenant, (2, 2)).await;
    assert_eq!(count(&pool, "select max(size) from audit_checkpoint where epoch = 1").await, 2);
    stop(owner).await;
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn an_epoch_that_was_used_is_never_used_again(pool: PgPool) {
    let (mut house, source, tenant) = (House::new(&pool).await, source(), tenant());
    let owner = house.start(1);
    house.send(source, 1, vec![denied(tenant, call())]).await;
    signed_up_to(&pool, tenant, (1, 1)).await;
    stop(owner).await;
    // The database is from before the second epoch was begun.
    let needs = house.means.needs.clone();
    let root = Frontier::default().root();
    let checkpoint = Checkpoint { origin: origin(&needs.deployment, tenant, 2), size: 7, root };
    let key = verifier_key(&needs.deployment, &needs.checkpoints);
    let note = checkpoint.signed(&key, |text| needs.checkpoints.sign(text));
    let () = house.connection.set(keys::checkpoint(tenant), &note).await.unwrap();
    let owner = house.start(2);
    signed_up_to(&pool, tenant, (3, 2)).await;
    let log = told_of(&pool, tenant, 3).await;
    assert_eq!((&log[0]["epoch"]["signed"]["epoch"], &log[0]["epoch"]["recovered"]["epoch"]), (&json!(2), &json!(1)));
    stop(owner).await;
    // Redis was lost as well, and somebody says so.
    let () = redis::cmd("FLUSHALL").query_async(&mut house.connection).await.unwrap();
    let mut tx = IngestTx::begin(&pool, SHARD).await.unwrap();
    assert_eq!(epoch::set_all_back(&mut tx, 9).await.unwrap(), 1);
    tx.commit().await.unwrap();
    let owner = house.start(3);
    signed_up_to(&pool, tenant, (9, 2)).await;
    let log = told_of(&pool, tenant, 9).await;
    assert_eq!(log[0]["epoch"]["signed"], Value::Null);
    house.send(source, 2, vec![denied(tenant, call())]).await;
    signed_up_to(&pool, tenant, (9, 3)).await;
    assert_eq!(verified(&house, &pool, tenant, None).await.failed(), None);
    stop(owner).await;
}

/// A bundle as it is planned, in a file, verified by ours and by the one in Python.
async fn exported(house: &House, pool: &PgPool, tenant: TenantId) -> Report {
    let needs = &house.means.needs;
    let name = |epoch| origin(&needs.deployment, tenant, epoch);
    let mut tx = TenantTx::begin(pool, tenant).await.unwrap();
    let planned = sections(&mut tx, Wanted::All { epoch: None }).await.unwrap().unwrap();
    let mut out = Vec::new();
    for part in parts(planned) {
        match part {
            Part::Header { epoch } => Line::Header { origin: name(epoch), tenant }.write(&mut out),
            Part::Epoch { epoch } => Line::Epoch { origin: name(epoch) }.write(&mut out),
            Part::Checkpoint(note) => Line::Checkpoint(note).write(&mut out),
            Part::Covered { epoch, first, end } => {
                let hashes = covered(&mut tx, epoch, first, end).await.unwrap();
                Line::Covered { first, end, hashes }.write(&mut out);
            }
            Part::Records { epoch, first, end } => {
                let limit = (end - first).cast_signed();
                let leaves = search::leaves(&mut tx, epoch.cast_signed(), first.cast_signed(), limit).await.unwrap();
                assert_eq!(leaves.len() as u64, end - first, "all of them are there");
                for leaf in leaves {
                    let hash: Hash = leaf.leaf_hash.as_slice().try_into().unwrap();
                    Line::Record { seq: leaf.seq.cast_unsigned(), leaf: hash, record: &leaf.body }.write(&mut out);
                }
            }
        }
    }
    let key = verifier_key(&needs.deployment, &needs.checkpoints);
    let file = std::env::temp_dir().join(format!("bundle-{tenant}"));
    std::fs::write(&file, &out).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tools/verify_bundle.py");
    let theirs = std::process::Command::new("python3").arg(script).arg(&file).arg(key.to_string()).output().unwrap();
    std::fs::remove_file(file).unwrap();
    let mut lines = out.split(|byte| *byte == b'\n');
    let mut verifier = Verifier::new(key, None, lines.next().unwrap()).unwrap();
    lines.filter(|line| !line.is_empty()).for_each(|line| verifier.line(line));
    let report = verifier.finish();
    let said = String::from_utf8_lossy(&theirs.stdout).into_owned();
    assert_eq!(theirs.status.success(), report.failed().is_none(), "{said} {:?}", report.failed());
    report
}

/// Lets records be 50 days old, and retention drop their day.
async fn dropped(pool: &PgPool, (epoch, below): (i64, i64)) {
    let old = clock().now() - chrono::TimeDelta::days(50);
    let mut tx = IngestTx::begin(pool, SHARD).await.unwrap();
    partition::add(&mut tx, &[old.date_naive()]).await.unwrap();
    tx.commit().await.unwrap();
    let aged = "update audit_record set part_time = part_time - interval '50 days' where epoch = $1 and seq < $2";
    let mut owner = pool.acquire().await.unwrap();
    sqlx::raw_sql(
        "alter table audit_record no force row level security;
         do $$ declare part text; begin
             for part in select c.relname from pg_inherits join pg_class c on c.oid = inhrelid
                 where inhparent = 'audit_record'::regclass loop
                 execute format('alter table %I no force row level security', part);
             end loop; end $$;",
    )
    .execute(&mut *owner)
    .await
    .unwrap();
    assert!(sqlx::query(aged).bind(epoch).bind(below).execute(&mut *owner).await.unwrap().rows_affected() > 0);
    let mut tx = IngestTx::begin(pool, SHARD).await.unwrap();
    let before = (clock().now() - chrono::TimeDelta::days(40)).date_naive();
    assert_eq!(partition::drop_oldest(&mut tx, before).await.unwrap(), Some(old.date_naive()));
    tx.commit().await.unwrap();
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_bundle_of_all_epochs_verifies_whatever_retention_has_dropped(pool: PgPool) {
    let (mut house, source, tenant) = (House::new(&pool).await, source(), tenant());
    let owner = house.start(1);
    house.send(source, 1, vec![denied(tenant, call()), denied(tenant, call())]).await;
    signed_up_to(&pool, tenant, (1, 2)).await;
    stop(owner).await;
    for (fence, epoch) in [(2, 2), (3, 3)] {
        let mut tx = IngestTx::begin(&pool, SHARD).await.unwrap();
        epoch::set_all_back(&mut tx, 1).await.unwrap();
        tx.commit().await.unwrap();
        let owner = house.start(fence);
        signed_up_to(&pool, tenant, (epoch, 2)).await;
        house.send(source, epoch, vec![denied(tenant, call()), denied(tenant, call())]).await;
        signed_up_to(&pool, tenant, (epoch, 4)).await;
        stop(owner).await;
    }
    let told = async || {
        let report = exported(&house, &pool, tenant).await;
        assert_eq!(report.failed(), None);
        (report.epochs, report.records, report.range)
    };
    assert_eq!(told().await, ((1, 3), 10, Some((0, 3))));
    dropped(&pool, (1, 1)).await;
    assert_eq!(told().await, ((1, 3), 9, Some((1, 3))));
    dropped(&pool, (1, 2)).await;
    assert_eq!(told().await, ((2, 3), 8, Some((0, 3))), "nothing is left of the first");
    dropped(&pool, (2, 1)).await;
    assert_eq!(told().await, ((2, 3), 7, Some((1, 3))));
    dropped(&pool, (3, 2)).await;
    assert_eq!(told().await, ((3, 3), 2, Some((2, 3))), "what the last goes on from is gone");
    dropped(&pool, (3, 4)).await;
    assert_eq!(told().await, ((3, 3), 0, None));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn many_logs_begin_their_epochs_a_few_at_a_time_and_each_is_counted_once(pool: PgPool) {
    let (mut house, source) = (House::new(&pool).await, source());
    let owner = house.start(1);
    let logs: Vec<TenantId> = (0..60).map(|_| tenant()).collect();
    house.send(source, 1, logs.iter().map(|log| denied(*log, call())).collect()).await;
    for log in &logs {
        signed_up_to(&pool, *log, (1, 1)).await;
    }
    stop(owner).await;
    let mut tx = IngestTx::begin(&pool, SHARD).await.unwrap();
    assert!(epoch::set_all_back(&mut tx, 1).await.unwrap() >= 60);
    tx.commit().await.unwrap();
    let owner = house.start(2);
    for log in &logs {
        signed_up_to(&pool, *log, (2, 2)).await;
    }
    let begun = count(&pool, "select count(*) from audit_epoch").await;
    assert_eq!(house.means.metrics.epochs.get(), begun.cast_unsigned());
    assert!(count(&pool, "select count(distinct xmin::text) from audit_epoch").await >= 3, "25 at once");
    stop(owner).await;
}
