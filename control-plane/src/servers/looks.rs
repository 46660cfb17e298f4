//! How often the people of a tenant may have servers looked at: each look dials an address that they name.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use domain::TenantId;
use prometheus_client::metrics::counter::Counter;

use crate::problem::Problem;

/// Counts the looks of this minute by tenant, here and not over all replicas. What is looked at by itself, every few
/// minutes, does not count.
#[derive(Debug)]
pub struct Looks {
    most: u32,
    refused: Counter,
    /// The minute, and how many each tenant has had in it.
    taken: Mutex<(i64, HashMap<TenantId, u32>)>,
}

/// A tenant has had all looks of this minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "A workspace has servers looked at {0} times a minute at most (SLUICE_PROBES_PER_MINUTE). Try again in a minute."
)]
pub(crate) struct TooMany(u32);

impl Looks {
    /// At most so many of each tenant within a minute; counts those that are refused.
    #[must_use]
    pub fn new(most: u32, refused: Counter) -> Self {
        Self { most, refused, taken: Mutex::default() }
    }

    /// Takes one of a tenant's looks of this minute.
    pub(super) fn take(&self, tenant: TenantId, now: DateTime<Utc>) -> Result<(), TooMany> {
        let minute = now.timestamp().div_euclid(60);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.0 != minute {
            *taken = (minute, HashMap::new());
        }
        let count = taken.1.entry(tenant).or_default();
        if *count >= self.most {
            self.refused.inc();
            return Err(TooMany(self.most));
        }
        *count += 1;
        Ok(())
    }
}

impl From<TooMany> for Problem {
    fn from(error: TooMany) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-probes", "Too many servers were looked at")
            .detail(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tenant_has_its_looks_of_a_minute_and_the_refused_are_counted() {
        let refused = Counter::default();
        let (looks, [one, other]) = (Looks::new(2, refused.clone()), [1, 2].map(tenant));
        let at = |text: &str| format!("2026-11-20T15:{text}Z").parse().unwrap();
        let now = at("04:01");
        assert_eq!([one, one, one, one].map(|tenant| looks.take(tenant, now).is_ok()), [true, true, false, false]);
        assert!(looks.take(other, now).is_ok(), "another's are not used up");
        assert!(looks.take(one, at("04:59")).is_err() && looks.take(one, at("05:00")).is_ok());
        assert_eq!(refused.get(), 3);
        assert!(TooMany(2).to_string().contains("2 times a minute"));
    }

    fn tenant(number: u128) -> TenantId {
        TenantId::from_uuid(uuid::Uuid::from_u128(number))
    }
}
