//! Objects of a good size: few records wait for others, for as long as is set.

#[expect(clippy::print_stdout, reason = "what is left out is said")]
#[path = "../../../src/sinks/s3/tests/moto.rs"]
mod moto;

use std::time::Duration;

use serde_json::json;
use sqlx::PgPool;

use super::{grow, grow_aged, start, until, worker};
use crate::app::{App, Person};
use moto::Moto;

const PATIENT: Duration = Duration::from_secs(30);

async fn bucket(app: &App, of: &Person, moto: &Moto, linger_s: Option<u16>) -> String {
    moto.put("audit-logs").await;
    let mut settings = json!({"kind": "s3", "bucket": "audit-logs", "region": "us-east-1", "endpoint": moto.endpoint});
    if let Some(linger_s) = linger_s {
        settings["linger_s"] = linger_s.into();
    }
    let secret = json!({"access_key_id": "AKIATEST", "secret_access_key": "canary-of-the-key"});
    start(app, of, json!({"name": "s3", "settings": settings, "secret": secret})).await
}

/// The last parts of the keys of all objects.
async fn objects(moto: &Moto) -> Vec<String> {
    let list = String::from_utf8(moto.get("audit-logs?list-type=2").await).unwrap();
    let keys = list.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap());
    keys.map(|key| key.rsplit('/').next().unwrap().to_owned()).collect()
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn few_records_wait_for_an_object_to_fill(pool: PgPool) {
    let Some(moto) = Moto::start().await else { return };
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let path = bucket(&app, &owner, &moto, Some(240)).await;
    let _drain = worker(&app, PATIENT);
    grow(&pool, &owner, "call", 3).await;
    let waits = "select coalesce(bool_or(due_at > clock_timestamp() and failures = 0), false) from destination_lanes";
    let seen = async {
        let mut turns = tokio::time::interval(Duration::from_millis(20));
        while !app.one_of_tenant::<bool>(&owner, waits).await {
            turns.tick().await;
        }
    };
    tokio::time::timeout(PATIENT, seen).await.unwrap();
    assert!(objects(&moto).await.is_empty(), "three records are few");
    grow(&pool, &owner, "call", 9_997).await;
    until(&app, &owner, &path, |shown| shown["progress"]["next"] == 10_000).await;
    assert_eq!(objects(&moto).await, ["1-0-9999.ndjson.gz"]);
    // None are to wait any more.
    let mut shown = app.get(&owner, &path).await.expect(200).json();
    shown["settings"]["linger_s"] = 0.into();
    let change = json!({"revision": shown["revision"], "settings": shown["settings"]});
    app.patch(&owner, &path, change).await.expect(200);
    grow(&pool, &owner, "call", 2).await;
    until(&app, &owner, &path, |shown| shown["progress"]["next"] == 10_002).await;
    assert_eq!(objects(&moto).await, ["1-0-9999.ndjson.gz", "1-10000-10001.ndjson.gz"]);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn records_that_have_waited_long_enough_are_written_though_they_are_few(pool: PgPool) {
    let Some(moto) = Moto::start().await else { return };
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let path = bucket(&app, &owner, &moto, None).await;
    grow_aged(&pool, &owner, ("call", 3), (0, 61.0)).await;
    grow(&pool, &owner, "call", 1).await;
    let _drain = worker(&app, PATIENT);
    until(&app, &owner, &path, |shown| shown["progress"]["next"] == 4).await;
    assert_eq!(objects(&moto).await, ["1-0-3.ndjson.gz"]);
    let shown = app.get(&owner, &path).await.expect(200).json();
    assert!(shown["settings"].get("linger_s").is_none(), "who read such settings before there was a wait still can");
    let mut settings = shown["settings"].clone();
    settings["linger_s"] = 241.into();
    let refused = app.patch(&owner, &path, json!({"revision": shown["revision"], "settings": settings})).await;
    assert_eq!(refused.expect(422).json()["errors"][0]["field"], "linger_s");
}
