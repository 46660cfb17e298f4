//! The tenants a node serves: found by slug, loaded at the first request, kept in step with what is published.

mod ack;
mod compile;
mod feed;
mod slugs;
pub(crate) mod source;
mod touch;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use domain::projection::{IndexEntry, bucket_of};
use domain::{Slug, TenantId};

pub(crate) use ack::{Acks, Who};
pub use compile::{CompileError, CompileParts, Tenant};
pub use feed::Feed;
pub(crate) use feed::FeedParts;
pub use touch::{BLIND_AFTER, Touch, View};

use crate::metrics::Metrics;
use slugs::Slugs;
use source::{Digests, ReadError, Source};

/// What a tenant asks for can't be had at present: the node is out of touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the tenant's configuration can't be had at present")]
pub struct Unavailable;

/// The tenants of a node.
pub struct Tenants {
    source: Source,
    touch: Arc<Touch>,
    slugs: Slugs,
    slots: RwLock<HashMap<TenantId, Arc<Slot>>>,
    /// The index of the last head.
    index: ArcSwapOption<Digests>,
    parts: CompileParts,
    metrics: Metrics,
    bytes_max: u64,
    /// Counts requests: a tenant's place in it says how lately it was used.
    uses: AtomicU64,
}

/// A tenant's place in memory.
#[derive(Debug, Default)]
struct Slot {
    loaded: ArcSwapOption<Loaded>,
    /// Held by whoever loads; the others wait and find it done.
    loading: tokio::sync::Mutex<()>,
    /// Since when a newer publication is known that is not live here.
    behind: ArcSwap<Option<touch::Moment>>,
    used: AtomicU64,
}

/// What is live.
#[derive(Debug)]
struct Loaded {
    tenant: Arc<Tenant>,
    epoch: u64,
    revision: u64,
    sha256: String,
    bytes: u64,
    blind_max: Duration,
}

impl Slot {
    /// Notes since when something newer is known; what is known longer stays.
    fn mark_behind(&self, now: touch::Moment) {
        if self.behind.load().is_none() {
            self.behind.store(Arc::new(Some(now)));
        }
    }
}

impl Loaded {
    fn is(&self, entry: &IndexEntry) -> bool {
        self.revision == entry.revision && self.sha256 == entry.sha256
    }
}

/// Why a tenant could not be brought up to date.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("what is published is changing")]
    Changing,
    #[error("revision {revision} can't be served")]
    Compile { revision: u64, source: CompileError },
    #[error("compiling was stopped")]
    Stopped,
}

impl Tenants {
    pub(crate) fn new(
        source: Source,
        touch: Arc<Touch>,
        parts: CompileParts,
        metrics: Metrics,
        bytes_max: u64,
    ) -> Arc<Self> {
        Arc::new(Self {
            slugs: Slugs::new(source.clone()),
            source,
            touch,
            slots: RwLock::default(),
            index: ArcSwapOption::empty(),
            parts,
            metrics,
            bytes_max,
            uses: AtomicU64::new(1),
        })
    }

    /// Which tenant a slug names. Does no I/O for a slug it knows.
    ///
    /// # Errors
    /// [`Unavailable`] when it is unknown here and Redis can't be asked.
    pub async fn resolve(&self, slug: &Slug) -> Result<Option<TenantId>, Unavailable> {
        self.slugs.resolve(slug, &self.touch).await
    }

    /// The tenant's published configuration, loaded if it is not in memory; `None` when nothing is published. Does no I/O
    /// for a tenant in memory.
    ///
    /// # Errors
    /// [`Unavailable`] when it can't be had, or the one in memory is older than the tenant allows.
    pub async fn get(&self, tenant: TenantId) -> Result<Option<Arc<Tenant>>, Unavailable> {
        if let Some(slot) = self.slot(tenant)
            && let Some(loaded) = &*slot.loaded.load()
        {
            slot.used.store(self.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
            let is_too_old = (**slot.behind.load())
                .is_some_and(|since| self.touch.moment().since(since) > BLIND_AFTER + loaded.blind_max);
            return if is_too_old { Err(Unavailable) } else { Ok(Some(Arc::clone(&loaded.tenant))) };
        }
        if self.touch.is_blind() {
            return Err(Unavailable);
        }
        self.load_first(tenant).await
    }

    /// As [`Tenants::resolve`] and [`Tenants::get`] at once.
    ///
    /// # Errors
    /// [`Unavailable`] when one of them fails.
    pub async fn find(&self, slug: &Slug) -> Result<Option<Arc<Tenant>>, Unavailable> {
        let Some(tenant) = self.resolve(slug).await? else { return Ok(None) };
        Ok(self.get(tenant).await?.filter(|tenant| tenant.snapshot.slug == *slug))
    }

    async fn load_first(&self, tenant: TenantId) -> Result<Option<Arc<Tenant>>, Unavailable> {
        let slot = Arc::clone(self.slots_mut().entry(tenant).or_default());
        slot.used.store(self.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        let outcome = self.refresh(tenant, &slot).await;
        if slot.loaded.load().is_none() {
            self.remove(tenant);
        }
        outcome.map(|loaded| loaded.map(|loaded| Arc::clone(&loaded.tenant))).map_err(|error| {
            tracing::warn!(error = service::causes(&error), tenant.id = %tenant, "could not load a tenant");
            Unavailable
        })
    }

    /// Brings a slot to what the index says. One at a time per slot.
    async fn refresh(&self, tenant: TenantId, slot: &Slot) -> Result<Option<Arc<Loaded>>, LoadError> {
        let _only = slot.loading.lock().await;
        let index = self.index.load_full().ok_or(LoadError::Changing)?;
        let Some(entry) = self.entry(tenant, &index).await? else {
            self.remove(tenant);
            return Ok(None);
        };
        if let Some(loaded) = slot.loaded.load_full().filter(|loaded| loaded.is(&entry)) {
            self.settle(tenant, slot, &index);
            return Ok(Some(loaded));
        }
        let loaded = Arc::new(self.read(&entry).await?);
        self.touch.allow(tenant, loaded.blind_max);
        slot.loaded.store(Some(Arc::clone(&loaded)));
        self.settle(tenant, slot, &index);
        tracing::info!(tenant.id = %tenant, revision = loaded.revision, "a tenant's configuration is live");
        self.make_room(tenant);
        Ok(Some(loaded))
    }

    /// Takes the mark of being behind off a slot that is what `index` says.
    ///
    /// What was published while it was being read found the mark set already; it is set again for it. The feed stores an
    /// index before it marks, so one of the two always sees the other.
    fn settle(&self, tenant: TenantId, slot: &Slot, index: &Digests) {
        slot.behind.store(Arc::new(None));
        let bucket = bucket_of(tenant);
        if self.index.load().as_ref().is_some_and(|newest| newest[bucket] != index[bucket]) {
            slot.mark_behind(self.touch.moment());
        }
    }

    async fn entry(&self, tenant: TenantId, index: &Digests) -> Result<Option<IndexEntry>, LoadError> {
        let bucket = bucket_of(tenant);
        let entries = self.source.bucket(bucket, &index[bucket]).await?.ok_or(LoadError::Changing)?;
        Ok(entries.into_iter().find(|entry| entry.tenant == tenant))
    }

    async fn read(&self, entry: &IndexEntry) -> Result<Loaded, LoadError> {
        let read = self.source.snapshot(entry).await?.ok_or(LoadError::Changing)?;
        let parts = self.parts.clone();
        let (epoch, revision) = (read.snapshot.epoch, read.snapshot.revision);
        let blind_max = Duration::from_secs(u64::from(read.snapshot.blind_max_s.min(60)));
        // Compiling policies takes milliseconds: not on a thread that serves calls.
        let tenant = tokio::task::spawn_blocking(move || Tenant::compile(read.snapshot, &parts))
            .await
            .map_err(|_| LoadError::Stopped)?
            .map_err(|source| LoadError::Compile { revision, source })?;
        Ok(Loaded {
            tenant: Arc::new(tenant),
            epoch,
            revision,
            sha256: read.sha256,
            bytes: read.bytes as u64,
            blind_max,
        })
    }

    /// Drops the tenants least lately used until the rest fits; never the one just loaded.
    fn make_room(&self, keep: TenantId) {
        loop {
            let slots = self.loaded();
            let bytes: u64 = slots.iter().map(|(_, _, loaded)| loaded.bytes).sum();
            self.metrics.tenants_loaded.set(i64::try_from(slots.len()).unwrap_or(i64::MAX));
            self.metrics.tenants_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
            let idle = slots.iter().filter(|(tenant, _, _)| *tenant != keep);
            let oldest = idle.min_by_key(|(_, slot, _)| slot.used.load(Ordering::Relaxed));
            match oldest {
                Some((tenant, _, _)) if bytes > self.bytes_max => self.remove(*tenant),
                _ => return,
            }
        }
    }

    fn loaded(&self) -> Vec<(TenantId, Arc<Slot>, Arc<Loaded>)> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let loaded =
            slots.iter().filter_map(|(tenant, slot)| Some((*tenant, Arc::clone(slot), slot.loaded.load_full()?)));
        loaded.collect()
    }

    fn slot(&self, tenant: TenantId) -> Option<Arc<Slot>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner).get(&tenant).cloned()
    }

    fn remove(&self, tenant: TenantId) {
        self.slots_mut().remove(&tenant);
        self.touch.forget(tenant);
    }

    fn slots_mut(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<TenantId, Arc<Slot>>> {
        self.slots.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenants").finish_non_exhaustive()
    }
}
