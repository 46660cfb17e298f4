//! Being logged in to Vault: renewed at two thirds of its time, begun again when Vault says 403.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use domain::Secret;
use reqwest::redirect::Policy;
use rustify::clients::reqwest::Client as HttpClient;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};
use vaultrs::api::{AuthInfo, EndpointMiddleware};
use vaultrs::auth::approle;
use vaultrs::client::{VaultClient, VaultClientSettingsBuilder};
use vaultrs::error::ClientError;
use vaultrs::token;

use super::{CallError, Login, VaultConfig};
use crate::StoreError;

/// A login younger than this is not replaced because of a 403: the role may simply not be allowed that path.
const FRESH: Duration = Duration::from_secs(5);
/// Between two tries to log in again while Vault is away.
const PAUSE: Duration = Duration::from_secs(5);

/// The present login, and how to get the next.
pub(super) struct Sessions {
    config: VaultConfig,
    http: reqwest::Client,
    present: RwLock<Arc<Session>>,
    /// Held while logging in, so that many calls refused at once log in once.
    login: Mutex<()>,
}

/// One login.
struct Session {
    client: Arc<VaultClient>,
    begun: Instant,
    /// How long it lasts; `None`: for ever.
    lasts: Option<Duration>,
    renewable: bool,
}

impl Sessions {
    /// Logs in for the first time.
    pub(super) async fn begin(config: VaultConfig) -> Result<Self, StoreError> {
        let http = http(&config)?;
        let first = log_in(&config, &http).await?;
        Ok(Self { config, http, present: RwLock::new(Arc::new(first)), login: Mutex::default() })
    }

    /// Makes a call, within the deadline. When Vault says 403, logs in again (where we can) and tries once more.
    ///
    /// The client is handed over, not lent: a future that borrows its argument can't be shown to be `Send`.
    pub(super) async fn call<T, F>(&self, call: impl Fn(Arc<VaultClient>) -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let session = self.present();
        match bounded(self.config.deadline, call(Arc::clone(&session.client))).await {
            Err(CallError::Status(403)) if self.may_log_in_again(&session) => {
                let session = self.again(&session).await?;
                bounded(self.config.deadline, call(Arc::clone(&session.client))).await
            }
            other => other,
        }
    }

    /// Keeps the login alive for ever.
    pub(super) async fn keep(&self) {
        loop {
            let session = self.present();
            let Some(lasts) = session.lasts else {
                // A token without an end: nothing to do until a 403 brings another login.
                std::future::pending::<()>().await;
                return;
            };
            sleep((lasts * 2 / 3).saturating_sub(session.begun.elapsed())).await;
            if Arc::ptr_eq(&session, &self.present()) {
                self.prolong(&session).await;
            }
        }
    }

    /// Renews a login, or begins another.
    async fn prolong(&self, session: &Arc<Session>) {
        if session.renewable {
            let renewed = bounded(self.config.deadline, token::renew_self(&*session.client, None)).await;
            let renewed = renewed.and_then(|auth| Session::new(&self.config, &self.http, auth));
            // Near the end of all renewing Vault gives ever less: a new login is better.
            if let Ok(next) = renewed
                && next.lasts.is_some_and(|lasts| Some(lasts * 2) >= session.lasts)
            {
                return self.replace(next);
            }
        }
        if matches!(self.config.login, Login::AppRole { .. }) && self.again(session).await.is_ok() {
            return;
        }
        warn!("the login at Vault could not be renewed");
        sleep(PAUSE).await;
    }

    fn may_log_in_again(&self, session: &Session) -> bool {
        matches!(self.config.login, Login::AppRole { .. }) && session.begun.elapsed() >= FRESH
    }

    /// The login after `session`: made now, or by somebody else meanwhile.
    async fn again(&self, session: &Arc<Session>) -> Result<Arc<Session>, CallError> {
        let _only = self.login.lock().await;
        let present = self.present();
        if !Arc::ptr_eq(&present, session) {
            return Ok(present);
        }
        self.replace(log_in(&self.config, &self.http).await?);
        info!("logged in to Vault again");
        Ok(self.present())
    }

    fn present(&self) -> Arc<Session> {
        self.present.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, session: Session) {
        *self.present.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(session);
    }
}

impl Session {
    /// What Vault gave for a login or a renewal.
    fn new(config: &VaultConfig, http: &reqwest::Client, auth: AuthInfo) -> Result<Self, CallError> {
        let lasts = (auth.lease_duration > 0).then(|| Duration::from_secs(auth.lease_duration));
        let client = client(config, http, &Secret::new(auth.client_token))?;
        Ok(Self { client: Arc::new(client), begun: Instant::now(), lasts, renewable: auth.renewable })
    }
}

async fn log_in(config: &VaultConfig, http: &reqwest::Client) -> Result<Session, CallError> {
    match &config.login {
        Login::Token(token) => {
            let client = client(config, http, token)?;
            let found = bounded(config.deadline, token::lookup_self(&client)).await?;
            let lasts = (found.ttl > 0).then(|| Duration::from_secs(found.ttl));
            Ok(Session {
                client: Arc::new(client),
                begun: Instant::now(),
                lasts,
                renewable: found.renewable.unwrap_or(false),
            })
        }
        Login::AppRole { mount, role_id, secret_id } => {
            let nobody = client(config, http, &Secret::new(String::new()))?;
            let login = approle::login(&nobody, mount, role_id, secret_id.expose());
            // A wrong role or secret is a 400 there.
            let auth = bounded(config.deadline, login).await.map_err(|error| match error {
                CallError::Status(400) => CallError::Status(403),
                other => other,
            })?;
            Session::new(config, http, auth)
        }
    }
}

/// A client that presents `token`. Nothing of it comes from the environment.
fn client(config: &VaultConfig, http: &reqwest::Client, token: &Secret<String>) -> Result<VaultClient, CallError> {
    // The middleware would panic on it.
    if !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(CallError::Status(403));
    }
    let settings = VaultClientSettingsBuilder::default()
        .address(config.address.as_str())
        .ca_certs(Vec::new())
        .identity(None)
        .timeout(Some(config.deadline))
        .token(token.expose())
        .verify(true)
        .namespace(config.namespace.clone())
        .build()
        .map_err(|_| CallError::Malformed)?;
    Ok(VaultClient {
        http: HttpClient::new(config.address.as_str(), http.clone()),
        middle: EndpointMiddleware {
            token: token.expose().clone(),
            version: "v1".to_owned(),
            wrap: None,
            namespace: config.namespace.clone(),
        },
        settings,
    })
}

/// The connections to Vault: no redirects (they would carry the token elsewhere), no proxy of the environment's.
fn http(config: &VaultConfig) -> Result<reqwest::Client, StoreError> {
    if !matches!(config.address.scheme(), "http" | "https") || !config.address.username().is_empty() {
        return Err(StoreError::VaultAddress);
    }
    let mut builder = reqwest::Client::builder().redirect(Policy::none()).no_proxy();
    if let Some(pem) = &config.certificates {
        let certificates = reqwest::Certificate::from_pem_bundle(pem).map_err(|_| StoreError::VaultCertificates)?;
        builder = builder.tls_certs_only(certificates);
    } else if config.address.scheme() == "http" {
        // Else a machine without certificates could not even speak in clear text.
        builder = builder.tls_certs_only(Vec::new());
    }
    builder.build().map_err(|_| StoreError::VaultCertificates)
}

async fn bounded<T>(deadline: Duration, call: impl Future<Output = Result<T, ClientError>>) -> Result<T, CallError> {
    timeout(deadline, call).await.map_err(|_| CallError::Late)?.map_err(CallError::from)
}
