//! Logs that were set back and began anew.

use super::*;
use crate::notes::{self, TreeAt};

/// Name of the log in an epoch.
fn origin(epoch: u64) -> String {
    ORIGIN.replace("/1", &format!("/{epoch}"))
}

fn signed(log: &Log, epoch: u64, size: u64) -> Checkpoint {
    Checkpoint { origin: origin(epoch), ..log.checkpoint(size) }
}

fn note(log: &Log, epoch: u64, size: u64) -> String {
    signed(log, epoch, size).signed(&key(), |text| pair().sign(text).as_ref().try_into().unwrap())
}

/// 40 records were signed for, `kept` of them came back, and ten more were made since, in the second epoch.
fn second(before: &Log, kept: u64) -> Log {
    let at = |size| TreeAt { epoch: 1, size, root: before.root(size) };
    let ids = [RecordId::from_uuid(Uuid::from_u128(1000)), RecordId::from_uuid(Uuid::from_u128(1001))];
    let notes = notes::set_back(tenant(7), (at(kept), Some(at(40))), ids, super::at(50));
    let more = (0..10).map(|place| call(100 + place, 100 + place).to_bytes());
    Log(notes.map(|note| note.to_vec()).into_iter().chain(more).collect())
}

/// A bundle of both epochs: the last checkpoint that is left of the first is over `signed` records.
fn both(first: &Log, kept: u64, signed: u64) -> Vec<Vec<u8>> {
    let second = second(first, kept);
    let mut lines = first.lines(|_| true, &[signed]);
    let record = |log: &Log, seq: u64| {
        let record = &log.0[index(seq)];
        written(&Line::Record { seq, leaf: leaf_hash(record), record })
    };
    lines.extend((signed..kept).map(|seq| record(first, seq)));
    lines.push(written(&Line::Epoch { origin: origin(2) }));
    lines.extend((0..12).map(|seq| record(&second, seq)));
    lines.push(written(&Line::Checkpoint(note(&second, 2, 12))));
    lines
}

fn fault(lines: &[Vec<u8>], since: Option<Checkpoint>) -> Option<(Check, u64, u64)> {
    verify_since(lines, since).failed().map(|(check, fault)| (check, fault.epoch, fault.seq))
}

#[test]
fn a_log_holds_over_its_epochs_with_what_no_checkpoint_of_its_own_proves() {
    let first = Log::calls(40);
    for (kept, signed) in [(30, 25), (25, 25), (40, 40), (1, 0), (0, 0)] {
        let report = verify_since(&both(&first, kept, signed), None);
        assert_eq!((report.failed(), report.epochs, report.records), (None, (1, 2), kept + 12), "{kept} {signed}");
        assert_eq!(report.origin, origin(2));
    }
}

#[test]
fn each_epoch_names_its_first_bad_place() {
    let first = Log::calls(40);
    let whole = both(&first, 30, 25);
    // Header, 25 records, a checkpoint, 5 records, the epoch's line, 12 records, a checkpoint.
    let (of_first, of_tail, epoch, of_second) = (11, 28, 32, 40);
    let tampered = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut lines = whole.clone();
        change(&mut lines);
        fault(&lines, None).unwrap()
    };
    let flip = |line: &mut Vec<u8>| line[120] ^= 1;
    assert_eq!(tampered(&|lines| flip(&mut lines[of_first])), (Check::Leaves, 1, 10));
    assert_eq!(tampered(&|lines| flip(&mut lines[of_tail])), (Check::Leaves, 1, 26));
    assert_eq!(tampered(&|lines| flip(&mut lines[of_second])), (Check::Leaves, 2, 7));
    assert_eq!(tampered(&|lines| drop(lines.remove(of_tail))), (Check::Sequence, 1, 26));
    assert_eq!(tampered(&|lines| drop(lines.remove(of_second))), (Check::Sequence, 2, 7));
    assert_eq!(tampered(&|lines| lines.swap(of_second, of_second + 1)), (Check::Sequence, 2, 7));
    assert_eq!(tampered(&|lines| lines.truncate(of_second)), (Check::Sequence, 2, 7));
    let mended = |lines: &mut Vec<Vec<u8>>| {
        lines[of_tail] = rewritten(&lines[of_tail], "\"kind\":\"call\"", "\"kind\":\"open\"");
    };
    assert_eq!(tampered(&mended), (Check::Root, 1, 25), "what the second epoch says proves the end of the first");
    assert_eq!(tampered(&|lines| drop(lines.drain(of_tail..epoch))), (Check::Sequence, 1, 26), "its end cut off");
    assert_eq!(tampered(&|lines| drop(lines.drain(1..epoch))), (Check::Sequence, 1, 0), "all of it");
    assert_eq!(tampered(&|lines| lines.truncate(epoch + 1)), (Check::Sequence, 2, 0));
    assert_eq!(tampered(&|lines| lines[epoch] = written(&Line::Epoch { origin: origin(1) })), (Check::Sequence, 1, 30));
    let other = written(&Line::Epoch { origin: origin(2).replace("7/", "8/") });
    assert_eq!(tampered(&|lines| lines[epoch].clone_from(&other)), (Check::Sequence, 1, 30), "another tenant's");
    let next = second(&first, 29);
    let record = &next.0[0];
    let forged = written(&Line::Record { seq: 0, leaf: leaf_hash(record), record });
    assert_eq!(tampered(&|lines| lines[epoch + 1].clone_from(&forged)), (Check::Root, 2, 0));
    assert_eq!(tampered(&|lines| drop(lines.remove(epoch))), (Check::Sequence, 1, 30));
}

#[test]
fn what_was_signed_and_is_gone_is_seen_by_whoever_kept_a_checkpoint() {
    let first = Log::calls(40);
    let whole = both(&first, 30, 25);
    assert_eq!(fault(&whole, Some(signed(&first, 1, 25))), None);
    assert_eq!(fault(&whole, Some(signed(&first, 1, 28))), None, "it came back");
    assert_eq!(fault(&whole, Some(signed(&first, 1, 40))), Some((Check::Consistency, 1, 30)), "set back");
    let other = Log::of((0..30).map(|place| call(place + 1, place)));
    assert_eq!(fault(&whole, Some(signed(&other, 1, 25))), Some((Check::Consistency, 1, 0)));
    let second = second(&first, 30);
    assert_eq!(fault(&whole, Some(signed(&second, 2, 5))), None);
    assert_eq!(fault(&whole, Some(signed(&second, 3, 5))), Some((Check::Consistency, 2, 0)), "an epoch it has not");
    let mut alone = vec![written(&Line::Header { origin: origin(2), tenant: tenant(7) })];
    alone.extend_from_slice(&whole[33..]);
    assert_eq!(fault(&alone, None), None, "an epoch by itself");
    let other = Log::calls(12);
    let mut unsaid = vec![alone[0].clone()];
    unsaid.extend_from_slice(&other.whole()[1..13]);
    unsaid.push(written(&Line::Checkpoint(note(&other, 2, 12))));
    assert_eq!(fault(&unsaid, None), Some((Check::Root, 2, 0)), "what it goes on from is not said");
    assert_eq!(fault(&alone, Some(signed(&first, 1, 25))), Some((Check::Consistency, 2, 0)));
}
