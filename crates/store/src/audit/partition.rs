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
