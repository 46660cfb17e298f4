//! The record of a call under way. It closes itself: whatever becomes of the call, one outcome is formed.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use audit::Record;
use audit::entry::{Form, Private};
use audit::record::{Counter, Outcome};
use audit::words::Status;
use chrono::{DateTime, TimeDelta, Utc};
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
    /// When what is recorded began: at `record.time`, by a clock that nobody sets.
    pub(super) began: Instant,
    pub(super) finished: bool,
}

/// How far the wall clock may drift from what was measured during a call before the record says so.
const CLOCK_STEP: TimeDelta = TimeDelta::seconds(1);

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
    /// Says when the request arrived, which is what its record's time and duration are of.
    pub fn arrived(&mut self, at: std::time::Instant) {
        self.began = at.into();
    }

    /// Forms the call's final record. Never waits: do it before the last byte of the answer leaves.
    pub fn finish(mut self, outcome: Outcome) {
        self.record.outcome = outcome;
        self.form();
    }

    fn form(&mut self) {
        self.finished = true;
        let record = &mut self.record;
        record.is_final = true;
        let elapsed = self.began.elapsed();
        record.dur.total.get_or_insert(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX));
        let now = self.common.clock.now();
        let end = record.time.map_or(now, |began| later(began, elapsed));
        record.time_end.get_or_insert(end);
        record.clock_error_us = clock_error(now, end);
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

/// A moment as long after another as was measured: within a record, times follow a clock that nobody sets.
#[must_use]
pub fn later(time: DateTime<Utc>, elapsed: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(elapsed).ok().and_then(|elapsed| time.checked_add_signed(elapsed)).unwrap_or(time)
}

/// How far a clock is from what was measured, microseconds, when that is more than [`CLOCK_STEP`]: it was set meanwhile.
fn clock_error(now: DateTime<Utc>, measured: DateTime<Utc>) -> Option<u64> {
    let apart = Some((now - measured).abs()).filter(|apart| *apart > CLOCK_STEP)?;
    u64::try_from(apart.num_microseconds()?).ok()
}

impl Drop for OpenRecord {
    fn drop(&mut self) {
        if !self.finished {
            self.record.outcome.status.get_or_insert(Status::Cancelled);
            self.form();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_during_a_call_is_told_of_and_turns_no_record_around() {
        let began = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let end = later(began, Duration::from_millis(1_500));
        assert_eq!(end - began, TimeDelta::milliseconds(1_500));
        assert_eq!(clock_error(end + TimeDelta::seconds(1), end), None);
        assert_eq!(clock_error(end - TimeDelta::hours(1), end), Some(3_600_000_000));
        assert_eq!(clock_error(end + TimeDelta::hours(1), end), Some(3_600_000_000));
    }
}
