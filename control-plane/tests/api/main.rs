//! The API through its real router, over a real database of its own for each test.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop here")]

mod activity;
mod app;
mod bad_input;
mod console;
mod credentials;
mod destinations;
mod document;
mod health;
mod isolation;
mod items;
mod metrics;
mod people;
mod policies;
mod roles;
mod servers;
mod slow;
mod tokens;
