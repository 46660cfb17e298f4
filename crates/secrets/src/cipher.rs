//! AES-256-GCM with a random nonce over parts that can't slide into each other, and the keys derived for it.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Secret;
use zeroize::Zeroize as _;

/// Names the algorithm in associated data; a second algorithm gets a name of its own.
pub(crate) const ALGORITHM: &[u8] = b"aes-256-gcm";

/// How many bytes longer than the plain text nonce, ciphertext and tag are.
pub(crate) const OVERHEAD: usize = NONCE_LEN + 16;

/// A key of AES-256-GCM.
pub(crate) struct Cipher(RandomizedNonceKey);

/// The text was not made with this key and these associated parts, or was changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused;

impl Cipher {
    #[expect(clippy::expect_used, reason = "a key of 32 bytes is always taken")]
    pub(crate) fn new(key: &Secret<[u8; 32]>) -> Self {
        Self(RandomizedNonceKey::new(&AES_256_GCM, key.expose()).expect("AES-256 takes 32 bytes"))
    }

    /// Derives a key from a master key (RFC 5869); another `info` gives an unrelated key.
    #[expect(clippy::expect_used, reason = "HKDF-SHA256 gives up to 8,160 bytes")]
    pub(crate) fn derive(master: &Secret<[u8; 32]>, info: &[&[u8]]) -> Self {
        let info = joined(info);
        let info = [info.as_slice()];
        let pseudorandom = Salt::new(HKDF_SHA256, b"sluice master key 1").extract(master.expose());
        let mut bytes = [0_u8; 32];
        pseudorandom.expand(&info, HKDF_SHA256).and_then(|okm| okm.fill(&mut bytes)).expect("32 bytes are few enough");
        let key = Secret::new(bytes);
        bytes.zeroize();
        Self::new(&key)
    }

    /// Nonce, ciphertext and tag.
    pub(crate) fn seal(&self, parts: &[&[u8]], plain: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(OVERHEAD + plain.len());
        self.seal_onto(&mut sealed, parts, plain);
        sealed
    }

    /// Appends nonce, ciphertext and tag.
    #[expect(clippy::expect_used, reason = "without a random source nothing may be sealed")]
    pub(crate) fn seal_onto(&self, out: &mut Vec<u8>, parts: &[&[u8]], plain: &[u8]) {
        let at = out.len();
        out.extend_from_slice(&[0; NONCE_LEN]);
        out.extend_from_slice(plain);
        let (place, text) = out[at..].split_at_mut(NONCE_LEN);
        let (nonce, tag) = self.0.seal_in_place_separate_tag(Aad::from(joined(parts)), text).expect("sealing");
        place.copy_from_slice(nonce.as_ref());
        out.extend_from_slice(tag.as_ref());
    }

    pub(crate) fn open(&self, parts: &[&[u8]], sealed: &[u8]) -> Result<Vec<u8>, Refused> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or(Refused)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Refused)?;
        let mut text = text.to_vec();
        let length = self.0.open_in_place(nonce, Aad::from(joined(parts)), &mut text).map_err(|_| Refused)?.len();
        text.truncate(length);
        Ok(text)
    }
}

/// `v1.<key id>.<base64url>`.
pub(crate) fn to_text(key_id: &str, sealed: &[u8]) -> String {
    format!("v1.{key_id}.{}", URL_SAFE_NO_PAD.encode(sealed))
}

/// The key's id and what it sealed.
pub(crate) fn from_text(text: &str) -> Option<(&str, Vec<u8>)> {
    let (key_id, sealed) = text.strip_prefix("v1.")?.split_once('.')?;
    Some((key_id, URL_SAFE_NO_PAD.decode(sealed).ok()?))
}

/// The parts, counted and each with its length before it: no two lists of parts give the same bytes.
fn joined(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + parts.iter().map(|part| part.len() + 8).sum::<usize>());
    bytes.extend_from_slice(&(parts.len() as u64).to_be_bytes());
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn different_parts_never_join_to_the_same_bytes(a: Vec<Vec<u8>>, b: Vec<Vec<u8>>) {
            let bytes = |parts: &[Vec<u8>]| joined(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
            prop_assert_eq!(a == b, bytes(&a) == bytes(&b));
        }
    }

    #[test]
    fn a_part_can_not_slide_into_its_neighbour() {
        assert_ne!(joined(&[b"ab", b"c"]), joined(&[b"a", b"bc"]));
        assert_ne!(joined(&[b"a"]), joined(&[b"a", b""]));
    }

    #[test]
    fn the_same_text_is_never_sealed_alike_twice() {
        let cipher = Cipher::new(&Secret::new([7; 32]));
        assert_ne!(cipher.seal(&[], b"text"), cipher.seal(&[], b"text"));
    }
}
