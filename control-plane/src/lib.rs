//! The control plane: API, and the workers that publish configuration and take in audit records.

pub mod access;
mod activity;
pub mod app;
mod bootstrap;
pub mod config;
mod connect;
pub mod console;
mod credentials;
mod diff;
mod endpoint;
pub mod evidence;
pub mod ingest;
pub mod input;
pub mod login;
pub mod metrics;
mod overview;
mod people;
mod policies;
pub mod problem;
pub mod publish;
pub mod recorded;
pub mod restore;
pub mod rewrap;
mod run;
mod servers;
pub mod sinks;
mod tenants;
mod tokens;

pub use bootstrap::{BootstrapError, Bootstrapped, First, bootstrap, bootstrap_at, check_database, give_password_at};
pub use config::{Config, ConfigError, MailConfig};
pub use run::{StartError, run};
pub use servers::{Looks, Relay, Sandbox, Watch};
