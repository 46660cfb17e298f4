//! How each kind of destination is reached: typed, stored as JSON, without any secret.

use std::time::Duration;

use audit::export::Format;
use egress::{Rules, Target};
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use super::hec::HecSettings;
use super::s3::S3Settings;
use super::syslog::SyslogSettings;
use super::webhook::WebhookSettings;

/// The kinds as they are written.
pub(super) const KINDS: &[&str] = &["webhook", "splunk_hec", "s3", "syslog"];

/// Where to, and how. What is secret is kept apart from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Settings {
    /// An HTTPS endpoint that speaks Standard Webhooks.
    Webhook(WebhookSettings),
    /// Splunk's HTTP Event Collector.
    SplunkHec(HecSettings),
    /// A bucket of S3, or of a store that speaks like it.
    S3(S3Settings),
    /// A syslog receiver over TLS.
    Syslog(SyslogSettings),
}

/// Most that goes into one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Most {
    /// Items.
    pub(super) items: usize,
    /// Bytes of items before they are compressed; one item alone may be larger.
    pub(super) bytes: usize,
}

impl Settings {
    /// The kind as it is written in SQL, metrics and addresses.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::SplunkHec(_) => "splunk_hec",
            Self::S3(_) => "s3",
            Self::Syslog(_) => "syslog",
        }
    }

    /// Most that goes into one batch.
    pub(super) const fn most(&self) -> Most {
        match self {
            // Splunk Cloud's guidance is 1 MB as well, envelopes included.
            Self::Webhook(_) | Self::SplunkHec(_) => Most { items: 1000, bytes: 900 * 1024 },
            // Few large objects are read faster and cost less; a batch stands in memory as a whole.
            Self::S3(_) => Most { items: 10_000, bytes: 4 * 1024 * 1024 },
            // It takes its time for each batch, whatever its size.
            Self::Syslog(_) => Most { items: 5_000, bytes: 2 * 1024 * 1024 },
        }
    }

    /// Whether a batch is halved for a receiver that is late with its answer, again and again, and may have it all the same.
    /// An object that was written and not confirmed would then stand beside those of its halves, and no key tells.
    pub(super) const fn halves_when_late(&self) -> bool {
        !matches!(self, Self::S3(_))
    }

    /// How often a batch stands in memory while it is made and sent: records and items, then items and the request. What
    /// becomes an object is compressed meanwhile.
    const fn copies(&self) -> usize {
        match self {
            Self::S3(_) => 3,
            Self::Webhook(_) | Self::SplunkHec(_) | Self::Syslog(_) => 2,
        }
    }

    /// Memory that a batch of so many bytes takes.
    pub(super) const fn memory_of(&self, bytes: usize) -> usize {
        self.copies() * bytes
    }

    /// How long records wait for others to go into one batch with them; `None` where they are sent at once.
    pub(super) fn linger(&self) -> Option<Duration> {
        match self {
            Self::S3(settings) => Some(settings.linger()).filter(|linger| !linger.is_zero()),
            Self::Webhook(_) | Self::SplunkHec(_) | Self::Syslog(_) => None,
        }
    }

    /// Where it leads, for people: a host, a bucket.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Webhook(settings) => settings.url.masked().whole().to_string(),
            Self::SplunkHec(settings) => shown(&settings.url),
            Self::S3(settings) => format!("{} at {}", settings.bucket, settings.address()),
            Self::Syslog(settings) => format!("{}:{}", settings.host, settings.port),
        }
    }

    /// As people see them: without what may be secret in them.
    pub(super) fn masked(mut self) -> Self {
        if let Self::Webhook(settings) = &mut self {
            settings.url = settings.url.masked();
        }
        self
    }

    /// Settings that were shown before they were changed, with what was not shown as it was.
    pub(super) fn unmasked(mut self, before: &Self) -> Self {
        if let (Self::Webhook(settings), Self::Webhook(before)) = (&mut self, before)
            && settings.url == before.url.masked()
        {
            settings.url = before.url.clone();
        }
        self
    }

    /// Whether records can be sent in a format. What takes JSON can't tell CEF from a broken one.
    pub(super) const fn allows(&self, format: Format) -> bool {
        match self {
            Self::Webhook(_) | Self::SplunkHec(_) | Self::S3(_) => format.is_json(),
            Self::Syslog(_) => true,
        }
    }

    /// Whether it leads to where may be dialled, as far as can be told without dialling.
    ///
    /// # Errors
    /// The field that is wrong, and why.
    pub(super) fn check(&self, rules: &Rules) -> Result<(), (&'static str, String)> {
        match self {
            Self::Webhook(WebhookSettings { url, .. }) if url.is_masked() => {
                return Err((
                    "url",
                    "Enter all of it: the path that was not shown belongs to another address".to_owned(),
                ));
            }
            Self::Webhook(WebhookSettings { url, .. }) => check_url(url.whole(), rules)?,
            Self::SplunkHec(HecSettings { url, .. }) => check_url(url, rules)?,
            Self::S3(settings) => settings.check(rules)?,
            Self::Syslog(settings) => settings.check(rules)?,
        }
        if let Self::SplunkHec(HecSettings { index, source, sourcetype, .. }) = self {
            for (field, text) in [("index", index), ("source", source), ("sourcetype", sourcetype)] {
                check_word(field, text.as_deref().unwrap_or_default())?;
            }
        }
        let text = match self {
            Self::Webhook(WebhookSettings { certificates, .. })
            | Self::SplunkHec(HecSettings { certificates, .. })
            | Self::S3(S3Settings { certificates, .. })
            | Self::Syslog(SyslogSettings { certificates, .. }) => certificates.as_deref().unwrap_or_default(),
        };
        if text.len() > CERTIFICATES_MAX {
            return Err(("certificates", format!("at most {CERTIFICATES_MAX} bytes")));
        }
        Ok(())
    }
}

/// Longest text of certificates, bytes.
const CERTIFICATES_MAX: usize = 64 * 1024;

/// Longest URL, bytes.
const URL_MAX: usize = 2048;
/// Longest word that goes along with each record, bytes.
const WORD_MAX: usize = 256;

fn check_word(field: &'static str, text: &str) -> Result<(), (&'static str, String)> {
    if text.len() > WORD_MAX || text.chars().any(char::is_control) {
        return Err((field, format!("at most {WORD_MAX} bytes, in one line")));
    }
    Ok(())
}

/// Whether a URL may be dialled, as far as can be told without dialling. All who may see destinations see all of it.
pub(super) fn check_url(url: &Url, rules: &Rules) -> Result<(), (&'static str, String)> {
    if url.as_str().len() > URL_MAX {
        return Err(("url", format!("at most {URL_MAX} bytes")));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(("url", "Leave out ? and # with what follows: it would be shown to others.".to_owned()));
    }
    Target::check(url, rules).map(drop).map_err(|error| ("url", crate::console::show::sentence(&error.to_string())))
}

/// A URL without its query, which may hold what is not for everybody.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}
