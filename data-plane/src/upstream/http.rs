//! One HTTP exchange with an upstream: sent within a deadline, read within limits, judged by its head.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use egress::EgressError;
use http::{Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use tokio::time::{Instant, timeout_at};

use super::Fault;
use super::wires::{Answering, Endpoint, Wires};

/// How much of an answer is read, and until when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// The end of the whole exchange.
    pub(crate) until: Instant,
    /// Most bytes of body.
    pub(crate) max_bytes: u64,
}

impl Bounds {
    pub(crate) fn new(within: Duration, max_bytes: u64) -> Self {
        Self { until: Instant::now() + within, max_bytes }
    }
}

/// What kind of body an answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    Json,
    Events,
    Other,
}

/// Sends a request and waits for the head of the answer.
///
/// Tries again only if no byte was sent. Dropping the future closes the connection.
pub(crate) async fn exchange(
    wires: &Wires,
    endpoint: &Endpoint,
    request: Request<Full<Bytes>>,
    until: Instant,
) -> Result<Response<Answering>, Fault> {
    let response = timeout_at(until, wires.send(endpoint, request)).await.map_err(|_| Fault::Late)??;
    // 1xx never arrives here; what would send us elsewhere is refused, wherever it points.
    if response.status().is_redirection() { Err(Fault::Redirected) } else { Ok(response) }
}

/// What a connection that was not made says of the upstream.
pub(crate) const fn dial_fault(error: &EgressError) -> Fault {
    match error {
        EgressError::Url(_) | EgressError::Refused(_) => Fault::AddressRefused,
        EgressError::Unresolved(_) => Fault::Unresolved,
        EgressError::Unreachable(_) => Fault::Unreachable,
        EgressError::Tls(_) => Fault::Tls,
        EgressError::Timeout(_) => Fault::Late,
    }
}

/// What a status without a message in its body says.
pub(crate) fn status_fault(status: StatusCode) -> Fault {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Fault::Unauthorized,
        StatusCode::TOO_MANY_REQUESTS => Fault::Limited,
        status if status.is_success() => Fault::NotMcp,
        status => Fault::Status(status),
    }
}

/// What the head says of the body.
pub(crate) fn media<B>(response: &Response<B>) -> Media {
    let Some(value) = response.headers().get(header::CONTENT_TYPE) else { return Media::Other };
    let text = value.as_bytes();
    let essence = text.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if essence.eq_ignore_ascii_case(b"application/json") {
        Media::Json
    } else if essence.eq_ignore_ascii_case(b"text/event-stream") {
        Media::Events
    } else {
        Media::Other
    }
}

/// Reads a whole body. Copies only when it came in pieces.
pub(crate) async fn whole(mut body: Answering, bounds: Bounds) -> Result<Bytes, Fault> {
    if body.size_hint().lower() > bounds.max_bytes {
        return Err(Fault::TooLarge);
    }
    let Some(first) = chunk(&mut body, bounds.until).await? else { return Ok(Bytes::new()) };
    if first.len() as u64 > bounds.max_bytes {
        return Err(Fault::TooLarge);
    }
    if body.is_end_stream() {
        return Ok(first);
    }
    let mut all = BytesMut::with_capacity(usize::try_from(body.size_hint().lower()).unwrap_or(0) + first.len());
    all.extend_from_slice(&first);
    while let Some(next) = chunk(&mut body, bounds.until).await? {
        if (all.len() + next.len()) as u64 > bounds.max_bytes {
            return Err(Fault::TooLarge);
        }
        all.extend_from_slice(&next);
    }
    Ok(all.freeze())
}

/// The next piece of a body; `None` at its proper end.
pub(crate) async fn chunk(body: &mut Answering, until: Instant) -> Result<Option<Bytes>, Fault> {
    loop {
        let frame = timeout_at(until, body.frame()).await.map_err(|_| Fault::Late)?;
        match frame {
            None => return Ok(None),
            Some(Err(_)) => return Err(Fault::CutOff),
            Some(Ok(frame)) => {
                // Trailers say nothing to us.
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(content_type: &'static str) -> Media {
        media(&Response::builder().header(header::CONTENT_TYPE, content_type).body(()).unwrap())
    }

    #[test]
    fn the_media_type_is_read_without_its_parameters() {
        assert_eq!(of("application/json; charset=utf-8"), Media::Json);
        assert_eq!(of("Text/Event-Stream"), Media::Events);
        assert_eq!(of("text/html"), Media::Other);
        assert_eq!(of("application/jsonp"), Media::Other);
    }
}
