//! The gateway: one pipeline from MCP request to upstream and back.
//!
//! Read `gateway` first. Folders stand in the order in which a request meets them: `listen`, `caller`, `tenants`.

pub mod app;
pub mod audit;
pub mod caller;
pub mod config;
pub mod gateway;
pub mod listen;
pub mod metrics;
pub mod tenants;

pub use app::{Node, StartError, run};
pub use config::Config;
