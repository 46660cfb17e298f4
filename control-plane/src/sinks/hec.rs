//! Splunk's HTTP Event Collector: concatenated events, gzip, and its table of codes.
//!
//! What Splunk says is that it accepted the events, not that it indexed them. Records carry their id in
//! `fields.event_id`, by which a search tells copies (`| dedup event_id`).

use std::io::Write as _;

use bytes::Bytes;
use domain::Secret;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use url::Url;
use utoipa::ToSchema;

use super::batch::{Answer, Batch, Fault, Item};
use super::http::{Http, Reply};
use super::sender::Outside;

/// Where events go below the collector's address.
const PATH: &str = "services/collector/event";

/// How a collector is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HecSettings {
    /// The collector's address, `https://splunk.example:8088`; the path of events may be left out.
    #[schema(value_type = String)]
    pub(super) url: Url,
    /// The index, where it is not the token's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<String>,
    /// The source, `sluice` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<String>,
    /// The source type, `sluice:audit` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sourcetype: Option<String>,
    /// Certificates (PEM) that are believed beside the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) certificates: Option<String>,
}

/// A collector that can be sent to.
#[derive(Debug)]
pub(super) struct Hec {
    url: Url,
    settings: HecSettings,
    authorization: HeaderValue,
    http: Http,
}

/// What stands around an item (`Format event data for HTTP Event Collector`).
#[derive(Serialize)]
struct Envelope<'a> {
    /// Seconds with milliseconds, a number.
    time: Box<RawValue>,
    host: &'a str,
    source: &'a str,
    sourcetype: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<&'a str>,
    event: &'a RawValue,
    fields: Fields<'a>,
}

/// Fields that are indexed with the event.
#[derive(Serialize)]
struct Fields<'a> {
    event_id: String,
    tenant: String,
    epoch: String,
    seq: String,
    kind: &'a str,
}

/// What the collector says.
#[derive(Debug, Deserialize)]
struct Said {
    code: u16,
}

impl Hec {
    /// Prepares a collector; `secret` is its token.
    ///
    /// # Errors
    /// A [`Fault`] when the token or the certificates can't be used.
    pub(super) fn open(settings: &HecSettings, secret: &Secret<String>, outside: &Outside) -> Result<Self, Fault> {
        let token = secret.expose();
        let is_token = (8..=256).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
        let authorization = HeaderValue::from_str(&format!("Splunk {token}")).ok().filter(|_| is_token);
        let Some(mut authorization) = authorization else {
            return Err(Fault::new("settings", "A token of Splunk is 8 to 256 visible characters, mostly a UUID"));
        };
        authorization.set_sensitive(true);
        let http = Http::new(outside, settings.certificates.as_deref(), vec![Secret::new(token.clone())])?;
        Ok(Self { url: address(&settings.url), settings: settings.clone(), authorization, http })
    }

    /// Posts a batch.
    pub(super) async fn send(&self, batch: &Batch) -> Answer {
        let Ok(body) = self.body(batch) else {
            return Answer::Refused(Fault::new("encoding", "An item is no JSON: choose a JSON format"));
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, self.authorization.clone());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        match self.http.post(&self.url, headers, body).await {
            Ok(reply) => judge(&reply),
            Err(answer) => answer,
        }
    }

    fn body(&self, batch: &Batch) -> std::io::Result<Bytes> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        for item in &batch.items {
            serde_json::to_writer(&mut packed, &self.event(batch, item)?)?;
            packed.write_all(b"\n")?;
        }
        Ok(Bytes::from(packed.finish()?))
    }

    fn event<'a>(&'a self, batch: &Batch, item: &'a Item) -> serde_json::Result<Envelope<'a>> {
        let HecSettings { index, source, sourcetype, .. } = &self.settings;
        let fields = Fields {
            event_id: item.id.to_string(),
            tenant: batch.tenant.to_string(),
            epoch: batch.epoch.to_string(),
            seq: item.seq.to_string(),
            kind: item.kind,
        };
        Ok(Envelope {
            time: RawValue::from_string(seconds(item.time.timestamp_millis()))?,
            host: "sluice",
            source: source.as_deref().unwrap_or("sluice"),
            sourcetype: sourcetype.as_deref().unwrap_or("sluice:audit"),
            index: index.as_deref(),
            event: serde_json::from_slice(&item.bytes)?,
            fields,
        })
    }
}

/// Milliseconds as seconds.
fn seconds(millis: i64) -> String {
    let (sign, millis) = (if millis < 0 { "-" } else { "" }, millis.unsigned_abs());
    format!("{sign}{}.{:03}", millis / 1000, millis % 1000)
}

/// The path of events, where none is named.
fn address(url: &Url) -> Url {
    let mut url = url.clone();
    if url.path().trim_matches('/').is_empty() {
        url.set_path(PATH);
    }
    url
}

/// What an answer means, by the code in its body and by its status where there is none.
fn judge(reply: &Reply) -> Answer {
    let said: Option<Said> = serde_json::from_slice(&reply.body).ok();
    match (reply.status, said.map(|said| said.code)) {
        (StatusCode::OK, Some(0)) => Answer::Accepted("HTTP 200: accepted by the collector".to_owned()),
        // A page of something in between: nobody says that the events are anywhere.
        (StatusCode::OK, None) => {
            reply.retry("not_a_collector", "What answers there is no collector: check the address and the port")
        }
        (StatusCode::PAYLOAD_TOO_LARGE, _) => Answer::TooLarge(reply.fault("status", "")),
        (_, Some(code)) => by_code(reply, code),
        (_, None) => by_status(reply, "status"),
    }
}

/// The collector's own table (`Troubleshoot HTTP Event Collector`), each code with the status it comes with: a gateway
/// before the collector counts in its own way, and what it says of itself says nothing of an event.
fn by_code(reply: &Reply, code: u16) -> Answer {
    let word = format!("hec_{code}");
    match code {
        1..=4 if !matches!(reply.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => by_status(reply, &word),
        5..=7 | 10..=15 if reply.status != StatusCode::BAD_REQUEST => by_status(reply, &word),
        1 => Answer::Stopped(reply.fault(word, "The token is disabled: enable it in Splunk")),
        2..=4 => Answer::Stopped(reply.fault(word, "Splunk does not know the token: enter it again")),
        7 => Answer::Stopped(reply.fault(word, "The token may not write to that index: choose another, or allow it")),
        10 | 11 => Answer::Stopped(reply.fault(
            word,
            "The token wants acknowledgements of the indexer, which Splunk Cloud has not: switch them off for it",
        )),
        14 => Answer::Stopped(reply.fault(word, "Acknowledgements are off for this token")),
        // What an event holds is refused, not the settings.
        5 | 6 | 12 | 13 | 15 => Answer::Refused(reply.fault(word, "")),
        8 | 9 | 16..=26 => reply.retry(word, ""),
        _ => by_status(reply, &word),
    }
}

/// What a status means that no code of Splunk's stands with; `word` is what the fault is called.
fn by_status(reply: &Reply, word: &str) -> Answer {
    match reply.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Answer::Stopped(reply.fault(word, "Check the token")),
        StatusCode::NOT_FOUND => {
            Answer::Stopped(reply.fault(word, "No collector answers there: check the address and the port"))
        }
        StatusCode::BAD_REQUEST => Answer::Refused(reply.fault(word, "")),
        _ => reply.retry(word, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_before_1970_is_a_number_too() {
        assert_eq!([-500, -1500, 0, 1500, 61_007].map(seconds), ["-0.500", "-1.500", "0.000", "1.500", "61.007"]);
    }

    #[test]
    fn only_a_collectors_own_word_is_acceptance() {
        let reply = |status, body: &'static str| {
            let (body, shown) = (Bytes::from_static(body.as_bytes()), String::new());
            judge(&Reply { status, headers: HeaderMap::new(), retry_after: None, body, shown })
        };
        assert!(matches!(reply(StatusCode::OK, r#"{"text":"Success","code":0}"#), Answer::Accepted(_)));
        for body in ["", "<html>Sign in</html>", r#"{"text":"Success"}"#, r#"{"code":"#] {
            let Answer::Retry { why, .. } = reply(StatusCode::OK, body) else { panic!("{body}") };
            assert_eq!(why.code, "not_a_collector");
        }
    }
}
