//! Who owns a shard of the stream, and how far it has read.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{Error, IngestTx};

/// The row of a shard. Its lock is the fence; the lease only says when others may try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Raised by every new owner.
    pub fence: i64,
    /// Raised when Postgres went back; orders acks first.
    pub epoch: i64,
    /// Raised by every commit; orders acks second.
    pub version: i64,
    /// The random value of the stream that `cursor` is of; empty when there never was one.
    pub incarnation: String,
    /// The id of the last entry read.
    pub cursor: String,
    /// How many ticks were applied.
    pub tick: i64,
    /// Postgres was set back, and frames that nothing has any more are not yet given up.
    pub set_back: bool,
    /// The database's clock when the row was read.
    pub now: DateTime<Utc>,
}

/// Makes the rows of shards that are not there yet.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn add(tx: &mut IngestTx, shard: u16) -> Result<(), Error> {
    sqlx::query!("insert into audit_shard (shard) values ($1) on conflict do nothing", number(shard))
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Takes over a shard whose lease is over (O1). `None` when another holds it. Where the owner before did not count by caller
/// and server, hours are whole in those counts from the next one on. What begins in five minutes is believed: that too may
/// have been taken in by it.
///
/// # Errors
/// [`Error`] when the database failed, [`Error::is_lock_timeout`] when a stopped owner holds the row.
pub async fn acquire(tx: &mut IngestTx, shard: u16, owner: Uuid, lease: Duration) -> Result<Option<Shard>, Error> {
    Ok(sqlx::query_as!(
        Shard,
        r#"update audit_shard set owner = $2, fence = fence + 1, lease_until = clock_timestamp() + make_interval(secs => $3),
             counted_fence = fence + 1, counted_from = case when counted_fence = fence then counted_from
                 else date_trunc('hour', clock_timestamp() + interval '65 minutes', 'UTC') end
         where shard = $1 and (lease_until < clock_timestamp() or owner = $2)
         returning fence, epoch, version, incarnation, cursor, tick, set_back, clock_timestamp() as "now!""#,
        number(shard),
        owner,
        lease.as_secs_f64(),
    )
    .fetch_optional(tx.connection())
    .await?)
}

/// Ends every other session that is inside a transaction of the shard's owner (O1).
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn end_other_sessions(pool: &PgPool, shard: u16) -> Result<(), Error> {
    sqlx::query!(
        "select pg_terminate_backend(pid) from pg_stat_activity
         where application_name = $1 and datname = current_database() and pid <> pg_backend_pid()",
        format!("audit-owner-{shard}"),
    )
    .fetch_all(pool)
    .await?;
    Ok(())
}

/// Locks the shard's row for the rest of the transaction (O3.1). `None` when another has become its owner.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn lock(tx: &mut IngestTx, shard: u16, fence: i64) -> Result<Option<Shard>, Error> {
    Ok(sqlx::query_as!(
        Shard,
        r#"select fence, epoch, version, incarnation, cursor, tick, set_back, clock_timestamp() as "now!" from audit_shard
           where shard = $1 and fence = $2 for update"#,
        number(shard),
        fence,
    )
    .fetch_optional(tx.connection())
    .await?)
}

/// Saves what the owner's transaction came to, and prolongs the lease (O3.4).
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn save(tx: &mut IngestTx, shard: u16, row: &Shard, lease: Duration) -> Result<(), Error> {
    sqlx::query!(
        "update audit_shard set epoch = $2, version = $3, incarnation = $4, cursor = $5, tick = $6,
             lease_until = clock_timestamp() + make_interval(secs => $7), set_back = $8
         where shard = $1",
        number(shard),
        row.epoch,
        row.version,
        row.incarnation,
        row.cursor,
        row.tick,
        lease.as_secs_f64(),
        row.set_back,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Lets others take the shard at once: an orderly stop.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn release(tx: &mut IngestTx, shard: u16, fence: i64) -> Result<(), Error> {
    sqlx::query!(
        "update audit_shard set lease_until = '-infinity' where shard = $1 and fence = $2",
        number(shard),
        fence,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Shards are at most 256.
pub(crate) fn number(shard: u16) -> i16 {
    i16::try_from(shard).unwrap_or(i16::MAX)
}
