//! The durability table: of each fault, what became of the calls that were made from when it struck to when the next did.

use std::collections::{BTreeMap, BTreeSet};

use sluice_tests::load::Outcome;

use super::faults::Fault;
use super::log::Final;

/// One time that a fault struck.
#[derive(Debug)]
pub(super) struct Strike {
    /// The number of the first call after it began.
    pub(super) first: u64,
    pub(super) fault: Fault,
    /// What the verifiers found in the log, once it was got over.
    pub(super) verify: Option<String>,
    /// How many refusals the log counts together by then, that it did not before.
    pub(super) together: u64,
}

/// What is compared: what clients saw, what the upstream saw, and what the log has.
pub(super) struct Counted {
    pub(super) ledger: BTreeMap<u64, Outcome>,
    pub(super) reached: Vec<u64>,
    /// Each number's final records.
    pub(super) records: BTreeMap<u64, Vec<Final>>,
    /// The numbers whose records nobody has any more, as the log says.
    pub(super) lost: BTreeSet<u64>,
    /// What the verifiers found in the whole log.
    pub(super) verify: Option<String>,
}

/// One row of the table.
#[derive(Default)]
struct Row {
    rounds: usize,
    sent: usize,
    answered: usize,
    refused: usize,
    /// Of them: refused for want of room, and in no record of their own.
    together: u64,
    finals: usize,
    unknown: usize,
    in_gap: usize,
    missing: Vec<u64>,
    twice: Vec<u64>,
    /// Refused, but made; or refused before anybody was known, but in a record.
    made: Vec<u64>,
    /// What the verifiers found.
    verify: Vec<String>,
    /// Refusals that the log counts together.
    counted: u64,
}

/// Prints the table, and fails where a call has no final record, two, or reached the upstream twice, where one that was
/// refused was made or is counted nowhere, or where a verifier found something.
pub(super) fn report(faults: &[Fault], struck: &[Strike], counted: &Counted) {
    let reached: BTreeSet<u64> = counted.reached.iter().copied().collect();
    println!("{}", Row::HEAD);
    let mut all = Row::default();
    let mut rows = Vec::new();
    for fault in faults {
        let mut row = Row::default();
        for (at, strike) in struck.iter().enumerate().filter(|(_, strike)| strike.fault == *fault) {
            let end = struck.get(at + 1).map_or(u64::MAX, |next| next.first);
            row.rounds += 1;
            row.counted += strike.together;
            row.verify.extend(strike.verify.clone());
            for (number, outcome) in counted.ledger.range(strike.first..end) {
                row.count(*number, *outcome, counted, reached.contains(number));
            }
        }
        row.print(&fault.to_string());
        all.add(&row);
        rows.push((fault, row));
    }
    all.verify = counted.verify.iter().cloned().collect();
    all.print("the whole log");
    for (fault, row) in rows {
        row.holds(*fault);
    }
    assert!(all.verify.is_empty(), "the whole log: {:?}", all.verify);
    assert_eq!(counted.reached.len(), reached.len(), "no call may reach the upstream twice");
}

impl Row {
    const HEAD: &str =
        "fault                    rounds    sent answered refused counted   final unknown  in gap missing twice verify";

    fn count(&mut self, number: u64, outcome: Outcome, counted: &Counted, reached: bool) {
        self.sent += 1;
        self.answered += usize::from(outcome == Outcome::Answered);
        self.refused += usize::from(matches!(outcome, Outcome::Refused | Outcome::NoRoom | Outcome::Unready));
        let finals = counted.records.get(&number).map_or(&[][..], Vec::as_slice);
        self.finals += finals.len();
        self.unknown += finals.iter().filter(|is| is.status == "unknown").count();
        if finals.len() > 1 {
            self.twice.push(number);
        }
        match outcome {
            // One final record that does not say that it was made, or none, and it is counted.
            Outcome::Refused if reached || !finals.iter().all(Final::is_refusal) => self.made.push(number),
            Outcome::Refused => self.together += u64::from(finals.is_empty()),
            Outcome::NoRoom | Outcome::Unready if reached || !finals.is_empty() => self.made.push(number),
            Outcome::NoRoom | Outcome::Unready => {}
            _ if !finals.is_empty() => {}
            // It died before its intent was durable.
            Outcome::Broken if !reached => {}
            _ if counted.lost.contains(&number) => self.in_gap += 1,
            Outcome::Broken | Outcome::Answered => self.missing.push(number),
        }
    }

    fn add(&mut self, row: &Self) {
        self.rounds += row.rounds;
        self.sent += row.sent;
        self.answered += row.answered;
        self.refused += row.refused;
        self.together += row.together;
        self.finals += row.finals;
        self.unknown += row.unknown;
        self.in_gap += row.in_gap;
        self.missing.extend(&row.missing);
        self.twice.extend(&row.twice);
    }

    fn print(&self, name: &str) {
        let Self { rounds, sent, answered, refused, together, finals, unknown, in_gap, .. } = self;
        println!(
            "{name:<24} {rounds:>6} {sent:>7} {answered:>8} {refused:>7} {together:>7} {finals:>7} {unknown:>7} {in_gap:>7} {:>7} {:>5} {:>6}",
            self.missing.len(),
            self.twice.len(),
            if self.verify.is_empty() { "ok" } else { "FAILS" },
        );
    }

    fn holds(&self, fault: Fault) {
        assert!(self.answered > self.sent / 2, "{fault}: most calls should be answered");
        assert!(self.missing.is_empty(), "{fault}: without a final record: {:?}", self.missing);
        assert!(self.twice.is_empty(), "{fault}: with more than one: {:?}", self.twice);
        assert!(self.made.is_empty(), "{fault}: refused, but made or recorded as if: {:?}", self.made);
        assert_eq!(self.together, self.counted, "{fault}: refused without a record of its own, and counted by the log");
        assert!(self.verify.is_empty(), "{fault}: {:?}", self.verify);
    }
}
