//! Checks 6 and 7: the numbers that runs of nodes gave their records, and the final records of calls.
//!
//! What a bundle begins with in the middle of a run says nothing of what came before. From leaf 0, or from a mark on,
//! each number is expected; a mark or the end of the run is where that is compared.

use std::collections::{BTreeSet, HashMap};

use crate::ranges::Ranges;

use super::Check;
use super::read::{Read, Run};

/// The numbers of all runs.
#[derive(Debug, Default)]
pub(super) struct Counters {
    runs: HashMap<Run, Numbers>,
    /// Final records that say `unknown`, which a late note may amend.
    unknown: BTreeSet<u64>,
    /// The epoch and place of the first record that was read.
    first: Option<(u64, u64)>,
    /// Whether another epoch has begun since.
    is_later: bool,
    has_compared: bool,
}

/// The numbers of one run. They outlive its end: one that had only fallen silent speaks again under the same name, and a
/// mark made before the end may enter the log after it.
#[derive(Debug, Default)]
struct Numbers {
    seen: Ranges,
    finals: Ranges,
    /// Numbers below this one were compared.
    from: Option<u64>,
    /// Whether a note says that frames of this run never came, and has explained nothing yet.
    has_gap: bool,
}

impl Counters {
    /// Whether any run was between two marks.
    pub(super) const fn has_compared(&self) -> bool {
        self.has_compared
    }

    /// Takes a record, and says what is wrong.
    pub(super) fn take(&mut self, (epoch, seq): (u64, u64), record: &Read<'_>) -> Vec<(Check, String)> {
        self.first.get_or_insert((epoch, seq));
        let is_whole = self.is_whole();
        let mut faults = Vec::new();
        if let Some((run, n)) = record.numbered() {
            let numbers = self.runs.entry(run).or_insert_with(|| Numbers::new(is_whole));
            // Should a record say that a call is open: its number is in the log once its end is.
            if record.is_final || !matches!(&*record.kind, "call" | "open") {
                numbers.seen.insert(n, n.saturating_add(1));
            }
            if record.is_final {
                if numbers.finals.contains(n) {
                    faults.push((Check::Finals, format!("record {seq} is a second final record of its call")));
                }
                numbers.finals.insert(n, n.saturating_add(1));
            }
        }
        match (&*record.kind, record.told_of()) {
            ("gap", Some(run)) => self.run(run).has_gap = true,
            ("mark" | "boot_end", Some(run)) => faults.extend(self.compare(seq, run, record)),
            ("late", _) => faults.extend(self.late(seq, record)),
            _ if record.is_final && record.outcome.status.as_deref() == Some("unknown") => {
                self.unknown.insert(seq);
            }
            _ => {}
        }
        faults
    }

    /// The next records are of another epoch: numbers of runs go on, places begin anew.
    pub(super) const fn next_epoch(&mut self) {
        self.is_later = self.first.is_some();
    }

    /// From the log's very first record on, runs are known from their beginning. (0: the epoch is not known.)
    fn is_whole(&self) -> bool {
        self.first.is_some_and(|(epoch, seq)| epoch <= 1 && seq == 0)
    }

    fn run(&mut self, run: Run) -> &mut Numbers {
        let is_whole = self.is_whole();
        self.runs.entry(run).or_insert_with(|| Numbers::new(is_whole))
    }

    /// A mark says up to where a run's numbers are in the log; its end, that all are.
    fn compare(&mut self, seq: u64, run: Run, record: &Read<'_>) -> Option<(Check, String)> {
        let source = &record.source;
        let end = source.complete_n.or(source.last_n.map(|last| last.saturating_add(1)))?;
        let numbers = self.run(run);
        let missing = numbers.missing_below(end);
        let is_compared = numbers.from.is_some();
        numbers.go_on_from(end);
        let unexplained = missing.filter(|_| source.clean != Some(false) && !std::mem::take(&mut numbers.has_gap));
        self.has_compared |= is_compared;
        let n = unexplained?;
        let what = format!("{} gave the number {n} to a record that is not in the log before record {seq}", run.0);
        Some((Check::Counters, what))
    }

    fn late(&mut self, seq: u64, record: &Read<'_>) -> Option<(Check, String)> {
        let amended = record.amends.seq;
        // Places before the bundle's first, and of epochs that it has not: nothing is known of them.
        let is_partial = !self.is_whole();
        let (is_later, first) = (self.is_later, self.first.map_or(0, |(_, first)| first));
        let is_before = |amended| is_partial && (is_later || amended < first);
        let is_known = amended.is_some_and(|amended| is_before(amended) || self.unknown.remove(&amended));
        (!is_known).then(|| (Check::Finals, format!("record {seq} amends a final record that is not unknown")))
    }
}

impl Numbers {
    fn new(is_known_from_its_beginning: bool) -> Self {
        Self { from: is_known_from_its_beginning.then_some(0), ..Self::default() }
    }

    /// The lowest number below `end` that is to be in the log and did not come.
    fn missing_below(&self, end: u64) -> Option<u64> {
        self.from.map(|from| self.seen.first_not_in(from)).filter(|n| *n < end)
    }

    /// From here on, numbers are compared from `end` on.
    fn go_on_from(&mut self, end: u64) {
        self.from = Some(self.from.map_or(end, |from| from.max(end)));
    }
}
