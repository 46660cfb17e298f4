//! The result of a call, from the upstream's form to the client's.

use std::borrow::Cow;

use crate::error::OWN_PREFIX;
use crate::json::{Change, Kind, Writer};
use crate::meta;
use crate::{Era, Json, Object, Raw};

/// For whom a result is written.
#[derive(Debug, Clone, Copy)]
pub struct Side<'s> {
    /// The client's era.
    pub era: Era,
    /// What we say we are, an `Implementation`.
    pub server_info: Raw<'s>,
}

/// A result that is no end: the server asks for input, or has begun a task. This gateway carries neither yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server answered with a result of type `{result_type}`")]
pub struct Incomplete {
    /// The upstream's `resultType`.
    pub result_type: String,
}

/// What only a result that asks may have; nobody reads it in an end.
const ASKING: [&str; 2] = ["inputRequests", "requestState"];

/// Translates the result that an upstream of either era gave, as [`translate_own_result`] does, without what it says in our
/// name: a tool must not be able to forge a denial of ours, nor ask a client beside us.
///
/// # Errors
/// As [`translate_own_result`].
pub fn translate_upstream_result<'a>(result: &Object<'a>, side: &Side<'_>) -> Result<Cow<'a, str>, Incomplete> {
    let is_ours = |key: &str| key.starts_with(OWN_PREFIX);
    let meta = result.object("_meta").filter(|meta| meta.iter().any(|(key, _)| is_ours(key)));
    let meta = meta.map(|meta| {
        let removed: Vec<_> =
            meta.iter().filter(|(key, _)| is_ours(key)).map(|(key, _)| (key, Change::Remove)).collect();
        meta.with(&removed)
    });
    if meta.is_none() && !ASKING.iter().any(|key| result.has(key)) {
        return translate_own_result(result, side);
    }
    let meta = meta.as_ref().map(|meta| ("_meta", Change::Set(meta.raw())));
    let changes: Vec<_> = ASKING.into_iter().map(|key| (key, Change::Remove)).chain(meta).collect();
    let honest = result.with(&changes);
    let object = honest.raw().object().unwrap_or(Object::empty());
    translate_own_result(&object, side).map(|text| Cow::Owned(text.into_owned()))
}

/// Translates a result of a `tools/call` that we wrote ourselves for the client; borrowed where nothing changes.
///
/// # Errors
/// [`Incomplete`] when the result is no end of the call.
pub fn translate_own_result<'a>(result: &Object<'a>, side: &Side<'_>) -> Result<Cow<'a, str>, Incomplete> {
    let result_type = result.get("resultType");
    match result_type.map(|raw| raw.text().unwrap_or_default()).as_deref() {
        None | Some("complete") => {}
        Some(other) => return Err(Incomplete { result_type: other.chars().take(64).collect() }),
    }
    match side.era {
        Era::Modern => Ok(Cow::Owned(to_modern(result, side.server_info).into_string())),
        Era::Legacy if is_legacy(result) => Ok(Cow::Borrowed(result.raw().get())),
        Era::Legacy => Ok(Cow::Owned(to_legacy(result).into_string())),
    }
}

fn to_modern(result: &Object<'_>, server_info: Raw<'_>) -> Json {
    let meta = result.object("_meta").unwrap_or(Object::empty());
    let meta = meta.with(&[(meta::SERVER_INFO, Change::Set(server_info))]);
    let complete = Json::text("complete");
    result.with(&[("resultType", Change::Set(complete.raw())), ("_meta", Change::Set(meta.raw()))])
}

/// Whether a result already is what a legacy client may get.
fn is_legacy(result: &Object<'_>) -> bool {
    MODERN_ONLY.iter().all(|key| !result.has(key))
        && has_plain_structure(result)
        && result.object("_meta").is_none_or(|meta| !meta.has(meta::SERVER_INFO))
}

const MODERN_ONLY: [&str; 3] = ["resultType", "ttlMs", "cacheScope"];

fn has_plain_structure(result: &Object<'_>) -> bool {
    result.get("structuredContent").is_none_or(|content| content.kind() == Kind::Object)
}

fn to_legacy(result: &Object<'_>) -> Json {
    let meta = result.object("_meta").map(|meta| meta.with(&[(meta::SERVER_INFO, Change::Remove)]));
    let content = if has_plain_structure(result) { None } else { Some(content_with_copy(result)) };
    let mut changes: Vec<(&str, Change<'_>)> = MODERN_ONLY.map(|key| (key, Change::Remove)).to_vec();
    match &meta {
        Some(meta) if meta.raw() != Raw::EMPTY => changes.push(("_meta", Change::Set(meta.raw()))),
        Some(_) => changes.push(("_meta", Change::Remove)),
        None => {}
    }
    if let Some(content) = &content {
        changes.push(("structuredContent", Change::Remove));
        changes.push(("content", Change::Set(content.raw())));
    }
    result.with(&changes)
}

/// The content blocks, with the structured content as text if there is no text yet: legacy has no place for what is
/// not an object.
fn content_with_copy(result: &Object<'_>) -> Json {
    let mut blocks = result.get("content").and_then(Raw::array).unwrap_or_default();
    let is_text = |block: &Raw<'_>| block.object().is_some_and(|block| block.text("type").as_deref() == Some("text"));
    let copy = result.get("structuredContent").filter(|_| !blocks.iter().any(is_text)).map(|content| {
        let mut block = Writer::object();
        block.text("type", "text");
        block.text("text", content.get());
        block.finish()
    });
    blocks.extend(copy.as_ref().map(Json::raw));
    Json::array(blocks)
}
