//! Envelopes, built from parsed parts and never copied as such.

use super::Id;
use crate::{Json, Raw, RpcError};

/// A request.
#[must_use]
pub fn request(id: &Id<'_>, method: &str, params: Raw<'_>) -> Json {
    Json::joined(&[
        r#"{"jsonrpc":"2.0","id":"#,
        id.as_json(),
        r#","method":"#,
        Json::text(method).as_str(),
        r#","params":"#,
        params.get(),
        "}",
    ])
}

/// A notification.
#[must_use]
pub fn notification(method: &str, params: Raw<'_>) -> Json {
    Json::joined(&[r#"{"jsonrpc":"2.0","method":"#, Json::text(method).as_str(), r#","params":"#, params.get(), "}"])
}

/// A response with a result.
#[must_use]
pub fn response(id: &Id<'_>, result: Raw<'_>) -> Json {
    Json::joined(&[r#"{"jsonrpc":"2.0","id":"#, id.as_json(), r#","result":"#, result.get(), "}"])
}

/// A response whose outcome is taken over as another side wrote it: the member `result`, or `error`.
#[must_use]
pub fn outcome(id: &Id<'_>, outcome: &super::Outcome<'_>) -> Json {
    let (member, value) = match outcome {
        super::Outcome::Result(result) => (r#","result":"#, result.raw()),
        super::Outcome::Error(error) => (r#","error":"#, error.members.raw()),
    };
    Json::joined(&[r#"{"jsonrpc":"2.0","id":"#, id.as_json(), member, value.get(), "}"])
}

/// A response with an error; without an id when the request's could not be read.
#[must_use]
pub fn error(id: Option<&Id<'_>>, error: &RpcError) -> Json {
    let error = error.to_json();
    match id {
        Some(id) => Json::joined(&[r#"{"jsonrpc":"2.0","id":"#, id.as_json(), r#","error":"#, error.as_str(), "}"]),
        None => Json::joined(&[r#"{"jsonrpc":"2.0","error":"#, error.as_str(), "}"]),
    }
}
