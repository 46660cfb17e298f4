//! Who publishes: one program at a time, by a lease, and the numbers of the head, which only the holder raises.

use domain::BootId;

use crate::{Error, PlatformTx};

/// The right to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Differs from that of every holder before.
    pub fence: i64,
    /// Raised when Postgres went back.
    pub epoch: u64,
    /// The number of the last publication.
    pub change: u64,
    /// The number of the last revocation.
    pub revocation: u64,
}

/// Takes the lease, or makes the one held last longer; `None` while somebody else has it.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn take(tx: &mut PlatformTx, holder: BootId, lasts_ms: i32) -> Result<Option<Lease>, Error> {
    sqlx::query!("insert into publisher default values on conflict do nothing").execute(tx.connection()).await?;
    let row = sqlx::query!(
        "update publisher set
             fence = case when holder is not distinct from $1 then fence else fence + 1 end,
             holder = $1,
             lease_until = clock_timestamp() + make_interval(secs => $2::float8 / 1000)
         where holder is not distinct from $1 or lease_until < clock_timestamp()
         returning fence, epoch, change, revocation",
        holder.uuid(),
        f64::from(lasts_ms),
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(row.map(|row| Lease {
        fence: row.fence,
        epoch: row.epoch.cast_unsigned(),
        change: row.change.cast_unsigned(),
        revocation: row.revocation.cast_unsigned(),
    }))
}

/// Gives the lease back, so that the next holder need not wait.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn give_back(tx: &mut PlatformTx, lease: Lease) -> Result<(), Error> {
    sqlx::query!("update publisher set lease_until = '-infinity', holder = null where fence = $1", lease.fence)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// The number of the next publication; `None` when the lease was lost. The row stays locked until the transaction ends.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn next_change(tx: &mut PlatformTx, lease: Lease) -> Result<Option<u64>, Error> {
    let change =
        sqlx::query_scalar!("update publisher set change = change + 1 where fence = $1 returning change", lease.fence)
            .fetch_optional(tx.connection())
            .await?;
    Ok(change.map(i64::cast_unsigned))
}

/// The number of the next revocation; `None` when the lease was lost. The row stays locked until the transaction ends.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn next_revocation(tx: &mut PlatformTx, lease: Lease) -> Result<Option<u64>, Error> {
    let number = sqlx::query_scalar!(
        "update publisher set revocation = revocation + 1 where fence = $1 returning revocation",
        lease.fence
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(number.map(i64::cast_unsigned))
}
