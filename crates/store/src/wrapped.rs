//! Keys that another master key wrapped than the present one, to be wrapped anew.
//!
//! `mark` is what every key begins with that the present master key wrapped.

use chrono::NaiveDate;
use domain::TenantId;
use domain::snapshot::WrappedKey;

use crate::{Error, IngestTx, TenantTx};

/// A key of personal parts, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonalKey {
    /// Whose records it is of.
    pub tenant: TenantId,
    /// Whom they are about.
    pub subject: String,
    /// And when they were made: the first day of a month.
    pub month: NaiveDate,
    /// The key.
    pub key: WrappedKey,
}

/// The tenant's own keys that were not wrapped by the present master key, locked.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn lock_of_tenant(tx: &mut TenantTx, mark: &str) -> Result<Vec<WrappedKey>, Error> {
    let rows = sqlx::query!(
        "select key_id, wrapped from tenant_keys where not starts_with(wrapped, $1) order by key_id for update",
        mark
    );
    let rows = rows.fetch_all(tx.connection()).await?;
    Ok(rows.into_iter().map(|row| WrappedKey { id: row.key_id, wrapped: row.wrapped }).collect())
}

/// Puts a tenant's own key in the place of the one with its id.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn replace_of_tenant(tx: &mut TenantTx, key: &WrappedKey) -> Result<(), Error> {
    sqlx::query!("update tenant_keys set wrapped = $2 where key_id = $1", key.id, key.wrapped)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// The next keys of personal parts, of all tenants, that were not wrapped by the present master key, at most `limit`, locked.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn lock_personal(
    tx: &mut IngestTx,
    mark: &str,
    after: Option<&PersonalKey>,
    limit: i64,
) -> Result<Vec<PersonalKey>, Error> {
    let rows = sqlx::query!(
        r#"select tenant_id as "tenant: TenantId", subject, month, key_id, wrapped from audit_subject_key
           where not starts_with(wrapped, $1) and ($2::uuid is null or (tenant_id, subject, month) > ($2, $3, $4))
           order by tenant_id, subject, month limit $5 for update"#,
        mark,
        after.map(|after| after.tenant.uuid()),
        after.map_or("", |after| after.subject.as_str()),
        after.map_or_else(NaiveDate::default, |after| after.month),
        limit,
    );
    let rows = rows.fetch_all(tx.connection()).await?;
    let key = |id, wrapped| WrappedKey { id, wrapped };
    let rows = rows.into_iter().map(|row| PersonalKey {
        tenant: row.tenant,
        subject: row.subject,
        month: row.month,
        key: key(row.key_id, row.wrapped),
    });
    Ok(rows.collect())
}

/// Puts a key of personal parts where it stands.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn replace_personal(tx: &mut IngestTx, at: &PersonalKey, wrapped: &str) -> Result<(), Error> {
    sqlx::query!(
        "update audit_subject_key set wrapped = $4 where tenant_id = $1 and subject = $2 and month = $3",
        at.tenant.uuid(),
        at.subject,
        at.month,
        wrapped,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}
