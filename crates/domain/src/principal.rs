//! Who a data-plane call acts as.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{GroupName, Role, ServerId, TenantId, TokenId, ToolId, UserId};

/// Who a data-plane call acts as: a user through a gateway token. The body of a token record in Redis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The tenant the token was issued in; it is worth nothing elsewhere.
    pub tenant: TenantId,
    /// The person.
    pub user: UserId,
    /// The token they hold.
    pub token: TokenId,
    /// The person's role in the tenant when the record was written.
    pub role: Role,
    /// The groups they are in.
    #[serde(default)]
    pub groups: BTreeSet<GroupName>,
    /// What the token may reach; checked before policy, and narrows lists.
    pub scope: TokenScope,
    /// When the token was issued.
    pub issued_at: DateTime<Utc>,
    /// From when on the token is worth nothing.
    pub expires_at: DateTime<Utc>,
}

/// What a token may reach at most: both must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenScope {
    /// The servers.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub servers: Reach<ServerId>,
    /// The tools.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub tools: Reach<ToolId>,
}

impl TokenScope {
    /// Whether the scope covers this tool of this server.
    #[must_use]
    pub fn covers(&self, server: ServerId, tool: ToolId) -> bool {
        self.servers.covers(&server) && self.tools.covers(&tool)
    }
}

/// All things of a kind, or only those named. In JSON: `"all"` or a list of ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Reach<T: Ord> {
    /// All, also those that come to be later.
    #[default]
    All,
    /// Only these; an empty set reaches nothing.
    Only(BTreeSet<T>),
}

impl<T: Ord> Reach<T> {
    /// Whether the thing is among them.
    #[must_use]
    pub fn covers(&self, thing: &T) -> bool {
        match self {
            Self::All => true,
            Self::Only(things) => things.contains(thing),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum ReachForm<T: Ord> {
    All(AllWord),
    Only(BTreeSet<T>),
}

#[derive(Serialize, Deserialize)]
enum AllWord {
    #[serde(rename = "all")]
    All,
}

impl<T: Ord + Serialize> Serialize for Reach<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_str("all"),
            Self::Only(things) => things.serialize(serializer),
        }
    }
}

impl<'de, T: Ord + Deserialize<'de>> Deserialize<'de> for Reach<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match ReachForm::deserialize(deserializer)? {
            ReachForm::All(AllWord::All) => Self::All,
            ReachForm::Only(things) => Self::Only(things),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_all_or_a_list_and_an_empty_list_reaches_nothing() {
        let all: TokenScope = serde_json::from_str(r#"{"servers":"all"}"#).unwrap();
        assert_eq!(all, TokenScope::default());
        let none: TokenScope = serde_json::from_str(r#"{"servers":[]}"#).unwrap();
        let (server, tool) =
            (ServerId::from_uuid(uuid::Uuid::from_u128(1)), ToolId::from_uuid(uuid::Uuid::from_u128(2)));
        assert!(all.covers(server, tool) && !none.covers(server, tool));
        assert_eq!(serde_json::to_string(&none).unwrap(), r#"{"servers":[],"tools":"all"}"#);
        assert!(serde_json::from_str::<TokenScope>(r#"{"servers":"some"}"#).is_err());
    }
}
