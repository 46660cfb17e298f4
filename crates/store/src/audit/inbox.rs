//! The control plane's own records on their way to the log: written with the change they tell of, drained by the owner.

use domain::RecordId;

use crate::{Error, TenantTx};

/// A record that waits to be given its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxRecord {
    /// The record's id.
    pub id: RecordId,
    /// Its canonical bytes: the leaf.
    pub body: Vec<u8>,
    /// Its personal part, as `audit::record` writes it beside the leaf.
    pub pii: Option<Vec<u8>>,
}

/// Puts a record of the transaction's tenant into the inbox. It reaches the log when, and only when, the transaction
/// commits.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn add(tx: &mut TenantTx, record: &InboxRecord) -> Result<(), Error> {
    sqlx::query!(
        "insert into audit_inbox (record_id, body, pii) values ($1, $2, $3)",
        record.id.uuid(),
        record.body,
        record.pii,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}
