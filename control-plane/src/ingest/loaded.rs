//! What a batch needs of the tables, loaded into the [`World`] that the protocol's pure functions change, and what is
//! written back of it.

use std::collections::{BTreeMap, BTreeSet};

use audit::Source;
use audit::entry::{Body, Private};
use audit::protocol::{self, Arrived, Change, Content, Needs, Open, SourceState, World};
use bytes::Bytes;
use domain::{CallId, TenantId};
use store::audit::held::{Held, Waiting};
use store::audit::open::{OpenRow, OpenState};
use store::audit::source::SourceRow;
use store::audit::{held, open, source};
use store::{Error, IngestTx};

use super::commit::CommitError;
use super::draining::Part;
use super::stream::BYTES_MAX;
use super::{Means, arrival, personal};

/// A world, and how it stood in the tables.
pub(super) struct Loaded {
    pub(crate) world: World,
    /// Frames that waited and are unreadable now.
    pub(crate) poisoned: Vec<(Source, u64, Bytes)>,
    /// Whether more frames are held than were loaded.
    pub(crate) has_more: bool,
    held: BTreeSet<(Source, u64)>,
    before: BTreeMap<Source, SourceState>,
}

/// Frames to be treated as unreadable, because what is in them does not enter the database.
pub(super) type Poisoned = BTreeSet<(Source, u64)>;

/// What a world is loaded for.
pub(super) struct Asked<'a> {
    /// The frames that will be applied …
    pub(crate) batch: &'a [Arrived],
    /// … and those of them, and of the held ones, that are to be treated as unreadable.
    pub(crate) poisoned: &'a Poisoned,
    /// Sources that may lapse.
    pub(crate) lapsing: &'a [Source],
    /// A source whose held frames are to be taken in.
    pub(crate) drained: Option<Source>,
    /// How many held frames of a source are taken in at once; of one that ends, all.
    pub(crate) part: Part,
}

/// The wire forms of frames.
pub(super) type Wires = BTreeMap<(Source, u64), Bytes>;

impl Loaded {
    /// Locks the sources of a batch and loads all that applying it may touch, but for the logs (O3.2).
    pub(super) async fn load(
        tx: &mut IngestTx,
        means: &Means,
        asked: &Asked<'_>,
    ) -> Result<(Self, Needs), CommitError> {
        let named = asked.lapsing.iter().chain(&asked.drained).copied();
        let sources: Vec<Source> = protocol::sources_of(asked.batch).into_iter().chain(named).collect();
        let mut world = World::default();
        for row in source::lock(tx, &sources).await? {
            world.sources.insert(row.source, state(&row));
        }
        let (held, before) = (BTreeSet::new(), BTreeMap::new());
        let mut loaded = Self { world, poisoned: Vec::new(), has_more: false, held, before };
        let needs = loaded.load_held(tx, means, asked).await?;
        loaded.load_numbers(tx, asked.batch, &needs).await?;
        loaded.before = loaded.world.sources.clone();
        let needs = Needs { tenants: loaded.world.needs(asked.batch, asked.lapsing).tenants, ..needs };
        loaded.load_opens(tx, means, &needs).await?;
        Ok((loaded, needs))
    }

    /// Loads the frames that wait, of the sources where this batch may let them through. One of them may end a further
    /// source, so it is looked again until nothing is added.
    async fn load_held(&mut self, tx: &mut IngestTx, means: &Means, asked: &Asked<'_>) -> Result<Needs, CommitError> {
        let known: Vec<Source> = self.world.sources.keys().copied().collect();
        let waiting: BTreeMap<Source, Waiting> = held::waiting(tx, &known).await?.into_iter().collect();
        let mut done = BTreeSet::new();
        loop {
            let needs = self.world.needs(asked.batch, asked.lapsing);
            let wm = |source: &Source| self.world.sources.get(source).map_or(0, |state| state.wm);
            let of_interest = |(source, waiting): &(&Source, &Waiting)| {
                let ends = needs.open_of.contains(*source);
                let is_let =
                    asked.drained == Some(**source) || lets_through((**source, wm(source)), **waiting, asked.batch);
                (ends || is_let).then_some((**source, ends, waiting.count))
            };
            let wanted: Vec<_> = waiting.iter().filter_map(|one| of_interest(&one)).collect();
            let wanted: Vec<_> = wanted.into_iter().filter(|(source, ..)| done.insert(*source)).collect();
            if wanted.is_empty() {
                return Ok(needs);
            }
            for (source, ends, count) in wanted {
                let Part(frames) = if ends { Part(usize::MAX) } else { asked.part };
                let bytes = if ends { usize::MAX } else { BYTES_MAX };
                let first = held::first(tx, source, frames, bytes).await?;
                self.has_more |= (first.len() as u64) < count;
                for Held { s, frame, .. } in first {
                    self.take_held(means, (source, s), (Bytes::from(frame), asked.poisoned))?;
                }
            }
        }
    }

    fn take_held(
        &mut self,
        means: &Means,
        (source, s): (Source, u64),
        (wire, poisoned): (Bytes, &Poisoned),
    ) -> Result<(), CommitError> {
        self.held.insert((source, s));
        let state = self.world.sources.entry(source).or_default();
        // What took effect since, while others before it were taken in, waits for nothing.
        if s <= state.wm {
            return Ok(());
        }
        let content = if poisoned.contains(&(source, s)) {
            self.poisoned.push((source, s, wire));
            Content::Poison
        } else {
            arrival::reopen(means, &wire)?
        };
        state.held.insert(s, content);
        Ok(())
    }

    /// Loads the last numbers of the sources a note may be about: their tenants' logs get the note.
    async fn load_numbers(&mut self, tx: &mut IngestTx, batch: &[Arrived], needs: &Needs) -> Result<(), Error> {
        let poison = |source: &Source| {
            batch.iter().any(|arrived| arrived.source == *source && arrived.content == Content::Poison)
        };
        let noted = self.world.sources.iter().filter(|(source, state)| {
            needs.open_of.contains(*source) || !state.missing.is_empty() || !state.held.is_empty() || poison(source)
        });
        let noted: Vec<Source> = noted.map(|(source, _)| *source).collect();
        if noted.is_empty() {
            return Ok(());
        }
        for (tenant, source, n) in source::last_numbers(tx, &noted).await? {
            if let Some(state) = self.world.sources.get_mut(&source) {
                state.last_n.insert(tenant, n);
            }
        }
        Ok(())
    }

    async fn load_opens(&mut self, tx: &mut IngestTx, means: &Means, needs: &Needs) -> Result<(), Error> {
        let calls: Vec<(TenantId, CallId)> = needs.calls.iter().copied().collect();
        let mut rows = if calls.is_empty() { Vec::new() } else { open::of_calls(tx, &calls).await? };
        if !needs.open_of.is_empty() {
            let sources: Vec<Source> = needs.open_of.iter().copied().collect();
            rows.extend(open::of_sources(tx, &sources).await?);
        }
        for row in rows {
            let (tenant, call) = (row.tenant, row.call);
            self.world.opens.load(tenant, call, opened(means, row));
        }
        Ok(())
    }

    /// Writes back sources, held frames and open calls. `wires` are the wire forms of the batch's frames.
    pub(super) async fn store(&self, tx: &mut IngestTx, means: &Means, wires: &Wires) -> Result<(), Error> {
        let (mut rows, mut numbers, mut waiting) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (source, state) in &self.world.sources {
            let before = self.before.get(source);
            waiting.extend(state.held.keys().map(|s| (*source, *s)));
            rows.push(row(*source, state));
            let raised = |tenant: &TenantId, n: u64| before.and_then(|old| old.last_n.get(tenant)) != Some(&n);
            let of_source = state.last_n.iter().filter(|(tenant, n)| raised(tenant, **n));
            numbers.extend(of_source.map(|(tenant, n)| (*tenant, *source, *n)));
        }
        source::save(tx, &rows).await?;
        source::raise_numbers(tx, &numbers).await?;
        let wire = |key: &(Source, u64)| wires.get(key).map(|wire| wire.to_vec());
        let new = waiting.difference(&self.held);
        let new: Vec<Held> = new.filter_map(|key| Some(Held { source: key.0, s: key.1, frame: wire(key)? })).collect();
        held::add(tx, &new).await?;
        let gone: Vec<(Source, u64)> = self.held.difference(&waiting).copied().collect();
        held::delete(tx, &gone).await?;
        self.store_opens(tx, means).await
    }

    async fn store_opens(&self, tx: &mut IngestTx, means: &Means) -> Result<(), Error> {
        let (mut put, mut gone) = (Vec::new(), Vec::new());
        for ((tenant, call), change) in self.world.opens.changes() {
            match change {
                Change::Put(open) => put.push(OpenRow { tenant, call, state: closed(means, (tenant, call), open) }),
                Change::Delete => gone.push((tenant, call)),
            }
        }
        open::put(tx, &put).await?;
        open::delete(tx, &gone).await
    }
}

/// Whether a batch brings all that is missing before the first frame of a source that waits.
///
/// After a lost stream the frames that wait can be a thousand, and those before them come in dozens of batches: loading
/// what waits for each of them would cost the square of it.
pub(super) fn lets_through((source, wm): (Source, u64), waiting: Waiting, batch: &[Arrived]) -> bool {
    let next = wm + 1;
    let arriving: BTreeSet<u64> =
        batch.iter().filter(|arrived| arrived.source == source).map(|arrived| arrived.s).collect();
    let missing = waiting.first.saturating_sub(next);
    arriving.range(next..waiting.first.max(next)).count() as u64 == missing
}

fn state(row: &SourceRow) -> SourceState {
    SourceState {
        wm: row.wm,
        missing: row.missing.clone(),
        last_tick: row.last_tick,
        life: row.life,
        ..SourceState::default()
    }
}

fn row(source: Source, state: &SourceState) -> SourceRow {
    let (missing, last_tick, life) = (state.missing.clone(), state.last_tick, state.life);
    SourceRow { source, wm: state.wm, missing, last_tick, life }
}

/// From the table's form.
fn opened(means: &Means, row: OpenRow) -> Open {
    match row.state {
        OpenState::Open { source, n, intent, pii } => {
            let private = pii.and_then(|pii| personal::unseal_open(&means.frames, row.tenant, row.call, &pii));
            Open::Open { source, n, intent: Body { record: intent.into(), private } }
        }
        OpenState::Closed { final_seq } => Open::Closed { final_seq },
        OpenState::Done => Open::Done,
    }
}

/// To the table's form.
fn closed(means: &Means, (tenant, call): (TenantId, CallId), open: &Open) -> OpenState {
    match open {
        Open::Open { source, n, intent } => {
            let seal = |private: &Private| personal::seal_open(&means.frames, tenant, call, private);
            let pii = intent.private.as_ref().map(seal);
            OpenState::Open { source: *source, n: *n, intent: intent.record.to_vec(), pii }
        }
        Open::Closed { final_seq } => OpenState::Closed { final_seq: *final_seq },
        Open::Done => OpenState::Done,
    }
}
