//! Signs checkpoints of the logs of a shard: only committed state, never less than was signed before, and never another
//! history than the one whose last checkpoint is kept outside of the database (O6).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use audit::merkle::{self, Cover, Frontier, Hash, InTile};
use audit::note::{Checkpoint, VerifierKey};
use domain::TenantId;
use domain::projection::Sign as _;
use secrets::SigningKey;
use store::IngestTx;
use store::audit::checkpoint::{self, Signed};
use store::audit::head::Head;
use store::audit::{leaf, shard};
use tracing::error;

use super::Means;
use super::stream::Stream;

/// Between two checkpoints of a log that grows.
pub(super) const EVERY: Duration = Duration::from_secs(2);
/// Most logs whose checkpoints are signed in one transaction; those that are left come with the next.
const LOGS: u32 = 500;

/// The name of a tenant's log, which no other has: what its checkpoints are of.
#[must_use]
pub fn origin(deployment: &str, tenant: TenantId, epoch: u64) -> String {
    format!("{deployment}.sluice/t/{tenant}/{epoch}")
}

/// The key by which a deployment's checkpoints are verified.
///
/// # Panics
/// Never: a deployment's id is letters, digits and `_`, and the key is one of Ed25519.
#[must_use]
#[expect(clippy::expect_used, reason = "a deployment's id is a name and a signing key has a public half")]
pub fn verifier_key(deployment: &str, key: &SigningKey) -> VerifierKey {
    VerifierKey::new(&format!("{deployment}.sluice"), key.public_key()).expect("a name and a key")
}

/// What signs.
pub(super) struct Signer {
    signing: Arc<SigningKey>,
    key: VerifierKey,
    /// Logs whose history is another than the one that was signed.
    refused: HashSet<TenantId>,
}

/// Why checkpoints could not be signed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SignError {
    #[error("another has become the shard's owner")]
    Fenced,
    #[error("a log's frontier does not read back")]
    Frontier(#[from] merkle::NotAFrontier),
    #[error("a tile of a log is missing or too short")]
    Tile,
    #[error("Redis failed")]
    Redis(#[from] redis::RedisError),
    #[error(transparent)]
    Database(#[from] store::Error),
}

impl Signer {
    pub(super) fn new(means: &Means) -> Self {
        let signing = Arc::clone(&means.needs.checkpoints);
        let key = verifier_key(&means.needs.deployment, &signing);
        Self { signing, key, refused: HashSet::new() }
    }

    /// Signs a checkpoint of each log of the shard that has grown since its last one.
    pub(super) async fn sign(
        &mut self,
        means: &Means,
        (shard, fence): (u16, i64),
        stream: &mut Stream,
    ) -> Result<(), SignError> {
        let mut tx = IngestTx::begin(&means.needs.pool, shard).await?;
        shard::lock(&mut tx, shard, fence).await?.ok_or(SignError::Fenced)?;
        let heads = checkpoint::unsigned(&mut tx, (shard, means.needs.shards), LOGS).await?;
        if heads.is_empty() {
            return Ok(());
        }
        let tenants: Vec<TenantId> = heads.iter().map(|head| head.tenant).collect();
        let kept = stream.checkpoints(&tenants).await?;
        let mut signed = Vec::with_capacity(heads.len());
        for (head, kept) in heads.iter().zip(kept) {
            signed.extend(self.one(means, &mut tx, head, kept.as_deref()).await?);
        }
        if signed.is_empty() {
            return Ok(());
        }
        // Outside first: what is signed is never forgotten by both.
        stream.keep_checkpoints(&signed).await?;
        checkpoint::add(&mut tx, &signed).await?;
        tx.commit().await?;
        means.metrics.checkpoints.add(signed.len());
        Ok(())
    }

    async fn one(
        &mut self,
        means: &Means,
        tx: &mut IngestTx,
        head: &Head,
        kept: Option<&str>,
    ) -> Result<Option<Signed>, SignError> {
        let origin = origin(&means.needs.deployment, head.tenant, head.epoch);
        let kept = kept.and_then(|note| self.key.open(note).ok()).filter(|kept| kept.origin == origin);
        if let Some(kept) = kept
            && kept.size > head.signed_size
            && !goes_on_from(tx, head, &kept).await?
        {
            if self.refused.insert(head.tenant) {
                let (tenant, was, is) = (head.tenant, kept.size, head.size);
                error!(
                    "the log of {tenant} was signed with {was} records and now has other ones ({is}): the database was set back. No checkpoint is signed for it again until that is settled"
                );
            }
            means.metrics.refused_checkpoints.add(1);
            return Ok(None);
        }
        let root = Frontier::parse(&head.frontier)?.root();
        let checkpoint = Checkpoint { origin, size: head.size, root };
        let note = checkpoint.signed(&self.key, |text| self.signing.sign(text));
        let signed_at = means.needs.clock.now();
        Ok(Some(Signed { tenant: head.tenant, epoch: head.epoch, size: head.size, note, signed_at }))
    }
}

/// Whether the log still begins with what that checkpoint is over. One that can't be read does not: it is not signed, and
/// the shard's other logs are.
async fn goes_on_from(tx: &mut IngestTx, head: &Head, kept: &Checkpoint) -> Result<bool, SignError> {
    if kept.size > head.size {
        return Ok(false);
    }
    match root_at(tx, head, kept.size).await {
        Ok(root) => Ok(root == kept.root),
        Err(SignError::Tile | SignError::Frontier(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The root that the log had when it had so many leaves.
async fn root_at(tx: &mut IngestTx, head: &Head, size: u64) -> Result<Hash, SignError> {
    let subtrees: Vec<(u32, u64)> = Cover::of(0, size).collect();
    let wanted: Vec<(u8, u64)> = subtrees.iter().map(|one| InTile::of(*one)).map(|at| (at.level, at.index)).collect();
    let tiles = leaf::tiles_for_owner(tx, (head.tenant, head.epoch), &wanted).await?;
    let mut tree = Frontier::default();
    for (subtree, (level, index)) in subtrees.iter().zip(&wanted) {
        let tile = tiles.iter().find(|tile| (tile.level, tile.index) == (*level, *index)).ok_or(SignError::Tile)?;
        let root = InTile::of(*subtree).root(&tile.hashes).ok_or(SignError::Tile)?;
        tree.append_subtree(subtree.0, root)?;
    }
    Ok(tree.root())
}
