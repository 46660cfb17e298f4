//! The control plane: API, and the workers that publish configuration and take in audit records.

pub mod ingest;
