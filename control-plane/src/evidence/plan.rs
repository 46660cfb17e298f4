//! What goes into a bundle: which epochs of the log, which leaves of each as records, and which checkpoints.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use store::TenantTx;
use store::audit::checkpoint::{self, Signed};
use store::audit::{epoch, leaf, search};

/// Checkpoints within the range stand at least so far apart, seconds: each costs who verifies a signature.
const APART_S: i64 = 60;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted {
    /// All there is, of one epoch or of all.
    All { epoch: Option<u64> },
    /// Places of one epoch; the last one when none is named.
    Places { epoch: Option<u64>, first: u64, end: Option<u64>, since: Option<u64> },
    /// What began in a time.
    Time { epoch: Option<u64>, from: DateTime<Utc>, until: DateTime<Utc> },
}

/// One epoch in a bundle.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    pub(super) epoch: u64,
    /// Which leaves are there as records.
    pub(super) first: u64,
    pub(super) end: u64,
    /// Where a checkpoint that was kept can be compared.
    since: Option<u64>,
    /// How many leaves the epoch has, as far as something proves them.
    pub(super) size: u64,
    /// Checkpoints, the last among them.
    marks: Vec<Signed>,
}

/// What is still to be written, of which epoch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The bundle's first line.
    Header { epoch: u64 },
    /// The next epoch begins.
    Epoch { epoch: u64 },
    /// Leaves that are left out.
    Covered { epoch: u64, first: u64, end: u64 },
    /// Leaves that are there.
    Records { epoch: u64, first: u64, end: u64 },
    /// A signed note.
    Checkpoint(String),
}

/// Chooses the epochs and the leaves. `None` while nothing is signed.
pub(crate) async fn sections(tx: &mut TenantTx, wanted: Wanted) -> Result<Option<Vec<Section>>, store::Error> {
    let Some(last) = checkpoint::last(tx).await? else { return Ok(None) };
    let ended = epoch::ended(tx).await?;
    let mut epochs: Vec<(u64, u64)> =
        ended.iter().filter(|ended| ended.epoch < last.epoch).map(|ended| (ended.epoch, ended.size)).collect();
    epochs.push((last.epoch, last.size));
    let one = match wanted {
        Wanted::All { epoch } | Wanted::Time { epoch, .. } => epoch,
        Wanted::Places { epoch, .. } => Some(epoch.unwrap_or(last.epoch)),
    };
    epochs.retain(|(epoch, _)| one.is_none_or(|one| one == *epoch));
    let mut sections = Vec::new();
    for (epoch, size) in epochs {
        let (first, end, since) = match wanted {
            Wanted::All { .. } => (first_kept(tx, epoch).await?.unwrap_or(size), size, None),
            Wanted::Places { first, end, since, .. } => (first, end.unwrap_or(size), since),
            Wanted::Time { from, until, .. } => {
                let (first, end) = leaf::places(tx, epoch, (from, until)).await?.unwrap_or((0, 0));
                (first, end, None)
            }
        };
        let (first, end) = (first.min(size), end.min(size));
        sections.push(Section { epoch, first, end, since, size, marks: Vec::new() });
    }
    only_needed(&mut sections);
    only_told(tx, &mut sections).await?;
    let Some(at) = sections.len().checked_sub(1) else { return Ok(None) };
    // What is behind the last checkpoint of an epoch is proven by the next one only.
    let Some(signed) = checkpoint::last_of(tx, sections[at].epoch).await? else { return Ok(None) };
    let section = &mut sections[at];
    (section.size, section.first) = (signed.size, section.first.min(signed.size));
    section.end = section.end.min(signed.size);
    for section in &mut sections {
        let within = checkpoint::between(tx, section.epoch, section.first, section.end).await?;
        section.marks = apart(within);
        let last = checkpoint::last_of(tx, section.epoch).await?.filter(|last| last.size <= section.size);
        section.marks.retain(|mark| last.as_ref().is_some_and(|last| mark.size < last.size));
        section.marks.extend(last);
    }
    Ok(Some(sections))
}

/// The first record of an epoch that retention has left.
async fn first_kept(tx: &mut TenantTx, epoch: u64) -> Result<Option<u64>, store::Error> {
    let leaves = search::leaves(tx, epoch.cast_signed(), 0, 1).await?;
    Ok(leaves.first().map(|leaf| leaf.seq.cast_unsigned()))
}

/// An epoch follows another only by its first record, which says what it goes on from: when retention has dropped that, the
/// bundle begins there.
async fn only_told(tx: &mut TenantTx, sections: &mut Vec<Section>) -> Result<(), store::Error> {
    for index in (1..sections.len()).rev() {
        if first_kept(tx, sections[index].epoch).await? != Some(0) {
            sections.drain(..index);
            break;
        }
    }
    Ok(())
}

/// Of epochs without a record before the first that has one, none is needed; those behind it prove its end.
fn only_needed(sections: &mut Vec<Section>) {
    let is_empty = |section: &Section| section.first >= section.end;
    let before = sections.iter().take_while(|section| is_empty(section)).count();
    sections.drain(..before.min(sections.len().saturating_sub(1)));
}

/// Checkpoints as far apart as they should be.
fn apart(marks: Vec<Signed>) -> Vec<Signed> {
    let mut before: Option<DateTime<Utc>> = None;
    let mut chosen = marks;
    chosen.retain(|mark| {
        let is_apart = before.is_none_or(|at| (mark.signed_at - at).num_seconds() >= APART_S);
        if is_apart {
            before = Some(mark.signed_at);
        }
        is_apart
    });
    chosen
}

/// The parts in the order of the lines.
pub(crate) fn parts(sections: Vec<Section>) -> VecDeque<Part> {
    let mut parts = VecDeque::new();
    for (index, section) in sections.into_iter().enumerate() {
        let epoch = section.epoch;
        let mut next = 0;
        if index == 0 {
            parts.push_back(Part::Header { epoch });
        } else {
            // Its first record says what it goes on from.
            parts.extend([Part::Epoch { epoch }, Part::Records { epoch, first: 0, end: 1 }]);
            next = 1;
        }
        let marks = section.marks.iter().map(|mark| (mark.size, Some(&mark.note)));
        for (size, note) in marks.chain([(section.size, None)]) {
            section.walk(&mut parts, next, size);
            next = next.max(size);
            parts.extend(note.map(|note| Part::Checkpoint(note.clone())));
        }
    }
    parts
}

impl Section {
    /// The leaves from one place up to another, as records or left out.
    fn walk(&self, parts: &mut VecDeque<Part>, from: u64, to: u64) {
        let (epoch, to) = (self.epoch, to.max(from));
        let within = |place: u64| place.clamp(from, to);
        let (first, end) = (within(self.first), within(self.end.max(self.first)));
        let since = within(self.since.unwrap_or(0));
        let covered = |parts: &mut VecDeque<Part>, first: u64, end: u64| {
            let middle = since.clamp(first, end);
            let halves = [(first, middle), (middle, end)].into_iter().filter(|(first, end)| first < end);
            parts.extend(halves.map(|(first, end)| Part::Covered { epoch, first, end }));
        };
        covered(parts, from, first);
        if first < end {
            parts.push_back(Part::Records { epoch, first, end });
        }
        covered(parts, end, to);
    }
}

#[cfg(test)]
mod tests {
    use domain::TenantId;
    use uuid::Uuid;

    use super::*;

    fn mark(epoch: u64, size: u64) -> Signed {
        let tenant = TenantId::from_uuid(Uuid::from_u128(1));
        let signed_at = DateTime::UNIX_EPOCH + chrono::Duration::seconds(size.cast_signed() * 10);
        Signed { tenant, epoch, size, note: format!("{epoch}/{size}"), signed_at }
    }

    fn section(epoch: u64, (first, end): (u64, u64), size: u64, marks: &[u64]) -> Section {
        let marks = marks.iter().map(|size| mark(epoch, *size)).collect();
        Section { epoch, first, end, since: None, size, marks }
    }

    /// The parts in short: `r` records, `c` covered, `h` header, `e` epoch, `s` signed.
    fn told(sections: Vec<Section>) -> String {
        let word = |part: &Part| match part {
            Part::Header { epoch } => format!("h{epoch}"),
            Part::Epoch { epoch } => format!("e{epoch}"),
            Part::Covered { first, end, .. } => format!("c{first}-{end}"),
            Part::Records { first, end, .. } => format!("r{first}-{end}"),
            Part::Checkpoint(note) => format!("s{note}"),
        };
        parts(sections).iter().map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_parts_walk_over_each_epoch_as_far_as_it_is_proven() {
        assert_eq!(told(vec![section(1, (0, 9), 9, &[4, 9])]), "h1 r0-4 s1/4 r4-9 s1/9");
        assert_eq!(told(vec![section(1, (3, 5), 9, &[9])]), "h1 c0-3 r3-5 c5-9 s1/9");
        assert_eq!(told(vec![section(1, (5, 5), 9, &[9])]), "h1 c0-5 c5-9 s1/9");
        let since = Section { since: Some(2), ..section(1, (3, 5), 9, &[9]) };
        assert_eq!(told(vec![since]), "h1 c0-2 c2-3 r3-5 c5-9 s1/9");
        let both = vec![section(1, (2, 8), 8, &[6]), section(2, (0, 7), 7, &[7])];
        assert_eq!(told(both), "h1 c0-2 r2-6 s1/6 r6-8 e2 r0-1 r1-7 s2/7");
        let tail = vec![section(1, (0, 0), 3, &[]), section(2, (4, 5), 7, &[7])];
        assert_eq!(told(tail), "h1 c0-3 e2 r0-1 c1-4 r4-5 c5-7 s2/7");
    }

    #[test]
    fn epochs_before_the_first_record_are_left_out_and_checkpoints_stand_apart() {
        let mut sections = vec![section(1, (0, 0), 9, &[]), section(2, (1, 3), 9, &[]), section(3, (0, 0), 9, &[])];
        only_needed(&mut sections);
        assert_eq!(sections.iter().map(|section| section.epoch).collect::<Vec<_>>(), [2, 3]);
        let mut none = vec![section(1, (0, 0), 9, &[]), section(2, (0, 0), 9, &[])];
        only_needed(&mut none);
        assert_eq!(none.len(), 1);
        let chosen = apart([1, 2, 7, 8, 14].map(|size| mark(1, size)).to_vec());
        assert_eq!(chosen.iter().map(|mark| mark.size).collect::<Vec<_>>(), [1, 7, 14]);
    }
}
