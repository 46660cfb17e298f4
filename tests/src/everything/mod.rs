//! The server of the official conformance suite: every tool, prompt and resource that its scenarios ask for, by their names,
//! in the modern era, the legacy era or both; and variants that break one promise each, so that the suite finds them out.

mod input;
mod legacy;
mod methods;
mod modern;
mod prompts;
mod resources;
mod talk;
mod tools;
mod wire;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use url::{Host, Url};

use crate::upstream::Eras;
use legacy::Session;
use wire::No;

/// How many changes a stream may be behind before it misses some.
const CHANGES: usize = 64;

/// What a server is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The eras it answers in.
    pub eras: Eras,
    /// The promise it breaks.
    pub broken: Option<Broken>,
}

/// A promise that a server can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Any host and origin is let in.
    NoRebindingGuard,
    /// An unknown resource has empty contents.
    EmptyContents,
    /// What a client answers to a question is not heard.
    LostInput,
    /// Results don't say for how long they hold.
    NoCachingHints,
    /// Input schemas are cut down to their type.
    StrippedSchemas,
}

impl Broken {
    /// Every one, with its name on the command line.
    pub const ALL: [(&'static str, Self); 5] = [
        ("no-rebinding-guard", Self::NoRebindingGuard),
        ("empty-contents", Self::EmptyContents),
        ("lost-input", Self::LostInput),
        ("no-caching-hints", Self::NoCachingHints),
        ("stripped-schemas", Self::StrippedSchemas),
    ];
}

/// Something that listeners may have asked to be told of.
#[derive(Debug, Clone)]
enum Change {
    Tools,
    Prompts,
    Resource(&'static str),
}

struct Inner {
    options: Options,
    sessions: Mutex<HashMap<String, Arc<Session>>>,
    changes: broadcast::Sender<Change>,
    /// The request states handed out and not come back: any other was made up.
    states: Mutex<HashSet<String>>,
    next: AtomicU64,
}

/// A running server; it ends with the runtime it was started on.
#[derive(Clone)]
pub struct Everything {
    /// Where it listens.
    pub address: SocketAddr,
    inner: Arc<Inner>,
}

impl Everything {
    /// Starts one on a free port of 127.0.0.1.
    pub async fn start(options: Options) -> Self {
        Self::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), options)
    }

    /// Starts one where there is a listener already.
    pub fn serve(listener: TcpListener, options: Options) -> Self {
        let inner = Inner {
            options,
            sessions: Mutex::default(),
            changes: broadcast::Sender::new(CHANGES),
            states: Mutex::default(),
            next: AtomicU64::new(1),
        };
        let server = Self { address: listener.local_addr().unwrap(), inner: Arc::new(inner) };
        let endpoint = post(answer).get(legacy::stream).delete(legacy::end_session);
        let app = Router::new().route("/mcp", endpoint).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        server
    }

    /// Its endpoint, under the name that the suite wants a local server to have.
    pub fn url(&self) -> String {
        format!("http://localhost:{}/mcp", self.address.port())
    }

    fn is(&self, broken: Broken) -> bool {
        self.inner.options.broken == Some(broken)
    }

    /// A number no other of this server has.
    fn number(&self) -> u64 {
        self.inner.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Tells all listeners; none at all is fine.
    fn changed(&self, change: Change) {
        let _ = self.inner.changes.send(change);
    }

    /// Whether a request is from this machine and names it so: DNS rebinding does not.
    fn admits(&self, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let host = text(header::HOST).is_some_and(|host| is_local(&format!("http://{host}")));
        self.is(Broken::NoRebindingGuard) || (host && text(header::ORIGIN).is_none_or(is_local))
    }
}

fn is_local(url: &str) -> bool {
    let url = Url::parse(url).ok();
    match url.as_ref().and_then(Url::host) {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

async fn answer(State(server): State<Everything>, headers: HeaderMap, body: Bytes) -> Response {
    if !server.admits(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let Ok(message) = serde_json::from_slice::<Value>(&body) else {
        return wire::refuse(&Value::Null, No::malformed());
    };
    match server.inner.options.eras {
        Eras::Modern => modern::answer(&server, &headers, message).await,
        Eras::Dual if modern::is_meant(&headers, &message) => modern::answer(&server, &headers, message).await,
        Eras::Legacy | Eras::Dual => legacy::answer(&server, &headers, &message),
    }
}
