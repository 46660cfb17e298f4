//! The rules of credentials. The value goes into the store between two transactions, so that none waits for Vault.

use domain::{CredentialId, CredentialPlace, Secret, ServerId, TenantId};
use secrets::{MasterKey, Scope, Store, StoreError, UnwrapError};
use store::credentials::{self, Stored};
use store::tenants::{self, KeyPurpose};
use store::{TenantTx, servers};

use crate::ingest::change::Change;
use crate::recorded::Author;

/// Why a credential was not set or removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialError {
    /// There is no such server, or it has no credential.
    #[error("no such thing")]
    NotFound,
    /// Somebody else set it at the same time.
    #[error("it was changed meanwhile")]
    ChangedMeanwhile,
    /// The tenant's key does not open with the deployment's master key.
    #[error(transparent)]
    Key(#[from] UnwrapError),
    /// The place of credentials failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Database(#[from] store::Error),
}

/// What was there before a credential is set.
#[derive(Debug)]
pub(crate) struct Before {
    tenant: TenantId,
    server: ServerId,
    data_key: Secret<[u8; 32]>,
    place: Option<CredentialPlace>,
}

/// First: what is there, and the key of what will be.
pub(crate) async fn look(tx: &mut TenantTx, master: &MasterKey, server: ServerId) -> Result<Before, CredentialError> {
    servers::find(tx, server).await?.ok_or(CredentialError::NotFound)?;
    let place = credentials::find(tx, server).await?.map(|stored| stored.place);
    let data_key = master.unwrap(tx.tenant(), &tenants::get_key(tx, KeyPurpose::Data).await?)?;
    Ok(Before { tenant: tx.tenant(), server, data_key, place })
}

/// Second, outside any transaction: the value goes into the store.
pub(crate) async fn put(
    store: &Store,
    author: &Author,
    before: &Before,
    value: &Secret<String>,
) -> Result<CredentialPlace, CredentialError> {
    let scope = Scope { tenant: before.tenant, data_key: &before.data_key };
    let new = || CredentialId::new(&author.clock);
    let (id, after) = before.place.as_ref().map_or_else(|| (new(), 0), |place| (place.id, place.version));
    match store.put(scope, id, after, value).await {
        // Vault is ahead of us: an earlier put whose transaction never came. A new credential begins anew; whether
        // somebody set one at this very moment is seen when it is written down.
        Err(StoreError::Conflict) if after > 0 => Ok(store.put(scope, new(), 0, value).await?),
        put => Ok(put?),
    }
}

/// Third: the place is written down, if nothing has changed since the first step.
pub(crate) async fn set(
    tx: &mut TenantTx,
    author: &Author,
    before: &Before,
    (header, place): (Option<String>, CredentialPlace),
) -> Result<Stored, CredentialError> {
    let server = servers::find_locked(tx, before.server).await?.ok_or(CredentialError::NotFound)?;
    let now = credentials::find(tx, before.server).await?.map(|stored| stored.place);
    if now != before.place {
        return Err(CredentialError::ChangedMeanwhile);
    }
    let stored = Stored { server: server.id, header, place, changed_at: author.now(), changed_by: author.user };
    credentials::set(tx, &stored).await?;
    let change = Change::new("credential.set", "credential", stored.place.id).named(server.key.as_str());
    author.changed(tx, change).await?;
    Ok(stored)
}

/// Removes a server's credential; gives its place, to be destroyed once the transaction is through.
pub(crate) async fn remove(
    tx: &mut TenantTx,
    author: &Author,
    server: ServerId,
) -> Result<CredentialPlace, CredentialError> {
    let found = servers::find_locked(tx, server).await?.ok_or(CredentialError::NotFound)?;
    let stored = credentials::find(tx, server).await?.ok_or(CredentialError::NotFound)?;
    credentials::remove(tx, server).await?;
    let change = Change::new("credential.remove", "credential", stored.place.id).named(found.key.as_str());
    author.changed(tx, change).await?;
    Ok(stored.place)
}

/// Destroys what nothing points at any more. That it fails is logged: the value is out of use all the same.
pub(crate) async fn forget(store: &Store, tenant: TenantId, place: &CredentialPlace) {
    if let Err(error) = store.destroy(tenant, place).await {
        tracing::warn!(%error, tenant.id = %tenant, credential.id = %place.id, "a removed credential is still in Vault");
    }
}
