//! S3 and what speaks like it: each batch becomes one object of gzipped NDJSON, written once.
//!
//! An object's key says which records are in it, and it is written only where none stands (`If-None-Match: *`): a batch that
//! is sent again finds itself there. So no copy arises but by a replay, which has keys of its own.

#[cfg(test)]
mod tests;
mod way;

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use domain::Secret;
use egress::{Rules, Target};
use flate2::{Compression, GzBuilder};
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum};
use object_store::path::Path;
use object_store::{Attribute, Attributes, ObjectStore as _, PutMode, PutOptions, RetryConfig};
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use super::batch::{Answer, Batch, Edition, Fault};
use super::http::{Http, Reply};
use super::sender::Outside;
use way::Way;

/// How a bucket is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct S3Settings {
    /// Its name.
    pub(super) bucket: String,
    /// The region it is in.
    pub(super) region: String,
    /// What stands before every key: `audit/sluice`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) prefix: Option<String>,
    /// Where another store than Amazon's answers, without the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(super) endpoint: Option<Url>,
    /// For how many seconds records wait for an object to fill (4 MiB or 10,000 of them): at most 240, none at 0, and 60 when
    /// left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) linger_s: Option<u16>,
    /// Certificates (PEM) that are believed beside the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) certificates: Option<String>,
}

/// For how long records wait unless it is set, seconds.
const LINGER_S: u16 = 60;
/// Longest that they may: what has waited for 300 s is behind, and that is somebody's to look at.
const LINGER_MAX_S: u16 = 240;

/// An access key that may put objects into the bucket, and nothing else.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccessKey {
    access_key_id: String,
    secret_access_key: String,
}

fn access_key(text: &str) -> Result<AccessKey, &'static str> {
    let key: AccessKey = serde_json::from_str(text).map_err(|_| "Enter an access key id and its secret access key")?;
    let plain = |text: &str| (1..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if plain(&key.access_key_id) && plain(&key.secret_access_key) {
        Ok(key)
    } else {
        Err("The access key id and its secret hold no spaces and only ASCII")
    }
}

impl S3Settings {
    /// Whether they can be used, and lead to where may be dialled, as far as can be told without dialling.
    ///
    /// # Errors
    /// The field that is wrong, and why.
    pub(super) fn check(&self, rules: &Rules) -> Result<(), (&'static str, String)> {
        let of =
            |text: &str, more: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || more.as_bytes().contains(&b));
        let wrong = |field, said: &str| Err((field, said.to_owned()));
        if !((3..=63).contains(&self.bucket.len()) && of(&self.bucket, ".-_")) {
            return wrong("bucket", "The name has 3 to 63 letters, digits, dots and hyphens");
        }
        if !((1..=40).contains(&self.region.len()) && of(&self.region, "-_")) {
            return wrong("region", "A word such as `eu-central-1`");
        }
        let prefix = self.prefix.as_deref().unwrap_or_default();
        if prefix.len() > 200 || !of(prefix, "/.-_=") || prefix.split('/').any(|part| part == "." || part == "..") {
            return wrong("prefix", "At most 200 letters, digits and `/.-_=`");
        }
        if self.linger_s.is_some_and(|seconds| seconds > LINGER_MAX_S) {
            return wrong("linger_s", "At most four minutes: 240 seconds");
        }
        let Some(endpoint) = &self.endpoint else { return Ok(()) };
        if endpoint.query().is_some() || endpoint.fragment().is_some() {
            return wrong("endpoint", "An address without a query");
        }
        Target::check(endpoint, rules).map(drop).map_err(|error| ("endpoint", error.to_string()))
    }

    /// For how long records wait for an object to fill.
    pub(super) fn linger(&self) -> Duration {
        Duration::from_secs(self.linger_s.unwrap_or(LINGER_S).into())
    }

    /// The address that is dialled: of the endpoint, or of Amazon's for the region.
    pub(super) fn address(&self) -> String {
        self.endpoint.as_ref().map_or_else(
            || format!("https://s3.{}.amazonaws.com", self.region),
            |endpoint| endpoint.as_str().trim_end_matches('/').to_owned(),
        )
    }

    /// Where a batch's object stands; of the batch alone, so that it is the same at every try, and under its destination,
    /// so that no other one's object stands there.
    fn key(&self, batch: &Batch) -> String {
        let Batch { tenant, destination, epoch, first, last, .. } = batch;
        let range = format!("{epoch}-{first}-{last}");
        let hour = batch.items.first().map(|item| item.time.format("dt=%Y-%m-%d/hr=%H").to_string());
        let hour = hour.unwrap_or_default();
        let place = match &batch.edition {
            Edition::Live(0 | 1) => format!("{hour}/{range}"),
            Edition::Live(edition) => format!("{hour}/{range}-{edition}"),
            Edition::Replay(number) => format!("replay={number}/{hour}/{range}"),
            Edition::Letters(number) => format!("letters={number}/{hour}/{range}"),
            Edition::Checkpoint => format!("checkpoints/{epoch}-{last}"),
            Edition::Test(id) => format!("tests/{id}"),
        };
        let prefix = self.prefix.as_deref().unwrap_or_default().trim_matches('/');
        let separator = if prefix.is_empty() { "" } else { "/" };
        format!("{prefix}{separator}tenant={tenant}/destination={destination}/{place}.ndjson.gz")
    }
}

/// A bucket that can be written to.
#[derive(Debug)]
pub(super) struct S3 {
    settings: S3Settings,
    store: AmazonS3,
    way: Way,
}

impl S3 {
    /// Prepares a bucket. `secret` is the access key.
    ///
    /// # Errors
    /// A [`Fault`] when settings or secret can't be used.
    pub(super) fn open(settings: &S3Settings, secret: &Secret<String>, outside: &Outside) -> Result<Self, Fault> {
        settings.check(&outside.rules).map_err(|(field, said)| Fault::new("settings", format!("{field}: {said}")))?;
        let AccessKey { access_key_id, secret_access_key } =
            access_key(secret.expose()).map_err(|said| Fault::new("settings", said))?;
        let http = Http::new(outside, settings.certificates.as_deref(), vec![Secret::new(secret_access_key.clone())])?;
        let way = Way::new(http);
        let store = AmazonS3Builder::new()
            .with_bucket_name(&settings.bucket)
            .with_region(&settings.region)
            .with_endpoint(settings.address())
            // `egress` says where clear text may go.
            .with_allow_http(true)
            .with_access_key_id(access_key_id)
            .with_secret_access_key(secret_access_key)
            .with_checksum_algorithm(Checksum::SHA256)
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
            .with_http_connector(way.clone())
            .build()
            .map_err(|_| Fault::new("settings", "Bucket, region and endpoint can't be used together"))?;
        Ok(Self { settings: settings.clone(), store, way })
    }

    /// Writes a batch as one object.
    pub(super) async fn send(&mut self, batch: &Batch) -> Answer {
        let lines = batch.lines();
        let Ok(Ok(object)) = tokio::task::spawn_blocking(move || compress(&lines)).await else {
            return Answer::Retry {
                after: None,
                why: Fault::new("compression", "The records could not be compressed"),
            };
        };
        let key = self.settings.key(batch);
        let attributes = Attributes::from_iter([(Attribute::ContentType, "application/gzip")]);
        let options = PutOptions { mode: PutMode::Create, attributes, ..PutOptions::default() };
        let put = self.store.put_opts(&Path::from(key), object.into(), options).await;
        match (self.way.take(), put) {
            (_, Ok(_)) => Answer::Accepted("HTTP 200".to_owned()),
            (Some(Err(answer)), Err(_)) => another_region(answer),
            (Some(Ok(reply)), Err(_)) => judge(&reply),
            (None, Err(_)) => {
                Answer::Retry { after: None, why: Fault::new("request", "The request could not be made") }
            }
        }
    }
}

/// The same bytes for the same lines: no time and no name stand in them.
fn compress(lines: &[u8]) -> std::io::Result<Bytes> {
    let mut gzip = GzBuilder::new().write(Vec::with_capacity(lines.len() / 4), Compression::default());
    gzip.write_all(lines)?;
    gzip.finish().map(Bytes::from)
}

fn another_region(answer: Answer) -> Answer {
    match answer {
        Answer::Stopped(fault) if fault.code == "redirect" => {
            Answer::Stopped(Fault { said: "The bucket is in another region, or elsewhere".to_owned(), ..fault })
        }
        answer => answer,
    }
}

/// What an answer means by its status and the code in its body.
fn judge(reply: &Reply) -> Answer {
    let said = error_code(&reply.body);
    let code = if said.is_empty() { "status".to_owned() } else { format!("s3_{said}") };
    let stopped = |advice: &str| Answer::Stopped(reply.fault(code.clone(), advice));
    match (reply.status.as_u16(), said) {
        // It stands there already.
        (412, _) => Answer::Accepted("HTTP 412: written before".to_owned()),
        (413, _) | (_, "EntityTooLarge") => Answer::TooLarge(reply.fault(code, "")),
        (_, "RequestTimeTooSkewed" | "RequestTimeout" | "SlowDown") => reply.retry(code, ""),
        (401 | 403, _) => stopped("Check the access key, and that it may put objects under the prefix"),
        (404, _) => stopped("Check the bucket's name"),
        (400, "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => stopped("Check the region"),
        (501, _) => stopped("The store does not know `If-None-Match: *`, or checksums: it can't be written to safely"),
        _ => reply.retry(code, ""),
    }
}

/// The word in `<Code>` of an S3 error; empty when there is none.
fn error_code(body: &[u8]) -> &str {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map(|(code, _)| code);
    code.filter(|code| code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric())).unwrap_or_default()
}
