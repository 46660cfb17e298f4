//! A webhook whose connections break, stall and lie: nothing is lost, the order is kept, and what comes twice has the same id.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::json;
use sqlx::PgPool;

use super::wire::{Way, Wire};
use super::{grow, start, until, webhook, worker};
use crate::app::App;

const SOON: Duration = Duration::from_secs(2);

/// The places of what was kept, by somebody who keeps each webhook-id once; the same id is the same batch.
fn places(wire: &Wire) -> Vec<u64> {
    let (mut seen, mut places) = (HashMap::new(), Vec::new());
    for (id, lines) in wire.kept() {
        if let Some(before) = seen.get(&id) {
            assert_eq!(before, &lines, "what comes twice is the same");
            continue;
        }
        places.extend(lines.iter().filter_map(|line| line["seq"].as_u64()));
        seen.insert(id, lines);
    }
    places
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn nothing_is_lost_wherever_a_connection_breaks(pool: PgPool) {
    let (app, wire) = (App::new(&pool).await, Wire::new().await);
    let owner = app.owner().await;
    let path = webhook(&app, &owner, "hook", &wire.url).await;
    let _drain = worker(&app, SOON);
    let ways = [
        (Way::ResetInRequest, "cut_off"),
        (Way::ResetBeforeAnswer, "cut_off"),
        (Way::ResetInHead, "cut_off"),
        (Way::Silence, "timeout"),
        (Way::EndlessHead, "cut_off"),
        (Way::EndlessInterim, "timeout"),
        (Way::EndlessBody(503), "status"),
        (Way::Bomb(503), "status"),
        (Way::Gibberish, "cut_off"),
        (Way::Switch, "status"),
        (Way::EarlyHints, ""),
        (Way::ResetInBody, ""),
        (Way::EndlessBody(200), ""),
    ];
    for (round, (way, code)) in ways.into_iter().enumerate() {
        wire.then(&[way]);
        let (asked, want) = (wire.asked(), 3 * (round + 1));
        grow(&pool, &owner, "call", 3).await;
        let shown = until(&app, &owner, &path, |shown| shown["progress"]["next"] == want).await;
        if way.is_taken() {
            assert_eq!(wire.asked(), asked + 1, "{way:?}: it was told so");
        } else {
            let error = &shown["progress"]["error"];
            assert_eq!(error["code"], code, "{way:?}: {error}");
            assert!(error["said"].as_str().unwrap().chars().count() < 400, "{error}");
            assert!(wire.asked() >= asked + 2, "{way:?}");
        }
        assert_eq!((&shown["state"], &shown["dead_letters"]), (&json!("running"), &json!(0)), "{way:?}");
    }
    assert_eq!(places(&wire), (0..39).collect::<Vec<u64>>(), "each once, in the log's order, for whoever keeps ids");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_certificate_for_another_name_is_not_believed(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let _drain = worker(&app, SOON);
    grow(&pool, &owner, "call", 1).await;
    for (name, is_believed) in [("127.0.0.1", true), ("siem.example", false)] {
        let (wire, certificate) = Wire::secured(name).await;
        let settings = json!({"kind": "webhook", "url": wire.url, "certificates": certificate});
        let path = start(&app, &owner, json!({"name": name, "settings": settings})).await;
        grow(&pool, &owner, "call", 1).await;
        if is_believed {
            until(&app, &owner, &path, |shown| shown["progress"]["lag_records"] == 0).await;
            assert_eq!(wire.kept().len(), 1);
            continue;
        }
        let shown = until(&app, &owner, &path, |shown| shown["progress"]["failures"].as_u64() >= Some(2)).await;
        let error = &shown["progress"]["error"];
        assert!(error["code"] == "tls" && error["said"].as_str().unwrap().contains("name"), "{error}");
        assert_eq!((wire.asked(), &shown["state"]), (0, &json!("running")));
    }
}
