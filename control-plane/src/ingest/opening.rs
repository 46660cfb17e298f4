//! Opens the personal parts of a tenant's records, for whoever may have them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use chrono::{DateTime, NaiveDate, Utc};
use domain::{RecordId, Secret};
use secrets::{MasterKey, UnwrapError};
use store::TenantTx;
use store::audit::subject_key;

use super::{SUBJECT, month_of};

/// Keys of personal parts as they were found: for one transaction, so that what is erased meanwhile is not opened after.
#[derive(Debug)]
pub(crate) struct Opener<'a> {
    master: &'a MasterKey,
    /// By month; none where it was erased.
    keys: HashMap<NaiveDate, Option<Secret<[u8; 32]>>>,
}

/// Why it can't be told whether a personal part is there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpeningError {
    /// Its key is there, and does not open here: the master key may have been replaced, and this process has the one before.
    #[error("the key of a tenant's personal parts does not open")]
    Key(#[from] UnwrapError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] store::Error),
}

/// A personal part.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The key of its commitment.
    pub(crate) key: [u8; 32],
    /// The part: canonical JSON.
    pub(crate) pii: Vec<u8>,
}

impl<'a> Opener<'a> {
    /// Has found none yet.
    pub(crate) fn new(master: &'a MasterKey) -> Self {
        Self { master, keys: HashMap::new() }
    }

    /// The personal part of a record of this `part_time`; `None` where it was erased, which a key that does not open is not.
    pub(crate) async fn open(
        &mut self,
        tx: &mut TenantTx,
        (record, part_time): (RecordId, DateTime<Utc>),
        sealed: &[u8],
    ) -> Result<Option<Opened>, OpeningError> {
        let month = month_of(part_time);
        let key = match self.keys.entry(month) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let wrapped = subject_key::find(tx, SUBJECT, month).await?;
                let key = wrapped.map(|wrapped| self.master.unwrap(tx.tenant(), &wrapped)).transpose()?;
                unknown.insert(key)
            }
        };
        let Some(key) = key else { return Ok(None) };
        let plain = secrets::personal::open(key, tx.tenant(), record, sealed).ok();
        Ok(plain.and_then(|plain| {
            let (key, pii) = plain.split_first_chunk::<32>()?;
            Some(Opened { key: *key, pii: pii.to_vec() })
        }))
    }
}
