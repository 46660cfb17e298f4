//! Either place of credentials behind one type: sealed under the tenant's key, or in Vault.

use domain::snapshot::CredentialStore;
use domain::{CredentialId, CredentialPlace, Secret, TenantId};

use crate::keys::OpenError;
use crate::sealed;
use crate::vault::VaultStore;

/// Where new credentials are put. Credentials of the other place are still read, as far as it is there.
#[derive(Debug, Clone)]
pub enum Store {
    /// The place itself holds the ciphertext: whoever keeps it (a row, a snapshot) keeps the credential.
    Sealed,
    /// The place names a path in Vault.
    Vault(VaultStore),
}

/// Whose credentials are meant.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The tenant.
    pub tenant: TenantId,
    /// The key its sealed credentials are opened with.
    pub data_key: &'a Secret<[u8; 32]>,
}

/// Why a credential could not be put, read or removed. Shows nothing of it, nor of what Vault answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It was changed since it was last seen.
    #[error("the credential was changed meanwhile: look at it again")]
    Conflict,
    /// There is no such version (any more).
    #[error("this version of the credential does not exist")]
    NotFound,
    /// The place is another credential's or another tenant's.
    #[error("the credential's place belongs to another")]
    Misplaced,
    /// The sealed value does not open.
    #[error("the sealed credential can't be opened: {0}")]
    Sealed(#[from] OpenError),
    /// It rests in Vault, and no Vault is configured.
    #[error("the credential rests in Vault, and none is configured: set `VAULT_ADDR`")]
    NoVault,
    /// The address is none.
    #[error("Vault's address must look like `https://host:8200`, without user name or password")]
    VaultAddress,
    /// The certificates can't be used.
    #[error("the certificates for Vault must be PEM")]
    VaultCertificates,
    /// Vault does not take our login, or it does not allow this.
    #[error("Vault refuses: check the token or AppRole, and that its policy allows `sluice/*` below the mount")]
    Forbidden,
    /// Vault is sealed or not set up.
    #[error("Vault is sealed: unseal it")]
    VaultSealed,
    /// Nobody answers.
    #[error("Vault can't be reached: check `VAULT_ADDR`, and that it runs there")]
    Unreachable,
    /// It took too long.
    #[error("Vault did not answer in time")]
    Late,
    /// Vault failed, or is none.
    #[error("Vault failed")]
    VaultFailed,
}

impl Store {
    /// Puts a value when `after` is still the credential's version (0: it has none). Gives its place, whose version is
    /// one higher.
    ///
    /// A sealed place is written by the caller, who checks `after` as it writes.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when Vault holds another version.
    pub async fn put(
        &self,
        scope: Scope<'_>,
        credential: CredentialId,
        after: u64,
        value: &Secret<String>,
    ) -> Result<CredentialPlace, StoreError> {
        match self {
            Self::Vault(vault) => vault.put(scope.tenant, credential, after, value).await,
            Self::Sealed => {
                let version = after.checked_add(1).ok_or(StoreError::Conflict)?;
                let envelope = sealed::seal(scope.data_key, scope.tenant, credential, version, value);
                Ok(CredentialPlace { id: credential, version, store: CredentialStore::Sealed { envelope } })
            }
        }
    }

    /// Reads the value at a place: that version, no other.
    ///
    /// # Errors
    /// [`StoreError`]; a value that is another's is never given.
    pub async fn get(&self, scope: Scope<'_>, place: &CredentialPlace) -> Result<Secret<String>, StoreError> {
        match (&place.store, self) {
            (CredentialStore::Sealed { envelope }, _) => {
                Ok(sealed::open(scope.data_key, scope.tenant, place.id, place.version, envelope)?)
            }
            (CredentialStore::Vault { path }, Self::Vault(vault)) => {
                vault.get(scope.tenant, place.id, place.version, path).await
            }
            (CredentialStore::Vault { .. }, Self::Sealed) => Err(StoreError::NoVault),
        }
    }

    /// Removes every version of a credential. A sealed one is gone once the caller forgets its place.
    ///
    /// # Errors
    /// [`StoreError`] when it rests in Vault and can't be removed there.
    pub async fn destroy(&self, tenant: TenantId, place: &CredentialPlace) -> Result<(), StoreError> {
        match (&place.store, self) {
            (CredentialStore::Sealed { .. }, _) => Ok(()),
            (CredentialStore::Vault { .. }, Self::Vault(vault)) => vault.destroy(tenant, place.id).await,
            (CredentialStore::Vault { .. }, Self::Sealed) => Err(StoreError::NoVault),
        }
    }

    /// Whether credentials can be put and read.
    ///
    /// # Errors
    /// What is the matter.
    pub async fn health(&self) -> Result<(), StoreError> {
        match self {
            Self::Sealed => Ok(()),
            Self::Vault(vault) => vault.health().await,
        }
    }
}
