//! How a tool speaks with its caller before it answers: progress, log lines and, in a legacy session, questions.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::legacy::Session;
use super::wire::{event, events};

/// Log levels, the least urgent first.
const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
/// How long a client has to answer a question.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// How many messages may wait for a slow reader.
const WAITING: usize = 16;

/// One call's way to its caller.
pub(super) struct Talk {
    out: mpsc::Sender<Value>,
    /// What the caller wants progress to be marked with.
    pub(super) token: Option<Value>,
    /// The least urgent level of the log lines the caller wants; none without.
    pub(super) level: Option<usize>,
    /// Whom questions go to.
    pub(super) session: Option<Arc<Session>>,
}

/// How urgent a level is.
pub(super) fn urgency(level: &Value) -> Option<usize> {
    LEVELS.iter().position(|known| level == known)
}

impl Talk {
    /// A talk, and the messages that come of it.
    pub(super) fn begin(token: &Value, level: Option<usize>) -> (Self, mpsc::Receiver<Value>) {
        let (out, messages) = mpsc::channel(WAITING);
        let token = Some(token.clone()).filter(|token| !token.is_null());
        (Self { out, token, level, session: None }, messages)
    }

    /// Says the last word.
    pub(super) async fn end(self, answer: Value) {
        self.send(answer).await;
    }

    /// A caller who went away hears nothing more.
    async fn send(&self, message: Value) {
        let _ = self.out.send(message).await;
    }

    async fn tell(&self, method: &str, params: Value) {
        self.send(json!({"jsonrpc": "2.0", "method": method, "params": params})).await;
    }

    /// Reports progress, of 100, to whoever asked for it.
    pub(super) async fn progress(&self, done: u32) {
        if let Some(token) = &self.token {
            let params = json!({"progressToken": token, "progress": done, "total": 100});
            self.tell("notifications/progress", params).await;
        }
    }

    /// Writes a log line of the level `info` for whoever wants those.
    pub(super) async fn log(&self, line: &str) {
        if self.level.is_some_and(|wanted| urgency(&json!("info")) >= Some(wanted)) {
            self.tell("notifications/message", json!({"level": "info", "logger": "everything", "data": line})).await;
        }
    }

    /// Asks the client of a session; nothing comes of it where it can't, won't or doesn't answer.
    pub(super) async fn ask(&self, method: &str, params: Value) -> Option<Value> {
        let (id, answer) = self.session.as_ref()?.awaits_answer();
        self.send(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await;
        let answer = tokio::time::timeout(ANSWER_TIME, answer).await.ok()?.ok()?;
        answer.get("result").cloned()
    }
}

/// The messages of a talk as events, until it ends.
pub(super) fn stream(messages: mpsc::Receiver<Value>) -> Response {
    events(futures_util::stream::unfold(messages, async |mut messages| {
        let next = messages.recv().await?;
        Some((event(&next), messages))
    }))
}
