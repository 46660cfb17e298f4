//! Dead letters of destinations, and what was sent by the hour.

use chrono::{DateTime, Utc};
use domain::{DestinationId, RecordId};

use crate::lanes::Claim;
use crate::{Error, TenantTx};

/// A record that a receiver never takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Which epoch of the log.
    pub epoch: u64,
    /// Its place in the log.
    pub seq: u64,
    /// The record.
    pub record: RecordId,
    /// When it began.
    pub time: DateTime<Utc>,
    /// A stable word for what is wrong.
    pub code: String,
    /// What the receiver said, for people.
    pub said: String,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// When it was given up.
    pub failed_at: DateTime<Utc>,
    /// The wish by which it is sent again.
    pub wish: Option<u64>,
}

/// Puts a record aside; one that is there already with what was said now, and not asked for any more.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn put(tx: &mut TenantTx, destination: DestinationId, letter: &Letter) -> Result<(), Error> {
    sqlx::query!(
        "insert into dead_letters (destination_id, epoch, seq, record_id, time, code, said, status, failed_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict on constraint dead_letters_pkey do update
         set code = $6, said = $7, status = $8, failed_at = $9, wish = null",
        destination.uuid(),
        letter.epoch.cast_signed(),
        letter.seq.cast_signed(),
        letter.record.uuid(),
        letter.time,
        letter.code,
        letter.said,
        letter.status.map(i32::from),
        letter.failed_at,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Dead letters of a destination in the log's order, from a place on.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list(
    tx: &mut TenantTx,
    destination: DestinationId,
    (epoch, from): (u64, u64),
    limit: u32,
) -> Result<Vec<Letter>, Error> {
    let rows = sqlx::query!(
        r#"select epoch, seq, record_id as "record: RecordId", time, code, said, status, failed_at, wish from dead_letters
           where destination_id = $1 and (epoch, seq) >= ($2, $3) order by epoch, seq limit $4"#,
        destination.uuid(),
        epoch.cast_signed(),
        from.cast_signed(),
        i64::from(limit),
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Letter {
            epoch: row.epoch.cast_unsigned(),
            seq: row.seq.cast_unsigned(),
            record: row.record,
            time: row.time,
            code: row.code,
            said: row.said,
            status: row.status.and_then(|status| u16::try_from(status).ok()),
            failed_at: row.failed_at,
            wish: row.wish.map(i64::cast_unsigned),
        })
        .collect())
}

/// How many each destination has.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn counts(tx: &mut TenantTx) -> Result<Vec<(DestinationId, u64)>, Error> {
    let rows = sqlx::query!(
        r#"select destination_id as "destination: DestinationId", count(*) as "count!" from dead_letters group by 1"#
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| (row.destination, row.count.cast_unsigned())).collect())
}

/// Asks for all dead letters of a destination to be sent again, under the number of a wish; how many.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn ask(tx: &mut TenantTx, destination: DestinationId, wish: u64) -> Result<u64, Error> {
    let done = sqlx::query!(
        "update dead_letters set wish = $2 where destination_id = $1",
        destination.uuid(),
        wish.cast_signed(),
    )
    .execute(tx.connection())
    .await?;
    Ok(done.rows_affected())
}

/// The first places that are asked for under a wish: those of one epoch, in the log's order, up to a last one where there
/// is one.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn asked(
    tx: &mut TenantTx,
    (destination, wish): (DestinationId, u64),
    up_to: Option<u64>,
    limit: u32,
) -> Result<Vec<(u64, u64)>, Error> {
    let rows = sqlx::query!(
        "select epoch, seq from dead_letters
         where destination_id = $1 and wish = $2 and ($3::int8 is null or seq <= $3)
             and epoch = (select min(epoch) from dead_letters where destination_id = $1 and wish = $2)
         order by seq limit $4",
        destination.uuid(),
        wish.cast_signed(),
        up_to.map(u64::cast_signed),
        i64::from(limit),
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| (row.epoch.cast_unsigned(), row.seq.cast_unsigned())).collect())
}

/// Forgets dead letters at these places: they were taken, or the log has them no longer.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn forget(tx: &mut TenantTx, destination: DestinationId, epoch: u64, places: &[u64]) -> Result<(), Error> {
    let places: Vec<i64> = places.iter().map(|seq| seq.cast_signed()).collect();
    sqlx::query!(
        "delete from dead_letters where destination_id = $1 and epoch = $2 and seq = any($3)",
        destination.uuid(),
        epoch.cast_signed(),
        &places,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// What was sent to a destination in an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hour {
    /// To which.
    pub destination: DestinationId,
    /// When the hour began.
    pub start: DateTime<Utc>,
    /// How many records were taken.
    pub records: u64,
    /// How many bytes they were in their format.
    pub bytes: u64,
    /// In how many batches.
    pub batches: u64,
    /// How many tries failed.
    pub failures: u64,
}

/// Counts a batch: its records and bytes where it was taken, a failure where not.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn count(
    tx: &mut TenantTx,
    claim: Claim,
    taken: Option<(u64, u64)>,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let (records, bytes) = taken.unwrap_or_default();
    sqlx::query!(
        "insert into destination_hours as h (destination_id, start, records, bytes, batches, failures)
         values ($1, date_trunc('hour', $2::timestamptz, 'UTC'), $3, $4, $5, $6)
         on conflict on constraint destination_hours_pkey do update set records = h.records + excluded.records,
             bytes = h.bytes + excluded.bytes, batches = h.batches + excluded.batches,
             failures = h.failures + excluded.failures",
        claim.destination.uuid(),
        now,
        records.cast_signed(),
        bytes.cast_signed(),
        i64::from(taken.is_some()),
        i64::from(taken.is_none()),
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The hours of the tenant's destinations from a time on, the earliest first.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn hours(tx: &mut TenantTx, from: DateTime<Utc>) -> Result<Vec<Hour>, Error> {
    let rows = sqlx::query!(
        r#"select destination_id as "destination: DestinationId", start, records, bytes, batches, failures
           from destination_hours where start >= $1 order by start"#,
        from,
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Hour {
            destination: row.destination,
            start: row.start,
            records: row.records.cast_unsigned(),
            bytes: row.bytes.cast_unsigned(),
            batches: row.batches.cast_unsigned(),
            failures: row.failures.cast_unsigned(),
        })
        .collect())
}

/// Forgets hours of a destination that are older than a time.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn forget_hours(tx: &mut TenantTx, destination: DestinationId, before: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query!("delete from destination_hours where destination_id = $1 and start < $2", destination.uuid(), before,)
        .execute(tx.connection())
        .await?;
    Ok(())
}
