//! What the owners count, for `/metrics`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to it.
    pub fn add(&self, number: usize) {
        self.0.fetch_add(u64::try_from(number).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What it came to.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the owners of this process did since it started.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Transactions committed.
    pub commits: Count,
    /// Transactions that failed and were or will be repeated.
    pub failures: Count,
    /// Frames read.
    pub frames: Count,
    /// Of them, those that had taken effect before.
    pub duplicates: Count,
    /// Of them, those put aside unread.
    pub quarantined: Count,
    /// Records added to logs.
    pub records: Count,
    /// Calls whose node is gone, ended as `unknown`.
    pub unknown: Count,
    /// Gaps named in logs.
    pub gaps: Count,
    /// True outcomes that came after `unknown`.
    pub late: Count,
    /// Checkpoints signed.
    pub checkpoints: Count,
    /// Checkpoints not signed because the log is not the one that was signed before, or can't be compared with it.
    pub refused_checkpoints: Count,
    /// Epochs of logs begun because the database was set back.
    pub epochs: Count,
    /// Times that the stream was found lost.
    pub lost_streams: Count,
    /// Up to when what came into each shard owned here was taken in, milliseconds since 1970.
    taken_in: Mutex<BTreeMap<u16, u64>>,
}

impl Metrics {
    /// Says that all that came into a shard up to then was taken in.
    pub(crate) fn set_taken_in(&self, shard: u16, unix_ms: u64) {
        self.taken_in.lock().unwrap_or_else(PoisonError::into_inner).insert(shard, unix_ms);
    }

    /// Says that a shard is owned elsewhere.
    pub(crate) fn forget_shard(&self, shard: u16) {
        self.taken_in.lock().unwrap_or_else(PoisonError::into_inner).remove(&shard);
    }

    /// The shards owned here, each with the time up to which it was taken in, milliseconds since 1970.
    #[must_use]
    pub fn taken_in(&self) -> BTreeMap<u16, u64> {
        self.taken_in.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
