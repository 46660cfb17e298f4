//! Standard Webhooks: NDJSON over HTTPS, signed with HMAC-SHA256 over `id.timestamp.body`.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use domain::{Clock, Secret};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use super::batch::{Answer, Batch, Fault};
use super::http::{Http, Reply};
use super::sender::Outside;

/// Most signing secrets: the new one, and the one before it.
const KEYS_MAX: usize = 2;

/// How a webhook is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookSettings {
    /// Where to post to: https, without user name or password. Its path is not shown again: `***` stands there instead, and
    /// an address that is sent back so stays as it was.
    #[schema(value_type = String)]
    pub(super) url: HookUrl,
    /// Certificates (PEM) that are believed beside the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) certificates: Option<String>,
}

/// A webhook's address. Its path may be all that a receiver knows its senders by, as with chat services: so it does not
/// show itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct HookUrl(Url);

impl fmt::Debug for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HookUrl({})", self.masked().0)
    }
}

impl HookUrl {
    /// As it is dialled.
    pub(super) const fn whole(&self) -> &Url {
        &self.0
    }

    /// For people: without its path, where it has one.
    pub(super) fn masked(&self) -> Self {
        let mut url = self.0.clone();
        if url.path() != "/" {
            url.set_path(MASK);
        }
        Self(url)
    }

    /// Whether it is one that was shown, and not the address itself.
    pub(super) fn is_masked(&self) -> bool {
        self.0.path() == MASK
    }

    /// What of it is not to be shown, should the receiver repeat it, as it is written or decoded: all of the path, its last
    /// part, and what else of it is long. What is longer comes first.
    fn secrets(&self) -> impl Iterator<Item = Secret<String>> {
        let path = self.0.path();
        let last = path.rsplit('/').find(|part| !part.is_empty());
        let parts = path.split('/').filter(|part| part.len() >= SECRET_MIN);
        let whole = Some(path).filter(|path| path.len() > 1);
        let written = whole.into_iter().chain(parts).chain(last);
        let decoded = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let mut secrets: Vec<String> = written.flat_map(|part| [part.to_owned(), decoded(part)]).collect();
        secrets.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        secrets.dedup();
        secrets.into_iter().map(Secret::new)
    }
}

/// What stands for a path.
const MASK: &str = "/***";
/// A shorter part of a path, but for the last, proves nothing, and is a word that a receiver may say.
const SECRET_MIN: usize = 8;

/// A webhook that can be sent to.
#[derive(Debug)]
pub(super) struct Webhook {
    url: HookUrl,
    http: Http,
    keys: Vec<SigningSecret>,
    clock: Clock,
}

/// What a webhook's batches are signed with: `whsec_` and the base64 of 24 to 64 bytes.
#[derive(Debug)]
pub(super) struct SigningSecret(Secret<Vec<u8>>);

impl FromStr for SigningSecret {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let bytes = STANDARD.decode(text.strip_prefix("whsec_").ok_or(())?).map_err(|_| ())?;
        if (24..=64).contains(&bytes.len()) { Ok(Self(Secret::new(bytes))) } else { Err(()) }
    }
}

impl SigningSecret {
    /// A new one, as it is written.
    pub(super) fn generate() -> Secret<String> {
        Secret::new(format!("whsec_{}", STANDARD.encode(secrets::random::<32>())))
    }

    /// The signature of a message, as it stands in the header.
    fn sign(&self, message: &[&[u8]]) -> String {
        format!("v1,{}", STANDARD.encode(secrets::hmac_sha256(&self.0, message)))
    }
}

impl Webhook {
    /// Prepares a webhook. `secret` is one signing secret, or two during a rotation, the new one first, with a space
    /// between them: both sign.
    ///
    /// # Errors
    /// A [`Fault`] when a secret or the certificates can't be used.
    pub(super) fn open(settings: &WebhookSettings, secret: &Secret<String>, outside: &Outside) -> Result<Self, Fault> {
        let texts: Vec<&str> = secret.expose().split(' ').collect();
        if texts.len() > KEYS_MAX {
            return Err(Fault::new("settings", "At most two signing secrets, the new one and the one before it"));
        }
        let keys = texts.iter().map(|text| text.parse()).collect::<Result<_, ()>>();
        let keys = keys.map_err(|()| Fault::new("settings", "The signing secret can't be used: set it again"))?;
        let secrets = texts.into_iter().map(|text| Secret::new(text.to_owned()));
        let secrets = secrets.chain(settings.url.secrets()).collect();
        let http = Http::new(outside, settings.certificates.as_deref(), secrets)?;
        Ok(Self { url: settings.url.clone(), http, keys, clock: outside.clock.clone() })
    }

    /// Posts a batch.
    pub(super) async fn send(&self, batch: &Batch) -> Answer {
        let body = Bytes::from(batch.lines());
        let Ok(headers) = self.headers(&batch.key(), &body) else {
            return Answer::Stopped(Fault::new("settings", "The signature can't be written"));
        };
        match self.http.post(self.url.whole(), headers, body).await {
            Ok(reply) => judge(&reply),
            Err(answer) => answer,
        }
    }

    fn headers(&self, key: &str, body: &[u8]) -> Result<HeaderMap, http::header::InvalidHeaderValue> {
        let (id, at) = (format!("msg_{key}"), self.clock.now().timestamp().to_string());
        let message: [&[u8]; 5] = [id.as_bytes(), b".", at.as_bytes(), b".", body];
        let signed: Vec<String> = self.keys.iter().map(|key| key.sign(&message)).collect();
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        headers.insert(HeaderName::from_static("webhook-id"), HeaderValue::from_str(&id)?);
        headers.insert(HeaderName::from_static("webhook-timestamp"), HeaderValue::from_str(&at)?);
        headers.insert(HeaderName::from_static("webhook-signature"), HeaderValue::from_str(&signed.join(" "))?);
        Ok(headers)
    }
}

/// What an answer's status means. Standard Webhooks: any 2xx is good, 410 ends it, everything else is tried again. That a
/// body is too large or never fits is no reason to hold up all that follow it.
fn judge(reply: &Reply) -> Answer {
    match reply.status {
        status if status.is_success() => Answer::Accepted(format!("HTTP {}", status.as_u16())),
        StatusCode::GONE => Answer::Stopped(reply.fault("status", "The receiver wants no more: ask who runs it")),
        StatusCode::PAYLOAD_TOO_LARGE => Answer::TooLarge(reply.fault("status", "")),
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Answer::Refused(reply.fault("status", "")),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            reply.retry("status", "Check that the receiver has this destination's signing secret")
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => reply.retry("status", "Check the address"),
        _ => reply.retry("status", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_standards() {
        // The example of the Standard Webhooks specification's libraries.
        let secret: SigningSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        let message = br#"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}"#;
        assert_eq!(secret.sign(&[message]), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn an_address_does_not_show_its_path_and_is_none_where_it_was_not_shown() {
        let url = |text: &str| HookUrl(text.parse().unwrap());
        let slack = url("https://hooks.example:8443/services/T00000000/canary-of-the-path");
        assert_eq!(slack.masked().whole().as_str(), "https://hooks.example:8443/***");
        assert!(slack.masked().is_masked() && !slack.is_masked());
        let settings = WebhookSettings { url: slack.clone(), certificates: None };
        assert!(!format!("{settings:?}").contains("canary"), "{settings:?}");
        let secrets = |url: &HookUrl| url.secrets().map(|secret| secret.expose().clone()).collect::<Vec<_>>();
        let all = ["/services/T00000000/canary-of-the-path", "canary-of-the-path", "T00000000", "services"];
        assert_eq!(secrets(&slack), all);
        let short = url("https://hooks.example/h/a%2Bb%20c/");
        assert_eq!(secrets(&short), ["/h/a%2Bb%20c/", "/h/a+b c/", "a%2Bb%20c", "a+b c"]);
        let bare = url("https://hooks.example/");
        assert_eq!((bare.masked(), bare.secrets().count()), (bare.clone(), 0));
    }

    #[test]
    fn a_secret_is_of_the_standards_form_and_does_not_show_itself() {
        let made = SigningSecret::generate();
        let read: SigningSecret = made.expose().parse().unwrap();
        assert_eq!(format!("{read:?}"), "SigningSecret(Secret(…))");
        for wrong in ["", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!"] {
            assert!(wrong.parse::<SigningSecret>().is_err(), "{wrong}");
        }
    }
}
