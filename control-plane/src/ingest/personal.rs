//! The personal parts of records at rest: sealed under a key of their tenant and month, so that they can be erased.

use std::collections::HashMap;
use std::sync::Arc;

use audit::entry::Private;
use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
use domain::{CallId, RecordId, Secret, TenantId};
use secrets::{MasterKey, Sealer};
use store::IngestTx;
use store::audit::subject_key;

/// Whose personal parts a key is for: all of a tenant's, until each person has their own.
pub(crate) const SUBJECT: &str = "tenant";

/// Keys in use. To be dropped when a transaction fails: a key it had made does not exist then.
pub(super) struct PersonalKeys {
    master: Arc<MasterKey>,
    known: HashMap<(TenantId, NaiveDate), Secret<[u8; 32]>>,
}

/// Why a personal part can't be sealed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PersonalError {
    /// The stored key is not of this deployment.
    #[error("the key of a tenant's personal parts can't be unwrapped")]
    Unwrap(#[from] secrets::UnwrapError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] store::Error),
}

impl PersonalKeys {
    /// Knows none yet.
    #[must_use]
    pub(super) fn new(master: Arc<MasterKey>) -> Self {
        Self { master, known: HashMap::new() }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.known.clear();
    }

    /// The key of a tenant's personal parts of a month, made now where there is none.
    ///
    /// # Errors
    /// [`PersonalError`] when the database fails or its key does not unwrap.
    pub(super) async fn of(
        &mut self,
        tx: &mut IngestTx,
        tenant: TenantId,
        time: DateTime<Utc>,
    ) -> Result<&Secret<[u8; 32]>, PersonalError> {
        let month = month_of(time);
        if !self.known.contains_key(&(tenant, month)) {
            let id = hex::encode(secrets::random::<8>());
            let offered = self.master.wrap(tenant, &id, &secrets::new_data_key());
            let wrapped = subject_key::find_or_add(tx, tenant, SUBJECT, month, &offered).await?;
            let key = self.master.unwrap(tenant, &wrapped)?;
            self.known.insert((tenant, month), key);
        }
        Ok(&self.known[&(tenant, month)])
    }
}

/// The month a record's personal key is of, by its first day. It is the month of `part_time`.
#[must_use]
pub(crate) fn month_of(time: DateTime<Utc>) -> NaiveDate {
    time.date_naive().with_day(1).unwrap_or_else(|| time.date_naive())
}

/// A personal part as it is stored beside a record: its commitment's key, then canonical JSON.
#[must_use]
pub(super) fn seal(key: &Secret<[u8; 32]>, tenant: TenantId, record: RecordId, private: &Private) -> Vec<u8> {
    secrets::personal::seal(key, tenant, record, &joined(private))
}

/// A personal part as it is kept beside an intent, until the call ends.
#[must_use]
pub(super) fn seal_open(frames: &Sealer, tenant: TenantId, call: CallId, private: &Private) -> Vec<u8> {
    frames.seal(&open_parts(tenant.uuid().as_bytes(), call.uuid().as_bytes()), &joined(private))
}

/// Opens what [`seal_open`] made.
#[must_use]
pub(super) fn unseal_open(frames: &Sealer, tenant: TenantId, call: CallId, sealed: &[u8]) -> Option<Private> {
    let plain = frames.open(&open_parts(tenant.uuid().as_bytes(), call.uuid().as_bytes()), sealed).ok()?;
    let (key, pii) = plain.split_first_chunk::<32>()?;
    Some(Private { key: *key, pii: pii.to_vec().into() })
}

fn open_parts<'a>(tenant: &'a [u8; 16], call: &'a [u8; 16]) -> [&'a [u8]; 3] {
    [b"open", tenant, call]
}

fn joined(private: &Private) -> Vec<u8> {
    [private.key.as_slice(), &private.pii].concat()
}
