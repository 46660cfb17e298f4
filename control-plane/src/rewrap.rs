//! `sluice keys rewrap`: wraps by the present master key what earlier ones have wrapped, so that those can be taken out.

use std::fmt;

use chrono::NaiveDate;
use domain::TenantId;
use secrets::MasterKey;
use secrets::keys::{ControlKeys, KeyError, UnwrapError};
use store::wrapped::{self, PersonalKey};
use store::{IngestTx, PgPool, PlatformTx, TenantTx, outbox, published, restore};

use crate::config::Config;

/// Keys of personal parts wrapped in one transaction: so few that the owners of the log hardly wait for them.
const BATCH: i64 = 20;
/// How often in a row an owner of the log may be in the way, two seconds each, before the run ends.
const TRIES: u32 = 5;
/// No shard has this number: nobody takes the session for that of an owner of the log, and ends it.
const NO_SHARD: u16 = u16::MAX;

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// Names the master key that wraps all now: the first of those held.
    pub by: String,
    /// Tenants' own keys.
    pub tenants: u64,
    /// Keys of personal parts of records.
    pub personal: u64,
    /// Keys that are as they were.
    pub left: Vec<Left>,
    /// Tenants whose present configuration can't be published: their nodes go on with an earlier one, which holds keys as
    /// they were wrapped then.
    pub refused: Vec<TenantId>,
}

/// A key that none of the master keys here opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub key: Which,
    /// Why not.
    pub error: UnwrapError,
}

/// A key that rests in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// A tenant's own, by its id.
    Own(String),
    /// One of personal parts, by the first day of their month.
    Personal(NaiveDate),
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Which::Own(id) => write!(f, "{}: key {id}: {}", self.tenant, self.error),
            Which::Personal(month) => {
                write!(f, "{}: key of personal parts of {}: {}", self.tenant, month.format("%Y-%m"), self.error)
            }
        }
    }
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
    let mut done = Rewrapped { by: master.id().to_owned(), ..Rewrapped::default() };
    let tenants = restore::tenants(&mut PlatformTx::begin(pool).await?).await?;
    for tenant in tenants {
        of_tenant(pool, master, tenant, &mut done).await?;
    }
    let (mut last, mut tries) = (None, 0);
    loop {
        match personal(pool, master, last.as_ref(), &mut done).await {
            Ok(None) => break,
            Ok(next) => (last, tries) = (next, 0),
            Err(error) if error.is_lock_timeout() && tries < TRIES => tries += 1,
            Err(error) => return Err(error),
        }
    }
    done.refused = published::refused(&mut PlatformTx::begin(pool).await?).await?;
    Ok(done)
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
            Err(error) => done.left.push(Left { tenant, key: Which::Own(key.id), error }),
        }
    }
    if changed > 0 {
        outbox::changed(&mut tx).await?;
    }
    tx.commit().await?;
    done.tenants += changed;
    Ok(())
}

/// Wraps the next few keys of personal parts behind `after`; gives the last of them, none when there were none.
async fn personal(
    pool: &PgPool,
    master: &MasterKey,
    after: Option<&PersonalKey>,
    done: &mut Rewrapped,
) -> Result<Option<PersonalKey>, store::Error> {
    let mut tx = IngestTx::begin(pool, NO_SHARD).await?;
    let mut batch = wrapped::lock_personal(&mut tx, &master.mark(), after, BATCH).await?;
    let (mut changed, mut left) = (0, Vec::new());
    for one in &batch {
        match master.rewrap(one.tenant, &one.key) {
            Ok(key) => {
                wrapped::replace_personal(&mut tx, one, &key.wrapped).await?;
                changed += 1;
            }
            Err(error) => left.push(Left { tenant: one.tenant, key: Which::Personal(one.month), error }),
        }
    }
    tx.commit().await?;
    done.personal += changed;
    done.left.extend(left);
    Ok(batch.pop())
}

#[cfg(test)]
mod tests {
    use domain::snapshot::Prefix;
    use domain::{Clock, UserId};
    use store::published::{Published, Refusal};
    use store::tenants::{self, KeyPurpose, Settings};

    use super::*;

    /// A tenant with one key of each of these masters.
    async fn tenant(pool: &PgPool, clock: &Clock, masters: [(&'static str, KeyPurpose, &MasterKey); 2]) -> TenantId {
        let tenant = TenantId::new(clock);
        let mut platform = PlatformTx::begin(pool).await.unwrap();
        tenants::add(&mut platform, tenant, &"acme".parse().unwrap(), UserId::new(clock), clock.now()).await.unwrap();
        let mut tx = platform.into_tenant(tenant).await.unwrap();
        let settings = Settings { title: "Acme".to_owned(), blind_max_s: 60, prefix: Prefix::Always };
        tenants::add_settings(&mut tx, &settings).await.unwrap();
        for (id, purpose, master) in masters {
            let key = master.wrap(tenant, id, &secrets::new_data_key());
            tenants::add_key(&mut tx, purpose, &key, clock.now()).await.unwrap();
        }
        tx.commit().await.unwrap();
        tenant
    }

    #[sqlx::test(migrator = "store::MIGRATOR")]
    async fn what_stays_wrapped_by_an_old_key_is_said(pool: PgPool) {
        let clock = service::clock();
        let (old, strange) = (MasterKey::generate(), MasterKey::generate());
        let masters = [("data", KeyPurpose::Data, &old), ("arguments", KeyPurpose::Arguments, &strange)];
        let tenant = tenant(&pool, &clock, masters).await;
        let master = old.rotated();

        let left = Left { tenant, key: Which::Own("arguments".to_owned()), error: UnwrapError::UnknownMaster };
        let said = "key arguments: the key was wrapped by another master key";
        assert!(left.to_string().contains(said), "{left}");
        let first = Rewrapped { by: master.id().to_owned(), tenants: 1, left: vec![left], ..Rewrapped::default() };
        assert_eq!(rewrap_all(&pool, &master).await.unwrap(), first);

        // What is published of it holds its keys as they were until its configuration can be published again.
        let mut tx = PlatformTx::begin(&pool).await.unwrap();
        let at = clock.now();
        let slug = "acme".parse().unwrap();
        let (sha256, envelope) = ("00".repeat(32), b"sealed".to_vec());
        let earlier = Published { tenant, slug, epoch: 1, revision: 1, change: 1, sha256, envelope, at };
        published::put(&mut tx, &earlier).await.unwrap();
        let refusal = Refusal { revision: 2, reason: "a policy does not compile".to_owned(), at };
        published::refuse(&mut tx, tenant, &refusal).await.unwrap();
        tx.commit().await.unwrap();
        let again = Rewrapped { tenants: 0, refused: vec![tenant], ..first };
        assert_eq!(rewrap_all(&pool, &master).await.unwrap(), again);
    }
}
