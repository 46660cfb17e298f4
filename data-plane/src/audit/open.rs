//! The record of a call under way. It closes itself: whatever becomes of the call, one outcome is formed.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use audit::Record;
use audit::entry::{Form, Private};
use audit::record::{Counter, Outcome};
use audit::words::Status;
use domain::{CallId, TenantId};
use tokio::time::Instant;

use super::queue::Item;
use super::recorder::Common;
use super::ship::Shard;

/// The record of a call whose intent is durable: the call may be forwarded.
///
/// Reads and changes like the [`Record`] inside. [`OpenRecord::finish`] forms the outcome; when it is dropped without,
/// because the client went away or the task was cancelled, the outcome is `cancelled`.
pub struct OpenRecord {
    pub(super) common: Arc<Common>,
    pub(super) shard: Arc<Shard>,
    pub(super) record: Box<Record>,
    pub(super) call: CallId,
    pub(super) tenant: TenantId,
    pub(super) n: u64,
    /// The key of the commitment to the personal part.
    pub(super) key: [u8; 32],
    pub(super) private: Option<Private>,
    pub(super) began: Instant,
    pub(super) finished: bool,
}

impl fmt::Debug for OpenRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenRecord({})", self.call)
    }
}

impl Deref for OpenRecord {
    type Target = Record;
    fn deref(&self) -> &Record {
        &self.record
    }
}

impl DerefMut for OpenRecord {
    fn deref_mut(&mut self) -> &mut Record {
        &mut self.record
    }
}

impl OpenRecord {
    /// Forms the call's final record. Never waits: do it before the last byte of the answer leaves.
    pub fn finish(mut self, outcome: Outcome) {
        self.record.outcome = outcome;
        self.form();
    }

    fn form(&mut self) {
        self.finished = true;
        let record = &mut self.record;
        record.is_final = true;
        record.time_end.get_or_insert_with(|| self.common.clock.now());
        let total = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        record.dur.total.get_or_insert(total);
        record.gw.n = Some(Counter::Given(self.n));
        // The personal part may have grown; the commitment's key stays.
        let grown = self.private.as_ref().is_none_or(|private| record.pii.to_bytes() != private.pii);
        if grown {
            self.private = record.commit(self.key);
        }
        let leaf = record.to_leaf();
        let form = Form::FinalOfIntent(self.call);
        let (tenant, n, private) = (self.tenant, Some(self.n), self.private.as_ref());
        self.shard.queue.push(Item { form, tenant, n, leaf: &leaf, private, waiter: None });
        self.common.counters.final_records.add(1);
        self.shard.open.take(1);
    }
}

impl Drop for OpenRecord {
    fn drop(&mut self) {
        if !self.finished {
            self.record.outcome.status.get_or_insert(Status::Cancelled);
            self.form();
        }
    }
}
