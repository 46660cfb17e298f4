//! Sealed values: what we hand out or leave in Redis and believe when it comes back, because nobody else can make it.

use std::fmt;
use std::sync::Arc;

use crate::cipher::{self, ALGORITHM, Cipher};

/// What a sealed value is for. A value of one purpose is refused at every other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Ids of legacy sessions.
    Session,
    /// `requestState` of an answer that asks for input.
    RequestState,
    /// Cursors of lists.
    Cursor,
    /// Ids of tasks.
    Task,
    /// Ids of requests sent to clients.
    Request,
    /// Frames of audit records on their way to the control plane.
    AuditFrame,
    /// Acknowledgements of audit frames.
    AuditAck,
    /// A node's line in the list of nodes.
    Member,
    /// The revision that is live at a node.
    Live,
    /// The labels a principal has seen.
    Seen,
}

impl Purpose {
    /// The purpose as it goes into keys and associated data; never to be changed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::RequestState => "request_state",
            Self::Cursor => "cursor",
            Self::Task => "task",
            Self::Request => "request",
            Self::AuditFrame => "audit_frame",
            Self::AuditAck => "audit_ack",
            Self::Member => "member",
            Self::Live => "live",
            Self::Seen => "seen",
        }
    }
}

/// Seals and opens values of one purpose in one deployment. Cloning is cheap.
#[derive(Clone)]
pub struct Sealer(Arc<Inner>);

struct Inner {
    purpose: Purpose,
    deployment: String,
    /// Present key first; each with its master key's id.
    keys: Vec<(String, Cipher)>,
}

/// Why a sealed value is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Not a sealed value at all.
    #[error("the value is malformed")]
    Malformed,
    /// Sealed with a master key that is not held (any more).
    #[error("the value was sealed with an unknown key")]
    UnknownKey,
    /// Changed, or sealed for somebody or something else.
    #[error("the value was changed or belongs elsewhere")]
    Refused,
}

/// The first byte of a sealed value: AES-256-GCM, then 4 bytes of key id, 12 of nonce, text and tag.
const FORM: u8 = 1;
const KEY_ID_BYTES: usize = 4;

impl Sealer {
    /// How many bytes longer than the plain text a sealed value is.
    pub const OVERHEAD: usize = 1 + KEY_ID_BYTES + cipher::OVERHEAD;

    pub(super) fn new(purpose: Purpose, deployment: &str, keys: Vec<(String, Cipher)>) -> Self {
        Self(Arc::new(Inner { purpose, deployment: deployment.to_owned(), keys }))
    }

    /// Seals bytes for whom and what `aad_parts` name: the same parts are needed to open them. 33 bytes longer than `plain`.
    #[must_use]
    pub fn seal(&self, aad_parts: &[&[u8]], plain: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(Self::OVERHEAD + plain.len());
        self.seal_onto(&mut sealed, aad_parts, plain);
        sealed
    }

    /// As [`Sealer::seal`], behind what is there already: for long values that would otherwise be copied.
    pub fn seal_onto(&self, out: &mut Vec<u8>, aad_parts: &[&[u8]], plain: &[u8]) {
        let (id, cipher) = &self.0.keys[0];
        out.push(FORM);
        out.extend_from_slice(&hex::decode(id).unwrap_or_default());
        cipher.seal_onto(out, &self.parts(id, aad_parts), plain);
    }

    /// Opens what [`Sealer::seal`] made with the same parts.
    ///
    /// # Errors
    /// [`OpenError`] when it was made otherwise or changed.
    pub fn open(&self, aad_parts: &[&[u8]], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let Some((&FORM, rest)) = sealed.split_first() else { return Err(OpenError::Malformed) };
        let (id, text) = rest.split_at_checked(KEY_ID_BYTES).ok_or(OpenError::Malformed)?;
        let id = hex::encode(id);
        let (_, cipher) = self.0.keys.iter().find(|(known, _)| *known == id).ok_or(OpenError::UnknownKey)?;
        cipher.open(&self.parts(&id, aad_parts), text).map_err(|_| OpenError::Refused)
    }

    /// As [`Sealer::seal`], written `v1.<key id>.<base64url>`: letters, digits, `-`, `_` and two dots.
    #[must_use]
    pub fn seal_text(&self, aad_parts: &[&[u8]], plain: &[u8]) -> String {
        let sealed = self.seal(aad_parts, plain);
        let (head, text) = sealed.split_at(1 + KEY_ID_BYTES);
        cipher::to_text(&hex::encode(&head[1..]), text)
    }

    /// Opens what [`Sealer::seal_text`] made with the same parts.
    ///
    /// # Errors
    /// [`OpenError`] when it was made otherwise or changed.
    pub fn open_text(&self, aad_parts: &[&[u8]], sealed: &str) -> Result<Vec<u8>, OpenError> {
        let (id, text) = cipher::from_text(sealed).ok_or(OpenError::Malformed)?;
        let (_, cipher) = self.0.keys.iter().find(|(known, _)| known == id).ok_or(OpenError::UnknownKey)?;
        cipher.open(&self.parts(id, aad_parts), &text).map_err(|_| OpenError::Refused)
    }

    /// What every value is bound to, beside the caller's parts.
    fn parts<'a>(&'a self, key_id: &'a str, aad_parts: &[&'a [u8]]) -> Vec<&'a [u8]> {
        let own: [&[u8]; 4] =
            [ALGORITHM, key_id.as_bytes(), self.0.purpose.as_str().as_bytes(), self.0.deployment.as_bytes()];
        [&own, aad_parts].concat()
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({})", self.0.purpose.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::MasterKey;

    const PURPOSES: [Purpose; 10] = [
        Purpose::Session,
        Purpose::RequestState,
        Purpose::Cursor,
        Purpose::Task,
        Purpose::Request,
        Purpose::AuditFrame,
        Purpose::AuditAck,
        Purpose::Member,
        Purpose::Seen,
        Purpose::Live,
    ];

    fn parts(parts: &[Vec<u8>]) -> Vec<&[u8]> {
        parts.iter().map(Vec::as_slice).collect()
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_with_the_same_parts_only(
            plain: Vec<u8>,
            bound in proptest::collection::vec(any::<Vec<u8>>(), 0..5),
            other in proptest::collection::vec(any::<Vec<u8>>(), 0..5),
        ) {
            let sealer = MasterKey::generate().sealer(Purpose::Session, "dep");
            let sealed = sealer.seal(&parts(&bound), &plain);
            let text = sealer.seal_text(&parts(&bound), &plain);
            prop_assert_eq!(sealer.open(&parts(&bound), &sealed), Ok(plain.clone()));
            prop_assert_eq!(sealer.open_text(&parts(&bound), &text), Ok(plain));
            prop_assert_eq!(sealer.open(&parts(&other), &sealed).is_ok(), other == bound);
            prop_assert_eq!(sealer.open_text(&parts(&other), &text).is_ok(), other == bound);
        }

        #[test]
        fn swapped_parts_are_refused(a: Vec<u8>, b: Vec<u8>) {
            prop_assume!(a != b);
            let sealer = MasterKey::generate().sealer(Purpose::Cursor, "dep");
            let sealed = sealer.seal(&[&a, &b], b"x");
            prop_assert_eq!(sealer.open(&[&b, &a], &sealed), Err(OpenError::Refused));
        }

        #[test]
        fn no_changed_byte_is_believed(plain: Vec<u8>, place: prop::sample::Index, change in 1_u8..) {
            let sealer = MasterKey::generate().sealer(Purpose::Task, "dep");
            let mut sealed = sealer.seal(&[b"alice"], &plain);
            let place = place.index(sealed.len());
            sealed[place] ^= change;
            prop_assert!(sealer.open(&[b"alice"], &sealed).is_err());
        }

        #[test]
        fn no_changed_letter_is_believed(place: prop::sample::Index, letter in "[a-zA-Z0-9_.-]") {
            let sealer = MasterKey::generate().sealer(Purpose::Task, "dep");
            let text = sealer.seal_text(&[b"alice"], b"plain");
            let mut changed = text.clone();
            let place = place.index(text.len());
            changed.replace_range(place..=place, &letter);
            prop_assert_eq!(sealer.open_text(&[b"alice"], &changed).is_ok(), changed == text);
        }

        #[test]
        fn nothing_made_up_is_believed_and_nothing_panics(bytes: Vec<u8>, text: String) {
            let sealer = MasterKey::generate().sealer(Purpose::Live, "dep");
            prop_assert!(sealer.open(&[], &bytes).is_err());
            prop_assert!(sealer.open_text(&[], &text).is_err());
        }
    }

    #[test]
    fn every_purpose_refuses_the_values_of_every_other() {
        let master = MasterKey::generate();
        for made in PURPOSES {
            let sealed = master.sealer(made, "dep").seal(&[b"alice"], b"x");
            for used in PURPOSES {
                let opened = master.sealer(used, "dep").open(&[b"alice"], &sealed);
                assert_eq!(opened.is_ok(), made == used, "{made:?} at {used:?}");
            }
        }
    }

    #[test]
    fn another_deployment_and_another_master_key_refuse_the_value() {
        let master = MasterKey::generate();
        let sealed = master.sealer(Purpose::Session, "one").seal(&[], b"x");
        assert_eq!(master.sealer(Purpose::Session, "two").open(&[], &sealed), Err(OpenError::Refused));
        let foreign = MasterKey::generate().sealer(Purpose::Session, "one");
        assert_eq!(foreign.open(&[], &sealed), Err(OpenError::UnknownKey));
    }

    #[test]
    fn a_value_sealed_before_the_rotation_still_opens() {
        let old = MasterKey::generate();
        let sealed = old.sealer(Purpose::Session, "dep").seal_text(&[b"alice"], b"x");
        let rotated = old.rotated().sealer(Purpose::Session, "dep");
        assert_eq!(rotated.open_text(&[b"alice"], &sealed), Ok(b"x".to_vec()));
        assert_ne!(rotated.seal_text(&[b"alice"], b"x")[..12], sealed[..12], "new values name the new key");
    }
}
