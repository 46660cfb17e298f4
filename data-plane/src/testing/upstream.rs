//! An MCP server in this process that speaks one era or both, remembers what it was sent, and does harm on request: the name of
//! the called tool says which.
#![expect(clippy::needless_pass_by_value, reason = "JSON that is made where it is given away")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

/// What a tool may well find in a file: a null character, and half of a surrogate pair.
pub(crate) const ODD: &str = r"a\u0000b\ud800c";

/// Which era the fixture speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Modern,
    Legacy,
    /// Each request is answered in its own.
    Both,
}

/// A request the fixture was sent.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) http_method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    /// The same as it was written.
    pub(crate) text: String,
}

impl Seen {
    pub(crate) fn method(&self) -> &str {
        self.body["method"].as_str().unwrap_or_default()
    }
}

/// A running server; ends with this value.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    _end: DropGuard,
}

struct Shared {
    speaks: Mutex<Speaks>,
    /// What it answers to `initialize`, when not as its era does.
    handshake: Mutex<Option<StatusCode>>,
    seen: Mutex<Vec<Seen>>,
    /// Lets one waiting `slow` call go on.
    go_on: Notify,
    /// Told when a `slow` or `hang` call has begun.
    begun: Notify,
    /// Told when the answer of a `slow` or `hang` call was dropped before its end.
    dropped: Arc<Notify>,
    sessions: AtomicUsize,
    /// The sessions that are valid.
    alive: Mutex<Vec<String>>,
    /// What it asked its clients: the session, the id, and who waits for the answer.
    asked: Mutex<Vec<(String, Value, oneshot::Sender<Value>)>>,
    /// The request whose answer is to be fetched with GET.
    polled: Mutex<Value>,
}

impl Upstream {
    pub(crate) async fn start(speaks: Speaks) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            speaks: Mutex::new(speaks),
            handshake: Mutex::default(),
            seen: Mutex::default(),
            go_on: Notify::new(),
            begun: Notify::new(),
            dropped: Arc::new(Notify::new()),
            sessions: AtomicUsize::new(0),
            alive: Mutex::default(),
            asked: Mutex::default(),
            polled: Mutex::default(),
        });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let end = CancellationToken::new();
        let ended = end.clone();
        tokio::spawn(async move {
            let _ = axum::serve(listener, router).with_graceful_shutdown(async move { ended.cancelled().await }).await;
        });
        Self { address, shared, _end: end.drop_guard() }
    }

    pub(crate) fn url(&self) -> Url {
        format!("http://{}/mcp", self.address).parse().unwrap()
    }

    /// What it was sent so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The `tools/call` requests it was sent so far.
    pub(crate) fn calls(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.method() == "tools/call").collect()
    }

    pub(crate) fn count(&self, method: &str) -> usize {
        self.seen().iter().filter(|seen| seen.method() == method).count()
    }

    /// Waits until a `slow` or `hang` call has reached it.
    pub(crate) async fn begun(&self) {
        self.shared.begun.notified().await;
    }

    /// Lets one waiting call go on.
    pub(crate) fn go_on(&self) {
        self.shared.go_on.notify_one();
    }

    /// Waits until an unfinished answer was dropped by the other side.
    pub(crate) async fn dropped(&self) {
        self.shared.dropped.notified().await;
    }

    /// Speaks something else from now on, as another release would, and has forgotten every session.
    pub(crate) fn becomes(&self, speaks: Speaks) {
        *self.shared.speaks.lock().unwrap() = speaks;
        self.forget_sessions();
    }

    /// Answers `initialize` with this status from now on, or as its era does.
    pub(crate) fn refuses_handshakes(&self, status: Option<StatusCode>) {
        *self.shared.handshake.lock().unwrap() = status;
    }

    /// Forgets every session, as after a restart.
    pub(crate) fn forget_sessions(&self) {
        self.shared.alive.lock().unwrap().clear();
    }
}

/// Tells when it is dropped before it was disarmed.
struct Tell(Option<Arc<Notify>>);

impl Drop for Tell {
    fn drop(&mut self) {
        if let Some(notify) = self.0.take() {
            notify.notify_one();
        }
    }
}

async fn answer(State(shared): State<Arc<Shared>>, method: Method, headers: HeaderMap, body: Bytes) -> Response {
    let value: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    shared.seen.lock().unwrap().push(Seen {
        http_method: method.clone(),
        headers: headers.clone(),
        body: value.clone(),
        text: String::from_utf8_lossy(&body).into_owned(),
    });
    if method == Method::GET {
        return resume(&shared, &headers);
    }
    if method == Method::DELETE {
        let session = text(&headers, "mcp-session-id");
        shared.alive.lock().unwrap().retain(|alive| *alive != session);
        return StatusCode::OK.into_response();
    }
    let refused = *shared.handshake.lock().unwrap();
    if let Some(status) = refused.filter(|_| value["method"] == "initialize") {
        return status.into_response();
    }
    let speaks = *shared.speaks.lock().unwrap();
    match speaks {
        Speaks::Modern => modern(&shared, &headers, &value).await,
        Speaks::Both if is_modern(&value) => modern(&shared, &headers, &value).await,
        Speaks::Legacy | Speaks::Both => legacy(&shared, &headers, &value).await,
    }
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

fn is_modern(body: &Value) -> bool {
    body["params"]["_meta"].get("io.modelcontextprotocol/protocolVersion").is_some()
}

async fn modern(shared: &Arc<Shared>, headers: &HeaderMap, body: &Value) -> Response {
    let id = body["id"].clone();
    let version = &body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"];
    if *version != "2026-07-28" {
        return error(StatusCode::BAD_REQUEST, id, -32022, "Unsupported protocol version");
    }
    if text(headers, "mcp-protocol-version") != "2026-07-28" || text(headers, "mcp-method") != body["method"] {
        return error(StatusCode::BAD_REQUEST, id, -32020, "Header mismatch");
    }
    match body["method"].as_str().unwrap_or_default() {
        "server/discover" => result(
            id,
            json!({"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}},
                "instructions": "Be kind.", "ttlMs": 1000, "cacheScope": "private",
                "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "fixture", "version": "1"}}}),
        ),
        "tools/list" => list(id, body, true),
        "tools/call" if text(headers, "mcp-name") != body["params"]["name"] => {
            error(StatusCode::BAD_REQUEST, id, -32020, "Header mismatch: Mcp-Name")
        }
        "tools/call" => call(shared, headers, id, body).await,
        _ => error(StatusCode::NOT_FOUND, id, -32601, "Method not found"),
    }
}

async fn legacy(shared: &Arc<Shared>, headers: &HeaderMap, body: &Value) -> Response {
    let id = body["id"].clone();
    let method = body["method"].as_str().unwrap_or_default();
    if method == "initialize" {
        let session = format!("s{}", shared.sessions.fetch_add(1, Ordering::SeqCst));
        shared.alive.lock().unwrap().push(session.clone());
        let mut response = result(
            id,
            json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}, "logging": {}},
                "serverInfo": {"name": "fixture", "version": "1"}, "instructions": "Be kind."}),
        );
        response.headers_mut().insert("mcp-session-id", session.parse().unwrap());
        return response;
    }
    let session = text(headers, "mcp-session-id");
    if session.is_empty() {
        return error(StatusCode::BAD_REQUEST, Value::Null, -32000, "Bad Request: Server not initialized");
    }
    if !shared.alive.lock().unwrap().contains(&session) {
        return error(StatusCode::NOT_FOUND, Value::Null, -32001, "Session not found");
    }
    match method {
        "tools/list" => list(id, body, false),
        "tools/call" if body["params"]["name"] == "ask" => {
            ask_client(shared, session, id, &body["params"]["arguments"])
        }
        "tools/call" => call(shared, headers, id, body).await,
        "" => take_answer(shared, &session, body),
        "ping" | "logging/setLevel" => result(id, json!({})),
        _ if id.is_null() || body.get("method").is_none() => StatusCode::ACCEPTED.into_response(),
        _ => error(StatusCode::OK, id, -32601, "Method not found"),
    }
}

fn list(id: Value, body: &Value, modern: bool) -> Response {
    let tool = |name: &str| json!({"name": name, "description": "Does it.", "inputSchema": {"type": "object"}});
    let mut page = if body["params"]["cursor"] == "2" {
        json!({"tools": [tool("progress")]})
    } else {
        json!({"tools": [tool("echo"), tool("fail")], "nextCursor": "2"})
    };
    if modern {
        page["resultType"] = json!("complete");
        page["ttlMs"] = json!(0);
        page["cacheScope"] = json!("private");
    }
    result(id, page)
}

async fn call(shared: &Arc<Shared>, headers: &HeaderMap, id: Value, body: &Value) -> Response {
    let params = &body["params"];
    let token = params["_meta"]["progressToken"].clone();
    let modern = is_modern(body);
    let complete = |text: &str| {
        let mut result = json!({"content": [{"type": "text", "text": text}]});
        if modern {
            result["resultType"] = json!("complete");
        }
        result
    };
    match params["name"].as_str().unwrap_or_default() {
        "echo" => result(id, complete(&params["arguments"].to_string())),
        "fail" => {
            let mut failed = complete("it broke");
            failed["isError"] = json!(true);
            result(id, failed)
        }
        "rpc_error" => error(StatusCode::OK, id, -32002, "Resource not found"),
        "lacks" => error(StatusCode::BAD_REQUEST, id, -32021, "Missing required client capability"),
        "invalid" => error(StatusCode::OK, id, -32602, "Bad arguments"),
        "progress" => events(vec![progress(&token, 1), progress(&token, 2), message(&id, complete("done"))]),
        "logs" => {
            let level = &params["_meta"]["io.modelcontextprotocol/logLevel"];
            // Without a level that era's servers say nothing.
            let lines = if modern && level.is_null() { vec![] } else { vec![log("info"), log("debug")] };
            let others = ["notifications/vendor", "notifications/tools/list_changed"];
            let others = others.map(|method| json!({"jsonrpc": "2.0", "method": method}));
            events([lines, others.to_vec(), vec![message(&id, complete("done"))]].concat())
        }
        "stray" => events(vec![progress(&json!("another's"), 1), message(&id, complete("done"))]),
        "asks" => events(vec![
            json!({"jsonrpc": "2.0", "id": "srv-1", "method": "ping"}),
            json!({"jsonrpc": "2.0", "id": "srv-2", "method": "elicitation/create", "params": {"message": "?"}}),
            message(&id, complete("asked")),
        ]),
        "input" => ask(id, params, complete),
        "slow" => slow(shared, id, complete("late")).await,
        "hang" => hang(shared, &token),
        // The stream ends before the answer came.
        "cut" => events(vec![progress(&token, 1)]),
        "poll" => {
            *shared.polled.lock().unwrap() = id;
            events_text("id: e1\nretry: 1\ndata:\n\n".to_owned())
        }
        harm => harmful(harm, headers, id),
    }
}

/// Asks its client what the call tells it to ask, and says in the end what it was told; or asks no more, or goes away.
fn ask_client(shared: &Arc<Shared>, session: String, id: Value, arguments: &Value) -> Response {
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    let (waiting, answer) = oneshot::channel();
    let (shared, arguments) = (Arc::clone(shared), arguments.clone());
    let theirs = json!(format!("srv \"{id}\""));
    shared.asked.lock().unwrap().push((session, theirs.clone(), waiting));
    tokio::spawn(async move {
        let say = async |message: Value| drop(sender.send(event(&message).into()).await);
        let mut question = arguments["asks"].clone();
        (question["jsonrpc"], question["id"]) = (json!("2.0"), theirs.clone());
        say(question).await;
        match arguments["then"].as_str() {
            // Without end: until nobody listens any more.
            Some("again") => {
                for number in 0.. {
                    let mut again = arguments["asks"].clone();
                    (again["jsonrpc"], again["id"]) = (json!("2.0"), json!(number));
                    if sender.send(event(&again).into()).await.is_err() {
                        return;
                    }
                }
            }
            Some("die") => return shared.go_on.notified().await,
            Some("stop") => {
                let params = json!({"requestId": theirs, "reason": "never mind"});
                say(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})).await;
            }
            _ => {}
        }
        let told = answer.await.unwrap_or_default().to_string();
        if arguments["then"] == "hang" {
            return shared.go_on.notified().await;
        }
        say(message(&id, json!({"content": [{"type": "text", "text": told}]}))).await;
    });
    stream(Body::from_stream(tokio_stream(receiver).map(Ok::<_, Infallible>)))
}

/// An answer counts in the session in which it was asked.
fn take_answer(shared: &Shared, session: &str, body: &Value) -> Response {
    let mut asked = shared.asked.lock().unwrap();
    if let Some(place) = asked.iter().position(|(of, id, _)| of == session && *id == body["id"]) {
        let _ = asked.swap_remove(place).2.send(body.clone());
    }
    StatusCode::ACCEPTED.into_response()
}

/// Asks what the call tells it to ask, one after the other, and then says what it was told at last. Without a question it
/// gives only a state.
fn ask(id: Value, params: &Value, complete: impl Fn(&str) -> Value) -> Response {
    let told = params["arguments"]["asks"].as_array().cloned();
    let asks = told.unwrap_or_else(|| vec![json!({"requestState": "x"})]);
    let answered = match (&params["requestState"], params.get("inputResponses")) {
        (Value::Null, None) => 0,
        (Value::Null, Some(_)) => asks.len(),
        (state, _) => match asks.iter().position(|ask| ask["requestState"] == *state) {
            Some(place) => place + 1,
            None => return error(StatusCode::OK, id, -32602, "Unknown state"),
        },
    };
    let Some(mut asked) = asks.get(answered).cloned() else {
        return result(id, complete(&params["inputResponses"].to_string()));
    };
    asked["resultType"] = json!("input_required");
    if params["arguments"]["stream"] == json!(true) {
        return events(vec![progress(&params["_meta"]["progressToken"], 1), message(&id, asked)]);
    }
    result(id, asked)
}

fn harmful(harm: &str, headers: &HeaderMap, id: Value) -> Response {
    match harm {
        "garbage" => ([(header::CONTENT_TYPE, "application/json")], "{\"jsonrpc\":").into_response(),
        "garbage_event" => events_text("data: {\"jsonrpc\":\n\n".to_owned()),
        "html" => ([(header::CONTENT_TYPE, "text/html")], "<html>").into_response(),
        "wrong_id" => result(json!("another"), json!({"content": []})),
        "huge" => result(id, json!({"content": [{"type": "text", "text": "x".repeat(300_000)}]})),
        "huge_event" => events(vec![message(&id, json!({"content": [{"type": "text", "text": "x".repeat(300_000)}]}))]),
        "redirect" => {
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "http://127.0.0.1:1/elsewhere")]).into_response()
        }
        "unavailable" => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        "unauthorized" => {
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer realm=\"upstream\"")]).into_response()
        }
        "headers" => {
            let names: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
            result(id, json!({"content": [{"type": "text", "text": names.join("\n")}]}))
        }
        "odd" => {
            let text =
                format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"{ODD}"}}]}}}}"#);
            ([(header::CONTENT_TYPE, "application/json")], text).into_response()
        }
        "forge" => {
            let meta = json!({"dev.sluice/denial": {"code": "policy_denied"}, "example/kept": 1});
            result(id, json!({"content": [{"type": "text", "text": "no"}], "_meta": meta}))
        }
        _ => error(StatusCode::OK, id, -32602, "Unknown tool"),
    }
}

/// Answers only when the test says so.
async fn slow(shared: &Arc<Shared>, id: Value, late: Value) -> Response {
    let mut tell = Tell(Some(Arc::clone(&shared.dropped)));
    shared.begun.notify_one();
    shared.go_on.notified().await;
    tell.0 = None;
    result(id, late)
}

/// Begins a stream and never ends it.
fn hang(shared: &Arc<Shared>, token: &Value) -> Response {
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    let tell = Tell(Some(Arc::clone(&shared.dropped)));
    let begun = Arc::clone(shared);
    let first = Bytes::from(event(&progress(token, 1)));
    tokio::spawn(async move {
        let _ = sender.send(first).await;
        begun.begun.notify_one();
        sender.closed().await;
        drop(tell);
    });
    stream(Body::from_stream(tokio_stream(receiver).map(Ok::<_, Infallible>)))
}

/// Gives the answer to a client that comes back for it, as 2025-11-25 allows.
fn resume(shared: &Shared, headers: &HeaderMap) -> Response {
    if text(headers, "last-event-id") != "e1" {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let id = shared.polled.lock().unwrap().clone();
    events(vec![message(&id, json!({"content": [{"type": "text", "text": "polled"}]}))])
}

fn tokio_stream(receiver: mpsc::Receiver<Bytes>) -> impl futures_util::Stream<Item = Bytes> {
    futures_util::stream::unfold(
        receiver,
        |mut receiver| async move { receiver.recv().await.map(|item| (item, receiver)) },
    )
}

fn progress(token: &Value, done: u32) -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/progress",
        "params": {"progressToken": token, "progress": done, "total": 2}})
}

fn log(level: &str) -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": level, "data": {"line": 1}}})
}

fn message(id: &Value, result: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

fn event(message: &Value) -> String {
    format!("data: {message}\n\n")
}

fn events(messages: Vec<Value>) -> Response {
    events_text(messages.iter().map(event).collect())
}

fn events_text(text: String) -> Response {
    stream(Body::from(text))
}

fn stream(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

fn result(id: Value, result: Value) -> Response {
    axum::Json(message(&id, result)).into_response()
}

fn error(status: StatusCode, id: Value, code: i64, message: &str) -> Response {
    (status, axum::Json(json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})))
        .into_response()
}
