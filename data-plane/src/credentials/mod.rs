//! What we present to an upstream: fetched when a call needs it, shown to nobody else.

use std::sync::Arc;
use std::time::Duration;

use domain::snapshot::{CredentialPlace, CredentialStore};
use domain::{Credential, CredentialId, Secret, TenantId};
use http::{HeaderName, HeaderValue, header};
use moka::sync::Cache;
use secrets::{Scope, Store, StoreError};

/// For how long a value read from Vault is used without asking again; KV secrets have no lease that would say.
const VAULT_TTL: Duration = Duration::from_mins(1);
/// Most values of Vault's kept at once.
const VAULT_CACHE: u64 = 10_000;

/// Fetches credentials.
#[derive(Clone)]
pub struct Credentials {
    store: Store,
    /// Only what came from Vault: a sealed value is opened each time.
    cache: Cache<(TenantId, CredentialId, u64), Arc<Secret<String>>>,
}

/// The one header that carries a credential. Shows itself to nobody.
#[derive(Clone)]
pub struct Presented(Option<(HeaderName, HeaderValue)>);

impl Presented {
    /// No credential.
    pub const NOTHING: Self = Self(None);

    /// The header and its value, marked sensitive, to be put into a request to the upstream and nowhere else.
    pub(crate) const fn header(&self) -> Option<&(HeaderName, HeaderValue)> {
        self.0.as_ref()
    }
}

impl std::fmt::Debug for Presented {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Presented(…)")
    }
}

/// Why a credential could not be had. Never says anything of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The place that keeps it does not give it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The value or the header's name cannot stand in an HTTP header.
    #[error("the credential is no valid header")]
    NoHeader,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    /// Fetches from the snapshot, and from Vault where `store` is one.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, cache: Cache::builder().max_capacity(VAULT_CACHE).time_to_live(VAULT_TTL).build() }
    }

    /// Fetches a credential, in the form in which the upstream takes it.
    ///
    /// # Errors
    /// [`CredentialError`] when the value can't be had; the call is refused then.
    pub async fn fetch(&self, scope: Scope<'_>, credential: &Credential) -> Result<Presented, CredentialError> {
        match credential {
            Credential::None => Ok(Presented::NOTHING),
            Credential::Bearer { place } => {
                let value = self.value(scope, place).await?;
                present(header::AUTHORIZATION, &Secret::new(format!("Bearer {}", value.expose())))
            }
            Credential::Header { name, place } => {
                let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| CredentialError::NoHeader)?;
                if domain::header::is_reserved(name.as_str()) {
                    return Err(CredentialError::NoHeader);
                }
                present(name, self.value(scope, place).await?.as_ref())
            }
        }
    }

    async fn value(&self, scope: Scope<'_>, place: &CredentialPlace) -> Result<Arc<Secret<String>>, CredentialError> {
        if matches!(place.store, CredentialStore::Sealed { .. }) {
            return Ok(Arc::new(self.store.get(scope, place).await?));
        }
        let key = (scope.tenant, place.id, place.version);
        if let Some(value) = self.cache.get(&key) {
            return Ok(value);
        }
        let value = Arc::new(self.store.get(scope, place).await?);
        self.cache.insert(key, Arc::clone(&value));
        Ok(value)
    }
}

fn present(name: HeaderName, value: &Secret<String>) -> Result<Presented, CredentialError> {
    let mut value = HeaderValue::from_str(value.expose()).map_err(|_| CredentialError::NoHeader)?;
    value.set_sensitive(true);
    Ok(Presented(Some((name, value))))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const TENANT: TenantId = TenantId::from_uuid(Uuid::from_u128(1));

    fn place(key: &Secret<[u8; 32]>, value: &str, version: u64) -> CredentialPlace {
        let id = CredentialId::from_uuid(Uuid::from_u128(2));
        let envelope = secrets::sealed::seal(key, TENANT, id, 1, &Secret::new(value.to_owned()));
        CredentialPlace { id, version, store: CredentialStore::Sealed { envelope } }
    }

    async fn fetch(key: &Secret<[u8; 32]>, credential: &Credential) -> Result<Presented, CredentialError> {
        Credentials::new(Store::Sealed).fetch(Scope { tenant: TENANT, data_key: key }, credential).await
    }

    #[tokio::test]
    async fn a_sealed_bearer_becomes_a_sensitive_header_that_shows_nothing() {
        let key = secrets::new_data_key();
        let presented = fetch(&key, &Credential::Bearer { place: place(&key, "canary", 1) }).await.unwrap();
        let (name, value) = presented.header().unwrap();
        assert_eq!((name, value.as_bytes()), (&header::AUTHORIZATION, &b"Bearer canary"[..]));
        assert!(value.is_sensitive());
        assert!(!format!("{presented:?} {value:?}").contains("canary"));
    }

    #[tokio::test]
    async fn another_version_of_the_value_is_not_accepted() {
        let key = secrets::new_data_key();
        let error = fetch(&key, &Credential::Bearer { place: place(&key, "canary", 2) }).await.unwrap_err();
        assert!(matches!(error, CredentialError::Store(StoreError::Sealed(_))), "{error}");
    }

    #[tokio::test]
    async fn a_credential_can_not_take_the_place_of_a_header_of_the_transport() {
        let key = secrets::new_data_key();
        for name in ["Host", "mcp-session-id", "Content-Length", "bad name"] {
            let credential = Credential::Header { name: name.to_owned(), place: place(&key, "canary", 1) };
            assert_eq!(fetch(&key, &credential).await.unwrap_err(), CredentialError::NoHeader, "{name}");
        }
        let broken = Credential::Bearer { place: place(&key, "two\r\nlines", 1) };
        assert_eq!(fetch(&key, &broken).await.unwrap_err(), CredentialError::NoHeader);
    }
}
