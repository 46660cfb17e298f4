//! What holds for credentials wherever they rest: one suite, run against both stores. Vault's part runs against a real
//! server (the one `VAULT_ADDR` and `VAULT_TOKEN` name, or Vault or OpenBao started here: `tests/tools/vault.sh`), and is
//! skipped, saying so, where there is none.

#![expect(clippy::unwrap_used, reason = "a test may stop here")]

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use domain::{CredentialId, CredentialPlace, Secret, TenantId};
use secrets::{Login, Scope, Store, StoreError, VaultConfig, VaultStore, new_data_key};
use sluice_tests::vault::Vault;
use uuid::Uuid;

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
    let Some(server) = Vault::given_or_started().await else { return };
    let token = Login::Token(secret(server.token()));
    holds(&Keeper::new(Store::Vault(connect(&server, token).await.unwrap()))).await;
    let app_role = app_role(&server, "60s", "1h").await;
    holds(&Keeper::new(Store::Vault(connect(&server, app_role).await.unwrap()))).await;
    if server.is_ours() {
        the_login_lasts_longer_than_its_tokens(&server).await;
        a_sealed_server_is_named(&server).await;
    }
}

#[tokio::test]
async fn what_vault_does_not_know_or_allow_is_refused() {
    let Some(server) = Vault::given_or_started().await else { return };
    let wrong = connect(&server, Login::Token(secret("hvs.wrong"))).await;
    assert_eq!(wrong.map(|_| ()), Err(StoreError::Forbidden), "a wrong token");
    let Login::AppRole { mount, role_id, secret_id } = app_role(&server, "60s", "1h").await else { unreachable!() };
    let wrong = Login::AppRole { mount: mount.clone(), role_id: role_id.clone(), secret_id: secret("wrong") };
    assert_eq!(connect(&server, wrong).await.map(|_| ()), Err(StoreError::Forbidden), "a wrong secret");
    let config = config(&server, Login::AppRole { mount, role_id, secret_id });
    let elsewhere = VaultStore::connect(VaultConfig { mount: "other".to_owned(), ..config }).await.unwrap();
    let keeper = Keeper::new(Store::Vault(elsewhere));
    assert_eq!(keeper.put(fresh(), 0, "x").await, Err(StoreError::Forbidden), "a mount the policy does not allow");
}

/// With tokens that last two seconds, four at most: renewed, and begun again when renewing comes to its end.
async fn the_login_lasts_longer_than_its_tokens(server: &Vault) {
    let vault = connect(server, app_role(server, "2s", "4s").await).await.unwrap();
    let keeping = tokio::spawn(vault.clone().keep_logged_in());
    let keeper = Keeper::new(Store::Vault(vault));
    let at = fresh();
    let place = keeper.put(at, 0, "kept").await.unwrap();
    let mut again = tokio::time::interval(Duration::from_millis(500));
    for _ in 0..20 {
        again.tick().await;
        assert_eq!(keeper.get(at.0, &place).await.as_deref(), Ok("kept"));
    }
    server.revoke_logins().await;
    let back = async {
        while keeper.get(at.0, &place).await.is_err() {
            again.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), back).await.unwrap();
    keeping.abort();
}

async fn a_sealed_server_is_named(server: &Vault) {
    let store = connect(server, Login::Token(secret(server.token()))).await.unwrap();
    let keeper = Keeper::new(Store::Vault(store));
    let at = fresh();
    let place = keeper.put(at, 0, "behind the seal").await.unwrap();
    server.seal().await;
    assert_eq!(keeper.store.health().await, Err(StoreError::VaultSealed));
    assert_eq!(keeper.get(at.0, &place).await, Err(StoreError::VaultSealed));
    let token = Login::Token(secret(server.token()));
    assert_eq!(connect(server, token).await.map(|_| ()), Err(StoreError::VaultSealed));
}

async fn connect(server: &Vault, login: Login) -> Result<VaultStore, StoreError> {
    VaultStore::connect(config(server, login)).await
}

fn config(server: &Vault, login: Login) -> VaultConfig {
    VaultConfig {
        address: server.address().parse().unwrap(),
        mount: "secret".to_owned(),
        namespace: None,
        login,
        certificates: None,
        deadline: Duration::from_secs(10),
    }
}

/// A role that may do what the store needs and nothing else.
async fn app_role(server: &Vault, ttl: &str, max_ttl: &str) -> Login {
    let role = server.app_role(ttl, max_ttl).await;
    Login::AppRole { mount: "approle".to_owned(), role_id: role.role_id, secret_id: Secret::new(role.secret_id) }
}
