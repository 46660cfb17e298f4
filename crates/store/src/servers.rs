//! Upstream servers, and the versions a probe found.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use domain::{Alias, EraPin, Label, ServerId, ServerKey, ServerVersionId, SessionMode, UserId};
use url::Url;

use crate::error::{broke, read};
use crate::tenants::LastChange;
use crate::words::{from_words, to_words};
use crate::{Error, TenantTx};

/// An upstream server as registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its id.
    pub id: ServerId,
    /// Its name in policies, chosen once.
    pub key: ServerKey,
    /// What may be changed.
    pub settings: Settings,
    /// Whether calls are refused for now.
    pub paused: bool,
    /// The reviewed version; none before the first review.
    pub version: Option<ServerVersionId>,
    /// Counts changes: who changes says which revision was seen.
    pub revision: u64,
    /// Since when it is registered.
    pub created_at: DateTime<Utc>,
}

/// What may be changed of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The prefix of its tools.
    pub alias: Alias,
    /// Its name for people.
    pub title: String,
    /// Where it is.
    pub endpoint: Url,
    /// Which era it is spoken to in.
    pub era: EraPin,
    /// Who shares a legacy session.
    pub sessions: SessionMode,
    /// Labels all its tools inherit.
    pub labels: BTreeSet<Label>,
    /// Longest wait for the end of an answer, milliseconds.
    pub timeout_ms: u32,
    /// Largest answer passed on, bytes.
    pub answer_max_bytes: u64,
}

/// Why a server was not added or changed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The tenant has or had a server of that key.
    #[error("the key is taken")]
    KeyTaken,
    /// The tenant has a server of that alias.
    #[error("the alias is taken")]
    AliasTaken,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] Error),
}

impl From<sqlx::Error> for WriteError {
    fn from(error: sqlx::Error) -> Self {
        if broke(&error, "servers_key_key") {
            Self::KeyTaken
        } else if broke(&error, "servers_alias_key") {
            Self::AliasTaken
        } else {
            Self::Database(error.into())
        }
    }
}

/// Adds a server.
///
/// # Errors
/// [`WriteError`] when its key or alias is taken.
pub async fn add(tx: &mut TenantTx, server: &Server) -> Result<(), WriteError> {
    let settings = &server.settings;
    sqlx::query!(
        "insert into servers (server_id, key, alias, title, endpoint, era, sessions, labels, timeout_ms, answer_max_bytes, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        server.id.uuid(),
        server.key.as_str(),
        settings.alias.as_str(),
        settings.title,
        settings.endpoint.as_str(),
        settings.era.as_str(),
        settings.sessions.as_str(),
        &to_words(&settings.labels),
        settings.timeout_ms.cast_signed(),
        settings.answer_max_bytes.cast_signed(),
        server.created_at,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// All servers that were not removed, in the order they came.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list(tx: &mut TenantTx) -> Result<Vec<Server>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"select server_id as "id: ServerId", key, alias, title, endpoint, era, sessions, labels, timeout_ms, answer_max_bytes,
               paused, server_version_id as "version: ServerVersionId", revision, created_at
           from servers where removed_at is null order by created_at, server_id"#
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(Row::read).collect()
}

/// One server that was not removed.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find(tx: &mut TenantTx, id: ServerId) -> Result<Option<Server>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"select server_id as "id: ServerId", key, alias, title, endpoint, era, sessions, labels, timeout_ms, answer_max_bytes,
               paused, server_version_id as "version: ServerVersionId", revision, created_at
           from servers where server_id = $1 and removed_at is null"#,
        id.uuid(),
    )
    .fetch_optional(tx.connection())
    .await?;
    row.map(Row::read).transpose()
}

/// One server that was not removed, locked until the transaction ends: whoever changes what belongs to it takes this
/// lock first.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find_locked(tx: &mut TenantTx, id: ServerId) -> Result<Option<Server>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"select server_id as "id: ServerId", key, alias, title, endpoint, era, sessions, labels, timeout_ms, answer_max_bytes,
               paused, server_version_id as "version: ServerVersionId", revision, created_at
           from servers where server_id = $1 and removed_at is null for update"#,
        id.uuid(),
    )
    .fetch_optional(tx.connection())
    .await?;
    row.map(Row::read).transpose()
}

/// Who last changed a server, and when.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn last_change(tx: &mut TenantTx, id: ServerId) -> Result<LastChange, Error> {
    let found = sqlx::query!(
        r#"select changed_by as "changed_by: UserId", changed_at from servers where server_id = $1"#,
        id.uuid(),
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(found.map(|row| LastChange { by: row.changed_by, at: row.changed_at }).unwrap_or_default())
}

/// Writes a server's settings, whether it is paused and its reviewed version, and who did; counts its revision up.
///
/// # Errors
/// [`WriteError::AliasTaken`] when another server has the alias.
pub async fn change(tx: &mut TenantTx, server: &Server, (by, at): (UserId, DateTime<Utc>)) -> Result<(), WriteError> {
    let settings = &server.settings;
    sqlx::query!(
        "update servers set alias = $2, title = $3, endpoint = $4, era = $5, sessions = $6, labels = $7, timeout_ms = $8,
             answer_max_bytes = $9, paused = $10, server_version_id = $11, changed_by = $12, changed_at = $13,
             revision = revision + 1
         where server_id = $1",
        server.id.uuid(),
        settings.alias.as_str(),
        settings.title,
        settings.endpoint.as_str(),
        settings.era.as_str(),
        settings.sessions.as_str(),
        &to_words(&settings.labels),
        settings.timeout_ms.cast_signed(),
        settings.answer_max_bytes.cast_signed(),
        server.paused,
        server.version.map(ServerVersionId::uuid),
        by.uuid(),
        at,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Removes a server; its row stays, so that its key is never used again.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn remove(tx: &mut TenantTx, id: ServerId, at: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query!("update servers set removed_at = $2, revision = revision + 1 where server_id = $1", id.uuid(), at)
        .execute(tx.connection())
        .await?;
    Ok(())
}

struct Row {
    id: ServerId,
    key: String,
    alias: String,
    title: String,
    endpoint: String,
    era: String,
    sessions: String,
    labels: Vec<String>,
    timeout_ms: i32,
    answer_max_bytes: i64,
    paused: bool,
    version: Option<ServerVersionId>,
    revision: i64,
    created_at: DateTime<Utc>,
}

impl Row {
    fn read(self) -> Result<Server, Error> {
        let settings = Settings {
            alias: read("servers.alias", self.alias.parse().ok())?,
            title: self.title,
            endpoint: read("servers.endpoint", self.endpoint.parse().ok())?,
            era: read("servers.era", EraPin::find(&self.era))?,
            sessions: read("servers.sessions", SessionMode::find(&self.sessions))?,
            labels: from_words("servers.labels", &self.labels)?,
            timeout_ms: self.timeout_ms.cast_unsigned(),
            answer_max_bytes: self.answer_max_bytes.cast_unsigned(),
        };
        Ok(Server {
            id: self.id,
            key: read("servers.key", self.key.parse().ok())?,
            settings,
            paused: self.paused,
            version: self.version,
            revision: self.revision.cast_unsigned(),
            created_at: self.created_at,
        })
    }
}

/// Where a version stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionState {
    /// A person must look.
    Held,
    /// A person has.
    Decided,
    /// A later probe found something else before one did.
    Superseded,
}

impl VersionState {
    /// The written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Decided => "decided",
            Self::Superseded => "superseded",
        }
    }

    fn find(text: &str) -> Option<Self> {
        [Self::Held, Self::Decided, Self::Superseded].into_iter().find(|state| state.as_str() == text)
    }
}

/// What one probe found, where it differs from what is live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its id.
    pub id: ServerVersionId,
    /// Of which server.
    pub server: ServerId,
    /// From 1, per server.
    pub number: u32,
    /// Where it stands.
    pub state: VersionState,
    /// Modern or legacy.
    pub era: EraPin,
    /// The protocol version agreed on.
    pub protocol_version: String,
    /// `serverInfo`, JSON as the server gave it.
    pub server_info: Option<String>,
    /// Instructions for models.
    pub instructions: Option<String>,
    /// When.
    pub found_at: DateTime<Utc>,
    /// Who asked; none: Sluice looked by itself.
    pub found_by: Option<UserId>,
}

/// Adds a version; the server's earlier held ones are superseded.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn add_version(tx: &mut TenantTx, version: &Version) -> Result<(), Error> {
    supersede(tx, version.server).await?;
    sqlx::query!(
        "insert into server_versions (server_version_id, server_id, number, state, era, protocol_version, server_info, instructions, found_at, found_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        version.id.uuid(),
        version.server.uuid(),
        version.number.cast_signed(),
        version.state.as_str(),
        version.era.as_str(),
        version.protocol_version,
        version.server_info,
        version.instructions,
        version.found_at,
        version.found_by.map(UserId::uuid),
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Takes back what waits for a decision: the server offers it no longer. Says whether anything did.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn supersede(tx: &mut TenantTx, server: ServerId) -> Result<bool, Error> {
    let superseded = sqlx::query!(
        "update server_versions set state = 'superseded' where server_id = $1 and state = 'held'",
        server.uuid()
    )
    .execute(tx.connection())
    .await?;
    Ok(superseded.rows_affected() > 0)
}

/// Deletes superseded versions nobody said anything to, but for the newest (whoever has it open is told what became of
/// it); then, while more than `most` are left, the oldest of those of which nothing was accepted, superseded ones first.
/// What was accepted stays, and so does the newest version of all: its number is not given again.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn forget_versions(tx: &mut TenantTx, server: ServerId, most: u16) -> Result<(), Error> {
    let gone = sqlx::query_scalar!(
        r#"with known as (
               select v.server_version_id as id, v.number, v.state = 'superseded' as superseded,
                   bool_or(c.state = 'accepted') is true or v.server_version_id in (
                       select s.server_version_id from servers s where s.server_id = $1) as accepted,
                   bool_or(c.state = 'rejected') is true as rejected
               from server_versions v
               left join tool_changes c on c.tenant_id = v.tenant_id and c.server_version_id = v.server_version_id
               where v.server_id = $1 and v.state <> 'held' group by v.tenant_id, v.server_version_id),
           waste as (
               select id from known where superseded and not accepted and not rejected
                   and number < (select max(number) from known where superseded)),
           excess as (
               select id from known where id not in (select id from waste) and not accepted and (superseded or rejected)
                   and number < (select max(number) from server_versions where server_id = $1)
               order by superseded desc, number
               limit greatest(0, (select count(*) from server_versions where server_id = $1)
                   - (select count(*) from waste) - $2))
           select id as "id!" from waste union all select id from excess"#,
        server.uuid(),
        i64::from(most),
    )
    .fetch_all(tx.connection())
    .await?;
    sqlx::query!("delete from tool_changes where server_version_id = any($1)", &gone).execute(tx.connection()).await?;
    sqlx::query!("delete from server_versions where server_version_id = any($1)", &gone)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// A server's versions, newest first.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list_versions(tx: &mut TenantTx, server: ServerId) -> Result<Vec<Version>, Error> {
    let rows = sqlx::query_as!(
        VersionRow,
        r#"select server_version_id as "id: ServerVersionId", server_id as "server: ServerId", number, state, era,
               protocol_version, server_info, instructions, found_at, found_by as "found_by: UserId"
           from server_versions where server_id = $1 order by number desc"#,
        server.uuid(),
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(VersionRow::read).collect()
}

/// One version of a server.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find_version(
    tx: &mut TenantTx,
    server: ServerId,
    version: ServerVersionId,
) -> Result<Option<Version>, Error> {
    let row = sqlx::query_as!(
        VersionRow,
        r#"select server_version_id as "id: ServerVersionId", server_id as "server: ServerId", number, state, era,
               protocol_version, server_info, instructions, found_at, found_by as "found_by: UserId"
           from server_versions where server_id = $1 and server_version_id = $2"#,
        server.uuid(),
        version.uuid(),
    )
    .fetch_optional(tx.connection())
    .await?;
    row.map(VersionRow::read).transpose()
}

/// Says that a person has looked at all of a version.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn set_decided(tx: &mut TenantTx, version: ServerVersionId) -> Result<(), Error> {
    sqlx::query!("update server_versions set state = 'decided' where server_version_id = $1", version.uuid())
        .execute(tx.connection())
        .await?;
    Ok(())
}

struct VersionRow {
    id: ServerVersionId,
    server: ServerId,
    number: i32,
    state: String,
    era: String,
    protocol_version: String,
    server_info: Option<String>,
    instructions: Option<String>,
    found_at: DateTime<Utc>,
    found_by: Option<UserId>,
}

impl VersionRow {
    fn read(self) -> Result<Version, Error> {
        Ok(Version {
            id: self.id,
            server: self.server,
            number: self.number.cast_unsigned(),
            state: read("server_versions.state", VersionState::find(&self.state))?,
            era: read("server_versions.era", EraPin::find(&self.era))?,
            protocol_version: self.protocol_version,
            server_info: self.server_info,
            instructions: self.instructions,
            found_at: self.found_at,
            found_by: self.found_by,
        })
    }
}
