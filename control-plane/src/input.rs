//! What comes in: bodies and path segments, each refused with a [`Problem`] where it does not fit.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use crate::problem::{Fault, Problem};

/// Largest body, bytes.
pub const BODY_MAX_BYTES: usize = 1024 * 1024;

/// Longest wait for the whole of a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// Deepest nesting of a body.
const LIMITS: mcp::Limits = mcp::Limits { depth: 16, batch: 0, texts: mcp::json::Texts::Storable };

/// A JSON body.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", "The body must be JSON")
                .detail("send it with `content-type: application/json`"));
        }
        let read = tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, state)).await;
        let bytes = read.map_err(|_| too_slow())?.map_err(|rejection| too_large(rejection.status()))?;
        // Duplicate keys, U+0000, lone surrogates and deep nesting are refused before anything is read.
        let text = std::str::from_utf8(&bytes).map_err(|_| malformed("the text is not UTF-8"))?;
        mcp::Raw::check(text, &LIMITS).map_err(|error| malformed(&error.to_string()))?;
        serde_json::from_str(text).map(Self).map_err(|error| refused(&error))
    }
}

/// A form of one of our pages, or the query of an address. A field may come several times where `T` has a list.
///
/// What does not read at all is a 400; what does not fit is for the page to say, so `T` mostly holds texts.
#[derive(Debug)]
pub struct Form<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Form<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if request.method().is_safe() {
            return read_form(request.uri().query().unwrap_or_default().as_bytes());
        }
        if !is_kind(request.headers(), "application/x-www-form-urlencoded") {
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-a-form", "A form is needed"));
        }
        let read = tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, state)).await;
        let bytes = read.map_err(|_| too_slow())?.map_err(|rejection| too_large(rejection.status()))?;
        read_form(&bytes)
    }
}

fn read_form<T: DeserializeOwned>(bytes: &[u8]) -> Result<Form<T>, Problem> {
    // Postgres takes U+0000 in no text, and no browser sends it.
    let has_nul = url::form_urlencoded::parse(bytes).any(|(name, value)| name.contains('\0') || value.contains('\0'));
    if has_nul {
        return Err(malformed("a text holds U+0000"));
    }
    // The message could repeat what was sent, which may be a secret.
    serde_html_form::from_bytes(bytes).map(Form).map_err(|_| malformed("a field is missing or is not what it must be"))
}

fn is_json(headers: &HeaderMap) -> bool {
    is_kind(headers, "application/json")
}

fn is_kind(headers: &HeaderMap, kind: &str) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case(kind))
}

fn refused(error: &serde_json::Error) -> Problem {
    let place = |problem: Problem| {
        let fault = Fault {
            field: None,
            line: u32::try_from(error.line()).ok(),
            column: u32::try_from(error.column()).ok(),
            message: without_place(error),
        };
        problem.errors(vec![fault])
    };
    if error.is_data() {
        return place(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "A value does not fit"));
    }
    place(Problem::new(StatusCode::BAD_REQUEST, "malformed", "The body is not JSON"))
}

/// The message without ` at line 1 column 2`, which stands beside it, and without any value of the body: what was sent may
/// be a secret.
pub(crate) fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    for (start, end) in [
        ("invalid type: string \"", "\", expected "),
        ("invalid value: string \"", "\", expected "),
        ("unknown variant `", "`, expected "),
    ] {
        if let Some(rest) = text.strip_prefix(start) {
            let expected = rest.rsplit_once(end).map_or("another one", |(_, expected)| expected);
            return format!("not a value that fits here: expected {expected}");
        }
    }
    text.to_owned()
}

fn malformed(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed", "The body can't be read").detail(detail)
}

pub(crate) fn too_slow() -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "The body did not come in time")
}

pub(crate) fn too_large(status: StatusCode) -> Problem {
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large")
            .detail(format!("at most {BODY_MAX_BYTES} bytes are taken"));
    }
    malformed("the connection ended before the body did")
}

/// What a path names. A segment that is no id of the wanted kind names nothing: 404, like an unknown id.
#[derive(Debug)]
pub struct At<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(named) = Path::from_request_parts(parts, state).await.map_err(|_| Problem::not_found())?;
        Ok(Self(named))
    }
}

/// Checks a text for people: not empty, not longer than `max` characters, no control characters.
///
/// # Errors
/// A [`Problem`] that names the field.
pub fn check_title(field: &str, text: &str, max: usize) -> Result<(), Problem> {
    let length = text.chars().count();
    if text.trim() != text || length == 0 || length > max || text.chars().any(char::is_control) {
        return Err(Problem::invalid(
            field,
            format!("1 to {max} characters, no control characters, no space at the ends"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_about_a_value_does_not_repeat_it() {
        let error = serde_json::from_str::<u32>("\"canary \\\", expected\"").unwrap_err();
        assert_eq!(without_place(&error), "not a value that fits here: expected u32");
    }
}
