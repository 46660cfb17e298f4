//! A deployment whose credentials rest in a real Vault: put and replaced through the API, read at a call, away and back.

use std::time::{Duration, Instant};

use serde_json::json;
use sluice_tests::api::Api;
use sluice_tests::behind::{Postgres, Redis};
use sluice_tests::client::Client;
use sluice_tests::patience::until;
use sluice_tests::stack::Stack;
use sluice_tests::upstream::{Eras, Upstream};
use sluice_tests::vault::Vault;

/// How long a node may keep a value, and how long it then may wait for Vault.
const KEPT: Duration = Duration::from_secs(60 + 10);

#[tokio::test]
async fn credentials_in_vault_reach_the_upstream_and_nothing_else() {
    let Some(vault) = Vault::start().await else { return };
    let token = vault.token_for_sluice("1h").await;
    let stack = Stack::start(1, &[("VAULT_ADDR", vault.address()), ("VAULT_TOKEN", &token)]);
    let upstream = Upstream::start(Eras::Modern).await;
    let keeper = Keeper::of(&stack, &upstream).await;

    keeper.set("canary-vault-1").await;
    assert_eq!(vault.all_values("sluice").await, [json!({"value": "canary-vault-1"})]);
    keeper.presents("canary-vault-1").await;
    keeper.set("canary-vault-2").await;
    keeper.presents("canary-vault-2").await;
    rests_nowhere_else(&stack, &["canary-vault", &token]).await;

    let role = vault.app_role("60s", "1h").await;
    let folder = stack.end();
    let app_role = [
        ("VAULT_ADDR", vault.address()),
        ("SLUICE_VAULT_ROLE_ID", &role.role_id),
        ("SLUICE_VAULT_SECRET_ID", &role.secret_id),
    ];
    let stack = Stack::start_in(&folder, 1, &app_role);
    let keeper = Keeper { api: Api::of(&stack.endpoints), client: client(&stack), ..keeper };
    keeper.presents("canary-vault-2").await;
    keeper.set("canary-vault-3").await;
    keeper.presents("canary-vault-3").await;
    rests_nowhere_else(&stack, &["canary-vault", &role.secret_id]).await;

    keeper.outlives_an_absence(&vault, "canary-vault-3").await;
    keeper.api.remove_credential(&keeper.server).await;
    assert_eq!(vault.all_values("sluice").await, [] as [serde_json::Value; 0], "removed for good");
}

/// A server with a credential, and one without.
struct Keeper {
    api: Api,
    client: Client,
    server: String,
}

impl Keeper {
    async fn of(stack: &Stack, upstream: &Upstream) -> Self {
        let api = Api::of(&stack.endpoints);
        let server = api.add_server("keeper", &upstream.url()).await;
        api.add_server("open", &upstream.url()).await;
        api.allow_everything().await;
        Self { client: client(stack), api, server }
    }

    async fn set(&self, value: &str) {
        self.api.set_bearer(&self.server, value).await;
        self.api.is_live().await;
    }

    async fn presents(&self, value: &str) {
        let answer = self.client.call("keeper__headers", json!({})).await;
        assert!(answer.tool_text().contains(&format!("Bearer {value}")), "{answer:?}");
    }

    /// What was read serves on for its minute; then the call is refused and says why; what needs no Vault goes on.
    async fn outlives_an_absence(&self, vault: &Vault, value: &str) {
        vault.hang();
        let away = Instant::now();
        self.presents(value).await;
        let refused = self.api.try_set_bearer(&self.server, "never").await;
        assert_eq!(refused.status, 503, "{refused:?}");
        assert!(refused.text.contains("nothing was changed"), "{refused:?}");
        let mut again = tokio::time::interval(Duration::from_secs(1));
        let refusal = loop {
            again.tick().await;
            let answer = self.client.call("keeper__headers", json!({})).await;
            if answer.error_code().is_some() {
                break answer;
            }
            assert!(away.elapsed() < KEPT, "it serves for ever");
        };
        assert!(refusal.text.contains("The upstream's credential could not be had"), "{refusal:?}");
        assert!(!refusal.text.contains(value) && !refusal.text.contains(vault.address()), "{refusal:?}");
        let open = self.client.call("open__headers", json!({})).await;
        assert!(!open.tool_text().contains("authorization"), "{open:?}");
        vault.go_on();
        until("the credential is back", async || {
            let answer = self.client.call("keeper__headers", json!({})).await;
            answer.text.contains(value).then_some(())
        })
        .await;
    }
}

fn client(stack: &Stack) -> Client {
    Client::new(&stack.endpoints.tenant_url, &stack.endpoints.token)
}

/// Neither Postgres nor Redis nor a log holds any of these.
async fn rests_nowhere_else(stack: &Stack, secrets: &[&str]) {
    let redis = Redis::of(&stack.endpoints).await.dump().await;
    let places = [
        ("postgres", Postgres::of(&stack.endpoints, stack.folder()).dump().await),
        ("redis", String::from_utf8_lossy(&redis).into_owned()),
        ("logs", stack.logs()),
    ];
    for (place, text) in &places {
        for secret in secrets {
            assert!(!text.is_empty() && !text.contains(secret), "{secret} is in {place}");
            assert!(!text.contains(&hex::encode(secret)), "{secret} is in {place}, as hexadecimal");
        }
    }
}
