//! An upstream MCP server that speaks the modern era, the legacy era or both, writes down every call it sees, and fails
//! in every way an upstream can, by the name of the tool that is called.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::patience::until;

/// Which eras the server answers in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eras {
    /// 2026-07-28 only.
    Modern,
    /// 2025-03-26 to 2025-11-25 only, with sessions.
    Legacy,
    /// Both.
    Dual,
}

/// One request as the server saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The JSON-RPC method.
    pub method: String,
    /// The tool, for tools/call.
    pub tool: String,
    /// The argument `n`, by which load clients number their calls.
    pub number: Option<u64>,
    /// All headers.
    pub headers: BTreeMap<String, String>,
    /// The whole message.
    pub message: Value,
}

#[derive(Default)]
struct Inner {
    seen: Mutex<Vec<Seen>>,
    sessions: Mutex<BTreeSet<String>>,
    gate: Notify,
    extra_tools: Mutex<Vec<Value>>,
}

/// A running upstream; it ends with the runtime it was started on.
#[derive(Clone)]
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    eras: Eras,
    inner: Arc<Inner>,
}

const MODERN: &str = "2026-07-28";

impl Upstream {
    /// Starts one on a free port of 127.0.0.1.
    pub async fn start(eras: Eras) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Self { address: listener.local_addr().unwrap(), eras, inner: Arc::default() };
        let app =
            Router::new().route("/mcp", post(answer).get(no_stream).delete(end_session)).with_state(upstream.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        upstream
    }

    /// Its endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.inner.seen.lock().unwrap().clone()
    }

    /// The numbers of the calls so far, each as often as it was seen.
    pub fn numbers(&self) -> Vec<u64> {
        self.inner.seen.lock().unwrap().iter().filter_map(|seen| seen.number).collect()
    }

    /// Waits until a call of this tool has arrived.
    pub async fn has_seen(&self, tool: &str) -> Seen {
        until(&format!("a call of `{tool}` arrives"), async || self.seen().into_iter().find(|seen| seen.tool == tool))
            .await
    }

    /// Lets one call that waits at the gate go on.
    pub fn open_gate(&self) {
        self.inner.gate.notify_one();
    }

    /// Forgets all sessions, as a restarted server does.
    pub fn forget_sessions(&self) {
        self.inner.sessions.lock().unwrap().clear();
    }

    /// Lists one more tool from now on.
    pub fn add_tool(&self, definition: Value) {
        self.inner.extra_tools.lock().unwrap().push(definition);
    }
}

async fn no_stream() -> StatusCode {
    StatusCode::METHOD_NOT_ALLOWED
}

async fn end_session(State(upstream): State<Upstream>, headers: HeaderMap) -> StatusCode {
    let session = headers.get("mcp-session-id").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if upstream.inner.sessions.lock().unwrap().remove(session) { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

async fn answer(State(upstream): State<Upstream>, headers: HeaderMap, body: Bytes) -> Response {
    let Ok(message) = serde_json::from_slice::<Value>(&body) else {
        return error(StatusCode::BAD_REQUEST, &Value::Null, -32700, "parse error");
    };
    upstream.write_down(&headers, &message);
    let Some(id) = message.get("id").cloned() else { return StatusCode::ACCEPTED.into_response() };
    let modern = message["params"]["_meta"].get("io.modelcontextprotocol/protocolVersion").is_some();
    if modern && upstream.eras == Eras::Legacy {
        return error(StatusCode::BAD_REQUEST, &Value::Null, -32000, "Bad Request: Server not initialized");
    }
    if !modern && upstream.eras == Eras::Modern {
        return error(StatusCode::BAD_REQUEST, &id, -32602, "`_meta` is missing; this server speaks 2026-07-28");
    }
    if modern {
        answer_modern(&upstream, &headers, &message, &id).await
    } else {
        answer_legacy(&upstream, &headers, &message, &id).await
    }
}

async fn answer_modern(upstream: &Upstream, headers: &HeaderMap, message: &Value, id: &Value) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let method = message["method"].as_str().unwrap_or_default();
    if header("mcp-protocol-version") != Some(MODERN) || header("mcp-method") != Some(method) {
        return error(StatusCode::BAD_REQUEST, id, -32020, "header mismatch");
    }
    match method {
        "server/discover" => complete(
            id,
            json!({"supportedVersions": [MODERN], "capabilities": {"tools": {}}, "ttlMs": 1000, "cacheScope": "private"}),
        ),
        "tools/list" => complete(id, json!({"tools": upstream.tools(), "ttlMs": 1000, "cacheScope": "private"})),
        "tools/call" if header("mcp-name") != message["params"]["name"].as_str() => {
            error(StatusCode::BAD_REQUEST, id, -32020, "Mcp-Name mismatch")
        }
        "tools/call" => call(upstream, headers, message, id, complete).await,
        _ => error(StatusCode::NOT_FOUND, id, -32601, "method not found"),
    }
}

async fn answer_legacy(upstream: &Upstream, headers: &HeaderMap, message: &Value, id: &Value) -> Response {
    let method = message["method"].as_str().unwrap_or_default();
    if method == "initialize" {
        let session = format!("session-{}", upstream.seen().len());
        upstream.inner.sessions.lock().unwrap().insert(session.clone());
        let result = json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}, "logging": {}}, "serverInfo": {"name": "fixture", "version": "1"}});
        let mut response = plain(id, result);
        response.headers_mut().insert("mcp-session-id", session.parse().unwrap());
        return response;
    }
    let session = headers.get("mcp-session-id").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !upstream.inner.sessions.lock().unwrap().contains(session) {
        return error(StatusCode::NOT_FOUND, &Value::Null, -32001, "Session not found");
    }
    match method {
        "ping" | "logging/setLevel" => plain(id, json!({})),
        "tools/list" => plain(id, json!({"tools": upstream.tools()})),
        "tools/call" => call(upstream, headers, message, id, plain).await,
        _ => error(StatusCode::OK, id, -32601, "method not found"),
    }
}

impl Upstream {
    fn write_down(&self, headers: &HeaderMap, message: &Value) {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let seen = Seen {
            method: text(&message["method"]),
            tool: text(&message["params"]["name"]),
            number: message["params"]["arguments"]["n"].as_u64(),
            headers,
            message: message.clone(),
        };
        self.inner.seen.lock().unwrap().push(seen);
    }

    fn tools(&self) -> Vec<Value> {
        let any = json!({"type": "object", "properties": {"n": {"type": "integer"}, "message": {"type": "string"}}});
        let read = json!({"readOnlyHint": true, "openWorldHint": false});
        let mut tools: Vec<Value> = TOOLS
            .iter()
            .map(|(name, text)| json!({"name": name, "description": text, "inputSchema": any, "annotations": read}))
            .collect();
        tools.push(json!({"name": "delete_all", "description": "Deletes everything.", "inputSchema": any,
                          "annotations": {"readOnlyHint": false, "destructiveHint": true}}));
        tools.push(
            json!({"name": "regional", "description": "Has a mirrored header.", "annotations": read, "inputSchema":
            {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}}),
        );
        tools.extend(self.inner.extra_tools.lock().unwrap().iter().cloned());
        tools
    }
}

/// The tools and what each does to its caller.
const TOOLS: &[(&str, &str)] = &[
    ("echo", "Says back its arguments."),
    ("headers", "Says which headers it got."),
    ("progress", "Reports progress twice on an event stream, the second time after the gate opens."),
    ("gated", "Waits at the gate before it answers."),
    ("tool_error", "Fails as a tool does."),
    ("protocol_error", "Answers a JSON-RPC error."),
    ("legacy_error", "Answers a JSON-RPC error of the implementation's range."),
    ("status_500", "Answers 500."),
    ("status_401", "Answers 401 with a challenge of its own."),
    ("garbage", "Answers what is no JSON."),
    ("html", "Answers a page."),
    ("half", "Ends in the middle of its answer."),
    ("hang", "Begins an event stream and falls silent."),
    ("big", "Answers 3 MiB."),
    ("endless", "Answers without end."),
    ("redirect", "Sends the caller elsewhere."),
    ("wrong_id", "Answers another request."),
    ("vendor", "Answers with members nobody knows, a big integer and an odd order of keys."),
    ("asks", "Asks its caller for something before it answers."),
    ("question", "Has a person asked, as modern servers do, and says what the person answered."),
];

type Wrap = fn(&Value, Value) -> Response;

async fn call(upstream: &Upstream, headers: &HeaderMap, message: &Value, id: &Value, wrap: Wrap) -> Response {
    let text = |text: String| json!({"content": [{"type": "text", "text": text}], "isError": false});
    match message["params"]["name"].as_str().unwrap_or_default() {
        "echo" | "regional" | "delete_all" => wrap(id, text(message["params"]["arguments"].to_string())),
        "headers" => {
            let seen: BTreeMap<_, _> = headers
                .iter()
                .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
                .collect();
            wrap(id, text(json!(seen).to_string()))
        }
        "progress" => progress(upstream, message, id),
        "gated" => {
            upstream.inner.gate.notified().await;
            wrap(id, text("through the gate".to_owned()))
        }
        "tool_error" => wrap(id, json!({"content": [{"type": "text", "text": "the tool failed"}], "isError": true})),
        "protocol_error" => error(StatusCode::OK, id, -32603, "it broke"),
        "legacy_error" => error(StatusCode::OK, id, -32005, "implementation says no"),
        "status_500" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        "status_401" => {
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer realm=\"upstream\"")]).into_response()
        }
        "garbage" => json_bytes("{\"jsonrpc\": \"2.0\", nonsense"),
        "html" => ([(header::CONTENT_TYPE, "text/html")], "<p>hello</p>").into_response(),
        "half" => half(),
        "hang" => hang(),
        "big" => wrap(id, text("x".repeat(3 * 1024 * 1024))),
        "endless" => endless(),
        "redirect" => {
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "http://127.0.0.1:9/elsewhere")]).into_response()
        }
        "wrong_id" => wrap(&json!("another"), text("not for you".to_owned())),
        "vendor" => json_bytes(&vendor(id)),
        "asks" => asks(id),
        "question" => match &message["params"]["inputResponses"] {
            Value::Null => plain(id, question()),
            answers => wrap(id, text(json!([answers, message["params"]["requestState"]]).to_string())),
        },
        name if upstream.inner.extra_tools.lock().unwrap().iter().any(|tool| tool["name"] == name) => {
            wrap(id, text("extra".to_owned()))
        }
        _ => error(StatusCode::OK, id, -32602, "Unknown tool"),
    }
}

fn vendor(id: &Value) -> String {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"zeta\":12345678901234567890123,\"content\":[{{\"type\":\"text\",\"text\":\"v\",\"x-vendor\":{{\"b\":1,\"a\":1e3}}}}],\"resultType\":\"complete\",\"alpha\":null}}}}"
    )
}

#[expect(clippy::unnecessary_wraps, reason = "an item of a body's stream")]
fn event(message: &Value) -> Result<Bytes, std::io::Error> {
    Ok(Bytes::from(format!("event: message\ndata: {message}\n\n")))
}

fn stream(events: impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static) -> Response {
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(events)).into_response()
}

fn progress(upstream: &Upstream, message: &Value, id: &Value) -> Response {
    let token = message["params"]["_meta"]["progressToken"].clone();
    let note = move |done: u64| json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": done, "total": 2}});
    let last = json!({"jsonrpc": "2.0", "id": id, "result": {"resultType": "complete", "content": [{"type": "text", "text": "done"}]}});
    let inner = upstream.inner.clone();
    stream(futures_util::stream::unfold(0_u64, move |step| {
        let (note, last, inner) = (note.clone(), last.clone(), inner.clone());
        async move {
            match step {
                0 => Some((event(&note(1)), 1)),
                1 => {
                    inner.gate.notified().await;
                    Some((event(&note(2)), 2))
                }
                2 => Some((event(&last), 3)),
                _ => None,
            }
        }
    }))
}

fn asks(id: &Value) -> Response {
    let question = json!({"jsonrpc": "2.0", "id": "u1", "method": "roots/list"});
    let last = json!({"jsonrpc": "2.0", "id": id, "result": {"resultType": "complete", "content": [{"type": "text", "text": "asked"}]}});
    stream(futures_util::stream::iter([event(&question), event(&last)]))
}

fn question() -> Value {
    let params = json!({"message": "Sure?", "requestedSchema": {"type": "object", "properties": {}}});
    json!({"resultType": "input_required", "requestState": "of the fixture",
        "inputRequests": {"sure": {"method": "elicitation/create", "params": params}}})
}

fn half() -> Response {
    let parts = [Ok(Bytes::from_static(b"{\"jsonrpc\":\"2.0\",")), Err(std::io::Error::other("cut"))];
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(futures_util::stream::iter(parts))).into_response()
}

fn hang() -> Response {
    use futures_util::StreamExt;
    let first = futures_util::stream::iter([Ok(Bytes::from_static(b": begun\n\n"))]);
    stream(first.chain(futures_util::stream::pending()))
}

fn endless() -> Response {
    stream(futures_util::stream::repeat_with(|| Ok(Bytes::from(format!("data: {}\n", "y".repeat(64 * 1024))))))
}

fn json_bytes(text: &str) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text.to_owned()).into_response()
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of `Wrap`")]
fn plain(id: &Value, result: Value) -> Response {
    json_bytes(&json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string())
}

fn complete(id: &Value, mut result: Value) -> Response {
    result["resultType"] = json!("complete");
    result["_meta"] = json!({"io.modelcontextprotocol/serverInfo": {"name": "fixture", "version": "1"}});
    plain(id, result)
}

fn error(status: StatusCode, id: &Value, code: i32, message: &str) -> Response {
    let body = json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}});
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
