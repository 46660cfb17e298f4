//! The tenant port: where a request says it is going, whether it may come in at all, and what every answer carries.
//!
//! One function and no layers: this is met by every call.

mod answer;
pub mod body;
mod guard;
mod path;
mod room;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use http::{HeaderName, HeaderValue, Request, StatusCode};
use http_body::Body as _;

pub(crate) use answer::out_of_touch;
pub use answer::unauthorized;
pub use guard::{Guard, PublicUrl};
pub use path::Place;
pub use room::{Full, Room, Seat};

use crate::app::Node;
use crate::gateway;
use crate::metrics::AnswerLabels;
use crate::reply::put_timing;

/// Names the trace in every answer.
pub const TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");
/// Says where the time went, in every answer.
pub const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// The tenant port of a node.
#[derive(Debug)]
pub struct Entrance {
    node: Arc<Node>,
    guard: Guard,
    room: Room,
}

impl Entrance {
    /// Makes the entrance of a node.
    #[must_use]
    pub fn new(node: Arc<Node>) -> Self {
        let guard = Guard::new(&node.config);
        let room = Room::new(&node.config, node.metrics.in_flight.clone());
        Self { node, guard, room }
    }

    /// Answers a request, whatever it is. What every answer carries is put on here, and only here.
    pub async fn answer(&self, request: Request<Body>) -> Response {
        let started = Instant::now();
        let trace = given_trace(&request);
        let response = match self.room.enter() {
            Some(seat) => while_it_lasts(self.route(request, &seat).await, seat),
            None => answer::overloaded(),
        };
        self.finish(response, trace, started)
    }

    async fn route(&self, request: Request<Body>, seat: &Seat) -> Response {
        if !self.guard.admits(request.headers(), request.uri()) {
            return answer::empty(StatusCode::FORBIDDEN);
        }
        match Place::read(request.uri().path()) {
            Some(Place::Endpoint(slug)) => gateway::serve(&self.node, &slug, request, seat).await,
            Some(Place::Metadata(slug)) => answer::metadata(request.method(), &self.node.public_url, &slug),
            None => answer::empty(StatusCode::NOT_FOUND),
        }
    }

    fn finish(&self, mut response: Response, trace: Option<HeaderValue>, started: Instant) -> Response {
        let taken = started.elapsed();
        self.node.metrics.answers.get_or_create(&AnswerLabels { status: response.status().as_u16() }).inc();
        self.node.metrics.answer_seconds.observe(taken.as_secs_f64());
        let response_is_for_strangers = response.status() == StatusCode::UNAUTHORIZED;
        let headers = response.headers_mut();
        // The pipeline knows better: a message may name its trace itself.
        if !headers.contains_key(TRACE_ID) {
            headers.insert(TRACE_ID, trace.unwrap_or_else(|| new_trace(&self.node.clock)));
        }
        // How long a stranger's refusal took would tell which tenants there are.
        let told = if response_is_for_strangers { Duration::ZERO } else { taken };
        let mut total = String::new();
        put_timing(&mut total, "total", u64::try_from(told.as_micros()).unwrap_or(u64::MAX));
        if let Ok(total) = HeaderValue::from_maybe_shared(bytes::Bytes::from(total)) {
            headers.append(SERVER_TIMING, total);
        }
        response
    }
}

/// The trace id of a well-formed `traceparent` (W3C Trace Context, 3.2.2).
fn given_trace(request: &Request<Body>) -> Option<HeaderValue> {
    let text = request.headers().get("traceparent")?.as_bytes();
    let id = text.get(3..35)?;
    let is_id = id.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) && id.iter().any(|byte| *byte != b'0');
    let is_framed = text.len() >= 55 && text[2] == b'-' && text[35] == b'-';
    (is_id && is_framed).then(|| HeaderValue::from_bytes(id).ok()).flatten()
}

fn new_trace(clock: &domain::Clock) -> HeaderValue {
    let (first, second) = (clock.entropy(), clock.entropy());
    let mut id: [u8; 16] = std::array::from_fn(|at| if at < 10 { first[at] } else { second[at - 10] });
    id[15] |= 1;
    HeaderValue::from_str(&hex::encode(id)).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Keeps the request's place in the node until the answer's last byte is sent.
fn while_it_lasts(response: Response, seat: Seat) -> Response {
    // An answer that is all there needs nothing any more but to be written.
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    response.map(|body| Body::new(body::Holding::new(body, seat)))
}

#[cfg(test)]
mod tests;
