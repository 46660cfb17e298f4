//! Ids: a UUIDv7 with the kind of thing it names, written `srv_` and 26 characters of base32 (the `TypeID` form).

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::Clock;

/// What an id names; implemented by the marker types that `kinds!` makes.
pub trait Kind: 'static {
    /// The letters before the underscore in the written id.
    const PREFIX: &'static str;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $prefix:literal => $alias:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $kind {}
        impl Kind for $kind {
            const PREFIX: &'static str = $prefix;
        }
        $(#[$doc])*
        pub type $alias = Id<$kind>;
    )*};
}

kinds! {
    /// A customer organisation, the isolation boundary.
    TenantKind = "ten" => TenantId;
    /// A person.
    UserKind = "usr" => UserId;
    /// A person's place in a tenant.
    MembershipKind = "mem" => MembershipId;
    /// A person who is asked into a tenant.
    InvitationKind = "inv" => InvitationId;
    /// An MCP server the gateway forwards to.
    ServerKind = "srv" => ServerId;
    /// A reviewed edition of an upstream server.
    ServerVersionKind = "sver" => ServerVersionId;
    /// A tool of an upstream server; stays the same when the tool's definition changes.
    ToolKind = "tool" => ToolId;
    /// A prompt, a resource or a template of an upstream server; stays the same when its definition changes.
    OfferedItem = "item" => ItemId;
    /// What Sluice presents to an upstream server.
    CredentialKind = "cred" => CredentialId;
    /// A policy, over all its versions.
    PolicyKind = "pol" => PolicyId;
    /// One version of a policy's text.
    PolicyVersionKind = "polv" => PolicyVersionId;
    /// A gateway token or an API token.
    TokenKind = "tok" => TokenId;
    /// A browser that is signed in to the console.
    SessionKind = "ses" => SessionId;
    /// One JSON-RPC request at one node.
    CallKind = "call" => CallId;
    /// Where a tenant's records are sent: a SIEM, an archive.
    DestinationKind = "dst" => DestinationId;
    /// One audit record.
    RecordKind = "rec" => RecordId;
    /// A data-plane node, over restarts.
    NodeKind = "node" => NodeId;
    /// One run of a process.
    BootKind = "boot" => BootId;
}

/// An id of one kind of thing. Ordered by creation time; `Copy`; 16 bytes.
pub struct Id<K>(Uuid, PhantomData<fn() -> K>);

/// Why a text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form `{prefix}_` and 26 characters of base32")]
pub struct IdError {
    prefix: &'static str,
}

/// Crockford's base32 alphabet, lower case.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Characters of base32 that hold 128 bits.
const LENGTH: usize = 26;

impl<K> Id<K> {
    /// Makes a new id, a UUIDv7 (RFC 9562, 5.7) of the clock's time and entropy.
    #[must_use]
    pub fn new(clock: &Clock) -> Self {
        let millis = u64::try_from(clock.now().timestamp_millis()).unwrap_or(0);
        Self::from_uuid(uuid::Builder::from_unix_timestamp_millis(millis, &clock.entropy()).into_uuid())
    }

    /// Takes a stored UUID as an id of this kind.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid, PhantomData)
    }

    /// The UUID inside.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(K::PREFIX)?;
        f.write_str("_")?;
        f.write_str(std::str::from_utf8(&digits(self.0)).unwrap_or_default())
    }
}

impl<K: Kind> Id<K> {
    /// Appends the text that `Display` writes: for records, which hold many ids, without the detour by a formatter.
    pub fn write_into(self, out: &mut Vec<u8>) {
        out.extend_from_slice(K::PREFIX.as_bytes());
        out.push(b'_');
        out.extend_from_slice(&digits(self.0));
    }
}

/// The 128 bits, five to a digit, the highest first.
fn digits(uuid: Uuid) -> [u8; LENGTH] {
    let mut text = [0_u8; LENGTH];
    let (high, low) = uuid.as_u64_pair();
    // Shifts of 64 bits are cheaper than those of 128: the low 60 bits, the 60 above them, the highest eight.
    let parts = [low, high << 4 | low >> 60, high >> 56];
    for (part, end) in parts.into_iter().zip([LENGTH, LENGTH - 12, LENGTH - 24]) {
        let mut rest = part;
        for place in text[end.saturating_sub(12)..end].iter_mut().rev() {
            *place = ALPHABET[(rest & 31) as usize];
            rest >>= 5;
        }
    }
    text
}

impl<K: Kind> FromStr for Id<K> {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = || IdError { prefix: K::PREFIX };
        let digits = text.strip_prefix(K::PREFIX).and_then(|rest| rest.strip_prefix('_')).ok_or_else(error)?;
        // 26 characters hold 130 bits: the first may only use its low three.
        if digits.len() != LENGTH || digits.as_bytes()[0] > b'7' {
            return Err(error());
        }
        let mut value = 0_u128;
        for byte in digits.bytes() {
            let digit = ALPHABET.iter().position(|letter| *letter == byte).ok_or_else(error)?;
            value = value << 5 | digit as u128;
        }
        Ok(Self::from_uuid(Uuid::from_u128(value)))
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}
impl<K> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl<K: Kind> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de, K: Kind> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "sqlx")]
mod sql {
    use sqlx::encode::IsNull;
    use sqlx::error::BoxDynError;
    use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo, PgValueRef};
    use sqlx::{Decode, Encode, Postgres, Type};
    use uuid::Uuid;

    use super::Id;

    impl<K> Type<Postgres> for Id<K> {
        fn type_info() -> PgTypeInfo {
            <Uuid as Type<Postgres>>::type_info()
        }
    }
    impl<'q, K> Encode<'q, Postgres> for Id<K> {
        fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
            <Uuid as Encode<'q, Postgres>>::encode_by_ref(&self.0, buffer)
        }
    }
    impl<'r, K> Decode<'r, Postgres> for Id<K> {
        fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
            <Uuid as Decode<'r, Postgres>>::decode(value).map(Self::from_uuid)
        }
    }
}

#[cfg(feature = "openapi")]
mod openapi {
    use std::borrow::Cow;

    use utoipa::openapi::schema::{ObjectBuilder, Type};
    use utoipa::openapi::{RefOr, Schema};
    use utoipa::{PartialSchema, ToSchema};

    use super::{Id, Kind};

    impl<K: Kind> PartialSchema for Id<K> {
        fn schema() -> RefOr<Schema> {
            let pattern = format!("^{}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$", K::PREFIX);
            ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).into()
        }
    }

    impl<K: Kind> ToSchema for Id<K> {
        fn name() -> Cow<'static, str> {
            let mut letters = K::PREFIX.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            first.into_iter().chain(letters).chain("Id".chars()).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_written_id_reads_back_and_keeps_the_order(a: u128, b: u128) {
            let (a, b) = (ServerId::from_uuid(Uuid::from_u128(a)), ServerId::from_uuid(Uuid::from_u128(b)));
            prop_assert_eq!(a.to_string().parse::<ServerId>().unwrap(), a);
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let id = ServerId::from_uuid(Uuid::from_u128(7)).to_string();
        assert!(id.parse::<ToolId>().is_err());
        assert!("srv_80000000000000000000000000".parse::<ServerId>().is_err());
        assert!("srv_é0000000000000000000000000".parse::<ServerId>().is_err());
    }
}
