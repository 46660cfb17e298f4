//! Searching the log over the API.

use std::time::Duration;

use control_plane::ingest;
use serde_json::{Value, json};
use service::Drain;
use sqlx::PgPool;

use crate::app::{App, Person};

/// The API, and an owner of the audit shard that takes in changes; no Redis answers it.
async fn app(pool: &PgPool, drain: &Drain) -> App {
    let app = App::new(pool).await;
    let needs = ingest::Needs {
        pool: pool.clone(),
        redis_url: "redis://127.0.0.1:1/".to_owned(),
        deployment: "dep_0123456789abcdef".to_owned(),
        master: app.parts.master.clone(),
        checkpoints: std::sync::Arc::new(secrets::SigningKey::generate()),
        clock: app.parts.clock.clone(),
        shards: 1,
        hold: ingest::HOLD,
        horizon: ingest::HORIZON,
        retention: "400".parse().unwrap(),
    };
    ingest::spawn(&needs, drain).unwrap();
    app
}

/// The records found, asked for until there is one that was done so.
async fn found(app: &App, person: &Person, action: &str) -> Vec<Value> {
    let path = format!("{}/activity?kind=admin", person.path());
    let asked = async {
        let mut turns = tokio::time::interval(Duration::from_millis(50));
        loop {
            let records = app.get(person, &path).await.expect(200).json()["records"].as_array().unwrap().clone();
            if records.iter().any(|record| record["action"] == action) {
                return records;
            }
            turns.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asked).await.unwrap()
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_change_is_found_by_those_who_may_see_it_and_by_nobody_else(pool: PgPool) {
    let drain = Drain::new();
    let app = app(&pool, &drain).await;
    let owner = app.owner().await;
    let (member, _) = app.member(&owner, "mia@acme.example", "member").await;
    let (auditor, _) = app.member(&owner, "aud@acme.example", "auditor").await;
    let stranger = app.stranger(&owner).await;
    let records = found(&app, &owner, "member.add").await;
    let added = records.iter().find(|record| record["action"] == "member.add").unwrap();
    let one = format!("{}/activity/{}", owner.path(), added["id"].as_str().unwrap());

    let shown = app.get(&owner, &one).await.expect(200).json();
    assert_eq!(shown["record"]["change"]["action"], "member.add");
    assert_eq!(shown["seq"], added["seq"]);
    assert!(!shown.to_string().contains("acme.example"), "an address is in no record");
    app.get(&auditor, &one).await.expect(200);
    app.get(&member, &one).await.expect(404);
    let own = app.get(&member, &format!("{}/activity", owner.path())).await.expect(200).json();
    assert_eq!(own, json!({"records": [], "partial": false}));
    app.get(&stranger, &one).await.expect(404);
    let elsewhere = format!("{}/activity/{}", stranger.path(), added["id"].as_str().unwrap());
    app.get(&stranger, &elsewhere).await.expect(404);
    let theirs = found(&app, &stranger, "member.add").await;
    assert!(theirs.iter().all(|record| record["id"] != added["id"]));
    drain.finish(Duration::from_secs(5)).await.unwrap();
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_does_not_fit_in_a_search_is_refused(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let wrong = [
        "?cursor=AAAA",
        "?colour=red",
        "?q=%00",
        "?server=wiki",
        "?from=yesterday",
        "?from=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z",
        "?from=2026-01-01T00:00:00Z&until=2026-01-20T00:00:00Z&q=x",
        "/series?until=2026-01-01T00:00:00Z&from=2026-01-01T00:00:00Z",
    ];
    for wrong in wrong {
        app.get(&owner, &format!("{}/activity{wrong}", owner.path())).await.expect(422);
    }
    let everything = "?person=usr_x&tool=a&decision=deny&status=denied&kind=call&limit=5";
    app.get(&owner, &format!("{}/activity{everything}", owner.path())).await.expect(200);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn counts_are_for_those_who_see_everybody_s_calls(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let (member, _) = app.member(&owner, "mia@acme.example", "member").await;
    let path = format!("{}/activity/series", owner.path());
    let series = app.get(&owner, &path).await.expect(200).json();
    assert_eq!((&series["points"], &series["step_s"]), (&json!([]), &json!(3600)));
    app.get(&member, &path).await.expect(403);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_bundle_that_ends_before_it_begins_is_refused(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let bundle = format!("{}/audit/bundle", owner.path());
    for (query, status) in [("?first=8&end=3", 422), ("?first=-1", 422), ("?colour=red", 422), ("?first=3&end=8", 409)]
    {
        app.get(&owner, &format!("{bundle}{query}")).await.expect(status);
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_search_that_does_not_come_to_its_first_record_in_time_says_what_to_do(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let mut busy = pool.begin().await.unwrap();
    sqlx::raw_sql("lock table audit_record in access exclusive mode").execute(&mut *busy).await.unwrap();
    let refused = app.get(&owner, &format!("{}/activity", owner.path())).await.expect(503).json();
    assert_eq!(refused["type"], "out-of-time", "{refused}");
    busy.rollback().await.unwrap();
    app.get(&owner, &format!("{}/activity", owner.path())).await.expect(200);
}
