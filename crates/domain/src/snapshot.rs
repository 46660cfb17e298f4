//! The tenant snapshot: everything a data-plane node needs to serve one tenant, published as one signed document.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use url::Url;

use crate::{
    Alias, Annotations, Carries, CredentialId, EraPin, Item, Label, PolicyId, RiskClass, ServerId, ServerKey,
    ServerVersionId, SessionMode, Slug, TenantId, ToolId,
};

/// The present form of [`TenantSnapshot`]; a node refuses one it does not know.
pub const SNAPSHOT_FORMAT: u32 = 1;

/// The published configuration of a tenant. Immutable; a change makes a new one with a higher revision.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TenantSnapshot {
    /// [`SNAPSHOT_FORMAT`].
    pub format: u32,
    /// Whose it is.
    pub tenant: TenantId,
    /// The tenant's name in URLs.
    pub slug: Slug,
    /// The tenant's name for people.
    pub title: String,
    /// Raised when Postgres went back to an earlier state; orders before the revision.
    pub epoch: u64,
    /// The number of this configuration within the epoch.
    pub revision: u64,
    /// For how long, in seconds, a node that has lost touch goes on serving principals it knows (0 to 60).
    pub blind_max_s: u32,
    /// How tool names are made unique.
    pub prefix: Prefix,
    /// Upstream servers in the order lists show them.
    pub servers: Vec<Server>,
    /// The active policy texts.
    pub policies: Vec<PolicyText>,
    /// The key of the arguments' HMAC in audit records.
    pub arguments_key: WrappedKey,
    /// The key the tenant's sealed credentials are opened with.
    pub data_key: WrappedKey,
}

/// When the server's alias stands before a tool's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Prefix {
    /// Always: `alias__tool`.
    #[default]
    Always,
    /// Only where two servers have a tool of the same name.
    OnConflict,
    /// Never; two tools of one name are an error at publish.
    None,
}

impl Prefix {
    /// The written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::OnConflict => "on_conflict",
            Self::None => "none",
        }
    }

    /// Reads the written form.
    #[must_use]
    pub fn find(text: &str) -> Option<Self> {
        [Self::Always, Self::OnConflict, Self::None].into_iter().find(|prefix| prefix.as_str() == text)
    }
}

/// A key of a tenant's, readable only with the deployment's master key: text of `secrets::MasterKey::wrap`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrappedKey {
    /// Names the key in what was made with it.
    pub id: String,
    /// Algorithm, master key id, nonce and ciphertext.
    pub wrapped: String,
}

/// An upstream server as published: its reviewed version only.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Server {
    /// Immutable id.
    pub id: ServerId,
    /// Its name in policies.
    pub key: ServerKey,
    /// The prefix of its tools.
    pub alias: Alias,
    /// Its name for people.
    pub title: String,
    /// The reviewed version the tools are of.
    pub version: ServerVersionId,
    /// Where it is.
    pub endpoint: Url,
    /// Which era it is spoken to in; resolved by the node when `auto`.
    pub era: EraPin,
    /// The protocol version the last probe settled on, a first guess for `auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probed_version: Option<String>,
    /// Who shares a legacy session.
    pub sessions: SessionMode,
    /// What we present to it.
    pub credential: Credential,
    /// Labels all its tools inherit.
    #[serde(default)]
    pub labels: BTreeSet<Label>,
    /// Its instructions for models, reviewed with the tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    /// Whether calls are refused for now.
    pub paused: bool,
    /// Longest wait for the end of an answer, milliseconds.
    pub timeout_ms: u32,
    /// Largest answer passed on, bytes.
    pub answer_max_bytes: u64,
    /// Accepted tools, in the upstream's order.
    pub tools: Vec<Tool>,
    /// Accepted prompts, resources and templates, kind by kind in the upstream's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<Item>,
    /// The protocol versions the last probe that asked was answered in, one of each era it speaks; empty: nobody asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub speaks: Vec<String>,
    /// What beside lists it says it does.
    #[serde(default)]
    pub carries: Carries,
}

/// A tool as reviewed and accepted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tool {
    /// Immutable id; what policy is decided on.
    pub id: ToolId,
    /// The name the upstream knows it by.
    pub name: String,
    /// The definition as the upstream gave it, byte for byte.
    pub definition: Box<RawValue>,
    /// SHA-256 of JCS{name,title,description,inputSchema,outputSchema,annotations}, hexadecimal.
    pub digest: String,
    /// As reviewed.
    pub risk: RiskClass,
    /// Its own labels, beside the server's.
    #[serde(default)]
    pub labels: BTreeSet<Label>,
    /// Its claims about itself.
    pub annotations: Annotations,
}

/// What is presented to an upstream with every request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Credential {
    /// Nothing.
    None,
    /// `Authorization: Bearer …`.
    Bearer {
        /// Where the value rests.
        place: CredentialPlace,
    },
    /// A header of the upstream's own choice.
    Header {
        /// Its name; never one of the transport's own.
        name: String,
        /// Where the value rests.
        place: CredentialPlace,
    },
}

/// Where a credential's value rests. Never the value itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialPlace {
    /// The credential.
    pub id: CredentialId,
    /// Its version; another version's value is not accepted.
    pub version: u64,
    /// The store and what it needs to find the value.
    #[serde(flatten)]
    pub store: CredentialStore,
}

/// The two stores of credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "store")]
pub enum CredentialStore {
    /// Ciphertext under the tenant's data key (`secrets::sealed`).
    Sealed {
        /// The envelope's text.
        envelope: String,
    },
    /// A path of Vault's KV v2 engine.
    Vault {
        /// Path below the mount.
        path: String,
    },
}

/// An active policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyText {
    /// The policy over all its versions.
    pub id: PolicyId,
    /// Which version this is, from 1.
    pub version: u32,
    /// Its name for people.
    pub name: String,
    /// One or more Cedar policies.
    pub text: String,
    /// SHA-256 of the text, hexadecimal.
    pub sha256: String,
}
