//! The rules of tenants.

use std::collections::BTreeSet;

use chrono::Duration;
use domain::snapshot::Prefix;
use domain::{MembershipId, Role, Secret, Slug, TenantId, TokenText, UserId, WrappedKey};
use secrets::MasterKey;
use store::people::{self, Membership};
use store::tenants::{self, KeyPurpose, Settings};
use store::{PlatformTx, TenantTx};

use crate::ingest::change::Change;
use crate::recorded::Author;
use crate::tokens::actions as tokens;

/// A tenant to be made.
#[derive(Debug)]
pub(crate) struct NewTenant {
    pub(crate) slug: Slug,
    pub(crate) title: String,
    /// What the tenant calls its first owner.
    pub(crate) owner_name: String,
}

/// A tenant that was made.
#[derive(Debug)]
pub(crate) struct Founded {
    pub(crate) tenant: TenantId,
    pub(crate) slug: Slug,
    pub(crate) settings: Settings,
}

/// How long the first API token is good.
pub(crate) const FIRST_TOKEN_DAYS: i64 = 365;

/// Why a tenant was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CreateError {
    #[error(transparent)]
    Add(#[from] tenants::AddError),
    #[error(transparent)]
    Database(#[from] store::Error),
}

/// Why a person makes no more tenants.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QuotaError {
    #[error("a person makes at most {0} tenants here (SLUICE_TENANTS_PER_PERSON)")]
    Reached(u32),
    #[error(transparent)]
    Database(#[from] store::Error),
}

/// Refuses whoever has made as many tenants as one may.
pub(crate) async fn check_quota(platform: &mut PlatformTx, founder: UserId, most: u32) -> Result<(), QuotaError> {
    if tenants::count_founded(platform, founder).await? >= u64::from(most) {
        return Err(QuotaError::Reached(most));
    }
    Ok(())
}

/// Makes a tenant with its keys and the author as its owner, who gets an API token in it: all at once or not at all.
pub(crate) async fn create(
    platform: PlatformTx,
    master: &MasterKey,
    author: &Author,
    new: NewTenant,
) -> Result<(Founded, TokenText), CreateError> {
    let (mut tx, founded) = found(platform, master, author, new).await?;
    let own = (author.user, Some(author.user));
    let lasting = Duration::days(FIRST_TOKEN_DAYS);
    let (_, api_token) = tokens::issue_api(&mut tx, author, own, "First token", lasting).await?;
    tx.commit().await?;
    Ok((founded, api_token))
}

/// Makes a tenant with its keys and the author as its owner. It is there once the transaction is committed.
pub(crate) async fn found(
    mut platform: PlatformTx,
    master: &MasterKey,
    author: &Author,
    new: NewTenant,
) -> Result<(TenantTx, Founded), CreateError> {
    let tenant = TenantId::new(&author.clock);
    tenants::add(&mut platform, tenant, &new.slug, author.user, author.now()).await?;
    let mut tx = platform.into_tenant(tenant).await?;
    let settings = Settings { title: new.title, blind_max_s: 60, prefix: Prefix::Always };
    tenants::add_settings(&mut tx, &settings).await?;
    for purpose in [KeyPurpose::Data, KeyPurpose::Arguments] {
        tenants::add_key(&mut tx, purpose, &new_key(master, tenant), author.now()).await?;
    }
    let added = people::add(&mut tx, &owner(author, new.owner_name)).await;
    added.map_err(|error| match error {
        people::AddError::Database(error) => CreateError::from(error),
        people::AddError::AlreadyMember => unreachable_membership(),
    })?;
    let change = Change::new("tenant.add", "tenant", tenant).named(new.slug.as_str());
    author.changed(&mut tx, change).await?;
    Ok((tx, Founded { tenant, slug: new.slug, settings }))
}

/// A tenant made in this transaction has no members yet; should the database say otherwise, its answer is unusable.
const fn unreachable_membership() -> CreateError {
    CreateError::Database(store::Error::Unreadable { column: "memberships.user_id" })
}

fn owner(author: &Author, name: String) -> Membership {
    Membership {
        id: MembershipId::new(&author.clock),
        user: author.user,
        name,
        role: Role::Owner,
        groups: BTreeSet::new(),
        created_at: author.now(),
    }
}

/// A new key of the tenant's, named by its digest.
fn new_key(master: &MasterKey, tenant: TenantId) -> WrappedKey {
    let key: Secret<[u8; 32]> = secrets::new_data_key();
    let id = hex::encode(&secrets::sha256(key.expose())[..4]);
    master.wrap(tenant, &id, &key)
}

/// Changes what a tenant says about itself.
pub(crate) async fn change(tx: &mut TenantTx, author: &Author, settings: &Settings) -> Result<(), store::Error> {
    let (before, _) = tenants::lock_settings(tx).await?;
    if before == *settings {
        return Ok(());
    }
    tenants::change_settings(tx, settings, (author.user, author.now())).await?;
    let seen = |settings: &Settings| serde_json::json!([settings.title, settings.blind_max_s, settings.prefix]);
    let change = Change::new("tenant.change", "tenant", tx.tenant()).before(&seen(&before)).after(&seen(settings));
    author.changed(tx, change).await
}
