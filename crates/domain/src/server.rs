//! How an upstream server is spoken to, and what is known of its tools.

use serde::{Deserialize, Serialize};

/// Which era of MCP an upstream is spoken to in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum EraPin {
    /// Found out by probing with `server/discover`, and again when the answers stop fitting.
    #[default]
    Auto,
    /// 2026-07-28: no handshake, no session.
    Modern,
    /// 2025-03-26 to 2025-11-25 over streamable HTTP: `initialize` and sessions.
    Legacy,
}

impl EraPin {
    /// The written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Modern => "modern",
            Self::Legacy => "legacy",
        }
    }

    /// Reads the written form.
    #[must_use]
    pub fn find(text: &str) -> Option<Self> {
        [Self::Auto, Self::Modern, Self::Legacy].into_iter().find(|pin| pin.as_str() == text)
    }
}

/// Who shares a session at a legacy upstream when the client itself has none (a modern client).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum SessionMode {
    /// A session for every call: safest, two round trips more.
    PerCall,
    /// One for each principal.
    #[default]
    PerPrincipal,
    /// One for all: only for servers that keep no state.
    Shared,
}

impl SessionMode {
    /// The written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PerCall => "per_call",
            Self::PerPrincipal => "per_principal",
            Self::Shared => "shared",
        }
    }

    /// Reads the written form.
    #[must_use]
    pub fn find(text: &str) -> Option<Self> {
        [Self::PerCall, Self::PerPrincipal, Self::Shared].into_iter().find(|mode| mode.as_str() == text)
    }
}

/// How messages travel to an upstream and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Transport {
    /// One endpoint that is posted to (2025-03-26 and later).
    StreamableHttp,
    /// A stream of events that names where to post (2024-11-05).
    Sse,
}

impl Transport {
    /// The written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StreamableHttp => "streamable_http",
            Self::Sse => "sse",
        }
    }

    /// Reads the written form.
    #[must_use]
    pub fn find(text: &str) -> Option<Self> {
        [Self::StreamableHttp, Self::Sse].into_iter().find(|transport| transport.as_str() == text)
    }
}

/// The worst a tool can do. Guessed from its annotations, name and schema; a person's review wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RiskClass {
    /// Looks, changes nothing.
    Read,
    /// Adds or changes.
    Write,
    /// Reaches the open world.
    Network,
    /// Runs code or commands.
    Execute,
    /// Deletes or overwrites.
    Destructive,
    /// Hands out or takes in secrets.
    SecretBearing,
}

impl RiskClass {
    /// All, mildest first.
    pub const ALL: [Self; 6] =
        [Self::Read, Self::Write, Self::Network, Self::Execute, Self::Destructive, Self::SecretBearing];

    /// The written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Network => "network",
            Self::Execute => "execute",
            Self::Destructive => "destructive",
            Self::SecretBearing => "secret_bearing",
        }
    }

    /// Reads the written form.
    #[must_use]
    pub fn find(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|risk| risk.as_str() == text)
    }
}

/// A tool's hints about itself (MCP `ToolAnnotations`): a claim of the upstream's, never proof. Absent hints have the
/// specification's pessimistic defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[expect(clippy::struct_excessive_bools, reason = "the specification's four independent hints")]
pub struct Annotations {
    /// `readOnlyHint`, false when absent.
    #[serde(rename = "readOnlyHint")]
    pub read_only: bool,
    /// `destructiveHint`, true when absent; means something only when not read-only.
    #[serde(rename = "destructiveHint")]
    pub destructive: bool,
    /// `idempotentHint`, false when absent.
    #[serde(rename = "idempotentHint")]
    pub idempotent: bool,
    /// `openWorldHint`, true when absent.
    #[serde(rename = "openWorldHint")]
    pub open_world: bool,
}

impl Default for Annotations {
    fn default() -> Self {
        Self { read_only: false, destructive: true, idempotent: false, open_world: true }
    }
}
