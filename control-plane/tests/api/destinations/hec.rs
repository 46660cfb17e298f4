//! Splunk's collector at the end of a lane: by what it says the same comes again, is looked through for the event that is
//! wrong, or stops.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::PgPool;

use super::collector::{Collector, How, TOKEN};
use super::{grow, start, until, worker};
use crate::app::App;

const SOON: Duration = Duration::from_secs(5);

fn splunk(url: &str, index: &str, token: &str) -> Value {
    let settings = json!({"kind": "splunk_hec", "url": url, "index": index});
    json!({"name": format!("splunk {index} {token}"), "format": "ocsf", "settings": settings, "secret": token})
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_strict_collector_takes_every_event_once_it_is_not_busy(pool: PgPool) {
    let (app, collector) = (App::new(&pool).await, Collector::new().await);
    let owner = app.owner().await;
    collector.then(&[How::Say(503, 9)]);
    let path = start(&app, &owner, splunk(&collector.url, "audit", TOKEN)).await;
    let _drain = worker(&app, SOON);
    grow(&pool, &owner, "call", 1500).await;
    let shown = until(&app, &owner, &path, |shown| shown["progress"]["next"] == 1500).await;
    assert_eq!(shown["progress"]["error"]["code"], "hec_9", "it was busy once");
    assert_eq!((collector.places(), collector.copies()), ((0..1500).collect::<Vec<u64>>(), Vec::new()));
    let first = &collector.events()[0];
    assert!(first["fields"]["event_id"].as_str().unwrap().starts_with("rec_"));
    assert_eq!(first["sourcetype"], "sluice:audit");
    assert_eq!(first["event"]["metadata"]["version"], "1.8.0");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_will_pass_comes_again(pool: PgPool) {
    let (app, collector) = (App::new(&pool).await, Collector::new().await);
    let owner = app.owner().await;
    let path = start(&app, &owner, splunk(&collector.url, "audit", TOKEN)).await;
    let _drain = worker(&app, SOON);
    let ways = [
        (How::Later(503, 9), "hec_9"),
        (How::Say(500, 8), "hec_8"),
        (How::Say(503, 20), "hec_20"),
        (How::Say(503, 23), "hec_23"),
        (How::Page(429), "status"),
        (How::Page(502), "status"),
        // A gateway before it, which counts in its own way.
        (How::Say(429, 429), "hec_429"),
        (How::Say(408, 408), "hec_408"),
        (How::Say(502, 0), "hec_0"),
        (How::Say(500, 13), "hec_13"),
        (How::Say(503, 14), "hec_14"),
        (How::Say(500, 2), "hec_2"),
        (How::TakeAndClose, "cut_off"),
    ];
    for (round, (how, code)) in ways.into_iter().enumerate() {
        collector.then(&[how]);
        let (asked, began) = (collector.asked(), Instant::now());
        grow(&pool, &owner, "call", 3).await;
        let want = u64::try_from(3 * (round + 1)).unwrap();
        let shown = until(&app, &owner, &path, |shown| shown["progress"]["next"] == want).await;
        assert_eq!((&shown["progress"]["error"]["code"], &shown["dead_letters"]), (&json!(code), &json!(0)));
        assert!(collector.asked() >= asked + 2, "{how:?}");
        assert!(!matches!(how, How::Later(..)) || began.elapsed() >= Duration::from_secs(1), "a second was asked for");
    }
    assert_eq!(collector.places(), (0..39).collect::<Vec<u64>>());
    assert_eq!(collector.copies(), [36, 37, 38], "what it took without saying so came again under the same ids");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_batch_that_was_taken_without_a_word_comes_again_as_it_was_by_whoever_is_next(pool: PgPool) {
    let (app, collector) = (App::new(&pool).await, Collector::new().await);
    let owner = app.owner().await;
    collector.then(&[How::TakeAndClose, How::Later(503, 9)]);
    let path = start(&app, &owner, splunk(&collector.url, "audit", TOKEN)).await;
    grow(&pool, &owner, "call", 5).await;
    let first = worker(&app, SOON);
    until(&app, &owner, &path, |shown| shown["progress"]["failures"].as_u64() >= Some(1)).await;
    first.finish(SOON).await.unwrap();
    grow(&pool, &owner, "call", 5).await;
    let _second = worker(&app, SOON);
    until(&app, &owner, &path, |shown| shown["progress"]["next"] == 10).await;
    assert_eq!(collector.places(), (0..10).collect::<Vec<u64>>());
    assert_eq!(collector.copies(), (0..5).collect::<Vec<u64>>());
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn the_event_that_is_wrong_is_found_and_put_aside_and_no_other(pool: PgPool) {
    let (app, collector) = (App::new(&pool).await, Collector::new().await);
    let owner = app.owner().await;
    let wrong = [(3, 6), (8, 12), (11, 13), (17, 15), (18, 5)];
    collector.refuses(&wrong);
    let path = start(&app, &owner, splunk(&collector.url, "audit", TOKEN)).await;
    let _drain = worker(&app, SOON);
    grow(&pool, &owner, "call", 40).await;
    until(&app, &owner, &path, |shown| shown["progress"]["next"] == 40).await;
    let is_wrong = |place: &u64| wrong.iter().any(|(seq, _)| seq == place);
    let (aside, others): (Vec<u64>, Vec<u64>) = (0..40).partition(is_wrong);
    assert_eq!(collector.places(), others, "in the log's order for whoever leaves copies out");
    let letters = app.get(&owner, &format!("{path}/dead-letters")).await.expect(200).json();
    let mut found: Vec<(u64, String)> = letters["dead_letters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|letter| (letter["seq"].as_u64().unwrap(), letter["code"].as_str().unwrap().to_owned()))
        .collect();
    found.sort();
    assert_eq!(found, wrong.map(|(seq, code)| (seq, format!("hec_{code}"))));
    collector.refuses(&[]);
    app.post(&owner, &format!("{path}/dead-letters/resend"), json!({})).await.expect(202);
    until(&app, &owner, &path, |shown| shown["dead_letters"] == 0).await;
    assert_eq!(collector.places()[others.len()..], aside);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_is_too_large_for_it_is_halved(pool: PgPool) {
    let (app, collector) = (App::new(&pool).await, Collector::new().await);
    let owner = app.owner().await;
    collector.takes_at_most(3);
    let path = start(&app, &owner, splunk(&collector.url, "audit", TOKEN)).await;
    let _drain = worker(&app, SOON);
    grow(&pool, &owner, "call", 30).await;
    let shown = until(&app, &owner, &path, |shown| shown["progress"]["next"] == 30).await;
    assert_eq!(shown["dead_letters"], 0);
    assert_eq!((collector.places(), collector.copies()), ((0..30).collect::<Vec<u64>>(), Vec::new()));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_a_person_must_change_stops_it_and_is_said(pool: PgPool) {
    let (app, collector) = (App::new(&pool).await, Collector::new().await);
    let owner = app.owner().await;
    let path = start(&app, &owner, splunk(&collector.url, "audit", TOKEN)).await;
    let _drain = worker(&app, SOON);
    let ways = [
        (How::Say(403, 1), "hec_1", "enable it"),
        (How::Say(401, 2), "hec_2", "enter it again"),
        (How::Say(401, 3), "hec_3", "enter it again"),
        (How::Say(403, 4), "hec_4", "enter it again"),
        (How::Say(400, 7), "hec_7", "choose another"),
        (How::Say(400, 10), "hec_10", "switch them off"),
        (How::Say(400, 11), "hec_11", "switch them off"),
        (How::Say(400, 14), "hec_14", "Acknowledgements are off"),
        (How::Page(401), "status", "Check the token"),
        (How::Page(403), "status", "Check the token"),
        (How::Page(404), "status", "check the address"),
        (How::Say(403, 403), "hec_403", "Check the token"),
    ];
    for (round, (how, code, word)) in ways.into_iter().enumerate() {
        collector.then(&[how]);
        grow(&pool, &owner, "call", 2).await;
        let shown = until(&app, &owner, &path, |shown| shown["state"] == "stopped").await;
        let error = &shown["progress"]["error"];
        assert_eq!((&error["code"], &shown["dead_letters"]), (&json!(code), &json!(0)), "{how:?}");
        assert!(error["said"].as_str().unwrap().contains(word), "{error}");
        app.post(&owner, &format!("{path}/start"), json!({})).await.expect(200);
        until(&app, &owner, &path, |shown| shown["progress"]["next"] == 2 * (round + 1)).await;
    }
    assert_eq!((collector.places(), collector.copies()), ((0..24).collect::<Vec<u64>>(), Vec::new()));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn settings_that_splunk_does_not_take_are_named_by_a_test_too(pool: PgPool) {
    let (app, collector) = (App::new(&pool).await, Collector::new().await);
    let owner = app.owner().await;
    let _drain = worker(&app, SOON);
    for (index, token, code, word) in
        [("audit", "another-token", "hec_4", "enter it again"), ("other", TOKEN, "hec_7", "choose another")]
    {
        let path = start(&app, &owner, splunk(&collector.url, index, token)).await;
        let tested = app.post(&owner, &format!("{path}/test"), json!({})).await.expect(200).json();
        assert_eq!((&tested["accepted"], &tested["code"]), (&json!(false), &json!(code)), "{tested}");
        grow(&pool, &owner, "call", 1).await;
        let shown = until(&app, &owner, &path, |shown| shown["state"] == "stopped").await;
        let error = &shown["progress"]["error"];
        assert_eq!(error["code"], code);
        assert!(error["said"].as_str().unwrap().contains(word), "{error}");
        assert!(!shown.to_string().contains(token) || shown["name"].as_str().unwrap().contains(token));
    }
}
