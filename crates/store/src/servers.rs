//! Upstream servers, and the versions a probe found.

mod versions;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use domain::{Alias, EraPin, Label, ServerId, ServerKey, ServerVersionId, SessionMode, UserId};
use url::Url;

use crate::error::{broke, read};
use crate::tenants::LastChange;
use crate::words::{from_words, to_words};
use crate::{Error, TenantTx};

pub use self::versions::{
    Protocol, Version, VersionState, add_version, find_version, forget_versions, list_versions, set_decided,
    set_protocol, supersede,
};

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
