//! Protocol revisions and what each can carry.

use std::fmt;

/// The two ways of speaking MCP: with a handshake and sessions, or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Era {
    /// 2026-07-28: every request stands alone.
    Modern,
    /// 2025-03-26 to 2025-11-25: `initialize`, then sessions.
    Legacy,
}

/// A revision of the protocol, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// Streamable HTTP, batches.
    V2025_03_26,
    /// Structured results, titles, elicitation.
    V2025_06_18,
    /// Icons, tasks (experimental), stream polling.
    V2025_11_25,
    /// No handshake, no session.
    V2026_07_28,
}

impl Version {
    /// All that we speak, oldest first. 2024-11-05 is another transport.
    pub const ALL: [Self; 4] = [Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];
    /// Those of the modern era: what `server/discover` and an unsupported-version error list.
    pub const MODERN: [Self; 1] = [Self::V2026_07_28];
    /// Those of the legacy era.
    pub const LEGACY: [Self; 3] = [Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25];
    /// What we offer in `initialize`, and answer to a version we do not speak.
    pub const LATEST_LEGACY: Self = Self::V2025_11_25;
    /// What we put into requests to modern servers.
    pub const LATEST_MODERN: Self = Self::V2026_07_28;

    /// The date that names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// Reads the date.
    #[must_use]
    pub fn find(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == text)
    }

    /// The era it belongs to.
    #[must_use]
    pub const fn era(self) -> Era {
        match self {
            Self::V2026_07_28 => Era::Modern,
            _ => Era::Legacy,
        }
    }

    /// The version of the session that `initialize` begins: the one asked for if it is legacy and ours, else our latest.
    #[must_use]
    pub fn negotiate(requested: &str) -> Self {
        Self::find(requested).filter(|version| version.era() == Era::Legacy).unwrap_or(Self::LATEST_LEGACY)
    }

    /// The latest of ours that a server lists, of one era.
    #[must_use]
    pub fn choose<'v>(era: Era, listed: impl IntoIterator<Item = &'v str>) -> Option<Self> {
        listed.into_iter().filter_map(Self::find).filter(|version| version.era() == era).max()
    }

    /// Whether a body may be an array of messages.
    #[must_use]
    pub const fn has_batches(self) -> bool {
        matches!(self, Self::V2025_03_26)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initialize_is_answered_with_the_version_asked_for_or_our_latest_legacy_one() {
        for (requested, answered) in [
            ("2025-03-26", Version::V2025_03_26),
            ("2025-06-18", Version::V2025_06_18),
            ("2025-11-25", Version::V2025_11_25),
            ("2024-11-05", Version::V2025_11_25),
            ("2026-07-28", Version::V2025_11_25),
            ("", Version::V2025_11_25),
        ] {
            assert_eq!(Version::negotiate(requested), answered, "{requested}");
        }
    }

    #[test]
    fn the_latest_common_version_of_an_era_is_chosen() {
        let listed = ["2027-01-01", "2025-06-18", "2026-07-28", "2025-11-25"];
        assert_eq!(Version::choose(Era::Modern, listed), Some(Version::V2026_07_28));
        assert_eq!(Version::choose(Era::Legacy, listed), Some(Version::V2025_11_25));
        assert_eq!(Version::choose(Era::Modern, ["2027-01-01"]), None);
    }
}
