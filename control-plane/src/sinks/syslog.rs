//! Syslog over TLS: RFC 5424 messages, counted as RFC 5425 says.
//!
//! A receiver never says what it has taken. So a batch counts as taken only when the connection lived for [`SETTLED`]
//! after it was written; when it breaks before, the whole batch is written again, and copies have the same `id`. Nothing
//! of that is in memory alone: whoever goes on, after a restart or elsewhere, begins with the same batch. A connection
//! breaks also when the other machine acknowledges nothing for [`UNHEARD_MAX`]; so what has settled has reached it.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use chrono::SecondsFormat;
use domain::Secret;
use egress::{Dialer, EgressError, Identity, Protocols, Rules, Scheme, Stream, Target, Trust};
use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout_at};
use utoipa::ToSchema;

use super::batch::{Answer, Batch, Edition, Fault, Item};
use super::http::dial_fault;
use super::sender::Outside;

/// Longest wait for a secured connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long the other machine may acknowledge nothing before the connection counts as broken.
const UNHEARD_MAX: Duration = Duration::from_secs(3);
/// How long the connection must live after a batch. A receiver that refuses our certificate, too, says so only after the
/// handshake. Less than a drain waits for a batch.
const SETTLED: Duration = Duration::from_secs(4);
/// The same for a test: long enough for a refusal.
const TEST_SETTLED: Duration = Duration::from_secs(1);
/// Longest that closing takes.
const CLOSE_MAX: Duration = Duration::from_secs(1);
/// Bytes written at once: as many as a record of TLS holds.
const GATHERED: usize = 16 * 1024;
/// Facility 13, log audit; severity 6, informational: what a record is about says its own format.
const PRIORITY: u8 = 13 * 8 + 6;
/// The private enterprise number in the structured data: the one for examples (RFC 5612), until Sluice has its own.
const ENTERPRISE: u32 = 32473;

/// How a syslog receiver is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SyslogSettings {
    /// Its name or address.
    pub(super) host: String,
    /// Its port.
    #[serde(default = "port")]
    pub(super) port: u16,
    /// Certificates (PEM) that are believed beside the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) certificates: Option<String>,
    /// SHA-256 of the receiver's certificate, hexadecimal, with or without colons: then this one alone is believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fingerprint: Option<String>,
}

const fn port() -> u16 {
    6514
}

/// What proves to the receiver who we are, where it asks.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientSecret {
    certificate: String,
    key: String,
}

impl SyslogSettings {
    /// Whether they can be used, and lead to where may be dialled, as far as can be told without dialling.
    ///
    /// # Errors
    /// The field that is wrong, and why.
    pub(super) fn check(&self, rules: &Rules) -> Result<(), (&'static str, String)> {
        let Target { host, port, .. } = self.target().map_err(|fault| ("host", fault.said))?;
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let url = format!("https://{host}:{port}/").parse().map_err(|_| ("host", "no such name".to_owned()))?;
        Target::check(&url, rules).map_err(|error| ("host", error.to_string()))?;
        self.trust().map(drop).map_err(|fault| ("fingerprint", fault.said))
    }

    /// Where to.
    fn target(&self) -> Result<Target, Fault> {
        let host = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&self.host);
        let plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_' | ':');
        if host.is_empty() || host.len() > 253 || !host.chars().all(plain) || self.port == 0 {
            return Err(settings("The host must be a name or an address, the port 1 to 65535"));
        }
        Ok(Target { scheme: Scheme::Https, host: host.to_owned(), port: self.port })
    }

    fn trust(&self) -> Result<Trust, Fault> {
        match (&self.fingerprint, &self.certificates) {
            (Some(text), _) => {
                let sha256 = fingerprint(text)
                    .ok_or_else(|| settings("The fingerprint must be SHA-256: 64 hexadecimal digits"))?;
                Ok(Trust::pinned(sha256))
            }
            (None, Some(pem)) => {
                Trust::default().with_pem(pem.as_bytes()).map_err(|error| settings(&error.to_string()))
            }
            (None, None) => Ok(Trust::default()),
        }
    }
}

/// The secret is empty, or JSON with `certificate` and `key`, both PEM.
fn identity(text: &str) -> Result<Option<Identity>, &'static str> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = "The client certificate and its private key must be PEM and belong together";
    let ClientSecret { certificate, key } = serde_json::from_str(text).map_err(|_| wrong)?;
    Identity::from_pem(certificate.as_bytes(), key.as_bytes()).map(Some).map_err(|_| wrong)
}

fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let digits: String = text.trim().chars().filter(|char| *char != ':').collect();
    hex::decode(digits).ok()?.try_into().ok()
}

fn settings(said: &str) -> Fault {
    Fault::new("settings", said)
}

/// A syslog receiver that can be sent to.
#[derive(Debug)]
pub(super) struct Syslog {
    target: Target,
    dialer: Dialer,
    open: Option<Stream>,
    settled: Duration,
}

impl Syslog {
    /// Prepares a receiver. `secret` is empty, or a client certificate and its key.
    ///
    /// # Errors
    /// A [`Fault`] when settings or secret can't be used.
    pub(super) fn open(settings: &SyslogSettings, secret: &Secret<String>, outside: &Outside) -> Result<Self, Fault> {
        let target = settings.target()?;
        let mut trust = settings.trust()?;
        if let Some(identity) = identity(secret.expose()).map_err(self::settings)? {
            trust = trust.as_client(identity);
        }
        let dialer = Dialer::trusting(outside.rules.as_ref().clone(), trust, Protocols::Other);
        Ok(Self { target, dialer, open: None, settled: SETTLED })
    }

    /// Writes a batch and waits whether it settles.
    pub(super) async fn send(&mut self, batch: &Batch) -> Answer {
        match self.write(batch).await {
            Ok(()) => Answer::Accepted("Written; the receiver confirms nothing".to_owned()),
            Err(why) => Answer::Retry { after: None, why },
        }
    }

    /// Ends the connection as TLS does, with `close_notify` (RFC 8446, 6.1): a receiver can tell it from one that broke. One
    /// that a batch broke off on is gone already.
    pub(super) async fn close(self) {
        if let Some(mut stream) = self.open {
            // Who does not take it has lost nothing: every batch has settled.
            let _ = tokio::time::timeout(CLOSE_MAX, stream.shutdown()).await;
        }
    }

    /// The connection is out of its place while it is written to: whatever ends this early, the next one begins anew.
    async fn write(&mut self, batch: &Batch) -> Result<(), Fault> {
        let mut stream = match self.open.take().and_then(still_open) {
            Some(stream) => stream,
            None => self.dial().await.map_err(|error| dial_fault(&error))?,
        };
        let settled = if matches!(batch.edition, Edition::Test(_)) { TEST_SETTLED } else { self.settled };
        let mut gathered = Vec::with_capacity(2 * GATHERED);
        for item in &batch.items {
            gathered.extend_from_slice(&message(batch, item));
            if gathered.len() >= GATHERED {
                stream.write_all(&gathered).await.map_err(|error| cut_off(&error))?;
                gathered.clear();
            }
        }
        stream.write_all(&gathered).await.map_err(|error| cut_off(&error))?;
        stream.flush().await.map_err(|error| cut_off(&error))?;
        settle(&mut stream, Instant::now() + settled).await?;
        self.open = Some(stream);
        Ok(())
    }

    async fn dial(&self) -> Result<Stream, EgressError> {
        let deadline = Instant::now() + CONNECT_MAX;
        let addresses = self.dialer.resolve(&self.target, deadline).await?;
        let (stream, peer) = self.dialer.connect(&addresses, deadline).await?;
        #[cfg(target_os = "linux")]
        {
            let millis = u32::try_from(UNHEARD_MAX.as_millis()).unwrap_or(u32::MAX);
            rustix::net::sockopt::set_tcp_user_timeout(&stream, millis)
                .map_err(|error| EgressError::Unreachable(error.into()))?;
        }
        self.dialer.secure(&self.target, stream, peer, deadline).await
    }
}

/// The stream, unless its end or an error has come. What a receiver writes is read and not looked at.
fn still_open(mut stream: Stream) -> Option<Stream> {
    let mut unread = [0; 256];
    loop {
        match stream.read(&mut unread).now_or_never() {
            None => return Some(stream),
            Some(Ok(0) | Err(_)) => return None,
            Some(Ok(_)) => {}
        }
    }
}

/// Waits whether the connection breaks.
async fn settle(stream: &mut Stream, until: Instant) -> Result<(), Fault> {
    loop {
        match timeout_at(until, stream.read(&mut [0; 256])).await {
            Err(_) => return Ok(()),
            Ok(Ok(0)) => return Err(closed()),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(cut_off(&error)),
        }
    }
}

fn closed() -> Fault {
    Fault::new("cut_off", "The receiver closed the connection")
}

fn cut_off(error: &io::Error) -> Fault {
    // What `rustls` finds wrong, an alert of the other side among it.
    let code = if error.kind() == io::ErrorKind::InvalidData { "tls" } else { "cut_off" };
    Fault::new(code, format!("The receiver closed the connection: {error}"))
}

/// A message with its length before it: `LENGTH SP <PRI>1 TIME HOST APP PROCESS ID [DATA] TEXT`. The text is in no form of
/// RFC 5424's own, so there is no byte order mark before it.
fn message(batch: &Batch, item: &Item) -> Vec<u8> {
    let time = item.time.to_rfc3339_opts(SecondsFormat::Micros, true);
    let (tenant, id) = (batch.tenant, item.id.uuid().hyphenated());
    let mut head = format!("<{PRIORITY}>1 {time} sluice sluice {tenant} {} ", item.kind);
    // Writing into memory does not fail.
    let _ = write!(head, "[sluice@{ENTERPRISE} id=\"{id}\" tenant=\"{tenant}\"");
    let _ = match &batch.edition {
        Edition::Test(_) => write!(head, " test=\"true\"] "),
        _ => write!(head, " epoch=\"{}\" seq=\"{}\"] ", batch.epoch, item.seq),
    };
    let mut message = format!("{} {head}", head.len() + item.bytes.len()).into_bytes();
    message.extend_from_slice(&item.bytes);
    message
}
