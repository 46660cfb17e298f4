//! An MCP client that shows everything on the wire: both eras, every header, raw bytes.

use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

/// The modern protocol version.
pub const MODERN: &str = "2026-07-28";
/// The newest legacy protocol version.
pub const LEGACY: &str = "2025-11-25";

/// One tenant endpoint and who calls it.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    token: Option<String>,
}

/// An answer, whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// HTTP headers.
    pub headers: HeaderMap,
    /// The body's bytes as text.
    pub text: String,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Answer {
    /// The JSON-RPC message: the body, or the last message of an event stream.
    pub fn message(&self) -> Value {
        self.messages().pop().unwrap_or_else(|| panic!("no message in {self:?}"))
    }

    /// All JSON-RPC messages, in order.
    pub fn messages(&self) -> Vec<Value> {
        let kind = self.headers.get("content-type").map(|kind| kind.to_str().unwrap()).unwrap_or_default();
        if kind.starts_with("text/event-stream") {
            let data = self.text.lines().filter_map(|line| line.strip_prefix("data:"));
            return data
                .filter(|data| !data.trim().is_empty())
                .map(|data| serde_json::from_str(data).unwrap())
                .collect();
        }
        serde_json::from_str(&self.text).into_iter().collect()
    }

    /// The text of a tool's result.
    pub fn tool_text(&self) -> String {
        self.message()["result"]["content"][0]["text"]
            .as_str()
            .unwrap_or_else(|| panic!("no text in {self:?}"))
            .to_owned()
    }

    /// The trace id the gateway put on the answer.
    pub fn trace_id(&self) -> String {
        self.headers["x-trace-id"].to_str().unwrap().to_owned()
    }

    /// The code of a JSON-RPC error.
    pub fn error_code(&self) -> Option<i64> {
        self.message()["error"]["code"].as_i64()
    }
}

impl Client {
    /// A client of this endpoint with a token.
    pub fn new(url: &str, token: &str) -> Self {
        Self { http: reqwest::Client::builder().build().unwrap(), url: url.to_owned(), token: Some(token.to_owned()) }
    }

    /// The same with other credentials.
    pub fn with_token(&self, token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned), ..self.clone() }
    }

    /// The same at another endpoint.
    pub fn at(&self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self.clone() }
    }

    /// A request with what every client sends, to be changed and sent.
    pub fn request(&self, method: Method) -> RequestBuilder {
        let request = self
            .http
            .request(method, &self.url)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// The request of a modern message with its mirrored headers.
    pub fn modern_request(&self, method: &str, mut params: Value) -> RequestBuilder {
        let name = params["name"].as_str().map(str::to_owned);
        if params["_meta"].is_null() {
            params["_meta"] = json!({});
        }
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(MODERN);
        if params["_meta"]["io.modelcontextprotocol/clientCapabilities"].is_null() {
            params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
        }
        params["_meta"]["io.modelcontextprotocol/clientInfo"] = json!({"name": "sluice-tests", "version": "1"});
        let body = json!({"jsonrpc": "2.0", "id": next_id(), "method": method, "params": params});
        let request = self.request(Method::POST).header("mcp-protocol-version", MODERN).header("mcp-method", method);
        match name {
            Some(name) => request.header("mcp-name", name).body(body.to_string()),
            None => request.body(body.to_string()),
        }
    }

    /// Sends a modern message and reads the whole answer.
    pub async fn modern(&self, method: &str, params: Value) -> Answer {
        send(self.modern_request(method, params)).await.unwrap()
    }

    /// Calls a tool the modern way.
    pub async fn call(&self, tool: &str, arguments: Value) -> Answer {
        self.modern("tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    /// The names of all tools, the modern way.
    pub async fn tools(&self) -> Vec<String> {
        let answer = self.modern("tools/list", json!({})).await;
        tool_names(&answer.message())
    }

    /// Shakes hands the legacy way.
    pub async fn initialize(&self, version: &str) -> Session {
        let params = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "sluice-tests", "version": "1"}});
        let body = json!({"jsonrpc": "2.0", "id": next_id(), "method": "initialize", "params": params});
        let answer = send(self.request(Method::POST).body(body.to_string())).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        let id = answer.headers["mcp-session-id"].to_str().unwrap().to_owned();
        let session = Session {
            client: self.clone(),
            id,
            version: version.to_owned(),
            initialized: answer.message()["result"].clone(),
        };
        let done = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let answer = send(session.request(Method::POST).body(done.to_string())).await.unwrap();
        assert_eq!(answer.status, 202, "{answer:?}");
        session
    }
}

/// A legacy session.
#[derive(Clone)]
pub struct Session {
    /// Whose it is.
    pub client: Client,
    /// `Mcp-Session-Id`.
    pub id: String,
    version: String,
    /// The result of `initialize`.
    pub initialized: Value,
}

impl Session {
    /// A request with the session's headers.
    pub fn request(&self, method: Method) -> RequestBuilder {
        self.client.request(method).header("mcp-session-id", &self.id).header("mcp-protocol-version", &self.version)
    }

    /// Sends a message and reads the whole answer.
    pub async fn send(&self, method: &str, params: Value) -> Answer {
        let body = json!({"jsonrpc": "2.0", "id": next_id(), "method": method, "params": params});
        send(self.request(Method::POST).body(body.to_string())).await.unwrap()
    }

    /// Calls a tool.
    pub async fn call(&self, tool: &str, arguments: Value) -> Answer {
        self.send("tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    /// The names of all tools.
    pub async fn tools(&self) -> Vec<String> {
        tool_names(&self.send("tools/list", json!({})).await.message())
    }
}

/// Sends a request and reads the whole answer.
pub async fn send(request: RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    Ok(Answer { status, headers, text: String::from_utf8_lossy(&response.bytes().await?).into_owned() })
}

/// A header a request does not have by itself.
pub fn header(name: &str, value: &str) -> (HeaderName, HeaderValue) {
    (name.parse().unwrap(), value.parse().unwrap())
}

fn tool_names(message: &Value) -> Vec<String> {
    let tools = message["result"]["tools"].as_array().unwrap_or_else(|| panic!("no tools in {message}"));
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

fn next_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}
