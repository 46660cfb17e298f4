//! Whole deployments, real clients and servers, as a user has them.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may stop here, and says what it skips"
)]

mod bad_input;
mod canary;
mod clients;
mod conservation;
mod console;
mod eras;
mod evidence;
mod house;
mod isolation;
mod publishing;
mod start;
mod tenants;
mod vault;
