//! How the Vault store keeps itself logged in and what it shows. The server here is a stand-in that says what each test
//! wants to hear: it proves what *we* do, and nothing about Vault (that is `contract.rs`).

#![expect(clippy::unwrap_used, reason = "a test may stop here")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use domain::{CredentialId, Secret, TenantId};
use secrets::{Login, StoreError, VaultConfig, VaultStore};
use tokio::sync::watch;
use uuid::Uuid;

/// What the stand-in does and has seen.
#[derive(Clone)]
struct Vault(Arc<Inner>);

struct Inner {
    /// Logins so far; the n-th gives the token `canary-token-n`, and only the last is good.
    logins: watch::Sender<usize>,
    renewals: watch::Sender<usize>,
    reads: AtomicUsize,
    /// Answers a good read.
    answer: Mutex<Answer>,
    lease: u64,
}

#[derive(Clone, Copy)]
enum Answer {
    Value,
    Status(u16, &'static str),
    Nothing,
}

const CANARY: &str = "canary";

impl Vault {
    async fn start(lease: u64) -> (Self, url::Url) {
        let vault = Self(Arc::new(Inner {
            logins: watch::Sender::new(0),
            renewals: watch::Sender::new(0),
            reads: AtomicUsize::new(0),
            answer: Mutex::new(Answer::Value),
            lease,
        }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let routes = Router::new().fallback(answer).with_state(vault.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (vault, address)
    }

    fn auth(&self, token: usize) -> String {
        format!(
            r#"{{"request_id":"r","lease_id":"","renewable":false,"lease_duration":0,"data":null,"warnings":null,"wrap_info":null,"auth":{{"client_token":"canary-token-{token}","accessor":"a","policies":[],"token_policies":[],"metadata":null,"lease_duration":{},"renewable":true,"entity_id":"","token_type":"service","orphan":true}}}}"#,
            self.0.lease
        )
    }

    fn logins(&self) -> usize {
        *self.0.logins.borrow()
    }

    /// As if the token in use were revoked.
    fn revoke(&self) {
        self.0.logins.send_modify(|logins| *logins += 100);
    }

    fn answers(&self, answer: Answer) {
        *self.0.answer.lock().unwrap() = answer;
    }
}

async fn answer(State(vault): State<Vault>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if uri.path() == "/v1/auth/approle/login" {
        vault.0.logins.send_modify(|logins| *logins += 1);
        return vault.auth(vault.logins()).into_response();
    }
    let good = format!("canary-token-{}", vault.logins());
    if headers.get("X-Vault-Token").is_none_or(|token| token.as_bytes() != good.as_bytes()) {
        return (StatusCode::FORBIDDEN, r#"{"errors":["permission denied"]}"#).into_response();
    }
    if uri.path() == "/v1/auth/token/renew-self" {
        vault.0.renewals.send_modify(|renewals| *renewals += 1);
        return vault.auth(vault.logins()).into_response();
    }
    assert_eq!(method, Method::GET);
    vault.0.reads.fetch_add(1, Ordering::Relaxed);
    let answer = *vault.0.answer.lock().unwrap();
    match answer {
        Answer::Value => r#"{"request_id":"r","lease_id":"","renewable":false,"lease_duration":0,"warnings":null,"wrap_info":null,"auth":null,"data":{"data":{"value":"canary"},"metadata":{"created_time":"","deletion_time":"","custom_metadata":null,"destroyed":false,"version":1}}}"#.into_response(),
        Answer::Status(status, body) => (StatusCode::from_u16(status).unwrap(), body).into_response(),
        Answer::Nothing => std::future::pending().await,
    }
}

fn config(address: url::Url) -> VaultConfig {
    VaultConfig {
        address,
        mount: "secret".to_owned(),
        namespace: None,
        login: Login::AppRole {
            mount: "approle".to_owned(),
            role_id: "role".to_owned(),
            secret_id: Secret::new("canary-secret-id".to_owned()),
        },
        certificates: None,
        deadline: Duration::from_secs(10),
    }
}

async fn read(store: &VaultStore) -> Result<String, StoreError> {
    let (tenant, credential) = (TenantId::from_uuid(Uuid::from_u128(1)), CredentialId::from_uuid(Uuid::from_u128(2)));
    let path = format!("sluice/{tenant}/{credential}");
    Ok(store.get(tenant, credential, 1, &path).await?.expose().clone())
}

/// Lets time pass without waiting for it.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn calls_refused_at_once_log_in_again_once_and_succeed() {
    let (vault, address) = Vault::start(3600).await;
    let store = VaultStore::connect(config(address)).await.unwrap();
    assert_eq!(read(&store).await.as_deref(), Ok(CANARY));
    pass(Duration::from_secs(10)).await;
    vault.revoke();
    let before = vault.logins();
    let (a, b, c) = tokio::join!(read(&store), read(&store), read(&store));
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert_eq!(vault.logins(), before + 1);
}

#[tokio::test]
async fn a_path_that_is_not_allowed_does_not_log_in_with_every_call() {
    let (vault, address) = Vault::start(3600).await;
    let store = VaultStore::connect(config(address)).await.unwrap();
    vault.answers(Answer::Status(403, r#"{"errors":["permission denied"]}"#));
    for _ in 0..3 {
        assert_eq!(read(&store).await, Err(StoreError::Forbidden));
    }
    assert_eq!(vault.logins(), 1);
    assert_eq!(vault.0.reads.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn the_login_is_renewed_at_two_thirds_and_not_before() {
    let (vault, address) = Vault::start(300).await;
    let store = VaultStore::connect(config(address)).await.unwrap();
    let mut renewals = vault.0.renewals.subscribe();
    let keeping = tokio::spawn(store.keep_logged_in());
    tokio::task::yield_now().await;
    pass(Duration::from_secs(195)).await;
    assert_eq!(*renewals.borrow(), 0);
    pass(Duration::from_secs(10)).await;
    renewals.wait_for(|renewals| *renewals == 1).await.unwrap();
    assert_eq!(vault.logins(), 1);
    keeping.abort();
}

#[tokio::test]
async fn a_login_that_can_not_be_renewed_is_begun_again() {
    let (vault, address) = Vault::start(300).await;
    let store = VaultStore::connect(config(address)).await.unwrap();
    let keeping = tokio::spawn(store.clone().keep_logged_in());
    tokio::task::yield_now().await;
    vault.revoke();
    let mut logins = vault.0.logins.subscribe();
    pass(Duration::from_secs(205)).await;
    logins.wait_for(|logins| *logins == 102).await.unwrap();
    keeping.abort();
}

#[tokio::test]
async fn a_vault_that_does_not_answer_is_given_up_in_time() {
    let (vault, address) = Vault::start(3600).await;
    let config = VaultConfig { deadline: Duration::from_millis(200), ..config(address) };
    let store = VaultStore::connect(config).await.unwrap();
    vault.answers(Answer::Nothing);
    assert_eq!(read(&store).await, Err(StoreError::Late));
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let connected = VaultStore::connect(config(format!("http://{free}").parse().unwrap())).await;
    assert_eq!(connected.map(|_| ()), Err(StoreError::Unreachable));
}

#[tokio::test]
async fn whatever_vault_answers_no_error_shows_it() {
    let (vault, address) = Vault::start(3600).await;
    let config = config(address);
    assert!(!format!("{config:?}").contains(CANARY), "the configuration shows no secret");
    let store = VaultStore::connect(config).await.unwrap();
    for (status, body, error) in [
        (200, r#"{"data":{"data":{"value":"canary"#, StoreError::VaultFailed),
        (200, r#"{"canary":true}"#, StoreError::VaultFailed),
        (400, r#"{"errors":["canary"]}"#, StoreError::VaultFailed),
        (404, r#"{"data":{"data":null,"metadata":{"canary":1}}}"#, StoreError::NotFound),
        (500, "canary", StoreError::VaultFailed),
        (500, r#"{"errors":["canary"]}"#, StoreError::VaultFailed),
        (503, r#"{"errors":["canary"]}"#, StoreError::VaultSealed),
        (307, "canary", StoreError::VaultFailed),
    ] {
        vault.answers(Answer::Status(status, body));
        let found = read(&store).await.unwrap_err();
        assert_eq!(found, error, "{status} {body}");
        assert!(!format!("{found} {found:?} {store:?}").contains(CANARY), "{found:?}");
    }
}

#[tokio::test]
async fn another_credentials_path_is_never_asked_for() {
    let (vault, address) = Vault::start(3600).await;
    let store = VaultStore::connect(config(address)).await.unwrap();
    let (tenant, credential) = (TenantId::from_uuid(Uuid::from_u128(1)), CredentialId::from_uuid(Uuid::from_u128(2)));
    for path in ["sluice/other/credential", "../sys/health", ""] {
        let read = store.get(tenant, credential, 1, path).await;
        assert_eq!(read.map(|_| ()), Err(StoreError::Misplaced));
    }
    assert_eq!(vault.0.reads.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_address_with_a_password_is_refused_without_being_repeated() {
    for address in ["http://user:canary@127.0.0.1:1/", "ftp://127.0.0.1/"] {
        let error = VaultStore::connect(config(address.parse().unwrap())).await.map(|_| ()).unwrap_err();
        assert_eq!(error, StoreError::VaultAddress);
        assert!(!format!("{error} {error:?}").contains(CANARY));
    }
}

#[tokio::test]
async fn a_secret_that_is_no_header_value_is_refused_and_does_not_panic() {
    let login = Login::Token(Secret::new("line\nend".to_owned()));
    let config = VaultConfig { login, ..config("http://127.0.0.1:1/".parse().unwrap()) };
    assert_eq!(VaultStore::connect(config).await.map(|_| ()), Err(StoreError::Forbidden));
}
