//! The gateway: one pipeline from MCP request to upstream and back.
//!
//! Read `gateway` first. Folders stand in the order in which a request meets them: `listen`, `caller`, `tenants`, `call`,
//! `catalog`, `permit`, `credentials`, `upstream`, `reply`, `audit`.

pub mod app;
pub mod audit;
pub mod call;
pub mod caller;
pub mod catalog;
pub mod config;
pub mod credentials;
pub mod gateway;
pub mod listen;
pub mod metrics;
pub mod permit;
pub mod refusal;
pub mod relay;
pub mod reply;
pub mod tenants;
#[cfg(test)]
mod testing;
pub mod upstream;

pub use app::{Node, StartError, run};
pub use config::Config;
