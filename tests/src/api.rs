//! The control plane's API as a client has it: what tests need of it, and a look behind it.

use std::collections::BTreeMap;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::client::Answer;
use crate::load::number_of;
use crate::patience::until;
use crate::stack::Endpoints;

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

/// A signed checkpoint of a tenant's log.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// How many records it is over.
    pub size: u64,
    /// The note.
    pub note: String,
    /// What verifies it.
    pub verifier_key: String,
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
            // Tests share it, each with a runtime of its own: a connection kept would end with whoever opened it.
            http: reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap(),
            root: endpoints.api_url.clone(),
            slug: endpoints.tenant.clone(),
            token: endpoints.api_token.clone(),
        }
    }

    /// Sends a request as whoever holds this token; the path is one below the API's root.
    pub async fn send_as(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let method: Method = method.to_uppercase().parse().unwrap();
        let url = format!("{}{path}", self.root.trim_end_matches("/api/v1"));
        let request = self.http.request(method, url).bearer_auth(token);
        let request = if let Some(body) = body { request.json(body) } else { request };
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

    /// The last signed checkpoint of the tenant's log, once there is one.
    pub async fn checkpoint(&self) -> Option<Checkpoint> {
        let answer = self.try_send(Method::GET, "/audit/checkpoint", None).await;
        let last: Value = serde_json::from_str(&answer.text).ok().filter(|_| answer.status.is_success())?;
        let (note, verifier_key) = (text(&last["note"]), text(&last["verifier_key"]));
        Some(Checkpoint { size: last["size"].as_u64()?, note, verifier_key })
    }

    /// A bundle of the tenant's log, packed as it is sent.
    pub async fn bundle(&self, query: &str) -> Vec<u8> {
        let url = format!("{}/tenants/{}/audit/bundle{query}", self.root, self.slug);
        let answer = self.http.get(url).bearer_auth(&self.token).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{query}");
        answer.bytes().await.unwrap().to_vec()
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
        self.post(&format!("/servers/{server}/versions/{version}/accept"), json!({"all": true})).await;
    }

    /// Presents a bearer credential to a server.
    pub async fn set_bearer(&self, server: &str, value: &str) {
        let answer = self.try_set_bearer(server, value).await;
        assert!(answer.status.is_success(), "{answer:?}");
    }

    /// The answer to presenting a bearer credential to a server.
    pub async fn try_set_bearer(&self, server: &str, value: &str) -> Answer {
        let body = json!({"kind": "bearer", "value": value});
        self.try_send(Method::PUT, &format!("/servers/{server}/credential"), Some(body)).await
    }

    /// Presents nothing to a server any more.
    pub async fn remove_credential(&self, server: &str) {
        self.send(Method::DELETE, &format!("/servers/{server}/credential"), None).await;
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
        let server = self.server(server_key).await;
        self.issue(json!({"title": title, "days": 1, "scope": {"servers": [server]}})).await
    }

    /// The id of the server with this key.
    pub async fn server(&self, key: &str) -> String {
        let servers = self.get("/servers").await;
        let server = servers["servers"].as_array().unwrap().iter().find(|server| server["key"] == key);
        text(&server.unwrap_or_else(|| panic!("no server {key}"))["id"])
    }

    /// Adds a member; gives their id.
    pub async fn add_member(&self, email: &str) -> String {
        text(&self.post("/members", json!({"email": email, "name": "New", "role": "member"})).await["id"])
    }

    /// Gives a member another name.
    pub async fn rename_member(&self, member: &str, name: &str) {
        self.send(Method::PATCH, &format!("/members/{member}"), Some(json!({"name": name}))).await;
    }

    /// Issues a gateway token to a member.
    pub async fn issue_token_for(&self, member: &str) -> Token {
        self.issue(json!({"title": "of a member", "member": member, "days": 1})).await
    }

    /// Puts a label on a server.
    pub async fn label_server(&self, server: &str, label: &str) {
        let path = format!("/servers/{server}");
        let body = json!({"revision": self.get(&path).await["revision"], "labels": [label]});
        self.send(Method::PATCH, &path, Some(body)).await;
    }

    async fn issue(&self, body: Value) -> Token {
        let issued = self.post("/gateway-tokens", body).await;
        Token { id: text(&issued["token"]["id"]), text: text(&issued["secret"]) }
    }

    /// Revokes a gateway token.
    pub async fn revoke(&self, token: &str) {
        self.send(Method::DELETE, &format!("/gateway-tokens/{token}"), None).await;
    }

    /// Says when a server's alias stands before the names of its tools: `always`, `on_conflict` or `none`.
    pub async fn set_prefix(&self, prefix: &str) {
        self.send(Method::PATCH, "", Some(json!({"prefix": prefix}))).await;
    }

    /// Waits until the newest configuration is live on every node.
    pub async fn is_live(&self) {
        until("the configuration is live everywhere", async || {
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

    /// Whether a call's record is found by its trace; not, while nobody answers.
    pub async fn has_record_of(&self, trace: &str) -> bool {
        let url = format!("{}/tenants/{}/activity?trace={trace}", self.root, self.slug);
        let answer = crate::client::send(self.http.get(url).bearer_auth(&self.token)).await;
        let Some(answer) = answer.ok().filter(|answer| answer.status.is_success()) else { return false };
        let found: Value = serde_json::from_str(&answer.text).unwrap_or_default();
        found["records"].as_array().is_some_and(|records| records.iter().any(|record| record["final"] == true))
    }

    /// Waits until there are this many final records of a trace.
    pub async fn wait_for_records(&self, trace: &str, count: usize) -> Vec<Value> {
        until("the record", async || {
            let records = self.find_by_trace(trace).await;
            (records.len() >= count).then_some(records)
        })
        .await
    }

    /// How many final records each numbered call has.
    pub async fn count_finals(&self) -> BTreeMap<u64, usize> {
        let mut counts = BTreeMap::new();
        let records = self.all_records().await;
        for record in records.iter().filter(|record| record["final"] == true && record["kind"] == "call") {
            if let Some(number) = record["trace"].as_str().and_then(number_of) {
                *counts.entry(number).or_insert(0) += 1;
            }
        }
        counts
    }

    /// All records with their bodies, as text.
    pub async fn everything(&self) -> String {
        let mut all = String::new();
        for record in self.all_records().await {
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

    /// One id of each kind that is in a path of the API, by the folders it stands in: `servers/versions` is the
    /// version of the server with this key, which should have all that a server can.
    pub async fn ids(&self, server_key: &str) -> BTreeMap<&'static str, String> {
        let first = |list: &Value, name: &str| text(&list[name][0]["id"]);
        let server = self.server(server_key).await;
        let policy = first(&self.get("/policies").await, "policies");
        let policy_versions = self.get(&format!("/policies/{policy}/versions")).await;
        let tool = first(&self.get(&format!("/servers/{server}/tools")).await, "tools");
        BTreeMap::from([
            // No server of these tests offers any: it is changed by those of the API, with one that is there.
            ("servers/items", tool.replacen("tool", "item", 1)),
            ("servers/versions", first(&self.get(&format!("/servers/{server}/versions")).await, "versions")),
            ("servers/tools", tool),
            ("servers", server),
            ("policies/versions", policy_versions["versions"][0]["version"].to_string()),
            ("policies", policy),
            ("gateway-tokens", first(&self.get("/gateway-tokens").await, "tokens")),
            ("api-tokens", first(&self.get("/api-tokens").await, "tokens")),
            ("members", first(&self.get("/members").await, "members")),
            ("activity", text(&self.activity("limit=1").await[0]["id"])),
            ("audit/destinations", self.any_destination().await),
        ])
    }

    /// Adds a webhook and has records sent to it; gives its id.
    pub async fn add_destination(&self, url: &str) -> String {
        let settings = json!({"kind": "webhook", "url": url});
        let id = text(&self.post("/audit/destinations", json!({"name": "started", "settings": settings})).await["id"]);
        self.post(&format!("/audit/destinations/{id}/start"), json!({})).await;
        id
    }

    /// A destination as it is now.
    pub async fn destination(&self, id: &str) -> Value {
        self.get(&format!("/audit/destinations/{id}")).await
    }

    /// A destination, paused; made when there is none.
    async fn any_destination(&self) -> String {
        let found = self.get("/audit/destinations").await;
        if let Some(id) = found["destinations"][0]["id"].as_str() {
            return id.to_owned();
        }
        let settings = serde_json::json!({"kind": "webhook", "url": "https://siem.example/hook"});
        let new = serde_json::json!({"name": "hook", "settings": settings});
        text(&self.post("/audit/destinations", new).await["id"])
    }

    /// What every operation that only reads says.
    pub async fn crawl(&self, server_key: &str) -> String {
        let ids = self.ids(server_key).await;
        until("the log is signed for", async || self.checkpoint().await).await;
        let mut said = String::new();
        for (_, path) in self.routes().await.iter().filter(|(method, _)| method == "get") {
            let path = filled(path, &self.slug, &ids);
            let answer = self.send_as(&self.token, "GET", &path, None).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
            said.push_str(&answer.text);
        }
        said
    }
}

/// A path of the API's description with a tenant and ids in it.
pub fn filled(path: &str, tenant: &str, ids: &BTreeMap<&str, String>) -> String {
    let path = path.replace("{tenant}", tenant);
    let (mut filled, mut folders) = (Vec::new(), Vec::new());
    for part in path.split('/') {
        if part.starts_with('{') {
            // Below `/api/v1/tenants/{tenant}`.
            let folders: Vec<&str> = folders.iter().skip(5).copied().collect();
            let id = ids.get(folders.join("/").as_str());
            filled.push(id.unwrap_or_else(|| panic!("no id is known for {part} of {path}")).as_str());
        } else {
            folders.push(part);
            filled.push(part);
        }
    }
    filled.join("/")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text in {value}")).to_owned()
}
