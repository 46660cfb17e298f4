//! How far the numbers that sources gave a tenant's records are in its log.

use ::audit::Source;
use chrono::{DateTime, Utc};
use domain::{BootId, NodeId, RecordId, TenantId};
use uuid::Uuid;

use super::inbox::InboxRecord;
use crate::audit::shard::number;
use crate::{Error, IngestTx, TenantTx};

/// Of one source and tenant: each number below `complete_n` is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Complete {
    /// Whose records.
    pub tenant: TenantId,
    /// Which run.
    pub source: Source,
    /// The lowest number whose call is open, or the one after the last.
    pub complete_n: u64,
}

/// Logs of a shard's tenants that were last marked before a time, at most `limit`; they count as marked now.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn due(
    tx: &mut IngestTx,
    (shard, shards): (u16, u16),
    (before, now): (DateTime<Utc>, DateTime<Utc>),
    limit: u32,
) -> Result<Vec<TenantId>, Error> {
    let rows = sqlx::query_scalar!(
        "update audit_head set marked_at = $4 where tenant_id in (
             select tenant_id from audit_head
             where marked_at < $3 and get_byte(uuid_send(tenant_id), 15) & ($2 - 1) = $1
             order by marked_at limit $5)
         returning tenant_id",
        i32::from(shard),
        i32::from(shards),
        before,
        now,
        i64::from(limit),
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(TenantId::from_uuid).collect())
}

/// How far the sources of a shard are in the logs of these tenants, where that is further than was marked; it counts as
/// marked now.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn complete(tx: &mut IngestTx, shard: u16, tenants: &[TenantId]) -> Result<Vec<Complete>, Error> {
    let tenants: Vec<Uuid> = tenants.iter().map(|tenant| tenant.uuid()).collect();
    let rows = sqlx::query!(
        r#"with open as (
               select tenant_id, node, boot, min(n) as n from audit_open
               where state = 'open' and shard = $1 and tenant_id = any($2) group by tenant_id, node, boot),
           now as (
               select l.tenant_id, l.node, l.boot, least(open.n, l.last_n + 1) as complete_n from audit_source_last l
               left join open using (tenant_id, node, boot) where l.shard = $1 and l.tenant_id = any($2))
           update audit_source_last l set marked_n = now.complete_n from now
           where l.tenant_id = now.tenant_id and l.node = now.node and l.boot = now.boot and l.shard = $1
               and l.marked_n < now.complete_n
           returning l.tenant_id, l.node, l.boot, l.marked_n"#,
        number(shard),
        &tenants,
    )
    .fetch_all(tx.connection())
    .await?;
    let complete = |tenant, node, boot, n: i64| Complete {
        tenant: TenantId::from_uuid(tenant),
        source: Source { node: NodeId::from_uuid(node), boot: BootId::from_uuid(boot), shard },
        complete_n: n.cast_unsigned(),
    };
    Ok(rows.into_iter().map(|row| complete(row.tenant_id, row.node, row.boot, row.marked_n)).collect())
}

/// How far a tenant's log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// The present epoch.
    pub epoch: u64,
    /// How many leaves.
    pub size: u64,
    /// How many the last checkpoint covers.
    pub signed_size: u64,
    /// When it last got a mark or a heartbeat, or was begun.
    pub marked_at: DateTime<Utc>,
}

/// How far the tenant's log is; `None` while nothing is recorded.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn state(tx: &mut TenantTx) -> Result<Option<State>, Error> {
    let row = sqlx::query!(
        "select epoch, size, signed_size, marked_at from audit_head where tenant_id = $1",
        tx.tenant().uuid(),
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(row.map(|row| State {
        epoch: row.epoch.cast_unsigned(),
        size: row.size.cast_unsigned(),
        signed_size: row.signed_size.cast_unsigned(),
        marked_at: row.marked_at,
    }))
}

/// Puts records of the owner's own into the inbox, each for the log of its tenant.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn note(tx: &mut IngestTx, notes: &[(TenantId, InboxRecord)]) -> Result<(), Error> {
    let tenants: Vec<Uuid> = notes.iter().map(|(tenant, _)| tenant.uuid()).collect();
    let ids: Vec<Uuid> = notes.iter().map(|(_, note)| RecordId::uuid(note.id)).collect();
    let bodies: Vec<&[u8]> = notes.iter().map(|(_, note)| note.body.as_slice()).collect();
    sqlx::query!(
        "insert into audit_inbox (tenant_id, record_id, body)
         select * from unnest($1::uuid[], $2::uuid[], $3::bytea[])",
        &tenants,
        &ids,
        &bodies as &[&[u8]],
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}
