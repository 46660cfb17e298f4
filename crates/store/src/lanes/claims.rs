//! Lanes over all tenants: who takes which, and which wait.

use std::collections::HashMap;
use std::time::Duration;

use domain::{DestinationId, TenantId};
use uuid::Uuid;

use super::{CHECKPOINT_EVERY, Claim, Kind};
use crate::{Error, PlatformTx};

/// How many lanes are taken: at once, and of one tenant over all who take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// At once.
    pub free: u32,
    /// Of one tenant, with those that are held. Two who take at the same moment may exceed it.
    pub per_tenant: u32,
}

/// Takes lanes that have something to send, are due and are nobody's: as many as there is room for, those that wait longest
/// first; of a tenant's, those that follow the log before all others.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn claim(tx: &mut PlatformTx, owner: Uuid, room: Room, lease: Duration) -> Result<Vec<Claim>, Error> {
    let rows = sqlx::query!(
        r#"with held as (
             select tenant_id, count(*) as lanes from destination_lanes where lease_until >= clock_timestamp() group by 1),
           waiting as (
             select l.tenant_id, l.destination_id, l.lane, coalesce(held.lanes, 0) + row_number() over (
                     partition by l.tenant_id order by l.lane <> 'live', l.due_at, l.lease_until) as place
             from destination_lanes l left join audit_head h on h.tenant_id = l.tenant_id
                 left join held on held.tenant_id = l.tenant_id
             where l.is_on and l.lease_until < clock_timestamp() and l.due_at <= clock_timestamp()
                 and (l.lane <> 'live' or h.epoch > l.epoch or h.size > l.next
                     or h.signed_size > l.checkpoint_size
                         and l.checkpoint_at < clock_timestamp() - make_interval(secs => $4))),
           due as (
             select l.tenant_id, l.destination_id, l.lane from destination_lanes l
                 join waiting w using (tenant_id, destination_id, lane)
             where w.place <= $5 and l.lease_until < clock_timestamp()
             order by l.due_at, l.lease_until limit $2 for update of l skip locked)
           update destination_lanes l set owner = $1, fence = nextval('destination_fences'),
               lease_until = clock_timestamp() + make_interval(secs => $3),
               behind_since = coalesce(l.behind_since, clock_timestamp())
           from due where l.tenant_id = due.tenant_id and l.destination_id = due.destination_id and l.lane = due.lane
           returning l.tenant_id as "tenant_id: TenantId", l.destination_id as "destination_id: DestinationId", l.lane,
               l.fence"#,
        owner,
        i64::from(room.free),
        lease.as_secs_f64(),
        CHECKPOINT_EVERY.as_secs_f64(),
        i64::from(room.per_tenant),
    )
    .fetch_all(tx.connection())
    .await?;
    let claim = |tenant, destination, lane: &str, fence| {
        let kind = crate::error::read("destination_lanes.lane", Kind::find(lane))?;
        Ok(Claim { tenant, destination, kind, fence })
    };
    rows.into_iter().map(|row| claim(row.tenant_id, row.destination_id, &row.lane, row.fence)).collect()
}

/// How far a log reaches: its epoch and how many records.
pub type End = (u64, u64);

/// How far the logs of these tenants reach; one that is empty is left out.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn ends(tx: &mut PlatformTx, tenants: &[TenantId]) -> Result<HashMap<TenantId, End>, Error> {
    let tenants: Vec<Uuid> = tenants.iter().map(|tenant| tenant.uuid()).collect();
    let rows = sqlx::query!(
        r#"select tenant_id as "tenant_id: TenantId", epoch, size from audit_head where tenant_id = any($1)"#,
        &tenants,
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| (row.tenant_id, (row.epoch.cast_unsigned(), row.size.cast_unsigned()))).collect())
}

/// Notes since when records wait for live lanes that nobody holds, and where none does. To be asked for before [`behind`]:
/// who takes a lane notes it, too, but not while there is no room to take it.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn note_waiting(tx: &mut PlatformTx) -> Result<(), Error> {
    sqlx::query!(
        "with found as (
             select l.tenant_id, l.destination_id, l.lane, h.epoch > l.epoch or h.size > l.next as waits
             from destination_lanes l join audit_head h using (tenant_id)
             where l.lane = 'live' and l.is_on and l.lease_until < clock_timestamp()
                 and (l.behind_since is null) = (h.epoch > l.epoch or h.size > l.next)
             for update of l skip locked)
         update destination_lanes l set behind_since = case when f.waits then clock_timestamp() end
         from found f where l.tenant_id = f.tenant_id and l.destination_id = f.destination_id and l.lane = f.lane"
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// How far live lanes that move are behind: for each that is, its kind of destination, for how long, and how many records.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn behind(tx: &mut PlatformTx) -> Result<Vec<(String, Duration, u64)>, Error> {
    let rows = sqlx::query!(
        r#"select d.kind, extract(epoch from clock_timestamp() - l.behind_since)::float8 as "seconds!",
               case when h.epoch = l.epoch then greatest(h.size - l.next, 0) else h.size end as "records!"
           from destination_lanes l join audit_head h using (tenant_id) join destinations d using (tenant_id, destination_id)
           where l.lane = 'live' and l.is_on and l.behind_since is not null and (h.epoch > l.epoch or h.size > l.next)"#
    )
    .fetch_all(tx.connection())
    .await?;
    let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
    Ok(rows.into_iter().map(|row| (row.kind, seconds(row.seconds), row.records.cast_unsigned())).collect())
}
