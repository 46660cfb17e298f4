//! The invariants of the protocol (`docs/audit-protocol.md`) as properties of a state of the model.

use super::*;

impl State {
    fn count(&self, call: u8, wanted: fn(&What) -> bool) -> usize {
        let of_call = |what: &What| match what {
            What::Final(body) | What::Unknown(body) | What::Late { body, .. } => body.record[..] == [call],
            _ => false,
        };
        self.world.log.appends.iter().filter(|append| of_call(&append.what) && wanted(&append.what)).count()
    }

    fn finals(&self, call: u8) -> usize {
        self.count(call, |what| matches!(what, What::Final(_) | What::Unknown(_)))
    }

    fn has_open_row(&self, call: u8) -> bool {
        self.world.opens.find(tenant(), call_id(call)).is_some()
    }

    pub(super) fn no_call_has_two_final_records(&self, calls: u8) -> bool {
        (0..calls).all(|call| self.finals(call) <= 1)
    }

    pub(super) fn what_was_forwarded_has_a_durable_intent(&self) -> bool {
        let is_durable = |call: &u8| self.find(Part::Intent(*call)).is_some_and(|place| self.durable.contains(&place));
        self.forwarded.iter().all(is_durable)
    }

    /// Of a run that lives; of one that was killed nobody knows what it let go before. Postgres may forget it afterwards.
    pub(super) fn what_a_node_let_go_took_effect(&self) -> bool {
        let is_kept = |place: &Place| self.memory.contains(place) || self.spool.contains(place);
        let of_the_living = self.frames().filter(|(place, _)| self.alive && place.0 == self.boot);
        self.backs > 0 || of_the_living.into_iter().all(|(place, _)| is_kept(&place) || self.covers(place))
    }

    /// Every frame that is missing stands in a gap of its source's.
    pub(super) fn what_is_given_up_is_named(&self) -> bool {
        self.world.sources.iter().all(|(source, state)| {
            let gaps = self.world.log.appends.iter().filter_map(|append| match &append.what {
                What::Gap { source: of, missing, .. } if of == source => Some(missing),
                _ => None,
            });
            let gaps: Vec<_> = gaps.collect();
            let mut missing = state.missing.as_slice().iter().flat_map(|(first, end)| *first..*end);
            missing.all(|s| gaps.iter().any(|named| named.contains(s)))
        })
    }

    pub(super) fn what_counts_as_applied_had_its_effect(&self) -> bool {
        self.frames().filter(|(place, _)| self.covers(*place)).all(|(_, part)| match part {
            Part::Intent(call) => self.finals(call) == 1 || self.has_open_row(call),
            Part::Final(call) => self.count(call, |what| matches!(what, What::Final(_) | What::Late { .. })) == 1,
            Part::Beat | Part::Dead => true,
        })
    }

    pub(super) fn the_sequence_has_no_hole(&self) -> bool {
        [tenant(), DEPLOYMENT].into_iter().all(|tenant| {
            let of_tenant = self.world.log.appends.iter().filter(|append| append.tenant == tenant);
            of_tenant.zip(0..).all(|(append, seq)| append.seq == seq)
        })
    }

    /// The node and Redis both lost something, or Postgres forgot what they had let go: what is gone then may be gone.
    fn lost_twice(&self) -> bool {
        self.kills > 0 && self.losses > 0 || self.backs > 0
    }

    /// I6 to I8 of a call, where this is the state before faults ended.
    pub(super) fn healed_well(&self, healed: &State, call: u8) -> bool {
        let survived = [Part::Intent(call), Part::Final(call)]
            .iter()
            .any(|part| healed.find(*part).is_some_and(|place| healed.stream.contains(&place)));
        let forwarded = self.forwarded.contains(&call);
        let finals = healed.finals(call);
        let one_final = finals == 1 || !survived && (!forwarded || self.lost_twice());
        let named = match healed.find(Part::Intent(call)) {
            Some((boot, _)) if (survived || forwarded) && !self.lost_twice() => healed.holes_are_named(boot),
            _ => true,
        };
        let unknown = healed.count(call, |what| matches!(what, What::Unknown(_))) == 1;
        let amended = healed.count(call, |what| matches!(what, What::Late { .. })) == 1;
        let outcome_came = healed.find(Part::Final(call)).is_some_and(|place| healed.covers(place));
        one_final && named && (!(unknown && outcome_came) || amended)
    }

    fn holes_are_named(&self, boot: u8) -> bool {
        let holes = self.frames().any(|(place, _)| place.0 == boot && !self.covers(place));
        let names = |what: &What| match what {
            What::Gap { source: of, .. } | What::BootEnd { source: of, clean: false, .. } => *of == source(boot),
            _ => false,
        };
        !holes || self.world.log.appends.iter().any(|append| names(&append.what))
    }
}
