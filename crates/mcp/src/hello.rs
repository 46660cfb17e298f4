//! How the two sides of a hop get to know each other: `initialize` and `server/discover`, asked and answered.

use std::borrow::Cow;

use crate::json::Writer;
use crate::meta;
use crate::session::{Capabilities, ClientInfo};
use crate::{Code, Era, Json, Object, Raw, RpcError, Version};

/// What we advertise: tools, and no more until there is more.
///
/// Not `listChanged`: it would promise a stream of notifications.
pub const CAPABILITIES: Raw<'static> = Raw::constant(r#"{"tools":{}}"#);

/// The same to a legacy client, which can set the level of the log lines it gets.
pub const LEGACY_CAPABILITIES: Raw<'static> = Raw::constant(r#"{"tools":{},"logging":{}}"#);

/// What we say about ourselves.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'i> {
    /// An `Implementation`.
    pub server_info: Raw<'i>,
    /// `ServerCapabilities`.
    pub capabilities: Raw<'i>,
    /// What a model should know about using the tools.
    pub instructions: Option<&'i str>,
}

impl Identity<'_> {
    /// The result of a legacy client's `initialize`.
    #[must_use]
    pub fn initialize_result(&self, version: Version) -> Json {
        let mut writer = Writer::object();
        writer.text("protocolVersion", version.as_str());
        writer.member("capabilities", self.capabilities);
        writer.member("serverInfo", self.server_info);
        if let Some(instructions) = self.instructions {
            writer.text("instructions", instructions);
        }
        writer.finish()
    }

    /// The result of a modern client's `server/discover`, fresh for so many milliseconds.
    #[must_use]
    pub fn discover_result(&self, ttl_ms: u64) -> Json {
        let versions: Vec<Json> = Version::MODERN.iter().map(|version| Json::text(version.as_str())).collect();
        let mut writer = Writer::object();
        writer.text("resultType", "complete");
        writer.member("supportedVersions", Json::array(versions.iter().map(Json::raw)).raw());
        writer.member("capabilities", self.capabilities);
        if let Some(instructions) = self.instructions {
            writer.text("instructions", instructions);
        }
        writer.integer("ttlMs", ttl_ms);
        writer.text("cacheScope", "private");
        writer.nested("_meta", |meta| meta.member(meta::SERVER_INFO, self.server_info));
        writer.finish()
    }
}

/// What a legacy client says in `initialize`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    /// The revision of the session that begins.
    pub version: Version,
    /// What the client can do.
    pub capabilities: Capabilities,
    /// What it says it is.
    pub client: Option<ClientInfo>,
}

impl Introduction {
    /// Reads the parameters of an `initialize` and settles on a version.
    ///
    /// # Errors
    /// Invalid parameters without a version.
    pub fn read(params: &Object<'_>) -> Result<Self, RpcError> {
        let requested = params
            .text("protocolVersion")
            .ok_or_else(|| RpcError::new(Code::InvalidParams, "`params.protocolVersion` must be a string"))?;
        Ok(Self {
            version: Version::negotiate(&requested),
            capabilities: params.object("capabilities").map(|bits| Capabilities::read(&bits)).unwrap_or_default(),
            client: params.object("clientInfo").and_then(|info| ClientInfo::read(&info)),
        })
    }
}

/// The parameters of our `initialize` to a legacy upstream.
#[must_use]
pub fn initialize_params(capabilities: Raw<'_>, client_info: Raw<'_>) -> Json {
    let mut writer = Writer::object();
    writer.text("protocolVersion", Version::LATEST_LEGACY.as_str());
    writer.member("capabilities", capabilities);
    writer.member("clientInfo", client_info);
    writer.finish()
}

/// What an upstream says about itself, in whichever era.
#[derive(Debug, Clone)]
pub struct Upstream<'a> {
    /// The revision to speak with it.
    pub version: Version,
    /// `ServerCapabilities`.
    pub capabilities: Object<'a>,
    /// What it says it is; never believed.
    pub server_info: Option<Object<'a>>,
    /// What a model should know about using its tools.
    pub instructions: Option<Cow<'a, str>>,
}

/// An upstream's answer that is no introduction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Strange {
    /// Members are missing or of the wrong type.
    #[error("the server's answer is no introduction")]
    Malformed,
    /// It speaks only revisions that are not ours.
    #[error("the server speaks no protocol version of ours")]
    NoCommonVersion,
}

impl<'a> Upstream<'a> {
    /// Reads a legacy upstream's answer to `initialize`.
    ///
    /// # Errors
    /// [`Strange`] when it is none, or names a version we do not speak.
    pub fn initialized(result: &Object<'a>) -> Result<Self, Strange> {
        let version = result.text("protocolVersion").ok_or(Strange::Malformed)?;
        let version = Version::find(&version).filter(|version| version.era() == Era::Legacy);
        Ok(Self {
            version: version.ok_or(Strange::NoCommonVersion)?,
            capabilities: result.object("capabilities").ok_or(Strange::Malformed)?,
            server_info: result.object("serverInfo"),
            instructions: result.text("instructions"),
        })
    }

    /// Reads a modern upstream's answer to `server/discover`.
    ///
    /// # Errors
    /// [`Strange`] when it is none, or lists no version we speak.
    pub fn discovered(result: &Object<'a>) -> Result<Self, Strange> {
        let listed = result.get("supportedVersions").and_then(Raw::array).ok_or(Strange::Malformed)?;
        let listed: Vec<_> = listed.into_iter().filter_map(Raw::text).collect();
        let version = Version::choose(Era::Modern, listed.iter().map(AsRef::as_ref));
        Ok(Self {
            version: version.ok_or(Strange::NoCommonVersion)?,
            capabilities: result.object("capabilities").ok_or(Strange::Malformed)?,
            server_info: result.object("_meta").and_then(|meta| meta.object(meta::SERVER_INFO)),
            instructions: result.text("instructions"),
        })
    }
}

#[cfg(test)]
mod tests;
