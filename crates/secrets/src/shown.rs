//! What is to be shown once, under a key that only one browser's cookie gives.

use domain::{Secret, TenantId, TokenId};

use crate::cipher::{ALGORITHM, Cipher};
use crate::keys::OpenError;

/// Seals a token's text, bound to its tenant and itself.
#[must_use]
pub fn seal(key: &Secret<[u8; 32]>, tenant: TenantId, token: TokenId, plain: &[u8]) -> Vec<u8> {
    Cipher::new(key).seal(&parts(tenant.uuid().as_bytes(), token.uuid().as_bytes()), plain)
}

/// Opens what [`seal`] made of the same tenant and token.
///
/// # Errors
/// [`OpenError::Refused`] when it was changed, or is another key's or token's.
pub fn open(key: &Secret<[u8; 32]>, tenant: TenantId, token: TokenId, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    let opened = Cipher::new(key).open(&parts(tenant.uuid().as_bytes(), token.uuid().as_bytes()), sealed);
    opened.map_err(|_| OpenError::Refused)
}

fn parts<'a>(tenant: &'a [u8; 16], token: &'a [u8; 16]) -> [&'a [u8]; 4] {
    [ALGORITHM, b"shown once", tenant, token]
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_is_shown_once_opens_for_its_own_browser_and_token_only() {
        let (key, other) = (crate::new_data_key(), crate::new_data_key());
        let (tenant, token) = (TenantId::from_uuid(Uuid::from_u128(1)), TokenId::from_uuid(Uuid::from_u128(2)));
        let sealed = seal(&key, tenant, token, b"slc_x");
        assert_eq!(open(&key, tenant, token, &sealed), Ok(b"slc_x".to_vec()));
        assert!(open(&other, tenant, token, &sealed).is_err());
        assert!(open(&key, tenant, TokenId::from_uuid(Uuid::from_u128(3)), &sealed).is_err());
        assert!(open(&key, TenantId::from_uuid(Uuid::from_u128(3)), token, &sealed).is_err());
    }
}
