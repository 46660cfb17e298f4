//! A log over its epochs: one that was set back begins anew, and its first record says what of the old one is left.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::read::Read;
use super::{Check, Verifier};
use crate::merkle::Frontier;

/// How an epoch ended, until the first record of the next one confirms it.
#[derive(Debug)]
pub(super) struct Ended {
    epoch: u64,
    tree: Frontier,
    /// Up to where a checkpoint of its own proves it.
    good: u64,
}

/// The name of a log without its epoch, and the epoch.
pub(super) fn split(origin: &str) -> Option<(&str, u64)> {
    let (name, epoch) = origin.rsplit_once('/')?;
    Some((name, epoch.parse().ok()?))
}

impl Verifier {
    pub(super) fn next_epoch(&mut self, origin: String) {
        let goes_on = split(&self.origin).zip(split(&origin));
        let Some((_, (_, epoch))) = goes_on.filter(|(was, is)| was.0 == is.0 && was.1 < is.1) else {
            return self.out_of_place(&format!("{origin} does not follow {}", self.origin));
        };
        if self.ended.is_some() {
            return self.out_of_place("an epoch without a record ends here");
        }
        self.compare_with_before(self.tree.size());
        let tree = std::mem::take(&mut self.tree);
        self.ended = Some(Ended { epoch: self.epoch, tree, good: self.good });
        (self.origin, self.epoch, self.good, self.checked_size, self.last) = (origin, epoch, 0, None, None);
        self.counters.next_epoch();
        self.look_back();
    }

    /// The first record of an epoch says with what the one before ended: so its end is proven without a checkpoint.
    pub(super) fn goes_on_from(&mut self, seq: u64, record: &Read<'_>) {
        let (now, ended) = (self.epoch, self.ended.take());
        if seq == 0 && now > 1 && record.kind != "epoch" {
            return self.fails(Check::Root, 0, || format!("record 0 does not say what epoch {now} goes on from"));
        }
        let Some(Ended { epoch, tree, good }) = ended else { return };
        let (said, size) = (&record.epoch.recovered, tree.size());
        if said.epoch != Some(epoch) {
            self.fails(Check::Root, 0, || format!("record 0 does not say that epoch {now} goes on from epoch {epoch}"));
        } else if said.size != Some(size) {
            let end = said.size.map_or(size, |end| end.min(size));
            let what = || format!("epoch {epoch} has {size} leaves here, and epoch {now} goes on from another number");
            self.fails_in(Check::Sequence, (epoch, end), what);
        } else if said.root.as_deref() != Some(STANDARD.encode(tree.root()).as_str()) {
            let what = || {
                format!("the leaves of epoch {epoch} from {good} up to {size} are not what epoch {now} goes on from")
            };
            self.fails_in(Check::Root, (epoch, good), what);
        }
    }

    /// Compares what was kept with the epoch that it is of, when that ends with so many leaves.
    pub(super) fn compare_with_before(&mut self, now: u64) {
        let Some(since) = self.since.clone().filter(|since| since.origin == self.origin) else { return };
        self.has_compared = true;
        let size = since.size;
        if size > now {
            let what = || format!("the log had {size} leaves and now has {now}: it was set back");
            self.fails(Check::Consistency, now, what);
        } else if let Some(then) = self.root_then {
            if then != since.root {
                let what = || format!("its first {size} leaves are not those that were signed before");
                self.fails(Check::Consistency, 0, what);
            }
        } else {
            let what = || format!("leaf {size} is inside of what the bundle leaves out: export it from leaf {size} on");
            self.fails(Check::Consistency, size, what);
        }
    }

    /// The checkpoint that was kept is of none of the bundle's epochs.
    pub(super) fn compare_with_none(&mut self) {
        let Some(since) = self.since.clone().filter(|_| !self.has_compared) else { return };
        let same_log = split(&since.origin).zip(split(&self.origin)).filter(|(then, now)| then.0 == now.0);
        let epoch = same_log.map(|((_, epoch), _)| epoch);
        self.fails(Check::Consistency, 0, || match epoch {
            Some(epoch) => {
                format!("the checkpoint kept before is of epoch {epoch}, which is not in the bundle: export all epochs")
            }
            None => format!("the checkpoint kept before is of another log, {}", since.origin),
        });
    }
}
