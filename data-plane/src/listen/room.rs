//! How many requests and calls a node has at once, and how many of them one tenant or one person may have.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use domain::{TenantId, UserId};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Config;

/// The places of a node. Cloning is cheap; all clones are one.
#[derive(Debug, Clone)]
pub struct Room(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    places: Arc<Semaphore>,
    tenant_most: usize,
    caller_most: usize,
    taken: Mutex<Taken>,
    counted: Gauge,
}

/// Who has how many places; nobody is listed with none.
#[derive(Debug, Default)]
struct Taken {
    tenants: HashMap<TenantId, usize>,
    callers: HashMap<(TenantId, UserId), usize>,
}

/// A place in the node: taken until the last clone is dropped, so that work counts as long as it goes on, whether or not
/// its client is still there.
#[derive(Debug, Clone)]
pub struct Seat(Arc<Held>);

#[derive(Debug)]
struct Held {
    room: Room,
    whose: OnceLock<(TenantId, UserId)>,
    _place: OwnedSemaphorePermit,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// All of the node's are taken.
    Node,
    /// The tenant has all that one may have.
    Tenant,
    /// The person has all that one may have.
    Caller,
}

impl Room {
    /// An empty node. Its places taken are shown on `counted`.
    #[must_use]
    pub fn new(config: &Config, counted: Gauge) -> Self {
        Self(Arc::new(Inner {
            places: Arc::new(Semaphore::new(config.concurrency)),
            tenant_most: config.tenant_share.of(config.concurrency),
            caller_most: config.caller_share.of(config.concurrency),
            taken: Mutex::default(),
            counted,
        }))
    }

    /// Takes a place for somebody not known yet.
    #[must_use]
    pub fn enter(&self) -> Option<Seat> {
        let place = Arc::clone(&self.0.places).try_acquire_owned().ok()?;
        self.0.counted.inc();
        Some(Seat(Arc::new(Held { room: self.clone(), whose: OnceLock::new(), _place: place })))
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Counts the place to a tenant and a person of it, once.
    ///
    /// # Errors
    /// [`Full`] when one of the two has all it may have.
    pub fn claim(&self, tenant: TenantId, user: UserId) -> Result<(), Full> {
        let Room(room) = &self.0.room;
        let mut taken = self.0.room.taken();
        let count = |places: Option<&usize>| places.copied().unwrap_or(0);
        if count(taken.tenants.get(&tenant)) >= room.tenant_most {
            return Err(Full::Tenant);
        }
        if count(taken.callers.get(&(tenant, user))) >= room.caller_most {
            return Err(Full::Caller);
        }
        if self.0.whose.set((tenant, user)).is_ok() {
            *taken.tenants.entry(tenant).or_default() += 1;
            *taken.callers.entry((tenant, user)).or_default() += 1;
        }
        Ok(())
    }

    /// Takes one more place for whoever has this one: a batch's calls count each by itself.
    ///
    /// # Errors
    /// [`Full`] when there is none.
    pub fn another(&self) -> Result<Self, Full> {
        let seat = self.0.room.enter().ok_or(Full::Node)?;
        if let Some((tenant, user)) = self.0.whose.get() {
            seat.claim(*tenant, *user)?;
        }
        Ok(seat)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.0.counted.dec();
        if let Some((tenant, user)) = self.whose.get() {
            let mut taken = self.room.taken();
            give_back(&mut taken.tenants, *tenant);
            give_back(&mut taken.callers, (*tenant, *user));
        }
    }
}

fn give_back<K: Hash + Eq>(places: &mut HashMap<K, usize>, whose: K) {
    if let Entry::Occupied(mut count) = places.entry(whose) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::testing::room;

    fn whose(tenant: u128, user: u128) -> (TenantId, UserId) {
        (TenantId::from_uuid(Uuid::from_u128(tenant)), UserId::from_uuid(Uuid::from_u128(user)))
    }

    #[test]
    fn nobody_gets_more_than_their_share_and_others_still_get_theirs() {
        let room = room(&[("SLUICE_CONCURRENCY", "8"), ("SLUICE_TENANT_SHARE", "50"), ("SLUICE_CALLER_SHARE", "25")]);
        let take = |tenant, user| {
            let (seat, (tenant, user)) = (room.enter().ok_or(Full::Node)?, whose(tenant, user));
            seat.claim(tenant, user).map(|()| seat)
        };
        let first: Vec<Seat> = (0..2).map(|_| take(1, 1).unwrap()).collect();
        assert_eq!(take(1, 1).unwrap_err(), Full::Caller);
        let second: Vec<Seat> = (0..2).map(|_| take(1, 2).unwrap()).collect();
        assert_eq!(take(1, 3).unwrap_err(), Full::Tenant);
        let other: Vec<Seat> = [1, 1, 2, 2].map(|user| take(2, user).unwrap()).into();
        assert_eq!(take(3, 1).unwrap_err(), Full::Node);
        assert_eq!(room.0.counted.get(), 8);
        drop((first, other));
        let again = take(1, 1).unwrap();
        drop((second, again));
        assert_eq!(room.0.counted.get(), 0);
        assert!(room.taken().tenants.is_empty() && room.taken().callers.is_empty());
    }

    #[test]
    fn a_share_is_at_least_one_place() {
        let room = room(&[("SLUICE_CONCURRENCY", "2"), ("SLUICE_TENANT_SHARE", "1"), ("SLUICE_CALLER_SHARE", "1")]);
        let (tenant, user) = whose(1, 1);
        let seat = room.enter().unwrap();
        seat.claim(tenant, user).unwrap();
        assert_eq!(seat.another().unwrap_err(), Full::Tenant);
        assert_eq!(room.0.counted.get(), 1, "what was refused has no place");
    }
}
