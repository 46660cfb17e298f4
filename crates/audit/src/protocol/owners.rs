//! Two owners of one shard: leases lapse at any moment, a client stops in the middle of its transaction, and is ended or wakes.
//! What Postgres does is modelled here: a row's lock, `where fence = …`, `lock_timeout`, `pg_terminate_backend`. The invariant
//! is the protocol's: the log is one line, each transaction of an owner built on the one before.

use stateright::{Checker as _, Model, Property};

/// How often each thing happens at most.
const ACQUIRES: u8 = 3;
const COMMITS: u8 = 3;

/// What is taken away, so that the invariant must fail.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rules {
    All,
    /// A transaction does not compare the fence.
    NoFence,
    /// A transaction reads the row without its lock.
    NoLock,
}

/// Where an owner's process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Owner {
    /// It owns nothing that it knows of.
    Idle,
    /// It believes that it owns the shard under this fence, and how long the log is.
    Owns { fence: u8, length: u8 },
    /// It is in its transaction, which goes on where it believes that the log ends.
    Commits { fence: u8, length: u8 },
    /// Its session was ended in the middle; it does not know yet.
    Ended,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    fence: u8,
    lapsed: bool,
    /// Who holds the row's lock.
    locked_by: Option<usize>,
    owners: [Owner; 2],
    /// For each committed transaction: where it believed that the log ended.
    log: Vec<u8>,
    acquired: u8,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    /// The lease lapses, by Postgres' clock.
    Lapse,
    Acquire(usize),
    /// `lock_timeout`: the session that holds the row is ended.
    Terminate(usize),
    Begin(usize),
    /// The answer may be lost: then it drops all that it believes.
    Commit {
        of: usize,
        heard: bool,
    },
    /// It notices that its transaction failed, or that it owns no more.
    Notice(usize),
}

impl Model for Rules {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let owners = [Owner::Idle; 2];
        vec![State { fence: 0, lapsed: true, locked_by: None, owners, log: Vec::new(), acquired: 0 }]
    }

    // A stopped client is one that takes no step: nothing here has to happen.
    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        steps.push(Step::Lapse);
        for of in [0, 1] {
            match state.owners[of] {
                Owner::Idle if state.lapsed && state.acquired < ACQUIRES => match state.locked_by {
                    None => steps.push(Step::Acquire(of)),
                    Some(_) => steps.push(Step::Terminate(of)),
                },
                Owner::Owns { .. } if state.locked_by.is_none() || *self == Self::NoLock => steps.push(Step::Begin(of)),
                Owner::Idle | Owner::Owns { .. } => {}
                Owner::Commits { .. } if state.log.len() < usize::from(COMMITS) => {
                    steps.extend([false, true].map(|heard| Step::Commit { of, heard }));
                }
                Owner::Commits { .. } | Owner::Ended => steps.push(Step::Notice(of)),
            }
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::Lapse => state.lapsed = true,
            Step::Acquire(of) => {
                state.fence += 1;
                state.acquired += 1;
                state.lapsed = false;
                let length = u8::try_from(state.log.len()).ok()?;
                state.owners[of] = Owner::Owns { fence: state.fence, length };
            }
            Step::Terminate(_) => {
                if let Some(holder) = state.locked_by.take() {
                    state.owners[holder] = Owner::Ended;
                }
            }
            Step::Begin(of) => {
                let Owner::Owns { fence, length } = state.owners[of] else { return None };
                if fence == state.fence || *self == Self::NoFence {
                    state.owners[of] = Owner::Commits { fence, length };
                    state.locked_by = (*self != Self::NoLock).then_some(of);
                } else {
                    state.owners[of] = Owner::Idle;
                }
            }
            Step::Commit { of, heard } => {
                let Owner::Commits { fence, length } = state.owners[of] else { return None };
                state.log.push(length);
                (state.lapsed, state.locked_by) = (false, None);
                state.owners[of] = if heard { Owner::Owns { fence, length: length + 1 } } else { Owner::Idle };
            }
            Step::Notice(of) => {
                if state.locked_by == Some(of) {
                    state.locked_by = None;
                }
                state.owners[of] = Owner::Idle;
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("I5: each transaction built on the one before", |_: &Self, state: &State| {
                state.log.iter().zip(0..).all(|(believed, length)| *believed == length)
            }),
            Property::sometimes("both come to write", |_: &Self, state: &State| {
                state.acquired == ACQUIRES && state.log.len() == usize::from(COMMITS)
            }),
        ]
    }
}

#[test]
fn whatever_two_owners_do_the_log_is_one_line() {
    let checker = Rules::All.checker().spawn_bfs().join();
    checker.assert_properties();
    assert!(checker.unique_state_count() > 100, "{}", checker.unique_state_count());
}

#[test]
fn without_the_fence_or_the_lock_it_forks() {
    for rules in [Rules::NoFence, Rules::NoLock] {
        let checker = rules.checker().spawn_bfs().join();
        assert!(checker.discovery("I5: each transaction built on the one before").is_some(), "{rules:?}");
    }
}
