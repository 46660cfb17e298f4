//! Names people choose: slugs of tenants, keys and aliases of servers, labels, groups. Each is checked once, when made.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// Why a text is not a name of the wanted kind; the message says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(&'static str);

/// First path segments that are ours and so can't be a tenant's slug.
pub const RESERVED_SLUGS: &[&str] = &[
    "api",
    "assets",
    "healthz",
    "metrics",
    "oauth",
    "readyz",
    "relay",
    "sign-in",
    "sign-up",
    "static",
    "t",
    "w",
    "well-known",
    "www",
];

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident: $rule:expr, $message:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                let rule: fn(&str) -> bool = $rule;
                if rule(text) { Ok(Self(text.to_owned())) } else { Err(NameError($message)) }
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                use utoipa::openapi::schema::{ObjectBuilder, Type};
                ObjectBuilder::new().schema_type(Type::String).description(Some($message)).into()
            }
        }
        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {}
    )*};
}

names! {
    /// A tenant's name in URLs: `[a-z][a-z0-9-]{2,31}`, not one of [`RESERVED_SLUGS`].
    Slug: |text| (3..=32).contains(&text.len()) && is_word(text) && !RESERVED_SLUGS.contains(&text),
        "3 to 32 lower-case letters, digits and hyphens, beginning with a letter, and not a reserved word";
    /// A server's name in policies, chosen once, never changed, never used again: `[a-z][a-z0-9-]{0,31}`.
    ServerKey: |text| (1..=32).contains(&text.len()) && is_word(text),
        "1 to 32 lower-case letters, digits and hyphens, beginning with a letter";
    /// The prefix of a server's tools in the names clients see: `[a-z0-9-]{1,12}`.
    Alias: |text| (1..=12).contains(&text.len()) && text.bytes().all(is_word_byte),
        "1 to 12 lower-case letters, digits and hyphens";
    /// A word put on servers and tools for policies and search, for example `env:prod`.
    Label: |text| (1..=64).contains(&text.len()) && text.bytes().all(|byte| is_word_byte(byte) || byte == b':' || byte == b'.'),
        "1 to 64 lower-case letters, digits, hyphens, dots and colons";
    /// A group of people in a tenant.
    GroupName: |text| (1..=64).contains(&text.len()) && is_word(text),
        "1 to 64 lower-case letters, digits and hyphens, beginning with a letter";
}

fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase()) && text.bytes().all(is_word_byte)
}

const fn is_word_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_a_lower_case_word_that_is_not_ours() {
        assert!("acme".parse::<Slug>().is_ok());
        for wrong in ["ac", "Acme", "1acme", "-acme", "ac/me", "relay", "api", "metrics", &"a".repeat(33)] {
            assert!(wrong.parse::<Slug>().is_err(), "{wrong}");
        }
    }
}
