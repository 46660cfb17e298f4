//! Signed notes and checkpoints: what a log's owner says of its log at one moment, as plain text with a signature
//! (C2SP signed-note and tlog-checkpoint; Ed25519, RFC 8032).

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::merkle::Hash;

/// The most bytes a signed note has.
pub const NOTE_MAX: usize = 16 * 1024;
/// What says in a key and its id that it is an Ed25519 key for notes.
const ED25519_NOTE: u8 = 1;
/// What stands between a note's text and its signatures.
const SEPARATOR: &str = "\n\n";

/// A log at one moment: the root of its first `size` leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name, which no other log has.
    pub origin: String,
    /// How many leaves.
    pub size: u64,
    /// The Merkle root over them.
    pub root: Hash,
}

/// Why a text is not a signed checkpoint by a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It does not have the form.
    #[error("this is not a signed checkpoint")]
    Malformed,
    /// It has no signature by this key.
    #[error("the checkpoint is not signed by this key")]
    OtherKey,
    /// The signature is not of this text.
    #[error("the signature does not fit the checkpoint")]
    BadSignature,
}

/// Why a text is not a verifier key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a verifier key reads `<name>+<8 hex digits>+<base64>`")]
pub struct NotAVerifierKey;

/// A public key by which checkpoints are verified, in the form of a note's `vkey`: `<name>+<key id>+<base64>`.
#[derive(Debug, Clone)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    public: [u8; 32],
    key: ParsedPublicKey,
}

impl VerifierKey {
    /// The key of this name. A name has no spaces, no `+`, and is not empty.
    ///
    /// # Errors
    /// [`NotAVerifierKey`] when the name or the key is none.
    pub fn new(name: &str, public: [u8; 32]) -> Result<Self, NotAVerifierKey> {
        if name.is_empty() || name.contains(|letter: char| letter == '+' || letter.is_whitespace()) {
            return Err(NotAVerifierKey);
        }
        let key = ParsedPublicKey::new(&ED25519, public).map_err(|_| NotAVerifierKey)?;
        Ok(Self { id: key_id(name, &public), name: name.to_owned(), public, key })
    }

    /// The signer's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads a checkpoint, and makes sure that this key signed it.
    ///
    /// # Errors
    /// [`NoteError`] when it is malformed or not signed by this key.
    pub fn open(&self, note: &str) -> Result<Checkpoint, NoteError> {
        if note.len() > NOTE_MAX {
            return Err(NoteError::Malformed);
        }
        let (text, signatures) = note.rsplit_once(SEPARATOR).ok_or(NoteError::Malformed)?;
        let text = note.get(..=text.len()).ok_or(NoteError::Malformed)?;
        let checkpoint = Checkpoint::from_text(text).ok_or(NoteError::Malformed)?;
        let mut found = NoteError::OtherKey;
        for line in signatures.strip_suffix('\n').ok_or(NoteError::Malformed)?.split('\n') {
            let (name, signature) = signature_of(line).ok_or(NoteError::Malformed)?;
            let Some(signature) = signature.strip_prefix(&self.id).filter(|_| name == self.name) else { continue };
            match self.key.verify_sig(text.as_bytes(), signature) {
                Ok(()) => return Ok(checkpoint),
                Err(_) => found = NoteError::BadSignature,
            }
        }
        Err(found)
    }
}

/// The keys of a log, one after the other: a checkpoint is to be signed by one of them.
#[derive(Debug, Clone)]
pub struct VerifierKeys(Vec<VerifierKey>);

impl From<VerifierKey> for VerifierKeys {
    fn from(key: VerifierKey) -> Self {
        Self(vec![key])
    }
}

impl FromIterator<VerifierKey> for VerifierKeys {
    fn from_iter<T: IntoIterator<Item = VerifierKey>>(keys: T) -> Self {
        Self(keys.into_iter().collect())
    }
}

impl VerifierKeys {
    /// Reads a checkpoint, and makes sure that one of the keys signed it.
    ///
    /// # Errors
    /// [`NoteError`] when it is malformed or signed by none of them.
    pub fn open(&self, note: &str) -> Result<Checkpoint, NoteError> {
        let mut found = NoteError::OtherKey;
        for key in &self.0 {
            match key.open(note) {
                Err(NoteError::OtherKey) => {}
                Err(error) => found = error,
                opened => return opened,
            }
        }
        Err(found)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[ED25519_NOTE], self.public.as_slice()].concat();
        write!(f, "{}+{:08x}+{}", self.name, u32::from_be_bytes(self.id), STANDARD.encode(key))
    }
}

impl FromStr for VerifierKey {
    type Err = NotAVerifierKey;

    fn from_str(text: &str) -> Result<Self, NotAVerifierKey> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NotAVerifierKey);
        };
        let key = STANDARD.decode(key).map_err(|_| NotAVerifierKey)?;
        let public = key.strip_prefix(&[ED25519_NOTE]).and_then(|key| key.try_into().ok()).ok_or(NotAVerifierKey)?;
        let read = Self::new(name, public)?;
        if id.len() == 8 && u32::from_str_radix(id, 16) == Ok(u32::from_be_bytes(read.id)) {
            Ok(read)
        } else {
            Err(NotAVerifierKey)
        }
    }
}

impl Checkpoint {
    /// What a note says, whoever signed it; `None` when it is none.
    #[must_use]
    pub fn unverified(note: &str) -> Option<Self> {
        let (text, _) = note.rsplit_once(SEPARATOR)?;
        Self::from_text(note.get(..=text.len())?)
    }

    /// The text that is signed: origin, size and root, a line each.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// The signed note. `sign` makes the Ed25519 signature of the bytes with the key that `key` verifies.
    #[must_use]
    pub fn signed(&self, key: &VerifierKey, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> String {
        let text = self.text();
        let signature = [key.id.as_slice(), &sign(text.as_bytes())].concat();
        format!("{text}\n\u{2014} {} {}\n", key.name, STANDARD.encode(signature))
    }

    /// Reads [`Self::text`]; lines that follow (extensions) are part of what is signed, and say nothing here.
    fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let is_number = size == "0" || (!size.starts_with('0') && size.bytes().all(|digit| digit.is_ascii_digit()));
        let root = STANDARD.decode(root).ok()?.try_into().ok()?;
        let sound = !origin.is_empty() && is_number && lines.all(|line| !line.is_empty());
        sound.then_some(())?;
        Some(Self { origin: origin.to_owned(), size: size.parse().ok()?, root })
    }
}

fn signature_of(line: &str) -> Option<(&str, Vec<u8>)> {
    let (name, signature) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    Some((name, STANDARD.decode(signature).ok().filter(|bytes| bytes.len() > 4)?))
}

/// The first four bytes of SHA-256 over name, line end, algorithm and key (C2SP signed-note).
fn key_id(name: &str, public: &[u8; 32]) -> [u8; 4] {
    let hash = digest(&SHA256, &[name.as_bytes(), b"\n", &[ED25519_NOTE], public].concat());
    let mut id = [0; 4];
    id.copy_from_slice(&hash.as_ref()[..4]);
    id
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use proptest::prelude::*;

    use super::*;

    /// The key and note of the signed-note specification's own example (Go's `golang.org/x/mod/sumdb/note` tests).
    const PETER_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

    fn pair(seed: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
    }

    fn key(seed: u8, name: &str) -> VerifierKey {
        VerifierKey::new(name, pair(seed).public_key().as_ref().try_into().unwrap()).unwrap()
    }

    fn signed(seed: u8, name: &str, checkpoint: &Checkpoint) -> String {
        checkpoint.signed(&key(seed, name), |text| pair(seed).sign(text).as_ref().try_into().unwrap())
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: "audit.sluice.example/t/1/1".to_owned(), size: 7, root: [9; 32] }
    }

    #[test]
    fn a_key_reads_as_it_is_written_elsewhere() {
        let key: VerifierKey = PETER_KEY.parse().unwrap();
        assert_eq!((key.to_string().as_str(), key.name()), (PETER_KEY, "PeterNeumann"));
        for wrong in
            ["", "a+b", "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "a b+c74f20a3+AA=="]
        {
            assert!(wrong.parse::<VerifierKey>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_checkpoint_opens_with_its_key_and_with_no_other() {
        let note = signed(1, "sluice.example", &checkpoint());
        assert_eq!(key(1, "sluice.example").open(&note), Ok(checkpoint()));
        assert_eq!(key(2, "sluice.example").open(&note), Err(NoteError::OtherKey));
        assert_eq!(key(1, "other.example").open(&note), Err(NoteError::OtherKey));
    }

    #[test]
    fn whoever_changes_a_letter_is_found_out() {
        let note = signed(1, "sluice.example", &checkpoint());
        let key = key(1, "sluice.example");
        for at in 0..note.len() {
            let mut bytes = note.clone().into_bytes();
            bytes[at] ^= 1;
            if let Ok(changed) = String::from_utf8(bytes) {
                assert!(key.open(&changed).is_err(), "{at}: {changed}");
            }
        }
    }

    #[test]
    fn signatures_of_others_may_stand_beside_ours() {
        let (ours, theirs) = (signed(1, "sluice.example", &checkpoint()), signed(2, "witness.example", &checkpoint()));
        let line = theirs.lines().last().unwrap();
        let both = format!("{ours}{line}\n");
        assert_eq!(key(1, "sluice.example").open(&both), Ok(checkpoint()));
        assert_eq!(key(2, "witness.example").open(&both), Ok(checkpoint()));
    }

    #[test]
    fn extension_lines_are_signed_and_a_size_has_one_way_to_be_written() {
        let sign = |text: &str| {
            let signature = [key(1, "s").id.as_slice(), pair(1).sign(text.as_bytes()).as_ref()].concat();
            format!("{text}\n\u{2014} s {}\n", STANDARD.encode(signature))
        };
        let root = STANDARD.encode([9; 32]);
        assert_eq!(key(1, "s").open(&sign(&format!("o\n7\n{root}\nmore\n"))).map(|read| read.size), Ok(7));
        for text in
            [format!("o\n07\n{root}\n"), format!("o\n+7\n{root}\n"), format!("\n7\n{root}\n"), "o\n7\n\n".to_owned()]
        {
            assert_eq!(key(1, "s").open(&sign(&text)), Err(NoteError::Malformed), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text: String) {
            let _ = key(1, "s").open(&text);
            let _ = text.parse::<VerifierKey>();
        }
    }
}
