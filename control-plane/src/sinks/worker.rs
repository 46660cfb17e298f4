//! Finds lanes that have something to send, and has each sent by a task of its own: who is slow or dead delays at most lanes
//! of the same tenant, which share its slots and its part of the memory.

use std::sync::Arc;
use std::time::Duration;

use service::Drain;
use store::lanes::{self, Room};
use store::{PgPool, PlatformTx};
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;
use tracing::warn;
use uuid::Uuid;

use super::Needs;
use super::idle::Idle;
use super::lane::Runner;
use super::memory::Memory;
use super::metrics::Metrics;
use super::settings::KINDS;
use crate::access::Access;
use crate::problem::causes;

/// Destinations that one process sends to at a time. A batch in each is what it costs in memory.
pub(super) const SLOTS: usize = 128;
/// Of them for one tenant, over all processes: whoever is slow takes no more from others.
const TENANT_SLOTS: u32 = 16;
/// Between two looks for what is to be sent.
const POLL: Duration = Duration::from_millis(500);
/// Lanes taken at once.
const AT_ONCE: usize = 32;
/// Between two looks at how far destinations are behind.
const MEASURE: Duration = Duration::from_secs(5);
/// For how long a lane waits for one of the few connections there are for all.
pub const CONNECTION_WAIT: Duration = Duration::from_secs(20);
/// For how long a lane is held after its sender was last heard of: longer than it takes to make a batch, and longer than one
/// try takes, which begins with it anew.
pub(super) const LEASE: Duration = Duration::from_mins(1);

/// What sending may use, all lanes together.
#[derive(Debug, Clone)]
pub struct Means {
    /// Connections to Postgres that are nobody else's.
    pub pool: PgPool,
    /// Most memory that batches take at once, bytes.
    pub memory: usize,
}

/// What the lanes of a process share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) metrics: Metrics,
    pub(super) memory: Memory,
    pub(super) idle: Idle,
}

/// Sends records to destinations. Any number of control planes may: what one takes no other gets.
#[derive(Debug, Clone)]
pub struct Worker {
    needs: Needs,
    shared: Shared,
    process: Uuid,
    /// Of everybody: how far destinations are behind is told also while sending has no connection left.
    common: PgPool,
}

impl Worker {
    /// A worker that uses these means and no others, and counts into these metrics.
    #[must_use]
    pub fn new(needs: Needs, means: Means, metrics: Metrics) -> Self {
        let Means { pool, memory } = means;
        let common = needs.access.pool.clone();
        let needs = Needs { access: Access { pool, ..needs.access }, ..needs };
        let memory = Memory::new(memory, metrics.held_up.clone());
        let shared = Shared { metrics, memory, idle: Idle::default() };
        Self { needs, shared, process: Uuid::from_bytes(secrets::random()), common }
    }

    /// Sends until the drain begins.
    pub async fn run(self, drain: Drain) {
        let slots = Arc::new(Semaphore::new(SLOTS));
        let (idle, pool) = (self.shared.idle.clone(), self.needs.access.pool.clone());
        drain.spawn(idle.look(pool, drain.begun().clone()));
        let (metrics, common, begun) = (self.shared.metrics.clone(), self.common.clone(), drain.begun().clone());
        drain.spawn(async move {
            begun.run_until_cancelled(measure_always(&common, &metrics)).await;
        });
        while !drain.begun().is_cancelled() {
            self.shared.metrics.set_busy(SLOTS - slots.available_permits());
            self.shared.metrics.set_means(&self.needs.access.pool, self.shared.memory.held());
            let pause = match self.round(&slots, &drain).await {
                Ok(taken) if taken >= AT_ONCE => Duration::ZERO,
                Ok(_) => POLL,
                Err(error) => {
                    warn!(error = causes(&error), "can't tell which destinations have something to send");
                    10 * POLL
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = drain.begun().cancelled() => {}
            }
        }
    }

    /// Takes what is due and starts a task for each; gives how many.
    async fn round(&self, slots: &Arc<Semaphore>, drain: &Drain) -> Result<usize, store::Error> {
        let free = slots.available_permits().min(AT_ONCE);
        if free == 0 {
            return Ok(0);
        }
        let mut tx = PlatformTx::begin(&self.needs.access.pool).await?;
        let room = Room { free: u32::try_from(free).unwrap_or(u32::MAX), per_tenant: TENANT_SLOTS };
        let claims = lanes::claim(&mut tx, self.process, room, LEASE).await?;
        tx.commit().await?;
        let taken = claims.len();
        for claim in claims {
            // This loop alone takes permits: there are as many as there were.
            let Ok(permit) = Arc::clone(slots).try_acquire_owned() else { break };
            let runner = Runner::new(self.needs.clone(), self.shared.clone(), claim);
            let (begun, slots) = (drain.begun().clone(), Arc::clone(slots));
            drain.spawn(async move {
                Box::pin(runner.run(&begun, &slots)).await;
                drop(permit);
            });
        }
        Ok(taken)
    }
}

/// Tells how far destinations are behind, again and again.
async fn measure_always(pool: &PgPool, metrics: &Metrics) {
    let mut turns = tokio::time::interval(MEASURE);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        match measure(pool).await {
            Ok(behind) => metrics.set_behind(KINDS, &behind),
            Err(error) => warn!(error = causes(&error), "can't tell how far destinations are behind"),
        }
    }
}

async fn measure(pool: &PgPool) -> Result<Vec<(String, Duration, u64)>, store::Error> {
    let mut tx = PlatformTx::begin(pool).await?;
    lanes::note_waiting(&mut tx).await?;
    let behind = lanes::behind(&mut tx).await?;
    tx.commit().await?;
    Ok(behind)
}
