//! The master key: wraps tenants' keys and is what the keys of sealed values are derived from.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{Secret, TenantId, WrappedKey};
use zeroize::Zeroize as _;

use super::{KeyError, Purpose, Sealer, key_id};
use crate::cipher::{self, ALGORITHM, Cipher};
use crate::random::random;

/// A deployment's master key, and those it followed: new values are made with the first, old ones still open.
pub struct MasterKey {
    keys: Vec<One>,
}

struct One {
    id: String,
    key: Secret<[u8; 32]>,
    wrapping: Cipher,
}

/// Why a wrapped key can't be unwrapped. Says nothing about the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    /// Not the text of a wrapped key.
    #[error("the wrapped key is malformed")]
    Malformed,
    /// Wrapped by a master key this deployment does not hold.
    #[error("the key was wrapped by another master key: add that key as a further line of `master.key`")]
    UnknownMaster,
    /// Changed, or wrapped for another tenant or under another id.
    #[error("the wrapped key was changed or belongs to another tenant")]
    Refused,
}

impl MasterKey {
    /// Makes a new one.
    #[must_use]
    pub fn generate() -> Self {
        Self { keys: vec![One::new(Secret::new(random()))] }
    }

    /// Reads lines of base64, each of 32 bytes: the present key, then those it followed.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] when there is no line or one is something else.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let malformed = || KeyError::Malformed { what: "master key", form: "lines of base64, each of 32 bytes" };
        let keys = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let keys = keys.map(|line| decoded(line).map(One::new)).collect::<Option<Vec<_>>>().ok_or_else(malformed)?;
        if keys.is_empty() { Err(malformed()) } else { Ok(Self { keys }) }
    }

    /// The text [`MasterKey::from_text`] reads.
    #[must_use]
    pub fn to_text(&self) -> Secret<String> {
        let mut text = String::with_capacity(self.keys.len() * 45);
        for one in &self.keys {
            STANDARD.encode_string(one.key.expose(), &mut text);
            text.push('\n');
        }
        Secret::new(text)
    }

    /// A new present key before those held already: what was made with them still opens.
    #[must_use]
    pub fn rotated(mut self) -> Self {
        self.keys.insert(0, One::new(Secret::new(random())));
        self
    }

    /// Names the present key: 8 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.keys[0].id
    }

    /// Wraps a tenant's key, to be kept where anybody may read it. `key_id` will name the key.
    #[must_use]
    pub fn wrap(&self, tenant: TenantId, key_id: &str, key: &Secret<[u8; 32]>) -> WrappedKey {
        let one = &self.keys[0];
        let text = one
            .wrapping
            .seal(&[b"wrap", ALGORITHM, tenant.uuid().as_bytes(), key_id.as_bytes(), one.id.as_bytes()], key.expose());
        WrappedKey { id: key_id.to_owned(), wrapped: cipher::to_text(&one.id, &text) }
    }

    /// Unwraps a tenant's key.
    ///
    /// # Errors
    /// [`UnwrapError`] when it was wrapped by another deployment, for another tenant or under another id.
    pub fn unwrap(&self, tenant: TenantId, wrapped: &WrappedKey) -> Result<Secret<[u8; 32]>, UnwrapError> {
        let (id, text) = cipher::from_text(&wrapped.wrapped).ok_or(UnwrapError::Malformed)?;
        let one = self.keys.iter().find(|one| one.id == id).ok_or(UnwrapError::UnknownMaster)?;
        let uuid = tenant.uuid();
        let parts: [&[u8]; 5] = [b"wrap", ALGORITHM, uuid.as_bytes(), wrapped.id.as_bytes(), id.as_bytes()];
        let mut key = one.wrapping.open(&parts, &text).map_err(|_| UnwrapError::Refused)?;
        let found = <[u8; 32]>::try_from(key.as_slice()).map(Secret::new).map_err(|_| UnwrapError::Malformed);
        key.zeroize();
        found
    }

    /// What every key begins with that the present key has wrapped.
    #[must_use]
    pub fn mark(&self) -> String {
        cipher::to_text(self.id(), &[])
    }

    /// Wraps a tenant's key by the present key, whichever of those held has wrapped it.
    ///
    /// # Errors
    /// [`UnwrapError`], as of [`MasterKey::unwrap`].
    pub fn rewrap(&self, tenant: TenantId, wrapped: &WrappedKey) -> Result<WrappedKey, UnwrapError> {
        Ok(self.wrap(tenant, &wrapped.id, &self.unwrap(tenant, wrapped)?))
    }

    /// Seals values of one purpose; another purpose or deployment has unrelated keys.
    #[must_use]
    pub fn sealer(&self, purpose: Purpose, deployment: &str) -> Sealer {
        let info: [&[u8]; 3] = [b"seal", purpose.as_str().as_bytes(), deployment.as_bytes()];
        let keys = self.keys.iter().map(|one| (one.id.clone(), Cipher::derive(&one.key, &info))).collect();
        Sealer::new(purpose, deployment, keys)
    }
}

impl One {
    fn new(key: Secret<[u8; 32]>) -> Self {
        Self { id: key_id(key.expose()), wrapping: Cipher::derive(&key, &[b"wrap"]), key }
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id())
    }
}

/// 32 bytes of base64, without leaving them lying about.
pub(super) fn decoded(text: &str) -> Option<Secret<[u8; 32]>> {
    let mut bytes = STANDARD.decode(text).ok()?;
    let key = <[u8; 32]>::try_from(bytes.as_slice()).ok().map(Secret::new);
    bytes.zeroize();
    key
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::random::new_data_key;

    const CANARY: [u8; 32] = *b"canary-canary-canary-canary-can!";

    fn tenant(number: u128) -> TenantId {
        TenantId::from_uuid(Uuid::from_u128(number))
    }

    #[test]
    fn a_wrapped_key_opens_for_its_tenant_and_id_only() {
        let master = MasterKey::generate();
        let key = new_data_key();
        let wrapped = master.wrap(tenant(1), "dk1", &key);
        assert_eq!(master.unwrap(tenant(1), &wrapped).as_ref(), Ok(&key));
        assert_eq!(master.unwrap(tenant(2), &wrapped), Err(UnwrapError::Refused));
        let renamed = WrappedKey { id: "dk2".to_owned(), ..wrapped.clone() };
        assert_eq!(master.unwrap(tenant(1), &renamed), Err(UnwrapError::Refused));
        assert_eq!(MasterKey::generate().unwrap(tenant(1), &wrapped), Err(UnwrapError::UnknownMaster));
    }

    #[test]
    fn no_changed_letter_of_a_wrapped_key_is_taken() {
        let master = MasterKey::generate();
        let wrapped = master.wrap(tenant(1), "dk1", &new_data_key());
        for place in 0..wrapped.wrapped.len() {
            let mut text = wrapped.wrapped.clone().into_bytes();
            text[place] = if text[place] == b'A' { b'B' } else { b'A' };
            let changed = WrappedKey { wrapped: String::from_utf8(text).unwrap(), ..wrapped.clone() };
            assert!(master.unwrap(tenant(1), &changed).is_err(), "letter {place}");
        }
    }

    #[test]
    fn a_rotated_master_key_opens_the_old_and_writes_with_the_new() {
        let old = MasterKey::generate();
        let key = new_data_key();
        let (before, old_id) = (old.wrap(tenant(1), "dk1", &key), old.id().to_owned());
        let rotated = old.rotated();
        let read = MasterKey::from_text(rotated.to_text().expose()).unwrap();
        assert_ne!(read.id(), old_id);
        assert_eq!(read.unwrap(tenant(1), &before).as_ref(), Ok(&key));
        assert!(read.wrap(tenant(1), "dk1", &key).wrapped.starts_with(&format!("v1.{}.", read.id())));
    }

    #[test]
    fn a_text_that_is_no_master_key_is_refused_without_being_repeated() {
        for wrong in ["", "\n", "canary", "Y2FuYXJ5", "canary!canary!canary!canary!canary!canary!=="] {
            let error = MasterKey::from_text(wrong).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
        }
    }

    #[test]
    fn a_master_key_shows_its_id_and_nothing_else() {
        let text = STANDARD.encode(CANARY);
        let master = MasterKey::from_text(&text).unwrap();
        assert_eq!(format!("{master:?}"), format!("MasterKey({})", master.id()));
        assert!(!hex::encode(CANARY).contains(master.id()), "the id is no part of the key");
    }
}
