//! Signs checkpoints of the logs of a shard: only committed state, never less than was signed before, and never another
//! history than the one whose last checkpoint is kept outside of the database (O6): such a log goes on in a new epoch.

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
use store::audit::{epoch, leaf, shard};
use tracing::error;

use super::Means;
use super::commit::LEASE;
use super::epochs::{self, Anchor};
use super::placing::{Caches, PlaceError};
use super::stream::Stream;

/// Between two checkpoints of a log that grows.
pub(super) const EVERY: Duration = Duration::from_secs(2);
/// Most logs whose checkpoints are signed in one transaction; those that are left come with the next.
const LOGS: u32 = 500;

/// Most logs that begin an epoch in one transaction: each takes several round trips, and all of them are to fit well into the
/// shard's lease.
const BEGIN: u32 = 25;

/// The name of a tenant's log, which no other has: what its checkpoints are of.
#[must_use]
pub fn origin(deployment: &str, tenant: TenantId, epoch: u64) -> String {
    format!("{}{epoch}", log_name(deployment, tenant))
}

/// The name of a tenant's log but for its epoch.
fn log_name(deployment: &str, tenant: TenantId) -> String {
    format!("{deployment}.sluice/t/{tenant}/")
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
    /// Logs whose history was compared with what is kept outside since this session with the database began.
    checked: HashSet<TenantId>,
    /// Logs whose history can't be read.
    refused: HashSet<TenantId>,
}

/// Whether a log goes on from the checkpoint that is kept outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum History {
    Same,
    SetBack,
    Unreadable,
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
    #[error("the first records of an epoch could not be placed")]
    Place(#[from] PlaceError),
    #[error("Redis failed")]
    Redis(#[from] redis::RedisError),
    #[error(transparent)]
    Database(#[from] store::Error),
}

impl Signer {
    pub(super) fn new(means: &Means) -> Self {
        let signing = Arc::clone(&means.needs.checkpoints);
        let key = verifier_key(&means.needs.deployment, &signing);
        Self { signing, key, checked: HashSet::new(), refused: HashSet::new() }
    }

    /// Looks at all logs of the shard when a session begins: those that were set back go on in a new epoch before anything
    /// is added to them.
    pub(super) async fn begin_epochs(
        &mut self,
        (means, caches): (&Means, &mut Caches),
        (shard, fence): (u16, i64),
        stream: &mut Stream,
    ) -> Result<(), SignError> {
        self.checked.clear();
        let mut after = None;
        loop {
            let mut tx = IngestTx::begin(&means.needs.pool, shard).await?;
            let row = shard::lock(&mut tx, shard, fence).await?.ok_or(SignError::Fenced)?;
            let heads = epoch::heads(&mut tx, (shard, means.needs.shards), after, BEGIN).await?;
            let Some(last) = heads.last() else { return Ok(()) };
            after = Some(last.tenant);
            let anchors = self.anchors(means, stream, &heads).await?;
            let mut begun = Vec::new();
            for (head, anchor) in heads.iter().zip(&anchors) {
                if history(&mut tx, head, anchor.as_ref(), false).await? == History::SetBack {
                    begun.push(epochs::begin(&mut tx, means, caches, (head, anchor.as_ref()), row.now).await?);
                }
            }
            shard::save(&mut tx, shard, &row, LEASE).await?;
            tx.commit().await?;
            for begun in &begun {
                begun.tell(means);
            }
        }
    }

    /// Signs a checkpoint of each log of the shard that has grown since its last one.
    pub(super) async fn sign(
        &mut self,
        (means, caches): (&Means, &mut Caches),
        (shard, fence): (u16, i64),
        stream: &mut Stream,
    ) -> Result<(), SignError> {
        let mut tx = IngestTx::begin(&means.needs.pool, shard).await?;
        let row = shard::lock(&mut tx, shard, fence).await?.ok_or(SignError::Fenced)?;
        let mut heads = epoch::to_begin(&mut tx, (shard, means.needs.shards), BEGIN).await?;
        let grown = checkpoint::unsigned(&mut tx, (shard, means.needs.shards), LOGS).await?;
        heads.extend(grown.into_iter().filter(|head| head.begin_epoch.is_none()));
        if heads.is_empty() {
            return Ok(());
        }
        let anchors = self.anchors(means, stream, &heads).await?;
        let (mut signed, mut begun) = (Vec::with_capacity(heads.len()), Vec::new());
        for (head, anchor) in heads.iter().zip(&anchors) {
            let is_new = !self.checked.contains(&head.tenant);
            match history(&mut tx, head, anchor.as_ref(), is_new).await? {
                History::Same => signed.push(self.one(means, head)?),
                // The others come with the next.
                History::SetBack if begun.len() >= BEGIN as usize => {}
                History::SetBack => {
                    begun.push(epochs::begin(&mut tx, means, caches, (head, anchor.as_ref()), row.now).await?);
                }
                History::Unreadable => self.refuse(means, head.tenant),
            }
        }
        if signed.is_empty() && begun.is_empty() {
            return Ok(());
        }
        if !signed.is_empty() {
            // Outside first: what is signed is never forgotten by both.
            stream.keep_checkpoints(&signed).await?;
            checkpoint::add(&mut tx, &signed).await?;
        }
        tx.commit().await?;
        for begun in &begun {
            begun.tell(means);
        }
        self.checked.extend(signed.iter().map(|signed| signed.tenant));
        means.metrics.checkpoints.add(signed.len());
        Ok(())
    }

    /// What is kept outside of the database of these logs.
    async fn anchors(
        &self,
        means: &Means,
        stream: &mut Stream,
        heads: &[Head],
    ) -> Result<Vec<Option<Anchor>>, SignError> {
        let tenants: Vec<TenantId> = heads.iter().map(|head| head.tenant).collect();
        let kept = stream.checkpoints(&tenants).await?;
        let read = |(tenant, note): (&TenantId, Option<String>)| {
            let note = note?;
            let Checkpoint { origin, size, root } = self.key.open(&note).ok()?;
            let epoch = origin.strip_prefix(&log_name(&means.needs.deployment, *tenant))?.parse().ok()?;
            Some(Anchor { epoch, size, root, note })
        };
        Ok(tenants.iter().zip(kept).map(read).collect())
    }

    fn one(&self, means: &Means, head: &Head) -> Result<Signed, SignError> {
        let origin = origin(&means.needs.deployment, head.tenant, head.epoch);
        let root = Frontier::parse(&head.frontier)?.root();
        let checkpoint = Checkpoint { origin, size: head.size, root };
        let note = checkpoint.signed(&self.key, |text| self.signing.sign(text));
        let signed_at = means.needs.clock.now();
        Ok(Signed { tenant: head.tenant, epoch: head.epoch, size: head.size, note, signed_at })
    }

    fn refuse(&mut self, means: &Means, tenant: TenantId) {
        if self.refused.insert(tenant) {
            error!("the hashes of the log of {tenant} can't be read: no checkpoint is signed for it until they can");
        }
        means.metrics.refused_checkpoints.add(1);
    }
}

/// Compares a log with what is kept outside. That is done whenever more was signed than the database knows of, and else only
/// when `thoroughly`: it reads tiles.
async fn history(
    tx: &mut IngestTx,
    head: &Head,
    anchor: Option<&Anchor>,
    thoroughly: bool,
) -> Result<History, SignError> {
    if head.begin_epoch.is_some() {
        return Ok(History::SetBack);
    }
    let Some(anchor) = anchor.filter(|anchor| anchor.epoch >= head.epoch) else { return Ok(History::Same) };
    if anchor.epoch > head.epoch || anchor.size > head.size {
        return Ok(History::SetBack);
    }
    if anchor.size <= head.signed_size && !thoroughly {
        return Ok(History::Same);
    }
    match root_at(tx, head, anchor.size).await {
        Ok(root) if root == anchor.root => Ok(History::Same),
        Ok(_) => Ok(History::SetBack),
        Err(SignError::Tile | SignError::Frontier(_)) => Ok(History::Unreadable),
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
