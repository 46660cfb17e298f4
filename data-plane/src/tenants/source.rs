//! What is read from Redis, each thing checked before it is believed.

use std::fmt;
use std::sync::Arc;

use domain::projection::{
    self, EnvelopeError, EnvelopeKind, Head, INDEX_BUCKETS, IndexEntry, Opened, Revocation, SNAPSHOT_MAX_BYTES,
    SlugRecord, TokenRecord, bucket_of, keys,
};
use domain::snapshot::SNAPSHOT_FORMAT;
use domain::{Slug, TenantId, TenantSnapshot, TokenDigest};
use redis::AsyncCommands;
use redis::aio::ConnectionManager;
use redis::streams::StreamRangeReply;
use secrets::VerifyingKeys;
use serde::de::DeserializeOwned;

use crate::metrics::{Metrics, ProjectionLabels};

/// Largest snapshot after it was unpacked, bytes.
const UNPACKED_MAX_BYTES: usize = 128 * 1024 * 1024;
/// The field of a stream entry that holds the envelope.
pub(crate) const REVOCATION_FIELD: &str = "e";

/// Reads projections. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Source {
    redis: ConnectionManager,
    deployment: Arc<str>,
    keys: Arc<VerifyingKeys>,
    metrics: Metrics,
}

/// Something signed, and where it stands in the order of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signed<T> {
    pub(crate) epoch: u64,
    pub(crate) revision: u64,
    pub(crate) value: T,
}

/// Digests of the index's buckets.
pub(crate) type Digests = [[u8; 32]; INDEX_BUCKETS];

/// A snapshot as it was read.
pub(crate) struct ReadSnapshot {
    pub(crate) snapshot: TenantSnapshot,
    /// Of the body, hexadecimal.
    pub(crate) sha256: String,
    /// After it was unpacked.
    pub(crate) bytes: usize,
}

/// Why something was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("Redis does not answer")]
    Redis(#[from] redis::RedisError),
    #[error("there is no head")]
    NoHead,
    #[error("`{key}` is not believed")]
    Envelope { key: String, source: EnvelopeError },
    #[error("`{key}` is signed, but says nothing sensible")]
    Body { key: String },
}

impl Source {
    pub(crate) fn new(redis: ConnectionManager, deployment: &str, keys: VerifyingKeys, metrics: Metrics) -> Self {
        // An alert that asks what a count grew by sees nothing in one that begins with its first event.
        for kind in READ {
            metrics.refused_projections.get_or_create(&ProjectionLabels { kind: word(kind) }).inc_by(0);
        }
        Self { redis, deployment: deployment.into(), keys: Arc::new(keys), metrics }
    }

    /// The state of the whole configuration.
    pub(crate) async fn head(&self) -> Result<Option<Head>, ReadError> {
        let Some(bytes) = self.get(keys::HEAD).await? else { return Ok(None) };
        let opened = self.open(&bytes, EnvelopeKind::Head, keys::HEAD)?;
        let head: Head = self.json(&opened)?;
        if (head.epoch, head.change) != (opened.header.epoch, opened.header.revision) {
            return Err(body_error(keys::HEAD));
        }
        Ok(Some(head))
    }

    /// The index whose SHA-256 is `root`; `None` while there is another.
    pub(crate) async fn index(&self, root: &str) -> Result<Option<Box<Digests>>, ReadError> {
        let Some(bytes) = self.get(keys::INDEX).await? else { return Ok(None) };
        let opened = self.open(&bytes, EnvelopeKind::Index, keys::INDEX)?;
        if opened.header.sha256 != root {
            return Ok(None);
        }
        if opened.body.len() != INDEX_BUCKETS * 32 {
            return Err(body_error(keys::INDEX));
        }
        let mut digests = Box::new([[0; 32]; INDEX_BUCKETS]);
        for (digest, part) in digests.iter_mut().zip(opened.body.chunks_exact(32)) {
            digest.copy_from_slice(part);
        }
        Ok(Some(digests))
    }

    /// A bucket of the index with this digest; `None` while there is another.
    pub(crate) async fn bucket(&self, bucket: usize, digest: &[u8; 32]) -> Result<Option<Vec<IndexEntry>>, ReadError> {
        let key = keys::index_bucket(bucket);
        // An empty bucket is never written.
        if *digest == secrets::sha256(b"[]") {
            return Ok(Some(Vec::new()));
        }
        let Some(bytes) = self.get(&key).await? else { return Ok(None) };
        let opened = self.open(&bytes, EnvelopeKind::IndexBucket, &key)?;
        if secrets::sha256(opened.body) != *digest {
            return Ok(None);
        }
        let entries: Vec<IndexEntry> = self.json(&opened)?;
        if entries.iter().any(|entry| bucket_of(entry.tenant) != bucket) {
            return Err(body_error(&key));
        }
        Ok(Some(entries))
    }

    /// The snapshot that the index's entry speaks of; `None` while there is another.
    pub(crate) async fn snapshot(&self, entry: &IndexEntry) -> Result<Option<ReadSnapshot>, ReadError> {
        let key = keys::snapshot(entry.tenant);
        let Some(bytes) = self.get(&key).await? else { return Ok(None) };
        let opened = self.open(&bytes, EnvelopeKind::Snapshot, &key)?;
        if opened.header.sha256 != entry.sha256 || opened.header.revision != entry.revision {
            return Ok(None);
        }
        let error = || body_error(&key);
        if opened.header.tenant != Some(entry.tenant) || opened.body.len() > SNAPSHOT_MAX_BYTES {
            return Err(error());
        }
        let unpacked = zstd::bulk::decompress(opened.body, UNPACKED_MAX_BYTES).map_err(|_| error())?;
        let snapshot: TenantSnapshot = serde_json::from_slice(&unpacked).map_err(|_| error())?;
        let fits = snapshot.format == SNAPSHOT_FORMAT
            && snapshot.tenant == entry.tenant
            && (snapshot.epoch, snapshot.revision) == (opened.header.epoch, entry.revision);
        if !fits {
            return Err(error());
        }
        Ok(Some(ReadSnapshot { snapshot, sha256: entry.sha256.clone(), bytes: unpacked.len() }))
    }

    /// Which tenant a slug names.
    pub(crate) async fn slug(&self, slug: &Slug) -> Result<Option<Signed<SlugRecord>>, ReadError> {
        let key = keys::slug(slug.as_str());
        let Some(bytes) = self.get(&key).await? else { return Ok(None) };
        let opened = self.open(&bytes, EnvelopeKind::Slug, &key)?;
        self.signed(&opened).map(Some)
    }

    /// What is known of a token.
    pub(crate) async fn token(
        &self,
        tenant: TenantId,
        digest: TokenDigest,
    ) -> Result<Option<Signed<TokenRecord>>, ReadError> {
        let key = keys::token(tenant, digest);
        let mut pipe = redis::pipe();
        pipe.atomic().get(&key).get(keys::HEAD);
        let (found, head): (Option<Vec<u8>>, Option<Vec<u8>>) = pipe.query_async(&mut self.redis.clone()).await?;
        let Some(bytes) = found else {
            // A Redis that was emptied has no head yet: then a missing record says nothing.
            self.open(&head.ok_or(ReadError::NoHead)?, EnvelopeKind::Head, keys::HEAD)?;
            return Ok(None);
        };
        let opened = self.open(&bytes, EnvelopeKind::Token, &key)?;
        if opened.header.tenant != Some(tenant) {
            return Err(body_error(&key));
        }
        self.signed(&opened).map(Some)
    }

    /// At most `count` revocations of an epoch from number `from` to `to`, in order, without a hole between them; what is
    /// not believed is passed over.
    pub(crate) async fn revocations(
        &self,
        epoch: u64,
        from: u64,
        to: u64,
        count: usize,
    ) -> Result<Vec<Revocation>, ReadError> {
        let mut redis = self.redis.clone();
        let (first, last) = (format!("{epoch}-{from}"), format!("{epoch}-{to}"));
        let reply: StreamRangeReply = redis.xrange_count(keys::REVOKE, first, last, count).await?;
        let mut revocations: Vec<Revocation> = Vec::with_capacity(reply.ids.len());
        for entry in reply.ids {
            let expected = from + revocations.len() as u64;
            let Some(bytes) = entry.get::<Vec<u8>>(REVOCATION_FIELD) else { continue };
            let Ok(opened) = self.open(&bytes, EnvelopeKind::Revocation, keys::REVOKE) else { continue };
            let revocation: Revocation = self.json(&opened)?;
            let is_next = opened.header.epoch == epoch
                && opened.header.tenant == Some(revocation.tenant)
                && opened.header.revision == revocation.number
                && revocation.number == expected;
            if is_next {
                revocations.push(revocation);
            }
        }
        Ok(revocations)
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.redis.clone().get(key).await?)
    }

    fn open<'a>(&self, bytes: &'a [u8], kind: EnvelopeKind, key: &str) -> Result<Opened<'a>, ReadError> {
        projection::open(bytes, &self.deployment, kind, key, &*self.keys).map_err(|source| {
            self.metrics.refused_projections.get_or_create(&ProjectionLabels { kind: word(kind) }).inc();
            ReadError::Envelope { key: key.to_owned(), source }
        })
    }

    fn signed<T: DeserializeOwned>(&self, opened: &Opened<'_>) -> Result<Signed<T>, ReadError> {
        let value = self.json(opened)?;
        Ok(Signed { epoch: opened.header.epoch, revision: opened.header.revision, value })
    }

    #[expect(clippy::unused_self, reason = "reads as one sentence with the others")]
    fn json<T: DeserializeOwned>(&self, opened: &Opened<'_>) -> Result<T, ReadError> {
        serde_json::from_slice(opened.body).map_err(|_| body_error(&opened.header.key))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("deployment", &self.deployment).finish_non_exhaustive()
    }
}

fn body_error(key: &str) -> ReadError {
    ReadError::Body { key: key.to_owned() }
}

/// What a node reads.
const READ: [EnvelopeKind; 7] = [
    EnvelopeKind::Slug,
    EnvelopeKind::Snapshot,
    EnvelopeKind::Token,
    EnvelopeKind::Revocation,
    EnvelopeKind::Head,
    EnvelopeKind::Index,
    EnvelopeKind::IndexBucket,
];

const fn word(kind: EnvelopeKind) -> &'static str {
    match kind {
        EnvelopeKind::Slug => "slug",
        EnvelopeKind::Snapshot => "snapshot",
        EnvelopeKind::Token => "token",
        EnvelopeKind::Revocation => "revocation",
        EnvelopeKind::Head => "head",
        EnvelopeKind::Index => "index",
        EnvelopeKind::IndexBucket => "index_bucket",
        EnvelopeKind::Relay => "relay",
    }
}
