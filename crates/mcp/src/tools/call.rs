//! The parameters of a call: read from the client, built for the upstream.

use std::borrow::Cow;

use crate::json::{Change, Kind, Writer};
use crate::meta::{self, LogLevel};
use crate::{Code, Json, Object, Raw, RpcError, Version};

/// The parameters of a `tools/call`.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// The tool, by the name the client knows.
    pub name: Cow<'a, str>,
    /// The arguments object, as it was written.
    pub arguments: Option<Raw<'a>>,
    /// What it answers, where it goes on with a call that asked for input.
    pub input: Input<'a>,
    params: Object<'a>,
    meta: Option<Object<'a>>,
}

/// The answers to what a call asked, and the state that came with the questions.
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
            Some(raw) if raw.kind() != kind => Err(RpcError::new(Code::InvalidParams, wrong)),
            given => Ok(given),
        };
        Ok(Self {
            responses: of("inputResponses", Kind::Object, "`params.inputResponses` must be an object")?,
            state: of("requestState", Kind::Text, "`params.requestState` must be a string")?,
        })
    }

    /// Whether the call goes on with none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.responses.is_none() && self.state.is_none()
    }
}

impl<'a> Call<'a> {
    /// Reads them.
    ///
    /// # Errors
    /// Invalid parameters when a member has the wrong type.
    pub fn read(params: Object<'a>) -> Result<Self, RpcError> {
        let invalid = |message| RpcError::new(Code::InvalidParams, message);
        let name = params.text("name").ok_or_else(|| invalid("`params.name` must be a string"))?;
        let arguments = match params.get("arguments") {
            None | Some(Raw::NULL) => None,
            Some(raw) if raw.kind() == Kind::Object => Some(raw),
            Some(_) => return Err(invalid("`params.arguments` must be an object")),
        };
        let meta = match params.get("_meta") {
            None | Some(Raw::NULL) => None,
            Some(raw) => Some(raw.object().ok_or_else(|| invalid("`params._meta` must be an object"))?),
        };
        let input = Input::read(&params)?;
        Ok(Self { name, arguments, input, params, meta })
    }

    /// The token the client wants its progress notifications to carry: a string or an integer.
    #[must_use]
    pub fn progress_token(&self) -> Option<Raw<'a>> {
        let token = self.meta.as_ref()?.get(meta::PROGRESS_TOKEN)?;
        (token.kind() == Kind::Text || token.is_integer()).then_some(token)
    }

    /// The parameters for the upstream: another name and this hop's `_meta`; all else as it was written.
    #[must_use]
    pub fn params_for(&self, outbound: &Outbound<'_>) -> Json {
        let name = Json::text(outbound.name);
        let meta = self.meta_for(outbound);
        self.params.with(&[
            ("name", Change::Set(name.raw())),
            ("arguments", given(self.arguments)),
            // The legacy era's way to ask for a task, which we do not offer.
            ("task", Change::Remove),
            ("inputResponses", given(self.input.responses.filter(|_| matches!(outbound.hop, Hop::Modern { .. })))),
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

fn given(value: Option<Raw<'_>>) -> Change<'_> {
    value.map_or(Change::Remove, Change::Set)
}

/// What the next hop is told.
#[derive(Debug, Clone, Copy)]
pub struct Outbound<'o> {
    /// The tool, by the name the upstream knows.
    pub name: &'o str,
    /// The upstream's own `requestState`, where the call goes on with one that it asked for input.
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
