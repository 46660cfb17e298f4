//! Credentials under a tenant's data key: the ciphertext may lie where anybody reads it, and opens only as what it is.

use domain::{CredentialId, Secret, TenantId};

use crate::cipher::{self, ALGORITHM, Cipher};
use crate::keys::{OpenError, key_id};

/// Seals a credential's value: `v1.<id of the data key>.<base64url>`, bound to its tenant, credential and version.
#[must_use]
pub fn seal(
    data_key: &Secret<[u8; 32]>,
    tenant: TenantId,
    credential: CredentialId,
    version: u64,
    value: &Secret<String>,
) -> String {
    let id = key_id(data_key.expose());
    let bound = Bound { tenant, credential, version };
    cipher::to_text(&id, &bound.with(&id, |parts| Cipher::new(data_key).seal(parts, value.expose().as_bytes())))
}

/// Opens what [`seal`] made of the same tenant, credential and version.
///
/// # Errors
/// [`OpenError`] when it is not such a value, was changed, or is another key's, credential's or version's.
pub fn open(
    data_key: &Secret<[u8; 32]>,
    tenant: TenantId,
    credential: CredentialId,
    version: u64,
    envelope: &str,
) -> Result<Secret<String>, OpenError> {
    let (id, text) = cipher::from_text(envelope).ok_or(OpenError::Malformed)?;
    if id != key_id(data_key.expose()) {
        return Err(OpenError::UnknownKey);
    }
    let bound = Bound { tenant, credential, version };
    let value = bound.with(id, |parts| Cipher::new(data_key).open(parts, &text)).map_err(|_| OpenError::Refused)?;
    String::from_utf8(value).map(Secret::new).map_err(|_| OpenError::Malformed)
}

/// Whose value it is, and which.
struct Bound {
    tenant: TenantId,
    credential: CredentialId,
    version: u64,
}

impl Bound {
    fn with<T>(&self, key_id: &str, then: impl FnOnce(&[&[u8]]) -> T) -> T {
        then(&[
            ALGORITHM,
            b"credential",
            key_id.as_bytes(),
            self.tenant.uuid().as_bytes(),
            self.credential.uuid().as_bytes(),
            &self.version.to_be_bytes(),
        ])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::random::new_data_key;

    fn ids(tenant: u128, credential: u128) -> (TenantId, CredentialId) {
        (TenantId::from_uuid(Uuid::from_u128(tenant)), CredentialId::from_uuid(Uuid::from_u128(credential)))
    }

    proptest! {
        #[test]
        fn a_credential_opens_as_itself_only(value: String, a: (u128, u128, u64), b: (u128, u128, u64)) {
            let (key, value) = (new_data_key(), Secret::new(value));
            let (tenant, credential) = ids(a.0, a.1);
            let envelope = seal(&key, tenant, credential, a.2, &value);
            prop_assert_eq!(open(&key, tenant, credential, a.2, &envelope), Ok(value));
            for other in [(b.0, a.1, a.2), (a.0, b.1, a.2), (a.0, a.1, b.2)] {
                prop_assume!(other != a);
                let (tenant, credential) = ids(other.0, other.1);
                prop_assert_eq!(open(&key, tenant, credential, other.2, &envelope), Err(OpenError::Refused));
            }
        }

        #[test]
        fn no_changed_letter_is_believed(place: prop::sample::Index, letter in "[a-zA-Z0-9_.-]") {
            let key = new_data_key();
            let (tenant, credential) = ids(1, 2);
            let envelope = seal(&key, tenant, credential, 1, &Secret::new("value".to_owned()));
            let mut changed = envelope.clone();
            let place = place.index(envelope.len());
            changed.replace_range(place..=place, &letter);
            prop_assert_eq!(open(&key, tenant, credential, 1, &changed).is_ok(), changed == envelope);
        }
    }

    #[test]
    fn another_tenants_key_opens_nothing_and_says_so() {
        let (tenant, credential) = ids(1, 2);
        let envelope = seal(&new_data_key(), tenant, credential, 1, &Secret::new("value".to_owned()));
        assert_eq!(open(&new_data_key(), tenant, credential, 1, &envelope), Err(OpenError::UnknownKey));
    }

    #[test]
    fn neither_the_envelope_nor_the_opened_value_shows_the_secret() {
        let (key, (tenant, credential)) = (new_data_key(), ids(1, 2));
        let envelope = seal(&key, tenant, credential, 1, &Secret::new("canary".to_owned()));
        let opened = open(&key, tenant, credential, 1, &envelope);
        assert!(!envelope.contains("canary") && !format!("{opened:?}").contains("canary"));
        assert_eq!(opened.unwrap().expose(), "canary");
    }
}
