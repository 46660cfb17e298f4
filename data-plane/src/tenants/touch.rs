//! Whether the node is in touch with its configuration, and if not, for how long: time by the node's own monotonic clock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use domain::TenantId;

/// So long without a matching head, and the node is blind.
pub const BLIND_AFTER: Duration = Duration::from_millis(750);

/// What a node may do for a tenant at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// It knows what is to be known.
    Clear,
    /// It may have missed something: no caller is let in that it does not know already.
    Blind {
        /// Whether it goes on serving the callers it knows.
        serves_known: bool,
    },
}

/// When the node last had a matching head; shared by all who ask.
#[derive(Debug)]
pub struct Touch {
    started: Instant,
    /// Milliseconds after `started`, plus one; zero: never.
    matched: AtomicU64,
    /// How long each loaded tenant lets the node go on while it is blind.
    blind_max: RwLock<HashMap<TenantId, Duration>>,
    /// Added to the time that has passed.
    #[cfg(test)]
    ahead_ms: AtomicU64,
}

impl Touch {
    /// Never had a head.
    #[must_use]
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            matched: AtomicU64::new(0),
            blind_max: RwLock::default(),
            #[cfg(test)]
            ahead_ms: AtomicU64::new(0),
        }
    }

    /// What may be done for the tenant now. Cheap while the node is in touch.
    #[must_use]
    pub fn view(&self, tenant: TenantId) -> View {
        match self.without_match() {
            Some(time) if time <= BLIND_AFTER => View::Clear,
            Some(time) => {
                let blind_max = self.blind_max.read().unwrap_or_else(PoisonError::into_inner);
                let allowed = blind_max.get(&tenant).copied().unwrap_or_default();
                View::Blind { serves_known: time <= BLIND_AFTER + allowed }
            }
            None => View::Blind { serves_known: false },
        }
    }

    /// Whether the node has been without a matching head for too long to believe that it knows everything.
    #[must_use]
    pub fn is_blind(&self) -> bool {
        self.without_match().is_none_or(|time| time > BLIND_AFTER)
    }

    /// Whether it ever had one.
    #[must_use]
    pub fn has_matched(&self) -> bool {
        self.matched.load(Ordering::Acquire) != 0
    }

    /// How long it has been since there was a matching head; `None` when there never was one.
    #[must_use]
    pub fn without_match(&self) -> Option<Duration> {
        let matched = self.matched.load(Ordering::Acquire).checked_sub(1)?;
        Some(Duration::from_millis(self.now_ms().saturating_sub(matched)))
    }

    /// There is a matching head; it was asked for at `asked`, so that a slow answer does not count as a fresh one.
    pub(crate) fn matched(&self, asked: Moment) {
        self.matched.fetch_max(asked.0 + 1, Ordering::AcqRel);
    }

    /// The present moment.
    pub(crate) fn moment(&self) -> Moment {
        Moment(self.now_ms())
    }

    pub(crate) fn allow(&self, tenant: TenantId, blind_max: Duration) {
        self.blind_max.write().unwrap_or_else(PoisonError::into_inner).insert(tenant, blind_max);
    }

    pub(crate) fn forget(&self, tenant: TenantId) {
        self.blind_max.write().unwrap_or_else(PoisonError::into_inner).remove(&tenant);
    }

    fn now_ms(&self) -> u64 {
        let passed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        #[cfg(test)]
        let passed = passed + self.ahead_ms.load(Ordering::Relaxed);
        passed
    }

    /// Lets time pass.
    #[cfg(test)]
    pub(crate) fn pass(&self, time: Duration) {
        self.ahead_ms.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

impl Default for Touch {
    fn default() -> Self {
        Self::new()
    }
}

/// A moment of [`Touch`]'s clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ACME: TenantId = TenantId::from_uuid(Uuid::from_u128(1));
    const OTHER: TenantId = TenantId::from_uuid(Uuid::from_u128(2));

    #[test]
    fn a_node_that_never_had_a_head_serves_nobody() {
        let touch = Touch::new();
        touch.allow(ACME, Duration::from_mins(1));
        assert_eq!(touch.view(ACME), View::Blind { serves_known: false });
        assert!(touch.is_blind() && !touch.has_matched());
    }

    #[test]
    fn a_cut_off_node_serves_known_callers_for_as_long_as_their_tenant_allows_and_no_longer() {
        let touch = Touch::new();
        touch.allow(ACME, Duration::from_mins(1));
        touch.matched(touch.moment());
        assert_eq!(touch.view(ACME), View::Clear);
        touch.pass(Duration::from_millis(900));
        assert_eq!(touch.view(ACME), View::Blind { serves_known: true });
        assert_eq!(touch.view(OTHER), View::Blind { serves_known: false }, "it allows nothing");
        touch.pass(Duration::from_secs(59));
        assert_eq!(touch.view(ACME), View::Blind { serves_known: true });
        touch.pass(Duration::from_secs(2));
        assert_eq!(touch.view(ACME), View::Blind { serves_known: false });
        touch.matched(touch.moment());
        assert_eq!(touch.view(ACME), View::Clear);
    }

    #[test]
    fn an_answer_that_was_long_under_way_is_as_old_as_its_question() {
        let touch = Touch::new();
        let asked = touch.moment();
        touch.pass(Duration::from_secs(1));
        touch.matched(asked);
        assert!(touch.is_blind());
    }
}
