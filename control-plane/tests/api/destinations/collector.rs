//! A collector of Splunk's that is as strict as its documentation (`Troubleshoot HTTP Event Collector`, `Format events for
//! HTTP Event Collector`), and says what a test has it say.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::Read as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use flate2::read::GzDecoder;
use serde_json::{Value, json};

/// The token it knows.
pub(super) const TOKEN: &str = "5f3a1f0e-0b1c-4c55-9f0e-0d7b5a6f2c11";

/// How to answer one request.
#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    /// With this status and code; nothing is taken.
    Say(u16, u16),
    /// The same, to come again after a second.
    Later(u16, u16),
    /// With this status and a page of something in between.
    Page(u16),
    /// Its events are taken, and the connection is closed instead of an answer.
    TakeAndClose,
}

/// A collector.
#[derive(Clone)]
pub(super) struct Collector {
    pub(super) url: String,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    script: VecDeque<How>,
    /// What it finds wrong with the event at a place.
    wrong: HashMap<u64, u16>,
    /// Requests with more events are too large.
    most: Option<usize>,
    asked: usize,
    /// Each event that was taken, as often as it was.
    events: Vec<Value>,
}

impl Collector {
    pub(super) async fn new() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let collector = Self { url, inner: Arc::default() };
        let router = Router::new().route("/services/collector/event", axum::routing::post(event));
        let router = router.with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        collector
    }

    /// Answers the next requests so.
    pub(super) fn then(&self, hows: &[How]) {
        self.inner.lock().unwrap().script.extend(hows);
    }

    /// Finds something wrong with the events at these places.
    pub(super) fn refuses(&self, wrong: &[(u64, u16)]) {
        self.inner.lock().unwrap().wrong = wrong.iter().copied().collect();
    }

    pub(super) fn takes_at_most(&self, events: usize) {
        self.inner.lock().unwrap().most = Some(events);
    }

    /// How many requests came.
    pub(super) fn asked(&self) -> usize {
        self.inner.lock().unwrap().asked
    }

    /// Each event that was taken, as often as it was.
    pub(super) fn events(&self) -> Vec<Value> {
        self.inner.lock().unwrap().events.clone()
    }

    /// The places of events as `| dedup event_id` leaves them; a copy is the same to the letter.
    pub(super) fn places(&self) -> Vec<u64> {
        let (mut seen, mut places) = (HashMap::new(), Vec::new());
        for event in self.events() {
            let id = event["fields"]["event_id"].as_str().unwrap().to_owned();
            if let Some(before) = seen.get(&id) {
                assert_eq!(before, &event, "what comes twice is the same");
                continue;
            }
            places.push(seq(&event));
            seen.insert(id, event);
        }
        places
    }

    /// The places that came more than once.
    pub(super) fn copies(&self) -> Vec<u64> {
        let (mut seen, mut twice) = (HashSet::new(), Vec::new());
        for event in self.events() {
            if !seen.insert(seq(&event)) {
                twice.push(seq(&event));
            }
        }
        twice
    }
}

fn seq(event: &Value) -> u64 {
    event["fields"]["seq"].as_str().unwrap().parse().unwrap()
}

fn said(status: u16, code: u16) -> Response {
    let text = match code {
        0 => "Success",
        1 => "Token disabled",
        2 => "Token is required",
        3 => "Invalid authorization",
        4 => "Invalid token",
        5 => "No data",
        6 => "Invalid data format",
        7 => "Incorrect index",
        8 => "Internal server error",
        9 => "Server is busy",
        10 => "Data channel is missing",
        11 => "Invalid data channel",
        12 => "Event field is required",
        13 => "Event field cannot be blank",
        14 => "ACK is disabled",
        15 => "Error in handling indexed fields",
        _ => "Something that is newer than this table",
    };
    (StatusCode::from_u16(status).unwrap(), json!({"text": text, "code": code}).to_string()).into_response()
}

/// What is wrong with an event, by itself: a code.
fn check(event: &Value) -> Option<u16> {
    let known = ["time", "host", "source", "sourcetype", "index", "event", "fields"];
    let Some(members) = event.as_object() else { return Some(6) };
    if members.keys().any(|name| !known.contains(&name.as_str())) {
        return Some(6);
    }
    match members.get("event") {
        None => return Some(12),
        Some(Value::Null) => return Some(13),
        Some(Value::String(text)) if text.is_empty() => return Some(13),
        Some(_) => {}
    }
    if members["index"] != "audit" {
        return Some(7);
    }
    let is_flat = members["fields"].as_object().is_some_and(|fields| fields.values().all(Value::is_string));
    (!is_flat || !members["time"].is_number()).then_some(15)
}

/// What `services/collector/event` does with a request. It takes the events before the one that it finds wrong, too.
async fn event(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> Response {
    let mut inner = collector.inner.lock().unwrap();
    inner.asked += 1;
    match headers.get("authorization").map(|value| value.to_str().unwrap()) {
        None => return said(401, 2),
        Some(value) if !value.starts_with("Splunk ") => return said(401, 3),
        Some(value) if value != format!("Splunk {TOKEN}") => return said(403, 4),
        Some(_) => {}
    }
    let how = inner.script.pop_front();
    match how {
        Some(How::Say(status, code)) => return said(status, code),
        Some(How::Later(status, code)) => return ([(header::RETRY_AFTER, "1")], said(status, code)).into_response(),
        Some(How::Page(status)) => {
            return (StatusCode::from_u16(status).unwrap(), "<html>no</html>").into_response();
        }
        Some(How::TakeAndClose) | None => {}
    }
    assert_eq!(headers["content-encoding"], "gzip");
    let mut text = String::new();
    GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
    let events: Vec<_> = serde_json::Deserializer::from_str(&text).into_iter::<Value>().collect();
    if inner.most.is_some_and(|most| events.len() > most) {
        return (StatusCode::PAYLOAD_TOO_LARGE, "<html>too large</html>").into_response();
    }
    if events.is_empty() {
        return said(400, 5);
    }
    for event in events {
        let Ok(event) = event else { return said(400, 6) };
        if let Some(code) = check(&event).or_else(|| inner.wrong.get(&seq(&event)).copied()) {
            return said(400, code);
        }
        inner.events.push(event);
    }
    drop(inner);
    if matches!(how, Some(How::TakeAndClose)) {
        panic!("a collector that falls over")
    }
    said(200, 0)
}
