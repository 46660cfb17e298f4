//! What the audit part of a node counts, as plain numbers that the node's metrics read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts since the node began; `*_bytes` are present levels.
#[derive(Debug, Default)]
pub struct Counters {
    /// Frames formed.
    pub frames: Count,
    /// Entries in them.
    pub entries: Count,
    /// Final records formed, with those that say a call was refused.
    pub final_records: Count,
    /// Frames sent to Redis again.
    pub frames_resent: Count,
    /// Frames written to the spool.
    pub frames_spooled: Count,
    /// Times that Redis failed or was late.
    pub carrier_failures: Count,
    /// Times that the spool failed.
    pub spool_failures: Count,
    /// Acks in Redis that nobody vouches for.
    pub acks_refused: Count,
    /// Calls and other requests refused because their record could not be kept.
    pub refused_calls: Count,
    /// Bytes of frames in memory that did not take effect yet.
    pub uncommitted_bytes: Count,
    /// Bytes of records in memory that wait to become frames.
    pub waiting_bytes: Count,
    /// How long calls waited for their record to be durable.
    pub wait: Waits,
}

/// A number that many threads count.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Counters {
    /// Bytes of records in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.waiting_bytes.get() + self.uncommitted_bytes.get()
    }
}

impl Count {
    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn take(&self, less: u64) {
        self.0.fetch_sub(less, Ordering::Relaxed);
    }
}

/// A histogram of waiting times.
#[derive(Debug, Default)]
pub struct Waits {
    buckets: [Count; Waits::BOUNDS.len() + 1],
    micros: Count,
}

impl Waits {
    /// Upper bounds of the buckets, microseconds; a last bucket holds what is above.
    pub const BOUNDS: [u64; 12] =
        [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000];

    pub(super) fn observe(&self, wait: Duration) -> u64 {
        let micros = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        self.buckets[Self::BOUNDS.partition_point(|bound| *bound < micros)].add(1);
        self.micros.add(micros);
        micros
    }

    /// How many waits fell into each bucket, not cumulated.
    #[must_use]
    pub fn buckets(&self) -> [u64; Waits::BOUNDS.len() + 1] {
        self.buckets.each_ref().map(Count::get)
    }

    /// The sum of all waits, microseconds.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.micros.get()
    }
}
