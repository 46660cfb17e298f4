//! Checks 6 and 7 over what befalls a run: gaps, silence, its end.

use super::*;

fn note(kind: Kind, place: u64, of: SourceNote) -> Record {
    let (node, boot) = run();
    let mut record = record(kind, place);
    record.source = SourceNote { node: Some(node), boot: Some(boot), ..of };
    record
}

fn gap(place: u64) -> Record {
    note(Kind::Gap, place, SourceNote::default())
}

fn ended(place: u64, last_n: u64) -> Record {
    note(Kind::BootEnd, place, SourceNote { last_n: Some(last_n), clean: Some(true), ..SourceNote::default() })
}

fn lapsed(place: u64, last_n: u64) -> Record {
    note(Kind::BootEnd, place, SourceNote { last_n: Some(last_n), clean: Some(false), ..SourceNote::default() })
}

fn unknown(place: u64, n: u64) -> Record {
    let mut record = call(place, n);
    record.outcome = Outcome { status: Some(Status::Unknown), ..Outcome::default() };
    record
}

fn late(place: u64, n: u64, amends: u64) -> Record {
    let mut record = call(place, n);
    (record.kind, record.is_final, record.amends) = (Some(Kind::Late), false, Amends { seq: Some(amends) });
    record
}

/// What is found in a log of these records.
fn found(records: impl IntoIterator<Item = Record>) -> Option<(Check, u64)> {
    failed(&Log::of(records).whole())
}

#[test]
fn a_gap_that_is_named_explains_what_is_missing() {
    assert_eq!(found([call(0, 0), call(1, 2), gap(2), ended(3, 2)]), None);
    let other = record(Kind::Admin, 2);
    assert_eq!(found([call(0, 0), call(1, 2), other, ended(3, 2)]), Some((Check::Counters, 3)));
}

/// What came after the frames that are gone may have had no number: then it shows later what was in them.
#[test]
fn a_gap_explains_the_next_hole_and_no_other() {
    let records = vec![call(0, 0), gap(1), mark(2, 1), call(3, 5), mark(4, 6), call(5, 7), mark(6, 8)];
    assert_eq!(found(records[..5].iter().cloned()), None);
    assert_eq!(found(records), Some((Check::Counters, 6)), "6 is in no gap");
}

#[test]
fn a_run_that_fell_silent_and_speaks_again_goes_on_with_its_numbers() {
    let woken = |rest: &[Record]| {
        let before = [call(0, 0), unknown(1, 1), lapsed(2, 1), late(3, 1, 1), call(4, 2)];
        found(before.into_iter().chain(rest.iter().cloned()))
    };
    assert_eq!(woken(&[mark(5, 3)]), None, "a mark");
    assert_eq!(woken(&[ended(5, 2)]), None, "an orderly end");
    assert_eq!(woken(&[lapsed(5, 2), call(6, 3), mark(7, 4), ended(8, 3)]), None, "silence once more");
    assert_eq!(woken(&[call(5, 4), mark(6, 5)]), Some((Check::Counters, 6)), "what is lost then shows");
    assert_eq!(woken(&[call(5, 4), ended(6, 4)]), Some((Check::Counters, 6)));
    assert_eq!(woken(&[call(5, 1)]), Some((Check::Finals, 5)), "a second final record of a call that was given up");
    let range = Log::of(vec![unknown(0, 4), lapsed(1, 4), call(2, 5), mark(3, 6), call(4, 7), mark(5, 8)]);
    assert_eq!(failed(&range.lines(|seq| seq > 0, &[4])), None);
    assert_eq!(failed(&range.lines(|seq| seq > 0, &[6])), Some((Check::Counters, 5)), "known from its silence on");
}

#[test]
fn a_mark_may_stand_after_the_end_that_it_was_made_before() {
    assert_eq!(found([call(0, 0), call(1, 1), ended(2, 1), mark(3, 2)]), None);
    assert_eq!(found([call(0, 0), call(1, 1), ended(2, 1), mark(3, 3)]), Some((Check::Counters, 3)));
}

#[test]
fn a_call_has_one_final_record_and_a_late_note_amends_an_unknown_one() {
    assert_eq!(found([call(0, 0), call(1, 1), call(2, 0)]), Some((Check::Finals, 2)));
    assert_eq!(found([unknown(0, 0), call(1, 1), late(2, 0, 0)]), None);
    assert_eq!(found([unknown(0, 0), call(1, 1), late(2, 1, 1)]), Some((Check::Finals, 2)));
}

#[test]
fn a_call_that_was_open_has_its_final_record_where_the_run_is_compared() {
    let open = |place, n| Record { kind: Some(Kind::Open), is_final: false, ..call(place, n) };
    assert_eq!(found([call(0, 0), open(1, 1), call(2, 1), mark(3, 2)]), None);
    assert_eq!(found([call(0, 0), open(1, 1), mark(2, 1)]), None, "it is open still");
    assert_eq!(found([call(0, 0), open(1, 1), ended(2, 1)]), Some((Check::Counters, 2)));
    assert_eq!(found([open(0, 0), call(1, 1), mark(2, 2)]), Some((Check::Counters, 2)));
}
