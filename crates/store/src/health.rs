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

/// Writes what a look came to.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn put(
    tx: &mut TenantTx,
    server: ServerId,
    (state, error): (State, Option<&str>),
    at: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
        "insert into server_health as h (server_id, state, since, checked_at, error, next_at)
         values ($1, $2, $4, $4, $3, $4)
         on conflict on constraint server_health_pkey do update set
             state = excluded.state, checked_at = excluded.checked_at, error = excluded.error,
             since = case when h.state = excluded.state then h.since else excluded.since end",
        server.uuid(),
        state.as_str(),
        error,
        at,
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
/// later, so that they spread. Of several that take at once each gets others.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn take_due(
    tx: &mut PlatformTx,
    at: DateTime<Utc>,
    every: Duration,
    most: u16,
) -> Result<Vec<(TenantId, ServerId)>, Error> {
    let rows = sqlx::query!(
        r#"update server_health h set next_at = $1 + make_interval(secs => $2 * (0.9 + 0.2 * random()))
           from (select tenant_id, server_id from server_health where next_at <= $1
                 order by next_at limit $3 for update skip locked) due
           where h.tenant_id = due.tenant_id and h.server_id = due.server_id
           returning h.tenant_id as "tenant: TenantId", h.server_id as "server: ServerId""#,
        at,
        every.as_secs_f64(),
        i64::from(most),
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| (row.tenant, row.server)).collect())
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
