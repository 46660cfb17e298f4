//! Frames that came before the ones they follow.

use ::audit::Source;

use crate::audit::shard::number;
use crate::audit::source::{columns, from_row};
use crate::{Error, IngestTx};

/// A frame that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Whose.
    pub source: Source,
    /// Its number.
    pub s: u64,
    /// Its sealed bytes.
    pub frame: Vec<u8>,
}

/// Keeps frames; those kept already stay as they are.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn add(tx: &mut IngestTx, held: &[Held]) -> Result<(), Error> {
    if held.is_empty() {
        return Ok(());
    }
    let (nodes, boots, shards) = columns(held.iter().map(|held| held.source));
    let numbers: Vec<i64> = held.iter().map(|held| held.s.cast_signed()).collect();
    let frames: Vec<&[u8]> = held.iter().map(|held| held.frame.as_slice()).collect();
    sqlx::query!(
        "insert into audit_held (node, boot, shard, s, frame)
         select * from unnest($1::uuid[], $2::uuid[], $3::int2[], $4::int8[], $5::bytea[]) on conflict do nothing",
        &nodes,
        &boots,
        &shards,
        &numbers,
        &frames as &[&[u8]],
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Sources of a shard of which frames are held, at most `limit`, with the first number that is held of each.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn sources(tx: &mut IngestTx, shard: u16, limit: usize) -> Result<Vec<(Source, u64)>, Error> {
    let rows = sqlx::query!(
        r#"select node, boot, shard, min(s) as "first!" from audit_held where shard = $1
           group by 1, 2, 3 order by node, boot limit $2"#,
        number(shard),
        i64::try_from(limit).unwrap_or(i64::MAX),
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| (from_row(row.node, row.boot, row.shard), row.first.cast_unsigned())).collect())
}

/// A source of a shard whose first held frame follows what took effect, and that frame's number.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn ready(tx: &mut IngestTx, shard: u16) -> Result<Option<(Source, u64)>, Error> {
    let row = sqlx::query!(
        "select h.node, h.boot, h.shard, h.s from audit_held h join audit_source o using (node, boot, shard)
         where h.shard = $1 and h.s = o.wm + 1 limit 1",
        number(shard),
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(row.map(|row| (from_row(row.node, row.boot, row.shard), row.s.cast_unsigned())))
}

/// How many frames are held of a source, and the first of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub count: u64,
    /// The lowest number.
    pub first: u64,
}

/// What is held of each of these sources; those of which nothing is are left out.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn waiting(tx: &mut IngestTx, sources: &[Source]) -> Result<Vec<(Source, Waiting)>, Error> {
    let (nodes, boots, shards) = columns(sources.iter().copied());
    let rows = sqlx::query!(
        r#"select h.node, h.boot, h.shard, count(*) as "count!", min(h.s) as "first!"
           from unnest($1::uuid[], $2::uuid[], $3::int2[]) w(node, boot, shard)
               join audit_held h using (node, boot, shard) group by 1, 2, 3"#,
        &nodes,
        &boots,
        &shards,
    )
    .fetch_all(tx.connection())
    .await?;
    let waiting = |count: i64, first: i64| Waiting { count: count.cast_unsigned(), first: first.cast_unsigned() };
    Ok(rows.into_iter().map(|row| (from_row(row.node, row.boot, row.shard), waiting(row.count, row.first))).collect())
}

/// The first frames held of a source: so many at most, and no more once they have so many bytes.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn first(tx: &mut IngestTx, source: Source, frames: usize, bytes: usize) -> Result<Vec<Held>, Error> {
    let rows = sqlx::query!(
        "select s, frame from (
             select s, frame, sum(octet_length(frame)) over (order by s) - octet_length(frame) as before
             from (select s, frame from audit_held where node = $1 and boot = $2 and shard = $3 order by s limit $4) few
         ) measured where before < $5 order by s",
        source.node.uuid(),
        source.boot.uuid(),
        number(source.shard),
        i64::try_from(frames).unwrap_or(i64::MAX),
        i64::try_from(bytes).unwrap_or(i64::MAX),
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| Held { source, s: row.s.cast_unsigned(), frame: row.frame }).collect())
}

/// Deletes frames that took effect.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn delete(tx: &mut IngestTx, gone: &[(Source, u64)]) -> Result<(), Error> {
    if gone.is_empty() {
        return Ok(());
    }
    let (nodes, boots, shards) = columns(gone.iter().map(|gone| gone.0));
    let numbers: Vec<i64> = gone.iter().map(|gone| gone.1.cast_signed()).collect();
    sqlx::query!(
        "delete from audit_held h using unnest($1::uuid[], $2::uuid[], $3::int2[], $4::int8[]) w(node, boot, shard, s)
         where h.node = w.node and h.boot = w.boot and h.shard = w.shard and h.s = w.s",
        &nodes,
        &boots,
        &shards,
        &numbers,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}
