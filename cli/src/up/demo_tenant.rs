//! The demo tenant of a first start, made through the API as a user makes one: a server, a policy, a token.

use anyhow::{Context, bail};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Settings;
use super::services::Addresses;
use super::state::State;

/// What is kept of the demo tenant, so that the next start can show it again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DemoTenant {
    pub(crate) slug: String,
    pub(crate) token: String,
    pub(crate) api_token: String,
}

const FILE: &str = "demo.json";
/// The starting policy.
const PACK: &str = "read_only";

/// The demo tenant of this deployment, made if this is its first start.
pub(crate) async fn find_or_make(
    settings: &Settings,
    state: &State,
    addresses: &Addresses,
) -> anyhow::Result<DemoTenant> {
    if let Some(demo) = state.read(FILE).and_then(|text| serde_json::from_str(&text).ok()) {
        return Ok(demo);
    }
    let first = control_plane::First {
        slug: "demo".parse()?,
        title: "Demo".to_owned(),
        owner_email: "owner@example.com".to_owned(),
        owner_name: "Demo owner".to_owned(),
    };
    let made = control_plane::bootstrap_at(&addresses.database, &state.path("keys"), first).await?;
    let Some(made) = made else {
        bail!(
            "this database has tenants already, but {FILE} is not in the .sluice folder: use another database, or put the file back"
        );
    };
    let (slug, api_token) = (made.slug.to_string(), made.api_token.expose().to_owned());
    let api = Api {
        base: format!("http://127.0.0.1:{}/api/v1/tenants/{slug}", settings.ports.control_plane()),
        token: api_token.clone(),
        http: reqwest::Client::builder().build()?,
    };
    let token = api.furnish(&format!("http://127.0.0.1:{}/mcp", settings.ports.demo())).await?;
    let demo = DemoTenant { slug, token, api_token };
    state.write_private(FILE, &serde_json::to_string_pretty(&demo)?)?;
    crate::say("made the tenant `demo`: a notes server, a read-only policy, a token");
    Ok(demo)
}

/// The control plane's API below one tenant.
struct Api {
    base: String,
    token: String,
    http: reqwest::Client,
}

impl Api {
    async fn furnish(&self, upstream: &str) -> anyhow::Result<String> {
        let server = self
            .send(Method::POST, "/servers", json!({"key": "notes", "title": "Demo notes", "endpoint": upstream}))
            .await?;
        let server = server["id"].as_str().context("no id")?;
        let import = self.send(Method::POST, &format!("/servers/{server}/import"), json!({})).await?;
        let version = import["held"]["id"].as_str().context("the demo server offered nothing")?;
        self.send(Method::POST, &format!("/servers/{server}/versions/{version}/accept"), json!({})).await?;
        let packs = self.send(Method::GET, "/policy-packs", Value::Null).await?;
        let pack = packs["packs"].as_array().and_then(|packs| packs.iter().find(|pack| pack["pack"] == PACK));
        let pack = pack.context("there is no read-only pack")?;
        let policy = self.send(Method::POST, "/policies", json!({"name": pack["title"], "text": pack["text"]})).await?;
        let policy = policy["policy"]["id"].as_str().context("no policy")?;
        self.send(Method::POST, &format!("/policies/{policy}/activate"), json!({"revision": 1, "version": 1})).await?;
        let token = self.send(Method::POST, "/gateway-tokens", json!({"title": "First token", "days": 365})).await?;
        Ok(token["secret"].as_str().context("no token")?.to_owned())
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
