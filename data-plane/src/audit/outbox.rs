//! The frames of one source whose effect is not committed: what is to be sent, what is to be spooled, what is free.

use std::collections::{BTreeMap, BTreeSet};

use audit::Ack;
use audit::ack::{StreamId, free};
use audit::frame::Source;
use bytes::Bytes;
use domain::TenantId;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::spool::Place;

/// The frames of one source.
#[derive(Debug)]
pub(super) struct Outbox {
    pub(super) source: Source,
    /// What makes a frame durable.
    durable: Durable,
    frames: BTreeMap<u64, Held>,
    /// Frames whose XADD is not answered, or must be repeated.
    to_send: BTreeSet<u64>,
    /// Frames that are in memory only.
    to_spool: BTreeSet<u64>,
    /// Frames that somebody waits for.
    waited_for: BTreeSet<u64>,
    /// How many frames the spool holds.
    spooled: usize,
    ack: Option<Ack>,
    /// The epoch of acks in which frames were last sent again that the owner does not wait for.
    again_in: Option<u64>,
    last_s: u64,
    /// Whether the ack has been looked for: what an earlier run left is not sent before.
    pub(super) asked: bool,
}

/// Whose word is enough for those who wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durable {
    /// That of Redis or of the disk.
    Either,
    /// That of the disk.
    Disk,
}

/// A frame that is not committed.
#[derive(Debug)]
pub(super) struct Held {
    /// As it travels; absent while it is only on disk.
    wire: Option<Bytes>,
    place: Option<Place>,
    sent: Option<StreamId>,
    waiters: Vec<oneshot::Sender<()>>,
    tenants: Vec<(TenantId, u64)>,
    /// When its first entry came.
    since: Instant,
}

/// Where a frame's bytes are.
#[derive(Debug, Clone)]
pub(super) enum Bytesof {
    Memory(Bytes),
    Disk(Place),
}

/// What became free.
#[derive(Debug, Default)]
pub(super) struct Freed {
    /// Bytes of memory.
    pub(super) memory: u64,
    /// Places in the spool, and whose bytes they were.
    pub(super) places: Vec<(Place, Vec<(TenantId, u64)>)>,
}

impl Outbox {
    /// A source that begins now.
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            durable: Durable::Either,
            frames: BTreeMap::new(),
            to_send: BTreeSet::new(),
            to_spool: BTreeSet::new(),
            waited_for: BTreeSet::new(),
            spooled: 0,
            ack: None,
            again_in: None,
            last_s: 0,
            asked: true,
        }
    }

    /// A source that begins now, whose frames are durable only once the disk has them.
    pub(super) fn of_the_disk(source: Source) -> Self {
        Self { durable: Durable::Disk, ..Self::new(source) }
    }

    /// What an earlier run left in the spool.
    pub(super) fn inherited(source: Source, places: Vec<(u64, Place)>) -> Self {
        let mut outbox = Self { asked: false, ..Self::new(source) };
        let since = Instant::now();
        for (s, place) in places {
            let held =
                Held { wire: None, place: Some(place), sent: None, waiters: Vec::new(), tenants: Vec::new(), since };
            outbox.frames.insert(s, held);
            outbox.to_send.insert(s);
        }
        outbox.spooled = outbox.frames.len();
        outbox
    }

    /// The number of the next frame.
    pub(super) fn next_s(&mut self) -> u64 {
        self.last_s += 1;
        self.last_s
    }

    /// Takes in a frame just formed.
    pub(super) fn add(
        &mut self,
        s: u64,
        wire: Bytes,
        (waiters, tenants): (Vec<oneshot::Sender<()>>, Vec<(TenantId, u64)>),
        since: Instant,
    ) {
        if !waiters.is_empty() {
            self.waited_for.insert(s);
        }
        let held = Held { wire: Some(wire), place: None, sent: None, waiters, tenants, since };
        self.frames.insert(s, held);
        self.to_send.insert(s);
        self.to_spool.insert(s);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether every frame was sent at least once.
    pub(super) fn is_sent(&self) -> bool {
        self.asked && self.to_send.is_empty()
    }

    /// Whether every frame is in Redis or in the spool.
    pub(super) fn is_durable(&self) -> bool {
        self.frames.values().all(|held| held.sent.is_some() || held.place.is_some())
    }

    pub(super) fn spooled(&self) -> usize {
        self.spooled
    }

    pub(super) fn has_to_spool(&self) -> bool {
        !self.to_spool.is_empty()
    }

    pub(super) fn has_to_send(&self) -> bool {
        !self.to_send.is_empty()
    }

    /// The first frames to be sent, in order.
    pub(super) fn to_send(&self, most: usize) -> Vec<(u64, Bytesof)> {
        self.to_send.iter().take(most).filter_map(|s| Some((*s, self.frames.get(s)?.bytes()?))).collect()
    }

    /// The frames to be spooled, in order.
    pub(super) fn to_spool(&self) -> Vec<(u64, Bytes)> {
        self.to_spool.iter().filter_map(|s| Some((*s, self.frames.get(s)?.wire.clone()?))).collect()
    }

    /// Redis has it; whoever waits may go on, where that is enough.
    pub(super) fn sent(&mut self, s: u64, id: StreamId) {
        self.to_send.remove(&s);
        if let Some(held) = self.frames.get_mut(&s) {
            held.sent = Some(id);
            if self.durable == Durable::Either {
                self.waited_for.remove(&s);
                held.release();
            }
        }
    }

    /// The disk has it; whoever waits may go on. Gives the place back when the frame was freed meanwhile.
    pub(super) fn stored(&mut self, s: u64, place: Place) -> Result<&[(TenantId, u64)], Place> {
        self.to_spool.remove(&s);
        self.waited_for.remove(&s);
        let Some(held) = self.frames.get_mut(&s) else { return Err(place) };
        held.place = Some(place);
        held.release();
        self.spooled += 1;
        Ok(&held.tenants)
    }

    /// The stream was lost: everything must be sent again.
    pub(super) fn stream_lost(&mut self) -> usize {
        let sent = self.frames.iter_mut().filter_map(|(s, held)| held.sent.take().map(|_| *s));
        let before = self.to_send.len();
        self.to_send.extend(sent);
        self.to_send.len() - before
    }

    /// Lets go of what took effect. What the owner has read past without effect is to be sent again.
    pub(super) fn acked(&mut self, ack: Ack) -> (Freed, usize) {
        let mut freed = Freed::default();
        if !ack.is_newer_than(self.ack.as_ref()) {
            return (freed, 0);
        }
        for (s, mut held) in free(&mut self.frames, &ack) {
            self.to_send.remove(&s);
            self.to_spool.remove(&s);
            self.waited_for.remove(&s);
            held.release();
            freed.memory += held.wire.as_ref().map_or(0, |wire| wire.len() as u64);
            if let Some(place) = held.place {
                self.spooled -= 1;
                freed.places.push((place, held.tenants));
            }
        }
        let again = self.send_again(&ack);
        self.ack = Some(ack);
        (freed, again)
    }

    /// What the owner has read past without effect is to be sent again; gives how many frames that are.
    ///
    /// But not those behind one that is on its way: the owner holds them until it comes. And where the owner waits for frames
    /// that are not here any more (its database was set back), only once in an epoch: it holds them until it gives up waiting,
    /// and to send them at each ack would keep it from reading all there is.
    fn send_again(&mut self, ack: &Ack) -> usize {
        let is_past = |held: &Held| held.sent.is_some_and(|sent| sent <= ack.cursor);
        let first = self.frames.first_key_value().filter(|(_, held)| is_past(held));
        let Some(is_awaited) = first.map(|(s, _)| *s <= ack.wm.saturating_add(1)) else { return 0 };
        if !is_awaited && self.again_in.replace(ack.epoch) == Some(ack.epoch) {
            return 0;
        }
        let before = self.to_send.len();
        for (s, held) in self.frames.iter_mut().filter(|(_, held)| is_past(held)) {
            held.sent = None;
            self.to_send.insert(*s);
        }
        self.to_send.len() - before
    }

    /// Forgets the bytes of frames that the disk has; gives how many.
    pub(super) fn unload(&mut self) -> u64 {
        let stored = self.frames.values_mut().filter(|held| held.place.is_some());
        stored.filter_map(|held| held.wire.take()).map(|wire| wire.len() as u64).sum()
    }

    /// When the first entry came that somebody still waits for.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        // Frames are formed in order.
        self.frames.get(self.waited_for.first()?).map(|held| held.since)
    }

    /// Tells those who have waited since before `until` that it is in vain. The frames stay.
    pub(super) fn give_up(&mut self, until: Instant) {
        while self.waiting_since().is_some_and(|since| since <= until) {
            let first = self.waited_for.pop_first();
            if let Some(held) = first.and_then(|s| self.frames.get_mut(&s)) {
                held.waiters.clear();
            }
        }
    }
}

impl Held {
    fn bytes(&self) -> Option<Bytesof> {
        let on_disk = || self.place.map(Bytesof::Disk);
        self.wire.clone().map(Bytesof::Memory).or_else(on_disk)
    }

    fn release(&mut self) {
        for waiter in self.waiters.drain(..) {
            // Whoever waited may be gone.
            let _ = waiter.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use audit::Ranges;
    use domain::{BootId, Clock, NodeId};

    use super::*;

    /// A source whose frames 1 to `last` were sent, each at the place in the stream that has its number.
    fn sent_up_to(last: u64) -> Outbox {
        let clock = Clock::new(|| chrono::DateTime::UNIX_EPOCH, || [0; 10]);
        let mut outbox = Outbox::new(Source { node: NodeId::new(&clock), boot: BootId::new(&clock), shard: 0 });
        for _ in 0..last {
            let s = outbox.next_s();
            outbox.add(s, Bytes::from_static(b"frame"), (Vec::new(), Vec::new()), Instant::now());
            outbox.sent(s, StreamId(s, 0));
        }
        outbox
    }

    fn ack(epoch: u64, version: u64, cursor: u64, wm: u64) -> Ack {
        Ack { epoch, version, cursor: StreamId(cursor, 0), wm, missing: Ranges::default() }
    }

    fn names(outbox: &Outbox) -> Vec<u64> {
        outbox.to_send(usize::MAX).into_iter().map(|(s, _)| s).collect()
    }

    #[test]
    fn whoever_waits_for_the_disk_does_not_go_on_because_redis_answered() {
        let clock = Clock::new(|| chrono::DateTime::UNIX_EPOCH, || [0; 10]);
        let source = Source { node: NodeId::new(&clock), boot: BootId::new(&clock), shard: 0 };
        let goes_on = |mut outbox: Outbox| {
            let (s, (waiter, mut durable)) = (outbox.next_s(), oneshot::channel());
            outbox.add(s, Bytes::from_static(b"frame"), (vec![waiter], Vec::new()), Instant::now());
            outbox.sent(s, StreamId(1, 0));
            let by_redis = durable.try_recv().is_ok();
            assert_eq!(outbox.waiting_since().is_none(), by_redis);
            assert!(outbox.stored(s, Place::default()).is_ok() && outbox.waiting_since().is_none());
            (by_redis, by_redis || durable.try_recv().is_ok())
        };
        assert_eq!(goes_on(Outbox::new(source)), (true, true));
        assert_eq!(goes_on(Outbox::of_the_disk(source)), (false, true));
    }

    #[test]
    fn frames_behind_one_that_is_on_its_way_are_not_sent_again() {
        let mut outbox = sent_up_to(5);
        assert_eq!(outbox.acked(ack(1, 1, 5, 1)).1, 4, "none of them took effect");
        assert_eq!(names(&outbox), [2, 3, 4, 5]);
        for (s, place) in [(3, 6), (4, 7), (5, 8)] {
            outbox.sent(s, StreamId(place, 0));
        }
        for version in 2..100 {
            assert_eq!(outbox.acked(ack(1, version, 8, 1)).1, 0, "the owner holds them until 2 comes");
        }
        outbox.sent(2, StreamId(9, 0));
        assert_eq!(outbox.acked(ack(1, 100, 9, 1)).1, 4, "2 was lost again: whoever waits for it gets it");
        assert_eq!(outbox.acked(ack(1, 101, 9, 5)).0.memory, 20);
        assert!(outbox.is_empty());
    }

    #[test]
    fn what_waits_for_frames_that_are_gone_everywhere_is_sent_again_once() {
        let mut outbox = sent_up_to(9);
        assert_eq!(outbox.acked(ack(1, 1, 6, 6)).1, 0);
        let mut sent = 0;
        for version in 1..100 {
            sent += outbox.acked(ack(2, version, 20 + version, 4)).1;
            for s in names(&outbox) {
                outbox.sent(s, StreamId(20 + version, 0));
            }
        }
        assert_eq!(sent, 3, "5 and 6 took effect before the database was set back, and are not here");
        let missing = [(5, 10)].into_iter().collect();
        let given_up = Ack { missing, ..ack(2, 100, 200, 9) };
        assert_eq!(outbox.acked(given_up).1, 3, "given up, though they are here");
    }
}
