//! The control plane's own records on their way to the log: written with the change they tell of, drained by the owner.

use domain::{RecordId, TenantId};

use crate::{Error, IngestTx, PlatformTx, TenantTx};

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

/// Puts a record into the inbox of a tenant, of what a member did to their own account, which is no tenant's alone.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn add_to(tx: &mut PlatformTx, tenant: TenantId, record: &InboxRecord) -> Result<(), Error> {
    sqlx::query!(
        "insert into audit_inbox (tenant_id, record_id, body, pii) values ($1, $2, $3, $4)",
        tenant.uuid(),
        record.id.uuid(),
        record.body,
        record.pii,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Takes out the oldest records of a shard's tenants, at most `limit`, and locks them against another owner.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn drain(
    tx: &mut IngestTx,
    shard: u16,
    shards: u16,
    limit: i64,
) -> Result<Vec<(TenantId, InboxRecord)>, Error> {
    let rows = sqlx::query!(
        "with taken as (
             delete from audit_inbox where (tenant_id, record_id) in (
                 select tenant_id, record_id from audit_inbox where bucket % $2::int2 = $1
                 order by added_at, record_id limit $3 for update skip locked)
             returning tenant_id, record_id, body, pii, added_at)
         select tenant_id, record_id, body, pii from taken order by added_at, record_id",
        crate::audit::shard::number(shard),
        crate::audit::shard::number(shards),
        limit,
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let record = InboxRecord { id: RecordId::from_uuid(row.record_id), body: row.body, pii: row.pii };
            (TenantId::from_uuid(row.tenant_id), record)
        })
        .collect())
}
