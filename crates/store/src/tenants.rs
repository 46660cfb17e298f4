//! Tenants, what a tenant may change about itself, and its own keys.

use chrono::{DateTime, Utc};
use domain::snapshot::Prefix;
use domain::{Slug, TenantId, UserId, WrappedKey};

use crate::error::{broke, read};
use crate::{Error, PlatformTx, TenantTx};

/// Why a tenant was not added.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// Another tenant has the slug, or had it.
    #[error("the slug is taken")]
    SlugTaken,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] Error),
}

/// Adds a tenant; its settings follow inside its fence ([`PlatformTx::into_tenant`]).
///
/// # Errors
/// [`AddError::SlugTaken`] when the slug is or was in use.
pub async fn add(
    tx: &mut PlatformTx,
    tenant: TenantId,
    slug: &Slug,
    founder: UserId,
    at: DateTime<Utc>,
) -> Result<(), AddError> {
    let added = sqlx::query!(
        "insert into tenants (tenant_id, slug, founded_by, created_at) values ($1, $2, $3, $4)",
        tenant.uuid(),
        slug.as_str(),
        founder.uuid(),
        at,
    )
    .execute(tx.connection())
    .await;
    match added {
        Ok(_) => Ok(()),
        Err(error) if broke(&error, "tenants_slug_key") => Err(AddError::SlugTaken),
        Err(error) => Err(Error::from(error).into()),
    }
}

/// How many tenants a person has made. Until the transaction ends nobody else counts the same person's, so that two that
/// are made at once are both counted.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn count_founded(tx: &mut PlatformTx, founder: UserId) -> Result<u64, Error> {
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('founder ' || $1, 0))", founder.to_string())
        .execute(tx.connection())
        .await?;
    let count =
        sqlx::query_scalar!(r#"select count(*) as "count!" from tenants where founded_by = $1"#, founder.uuid())
            .fetch_one(tx.connection())
            .await?;
    Ok(count.cast_unsigned())
}

/// The oldest tenant.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find_first(tx: &mut PlatformTx) -> Result<Option<(TenantId, Slug)>, Error> {
    let found = sqlx::query!(
        r#"select tenant_id as "tenant_id: TenantId", slug from tenants order by created_at, tenant_id limit 1"#
    )
    .fetch_optional(tx.connection())
    .await?;
    found.map(|row| Ok((row.tenant_id, read("tenants.slug", row.slug.parse().ok())?))).transpose()
}

/// A tenant's name in URLs.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find_slug(tx: &mut PlatformTx, tenant: TenantId) -> Result<Option<Slug>, Error> {
    let found = sqlx::query_scalar!("select slug from tenants where tenant_id = $1", tenant.uuid())
        .fetch_optional(tx.connection())
        .await?;
    found.map(|slug| read("tenants.slug", slug.parse().ok())).transpose()
}

/// What a tenant may change about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its name for people.
    pub title: String,
    /// For how long, in seconds, a node that has lost touch serves principals it knows (0 to 60).
    pub blind_max_s: u32,
    /// How tool names are made unique.
    pub prefix: Prefix,
}

/// Who last changed something and when; neither where nobody has since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LastChange {
    /// Who.
    pub by: Option<UserId>,
    /// When.
    pub at: Option<DateTime<Utc>>,
}

/// Adds the settings of the transaction's new tenant; its configuration is number 0 until something changes.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn add_settings(tx: &mut TenantTx, settings: &Settings) -> Result<(), Error> {
    sqlx::query!(
        "insert into tenant_settings (title, blind_max_s, prefix, revision) values ($1, $2, $3, 0)",
        settings.title,
        settings.blind_max_s.cast_signed(),
        settings.prefix.as_str(),
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The tenant's settings and the number of its present configuration.
///
/// # Errors
/// [`Error`] when the database failed, or the tenant has none.
pub async fn get_settings(tx: &mut TenantTx) -> Result<(Settings, u64), Error> {
    let row = sqlx::query!("select title, blind_max_s, prefix, revision from tenant_settings")
        .fetch_one(tx.connection())
        .await?;
    let settings = Settings {
        title: row.title,
        blind_max_s: row.blind_max_s.cast_unsigned(),
        prefix: read("tenant_settings.prefix", Prefix::find(&row.prefix))?,
    };
    Ok((settings, row.revision.cast_unsigned()))
}

/// The tenant's settings and who last changed them, locked until the transaction ends.
///
/// # Errors
/// [`Error`] when the database failed, or the tenant has none.
pub async fn lock_settings(tx: &mut TenantTx) -> Result<(Settings, LastChange), Error> {
    let row = sqlx::query!(
        r#"select title, blind_max_s, prefix, changed_by as "changed_by: UserId", changed_at from tenant_settings for update"#
    )
    .fetch_one(tx.connection())
    .await?;
    let settings = Settings {
        title: row.title,
        blind_max_s: row.blind_max_s.cast_unsigned(),
        prefix: read("tenant_settings.prefix", Prefix::find(&row.prefix))?,
    };
    Ok((settings, LastChange { by: row.changed_by, at: row.changed_at }))
}

/// Changes the tenant's settings.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn change_settings(
    tx: &mut TenantTx,
    settings: &Settings,
    (by, at): (UserId, DateTime<Utc>),
) -> Result<(), Error> {
    sqlx::query!(
        "update tenant_settings set title = $1, blind_max_s = $2, prefix = $3, changed_by = $4, changed_at = $5",
        settings.title,
        settings.blind_max_s.cast_signed(),
        settings.prefix.as_str(),
        by.uuid(),
        at,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// What a tenant's key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPurpose {
    /// Sealing its credentials.
    Data,
    /// The HMAC of arguments in audit records.
    Arguments,
}

impl KeyPurpose {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Arguments => "arguments",
        }
    }
}

/// Adds a key of the tenant's.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn add_key(tx: &mut TenantTx, purpose: KeyPurpose, key: &WrappedKey, at: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query!(
        "insert into tenant_keys (key_id, purpose, wrapped, created_at) values ($1, $2, $3, $4)",
        key.id,
        purpose.as_str(),
        key.wrapped,
        at,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The tenant's key for a purpose.
///
/// # Errors
/// [`Error`] when the database failed, or the tenant has none.
pub async fn get_key(tx: &mut TenantTx, purpose: KeyPurpose) -> Result<WrappedKey, Error> {
    let row = sqlx::query!("select key_id, wrapped from tenant_keys where purpose = $1", purpose.as_str())
        .fetch_one(tx.connection())
        .await?;
    Ok(WrappedKey { id: row.key_id, wrapped: row.wrapped })
}
