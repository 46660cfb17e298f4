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
    /// The first record that was read: from 0 on, runs are known from their beginning.
    first: Option<u64>,
    has_compared: bool,
}

/// The numbers of one run.
#[derive(Debug, Default)]
struct Numbers {
    seen: Ranges,
    finals: Ranges,
    /// Numbers below this one were compared.
    from: Option<u64>,
    /// Whether a note says that frames of this run never came.
    has_gap: bool,
}

impl Counters {
    /// Whether any run was between two marks.
    pub(super) const fn has_compared(&self) -> bool {
        self.has_compared
    }

    /// Takes a record, and says what is wrong.
    pub(super) fn take(&mut self, seq: u64, record: &Read<'_>) -> Vec<(Check, String)> {
        let first = *self.first.get_or_insert(seq);
        let mut faults = Vec::new();
        if let Some((run, n)) = record.numbered() {
            let numbers = self.runs.entry(run).or_insert_with(|| Numbers::known_from(first));
            numbers.seen.insert(n, n.saturating_add(1));
            if record.is_final {
                if numbers.finals.contains(n) {
                    faults.push((Check::Finals, format!("record {seq} is a second final record of its call")));
                }
                numbers.finals.insert(n, n.saturating_add(1));
            }
        }
        match (&*record.kind, record.told_of()) {
            ("gap", Some(run)) => self.run(run, first).has_gap = true,
            ("mark" | "boot_end", Some(run)) => faults.extend(self.compare(seq, (run, first), record)),
            ("late", _) => faults.extend(self.late(seq, first, record)),
            _ if record.is_final && record.outcome.status.as_deref() == Some("unknown") => {
                self.unknown.insert(seq);
            }
            _ => {}
        }
        faults
    }

    fn run(&mut self, run: Run, first: u64) -> &mut Numbers {
        self.runs.entry(run).or_insert_with(|| Numbers::known_from(first))
    }

    /// A mark says up to where a run's numbers are in the log; its end, that all are.
    fn compare(&mut self, seq: u64, (run, first): (Run, u64), record: &Read<'_>) -> Option<(Check, String)> {
        let source = &record.source;
        let end = source.complete_n.or(source.last_n.map(|last| last.saturating_add(1)))?;
        let numbers = self.run(run, first);
        let explained = numbers.has_gap || source.clean == Some(false);
        let missing = numbers.missing_below(end);
        let is_compared = numbers.from.is_some();
        numbers.go_on_from(end);
        self.has_compared |= is_compared;
        if record.kind == "boot_end" {
            self.runs.remove(&run);
        }
        let n = missing.filter(|_| !explained)?;
        let what = format!("{} gave the number {n} to a record that is not in the log before record {seq}", run.0);
        Some((Check::Counters, what))
    }

    fn late(&mut self, seq: u64, first: u64, record: &Read<'_>) -> Option<(Check, String)> {
        let amended = record.amends.seq;
        let is_known = amended.is_some_and(|amended| amended < first || self.unknown.remove(&amended));
        (!is_known).then(|| (Check::Finals, format!("record {seq} amends a final record that is not unknown")))
    }
}

impl Numbers {
    fn known_from(first: u64) -> Self {
        Self { from: (first == 0).then_some(0), ..Self::default() }
    }

    /// The lowest number below `end` that is to be in the log and did not come.
    fn missing_below(&self, end: u64) -> Option<u64> {
        self.from.map(|from| self.seen.first_not_in(from)).filter(|n| *n < end)
    }

    /// From here on, numbers are compared from `end` on.
    fn go_on_from(&mut self, end: u64) {
        self.from = Some(self.from.map_or(end, |from| from.max(end)));
        self.has_gap = false;
    }
}
