//! Posts over HTTP to where a tenant chose: through `egress`, without redirects, within a deadline.

use std::time::Duration;

use bytes::Bytes;
use domain::Secret;
use egress::{Bounds, Dialer, EgressError, Pool, Protocols, Trust};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::Full;
use hyper_util::client::legacy::{self, Client};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::batch::{Answer, Fault};
use super::sender::Outside;

/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Most of an answer that is read.
const ANSWER_MAX_BYTES: u64 = 16 * 1024;
/// Most characters of an answer that are shown.
const SHOWN_MAX: usize = 300;
/// Longest wait that a receiver may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// Connections to one receiver.
#[derive(Debug)]
pub(super) struct Http {
    client: Client<Dialer, Full<Bytes>>,
    /// What is never shown, should the receiver repeat it.
    secrets: Vec<Secret<String>>,
    /// Longest wait for an answer and its body.
    within: Duration,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// For how long not to come again.
    pub(super) retry_after: Option<Duration>,
    /// The beginning of its body.
    pub(super) body: Bytes,
    /// The beginning of its body, for people.
    pub(super) shown: String,
}

impl Http {
    /// Connections that believe the public roots, and `certificates` (PEM) beside them. What is in `secrets` never comes
    /// into a [`Fault`].
    ///
    /// # Errors
    /// A [`Fault`] when the certificates can't be used.
    pub(super) fn new(
        outside: &Outside,
        certificates: Option<&str>,
        secrets: Vec<Secret<String>>,
    ) -> Result<Self, Fault> {
        let trust = match certificates {
            None => Trust::default(),
            Some(pem) => {
                Trust::default().with_pem(pem.as_bytes()).map_err(|error| Fault::new("settings", error.to_string()))?
            }
        };
        let rules = outside.rules.as_ref().clone();
        let dialer = Dialer::trusting(rules, trust, Protocols::Http1).within(CONNECT_MAX);
        let pool = Pool { per_host: 1, ..Pool::default() };
        Ok(Self { client: egress::client(dialer, pool), secrets, within: outside.answer_within })
    }

    /// Sends a request and reads the beginning of its answer. Only what the head says is needed: an answer whose body breaks
    /// off is one all the same.
    ///
    /// # Errors
    /// What to answer when there was none: always [`Answer::Retry`], or [`Answer::Stopped`] for a redirect.
    pub(super) async fn post(&self, url: &Url, headers: HeaderMap, body: Bytes) -> Result<Reply, Answer> {
        let mut request = Request::new(body);
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = url.as_str().parse().map_err(|_| stopped("The address can't be used"))?;
        *request.headers_mut() = headers;
        self.request(request).await
    }

    /// As [`Self::post`], for any request.
    ///
    /// # Errors
    /// As of [`Self::post`].
    pub(super) async fn request(&self, request: Request<Bytes>) -> Result<Reply, Answer> {
        let mut request = request.map(Full::new);
        request.headers_mut().insert(header::USER_AGENT, http::HeaderValue::from_static("sluice"));
        let until = Instant::now() + self.within;
        let answer = timeout_at(until, self.client.request(request)).await.map_err(|_| late(self.within))?;
        let response = answer.map_err(|error| failed(&error))?;
        let (head, body) = response.into_parts();
        let (status, retry_after) = (head.status, retry_after(&head.headers));
        let bounds = Bounds { bytes: ANSWER_MAX_BYTES, idle: self.within, until };
        let body = egress::collect(body, bounds).await.unwrap_or_default();
        let shown = self.shown(&body);
        if status.is_redirection() {
            let said = format!("HTTP {}: redirects are not followed. Enter the address it leads to", status.as_u16());
            return Err(Answer::Stopped(Fault::new("redirect", said).at(status.as_u16())));
        }
        Ok(Reply { status, headers: head.headers, retry_after, body, shown })
    }

    /// The beginning of a text without what is secret.
    fn shown(&self, body: &[u8]) -> String {
        let mut text = String::from_utf8_lossy(body).into_owned();
        for secret in &self.secrets {
            text = text.replace(secret.expose().as_str(), "…");
        }
        let is_unseen = |char: char| char.is_control() || audit::text::is_hidden(char);
        let line: String = text.chars().map(|char| if is_unseen(char) { ' ' } else { char }).collect();
        line.trim().chars().take(SHOWN_MAX).collect()
    }
}

impl Reply {
    /// The fault of an answer that is none of the good ones; `advice` says what to do, where something can be done.
    pub(super) fn fault(&self, code: impl Into<String>, advice: &str) -> Fault {
        let reason = self.status.canonical_reason().unwrap_or("unknown status");
        let mut said = format!("HTTP {} {reason}", self.status.as_u16());
        if !self.shown.is_empty() {
            said = format!("{said}: {}", self.shown);
        }
        if !advice.is_empty() {
            said = format!("{said}. {advice}");
        }
        Fault::new(code, said).at(self.status.as_u16())
    }

    /// Try again later.
    pub(super) fn retry(&self, code: impl Into<String>, advice: &str) -> Answer {
        Answer::Retry { after: self.retry_after, why: self.fault(code, advice) }
    }
}

/// `Retry-After` in seconds or as a date (RFC 9110, 10.2.3), at most an hour.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if let Ok(seconds) = text.parse() {
        Duration::from_secs(seconds)
    } else {
        let date = headers.get(header::DATE)?.to_str().ok()?;
        let read = |text: &str| chrono::DateTime::parse_from_rfc2822(text).ok();
        // Against the receiver's own clock: ours may differ.
        (read(text)? - read(date)?).to_std().ok()?
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

fn late(within: Duration) -> Answer {
    let said = format!("The receiver did not answer within {} s", within.as_secs());
    Answer::Retry { after: None, why: Fault::new("timeout", said) }
}

fn stopped(said: &str) -> Answer {
    Answer::Stopped(Fault::new("settings", said))
}

fn failed(error: &legacy::Error) -> Answer {
    let why = match egress::cause(error) {
        Some(error) => dial_fault(error),
        None if error.is_connect() => Fault::new("unreachable", "The host can't be reached"),
        None => Fault::new("cut_off", "The receiver closed the connection without an answer that can be read"),
    };
    Answer::Retry { after: None, why }
}

/// What a connection that was not made says, with the cause beneath it.
pub(super) fn dial_fault(error: &EgressError) -> Fault {
    let mut said = error.to_string();
    let mut beneath = std::error::Error::source(error);
    while let Some(cause) = beneath {
        said = format!("{said}: {cause}");
        beneath = cause.source();
    }
    if let Some(first) = said.get(..1) {
        said = format!("{}{}", first.to_uppercase(), &said[1..]);
    }
    Fault::new(error.code(), said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_says_in_seconds_or_by_date_when_to_come_again() {
        let asked = |pairs: &[(header::HeaderName, &str)]| {
            retry_after(&pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect())
        };
        assert_eq!(asked(&[(header::RETRY_AFTER, "7")]), Some(Duration::from_secs(7)));
        assert_eq!(asked(&[(header::RETRY_AFTER, "999999")]), Some(RETRY_AFTER_MAX));
        let date = (header::DATE, "Fri, 20 Nov 2026 10:00:00 GMT");
        let at = (header::RETRY_AFTER, "Fri, 20 Nov 2026 10:01:30 GMT");
        assert_eq!(asked(&[date, at]), Some(Duration::from_secs(90)));
        assert_eq!(asked(&[(header::RETRY_AFTER, "soon")]), None);
    }
}
