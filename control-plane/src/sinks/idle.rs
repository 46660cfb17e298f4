//! Lanes that have sent everything wait here for their logs to grow: one look for all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::TenantId;
use store::lanes::{self, End};
use store::{PgPool, PlatformTx};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::problem::causes;

/// Between two looks, while somebody waits.
const LOOK: Duration = Duration::from_millis(250);

/// Who waits for which log. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(super) struct Idle(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// How many lanes of a tenant wait.
    waiting: Mutex<HashMap<TenantId, usize>>,
    /// How far the logs of tenants that wait were at the last look.
    ends: watch::Sender<HashMap<TenantId, End>>,
}

/// One that waits.
struct Waits<'a>(&'a Inner, TenantId);

impl<'a> Waits<'a> {
    fn new(inner: &'a Inner, tenant: TenantId) -> Self {
        *inner.waiting.lock().unwrap_or_else(PoisonError::into_inner).entry(tenant).or_default() += 1;
        Self(inner, tenant)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = waiting.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.1);
            }
        }
    }
}

impl Idle {
    /// Waits until a tenant's log reaches further than `end`, while `may_wait` says so at each look. Whether it does.
    pub(super) async fn grown(&self, tenant: TenantId, end: End, may_wait: impl Fn() -> bool) -> bool {
        let _waits = Waits::new(&self.0, tenant);
        let mut ends = self.0.ends.subscribe();
        // What was seen before is older than `end`.
        while may_wait() && ends.changed().await.is_ok() {
            // An epoch that was begun may have fewer records, and is further all the same.
            if ends.borrow_and_update().get(&tenant).is_some_and(|now| *now > end) {
                return true;
            }
        }
        false
    }

    /// Looks for those who wait, until the drain begins.
    pub(super) async fn look(self, pool: PgPool, begun: CancellationToken) {
        let mut turns = tokio::time::interval(LOOK);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = turns.tick() => {}
                () = begun.cancelled() => return,
            }
            let tenants = self.tenants();
            if tenants.is_empty() {
                continue;
            }
            match ends(&pool, &tenants).await {
                Ok(ends) => drop(self.0.ends.send_replace(ends)),
                Err(error) => warn!(error = causes(&error), "can't tell whether logs have grown"),
            }
        }
    }

    fn tenants(&self) -> Vec<TenantId> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }
}

async fn ends(pool: &PgPool, tenants: &[TenantId]) -> Result<HashMap<TenantId, End>, store::Error> {
    let mut tx = PlatformTx::begin(pool).await?;
    lanes::ends(&mut tx, tenants).await
}
