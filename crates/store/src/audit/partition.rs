//! The days of the log: one partition each, made ahead.

use chrono::NaiveDate;

use crate::{Error, IngestTx};

/// Makes the partitions of these days (UTC) where they are not there yet.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn add(tx: &mut IngestTx, days: &[NaiveDate]) -> Result<(), Error> {
    sqlx::query!("select audit_add_partition(day) from unnest($1::date[]) as days(day)", days)
        .fetch_all(tx.connection())
        .await?;
    Ok(())
}

/// Drops the oldest day of the log where it is before this one, and says which it was. The log is locked for a moment.
///
/// # Errors
/// [`Error`] when the database failed, or `before` is less than 32 days ago.
pub async fn drop_oldest(tx: &mut IngestTx, before: NaiveDate) -> Result<Option<NaiveDate>, Error> {
    let dropped = sqlx::query_scalar!("select audit_drop_partition($1)", before).fetch_one(tx.connection()).await?;
    Ok(dropped)
}
