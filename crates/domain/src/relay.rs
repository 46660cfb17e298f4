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
use crate::{EraPin, ServerId, TenantId};

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
