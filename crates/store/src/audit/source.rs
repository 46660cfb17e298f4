//! Sources: one run of one node in one shard, and how far its frames are in the log.

use ::audit::protocol::Life;
use ::audit::{Ranges, Source};
use chrono::{DateTime, Utc};
use domain::{BootId, NodeId, TenantId};
use uuid::Uuid;

use crate::audit::shard::number;
use crate::error::read;
use crate::{Error, IngestTx};

/// The row of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRow {
    /// Which.
    pub source: Source,
    /// All frames up to this number are in the log, or in `missing`.
    pub wm: u64,
    /// Frames below `wm` that never came.
    pub missing: Ranges,
    /// The tick at which it was last heard.
    pub last_tick: u64,
    /// Live, lapsed or ended.
    pub life: Life,
}

/// The written form of a life.
const LIVES: [(Life, &str); 3] = [(Life::Live, "live"), (Life::Lapsed, "lapsed"), (Life::Ended, "ended")];

/// Locks the rows of these sources in key order; those without one are left out (O3.2).
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn lock(tx: &mut IngestTx, sources: &[Source]) -> Result<Vec<SourceRow>, Error> {
    let (nodes, boots, shards) = columns(sources.iter().copied());
    let rows = sqlx::query!(
        r#"select s.node, s.boot, s.shard, s.wm, s.missing::text as "missing!", s.last_tick, s.state
           from audit_source s join unnest($1::uuid[], $2::uuid[], $3::int2[]) w(node, boot, shard)
               on s.node = w.node and s.boot = w.boot and s.shard = w.shard
           order by s.node, s.boot, s.shard for update of s"#,
        &nodes,
        &boots,
        &shards,
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(SourceRow {
                source: from_row(row.node, row.boot, row.shard),
                wm: row.wm.cast_unsigned(),
                missing: row.missing.parse().map_err(|_| Error::Unreadable { column: "audit_source.missing" })?,
                last_tick: row.last_tick.cast_unsigned(),
                life: read("audit_source.state", LIVES.iter().find(|life| life.1 == row.state))?.0,
            })
        })
        .collect()
}

/// Writes the rows of these sources.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn save(tx: &mut IngestTx, rows: &[SourceRow]) -> Result<(), Error> {
    let (nodes, boots, shards) = columns(rows.iter().map(|row| row.source));
    let marks: Vec<i64> = rows.iter().map(|row| row.wm.cast_signed()).collect();
    let missing: Vec<String> = rows.iter().map(|row| row.missing.to_string()).collect();
    let ticks: Vec<i64> = rows.iter().map(|row| row.last_tick.cast_signed()).collect();
    let written = |life: Life| LIVES.iter().find(|known| known.0 == life).map_or("live", |known| known.1);
    let states: Vec<&str> = rows.iter().map(|row| written(row.life)).collect();
    sqlx::query!(
        "insert into audit_source (node, boot, shard, wm, missing, last_tick, state)
         select node, boot, shard, wm, missing::int8multirange, last_tick, state
         from unnest($1::uuid[], $2::uuid[], $3::int2[], $4::int8[], $5::text[], $6::int8[], $7::text[])
             u(node, boot, shard, wm, missing, last_tick, state)
         on conflict (node, boot, shard) do update set wm = excluded.wm, missing = excluded.missing,
             last_tick = excluded.last_tick, state = excluded.state, last_seen = clock_timestamp()",
        &nodes,
        &boots,
        &shards,
        &marks,
        &missing,
        &ticks,
        &states as &[&str],
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Live sources of a shard that were last heard at this tick or before.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn silent(tx: &mut IngestTx, shard: u16, tick: u64) -> Result<Vec<Source>, Error> {
    let rows = sqlx::query!(
        "select node, boot, shard from audit_source
         where shard = $1 and state = 'live' and last_tick <= $2 order by node, boot limit 100",
        number(shard),
        tick.cast_signed(),
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| from_row(row.node, row.boot, row.shard)).collect())
}

/// The last `gw.n` of each tenant in these sources.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn last_numbers(tx: &mut IngestTx, sources: &[Source]) -> Result<Vec<(TenantId, Source, u64)>, Error> {
    let (nodes, boots, shards) = columns(sources.iter().copied());
    let rows = sqlx::query!(
        "select l.tenant_id, l.node, l.boot, l.shard, l.last_n
         from unnest($1::uuid[], $2::uuid[], $3::int2[]) w(node, boot, shard)
             join audit_source_last l using (node, boot, shard)",
        &nodes,
        &boots,
        &shards,
    )
    .fetch_all(tx.connection())
    .await?;
    let last = |tenant, source, n: i64| (TenantId::from_uuid(tenant), source, n.cast_unsigned());
    Ok(rows.into_iter().map(|row| last(row.tenant_id, from_row(row.node, row.boot, row.shard), row.last_n)).collect())
}

/// Raises the last `gw.n` of tenants in sources.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn raise_numbers(tx: &mut IngestTx, last: &[(TenantId, Source, u64)]) -> Result<(), Error> {
    if last.is_empty() {
        return Ok(());
    }
    let tenants: Vec<Uuid> = last.iter().map(|last| last.0.uuid()).collect();
    let (nodes, boots, shards) = columns(last.iter().map(|last| last.1));
    let numbers: Vec<i64> = last.iter().map(|last| last.2.cast_signed()).collect();
    sqlx::query!(
        "insert into audit_source_last as l (tenant_id, node, boot, shard, last_n)
         select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::int2[], $5::int8[]) order by 1, 2, 3
         on conflict (tenant_id, node, boot, shard) do update set last_n = greatest(l.last_n, excluded.last_n)",
        &tenants,
        &nodes,
        &boots,
        &shards,
        &numbers,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Forgets sources, and what else is kept of them, that were last seen before the horizon and are not live.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn forget(tx: &mut IngestTx, before: DateTime<Utc>) -> Result<u64, Error> {
    let gone = sqlx::query!(
        "with gone as (delete from audit_source where state <> 'live' and last_seen < $1 returning node, boot, shard),
              numbers as (delete from audit_source_last l using gone g
                  where l.node = g.node and l.boot = g.boot and l.shard = g.shard)
         delete from audit_held h using gone g where h.node = g.node and h.boot = g.boot and h.shard = g.shard",
        before,
    )
    .execute(tx.connection())
    .await?;
    Ok(gone.rows_affected())
}

/// The key columns of sources.
pub(crate) fn columns(sources: impl Iterator<Item = Source>) -> (Vec<Uuid>, Vec<Uuid>, Vec<i16>) {
    let mut columns = (Vec::new(), Vec::new(), Vec::new());
    for source in sources {
        columns.0.push(source.node.uuid());
        columns.1.push(source.boot.uuid());
        columns.2.push(number(source.shard));
    }
    columns
}

/// A source from its key columns.
pub(crate) fn from_row(node: Uuid, boot: Uuid, shard: i16) -> Source {
    Source { node: NodeId::from_uuid(node), boot: BootId::from_uuid(boot), shard: shard.cast_unsigned() }
}
