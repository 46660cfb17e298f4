//! A webhook's receiver that keeps what it gets and answers as it is told.

use std::collections::{HashSet, VecDeque};
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use tokio::sync::Semaphore;

/// How to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// 200.
    Take,
    /// This status, nothing kept.
    Status(u16),
    /// 429, to come again after a second.
    Later,
    /// 429, to come again at the date that will be in two seconds.
    LaterByDate,
    /// 429, to come again after what can't be meant.
    LaterThan(&'static str),
    /// 302 to somewhere else.
    Elsewhere,
    /// Kept, and never answered.
    TakeAndHang,
    /// Kept, and the connection closed instead of an answer.
    TakeAndClose,
    /// Kept, and 200 once the test says so ([`Receiver::answer`]).
    TakeWhenTold,
}

/// A batch that came.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) id: String,
    pub(crate) timestamp: String,
    pub(crate) signature: String,
    pub(crate) body: Bytes,
    pub(crate) lines: Vec<Value>,
}

/// A receiver. Batches that are refused are not kept.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    inner: Arc<Inner>,
}

struct Inner {
    script: Mutex<VecDeque<How>>,
    kept: Mutex<Vec<Got>>,
    /// The ids that came, and how many records did under them.
    came: Mutex<(HashSet<String>, usize)>,
    asked: AtomicUsize,
    /// Batches with more lines are too large.
    most_lines: AtomicUsize,
    /// A batch with a record at this place is never taken.
    poison: Mutex<Option<u64>>,
    /// Answers that a test has allowed.
    told: Semaphore,
}

impl Inner {
    fn new() -> Self {
        Self {
            script: Mutex::default(),
            kept: Mutex::default(),
            came: Mutex::default(),
            asked: AtomicUsize::new(0),
            most_lines: AtomicUsize::new(usize::MAX),
            poison: Mutex::default(),
            told: Semaphore::new(0),
        }
    }
}

impl Receiver {
    pub(crate) async fn new() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let receiver = Self { url, inner: Arc::new(Inner::new()) };
        let router = axum::Router::new()
            .route("/hook", axum::routing::post(hook))
            // Says what it was asked for.
            .fallback(async |uri: Uri| (StatusCode::BAD_REQUEST, format!("no webhook at {uri}")))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        receiver
    }

    /// Answers the next batches so, and takes all that follow.
    pub(crate) fn then(&self, hows: &[How]) {
        self.inner.script.lock().unwrap().extend(hows);
    }

    /// Has one that waits for it be answered.
    pub(crate) fn answer(&self) {
        self.inner.told.add_permits(1);
    }

    pub(crate) fn takes_at_most(&self, lines: usize) {
        self.inner.most_lines.store(lines, Ordering::Relaxed);
    }

    pub(crate) fn never_takes(&self, seq: Option<u64>) {
        *self.inner.poison.lock().unwrap() = seq;
    }

    /// How many batches came.
    pub(crate) fn asked(&self) -> usize {
        self.inner.asked.load(Ordering::Relaxed)
    }

    /// Waits until it was asked so often.
    pub(crate) async fn was_asked(&self, often: usize) {
        let mut turns = tokio::time::interval(Duration::from_millis(20));
        let waiting = async {
            while self.asked() < often {
                turns.tick().await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_mins(1), waiting).await;
        assert!(in_time.is_ok(), "asked {} of {often} times", self.asked());
    }

    pub(crate) fn kept(&self) -> Vec<Got> {
        self.inner.kept.lock().unwrap().clone()
    }

    /// The places of the records that came, as somebody has them who keeps each webhook-id once.
    pub(crate) fn places(&self) -> Vec<u64> {
        let mut ids = HashSet::new();
        let kept = self.kept();
        let new = kept.iter().filter(|got| ids.insert(got.id.clone()));
        new.flat_map(|got| &got.lines).filter_map(|line| line["seq"].as_u64()).collect()
    }

    /// Waits until it has so many records.
    pub(crate) async fn has(&self, count: usize) {
        let mut turns = tokio::time::interval(Duration::from_millis(20));
        let waiting = async {
            while self.inner.came.lock().unwrap().1 < count {
                turns.tick().await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_mins(1), waiting).await;
        assert!(in_time.is_ok(), "{} of {count} records came, {} batches", self.places().len(), self.asked());
    }

    fn how(&self, lines: &[Value]) -> How {
        if let Some(how) = self.inner.script.lock().unwrap().pop_front() {
            return how;
        }
        let poison = *self.inner.poison.lock().unwrap();
        if poison.is_some() && lines.iter().any(|line| line["seq"].as_u64() == poison) {
            return How::Status(400);
        }
        let most = self.inner.most_lines.load(Ordering::Relaxed);
        if lines.len() > most { How::Status(413) } else { How::Take }
    }
}

async fn hook(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> Response {
    let inner = &receiver.inner;
    inner.asked.fetch_add(1, Ordering::Relaxed);
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    let read = |line: &[u8]| serde_json::from_slice(line).unwrap();
    let lines: Vec<Value> = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(read).collect();
    let got = Got {
        id: text("webhook-id"),
        timestamp: text("webhook-timestamp"),
        signature: text("webhook-signature"),
        lines,
        body,
    };
    let how = receiver.how(&got.lines);
    if matches!(how, How::Take | How::TakeAndHang | How::TakeAndClose | How::TakeWhenTold) {
        let places = got.lines.iter().filter(|line| line["seq"].is_u64()).count();
        let mut came = inner.came.lock().unwrap();
        if came.0.insert(got.id.clone()) {
            came.1 += places;
        }
        inner.kept.lock().unwrap().push(got);
    }
    match how {
        How::Take => StatusCode::OK.into_response(),
        How::Status(status) => (StatusCode::from_u16(status).unwrap(), "no, for a reason").into_response(),
        How::Later => (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")]).into_response(),
        How::LaterByDate => {
            let then = service::clock().now() + chrono::TimeDelta::seconds(2);
            let date = then.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
            (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, date)]).into_response()
        }
        How::LaterThan(text) => (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, text)]).into_response(),
        How::Elsewhere => (StatusCode::FOUND, [(header::LOCATION, "http://127.0.0.1:1/")]).into_response(),
        How::TakeAndHang => pending().await,
        How::TakeAndClose => panic!("a receiver that falls over"),
        How::TakeWhenTold => {
            inner.told.acquire().await.unwrap().forget();
            StatusCode::OK.into_response()
        }
    }
}
