//! The personal part of an audit record, under a key that is deleted to erase it.

use domain::{RecordId, Secret, TenantId};

use crate::cipher::{ALGORITHM, Cipher};
use crate::keys::OpenError;

/// Seals a record's personal part, bound to its tenant and record.
#[must_use]
pub fn seal(key: &Secret<[u8; 32]>, tenant: TenantId, record: RecordId, plain: &[u8]) -> Vec<u8> {
    Cipher::new(key).seal(&parts(tenant.uuid().as_bytes(), record.uuid().as_bytes()), plain)
}

/// Opens what [`seal`] made of the same tenant and record.
///
/// # Errors
/// [`OpenError::Refused`] when it was changed, or is another key's or record's.
pub fn open(key: &Secret<[u8; 32]>, tenant: TenantId, record: RecordId, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    let opened = Cipher::new(key).open(&parts(tenant.uuid().as_bytes(), record.uuid().as_bytes()), sealed);
    opened.map_err(|_| OpenError::Refused)
}

fn parts<'a>(tenant: &'a [u8; 16], record: &'a [u8; 16]) -> [&'a [u8]; 4] {
    [ALGORITHM, b"personal", tenant, record]
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_personal_part_opens_for_its_own_record_only() {
        let (key, other) = (crate::new_data_key(), crate::new_data_key());
        let (tenant, record) = (TenantId::from_uuid(Uuid::from_u128(1)), RecordId::from_uuid(Uuid::from_u128(2)));
        let sealed = seal(&key, tenant, record, b"ada");
        assert_eq!(open(&key, tenant, record, &sealed), Ok(b"ada".to_vec()));
        assert!(open(&other, tenant, record, &sealed).is_err());
        assert!(open(&key, tenant, RecordId::from_uuid(Uuid::from_u128(3)), &sealed).is_err());
        assert!(open(&key, TenantId::from_uuid(Uuid::from_u128(3)), record, &sealed).is_err());
    }
}
