//! `sluice demo-upstream`: a small MCP server with something to read, write and delete, so that a first start has a real
//! upstream. It speaks both eras over streamable HTTP, keeps no session, and forgets everything when it ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Json, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use clap::Args;
use serde_json::{Value, json};

/// Options of `sluice demo-upstream`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// The port to listen on, on 127.0.0.1.
    #[arg(long, default_value_t = 7304)]
    port: u16,
}

type Notes = Arc<Mutex<BTreeMap<String, String>>>;

const MODERN: &str = "2026-07-28";
const LEGACY: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];

/// Serves until the process is told to end.
pub(crate) async fn run(arguments: DemoArgs) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", arguments.port)).await?;
    axum::serve(listener, router()).with_graceful_shutdown(crate::told_to_end()).await?;
    Ok(())
}

/// The server with two notes to begin with.
pub(crate) fn router() -> Router {
    let notes = [
        ("welcome", "This note came from the demo upstream server, through Sluice, and the call is on record."),
        ("groceries", "Bread, olives, two lemons."),
    ];
    let notes = notes.map(|(name, text)| (name.to_owned(), text.to_owned())).into_iter().collect();
    Router::new().route("/mcp", post(answer)).with_state(Arc::new(Mutex::new(notes)))
}

async fn answer(State(notes): State<Notes>, headers: HeaderMap, Json(request): Json<Value>) -> Response {
    let method = request["method"].as_str().unwrap_or_default();
    let Some(id) = request.get("id") else { return StatusCode::ACCEPTED.into_response() };
    let modern = request["params"]["_meta"].get("io.modelcontextprotocol/protocolVersion").is_some();
    let header = headers.get("mcp-protocol-version").and_then(|value| value.to_str().ok());
    if modern && header != Some(MODERN) {
        return reply(
            StatusCode::BAD_REQUEST,
            id,
            Err((-32020, "the MCP-Protocol-Version header does not match the body")),
        );
    }
    let outcome = match method {
        "server/discover" if modern => Ok(
            json!({"supportedVersions": [MODERN], "capabilities": {"tools": {}}, "ttlMs": 60_000, "cacheScope": "public"}),
        ),
        "initialize" if !modern => Ok(initialize(&request["params"])),
        "ping" if !modern => Ok(json!({})),
        "tools/list" if modern => Ok(json!({"tools": tools(), "ttlMs": 60_000, "cacheScope": "public"})),
        "tools/list" => Ok(json!({"tools": tools()})),
        "tools/call" => call(&notes, &request["params"]),
        _ => Err((-32601, "method not found")),
    };
    let status = if modern && matches!(outcome, Err((-32601, _))) { StatusCode::NOT_FOUND } else { StatusCode::OK };
    reply(status, id, outcome.map(|result| if modern { complete(result) } else { result }))
}

fn reply(status: StatusCode, id: &Value, outcome: Result<Value, (i32, &str)>) -> Response {
    let body = match outcome {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err((code, message)) => json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}),
    };
    (status, Json(body)).into_response()
}

fn server_info() -> Value {
    json!({"name": "sluice-demo", "title": "Sluice demo notes", "version": env!("CARGO_PKG_VERSION")})
}

fn complete(mut result: Value) -> Value {
    result["resultType"] = json!("complete");
    result["_meta"] = json!({"io.modelcontextprotocol/serverInfo": server_info()});
    result
}

fn initialize(params: &Value) -> Value {
    let asked = params["protocolVersion"].as_str().unwrap_or_default();
    let version = LEGACY.into_iter().find(|version| *version == asked).unwrap_or(LEGACY[0]);
    json!({"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": server_info(),
           "instructions": "Notes kept in memory: list, read, write, delete."})
}

fn tools() -> Value {
    let name = json!({"type": "string", "description": "The note's name", "minLength": 1, "maxLength": 100});
    let text = json!({"type": "string", "description": "What the note says", "maxLength": 10_000});
    let read = json!({"readOnlyHint": true, "openWorldHint": false});
    json!([
        {"name": "echo", "title": "Echo", "description": "Says back what it is told.", "annotations": read,
         "inputSchema": {"type": "object", "properties": {"message": text}, "required": ["message"]}},
        {"name": "list_notes", "title": "List notes", "description": "Names of all notes.", "annotations": read,
         "inputSchema": {"type": "object", "properties": {}}},
        {"name": "read_note", "title": "Read a note", "description": "The text of one note.", "annotations": read,
         "inputSchema": {"type": "object", "properties": {"name": name}, "required": ["name"]}},
        {"name": "write_note", "title": "Write a note", "description": "Adds a note or replaces its text.",
         "annotations": {"readOnlyHint": false, "destructiveHint": false, "idempotentHint": true, "openWorldHint": false},
         "inputSchema": {"type": "object", "properties": {"name": name, "text": text}, "required": ["name", "text"]}},
        {"name": "delete_note", "title": "Delete a note", "description": "Removes a note for good.",
         "annotations": {"readOnlyHint": false, "destructiveHint": true, "openWorldHint": false},
         "inputSchema": {"type": "object", "properties": {"name": name}, "required": ["name"]}},
    ])
}

fn call(notes: &Notes, params: &Value) -> Result<Value, (i32, &'static str)> {
    let argument = |name: &str| params["arguments"][name].as_str();
    let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
    let done = match params["name"].as_str().unwrap_or_default() {
        "echo" => argument("message").map(str::to_owned).ok_or("`message` is missing"),
        "list_notes" => Ok(notes.keys().cloned().collect::<Vec<_>>().join("\n")),
        "read_note" => argument("name").and_then(|name| notes.get(name).cloned()).ok_or("there is no such note"),
        "write_note" => match (argument("name"), argument("text")) {
            (Some(name), Some(text)) => {
                notes.insert(name.to_owned(), text.to_owned());
                Ok(format!("wrote `{name}`"))
            }
            _ => Err("`name` and `text` are needed"),
        },
        "delete_note" => match argument("name").and_then(|name| notes.remove_entry(name)) {
            Some((name, _)) => Ok(format!("deleted `{name}`")),
            None => Err("there is no such note"),
        },
        _ => return Err((-32602, "Unknown tool")),
    };
    let (text, failed) = match done {
        Ok(text) => (text, false),
        Err(text) => (text.to_owned(), true),
    };
    Ok(json!({"content": [{"type": "text", "text": text}], "isError": failed}))
}
