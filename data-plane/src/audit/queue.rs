//! Entries of one shard waiting to become frames. A record's `gw.n` and its place in line are given in one critical
//! section and never taken back.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use audit::entry::{Entry, Form, Private};
use audit::frame::Builder;
use audit::record::Leaf;
use domain::TenantId;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::counters::Counters;

/// A frame takes no more entries once it has so many bytes.
const FRAME_BYTES: usize = 512 * 1024;

/// The entries of one shard.
#[derive(Debug)]
pub(super) struct Queue {
    line: Mutex<Line>,
    /// The bytes in line are counted here, with those of other shards.
    counters: Arc<Counters>,
    /// Told when the line is no longer empty.
    pub(super) wake: Notify,
}

#[derive(Debug, Default)]
struct Line {
    forming: VecDeque<Forming>,
    /// An empty builder whose memory is used again.
    spare: Option<Builder>,
    /// The next `gw.n` of each tenant.
    counters: HashMap<TenantId, u64>,
}

/// The content of a frame to be.
#[derive(Debug)]
pub(super) struct Forming {
    pub(super) builder: Builder,
    /// Told when the frame is durable; dropped when it can't be made so in time.
    pub(super) waiters: Vec<oneshot::Sender<()>>,
    /// Bytes of each tenant in it.
    pub(super) tenants: Vec<(TenantId, u64)>,
    /// When its first entry came.
    pub(super) since: Instant,
}

/// A record to be put in line.
pub(super) struct Item<'a> {
    pub(super) form: Form,
    pub(super) tenant: TenantId,
    /// The counter, when the record has one already.
    pub(super) n: Option<u64>,
    pub(super) leaf: &'a Leaf,
    pub(super) private: Option<&'a Private>,
    pub(super) waiter: Option<oneshot::Sender<()>>,
}

impl Queue {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self { line: Mutex::default(), counters, wake: Notify::new() }
    }

    /// Puts a record in line and gives its counter.
    pub(super) fn push(&self, item: Item<'_>) -> u64 {
        let mut line = self.line();
        let n = item.n.unwrap_or_else(|| {
            let next = line.counters.entry(item.tenant).or_default();
            *next += 1;
            *next - 1
        });
        let was_empty = line.forming.is_empty();
        let forming = line.last();
        let before = forming.builder.size();
        forming.builder.push_record(item.form, (item.tenant, n), item.leaf, item.private);
        let bytes = (forming.builder.size() - before) as u64;
        match forming.tenants.iter_mut().find(|(tenant, _)| *tenant == item.tenant) {
            Some((_, sum)) => *sum += bytes,
            None => forming.tenants.push((item.tenant, bytes)),
        }
        forming.waiters.extend(item.waiter);
        self.counters.waiting_bytes.add(bytes);
        drop(line);
        self.tell(was_empty);
        n
    }

    /// Puts a sign of life or death in line.
    pub(super) fn push_sign(&self, entry: &Entry) {
        let mut line = self.line();
        let was_empty = line.forming.is_empty();
        line.last().builder.push(entry);
        drop(line);
        self.tell(was_empty);
    }

    /// Takes the first frame's content.
    pub(super) fn pop(&self) -> Option<Forming> {
        let mut line = self.line();
        let forming = line.forming.pop_front()?;
        self.counters.waiting_bytes.take(forming.tenants.iter().map(|(_, bytes)| bytes).sum());
        Some(forming)
    }

    /// Takes the builder of a frame that is made, for the next.
    pub(super) fn give_back(&self, mut builder: Builder) {
        builder.clear();
        self.line().spare = Some(builder);
    }

    /// When the first entry in line came.
    pub(super) fn since(&self) -> Option<Instant> {
        self.line().forming.front().map(|forming| forming.since)
    }

    /// Whoever empties the line empties it whole, so that one notice is enough until then.
    fn tell(&self, was_empty: bool) {
        if was_empty {
            self.wake.notify_one();
        }
    }

    fn line(&self) -> std::sync::MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn last(&mut self) -> &mut Forming {
        let full = |forming: &Forming| forming.builder.is_full() || forming.builder.size() > FRAME_BYTES;
        if self.forming.back().is_none_or(full) {
            self.forming.push_back(Forming {
                builder: self.spare.take().unwrap_or_default(),
                waiters: Vec::new(),
                tenants: Vec::new(),
                since: Instant::now(),
            });
        }
        let last = self.forming.len() - 1;
        &mut self.forming[last]
    }
}
