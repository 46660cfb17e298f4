//! What becomes of a frame: the owner's side of the audit protocol as pure functions over a [`World`].
//!
//! The owner of a shard loads what [`Needs`] names inside its transaction, calls [`World::apply`] for each frame and
//! [`World::lapse`] for each source that is due, then writes down what changed. The model checker runs the same code.

mod log;
mod opens;

use std::collections::{BTreeMap, BTreeSet};

use domain::{CallId, Id, TenantId};
use uuid::Uuid;

use crate::entry::{Body, Entry};
use crate::frame::{Frame, Source};
use crate::notes::SPANS_MAX;
use crate::ranges::Ranges;

pub use log::{Append, GapReason, Log, What};
pub use opens::{Change, Opens};

/// The log of the deployment itself: notes about sources that concern no tenant, or not only tenants.
pub const DEPLOYMENT: TenantId = Id::from_uuid(Uuid::nil());
/// A source silent for so many ticks (seconds in which its owner worked) has lapsed.
pub const LAPSE_TICKS: u64 = 30;
/// With more frames of one source held back, its holes are given up.
pub const HELD_MAX: usize = 10_000;

/// What a frame turned out to hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Content {
    /// Its entries.
    Entries(Frame),
    /// Its seal opened, but what is inside can't be read or does not enter the database. It is in quarantine, whole.
    ///
    /// Not for a frame whose seal does not open: nobody vouches for its address, so it must not count as applied. That
    /// one is put into quarantine, named by a note in the log of the [`DEPLOYMENT`], and changes nothing else.
    Poison,
}

impl Content {
    /// Whose entries it has.
    fn tenants(&self) -> impl Iterator<Item = TenantId> {
        let entries = match self {
            Self::Entries(frame) => frame.entries.as_slice(),
            Self::Poison => &[],
        };
        entries.iter().filter_map(Entry::tenant)
    }
}

/// Whether a source is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Life {
    /// It is.
    Live,
    /// It fell silent, or its node said that it is dead.
    Lapsed,
    /// It said good-bye.
    Ended,
}

/// What is known of a source. A source never heard of is [`SourceState::default`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SourceState {
    /// Every frame up to this one was applied or is in `missing`.
    pub wm: u64,
    /// Frames given up, and named by a gap.
    pub missing: Ranges,
    /// Frames that came before their predecessors.
    pub held: BTreeMap<u64, Content>,
    /// When it was last heard.
    pub last_tick: u64,
    /// Whether it is heard.
    pub life: Life,
    /// The last `gw.n` that came, by tenant.
    pub last_n: BTreeMap<TenantId, u64>,
}

impl Default for SourceState {
    fn default() -> Self {
        Self {
            wm: 0,
            missing: Ranges::default(),
            held: BTreeMap::new(),
            last_tick: 0,
            life: Life::Ended,
            last_n: BTreeMap::new(),
        }
    }
}

/// A call whose intent came.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Open {
    /// Its outcome has not come.
    Open {
        /// Who sent the intent.
        source: Source,
        /// `gw.n`.
        n: u64,
        /// The record so far.
        intent: Body,
    },
    /// It was given a final record that says `unknown`.
    Closed {
        /// The place of that record in the tenant's log.
        final_seq: u64,
    },
    /// It has its true final record; should its intent still come, it is ignored.
    Done,
}

/// What happened to a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It took effect, perhaps with some that had waited for it.
    Applied,
    /// It had taken effect before.
    Duplicate,
    /// It waits for its predecessors.
    Held,
}

/// A frame as it came, its seal opened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Arrived {
    /// Whose.
    pub source: Source,
    /// Its number.
    pub s: u64,
    /// What is in it.
    pub content: Content,
}

/// What must be in the [`World`] before a batch is applied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    /// Rows of open calls by their keys.
    pub calls: BTreeSet<(TenantId, CallId)>,
    /// Sources whose `open` rows are all needed, because they may end.
    pub open_of: BTreeSet<Source>,
    /// Tenants whose logs may be appended to: lock their heads, set [`Log::next`].
    pub tenants: BTreeSet<TenantId>,
}

/// What the owner of a shard knows and changes within one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct World {
    /// The shard's clock.
    pub tick: u64,
    /// The sources touched.
    pub sources: BTreeMap<Source, SourceState>,
    /// The open calls touched.
    pub opens: Opens,
    /// The logs touched.
    pub log: Log,
    /// Frames that a gap had named and that came since [`World::note_filled`].
    filled: BTreeMap<Source, Ranges>,
}

/// The sources a batch speaks of: its own, and those it says are dead. Load them with their held frames first.
#[must_use]
pub fn sources_of(batch: &[Arrived]) -> BTreeSet<Source> {
    batch.iter().flat_map(|arrived| ended_by(arrived.source, &arrived.content).chain([arrived.source])).collect()
}

/// The sources that a batch ends.
#[must_use]
pub fn ended_in(batch: &[Arrived]) -> BTreeSet<Source> {
    batch.iter().flat_map(|arrived| ended_by(arrived.source, &arrived.content)).collect()
}

/// The sources that a frame ends once it is applied.
fn ended_by(source: Source, content: &Content) -> impl Iterator<Item = Source> {
    let entries: &[Entry] = match content {
        Content::Entries(frame) => &frame.entries,
        Content::Poison => &[],
    };
    entries.iter().flat_map(move |entry| match entry {
        Entry::End => vec![source],
        Entry::Dead(boots) => boots.iter().map(|boot| Source { boot: *boot, ..source }).collect(),
        _ => Vec::new(),
    })
}

impl World {
    /// What to load before `batch` is applied and the sources in `lapsing` lapse. Sources and held frames are in already.
    #[must_use]
    pub fn needs(&self, batch: &[Arrived], lapsing: &[Source]) -> Needs {
        let mut needs = Needs { open_of: lapsing.iter().copied().collect(), ..Needs::default() };
        needs.tenants.insert(DEPLOYMENT);
        for state in self.sources.values() {
            needs.tenants.extend(state.last_n.keys());
        }
        let held =
            self.sources.iter().flat_map(|(source, state)| state.held.values().map(move |content| (*source, content)));
        let arrived = batch.iter().map(|arrived| (arrived.source, &arrived.content));
        for (source, content) in held.chain(arrived) {
            needs.open_of.extend(ended_by(source, content));
            if let Content::Entries(frame) = content {
                needs.calls.extend(frame.entries.iter().filter_map(Entry::call));
                needs.tenants.extend(frame.entries.iter().filter_map(Entry::tenant));
            }
        }
        needs
    }

    /// The live sources that have been silent for [`LAPSE_TICKS`].
    #[must_use]
    pub fn due(&self) -> Vec<Source> {
        let silent = |state: &SourceState| self.tick.saturating_sub(state.last_tick) >= LAPSE_TICKS;
        let due = self.sources.iter().filter(|(_, state)| state.life == Life::Live && silent(state));
        due.map(|(source, _)| *source).collect()
    }

    /// Applies a frame, whatever has been applied before and in whatever order.
    pub fn apply(&mut self, arrived: Arrived) -> Verdict {
        let Arrived { source, s, content } = arrived;
        let state = self.sources.entry(source).or_default();
        if s <= state.wm {
            if !state.missing.remove(s) {
                return Verdict::Duplicate;
            }
            self.filled.entry(source).or_default().insert(s, s.saturating_add(1));
            self.take_effect(source, s, content);
            return Verdict::Applied;
        }
        if s > state.wm.saturating_add(1) {
            let tick = self.tick;
            if state.held.contains_key(&s) {
                return Verdict::Duplicate;
            }
            state.held.insert(s, content);
            (state.life, state.last_tick) = (Life::Live, tick);
            if state.held.len() > HELD_MAX {
                self.give_up_holes(source, GapReason::Overdue);
            }
            return Verdict::Held;
        }
        state.wm = s;
        self.take_effect(source, s, content);
        self.apply_held(source);
        Verdict::Applied
    }

    /// Says which gaps were filled, once for all frames of a source that were applied: a node out of touch for long sends
    /// thousands. Belongs at the end of a batch, in its transaction.
    pub fn note_filled(&mut self) {
        for (source, filled) in std::mem::take(&mut self.filled) {
            for filled in filled.as_slice().chunks(SPANS_MAX) {
                self.note(source, &What::GapFilled { source, filled: filled.iter().copied().collect() });
            }
        }
    }

    /// Ends a source that fell silent: gives up its holes, closes its open calls, and says so.
    pub fn lapse(&mut self, source: Source) {
        self.end(source, Life::Lapsed);
    }

    /// Gives up the holes between the frames held of a source that lives, though it may still fill them: a frame that comes
    /// all the same takes effect.
    pub fn give_up(&mut self, source: Source, reason: GapReason) {
        self.give_up_holes(source, reason);
    }

    /// Applies the frames held of a source that follow what took effect.
    pub fn go_on(&mut self, source: Source) {
        self.apply_held(source);
    }

    /// The frames held that follow without a hole.
    fn apply_held(&mut self, source: Source) {
        while let Some((s, content)) = self.next_held(source) {
            self.take_effect(source, s, content);
        }
    }

    fn next_held(&mut self, source: Source) -> Option<(u64, Content)> {
        let state = self.sources.get_mut(&source)?;
        let content = state.held.remove(&(state.wm + 1))?;
        state.wm += 1;
        Some((state.wm, content))
    }

    /// Every frame below a held one that has not come joins `missing`, and is named; then the held ones are applied.
    fn give_up_holes(&mut self, source: Source, reason: GapReason) {
        let Some(state) = self.sources.get_mut(&source) else { return };
        let mut missing = Ranges::default();
        let mut next = state.wm + 1;
        for s in state.held.keys() {
            missing.insert(next, *s);
            next = s.saturating_add(1);
        }
        if missing.is_empty() {
            return;
        }
        missing.as_slice().iter().for_each(|(first, end)| state.missing.insert(*first, *end));
        // Of a source that is new only the frames that come now tell whom it serves.
        let held: BTreeSet<TenantId> = state.held.values().flat_map(Content::tenants).collect();
        let serves = held.iter().copied().chain(tenants_of(&state.last_n)).collect();
        // They are told now, and their numbers come in a moment.
        for tenant in held {
            state.last_n.entry(tenant).or_insert(0);
        }
        self.note_to(serves, &What::Gap { source, missing, reason });
        while let Some((s, content)) = self.pop_held(source) {
            self.take_effect(source, s, content);
        }
    }

    fn pop_held(&mut self, source: Source) -> Option<(u64, Content)> {
        let state = self.sources.get_mut(&source)?;
        let (s, content) = state.held.pop_first()?;
        state.wm = s;
        Some((s, content))
    }

    fn end(&mut self, source: Source, life: Life) {
        let Some(state) = self.sources.get(&source) else { return };
        if state.life != Life::Live {
            return;
        }
        self.give_up_holes(source, GapReason::Lost);
        self.close_open_calls(source);
        let Some(state) = self.sources.get_mut(&source) else { return };
        state.life = life;
        let (last_s, missing) = (state.wm, state.missing.clone());
        let clean = life == Life::Ended && missing.is_empty();
        let last_n = state.last_n.clone();
        for tenant in tenants_of(&last_n) {
            let last_n = last_n.get(&tenant).copied();
            self.log.push(tenant, What::BootEnd { source, last_s, last_n, clean, missing: missing.clone() });
        }
    }

    fn close_open_calls(&mut self, source: Source) {
        let open_of_source = |open: &Open| matches!(open, Open::Open { source: of, .. } if *of == source);
        let keys: Vec<_> = self.opens.iter().filter(|(_, open)| open_of_source(open)).map(|(key, _)| key).collect();
        for key in keys {
            if let Some(Open::Open { intent, .. }) = self.opens.find(key.0, key.1).cloned() {
                let final_seq = self.log.push(key.0, What::Unknown(intent));
                self.opens.set(key, Some(Open::Closed { final_seq }));
            }
        }
    }

    fn take_effect(&mut self, source: Source, s: u64, content: Content) {
        let tick = self.tick;
        let state = self.sources.entry(source).or_default();
        (state.life, state.last_tick) = (Life::Live, tick);
        match content {
            Content::Entries(frame) => frame.entries.into_iter().for_each(|entry| self.take_entry(source, entry)),
            Content::Poison => {
                let missing = [(s, s + 1)].into_iter().collect();
                self.note(source, &What::Gap { source, missing, reason: GapReason::Unreadable });
            }
        }
    }

    fn take_entry(&mut self, source: Source, entry: Entry) {
        if let Some(state) = self.sources.get_mut(&source) {
            state.life = Life::Live;
        }
        match entry {
            Entry::Intent { tenant, call, n, body } => {
                self.count(source, tenant, n);
                if self.opens.find(tenant, call).is_none() {
                    self.opens.set((tenant, call), Some(Open::Open { source, n, intent: body }));
                }
            }
            Entry::Final { tenant, call, n, had_intent: true, body } => {
                self.count(source, tenant, n);
                self.take_final((tenant, call), body);
            }
            Entry::Final { tenant, n, body, .. } => {
                self.count(source, tenant, n);
                self.log.push(tenant, What::Final(body));
            }
            Entry::Note { tenant, n, body } => {
                self.count(source, tenant, n);
                self.log.push(tenant, What::Note(body));
            }
            Entry::Beat => {}
            Entry::End => self.end(source, Life::Ended),
            Entry::Dead(boots) => {
                let older = boots.into_iter().filter(|boot| *boot != source.boot);
                older.for_each(|boot| self.end(Source { boot, ..source }, Life::Lapsed));
            }
        }
    }

    fn take_final(&mut self, key: (TenantId, CallId), body: Body) {
        match self.opens.find(key.0, key.1) {
            Some(Open::Open { .. }) => {
                self.log.push(key.0, What::Final(body));
                self.opens.set(key, None);
            }
            Some(Open::Closed { final_seq }) => {
                let amends = *final_seq;
                self.log.push(key.0, What::Late { body, amends });
                self.opens.set(key, Some(Open::Done));
            }
            Some(Open::Done) => {}
            None => {
                self.log.push(key.0, What::Final(body));
                // A tombstone: the intent lies in a hole and may still come.
                self.opens.set(key, Some(Open::Done));
            }
        }
    }

    fn count(&mut self, source: Source, tenant: TenantId, n: u64) {
        let Some(state) = self.sources.get_mut(&source) else { return };
        if let Some(last) = state.last_n.get_mut(&tenant) {
            *last = n.max(*last);
            return;
        }
        state.last_n.insert(tenant, n);
        // Its numbers below lie in frames that were given up when nobody knew that it was served.
        if n > 0 && !state.missing.is_empty() {
            let missing = state.missing.clone();
            self.log.push(tenant, What::Gap { source, missing, reason: GapReason::Lost });
        }
    }

    /// Puts a note about a source into the log of every tenant it is known to have served, and of the deployment.
    fn note(&mut self, source: Source, what: &What) {
        let tenants = self.sources.get(&source).map(|state| tenants_of(&state.last_n)).unwrap_or_default();
        self.note_to(tenants, what);
    }

    fn note_to(&mut self, tenants: BTreeSet<TenantId>, what: &What) {
        for tenant in tenants {
            self.log.push(tenant, what.clone());
        }
    }
}

fn tenants_of(last_n: &BTreeMap<TenantId, u64>) -> BTreeSet<TenantId> {
    last_n.keys().copied().chain([DEPLOYMENT]).collect()
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod owners;
#[cfg(test)]
mod tests;
