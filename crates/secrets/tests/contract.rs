//! What holds for credentials wherever they rest: one suite, run against both stores. Vault's part runs against a real
//! server (OpenBao or Vault in development mode), and is skipped, saying so, on a machine without one.

#![expect(clippy::unwrap_used, reason = "a test may stop here")]
#![expect(clippy::print_stdout, reason = "a skipped test says so")]

use std::collections::HashMap;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use domain::{CredentialId, CredentialPlace, Secret, TenantId};
use secrets::{Login, Scope, Store, StoreError, VaultConfig, VaultStore, new_data_key};
use uuid::Uuid;
use vaultrs::api::auth::approle::requests::SetAppRoleRequest;
use vaultrs::client::{VaultClient, VaultClientSettingsBuilder};

/// A store, and the rows that keep places, as the control plane's table does.
struct Keeper {
    store: Store,
    data_key: Secret<[u8; 32]>,
    rows: Mutex<HashMap<(TenantId, CredentialId), CredentialPlace>>,
}

impl Keeper {
    fn new(store: Store) -> Self {
        Self { store, data_key: new_data_key(), rows: Mutex::default() }
    }

    fn scope(&self, tenant: TenantId) -> Scope<'_> {
        Scope { tenant, data_key: &self.data_key }
    }

    async fn put(&self, at: (TenantId, CredentialId), after: u64, value: &str) -> Result<CredentialPlace, StoreError> {
        let place = self.store.put(self.scope(at.0), at.1, after, &secret(value)).await?;
        let mut rows = self.rows.lock().unwrap();
        if rows.get(&at).map_or(0, |row| row.version) != after {
            return Err(StoreError::Conflict);
        }
        rows.insert(at, place.clone());
        Ok(place)
    }

    async fn get(&self, tenant: TenantId, place: &CredentialPlace) -> Result<String, StoreError> {
        Ok(self.store.get(self.scope(tenant), place).await?.expose().clone())
    }
}

fn secret(value: &str) -> Secret<String> {
    Secret::new(value.to_owned())
}

fn fresh() -> (TenantId, CredentialId) {
    (TenantId::from_uuid(Uuid::new_v4()), CredentialId::from_uuid(Uuid::new_v4()))
}

/// The suite.
async fn holds(keeper: &Keeper) {
    assert_eq!(keeper.store.health().await, Ok(()));
    every_version_reads_as_it_was_written(keeper).await;
    of_two_writers_one_wins(keeper).await;
    a_place_opens_nothing_but_itself(keeper).await;
    what_is_destroyed_is_gone(keeper).await;
}

async fn every_version_reads_as_it_was_written(keeper: &Keeper) {
    let at = fresh();
    let values = ["one", "two\nlines \u{1F511} \"quoted\"", &"x".repeat(64 * 1024), ""];
    let mut places = Vec::new();
    for (after, value) in (0_u64..).zip(values) {
        let place = keeper.put(at, after, value).await.unwrap();
        assert_eq!((place.id, place.version), (at.1, after + 1));
        places.push(place);
    }
    for (place, value) in places.iter().zip(values) {
        assert_eq!(keeper.get(at.0, place).await.as_deref(), Ok(value));
    }
}

async fn of_two_writers_one_wins(keeper: &Keeper) {
    let at = fresh();
    let (a, b) = tokio::join!(keeper.put(at, 0, "a"), keeper.put(at, 0, "b"));
    assert_eq!([a.is_ok(), b.is_ok()].iter().filter(|won| **won).count(), 1);
    let (winner, loser) = if a.is_ok() { ("a", b) } else { ("b", a.clone()) };
    assert_eq!(loser, Err(StoreError::Conflict));
    let place = keeper.rows.lock().unwrap()[&at].clone();
    assert_eq!(keeper.get(at.0, &place).await.as_deref(), Ok(winner));
    assert_eq!(keeper.put(at, 7, "c").await, Err(StoreError::Conflict), "a version that was never");
}

async fn a_place_opens_nothing_but_itself(keeper: &Keeper) {
    let (at, other) = (fresh(), fresh());
    let place = keeper.put(at, 0, "mine").await.unwrap();
    keeper.put(other, 0, "theirs").await.unwrap();
    let elsewhere = CredentialPlace { id: other.1, ..place.clone() };
    let later = CredentialPlace { version: 2, ..place.clone() };
    assert!(keeper.get(other.0, &place).await.is_err(), "another tenant");
    assert!(keeper.get(at.0, &elsewhere).await.is_err(), "another credential");
    assert!(keeper.get(other.0, &elsewhere).await.is_err(), "another tenant's credential");
    assert!(keeper.get(at.0, &later).await.is_err(), "another version");
    assert_eq!(keeper.get(at.0, &place).await.as_deref(), Ok("mine"));
}

async fn what_is_destroyed_is_gone(keeper: &Keeper) {
    let at = fresh();
    let place = keeper.put(at, 0, "gone").await.unwrap();
    for _ in 0..2 {
        assert_eq!(keeper.store.destroy(at.0, &place).await, Ok(()), "also when it is gone already");
    }
    if matches!(keeper.store, Store::Vault(_)) {
        assert_eq!(keeper.get(at.0, &place).await, Err(StoreError::NotFound));
    }
}

#[tokio::test]
async fn the_contract_holds_for_sealed_credentials() {
    holds(&Keeper::new(Store::Sealed)).await;
}

#[tokio::test]
async fn a_credential_in_vault_is_not_read_where_no_vault_is() {
    let (tenant, credential) = fresh();
    let path = format!("sluice/{tenant}/{credential}");
    let place =
        CredentialPlace { id: credential, version: 1, store: domain::snapshot::CredentialStore::Vault { path } };
    assert_eq!(Keeper::new(Store::Sealed).get(tenant, &place).await, Err(StoreError::NoVault));
}

#[tokio::test]
async fn the_contract_holds_for_vault() {
    let Some(server) = Server::start() else { return };
    let token = Login::Token(secret(Server::ROOT));
    server.ready().await;
    holds(&Keeper::new(Store::Vault(server.connect(token).await.unwrap()))).await;
    holds(&Keeper::new(Store::Vault(server.connect(server.app_role().await).await.unwrap()))).await;
    let wrong = server.connect(Login::Token(secret("hvs.wrong"))).await;
    assert_eq!(wrong.map(|_| ()), Err(StoreError::Forbidden));
}

/// A real server in development mode, ended with the test.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    const ROOT: &'static str = "root";

    /// `None`, and a line that says why, where there is none.
    fn start() -> Option<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/tools/openbao.sh");
        let found = Command::new(script).output().unwrap();
        let said = String::from_utf8(found.stdout).unwrap();
        if !found.status.success() {
            println!("SKIPPED: the contract of the Vault store: {}", said.trim());
            return None;
        }
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(said.trim())
            .args(["server", "-dev", "-dev-no-store-token"])
            .arg(format!("-dev-root-token-id={}", Self::ROOT))
            .arg(format!("-dev-listen-address={free}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self { child, address: format!("http://{free}") })
    }

    fn root(&self) -> VaultClient {
        let settings = VaultClientSettingsBuilder::default().address(&self.address).token(Self::ROOT).build().unwrap();
        VaultClient::new(settings).unwrap()
    }

    async fn ready(&self) {
        let (root, mut again) = (self.root(), tokio::time::interval(Duration::from_millis(100)));
        let up = async {
            while vaultrs::token::lookup_self(&root).await.is_err() {
                again.tick().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), up).await.unwrap();
    }

    async fn connect(&self, login: Login) -> Result<VaultStore, StoreError> {
        VaultStore::connect(VaultConfig {
            address: self.address.parse().unwrap(),
            mount: "secret".to_owned(),
            namespace: None,
            login,
            certificates: None,
            deadline: Duration::from_secs(10),
        })
        .await
    }

    /// A role that may do what the store needs and nothing else.
    async fn app_role(&self) -> Login {
        let root = self.root();
        let policy = r#"
            path "secret/data/sluice/*" { capabilities = ["create", "read", "update"] }
            path "secret/metadata/sluice/*" { capabilities = ["delete"] }
        "#;
        vaultrs::sys::policy::set(&root, "sluice", policy).await.unwrap();
        vaultrs::sys::auth::enable(&root, "approle", "approle", None).await.unwrap();
        let mut role = SetAppRoleRequest::builder();
        role.token_policies(vec!["sluice".to_owned()]).token_ttl("60s");
        vaultrs::auth::approle::role::set(&root, "approle", "sluice", Some(&mut role)).await.unwrap();
        let role_id = vaultrs::auth::approle::role::read_id(&root, "approle", "sluice").await.unwrap().role_id;
        let secret_id = vaultrs::auth::approle::role::secret::generate(&root, "approle", "sluice", None).await.unwrap();
        Login::AppRole { mount: "approle".to_owned(), role_id, secret_id: Secret::new(secret_id.secret_id) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
