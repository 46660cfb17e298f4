//! The audit record, its canonical bytes, keyed hashes, the Merkle log and the protocol from a node to the log.
