//! Browsers that are signed in to the console: their cookies' digests, never the cookies.

use chrono::{DateTime, Utc};
use domain::{Role, SessionId, TenantId, UserId};

use crate::error::read;
use crate::{Error, PlatformTx};

/// A browser that is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Who.
    pub user: UserId,
    /// Since when.
    pub created_at: DateTime<Utc>,
    /// When it last asked for something, at most a minute late.
    pub seen_at: DateTime<Utc>,
    /// Until when at most.
    pub ends_at: DateTime<Utc>,
    /// What the browser said it is.
    pub agent: String,
    /// Where it signed in from.
    pub address: String,
}

/// Adds a session, and forgets those that ended.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn add(tx: &mut PlatformTx, session: &Session, digest: [u8; 32]) -> Result<(), Error> {
    sqlx::query!(
        "delete from login_sessions where session_id in
         (select session_id from login_sessions where ends_at < $1 limit 1000 for update skip locked)",
        session.created_at
    )
    .execute(tx.connection())
    .await?;
    sqlx::query!(
        "insert into login_sessions (session_id, digest, user_id, created_at, seen_at, ends_at, agent, address)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        session.id.uuid(),
        &digest,
        session.user.uuid(),
        session.created_at,
        session.seen_at,
        session.ends_at,
        session.agent,
        session.address,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The session of a cookie: not over, and seen since `idle_since`.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find(
    tx: &mut PlatformTx,
    digest: [u8; 32],
    at: DateTime<Utc>,
    idle_since: DateTime<Utc>,
) -> Result<Option<Session>, Error> {
    let found = sqlx::query_as!(
        Session,
        r#"select session_id as "id: SessionId", user_id as "user: UserId", created_at, seen_at, ends_at, agent, address
           from login_sessions where digest = $1 and ends_at > $2 and seen_at > $3"#,
        &digest,
        at,
        idle_since,
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(found)
}

/// The role that whoever a session is of has in a tenant at this moment; none once the session or the membership is over.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find_role_of(
    tx: &mut PlatformTx,
    (tenant, session): (TenantId, SessionId),
    at: DateTime<Utc>,
    idle_since: DateTime<Utc>,
) -> Result<Option<Role>, Error> {
    let role = sqlx::query_scalar!(
        "select m.role from login_sessions s join memberships m on m.user_id = s.user_id
         where s.session_id = $1 and m.tenant_id = $2 and s.ends_at > $3 and s.seen_at > $4",
        session.uuid(),
        tenant.uuid(),
        at,
        idle_since,
    )
    .fetch_optional(tx.connection())
    .await?;
    role.map(|role| read("memberships.role", Role::find(&role))).transpose()
}

/// Says that a session was seen.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn seen(tx: &mut PlatformTx, session: SessionId, at: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query!("update login_sessions set seen_at = $2 where session_id = $1", session.uuid(), at)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// A person's sessions that are not over, the last seen first.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list(
    tx: &mut PlatformTx,
    user: UserId,
    at: DateTime<Utc>,
    idle_since: DateTime<Utc>,
) -> Result<Vec<Session>, Error> {
    let sessions = sqlx::query_as!(
        Session,
        r#"select session_id as "id: SessionId", user_id as "user: UserId", created_at, seen_at, ends_at, agent, address
           from login_sessions where user_id = $1 and ends_at > $2 and seen_at > $3
           order by seen_at desc, session_id desc limit 100"#,
        user.uuid(),
        at,
        idle_since,
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(sessions)
}

/// Ends one of a person's sessions; says whether there was one.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn end(tx: &mut PlatformTx, user: UserId, session: SessionId) -> Result<bool, Error> {
    let ended =
        sqlx::query!("delete from login_sessions where user_id = $1 and session_id = $2", user.uuid(), session.uuid())
            .execute(tx.connection())
            .await?;
    Ok(ended.rows_affected() > 0)
}

/// Ends a person's sessions but one; says how many.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn end_others(tx: &mut PlatformTx, user: UserId, but: SessionId) -> Result<u64, Error> {
    let ended =
        sqlx::query!("delete from login_sessions where user_id = $1 and session_id <> $2", user.uuid(), but.uuid())
            .execute(tx.connection())
            .await?;
    Ok(ended.rows_affected())
}

/// Waits for whoever is ending all of a person's sessions, and has whoever comes then wait: what is read of the account
/// afterwards is still so when a session begins on it.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn hold(tx: &mut PlatformTx, user: UserId) -> Result<(), Error> {
    sqlx::query!(r#"select 1 as "one!" from users where user_id = $1 for share"#, user.uuid())
        .fetch_optional(tx.connection())
        .await?;
    Ok(())
}

/// Ends all of a person's sessions, those too that begin at this moment: see [`hold`].
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn end_all(tx: &mut PlatformTx, user: UserId) -> Result<(), Error> {
    sqlx::query!(r#"select 1 as "one!" from users where user_id = $1 for update"#, user.uuid())
        .fetch_optional(tx.connection())
        .await?;
    sqlx::query!("delete from login_sessions where user_id = $1", user.uuid()).execute(tx.connection()).await?;
    Ok(())
}
