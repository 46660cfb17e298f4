//! The modern era: every request stands alone and says in headers what its body says.

use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::methods::{self, Era};
use super::talk::{self, Talk};
use super::wire::{self, MODERN, No, Outcome};
use super::{Broken, Change, Everything, tools};

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// How long a result that says so holds, in milliseconds.
const TTL_MS: u64 = 300_000;
/// Tools that answer with a stream; the others answer at once.
const STREAMED: [&str; 4] =
    ["test_tool_with_progress", "test_tool_with_logging", "test_streaming_elicitation", "test_logging_tool"];

/// Whether a message is of this era.
pub(super) fn is_meant(headers: &HeaderMap, message: &Value) -> bool {
    message["params"]["_meta"].get(VERSION).is_some() || wire::text(headers, "mcp-protocol-version") == Some(MODERN)
}

pub(super) async fn answer(server: &Everything, headers: &HeaderMap, message: Value) -> Response {
    let id = message["id"].clone();
    if let Err(no) = check(headers, &message) {
        return wire::refuse(&id, no);
    }
    if id.is_null() {
        return StatusCode::ACCEPTED.into_response();
    }
    let (method, params) = (message["method"].as_str().unwrap_or_default(), &message["params"]);
    let outcome = match method {
        "server/discover" => Ok(discovered()),
        "subscriptions/listen" => return listen(server, &id, params),
        "tools/call" if STREAMED.iter().any(|name| params["name"] == *name) => {
            return streamed_call(server.clone(), id, params.clone());
        }
        "tools/call" => {
            // Who answers at once says nothing before: nobody hears it.
            let (talk, _) = Talk::begin(&Value::Null, None);
            tools::call(server, Era::Modern, params, &talk).await
        }
        _ => methods::answer(server, Era::Modern, method, params).unwrap_or(Err(No::unknown_method())),
    };
    let status = outcome.as_ref().map_or_else(|no| no.status, |_| StatusCode::OK);
    wire::whole(status, &wire::message(&id, finished(server, method, outcome)))
}

/// What every request must say, and say twice.
fn check(headers: &HeaderMap, message: &Value) -> Result<(), No> {
    let meta = &message["params"]["_meta"];
    let version =
        wire::text(headers, "mcp-protocol-version").ok_or(No::mismatch("the header has no protocol version"))?;
    let stated = meta[VERSION].as_str().ok_or(No::incomplete("`_meta` has no protocol version"))?;
    if !meta[CAPABILITIES].is_object() {
        return Err(No::incomplete("`_meta` has no client capabilities"));
    }
    if version != stated {
        return Err(No::mismatch("the header has another protocol version"));
    }
    if stated != MODERN {
        return Err(No::version(stated));
    }
    let method = message["method"].as_str().unwrap_or_default();
    if wire::text(headers, "mcp-method") != Some(method) {
        return Err(No::mismatch("the header has another method"));
    }
    let params = &message["params"];
    let name = match method {
        "tools/call" | "prompts/get" => &params["name"],
        "resources/read" => &params["uri"],
        _ => &Value::Null,
    };
    if *name != Value::Null && decoded(headers, "mcp-name").as_deref() != name.as_str() {
        return Err(No::mismatch("the header has another name"));
    }
    let region = &params["arguments"]["region"];
    let mirrored = method == "tools/call" && params["name"] == "test_x_mcp_header" && region.is_string();
    if mirrored && decoded(headers, "mcp-param-region").as_deref() != region.as_str() {
        return Err(No::mismatch("the header has another region"));
    }
    Ok(())
}

/// A header's value, which may be written in base64.
fn decoded(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = wire::text(headers, name)?;
    let Some(encoded) = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) else {
        return Some(value.to_owned());
    };
    String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
}

fn discovered() -> Value {
    json!({"supportedVersions": [MODERN], "capabilities": methods::capabilities(), "instructions": "Try everything."})
}

/// A result with what all results of this era have.
fn finished(server: &Everything, method: &str, outcome: Outcome) -> Outcome {
    let mut result = outcome?;
    if result.get("resultType").is_none() {
        result["resultType"] = json!("complete");
    }
    result["_meta"] = json!({SERVER_INFO: methods::server_info()});
    let holds = method == "server/discover" || method.ends_with("/list") || method == "resources/read";
    if holds && !server.is(Broken::NoCachingHints) {
        result["ttlMs"] = json!(TTL_MS);
        result["cacheScope"] = json!("public");
    }
    Ok(result)
}

fn streamed_call(server: Everything, id: Value, params: Value) -> Response {
    let meta = &params["_meta"];
    let (talk, messages) = Talk::begin(&meta["progressToken"], talk::urgency(&meta[LOG_LEVEL]));
    tokio::spawn(async move {
        let outcome = tools::call(&server, Era::Modern, &params, &talk).await;
        let answer = wire::message(&id, finished(&server, "tools/call", outcome));
        talk.end(answer).await;
    });
    talk::stream(messages)
}

/// One listener: the changes still to come, and those it asked for.
struct Listener {
    changes: broadcast::Receiver<Change>,
    wanted: Map<String, Value>,
    id: Value,
}

fn listen(server: &Everything, id: &Value, params: &Value) -> Response {
    let known = |name: &str, value: &Value| match name {
        "toolsListChanged" | "promptsListChanged" | "resourcesListChanged" => *value == json!(true),
        "resourceSubscriptions" => value.is_array(),
        _ => false,
    };
    let asked = params["notifications"].as_object().cloned().unwrap_or_default();
    let wanted: Map<_, _> = asked.into_iter().filter(|(name, value)| known(name, value)).collect();
    let listener = Listener { changes: server.inner.changes.subscribe(), wanted, id: id.clone() };
    let begun = listener.tell("subscriptions/acknowledged", &[("notifications", json!(listener.wanted))]);
    wire::events(futures_util::stream::unfold((listener, Some(begun)), async |(mut listener, begun)| {
        let event = match begun {
            Some(begun) => begun,
            None => listener.next().await?,
        };
        Some((event, (listener, None)))
    }))
}

impl Listener {
    /// The next change that was asked for; none when the server has ended.
    async fn next(&mut self) -> Option<String> {
        loop {
            let change = match self.changes.recv().await {
                Ok(change) => change,
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return None,
            };
            let wants = |name| self.wanted.contains_key(name);
            match change {
                Change::Tools if wants("toolsListChanged") => return Some(self.tell("tools/list_changed", &[])),
                Change::Prompts if wants("promptsListChanged") => return Some(self.tell("prompts/list_changed", &[])),
                Change::Resource(uri) if self.watches(uri) => {
                    return Some(self.tell("resources/updated", &[("uri", json!(uri))]));
                }
                _ => {}
            }
        }
    }

    fn watches(&self, uri: &str) -> bool {
        let watched = self.wanted.get("resourceSubscriptions").and_then(Value::as_array);
        watched.is_some_and(|watched| watched.iter().any(|watched| watched == uri))
    }

    fn tell(&self, name: &str, members: &[(&str, Value)]) -> String {
        let mut params = json!({"_meta": {SUBSCRIPTION: self.id}});
        for (name, value) in members {
            params[*name] = value.clone();
        }
        wire::event(&json!({"jsonrpc": "2.0", "method": format!("notifications/{name}"), "params": params}))
    }
}
