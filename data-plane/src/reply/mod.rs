//! From an upstream's answer to the client's: translated, observed for the record, passed on as it comes.

mod closing;
mod talk;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

pub(crate) use closing::fault_status;
pub use closing::{Closing, Concluded, micros, put_timing};
pub use talk::{Talk, received};

pub(crate) use talk::until;

use crate::listen::SERVER_TIMING;

/// What a message comes to.
pub enum Reply {
    /// One answer, complete.
    Whole(Ready),
    /// A stream that ends with the answer.
    Stream(Box<Talk>),
    /// No answer: the client took its question back.
    Withdrawn,
    /// Nothing to answer.
    Accepted,
}

/// One complete answer.
#[derive(Debug, Clone)]
pub struct Ready {
    /// The HTTP status, where the answer is a response of its own.
    pub status: StatusCode,
    /// The message, in pieces that need no joining.
    pub body: Pieces,
    /// Where the time went, for `Server-Timing`.
    pub timing: Option<String>,
}

/// A body that is all there.
#[derive(Debug, Clone)]
pub enum Pieces {
    /// In one piece.
    One(Bytes),
    /// With a large piece in the middle that others share.
    Three([Bytes; 3]),
}

impl Pieces {
    /// All bytes in one piece.
    #[must_use]
    pub fn joined(self) -> Bytes {
        match self {
            Self::One(bytes) => bytes,
            Self::Three(pieces) => pieces.concat().into(),
        }
    }
}

impl From<String> for Pieces {
    fn from(text: String) -> Self {
        Self::One(text.into())
    }
}

impl Ready {
    /// An answer with nothing to say about time.
    #[must_use]
    pub fn new(status: StatusCode, body: impl Into<Pieces>) -> Self {
        Self { status, body: body.into(), timing: None }
    }
}

impl From<Ready> for Reply {
    fn from(ready: Ready) -> Self {
        Self::Whole(ready)
    }
}

impl From<Ready> for Response {
    fn from(ready: Ready) -> Self {
        let mut response = match ready.body {
            Pieces::One(bytes) => Self::new(Body::from(bytes)),
            Pieces::Three(pieces) => in_pieces(pieces),
        };
        *response.status_mut() = ready.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(timing) = ready.timing.and_then(|timing| HeaderValue::try_from(timing).ok()) {
            headers.insert(SERVER_TIMING, timing);
        }
        if ready.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

fn in_pieces(pieces: [Bytes; 3]) -> Response {
    let length: usize = pieces.iter().map(Bytes::len).sum();
    let stream = futures_util::stream::iter(pieces.map(Ok::<_, std::convert::Infallible>));
    let mut response = Response::new(Body::from_stream(stream));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// The head of an event stream around its body.
#[must_use]
pub fn events(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// An answer without a body.
#[must_use]
pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
