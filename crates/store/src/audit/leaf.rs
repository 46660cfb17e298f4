//! Places in a tenant's log, and the hashes of what is left out between them.

use chrono::{DateTime, Utc};
use domain::TenantId;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Error, IngestTx, TenantTx};

/// Hashes of one tile: which level, which place on it, and 32 bytes for each hash it has so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashes {
    /// 0 for leaves.
    pub level: u8,
    /// Its place on the level.
    pub index: u64,
    /// The hashes side by side.
    pub hashes: Vec<u8>,
}

/// The first place and the one after the last of the records of an epoch that began in a time; `None` when none did.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn places(
    tx: &mut TenantTx,
    epoch: u64,
    (since, until): (DateTime<Utc>, DateTime<Utc>),
) -> Result<Option<(u64, u64)>, Error> {
    let row = sqlx::query!(
        "select min(seq) as first, max(seq) as last from audit_record
         where tenant_id = $1 and epoch = $2 and time >= $3 and time < $4",
        tx.tenant().uuid(),
        epoch.cast_signed(),
        since,
        until,
    )
    .fetch_one(tx.connection())
    .await?;
    Ok(row.first.zip(row.last).map(|(first, last)| (first.cast_unsigned(), last.cast_unsigned() + 1)))
}

/// Tiles of the tenant's log, by level and place.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn tiles(tx: &mut TenantTx, epoch: u64, wanted: &[(u8, u64)]) -> Result<Vec<Hashes>, Error> {
    let tenant = tx.tenant();
    tiles_of(tx.connection(), (tenant, epoch), wanted).await
}

/// Tiles of any tenant's log, for its owner.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn tiles_for_owner(
    tx: &mut IngestTx,
    log: (TenantId, u64),
    wanted: &[(u8, u64)],
) -> Result<Vec<Hashes>, Error> {
    tiles_of(tx.connection(), log, wanted).await
}

async fn tiles_of(
    connection: &mut PgConnection,
    (tenant, epoch): (TenantId, u64),
    wanted: &[(u8, u64)],
) -> Result<Vec<Hashes>, Error> {
    let tenant: Uuid = tenant.uuid();
    let levels: Vec<i16> = wanted.iter().map(|(level, _)| i16::from(*level)).collect();
    let indexes: Vec<i64> = wanted.iter().map(|(_, index)| index.cast_signed()).collect();
    let rows = sqlx::query!(
        "select t.level, t.index, t.hashes from audit_tile t
         join (select distinct * from unnest($3::int2[], $4::int8[])) w(level, index) using (level, index)
         where t.tenant_id = $1 and t.epoch = $2",
        tenant,
        epoch.cast_signed(),
        &levels,
        &indexes,
    )
    .fetch_all(connection)
    .await?;
    let hashes = |level: i16, index: i64, hashes| Hashes {
        level: u8::try_from(level).unwrap_or(u8::MAX),
        index: index.cast_unsigned(),
        hashes,
    };
    Ok(rows.into_iter().map(|row| hashes(row.level, row.index, row.hashes)).collect())
}
