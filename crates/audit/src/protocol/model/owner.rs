//! What the owner does in the model, and the rules that are taken away from it.

use super::*;

impl State {
    pub(super) fn ingest(&mut self, place: Place, bounds: &Bounds) {
        let Some(part) = self.part(place) else { return };
        let arrived = Arrived { source: source(place.0), s: place.1, content: content(part) };
        self.owner_of(place.0, bounds, |world| {
            world.apply(arrived);
        });
    }

    pub(super) fn give_up(&mut self, boot: u8, bounds: &Bounds) {
        self.owner_of(boot, bounds, |world| world.give_up(source(boot), GapReason::SetBack));
    }

    pub(super) fn go_on(&mut self, boot: u8, bounds: &Bounds) {
        if bounds.mutant != Mutant::NoGoOn {
            self.owner_of(boot, bounds, |world| world.go_on(source(boot)));
        }
    }

    /// Whether a frame is held that follows what took effect.
    pub(super) fn may_go_on(&self, boot: u8) -> bool {
        self.world.sources.get(&source(boot)).is_some_and(|state| state.held.contains_key(&(state.wm + 1)))
    }

    /// What the owner does in one transaction with a source of which it has loaded one held frame, or all.
    pub(super) fn owner_of(&mut self, boot: u8, bounds: &Bounds, step: impl FnOnce(&mut World)) {
        self.owner(bounds.mutant, |world| {
            let held = world.sources.get_mut(&source(boot)).map(|state| &mut state.held);
            let second =
                held.as_ref().and_then(|held| held.keys().nth(1)).filter(|_| bounds.held == Held::InParts).copied();
            let waiting = held.zip(second).map(|(held, second)| held.split_off(&second)).unwrap_or_default();
            step(world);
            if let Some(state) = world.sources.get_mut(&source(boot)) {
                let wm = state.wm;
                state.held.extend(waiting.into_iter().filter(|(s, _)| *s > wm));
            }
        });
    }

    /// What the owner does in one transaction.
    pub(super) fn owner(&mut self, mutant: Mutant, step: impl FnOnce(&mut World)) {
        let had: BTreeSet<_> = self.world.opens.iter().map(|(key, _)| key).collect();
        step(&mut self.world);
        self.world.note_filled();
        match mutant {
            Mutant::NoTombstone => {
                let done: Vec<_> =
                    self.world.opens.iter().filter(|(_, open)| **open == Open::Done).map(|row| row.0).collect();
                done.into_iter().filter(|key| !had.contains(key)).for_each(|key| self.world.opens.set(key, None));
            }
            Mutant::NoLate => self.world.log.appends.retain(|append| !matches!(append.what, What::Late { .. })),
            Mutant::NoMissing => {
                self.world.sources.values_mut().for_each(|state| state.missing = Ranges::default());
            }
            Mutant::NoGap => self.world.log.appends.retain(|append| !matches!(append.what, What::Gap { .. })),
            Mutant::None | Mutant::NoGoOn | Mutant::FreeWhenSent | Mutant::ForwardAtOnce => {}
        }
        self.world.opens.settle();
    }
}
