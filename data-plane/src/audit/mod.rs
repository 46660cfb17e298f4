//! The node's side of the audit protocol (`docs/audit-protocol.md`): a call's intent is durable before the call is forwarded, its outcome is
//! formed whatever happens to it, and a frame is let go of only when its effect is committed.
//!
//! [`Recorder`] is what the pipeline sees. Behind it, per shard: [`queue`] (records become frames), [`ship`] (the task
//! that sends, spools and frees them), [`outbox`] (what has not taken effect), [`exchange`] and [`carrier`] (Redis), and [`spool`] (disk).

mod carrier;
mod counters;
mod exchange;
mod open;
mod outbox;
mod queue;
mod recorder;
mod refused;
mod ship;
mod spool;
mod weight;

pub use counters::{Count, Counters, Waits};
pub use open::{OpenRecord, later};
pub use recorder::{AuditUnavailable, Condition, Keys, Recorder, Settings, StartError};
pub use spool::{SpoolError, SpoolMode, SpoolSettings};

#[cfg(test)]
pub(crate) mod tests;
