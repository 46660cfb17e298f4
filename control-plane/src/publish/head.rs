//! The numbers and digests of the whole configuration, as the publisher has them in memory.

use std::collections::BTreeMap;

use domain::TenantId;
use domain::projection::{Head, INDEX_BUCKETS, IndexEntry, bucket_of};
use secrets::sha256;
use store::publisher::Lease;

use super::envelope::json;

/// The index of all published snapshots.
#[derive(Debug, Clone)]
pub(super) struct Index {
    buckets: Vec<BTreeMap<TenantId, IndexEntry>>,
    digests: Vec<[u8; 32]>,
}

impl Index {
    pub(super) fn new(entries: Vec<IndexEntry>) -> Self {
        let mut index = Self { buckets: vec![BTreeMap::new(); INDEX_BUCKETS], digests: vec![[0; 32]; INDEX_BUCKETS] };
        for entry in entries {
            index.buckets[bucket_of(entry.tenant)].insert(entry.tenant, entry);
        }
        for bucket in 0..INDEX_BUCKETS {
            index.digests[bucket] = sha256(&index.bucket(bucket));
        }
        index
    }

    /// Enters a publication; gives the bucket that changed.
    pub(super) fn put(&mut self, entry: IndexEntry) -> usize {
        let bucket = bucket_of(entry.tenant);
        self.buckets[bucket].insert(entry.tenant, entry);
        self.digests[bucket] = sha256(&self.bucket(bucket));
        bucket
    }

    /// The bucket's body.
    pub(super) fn bucket(&self, bucket: usize) -> Vec<u8> {
        json(&self.buckets[bucket].values().collect::<Vec<_>>())
    }

    /// Buckets that hold something.
    pub(super) fn filled(&self) -> impl Iterator<Item = usize> {
        (0..INDEX_BUCKETS).filter(|bucket| !self.buckets[*bucket].is_empty())
    }

    /// The index's body.
    pub(super) fn body(&self) -> Vec<u8> {
        self.digests.concat()
    }

    pub(super) fn root(&self) -> String {
        hex::encode(sha256(&self.body()))
    }

    pub(super) fn tenants(&self) -> Vec<TenantId> {
        self.buckets.iter().flat_map(|bucket| bucket.keys().copied()).collect()
    }
}

/// The numbers of the head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) epoch: u64,
    pub(super) change: u64,
    pub(super) revocation: u64,
    /// The lowest revocation that is kept.
    pub(super) floor: u64,
    pub(super) root: String,
}

impl Numbers {
    pub(super) fn new(lease: Lease, floor: Option<u64>, index: &Index) -> Self {
        Self {
            epoch: lease.epoch,
            change: lease.change,
            revocation: lease.revocation,
            floor: floor.unwrap_or(lease.revocation + 1),
            root: index.root(),
        }
    }

    /// Whether a head found in Redis says the same.
    pub(super) fn is(&self, head: &Head) -> bool {
        (self.epoch, self.change, self.revocation) == (head.epoch, head.change, head.revocation)
            && self.root == head.root
    }
}
