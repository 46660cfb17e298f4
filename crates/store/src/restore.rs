//! What is put right after Postgres was set back to an earlier copy of itself.

use chrono::{DateTime, Utc};
use domain::{TenantId, TokenId};

use crate::publisher::Lease;
use crate::{Error, PlatformTx, TenantTx};

/// Raises the epoch of what is published above one, and gives the lease back; `None` when it was lost.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn publish_above(tx: &mut PlatformTx, lease: Lease, epoch: u64) -> Result<Option<u64>, Error> {
    let raised = sqlx::query_scalar!(
        "update publisher set epoch = greatest(epoch, $2) + 1, fence = fence + 1, holder = null, lease_until = '-infinity'
         where fence = $1 returning epoch",
        lease.fence,
        epoch.cast_signed(),
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(raised.map(i64::cast_unsigned))
}

/// All tenants.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn tenants(tx: &mut PlatformTx) -> Result<Vec<TenantId>, Error> {
    Ok(sqlx::query_scalar!(r#"select tenant_id as "id: TenantId" from tenants order by tenant_id"#)
        .fetch_all(tx.connection())
        .await?)
}

/// Asks for the publication of all gateway tokens of the tenant that have not expired.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn publish_tokens(tx: &mut TenantTx, at: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query!("insert into outbox (token_id) select token_id from gateway_tokens where expires_at > $1", at)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Revokes all tokens of the tenant that are good: those for the gateway, and those for the API.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn revoke_all(tx: &mut TenantTx, at: DateTime<Utc>) -> Result<(Vec<TokenId>, Vec<TokenId>), Error> {
    let gateway = sqlx::query_scalar!(
        r#"update gateway_tokens set revoked_at = $1 where revoked_at is null and expires_at > $1
           returning token_id as "id: TokenId""#,
        at,
    )
    .fetch_all(tx.connection())
    .await?;
    let api = sqlx::query_scalar!(
        r#"update api_tokens set revoked_at = $1 where revoked_at is null and expires_at > $1
           returning token_id as "id: TokenId""#,
        at,
    )
    .fetch_all(tx.connection())
    .await?;
    Ok((gateway, api))
}

/// Ends all sessions of all people, and the links that were mailed; gives how many sessions there were.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn end_sessions(tx: &mut PlatformTx) -> Result<u64, Error> {
    sqlx::query!("delete from mail_links").execute(tx.connection()).await?;
    Ok(sqlx::query!("delete from login_sessions").execute(tx.connection()).await?.rows_affected())
}
