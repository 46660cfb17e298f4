//! The control plane's API as a client has it: what tests need of it, and a look behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::client::Answer;
use crate::load::number_of;
use crate::stack::Endpoints;

/// How long a fact may take to come true.
const PATIENCE: Duration = Duration::from_secs(30);

/// The API of one tenant, as one person.
#[derive(Clone)]
pub struct Api {
    http: reqwest::Client,
    root: String,
    slug: String,
    token: String,
}

/// A gateway token just issued.
#[derive(Debug, Clone)]
pub struct Token {
    /// Its id.
    pub id: String,
    /// The token.
    pub text: String,
}

/// Another tenant of the same deployment.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Its id.
    pub id: String,
    /// Its slug.
    pub slug: String,
    /// A gateway token of its owner.
    pub token: String,
    /// An API token of its owner.
    pub api_token: String,
}

impl Tenant {
    /// Its API.
    pub fn api(&self, endpoints: &Endpoints) -> Api {
        Api { slug: self.slug.clone(), token: self.api_token.clone(), ..Api::of(endpoints) }
    }
}

impl Api {
    /// The API of the demo tenant, as its owner.
    pub fn of(endpoints: &Endpoints) -> Self {
        Self {
            http: reqwest::Client::builder().build().unwrap(),
            root: endpoints.api_url.clone(),
            slug: endpoints.tenant.clone(),
            token: endpoints.api_token.clone(),
        }
    }

    /// Sends a request as whoever holds this token; the path is one below the API's root.
    pub async fn send_as(&self, token: &str, method: &str, path: &str) -> Answer {
        let method: Method = method.to_uppercase().parse().unwrap();
        let url = format!("{}{path}", self.root.trim_end_matches("/api/v1"));
        let request = self.http.request(method.clone(), url).bearer_auth(token);
        let request = if method == Method::GET { request } else { request.json(&json!({})) };
        crate::client::send(request).await.unwrap()
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let answer = self.try_send(method.clone(), path, body).await;
        assert!(answer.status.is_success(), "{method} {path}: {answer:?}");
        serde_json::from_str(&answer.text).unwrap_or(Value::Null)
    }

    async fn try_send(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let request =
            self.http.request(method, format!("{}/tenants/{}{path}", self.root, self.slug)).bearer_auth(&self.token);
        let request = if let Some(body) = body { request.json(&body) } else { request };
        crate::client::send(request).await.unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        self.send(Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.send(Method::POST, path, Some(body)).await
    }

    /// Registers a server, imports what it offers and accepts all of it; gives its id.
    pub async fn add_server(&self, key: &str, endpoint: &str) -> String {
        let body = json!({"key": key, "title": key, "endpoint": endpoint, "timeout_ms": 5000});
        let server = text(&self.post("/servers", body).await["id"]);
        let version = self.import(&server).await;
        self.accept(&server, &version).await;
        server
    }

    /// Imports what a server offers now; gives the version that waits for review.
    pub async fn import(&self, server: &str) -> String {
        text(&self.post(&format!("/servers/{server}/import"), json!({})).await["held"]["id"])
    }

    /// Accepts all that waits for review.
    pub async fn accept(&self, server: &str, version: &str) {
        self.post(&format!("/servers/{server}/versions/{version}/accept"), json!({})).await;
    }

    /// Presents a bearer credential to a server.
    pub async fn set_bearer(&self, server: &str, value: &str) {
        self.send(
            Method::PUT,
            &format!("/servers/{server}/credential"),
            Some(json!({"kind": "bearer", "value": value})),
        )
        .await;
    }

    /// Has calls to a server refused, or taken again.
    pub async fn pause(&self, server: &str, paused: bool) {
        let what = if paused { "pause" } else { "resume" };
        self.send(Method::POST, &format!("/servers/{server}/{what}"), None).await;
    }

    /// Replaces all policies by one text and makes it live.
    pub async fn set_policy(&self, text: &str) {
        for policy in self.get("/policies").await["policies"].as_array().unwrap() {
            let path = format!("/policies/{}", policy["id"].as_str().unwrap());
            self.send(Method::DELETE, &path, None).await;
        }
        let policy = self.post("/policies", json!({"name": "test", "text": text})).await;
        let path = format!("/policies/{}/activate", policy["policy"]["id"].as_str().unwrap());
        self.post(&path, json!({"revision": policy["policy"]["revision"], "version": 1})).await;
    }

    /// Permits every call.
    pub async fn allow_everything(&self) {
        self.set_policy("@id(\"all\") permit (principal, action, resource);").await;
    }

    /// Permits every call but those of tools of this name, which are denied visibly.
    pub async fn allow_all_but(&self, tool: &str) {
        self.set_policy(&format!(
            "@id(\"all\") permit (principal, action in Sluice::Action::\"tools/call\", resource);\n\
             @id(\"not-{tool}\") @visible(\"\") @reason(\"Nobody may delete everything.\") @instead(\"Delete one by one.\")\n\
             forbid (principal, action in Sluice::Action::\"tools/call\", resource) when {{ resource.name == \"{tool}\" }};"
        ))
        .await;
    }

    /// Issues a gateway token to the caller.
    pub async fn issue_token(&self, title: &str) -> Token {
        self.issue(json!({"title": title, "days": 1})).await
    }

    /// Issues a gateway token that reaches one server only.
    pub async fn issue_scoped_token(&self, title: &str, server_key: &str) -> Token {
        let servers = self.get("/servers").await;
        let server = servers["servers"].as_array().unwrap().iter().find(|server| server["key"] == server_key).unwrap();
        self.issue(json!({"title": title, "days": 1, "scope": {"servers": [server["id"]]}})).await
    }

    async fn issue(&self, body: Value) -> Token {
        let issued = self.post("/gateway-tokens", body).await;
        Token { id: text(&issued["token"]["id"]), text: text(&issued["secret"]) }
    }

    /// Revokes a gateway token.
    pub async fn revoke(&self, token: &str) {
        self.send(Method::DELETE, &format!("/gateway-tokens/{token}"), None).await;
    }

    /// Waits until the newest configuration is live on every node.
    pub async fn is_live(&self) {
        self.until("the configuration is live everywhere", async || {
            let live = self.get("/live").await;
            let published = live["published"]["revision"] == live["revision"];
            let (reached, of) = (live["reach"]["live"].as_u64(), live["reach"]["of"].as_u64());
            (published && of > Some(0) && reached == of).then_some(())
        })
        .await;
    }

    /// Makes another tenant with a server and a token, owned by the same person.
    pub async fn another_tenant(&self, slug: &str) -> Tenant {
        let unique = format!("{slug}-{:x}", std::process::id());
        let request = self.http.post(format!("{}/tenants", self.root)).bearer_auth(&self.token);
        let made =
            crate::client::send(request.json(&json!({"slug": unique, "title": slug, "owner_name": "Other owner"})))
                .await
                .unwrap();
        let made: Value = serde_json::from_str(&made.text).unwrap();
        let mut tenant = Tenant {
            id: text(&made["tenant"]["id"]),
            slug: unique,
            token: String::new(),
            api_token: text(&made["api_token"]),
        };
        let api = Self { slug: tenant.slug.clone(), token: tenant.api_token.clone(), ..self.clone() };
        tenant.token = api.issue_token("theirs").await.text;
        tenant
    }

    /// The newest records, at most this many, of a query.
    pub async fn activity(&self, query: &str) -> Vec<Value> {
        let found = self.get(&format!("/activity?{query}")).await;
        found["records"].as_array().unwrap().clone()
    }

    /// All records of the tenant as lists show them.
    pub async fn all_records(&self) -> Vec<Value> {
        let (mut records, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("/activity?limit=200{cursor}")).await;
            records.extend(page["records"].as_array().unwrap().iter().cloned());
            let Some(next) = page["next"].as_str() else { return records };
            cursor = format!("&cursor={next}");
        }
    }

    /// A record with its body.
    pub async fn record(&self, id: &str) -> Value {
        self.get(&format!("/activity/{id}")).await
    }

    /// Bodies of the final records of a trace.
    pub async fn find_by_trace(&self, trace: &str) -> Vec<Value> {
        let mut bodies = Vec::new();
        for found in self.activity(&format!("trace={trace}")).await.iter().filter(|found| found["final"] == true) {
            bodies.push(self.record(found["id"].as_str().unwrap()).await["record"].clone());
        }
        bodies
    }

    /// Waits until there are this many final records of a trace.
    pub async fn wait_for_records(&self, trace: &str, count: usize) -> Vec<Value> {
        self.until("the record", async || {
            let records = self.find_by_trace(trace).await;
            (records.len() >= count).then_some(records)
        })
        .await
    }

    /// Waits until each of these numbered calls has a final record; gives how many each number has.
    pub async fn wait_for_finals(&self, numbers: &BTreeSet<u64>) -> BTreeMap<u64, usize> {
        let start = std::time::Instant::now();
        loop {
            let mut counts = BTreeMap::new();
            for record in
                self.all_records().await.iter().filter(|record| record["final"] == true && record["kind"] == "call")
            {
                if let Some(number) = record["trace"].as_str().and_then(number_of) {
                    *counts.entry(number).or_insert(0) += 1;
                }
            }
            // A call whose node died is closed when the node's source lapses, after 30 s.
            if numbers.iter().all(|number| counts.contains_key(number)) || start.elapsed() > 4 * PATIENCE {
                return counts;
            }
        }
    }

    /// The newest records with their bodies, as text.
    pub async fn everything(&self) -> String {
        let mut all = String::new();
        for record in self.activity("limit=200").await {
            all.push_str(&self.record(record["id"].as_str().unwrap()).await.to_string());
        }
        all
    }

    /// Every operation of the API: method and path.
    pub async fn routes(&self) -> Vec<(String, String)> {
        let document = crate::client::send(self.http.get(format!("{}/openapi.json", self.root))).await.unwrap();
        let document: Value = serde_json::from_str(&document.text).unwrap();
        let paths = document["paths"].as_object().unwrap();
        paths
            .iter()
            .flat_map(|(path, methods)| {
                methods.as_object().unwrap().keys().map(|method| (method.clone(), path.clone()))
            })
            .collect()
    }

    /// One id of each kind that is in a path of the API.
    pub async fn ids(&self) -> BTreeMap<String, String> {
        let first = |list: &Value, name: &str| text(&list[name][0]["id"]);
        let servers = self.get("/servers").await;
        let server = first(&servers, "servers");
        let versions = self.get(&format!("/servers/{server}/versions")).await;
        let tools = self.get(&format!("/servers/{server}/tools")).await;
        let found = [
            ("server", server.clone()),
            ("version", first(&versions, "versions")),
            ("tool", first(&tools, "tools")),
            ("policy", first(&self.get("/policies").await, "policies")),
            ("token", first(&self.get("/gateway-tokens").await, "tokens")),
            ("member", first(&self.get("/members").await, "members")),
            ("record", text(&self.activity("limit=1").await[0]["id"])),
        ];
        found.into_iter().map(|(name, id)| (name.to_owned(), id)).collect()
    }

    /// What every operation that only reads says.
    pub async fn crawl(&self) -> String {
        let ids = self.ids().await;
        let mut said = String::new();
        for (method, path) in self.routes().await {
            if method != "get" {
                continue;
            }
            let path = path.replace("{tenant}", &self.slug);
            let path = ids.iter().fold(path, |path, (name, id)| path.replace(&format!("{{{name}}}"), id));
            let answer = self.send_as(&self.token, "GET", &path).await;
            assert_ne!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
            said.push_str(&answer.text);
        }
        said
    }

    async fn until<T>(&self, what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
        let wanted = async {
            loop {
                if let Some(fact) = ask().await {
                    return fact;
                }
            }
        };
        let came = tokio::time::timeout(PATIENCE, wanted).await;
        came.unwrap_or_else(|_| panic!("{what}: not within {} s", PATIENCE.as_secs()))
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text in {value}")).to_owned()
}

/// Everything Redis holds, as far as it is text; snapshots unpacked.
pub async fn redis_dump(url: &str) -> String {
    let client = redis::Client::open(url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    let mut all = String::new();
    for key in keys {
        all.push_str(&key);
        let dump: Vec<u8> = redis::cmd("DUMP").arg(&key).query_async(&mut connection).await.unwrap_or_default();
        all.push_str(&String::from_utf8_lossy(&dump));
        if key.ends_with(":snapshot") {
            let envelope: Vec<u8> = redis::cmd("GET").arg(&key).query_async(&mut connection).await.unwrap();
            let body = envelope.splitn(3, |byte| *byte == b'\n').nth(2).unwrap();
            all.push_str(&String::from_utf8(zstd::decode_all(body).unwrap()).unwrap());
        }
    }
    all
}

/// Every row of every table, past all fences, as the superuser sees it; bytes as hexadecimal.
pub async fn postgres_dump(url: &str, superuser_password: &str) -> String {
    let mut url = url::Url::parse(url).unwrap();
    url.set_username("postgres").unwrap();
    url.set_password(Some(superuser_password)).unwrap();
    let output =
        tokio::process::Command::new("pg_dump").arg("--data-only").arg("--inserts").arg(url.as_str()).output().await;
    let output = output.expect("pg_dump comes with Postgres");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
