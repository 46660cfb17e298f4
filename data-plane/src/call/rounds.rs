//! Calls that ask for input go on in another call, perhaps at another node: what has to come back with the answers is sealed
//! into the `requestState` that the client is given.

use std::fmt;

use audit::{Record, Text};
use domain::{CallId, Clock, Principal, ServerVersionId, ToolId};
use mcp::{Json, Limits, Raw};
use secrets::Sealer;
use serde::{Deserialize, Serialize};

/// How long an answer may take, in seconds.
pub const ANSWER_WITHIN: i64 = 10 * 60;
/// Most times one call may ask.
pub const ROUNDS_MAX: u32 = 32;

/// Makes and opens the states of calls that ask. Cloning is cheap.
#[derive(Clone)]
pub struct Rounds {
    sealer: Sealer,
    clock: Clock,
}

/// What the answers to a question have to be about: their state is worth nothing with anything else.
#[derive(Debug, Clone, Copy)]
pub struct Matter<'a> {
    /// Who was asked.
    pub principal: &'a Principal,
    /// The edition of the server that asked.
    pub version: ServerVersionId,
    /// The tool that asked.
    pub tool: ToolId,
    /// The keyed hash of the call's arguments, as its record has it.
    pub arguments: &'a str,
}

/// A call that may ask.
pub struct Asking {
    rounds: Rounds,
    bound: Vec<u8>,
    /// Which round this is, from 1.
    number: u32,
    /// The first round's call.
    first: CallId,
}

/// A call that goes on with another.
#[derive(Clone, PartialEq, Eq)]
pub struct Continued {
    /// The state that the upstream gave with its questions, a string as it was written.
    pub state: Option<Json>,
}

impl fmt::Debug for Continued {
    /// Without the state: what upstreams put into theirs is for them alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Continued")
    }
}

/// What is sealed. With short names: it travels through the client and back.
#[derive(Serialize, Deserialize)]
struct Round {
    #[serde(rename = "n")]
    number: u32,
    #[serde(rename = "c")]
    first: CallId,
    /// Unix seconds.
    #[serde(rename = "e")]
    expires_at: i64,
    /// The JSON text of the upstream's state.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    state: Option<String>,
}

/// The state is made up, changed, too old, or belongs to something or somebody else: the client can't tell which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no call of the caller's waits for this state")]
pub struct StateUnknown;

/// The call asked [`ROUNDS_MAX`] times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the call asks again and again")]
pub struct AsksAgain;

impl Rounds {
    /// Seals with `sealer` (`Purpose::RequestState`).
    #[must_use]
    pub const fn new(sealer: Sealer, clock: Clock) -> Self {
        Self { sealer, clock }
    }

    /// A call that may ask, in its first round.
    #[must_use]
    pub fn begin(&self, matter: &Matter<'_>, call: CallId) -> Asking {
        Asking { rounds: self.clone(), bound: matter.bound(), number: 1, first: call }
    }
}

impl Matter<'_> {
    /// All ids have one length, so nothing can stand for something else.
    fn bound(&self) -> Vec<u8> {
        let Principal { tenant, user, token, .. } = self.principal;
        let ids = [tenant.uuid(), user.uuid(), token.uuid(), self.version.uuid(), self.tool.uuid()];
        let mut bound = ids.map(uuid::Uuid::into_bytes).concat();
        bound.extend_from_slice(self.arguments.as_bytes());
        bound
    }
}

impl Asking {
    /// Goes on with the call that asked.
    ///
    /// # Errors
    /// [`StateUnknown`] when the state was not made for this call's caller, tool and arguments, or is too old.
    pub fn resume(&mut self, state: &str) -> Result<Continued, StateUnknown> {
        let plain = self.rounds.sealer.open_text(&self.parts(), state).map_err(|_| StateUnknown)?;
        let round: Round = serde_json::from_slice(&plain).map_err(|_| StateUnknown)?;
        if self.rounds.clock.now().timestamp() >= round.expires_at {
            return Err(StateUnknown);
        }
        let state = round.state.as_deref().map(|state| Raw::check(state, &Limits::upstream())).transpose();
        let state = state.map_err(|_| StateUnknown)?.map(Raw::to_json);
        (self.number, self.first) = (round.number.saturating_add(1), round.first);
        Ok(Continued { state })
    }

    /// The state to give to the client around the upstream's own.
    ///
    /// # Errors
    /// [`AsksAgain`] when it was asked often enough.
    pub fn state(&self, upstream: Option<Raw<'_>>) -> Result<String, AsksAgain> {
        if self.number > ROUNDS_MAX {
            return Err(AsksAgain);
        }
        let round = Round {
            number: self.number,
            first: self.first,
            expires_at: self.rounds.clock.now().timestamp() + ANSWER_WITHIN,
            state: upstream.map(|state| state.get().to_owned()),
        };
        let plain = serde_json::to_vec(&round).unwrap_or_default();
        Ok(self.rounds.sealer.seal_text(&self.parts(), &plain))
    }

    /// Says in a record which round of which call it is about.
    pub fn note(&self, record: &mut Record) {
        record.mcp.mrtr_round = Some(self.number);
        record.correlation_id = Some(Text::of(self.first.uuid()));
    }

    fn parts(&self) -> [&[u8]; 2] {
        [b"tools/call", &self.bound]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use domain::{TenantId, TokenId, UserId};
    use secrets::Purpose;
    use uuid::Uuid;

    use super::*;
    use crate::testing::{keys, principal};

    /// Rounds of a deployment whose clock is set by hand.
    fn rounds() -> (Rounds, Arc<AtomicI64>) {
        let now = Arc::new(AtomicI64::new(1_000));
        let told = Arc::clone(&now);
        let clock =
            Clock::new(move || chrono::DateTime::from_timestamp(told.load(Ordering::SeqCst), 0).unwrap(), || [7; 10]);
        (Rounds::new(keys().master.sealer(Purpose::RequestState, crate::testing::DEPLOYMENT), clock), now)
    }

    fn us() -> Principal {
        principal(TenantId::from_uuid(Uuid::from_u128(9)))
    }

    fn matter(principal: &Principal) -> Matter<'_> {
        Matter {
            principal,
            version: ServerVersionId::from_uuid(Uuid::from_u128(4)),
            tool: ToolId::from_uuid(Uuid::from_u128(100)),
            arguments: "hs256:k:abc",
        }
    }

    fn call(number: u128) -> CallId {
        CallId::from_uuid(Uuid::from_u128(number))
    }

    #[test]
    fn a_state_brings_back_what_the_upstream_gave() {
        let ((rounds, _), us) = (rounds(), us());
        let asking = rounds.begin(&matter(&us), call(1));
        for state in [None, Some(r#""a \"b\" \u0061\ud800""#)] {
            let raw = state.map(|state| Raw::check(state, &Limits::upstream()).unwrap());
            let ours = asking.state(raw).unwrap();
            let continued = rounds.begin(&matter(&us), call(2)).resume(&ours).unwrap();
            assert_eq!(continued.state.as_ref().map(Json::as_str), state);
        }
    }

    #[test]
    fn a_state_is_worth_nothing_with_anything_else() {
        let ((rounds, _), us) = (rounds(), us());
        let state = rounds.begin(&matter(&us), call(1)).state(None).unwrap();
        let opens = |matter: &Matter<'_>| rounds.begin(matter, call(2)).resume(&state).is_ok();
        assert!(opens(&matter(&us)));
        let other = Uuid::from_u128(77);
        for principal in [
            Principal { tenant: TenantId::from_uuid(other), ..us.clone() },
            Principal { user: UserId::from_uuid(other), ..us.clone() },
            Principal { token: TokenId::from_uuid(other), ..us.clone() },
        ] {
            assert!(!opens(&matter(&principal)), "{principal:?}");
        }
        assert!(!opens(&Matter { version: ServerVersionId::from_uuid(other), ..matter(&us) }));
        assert!(!opens(&Matter { tool: ToolId::from_uuid(other), ..matter(&us) }));
        assert!(!opens(&Matter { arguments: "hs256:k:abd", ..matter(&us) }));
    }

    #[test]
    fn a_changed_or_foreign_state_is_refused() {
        let ((rounds, _), us) = (rounds(), us());
        let state = rounds.begin(&matter(&us), call(1)).state(None).unwrap();
        let mut asking = rounds.begin(&matter(&us), call(2));
        assert_eq!(asking.resume(&format!("{state}-TAMPERED")), Err(StateUnknown));
        for place in 0..state.len() {
            let mut changed = state.clone().into_bytes();
            changed[place] ^= 1;
            assert_eq!(asking.resume(&String::from_utf8(changed).unwrap()), Err(StateUnknown), "at {place}");
        }
        let foreign = self::rounds().0.begin(&matter(&us), call(1)).state(None).unwrap();
        assert_eq!(asking.resume(&foreign), Err(StateUnknown), "another deployment's");
        assert_eq!(asking.resume(""), Err(StateUnknown));
        assert!(asking.resume(&state).is_ok());
    }

    #[test]
    fn an_answer_may_take_ten_minutes() {
        let ((rounds, now), us) = (rounds(), us());
        let state = rounds.begin(&matter(&us), call(1)).state(None).unwrap();
        let mut asking = rounds.begin(&matter(&us), call(2));
        now.fetch_add(ANSWER_WITHIN - 1, Ordering::SeqCst);
        assert!(asking.resume(&state).is_ok());
        now.fetch_add(1, Ordering::SeqCst);
        assert_eq!(asking.resume(&state), Err(StateUnknown));
    }

    #[test]
    fn rounds_are_counted_from_the_first_call_and_end() {
        let ((rounds, _), us) = (rounds(), us());
        let mut asking = rounds.begin(&matter(&us), call(1));
        for number in 1..=ROUNDS_MAX {
            assert_eq!((asking.number, asking.first), (number, call(1)));
            let state = asking.state(None).unwrap();
            asking = rounds.begin(&matter(&us), call(u128::from(number) + 1));
            asking.resume(&state).unwrap();
        }
        assert_eq!(asking.state(None), Err(AsksAgain), "the last answer goes through, but asks no more");
    }
}
