mod counters;
mod epochs;
mod python;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use chrono::{DateTime, Duration, Utc};
use domain::{BootId, CallId, NodeId, RecordId};
use uuid::Uuid;

use super::*;
use crate::merkle::{Cover, leaf_hash, tile_root};
use crate::note::VerifierKey;
use crate::record::{Amends, Counter, Gateway, Outcome, Record, SourceNote};
use crate::words::{Kind, Status};
use python::reports;

const ORIGIN: &str = "audit.sluice.example/t/ten_00000000000000000000000007/1";

fn pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

fn key() -> VerifierKey {
    VerifierKey::new("sluice.example", pair().public_key().as_ref().try_into().unwrap()).unwrap()
}

fn tenant(number: u128) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(number))
}

fn run() -> (NodeId, BootId) {
    (NodeId::from_uuid(Uuid::from_u128(1)), BootId::from_uuid(Uuid::from_u128(2)))
}

fn index(place: u64) -> usize {
    usize::try_from(place).unwrap()
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::seconds(second)
}

/// A record of the tenant; `place` makes it one of its kind.
fn record(kind: Kind, place: u64) -> Record {
    Record::new(RecordId::from_uuid(Uuid::from_u128(u128::from(place))), kind, tenant(7), at(place.cast_signed()))
}

/// The final record of a call that has the number `n`.
fn call(place: u64, n: u64) -> Record {
    let mut record = record(Kind::Call, place);
    record.is_final = true;
    record.call_id = Some(CallId::from_uuid(Uuid::from_u128(u128::from(place))));
    let (node, boot) = run();
    record.gw = Gateway { node: Some(node), boot: Some(boot), n: Some(Counter::Given(n)), ..Gateway::default() };
    record
}

fn mark(place: u64, complete_n: u64) -> Record {
    let (node, boot) = run();
    let mut record = record(Kind::Mark, place);
    record.source =
        SourceNote { node: Some(node), boot: Some(boot), complete_n: Some(complete_n), ..SourceNote::default() };
    record
}

/// A log as its owner has it.
struct Log(Vec<Vec<u8>>);

impl Log {
    fn of(records: impl IntoIterator<Item = Record>) -> Self {
        Self(records.into_iter().map(|record| record.to_bytes()).collect())
    }

    /// `count` calls, each with its number.
    fn calls(count: u64) -> Self {
        Self::of((0..count).map(|place| call(place, place)))
    }

    fn root(&self, size: u64) -> Hash {
        let mut tree = Frontier::default();
        self.0[..index(size)].iter().for_each(|record| tree.append(leaf_hash(record)));
        tree.root()
    }

    fn checkpoint(&self, size: u64) -> Checkpoint {
        Checkpoint { origin: ORIGIN.to_owned(), size, root: self.root(size) }
    }

    fn note(&self, size: u64) -> String {
        self.checkpoint(size).signed(&key(), |text| pair().sign(text).as_ref().try_into().unwrap())
    }

    fn covered(&self, first: u64, end: u64) -> Line<'_> {
        let root = |(level, place): (u32, u64)| {
            let leaves = &self.0[index(place << level)..][..1 << level];
            tile_root(&leaves.iter().map(|record| leaf_hash(record)).collect::<Vec<_>>())
        };
        Line::Covered { first, end, hashes: Cover::of(first, end).map(root).collect() }
    }

    /// The lines of a bundle with the records that are chosen and a checkpoint at each of these sizes.
    fn lines(&self, chosen: impl Fn(u64) -> bool, sizes: &[u64]) -> Vec<Vec<u8>> {
        let mut lines = vec![Line::Header { origin: ORIGIN.to_owned(), tenant: tenant(7) }];
        let mut next = 0;
        for size in sizes {
            while next < *size {
                if chosen(next) {
                    let record = &self.0[index(next)];
                    lines.push(Line::Record { seq: next, leaf: leaf_hash(record), record });
                    next += 1;
                } else {
                    let end = (next..*size).find(|place| chosen(*place)).unwrap_or(*size);
                    lines.push(self.covered(next, end));
                    next = end;
                }
            }
            lines.push(Line::Checkpoint(self.note(*size)));
        }
        lines.iter().map(written).collect()
    }

    /// The bundle of the whole log.
    fn whole(&self) -> Vec<Vec<u8>> {
        self.lines(|_| true, &[self.0.len() as u64])
    }
}

fn written(line: &Line<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    line.write(&mut out);
    out.pop();
    out
}

fn verify_since(lines: &[Vec<u8>], since: Option<Checkpoint>) -> Report {
    reports(&[(lines.to_vec(), since)]).remove(0)
}

fn failed(lines: &[Vec<u8>]) -> Option<(Check, u64)> {
    verify_since(lines, None).failed().map(|(check, fault)| (check, fault.seq))
}

/// Gives a line's record other bytes, and the hash that they have.
fn rewritten(line: &[u8], from: &str, to: &str) -> Vec<u8> {
    let Some(Line::Record { seq, record, .. }) = Line::read(line) else { panic!("not a record") };
    let record = std::str::from_utf8(record).unwrap().replace(from, to);
    written(&Line::Record { seq, leaf: leaf_hash(record.as_bytes()), record: record.as_bytes() })
}

#[test]
fn a_whole_log_a_range_and_a_choice_of_records_hold() {
    let log = Log::calls(300);
    let report = verify_since(&log.whole(), Some(log.checkpoint(77)));
    assert_eq!((report.failed(), report.records, report.range), (None, 300, Some((0, 299))));
    assert_eq!((report.checkpoint, report.origin.as_str()), (Some(log.checkpoint(300)), ORIGIN));
    assert_eq!(report.verdicts[..5], [const { Verdict::Holds }; 5]);
    for (first, end) in [(0, 1), (1, 2), (100, 260), (256, 300), (299, 300), (7, 7)] {
        assert_eq!(failed(&log.lines(|seq| (first..end).contains(&seq), &[300])), None, "{first}..{end}");
    }
    let chosen = log.lines(|seq| seq % 17 == 3, &[120, 300]);
    let report = verify_since(&chosen, None);
    assert_eq!((report.failed(), report.records), (None, 18));
    assert!(matches!(report.verdicts[Check::Counters as usize - 1], Verdict::NotChecked(_)));
}

#[test]
fn a_byte_changed_is_named_wherever_it_is() {
    let log = Log::calls(40);
    let whole = log.whole();
    let line = 18; // record 17
    let changed = |at: usize| {
        let mut lines = whole.clone();
        lines[line][at] ^= 1;
        (lines, None)
    };
    for (at, report) in reports(&(0..whole[line].len()).map(changed).collect::<Vec<_>>()).iter().enumerate() {
        let (check, fault) = report.failed().unwrap();
        assert_eq!(fault.seq, 17, "byte {at}: {check:?}");
        assert!(matches!(check, Check::Leaves | Check::Sequence), "byte {at}: {check:?}");
    }
}

#[test]
fn a_record_taken_out_put_in_moved_or_cut_off_is_named() {
    let whole = Log::calls(40).whole();
    let mut lines = whole.clone();
    lines.remove(18);
    assert_eq!(failed(&lines), Some((Check::Sequence, 17)), "deleted");
    let mut lines = whole.clone();
    lines.insert(18, lines[10].clone());
    assert_eq!(failed(&lines), Some((Check::Sequence, 17)), "inserted");
    let mut lines = whole.clone();
    lines.swap(18, 25);
    assert_eq!(failed(&lines), Some((Check::Sequence, 17)), "moved");
    assert_eq!(failed(&whole[..18]), Some((Check::Sequence, 17)), "cut off");
    assert_eq!(failed(&whole[..1]), Some((Check::Sequence, 0)), "empty");
    let mut lines = whole.clone();
    lines.push(lines[18].clone());
    assert_eq!(failed(&lines), Some((Check::Sequence, 40)), "added at the end");
}

#[test]
fn whoever_mends_the_hashes_too_is_found_between_the_checkpoints_around_it() {
    let log = Log::calls(40);
    let mut lines = log.lines(|_| true, &[10, 20, 40]);
    // Record 12: after the header, ten records and a checkpoint.
    lines[14] = rewritten(&lines[14], "\"kind\":\"call\"", "\"kind\":\"open\"");
    assert_eq!(failed(&lines), Some((Check::Root, 10)));
    let mut swapped = log.whole();
    swapped[5] = rewritten(&swapped[5], &tenant(7).to_string(), &tenant(8).to_string());
    assert_eq!(failed(&swapped), Some((Check::Root, 4)), "another tenant's record");
}

#[test]
fn a_checkpoint_of_another_key_log_or_size_is_refused() {
    let log = Log::calls(9);
    let other = VerifierKey::new("other.example", pair().public_key().as_ref().try_into().unwrap()).unwrap();
    let sign = |text: &[u8]| pair().sign(text).as_ref().try_into().unwrap();
    let with = |note: String| {
        let mut lines = log.whole();
        lines.pop();
        lines.push(written(&Line::Checkpoint(note)));
        failed(&lines)
    };
    assert_eq!(with(log.checkpoint(9).signed(&other, sign)), Some((Check::Signatures, 9)));
    assert_eq!(with(log.note(9).replace("\n9\n", "\n8\n")), Some((Check::Signatures, 9)));
    let elsewhere = Checkpoint { origin: ORIGIN.replace("/1", "/2"), ..log.checkpoint(9) };
    assert_eq!(with(elsewhere.signed(&key(), sign)), Some((Check::Root, 9)));
    assert_eq!(with(log.note(8)), Some((Check::Root, 8)));
}

#[test]
fn a_log_that_was_signed_by_one_key_after_another_holds_by_both() {
    let log = Log::calls(20);
    let before = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
    let old = VerifierKey::new("sluice.example", before.public_key().as_ref().try_into().unwrap()).unwrap();
    let sign = |text: &[u8]| before.sign(text).as_ref().try_into().unwrap();
    let mut lines = log.lines(|_| true, &[10, 20]);
    lines[11] = written(&Line::Checkpoint(log.checkpoint(10).signed(&old, sign)));
    let failed = |keys: &[VerifierKey]| {
        let report = python::reports_by(keys, &[(lines.clone(), Some(log.checkpoint(15)))]).remove(0);
        report.failed().map(|(check, fault)| (check, fault.seq))
    };
    assert_eq!(failed(&[old.clone(), key()]), None);
    assert_eq!(failed(&[key(), old.clone()]), None);
    assert_eq!(failed(&[key()]), Some((Check::Signatures, 10)));
}

#[test]
fn the_log_goes_on_from_the_checkpoint_that_was_kept() {
    let (log, other) = (Log::calls(30), Log::of((0..30).map(|place| call(place + 1, place))));
    let check = |lines: &[Vec<u8>], since| verify_since(lines, Some(since)).failed().map(|(check, _)| check);
    let each: Vec<_> = (0..=30).map(|size| (log.whole(), Some(log.checkpoint(size)))).collect();
    assert!(reports(&each).iter().all(|report| report.failed().is_none()));
    assert_eq!(check(&log.whole(), other.checkpoint(20)), Some(Check::Consistency), "rewritten");
    let back = log.lines(|_| true, &[12]);
    assert_eq!(check(&back, log.checkpoint(20)), Some(Check::Consistency), "set back");
    let range = log.lines(|seq| seq >= 20, &[30]);
    assert_eq!(check(&range, log.checkpoint(20)), None, "from there on");
    assert_eq!(check(&range, log.checkpoint(13)), Some(Check::Consistency), "inside of what is left out");
    let elsewhere = Checkpoint { origin: "else".to_owned(), ..log.checkpoint(20) };
    assert_eq!(check(&log.whole(), elsewhere), Some(Check::Consistency));
}

#[test]
fn a_personal_part_is_the_one_that_the_record_commits_to() {
    let mut record = call(0, 0);
    record.pii.actor.name = Some("Ann".into());
    let private = record.commit([3; 32]).unwrap();
    let mut lines = Log::of([record]).whole();
    let personal = |key| written(&Line::Personal { seq: 0, key, pii: &private.pii });
    lines.insert(2, personal([3; 32]));
    assert_eq!(failed(&lines), None);
    lines[2] = personal([4; 32]);
    assert_eq!(failed(&lines), Some((Check::Leaves, 0)));
}

#[test]
fn a_record_lost_between_a_node_and_the_log_is_seen_at_the_next_mark() {
    let marked = |numbers: &[u64], complete: u64| {
        let calls = (0..).zip(numbers).map(|(place, n)| call(place, *n));
        let last = numbers.len() as u64;
        verify_since(&Log::of(calls.chain([mark(last, complete)])).whole(), None)
    };
    assert_eq!(marked(&[1, 0, 2], 3).failed(), None);
    assert_eq!(marked(&[1, 0, 2, 5], 3).failed(), None, "what is open is not compared");
    assert_eq!(marked(&[1, 0, 2], 3).verdicts[5], Verdict::Holds);
    let lost = marked(&[0, 2], 3);
    let (check, fault) = lost.failed().unwrap();
    assert_eq!((check, fault.seq), (Check::Counters, 2));
    assert!(fault.what.contains("the number 1"), "{}", fault.what);
    assert_eq!(marked(&[0], 3).failed().unwrap().0, Check::Counters, "the last one");
    let unmarked = verify_since(&Log::calls(3).whole(), None);
    assert!(matches!(unmarked.verdicts[5], Verdict::NotChecked(_)));
}

#[test]
fn a_range_that_begins_within_a_run_is_compared_from_its_first_mark_on() {
    let records = vec![call(0, 0), call(1, 2), mark(2, 1), call(3, 1), call(4, 3), mark(5, 4), call(6, 6), mark(7, 7)];
    let log = Log::of(records);
    let from = |first: u64, size: u64| failed(&log.lines(|seq| seq >= first, &[size]));
    assert_eq!(from(0, 6), None);
    assert_eq!(from(2, 6), Some((Check::Counters, 5)), "2 is before the range and above the mark");
    assert_eq!(from(0, 8), Some((Check::Counters, 7)), "4 and 5 are lost");
    assert_eq!(from(6, 8), None, "nothing to compare with");
}

#[test]
fn times_follow_the_log_as_far_as_clocks_agree() {
    let mut backwards = call(1, 1);
    backwards.time_end = Some(at(1) - Duration::seconds(11));
    assert_eq!(failed(&Log::of([call(0, 0), backwards]).whole()), Some((Check::Times, 1)));
    let beat = |place, second| {
        Record::new(RecordId::from_uuid(Uuid::from_u128(place)), Kind::Heartbeat, tenant(7), at(second))
    };
    assert_eq!(failed(&Log::of([beat(0, 100), beat(1, 91)]).whole()), None);
    assert_eq!(failed(&Log::of([beat(0, 100), beat(1, 80)]).whole()), Some((Check::Times, 1)));
}

#[test]
fn what_is_no_bundle_is_said_to_be_none() {
    assert!(Verifier::new(key(), None, b"{}").is_err() && Verifier::new(key(), None, b"").is_err());
}

/// What is signed for may still be no record: both verifiers draw the same line.
#[test]
fn what_is_a_record_has_members_of_their_types_and_times_of_one_form() {
    let record = String::from_utf8(call(0, 0).to_bytes()).unwrap();
    let time = |text: &str| record.replace("1970-01-01T00:00:00.000000Z", text);
    let n = |n: &str| record.replace("\"n\":0", &format!("\"n\":{n}"));
    let with = |members: &str| record.replacen('{', &format!("{{{members},"), 1);
    let good = [
        time("2024-02-29T23:59:59.999999Z"),
        time("0001-01-01T00:00:00.000000Z"),
        record.replace("\"1970-01-01T00:00:00.000000Z\"", "null"),
        n("18446744073709551614"),
        n("null"),
        with("\"amends\":{\"seq\":null}"),
        with("\"anything\":[1,{\"else\":null}]"),
    ];
    let bad = [
        time("2024-02-29T23:59:59Z"),
        time("2024-02-29T23:59:59.999Z"),
        time("2024-02-29T23:59:59.999999z"),
        time("2024-02-29 23:59:59.999999Z"),
        time("2024-02-29T23:59:59.999999+00:00"),
        time("2024-02-29T23:59:60.000000Z"),
        time("2024-02-29T24:00:00.000000Z"),
        time("2023-02-29T00:00:00.000000Z"),
        time("2023-13-01T00:00:00.000000Z"),
        time("0000-01-01T00:00:00.000000Z"),
        time(""),
        record.replace("\"1970-01-01T00:00:00.000000Z\"", "0"),
        with("\"time_end\":\"later\""),
        n("-1"),
        n("01"),
        n("1.0"),
        n("18446744073709551616"),
        n("\"1\""),
        with("\"amends\":{\"seq\":\"1\"}"),
        with("\"amends\":null"),
        with("\"epoch\":{\"recovered\":{\"size\":-1}}"),
        with("\"source\":{\"node\":\"node_x\"}"),
        with("\"source\":{\"clean\":1}"),
        record.replace("\"final\":true", "\"final\":1"),
        record.replace("\"final\":true", "\"final\":null"),
        record.replace("\"kind\":\"call\"", "\"kind\":7"),
        record.replace("\"kind\":\"call\"", "\"kind\":\"a\tb\""),
        record.replace("\"kind\":\"call\",", ""),
        record.replace(&tenant(7).to_string(), "ten_7"),
        record[..record.len() - 1].to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
    ];
    let bundle = |record: &String| (Log(vec![record.clone().into_bytes()]).whole(), None);
    for (report, record) in reports(&good.iter().map(bundle).collect::<Vec<_>>()).iter().zip(&good) {
        assert_eq!(report.failed(), None, "{record}");
    }
    for (report, record) in reports(&bad.iter().map(bundle).collect::<Vec<_>>()).iter().zip(&bad) {
        assert_eq!(report.failed().map(|(check, fault)| (check, fault.seq)), Some((Check::Leaves, 0)), "{record}");
    }
}
