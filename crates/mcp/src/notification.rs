//! Notifications: what of an upstream's stream goes on to the client, and those we send ourselves.

use std::cmp::Ordering;

use crate::json::{Change, Writer};
use crate::message;
use crate::meta::{self, LogLevel};
use crate::{Id, Json, Notification, Raw};

/// A legacy client has read the answer to `initialize`.
pub const INITIALIZED: &str = "notifications/initialized";
/// A request is no longer wanted (legacy over HTTP).
pub const CANCELLED: &str = "notifications/cancelled";
/// How far a request is.
pub const PROGRESS: &str = "notifications/progress";
/// A log message.
pub const MESSAGE: &str = "notifications/message";

/// What belongs on other streams than a call's, in any era.
const ELSEWHERE: [&str; 11] = [
    INITIALIZED,
    CANCELLED,
    "notifications/tools/list_changed",
    "notifications/prompts/list_changed",
    "notifications/resources/list_changed",
    "notifications/resources/updated",
    "notifications/roots/list_changed",
    "notifications/subscriptions/acknowledged",
    "notifications/elicitation/complete",
    "notifications/tasks",
    "notifications/tasks/status",
];

/// What becomes of a notification that an upstream sends on a call's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relayed {
    /// It goes on to the client, in this form.
    Passed(Json),
    /// The client does not get it.
    Dropped(Dropped),
}

/// Why a client does not get a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dropped {
    /// It is another call's progress, or a log message that the client does not want or that says no level.
    Unwanted,
    /// Its kind belongs on other streams than a call's.
    Misplaced,
    /// No revision of the protocol that we know has its kind.
    Unknown,
}

impl Dropped {
    /// A stable word, for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unwanted => "unwanted",
            Self::Misplaced => "misplaced",
            Self::Unknown => "unknown",
        }
    }
}

/// What a call's client wants to hear while it waits.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'w> {
    /// The token we gave the upstream and the client's own, if it gave one.
    pub progress: Option<Tokens<'w>>,
    /// Which log messages.
    pub logs: Logs,
}

/// The two names of one call's progress.
#[derive(Debug, Clone, Copy)]
pub struct Tokens<'w> {
    /// The token in the upstream's notifications.
    pub upstream: Raw<'w>,
    /// The token in those to the client.
    pub client: Raw<'w>,
}

/// Which log messages a client wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Logs {
    /// None: a modern client that named no level.
    #[default]
    None,
    /// Those at least that severe.
    AtLeast(LogLevel),
    /// All that its upstream sends: a legacy client that set no level, to which a server may send what it thinks fit.
    All,
}

impl Logs {
    /// The level that a modern upstream is told; without one it may send none.
    #[must_use]
    pub const fn level(self) -> Option<LogLevel> {
        match self {
            Self::AtLeast(least) => Some(least),
            Self::None | Self::All => None,
        }
    }

    fn take(self, level: LogLevel) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::AtLeast(least) => level.cmp(&least) != Ordering::Less,
        }
    }
}

impl From<Option<LogLevel>> for Logs {
    /// What a modern client wants that named this level, or none.
    fn from(level: Option<LogLevel>) -> Self {
        level.map_or(Self::None, Self::AtLeast)
    }
}

impl Wanted<'_> {
    /// Tells what becomes of a notification on the call's stream.
    #[must_use]
    pub fn relay(&self, notification: &Notification<'_>) -> Relayed {
        let method = notification.method.as_ref();
        let passed = match method {
            PROGRESS => self.relay_progress(notification),
            MESSAGE => self.relay_message(notification),
            _ if ELSEWHERE.contains(&method) => return Relayed::Dropped(Dropped::Misplaced),
            _ => return Relayed::Dropped(Dropped::Unknown),
        };
        passed.map_or(Relayed::Dropped(Dropped::Unwanted), Relayed::Passed)
    }

    fn relay_message(&self, notification: &Notification<'_>) -> Option<Json> {
        let level = LogLevel::find(&notification.params.text("level")?)?;
        self.logs.take(level).then(|| message::notification(MESSAGE, notification.params.raw()))
    }

    fn relay_progress(&self, notification: &Notification<'_>) -> Option<Json> {
        let tokens = self.progress?;
        let token = Id::read(notification.params.get(meta::PROGRESS_TOKEN)?)?;
        if Some(token) != Id::read(tokens.upstream) {
            return None;
        }
        let params = notification.params.with(&[(meta::PROGRESS_TOKEN, Change::Set(tokens.client))]);
        Some(message::notification(PROGRESS, params.raw()))
    }
}

/// Tells a legacy upstream that a request is no longer wanted.
#[must_use]
pub fn cancelled(request: &Id<'_>, reason: &str) -> Json {
    let mut params = Writer::object();
    params.id("requestId", request);
    params.text("reason", reason);
    message::notification(CANCELLED, params.finish().raw())
}

/// Tells a legacy upstream that its answer to `initialize` was read.
#[must_use]
pub fn initialized() -> Json {
    Json::joined(&[r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#])
}

/// The request a legacy client's `notifications/cancelled` names.
#[must_use]
pub fn cancelled_request<'a>(notification: &Notification<'a>) -> Option<Id<'a>> {
    if notification.method != CANCELLED {
        return None;
    }
    notification.params.get("requestId").and_then(Id::read)
}

#[cfg(test)]
mod tests;
