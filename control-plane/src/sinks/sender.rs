//! One open way to a destination, whatever its kind.

use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, Secret};
use egress::Rules;
use tokio::time::Instant;

use super::batch::{Answer, Batch, Fault};
use super::hec::Hec;
use super::s3::S3;
use super::settings::Settings;
use super::syslog::Syslog;
use super::webhook::Webhook;

/// Longest time a sender may take for one batch, connecting included. A lease on a destination is longer.
pub(super) const SEND_MAX: Duration = Duration::from_secs(40);

/// What every sender may use of the world outside.
#[derive(Debug, Clone)]
pub struct Outside {
    /// Which addresses may be dialled. Every connection goes through `egress`.
    pub rules: Arc<Rules>,
    /// Tells the time that is signed.
    pub clock: Clock,
    /// Longest wait for an answer: [`Outside::ANSWER`], less in tests.
    pub answer_within: Duration,
}

impl Outside {
    /// The usual wait for an answer.
    pub const ANSWER: Duration = Duration::from_secs(30);
}

/// One open way to a destination. Each keeps its connection between batches, and nothing that a batch depends on.
#[derive(Debug)]
pub(super) enum Sender {
    /// Standard Webhooks.
    Webhook(Box<Webhook>),
    /// Splunk's HTTP Event Collector.
    SplunkHec(Box<Hec>),
    /// S3, or what speaks like it.
    S3(Box<S3>),
    /// Syslog over TLS.
    Syslog(Box<Syslog>),
}

/// What a test came to.
#[derive(Debug, Clone)]
pub(super) struct Tested {
    /// What the receiver made of it.
    pub(super) answer: Answer,
    /// From the beginning of the connection to the answer.
    pub(super) took: Duration,
}

impl Sender {
    /// Prepares a way; nothing is dialled yet.
    ///
    /// `secret` is the text that the kind's own secret reads from.
    ///
    /// # Errors
    /// A [`Fault`] of the code `settings` when settings and secret can't be used.
    pub(super) fn open(settings: &Settings, secret: &Secret<String>, outside: &Outside) -> Result<Self, Fault> {
        Ok(match settings {
            Settings::Webhook(settings) => Self::Webhook(Box::new(Webhook::open(settings, secret, outside)?)),
            Settings::SplunkHec(settings) => Self::SplunkHec(Box::new(Hec::open(settings, secret, outside)?)),
            Settings::S3(settings) => Self::S3(Box::new(S3::open(settings, secret, outside)?)),
            Settings::Syslog(settings) => Self::Syslog(Box::new(Syslog::open(settings, secret, outside)?)),
        })
    }

    /// Sends a batch and waits for what the receiver makes of it, at most [`SEND_MAX`]. Dropping the future closes the
    /// connection; whether the receiver took it is then unknown.
    pub(super) async fn send(&mut self, batch: &Batch) -> Answer {
        let sending = async {
            match self {
                Self::Webhook(webhook) => webhook.send(batch).await,
                Self::SplunkHec(hec) => hec.send(batch).await,
                Self::S3(s3) => s3.send(batch).await,
                Self::Syslog(syslog) => syslog.send(batch).await,
            }
        };
        let sent = tokio::time::timeout(SEND_MAX, sending).await;
        sent.unwrap_or_else(|_| Answer::Retry {
            after: None,
            why: Fault::new("timeout", "The receiver did not answer in time"),
        })
    }

    /// Closes the connection in order, where the protocol has words for it: what was sent is then known to be all.
    pub(super) async fn close(self) {
        if let Self::Syslog(syslog) = self {
            syslog.close().await;
        }
    }

    /// Sends one marked record over a new connection.
    pub(super) async fn test(mut self, batch: &Batch) -> Tested {
        let began = Instant::now();
        let answer = self.send(batch).await;
        let took = began.elapsed();
        self.close().await;
        Tested { answer, took }
    }
}
