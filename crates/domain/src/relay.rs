//! The narrow relay from the control plane to a node: probing an upstream server, which only nodes may reach.
//!
//! The request is an envelope of kind `relay` ([`crate::projection`]) posted to a node's internal listener; the answer
//! is an event stream: `event: step` with a [`Step`] for each step, then one `event: found` with a [`Found`] or one
//! `event: failed` with a [`Failed`].

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use url::Url;

use crate::snapshot::{Credential, WrappedKey};
use crate::{EraPin, ItemKind, ServerId, TenantId, Transport};

/// Where a node takes [`Discover`] requests; also the envelope's key.
pub const DISCOVER_PATH: &str = "/relay/v1/discover";

/// For how long a request may be delivered, seconds.
pub const DISCOVER_TTL_S: i64 = 30;

/// Asks a node to look at an upstream server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Discover {
    /// For whom.
    pub tenant: TenantId,
    /// The server, where it is registered already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerId>,
    /// Where it is.
    pub endpoint: Url,
    /// Which era to speak; `auto` probes.
    pub era: EraPin,
    /// What to present.
    pub credential: Credential,
    /// The key a sealed credential is opened with.
    pub data_key: WrappedKey,
    /// Whether whoever asks knows of prompts and resources: only then are they listed, and their steps told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub items: bool,
    /// A request counts once.
    pub jti: String,
    /// When it stops counting, at most [`DISCOVER_TTL_S`] after it was signed.
    pub expires_at: DateTime<Utc>,
}

/// The steps of a probe, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum StepName {
    /// The name resolves to an address we may dial.
    Address,
    /// A connection is open.
    Connect,
    /// TLS is agreed and the certificate holds (skipped for http).
    Tls,
    /// Which era it speaks.
    Era,
    /// It takes our credential.
    Auth,
    /// Its tools could be listed.
    Tools,
    /// Its prompts were listed, if it has any.
    Prompts,
    /// Its resources and their templates were listed, if it has any.
    Resources,
}

/// One step that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Step {
    /// Which.
    pub step: StepName,
    /// Whether it went well.
    pub ok: bool,
    /// What was found, or what is wrong and how to mend it; one sentence for people.
    pub detail: String,
    /// How long it took, milliseconds.
    pub ms: u64,
}

/// What a probe found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Found {
    /// Modern or legacy; never `auto`.
    pub era: EraPin,
    /// The protocol version agreed on.
    pub protocol_version: String,
    /// `serverInfo` as the server gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_info: Option<Box<RawValue>>,
    /// Its instructions for models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    /// Its tools, all pages, each definition as the server gave it.
    pub tools: Vec<Box<RawValue>>,
    /// What it offers beside tools.
    #[serde(default)]
    pub items: FoundItems,
    /// `ServerCapabilities` as the server gave them; none: the node did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Box<RawValue>>,
    /// The protocol versions it speaks, one of each era; none: that could not be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speaks: Option<Vec<String>>,
    /// How it was reached; none: the node did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// What else is worth knowing, a sentence each, in our words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
}

/// What a probe found beside tools, all pages, each definition as the server gave it. A kind that is none was not listed:
/// by an older node, or because the server failed at it. What is known of such a kind stays as it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct FoundItems {
    /// Prompts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompts: Option<Vec<Box<RawValue>>>,
    /// Resources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Vec<Box<RawValue>>>,
    /// Templates of resources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub templates: Option<Vec<Box<RawValue>>>,
}

impl FoundItems {
    /// Those of one kind.
    #[must_use]
    pub fn of(&self, kind: ItemKind) -> Option<&[Box<RawValue>]> {
        match kind {
            ItemKind::Prompt => self.prompts.as_deref(),
            ItemKind::Resource => self.resources.as_deref(),
            ItemKind::Template => self.templates.as_deref(),
        }
    }

    /// Sets those of one kind.
    pub fn set(&mut self, kind: ItemKind, found: Vec<Box<RawValue>>) {
        let place = match kind {
            ItemKind::Prompt => &mut self.prompts,
            ItemKind::Resource => &mut self.resources,
            ItemKind::Template => &mut self.templates,
        };
        *place = Some(found);
    }
}

/// Why a probe ended early.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Failed {
    /// At which step.
    pub step: StepName,
    /// A stable word: `address_refused`, `unresolved`, `unreachable`, `tls`, `not_mcp`, `unauthorized`, `timeout`,
    /// `too_large`, `too_many_tools`, `malformed`, `replayed`, `expired`.
    pub code: String,
    /// What happened and what to do, one sentence for people.
    pub detail: String,
}
