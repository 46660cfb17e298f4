//! What came of sending, noted at the lane: taken, failed, refused, lost.

use chrono::{DateTime, Utc};
use domain::DestinationId;

use super::{Claim, LastError};
use crate::{Error, TenantTx};

/// Notes that records were taken.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn sent(tx: &mut TenantTx, claim: Claim, records: u64, now: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query!(
        "update destination_lanes set sent = sent + $4, sent_at = $5, failures = 0, refused = 0
         where destination_id = $1 and lane = $2 and fence = $3",
        claim.destination.uuid(),
        claim.kind.as_str(),
        claim.fence,
        records.cast_signed(),
        now,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Notes that a checkpoint was taken.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn sent_checkpoint(tx: &mut TenantTx, claim: Claim, size: u64) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update destination_lanes set checkpoint_size = $4, checkpoint_at = clock_timestamp(), failures = 0
         where destination_id = $1 and lane = $2 and fence = $3",
        claim.destination.uuid(),
        claim.kind.as_str(),
        claim.fence,
        size.cast_signed(),
    )
    .execute(tx.connection())
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Notes what went wrong.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn failed(tx: &mut TenantTx, claim: Claim, error: &LastError) -> Result<(), Error> {
    sqlx::query!(
        "update destination_lanes set failures = failures + 1, error_at = $4, error_code = $5, error_said = $6,
             error_status = $7
         where destination_id = $1 and lane = $2 and fence = $3",
        claim.destination.uuid(),
        claim.kind.as_str(),
        claim.fence,
        error.at,
        error.code,
        error.said,
        error.status.map(i32::from),
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Counts a record that was put aside; how many were since the last one that was taken.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn refused(tx: &mut TenantTx, claim: Claim) -> Result<u32, Error> {
    let refused = sqlx::query_scalar!(
        "update destination_lanes set refused = refused + 1 where destination_id = $1 and lane = $2 and fence = $3
         returning refused",
        claim.destination.uuid(),
        claim.kind.as_str(),
        claim.fence,
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(refused.map_or(0, i32::cast_unsigned))
}

/// Counts records that the log no longer has, at the destination's live lane.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn lost(tx: &mut TenantTx, of: DestinationId, records: u64, now: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query!(
        "update destination_lanes set lost = lost + $2, lost_at = $3 where destination_id = $1 and lane = 'live'",
        of.uuid(),
        records.cast_signed(),
        now,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}
