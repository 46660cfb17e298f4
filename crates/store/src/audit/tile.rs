//! The hashes of a tenant's log, by 256. Partial tiles grow; a full one gives one hash to the level above.

use domain::TenantId;
use uuid::Uuid;

use crate::{Error, IngestTx};

/// Hashes of a full tile, bytes.
pub const FULL: i32 = 256 * 32;

/// Hashes that follow those a tile has already, or all of a full tile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// Whose log.
    pub tenant: TenantId,
    /// Which epoch of it.
    pub epoch: u64,
    /// 0 for leaves.
    pub level: u8,
    /// Its place in the level.
    pub index: u64,
    /// 32 bytes each.
    pub hashes: Vec<u8>,
}

/// Appends hashes to tiles, and gives back the tiles that are full now. One piece per tile.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn append(tx: &mut IngestTx, pieces: &[Tile]) -> Result<Vec<Tile>, Error> {
    let tenants: Vec<Uuid> = pieces.iter().map(|piece| piece.tenant.uuid()).collect();
    let epochs: Vec<i64> = pieces.iter().map(|piece| piece.epoch.cast_signed()).collect();
    let levels: Vec<i16> = pieces.iter().map(|piece| i16::from(piece.level)).collect();
    let indexes: Vec<i64> = pieces.iter().map(|piece| piece.index.cast_signed()).collect();
    let hashes: Vec<&[u8]> = pieces.iter().map(|piece| piece.hashes.as_slice()).collect();
    let rows = sqlx::query!(
        r#"with grown as (
               insert into audit_tile as t (tenant_id, epoch, level, index, hashes)
               select * from unnest($1::uuid[], $2::int8[], $3::int2[], $4::int8[], $5::bytea[])
               on conflict (tenant_id, epoch, level, index) do update set hashes = t.hashes || excluded.hashes
               returning *)
           select tenant_id, epoch, level, index, hashes from grown where octet_length(hashes) >= $6
           order by tenant_id, epoch, level, index"#,
        &tenants,
        &epochs,
        &levels,
        &indexes,
        &hashes as &[&[u8]],
        FULL,
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Tile {
            tenant: TenantId::from_uuid(row.tenant_id),
            epoch: row.epoch.cast_unsigned(),
            level: u8::try_from(row.level).unwrap_or(u8::MAX),
            index: row.index.cast_unsigned(),
            hashes: row.hashes,
        })
        .collect())
}
