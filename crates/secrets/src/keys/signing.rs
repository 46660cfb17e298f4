//! The Ed25519 key the control plane signs with, and the public keys a node has pinned.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Secret;
use domain::projection::{Sign, Verify};

use super::master::decoded;
use super::{KeyError, key_id};
use crate::random::{random, sha256};

/// Signs what nodes believe. Held by the control plane only.
pub struct SigningKey {
    id: String,
    seed: Secret<[u8; 32]>,
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// Makes a new one.
    #[must_use]
    pub fn generate() -> Self {
        Self::from_seed(Secret::new(random()))
    }

    /// Reads base64 of the 32 bytes of an Ed25519 seed (RFC 8032, 5.1.5).
    ///
    /// # Errors
    /// [`KeyError::Malformed`] when it is something else.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let malformed = KeyError::Malformed { what: "signing key", form: "base64 of 32 bytes" };
        decoded(text.trim()).map(Self::from_seed).ok_or(malformed)
    }

    /// The text [`SigningKey::from_text`] reads.
    #[must_use]
    pub fn to_text(&self) -> Secret<String> {
        Secret::new(STANDARD.encode(self.seed.expose()) + "\n")
    }

    /// The public key, to be pinned by nodes and verifiers.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        let mut key = [0_u8; 32];
        key.copy_from_slice(self.pair.public_key().as_ref());
        key
    }

    /// The public key as [`VerifyingKeys::from_text`] reads it: `<key id>:<base64>`.
    #[must_use]
    pub fn verifying_text(&self) -> String {
        format!("{}:{}", self.id, STANDARD.encode(self.public_key()))
    }

    #[expect(clippy::expect_used, reason = "any 32 bytes are a seed")]
    fn from_seed(seed: Secret<[u8; 32]>) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose()).expect("a seed of 32 bytes");
        Self { id: key_id(pair.public_key().as_ref()), seed, pair }
    }
}

impl Sign for SigningKey {
    fn key_id(&self) -> &str {
        &self.id
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut signature = [0_u8; 64];
        signature.copy_from_slice(self.pair.sign(message).as_ref());
        signature
    }

    fn sha256(&self, bytes: &[u8]) -> [u8; 32] {
        sha256(bytes)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.id)
    }
}

/// The public keys a node believes: one, or two while one follows the other.
#[derive(Debug, Clone)]
pub struct VerifyingKeys(Vec<(String, ParsedPublicKey)>);

impl VerifyingKeys {
    /// Reads one or two lines of `<key id>:<base64 of 32 bytes>`; commas may stand for line ends.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] when it is something else, or an id does not belong to its key.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let malformed = || KeyError::Malformed {
            what: "verifying keys",
            form: "one or two lines of `<key id>:<base64 of 32 bytes>`",
        };
        let lines = text.split(['\n', ',']).map(str::trim).filter(|line| !line.is_empty());
        let keys = lines.map(parsed).collect::<Option<Vec<_>>>().ok_or_else(malformed)?;
        if (1..=2).contains(&keys.len()) { Ok(Self(keys)) } else { Err(malformed()) }
    }
}

fn parsed(line: &str) -> Option<(String, ParsedPublicKey)> {
    let (id, key) = line.split_once(':')?;
    let key = STANDARD.decode(key).ok().filter(|key| key.len() == 32 && key_id(key) == id)?;
    Some((id.to_owned(), ParsedPublicKey::new(&ED25519, key).ok()?))
}

impl Verify for VerifyingKeys {
    fn verify(&self, key_id: &str, message: &[u8], signature: &[u8]) -> bool {
        self.0.iter().any(|(id, key)| id == key_id && key.verify_sig(message, signature).is_ok())
    }

    fn sha256(&self, bytes: &[u8]) -> [u8; 32] {
        sha256(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pinned(keys: &[&SigningKey]) -> VerifyingKeys {
        let text = keys.iter().map(|key| key.verifying_text()).collect::<Vec<_>>().join("\n");
        VerifyingKeys::from_text(&text).unwrap()
    }

    /// RFC 8032, 7.1, test 2.
    #[test]
    fn signatures_are_the_standards() {
        let seed = hex::decode("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb").unwrap();
        let key = SigningKey::from_text(&STANDARD.encode(seed)).unwrap();
        assert_eq!(hex::encode(key.public_key()), "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        assert!(hex::encode(key.sign(&[0x72])).starts_with("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8f"));
    }

    proptest! {
        #[test]
        fn a_pinned_key_believes_its_own_signature_of_its_own_message(message: Vec<u8>, other: Vec<u8>, place in 0_usize..64) {
            let key = SigningKey::generate();
            let keys = pinned(&[&key]);
            let mut signature = key.sign(&message);
            prop_assert!(keys.verify(key.key_id(), &message, &signature));
            prop_assert_eq!(keys.verify(key.key_id(), &other, &signature), other == message);
            signature[place] ^= 1;
            prop_assert!(!keys.verify(key.key_id(), &message, &signature));
        }
    }

    #[test]
    fn two_keys_may_be_pinned_and_a_third_signer_is_not_believed() {
        let (one, two, third) = (SigningKey::generate(), SigningKey::generate(), SigningKey::generate());
        let keys = pinned(&[&one, &two]);
        for key in [&one, &two] {
            assert!(keys.verify(key.key_id(), b"m", &key.sign(b"m")));
        }
        assert!(!keys.verify(third.key_id(), b"m", &third.sign(b"m")));
        assert!(!keys.verify(two.key_id(), b"m", &one.sign(b"m")), "a signature counts for the key it names");
        let three = [&one, &two, &third].map(SigningKey::verifying_text).join("\n");
        assert!(VerifyingKeys::from_text(&three).is_err());
    }

    #[test]
    fn an_id_that_is_not_its_keys_is_refused() {
        let (one, two) = (SigningKey::generate(), SigningKey::generate());
        let mixed = format!("{}:{}", one.key_id(), STANDARD.encode(two.public_key()));
        assert!(VerifyingKeys::from_text(&mixed).is_err());
        assert!(VerifyingKeys::from_text("").is_err());
    }

    #[test]
    fn a_signing_key_reads_back_and_shows_its_id_only() {
        let key = SigningKey::generate();
        let read = SigningKey::from_text(key.to_text().expose()).unwrap();
        assert_eq!(read.public_key(), key.public_key());
        assert_eq!(format!("{key:?}"), format!("SigningKey({})", key.key_id()));
    }
}
