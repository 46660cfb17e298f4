//! A collector of Splunk's that is as strict as its documentation.

use std::io::Read as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{grow, start, until, worker};
use crate::app::App;

const TOKEN: &str = "5f3a1f0e-0b1c-4c55-9f0e-0d7b5a6f2c11";

#[derive(Clone, Default)]
struct Collector {
    events: Arc<Mutex<Vec<Value>>>,
    /// Answers once with this code and status.
    busy: Arc<Mutex<Option<(u16, u16)>>>,
}

fn said(status: u16, text: &str, code: u16) -> (StatusCode, String) {
    (StatusCode::from_u16(status).unwrap(), json!({"text": text, "code": code}).to_string())
}

/// What `services/collector/event` does with a request.
async fn event(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    match headers.get("authorization").map(|value| value.to_str().unwrap()) {
        None => return said(401, "Token is required", 2),
        Some(value) if !value.starts_with("Splunk ") => return said(401, "Invalid authorization", 3),
        Some(value) if value != format!("Splunk {TOKEN}") => return said(403, "Invalid token", 4),
        Some(_) => {}
    }
    if let Some((status, code)) = collector.busy.lock().unwrap().take() {
        return said(status, "Server is busy", code);
    }
    assert_eq!(headers["content-encoding"], "gzip");
    let mut text = String::new();
    GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
    let mut events = Vec::new();
    for event in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
        let Ok(event) = event else { return said(400, "Invalid data format", 6) };
        let known = ["time", "host", "source", "sourcetype", "index", "event", "fields"];
        let members = event.as_object().unwrap();
        if members.keys().any(|name| !known.contains(&name.as_str())) {
            return said(400, "Invalid data format", 6);
        }
        match members.get("event") {
            None => return said(400, "Event field is required", 12),
            Some(Value::Null) => return said(400, "Event field cannot be blank", 13),
            Some(_) => {}
        }
        if members["index"] != "audit" {
            return said(400, "Incorrect index", 7);
        }
        let flat = members["fields"].as_object().unwrap().values().all(Value::is_string);
        if !flat || !members["time"].is_number() {
            return said(400, "Error in handling indexed fields", 15);
        }
        events.push(event);
    }
    if events.is_empty() {
        return said(400, "No data", 5);
    }
    collector.events.lock().unwrap().extend(events);
    said(200, "Success", 0)
}

async fn collector() -> (Collector, String) {
    let (collector, listener) = (Collector::default(), tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap());
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/services/collector/event", axum::routing::post(event));
    let router = router.with_state(collector.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (collector, url)
}

fn splunk(url: &str, index: &str, token: &str) -> Value {
    let settings = json!({"kind": "splunk_hec", "url": url, "index": index});
    json!({"name": format!("splunk {index} {token}"), "format": "ocsf", "settings": settings, "secret": token})
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_strict_collector_takes_every_event_once_it_is_not_busy(pool: PgPool) {
    let (app, (collector, url)) = (App::new(&pool).await, collector().await);
    let owner = app.owner().await;
    *collector.busy.lock().unwrap() = Some((503, 9));
    let path = start(&app, &owner, splunk(&url, "audit", TOKEN)).await;
    let _drain = worker(&app, Duration::from_secs(5));
    grow(&pool, &owner, "call", 1500).await;
    let shown = until(&app, &owner, &path, |shown| shown["progress"]["next"] == 1500).await;
    assert_eq!(shown["progress"]["error"]["code"], "hec_9", "it was busy once");
    let events = collector.events.lock().unwrap();
    let places: Vec<u64> =
        events.iter().map(|event| event["fields"]["seq"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(places, (0..1500).collect::<Vec<u64>>());
    assert!(events[0]["fields"]["event_id"].as_str().unwrap().starts_with("rec_"));
    assert_eq!(events[0]["sourcetype"], "sluice:audit");
    assert_eq!(events[0]["event"]["metadata"]["version"], "1.8.0");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn settings_that_splunk_does_not_take_stop_it_and_say_what_to_do(pool: PgPool) {
    let (app, (_collector, url)) = (App::new(&pool).await, collector().await);
    let owner = app.owner().await;
    let _drain = worker(&app, Duration::from_secs(5));
    for (index, token, code, word) in
        [("audit", "another-token", "hec_4", "enter it again"), ("other", TOKEN, "hec_7", "choose another")]
    {
        let path = start(&app, &owner, splunk(&url, index, token)).await;
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
