//! The first tenant of a new deployment, whose owner has an API token to begin with.

use std::path::Path;

use domain::{Clock, Secret, Slug, TenantId, TokenText, UserId};
use secrets::{MasterKey, NodeKeys};
use store::{PgPool, PlatformTx, people, tenants};

use crate::ingest::change;
use crate::login::{Passwords, give_password};
use crate::people::{checked_email, new_user};
use crate::recorded::Author;
use crate::tenants::actions::{self, CreateError, NewTenant};

/// What the first tenant is to be.
#[derive(Debug, Clone)]
pub struct First {
    /// Its name in URLs.
    pub slug: Slug,
    /// Its name for people.
    pub title: String,
    /// Its owner's e-mail address.
    pub owner_email: String,
    /// What it calls its owner.
    pub owner_name: String,
}

/// The first tenant.
#[derive(Debug)]
pub struct Bootstrapped {
    /// The tenant.
    pub tenant: TenantId,
    /// Its name in URLs.
    pub slug: Slug,
    /// Its owner.
    pub owner: UserId,
    /// The owner's API token, good for a year.
    pub api_token: TokenText,
}

/// Why there is no first tenant.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// Not an e-mail address.
    #[error("the owner's e-mail address is none")]
    Email,
    /// Somebody else is making it at this moment.
    #[error("the slug of the first tenant is taken")]
    SlugTaken,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] store::Error),
    /// The database can't be used.
    #[error(transparent)]
    Connect(#[from] store::StartError),
    /// The keys can't be read.
    #[error(transparent)]
    Keys(#[from] secrets::KeyError),
}

/// Whether a control plane could use the database at this address.
///
/// # Errors
/// [`store::StartError`] within a few seconds, when it could not.
pub async fn check_database(database_url: &str) -> Result<(), store::StartError> {
    store::connect(database_url, 1).await?.close().await;
    Ok(())
}

/// As [`bootstrap`], of the database and the folder of keys a running control plane uses, whose schema is up to date.
///
/// # Errors
/// [`BootstrapError`]; then nothing has been made.
pub async fn bootstrap_at(
    database_url: &str,
    keys: &Path,
    first: First,
) -> Result<Option<Bootstrapped>, BootstrapError> {
    let keys = NodeKeys::load(keys)?;
    let pool = store::connect(database_url, 1).await?;
    bootstrap(&pool, &keys.master, &service::clock(), first).await
}

/// Gives an account a password, in the database a running control plane uses.
///
/// # Errors
/// [`BootstrapError`]; then nothing has changed.
pub async fn give_password_at(database_url: &str, email: &str, password: Secret<String>) -> Result<(), BootstrapError> {
    let pool = store::connect(database_url, 1).await?;
    Ok(give_password(&pool, &Passwords::default(), email, password).await?)
}

/// Makes the first tenant, with an owner and an API token. `None` when there is a tenant already: then nothing changes.
///
/// # Errors
/// [`BootstrapError`]; then nothing has been made.
pub async fn bootstrap(
    pool: &PgPool,
    master: &MasterKey,
    clock: &Clock,
    first: First,
) -> Result<Option<Bootstrapped>, BootstrapError> {
    let mut platform = PlatformTx::begin(pool).await?;
    if tenants::find_first(&mut platform).await?.is_some() {
        return Ok(None);
    }
    let email = checked_email(&first.owner_email).map_err(|_| BootstrapError::Email)?;
    let owner = people::find_or_add_user(&mut platform, &email, new_user(), clock.now()).await?;
    let author = Author { user: owner, actor: change::Actor::System, clock: clock.clone() };
    let new = NewTenant { slug: first.slug, title: first.title, owner_name: first.owner_name };
    let (created, api_token) = actions::create(platform, master, &author, new).await.map_err(|error| match error {
        CreateError::Add(tenants::AddError::SlugTaken) => BootstrapError::SlugTaken,
        CreateError::Add(tenants::AddError::Database(error)) | CreateError::Database(error) => error.into(),
    })?;
    tracing::info!(tenant.id = %created.tenant, "made the first tenant `{}`", created.slug);
    Ok(Some(Bootstrapped { tenant: created.tenant, slug: created.slug, owner, api_token }))
}
