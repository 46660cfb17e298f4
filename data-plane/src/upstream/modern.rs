//! The driver for modern upstreams (2026-07-28): every request stands alone.

use std::sync::Arc;

use ::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use bytes::Bytes;
use http_body_util::Full;
use mcp::ask::{Hop, Outbound};
use mcp::message::Outcome;
use mcp::{Id, Json, Limits, Message, Raw, Version, header, message};

use super::conversation::{Conversation, Way};
use super::http::{Media, media, status_fault, whole};
use super::wires::Answering;
use super::{Answer, Answered, Bounds, Fault, Job, Line, Outgoing, Stop, Upstream, Whole, client_info};

const VERSION: Version = Version::LATEST_MODERN;
pub(super) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static(header::PROTOCOL_VERSION);
const METHOD: HeaderName = HeaderName::from_static(header::METHOD);
const NAME: HeaderName = HeaderName::from_static(header::NAME);
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Makes one call.
pub(super) async fn call(upstream: &Arc<Upstream>, job: Job<'_>) -> Result<Answered, Stop> {
    let Job { subject, credential, call, bounds } = job;
    let id = upstream.next_id();
    let line = upstream.line(credential);
    let request = request(&line, id, subject, call)?;
    let response = line.send(request, bounds.until).await?;
    let status = response.status();
    let answer = match (status.is_success(), media(&response)) {
        (true, Media::Events) => {
            let wanted = call.wanted.heard(id);
            Answer::Stream(Box::new(Conversation::new(response.into_body(), id, wanted, bounds, Way::Modern)))
        }
        (true, Media::Json) => Answer::Whole(Whole { bytes: whole(response.into_body(), bounds).await?, id }),
        (false, Media::Json) => Answer::Whole(refused(status, response.into_body(), id, bounds).await?),
        _ if is_legacy(status) => return Err(Stop::OtherEra),
        _ => return Err(status_fault(status).into()),
    };
    Ok(Answered { answer, version: VERSION })
}

fn request(line: &Line<'_>, id: u64, subject: &str, call: &Outgoing<'_>) -> Result<Request<Full<Bytes>>, Fault> {
    let our_id = Id::number(id);
    let token = Json::integer(id);
    let params = call.ask.params_for(&Outbound {
        subject,
        state: call.continued.and_then(|continued| continued.state.as_ref()).map(Json::raw),
        progress_token: call.wanted.progress.as_ref().map(|_| token.raw()),
        traceparent: Some(call.traceparent),
        tracestate: call.tracestate,
        hop: Hop::Modern {
            version: VERSION,
            capabilities: call.capabilities,
            client_info: call.client_info,
            log_level: call.wanted.logs.level(),
        },
    });
    let method = call.ask.method;
    let mut request = line.post(message::request(&our_id, method.as_str(), params.raw()).into_string());
    let headers = request.headers_mut();
    headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(VERSION.as_str()));
    headers.insert(METHOD, HeaderValue::from_static(method.as_str()));
    if method.named_by().is_some() {
        headers.insert(NAME, value(&header::encode(subject))?);
    }
    trace(headers, call)?;
    for (name, text) in header::generate(call.annotated, call.arguments.as_ref()) {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Fault::Malformed)?;
        headers.insert(name, value(&text)?);
    }
    Ok(request)
}

/// Says where in a trace the call is.
pub(super) fn trace(headers: &mut HeaderMap, call: &Outgoing<'_>) -> Result<(), Fault> {
    headers.insert(TRACEPARENT, value(call.traceparent)?);
    if let Some(state) = call.tracestate {
        headers.insert(TRACESTATE, value(state)?);
    }
    Ok(())
}

pub(super) fn value(text: &str) -> Result<HeaderValue, Fault> {
    HeaderValue::from_str(text).map_err(|_| Fault::Malformed)
}

/// What a body beside an error status comes to: a modern error for our request is an answer like any other.
async fn refused(status: StatusCode, body: Answering, id: u64, bounds: Bounds) -> Result<Whole, Stop> {
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS) {
        return Err(status_fault(status).into());
    }
    let bytes = whole(body, bounds).await?;
    match error_code(&bytes, id) {
        Some(-32022) => Err(Stop::OtherEra),
        Some(code) if is_modern(code) || !is_legacy(status) => Ok(Whole { bytes, id }),
        // What legacy servers say to a request without a session, among others (reference a.11).
        _ if is_legacy(status) => Err(Stop::OtherEra),
        _ => Err(status_fault(status).into()),
    }
}

/// The code of an error about our request.
fn error_code(bytes: &[u8], id: u64) -> Option<i64> {
    let Ok(Message::Response(response)) = Message::parse(bytes, &Limits::upstream()) else { return None };
    match response.outcome {
        Outcome::Error(error) if response.id == Some(Id::number(id)) => Some(error.code),
        _ => None,
    }
}

/// Codes that say that the request was understood as a modern one (reference a.11).
const fn is_modern(code: i64) -> bool {
    matches!(code, -32021..=-32020 | -32603..=-32601)
}

const fn is_legacy(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 404 | 405 | 406)
}

/// A request other than a call, as a prober sends it.
pub(super) fn asking(line: &Line<'_>, id: u64, method: &'static str, cursor: Option<&str>) -> Request<Full<Bytes>> {
    let info = client_info();
    let hop =
        Hop::Modern { version: VERSION, capabilities: Raw::EMPTY, client_info: Some(info.raw()), log_level: None };
    let body = message::request(&Id::number(id), method, hop.params(cursor).raw());
    let mut request = line.post(body.into_string());
    let headers = request.headers_mut();
    headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(VERSION.as_str()));
    headers.insert(METHOD, HeaderValue::from_static(method));
    request
}
