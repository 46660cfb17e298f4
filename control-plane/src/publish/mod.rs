//! From a change in Postgres to every node: outbox, signed snapshot, Redis, live on n of n.
//!
//! One publisher is active at a time ([`worker`]). What it writes is kept in Postgres first, as it was signed; Redis is
//! brought to that state ([`redis`]), at once after each change and from nothing when it was emptied.

mod envelope;
mod head;
mod live;
mod metrics;
mod redis;
pub(crate) mod snapshot;
#[cfg(test)]
mod tests;
mod worker;

use domain::{Slug, TenantId, TenantSnapshot};
use store::{PgPool, TenantTx};

pub use live::{Live, Reach, Reached};
pub use metrics::PublishMetrics;
pub use worker::{Publisher, PublisherParts};

/// What would be published of a tenant now, in one state of the database.
///
/// # Errors
/// [`store::Error`] when the database failed, or the tenant is unknown.
pub async fn present(pool: &PgPool, tenant: TenantId, slug: Slug) -> Result<TenantSnapshot, store::Error> {
    let mut tx = TenantTx::begin_snapshot(pool, tenant).await?;
    snapshot::build(&mut tx, slug, 0).await
}
