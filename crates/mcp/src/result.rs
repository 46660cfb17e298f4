//! The result of a request about one thing, from the upstream's form to the client's (reference a.5, b.7, e.7).

use std::borrow::Cow;

use crate::error::OWN_PREFIX;
use crate::json::{Change, Kind, Writer};
use crate::meta;
use crate::uri::Renaming;
use crate::{Era, Json, Method, Object, Raw};

/// For whom a result is written.
#[derive(Debug, Clone, Copy)]
pub struct Side<'s> {
    /// The client's era.
    pub era: Era,
    /// What we say we are, an `Implementation`.
    pub server_info: Raw<'s>,
}

/// Who may be given a cached result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheScope {
    /// Anybody.
    Public,
    /// Who asked with the same authorization.
    Private,
}

impl CacheScope {
    /// What a result says; [`CacheScope::Private`] without a word that is known (reference a.8).
    #[must_use]
    pub fn of(result: &Object<'_>) -> Self {
        if result.text("cacheScope").as_deref() == Some("public") { Self::Public } else { Self::Private }
    }

    /// The written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }
}

/// For how many milliseconds a result says that it is fresh; 0 when it says nothing, or less than nothing (reference a.8).
#[must_use]
pub fn ttl_ms(result: &Object<'_>) -> u64 {
    result.get("ttlMs").and_then(Raw::integer).and_then(|ttl| u64::try_from(ttl).ok()).unwrap_or(0)
}

/// A result that is no end: the server asks for input, or has begun a task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server answered with a result of type `{result_type}`")]
pub struct Incomplete {
    /// The upstream's `resultType`.
    pub result_type: String,
}

/// How the results of a request are written for its client.
#[derive(Debug, Clone, Copy)]
pub struct Translation<'t> {
    /// What was asked: `tools/call`, `prompts/get`, `resources/read` or `completion/complete`.
    pub method: Method,
    /// For whom.
    pub side: Side<'t>,
    /// The widest scope in which what was read may be kept: private wherever the upstream was shown a credential, or who
    /// reads is decided by policy.
    pub widest: CacheScope,
    /// What the URIs of its server are called here, where any is renamed.
    pub renaming: Option<Renaming<'t>>,
}

/// What only a result that asks may have; nobody reads it in an end.
const ASKING: [&str; 2] = ["inputRequests", "requestState"];
/// What legacy clients do not know.
const MODERN_ONLY: [&str; 3] = ["resultType", "ttlMs", "cacheScope"];

/// The result of a `completion/complete` where its server completes nothing, but others do (reference h.2).
pub const NO_COMPLETION: Raw<'static> =
    Raw::constant(r#"{"resultType":"complete","completion":{"values":[],"hasMore":false}}"#);

impl<'t> Translation<'t> {
    /// Of a `tools/call` to a server whose URIs are what it calls them.
    #[must_use]
    pub const fn of_a_call(side: Side<'t>) -> Self {
        Self { method: Method::ToolsCall, side, widest: CacheScope::Private, renaming: None }
    }

    /// Translates the result that an upstream of either era gave, as [`Translation::own`] does, with the URIs that clients
    /// know, and without what the upstream says in our name: it must not be able to forge a denial of ours, nor ask a client
    /// beside us.
    ///
    /// Members that are not known here, the order of all, and the texts of numbers stay as they were written.
    ///
    /// # Errors
    /// As [`Translation::own`].
    pub fn upstream<'a>(&self, result: &Object<'a>) -> Result<Cow<'a, str>, Incomplete> {
        let renamed = self.renaming.and_then(|renaming| renaming.result(self.method, result));
        let renamed = renamed.as_ref().and_then(|renamed| renamed.raw().object());
        let honest = honest(renamed.as_ref().unwrap_or(result));
        let honest = honest.as_ref().and_then(|honest| honest.raw().object());
        match honest.or_else(|| renamed.clone()) {
            Some(changed) => self.own(&changed).map(|text| Cow::Owned(text.into_owned())),
            None => self.own(result),
        }
    }

    /// Translates a result that we wrote ourselves, in modern form; borrowed where nothing changes.
    ///
    /// Modern clients are told that it is complete and who we are, and of what they read for how long it is fresh. Legacy
    /// clients are told none of that, and get structured content of a tool that is no object as text.
    ///
    /// # Errors
    /// [`Incomplete`] when the result is no end of the request.
    pub fn own<'a>(&self, result: &Object<'a>) -> Result<Cow<'a, str>, Incomplete> {
        let result_type = result.get("resultType");
        match result_type.map(|raw| raw.text().unwrap_or_default()).as_deref() {
            None | Some("complete") => {}
            Some(other) => return Err(Incomplete { result_type: other.chars().take(64).collect() }),
        }
        match self.side.era {
            Era::Modern => Ok(Cow::Owned(self.modern(result).into_string())),
            Era::Legacy if self.is_legacy(result) => Ok(Cow::Borrowed(result.raw().get())),
            Era::Legacy => Ok(Cow::Owned(self.legacy(result).into_string())),
        }
    }

    fn modern(&self, result: &Object<'_>) -> Json {
        let meta = result.object("_meta").unwrap_or(Object::empty());
        let meta = meta.with(&[(meta::SERVER_INFO, Change::Set(self.side.server_info))]);
        let complete = Json::text("complete");
        let (ttl, scope) = (Json::integer(ttl_ms(result)), Json::text(self.scope(result).as_str()));
        let mut changes = vec![("resultType", Change::Set(complete.raw()))];
        match self.method {
            Method::ResourcesRead => {
                changes.extend([("ttlMs", Change::Set(ttl.raw())), ("cacheScope", Change::Set(scope.raw()))]);
            }
            // Nobody keeps these.
            Method::PromptsGet | Method::Complete => {
                changes.extend([("ttlMs", Change::Remove), ("cacheScope", Change::Remove)]);
            }
            _ => {}
        }
        changes.push(("_meta", Change::Set(meta.raw())));
        result.with(&changes)
    }

    fn scope(&self, result: &Object<'_>) -> CacheScope {
        if self.widest == CacheScope::Public { CacheScope::of(result) } else { CacheScope::Private }
    }

    /// Whether a result already is what a legacy client may get.
    fn is_legacy(&self, result: &Object<'_>) -> bool {
        MODERN_ONLY.iter().all(|key| !result.has(key))
            && self.has_plain_structure(result)
            && result.object("_meta").is_none_or(|meta| !meta.has(meta::SERVER_INFO))
    }

    /// Only results of tools have structured content; elsewhere the name means nothing.
    fn has_plain_structure(&self, result: &Object<'_>) -> bool {
        self.method != Method::ToolsCall
            || result.get("structuredContent").is_none_or(|content| content.kind() == Kind::Object)
    }

    fn legacy(&self, result: &Object<'_>) -> Json {
        let meta = result.object("_meta").map(|meta| meta.with(&[(meta::SERVER_INFO, Change::Remove)]));
        let content = if self.has_plain_structure(result) { None } else { Some(content_with_copy(result)) };
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
}

/// The result without what only we may say and what only a question may hold; `None` where there is none of it.
fn honest(result: &Object<'_>) -> Option<Json> {
    let is_ours = |key: &str| key.starts_with(OWN_PREFIX);
    let meta = result.object("_meta").filter(|meta| meta.iter().any(|(key, _)| is_ours(key)));
    let meta = meta.map(|meta| {
        let removed: Vec<_> =
            meta.iter().filter(|(key, _)| is_ours(key)).map(|(key, _)| (key, Change::Remove)).collect();
        meta.with(&removed)
    });
    if meta.is_none() && !ASKING.iter().any(|key| result.has(key)) {
        return None;
    }
    let meta = meta.as_ref().map(|meta| ("_meta", Change::Set(meta.raw())));
    let changes: Vec<_> = ASKING.into_iter().map(|key| (key, Change::Remove)).chain(meta).collect();
    Some(result.with(&changes))
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

#[cfg(test)]
mod tests;
