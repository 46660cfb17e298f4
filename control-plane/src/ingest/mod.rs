//! Takes audit records in: the owner of each shard of the stream, and the control plane's own records.

pub mod change;
