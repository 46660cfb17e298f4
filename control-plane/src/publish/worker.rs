//! The publisher: one at a time, woken by the outbox, writing the head four times a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use domain::projection::{IndexEntry, Revocation, RevocationKind, SNAPSHOT_MAX_BYTES, TokenRecord};
use domain::{BootId, Clock, TenantId, TenantSnapshot, TokenId};
use redis::aio::ConnectionManager;
use secrets::{SigningKey, VerifyingKeys, sha256};
use service::Drain;
use service::health::Check;
use store::outbox::{self, Change, Listener, Waiting};
use store::published::{self, Published, PublishedToken, Refusal};
use store::publisher::{self, Lease};
use store::{PgPool, PlatformTx, TenantTx, revocations, tenants};
use tokio::sync::Notify;

use super::envelope::{Order, Signer, json};
use super::head::{Index, Numbers};
use super::metrics::PublishMetrics;
use super::redis::{ProjectError, Projection, Publication};
use super::snapshot;

/// How often the head is written.
const HEAD_EVERY: Duration = Duration::from_millis(250);
/// How long it pauses when it can't go on.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the lease lasts, and how often it is renewed.
const LEASE_MS: i32 = 5_000;
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// How often what has expired is forgotten.
const TIDY_EVERY: Duration = Duration::from_mins(1);
/// Rows of the outbox seen to at once.
const BATCH: i64 = 200;
/// Longest time for one step, so that a database that hangs does not stop it for ever. Far more than compiling a large
/// tenant's policies takes on a busy machine: what is cut short begins anew.
const STEP_WITHIN: Duration = Duration::from_mins(2);
const ZSTD_LEVEL: i32 = 3;

/// What a publisher is made of.
#[derive(Clone)]
pub struct PublisherParts {
    /// The database.
    pub pool: PgPool,
    /// Redis with the projections.
    pub redis: ConnectionManager,
    /// The deployment's id.
    pub deployment: String,
    /// Signs what nodes believe.
    pub signing: Arc<SigningKey>,
    /// Time, and the bits of ids.
    pub clock: Clock,
    /// Where the publisher says how it is.
    pub check: Check,
    /// Where it counts.
    pub metrics: PublishMetrics,
}

/// Publishes what changed, as long as it holds the lease.
#[derive(Debug)]
pub struct Publisher {
    pool: PgPool,
    signer: Signer,
    projection: Projection,
    holder: BootId,
    heard: Arc<Notify>,
    check: Check,
    metrics: PublishMetrics,
}

/// Why publishing stopped for now.
#[derive(Debug, thiserror::Error)]
enum StopError {
    #[error("somebody else publishes")]
    LeaseLost,
    #[error(transparent)]
    Project(#[from] ProjectError),
    #[error("the database did not answer in time")]
    Late,
}

impl From<store::Error> for StopError {
    fn from(error: store::Error) -> Self {
        Self::Project(error.into())
    }
}

/// What the holder of the lease knows.
struct Held {
    lease: Lease,
    index: Index,
    numbers: Numbers,
    renewed: Instant,
    tidied: Instant,
}

impl std::fmt::Debug for PublisherParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublisherParts").field("deployment", &self.deployment).finish_non_exhaustive()
    }
}

impl Publisher {
    /// Makes a publisher that holds nothing yet.
    ///
    /// # Errors
    /// [`secrets::KeyError`] when the signing key has no public half.
    pub fn new(parts: PublisherParts) -> Result<Self, secrets::KeyError> {
        let keys = VerifyingKeys::from_text(&parts.signing.verifying_text())?;
        let holder = BootId::new(&parts.clock);
        let signer = Signer { deployment: parts.deployment.into(), key: parts.signing, clock: parts.clock };
        let projection = Projection::new(parts.redis, signer.clone(), keys);
        let (pool, check, metrics) = (parts.pool, parts.check, parts.metrics);
        Ok(Self { pool, signer, projection, holder, heard: Arc::default(), check, metrics })
    }

    /// Runs until the drain begins.
    pub async fn run(mut self, drain: Drain) {
        drain.spawn(listen(self.pool.clone(), Arc::clone(&self.heard), drain.clone()));
        let mut held = None;
        loop {
            let outcome = tokio::time::timeout(STEP_WITHIN, self.step(&mut held)).await;
            let pause = match outcome.map_err(|_| StopError::Late).flatten() {
                Ok(()) => {
                    self.check.green();
                    HEAD_EVERY
                }
                Err(error) => {
                    self.pause(&error, held.take().is_some());
                    PAUSE
                }
            };
            tokio::select! {
                () = drain.begun().cancelled() => break,
                () = self.heard.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        if let Some(held) = held {
            self.give_back(held.lease).await;
        }
    }

    fn pause(&self, error: &StopError, was_holding: bool) {
        if matches!(error, StopError::LeaseLost) {
            self.check.green();
        } else {
            self.check.yellow(format!("nothing is published: {error}"));
        }
        if was_holding {
            tracing::warn!(%error, "publishing pauses");
        }
    }

    async fn give_back(&self, lease: Lease) {
        let give_back = async {
            let mut tx = PlatformTx::begin(&self.pool).await?;
            publisher::give_back(&mut tx, lease).await?;
            tx.commit().await
        };
        if let Err(error) = give_back.await {
            tracing::info!(%error, "the lease runs out by itself");
        }
    }

    /// Takes the lease when it is not held; then sees to the outbox and writes the head.
    async fn step(&mut self, held: &mut Option<Held>) -> Result<(), StopError> {
        if held.is_none() {
            *held = Some(self.take().await?);
        }
        let Some(held) = held else { return Ok(()) };
        if held.renewed.elapsed() >= RENEW_EVERY {
            self.renew(held).await?;
        }
        // Not only when something was heard: a notification may be lost.
        self.empty_outbox(held).await?;
        if held.tidied.elapsed() >= TIDY_EVERY {
            self.tidy(held).await?;
        }
        Ok(self.projection.write_head(&held.numbers).await?)
    }

    async fn take(&mut self) -> Result<Held, StopError> {
        let renewed = Instant::now();
        let mut tx = PlatformTx::begin(&self.pool).await?;
        let lease = publisher::take(&mut tx, self.holder, LEASE_MS).await?.ok_or(StopError::LeaseLost)?;
        let index = Index::new(published::index(&mut tx).await?);
        let numbers = Numbers::new(lease, revocations::floor(&mut tx).await?, &index);
        tx.commit().await?;
        self.projection.take_over(&self.pool, &index, &numbers).await?;
        tracing::info!(fence = lease.fence, change = lease.change, "publishing");
        Ok(Held { lease, index, numbers, renewed, tidied: Instant::now() })
    }

    async fn renew(&self, held: &mut Held) -> Result<(), StopError> {
        let now = Instant::now();
        let mut tx = PlatformTx::begin(&self.pool).await?;
        let lease = publisher::take(&mut tx, self.holder, LEASE_MS).await?.ok_or(StopError::LeaseLost)?;
        tx.commit().await?;
        if lease.fence != held.lease.fence || lease.epoch != held.lease.epoch {
            return Err(StopError::LeaseLost);
        }
        held.renewed = now;
        Ok(())
    }

    async fn empty_outbox(&mut self, held: &mut Held) -> Result<(), StopError> {
        loop {
            let mut tx = PlatformTx::begin(&self.pool).await?;
            let waiting = outbox::list(&mut tx, BATCH).await?;
            drop(tx);
            if waiting.is_empty() {
                return Ok(());
            }
            let listed = Instant::now();
            let (tenants, tokens) = by_kind(&waiting);
            // Revocations first: they are the more urgent.
            for (token, rows) in tokens {
                self.see_to_token(held, token, &rows).await?;
                self.metrics.published(longest_wait(&waiting, &rows) + listed.elapsed());
            }
            for (tenant, rows) in tenants {
                self.see_to_tenant(held, tenant, &rows).await?;
                self.metrics.published(longest_wait(&waiting, &rows) + listed.elapsed());
            }
        }
    }

    async fn see_to_token(
        &mut self,
        held: &mut Held,
        (tenant, id): (TenantId, TokenId),
        rows: &[i64],
    ) -> Result<(), StopError> {
        let mut reading = TenantTx::begin(&self.pool, tenant).await?;
        let state = published::find_token(&mut reading, id).await?;
        drop(reading);
        let mut tx = PlatformTx::begin(&self.pool).await?;
        outbox::remove(&mut tx, rows).await?;
        let Some(state) = state else { return Ok(tx.commit().await?) };
        let is_new = !published::has_token(&mut tx, tenant, id).await?;
        // A record's revision is the number of what was last said of its token: nodes refuse an older one.
        let number = if is_new {
            held.numbers.revocation
        } else {
            publisher::next_revocation(&mut tx, held.lease).await?.ok_or(StopError::LeaseLost)?
        };
        let order = Order { epoch: held.numbers.epoch, revision: number };
        let envelope = self.signer.token(tenant, state.digest, order, &state.record);
        let token = PublishedToken { tenant, token: id, digest: state.digest, envelope, expires_at: state.expires_at };
        published::put_token(&mut tx, &token).await?;
        if is_new {
            tx.commit().await?;
            return Ok(self.projection.add(&token).await?);
        }
        let what = match state.record {
            TokenRecord::Live(_) => RevocationKind::Changed,
            TokenRecord::Revoked => RevocationKind::Revoked,
        };
        let revocation = Revocation { number, tenant, token: id, digest: state.digest, what };
        revocations::add(&mut tx, &revocation, state.expires_at, self.signer.now()).await?;
        tx.commit().await?;
        held.numbers.revocation = number;
        Ok(self.projection.revoke(&token, &revocation, &held.numbers).await?)
    }

    async fn see_to_tenant(&mut self, held: &mut Held, tenant: TenantId, rows: &[i64]) -> Result<(), StopError> {
        let mut tx = PlatformTx::begin(&self.pool).await?;
        let slug = tenants::find_slug(&mut tx, tenant).await?;
        drop(tx);
        let Some(slug) = slug else { return self.forget(rows).await };
        let mut reading = TenantTx::begin_snapshot(&self.pool, tenant).await?;
        let snapshot = snapshot::build(&mut reading, slug, held.numbers.epoch).await;
        drop(reading);
        let snapshot = match snapshot {
            Ok(snapshot) => snapshot,
            Err(error @ store::Error::Unreadable { .. }) => {
                let refusal = Refusal { revision: 0, reason: error.to_string(), at: self.signer.now() };
                return self.refuse(tenant, refusal, rows).await;
            }
            Err(error) => return Err(error.into()),
        };
        let revision = snapshot.revision;
        match self.sign(tenant, snapshot).await? {
            Ok(published) => self.put(held, published, rows).await,
            Err(reason) => {
                let refusal = Refusal { revision, reason, at: self.signer.now() };
                self.refuse(tenant, refusal, rows).await
            }
        }
    }

    /// Compiles, packs and signs; the inner error says why this configuration can't be published.
    async fn sign(&self, tenant: TenantId, snapshot: TenantSnapshot) -> Result<Result<Published, String>, StopError> {
        let (signer, at) = (self.signer.clone(), self.signer.now());
        // Compiling policies and packing take milliseconds to seconds: the head must go on.
        let work = tokio::task::spawn_blocking(move || sign(&signer, tenant, &snapshot, at));
        work.await.map_err(|_| StopError::Late)
    }

    async fn put(&mut self, held: &mut Held, mut published: Published, rows: &[i64]) -> Result<(), StopError> {
        let mut tx = PlatformTx::begin(&self.pool).await?;
        let change = publisher::next_change(&mut tx, held.lease).await?.ok_or(StopError::LeaseLost)?;
        published.change = change;
        published::put(&mut tx, &published).await?;
        outbox::remove(&mut tx, rows).await?;
        tx.commit().await?;
        let (tenant, revision) = (published.tenant, published.revision);
        let bucket = held.index.put(IndexEntry { tenant, revision, sha256: published.sha256.clone() });
        held.numbers.change = change;
        held.numbers.root = held.index.root();
        let publication = Publication { published: &published, bucket };
        self.projection.publish(publication, &held.index, &held.numbers).await?;
        tracing::info!(tenant.id = %tenant, revision, change, "published a configuration");
        Ok(())
    }

    async fn refuse(&self, tenant: TenantId, refusal: Refusal, rows: &[i64]) -> Result<(), StopError> {
        tracing::warn!(tenant.id = %tenant, revision = refusal.revision, "a configuration can't be published");
        self.metrics.refused.inc();
        let mut tx = PlatformTx::begin(&self.pool).await?;
        published::refuse(&mut tx, tenant, &refusal).await?;
        outbox::remove(&mut tx, rows).await?;
        Ok(tx.commit().await?)
    }

    async fn forget(&self, rows: &[i64]) -> Result<(), StopError> {
        let mut tx = PlatformTx::begin(&self.pool).await?;
        outbox::remove(&mut tx, rows).await?;
        Ok(tx.commit().await?)
    }

    async fn tidy(&mut self, held: &mut Held) -> Result<(), StopError> {
        let now = self.signer.now();
        let mut tx = PlatformTx::begin(&self.pool).await?;
        published::forget_tokens(&mut tx, now).await?;
        revocations::forget(&mut tx, now).await?;
        let floor = revocations::floor(&mut tx).await?;
        tx.commit().await?;
        held.numbers.floor = floor.unwrap_or(held.numbers.revocation + 1);
        held.tidied = Instant::now();
        Ok(self.projection.trim(&held.numbers).await?)
    }
}

fn longest_wait(waiting: &[Waiting], rows: &[i64]) -> Duration {
    let of_them = waiting.iter().filter(|row| rows.contains(&row.outbox));
    of_them.map(|row| row.waited).max().unwrap_or_default()
}

/// The rows of one thing that waits.
type Rows<T> = Vec<(T, Vec<i64>)>;

/// What waits, each thing once with all its rows.
fn by_kind(waiting: &[Waiting]) -> (Rows<TenantId>, Rows<(TenantId, TokenId)>) {
    let (mut tenants, mut tokens): (Rows<TenantId>, Rows<(TenantId, TokenId)>) = (Vec::new(), Vec::new());
    for row in waiting {
        match row.what {
            Change::Configuration => gather(&mut tenants, row.tenant, row.outbox),
            Change::Token(token) => gather(&mut tokens, (row.tenant, token), row.outbox),
        }
    }
    (tenants, tokens)
}

fn gather<T: PartialEq>(things: &mut Rows<T>, thing: T, row: i64) {
    match things.iter_mut().find(|(found, _)| *found == thing) {
        Some((_, rows)) => rows.push(row),
        None => things.push((thing, vec![row])),
    }
}

fn sign(signer: &Signer, tenant: TenantId, snapshot: &TenantSnapshot, at: DateTime<Utc>) -> Result<Published, String> {
    policy::World::new(snapshot).map_err(|error| error.to_string())?;
    let body = zstd::bulk::compress(&json(snapshot), ZSTD_LEVEL).map_err(|error| error.to_string())?;
    if body.len() > SNAPSHOT_MAX_BYTES {
        return Err(format!(
            "the configuration is too large: {} bytes compressed, of at most {SNAPSHOT_MAX_BYTES}",
            body.len()
        ));
    }
    let (epoch, revision) = (snapshot.epoch, snapshot.revision);
    let envelope = signer.snapshot(tenant, Order { epoch, revision }, &body);
    let sha256 = hex::encode(sha256(&body));
    Ok(Published { tenant, slug: snapshot.slug.clone(), epoch, revision, change: 0, sha256, envelope, at })
}

/// Wakes the publisher when something was added to the outbox.
async fn listen(pool: PgPool, heard: Arc<Notify>, drain: Drain) {
    let listen = async {
        loop {
            if let Ok(mut listener) = Listener::connect(&pool).await {
                heard.notify_one();
                while listener.wait().await.is_ok() {
                    heard.notify_one();
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::select! {
        () = listen => {}
        () = drain.begun().cancelled() => {}
    }
}
