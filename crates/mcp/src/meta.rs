//! `_meta`: the keys the protocol owns, and what a modern request says about itself there.

use crate::{Method, Object, Raw, Version};

/// Request: the revision spoken.
pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// Request: what the client can do.
pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// Request: what the client says it is; never believed.
pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// Request: the least level of log messages wanted; none without it.
pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// Result: what the server says it is.
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// Messages of a listen stream: the id of the listen request.
pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
/// 2025-11-25: the task a message belongs to.
pub const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";
/// Request: the token progress notifications shall carry.
pub const PROGRESS_TOKEN: &str = "progressToken";
/// W3C trace context and baggage, without prefix by exception.
pub const TRACE: [&str; 3] = ["traceparent", "tracestate", "baggage"];

/// Request keys that are set anew on every hop and so are never copied from one to the next.
pub(crate) fn is_hop_by_hop(key: &str) -> bool {
    matches!(
        key,
        PROTOCOL_VERSION
            | CLIENT_CAPABILITIES
            | CLIENT_INFO
            | LOG_LEVEL
            | SERVER_INFO
            | SUBSCRIPTION_ID
            | RELATED_TASK
            | PROGRESS_TOKEN
    ) || TRACE.contains(&key)
}

/// The severity of a log message, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// For who looks for a fault.
    Debug,
    /// For who is curious.
    Info,
    /// Normal but worth a look.
    Notice,
    /// May become a fault.
    Warning,
    /// Something failed.
    Error,
    /// A part is down.
    Critical,
    /// Somebody must act now.
    Alert,
    /// Nothing works.
    Emergency,
}

impl LogLevel {
    /// All, mildest first.
    pub const ALL: [Self; 8] = [
        Self::Debug,
        Self::Info,
        Self::Notice,
        Self::Warning,
        Self::Error,
        Self::Critical,
        Self::Alert,
        Self::Emergency,
    ];

    /// The written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Alert => "alert",
            Self::Emergency => "emergency",
        }
    }

    /// Reads the written form.
    #[must_use]
    pub fn find(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == text)
    }
}

/// What a modern request says about itself, checked against its headers (`era::check_modern`).
#[derive(Debug, Clone)]
pub struct Modern<'a> {
    /// The revision, one of [`Version::MODERN`].
    pub version: Version,
    /// The method; one we serve.
    pub method: Method,
    /// What the client can do, a `ClientCapabilities` object.
    pub capabilities: Object<'a>,
    /// What the client says it is.
    pub client_info: Option<Raw<'a>>,
    /// The least level of log messages it wants.
    pub log_level: Option<LogLevel>,
    /// The token its progress notifications shall carry.
    pub progress_token: Option<Raw<'a>>,
    /// All of `_meta`.
    pub meta: Object<'a>,
}
