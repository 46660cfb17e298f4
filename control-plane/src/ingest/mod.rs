//! Takes audit records in: the owner of each shard of the stream, and the control plane's own records.
//!
//! [`spawn`] starts a task for each shard and one for upkeep. `docs/audit-protocol.md` names the steps (O1 to O7).

mod arrival;
pub mod change;
mod checkpoints;
mod commit;
mod draining;
mod epochs;
mod loaded;
mod marks;
pub mod metrics;
mod opening;
mod owner;
mod personal;
mod placing;
mod reading;
mod stream;
mod upkeep;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use domain::Clock;
use secrets::{MasterKey, Purpose, Sealer, SigningKey};
use service::drain::Drain;
use store::PgPool;
use uuid::Uuid;

pub use self::checkpoints::{origin, verifier_key};
pub use self::metrics::Metrics;
pub(crate) use self::opening::{Opened, Opener, OpeningError};
pub(crate) use self::personal::{SUBJECT, month_of};

/// What taking in records needs.
#[derive(Clone)]
pub struct Needs {
    /// The database.
    pub pool: PgPool,
    /// Where the streams are; may be another Redis than the configuration's.
    pub redis_url: String,
    /// The deployment's id.
    pub deployment: String,
    /// Wraps the keys of personal parts, opens frames, seals acks.
    pub master: Arc<MasterKey>,
    /// Signs checkpoints of the logs.
    pub checkpoints: Arc<SigningKey>,
    /// Tells the time of ids.
    pub clock: Clock,
    /// How many shards: a power of two, at most 256, the same on nodes and control planes.
    pub shards: u16,
    /// For how long frames stay in the stream after they took effect.
    pub hold: Duration,
    /// For how long a source is remembered: longer than a node holds a spool.
    pub horizon: Duration,
    /// For how long records are kept.
    pub retention: Retention,
}

/// For how long frames stay in the stream after they took effect, unless memory runs short.
pub const HOLD: Duration = Duration::from_mins(10);
/// For how long a source is remembered: a day of spool and thirty days.
pub const HORIZON: Duration = Duration::from_hours(31 * 24);

/// For how many days records are kept, 35 to 36,500: longer than a source is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention(u64);

impl Retention {
    /// The days.
    #[must_use]
    pub const fn days(self) -> u64 {
        self.0
    }
}

impl FromStr for Retention {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        text.parse().ok().filter(|days| (35..=36_500).contains(days)).map(Self).ok_or(())
    }
}

/// Why taking in records can't begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the number of audit shards must be a power of two from 1 to 256, not {0}")]
pub struct WrongShards(pub u16);

/// Starts the owners of all shards, and the upkeep of what they keep. They end with the drain, and free their shards.
///
/// # Errors
/// [`WrongShards`] when the inbox could not tell its shards by that number.
pub fn spawn(needs: &Needs, drain: &Drain) -> Result<Arc<Metrics>, WrongShards> {
    if !needs.shards.is_power_of_two() || needs.shards > 256 {
        return Err(WrongShards(needs.shards));
    }
    let metrics = Arc::new(Metrics::default());
    let process = Uuid::from_bytes(secrets::random());
    for shard in 0..needs.shards {
        let owner = owner::Owner::new(Means::new(needs, metrics.clone()), shard, process);
        let begun = drain.begun().clone();
        drain.spawn(async move { owner.run(&begun).await });
    }
    let (needs, begun) = (needs.clone(), drain.begun().clone());
    drain.spawn(async move { upkeep::run(&needs, &begun).await });
    Ok(metrics)
}

/// What an owner works with.
#[derive(Clone)]
pub(crate) struct Means {
    pub(crate) needs: Needs,
    pub(crate) frames: Sealer,
    pub(crate) acks: Sealer,
    pub(crate) metrics: Arc<Metrics>,
}

impl Means {
    /// Derives the keys.
    #[must_use]
    pub(crate) fn new(needs: &Needs, metrics: Arc<Metrics>) -> Self {
        let sealer = |purpose| needs.master.sealer(purpose, &needs.deployment);
        Self { frames: sealer(Purpose::AuditFrame), acks: sealer(Purpose::AuditAck), needs: needs.clone(), metrics }
    }
}

#[cfg(test)]
mod tests;
