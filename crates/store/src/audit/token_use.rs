//! When a token last made a call, as the log tells it: at most a minute late.

use chrono::{DateTime, Utc};
use domain::{TenantId, TokenId};
use uuid::Uuid;

use crate::{Error, IngestTx, TenantTx};

/// Notes when tokens were used, where that is a minute or more after what is noted.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn note(tx: &mut IngestTx, uses: &[(TenantId, TokenId, DateTime<Utc>)]) -> Result<(), Error> {
    if uses.is_empty() {
        return Ok(());
    }
    let tenants: Vec<Uuid> = uses.iter().map(|used| used.0.uuid()).collect();
    let tokens: Vec<Uuid> = uses.iter().map(|used| used.1.uuid()).collect();
    let times: Vec<DateTime<Utc>> = uses.iter().map(|used| used.2).collect();
    sqlx::query!(
        "insert into token_last_used as t (tenant_id, token_id, used_at)
         select tenant_id, token_id, max(used_at)
         from unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) u(tenant_id, token_id, used_at)
         group by tenant_id, token_id order by tenant_id, token_id
         on conflict (tenant_id, token_id) do update set used_at = excluded.used_at
         where excluded.used_at >= t.used_at + interval '1 minute'",
        &tenants,
        &tokens,
        &times,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// When the tenant's tokens were last used; those never used are left out.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list(tx: &mut TenantTx) -> Result<Vec<(TokenId, DateTime<Utc>)>, Error> {
    let rows = sqlx::query!("select token_id, used_at from token_last_used order by token_id")
        .fetch_all(tx.connection())
        .await?;
    Ok(rows.into_iter().map(|row| (TokenId::from_uuid(row.token_id), row.used_at)).collect())
}
