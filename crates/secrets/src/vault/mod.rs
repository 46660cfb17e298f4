//! Credentials in Vault's (or OpenBao's) KV engine, version 2: `<mount>/sluice/<tenant>/<credential>`.

mod session;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use domain::snapshot::CredentialStore;
use domain::{CredentialId, CredentialPlace, Secret, TenantId};
use serde::{Deserialize, Serialize};
use url::Url;
use vaultrs::api::kv2::requests::SetSecretRequestOptions;
use vaultrs::client::VaultClient;
use vaultrs::error::ClientError;
use vaultrs::{kv2, sys};

use self::session::Sessions;
use crate::StoreError;

/// How Vault is reached.
#[derive(Debug, Clone)]
pub struct VaultConfig {
    /// Its address; over https, or a listener on the same machine.
    pub address: Url,
    /// Where the KV engine is mounted, for example `secret`.
    pub mount: String,
    /// Vault's namespace, where it has them.
    pub namespace: Option<String>,
    /// Who we are.
    pub login: Login,
    /// Certificates (PEM) to believe instead of the system's.
    pub certificates: Option<Vec<u8>>,
    /// How long a call may take.
    pub deadline: Duration,
}

/// How we log in to Vault.
#[derive(Debug, Clone)]
pub enum Login {
    /// With a token somebody gave us. When it expires, nothing can be done here.
    Token(Secret<String>),
    /// As an application: logged in again whenever needed.
    AppRole {
        /// Where the method is mounted, for example `approle`.
        mount: String,
        /// The role.
        role_id: String,
        /// Its password.
        secret_id: Secret<String>,
    },
}

/// Vault, logged in. Cloning is cheap.
#[derive(Clone)]
pub struct VaultStore(Arc<Inner>);

struct Inner {
    mount: String,
    sessions: Sessions,
}

/// What lies at a path. One field, so that a person can write it with `vault kv put … value=…`.
#[derive(Serialize, Deserialize)]
struct Value {
    value: String,
}

impl VaultStore {
    /// Logs in.
    ///
    /// # Errors
    /// [`StoreError`] when the configuration is wrong, Vault is away, or does not take our login.
    pub async fn connect(config: VaultConfig) -> Result<Self, StoreError> {
        let mount = config.mount.trim_matches('/').to_owned();
        Ok(Self(Arc::new(Inner { mount, sessions: Sessions::begin(config).await? })))
    }

    /// Renews the login at two thirds of its time, for as long as it is polled: to be spawned once, beside the store.
    ///
    /// Where renewing fails it logs in again, and tries until it can.
    pub async fn keep_logged_in(self) {
        self.0.sessions.keep().await;
    }

    /// Writes a credential's value when `after` is still its latest version (0: there is none). Gives where it is now.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when somebody else wrote meanwhile.
    pub async fn put(
        &self,
        tenant: TenantId,
        credential: CredentialId,
        after: u64,
        value: &Secret<String>,
    ) -> Result<CredentialPlace, StoreError> {
        let options = SetSecretRequestOptions { cas: u32::try_from(after).map_err(|_| StoreError::Conflict)? };
        let (path, body) = (path(tenant, credential), Value { value: value.expose().clone() });
        let (mount, at, body, options) = (&self.0.mount, &path, &body, &options);
        let written = self.0.sessions.call(|client: Arc<VaultClient>| async move {
            kv2::set_with_options(&*client, mount, at, body, options.clone()).await
        });
        let version = written.await?.version;
        Ok(CredentialPlace { id: credential, version, store: CredentialStore::Vault { path } })
    }

    /// Reads one version of a credential's value, no other.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is none, [`StoreError::Misplaced`] when `path` is another credential's.
    pub async fn get(
        &self,
        tenant: TenantId,
        credential: CredentialId,
        version: u64,
        found_at: &str,
    ) -> Result<Secret<String>, StoreError> {
        let path = path(tenant, credential);
        if path != found_at {
            return Err(StoreError::Misplaced);
        }
        let (mount, at) = (&self.0.mount, &path);
        let read = self.0.sessions.call(|client: Arc<VaultClient>| async move {
            kv2::read_version::<Value>(&*client, mount, at, version).await
        });
        Ok(Secret::new(read.await?.value))
    }

    /// Removes every version of a credential's value for good. One that is gone already is no error.
    ///
    /// # Errors
    /// [`StoreError`] when Vault is away or refuses.
    pub async fn destroy(&self, tenant: TenantId, credential: CredentialId) -> Result<(), StoreError> {
        let path = path(tenant, credential);
        let (mount, at) = (&self.0.mount, &path);
        let removed = self
            .0
            .sessions
            .call(|client: Arc<VaultClient>| async move { kv2::delete_metadata(&*client, mount, at).await });
        match removed.await.map_err(StoreError::from) {
            Err(StoreError::NotFound) => Ok(()),
            other => other,
        }
    }

    /// Whether Vault answers, is unsealed, and takes our login.
    ///
    /// # Errors
    /// What is the matter.
    pub async fn health(&self) -> Result<(), StoreError> {
        let status =
            self.0.sessions.call(|client: Arc<VaultClient>| async move { sys::status(&*client).await }).await?;
        match status {
            sys::ServerStatus::SEALED | sys::ServerStatus::UNINITIALIZED => Err(StoreError::VaultSealed),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for VaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VaultStore({})", self.0.mount)
    }
}

fn path(tenant: TenantId, credential: CredentialId) -> String {
    format!("sluice/{tenant}/{credential}")
}

/// Why a call to Vault failed. What Vault answered is not kept: it may hold what must not be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallError {
    /// An HTTP status that is no success.
    Status(u16),
    /// `put` lost against another.
    CheckAndSet,
    /// No connection, or it broke.
    Unreachable,
    /// No answer in time.
    Late,
    /// An answer that is none of Vault's.
    Malformed,
}

impl From<ClientError> for CallError {
    fn from(error: ClientError) -> Self {
        use rustify::errors::ClientError as Http;
        match error {
            ClientError::APIError { errors, .. } if errors.iter().any(|text| text.contains("check-and-set")) => {
                Self::CheckAndSet
            }
            // Vault 1.13 makes a 500 of it.
            ClientError::APIError { errors, .. } if errors.iter().any(|text| text == "invalid secret id") => {
                Self::Status(403)
            }
            ClientError::APIError { code, .. }
            | ClientError::RestClientError { source: Http::ServerResponseError { code, .. } } => Self::Status(code),
            ClientError::RestClientError { source: Http::RequestError { .. } } => Self::Unreachable,
            _ => Self::Malformed,
        }
    }
}

impl From<CallError> for StoreError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Status(403) => Self::Forbidden,
            CallError::Status(404) => Self::NotFound,
            CallError::Status(503) => Self::VaultSealed,
            CallError::Status(_) | CallError::Malformed => Self::VaultFailed,
            CallError::CheckAndSet => Self::Conflict,
            CallError::Unreachable => Self::Unreachable,
            CallError::Late => Self::Late,
        }
    }
}
