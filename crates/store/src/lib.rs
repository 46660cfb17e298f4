//! Every SQL statement, one file per aggregate, every tenant statement behind [`TenantTx`].
//!
//! Functions take the fenced transaction first, return plain values and decide nothing. No statement names its tenant:
//! row-level security is the fence, and `tenant_id` defaults to the fenced tenant on insert.

pub mod accounts;
pub mod attempts;
pub mod audit;
pub mod credentials;
pub mod destinations;
mod error;
pub mod health;
pub mod invitations;
pub mod items;
pub mod lanes;
pub mod letters;
pub mod outbox;
pub mod people;
pub mod policies;
pub mod published;
pub mod publisher;
pub mod restore;
pub mod revocations;
pub mod servers;
pub mod sessions;
pub mod shown_once;
mod start;
pub mod tenants;
pub mod tokens;
pub mod tools;
mod tx;
mod words;
pub mod wrapped;

pub use error::Error;
pub use sqlx::PgPool;
use sqlx::migrate::Migrator;
pub use start::{StartError, check_role, connect, connect_waiting, migrate};
pub use tx::{IngestTx, PlatformTx, TenantTx};

/// Brings a database to the present schema.
pub static MIGRATOR: Migrator = sqlx::migrate!("../../migrations");
