//! Every SQL statement, one file per aggregate, every tenant statement behind `TenantTx`.

pub mod audit;
mod tx;

pub use sqlx::PgPool;
use sqlx::migrate::Migrator;

pub use crate::tx::{IngestTx, PlatformTx, TenantTx};

/// Brings a database to the present schema.
pub static MIGRATOR: Migrator = sqlx::migrate!("../../migrations");

/// The database failed; there is nothing a caller could do about it but try again later.
#[derive(Debug, thiserror::Error)]
#[error("the database failed")]
pub struct Error(#[from] sqlx::Error);
