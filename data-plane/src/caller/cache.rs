//! Callers in memory, by digest: read without I/O and nearly without waiting, bounded, and never forgetting a caller that
//! something is open for, so that its end can always be told.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use domain::TokenDigest;

use super::{Caller, mark_used, take_used};

/// Maps of their own, so that a writer stops few readers.
const SHARDS: usize = 16;
/// Entries looked at to find one that is not in use.
const TRIES: usize = 16;

type Shard = HashMap<TokenDigest, Arc<Caller>>;

#[derive(Debug)]
pub(super) struct Cache {
    shards: [RwLock<Shard>; SHARDS],
    capacity_each: usize,
}

impl Cache {
    pub(super) fn new(capacity: usize) -> Self {
        Self { shards: Default::default(), capacity_each: capacity.div_ceil(SHARDS).max(1) }
    }

    pub(super) fn find(&self, digest: &TokenDigest) -> Option<Arc<Caller>> {
        let caller = Arc::clone(self.read(digest).get(digest)?);
        mark_used(&caller);
        Some(caller)
    }

    /// Adds a caller, unless another request was first: then that one counts for both.
    pub(super) fn insert(&self, digest: TokenDigest, caller: Arc<Caller>) -> Arc<Caller> {
        let mut shard = self.write(&digest);
        if let Some(first) = shard.get(&digest).filter(|first| !first.ended.is_cancelled()) {
            return Arc::clone(first);
        }
        if shard.len() >= self.capacity_each {
            make_room(&mut shard);
        }
        shard.insert(digest, Arc::clone(&caller));
        caller
    }

    pub(super) fn remove(&self, digest: &TokenDigest) -> Option<Arc<Caller>> {
        self.write(digest).remove(digest)
    }

    pub(super) fn remove_where(&self, is_gone: impl Fn(&Caller) -> bool) -> Vec<Arc<Caller>> {
        let mut removed = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            removed.extend(shard.extract_if(|_, caller| is_gone(caller)).map(|(_, caller)| caller));
        }
        removed
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().unwrap().len()).sum()
    }

    fn read(&self, digest: &TokenDigest) -> RwLockReadGuard<'_, Shard> {
        self.shard(digest).read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, digest: &TokenDigest) -> RwLockWriteGuard<'_, Shard> {
        self.shard(digest).write().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard(&self, digest: &TokenDigest) -> &RwLock<Shard> {
        &self.shards[usize::from(digest.0[0]) % SHARDS]
    }
}

/// Drops a caller nothing is open for, one that was not used lately where there is such among a few.
fn make_room(shard: &mut Shard) {
    let idle = || shard.iter().filter(|(_, caller)| Arc::strong_count(caller) == 1).take(TRIES);
    let victim = idle().find(|(_, caller)| !take_used(caller)).or_else(|| idle().next()).map(|(digest, _)| *digest);
    if let Some(victim) = victim {
        shard.remove(&victim);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenants::testing::principal;

    fn digest(number: u64) -> TokenDigest {
        // One shard for all: the first byte is the same.
        let mut bytes = [0; 32];
        bytes[8..16].copy_from_slice(&number.to_be_bytes());
        TokenDigest(bytes)
    }

    #[test]
    fn the_cache_keeps_within_its_bound_but_never_drops_a_caller_in_use() {
        let cache = Cache::new(SHARDS * 8);
        let held: Vec<_> =
            (0..8).map(|n| cache.insert(digest(n), Arc::new(Caller::new(principal(1, n.into()))))).collect();
        for n in 8..200 {
            cache.insert(digest(n), Arc::new(Caller::new(principal(1, n.into()))));
        }
        for (n, caller) in held.iter().enumerate() {
            assert!(Arc::ptr_eq(caller, &cache.find(&digest(n as u64)).unwrap()));
        }
        assert!(cache.len() <= 8 + 8 + 1, "{}", cache.len());
        drop(held);
        for n in 200..300 {
            cache.insert(digest(n), Arc::new(Caller::new(principal(1, n.into()))));
        }
        assert!(cache.len() <= 17, "{}", cache.len());
    }

    #[test]
    fn two_requests_of_one_token_share_one_caller() {
        let cache = Cache::new(100);
        let first = cache.insert(digest(1), Arc::new(Caller::new(principal(1, 1))));
        let second = cache.insert(digest(1), Arc::new(Caller::new(principal(1, 1))));
        assert!(Arc::ptr_eq(&first, &second));
    }
}
