//! The outbox: what must be published, written in the transaction of the change that asks for it.

use std::time::Duration;

use domain::{TenantId, TokenId};
use sqlx::PgPool;
use sqlx::postgres::PgListener;

use crate::{Error, PlatformTx, TenantTx};

/// The channel that is notified when something was added.
const CHANNEL: &str = "outbox";

/// Something that waits to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Names the row.
    pub outbox: i64,
    /// Whose it is.
    pub tenant: TenantId,
    /// What changed.
    pub what: Change,
    /// How long it has waited.
    pub waited: Duration,
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The tenant's configuration.
    Configuration,
    /// A gateway token: it was issued, changed or revoked.
    Token(TokenId),
}

/// Raises the revision of the transaction's tenant and asks for its publication; gives the new revision.
///
/// # Errors
/// [`Error`] when the database failed, or the tenant is unknown.
pub async fn changed(tx: &mut TenantTx) -> Result<i64, Error> {
    let revision = sqlx::query_scalar!(
        "with raised as (update tenant_settings set revision = revision + 1 returning revision),
         added as (insert into outbox (revision) select revision from raised)
         select revision from raised"
    )
    .fetch_one(tx.connection())
    .await?;
    notify(tx).await?;
    Ok(revision)
}

/// Asks for a gateway token's publication: after it was issued, revoked, or its principal changed.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn token_changed(tx: &mut TenantTx, token: TokenId) -> Result<(), Error> {
    sqlx::query!("insert into outbox (token_id) values ($1)", token.uuid()).execute(tx.connection()).await?;
    notify(tx).await
}

async fn notify(tx: &mut TenantTx) -> Result<(), Error> {
    sqlx::query!("select pg_notify($1, '')", CHANNEL).execute(tx.connection()).await?;
    Ok(())
}

/// The oldest `limit` rows that wait.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list(tx: &mut PlatformTx, limit: i64) -> Result<Vec<Waiting>, Error> {
    let rows = sqlx::query!(
        r#"select outbox_id, tenant_id, token_id, extract(epoch from clock_timestamp() - at)::float8 as "waited_s!"
           from outbox order by outbox_id limit $1"#,
        limit
    )
    .fetch_all(tx.connection())
    .await?;
    let waiting = rows.into_iter().map(|row| Waiting {
        outbox: row.outbox_id,
        tenant: TenantId::from_uuid(row.tenant_id),
        what: row.token_id.map_or(Change::Configuration, |token| Change::Token(TokenId::from_uuid(token))),
        waited: seconds(row.waited_s),
    });
    Ok(waiting.collect())
}

/// How many rows wait, and how long the oldest has; 0 when none does.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn depth(tx: &mut PlatformTx) -> Result<(u64, Duration), Error> {
    let row = sqlx::query!(
        r#"select count(*) as "count!",
               coalesce(extract(epoch from clock_timestamp() - min(at)), 0)::float8 as "waited_s!" from outbox"#
    )
    .fetch_one(tx.connection())
    .await?;
    Ok((row.count.cast_unsigned(), seconds(row.waited_s)))
}

/// A clock that was set back makes no time negative.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// Takes rows away that were seen to.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn remove(tx: &mut PlatformTx, rows: &[i64]) -> Result<(), Error> {
    sqlx::query!("delete from outbox where outbox_id = any($1)", rows).execute(tx.connection()).await?;
    Ok(())
}

/// Hears when something was added, on a connection of its own.
#[derive(Debug)]
pub struct Listener(PgListener);

impl Listener {
    /// Begins to listen.
    ///
    /// # Errors
    /// [`Error`] when the database can't be reached.
    pub async fn connect(pool: &PgPool) -> Result<Self, Error> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(Self(listener))
    }

    /// Waits until something was added. May be dropped at any time. A notification can be lost: poll besides.
    ///
    /// # Errors
    /// [`Error`] when the connection broke and could not be made again.
    pub async fn wait(&mut self) -> Result<(), Error> {
        self.0.recv().await?;
        Ok(())
    }
}
