//! The demo tenant of a first start, made through the API as a user makes one: a server, a policy, a token.

use std::time::Instant;

use anyhow::{Context, bail};
use domain::Secret;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::services::Addresses;
use super::state::State;
use super::{PATIENCE, Settings, TICK};

/// What is kept of the demo tenant, so that the next start can show it again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DemoTenant {
    pub(crate) slug: String,
    pub(crate) token: String,
    pub(crate) api_token: String,
    /// What its owner signs in to the console with.
    pub(crate) owner_email: String,
    pub(crate) owner_password: String,
}

/// What is kept of the demo tenant until it is furnished.
#[derive(Debug, Serialize, Deserialize)]
struct Made {
    slug: String,
    api_token: String,
}

/// Written when the tenant is there, so that a start that was cut off is taken up where it ended.
const MADE: &str = "demo-tenant.json";
/// Written when it is furnished.
const FILE: &str = "demo.json";
/// Who owns it.
const OWNER: &str = "owner@example.com";
/// The starting policy.
const PACK: &str = "read_only";

/// The demo tenant of this deployment, made if this is its first start.
pub(crate) async fn find_or_make(
    settings: &Settings,
    state: &State,
    addresses: &Addresses,
) -> anyhow::Result<DemoTenant> {
    if let Some(demo) = read(state, FILE) {
        return Ok(demo);
    }
    let made = match read(state, MADE) {
        Some(made) => made,
        None => make(state, addresses).await?,
    };
    let base = format!("http://127.0.0.1:{}/api/v1/tenants/{}", settings.ports.control_plane(), made.slug);
    let api = Api { base, token: made.api_token.clone(), http: reqwest::Client::builder().build()? };
    let token = api.furnish(&format!("http://127.0.0.1:{}/mcp", settings.ports.demo())).await?;
    let owner_password = new_password();
    let password = Secret::new(owner_password.clone());
    control_plane::give_password_at(&addresses.database, OWNER, password).await?;
    let Made { slug, api_token } = made;
    let demo = DemoTenant { slug, token, api_token, owner_email: OWNER.to_owned(), owner_password };
    api.wait_until_live(settings.nodes).await?;
    state.write_private(FILE, &serde_json::to_string_pretty(&demo)?)?;
    crate::say("made the tenant `demo`: a notes server, a read-only policy, a token");
    Ok(demo)
}

/// A password nobody guesses and everybody can type: 100 bits.
fn new_password() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let letters: Vec<char> =
        secrets::random::<20>().iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    letters.chunks(5).map(|chunk| chunk.iter().collect::<String>()).collect::<Vec<_>>().join("-")
}

fn read<T: serde::de::DeserializeOwned>(state: &State, file: &str) -> Option<T> {
    serde_json::from_str(&state.read(file)?).ok()
}

async fn make(state: &State, addresses: &Addresses) -> anyhow::Result<Made> {
    let first = control_plane::First {
        slug: "demo".parse()?,
        title: "Demo".to_owned(),
        owner_email: OWNER.to_owned(),
        owner_name: "Demo owner".to_owned(),
    };
    let made = control_plane::bootstrap_at(&addresses.database, &state.keys(), first).await?;
    let Some(made) = made else {
        bail!(
            "this database has tenants already, but {FILE} is not in the .sluice folder: use another database, or put the file back"
        );
    };
    let made = Made { slug: made.slug.to_string(), api_token: made.api_token.expose().to_owned() };
    state.write_private(MADE, &serde_json::to_string_pretty(&made)?)?;
    Ok(made)
}

/// The control plane's API below one tenant.
struct Api {
    base: String,
    token: String,
    http: reqwest::Client,
}

impl Api {
    /// Adds what is missing of a server, a policy and a token.
    async fn furnish(&self, upstream: &str) -> anyhow::Result<String> {
        // First, so that it is known wherever what follows it is live.
        let token = self.send(Method::POST, "/gateway-tokens", json!({"title": "First token", "days": 365})).await?;
        let servers = self.send(Method::GET, "/servers", Value::Null).await?;
        let server = if let Some(server) = servers["servers"][0]["id"].as_str() {
            server.to_owned()
        } else {
            let body = json!({"key": "notes", "title": "Demo notes", "endpoint": upstream});
            text(&self.send(Method::POST, "/servers", body).await?["id"])?
        };
        let import = self.send(Method::POST, &format!("/servers/{server}/import"), Value::Null).await?;
        if let Some(version) = import["held"]["id"].as_str() {
            self.send(Method::POST, &format!("/servers/{server}/versions/{version}/accept"), json!({"all": true}))
                .await?;
        }
        if self.send(Method::GET, "/policies", Value::Null).await?["policies"][0].is_null() {
            self.add_policy().await?;
        }
        text(&token["secret"])
    }

    /// Waits until what was made is live on every node.
    async fn wait_until_live(&self, nodes: u16) -> anyhow::Result<()> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let live = self.send(Method::GET, "/live", Value::Null).await?;
            let is_published = live["published"]["revision"] == live["revision"];
            if is_published && live["reach"]["live"].as_u64() == Some(u64::from(nodes)) {
                return Ok(());
            }
            tokio::time::sleep(TICK).await;
        }
        bail!("the demo tenant was made, but is not live on {nodes} nodes within {} s", PATIENCE.as_secs())
    }

    async fn add_policy(&self) -> anyhow::Result<()> {
        let packs = self.send(Method::GET, "/policy-packs", Value::Null).await?;
        let pack = packs["packs"].as_array().and_then(|packs| packs.iter().find(|pack| pack["pack"] == PACK));
        let pack = pack.context("there is no read-only pack")?;
        let added = self.send(Method::POST, "/policies", json!({"name": pack["title"], "text": pack["text"]})).await?;
        let path = format!("/policies/{}/activate", text(&added["policy"]["id"])?);
        self.send(Method::POST, &path, json!({"revision": added["policy"]["revision"], "version": 1})).await?;
        Ok(())
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> anyhow::Result<Value> {
        let request = self.http.request(method.clone(), format!("{}{path}", self.base)).bearer_auth(&self.token);
        let request = if body.is_null() { request } else { request.json(&body) };
        let answer = request.send().await.context("the API does not answer")?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            bail!("{method} {path} of the API was answered with {status}: {text}");
        }
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }
}

fn text(value: &Value) -> anyhow::Result<String> {
    value.as_str().map(str::to_owned).context("the API's answer lacks a text")
}
