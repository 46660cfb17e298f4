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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logs {
    /// None: a modern client that named no level.
    None,
    /// Those at least that severe.
    AtLeast(LogLevel),
    /// All: a legacy client that set no level.
    All,
}

impl Wanted<'_> {
    /// The notification for the client, or `None` if it is not to get it: other calls' progress, log messages it does
    /// not want, and whatever belongs on other streams.
    #[must_use]
    pub fn relay(&self, notification: &Notification<'_>) -> Option<Json> {
        match notification.method.as_ref() {
            PROGRESS => self.relay_progress(notification),
            MESSAGE => {
                let level = LogLevel::find(&notification.params.text("level")?)?;
                let wanted = match self.logs {
                    Logs::None => false,
                    Logs::All => true,
                    Logs::AtLeast(least) => level.cmp(&least) != Ordering::Less,
                };
                wanted.then(|| message::notification(MESSAGE, notification.params.raw()))
            }
            _ => None,
        }
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
