//! A webhook that fails in every way: nothing is lost, the order is kept, and what comes twice has the same id.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::PgPool;

use super::receiver::{Got, How, Receiver};
use super::{grow, start, until, webhook, worker};
use crate::app::App;

const SOON: Duration = Duration::from_millis(400);
const PATIENT: Duration = Duration::from_secs(30);

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn nothing_is_lost_whatever_a_receiver_does(pool: PgPool) {
    let (app, receiver) = (App::new(&pool).await, Receiver::new().await);
    let owner = app.owner().await;
    let path = webhook(&app, &owner, "hook", &receiver.url).await;
    let _drain = worker(&app, SOON);
    let ways = [
        How::Status(500),
        How::Later,
        How::Status(503),
        How::TakeAndHang,
        How::TakeAndClose,
        How::TakeWhenTold,
        How::Status(404),
        How::Status(401),
    ];
    for (round, how) in ways.into_iter().enumerate() {
        receiver.then(&[how]);
        let (asked, began) = (receiver.asked(), Instant::now());
        grow(&pool, &owner, "call", 3).await;
        let want = u64::try_from(3 * (round + 1)).unwrap();
        if how == How::TakeWhenTold {
            receiver.has(3 * (round + 1)).await;
            let shown = app.get(&owner, &path).await.expect(200).json();
            assert_eq!(shown["progress"]["next"], want - 3, "it is inside, and nobody knows yet that it was taken");
            receiver.answer();
        }
        until(&app, &owner, &path, |shown| shown["progress"]["next"] == want).await;
        let tries = if how == How::TakeWhenTold { 1 } else { 2 };
        assert!(receiver.asked() >= asked + tries, "{how:?}");
        if how == How::Later {
            assert!(began.elapsed() >= Duration::from_secs(1), "a second was asked for");
        }
    }
    let all: Vec<u64> = (0..24).collect();
    assert_eq!(receiver.places(), all, "each once, in the log's order, for whoever keeps ids");
    let kept = receiver.kept();
    for twice in kept.windows(2).filter(|pair| pair[0].lines == pair[1].lines) {
        assert_eq!(twice[0].id, twice[1].id);
    }
    assert!(kept.len() > ways.len(), "some came twice");
}

/// Standard Webhooks: what is neither 2xx nor 410 is tried again. What says that it never fits is ours to set aside.
#[sqlx::test(migrator = "store::MIGRATOR")]
async fn every_other_status_is_tried_again(pool: PgPool) {
    let (app, receiver) = (App::new(&pool).await, Receiver::new().await);
    let owner = app.owner().await;
    let path = webhook(&app, &owner, "hook", &receiver.url).await;
    let _drain = worker(&app, PATIENT);
    let statuses = [401, 403, 404, 405, 408, 409, 418, 425, 429, 500, 501, 502, 503, 504, 507, 599];
    for (want, status) in (1..).zip(statuses) {
        receiver.then(&[How::Status(status)]);
        let asked = receiver.asked();
        grow(&pool, &owner, "call", 1).await;
        let shown = until(&app, &owner, &path, |shown| shown["progress"]["next"] == want).await;
        assert_eq!((&shown["progress"]["error"]["status"], receiver.asked()), (&json!(status), asked + 2));
        assert_eq!((&shown["state"], &shown["dead_letters"]), (&json!("running"), &json!(0)), "{status}");
    }
    assert_eq!(receiver.places(), (0..16).collect::<Vec<u64>>());
    receiver.then(&[How::Status(422)]);
    grow(&pool, &owner, "call", 1).await;
    let shown = until(&app, &owner, &path, |shown| shown["progress"]["next"] == 17).await;
    assert_eq!(shown["dead_letters"], 1);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn when_to_come_again_is_believed_where_it_can_be_meant(pool: PgPool) {
    let (app, receiver) = (App::new(&pool).await, Receiver::new().await);
    let owner = app.owner().await;
    let path = webhook(&app, &owner, "hook", &receiver.url).await;
    let _drain = worker(&app, PATIENT);
    let ways = [
        How::LaterByDate,
        How::LaterThan("99999999999999999999999999"),
        How::LaterThan("-1"),
        How::LaterThan("soon"),
        How::LaterThan("Thu, 01 Jan 1970 00:00:00 GMT"),
    ];
    for (want, how) in (1..).zip(ways) {
        receiver.then(&[how]);
        grow(&pool, &owner, "call", 1).await;
        let began = Instant::now();
        until(&app, &owner, &path, |shown| shown["progress"]["next"] == want).await;
        assert!(how != How::LaterByDate || began.elapsed() >= Duration::from_secs(1), "a date has whole seconds");
    }
    receiver.then(&[How::LaterThan("864000000")]);
    grow(&pool, &owner, "call", 1).await;
    until(&app, &owner, &path, |shown| shown["progress"]["failures"] == 1).await;
    let due = "select extract(epoch from due_at - clock_timestamp())::int8 from destination_lanes";
    let due: i64 = app.one_of_tenant(&owner, due).await;
    assert!((3500..=3601).contains(&due), "ten thousand days are an hour at most: {due} s");
    assert_eq!(receiver.places(), (0..5).collect::<Vec<u64>>());
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_small_batch_that_is_always_late_stays_the_same_batch(pool: PgPool) {
    let (app, receiver) = (App::new(&pool).await, Receiver::new().await);
    let owner = app.owner().await;
    receiver.then(&[How::TakeAndHang; 4]);
    let path = webhook(&app, &owner, "hook", &receiver.url).await;
    let _drain = worker(&app, SOON);
    grow(&pool, &owner, "call", 3).await;
    until(&app, &owner, &path, |shown| shown["progress"]["failures"].as_u64() >= Some(1)).await;
    // A batch made anew would be larger.
    grow(&pool, &owner, "call", 3).await;
    until(&app, &owner, &path, |shown| shown["progress"]["next"] == 6).await;
    let kept = receiver.kept();
    assert!(kept.len() >= 6 && kept[..5].iter().all(|got| (&got.id, got.lines.len()) == (&kept[0].id, 3)));
    assert_eq!(receiver.places(), (0..6).collect::<Vec<u64>>());
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_large_batch_that_is_always_late_is_halved(pool: PgPool) {
    let (app, receiver) = (App::new(&pool).await, Receiver::new().await);
    let owner = app.owner().await;
    receiver.then(&[How::TakeAndHang; 3]);
    let path = webhook(&app, &owner, "hook", &receiver.url).await;
    grow(&pool, &owner, "call", 1000).await;
    let _drain = worker(&app, Duration::from_secs(2));
    until(&app, &owner, &path, |shown| shown["progress"]["next"] == 1000).await;
    let kept = receiver.kept();
    let places = |got: &Got| got.lines.iter().filter_map(|line| line["seq"].as_u64()).collect::<Vec<_>>();
    assert!(kept[..3].iter().all(|got| got.id == kept[0].id && got.lines.len() == 1000));
    assert_eq!(kept[3].lines.len(), 500);
    let after: Vec<u64> = kept[3..].iter().flat_map(places).collect();
    assert_eq!(after, (0..1000).collect::<Vec<u64>>(), "the halves, in the log's order");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_receiver_that_can_not_be_reached_is_named_and_tried_again(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    // Nobody listens there, and there nobody speaks TLS.
    let silent = Receiver::new().await;
    let tls = silent.url.replace("http:", "https:");
    let none = webhook(&app, &owner, "none", "http://127.0.0.1:1/").await;
    let plain = webhook(&app, &owner, "plain", &tls).await;
    let unknown = webhook(&app, &owner, "unknown", "https://nobody.invalid/hook").await;
    let _drain = worker(&app, SOON);
    grow(&pool, &owner, "call", 1).await;
    for (path, code) in [(none, "unreachable"), (plain, "tls"), (unknown, "unresolved")] {
        let shown = until(&app, &owner, &path, |shown| shown["progress"]["failures"].as_u64() >= Some(2)).await;
        assert_eq!(shown["progress"]["error"]["code"], code, "{shown:#}");
        assert_eq!((&shown["state"], &shown["progress"]["next"]), (&json!("running"), &json!(0)));
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_is_too_large_is_halved_until_it_fits(pool: PgPool) {
    let (app, receiver) = (App::new(&pool).await, Receiver::new().await);
    let owner = app.owner().await;
    receiver.takes_at_most(3);
    webhook(&app, &owner, "hook", &receiver.url).await;
    let _drain = worker(&app, SOON);
    grow(&pool, &owner, "call", 40).await;
    receiver.has(40).await;
    assert_eq!(receiver.places(), (0..40).collect::<Vec<u64>>());
    assert!(receiver.kept().iter().all(|got| got.lines.len() <= 3));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_record_that_is_never_taken_is_put_aside_and_can_be_sent_again(pool: PgPool) {
    let (app, receiver) = (App::new(&pool).await, Receiver::new().await);
    let owner = app.owner().await;
    receiver.never_takes(Some(7));
    let path = webhook(&app, &owner, "hook", &receiver.url).await;
    let _drain = worker(&app, SOON);
    grow(&pool, &owner, "call", 20).await;
    until(&app, &owner, &path, |shown| shown["progress"]["next"] == 20).await;
    let others: Vec<u64> = (0..20).filter(|place| *place != 7).collect();
    assert_eq!(receiver.places(), others);
    let letters = app.get(&owner, &format!("{path}/dead-letters")).await.expect(200).json();
    let letter = &letters["dead_letters"][0];
    assert_eq!((&letter["seq"], &letter["status"]), (&json!(7), &json!(400)));
    assert_eq!(letter["said"], "HTTP 400 Bad Request: no, for a reason");
    receiver.never_takes(None);
    let asked = app.post(&owner, &format!("{path}/dead-letters/resend"), json!({})).await.expect(202);
    assert_eq!(asked.json()["asked"], 1);
    until(&app, &owner, &path, |shown| shown["dead_letters"] == 0).await;
    assert_eq!(receiver.places().last(), Some(&7));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn settings_that_are_wrong_stop_a_destination_until_a_person_has_looked(pool: PgPool) {
    let (app, receiver) = (App::new(&pool).await, Receiver::new().await);
    let owner = app.owner().await;
    let path = webhook(&app, &owner, "hook", &receiver.url).await;
    let _drain = worker(&app, SOON);
    let ways = [How::Status(410), How::Elsewhere, How::Status(301), How::Status(307), How::Status(308)];
    for how in ways {
        receiver.then(&[how]);
        grow(&pool, &owner, "call", 2).await;
        let shown = until(&app, &owner, &path, |shown| shown["state"] == "stopped").await;
        assert!(shown["progress"]["error"]["said"].as_str().unwrap().starts_with("HTTP "), "{shown:#}");
        app.post(&owner, &format!("{path}/start"), json!({})).await.expect(200);
        until(&app, &owner, &path, |shown| shown["progress"]["lag_records"] == 0).await;
    }
    assert_eq!(receiver.places(), (0..10).collect::<Vec<u64>>());
    let stopped = "select count(*) from audit_inbox where convert_from(body, 'UTF8') like '%destination.stop%'";
    assert_eq!(app.one_of_tenant::<i64>(&owner, stopped).await, 5, "that it was stopped is recorded");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_receiver_that_refuses_everything_is_no_reason_to_put_everything_aside(pool: PgPool) {
    let (app, receiver) = (App::new(&pool).await, Receiver::new().await);
    let owner = app.owner().await;
    receiver.then(&vec![How::Status(400); 500]);
    let path = webhook(&app, &owner, "hook", &receiver.url).await;
    let _drain = worker(&app, SOON);
    grow(&pool, &owner, "call", 100).await;
    let shown = until(&app, &owner, &path, |shown| shown["state"] == "stopped").await;
    assert_eq!(shown["dead_letters"], 20);
    assert_eq!(shown["progress"]["next"], 20);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_receiver_that_refuses_everything_and_is_busy_in_between_is_stopped_too(pool: PgPool) {
    let (app, receiver) = (App::new(&pool).await, Receiver::new().await);
    let owner = app.owner().await;
    for _ in 0..20 {
        receiver.then(&[How::Status(400); 10]);
        receiver.then(&[How::Later]);
    }
    let path = webhook(&app, &owner, "hook", &receiver.url).await;
    let _drain = worker(&app, SOON);
    grow(&pool, &owner, "call", 60).await;
    let shown = until(&app, &owner, &path, |shown| shown["state"] == "stopped").await;
    assert_eq!((&shown["dead_letters"], &shown["progress"]["next"]), (&json!(20), &json!(20)));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_replay_that_is_refused_stops_itself_and_nothing_else(pool: PgPool) {
    let (app, receiver) = (App::new(&pool).await, Receiver::new().await);
    let owner = app.owner().await;
    let path = webhook(&app, &owner, "hook", &receiver.url).await;
    let _drain = worker(&app, SOON);
    grow(&pool, &owner, "call", 5).await;
    receiver.has(5).await;
    until(&app, &owner, &path, |shown| shown["progress"]["lag_records"] == 0).await;
    receiver.then(&[How::Status(410)]);
    app.post(&owner, &format!("{path}/replay"), json!({"seq": 0})).await.expect(202);
    let shown = until(&app, &owner, &path, |shown| shown["replay"]["stopped"] == true).await;
    assert_eq!((&shown["state"], &shown["replay"]["error"]["status"]), (&json!("running"), &json!(410)));
    grow(&pool, &owner, "call", 3).await;
    until(&app, &owner, &path, |shown| shown["progress"]["next"] == 8).await;
    let inbox = "select count(*) from audit_inbox where convert_from(body, 'UTF8') like '%destination.replay_stop%'";
    assert_eq!(app.one_of_tenant::<i64>(&owner, inbox).await, 1, "that it was stopped is recorded");
    app.delete(&owner, &format!("{path}/replay")).await.expect(204);
    app.post(&owner, &format!("{path}/replay"), json!({"seq": 0})).await.expect(202);
    until(&app, &owner, &path, |shown| shown["replay"].is_null()).await;
    receiver.has(16).await;
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_left_the_log_before_it_was_sent_is_counted_recorded_and_shown(pool: PgPool) {
    let (app, receiver) = (App::new(&pool).await, Receiver::new().await);
    let owner = app.owner().await;
    let all = webhook(&app, &owner, "all", &receiver.url).await;
    let denied = Receiver::new().await;
    let wanted = json!({"effects": ["deny"]});
    let some = json!({"name": "some", "settings": {"kind": "webhook", "url": denied.url}, "wanted": wanted});
    let some = start(&app, &owner, some).await;
    grow(&pool, &owner, "call", 10).await;
    let mut tx = pool.begin().await.unwrap();
    // As retention does, which is the owner and drops tables: nobody else may take a record away.
    sqlx::raw_sql("alter table audit_record no force row level security").execute(&mut *tx).await.unwrap();
    let gone = sqlx::query("delete from audit_record where seq < 4 or seq = 6").execute(&mut *tx).await.unwrap();
    assert_eq!(gone.rows_affected(), 5);
    sqlx::raw_sql("alter table audit_record force row level security").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let _drain = worker(&app, SOON);
    for path in [&all, &some] {
        let shown = until(&app, &owner, path, |shown| shown["progress"]["next"] == 10).await;
        assert_eq!(shown["progress"]["lost"], 5, "{shown:#}");
    }
    assert_eq!((receiver.places(), denied.places()), (vec![4, 5, 7, 8, 9], vec![5, 7, 9]));
    let gaps = "select string_agg(convert_from(body, 'UTF8'), ' ') from audit_inbox
        where convert_from(body, 'UTF8') like '%destination.gap%'";
    let gaps: String = app.one_of_tenant(&owner, gaps).await;
    for said in ["all: 4 of records 0 to 3 of epoch 1", "some: 1 of records 6 to 6 of epoch 1"] {
        assert!(gaps.contains(said), "{gaps}");
    }
}
