//! Every order of events, up to a number of calls and faults: the node forms, sends and spools frames, is killed and starts
//! again, Redis loses frames, the source lapses at any moment, Postgres goes back to an earlier state, and frames arrive in
//! any order, again and again. The functions are those that run.
//!
//! `make model` explores more than a test has time for.

mod invariants;
mod owner;

use std::collections::BTreeSet;

use bytes::Bytes;
use domain::{BootId, CallId, NodeId, TenantId};
use stateright::{Checker as _, HasDiscoveries, Model, Property};
use uuid::Uuid;

use super::*;
use crate::ack::{Ack, StreamId, free};

/// How much happens at most.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    calls: u8,
    /// A node forms a frame that matters to no call, after which a hole shows.
    beat: bool,
    spool: bool,
    kills: u8,
    /// The node starts again after a kill.
    starts: bool,
    losses: u8,
    lapses: u8,
    /// How often Postgres goes back to an earlier state.
    backs: u8,
    held: Held,
    mutant: Mutant,
}

/// What the owner does with frames that are held.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Held {
    /// It takes in all of them with the one that they wait for.
    AtOnce,
    /// It takes them in one at a time, so that what follows waits until it goes on; and it gives up the holes between them
    /// whenever it likes, though their source lives.
    InParts,
}

const NOTHING: Bounds = Bounds {
    calls: 1,
    beat: false,
    spool: false,
    kills: 0,
    starts: false,
    losses: 0,
    lapses: 0,
    backs: 0,
    held: Held::AtOnce,
    mutant: Mutant::None,
};
/// One call where frames are held, taken in one at a time, and their holes given up.
const HELD: Bounds = Bounds { beat: true, held: Held::InParts, ..NOTHING };
/// The faults of one call.
const FAULTS: Bounds = Bounds { beat: true, kills: 1, losses: 1, lapses: 2, ..NOTHING };

/// A rule taken away: the model must notice.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mutant {
    None,
    NoLate,
    NoTombstone,
    NoMissing,
    /// Holes are given up, and no note says so.
    NoGap,
    /// What is held is forgotten where it is not taken in with the frame before it.
    NoGoOn,
    FreeWhenSent,
    ForwardAtOnce,
}

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Intent(u8),
    Final(u8),
    Beat,
    /// The runs before are over.
    Dead,
}

/// A frame: the run that formed it, and its number there.
type Place = (u8, u64);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Form(Part),
    Send {
        frame: Place,
        answered: bool,
    },
    Spool(Place),
    Forward(u8),
    Free(Place),
    Kill,
    Start,
    Lose(Place),
    LoseAll,
    Ingest(Place),
    Lapse(u8),
    /// Holes between held frames are given up.
    GiveUp(u8),
    /// Held frames that follow what took effect are taken in.
    GoOn(u8),
    Remember,
    GoBack,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    boot: u8,
    alive: bool,
    /// What each run formed, in order; the first has the number 1.
    formed: [Vec<Part>; 2],
    forwarded: BTreeSet<u8>,
    /// In the node's memory.
    memory: BTreeSet<Place>,
    /// On the node's disk; what is here survives the kill and is sent by the next run.
    spool: BTreeSet<Place>,
    /// Whose XADD was answered, or which are on disk.
    durable: BTreeSet<Place>,
    stream: BTreeSet<Place>,
    world: World,
    /// An earlier state of Postgres.
    backup: Option<Box<World>>,
    kills: u8,
    losses: u8,
    lapses: u8,
    backs: u8,
}

fn source(boot: u8) -> Source {
    Source { node: NodeId::from_uuid(Uuid::from_u128(1)), boot: boot_id(boot), shard: 0 }
}

fn boot_id(boot: u8) -> BootId {
    BootId::from_uuid(Uuid::from_u128(2 + u128::from(boot)))
}

fn tenant() -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(9))
}

fn call_id(call: u8) -> CallId {
    CallId::from_uuid(Uuid::from_u128(100 + u128::from(call)))
}

fn body(call: u8) -> Body {
    Body { record: Bytes::from(vec![call]), private: None }
}

fn content(part: Part) -> Content {
    let tenant = tenant();
    let entry = match part {
        Part::Intent(call) => Entry::Intent { tenant, call: call_id(call), n: call.into(), body: body(call) },
        Part::Final(call) => {
            Entry::Final { tenant, call: call_id(call), n: call.into(), had_intent: true, body: body(call) }
        }
        Part::Beat => Entry::Beat,
        Part::Dead => Entry::Dead(vec![boot_id(0)]),
    };
    Content::Entries(Frame { entries: vec![entry] })
}

impl State {
    fn first() -> Self {
        Self {
            boot: 0,
            alive: true,
            formed: [Vec::new(), Vec::new()],
            forwarded: BTreeSet::new(),
            memory: BTreeSet::new(),
            spool: BTreeSet::new(),
            durable: BTreeSet::new(),
            stream: BTreeSet::new(),
            world: World::default(),
            backup: None,
            kills: 0,
            losses: 0,
            lapses: 0,
            backs: 0,
        }
    }

    fn outbox(&self) -> BTreeSet<Place> {
        &self.memory | &self.spool
    }

    /// The frames of all runs.
    fn frames(&self) -> impl Iterator<Item = (Place, Part)> {
        (0..).zip(&self.formed).flat_map(|(boot, parts)| (1..).zip(parts).map(move |(s, part)| ((boot, s), *part)))
    }

    fn part(&self, (boot, s): Place) -> Option<Part> {
        self.formed[usize::from(boot)].get(usize::try_from(s).ok()?.checked_sub(1)?).copied()
    }

    fn find(&self, wanted: Part) -> Option<Place> {
        self.frames().find_map(|(place, part)| (part == wanted).then_some(place))
    }

    fn form(&mut self, part: Part) {
        let own = &mut self.formed[usize::from(self.boot)];
        own.push(part);
        self.memory.insert((self.boot, own.len() as u64));
    }

    fn ack(&self, boot: u8) -> Ack {
        let known = self.world.sources.get(&source(boot)).cloned().unwrap_or_default();
        Ack { epoch: 0, version: 0, cursor: StreamId::default(), wm: known.wm, missing: known.missing }
    }

    fn covers(&self, (boot, s): Place) -> bool {
        self.ack(boot).covers(s)
    }

    /// The frames that the last acks let go.
    fn freed(&self) -> Vec<Place> {
        let outbox = self.outbox();
        let of = |boot: u8| {
            let mut own = outbox.iter().filter(|(of, _)| *of == boot).map(|(_, s)| (*s, ())).collect();
            free(&mut own, &self.ack(boot)).into_iter().map(move |(s, ())| (boot, s)).collect::<Vec<_>>()
        };
        [of(0), of(1)].concat()
    }

    /// All faults end: the node, if it lives, ends its calls; what is left anywhere is sent and read.
    fn healed(&self, bounds: &Bounds) -> Self {
        let mut healed = self.clone();
        if healed.alive {
            let own = healed.formed[usize::from(healed.boot)].clone();
            for part in own {
                if let Part::Intent(call) = part
                    && healed.find(Part::Final(call)).is_none()
                {
                    healed.form(Part::Final(call));
                }
            }
        }
        healed.stream = &healed.stream | &healed.outbox();
        for place in healed.stream.clone() {
            healed.ingest(place, bounds);
        }
        for boot in [0, 1] {
            (0..healed.formed[usize::from(boot)].len()).for_each(|_| healed.go_on(boot, bounds));
        }
        healed
    }

    /// Where all has healed, the runs are over.
    fn over(&self, mutant: Mutant) -> Self {
        let mut over = self.clone();
        for boot in [0, 1] {
            over.owner(mutant, |world| world.lapse(source(boot)));
        }
        over
    }
}

impl Model for Bounds {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::first()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.alive {
            self.steps_of_the_node(state, steps);
        } else if self.starts && state.boot == 0 {
            steps.push(Step::Start);
        }
        for frame in state.outbox() {
            steps.extend([false, true].map(|answered| Step::Send { frame, answered }));
        }
        steps.extend(state.freed().into_iter().map(Step::Free));
        for frame in &state.stream {
            steps.push(Step::Ingest(*frame));
            if state.losses < self.losses {
                steps.push(Step::Lose(*frame));
            }
        }
        if state.losses < self.losses && !state.stream.is_empty() {
            steps.push(Step::LoseAll);
        }
        if state.lapses < self.lapses {
            steps.extend((0..=state.boot).map(Step::Lapse));
        }
        if self.held == Held::InParts {
            let holds = |boot: &u8| state.world.sources.get(&source(*boot)).is_some_and(|state| !state.held.is_empty());
            steps.extend((0..=state.boot).filter(|boot| state.may_go_on(*boot)).map(Step::GoOn));
            steps.extend((0..=state.boot).filter(holds).map(Step::GiveUp));
        }
        if state.backs < self.backs {
            steps.push(if state.backup.is_none() { Step::Remember } else { Step::GoBack });
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::Form(part) => state.form(part),
            Step::Send { frame, answered } => {
                state.stream.insert(frame);
                if answered {
                    state.durable.insert(frame);
                    if self.mutant == Mutant::FreeWhenSent {
                        state.memory.remove(&frame);
                        state.spool.remove(&frame);
                    }
                }
            }
            Step::Spool(frame) => {
                state.spool.insert(frame);
                state.durable.insert(frame);
            }
            Step::Forward(call) => drop(state.forwarded.insert(call)),
            Step::Free(frame) => {
                state.memory.remove(&frame);
                state.spool.remove(&frame);
            }
            Step::Kill => {
                (state.kills, state.alive) = (state.kills + 1, false);
                state.memory.clear();
            }
            Step::Start => {
                (state.boot, state.alive) = (1, true);
                state.form(Part::Dead);
            }
            Step::Lose(frame) => {
                state.losses += 1;
                state.stream.remove(&frame);
            }
            Step::LoseAll => {
                state.losses += 1;
                state.stream.clear();
            }
            Step::Ingest(frame) => state.ingest(frame, self),
            Step::GiveUp(boot) => state.give_up(boot, self),
            Step::GoOn(boot) => state.go_on(boot, self),
            Step::Lapse(boot) => {
                state.lapses += 1;
                state.owner(self.mutant, |world| world.lapse(source(boot)));
            }
            Step::Remember => state.backup = Some(Box::new(state.world.clone())),
            Step::GoBack => {
                state.backs += 1;
                state.world = *state.backup.take()?;
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("I1: at most one final record of a call", |model: &Self, state: &State| {
                state.no_call_has_two_final_records(model.calls)
            }),
            Property::always("I2: what was forwarded has a durable intent", |_, state: &State| {
                state.what_was_forwarded_has_a_durable_intent()
            }),
            Property::always("I3: what a node let go took effect", |_, state: &State| {
                state.what_a_node_let_go_took_effect()
            }),
            Property::always("I4: what counts as applied had its effect", |_, state: &State| {
                state.what_counts_as_applied_had_its_effect()
            }),
            Property::always("I5: the sequence has no hole", |_, state: &State| state.the_sequence_has_no_hole()),
            Property::always("I7: what is given up is named", |_, state: &State| state.what_is_given_up_is_named()),
            Property::always("I6 to I8: all is well once faults end", |model: &Self, state: &State| {
                let read = state.healed(model);
                let healed = read.over(model.mutant);
                [0, 1].into_iter().all(|boot| !read.may_go_on(boot))
                    && healed.no_call_has_two_final_records(model.calls)
                    && healed.what_counts_as_applied_had_its_effect()
                    && healed.the_sequence_has_no_hole()
                    && (0..model.calls).all(|call| state.healed_well(&healed, call))
            }),
        ]
    }
}

impl Bounds {
    fn steps_of_the_node(&self, state: &State, steps: &mut Vec<Step>) {
        let began = (0..self.calls).filter(|call| state.find(Part::Intent(*call)).is_some()).count();
        // Calls are alike: the one with the lower number begins first.
        if began < usize::from(self.calls) {
            steps.push(Step::Form(Part::Intent(u8::try_from(began).unwrap())));
        }
        let own = &state.formed[usize::from(state.boot)];
        for part in own {
            if let Part::Intent(call) = *part
                && state.find(Part::Final(call)).is_none()
            {
                steps.push(Step::Form(Part::Final(call)));
                let durable = state.find(*part).is_some_and(|place| state.durable.contains(&place));
                if (durable || self.mutant == Mutant::ForwardAtOnce) && !state.forwarded.contains(&call) {
                    steps.push(Step::Forward(call));
                }
            }
        }
        if self.beat && !own.is_empty() && !own.contains(&Part::Beat) {
            steps.push(Step::Form(Part::Beat));
        }
        if self.spool {
            steps.extend(state.memory.difference(&state.spool).copied().map(Step::Spool));
        }
        if state.kills < self.kills {
            steps.push(Step::Kill);
        }
    }

    /// Visits every state; gives their number, or the invariants that fail.
    fn explore(self) -> Result<usize, Vec<&'static str>> {
        let checker = self.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let failed: Vec<_> = checker.discoveries().into_keys().collect();
        if failed.is_empty() { Ok(checker.unique_state_count()) } else { Err(failed) }
    }
}

#[test]
fn every_state_of_a_call_keeps_the_invariants() {
    all_hold(&[
        Bounds { lapses: 1, ..FAULTS },
        Bounds { beat: false, spool: true, ..FAULTS },
        Bounds { spool: true, kills: 1, starts: true, lapses: 1, ..NOTHING },
        Bounds { backs: 1, losses: 1, lapses: 1, ..NOTHING },
        Bounds { backs: 1, ..HELD },
    ]);
}

fn all_hold(all: &[Bounds]) {
    for bounds in all {
        let states = bounds.explore().unwrap();
        eprintln!("{states} states hold of {bounds:?}");
        assert!(states > 1_000, "{states} states of {bounds:?}");
    }
}

#[test]
fn each_rule_taken_away_breaks_an_invariant() {
    for (mutant, invariants) in [
        (Mutant::NoLate, ["I4", "I6"]),
        (Mutant::NoTombstone, ["I1", "I6"]),
        (Mutant::NoMissing, ["I4", "I6"]),
        (Mutant::NoGap, ["I7", "I6"]),
        (Mutant::NoGoOn, ["I6"; 2]),
        (Mutant::FreeWhenSent, ["I3", "I6"]),
        (Mutant::ForwardAtOnce, ["I2", "I6"]),
    ] {
        let found = Bounds { mutant, held: Held::InParts, ..FAULTS }.explore().unwrap_err();
        let is_meant = |failed: &&str| invariants.iter().any(|invariant| failed.starts_with(invariant));
        assert!(found.iter().any(is_meant), "{mutant:?}: {found:?}");
    }
}

/// Two calls, and in `make model` what takes minutes.
#[test]
fn every_state_of_two_calls_keeps_the_invariants() {
    let two = Bounds { calls: 2, ..NOTHING };
    if std::env::var_os("SLUICE_MODEL").is_none() {
        return all_hold(&[Bounds { losses: 1, ..two }]);
    }
    all_hold(&[
        FAULTS,
        Bounds { spool: true, ..FAULTS },
        Bounds { spool: true, starts: true, kills: 1, losses: 1, lapses: 1, ..NOTHING },
        Bounds { backs: 1, kills: 1, losses: 1, lapses: 1, ..NOTHING },
        Bounds { held: Held::InParts, ..FAULTS },
        Bounds { losses: 1, ..HELD },
        Bounds { spool: true, starts: true, kills: 1, losses: 1, ..HELD },
        Bounds { backs: 1, losses: 1, lapses: 1, ..HELD },
        Bounds { calls: 2, losses: 1, beat: false, ..HELD },
        Bounds { lapses: 1, ..two },
        Bounds { kills: 1, losses: 1, lapses: 1, ..two },
        Bounds { backs: 1, ..two },
    ]);
}
