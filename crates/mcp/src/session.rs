//! What a sealed `Mcp-Session-Id` of a legacy client holds. Sealing it is another's work.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::json::Writer;
use crate::{Json, Object, Raw, Version};

/// All that is fixed when a legacy client initializes. Serialized with short names: it travels in a header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The negotiated revision.
    #[serde(rename = "v")]
    pub version: Version,
    /// What the client can do.
    #[serde(rename = "c")]
    pub capabilities: Capabilities,
    /// What the client says it is; for the record only.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientInfo>,
    /// 128 random bits, hexadecimal: names what little of the session is kept elsewhere.
    #[serde(rename = "n")]
    pub nonce: String,
    /// When it began, Unix seconds.
    #[serde(rename = "b")]
    pub issued_at: i64,
    /// When it ends, Unix seconds. The id can't be changed later, so this does not move.
    #[serde(rename = "e")]
    pub expires_at: i64,
    /// Whose it is.
    #[serde(rename = "o")]
    pub owner: Owner,
}

/// Whom a session is bound to; for anybody else it does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Where it is worth something.
    #[serde(rename = "t")]
    pub tenant: String,
    /// The person.
    #[serde(rename = "u")]
    pub user: String,
    /// The token or the client they use.
    #[serde(rename = "k")]
    pub client: String,
}

/// What a client says it is, cut to what a header can carry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientInfo {
    /// `name`.
    #[serde(rename = "n")]
    pub name: String,
    /// `version`.
    #[serde(rename = "v")]
    pub version: String,
}

impl ClientInfo {
    /// The longest name or version kept, in characters.
    pub const LONGEST: usize = 64;

    /// Reads an `Implementation`; `None` when it has no name.
    #[must_use]
    pub fn read(info: &Object<'_>) -> Option<Self> {
        let cut = |text: &str| text.chars().filter(|letter| !letter.is_control()).take(Self::LONGEST).collect();
        let name = cut(&info.text("name")?);
        Some(Self { name, version: info.text("version").map_or(String::new(), |version| cut(&version)) })
    }

    /// The `Implementation` again.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut writer = Writer::object();
        writer.text("name", &self.name);
        writer.text("version", &self.version);
        writer.finish()
    }
}

/// Why a session is not the caller's, to be answered alike: 404, so that the client initializes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// It is over.
    #[error("the session has expired")]
    Expired,
    /// It is another principal's.
    #[error("the session belongs to another principal")]
    NotYours,
}

impl Session {
    /// Checks that the session lives and belongs to the caller.
    ///
    /// # Errors
    /// [`SessionError`] when not.
    pub fn check(&self, caller: &Owner, now: i64) -> Result<(), SessionError> {
        if self.owner != *caller {
            return Err(SessionError::NotYours);
        }
        if now >= self.expires_at || now < self.issued_at.saturating_sub(CLOCK_SKEW) {
            return Err(SessionError::Expired);
        }
        Ok(())
    }
}

/// How far the clocks of two nodes may differ, in seconds.
const CLOCK_SKEW: i64 = 60;

/// The client capabilities the gateway can make use of, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Capabilities(u8);

impl Capabilities {
    /// It answers `roots/list`.
    pub const ROOTS: Self = Self(1);
    /// It answers `sampling/createMessage`.
    pub const SAMPLING: Self = Self(1 << 1);
    /// Sampling with tools.
    pub const SAMPLING_TOOLS: Self = Self(1 << 2);
    /// It shows forms.
    pub const ELICITATION_FORM: Self = Self(1 << 3);
    /// It opens URLs.
    pub const ELICITATION_URL: Self = Self(1 << 4);

    /// Reads a `ClientCapabilities` object.
    #[must_use]
    pub fn read(capabilities: &Object<'_>) -> Self {
        let mut bits = Self::default();
        let sampling = capabilities.object("sampling");
        let elicitation = capabilities.object("elicitation");
        let url = elicitation.as_ref().is_some_and(|elicitation| elicitation.has("url"));
        // `{}` means forms.
        let form = elicitation.as_ref().is_some_and(|elicitation| elicitation.has("form") || !url);
        bits.set(Self::ROOTS, capabilities.object("roots").is_some());
        bits.set(Self::SAMPLING, sampling.is_some());
        bits.set(Self::SAMPLING_TOOLS, sampling.is_some_and(|sampling| sampling.has("tools")));
        bits.set(Self::ELICITATION_FORM, form);
        bits.set(Self::ELICITATION_URL, url);
        bits
    }

    const fn set(&mut self, bit: Self, present: bool) {
        if present {
            self.0 |= bit.0;
        }
    }

    /// The bits, for what is told apart by them.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether it has all of these.
    #[must_use]
    pub const fn has(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }

    /// The `ClientCapabilities` object again.
    #[must_use]
    pub fn to_json(self) -> Json {
        let mut writer = Writer::object();
        let flag = |writer: &mut Writer, key, bit| {
            if self.has(bit) {
                writer.member(key, Raw::EMPTY);
            }
        };
        flag(&mut writer, "roots", Self::ROOTS);
        if self.has(Self::SAMPLING) {
            writer.nested("sampling", |inner| flag(inner, "tools", Self::SAMPLING_TOOLS));
        }
        if self.has(Self::ELICITATION_FORM) || self.has(Self::ELICITATION_URL) {
            writer.nested("elicitation", |inner| {
                flag(inner, "form", Self::ELICITATION_FORM);
                flag(inner, "url", Self::ELICITATION_URL);
            });
        }
        writer.finish()
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::find(&text).ok_or_else(|| serde::de::Error::custom("not a protocol version of ours"))
    }
}

#[cfg(test)]
mod tests;
