//! A request that is about one thing of one server, a tool, a prompt or a resource: read from the client, built for the
//! upstream.

use std::borrow::Cow;

use crate::json::{Change, Kind, Writer};
use crate::meta::{self, LogLevel};
use crate::{Code, Json, Method, Object, Raw, RpcError, Version};

/// A `tools/call`, `prompts/get`, `resources/read` or `completion/complete`.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// Which of them.
    pub method: Method,
    /// What it is about, as the client knows it.
    pub subject: Subject<'a>,
    /// The arguments object of a tool or a prompt, as it was written.
    pub arguments: Option<Raw<'a>>,
    /// What it answers, where it goes on with a request that asked for input.
    pub input: Input<'a>,
    params: Object<'a>,
    meta: Option<Object<'a>>,
}

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject<'a> {
    /// The tool of that name.
    Tool(Cow<'a, str>),
    /// The prompt of that name.
    Prompt(Cow<'a, str>),
    /// The resource of that URI.
    Resource(Cow<'a, str>),
    /// An argument of this prompt or template.
    Completion(Ref<'a>),
}

/// Whose argument is to be completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ref<'a> {
    /// The prompt of that name.
    Prompt(Cow<'a, str>),
    /// The resource, or the template, of that URI.
    Resource(Cow<'a, str>),
}

impl<'a> Subject<'a> {
    fn read(method: Method, params: &Object<'a>) -> Result<Self, RpcError> {
        let named = || text(params, "name", "`params.name` must be a string");
        match method {
            Method::ToolsCall => named().map(Self::Tool),
            Method::PromptsGet => named().map(Self::Prompt),
            Method::ResourcesRead => text(params, "uri", "`params.uri` must be a string").map(Self::Resource),
            Method::Complete => Ref::read(params).map(Self::Completion),
            other => Err(RpcError::method_not_found(other.as_str())),
        }
    }

    /// The name or URI by which the client knows it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Tool(name) | Self::Prompt(name) | Self::Completion(Ref::Prompt(name)) => name,
            Self::Resource(uri) | Self::Completion(Ref::Resource(uri)) => uri,
        }
    }

    const fn takes_arguments(&self) -> bool {
        matches!(self, Self::Tool(_) | Self::Prompt(_))
    }

    /// Whether a request about it may be answered with a question (reference a.6).
    const fn may_ask(&self) -> bool {
        !matches!(self, Self::Completion(_))
    }

    /// The member of `params` that says what it is, for a server that calls it `name`.
    fn member(&self, params: &Object<'_>, name: &str) -> (&'static str, Json) {
        let name = Json::text(name);
        let reference = |member| {
            let given = params.object("ref").unwrap_or(Object::empty());
            ("ref", given.with(&[(member, Change::Set(name.raw()))]))
        };
        match self {
            Self::Tool(_) | Self::Prompt(_) => ("name", name),
            Self::Resource(_) => ("uri", name),
            Self::Completion(Ref::Prompt(_)) => reference("name"),
            Self::Completion(Ref::Resource(_)) => reference("uri"),
        }
    }
}

impl<'a> Ref<'a> {
    fn read(params: &Object<'a>) -> Result<Self, RpcError> {
        let given = params.object("ref").ok_or_else(|| invalid("`params.ref` must be an object"))?;
        match given.text("type").as_deref() {
            Some("ref/prompt") => text(&given, "name", "`params.ref.name` must be a string").map(Self::Prompt),
            Some("ref/resource") => text(&given, "uri", "`params.ref.uri` must be a string").map(Self::Resource),
            _ => Err(invalid("`params.ref.type` must be `ref/prompt` or `ref/resource`")),
        }
    }
}

/// The answers to what a request asked, and the state that came with the questions.
#[derive(Debug, Clone, Copy, Default)]
pub struct Input<'a> {
    /// `inputResponses`, an object as it was written.
    pub responses: Option<Raw<'a>>,
    /// `requestState`, a string as it was written.
    pub state: Option<Raw<'a>>,
}

impl<'a> Input<'a> {
    fn read(params: &Object<'a>) -> Result<Self, RpcError> {
        let of = |key, kind, wrong| match params.get(key) {
            Some(raw) if raw.kind() != kind => Err(invalid(wrong)),
            given => Ok(given),
        };
        Ok(Self {
            responses: of("inputResponses", Kind::Object, "`params.inputResponses` must be an object")?,
            state: of("requestState", Kind::Text, "`params.requestState` must be a string")?,
        })
    }

    /// Whether the request goes on with none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.responses.is_none() && self.state.is_none()
    }
}

impl<'a> Ask<'a> {
    /// Reads the parameters of a request of that method.
    ///
    /// # Errors
    /// Invalid parameters when a member has the wrong type; method not found for methods that are about no one thing.
    pub fn read(method: Method, params: Object<'a>) -> Result<Self, RpcError> {
        let subject = Subject::read(method, &params)?;
        let arguments = match params.get("arguments").filter(|_| subject.takes_arguments()) {
            None | Some(Raw::NULL) => None,
            Some(raw) if raw.kind() == Kind::Object => Some(raw),
            Some(_) => return Err(invalid("`params.arguments` must be an object")),
        };
        let meta = match params.get("_meta") {
            None | Some(Raw::NULL) => None,
            Some(raw) => Some(raw.object().ok_or_else(|| invalid("`params._meta` must be an object"))?),
        };
        let input = if subject.may_ask() { Input::read(&params)? } else { Input::default() };
        Ok(Self { method, subject, arguments, input, params, meta })
    }

    /// The token the client wants its progress notifications to carry: a string or an integer.
    #[must_use]
    pub fn progress_token(&self) -> Option<Raw<'a>> {
        let token = self.meta.as_ref()?.get(meta::PROGRESS_TOKEN)?;
        (token.kind() == Kind::Text || token.is_integer()).then_some(token)
    }

    /// The parameters for the upstream: its own name for the subject, and this hop's `_meta`; all else as it was written.
    #[must_use]
    pub fn params_for(&self, outbound: &Outbound<'_>) -> Json {
        let (member, subject) = self.subject.member(&self.params, outbound.subject);
        let meta = self.meta_for(outbound);
        let answers = self.input.responses.filter(|_| matches!(outbound.hop, Hop::Modern { .. }));
        let takes_arguments = self.subject.takes_arguments();
        self.params.with(&[
            (member, Change::Set(subject.raw())),
            ("arguments", given(if takes_arguments { self.arguments } else { self.params.get("arguments") })),
            // The legacy era's way to ask for a task, which we do not offer.
            ("task", Change::Remove),
            ("inputResponses", given(answers)),
            // Whoever made a state gets its own back, and never another's.
            ("requestState", given(outbound.state)),
            ("_meta", if meta.raw() == Raw::EMPTY { Change::Remove } else { Change::Set(meta.raw()) }),
        ])
    }

    fn meta_for(&self, outbound: &Outbound<'_>) -> Json {
        let mut writer = Writer::object();
        for (key, value) in self.meta.iter().flat_map(Object::iter) {
            if !meta::is_hop_by_hop(key) {
                writer.member(key, value);
            }
        }
        outbound.write_meta(&mut writer);
        writer.finish()
    }
}

fn text<'a>(object: &Object<'a>, member: &str, wrong: &'static str) -> Result<Cow<'a, str>, RpcError> {
    object.text(member).ok_or_else(|| invalid(wrong))
}

fn invalid(wrong: &'static str) -> RpcError {
    RpcError::new(Code::InvalidParams, wrong)
}

fn given(value: Option<Raw<'_>>) -> Change<'_> {
    value.map_or(Change::Remove, Change::Set)
}

/// What the next hop is told.
#[derive(Debug, Clone, Copy)]
pub struct Outbound<'o> {
    /// The subject, by the name or URI the upstream knows.
    pub subject: &'o str,
    /// The upstream's own `requestState`, where the request goes on with one that it asked for input.
    pub state: Option<Raw<'o>>,
    /// Our token for the upstream's progress notifications; none, if the client wants none.
    pub progress_token: Option<Raw<'o>>,
    /// Our `traceparent`.
    pub traceparent: Option<&'o str>,
    /// The `tracestate` that goes with it.
    pub tracestate: Option<&'o str>,
    /// The upstream's era and what it wants to know.
    pub hop: Hop<'o>,
}

/// The era of the next hop.
#[derive(Debug, Clone, Copy)]
pub enum Hop<'o> {
    /// Every request says all about its client.
    Modern {
        /// The revision spoken on this hop.
        version: Version,
        /// What of the client's capabilities we can carry.
        capabilities: Raw<'o>,
        /// What we say the client is.
        client_info: Option<Raw<'o>>,
        /// The least level of log messages the client wants.
        log_level: Option<LogLevel>,
    },
    /// The session says it.
    Legacy,
}

impl Outbound<'_> {
    fn write_meta(&self, writer: &mut Writer) {
        self.hop.write_meta(writer);
        if let Some(token) = self.progress_token {
            writer.member(meta::PROGRESS_TOKEN, token);
        }
        if let Some(traceparent) = self.traceparent {
            writer.text(meta::TRACE[0], traceparent);
        }
        if let Some(tracestate) = self.tracestate {
            writer.text(meta::TRACE[1], tracestate);
        }
    }
}

impl Hop<'_> {
    /// Writes what every request of the hop carries in `_meta`.
    pub(crate) fn write_meta(&self, writer: &mut Writer) {
        let Self::Modern { version, capabilities, client_info, log_level } = self else { return };
        writer.text(meta::PROTOCOL_VERSION, version.as_str());
        writer.member(meta::CLIENT_CAPABILITIES, *capabilities);
        if let Some(client_info) = client_info {
            writer.member(meta::CLIENT_INFO, *client_info);
        }
        if let Some(level) = log_level {
            writer.text(meta::LOG_LEVEL, level.as_str());
        }
    }

    /// The parameters of a request that has none of its own but perhaps a cursor: `server/discover`, `tools/list`.
    #[must_use]
    pub fn params(&self, cursor: Option<&str>) -> Json {
        let mut writer = Writer::object();
        if let Some(cursor) = cursor {
            writer.text("cursor", cursor);
        }
        if matches!(self, Self::Modern { .. }) {
            writer.nested("_meta", |meta| self.write_meta(meta));
        }
        writer.finish()
    }
}

#[cfg(test)]
mod tests;
