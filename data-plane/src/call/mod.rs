//! From HTTP and JSON-RPC to a call: what arrived, from which client, in which session.

pub mod asking;
pub mod inflight;
pub mod record;
pub mod rounds;
pub mod session;
pub mod trace;
mod tracestate;
pub mod withdrawal;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::ConnectInfo;
use chrono::{DateTime, Utc};
use domain::Clock;
use http::{HeaderMap, header, request};
use mcp::header::Headers;
use mcp::meta::Modern;
use mcp::notification::Logs;
use mcp::{Object, Raw, Version};

use session::LegacySession;
use trace::Said;

/// What is known of a request before its message is looked at.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// When it came.
    pub time: DateTime<Utc>,
    /// The same, for measuring.
    pub at: Instant,
    /// From where.
    pub ip: Option<IpAddr>,
    /// What the client's HTTP library says it is.
    pub user_agent: Option<String>,
    /// The trace it belongs to, as the header says.
    pub traceparent: Option<String>,
    /// What tracing systems say to each other, as the header has it.
    pub tracestate: Option<String>,
    /// What the client takes.
    pub takes: Takes,
    /// Bytes of the message.
    pub bytes_in: u64,
}

/// Which kinds of answers a client takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Only whole answers.
    Json,
    /// Streams too.
    Events,
}

impl Arrival {
    /// Reads a request's head.
    #[must_use]
    pub fn read(head: &request::Parts, clock: &Clock) -> Self {
        let text = |name| head.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        Self {
            time: clock.now(),
            at: Instant::now(),
            ip: head.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip()),
            user_agent: text(header::USER_AGENT).map(str::to_owned),
            traceparent: text(header::HeaderName::from_static("traceparent")).map(str::to_owned),
            tracestate: tracestate(&head.headers),
            takes: takes(&head.headers),
            bytes_in: 0,
        }
    }

    /// What the head says of the trace.
    #[must_use]
    pub fn trace(&self) -> Said<'_> {
        Said { parent: self.traceparent.as_deref(), state: self.tracestate.as_deref() }
    }
}

/// Several headers are one list (W3C Trace Context, 3.3.1.2).
fn tracestate(headers: &HeaderMap) -> Option<String> {
    let given = headers.get_all("tracestate").iter().map(|value| value.to_str().ok());
    given.collect::<Option<Vec<_>>>().map(|lists| lists.join(",")).filter(|list| !list.is_empty())
}

/// A client that names neither kind gets whole answers: only one that asks for a stream is sure to read one.
fn takes(headers: &HeaderMap) -> Takes {
    let names_events = |value: &http::HeaderValue| {
        value.as_bytes().split(|byte| *byte == b',').any(|range| {
            let essence = range.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
            essence.eq_ignore_ascii_case(b"text/event-stream") || essence == b"*/*" || essence == b"text/*"
        })
    };
    if headers.get_all(header::ACCEPT).iter().any(names_events) { Takes::Events } else { Takes::Json }
}

/// The protocol's headers of a request.
#[must_use]
pub fn protocol_headers(headers: &HeaderMap) -> Headers<'_> {
    Headers::gather(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())))
}

/// What a message says of the client that sent it.
#[derive(Debug, Clone)]
pub struct Client<'a> {
    /// The version it speaks.
    pub version: Version,
    /// What it says it is, an `Implementation`.
    pub info: Option<Raw<'a>>,
    /// Its name for itself.
    pub name: Option<String>,
    /// Its version for itself.
    pub client_version: Option<String>,
    /// What it can do.
    pub capabilities: Object<'a>,
    /// Which log messages it wants of its calls.
    pub logs: Logs,
}

impl<'a> Client<'a> {
    /// The client of a modern message.
    #[must_use]
    pub fn modern(modern: &Modern<'a>) -> Self {
        let info = modern.client_info.and_then(Raw::object);
        let text = |key| info.as_ref().and_then(|info: &Object<'_>| info.text(key)).map(std::borrow::Cow::into_owned);
        Self {
            version: modern.version,
            name: text("name"),
            client_version: text("version"),
            info: modern.client_info,
            capabilities: modern.capabilities.clone(),
            logs: modern.log_level.into(),
        }
    }

    /// The client of a legacy session; `info` and `capabilities` are what the session holds, written out.
    #[must_use]
    pub fn legacy(session: &LegacySession, info: Option<Raw<'a>>, capabilities: Raw<'a>) -> Self {
        let client = session.state.client.as_ref();
        Self {
            version: session.state.version,
            info,
            name: client.map(|client| client.name.clone()),
            client_version: client.map(|client| client.version.clone()),
            capabilities: capabilities.object().unwrap_or(Object::empty()),
            logs: session.level.map_or(Logs::All, |set| Logs::AtLeast(set.level)),
        }
    }
}

/// A legacy session, shared by the messages of a batch.
pub type SharedSession = Option<Arc<LegacySession>>;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn accepting(value: &'static str) -> Takes {
        takes(&HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(value))]))
    }

    #[test]
    fn only_a_client_that_names_streams_gets_one() {
        assert_eq!(accepting("application/json, text/event-stream"), Takes::Events);
        assert_eq!(accepting("application/json;q=1, Text/Event-Stream;q=0.5"), Takes::Events);
        assert_eq!(accepting("*/*"), Takes::Events);
        assert_eq!(accepting("application/json"), Takes::Json);
        assert_eq!(takes(&HeaderMap::new()), Takes::Json);
    }
}
