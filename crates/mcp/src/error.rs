//! JSON-RPC errors: codes, HTTP statuses, bodies, and the tool results that tell a model it was refused.

use std::borrow::Cow;

use crate::json::Writer;
use crate::message;
use crate::{Era, Id, Json, Object, Raw, Version};

pub mod translate;

/// What went wrong, and with it number and HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// Not JSON.
    ParseError,
    /// JSON, but no message we take.
    InvalidRequest,
    /// Unknown, removed or unsupported method.
    MethodNotFound,
    /// Parameters that do not fit: unknown tool, bad cursor, bad argument shape.
    InvalidParams,
    /// `_meta` lacks what every modern request carries.
    InvalidMeta,
    /// Our fault or the upstream's.
    InternalError,
    /// A header says something else than the body.
    HeaderMismatch,
    /// The client can't do what is needed.
    MissingClientCapability,
    /// A revision we do not speak.
    UnsupportedVersion,
    /// Legacy: a request without the session it needs, or with an unsupported version header.
    BadRequest,
    /// Legacy: a session that is over, unknown or another principal's.
    SessionNotFound,
    /// The record could not be stored, so nothing was forwarded.
    AuditUnavailable,
    /// Too many calls.
    RateLimited,
    /// A prompt, a resource or a completion that the client may see but not have; tools say so in a result.
    Denied,
    /// Legacy: a resource that does not exist, or that the client can't see.
    ResourceNotFound,
    /// No decision could be taken.
    PolicyUnavailable,
    /// The node has no room for another call.
    Overloaded,
    /// A number of somebody else's.
    Other(i64),
}

impl Code {
    /// The number on the wire. Our own lie outside the range JSON-RPC and MCP reserve (-32768 to -32000).
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::ParseError => -32700,
            Self::InvalidRequest => -32600,
            Self::MethodNotFound => -32601,
            Self::InvalidParams | Self::InvalidMeta => -32602,
            Self::InternalError => -32603,
            Self::HeaderMismatch => -32020,
            Self::MissingClientCapability => -32021,
            Self::UnsupportedVersion => -32022,
            Self::BadRequest => -32000,
            // What the TypeScript SDK of the legacy era answers, with 404.
            Self::SessionNotFound => -32001,
            Self::AuditUnavailable => -31001,
            Self::RateLimited => -31002,
            Self::PolicyUnavailable => -31003,
            Self::Overloaded => -31004,
            Self::Denied => -31005,
            Self::ResourceNotFound => -32002,
            Self::Other(number) => number,
        }
    }

    /// The HTTP status of a JSON answer. Within an event stream the status was 200 already.
    #[must_use]
    pub const fn status(self, era: Era) -> u16 {
        match (self, era) {
            (Self::SessionNotFound, _) | (Self::MethodNotFound, Era::Modern) => 404,
            (Self::ParseError | Self::InvalidRequest | Self::BadRequest | Self::HeaderMismatch, _)
            | (Self::InvalidMeta | Self::MissingClientCapability | Self::UnsupportedVersion, Era::Modern) => 400,
            (Self::RateLimited, _) => 429,
            (Self::AuditUnavailable | Self::PolicyUnavailable | Self::Overloaded, _) => 503,
            _ => 200,
        }
    }
}

/// An error to answer with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcError {
    /// What went wrong.
    pub code: Code,
    /// One sentence for people; no secrets, nothing of other tenants.
    pub message: Cow<'static, str>,
    /// What machines need besides.
    pub data: Option<Json>,
}

impl RpcError {
    /// An error without data.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// The same with data.
    #[must_use]
    pub fn with_data(mut self, data: Json) -> Self {
        self.data = Some(data);
        self
    }

    /// Unknown, removed or unsupported.
    #[must_use]
    pub fn method_not_found(method: &str) -> Self {
        let shown: String = method.chars().filter(|letter| !letter.is_control()).take(64).collect();
        Self::new(Code::MethodNotFound, format!("Method not found: {shown}"))
    }

    /// The one answer for tools that do not exist and tools that are hidden.
    #[must_use]
    pub fn unknown_tool() -> Self {
        Self::new(Code::InvalidParams, "Unknown tool")
    }

    /// The one answer for prompts that do not exist and prompts that are hidden.
    #[must_use]
    pub fn unknown_prompt() -> Self {
        Self::new(Code::InvalidParams, "Unknown prompt")
    }

    /// The one answer for resources that do not exist and resources that are hidden, in each era (reference a.5, e.7). `uri`
    /// is the one that was asked for.
    #[must_use]
    pub fn resource_not_found(era: Era, uri: &str) -> Self {
        let code = match era {
            Era::Modern => Code::InvalidParams,
            Era::Legacy => Code::ResourceNotFound,
        };
        let mut data = Writer::object();
        data.text("uri", uri);
        Self::new(code, "Resource not found").with_data(data.finish())
    }

    /// A revision that is not ours; lists what `server/discover` lists.
    #[must_use]
    pub fn unsupported_version(requested: &str) -> Self {
        let supported: Vec<Json> = Version::MODERN.iter().map(|version| Json::text(version.as_str())).collect();
        let mut data = Writer::object();
        data.member("supported", Json::array(supported.iter().map(Json::raw)).raw());
        data.text("requested", requested);
        Self::new(Code::UnsupportedVersion, "Unsupported protocol version").with_data(data.finish())
    }

    /// A capability the client did not declare, given as the `ClientCapabilities` it would have to.
    #[must_use]
    pub fn missing_capability(required: Raw<'_>) -> Self {
        let mut data = Writer::object();
        data.member("requiredCapabilities", required);
        Self::new(Code::MissingClientCapability, "Missing required client capability").with_data(data.finish())
    }

    /// An upstream that failed on the way: unreachable, late, broken off, 5xx.
    #[must_use]
    pub fn upstream_failed(message: impl Into<Cow<'static, str>>, upstream: &str, retryable: Retryable) -> Self {
        let mut data = Writer::object();
        data.text("upstream", upstream);
        data.member("retryable", if retryable == Retryable::Yes { Raw::TRUE } else { Raw::FALSE });
        Self::new(Code::InternalError, message).with_data(data.finish())
    }

    /// The error object.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut writer = Writer::object();
        writer.integer("code", self.code.number());
        writer.text("message", &self.message);
        if let Some(data) = &self.data {
            writer.member("data", data.raw());
        }
        writer.finish()
    }

    /// The whole response.
    #[must_use]
    pub fn body(&self, id: Option<&Id<'_>>) -> Json {
        message::error(id, self)
    }

    /// The HTTP status of a JSON answer.
    #[must_use]
    pub const fn status(&self, era: Era) -> u16 {
        self.code.status(era)
    }
}

/// Whether the same call may be sent again without harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retryable {
    /// Nothing was done.
    Yes,
    /// It may have been done.
    No,
}

/// What our own keys in `_meta` begin with; nobody else's word under it is passed on.
pub const OWN_PREFIX: &str = "dev.sluice/";
/// Where [`Denial::to_result`] and [`Denial::to_error`] put what machines need.
pub const DENIAL: &str = "dev.sluice/denial";

/// A refusal that the model shall understand, so that it stops trying and says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denial<'d> {
    /// The stable code, for example `policy_denied`.
    pub code: &'d str,
    /// The rule that decided, if it may be named.
    pub rule: Option<&'d str>,
    /// Why, in plain words.
    pub reason: &'d str,
    /// What is allowed instead.
    pub instead: Option<&'d str>,
}

impl Denial<'_> {
    /// The tool result, in modern form: a text for the model, and the code in `_meta`.
    ///
    /// Not in `structuredContent`: clients check that against the tool's `outputSchema`.
    #[must_use]
    pub fn to_result(&self) -> Json {
        failed_result(&self.sentence(), self.details().raw().object().as_ref())
    }

    /// The error that says the same of what has no result for it: prompts, resources, completions.
    #[must_use]
    pub fn to_error(&self) -> RpcError {
        RpcError::new(Code::Denied, self.sentence()).with_data(self.details())
    }

    /// What machines need.
    fn details(&self) -> Json {
        let mut details = Writer::object();
        details.nested(DENIAL, |denial| {
            denial.text("code", self.code);
            if let Some(rule) = self.rule {
                denial.text("rule", rule);
            }
            denial.text("reason", self.reason);
            if let Some(instead) = self.instead {
                denial.text("instead", instead);
            }
        });
        details.finish()
    }

    fn sentence(&self) -> String {
        let rule = self.rule.map_or(String::new(), |rule| format!(" by the rule \"{rule}\""));
        let instead = self.instead.map_or(String::new(), |instead| format!(" Allowed instead: {instead}"));
        format!("Denied{rule}: {}{instead} (code: {})", self.reason, self.code)
    }
}

/// A tool result that says the tool failed, in modern form.
#[must_use]
pub fn failed_result(text: &str, meta: Option<&Object<'_>>) -> Json {
    let mut block = Writer::object();
    block.text("type", "text");
    block.text("text", text);
    let block = block.finish();
    let mut result = Writer::object();
    result.text("resultType", "complete");
    result.member("content", Json::array([block.raw()]).raw());
    result.member("isError", Raw::TRUE);
    if let Some(meta) = meta {
        result.member("_meta", meta.raw());
    }
    result.finish()
}

#[cfg(test)]
mod tests;
