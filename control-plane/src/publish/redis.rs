//! Brings Redis to what Postgres says is published.

use std::fmt;

use ::redis::aio::ConnectionManager;
use ::redis::{AsyncCommands, Pipeline, RedisError, Script, pipe};
use chrono::{DateTime, TimeDelta, Utc};
use domain::projection::{self, EnvelopeKind, Head, Revocation, keys};
use secrets::VerifyingKeys;
use store::published::{self, PublishedToken};
use store::{PgPool, PlatformTx, revocations};

use super::envelope::{Order, Signer};
use super::head::{Index, Numbers};

/// Rows copied at once.
const PAGE: i64 = 500;
/// How long a token's record stays after the token expired.
const TOKEN_KEPT: TimeDelta = TimeDelta::hours(1);
/// The field of a stream entry that holds the envelope.
const REVOCATION_FIELD: &str = "e";

/// The Redis of the projections, as the publisher last left it.
pub(super) struct Projection {
    pub(super) redis: ConnectionManager,
    pub(super) signer: Signer,
    pub(super) keys: VerifyingKeys,
    /// The head that stands there if nobody else wrote.
    written: Option<(Vec<u8>, DateTime<Utc>)>,
}

/// Why Redis is not as it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProjectError {
    #[error("Redis does not answer")]
    Redis(#[from] RedisError),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("Redis is ahead of Postgres, which was set back: end the control planes and run `sluice restore`")]
    Ahead,
    #[error("the head is not the one written last: Redis was emptied, or somebody else writes")]
    Foreign,
}

/// What one publication changes in Redis.
pub(super) struct Publication<'a> {
    pub(super) published: &'a published::Published,
    pub(super) bucket: usize,
}

impl Projection {
    pub(super) fn new(redis: ConnectionManager, signer: Signer, keys: VerifyingKeys) -> Self {
        Self { redis, signer, keys, written: None }
    }

    /// Takes Redis over as it is, when its head says what Postgres says; rebuilds it otherwise.
    pub(super) async fn take_over(
        &mut self,
        pool: &PgPool,
        index: &Index,
        numbers: &Numbers,
    ) -> Result<(), ProjectError> {
        let found: Option<Vec<u8>> = self.redis.get(keys::HEAD).await?;
        let head = found.as_deref().and_then(|bytes| self.head_of(bytes));
        match (found, head) {
            (Some(bytes), Some(head)) if numbers.is(&head) => {
                self.written = Some((bytes, head.at));
                self.write_head(numbers).await
            }
            (_, head) => self.rebuild(pool, index, numbers, head).await,
        }
    }

    fn head_of(&self, bytes: &[u8]) -> Option<Head> {
        let opened = projection::open(bytes, &self.signer.deployment, EnvelopeKind::Head, keys::HEAD, &self.keys);
        serde_json::from_slice(opened.ok()?.body).ok()
    }

    /// Copies everything; the head comes last, so that until then a missing key is not taken for an answer.
    async fn rebuild(
        &mut self,
        pool: &PgPool,
        index: &Index,
        numbers: &Numbers,
        found: Option<Head>,
    ) -> Result<(), ProjectError> {
        tracing::info!(change = numbers.change, revocation = numbers.revocation, "rebuilding Redis from Postgres");
        match &found {
            None => self.redis.del::<_, ()>(keys::HEAD).await?,
            // Nodes would refuse what is published, and Redis alone knows what was revoked since.
            Some(head) if is_ahead(head, numbers) => return Err(ProjectError::Ahead),
            Some(_) => {}
        }
        for tenant in index.tenants() {
            let mut tx = PlatformTx::begin(pool).await?;
            if let Some(published) = published::find(&mut tx, tenant).await? {
                let mut pipe = pipe();
                self.add_snapshot(&mut pipe, &published);
                pipe.exec_async(&mut self.redis).await?;
            }
        }
        self.copy_tokens(pool).await?;
        self.copy_revocations(pool, numbers).await?;
        self.write_index(index, numbers).await?;
        self.written = None;
        let at = found.map(|head| head.at);
        self.put_head(numbers, at).await
    }

    async fn copy_tokens(&mut self, pool: &PgPool) -> Result<(), ProjectError> {
        let mut after = None;
        loop {
            let mut tx = PlatformTx::begin(pool).await?;
            let tokens = published::list_tokens(&mut tx, after, PAGE).await?;
            let Some(last) = tokens.last() else { return Ok(()) };
            after = Some((last.tenant, last.token));
            let mut pipe = pipe();
            for token in &tokens {
                add_token(&mut pipe, token);
            }
            pipe.exec_async(&mut self.redis).await?;
        }
    }

    async fn copy_revocations(&mut self, pool: &PgPool, numbers: &Numbers) -> Result<(), ProjectError> {
        self.redis.del::<_, ()>(keys::REVOKE).await?;
        let mut from = numbers.floor;
        loop {
            let mut tx = PlatformTx::begin(pool).await?;
            let revocations = revocations::list(&mut tx, from, PAGE).await?;
            let Some(last) = revocations.last() else { return Ok(()) };
            from = last.number + 1;
            let mut pipe = pipe();
            for revocation in &revocations {
                self.add_revocation(&mut pipe, numbers.epoch, revocation);
            }
            pipe.exec_async(&mut self.redis).await?;
        }
    }

    async fn write_index(&mut self, index: &Index, numbers: &Numbers) -> Result<(), ProjectError> {
        let order = Order { epoch: numbers.epoch, revision: numbers.change };
        let mut pipe = pipe();
        for bucket in index.filled() {
            let envelope = self.signer.bucket(bucket, order, &index.bucket(bucket));
            pipe.set(keys::index_bucket(bucket), envelope).ignore();
        }
        pipe.set(keys::INDEX, self.signer.index(order, &index.body())).ignore();
        Ok(pipe.exec_async(&mut self.redis).await?)
    }

    /// Writes a tenant's new configuration, and the head.
    pub(super) async fn publish(
        &mut self,
        publication: Publication<'_>,
        index: &Index,
        numbers: &Numbers,
    ) -> Result<(), ProjectError> {
        let order = Order { epoch: numbers.epoch, revision: numbers.change };
        let bucket = publication.bucket;
        let mut pipe = pipe();
        pipe.atomic();
        self.add_snapshot(&mut pipe, publication.published);
        pipe.set(keys::index_bucket(bucket), self.signer.bucket(bucket, order, &index.bucket(bucket))).ignore();
        pipe.set(keys::INDEX, self.signer.index(order, &index.body())).ignore();
        pipe.exec_async(&mut self.redis).await?;
        self.write_head(numbers).await?;
        self.hint().await
    }

    /// Writes a new token's record.
    pub(super) async fn add(&mut self, token: &PublishedToken) -> Result<(), ProjectError> {
        let mut pipe = pipe();
        add_token(&mut pipe, token);
        Ok(pipe.exec_async(&mut self.redis).await?)
    }

    /// Writes what became of a token: its record first, so that whoever has heard of the change reads the new one.
    pub(super) async fn revoke(
        &mut self,
        token: &PublishedToken,
        revocation: &Revocation,
        numbers: &Numbers,
    ) -> Result<(), ProjectError> {
        let mut pipe = pipe();
        add_token(&mut pipe, token);
        self.add_revocation(&mut pipe, numbers.epoch, revocation);
        pipe.exec_async(&mut self.redis).await?;
        self.write_head(numbers).await?;
        self.hint().await
    }

    /// Writes the head, if the last one still stands there.
    pub(super) async fn write_head(&mut self, numbers: &Numbers) -> Result<(), ProjectError> {
        const REPLACE: &str =
            "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) return 1 end return 0";
        let Some((last, last_at)) = self.written.take() else { return Err(ProjectError::Foreign) };
        let (bytes, at) = self.head(numbers, Some(last_at));
        // Whether it was written when the answer does not come is not known: then the next one finds a foreign head.
        let replaced: bool =
            Script::new(REPLACE).key(keys::HEAD).arg(last).arg(&bytes).invoke_async(&mut self.redis).await?;
        if !replaced {
            return Err(ProjectError::Foreign);
        }
        self.written = Some((bytes, at));
        Ok(())
    }

    /// Writes the head, whatever stands there.
    async fn put_head(&mut self, numbers: &Numbers, last_at: Option<DateTime<Utc>>) -> Result<(), ProjectError> {
        let (bytes, at) = self.head(numbers, last_at);
        self.redis.set::<_, _, ()>(keys::HEAD, &bytes).await?;
        self.written = Some((bytes, at));
        self.hint().await
    }

    /// A head that is younger than the last one even when another clock wrote that.
    fn head(&self, numbers: &Numbers, last_at: Option<DateTime<Utc>>) -> (Vec<u8>, DateTime<Utc>) {
        let now = self.signer.now();
        let at = last_at.map_or(now, |last| now.max(last + TimeDelta::milliseconds(1)));
        let head = Head {
            epoch: numbers.epoch,
            change: numbers.change,
            revocation: numbers.revocation,
            revocation_floor: numbers.floor,
            root: numbers.root.clone(),
            at,
        };
        (self.signer.head(&head), at)
    }

    /// Removes revocations below the floor: they concern tokens that have expired.
    pub(super) async fn trim(&mut self, numbers: &Numbers) -> Result<(), ProjectError> {
        let floor = format!("{}-{}", numbers.epoch, numbers.floor);
        let mut trim = ::redis::cmd("XTRIM");
        trim.arg(keys::REVOKE).arg("MINID").arg(floor);
        Ok(trim.exec_async(&mut self.redis).await?)
    }

    async fn hint(&mut self) -> Result<(), ProjectError> {
        Ok(self.redis.publish::<_, _, ()>(keys::HINT, "").await?)
    }

    fn add_snapshot(&self, pipe: &mut Pipeline, published: &published::Published) {
        let order = Order { epoch: published.epoch, revision: published.revision };
        pipe.set(keys::snapshot(published.tenant), &published.envelope).ignore();
        let slug = self.signer.slug(&published.slug, published.tenant, order);
        pipe.set(keys::slug(published.slug.as_str()), slug).ignore();
    }

    fn add_revocation(&self, pipe: &mut Pipeline, epoch: u64, revocation: &Revocation) {
        // The entry's own number keeps the order: Redis takes none twice and none backwards.
        let id = format!("{epoch}-{}", revocation.number);
        pipe.xadd(keys::REVOKE, id, &[(REVOCATION_FIELD, self.signer.revocation(epoch, revocation))]).ignore();
    }
}

/// Whether something was published or revoked that Postgres does not know of: it is always told first.
const fn is_ahead(head: &Head, numbers: &Numbers) -> bool {
    let is_later = head.change > numbers.change || head.revocation > numbers.revocation;
    head.epoch > numbers.epoch || (head.epoch == numbers.epoch && is_later)
}

fn add_token(pipe: &mut Pipeline, token: &PublishedToken) {
    let until = (token.expires_at + TOKEN_KEPT).timestamp_millis();
    let key = keys::token(token.tenant, token.digest);
    pipe.cmd("SET").arg(key).arg(&token.envelope).arg("PXAT").arg(until.max(1)).ignore();
}

impl fmt::Debug for Projection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Projection").field("signer", &self.signer).finish_non_exhaustive()
    }
}
