//! rsyslog and syslog-ng with TLS at the end of a lane: either of the two, and who sends to it, dies in the middle of a batch.

#[expect(dead_code, clippy::print_stdout, reason = "the sender's own tests use the rest; what is left out is said")]
#[path = "../../../src/sinks/syslog/tests/receiver.rs"]
mod receiver;

use std::collections::HashMap;
use std::time::Duration;

use serde_json::json;
use sqlx::PgPool;

use super::process::Process;
use super::{grow, start, until};
use crate::app::App;
use receiver::{Certificates, Kind, Receiver, folder};

const PATIENT: Duration = Duration::from_secs(30);

/// What stands under a name in a line's structured data.
fn said<'a>(line: &'a str, name: &str) -> &'a str {
    let (_, rest) = line.split_once(&format!(" {name}=\"")).unwrap_or_else(|| panic!("no {name}: {line}"));
    rest.split_once('"').unwrap().0
}

/// The places of lines, those left out whose id came before: such a copy is the same to the letter.
fn places(lines: &[String]) -> Vec<u64> {
    let (mut seen, mut places) = (HashMap::new(), Vec::new());
    for line in lines {
        match seen.insert(said(line, "id"), line) {
            None => places.push(said(line, "seq").parse().unwrap()),
            Some(before) => assert_eq!(before, line, "what comes twice is the same"),
        }
    }
    places
}

async fn nothing_is_missed(pool: PgPool, kind: Kind) {
    let Some(folder) = folder() else { return };
    let certificates = Certificates::make();
    let mut receiver = Receiver::prepare(&folder, kind, &certificates, false);
    receiver.start().await;
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let settings = json!({"kind": "syslog", "host": "127.0.0.1", "port": receiver.port,
        "certificates": certificates.authority});
    let path = start(&app, &owner, json!({"name": "siem", "settings": settings})).await;
    let first = Process::start(&app, PATIENT);
    grow(&pool, &owner, "call", 200).await;
    until(&app, &owner, &path, |shown| shown["progress"]["next"] == 200).await;
    // It reads a batch, and dies before that has settled.
    grow(&pool, &owner, "call", 200).await;
    assert_eq!(places(&receiver.lines(400).await).len(), 400);
    receiver.kill();
    grow(&pool, &owner, "call", 100).await;
    let away = until(&app, &owner, &path, |shown| shown["progress"]["error"]["code"] == "unreachable").await;
    assert_eq!((&away["progress"]["next"], &away["progress"]["lag_records"]), (&json!(200), &json!(300)));
    receiver.start().await;
    until(&app, &owner, &path, |shown| shown["progress"]["next"] == 500).await;
    // Now who sends dies, and another takes the lane over. More came meanwhile: a batch made anew would be larger.
    grow(&pool, &owner, "call", 200).await;
    receiver.lines(700).await;
    assert_eq!(first.kill(&pool).await, 1, "it held the lane");
    grow(&pool, &owner, "call", 100).await;
    let shown = app.get(&owner, &path).await.expect(200).json();
    assert_eq!(shown["progress"]["next"], 500, "nobody knows yet that it was taken");
    let _second = Process::start(&app, PATIENT);
    let shown = until(&app, &owner, &path, |shown| shown["progress"]["next"] == 800).await;
    assert_eq!(
        (&shown["state"], &shown["dead_letters"], &shown["progress"]["lost"]),
        (&json!("running"), &json!(0), &json!(0))
    );
    let lines = receiver.lines(800).await;
    assert_eq!(places(&lines), (0..800).collect::<Vec<u64>>(), "everything, in the log's order");
    for batch in [200..400, 500..700] {
        let came = lines.iter().filter(|line| batch.contains(&said(line, "seq").parse::<u64>().unwrap()));
        assert_eq!(came.count(), 400, "a batch comes again whole");
    }
    assert_eq!(lines.len(), 1200, "and no other comes again");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn rsyslog_misses_nothing_whoever_dies(pool: PgPool) {
    nothing_is_missed(pool, Kind::Rsyslog).await;
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn syslog_ng_misses_nothing_whoever_dies(pool: PgPool) {
    nothing_is_missed(pool, Kind::SyslogNg).await;
}
