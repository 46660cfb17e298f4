//! What arrives: what, signed how, by whom, beside what, and after what.

use std::collections::HashSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use domain::Secret;
use serde_json::json;
use sqlx::PgPool;

use super::receiver::{Got, How, Receiver};
use super::{grow, grow_aged, start, until, webhook, worker};
use crate::app::App;

const PATIENT: Duration = Duration::from_secs(30);

/// The signature that the standard's libraries would make.
fn signature(secret: &str, got: &Got) -> String {
    let key = Secret::new(STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap());
    let message: [&[u8]; 5] = [got.id.as_bytes(), b".", got.timestamp.as_bytes(), b".", &got.body];
    format!("v1,{}", STANDARD.encode(secrets::hmac_sha256(&key, &message)))
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn batches_are_signed_with_both_secrets_while_one_is_replaced(pool: PgPool) {
    let (app, receiver) = (App::new(&pool).await, Receiver::new().await);
    let owner = app.owner().await;
    let path = format!("{}/audit/destinations", owner.path());
    let new = json!({"name": "hook", "settings": {"kind": "webhook", "url": receiver.url}});
    let added = app.post(&owner, &path, new).await.expect(201);
    let (first, path) = (added.text_at("/secret"), format!("{path}/{}", added.text_at("/id")));
    app.post(&owner, &format!("{path}/start"), json!({})).await.expect(200);
    let _drain = worker(&app, PATIENT);
    grow(&pool, &owner, "call", 2).await;
    receiver.has(2).await;
    assert_eq!(receiver.kept()[0].signature, signature(&first, &receiver.kept()[0]));
    let second = format!("whsec_{}", STANDARD.encode([7; 32]));
    let change = json!({"revision": 2, "secret": second, "keep_previous": true});
    app.patch(&owner, &path, change).await.expect(200);
    grow(&pool, &owner, "call", 1).await;
    receiver.has(3).await;
    let got = receiver.kept().pop().unwrap();
    assert_eq!(got.signature, format!("{} {}", signature(&second, &got), signature(&first, &got)));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn each_tenant_gets_its_own_records_and_those_it_wants(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let stranger = app.stranger(&owner).await;
    let (all, denied, theirs) = (Receiver::new().await, Receiver::new().await, Receiver::new().await);
    webhook(&app, &owner, "all", &all.url).await;
    let settings = json!({"kind": "webhook", "url": denied.url});
    let wanted = json!({"kinds": ["call"], "effects": ["deny"]});
    let some = start(&app, &owner, json!({"name": "some", "settings": settings, "wanted": wanted})).await;
    webhook(&app, &stranger, "theirs", &theirs.url).await;
    let _drain = worker(&app, PATIENT);
    grow(&pool, &owner, "call", 10).await;
    grow(&pool, &owner, "admin", 10).await;
    grow(&pool, &stranger, "call", 4).await;
    all.has(20).await;
    denied.has(5).await;
    theirs.has(4).await;
    let tenants = |receiver: &Receiver| -> HashSet<String> {
        let kept = receiver.kept();
        kept.iter().flat_map(|got| &got.lines).map(|line| line["tenant"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(tenants(&all), HashSet::from([owner.tenant.to_string()]));
    assert_eq!(tenants(&theirs), HashSet::from([stranger.tenant.to_string()]));
    assert_eq!(denied.places(), [1, 3, 5, 7, 9]);
    let record = &all.kept()[0].lines[0]["record"];
    assert_eq!(record, &json!({"kind": "call", "n": 0}), "the record's own bytes");
    // What a filter leaves out is not behind.
    until(&app, &owner, &some, |shown| shown["progress"]["lag_records"] == 0).await;
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn who_hangs_delays_nobody_else(pool: PgPool) {
    let (app, hangs, quick) = (App::new(&pool).await, Receiver::new().await, Receiver::new().await);
    let owner = app.owner().await;
    hangs.then(&[How::TakeAndHang; 100]);
    for number in 0..10 {
        webhook(&app, &owner, &format!("hangs {number}"), &hangs.url).await;
    }
    webhook(&app, &owner, "quick", &quick.url).await;
    let _drain = worker(&app, PATIENT);
    grow(&pool, &owner, "call", 100).await;
    quick.has(100).await;
    hangs.was_asked(10).await;
    grow(&pool, &owner, "call", 2000).await;
    quick.has(2100).await;
    assert_eq!(hangs.asked(), 10, "each of them still waits for its first answer");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_batch_that_was_under_way_comes_again_within_the_same_bounds_after_a_restart(pool: PgPool) {
    let (app, receiver) = (App::new(&pool).await, Receiver::new().await);
    let owner = app.owner().await;
    receiver.then(&[How::TakeAndHang]);
    webhook(&app, &owner, "hook", &receiver.url).await;
    let first = worker(&app, PATIENT);
    grow(&pool, &owner, "call", 5).await;
    receiver.has(5).await;
    // More came into the log meanwhile: a batch made anew would be larger.
    grow(&pool, &owner, "call", 5).await;
    first.begin();
    first.finish(PATIENT).await.unwrap();
    let _second = worker(&app, PATIENT);
    receiver.has(10).await;
    let kept = receiver.kept();
    assert_eq!((&kept[0].id, &kept[0].lines), (&kept[1].id, &kept[1].lines));
    assert_eq!(receiver.places(), (0..10).collect::<Vec<u64>>());
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn two_control_planes_send_as_one(pool: PgPool) {
    let (app, receiver) = (App::new(&pool).await, Receiver::new().await);
    let owner = app.owner().await;
    let path = webhook(&app, &owner, "hook", &receiver.url).await;
    let _drains = [worker(&app, PATIENT), worker(&app, PATIENT)];
    for _ in 0..20 {
        grow(&pool, &owner, "call", 150).await;
    }
    receiver.has(3000).await;
    until(&app, &owner, &path, |shown| shown["progress"]["lag_records"] == 0).await;
    let ids: HashSet<String> = receiver.kept().into_iter().map(|got| got.id).collect();
    assert_eq!(ids.len(), receiver.kept().len(), "nothing was sent twice");
    assert_eq!(receiver.places(), (0..3000).collect::<Vec<u64>>());
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_pause_keeps_the_place_and_a_replay_sends_again_beside_what_is_new(pool: PgPool) {
    let (app, receiver) = (App::new(&pool).await, Receiver::new().await);
    let owner = app.owner().await;
    let path = webhook(&app, &owner, "hook", &receiver.url).await;
    let _drain = worker(&app, PATIENT);
    grow(&pool, &owner, "call", 10).await;
    until(&app, &owner, &path, |shown| shown["progress"]["next"] == 10).await;
    app.post(&owner, &format!("{path}/pause"), json!({})).await.expect(200);
    grow(&pool, &owner, "call", 5).await;
    let shown = app.get(&owner, &path).await.expect(200).json();
    assert_eq!((&shown["state"], &shown["progress"]["lag_records"]), (&json!("paused"), &json!(5)));
    let replay = app.post(&owner, &format!("{path}/replay"), json!({"seq": 4, "rate": 4})).await.expect(202).json();
    assert_eq!(replay["replay"], json!({"first": 4, "next": 4, "end": 15, "rate": 4}));
    app.post(&owner, &format!("{path}/replay"), json!({"seq": 4})).await.expect(409);
    app.post(&owner, &format!("{path}/start"), json!({})).await.expect(200);
    receiver.has(26).await;
    until(&app, &owner, &path, |shown| shown["replay"].is_null()).await;
    let mut places = receiver.places();
    assert_eq!(&places[..10], (0..10).collect::<Vec<u64>>());
    places.sort_unstable();
    let mut want: Vec<u64> = (0..15).chain(4..15).collect();
    want.sort_unstable();
    assert_eq!(places, want);
    let ids: HashSet<String> = receiver.kept().iter().map(|got| got.id.clone()).collect();
    assert_eq!(ids.len(), receiver.kept().len(), "what is replayed is to be taken once more");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_replay_from_a_time_sends_what_began_then_or_later_and_nothing_else(pool: PgPool) {
    let (app, receiver) = (App::new(&pool).await, Receiver::new().await);
    let owner = app.owner().await;
    let path = webhook(&app, &owner, "hook", &receiver.url).await;
    let _drain = worker(&app, PATIENT);
    let now =
        async || -> DateTime<Utc> { sqlx::query_scalar("select clock_timestamp()").fetch_one(&pool).await.unwrap() };
    grow(&pool, &owner, "call", 7).await;
    let then = now().await;
    // Among those to be sent are some in a partition far from the time that is asked for.
    for (count, days) in [(5, 0), (3, 30), (2, 0)] {
        grow_aged(&pool, &owner, ("call", count), (days, 0.0)).await;
    }
    until(&app, &owner, &path, |shown| shown["progress"]["next"] == 17).await;
    let replay = format!("{path}/replay");
    let shown = app.post(&owner, &replay, json!({"from": then, "rate": 1000})).await.expect(202).json();
    assert_eq!(shown["replay"], json!({"first": 7, "next": 7, "end": 17, "rate": 1000}));
    until(&app, &owner, &path, |shown| shown["replay"].is_null()).await;
    assert_eq!(receiver.places(), (0..17).chain(7..17).collect::<Vec<u64>>());
    let ids: HashSet<String> = receiver.kept().iter().map(|got| got.id.clone()).collect();
    assert_eq!(ids.len(), receiver.kept().len(), "what is replayed is to be taken once more");
    app.post(&owner, &replay, json!({"from": now().await})).await.expect(409);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn the_signed_checkpoint_goes_along(pool: PgPool) {
    let (app, receiver) = (App::new(&pool).await, Receiver::new().await);
    let owner = app.owner().await;
    let path = webhook(&app, &owner, "hook", &receiver.url).await;
    grow(&pool, &owner, "call", 3).await;
    let mut tx = pool.begin().await.unwrap();
    sqlx::raw_sql("set local role sluice_ingest").execute(&mut *tx).await.unwrap();
    for (size, note) in [(2_i64, "over two"), (3, "over three")] {
        let sql =
            "insert into audit_checkpoint (tenant_id, epoch, size, note, signed_at) values ($1, 1, $2, $3, now())";
        let insert = sqlx::query(sql).bind(owner.tenant.uuid()).bind(size).bind(note);
        insert.execute(&mut *tx).await.unwrap();
    }
    sqlx::query("update audit_head set signed_size = 3").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let _drain = worker(&app, PATIENT);
    until(&app, &owner, &path, |shown| shown["progress"]["next"] == 3).await;
    let note = async {
        let mut turns = tokio::time::interval(Duration::from_millis(20));
        loop {
            let kept = receiver.kept();
            if let Some(line) = kept.iter().flat_map(|got| &got.lines).find(|line| line["kind"] == "checkpoint") {
                return line.clone();
            }
            turns.tick().await;
        }
    };
    let line = tokio::time::timeout(PATIENT, note).await.unwrap();
    assert_eq!((&line["size"], &line["note"]), (&json!(3), &json!("over three")));
}

/// A record's partition follows its own time where that is plausible: whoever looks near the ones before it would miss it.
#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_record_in_a_partition_far_from_its_neighbours_is_not_left_out(pool: PgPool) {
    let (app, all, some) = (App::new(&pool).await, Receiver::new().await, Receiver::new().await);
    let owner = app.owner().await;
    let path = webhook(&app, &owner, "all", &all.url).await;
    let (settings, wanted) = (json!({"kind": "webhook", "url": some.url}), json!({"effects": ["deny"]}));
    start(&app, &owner, json!({"name": "some", "settings": settings, "wanted": wanted})).await;
    for days in [0, 60, 0, 30, 0] {
        grow_aged(&pool, &owner, ("call", 5), (days, 0.0)).await;
    }
    let _drain = worker(&app, PATIENT);
    all.has(25).await;
    some.has(12).await;
    assert_eq!(all.places(), (0..25).collect::<Vec<u64>>());
    assert_eq!(some.places(), (0..25).filter(|seq| seq % 2 == 1).collect::<Vec<u64>>());
    // And where the last that was sent is near, and the next is not.
    grow_aged(&pool, &owner, ("call", 1), (90, 0.0)).await;
    all.has(26).await;
    let shown = until(&app, &owner, &path, |shown| shown["progress"]["next"] == 26).await;
    assert_eq!(shown["progress"]["lost"], 0);
}
