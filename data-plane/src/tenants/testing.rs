//! What tests of this plane make by hand: keys, principals, signed things.

use chrono::DateTime;
use domain::{Principal, Role, TenantId, TokenId, TokenScope, UserId};
use secrets::{MasterKey, SigningKey};
use uuid::Uuid;

/// A deployment's keys.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) deployment: String,
    pub(crate) master: MasterKey,
    pub(crate) signing: SigningKey,
}

impl Keys {
    /// Fresh ones.
    pub(crate) fn new() -> Self {
        Self {
            deployment: "dep_0123456789abcdef".to_owned(),
            master: MasterKey::generate(),
            signing: SigningKey::generate(),
        }
    }
}

/// A member of a tenant whose token does not expire soon.
pub(crate) fn principal(tenant: u128, token: u128) -> Principal {
    Principal {
        tenant: TenantId::from_uuid(Uuid::from_u128(tenant)),
        user: UserId::from_uuid(Uuid::from_u128(1)),
        token: TokenId::from_uuid(Uuid::from_u128(token)),
        role: Role::Member,
        groups: std::collections::BTreeSet::new(),
        scope: TokenScope::default(),
        issued_at: DateTime::UNIX_EPOCH,
        expires_at: DateTime::from_timestamp(32_503_680_000, 0).unwrap(),
    }
}
