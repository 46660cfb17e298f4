//! An upstream's JSON-RPC error, as the client may see it (reference e.7).

use std::borrow::Cow;

use super::{Code, RpcError, failed_result};
use crate::ask::Subject;
use crate::json::{Change, Writer};
use crate::message::ErrorObject;
use crate::result::NO_COMPLETION;
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
    /// Answer with this result, in modern form, in the error's place: the tool failed, or nothing is completed.
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
        self.translate_about(&Subject::Tool(Cow::Borrowed("")), error)
    }

    /// The same for a request about anything, which has the name or URI by which the client asked.
    ///
    /// A resource that is not found is not found in the client's own words for it: with the URI it asked for, and in the
    /// other era's code. In a code that both eras use for more, that is an error whose data names a URI (reference a.5).
    #[must_use]
    pub fn translate_about(&self, subject: &Subject<'_>, error: &ErrorObject<'_>) -> Next {
        let era = self.version.era();
        match (error.code, subject) {
            (NOT_FOUND, Subject::Resource(uri)) => return passed(200, not_found(era, uri, error)),
            (INVALID, Subject::Resource(uri)) if names_a_uri(error) => return passed(200, not_found(era, uri, error)),
            (NO_SUCH_METHOD, Subject::Completion(_)) => return Next::ToolFailed(NO_COMPLETION.to_json()),
            _ => {}
        }
        match (error.code, era) {
            (-32020, _) => Next::RefreshTools,
            (-32022, _) => Next::Renegotiate,
            (-32021, _) => self.lacks_capability(subject, error),
            (-32042, Era::Modern) => self.wants_url(subject, error),
            (-32042, Era::Legacy) if self.version < Version::V2025_11_25 => failed(subject, &url_text(error)),
            (NOT_FOUND, Era::Modern) => passed(200, recoded(error, Code::InvalidParams)),
            (-32019..=-32000, Era::Modern) => passed(200, wrapped(error)),
            (NO_SUCH_METHOD, Era::Modern) => passed(404, error.members.raw().to_json()),
            _ => passed(200, error.members.raw().to_json()),
        }
    }

    fn lacks_capability(&self, subject: &Subject<'_>, error: &ErrorObject<'_>) -> Next {
        let required = error.data().and_then(Raw::object).and_then(|data| data.object("requiredCapabilities"));
        let Some(missing) = required.as_ref().and_then(|required| missing(required, self.capabilities)) else {
            // The client has it; it was left out on the way.
            let error =
                RpcError::new(Code::InternalError, "What is asked for needs a capability this gateway does not carry");
            return passed(200, error.to_json());
        };
        match self.version.era() {
            Era::Modern => passed(400, error.members.raw().to_json()),
            Era::Legacy => failed(subject, &format!("The client lacks `{missing}`")),
        }
    }

    fn wants_url(&self, subject: &Subject<'_>, error: &ErrorObject<'_>) -> Next {
        if Capabilities::read(self.capabilities).has(Capabilities::ELICITATION_URL) {
            return failed(subject, &url_text(error));
        }
        let error = RpcError::missing_capability(Raw::constant(r#"{"elicitation":{"url":{}}}"#));
        passed(400, error.to_json())
    }
}

/// Legacy: the resource does not exist.
const NOT_FOUND: i64 = Code::ResourceNotFound.number();
const INVALID: i64 = Code::InvalidParams.number();
const NO_SUCH_METHOD: i64 = Code::MethodNotFound.number();

const fn passed(status: u16, error: Json) -> Next {
    Next::Error { status, error }
}

/// A tool's failure is a result, so that the model reads it; what is no tool has none (reference e.5, e.7).
fn failed(subject: &Subject<'_>, text: &str) -> Next {
    match subject {
        Subject::Tool(_) => Next::ToolFailed(failed_result(text, None)),
        _ => passed(200, RpcError::new(Code::InvalidParams, text.to_owned()).to_json()),
    }
}

fn names_a_uri(error: &ErrorObject<'_>) -> bool {
    error.data().and_then(Raw::object).is_some_and(|data| data.has("uri"))
}

/// The error with the era's code for it, and with the URI as the client has it; all else as it was written.
fn not_found(era: Era, uri: &str, error: &ErrorObject<'_>) -> Json {
    let code = RpcError::resource_not_found(era, uri).code;
    let given = error.data().and_then(Raw::object).unwrap_or(Object::empty());
    if error.code == code.number() && given.text("uri").as_deref() == Some(uri) {
        return error.members.raw().to_json();
    }
    let uri = Json::text(uri);
    let data = given.with(&[("uri", Change::Set(uri.raw()))]);
    let code = Json::integer(code.number());
    error.members.with(&[("code", Change::Set(code.raw())), ("data", Change::Set(data.raw()))])
}

/// The error under another code; all else as it was written.
fn recoded(error: &ErrorObject<'_>, code: Code) -> Json {
    let code = Json::integer(code.number());
    error.members.with(&[("code", Change::Set(code.raw()))])
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
fn url_text(error: &ErrorObject<'_>) -> String {
    let elicitations = error.data().and_then(Raw::object).and_then(|data| data.get("elicitations")?.array());
    let mut text = error.message.clone().into_owned();
    for elicitation in elicitations.into_iter().flatten().filter_map(Raw::object) {
        let (message, url) =
            (elicitation.text("message").unwrap_or_default(), elicitation.text("url").unwrap_or_default());
        text.extend(["\n", &message, " ", &url]);
    }
    text
}
