//! The personal part of a record. It travels beside the record and is stored sealed under a key of its own, so that it
//! can be erased; the record itself only commits to it, with a key that is erased along with it.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::value::RawValue;

use crate::entry::Private;
use crate::json::{Limits, Object as _, Put, Writer};
use crate::record::Record;
use crate::text::Text;

/// The most bytes the personal part has.
pub const PII_MAX: usize = 32 * 1024;

fields! {
    /// What may be personal. Its members have the names they would have in the record.
    pub struct Pii {
        /// Who acted.
        actor: PiiActor,
        /// What was sent.
        args: PiiArgs,
        /// From where.
        client: PiiClient,
        /// What came back.
        result: PiiResult,
        /// Whether something was left out to make it fit.
        truncated: Option<bool>,
    }
}

object! {
    /// A person's names.
    pub struct PiiActor {
        /// Their e-mail address.
        email: Option<Text>,
        /// Their name.
        name: Option<Text>,
        /// The OIDC subject.
        subject: Option<Text>,
    }
}

object! {
    /// Arguments after redaction: by default types and lengths only.
    pub struct PiiArgs {
        /// Canonical JSON.
        redacted: Option<Canonical>,
    }
}

object! {
    /// Where the request came from.
    pub struct PiiClient {
        /// The client's address, after trusted hops.
        ip: Option<Text>,
        /// The hops, as they were claimed.
        ip_chain: Option<Text>,
        /// As it was sent.
        user_agent: Option<Text>,
    }
}

object! {
    /// The answer after redaction.
    pub struct PiiResult {
        /// Canonical JSON.
        redacted: Option<Canonical>,
    }
}

/// JSON text that is in canonical form already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canonical(Box<str>);

impl Canonical {
    /// Takes text whose maker vouches for its form ([`crate::args`]).
    pub(crate) fn trusted(text: String) -> Self {
        Self(text.into_boxed_str())
    }

    /// Brings any JSON into canonical form; `None` when it has none.
    #[must_use]
    pub fn of(raw: &RawValue) -> Option<Self> {
        crate::args::canonical(raw.get()).map(Self::trusted)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Put for Canonical {
    fn put(&self, writer: &mut Writer) {
        writer.out.extend_from_slice(self.0.as_bytes());
    }
}

/// Not a member of the record.
impl Put for Pii {
    fn present(&self) -> bool {
        false
    }
    fn put(&self, _: &mut Writer) {}
}

impl Pii {
    /// The canonical bytes, at most [`PII_MAX`]: what was redacted is left out first, the answer before the arguments.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let whole = self.written();
        if whole.len() <= PII_MAX {
            return whole;
        }
        let mut less = Self { truncated: Some(true), ..self.clone() };
        less.result.redacted = None;
        let shorter = less.written();
        if shorter.len() <= PII_MAX {
            return shorter;
        }
        less.args.redacted = None;
        less.written()
    }

    fn written(&self) -> Vec<u8> {
        // Six texts, at worst six bytes for one: they fit.
        let mut writer = Writer::new(512, Limits { text: 800, list: 0 });
        self.put_object(&mut writer);
        writer.out
    }
}

impl Record {
    /// Sets `pii_commit` with a fresh random key, and gives what travels beside the record; `None` when nothing in it
    /// is personal.
    pub fn commit(&mut self, key: [u8; 32]) -> Option<Private> {
        self.pii_commit = None;
        if !self.pii.any_present() {
            return None;
        }
        let private = Private { key, pii: self.pii.to_bytes().into() };
        self.pii_commit = Some(commitment(&private.key, &private.pii).into());
        Some(private)
    }
}

/// The commitment to a personal part: `hs256:` and base64url of HMAC-SHA-256 with its key.
#[must_use]
pub fn commitment(key: &[u8; 32], pii: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), pii);
    let mut text = String::with_capacity(49);
    text.push_str("hs256:");
    URL_SAFE_NO_PAD.encode_string(tag.as_ref(), &mut text);
    text
}
