//! Keys of the personal parts of records, wrapped. Deleting one erases what it hid.

use chrono::NaiveDate;
use domain::TenantId;
use domain::snapshot::WrappedKey;

use crate::{Error, IngestTx, TenantTx};

/// The key of a subject's personal parts in a month: the offered one when there was none.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find_or_add(
    tx: &mut IngestTx,
    tenant: TenantId,
    subject: &str,
    month: NaiveDate,
    offered: &WrappedKey,
) -> Result<WrappedKey, Error> {
    // `do update` and not `do nothing`: it waits for another owner's insert and returns that one's key.
    let row = sqlx::query!(
        "insert into audit_subject_key as k (tenant_id, subject, month, key_id, wrapped) values ($1, $2, $3, $4, $5)
         on conflict (tenant_id, subject, month) do update set key_id = k.key_id
         returning key_id, wrapped",
        tenant.uuid(),
        subject,
        month,
        offered.id,
        offered.wrapped,
    )
    .fetch_one(tx.connection())
    .await?;
    Ok(WrappedKey { id: row.key_id, wrapped: row.wrapped })
}

/// The key of a subject's personal parts in a month. `None` when there is none, or it was erased.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find(tx: &mut TenantTx, subject: &str, month: NaiveDate) -> Result<Option<WrappedKey>, Error> {
    Ok(sqlx::query!("select key_id, wrapped from audit_subject_key where subject = $1 and month = $2", subject, month,)
        .fetch_optional(tx.connection())
        .await?
        .map(|row| WrappedKey { id: row.key_id, wrapped: row.wrapped }))
}

/// Erases the keys of months before this one.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn forget(tx: &mut IngestTx, before: NaiveDate) -> Result<(), Error> {
    sqlx::query!("delete from audit_subject_key where month < $1", before).execute(tx.connection()).await?;
    Ok(())
}
