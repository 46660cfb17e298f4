//! How many live pages are open: each looks into the log every second, for as long as somebody holds it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::UserId;

/// Most streams of one person: a browser has some pages open, and not a thousand.
const OF_ONE: usize = 8;
/// Most streams of everybody, so that the database has time for other things.
const OF_ALL: usize = 400;

/// The streams that are open in this process. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub(crate) struct Streams(Arc<Mutex<HashMap<UserId, usize>>>);

/// The place of one stream, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    streams: Streams,
    user: UserId,
}

impl Streams {
    /// A place for one more stream of this person; none when they, or all together, have as many as there may be.
    pub(super) fn seat(&self, user: UserId) -> Option<Seat> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.values().sum::<usize>() >= OF_ALL || open.get(&user).is_some_and(|own| *own >= OF_ONE) {
            return None;
        }
        *open.entry(user).or_default() += 1;
        Some(Seat { streams: self.clone(), user })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = open.get_mut(&self.user) {
            *own -= 1;
            if *own == 0 {
                open.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: u128) -> UserId {
        UserId::from_uuid(uuid::Uuid::from_u128(number))
    }

    #[test]
    fn a_seat_is_free_again_when_its_stream_ends() {
        let streams = Streams::default();
        let mut seats: Vec<Seat> = (0..OF_ONE).map(|_| streams.seat(user(1)).unwrap()).collect();
        assert!(streams.seat(user(1)).is_none() && streams.seat(user(2)).is_some());
        seats.pop();
        assert!(streams.seat(user(1)).is_some());
        seats.clear();
        assert!(streams.0.lock().unwrap().is_empty());
    }

    #[test]
    fn all_together_have_an_end_too() {
        let streams = Streams::default();
        let seats: Vec<Seat> = (0..500).filter_map(|number| streams.seat(user(number / 8))).collect();
        assert_eq!(seats.len(), OF_ALL);
        assert!(streams.seat(user(1000)).is_none());
    }
}
