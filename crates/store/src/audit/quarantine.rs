//! What could not be opened, read or stored: kept whole, so that nothing is lost and nothing is held up.

use ::audit::Source;
use chrono::{DateTime, Utc};

use crate::audit::shard::number;
use crate::{Error, IngestTx};

/// What is put aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined<'a> {
    /// Where it was read.
    pub shard: u16,
    /// Whose frame and which, where that could be read.
    pub frame_of: Option<(Source, u64)>,
    /// The id of its entry in the stream, where it was read there.
    pub stream_id: Option<&'a str>,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// A stable word: `unreadable`, `unopened`, `misplaced`, `not_storable`, `too_old`.
    pub reason: &'a str,
}

/// Puts something aside; what was read at the same place before is not put aside again. Says whether it was put.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn add(tx: &mut IngestTx, put: &Quarantined<'_>) -> Result<bool, Error> {
    let put = sqlx::query!(
        "insert into audit_quarantine (shard, node, boot, s, stream_id, frame, reason)
         values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing",
        number(put.shard),
        put.frame_of.map(|(source, _)| source.node.uuid()),
        put.frame_of.map(|(source, _)| source.boot.uuid()),
        put.frame_of.map(|(_, s)| s.cast_signed()),
        put.stream_id,
        put.bytes,
        put.reason,
    )
    .execute(tx.connection())
    .await?;
    Ok(put.rows_affected() > 0)
}

/// Forgets the oldest of what was put aside before, at most `most`; gives how many there were.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn forget(tx: &mut IngestTx, before: DateTime<Utc>, most: u32) -> Result<u64, Error> {
    let gone = sqlx::query!(
        "delete from audit_quarantine where ctid = any(array(
             select ctid from audit_quarantine where added_at < $1 order by added_at limit $2))",
        before,
        i64::from(most),
    )
    .execute(tx.connection())
    .await?;
    Ok(gone.rows_affected())
}
