//! Whole deployments, real clients and servers, as a user has them.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may stop here, and says what it skips"
)]

mod bad_input;
mod canary;
mod chaos;
mod clients;
mod console;
mod eras;
mod evidence;
mod house;
mod input;
mod isolation;
mod keys;
mod official_suite;
mod publishing;
mod restore;
mod rolling;
mod start;
mod tenants;
mod vault;
