//! What both eras write: JSON-RPC answers, refusals, events.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use serde_json::{Value, json};

/// The modern protocol version.
pub(super) const MODERN: &str = "2026-07-28";

/// Why a request is refused.
#[derive(Debug, Clone)]
pub(super) struct No {
    /// The status of the modern era; the legacy era answers 200 within a session.
    pub(super) status: StatusCode,
    pub(super) code: i64,
    pub(super) message: &'static str,
    pub(super) data: Option<Value>,
}

/// A result, or why there is none.
pub(super) type Outcome = Result<Value, No>;

impl No {
    fn new(status: StatusCode, code: i64, message: &'static str) -> Self {
        Self { status, code, message, data: None }
    }

    pub(super) fn malformed() -> Self {
        Self::new(StatusCode::BAD_REQUEST, -32700, "this is no JSON")
    }

    /// A parameter that doesn't fit.
    pub(super) fn parameter(message: &'static str) -> Self {
        Self::new(StatusCode::OK, -32602, message)
    }

    /// A message without what each must have.
    pub(super) fn incomplete(message: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, -32602, message)
    }

    pub(super) fn unknown_method() -> Self {
        Self::new(StatusCode::NOT_FOUND, -32601, "no such method")
    }

    /// A header that says otherwise than the body.
    pub(super) fn mismatch(message: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, -32020, message)
    }

    pub(super) fn no_session() -> Self {
        Self::new(StatusCode::BAD_REQUEST, -32000, "no session is named")
    }

    pub(super) fn unknown_session() -> Self {
        Self::new(StatusCode::NOT_FOUND, -32001, "no such session")
    }

    /// A version that isn't spoken here.
    pub(super) fn version(requested: &str) -> Self {
        let data = json!({"supported": [MODERN], "requested": requested});
        Self { data: Some(data), ..Self::new(StatusCode::BAD_REQUEST, -32022, "this version is not spoken here") }
    }

    /// A capability that the client would need.
    pub(super) fn capability(name: &str) -> Self {
        let data = json!({"requiredCapabilities": {name: {}}});
        Self { data: Some(data), ..Self::new(StatusCode::BAD_REQUEST, -32021, "the client lacks a capability") }
    }
}

/// A header's value as text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The JSON-RPC answer to a request.
pub(super) fn message(id: &Value, outcome: Outcome) -> Value {
    match outcome {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(No { code, message, data: None, .. }) => {
            json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
        }
        Err(No { code, message, data, .. }) => {
            json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message, "data": data}})
        }
    }
}

/// A message as the whole body.
pub(super) fn whole(status: StatusCode, message: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], message.to_string()).into_response()
}

/// A refusal with its own status.
pub(super) fn refuse(id: &Value, no: No) -> Response {
    whole(no.status, &message(id, Err(no)))
}

/// A message as an event.
pub(super) fn event(message: &Value) -> String {
    format!("event: message\ndata: {message}\n\n")
}

/// Events as the body, each sent when it comes.
pub(super) fn events(events: impl Stream<Item = String> + Send + 'static) -> Response {
    use futures_util::StreamExt;
    let events = events.map(|event| Ok::<_, Infallible>(Bytes::from(event)));
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(events)).into_response()
}
