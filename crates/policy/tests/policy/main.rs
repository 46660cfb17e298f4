//! The crate from outside: what policies say of calls, on a tenant of a few servers.
#![expect(clippy::unwrap_used, reason = "a test may stop here")]

mod acme;
mod approvals;
mod hostile;
mod sentences;
mod slices;
mod texts;
mod visibility;
