//! Random values, digests, and comparison that takes the same time whatever differs.

use std::cell::RefCell;

use aws_lc_rs::{constant_time, digest, hmac, rand};
use domain::token::TOKEN_ENTROPY;
use domain::{Secret, TokenDigest, TokenKind, TokenText};
use zeroize::Zeroize;

/// Bytes nobody can guess, from the operating system's random source.
#[must_use]
#[expect(clippy::expect_used, reason = "without a random source nothing may go on")]
pub fn random<const N: usize>() -> [u8; N] {
    const { assert!(N <= AHEAD) };
    DRAWN.with_borrow_mut(|drawn| {
        let from = if drawn.used + N <= AHEAD { drawn.used } else { 0 };
        if from == 0 {
            rand::fill(&mut drawn.bytes).expect("the operating system's random source");
        }
        drawn.used = from + N;
        let mut bytes = [0_u8; N];
        bytes.copy_from_slice(&drawn.bytes[from..from + N]);
        // What was given out is a secret of whoever asked, and stays nowhere else.
        drawn.bytes[from..from + N].zeroize();
        bytes
    })
}

/// How many bytes are drawn at once: a draw costs as much for 16 bytes as for 500, and every record needs some.
const AHEAD: usize = 512;

/// Bytes drawn ahead by a thread.
struct Drawn {
    bytes: [u8; AHEAD],
    used: usize,
}

thread_local! {
    static DRAWN: RefCell<Drawn> = const { RefCell::new(Drawn { bytes: [0; AHEAD], used: AHEAD }) };
}

/// A new key of a tenant's: for its credentials, or for the HMAC of arguments.
#[must_use]
pub fn new_data_key() -> Secret<[u8; 32]> {
    Secret::new(random())
}

/// A new token. It is shown once; what is stored is its [`token_digest`].
#[must_use]
pub fn new_token(kind: TokenKind) -> TokenText {
    loop {
        if let Some(token) = TokenText::from_entropy(kind, &random::<TOKEN_ENTROPY>()) {
            return token;
        }
    }
}

/// What a token is stored and looked up by: SHA-256 of the whole of it, prefix and check included.
#[must_use]
pub fn token_digest(token: &str) -> TokenDigest {
    TokenDigest(sha256(token.as_bytes()))
}

/// SHA-256 (FIPS 180-4).
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0_u8; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// HMAC-SHA256 (RFC 2104) of a message that comes in parts: a large one need not be copied. A key is 32 bytes where we make
/// it; others may choose another length.
#[must_use]
pub fn hmac_sha256<K: AsRef<[u8]> + Zeroize>(key: &Secret<K>, message: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_ref()));
    for part in message {
        context.update(part);
    }
    let tag = context.sign();
    let mut out = [0_u8; 32];
    out.copy_from_slice(tag.as_ref());
    out
}

/// Whether two byte strings are equal; takes as long whether they differ early or late. Their lengths are not hidden.
#[must_use]
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_the_standards() {
        // FIPS 180-4's example, and RFC 4231's second case with its key stretched by zeros as the RFC 2104 does.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex::encode(sha256(b"abc")), abc);
        assert_eq!(token_digest("abc").to_string(), abc);
        let mut key = [0_u8; 32];
        key[..4].copy_from_slice(b"Jefe");
        assert_eq!(
            hex::encode(hmac_sha256(&Secret::new(key), &[b"what do ya want ", b"for nothing?"])),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn a_new_token_reads_back_and_is_never_the_same() {
        let (one, two) = (new_token(TokenKind::Gateway), new_token(TokenKind::Gateway));
        assert!(TokenText::parse(TokenKind::Gateway, one.expose()).is_ok());
        assert_ne!(one.expose(), two.expose());
    }

    #[test]
    fn equality_looks_at_every_byte_and_the_length() {
        assert!(equal(b"same", b"same"));
        assert!(!equal(b"same", b"samf") && !equal(b"same", b"sam") && !equal(b"tame", b"same"));
    }
}
