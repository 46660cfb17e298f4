//! Objects of a good size: few records wait for others, for as long as is set.

#[expect(clippy::print_stdout, reason = "what is left out is said")]
#[path = "../../../src/sinks/s3/tests/moto.rs"]
mod moto;

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flate2::read::GzDecoder;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::process::Process;
use super::{grow, grow_aged, start, until, worker};
use crate::app::{App, Person};
use moto::Moto;

const PATIENT: Duration = Duration::from_secs(30);

async fn bucket(app: &App, of: &Person, moto: &Moto, linger_s: Option<u16>) -> String {
    moto.put("audit-logs").await;
    bucket_at(app, of, &moto.endpoint, linger_s).await
}

async fn bucket_at(app: &App, of: &Person, endpoint: &str, linger_s: Option<u16>) -> String {
    let mut settings = json!({"kind": "s3", "bucket": "audit-logs", "region": "us-east-1", "endpoint": endpoint});
    if let Some(linger_s) = linger_s {
        settings["linger_s"] = linger_s.into();
    }
    let secret = json!({"access_key_id": "AKIATEST", "secret_access_key": "canary-of-the-key"});
    start(app, of, json!({"name": "s3", "settings": settings, "secret": secret})).await
}

/// The keys of all objects.
async fn keys(moto: &Moto) -> Vec<String> {
    let list = String::from_utf8(moto.get("audit-logs?list-type=2").await).unwrap();
    list.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap().to_owned()).collect()
}

/// The last parts of the keys of all objects.
async fn objects(moto: &Moto) -> Vec<String> {
    keys(moto).await.iter().map(|key| key.rsplit('/').next().unwrap().to_owned()).collect()
}

/// The places in each object, by the object's name.
async fn places(moto: &Moto) -> Vec<(String, Vec<u64>)> {
    let mut objects = Vec::new();
    for key in keys(moto).await {
        let (packed, mut text) = (moto.get(&format!("audit-logs/{key}")).await, String::new());
        GzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
        let seq = |line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap();
        objects.push((key.rsplit('/').next().unwrap().to_owned(), text.lines().map(seq).collect()));
    }
    objects.sort_by_key(|(_, places): &(_, Vec<u64>)| places[0]);
    objects
}

/// What stands between us and a store, and breaks off as many of its answers as it is told to.
struct Between {
    endpoint: String,
    cuts: Arc<AtomicUsize>,
}

impl Between {
    async fn new(moto: &Moto) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (cuts, store) = (Arc::new(AtomicUsize::new(0)), moto.endpoint.strip_prefix("http://").unwrap().to_owned());
        let left = Arc::clone(&cuts);
        tokio::spawn(async move {
            while let Ok((outer, _)) = listener.accept().await {
                let inner = TcpStream::connect(&store).await.unwrap();
                tokio::spawn(pass(outer, inner, Arc::clone(&left)));
            }
        });
        Self { endpoint, cuts }
    }
}

async fn pass(mut outer: TcpStream, mut inner: TcpStream, cuts: Arc<AtomicUsize>) {
    let ((mut asked, mut answer), (mut answered, mut ask)) = (outer.split(), inner.split());
    let answering = async {
        let mut chunk = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = answered.read(&mut chunk).await {
            let cut = cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            if cut.is_ok() || answer.write_all(&chunk[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        _ = tokio::io::copy(&mut asked, &mut ask) => {}
        () = answering => {}
    }
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

/// moto keeps objects in its memory: it can't be ended and begun anew, but it can stand still, and its answers can be lost.
#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_store_that_writes_and_does_not_say_so_has_each_record_once(pool: PgPool) {
    let Some(moto) = Moto::start().await else { return };
    moto.put("audit-logs").await;
    let between = Between::new(&moto).await;
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let path = bucket_at(&app, &owner, &between.endpoint, Some(0)).await;
    let soon = Duration::from_secs(2);
    let first = Process::start(&app, soon);
    grow(&pool, &owner, "call", 100).await;
    until(&app, &owner, &path, |shown| shown["progress"]["next"] == 100).await;
    between.cuts.store(2, Ordering::SeqCst);
    grow(&pool, &owner, "call", 100).await;
    let shown = until(&app, &owner, &path, |shown| shown["progress"]["next"] == 200).await;
    assert_eq!((&shown["progress"]["error"]["code"], between.cuts.load(Ordering::SeqCst)), (&json!("cut_off"), 0));
    // It stands still with a request in hand, for longer than anybody waits, and then does as it was asked; and who asked
    // dies meanwhile.
    kill_process(Pid::from_child(&moto.child), Signal::STOP).unwrap();
    grow(&pool, &owner, "call", 100).await;
    // So often that another receiver's batch would be halved.
    until(&app, &owner, &path, |shown| shown["progress"]["failures"].as_u64() >= Some(4)).await;
    first.kill(&pool).await;
    grow(&pool, &owner, "call", 50).await;
    kill_process(Pid::from_child(&moto.child), Signal::CONT).unwrap();
    let _second = Process::start(&app, PATIENT);
    let shown = until(&app, &owner, &path, |shown| shown["progress"]["next"] == 350).await;
    assert_eq!((&shown["state"], &shown["dead_letters"]), (&json!("running"), &json!(0)));
    let places = places(&moto).await;
    let names: Vec<&str> = places.iter().map(|(name, _)| name.as_str()).collect();
    let want = ["1-0-99", "1-100-199", "1-200-299", "1-300-349"].map(|range| format!("{range}.ndjson.gz"));
    assert_eq!(names, want, "no record is in two objects");
    assert_eq!(places.into_iter().flat_map(|(_, places)| places).collect::<Vec<_>>(), (0..350).collect::<Vec<u64>>());
}
