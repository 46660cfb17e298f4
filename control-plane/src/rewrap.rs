//! `sluice keys rewrap`: wraps by the present master key what earlier ones have wrapped, so that those can be taken out.

use domain::TenantId;
use secrets::MasterKey;
use secrets::keys::{ControlKeys, KeyError};
use store::wrapped::{self, PersonalKey};
use store::{IngestTx, PgPool, PlatformTx, TenantTx, outbox, restore};
use tracing::warn;

use crate::config::Config;

/// Keys of personal parts wrapped in one transaction.
const BATCH: i64 = 200;
/// No shard has this number: nobody takes the session for that of an owner of the log, and ends it.
const NO_SHARD: u16 = u16::MAX;

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// Tenants' own keys.
    pub tenants: u64,
    /// Keys of personal parts of records.
    pub personal: u64,
    /// Keys that none of the master keys here opens; they are as they were.
    pub left: u64,
}

/// Why not all was done. It may be run again, and goes on where it was.
#[derive(Debug, thiserror::Error)]
pub enum RewrapError {
    /// A key is missing.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The database can't be used.
    #[error(transparent)]
    Start(#[from] store::StartError),
    /// It failed.
    #[error(transparent)]
    Database(#[from] store::Error),
}

/// Wraps all keys that rest in the database by the present master key, while planes run. Those of a tenant are published
/// anew.
///
/// # Errors
/// [`RewrapError`].
pub async fn rewrap(config: &Config) -> Result<Rewrapped, RewrapError> {
    let ControlKeys { shared, .. } = ControlKeys::load(&config.keys)?;
    let pool = store::connect(config.database_url.expose(), 2).await?;
    Ok(rewrap_all(&pool, &shared.master).await?)
}

pub(crate) async fn rewrap_all(pool: &PgPool, master: &MasterKey) -> Result<Rewrapped, store::Error> {
    let mut done = Rewrapped::default();
    let tenants = restore::tenants(&mut PlatformTx::begin(pool).await?).await?;
    for tenant in tenants {
        of_tenant(pool, master, tenant, &mut done).await?;
    }
    let mut last = None;
    loop {
        let mut tx = IngestTx::begin(pool, NO_SHARD).await?;
        let batch = wrapped::lock_personal(&mut tx, &master.mark(), last.as_ref(), BATCH).await?;
        personal(&mut tx, master, &batch, &mut done).await?;
        tx.commit().await?;
        let Some(next) = batch.into_iter().last() else { return Ok(done) };
        last = Some(next);
    }
}

async fn of_tenant(
    pool: &PgPool,
    master: &MasterKey,
    tenant: TenantId,
    done: &mut Rewrapped,
) -> Result<(), store::Error> {
    let mut tx = TenantTx::begin(pool, tenant).await?;
    let (keys, mut changed) = (wrapped::lock_of_tenant(&mut tx, &master.mark()).await?, 0);
    for key in keys {
        match master.rewrap(tenant, &key) {
            Ok(key) => {
                wrapped::replace_of_tenant(&mut tx, &key).await?;
                changed += 1;
            }
            Err(error) => {
                done.left += 1;
                warn!(tenant.id = %tenant, key.id, %error, "a workspace's key stays as it was");
            }
        }
    }
    if changed > 0 {
        outbox::changed(&mut tx).await?;
    }
    tx.commit().await?;
    done.tenants += changed;
    Ok(())
}

async fn personal(
    tx: &mut IngestTx,
    master: &MasterKey,
    batch: &[PersonalKey],
    done: &mut Rewrapped,
) -> Result<(), store::Error> {
    for one in batch {
        match master.rewrap(one.tenant, &one.key) {
            Ok(key) => {
                wrapped::replace_personal(tx, one, &key.wrapped).await?;
                done.personal += 1;
            }
            Err(error) => {
                done.left += 1;
                warn!(tenant.id = %one.tenant, month = %one.month, %error, "a key of personal parts stays as it was");
            }
        }
    }
    Ok(())
}
