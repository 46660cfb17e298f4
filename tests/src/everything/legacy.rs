//! The legacy era: sessions, streams that carry the server's questions, and answers that are fetched later.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::oneshot;

use super::methods::{self, Era};
use super::talk::{self, Talk};
use super::wire::{self, No, Outcome};
use super::{Change, Everything, resources, tools};
use crate::upstream::Eras;

/// The versions of this era, the newest last.
const VERSIONS: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];
/// The header that names a session.
const SESSION: &str = "mcp-session-id";
/// After how many milliseconds a client may come back for its answer.
const RETRY_MS: u32 = 100;

/// What the server remembers of a client.
#[derive(Debug)]
pub(super) struct Session {
    capabilities: Value,
    /// The questions without an answer, by their ids.
    asked: Mutex<HashMap<String, oneshot::Sender<Value>>>,
    next: AtomicU64,
    /// The least urgent level of the log lines it wants.
    level: AtomicUsize,
    /// The resources it watches.
    uris: Mutex<HashSet<String>>,
    /// Answers to be fetched, by the event after which they come.
    parked: Mutex<HashMap<String, Value>>,
}

impl Session {
    fn begin(capabilities: Value) -> Self {
        Self {
            capabilities,
            asked: Mutex::default(),
            next: AtomicU64::new(1),
            level: AtomicUsize::new(0),
            uris: Mutex::default(),
            parked: Mutex::default(),
        }
    }

    /// Whether the client can be asked this.
    pub(super) fn can(&self, method: &str) -> bool {
        method.split('/').next().is_some_and(|capability| self.capabilities.get(capability).is_some())
    }

    /// The id for a question, and where its answer will be.
    pub(super) fn awaits_answer(&self) -> (String, oneshot::Receiver<Value>) {
        let (send, receive) = oneshot::channel();
        let id = format!("question-{}", self.number());
        self.asked.lock().unwrap().insert(id.clone(), send);
        (id, receive)
    }

    /// An answer to a question that is not there is nobody's.
    fn is_answered(&self, answer: Value) {
        let asked = answer["id"].as_str().and_then(|id| self.asked.lock().unwrap().remove(id));
        if let Some(asked) = asked {
            let _ = asked.send(answer);
        }
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

pub(super) fn answer(server: &Everything, headers: &HeaderMap, message: &Value) -> Response {
    let (id, params) = (&message["id"], &message["params"]);
    let Some(method) = message["method"].as_str() else {
        return match session(server, headers) {
            Ok((_, session)) => {
                session.is_answered(message.clone());
                StatusCode::ACCEPTED.into_response()
            }
            Err(no) => wire::refuse(id, no),
        };
    };
    if method == "initialize" {
        return initialize(server, id, params);
    }
    let session = match session(server, headers) {
        Ok((_, session)) => session,
        Err(no) => return wire::refuse(id, no),
    };
    if id.is_null() {
        return StatusCode::ACCEPTED.into_response();
    }
    let outcome = match method {
        "ping" => Ok(json!({})),
        "tools/call" if params["name"] == tools::RECONNECTION => return parked_call(server.clone(), session, message),
        "tools/call" => return call(server.clone(), session, message),
        "logging/setLevel" => set_level(&session, params),
        "resources/subscribe" => watch(&session, params, true),
        "resources/unsubscribe" => watch(&session, params, false),
        _ => methods::answer(server, Era::Legacy, method, params).unwrap_or(Err(No::unknown_method())),
    };
    wire::whole(StatusCode::OK, &wire::message(id, outcome))
}

fn session(server: &Everything, headers: &HeaderMap) -> Result<(String, Arc<Session>), No> {
    let id = wire::text(headers, SESSION).ok_or(No::no_session())?;
    let session = server.inner.sessions.lock().unwrap().get(id).cloned();
    session.map(|session| (id.to_owned(), session)).ok_or(No::unknown_session())
}

fn initialize(server: &Everything, id: &Value, params: &Value) -> Response {
    let asked = params["protocolVersion"].as_str();
    let version = VERSIONS.into_iter().find(|known| Some(*known) == asked).unwrap_or(VERSIONS[VERSIONS.len() - 1]);
    let mut capabilities = methods::capabilities();
    capabilities["logging"] = json!({});
    let result = json!({"protocolVersion": version, "capabilities": capabilities, "serverInfo": methods::server_info(),
                        "instructions": "Try everything."});
    let name = format!("session-{}", server.number());
    let session = Session::begin(params["capabilities"].clone());
    server.inner.sessions.lock().unwrap().insert(name.clone(), Arc::new(session));
    let mut response = wire::whole(StatusCode::OK, &wire::message(id, Ok(result)));
    response.headers_mut().insert(SESSION, name.parse().unwrap());
    response
}

fn set_level(session: &Session, params: &Value) -> Outcome {
    let level = talk::urgency(&params["level"]).ok_or(No::parameter("no such level"))?;
    session.level.store(level, Ordering::Relaxed);
    Ok(json!({}))
}

fn watch(session: &Session, params: &Value, watched: bool) -> Outcome {
    let uri = params["uri"].as_str().ok_or(No::parameter("a URI is missing"))?;
    if !resources::exists(uri) {
        return Err(resources::unknown(Era::Legacy, uri));
    }
    let mut uris = session.uris.lock().unwrap();
    if watched {
        uris.insert(uri.to_owned())
    } else {
        uris.remove(uri)
    };
    Ok(json!({}))
}

fn call(server: Everything, session: Arc<Session>, message: &Value) -> Response {
    let (id, params) = (message["id"].clone(), message["params"].clone());
    let level = session.level.load(Ordering::Relaxed);
    let (mut talk, messages) = Talk::begin(&params["_meta"]["progressToken"], Some(level));
    talk.session = Some(session);
    tokio::spawn(async move {
        let outcome = tools::call(&server, Era::Legacy, &params, &talk).await;
        talk.end(wire::message(&id, outcome)).await;
    });
    talk::stream(messages)
}

/// Ends the stream at once; the answer is there for whoever comes back after its one event.
fn parked_call(server: Everything, session: Arc<Session>, message: &Value) -> Response {
    let (id, params) = (message["id"].clone(), message["params"].clone());
    let event = format!("event-{}", session.number());
    let first = format!("id: {event}\nretry: {RETRY_MS}\ndata: \n\n");
    wire::events(futures_util::stream::once(async move {
        let (talk, _) = Talk::begin(&Value::Null, None);
        let outcome = tools::call(&server, Era::Legacy, &params, &talk).await;
        session.parked.lock().unwrap().insert(event, wire::message(&id, outcome));
        first
    }))
}

/// `GET`: the stream of a session, or the answer that is to be fetched.
pub(super) async fn stream(State(server): State<Everything>, headers: HeaderMap) -> Response {
    let session = match may(&server, &headers) {
        Ok((_, session)) => session,
        Err(refused) => return *refused,
    };
    if let Some(last) = wire::text(&headers, "last-event-id") {
        let parked = session.parked.lock().unwrap().remove(last);
        return wire::events(futures_util::stream::iter(parked.as_ref().map(wire::event)));
    }
    let changes = server.inner.changes.subscribe();
    let begun = Some(":\n\n".to_owned());
    wire::events(futures_util::stream::unfold((session, changes, begun), async |(session, mut changes, begun)| {
        if let Some(begun) = begun {
            return Some((begun, (session, changes, None)));
        }
        loop {
            let change = match changes.recv().await {
                Ok(change) => change,
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return None,
            };
            if let Some(event) = told(&session, &change) {
                return Some((event, (session, changes, None)));
            }
        }
    }))
}

/// What a session is told of a change, if anything.
fn told(session: &Session, change: &Change) -> Option<String> {
    let message = match change {
        Change::Tools => json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}),
        Change::Prompts => json!({"jsonrpc": "2.0", "method": "notifications/prompts/list_changed"}),
        Change::Resource(uri) if session.uris.lock().unwrap().contains(*uri) => {
            json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": uri}})
        }
        Change::Resource(_) => return None,
    };
    Some(wire::event(&message))
}

/// `DELETE`: the session is over.
pub(super) async fn end_session(State(server): State<Everything>, headers: HeaderMap) -> Response {
    match may(&server, &headers) {
        Ok((name, _)) => {
            server.inner.sessions.lock().unwrap().remove(&name);
            StatusCode::OK.into_response()
        }
        Err(refused) => *refused,
    }
}

/// The session of a request without a message, where there are any.
fn may(server: &Everything, headers: &HeaderMap) -> Result<(String, Arc<Session>), Box<Response>> {
    if !server.admits(headers) {
        return Err(Box::new(StatusCode::FORBIDDEN.into_response()));
    }
    if server.inner.options.eras == Eras::Modern {
        return Err(Box::new(StatusCode::METHOD_NOT_ALLOWED.into_response()));
    }
    session(server, headers).map_err(|no| Box::new(wire::refuse(&Value::Null, no)))
}
