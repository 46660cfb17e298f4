//! The audit tables: what the shard's owner keeps, and the log that is searched.

pub mod callers;
pub mod checkpoint;
mod counted;
pub mod delivery;
pub mod epoch;
pub mod head;
pub mod held;
pub mod inbox;
pub mod leaf;
pub mod mark;
pub mod open;
pub mod partition;
pub mod quarantine;
pub mod record;
pub mod rollup;
pub mod search;
pub mod shard;
pub mod source;
pub mod subject_key;
pub mod tile;
pub mod token_use;
pub mod usage;
