//! A real Vault (or OpenBao) for a test, and what its administrator does.
#![expect(clippy::print_stdout, reason = "what is skipped says so")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::stack::signal;

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server with the KV engine, version 2, at `secret`.
pub struct Vault {
    http: reqwest::Client,
    address: String,
    token: String,
    /// `None`: it is somebody else's, and goes on after the test.
    child: Option<Child>,
}

/// How an application logs in.
#[derive(Debug, Clone)]
pub struct AppRole {
    /// `role_id`.
    pub role_id: String,
    /// `secret_id`.
    pub secret_id: String,
}

impl Vault {
    /// Starts one, which ends when dropped. `None`, said as SKIPPED, where there is none.
    pub async fn start() -> Option<Self> {
        let program = program()?;
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let token = "root".to_owned();
        let child = Command::new(program)
            .args(["server", "-dev", "-dev-no-store-token"])
            .arg(format!("-dev-root-token-id={token}"))
            .arg(format!("-dev-listen-address={free}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let vault = Self { http: http(), address: format!("http://{free}"), token, child: Some(child) };
        vault.is_ready().await;
        Some(vault)
    }

    /// The one that `VAULT_ADDR` and `VAULT_TOKEN` name, or else starts one.
    #[expect(clippy::disallowed_methods, reason = "whoever runs the tests says where Vault is")]
    pub async fn given_or_started() -> Option<Self> {
        let (Ok(address), Ok(token)) = (std::env::var("VAULT_ADDR"), std::env::var("VAULT_TOKEN")) else {
            return Self::start().await;
        };
        let address = address.trim_end_matches('/').to_owned();
        Some(Self { http: http(), address, token, child: None })
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A token that may do everything.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Whether the test started it and may do with it what it likes.
    pub fn is_ours(&self) -> bool {
        self.child.is_some()
    }

    /// Makes a role that may do what Sluice needs and nothing else; its tokens last `ttl` and at most `max_ttl`.
    pub async fn app_role(&self, ttl: &str, max_ttl: &str) -> AppRole {
        let name = unique();
        self.may_fail(Method::POST, "sys/auth/approle", json!({"type": "approle"})).await;
        self.admin(Method::PUT, &format!("sys/policies/acl/{name}"), json!({"policy": policy()})).await;
        let role = format!("auth/approle/role/{name}");
        let terms = json!({"token_policies": [name], "token_ttl": ttl, "token_max_ttl": max_ttl});
        self.admin(Method::POST, &role, terms).await;
        let role_id = self.admin(Method::GET, &format!("{role}/role-id"), Value::Null).await;
        let secret_id = self.admin(Method::POST, &format!("{role}/secret-id"), json!({})).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        AppRole { role_id: text(&role_id["data"]["role_id"]), secret_id: text(&secret_id["data"]["secret_id"]) }
    }

    /// Makes a token with the policy of Sluice that lasts `ttl`.
    pub async fn token_for_sluice(&self, ttl: &str) -> String {
        let name = unique();
        self.admin(Method::PUT, &format!("sys/policies/acl/{name}"), json!({"policy": policy()})).await;
        let made = self.admin(Method::POST, "auth/token/create", json!({"policies": [name], "ttl": ttl})).await;
        made["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    /// Revokes every token that AppRole has given.
    pub async fn revoke_logins(&self) {
        self.admin(Method::PUT, "sys/leases/revoke-prefix/auth/approle", json!({})).await;
    }

    /// Seals it: it answers, and does nothing any more.
    pub async fn seal(&self) {
        self.admin(Method::PUT, "sys/seal", Value::Null).await;
    }

    /// Every value at a path of the KV engine's and below, as JSON.
    pub async fn all_values(&self, path: &str) -> Vec<Value> {
        let listed = self.ask(Method::GET, &format!("secret/metadata/{path}?list=true"), Value::Null).await;
        let (status, listed) = listed.expect("Vault is away");
        if status == 404 {
            return Vec::new(); // so it says that there is nothing
        }
        let mut values = Vec::new();
        for key in listed["data"]["keys"].as_array().unwrap() {
            let below = format!("{path}/{}", key.as_str().unwrap().trim_end_matches('/'));
            if key.as_str().unwrap().ends_with('/') {
                values.extend(Box::pin(self.all_values(&below)).await);
            } else {
                let read = self.admin(Method::GET, &format!("secret/data/{below}"), Value::Null).await;
                values.push(read["data"]["data"].clone());
            }
        }
        values
    }

    /// Has it hang: connections are taken and nothing is answered.
    pub fn hang(&self) {
        signal(self.child.as_ref().unwrap().id(), rustix::process::Signal::STOP);
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        signal(self.child.as_ref().unwrap().id(), rustix::process::Signal::CONT);
    }

    async fn is_ready(&self) {
        let mut again = tokio::time::interval(Duration::from_millis(50));
        let up = async {
            while self.ask(Method::GET, "secret/config", Value::Null).await.is_none_or(|(status, _)| status != 200) {
                again.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, up).await.expect("Vault did not start");
    }

    async fn admin(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask(method, path, body).await.expect("Vault is away");
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    async fn may_fail(&self, method: Method, path: &str, body: Value) {
        self.ask(method, path, body).await;
    }

    /// The status and what is answered; nothing when nobody answers.
    async fn ask(&self, method: Method, path: &str, body: Value) -> Option<(u16, Value)> {
        let request =
            self.http.request(method, format!("{}/v1/{path}", self.address)).header("x-vault-token", &self.token);
        let request = if body.is_null() { request } else { request.json(&body) };
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.json().await.unwrap_or_default()))
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A name for a policy and a role, none of which a Vault of somebody else's has.
fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("sluice-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// As `docs/operate.md` has it.
fn policy() -> String {
    let guide = include_str!("../../docs/operate.md");
    let begin = guide.find("```hcl").expect("the guide shows the policy") + "```hcl".len();
    guide[begin..].split("```").next().unwrap().to_owned()
}

fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

fn program() -> Option<PathBuf> {
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/vault.sh")).output().unwrap();
    if output.status.success() {
        return Some(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()));
    }
    println!("SKIPPED Vault: {}", String::from_utf8_lossy(&output.stderr).trim());
    None
}
