//! An upstream's JSON-RPC error, as the client may see it (reference e.7).

use super::{Code, RpcError, failed_result};
use crate::json::Writer;
use crate::message::ErrorObject;
use crate::session::Capabilities;
use crate::{Era, Json, Object, Raw, Version};

/// What to do about an upstream's error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Answer with this error object, with this HTTP status where the answer is JSON.
    Error {
        /// The HTTP status.
        status: u16,
        /// The error object.
        error: Json,
    },
    /// Answer with this result, in modern form: the tool failed.
    ToolFailed(Json),
    /// Our idea of the tool's headers is out of date: list the tools again and try once more.
    RefreshTools,
    /// The upstream does not speak the version any more: probe it again and try once more.
    Renegotiate,
}

/// Who gets the error.
#[derive(Debug, Clone, Copy)]
pub struct Recipient<'r> {
    /// The client's revision.
    pub version: Version,
    /// What the client can do, a `ClientCapabilities` object.
    pub capabilities: &'r Object<'r>,
}

impl Recipient<'_> {
    /// Decides about an error that an upstream gave to a `tools/call`. After a second [`Next::RefreshTools`] or
    /// [`Next::Renegotiate`] the answer is an internal error.
    #[must_use]
    pub fn translate(&self, error: &ErrorObject<'_>) -> Next {
        match (error.code, self.version.era()) {
            (-32020, _) => Next::RefreshTools,
            (-32022, _) => Next::Renegotiate,
            (-32021, _) => self.lacks_capability(error),
            (-32042, Era::Modern) => self.wants_url(error),
            (-32042, Era::Legacy) if self.version < Version::V2025_11_25 => Next::ToolFailed(url_text(error)),
            (-32002, Era::Modern) => Next::Error {
                status: 200,
                error: RpcError { code: Code::InvalidParams, ..RpcError::passed_on(error) }.to_json(),
            },
            (-32019..=-32000, Era::Modern) => Next::Error { status: 200, error: wrapped(error) },
            (-32601, Era::Modern) => Next::Error { status: 404, error: error.members.raw().to_json() },
            _ => Next::Error { status: 200, error: error.members.raw().to_json() },
        }
    }

    fn lacks_capability(&self, error: &ErrorObject<'_>) -> Next {
        let required = error.data().and_then(Raw::object).and_then(|data| data.object("requiredCapabilities"));
        let Some(missing) = required.as_ref().and_then(|required| missing(required, self.capabilities)) else {
            // The client has it; it was left out on the way.
            let error = RpcError::new(Code::InternalError, "The tool needs a capability this gateway does not carry");
            return Next::Error { status: 200, error: error.to_json() };
        };
        match self.version.era() {
            Era::Modern => Next::Error { status: 400, error: error.members.raw().to_json() },
            Era::Legacy => Next::ToolFailed(failed_result(&format!("The client lacks `{missing}`"), None)),
        }
    }

    fn wants_url(&self, error: &ErrorObject<'_>) -> Next {
        if Capabilities::read(self.capabilities).has(Capabilities::ELICITATION_URL) {
            return Next::ToolFailed(url_text(error));
        }
        let error = RpcError::missing_capability(Raw::constant(r#"{"elicitation":{"url":{}}}"#));
        Next::Error { status: 400, error: error.to_json() }
    }
}

/// The first required capability, as a path, that the client did not declare.
fn missing(required: &Object<'_>, declared: &Object<'_>) -> Option<String> {
    for (key, wanted) in required.iter() {
        let Some(had) = declared.get(key) else { return Some(key.to_owned()) };
        if let (Some(wanted), Some(had)) = (wanted.object(), had.object())
            && let Some(inner) = missing(&wanted, &had)
        {
            return Some(format!("{key}.{inner}"));
        }
    }
    None
}

/// Codes that mean nothing outside their server become an internal error that carries the original.
fn wrapped(error: &ErrorObject<'_>) -> Json {
    let mut data = Writer::object();
    data.member("upstreamError", error.members.raw());
    RpcError::new(Code::InternalError, error.message.clone().into_owned()).with_data(data.finish()).to_json()
}

/// What -32042 asks for, as text: the message and URL of each elicitation.
fn url_text(error: &ErrorObject<'_>) -> Json {
    let elicitations = error.data().and_then(Raw::object).and_then(|data| data.get("elicitations")?.array());
    let mut text = error.message.clone().into_owned();
    for elicitation in elicitations.into_iter().flatten().filter_map(Raw::object) {
        let (message, url) =
            (elicitation.text("message").unwrap_or_default(), elicitation.text("url").unwrap_or_default());
        text.extend(["\n", &message, " ", &url]);
    }
    failed_result(&text, None)
}
