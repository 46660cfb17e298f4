//! `sluice restore`: what is to be done once after Postgres was set back to an earlier copy of itself, before a control plane
//! runs again. Nodes believe only a higher epoch; what was revoked since is revoked again; logs go on in a new epoch.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::projection::{self, EnvelopeKind, Head, Revocation, RevocationKind, keys};
use domain::{BootId, Clock, TenantId};
use redis::AsyncCommands as _;
use redis::aio::ConnectionManager;
use redis::streams::StreamRangeReply;
use secrets::VerifyingKeys;
use secrets::keys::{ControlKeys, KeyError};
use store::audit::epoch;
use store::destinations::{self, Destination, State};
use store::publisher::{self, Lease};
use store::{IngestTx, PgPool, PlatformTx, TenantTx, lanes, outbox, published, restore, tokens};

use crate::config::Config;
use crate::ingest::change::{self, Actor, Change};

/// Entries read at once.
const PAGE: usize = 500;
/// How long the lease outlives a run that is cut off.
const LEASE_MS: i32 = 10_000;
/// Between two times that it is prolonged.
const PROLONG: Duration = Duration::from_secs(2);

/// What the operator decides.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Revoke every token and end every session: what was revoked since the copy can't be known for certain.
    pub revoke_all: bool,
    /// Go on though Redis no longer knows what was revoked since the copy.
    pub keep_tokens: bool,
    /// The highest epoch that was in use, where Redis no longer knows it.
    pub above_epoch: u64,
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restored {
    /// The epoch of what is published from now on.
    pub epoch: u64,
    /// Logs that go on in a new epoch.
    pub logs: u64,
    /// Tenants whose configuration and tokens are published again.
    pub tenants: usize,
    /// Gateway tokens that had been revoked since the copy was made.
    pub revoked_again: usize,
    /// Gateway tokens that were issued since and are worth nothing any more.
    pub forgotten: usize,
    /// With [`Options::revoke_all`]: tokens revoked and sessions ended.
    pub revoked: usize,
    /// See there.
    pub sessions: u64,
    /// Destinations that sent records and wait for a person now.
    pub paused: usize,
}

/// What is done before the epoch is raised, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Revokes again what Redis says was revoked.
    Revoke,
    /// Ends all sessions, if that is wished.
    Sessions,
    /// Takes tokens out of Redis that the database does not know.
    Forget,
    /// Says of each log that it was set back.
    Logs,
    /// Sees to what each tenant has.
    Tenants,
}

impl Step {
    pub(crate) const ALL: [Self; 5] = [Self::Revoke, Self::Sessions, Self::Forget, Self::Logs, Self::Tenants];
}

/// Why nothing, or not all, was done. It may be tried again.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A key is missing.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The database can't be used.
    #[error(transparent)]
    Start(#[from] store::StartError),
    /// It failed.
    #[error(transparent)]
    Database(#[from] store::Error),
    /// The address of Redis is wrong, or nobody answers there.
    #[error(transparent)]
    Connect(#[from] service::redis::ConnectError),
    /// A destination could not be paused.
    #[error(transparent)]
    Destination(#[from] destinations::WriteError),
    /// Redis failed.
    #[error("Redis failed")]
    Redis(#[from] redis::RedisError),
    /// A control plane runs.
    #[error(
        "a control plane is running, or another restore: end all of them first, wait for ten seconds, and run it again"
    )]
    Running,
    /// Nothing tells what was revoked.
    #[error(
        "Redis does not know what was revoked since the copy was made: run `sluice restore --revoke-all`, or with --keep-tokens if nothing was"
    )]
    Unknown,
}

/// Puts right what is to be put right.
///
/// # Errors
/// [`RestoreError`].
pub async fn restore(config: &Config, options: Options) -> Result<Restored, RestoreError> {
    let ControlKeys { shared, .. } = ControlKeys::load(&config.keys)?;
    let pool = store::connect(config.database_url.expose(), 4).await?;
    store::migrate(&pool).await?;
    let redis = service::redis::connect(config.redis_url.expose()).await?;
    let clock = service::clock();
    let mut work = Work { pool, redis, clock, deployment: shared.deployment, keys: shared.verifying };
    work.run(options).await
}

/// What restoring works with.
pub(crate) struct Work {
    pub(crate) pool: PgPool,
    pub(crate) redis: ConnectionManager,
    pub(crate) clock: Clock,
    pub(crate) deployment: String,
    pub(crate) keys: VerifyingKeys,
}

impl Work {
    /// Holds the publisher's lease for the whole run and raises its epoch last: until then a control plane that was started
    /// sees that Redis is ahead and publishes nothing. Cut off, it is run again.
    pub(crate) async fn run(&mut self, options: Options) -> Result<Restored, RestoreError> {
        let holder = BootId::new(&self.clock);
        let lease = self.hold(holder).await?;
        let done = self.held((holder, lease), options).await;
        if done.is_err() {
            // Without it the next run waits until the lease is over.
            let mut tx = PlatformTx::begin(&self.pool).await?;
            publisher::give_back(&mut tx, lease).await?;
            tx.commit().await?;
        }
        done
    }

    async fn held(&mut self, (holder, lease): (BootId, Lease), options: Options) -> Result<Restored, RestoreError> {
        let head = self.head().await?;
        if head.is_none() && !options.revoke_all && !options.keep_tokens {
            return Err(RestoreError::Unknown);
        }
        let above = head.map_or(0, |head| head.epoch).max(options.above_epoch);
        let (pool, mut done) = (self.pool.clone(), Restored::default());
        tokio::select! {
            stepped = self.steps(&Step::ALL, options, &mut done) => stepped?,
            error = keep(&pool, holder) => return Err(error),
        }
        let mut tx = PlatformTx::begin(&pool).await?;
        done.epoch = restore::publish_above(&mut tx, lease, above).await?.ok_or(RestoreError::Running)?;
        tx.commit().await?;
        Ok(done)
    }

    async fn hold(&self, holder: BootId) -> Result<Lease, RestoreError> {
        take(&self.pool, holder).await?.ok_or(RestoreError::Running)
    }

    /// Each may be done again.
    pub(crate) async fn steps(
        &mut self,
        steps: &[Step],
        options: Options,
        done: &mut Restored,
    ) -> Result<(), RestoreError> {
        for step in steps {
            match step {
                Step::Revoke => done.revoked_again += self.revoke_again().await?,
                Step::Sessions if options.revoke_all => {
                    let mut tx = PlatformTx::begin(&self.pool).await?;
                    done.sessions += restore::end_sessions(&mut tx).await?;
                    tx.commit().await?;
                }
                Step::Sessions => {}
                Step::Forget => done.forgotten += self.forget_tokens().await?,
                Step::Logs => {
                    let mut tx = IngestTx::begin(&self.pool, 0).await?;
                    done.logs = epoch::set_all_back(&mut tx, options.above_epoch + 1).await?;
                    tx.commit().await?;
                }
                Step::Tenants => self.tenants(options, done).await?,
            }
        }
        Ok(())
    }

    async fn tenants(&self, options: Options, done: &mut Restored) -> Result<(), RestoreError> {
        let mut tx = PlatformTx::begin(&self.pool).await?;
        let tenants = restore::tenants(&mut tx).await?;
        drop(tx);
        done.tenants = tenants.len();
        for tenant in tenants {
            let (revoked, paused) = self.tenant(tenant, options).await?;
            done.revoked += revoked;
            done.paused += paused;
        }
        Ok(())
    }

    async fn head(&mut self) -> Result<Option<Head>, RestoreError> {
        let bytes: Option<Vec<u8>> = self.redis.get(keys::HEAD).await?;
        let opened = bytes.as_deref().and_then(|bytes| self.opened(bytes, EnvelopeKind::Head, keys::HEAD));
        Ok(opened.and_then(|body| serde_json::from_slice(&body).ok()))
    }

    /// What was signed by this deployment for this place.
    fn opened(&self, bytes: &[u8], kind: EnvelopeKind, key: &str) -> Option<Vec<u8>> {
        projection::open(bytes, &self.deployment, kind, key, &self.keys).ok().map(|opened| opened.body.to_vec())
    }

    /// Revokes what Redis says was revoked and the database does not.
    async fn revoke_again(&mut self) -> Result<usize, RestoreError> {
        let (mut from, mut revoked) = ("-".to_owned(), 0);
        loop {
            let page: StreamRangeReply = self.redis.xrange_count(keys::REVOKE, &from, "+", PAGE).await?;
            let Some(last) = page.ids.last() else { return Ok(revoked) };
            from = format!("({}", last.id);
            for entry in &page.ids {
                let Some(bytes) = entry.get::<Vec<u8>>("e") else { continue };
                let body = self.opened(&bytes, EnvelopeKind::Revocation, keys::REVOKE);
                let read = body.and_then(|body| serde_json::from_slice::<Revocation>(&body).ok());
                let Some(revocation) = read.filter(|one| one.what == RevocationKind::Revoked) else { continue };
                revoked += usize::from(self.revoke(&revocation).await?);
            }
        }
    }

    async fn revoke(&self, revocation: &Revocation) -> Result<bool, RestoreError> {
        let mut tx = TenantTx::begin(&self.pool, revocation.tenant).await?;
        let found = tokens::find_gateway(&mut tx, revocation.token).await?;
        if found.is_none_or(|token| token.revoked_at.is_some()) {
            return Ok(false);
        }
        tokens::revoke_gateway(&mut tx, revocation.token, self.now()).await?;
        let change = Change::new("token.revoke", "gateway_token", revocation.token);
        change::record(&mut tx, &self.clock, &Actor::System, change).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Asks for all of a tenant to be published in the new epoch, revokes all its tokens if that is wished, and pauses its
    /// destinations. Gives how many it revoked and paused.
    async fn tenant(&self, tenant: TenantId, options: Options) -> Result<(usize, usize), RestoreError> {
        let mut tx = TenantTx::begin(&self.pool, tenant).await?;
        let mut revoked = 0;
        if options.revoke_all {
            let (gateway, api) = restore::revoke_all(&mut tx, self.now()).await?;
            let gateway = gateway.into_iter().map(|id| ("gateway_token", id));
            for (kind, id) in gateway.chain(api.into_iter().map(|id| ("api_token", id))) {
                let change = Change::new("token.revoke", kind, id);
                change::record(&mut tx, &self.clock, &Actor::System, change).await?;
                revoked += 1;
            }
        }
        let paused = self.pause_destinations(&mut tx).await?;
        restore::publish_tokens(&mut tx, self.now()).await?;
        outbox::changed(&mut tx).await?;
        tx.commit().await?;
        Ok((revoked, paused))
    }

    /// One of them may have been paused or removed since: its receiver was taken away on purpose.
    async fn pause_destinations(&self, tx: &mut TenantTx) -> Result<usize, RestoreError> {
        let mut running = destinations::list(tx).await?;
        running.retain(|destination| destination.state == State::Running);
        for destination in &running {
            let revision = destination.revision + 1;
            let paused = Destination { state: State::Paused, revision, ..destination.clone() };
            destinations::change(tx, &paused).await?;
            lanes::switch(tx, destination.id, false).await?;
            let change = Change::new("destination.pause", "destination", destination.id);
            change::record(tx, &self.clock, &Actor::System, change).await?;
        }
        Ok(running.len())
    }

    /// Takes out of Redis the tokens that the database does not know: nobody could revoke them.
    async fn forget_tokens(&mut self) -> Result<usize, RestoreError> {
        let known = self.known_tokens().await?;
        let (mut cursor, mut forgotten) = (0_u64, 0);
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg("{*}:token:*").arg("COUNT").arg(PAGE);
            let (next, found): (u64, Vec<String>) = scan.query_async(&mut self.redis).await?;
            for key in found.iter().filter(|key| !known.contains(*key)) {
                let () = self.redis.del(key).await?;
                forgotten += 1;
            }
            cursor = next;
            if cursor == 0 {
                return Ok(forgotten);
            }
        }
    }

    async fn known_tokens(&self) -> Result<HashSet<String>, RestoreError> {
        let (mut known, mut after) = (HashSet::new(), None);
        loop {
            let mut tx = PlatformTx::begin(&self.pool).await?;
            let page = published::list_tokens(&mut tx, after, i64::try_from(PAGE).unwrap_or(i64::MAX)).await?;
            let Some(last) = page.last() else { return Ok(known) };
            after = Some((last.tenant, last.token));
            known.extend(page.iter().map(|token| keys::token(token.tenant, token.digest)));
        }
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }
}

async fn take(pool: &PgPool, holder: BootId) -> Result<Option<Lease>, store::Error> {
    let mut tx = PlatformTx::begin(pool).await?;
    let lease = publisher::take(&mut tx, holder, LEASE_MS).await?;
    tx.commit().await?;
    Ok(lease)
}

/// Prolongs the lease, and gives why that can't be done any more.
async fn keep(pool: &PgPool, holder: BootId) -> RestoreError {
    loop {
        tokio::time::sleep(PROLONG).await;
        match take(pool, holder).await {
            Ok(Some(_)) => {}
            Ok(None) => return RestoreError::Running,
            Err(error) => return error.into(),
        }
    }
}
