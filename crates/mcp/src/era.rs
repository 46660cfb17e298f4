//! Which era an inbound request belongs to, and which one an upstream speaks.

use crate::header::{Field, Headers, mismatch};
use crate::meta::{self, LogLevel, Modern};
use crate::method::Standing;
use crate::{Body, Code, Era, Message, Method, Object, Request, RpcError, Version};

mod detect;

pub use detect::{Verdict, detect};

/// The HTTP methods the endpoint knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Carries messages.
    Post,
    /// Opens a legacy stream.
    Get,
    /// Ends a legacy session.
    Delete,
}

/// What an inbound request is.
#[derive(Debug, Clone)]
pub enum Inbound<'a, 'h> {
    /// Modern; a request goes on to [`check_modern`] with its `_meta`.
    Modern(Option<Object<'a>>),
    /// The legacy handshake.
    Initialize,
    /// A message, or a batch where the session's version has them, of this legacy session.
    Session(&'h str),
    /// Wants the stream of this legacy session.
    Stream(&'h str),
    /// Ends this legacy session.
    Terminate(&'h str),
    /// Nothing we answer.
    Misfit(Misfit),
}

/// Why a request belongs to no era.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// A legacy message without a session.
    #[error("Bad Request: Mcp-Session-Id required")]
    SessionRequired,
    /// An array where none may be.
    #[error("batches are not part of this protocol version")]
    Batch,
    /// A header that may come once comes twice, or can't be read.
    #[error("Header mismatch: {0} can't be read")]
    Header(&'static str),
    /// GET or DELETE without a session: 405 with `Allow: POST`.
    #[error("method not allowed")]
    MethodNotAllowed,
}

impl Misfit {
    /// The error to answer with; its code has the HTTP status. `None` means 405 without a body.
    #[must_use]
    pub fn to_error(self) -> Option<RpcError> {
        let code = match self {
            Self::SessionRequired => Code::BadRequest,
            Self::Batch => Code::InvalidRequest,
            Self::Header(_) => Code::HeaderMismatch,
            Self::MethodNotAllowed => return None,
        };
        Some(RpcError::new(code, self.to_string()))
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::MethodNotAllowed => 405,
            _ => 400,
        }
    }
}

/// Tells what an inbound request is; `body` is what a POST carried.
///
/// The body decides before the headers: `_meta` with a version is modern whatever the method, and an `initialize`
/// without it begins a session whatever its headers, since a client that falls back may leave them in place.
#[must_use]
pub fn classify<'a, 'h>(verb: Verb, headers: &Headers<'h>, body: Option<&Body<'a>>) -> Inbound<'a, 'h> {
    let session = match headers.session.plain() {
        Ok(session) => session.filter(|session| !session.is_empty()),
        Err(_) => return Inbound::Misfit(Misfit::Header("Mcp-Session-Id")),
    };
    match (verb, body, session) {
        (Verb::Get, _, Some(session)) => Inbound::Stream(session),
        (Verb::Delete, _, Some(session)) => Inbound::Terminate(session),
        (Verb::Post, Some(Body::One(message)), session) => classify_message(headers, message, session),
        (Verb::Post, Some(Body::Batch(_)), Some(session)) if !names_modern(headers) => Inbound::Session(session),
        (Verb::Post, Some(Body::Batch(_)), _) => Inbound::Misfit(Misfit::Batch),
        _ => Inbound::Misfit(Misfit::MethodNotAllowed),
    }
}

fn classify_message<'a, 'h>(headers: &Headers<'h>, message: &Message<'a>, session: Option<&'h str>) -> Inbound<'a, 'h> {
    let params = match message {
        Message::Request(request) => Some(&request.params),
        Message::Notification(notification) => Some(&notification.params),
        Message::Response(_) => None,
    };
    let meta = params.and_then(|params| params.object("_meta"));
    if meta.as_ref().is_some_and(|meta| meta.has(meta::PROTOCOL_VERSION)) {
        return Inbound::Modern(meta);
    }
    if matches!(message, Message::Request(request) if request.method == Method::Initialize.as_str()) {
        return Inbound::Initialize;
    }
    if headers.version.plain().is_err() {
        return Inbound::Misfit(Misfit::Header("MCP-Protocol-Version"));
    }
    if names_modern(headers) {
        return Inbound::Modern(meta);
    }
    session.map_or(Inbound::Misfit(Misfit::SessionRequired), Inbound::Session)
}

/// Whether the version header names the modern era or a revision we do not know, which can only be newer.
fn names_modern(headers: &Headers<'_>) -> bool {
    match headers.version.plain() {
        Ok(Some("2024-11-05") | None) => false,
        Ok(Some(version)) => Version::find(version).is_none_or(|version| version.era() == Era::Modern),
        Err(_) => true,
    }
}

/// Checks that a legacy session's request names no version that has no sessions.
///
/// # Errors
/// A bad request when the header can't be read or names another than a legacy version of ours.
pub fn check_session(headers: &Headers<'_>) -> Result<(), RpcError> {
    match headers.version.plain() {
        Ok(None) => Ok(()),
        Ok(Some(version)) if Version::find(version).is_some_and(|version| version.era() == Era::Legacy) => Ok(()),
        _ => Err(RpcError::new(Code::BadRequest, "Bad Request: Unsupported protocol version")),
    }
}

/// Checks a modern request against its headers, in the order of the reference (a.2, 6 to 11).
///
/// # Errors
/// The error of the first check that fails.
pub fn check_modern<'a>(
    headers: &Headers<'_>,
    request: &Request<'a>,
    meta: Option<Object<'a>>,
) -> Result<Modern<'a>, RpcError> {
    let (version, meta, capabilities) = check_version(headers, meta)?;
    let method = check_method(headers, request)?;
    Ok(Modern {
        version,
        method,
        capabilities,
        client_info: meta.get(meta::CLIENT_INFO),
        log_level: log_level(&meta)?,
        progress_token: meta.get(meta::PROGRESS_TOKEN),
        meta,
    })
}

fn check_version<'a>(
    headers: &Headers<'_>,
    meta: Option<Object<'a>>,
) -> Result<(Version, Object<'a>, Object<'a>), RpcError> {
    let header = match headers.version.plain() {
        Ok(Some(header)) => header,
        Ok(None) => return Err(mismatch("MCP-Protocol-Version", "is missing")),
        Err(error) => return Err(mismatch("MCP-Protocol-Version", &error.to_string())),
    };
    let known = Version::find(header).filter(|version| version.era() == Era::Modern);
    let Some(meta) = meta else {
        return Err(match known {
            Some(_) => RpcError::new(Code::InvalidMeta, "`_meta` is required"),
            None => RpcError::unsupported_version(header),
        });
    };
    let missing = |key: &str| RpcError::new(Code::InvalidMeta, format!("`_meta[\"{key}\"]` is required"));
    let body = meta.text(meta::PROTOCOL_VERSION).ok_or_else(|| missing(meta::PROTOCOL_VERSION))?;
    let capabilities = meta.object(meta::CLIENT_CAPABILITIES).ok_or_else(|| missing(meta::CLIENT_CAPABILITIES))?;
    if header != body {
        return Err(mismatch("MCP-Protocol-Version", "differs from `_meta`"));
    }
    let version = known.ok_or_else(|| RpcError::unsupported_version(&body))?;
    Ok((version, meta, capabilities))
}

fn check_method(headers: &Headers<'_>, request: &Request<'_>) -> Result<Method, RpcError> {
    match headers.method.plain() {
        Ok(Some(header)) if header == request.method => {}
        Ok(Some(_)) => return Err(mismatch("Mcp-Method", "differs from the body")),
        Ok(None) => return Err(mismatch("Mcp-Method", "is missing")),
        Err(error) => return Err(mismatch("Mcp-Method", &error.to_string())),
    }
    let method = Method::find(&request.method);
    if let Some(member) = method.and_then(Method::named_by) {
        check_name(headers.name, request, member)?;
    }
    served(method, Era::Modern, &request.method)
}

fn check_name(header: Field<'_>, request: &Request<'_>, member: &str) -> Result<(), RpcError> {
    let body = request
        .params
        .text(member)
        .ok_or_else(|| RpcError::new(Code::InvalidParams, format!("`params.{member}` must be a string")))?;
    match header.decoded() {
        Ok(Some(header)) if header == body => Ok(()),
        Ok(Some(_)) => Err(mismatch("Mcp-Name", "differs from the body")),
        Ok(None) => Err(mismatch("Mcp-Name", "is missing")),
        Err(error) => Err(mismatch("Mcp-Name", &error.to_string())),
    }
}

/// The method of a legacy session's request.
///
/// # Errors
/// Method not found when the era has no such method or we do not serve it yet.
pub fn check_legacy(request: &Request<'_>) -> Result<Method, RpcError> {
    served(Method::find(&request.method), Era::Legacy, &request.method)
}

fn served(method: Option<Method>, era: Era, text: &str) -> Result<Method, RpcError> {
    method.filter(|method| method.standing(era) == Standing::Served).ok_or_else(|| RpcError::method_not_found(text))
}

fn log_level(meta: &Object<'_>) -> Result<Option<LogLevel>, RpcError> {
    let Some(raw) = meta.get(meta::LOG_LEVEL) else { return Ok(None) };
    let level = raw.text().and_then(|text| LogLevel::find(&text));
    level.map(Some).ok_or_else(|| RpcError::new(Code::InvalidParams, "not a log level"))
}

#[cfg(test)]
mod tests;
