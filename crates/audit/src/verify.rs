//! Verifies an audit bundle: whether its records are those that were signed for, and whether any is missing. Needs the
//! bundle, the log's verifier key and nothing else; the same rules stand in `docs/audit-bundle.md` for everyone to write again.

mod counters;
mod epochs;
mod lines;
mod read;
#[cfg(test)]
mod tests;
mod times;

use domain::TenantId;

use crate::bundle::Line;
use crate::merkle::{self, Frontier, Hash};
use crate::note::{Checkpoint, VerifierKeys};
pub use lines::{ReadError, verify};

use counters::Counters;
use epochs::Ended;
use read::Read;
use times::Times;

/// What is checked. Each has a number, by which a program that verifies tells what failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// The checkpoints are signed by the key, or by one of those that followed one another.
    Signatures = 1,
    /// Each record has the hash that stands beside it; personal parts are those the records commit to.
    Leaves = 2,
    /// The leaves add up to each checkpoint, and all are of this tenant.
    Root = 3,
    /// The log goes on from a checkpoint that was kept before.
    Consistency = 4,
    /// Leaves follow one another without a hole, up to the last checkpoint.
    Sequence = 5,
    /// The numbers that nodes gave their records have no hole that nothing explains. A call's is there with its final record:
    /// so each call below a mark, and each of a run that is over, has one.
    Counters = 6,
    /// No call has a second final record, and late notes amend such as say `unknown`.
    Finals = 7,
    /// Times agree with the order of the log.
    Times = 8,
}

/// All checks in their order.
pub const CHECKS: [Check; 8] = [
    Check::Signatures,
    Check::Leaves,
    Check::Root,
    Check::Consistency,
    Check::Sequence,
    Check::Counters,
    Check::Finals,
    Check::Times,
];

impl Check {
    /// What it makes sure of, for people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Signatures => "checkpoints are signed by a key of the log",
            Self::Leaves => "records have the hashes beside them",
            Self::Root => "records add up to the checkpoints",
            Self::Consistency => "the log goes on from the checkpoint kept before",
            Self::Sequence => "no record is missing between the first and the last",
            Self::Counters => "no record was lost between a node and the log",
            Self::Finals => "no call has two final records, and late ones amend the unknown",
            Self::Times => "times agree with the order of the log",
        }
    }
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It holds for everything in the bundle.
    Holds,
    /// It can't be made on this bundle, and why; that is no fault.
    NotChecked(&'static str),
    /// It does not hold.
    Fails(Fault),
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Of which epoch of the log.
    pub epoch: u64,
    /// The first place in the log that it concerns; a checkpoint's is its size.
    pub seq: u64,
    /// One sentence.
    pub what: String,
}

/// What a bundle is, and what came of the checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The log's name in its last epoch, as the bundle says.
    pub origin: String,
    /// The first and the last epoch that are in it.
    pub epochs: (u64, u64),
    /// The last checkpoint whose signature was good.
    pub checkpoint: Option<Checkpoint>,
    /// How many records were read.
    pub records: u64,
    /// The places of the first and the last of them, each in its epoch.
    pub range: Option<(u64, u64)>,
    /// What came of each of [`CHECKS`].
    pub verdicts: [Verdict; CHECKS.len()],
}

impl Report {
    /// The first check that failed, by number.
    #[must_use]
    pub fn failed(&self) -> Option<(Check, &Fault)> {
        CHECKS.into_iter().zip(&self.verdicts).find_map(|(check, verdict)| match verdict {
            Verdict::Fails(fault) => Some((check, fault)),
            Verdict::Holds | Verdict::NotChecked(_) => None,
        })
    }
}

/// Why bytes are not a bundle at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not an audit bundle: its first line does not say `{}`", crate::bundle::FORMAT)]
pub struct NotABundle;

/// Reads a bundle line by line. Its memory does not grow with the bundle, but for what is open.
#[derive(Debug)]
pub struct Verifier {
    keys: VerifierKeys,
    since: Option<Checkpoint>,
    origin: String,
    /// The epoch by the origin, and the one that the bundle begins with.
    epoch: u64,
    first_epoch: u64,
    tenant: TenantId,
    tree: Frontier,
    /// The epoch before, until the first record of this one was read.
    ended: Option<Ended>,
    /// Set once a line is out of place: what follows can't be put in line.
    is_broken: bool,
    checkpoint: Option<Checkpoint>,
    /// The size of the last good one of this epoch.
    good: u64,
    /// The size of the last checkpoint of this epoch that was read, good or not.
    checked_size: Option<u64>,
    /// The root of the tree when it had the size of `since`.
    root_then: Option<Hash>,
    /// Whether the epoch that `since` is of was there.
    has_compared: bool,
    records: u64,
    range: Option<(u64, u64)>,
    /// The last record of this epoch.
    last: Option<u64>,
    /// Whether leaves are left out between records.
    has_holes: bool,
    /// The commitment of the record before, for its personal part.
    commitment_of: Option<u64>,
    commitment: String,
    counters: Counters,
    times: Times,
    faults: [Option<Fault>; CHECKS.len()],
}

impl Verifier {
    /// Begins with a bundle's first line. `since` is a checkpoint that was kept before, read with the same keys.
    ///
    /// # Errors
    /// [`NotABundle`] when the line is not that of a bundle.
    pub fn new(keys: impl Into<VerifierKeys>, since: Option<Checkpoint>, first: &[u8]) -> Result<Self, NotABundle> {
        let Some(Line::Header { origin, tenant }) = Line::read(first) else { return Err(NotABundle) };
        let epoch = epochs::split(&origin).map_or(0, |(_, epoch)| epoch);
        let mut verifier = Self {
            keys: keys.into(),
            since,
            origin,
            epoch,
            first_epoch: epoch,
            tenant,
            tree: Frontier::default(),
            ended: None,
            is_broken: false,
            checkpoint: None,
            good: 0,
            checked_size: None,
            root_then: None,
            has_compared: false,
            records: 0,
            range: None,
            last: None,
            has_holes: false,
            commitment_of: None,
            commitment: String::new(),
            counters: Counters::default(),
            times: Times::default(),
            faults: Default::default(),
        };
        verifier.look_back();
        Ok(verifier)
    }

    /// Takes the next line, without its end.
    pub fn line(&mut self, line: &[u8]) {
        if self.is_broken {
            return;
        }
        match Line::read(line) {
            Some(Line::Record { seq, leaf, record }) => self.record(seq, leaf, record),
            Some(Line::Personal { seq, key, pii }) => self.personal(seq, &key, pii),
            Some(Line::Covered { first, end, hashes }) => self.covered(first, end, &hashes),
            Some(Line::Checkpoint(note)) => self.checkpoint(&note),
            Some(Line::Epoch { origin }) => self.next_epoch(origin),
            Some(Line::Header { .. }) | None => self.out_of_place("a line that is none of a bundle stands here"),
        }
    }

    fn record(&mut self, seq: u64, leaf: Hash, bytes: &[u8]) {
        let next = self.tree.size();
        if seq != next {
            return self.out_of_place(&format!("record {seq} stands where record {next} belongs"));
        }
        self.has_holes |= self.last.is_some_and(|last| last + 1 != seq);
        self.last = Some(seq);
        self.range = Some((self.range.map_or(seq, |(first, _)| first), seq));
        self.records += 1;
        if merkle::leaf_hash(bytes) != leaf {
            self.fails(Check::Leaves, seq, || format!("record {seq} does not have the hash that stands beside it"));
        }
        // What the record says is looked at with what is said to be its hash: either it adds up or the root tells.
        self.tree.append(leaf);
        self.look_back();
        let Some(record) = Read::of(bytes) else {
            self.ended = None;
            return self.fails(Check::Leaves, seq, || format!("record {seq} is not a record of an audit log"));
        };
        self.goes_on_from(seq, &record);
        if record.tenant() != Some(self.tenant) {
            self.fails(Check::Root, seq, || format!("record {seq} is of another tenant"));
        }
        if let Some(fault) = self.times.take(seq, &record) {
            self.fails(Check::Times, seq, || fault);
        }
        for (check, fault) in self.counters.take((self.epoch, seq), &record) {
            self.fails(check, seq, || fault);
        }
        self.commitment_of = record.pii_commit.as_ref().map(|_| seq);
        self.commitment.clear();
        self.commitment.push_str(record.pii_commit.as_deref().unwrap_or_default());
    }

    fn personal(&mut self, seq: u64, key: &[u8; 32], pii: &[u8]) {
        let is_committed = self.commitment_of.take() == Some(seq);
        if !is_committed || self.commitment != crate::pii::commitment(key, pii) {
            self.fails(Check::Leaves, seq, || {
                format!("record {seq} does not commit to the personal part given with it")
            });
        }
    }

    fn covered(&mut self, first: u64, end: u64, hashes: &[Hash]) {
        let next = self.tree.size();
        if first != next {
            return self.out_of_place(&format!("leaves from {first} on are left out where record {next} belongs"));
        }
        if self.ended.is_some() {
            return self.out_of_place("the record that says what the epoch goes on from is left out");
        }
        for ((level, _), hash) in merkle::Cover::of(first, end).zip(hashes) {
            if self.tree.append_subtree(level, *hash).is_err() {
                return self.out_of_place("leaves are left out beyond what can be counted");
            }
            self.look_back();
        }
    }

    fn checkpoint(&mut self, note: &str) {
        let size = self.tree.size();
        let read = match self.keys.open(note) {
            Ok(read) => read,
            Err(error) => return self.fails(Check::Signatures, size, || format!("after {size} leaves: {error}")),
        };
        self.checked_size = Some(size);
        if read.origin != self.origin {
            let what = || format!("the checkpoint after {size} leaves is of another log, {}", read.origin);
            return self.fails(Check::Root, size, what);
        }
        if read.size != size {
            let what = || format!("the checkpoint for {} leaves stands after {size}", read.size);
            return self.fails(Check::Root, size.min(read.size), what);
        }
        if read.root != self.tree.root() {
            // The one before held: what is wrong stands after it.
            let after = self.good;
            let what = || format!("the leaves from {after} up to {size} do not add up to the signed checkpoint");
            return self.fails(Check::Root, after, what);
        }
        self.good = size;
        self.checkpoint = Some(read);
    }

    /// Remembers what the tree was when it had the size of the checkpoint kept before.
    fn look_back(&mut self) {
        if self.since.as_ref().is_some_and(|since| since.size == self.tree.size() && since.origin == self.origin) {
            self.root_then = Some(self.tree.root());
        }
    }

    fn out_of_place(&mut self, what: &str) {
        self.is_broken = true;
        let seq = self.tree.size();
        self.fails(Check::Sequence, seq, || what.to_owned());
    }

    /// The first fault of a check stands.
    fn fails(&mut self, check: Check, seq: u64, what: impl FnOnce() -> String) {
        self.fails_in(check, (self.epoch, seq), what);
    }

    fn fails_in(&mut self, check: Check, (epoch, seq): (u64, u64), what: impl FnOnce() -> String) {
        let fault = &mut self.faults[check as usize - 1];
        if fault.is_none() {
            *fault = Some(Fault { epoch, seq, what: what() });
        }
    }

    /// Ends with the bundle.
    #[must_use]
    pub fn finish(mut self) -> Report {
        let size = self.tree.size();
        if !self.is_broken && self.checked_size != Some(size) && self.faults[Check::Signatures as usize - 1].is_none() {
            self.out_of_place(&format!("the bundle ends after leaf {size} without a checkpoint: its end is cut off"));
        }
        if self.ended.is_some() && !self.is_broken {
            self.out_of_place("the bundle ends before the record that says what the epoch goes on from");
        }
        // Without a good checkpoint there is nothing to compare.
        if self.checkpoint.is_some() {
            let size = self.checkpoint.as_ref().filter(|last| last.origin == self.origin).map_or(0, |last| last.size);
            self.compare_with_before(size);
            self.compare_with_none();
        }
        let mut verdicts = CHECKS.map(|check| self.verdict(check));
        for (verdict, fault) in verdicts.iter_mut().zip(self.faults) {
            *verdict = fault.map_or_else(|| verdict.clone(), Verdict::Fails);
        }
        let epochs = (self.first_epoch, self.epoch);
        let (origin, checkpoint, records, range) = (self.origin, self.checkpoint, self.records, self.range);
        Report { origin, epochs, checkpoint, records, range, verdicts }
    }

    /// What is to be said of a check that found no fault.
    fn verdict(&self, check: Check) -> Verdict {
        match check {
            Check::Root if self.checkpoint.is_none() || self.is_broken => {
                Verdict::NotChecked("what was read does not reach a checkpoint")
            }
            Check::Consistency if self.since.is_none() => Verdict::NotChecked("no checkpoint kept before was given"),
            Check::Consistency if self.checkpoint.is_none() => {
                Verdict::NotChecked("no checkpoint of the bundle is good")
            }
            Check::Counters | Check::Finals if self.has_holes => {
                Verdict::NotChecked("the bundle leaves out records between those it has")
            }
            Check::Counters | Check::Finals if self.is_broken => Verdict::NotChecked("the records are out of line"),
            Check::Counters if !self.counters.has_compared() => {
                Verdict::NotChecked("no run of a node is between two marks here")
            }
            _ => Verdict::Holds,
        }
    }
}
