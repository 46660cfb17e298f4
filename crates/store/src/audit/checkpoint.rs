//! Signed checkpoints of tenants' logs.

use chrono::{DateTime, Utc};
use domain::TenantId;
use uuid::Uuid;

use super::head::{Head, HeadRow};
use crate::{Error, IngestTx, TenantTx};

/// A checkpoint with the note that was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Whose log.
    pub tenant: TenantId,
    /// Which epoch of it.
    pub epoch: u64,
    /// How many leaves it is over.
    pub size: u64,
    /// The signed note.
    pub note: String,
    /// When it was signed.
    pub signed_at: DateTime<Utc>,
}

/// Logs of a shard's tenants with leaves that no checkpoint covers, locked; at most `limit`. Shards are a power of two.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn unsigned(tx: &mut IngestTx, (shard, shards): (u16, u16), limit: u32) -> Result<Vec<Head>, Error> {
    let rows = sqlx::query_as!(
        HeadRow,
        "select tenant_id, epoch, size, frontier, signed_size, begin_epoch from audit_head
         where size > signed_size and get_byte(uuid_send(tenant_id), 15) & ($2 - 1) = $1
         order by tenant_id limit $3 for update",
        i32::from(shard),
        i32::from(shards),
        i64::from(limit),
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(Head::from).collect())
}

/// Adds checkpoints, and notes in the heads how far they reach.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn add(tx: &mut IngestTx, signed: &[Signed]) -> Result<(), Error> {
    let tenants: Vec<Uuid> = signed.iter().map(|signed| signed.tenant.uuid()).collect();
    let epochs: Vec<i64> = signed.iter().map(|signed| signed.epoch.cast_signed()).collect();
    let sizes: Vec<i64> = signed.iter().map(|signed| signed.size.cast_signed()).collect();
    let notes: Vec<&str> = signed.iter().map(|signed| signed.note.as_str()).collect();
    let times: Vec<DateTime<Utc>> = signed.iter().map(|signed| signed.signed_at).collect();
    sqlx::query!(
        "with added as (
             insert into audit_checkpoint (tenant_id, epoch, size, note, signed_at)
             select * from unnest($1::uuid[], $2::int8[], $3::int8[], $4::text[], $5::timestamptz[]) returning *)
         update audit_head h set signed_size = added.size from added
         where h.tenant_id = added.tenant_id and h.epoch = added.epoch",
        &tenants,
        &epochs,
        &sizes,
        &notes as &[&str],
        &times,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Forgets checkpoints signed before a time, but for the last of each hour; at most `limit`. Gives how many.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn thin_out(tx: &mut IngestTx, before: DateTime<Utc>, limit: u32) -> Result<u64, Error> {
    let done = sqlx::query!(
        "delete from audit_checkpoint where (tenant_id, epoch, size) in (
             select c.tenant_id, c.epoch, c.size from audit_checkpoint c
             where c.signed_at < $1 and exists (
                 select from audit_checkpoint later
                 where later.tenant_id = c.tenant_id and later.epoch = c.epoch and later.size > c.size
                     and date_trunc('hour', later.signed_at) = date_trunc('hour', c.signed_at))
             limit $2)",
        before,
        i64::from(limit),
    )
    .execute(tx.connection())
    .await?;
    Ok(done.rows_affected())
}

/// The last checkpoint of an epoch of the tenant's log.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn last_of(tx: &mut TenantTx, epoch: u64) -> Result<Option<Signed>, Error> {
    let tenant = tx.tenant();
    let row = sqlx::query!(
        "select size, note, signed_at from audit_checkpoint where tenant_id = $1 and epoch = $2
         order by size desc limit 1",
        tenant.uuid(),
        epoch.cast_signed(),
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(row.map(|row| Signed {
        tenant,
        epoch,
        size: row.size.cast_unsigned(),
        note: row.note,
        signed_at: row.signed_at,
    }))
}

/// The tenant's last checkpoint; `None` while its log has none.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn last(tx: &mut TenantTx) -> Result<Option<Signed>, Error> {
    let row = sqlx::query!(
        "select epoch, size, note, signed_at from audit_checkpoint where tenant_id = $1
         order by epoch desc, size desc limit 1",
        tx.tenant().uuid(),
    )
    .fetch_optional(tx.connection())
    .await?;
    let tenant = tx.tenant();
    Ok(row.map(|row| Signed {
        tenant,
        epoch: row.epoch.cast_unsigned(),
        size: row.size.cast_unsigned(),
        note: row.note,
        signed_at: row.signed_at,
    }))
}

/// The tenant's checkpoints of an epoch over more than `above` leaves and at most `up_to`, the smallest first.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn between(tx: &mut TenantTx, epoch: u64, above: u64, up_to: u64) -> Result<Vec<Signed>, Error> {
    let tenant = tx.tenant();
    let rows = sqlx::query!(
        "select size, note, signed_at from audit_checkpoint
         where tenant_id = $1 and epoch = $2 and size > $3 and size <= $4 order by size",
        tenant.uuid(),
        epoch.cast_signed(),
        above.cast_signed(),
        up_to.cast_signed(),
    )
    .fetch_all(tx.connection())
    .await?;
    let signed = |size: i64, note, signed_at| Signed { tenant, epoch, size: size.cast_unsigned(), note, signed_at };
    Ok(rows.into_iter().map(|row| signed(row.size, row.note, row.signed_at)).collect())
}
