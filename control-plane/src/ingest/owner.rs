//! The owner of a shard: one task that takes the shard over, reads its stream, commits and acknowledges (O1, O2, O4, O5).

use std::time::Duration;

use audit::Source;
use audit::ack::StreamId;
use audit::frame::UnknownVersion;
use redis::RedisError;
use store::IngestTx;
use store::audit::shard::{self, Shard};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use uuid::Uuid;

use super::Means;
use super::arrival::{self, Incoming, Judged, Verdict};
use super::checkpoints::{self, SignError, Signer};
use super::commit::{CommitError, Committed, INBOX_MAX, LEASE, Plan, commit};
use super::draining::Part;
use super::marks;
use super::placing::Caches;
use super::reading::Reading;
use super::stream::{Batch, COUNT, ENTRIES_MAX, Stream};
use crate::problem::causes;

/// Between two looks at a shard that another owns, and after a failure.
const PAUSE: Duration = Duration::from_millis(500);
/// The length of a tick.
const TICK: Duration = Duration::from_secs(1);
/// Longest time between two commits; a tick comes earlier and brings one about.
const IDLE: Duration = Duration::from_millis(1500);
/// Between two times that old frames are dropped from the stream.
const TRIM: Duration = Duration::from_secs(10);

/// Owns a shard while it can.
pub(super) struct Owner {
    means: Means,
    shard: u16,
    process: Uuid,
    fence: Option<i64>,
    caches: Caches,
    signer: Signer,
    /// A record of the inbox does not enter the log: take them one by one.
    inbox_is_stuck: bool,
    /// Most entries of a batch: fewer for a while after one took the database too long.
    entries_max: usize,
}

/// Why a session with Redis and Postgres ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("another has become the shard's owner")]
    Fenced,
    #[error("the stream was lost")]
    StreamLost,
    #[error(transparent)]
    Connect(#[from] service::redis::ConnectError),
    #[error("Redis failed")]
    Redis(#[from] RedisError),
    #[error(transparent)]
    Version(#[from] UnknownVersion),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("checkpoints could not be signed")]
    Sign(#[source] SignError),
    #[error(transparent)]
    Database(#[from] store::Error),
}

impl From<SignError> for Ended {
    fn from(error: SignError) -> Self {
        match error {
            SignError::Fenced => Self::Fenced,
            SignError::Redis(error) => Self::Redis(error),
            error => Self::Sign(error),
        }
    }
}

impl Ended {
    /// Whether only a later release can go on.
    fn wants_a_later_release(&self) -> bool {
        match self {
            Self::Version(_) => true,
            Self::Commit(error) => error.wants_a_later_release(),
            _ => false,
        }
    }
}

/// How the rest of a batch is tried.
struct Tries {
    /// What is left of it, the first last.
    parts: Vec<Vec<Judged>>,
    /// Most held frames to take in at once; none with a frame that did not enter the database together with them.
    held_max: usize,
    /// A part of it took too long.
    is_late: bool,
}

impl Owner {
    pub(super) fn new(means: Means, shard: u16, process: Uuid) -> Self {
        let (caches, signer) = (Caches::new(&means), Signer::new(&means));
        Self { means, shard, process, fence: None, caches, signer, inbox_is_stuck: false, entries_max: ENTRIES_MAX }
    }

    /// Owns the shard, again and again, until `begun`.
    pub(super) async fn run(mut self, begun: &CancellationToken) {
        while !begun.is_cancelled() {
            if let Err(ended) = self.own(begun).await {
                self.tell(&ended);
                self.caches.clear();
                if matches!(ended, Ended::Fenced) {
                    self.lose();
                }
                if ended.wants_a_later_release() {
                    // One that is upgraded already may own it.
                    self.release().await;
                    self.lose();
                }
                if matches!(ended, Ended::Connect(_) | Ended::Redis(_)) {
                    self.go_on_without_redis().await;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = begun.cancelled() => {}
            }
        }
        self.release().await;
    }

    fn lose(&mut self) {
        self.fence = None;
        self.means.metrics.forget_shard(self.shard);
    }

    fn tell(&self, ended: &Ended) {
        let shard = self.shard;
        match ended {
            Ended::Fenced => info!(shard, "another control plane owns audit shard {shard} now"),
            ended if ended.wants_a_later_release() => {
                error!(shard, error = causes(ended), "audit records of shard {shard} wait");
            }
            Ended::StreamLost => warn!(shard, "the audit stream of shard {shard} was lost: nodes send again"),
            ended => warn!(shard, error = causes(ended), "taking in audit records of shard {shard} was interrupted"),
        }
    }

    async fn own(&mut self, begun: &CancellationToken) -> Result<(), Ended> {
        if self.fence.is_none() {
            self.fence = self.acquire().await?.map(|row| row.fence);
        }
        let Some(fence) = self.fence else { return Ok(()) };
        self.session(fence, begun).await
    }

    /// O1.
    async fn acquire(&self) -> Result<Option<Shard>, Ended> {
        let pool = &self.means.needs.pool;
        for _ in 0..2 {
            let mut tx = IngestTx::begin(pool, self.shard).await?;
            shard::add(&mut tx, self.shard).await?;
            match shard::acquire(&mut tx, self.shard, self.process, LEASE).await {
                Ok(row) => {
                    tx.commit().await?;
                    return Ok(row);
                }
                Err(error) if error.is_lock_timeout() => {
                    drop(tx);
                    warn!(shard = self.shard, "ending the stopped owner of audit shard {}", self.shard);
                    shard::end_other_sessions(pool, self.shard).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Reads and commits over one connection to Redis, from the stream's beginning (O2).
    async fn session(&mut self, fence: i64, begun: &CancellationToken) -> Result<(), Ended> {
        let mut stream = Stream::connect(&self.means, self.shard).await?;
        let row = self.look(fence).await?;
        let (name, last) = stream.state().await?;
        let read_to: StreamId = row.cursor.parse().unwrap_or_default();
        let name = if let Some(name) = name.filter(|_| last >= read_to) {
            name
        } else {
            self.means.metrics.lost_streams.add(1);
            stream.rename().await?
        };
        let acked = stream.acked().await?;
        let ours = (row.epoch.cast_unsigned(), row.version.cast_unsigned());
        let mut above_epoch = acked.filter(|acked| *acked > ours).map(|acked| acked.0);
        if above_epoch.is_some() || row.set_back {
            warn!(shard = self.shard, "Postgres went back: reading all of audit shard {} again", self.shard);
            above_epoch = above_epoch.max(Some(ours.0));
        }
        self.signer.begin_epochs((&self.means, &mut self.caches), (self.shard, fence), &mut stream).await?;
        let mut plan = Plan { above_epoch, incarnation: Some(name.clone()), goes_on: true, ..Plan::default() };
        let mut reading = Reading::new(fence, name);
        reading.is_set_back = above_epoch.is_some();
        while !begun.is_cancelled() {
            let batch = tokio::select! {
                batch = stream.read(reading.cursor, self.entries_max) => batch?,
                () = begun.cancelled() => return Ok(()),
            };
            self.turn(&mut stream, &mut reading, batch, &mut plan).await?;
        }
        Ok(())
    }

    /// The shard's row, under the fence.
    async fn look(&self, fence: i64) -> Result<Shard, Ended> {
        let mut tx = IngestTx::begin(&self.means.needs.pool, self.shard).await?;
        let row = shard::lock(&mut tx, self.shard, fence).await?.ok_or(Ended::Fenced)?;
        tx.commit().await?;
        Ok(row)
    }

    /// One turn: commit what was read, acknowledge, and let the clock go on.
    async fn turn(
        &mut self,
        stream: &mut Stream,
        reading: &mut Reading,
        Batch { entries: incoming, is_all: read_all }: Batch,
        plan: &mut Plan,
    ) -> Result<(), Ended> {
        plan.give_up = reading.gives_up(read_all, Instant::now());
        let up_to = if read_all { Some(self.now_ms()) } else { incoming.last().map(|last| last.id.0) };
        if !incoming.is_empty() || reading.committed.elapsed() >= IDLE {
            let (judged, unknown) = self.judge(incoming);
            self.count(&judged);
            if !judged.is_empty() || unknown.is_none() {
                self.commit_all(stream, reading, judged, plan).await?;
            }
            if let Some(unknown) = unknown {
                return Err(unknown.into());
            }
            self.means.metrics.set_taken_in(self.shard, up_to.unwrap_or_default());
        }
        if read_all && reading.ticked.elapsed() >= TICK && reading.committed.elapsed() < 2 * TICK {
            reading.ticked = Instant::now();
            stream.tick(reading.fence.cast_unsigned(), reading.tick + 1).await?;
        }
        if reading.signed.elapsed() >= checkpoints::EVERY {
            reading.signed = Instant::now();
            let (means, caches) = (&self.means, &mut self.caches);
            self.signer.sign((means, caches), (self.shard, reading.fence), stream).await?;
        }
        if reading.marked.elapsed() >= marks::LOOK {
            reading.marked = Instant::now();
            if !marks::note(&self.means, (self.shard, reading.fence)).await? {
                return Err(Ended::Fenced);
            }
        }
        if reading.trimmed.elapsed() >= TRIM {
            reading.trimmed = Instant::now();
            stream.trim(reading.cursor).await?;
        }
        Ok(())
    }

    /// Judges what was read, up to the first frame that a later release wrote.
    fn judge(&self, incoming: Vec<Incoming>) -> (Vec<Judged>, Option<UnknownVersion>) {
        let mut judged = Vec::with_capacity(incoming.len());
        for entry in incoming {
            match arrival::judge(&self.means, self.shard, entry) {
                Ok(entry) => judged.push(entry),
                Err(unknown) => return (judged, Some(unknown)),
            }
        }
        (judged, None)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.means.needs.clock.now().timestamp_millis()).unwrap_or_default()
    }

    fn count(&self, judged: &[Judged]) {
        let is_frame = |judged: &&Judged| matches!(judged.verdict, Verdict::Frame { .. } | Verdict::Unvouched { .. });
        self.means.metrics.frames.add(judged.iter().filter(is_frame).count());
    }

    /// Commits a batch, in halves where it does not enter the database whole, and what is left alone not at all.
    async fn commit_all(
        &mut self,
        stream: &mut Stream,
        reading: &mut Reading,
        judged: Vec<Judged>,
        plan: &mut Plan,
    ) -> Result<(), Ended> {
        let mut tries = Tries { parts: vec![judged], held_max: ENTRIES_MAX, is_late: false };
        let mut taken = 0;
        while let Some(part) = tries.parts.pop() {
            plan.inbox = if self.inbox_is_stuck { 0 } else { INBOX_MAX };
            plan.part = Part(self.entries_max.min(tries.held_max));
            let done = commit(&self.means, &mut self.caches, (self.shard, reading.fence), &part, plan).await;
            let done = match done {
                Ok(done) => done.ok_or(Ended::Fenced)?,
                Err(error) => {
                    self.divide(part, &mut tries, plan, error)?;
                    continue;
                }
            };
            tries.held_max = (tries.held_max * 2).clamp(1, ENTRIES_MAX);
            reading.is_set_back &= done.is_set_back;
            reading.note_waiting(&done.waiting, Instant::now());
            let has_more = done.has_more;
            if done.is_drained {
                self.acknowledge(stream, reading, &[], done).await?;
                plan.goes_on |= has_more;
                tries.parts.push(part);
                continue;
            }
            taken += part.len().saturating_sub(done.duplicates);
            self.acknowledge(stream, reading, &part, done).await?;
            *plan = Plan { incarnation: Some(reading.name.clone()), goes_on: has_more, ..Plan::default() };
            if has_more && tries.parts.is_empty() {
                tries.parts.push(Vec::new());
            }
        }
        // What had taken effect before says nothing of how long as many new frames would take.
        if !tries.is_late && taken >= self.entries_max {
            self.entries_max = (self.entries_max * 2).min(ENTRIES_MAX);
        }
        if self.inbox_is_stuck { self.unstick_inbox(reading.fence).await } else { Ok(()) }
    }

    /// What to try next with a part that was refused: half of it; one frame with nothing of what is held; without the inbox;
    /// with the frame put aside.
    fn divide(
        &mut self,
        mut part: Vec<Judged>,
        tries: &mut Tries,
        plan: &mut Plan,
        error: CommitError,
    ) -> Result<(), Ended> {
        if !error.is_of_the_batch() {
            return Err(error.into());
        }
        let late = error.is_late();
        let frame = part.first().and_then(|judged| match &judged.verdict {
            Verdict::Frame { arrived, .. } => Some((arrived.source, arrived.s)),
            _ => None,
        });
        match (&error, frame) {
            (CommitError::Held { .. }, _) if plan.part.0 > 1 => tries.held_max = plan.part.0 / 2,
            (CommitError::Held { of, first, .. }, _) => self.put_aside((*of, *first), plan, error)?,
            _ if part.len() > 1 => {
                tries.is_late |= late;
                if late {
                    self.entries_max = (part.len() / 2).max(COUNT);
                }
                tries.parts.push(part.split_off(part.len() / 2));
            }
            _ if tries.held_max > 0 => tries.held_max = 0,
            _ if !self.inbox_is_stuck && !late => self.inbox_is_stuck = true,
            (_, Some(key)) => self.put_aside(key, plan, error)?,
            (_, None) => return Err(error.into()),
        }
        tries.parts.push(part);
        Ok(())
    }

    /// Has a frame treated as unreadable: it alone is refused, and not for the time it takes.
    fn put_aside(&self, key: (Source, u64), plan: &mut Plan, error: CommitError) -> Result<(), Ended> {
        if error.is_late() || !plan.poisoned.insert(key) {
            return Err(error.into());
        }
        error!(shard = self.shard, error = causes(&error), "put an audit frame aside that can't be stored");
        Ok(())
    }

    /// Takes records of the inbox one by one, and puts the one aside that is refused.
    async fn unstick_inbox(&mut self, fence: i64) -> Result<(), Ended> {
        loop {
            let mut plan = Plan { inbox: 1, ..Plan::default() };
            let mut done = commit(&self.means, &mut self.caches, (self.shard, fence), &[], &plan).await;
            if let Err(error) = &done {
                error!(
                    shard = self.shard,
                    error = causes(error),
                    "put a record of the inbox aside that can't be stored"
                );
                plan.inbox_is_poison = true;
                done = commit(&self.means, &mut self.caches, (self.shard, fence), &[], &plan).await;
            }
            if done?.ok_or(Ended::Fenced)?.drained == 0 {
                self.inbox_is_stuck = false;
                return Ok(());
            }
        }
    }

    /// O4.
    async fn acknowledge(
        &self,
        stream: &mut Stream,
        reading: &mut Reading,
        part: &[Judged],
        done: Committed,
    ) -> Result<(), Ended> {
        self.means.metrics.duplicates.add(done.duplicates);
        reading.committed = Instant::now();
        reading.tick = done.tick;
        reading.cursor = part.last().map_or(reading.cursor, |last| last.id);
        let name = stream.acknowledge(&done.own, &done.acks, &done.grown).await?;
        if name.as_deref() == Some(reading.name.as_str()) { Ok(()) } else { Err(Ended::StreamLost) }
    }

    /// Keeps the lease, and takes changes of configuration in, while Redis is away.
    async fn go_on_without_redis(&mut self) {
        let Some(fence) = self.fence else { return };
        let plan = Plan { inbox: if self.inbox_is_stuck { 0 } else { INBOX_MAX }, ..Plan::default() };
        match commit(&self.means, &mut self.caches, (self.shard, fence), &[], &plan).await {
            Ok(Some(_)) => {}
            Ok(None) => self.lose(),
            Err(error) if error.is_of_the_batch() => self.inbox_is_stuck = true,
            Err(error) => {
                warn!(shard = self.shard, error = causes(&error), "neither Redis nor Postgres answers");
            }
        }
    }

    /// Lets another owner begin at once.
    async fn release(&self) {
        let Some(fence) = self.fence else { return };
        let released = async {
            let mut tx = IngestTx::begin(&self.means.needs.pool, self.shard).await?;
            shard::release(&mut tx, self.shard, fence).await?;
            tx.commit().await
        };
        if let Err(error) = released.await {
            warn!(
                shard = self.shard,
                error = causes(&error),
                "the lease of audit shard {} runs out by itself",
                self.shard
            );
        }
    }
}
