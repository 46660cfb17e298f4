//! Epochs of logs: one is over when Postgres was set back, and the log goes on in the next (O6).

use chrono::{DateTime, Utc};
use domain::TenantId;
use uuid::Uuid;

use super::head::{Head, HeadRow};
use crate::{Error, IngestTx, TenantTx};

/// How an epoch of a log ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedEpoch {
    /// Whose log.
    pub tenant: TenantId,
    /// Which epoch of it.
    pub epoch: u64,
    /// How many leaves were left of it.
    pub size: u64,
    /// Their root.
    pub root: [u8; 32],
    /// The last checkpoint of the log that was kept outside of Postgres, as a signed note.
    pub signed: Option<String>,
    /// When the next one was begun.
    pub ended_at: DateTime<Utc>,
}

/// Heads of a shard's logs in key order, after a tenant, locked.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn heads(
    tx: &mut IngestTx,
    (shard, shards): (u16, u16),
    after: Option<TenantId>,
    limit: u32,
) -> Result<Vec<Head>, Error> {
    let after: Option<Uuid> = after.map(TenantId::uuid);
    let rows = sqlx::query_as!(
        HeadRow,
        "select tenant_id, epoch, size, frontier, signed_size, begin_epoch from audit_head
         where ($3::uuid is null or tenant_id > $3) and get_byte(uuid_send(tenant_id), 15) & ($2 - 1) = $1
         order by tenant_id limit $4 for update",
        i32::from(shard),
        i32::from(shards),
        after,
        i64::from(limit),
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(Head::from).collect())
}

/// Heads of a shard's logs of which somebody said that they were set back, locked.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn to_begin(tx: &mut IngestTx, (shard, shards): (u16, u16), limit: u32) -> Result<Vec<Head>, Error> {
    let rows = sqlx::query_as!(
        HeadRow,
        "select tenant_id, epoch, size, frontier, signed_size, begin_epoch from audit_head
         where begin_epoch is not null and get_byte(uuid_send(tenant_id), 15) & ($2 - 1) = $1
         order by tenant_id limit $3 for update",
        i32::from(shard),
        i32::from(shards),
        i64::from(limit),
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(Head::from).collect())
}

/// Ends a log's epoch and begins another, which has no leaf yet.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn begin(tx: &mut IngestTx, ended: &EndedEpoch, next: &Head) -> Result<(), Error> {
    sqlx::query!(
        "with ended as (
             insert into audit_epoch (tenant_id, epoch, size, root, signed, ended_at) values ($1, $2, $3, $4, $5, $6))
         update audit_head set epoch = $7, size = 0, frontier = $8, signed_size = 0, begin_epoch = null
         where tenant_id = $1",
        ended.tenant.uuid(),
        ended.epoch.cast_signed(),
        ended.size.cast_signed(),
        &ended.root,
        ended.signed,
        ended.ended_at,
        next.epoch.cast_signed(),
        next.frontier,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Says of every log and of every shard that Postgres was set back: each log goes on in an epoch of at least this number.
/// Gives how many logs there are.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn set_all_back(tx: &mut IngestTx, at_least: u64) -> Result<u64, Error> {
    let logs = sqlx::query!("update audit_head set begin_epoch = $1 where size > 0", at_least.cast_signed())
        .execute(tx.connection())
        .await?;
    sqlx::query!("update audit_shard set set_back = true").execute(tx.connection()).await?;
    Ok(logs.rows_affected())
}

/// The epochs of the tenant's log that are over, in their order.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn ended(tx: &mut TenantTx) -> Result<Vec<EndedEpoch>, Error> {
    let tenant = tx.tenant();
    let rows = sqlx::query!(
        "select epoch, size, root, signed, ended_at from audit_epoch where tenant_id = $1 order by epoch",
        tenant.uuid(),
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(EndedEpoch {
                tenant,
                epoch: row.epoch.cast_unsigned(),
                size: row.size.cast_unsigned(),
                root: crate::error::read("audit_epoch.root", row.root.try_into().ok())?,
                signed: row.signed,
                ended_at: row.ended_at,
            })
        })
        .collect()
}
