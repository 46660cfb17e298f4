//! The control plane: API, and the workers that publish configuration and take in audit records.

pub mod access;
pub mod app;
pub mod ingest;
pub mod input;
mod people;
pub mod problem;
pub mod recorded;
mod tenants;
mod tokens;
