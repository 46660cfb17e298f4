//! The owner's one transaction (O3): the fence, the frames' effects, the inbox, lapses, places in the logs, the cursor.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use audit::ack::{Ack, StreamId};
use audit::entry::Body;
use audit::frame::UnknownVersion;
use audit::protocol::{self, Arrived, Content, DEPLOYMENT, LAPSE_TICKS, Log, What};
use audit::{Columns, Source, notes};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use domain::{RecordId, TenantId};
use store::audit::inbox::InboxRecord;
use store::audit::quarantine::{self, Quarantined};
use store::audit::shard::Shard;
use store::audit::{head, held, inbox, shard, source};
use store::{Error, IngestTx};

use super::Means;
use super::arrival::{Judged, Verdict};
use super::draining::{self, Drain, GiveUp, Part};
use super::loaded::{Asked, Loaded, Poisoned, Wires};
use super::placing::{self, Caches, PlaceError};

/// For how long an owner may leave its shard alone before others may try.
pub(super) const LEASE: Duration = Duration::from_secs(5);
/// How long the transaction may take.
const DEADLINE: Duration = Duration::from_secs(3);
/// Sources that are watched for how long frames of them are held; of others it is looked at when these are done.
const WAITING_MAX: usize = 64;
/// The epoch of acks while the database was never set back.
const FIRST_EPOCH: i64 = 1;
/// Most records of the inbox in one transaction.
pub(super) const INBOX_MAX: i64 = 500;

/// What a transaction is to do besides the frames.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    /// How many records of the inbox to take.
    pub inbox: i64,
    /// Put those records aside instead: they do not enter the log.
    pub inbox_is_poison: bool,
    /// Acks of this epoch were given by a Postgres that is gone: go above.
    pub above_epoch: Option<u64>,
    /// The stream's name.
    pub incarnation: Option<String>,
    /// Frames that do not enter the database.
    pub poisoned: Poisoned,
    /// Give up frames that nobody has any more since the database was set back.
    pub give_up: GiveUp,
    /// Held frames may follow what took effect.
    pub goes_on: bool,
    /// How many held frames to take in at once.
    pub part: Part,
}

/// What a transaction came to.
#[derive(Debug, Clone)]
pub(super) struct Committed {
    /// How far the owner itself is.
    pub own: Ack,
    /// How far each source of the batch is.
    pub acks: Vec<(Source, Ack)>,
    /// Whose logs have grown.
    pub grown: Vec<TenantId>,
    /// The shard's clock.
    pub tick: u64,
    /// How many records of the inbox were taken.
    pub drained: usize,
    /// How many frames had taken effect before.
    pub duplicates: usize,
    /// What is missing since the database was set back is not all given up.
    pub is_set_back: bool,
    /// Sources of which frames are held though the database was set back once: what they wait for may be gone everywhere.
    pub waiting: Vec<(Source, u64)>,
    /// Held frames were taken in, and nothing else was done: the batch is still to be committed.
    pub is_drained: bool,
    /// More frames are held, which may follow what took effect.
    pub has_more: bool,
}

/// Why a transaction was not committed, or perhaps was.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommitError {
    /// It took too long.
    #[error("the transaction took longer than {DEADLINE:?}")]
    Late,
    /// The records could not be placed.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// A frame that waited was kept by a later release.
    #[error(transparent)]
    Version(#[from] UnknownVersion),
    /// What was held of a source, from this frame on, could not be taken in; nothing of the batch was tried.
    #[error("what is held of node {} from frame {first} on could not be taken in", of.node)]
    Held {
        /// Whose.
        of: Source,
        /// Which.
        first: u64,
        /// Why.
        #[source]
        error: Box<CommitError>,
    },
    /// The database failed.
    #[error(transparent)]
    Database(#[from] Error),
}

impl CommitError {
    /// Whether it took too long, whatever it was about.
    #[must_use]
    pub(super) fn is_late(&self) -> bool {
        match self {
            Self::Late => true,
            Self::Place(PlaceError::Database(error)) | Self::Database(error) => error.is_out_of_time(),
            Self::Held { error, .. } => error.is_late(),
            Self::Place(_) | Self::Version(_) => false,
        }
    }

    /// Whether only a later release can go on.
    #[must_use]
    pub(super) fn wants_a_later_release(&self) -> bool {
        match self {
            Self::Version(_) => true,
            Self::Held { error, .. } => error.wants_a_later_release(),
            _ => false,
        }
    }

    /// Whether fewer frames at once may help: one of them is refused, or there were too many.
    #[must_use]
    pub(super) fn is_of_the_batch(&self) -> bool {
        let database = |error: &Error| error.is_refused_value() || error.is_out_of_time();
        match self {
            Self::Late | Self::Place(PlaceError::Render(_) | PlaceError::Unreadable(_)) => true,
            Self::Place(PlaceError::Database(error)) | Self::Database(error) => database(error),
            Self::Held { error, .. } => error.is_of_the_batch(),
            Self::Place(_) | Self::Version(_) => false,
        }
    }
}

/// Commits a batch. `None` when another has become the shard's owner.
///
/// # Errors
/// [`CommitError`]; whether the batch took effect is then unknown, and it is to be read again.
pub(super) async fn commit(
    means: &Means,
    caches: &mut Caches,
    (shard, fence): (u16, i64),
    batch: &[Judged],
    plan: &Plan,
) -> Result<Option<Committed>, CommitError> {
    let done = tokio::time::timeout(DEADLINE, transact(means, caches, (shard, fence), batch, plan)).await;
    let done = done.unwrap_or(Err(CommitError::Late));
    if done.is_ok() {
        means.metrics.commits.add(1);
    } else {
        caches.clear();
        means.metrics.failures.add(1);
    }
    done
}

async fn transact(
    means: &Means,
    caches: &mut Caches,
    (shard, fence): (u16, i64),
    batch: &[Judged],
    plan: &Plan,
) -> Result<Option<Committed>, CommitError> {
    let mut tx = IngestTx::begin(&means.needs.pool, shard).await?;
    let Some(mut row) = shard::lock(&mut tx, shard, fence).await? else { return Ok(None) };
    let frames = frames(batch, &plan.poisoned);
    let arrived: Vec<Arrived> = frames.iter().map(|frame| frame.arrived.clone()).collect();
    let lapsing = lapsing(&mut tx, shard, &row, batch).await?;
    let wanted = (&plan.give_up, plan.goes_on, plan.part);
    if let Some(drain) = draining::before(&mut tx, shard, (&arrived, &lapsing), wanted).await? {
        let Drain { source, first, .. } = drain;
        let taken_in = drained(tx, means, caches, (shard, row), (drain, plan)).await;
        return taken_in.map(Some).map_err(|error| CommitError::Held { of: source, first, error: Box::new(error) });
    }
    let asked = Asked { batch: &arrived, poisoned: &plan.poisoned, lapsing: &lapsing, drained: None, part: plan.part };
    let (mut loaded, needs) = Loaded::load(&mut tx, means, &asked).await?;
    let records = inbox::drain(&mut tx, shard, means.needs.shards, plan.inbox).await?;
    let tenants = needs.tenants.into_iter().chain(records.iter().map(|record| record.0)).collect();
    let heads = heads(&mut tx, &mut loaded, tenants).await?;

    let mut aside = Aside { means, shard, now: row.now };
    aside.unvouched(&mut tx, batch, &mut loaded.world.log).await?;
    let duplicates = apply(&mut tx, &mut aside, &mut loaded, (batch, frames), &mut row).await?;
    loaded.world.note_filled();
    for source in loaded.world.due().into_iter().filter(|source| lapsing.contains(source)) {
        loaded.world.lapse(source);
    }
    row.set_back &= plan.give_up != GiveUp::All;
    let drained = records.len();
    aside.inbox(&mut tx, records, plan.inbox_is_poison, &mut loaded.world.log).await?;

    let wires = batch.iter().filter_map(|judged| match &judged.verdict {
        Verdict::Frame { arrived, wire } => Some(((arrived.source, arrived.s), wire.clone())),
        _ => None,
    });
    let (wires, sources) = (wires.collect(), arrived.iter().map(|arrived| arrived.source).collect());
    move_on(&mut row, batch, plan);
    let done = write(tx, means, caches, (shard, &row), (loaded, heads, &wires, sources)).await?;
    Ok(Some(Committed { drained, duplicates, ..done }))
}

/// Takes in a part of what is held of a source, and nothing else.
async fn drained(
    mut tx: IngestTx,
    means: &Means,
    caches: &mut Caches,
    (shard, mut row): (u16, Shard),
    (Drain { source, reason, .. }, plan): (Drain, &Plan),
) -> Result<Committed, CommitError> {
    let (poisoned, drained, part) = (&plan.poisoned, Some(source), Part(plan.part.0.max(1)));
    let asked = Asked { batch: &[], poisoned, lapsing: &[], drained, part };
    let (mut loaded, needs) = Loaded::load(&mut tx, means, &asked).await?;
    let heads = heads(&mut tx, &mut loaded, needs.tenants).await?;
    loaded.world.tick = row.tick.cast_unsigned();
    match reason {
        Some(reason) => loaded.world.give_up(source, reason),
        None => loaded.world.go_on(source),
    }
    move_on(&mut row, &[], plan);
    let (wires, sources) = (BTreeMap::new(), [source].into());
    let done = write(tx, means, caches, (shard, &row), (loaded, heads, &wires, sources)).await?;
    Ok(Committed { is_drained: true, ..done })
}

/// Locks the logs of tenants, and notes where they end.
async fn heads(
    tx: &mut IngestTx,
    loaded: &mut Loaded,
    tenants: BTreeSet<TenantId>,
) -> Result<Vec<head::Head>, CommitError> {
    let heads = head::lock(tx, &tenants.into_iter().collect::<Vec<_>>()).await?;
    loaded.world.log.next = heads.iter().map(|head| (head.tenant, head.size)).collect();
    Ok(heads)
}

/// Writes down what has changed (O3.4) and commits.
async fn write(
    mut tx: IngestTx,
    means: &Means,
    caches: &mut Caches,
    (shard, row): (u16, &Shard),
    (mut loaded, heads, wires, sources): (Loaded, Vec<head::Head>, &Wires, BTreeSet<Source>),
) -> Result<Committed, CommitError> {
    Aside { means, shard, now: row.now }.held_poison(&mut tx, &loaded).await?;
    loaded.store(&mut tx, means, wires).await?;
    let appends = std::mem::take(&mut loaded.world.log.appends);
    placing::place(&mut tx, means, caches, (&appends, heads), row.now).await?;
    let waiting = if row.epoch > FIRST_EPOCH { held::sources(&mut tx, shard, WAITING_MAX).await? } else { Vec::new() };
    shard::save(&mut tx, shard, row, LEASE).await?;
    tx.commit().await?;

    placing::tally(means, &appends);
    let grown: BTreeSet<TenantId> = appends.iter().map(|append| append.tenant).collect();
    Ok(Committed { grown: grown.into_iter().collect(), waiting, ..committed(row, &loaded, &sources) })
}

/// A frame of the batch.
struct BatchFrame {
    id: StreamId,
    arrived: Arrived,
    wire: Bytes,
}

fn frames(batch: &[Judged], poisoned: &Poisoned) -> Vec<BatchFrame> {
    let frame = |judged: &Judged| match &judged.verdict {
        Verdict::Frame { arrived, wire } => {
            let mut arrived = arrived.clone();
            if poisoned.contains(&(arrived.source, arrived.s)) {
                arrived.content = Content::Poison;
            }
            Some(BatchFrame { id: judged.id, arrived, wire: wire.clone() })
        }
        _ => None,
    };
    batch.iter().filter_map(frame).collect()
}

/// The sources that will have been silent for long enough at the end of this batch.
async fn lapsing(tx: &mut IngestTx, shard: u16, row: &Shard, batch: &[Judged]) -> Result<Vec<Source>, Error> {
    let ticks = ticks(batch, row);
    let Some(silent_since) = ticks.checked_sub(LAPSE_TICKS) else { return Ok(Vec::new()) };
    source::silent(tx, shard, silent_since).await
}

/// The shard's clock after this batch: only the present owner's ticks count, and only the next number.
fn ticks(batch: &[Judged], row: &Shard) -> u64 {
    batch.iter().fold(row.tick.cast_unsigned(), |tick, judged| next_tick(tick, row, &judged.verdict))
}

fn next_tick(now: u64, row: &Shard, verdict: &Verdict) -> u64 {
    match verdict {
        Verdict::Tick { fence, tick } if *fence == row.fence.cast_unsigned() && *tick == now + 1 => *tick,
        _ => now,
    }
}

/// Applies the batch in the stream's order; gives how many frames had taken effect before.
async fn apply(
    tx: &mut IngestTx,
    aside: &mut Aside<'_>,
    loaded: &mut Loaded,
    (batch, frames): (&[Judged], Vec<BatchFrame>),
    row: &mut Shard,
) -> Result<usize, Error> {
    let (mut duplicates, mut frames) = (0, frames.into_iter());
    let known: BTreeSet<Source> = loaded.world.sources.keys().copied().collect();
    loaded.world.tick = row.tick.cast_unsigned();
    for judged in batch {
        loaded.world.tick = next_tick(loaded.world.tick, row, &judged.verdict);
        if !matches!(judged.verdict, Verdict::Frame { .. }) {
            continue;
        }
        let Some(BatchFrame { id, arrived, wire }) = frames.next() else { break };
        let key = (arrived.source, arrived.s);
        if !known.contains(&arrived.source) && aside.is_too_old(arrived.source) {
            aside.frame(tx, Some(id), key, (&wire, "too_old")).await?;
            continue;
        }
        let is_poison = arrived.content == Content::Poison;
        match loaded.world.apply(arrived) {
            protocol::Verdict::Duplicate => duplicates += 1,
            _ if is_poison => aside.frame(tx, Some(id), key, (&wire, "not_storable")).await?,
            protocol::Verdict::Applied | protocol::Verdict::Held => {}
        }
    }
    row.tick = loaded.world.tick.cast_signed();
    Ok(duplicates)
}

fn move_on(row: &mut Shard, batch: &[Judged], plan: &Plan) {
    row.version += 1;
    if let Some(last) = batch.last() {
        row.cursor = last.id.to_string();
    }
    if let Some(gone) = plan.above_epoch.filter(|gone| row.epoch.cast_unsigned() <= *gone) {
        row.epoch = gone.cast_signed() + 1;
    }
    row.set_back |= plan.above_epoch.is_some();
    if let Some(incarnation) = &plan.incarnation {
        row.incarnation.clone_from(incarnation);
    }
}

fn committed(row: &Shard, loaded: &Loaded, sources: &BTreeSet<Source>) -> Committed {
    let ack = |wm, missing| Ack {
        epoch: row.epoch.cast_unsigned(),
        version: row.version.cast_unsigned(),
        cursor: row.cursor.parse().unwrap_or_default(),
        wm,
        missing,
    };
    let states: BTreeMap<_, _> = loaded.world.sources.iter().collect();
    let acks = sources.iter().filter_map(|source| {
        let state = states.get(source)?;
        Some((*source, ack(state.wm, state.missing.clone())))
    });
    Committed {
        own: ack(0, audit::Ranges::default()),
        acks: acks.collect(),
        grown: Vec::new(),
        tick: row.tick.cast_unsigned(),
        drained: 0,
        duplicates: 0,
        is_set_back: row.set_back,
        waiting: Vec::new(),
        is_drained: false,
        has_more: loaded.has_more,
    }
}

/// Puts aside what does not enter the log.
struct Aside<'a> {
    means: &'a Means,
    shard: u16,
    now: DateTime<Utc>,
}

impl Aside<'_> {
    /// Whether a source nobody knows began so long ago that it may have been forgotten.
    fn is_too_old(&self, source: Source) -> bool {
        let Some(began) = source.boot.uuid().get_timestamp() else { return true };
        let horizon = self.now.timestamp() - i64::try_from(self.means.needs.horizon.as_secs()).unwrap_or(i64::MAX);
        i64::try_from(began.to_unix().0).unwrap_or(i64::MAX) < horizon
    }

    async fn frame(
        &self,
        tx: &mut IngestTx,
        id: Option<StreamId>,
        key: (Source, u64),
        (bytes, reason): (&[u8], &str),
    ) -> Result<(), Error> {
        let id = id.map(|id| id.to_string());
        let put = Quarantined { shard: self.shard, frame_of: Some(key), stream_id: id.as_deref(), bytes, reason };
        if quarantine::add(tx, &put).await? {
            self.means.metrics.quarantined.add(1);
        }
        Ok(())
    }

    /// Nobody vouches for the address of a frame that does not open: the deployment's own log says that there was one.
    async fn unvouched(&self, tx: &mut IngestTx, batch: &[Judged], log: &mut Log) -> Result<(), Error> {
        for judged in batch {
            let Verdict::Unvouched { address, wire, reason } = &judged.verdict else { continue };
            let id = judged.id.to_string();
            let (shard, bytes) = (self.shard, wire.as_ref());
            let address = address.filter(|(_, s)| i64::try_from(*s).is_ok());
            let put = Quarantined { shard, frame_of: address, stream_id: Some(&id), bytes, reason };
            if !quarantine::add(tx, &put).await? {
                continue;
            }
            self.means.metrics.quarantined.add(1);
            if let Some((source, s)) = address {
                let record = notes::unopened(&source, s, RecordId::new(&self.means.needs.clock), self.now);
                log.push(DEPLOYMENT, What::Note(Body { record, private: None }));
            }
        }
        Ok(())
    }

    async fn held_poison(&self, tx: &mut IngestTx, loaded: &Loaded) -> Result<(), Error> {
        for (source, s, wire) in &loaded.poisoned {
            self.frame(tx, None, (*source, *s), (wire, "not_storable")).await?;
        }
        Ok(())
    }

    async fn inbox(
        &self,
        tx: &mut IngestTx,
        records: Vec<(TenantId, InboxRecord)>,
        is_poison: bool,
        log: &mut Log,
    ) -> Result<(), Error> {
        for (tenant, record) in records {
            let is_sound = Columns::of(&record.body).is_ok_and(|columns| columns.tenant == Some(tenant));
            if is_sound && !is_poison {
                let body = Body { record: record.body.into(), private: None };
                log.push(tenant, What::Note(body));
                continue;
            }
            let (shard, bytes) = (self.shard, record.body.as_slice());
            let put = Quarantined { shard, frame_of: None, stream_id: None, bytes, reason: "inbox" };
            quarantine::add(tx, &put).await?;
            self.means.metrics.quarantined.add(1);
        }
        Ok(())
    }
}
