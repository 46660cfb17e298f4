//! What the last look at each server came to, and which servers are due for one.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::{ServerId, TenantId};

use crate::error::read;
use crate::{Error, PlatformTx, TenantTx};

/// How a server was when it was last looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It answered as an MCP server should.
    Healthy,
    /// Nobody answered, or not in time.
    Unreachable,
    /// It did not take our credential, or wants one.
    NeedsSignIn,
    /// It answered, but nothing that can be used.
    Unusable,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Healthy, Self::Unreachable, Self::NeedsSignIn, Self::Unusable];

    /// The written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unreachable => "unreachable",
            Self::NeedsSignIn => "needs_sign_in",
            Self::Unusable => "unusable",
        }
    }

    fn find(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// What the last look at a server came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Which server.
    pub server: ServerId,
    /// How it was.
    pub state: State,
    /// Since when it has been so.
    pub since: DateTime<Utc>,
    /// When it was last looked at.
    pub checked_at: DateTime<Utc>,
    /// What was wrong, for people.
    pub error: Option<String>,
}

/// Has a new server looked at from now on.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn add(tx: &mut TenantTx, server: ServerId, at: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query!("insert into server_health (server_id, next_at) values ($1, $2)", server.uuid(), at)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Has a server looked at no longer.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn remove(tx: &mut TenantTx, server: ServerId) -> Result<(), Error> {
    sqlx::query!("delete from server_health where server_id = $1", server.uuid()).execute(tx.connection()).await?;
    Ok(())
}

/// How looks at a server that fails again and again become rarer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// How often one is looked at that does not; each failure after the first doubles it.
    pub every: Duration,
    /// How rarely at most.
    pub most: Duration,
}

/// Writes what a look came to, where the server is still looked at. A failure makes the next look later where there is a
/// `backoff`; once a person's look finds healthy again what had failed, Sluice looks again at once.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn put(
    tx: &mut TenantTx,
    server: ServerId,
    (state, error): (State, Option<&str>),
    at: DateTime<Utc>,
    backoff: Option<Backoff>,
) -> Result<(), Error> {
    sqlx::query!(
        "update server_health set state = $2, checked_at = $4, error = $3,
             since = case when state = $2 then since else $4 end,
             failures = case when $2 = 'healthy' then 0 when $5::float8 is null then failures
                 else least(failures + 1, 30) end,
             next_at = case
                 when $2 = 'healthy' and $5 is null and failures > 0 then $4
                 when $2 = 'healthy' or $5 is null then next_at
                 else greatest(next_at, $4 + make_interval(secs =>
                     least($5 * 2 ^ failures, $6::float8) * (0.9 + 0.2 * random()))) end
         where server_id = $1",
        server.uuid(),
        state.as_str(),
        error,
        at,
        backoff.map(|backoff| backoff.every.as_secs_f64()),
        backoff.map(|backoff| backoff.most.as_secs_f64()),
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// What the last looks came to, of all servers that were looked at.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list(tx: &mut TenantTx) -> Result<Vec<Health>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"select server_id as "server: ServerId", state as "state!", since as "since!", checked_at as "checked_at!", error
           from server_health where state is not null"#
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(Row::read).collect()
}

/// What the last look at a server came to, if there was one.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find(tx: &mut TenantTx, server: ServerId) -> Result<Option<Health>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"select server_id as "server: ServerId", state as "state!", since as "since!", checked_at as "checked_at!", error
           from server_health where server_id = $1 and state is not null"#,
        server.uuid(),
    )
    .fetch_optional(tx.connection())
    .await?;
    row.map(Row::read).transpose()
}

/// Takes servers that are due, of all tenants, and makes them due again after about `every`: each time a tenth earlier or
/// later, so that they spread. Of one tenant at most `share`, and of each its first before anybody's second. Of several
/// that take at once each gets others.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn take_due(
    tx: &mut PlatformTx,
    at: DateTime<Utc>,
    every: Duration,
    (most, share): (u16, u16),
) -> Result<Vec<(TenantId, ServerId)>, Error> {
    let rows = sqlx::query!(
        r#"update server_health h set next_at = $1 + make_interval(secs => $2 * (0.9 + 0.2 * random()))
           from (select d.tenant_id, d.server_id from server_health d
                 join (select tenant_id, server_id,
                           row_number() over (partition by tenant_id order by next_at, server_id) as place
                       from server_health where next_at <= $1) ranked
                     on ranked.tenant_id = d.tenant_id and ranked.server_id = d.server_id
                 where d.next_at <= $1 and ranked.place <= $4
                 order by ranked.place, d.next_at limit $3 for update of d skip locked) due
           where h.tenant_id = due.tenant_id and h.server_id = due.server_id
           returning h.tenant_id as "tenant: TenantId", h.server_id as "server: ServerId""#,
        at,
        every.as_secs_f64(),
        i64::from(most),
        i64::from(share),
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| (row.tenant, row.server)).collect())
}

/// For how long the server that has been due longest has been.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn overdue(tx: &mut PlatformTx, at: DateTime<Utc>) -> Result<Duration, Error> {
    let oldest = sqlx::query_scalar!("select min(next_at) from server_health").fetch_one(tx.connection()).await?;
    Ok(oldest.and_then(|oldest| (at - oldest).to_std().ok()).unwrap_or_default())
}

struct Row {
    server: ServerId,
    state: String,
    since: DateTime<Utc>,
    checked_at: DateTime<Utc>,
    error: Option<String>,
}

impl Row {
    fn read(self) -> Result<Health, Error> {
        Ok(Health {
            server: self.server,
            state: read("server_health.state", State::find(&self.state))?,
            since: self.since,
            checked_at: self.checked_at,
            error: self.error,
        })
    }
}
