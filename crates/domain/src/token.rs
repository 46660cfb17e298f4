//! The written form of tokens: a prefix, 32 characters of base62, and 6 of their CRC-32, so that a typing error or a
//! foreign secret is told apart from a token without asking anybody.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Secret;

/// What a token is good for; the other plane refuses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// At the data plane: `slc_…`.
    Gateway,
    /// At the control plane's API: `sla_…`.
    Api,
}

impl TokenKind {
    /// The letters the token begins with.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Gateway => "slc_",
            Self::Api => "sla_",
        }
    }
}

/// A well-formed token, as its holder sends it. Shows itself to nobody.
#[derive(Clone)]
pub struct TokenText(Secret<String>);

/// Why a text is not a token of the wanted kind. Says nothing about the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a well-formed token")]
pub struct TokenError;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const RANDOM_LENGTH: usize = 32;
const CHECK_LENGTH: usize = 6;
/// Random bytes a new token is made from: 32 base62 characters hold 190 bits; 32 bytes are mapped one to a character.
pub const TOKEN_ENTROPY: usize = 48;

impl TokenText {
    /// Makes a token from random bytes. Bytes of 248 and above are skipped, so that every character is equally likely.
    ///
    /// `None` when too many were skipped (once in 10^20 tries): take fresh bytes.
    #[must_use]
    pub fn from_entropy(kind: TokenKind, entropy: &[u8; TOKEN_ENTROPY]) -> Option<Self> {
        let mut text = String::with_capacity(kind.prefix().len() + RANDOM_LENGTH + CHECK_LENGTH);
        text.push_str(kind.prefix());
        let letters = entropy.iter().filter(|byte| **byte < 248).take(RANDOM_LENGTH);
        text.extend(letters.map(|byte| char::from(BASE62[usize::from(*byte) % 62])));
        if text.len() != kind.prefix().len() + RANDOM_LENGTH {
            return None;
        }
        let check = check(text.as_bytes());
        text.push_str(std::str::from_utf8(&check).unwrap_or_default());
        Some(Self(Secret::new(text)))
    }

    /// Reads a token of one kind.
    ///
    /// # Errors
    /// [`TokenError`] when the prefix, the length, a character or the check is wrong.
    pub fn parse(kind: TokenKind, text: &str) -> Result<Self, TokenError> {
        let random = text.strip_prefix(kind.prefix()).ok_or(TokenError)?;
        if random.len() != RANDOM_LENGTH + CHECK_LENGTH || !random.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(TokenError);
        }
        let (body, tail) = text.as_bytes().split_at(text.len() - CHECK_LENGTH);
        if check(body) == tail { Ok(Self(Secret::new(text.to_owned()))) } else { Err(TokenError) }
    }

    /// The token itself, to hash it or to show it once.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText(…)")
    }
}

/// The CRC-32 of a text in six base62 digits.
fn check(text: &[u8]) -> [u8; CHECK_LENGTH] {
    let mut rest = crc32(text) as usize;
    let mut digits = [b'0'; CHECK_LENGTH];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[rest % 62];
        rest /= 62;
    }
    digits
}

/// CRC-32 as in ISO-HDLC (zip, PNG), bit by bit: a token has 36 characters.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

/// SHA-256 of a whole token: what is stored and looked up instead of it. Made by `secrets::token_digest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenDigest(pub [u8; 32]);

impl fmt::Display for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for TokenDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let error = || serde::de::Error::custom("not 64 hexadecimal digits");
        if text.len() != 64 || !text.is_ascii() {
            return Err(error());
        }
        let mut digest = [0_u8; 32];
        for (index, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[index * 2..index * 2 + 2], 16).map_err(|_| error())?;
        }
        Ok(Self(digest))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_check_is_the_usual_crc_32() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    proptest! {
        #[test]
        fn a_token_reads_back_and_any_changed_letter_is_refused(
            head in proptest::array::uniform32(0_u8..248), place in 4_usize..42, letter in 0_usize..62,
        ) {
            let mut entropy = [0; TOKEN_ENTROPY];
            entropy[..32].copy_from_slice(&head);
            let token = TokenText::from_entropy(TokenKind::Gateway, &entropy).unwrap();
            prop_assert!(TokenText::parse(TokenKind::Gateway, token.expose()).is_ok());
            prop_assert!(TokenText::parse(TokenKind::Api, token.expose()).is_err());
            let mut changed = token.expose().as_bytes().to_vec();
            changed[place] = BASE62[letter];
            let changed = String::from_utf8(changed).unwrap();
            prop_assert_eq!(TokenText::parse(TokenKind::Gateway, &changed).is_ok(), changed == token.expose());
        }

        #[test]
        fn no_text_makes_the_parser_panic(text: String) {
            let _ = TokenText::parse(TokenKind::Gateway, &text);
        }
    }

    #[test]
    fn a_token_shows_itself_to_nobody() {
        let token = TokenText::from_entropy(TokenKind::Gateway, &[7; TOKEN_ENTROPY]).unwrap();
        assert_eq!(format!("{token:?}"), "TokenText(…)");
    }
}
