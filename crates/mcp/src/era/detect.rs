//! What the answer to a `server/discover` probe says about the upstream's era.

use crate::message::{ErrorObject, Outcome};
use crate::sse::Reader;
use crate::{Body, Era, Limits, Message, Object, Version};

/// What an upstream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Modern, and this version is common to us.
    Modern(Version),
    /// Not modern: go on with `initialize`.
    Legacy,
    /// Modern, but of revisions we do not speak.
    NoCommonVersion,
    /// It wants to know who asks (401, 403); its era stays unknown.
    Unauthorized,
    /// It failed, or refuses for now (408, 429, 5xx); its era stays unknown.
    Unavailable,
}

/// Judges the answer to a `server/discover` sent in the modern form. Never probe with anything else: a legacy server
/// may execute what it understands.
///
/// An answer of -32601 means legacy: a modern server must have this method.
#[must_use]
pub fn detect(status: u16, content_type: Option<&str>, body: &[u8]) -> Verdict {
    match status {
        401 | 403 => return Verdict::Unauthorized,
        408 | 429 | 500..=599 => return Verdict::Unavailable,
        _ => {}
    }
    let is_stream = content_type
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"));
    let answer = if is_stream { last_event(body) } else { Some(body.to_vec()) };
    let Some(answer) = answer else { return Verdict::Legacy };
    match Body::parse(&answer, &Limits::upstream()) {
        Ok(Body::One(Message::Response(response))) => match response.outcome {
            Outcome::Result(result) => judge_result(status, &result),
            Outcome::Error(error) => judge_error(status, &error),
        },
        _ => Verdict::Legacy,
    }
}

/// The data of the last event of a body that has been read to its end: the response, after notifications.
fn last_event(body: &[u8]) -> Option<Vec<u8>> {
    let mut events = Vec::new();
    Reader::new(body.len().max(1)).read(body, &mut events).ok()?;
    events.pop().map(|event| event.data)
}

fn judge_result(status: u16, result: &Object<'_>) -> Verdict {
    let Some(listed) = listed(result, "supportedVersions") else { return Verdict::Legacy };
    if !(200..300).contains(&status) {
        return Verdict::Legacy;
    }
    match Version::choose(Era::Modern, listed.iter().map(String::as_str)) {
        Some(version) => Verdict::Modern(version),
        None => without_common(&listed),
    }
}

fn judge_error(status: u16, error: &ErrorObject<'_>) -> Verdict {
    let data = error.data().and_then(crate::Raw::object);
    match error.code {
        // -32004 is what drafts used; only its data tells it from codes that mean nothing.
        -32022 | -32004 => match data.and_then(|data| listed(&data, "supported")) {
            Some(listed) => match Version::choose(Era::Modern, listed.iter().map(String::as_str)) {
                Some(version) => Verdict::Modern(version),
                None => without_common(&listed),
            },
            None if error.code == -32022 => Verdict::NoCommonVersion,
            None => Verdict::Legacy,
        },
        -32020 | -32021 => Verdict::Modern(Version::LATEST_MODERN),
        -32003 if data.is_some_and(|data| data.has("requiredCapabilities")) => Verdict::Modern(Version::LATEST_MODERN),
        -32602 if status == 400 => Verdict::Modern(Version::LATEST_MODERN),
        _ => Verdict::Legacy,
    }
}

fn without_common(listed: &[String]) -> Verdict {
    match Version::choose(Era::Legacy, listed.iter().map(String::as_str)) {
        Some(_) => Verdict::Legacy,
        None => Verdict::NoCommonVersion,
    }
}

fn listed(object: &Object<'_>, key: &str) -> Option<Vec<String>> {
    let items = object.get(key)?.array()?;
    Some(items.into_iter().filter_map(|item| item.text().map(std::borrow::Cow::into_owned)).collect())
}
