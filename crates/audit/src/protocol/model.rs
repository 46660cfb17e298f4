//! Every order of events of one call: its node may be killed once, Redis may lose frames once, its source may lapse
//! twice at any moment, frames arrive in any order and again and again. The functions are those that run.

use std::collections::{BTreeSet, HashSet};

use bytes::Bytes;
use domain::{BootId, CallId, NodeId, TenantId};
use uuid::Uuid;

use super::*;
use crate::ack::{Ack, StreamId, free};

const INTENT: u64 = 1;
const FINAL: u64 = 2;
const BEAT: u64 = 3;

/// How much happens at most.
#[derive(Clone, Copy)]
struct Bounds {
    frames: u64,
    spool: bool,
    mutant: Mutant,
}

fn source() -> Source {
    Source { node: NodeId::from_uuid(Uuid::from_u128(1)), boot: BootId::from_uuid(Uuid::from_u128(2)), shard: 0 }
}

fn tenant() -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(3))
}

fn frame(s: u64) -> Content {
    let (tenant, call) = (tenant(), CallId::from_uuid(Uuid::from_u128(4)));
    let body = Body { record: Bytes::from_static(b"{}"), private: None };
    let entry = match s {
        INTENT => Entry::Intent { tenant, call, n: 0, body },
        FINAL => Entry::Final { tenant, call, n: 0, had_intent: true, body },
        _ => Entry::Beat,
    };
    Content::Entries(Frame { entries: vec![entry] })
}

/// A rule taken away: the model must notice.
#[derive(Clone, Copy, PartialEq)]
enum Mutant {
    None,
    NoLate,
    NoTombstone,
    NoMissing,
    FreeWhenSent,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    formed: u64,
    alive: bool,
    forwarded: bool,
    /// In the node's memory.
    memory: BTreeSet<u64>,
    /// On the node's disk; what is here survives the kill and is sent by the next start.
    spool: BTreeSet<u64>,
    /// Whose XADD was answered, or which are on disk.
    durable: BTreeSet<u64>,
    stream: BTreeSet<u64>,
    world: World,
    kills: u8,
    losses: u8,
    lapses: u8,
}

impl State {
    fn first() -> Self {
        Self {
            formed: 0,
            alive: true,
            forwarded: false,
            memory: BTreeSet::new(),
            spool: BTreeSet::new(),
            durable: BTreeSet::new(),
            stream: BTreeSet::new(),
            world: World::default(),
            kills: 0,
            losses: 0,
            lapses: 0,
        }
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut next = self.clone();
        change(&mut next);
        next
    }

    fn outbox(&self) -> BTreeSet<u64> {
        &self.memory | &self.spool
    }

    fn ack(&self) -> Ack {
        let known = self.world.sources.get(&source()).cloned().unwrap_or_default();
        Ack { epoch: 0, version: 0, cursor: StreamId::default(), wm: known.wm, missing: known.missing }
    }

    fn ingest(&mut self, s: u64, mutant: Mutant) {
        self.owner(mutant, |world| {
            world.apply(Arrived { source: source(), s, content: frame(s) });
        });
    }

    /// What the owner does in one transaction.
    fn owner(&mut self, mutant: Mutant, step: impl FnOnce(&mut World)) {
        let had_row = self.world.opens.iter().next().is_some();
        step(&mut self.world);
        let fresh = self.world.opens.iter().find(|(_, open)| **open == Open::Done).map(|(key, _)| key);
        match (mutant, fresh) {
            (Mutant::NoTombstone, Some(key)) if !had_row => self.world.opens.set(key, None),
            (Mutant::NoLate, _) => {
                self.world.log.appends.retain(|append| !matches!(append.what, What::Late { .. }));
            }
            (Mutant::NoMissing, _) => {
                self.world.sources.values_mut().for_each(|state| state.missing = Ranges::default());
            }
            _ => {}
        }
        self.world.opens.settle();
    }

    fn next(&self, bounds: Bounds) -> Vec<Self> {
        let mutant = bounds.mutant;
        let mut next = Vec::new();
        if self.alive {
            self.node_steps(bounds, &mut next);
        }
        for s in self.outbox() {
            next.push(self.with(|state| {
                // Sent; the answer may be lost.
                state.stream.insert(s);
            }));
            next.push(self.with(|state| {
                state.stream.insert(s);
                state.durable.insert(s);
                if mutant == Mutant::FreeWhenSent {
                    state.memory.remove(&s);
                    state.spool.remove(&s);
                }
            }));
        }
        let mut outbox = self.outbox().into_iter().map(|s| (s, ())).collect();
        for (s, ()) in free(&mut outbox, &self.ack()) {
            next.push(self.with(|state| {
                state.memory.remove(&s);
                state.spool.remove(&s);
            }));
        }
        for s in &self.stream {
            next.push(self.with(|state| state.ingest(*s, mutant)));
            if self.losses == 0 {
                next.push(self.with(|state| {
                    state.losses = 1;
                    state.stream.remove(s);
                }));
            }
        }
        if self.losses == 0 && !self.stream.is_empty() {
            next.push(self.with(|state| {
                state.losses = 1;
                state.stream.clear();
            }));
        }
        if self.lapses < 2 {
            next.push(self.with(|state| {
                state.lapses += 1;
                state.owner(mutant, |world| world.lapse(source()));
            }));
        }
        next
    }

    fn node_steps(&self, bounds: Bounds, next: &mut Vec<Self>) {
        if self.formed < bounds.frames {
            next.push(self.with(|state| {
                state.formed += 1;
                state.memory.insert(state.formed);
            }));
        }
        if self.durable.contains(&INTENT) && self.formed == INTENT {
            next.push(self.with(|state| state.forwarded = true));
        }
        for s in self.memory.iter().filter(|_| bounds.spool) {
            next.push(self.with(|state| {
                state.spool.insert(*s);
                state.durable.insert(*s);
            }));
        }
        if self.kills == 0 {
            next.push(self.with(|state| {
                (state.kills, state.alive) = (1, false);
                state.memory.clear();
            }));
        }
    }

    /// All faults end: the node, if it lives, ends its call; what is left anywhere is sent and read; the source lapses.
    fn healed(&self, mutant: Mutant) -> Self {
        self.with(|state| {
            if state.alive && state.formed == INTENT {
                state.formed = FINAL;
                state.memory.insert(FINAL);
            }
            state.stream = &state.stream | &state.outbox();
            for s in state.stream.clone() {
                state.ingest(s, mutant);
            }
            state.owner(mutant, |world| world.lapse(source()));
        })
    }

    fn count(&self, wanted: fn(&What) -> bool) -> usize {
        let of_tenant = self.world.log.appends.iter().filter(|append| append.tenant == tenant());
        of_tenant.filter(|append| wanted(&append.what)).count()
    }

    /// I1, I3, I4, I5.
    fn always(&self) -> Result<(), &'static str> {
        let finals = self.count(|what| matches!(what, What::Final(_) | What::Unknown(_)));
        if finals > 1 {
            return Err("I1: two final records");
        }
        let ack = self.ack();
        let effect = |s: u64| match s {
            INTENT => finals == 1 || self.world.opens.iter().next().is_some(),
            FINAL => self.count(|what| matches!(what, What::Final(_) | What::Late { .. })) == 1,
            _ => true,
        };
        if (1..=BEAT).any(|s| ack.covers(s) && !effect(s)) {
            return Err("I4: a frame counts as applied and had no effect");
        }
        for tenant in [tenant(), DEPLOYMENT] {
            let of_tenant = self.world.log.appends.iter().filter(|append| append.tenant == tenant);
            if !of_tenant.enumerate().all(|(seq, append)| append.seq == seq as u64) {
                return Err("I5: the sequence has a hole");
            }
        }
        Ok(())
    }

    /// I6 to I8, of a healed state; `before` is what it was.
    fn healed_well(&self, before: &Self) -> Result<(), &'static str> {
        let finals = self.count(|what| matches!(what, What::Final(_) | What::Unknown(_)));
        let survived = self.stream.contains(&INTENT) || self.stream.contains(&FINAL);
        if survived && finals != 1 {
            return Err("I6: an intent survived and has no final record");
        }
        let lost_at_both = before.kills == 1 && before.losses == 1;
        if before.forwarded && finals != 1 && !lost_at_both {
            return Err("I6: a forwarded call has no final record");
        }
        let holes = (1..=self.formed).any(|s| !self.ack().covers(s));
        let all = || self.world.log.appends.iter().map(|append| &append.what);
        let named = all().any(|what| matches!(what, What::Gap { .. } | What::BootEnd { clean: false, .. }));
        if holes && !named && (survived || before.forwarded) && !lost_at_both {
            return Err("I7: a hole has no name");
        }
        let wrong = self.count(|what| matches!(what, What::Unknown(_))) == 1 && self.ack().covers(FINAL);
        if wrong && self.count(|what| matches!(what, What::Late { .. })) != 1 {
            return Err("I8: a wrong `unknown` has no late outcome");
        }
        Ok(())
    }
}

/// Visits every state; gives their number, or the first invariant that fails.
fn explore(bounds: Bounds) -> Result<usize, &'static str> {
    let mut seen = HashSet::from([State::first()]);
    let mut open = vec![State::first()];
    while let Some(state) = open.pop() {
        state.always()?;
        let healed = state.healed(bounds.mutant);
        healed.always()?;
        healed.healed_well(&state)?;
        for next in state.next(bounds) {
            if seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    Ok(seen.len())
}

const MEMORY_ONLY: Bounds = Bounds { frames: BEAT, spool: false, mutant: Mutant::None };

#[test]
fn every_state_of_a_node_with_a_spool_keeps_the_invariants() {
    let states = explore(Bounds { frames: FINAL, spool: true, ..MEMORY_ONLY }).unwrap();
    assert!(states > 1_000, "{states}");
}

#[test]
fn every_state_of_a_node_without_a_spool_keeps_the_invariants() {
    let states = explore(MEMORY_ONLY).unwrap();
    assert!(states > 1_000, "{states}");
}

#[test]
fn each_rule_taken_away_breaks_an_invariant() {
    for (mutant, broken) in [
        (Mutant::NoLate, ["I4", "I8"]),
        (Mutant::NoTombstone, ["I1", "I1"]),
        (Mutant::NoMissing, ["I4", "I8"]),
        (Mutant::FreeWhenSent, ["I6", "I7"]),
    ] {
        let found = explore(Bounds { mutant, ..MEMORY_ONLY }).unwrap_err();
        assert!(broken.contains(&&found[..2]), "{found}");
    }
}
