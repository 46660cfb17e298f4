//! The task of one shard: makes frames of what is in line, sends and spools them, and lets go of what took effect.
//!
//! At most one exchange with Redis and one write to the spool are under way; what comes meanwhile gathers into the next
//! frame. That is the group commit.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use audit::ack;
use audit::frame::{self, Packer, Source};
use audit::{Ack, Entry};
use bytes::Bytes;
use domain::TenantId;
use redis::aio::MultiplexedConnection;
use secrets::Sealer;
use tokio::time::Instant;

use super::carrier::{Answer, Request};
use super::counters::{Count, Counters};
use super::exchange;
use super::outbox::Outbox;
use super::queue::Queue;
use super::recorder::Common;
use super::spool::{Place, SpoolMode};
use super::weight::Weight;

/// Frames sent in one round trip.
const BATCH: usize = 64;
/// Pauses between tries while Redis is away.
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MOST: Duration = Duration::from_millis(500);
/// How much longer than in Redis an intent may take on the disk.
const SPOOL_PATIENCE: Duration = Duration::from_secs(1);
/// How long frames gather for the spool while it is only the second place: nobody waits for it then, and a write and a
/// sync of the disk cost as much for one frame as for ten.
const SPOOL_PAUSE: Duration = Duration::from_millis(10);
/// How long a stop waits, beyond its patience, for what the spool must still write.
pub(super) const LAST_WRITE: Duration = Duration::from_secs(3);

/// What the recorder and the task of a shard share.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) source: Source,
    pub(super) queue: Queue,
    /// Calls whose outcome is not formed.
    pub(super) open: Count,
    /// Frames go to the spool for lack of Redis or of acks.
    pub(super) away: AtomicBool,
    /// The last intent could not be made durable.
    pub(super) refusing: AtomicBool,
    close_by: Mutex<Option<Instant>>,
}

impl Shard {
    pub(super) fn new(source: Source, counters: Arc<Counters>) -> Self {
        Self {
            source,
            queue: Queue::new(counters),
            open: Count::default(),
            away: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            close_by: Mutex::new(None),
        }
    }

    /// Asks the task to say good-bye.
    pub(super) fn close_by(&self, until: Instant) {
        *self.close_by.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    fn closing_by(&self) -> Option<Instant> {
        *self.close_by.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ships the shard's frames until the recorder is closed.
pub(super) async fn run(common: Arc<Common>, shard: Arc<Shard>, inherited: Vec<Outbox>) {
    if let Some(spool) = &common.spool {
        spool.mark(&shard.source);
    }
    Ship::new(common, shard, inherited).run().await;
}

/// Which frame of which outbox.
type Name = (usize, u64);
type Exchanged = (Vec<Name>, Result<(MultiplexedConnection, Answer), String>);
type Spooled = (Vec<u64>, std::io::Result<Vec<Place>>);
type Under<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

#[expect(clippy::struct_excessive_bools, reason = "each is one fact of the protocol, and all combinations occur")]
struct Ship {
    common: Arc<Common>,
    shard: Arc<Shard>,
    /// Our own first, then those of earlier runs.
    outboxes: Vec<Outbox>,
    connection: Option<MultiplexedConnection>,
    exchange: Under<Exchanged>,
    write: Under<Spooled>,
    packer: Packer,
    incarnation: Option<Vec<u8>>,
    /// Whether new frames go to the spool.
    spooling: bool,
    /// Whether the stream is over its bound.
    stream_full: bool,
    failures: u32,
    retry_at: Instant,
    asked_at: Instant,
    beat_at: Instant,
    /// When the spool may be written next.
    spool_at: Instant,
    /// Earlier runs to be declared dead once their frames are sent.
    dead: bool,
    said_end: bool,
    /// What an entry of the stream weighs.
    weight: Weight,
}

impl Ship {
    fn new(common: Arc<Common>, shard: Arc<Shard>, inherited: Vec<Outbox>) -> Self {
        let now = Instant::now();
        let mode = common.spool.as_ref().map(|spool| spool.mode);
        let dead = !inherited.is_empty();
        let own = if mode == Some(SpoolMode::First) { Outbox::of_the_disk } else { Outbox::new };
        let outboxes = std::iter::once(own(shard.source)).chain(inherited).collect();
        Self {
            beat_at: now + common.settings.beat,
            asked_at: now.checked_sub(common.settings.poll).unwrap_or(now),
            common,
            shard,
            outboxes,
            connection: None,
            exchange: None,
            write: None,
            packer: Packer::default(),
            incarnation: None,
            spooling: mode.is_some_and(|mode| mode != SpoolMode::Fallback),
            stream_full: false,
            failures: 0,
            retry_at: now,
            spool_at: now,
            dead,
            said_end: false,
            weight: Weight::default(),
        }
    }

    async fn run(mut self) {
        loop {
            self.sign();
            self.form();
            self.begin_exchange();
            self.begin_write();
            self.give_up_late();
            if self.is_done() {
                return;
            }
            let wake_at = self.wake_at();
            let idle = self.can_form();
            let shard = Arc::clone(&self.shard);
            let closing = self.common.closing.clone();
            tokio::select! {
                exchanged = under_way(&mut self.exchange) => self.exchanged(exchanged),
                written = under_way(&mut self.write) => self.written(written),
                () = shard.queue.wake.notified(), if idle => {}
                () = closing.cancelled(), if !self.said_end && shard.closing_by().is_none() => {}
                () = tokio::time::sleep_until(wake_at) => {}
            }
        }
    }

    /// Whether a carrier would take a frame now.
    fn can_form(&self) -> bool {
        let redis = self.exchange.is_none() && !self.stream_full && Instant::now() >= self.retry_at;
        redis || self.can_write()
    }

    fn can_write(&self) -> bool {
        self.spooling && self.write.is_none() && Instant::now() >= self.spool_at
    }

    /// Whether only the disk makes a frame durable: what Redis says is then no answer to whoever waits.
    fn waits_for_disk(&self) -> bool {
        self.common.spool.as_ref().is_some_and(|spool| spool.mode == SpoolMode::First)
    }

    /// Puts signs of life, death and good-bye in line.
    fn sign(&mut self) {
        let now = Instant::now();
        if now >= self.beat_at {
            self.beat_at = now + self.common.settings.beat;
            self.shard.queue.push_sign(&Entry::Beat);
        }
        if self.dead && self.outboxes[1..].iter().all(Outbox::is_sent) {
            self.dead = false;
            let boots = self.outboxes[1..].iter().map(|outbox| outbox.source.boot).collect();
            self.shard.queue.push_sign(&Entry::Dead(boots));
        }
        let Some(until) = self.shard.closing_by() else { return };
        let over = self.shard.open.get() == 0 || now >= until;
        if !self.said_end && !self.dead && over {
            self.said_end = true;
            self.shard.queue.push_sign(&Entry::End);
        }
    }

    /// Makes frames of what is in line, if a carrier is free or something has waited too long for one.
    fn form(&mut self) {
        let late = |since: Instant| since + self.common.settings.durable_within <= Instant::now();
        if !self.can_form() && !self.shard.queue.since().is_some_and(late) {
            return;
        }
        while let Some(forming) = self.shard.queue.pop() {
            let own = &mut self.outboxes[0];
            let s = own.next_s();
            let counters = &self.common.counters;
            counters.frames.add(1);
            counters.entries.add(forming.builder.count() as u64);
            let aad = frame::aad(&self.common.settings.deployment, &own.source, s);
            let content = self.packer.pack(&forming.builder);
            let mut wire = frame::wire_head(&own.source, s, Sealer::OVERHEAD + content.len());
            self.common.keys.frames.seal_onto(&mut wire, &aad.parts(), content);
            let wire = Bytes::from(wire);
            counters.uncommitted_bytes.add(wire.len() as u64);
            self.weight.add(wire.len());
            let tenants = shares(forming.tenants, forming.builder.size() as u64, wire.len() as u64);
            own.add(s, wire, (forming.waiters, tenants), forming.since);
            self.shard.queue.give_back(forming.builder);
        }
    }

    /// Sends what is to be sent, and asks for acks where there is something to free.
    fn begin_exchange(&mut self) {
        let now = Instant::now();
        if self.exchange.is_some() || now < self.retry_at {
            return;
        }
        let uncommitted = self.outboxes.iter().any(|outbox| !outbox.is_empty() || !outbox.asked);
        let ask_due = uncommitted && now >= self.asked_at + self.common.settings.poll;
        let may_send = !self.stream_full;
        let to_send = may_send && self.outboxes.iter().any(|outbox| outbox.asked && outbox.has_to_send());
        if !to_send && !ask_due {
            return;
        }
        let (mut names, mut wires) = (Vec::new(), Vec::new());
        for (index, outbox) in self.outboxes.iter().enumerate().filter(|(_, outbox)| may_send && outbox.asked) {
            for (s, wire) in outbox.to_send(BATCH - names.len()) {
                names.push((index, s));
                wires.push(wire);
            }
        }
        self.asked_at = now;
        let ack_fields = self.outboxes.iter().map(|outbox| outbox.source.ack_field()).collect();
        let request = Request { shard: self.shard.source.shard, frames: Vec::new(), ack_fields };
        let (common, connection) = (Arc::clone(&self.common), self.connection.take());
        self.exchange = Some(Box::pin(async move {
            let done = exchange::exchange(&common, connection, request, wires).await;
            (names, done)
        }));
    }

    fn exchanged(&mut self, (names, done): Exchanged) {
        self.exchange = None;
        let (connection, answer) = match done {
            Ok(done) => done,
            Err(error) => return self.carrier_failed(&error),
        };
        self.connection = Some(connection);
        let mut refused = None;
        for ((index, s), sent) in names.into_iter().zip(&answer.sent) {
            match sent {
                Ok(id) => self.outboxes[index].sent(s, *id),
                // Out of memory, most likely: the connection is good.
                Err(error) => refused = Some(error.to_string()),
            }
        }
        self.look_at_incarnation(answer.incarnation);
        for (index, sealed) in answer.acks.into_iter().enumerate() {
            self.outboxes[index].asked = true;
            if let Some(sealed) = sealed {
                self.look_at_ack(index, &sealed);
            }
        }
        self.look_at_length(answer.length);
        if let Some(error) = refused {
            return self.carrier_failed(&error);
        }
        if self.failures > 0 {
            tracing::info!(shard = self.shard.source.shard, tries = self.failures, "Redis takes audit frames again");
        }
        self.failures = 0;
        if !self.waits_for_disk() {
            self.shard.refusing.store(false, Ordering::Relaxed);
        }
        self.choose_mode();
    }

    /// Redis failed or is late. Frames go to the spool until it is back, and those without an answer are sent again.
    fn carrier_failed(&mut self, error: &str) {
        self.common.counters.carrier_failures.add(1);
        if self.failures == 0 {
            tracing::warn!(
                shard = self.shard.source.shard,
                error,
                "Redis does not take audit frames: they wait in the spool"
            );
        }
        let pause = RETRY_FIRST.saturating_mul(1 << self.failures.min(8)).min(RETRY_MOST);
        self.failures += 1;
        self.retry_at = Instant::now() + pause;
        self.begin_spooling();
    }

    /// A stream over its bound is left alone until its owner has dropped enough of it.
    fn look_at_length(&mut self, length: u64) {
        let bytes = self.weight.of(length);
        let is_full = bytes > self.common.settings.stream_max;
        if is_full != std::mem::replace(&mut self.stream_full, is_full) {
            let shard = self.shard.source.shard;
            if is_full {
                tracing::warn!(shard, bytes, entries = length, "the audit stream is full: frames wait in the spool");
            } else {
                tracing::info!(shard, bytes, entries = length, "the audit stream has room again");
            }
        }
    }

    /// Another incarnation is another stream: what was sent is gone.
    fn look_at_incarnation(&mut self, incarnation: Option<Vec<u8>>) {
        if incarnation == self.incarnation {
            return;
        }
        let again: usize = self.outboxes.iter_mut().map(Outbox::stream_lost).sum();
        self.common.counters.frames_resent.add(again as u64);
        // Seeing the first one is no loss.
        if self.incarnation.is_some() {
            self.begin_spooling();
        }
        self.incarnation = incarnation;
    }

    fn look_at_ack(&mut self, index: usize, sealed: &[u8]) {
        let outbox = &mut self.outboxes[index];
        let aad = ack::aad(&self.common.settings.deployment, &outbox.source);
        let opened = self.common.keys.acks.open(&aad.parts(), sealed).ok();
        let Some(ack) = opened.and_then(|plain| Ack::parse(&plain).ok()) else {
            self.common.counters.acks_refused.add(1);
            return;
        };
        let (freed, again) = outbox.acked(ack);
        self.common.counters.frames_resent.add(again as u64);
        self.common.counters.uncommitted_bytes.take(freed.memory);
        if let Some(spool) = &self.common.spool {
            spool.free(freed.places);
        }
    }

    fn begin_spooling(&mut self) {
        if self.common.spool.is_some() {
            self.spooling = true;
        }
        self.shard.away.store(true, Ordering::Relaxed);
    }

    /// Spooling begins with too much in memory or in the stream; it ends when all that was spooled is committed.
    fn choose_mode(&mut self) {
        let memory = self.common.counters.uncommitted_bytes.get();
        if self.stream_full || memory > self.common.settings.uncommitted_max {
            return self.begin_spooling();
        }
        let always = self.common.spool.as_ref().is_some_and(|spool| spool.mode != SpoolMode::Fallback);
        let spooled: usize = self.outboxes.iter().map(Outbox::spooled).sum();
        self.spooling = always || (self.spooling && (spooled > 0 || self.write.is_some()));
        let behind = !always && self.spooling;
        self.shard.away.store(behind, Ordering::Relaxed);
    }

    /// Writes what is in memory only to the spool, all of it at once.
    fn begin_write(&mut self) {
        let own = &self.outboxes[0];
        if !self.can_write() || !own.has_to_spool() || self.common.spool.is_none() {
            return;
        }
        let (names, wires): (Vec<u64>, Vec<Bytes>) = own.to_spool().into_iter().unzip();
        let common = Arc::clone(&self.common);
        self.write = Some(Box::pin(async move {
            let written = match &common.spool {
                Some(spool) => spool.write(wires).await,
                None => Err(std::io::ErrorKind::Unsupported.into()),
            };
            (names, written)
        }));
    }

    fn written(&mut self, (names, written): Spooled) {
        self.write = None;
        let Some(spool) = &self.common.spool else { return };
        let places = match written {
            Ok(places) => places,
            Err(error) => {
                tracing::error!(%error, "audit frames could not be spooled");
                self.common.counters.spool_failures.add(1);
                self.spool_at = Instant::now() + RETRY_MOST;
                return;
            }
        };
        if spool.mode != SpoolMode::First && !self.shard.away.load(Ordering::Relaxed) {
            self.spool_at = Instant::now() + SPOOL_PAUSE;
        }
        self.common.counters.frames_spooled.add(places.len() as u64);
        self.shard.refusing.store(false, Ordering::Relaxed);
        let own = &mut self.outboxes[0];
        for (s, place) in names.into_iter().zip(places) {
            match own.stored(s, place) {
                Ok(tenants) => spool.charge(tenants),
                Err(place) => spool.free(vec![(place, Vec::new())]),
            }
        }
        if self.common.counters.uncommitted_bytes.get() > self.common.settings.uncommitted_max {
            self.common.counters.uncommitted_bytes.take(own.unload());
        }
    }

    /// After `durable_within` the spool is asked; without one, or when it is late too, whoever waits is refused.
    fn give_up_late(&mut self) {
        let Some(since) = self.outboxes[0].waiting_since() else { return };
        let now = Instant::now();
        let within = self.common.settings.durable_within;
        if since + within > now {
            return;
        }
        let patience = if self.common.spool.is_some() { within + SPOOL_PATIENCE } else { within };
        self.begin_spooling();
        self.begin_write();
        if let Some(until) = now.checked_sub(patience).filter(|until| since <= *until) {
            self.shard.refusing.store(true, Ordering::Relaxed);
            self.outboxes[0].give_up(until);
        }
    }

    /// Whether the recorder is closed and nothing is left to do.
    fn is_done(&mut self) -> bool {
        let Some(until) = self.shard.closing_by() else { return false };
        if !self.said_end || self.shard.queue.since().is_some() {
            return false;
        }
        if self.outboxes.iter().all(Outbox::is_empty) {
            return true;
        }
        if Instant::now() < until {
            return false;
        }
        // The owner is away: what it has not taken is left to the next run.
        self.begin_spooling();
        self.begin_write();
        let late = Instant::now() >= until + LAST_WRITE;
        let spooled = self.common.spool.is_none() || !self.outboxes[0].has_to_spool();
        late || (self.write.is_none() && spooled && self.outboxes.iter().all(Outbox::is_durable))
    }

    /// When to look again though nothing happened.
    fn wake_at(&self) -> Instant {
        let now = Instant::now();
        let settings = &self.common.settings;
        let mut at = self.beat_at.min(now + settings.durable_within / 4);
        let busy = self.exchange.is_some() || self.write.is_some() || self.shard.closing_by().is_some();
        let uncommitted = self.outboxes.iter().any(|outbox| !outbox.is_empty());
        if !busy && self.shard.queue.since().is_none() && self.outboxes[0].waiting_since().is_none() {
            at = if uncommitted { self.beat_at.min(self.asked_at + settings.poll) } else { self.beat_at };
        }
        let to_send = self.outboxes.iter().any(Outbox::has_to_send);
        if self.exchange.is_none() && to_send && !self.stream_full {
            at = at.min(self.retry_at);
        }
        let to_spool = self.outboxes[0].has_to_spool() || self.shard.queue.since().is_some();
        if self.spooling && self.write.is_none() && to_spool {
            at = at.min(self.spool_at);
        }
        at.max(now + Duration::from_millis(1))
    }
}

/// What each tenant has of a frame as it travels, by what it has of its content.
fn shares(tenants: Vec<(TenantId, u64)>, content: u64, wire: u64) -> Vec<(TenantId, u64)> {
    tenants.into_iter().map(|(tenant, bytes)| (tenant, (bytes * wire).div_ceil(content.max(1)))).collect()
}

/// Waits for what is under way; for ever when nothing is.
async fn under_way<T>(future: &mut Under<T>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
