//! The audit tables: what the shard's owner keeps, and the log that is searched.

pub mod inbox;
pub mod partition;
