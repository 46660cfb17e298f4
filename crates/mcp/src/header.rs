//! The headers that repeat the body: reading, decoding, comparing, and writing them anew for the next hop.

mod annotated;

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub use annotated::{Annotated, AnnotationError, check, generate};

use crate::{Code, Method, RpcError, Version};

/// The revision spoken.
pub const PROTOCOL_VERSION: &str = "mcp-protocol-version";
/// The JSON-RPC method.
pub const METHOD: &str = "mcp-method";
/// What the method is about: the tool's name, for one.
pub const NAME: &str = "mcp-name";
/// The legacy session.
pub const SESSION_ID: &str = "mcp-session-id";
/// What names of annotated arguments' headers begin with.
pub const PARAM_PREFIX: &str = "mcp-param-";

/// The value of a header that may come once, space around it trimmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Field<'h> {
    /// Not there.
    #[default]
    Absent,
    /// There once.
    Once(&'h [u8]),
    /// There more than once: readers disagree on which counts, so it is refused.
    Twice,
}

impl<'h> Field<'h> {
    fn add(&mut self, value: &'h [u8]) {
        *self = match self {
            Self::Absent => Self::Once(value.trim_ascii()),
            _ => Self::Twice,
        };
    }

    /// The value as ASCII text, as it stands.
    ///
    /// # Errors
    /// [`HeaderError`] when the header comes twice or holds other characters.
    pub fn plain(self) -> Result<Option<&'h str>, HeaderError> {
        match self {
            Self::Absent => Ok(None),
            Self::Twice => Err(HeaderError::Twice),
            Self::Once(value) => plain(value).map(Some),
        }
    }

    /// The value with the sentinel encoding undone.
    ///
    /// # Errors
    /// [`HeaderError`] when the header comes twice, holds other characters, or what the sentinel encloses is no text.
    pub fn decoded(self) -> Result<Option<Cow<'h, str>>, HeaderError> {
        match self {
            Self::Absent => Ok(None),
            Self::Twice => Err(HeaderError::Twice),
            Self::Once(value) => decode(value).map(Some),
        }
    }
}

/// Why a header's value can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It came more than once.
    #[error("the header comes more than once")]
    Twice,
    /// Characters that no header value of the protocol has.
    #[error("the header holds invalid characters")]
    Characters,
    /// `=?base64?…?=` around what is not base64 of UTF-8.
    #[error("the header's base64 can't be decoded")]
    Base64,
}

/// The protocol's headers of one request, gathered in one pass over all of them.
#[derive(Debug, Clone, Default)]
pub struct Headers<'h> {
    /// `MCP-Protocol-Version`.
    pub version: Field<'h>,
    /// `Mcp-Method`.
    pub method: Field<'h>,
    /// `Mcp-Name`.
    pub name: Field<'h>,
    /// `Mcp-Session-Id`.
    pub session: Field<'h>,
    params: Vec<(&'h str, Field<'h>)>,
}

impl<'h> Headers<'h> {
    /// Gathers them. Names are compared without case.
    #[must_use]
    pub fn gather(headers: impl IntoIterator<Item = (&'h str, &'h [u8])>) -> Self {
        let mut gathered = Self::default();
        for (name, value) in headers {
            if !name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("mcp-")) {
                continue;
            }
            if name.eq_ignore_ascii_case(PROTOCOL_VERSION) {
                gathered.version.add(value);
            } else if name.eq_ignore_ascii_case(METHOD) {
                gathered.method.add(value);
            } else if name.eq_ignore_ascii_case(NAME) {
                gathered.name.add(value);
            } else if name.eq_ignore_ascii_case(SESSION_ID) {
                gathered.session.add(value);
            } else if let (Some(prefix), Some(param)) = (name.get(..PARAM_PREFIX.len()), name.get(PARAM_PREFIX.len()..))
                && prefix.eq_ignore_ascii_case(PARAM_PREFIX)
            {
                gathered.add_param(param, value);
            }
        }
        gathered
    }

    fn add_param(&mut self, param: &'h str, value: &'h [u8]) {
        if let Some((_, field)) = self.params.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case(param)) {
            field.add(value);
        } else {
            self.params.push((param, Field::Once(value.trim_ascii())));
        }
    }

    /// `Mcp-Param-{name}`.
    #[must_use]
    pub fn param(&self, name: &str) -> Field<'h> {
        self.params
            .iter()
            .find(|(param, _)| param.eq_ignore_ascii_case(name))
            .map_or(Field::Absent, |(_, field)| *field)
    }
}

/// The headers of a request to a modern upstream, names and values: never copies of a client's.
#[must_use]
pub fn for_upstream(version: Version, method: Method, name: Option<&str>) -> Vec<(&'static str, String)> {
    let mut headers = vec![(PROTOCOL_VERSION, version.as_str().to_owned()), (METHOD, method.as_str().to_owned())];
    headers.extend(name.map(|name| (NAME, encode(name).into_owned())));
    headers
}

/// The error for a header that says something else than the body, or can't be read.
#[must_use]
pub fn mismatch(header: &str, why: &str) -> RpcError {
    RpcError::new(Code::HeaderMismatch, format!("Header mismatch: {header} {why}"))
}

/// Undoes the sentinel encoding of a trimmed value.
///
/// # Errors
/// [`HeaderError`] when it holds other characters, or what the sentinel encloses is no text.
pub fn decode(value: &[u8]) -> Result<Cow<'_, str>, HeaderError> {
    let text = plain(value)?;
    match enclosed(text) {
        None => Ok(Cow::Borrowed(text)),
        Some(base64) => STANDARD
            .decode(base64)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .map(Cow::Owned)
            .ok_or(HeaderError::Base64),
    }
}

/// Writes a text as a header value: as it is where that is safe, else in the sentinel encoding.
#[must_use]
pub fn encode(text: &str) -> Cow<'_, str> {
    let safe = plain(text.as_bytes()).is_ok()
        && text.trim_matches([' ', '\t']).len() == text.len()
        && !text.is_empty()
        && enclosed(text).is_none();
    if safe { Cow::Borrowed(text) } else { Cow::Owned(format!("=?base64?{}?=", STANDARD.encode(text))) }
}

fn enclosed(text: &str) -> Option<&str> {
    text.strip_prefix("=?base64?")?.strip_suffix("?=")
}

fn plain(value: &[u8]) -> Result<&str, HeaderError> {
    if value.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
        std::str::from_utf8(value).map_err(|_| HeaderError::Characters)
    } else {
        Err(HeaderError::Characters)
    }
}

#[cfg(test)]
mod tests;
