//! A tenant's Merkle log: its size and the hashes its root is made from.

use domain::TenantId;
use uuid::Uuid;

use crate::{Error, IngestTx};

/// The head of a tenant's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Whose log.
    pub tenant: TenantId,
    /// Raised when Postgres went back.
    pub epoch: u64,
    /// How many leaves.
    pub size: u64,
    /// Roots of the complete subtrees, largest first, 32 bytes each.
    pub frontier: Vec<u8>,
    /// The size of the last signed checkpoint.
    pub signed_size: u64,
    /// The least number of an epoch that is to be begun, where somebody said that Postgres was set back.
    pub begin_epoch: Option<u64>,
}

pub(crate) struct HeadRow {
    pub(crate) tenant_id: Uuid,
    pub(crate) epoch: i64,
    pub(crate) size: i64,
    pub(crate) frontier: Vec<u8>,
    pub(crate) signed_size: i64,
    pub(crate) begin_epoch: Option<i64>,
}

impl From<HeadRow> for Head {
    fn from(row: HeadRow) -> Self {
        Self {
            tenant: TenantId::from_uuid(row.tenant_id),
            epoch: row.epoch.cast_unsigned(),
            size: row.size.cast_unsigned(),
            frontier: row.frontier,
            signed_size: row.signed_size.cast_unsigned(),
            begin_epoch: row.begin_epoch.map(i64::cast_unsigned),
        }
    }
}

/// Locks the heads of these tenants in key order, making those that are not there yet (O3.2).
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn lock(tx: &mut IngestTx, tenants: &[TenantId]) -> Result<Vec<Head>, Error> {
    let tenants: Vec<Uuid> = tenants.iter().map(|tenant| tenant.uuid()).collect();
    sqlx::query!(
        "insert into audit_head (tenant_id) select tenant_id from unnest($1::uuid[]) w(tenant_id)
         where not exists (select from audit_head h where h.tenant_id = w.tenant_id) order by 1 on conflict do nothing",
        &tenants,
    )
    .execute(tx.connection())
    .await?;
    let rows = sqlx::query_as!(
        HeadRow,
        "select tenant_id, epoch, size, frontier, signed_size, begin_epoch from audit_head
         where tenant_id = any($1) order by tenant_id for update",
        &tenants,
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(Head::from).collect())
}

/// Saves the sizes and frontiers of heads locked before.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn save(tx: &mut IngestTx, heads: &[Head]) -> Result<(), Error> {
    let tenants: Vec<Uuid> = heads.iter().map(|head| head.tenant.uuid()).collect();
    let sizes: Vec<i64> = heads.iter().map(|head| head.size.cast_signed()).collect();
    let frontiers: Vec<&[u8]> = heads.iter().map(|head| head.frontier.as_slice()).collect();
    sqlx::query!(
        "update audit_head h set size = u.size, frontier = u.frontier
         from unnest($1::uuid[], $2::int8[], $3::bytea[]) u(tenant_id, size, frontier) where h.tenant_id = u.tenant_id",
        &tenants,
        &sizes,
        &frontiers as &[&[u8]],
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}
