//! What nodes must forget, numbered without holes.

use chrono::{DateTime, Utc};
use domain::projection::{Revocation, RevocationKind};
use domain::{TenantId, TokenDigest, TokenId};

use crate::error::read;
use crate::{Error, PlatformTx};

/// Adds a revocation, whose number is the next one.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn add(
    tx: &mut PlatformTx,
    revocation: &Revocation,
    expires_at: DateTime<Utc>,
    at: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
        "insert into revocations (tenant_id, number, token_id, digest, what, expires_at, at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        revocation.tenant.uuid(),
        revocation.number.cast_signed(),
        revocation.token.uuid(),
        &revocation.digest.0,
        word(revocation.what),
        expires_at,
        at,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The `limit` revocations from this number on, in order.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list(tx: &mut PlatformTx, from: u64, limit: i64) -> Result<Vec<Revocation>, Error> {
    let rows = sqlx::query!(
        r#"select tenant_id as "tenant: TenantId", number, token_id as "token: TokenId", digest, what
           from revocations where number >= $1 order by number limit $2"#,
        from.cast_signed(),
        limit,
    )
    .fetch_all(tx.connection())
    .await?;
    let revocations = rows.into_iter().map(|row| {
        Ok(Revocation {
            number: row.number.cast_unsigned(),
            tenant: row.tenant,
            token: row.token,
            digest: TokenDigest(read("revocations.digest", row.digest.try_into().ok())?),
            what: if row.what == word(RevocationKind::Revoked) {
                RevocationKind::Revoked
            } else {
                RevocationKind::Changed
            },
        })
    });
    revocations.collect()
}

/// The lowest number that is kept, if any is.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn floor(tx: &mut PlatformTx) -> Result<Option<u64>, Error> {
    let floor = sqlx::query_scalar!("select min(number) from revocations").fetch_one(tx.connection()).await?;
    Ok(floor.map(i64::cast_unsigned))
}

/// Forgets those below the first whose token has not expired: between the floor and the last one there is never a hole.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn forget(tx: &mut PlatformTx, before: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query!(
        "delete from revocations where number < coalesce(
             (select min(number) from revocations where expires_at >= $1), 9223372036854775807)",
        before
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

const fn word(what: RevocationKind) -> &'static str {
    match what {
        RevocationKind::Revoked => "revoked",
        RevocationKind::Changed => "changed",
    }
}
