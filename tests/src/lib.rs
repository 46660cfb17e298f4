//! What the end-to-end tests and benchmarks stand on: a whole deployment started as a user starts it, an upstream that
//! fails on demand, clients of both eras.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::must_use_candidate,
    clippy::return_self_not_must_use,
    clippy::missing_errors_doc,
    reason = "for tests, which may stop here"
)]

pub mod api;
pub mod backup;
pub mod balancer;
pub mod behind;
pub mod client;
pub mod everything;
pub mod fast_upstream;
pub mod large_log;
pub mod load;
pub mod patience;
pub mod siem;
pub mod stack;
pub mod upstream;
pub mod vault;
