//! Policies and the versions of their texts.

use chrono::{DateTime, Utc};
use domain::{PolicyId, PolicyText, PolicyVersionId, UserId};

use crate::error::broke;
use crate::{Error, TenantTx};

/// A policy over all its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its id.
    pub id: PolicyId,
    /// Its name for people.
    pub name: String,
    /// The version in force; none: a draft, or switched off.
    pub active_version: Option<u32>,
    /// The newest version.
    pub latest_version: u32,
    /// Counts changes: who changes says which revision was seen.
    pub revision: u64,
    /// Since when.
    pub created_at: DateTime<Utc>,
}

/// One version of a policy's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its id.
    pub id: PolicyVersionId,
    /// Of which policy.
    pub policy: PolicyId,
    /// From 1.
    pub version: u32,
    /// Cedar.
    pub text: String,
    /// SHA-256 of the text, hexadecimal.
    pub sha256: String,
    /// When.
    pub written_at: DateTime<Utc>,
    /// By whom.
    pub written_by: UserId,
}

/// Why a policy was not added or changed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The tenant has a policy of that name.
    #[error("the name is taken")]
    NameTaken,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] Error),
}

impl From<sqlx::Error> for WriteError {
    fn from(error: sqlx::Error) -> Self {
        if broke(&error, "policies_name_key") { Self::NameTaken } else { Self::Database(error.into()) }
    }
}

/// Adds a policy; its versions follow.
///
/// # Errors
/// [`WriteError::NameTaken`] when the tenant has a policy of that name.
pub async fn add(tx: &mut TenantTx, policy: &Policy) -> Result<(), WriteError> {
    sqlx::query!(
        "insert into policies (policy_id, name, latest_version, created_at) values ($1, $2, $3, $4)",
        policy.id.uuid(),
        policy.name,
        policy.latest_version.cast_signed(),
        policy.created_at,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// All policies that were not removed, in the order they came.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list(tx: &mut TenantTx) -> Result<Vec<Policy>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"select policy_id as "id: PolicyId", name, active_version, latest_version, revision, created_at
           from policies where removed_at is null order by created_at, policy_id"#
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(Policy::from).collect())
}

/// One policy that was not removed.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find(tx: &mut TenantTx, id: PolicyId) -> Result<Option<Policy>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"select policy_id as "id: PolicyId", name, active_version, latest_version, revision, created_at
           from policies where policy_id = $1 and removed_at is null"#,
        id.uuid(),
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(row.map(Policy::from))
}

/// One policy that was not removed, locked until the transaction ends.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find_locked(tx: &mut TenantTx, id: PolicyId) -> Result<Option<Policy>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"select policy_id as "id: PolicyId", name, active_version, latest_version, revision, created_at
           from policies where policy_id = $1 and removed_at is null for update"#,
        id.uuid(),
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(row.map(Policy::from))
}

/// Writes a policy's name and version numbers, and counts its revision up.
///
/// # Errors
/// [`WriteError::NameTaken`] when another policy has the name.
pub async fn change(tx: &mut TenantTx, policy: &Policy) -> Result<(), WriteError> {
    sqlx::query!(
        "update policies set name = $2, active_version = $3, latest_version = $4, revision = revision + 1 where policy_id = $1",
        policy.id.uuid(),
        policy.name,
        policy.active_version.map(u32::cast_signed),
        policy.latest_version.cast_signed(),
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Removes a policy; its versions stay, since records name them.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn remove(tx: &mut TenantTx, id: PolicyId, at: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query!(
        "update policies set removed_at = $2, active_version = null, revision = revision + 1 where policy_id = $1",
        id.uuid(),
        at
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Adds a version of a policy's text.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn add_version(tx: &mut TenantTx, version: &Version) -> Result<(), Error> {
    sqlx::query!(
        "insert into policy_versions (policy_version_id, policy_id, version, text, sha256, written_at, written_by)
         values ($1, $2, $3, $4, $5, $6, $7)",
        version.id.uuid(),
        version.policy.uuid(),
        version.version.cast_signed(),
        version.text,
        version.sha256,
        version.written_at,
        version.written_by.uuid(),
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// A policy's versions, newest first.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list_versions(tx: &mut TenantTx, policy: PolicyId) -> Result<Vec<Version>, Error> {
    let rows = sqlx::query_as!(
        VersionRow,
        r#"select policy_version_id as "id: PolicyVersionId", policy_id as "policy: PolicyId", version, text, sha256, written_at,
               written_by as "written_by: UserId"
           from policy_versions where policy_id = $1 order by version desc"#,
        policy.uuid(),
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(Version::from).collect())
}

/// A version without its text, which may be long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// From 1.
    pub version: u32,
    /// When.
    pub written_at: DateTime<Utc>,
    /// By whom.
    pub written_by: UserId,
}

/// What [`list_versions`] lists, in the same order, without texts.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list_written(tx: &mut TenantTx, policy: PolicyId) -> Result<Vec<Written>, Error> {
    let rows = sqlx::query!(
        r#"select version, written_at, written_by as "written_by: UserId"
           from policy_versions where policy_id = $1 order by version desc"#,
        policy.uuid(),
    )
    .fetch_all(tx.connection())
    .await?;
    let written = rows.into_iter().map(|row| Written {
        version: row.version.cast_unsigned(),
        written_at: row.written_at,
        written_by: row.written_by,
    });
    Ok(written.collect())
}

/// The newest versions of all policies that were not removed, and those in force.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list_present(tx: &mut TenantTx) -> Result<Vec<Version>, Error> {
    let rows = sqlx::query_as!(
        VersionRow,
        r#"select v.policy_version_id as "id: PolicyVersionId", v.policy_id as "policy: PolicyId", v.version, v.text, v.sha256,
               v.written_at, v.written_by as "written_by: UserId"
           from policies p
           join policy_versions v on v.tenant_id = p.tenant_id and v.policy_id = p.policy_id
               and v.version in (p.latest_version, p.active_version)
           where p.removed_at is null"#
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(Version::from).collect())
}

/// One version of a policy's text.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find_version(tx: &mut TenantTx, policy: PolicyId, version: u32) -> Result<Option<Version>, Error> {
    let row = sqlx::query_as!(
        VersionRow,
        r#"select policy_version_id as "id: PolicyVersionId", policy_id as "policy: PolicyId", version, text, sha256, written_at,
               written_by as "written_by: UserId"
           from policy_versions where policy_id = $1 and version = $2"#,
        policy.uuid(),
        version.cast_signed(),
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(row.map(Version::from))
}

/// The texts in force, in the order of their policies.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list_active(tx: &mut TenantTx) -> Result<Vec<PolicyText>, Error> {
    let rows = sqlx::query!(
        r#"select p.policy_id as "id: PolicyId", p.name, v.version, v.text, v.sha256
           from policies p
           join policy_versions v on v.tenant_id = p.tenant_id and v.policy_id = p.policy_id and v.version = p.active_version
           where p.removed_at is null order by p.created_at, p.policy_id"#
    )
    .fetch_all(tx.connection())
    .await?;
    let texts = rows.into_iter().map(|row| PolicyText {
        id: row.id,
        version: row.version.cast_unsigned(),
        name: row.name,
        text: row.text,
        sha256: row.sha256,
    });
    Ok(texts.collect())
}

struct Row {
    id: PolicyId,
    name: String,
    active_version: Option<i32>,
    latest_version: i32,
    revision: i64,
    created_at: DateTime<Utc>,
}

impl From<Row> for Policy {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            name: row.name,
            active_version: row.active_version.map(i32::cast_unsigned),
            latest_version: row.latest_version.cast_unsigned(),
            revision: row.revision.cast_unsigned(),
            created_at: row.created_at,
        }
    }
}

struct VersionRow {
    id: PolicyVersionId,
    policy: PolicyId,
    version: i32,
    text: String,
    sha256: String,
    written_at: DateTime<Utc>,
    written_by: UserId,
}

impl From<VersionRow> for Version {
    fn from(row: VersionRow) -> Self {
        Self {
            id: row.id,
            policy: row.policy,
            version: row.version.cast_unsigned(),
            text: row.text,
            sha256: row.sha256,
            written_at: row.written_at,
            written_by: row.written_by,
        }
    }
}
