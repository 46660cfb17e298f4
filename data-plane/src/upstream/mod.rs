//! The way to the upstream servers: connections, eras, sessions, and one call at a time.
//!
//! Nothing is sent to a tool without a [`Released`]: a decision that allows it and a record that is stored.

mod conversation;
pub(crate) mod discover;
mod fault;
pub(crate) mod http;
mod legacy;
mod modern;
mod probe;
mod sessions;
mod wires;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use ::http::header::{ACCEPT, CONTENT_TYPE, HOST};
use ::http::{HeaderValue, Method, Request, Uri};
use bytes::Bytes;
use domain::{Credential, CredentialId, EraPin, Server, ServerVersionId, SessionMode, TenantId};
use egress::Dialer;
use http_body_util::Full;
use mcp::ask::Ask;
use mcp::header::Annotated;
use mcp::{Era, Json, Object, Raw, Version};
use moka::sync::Cache;
use service::Drain;
use tokio::time::Instant;

pub use conversation::{Conversation, Item, Wants};
pub use fault::{Fault, FaultStatus};
pub(crate) use http::Bounds;
pub use legacy::Left;
pub use sessions::{Isolation, Shelf};

use crate::call::rounds::Continued;
use crate::credentials::Presented;
use crate::permit::Released;
use sessions::Sessions;
use wires::{Answering, Endpoint, Sweeper, Wires};

/// For how long an idle upstream's connections and era are remembered.
const IDLE: Duration = Duration::from_hours(1);
/// Most upstreams remembered at once.
const MOST: u64 = 50_000;
/// Our name towards upstreams (`clientInfo`), and our version.
pub(crate) const CLIENT_NAME: &str = "sluice";
pub(crate) const CLIENT_VERSION: &str = env!("CARGO_PKG_VERSION");

/// What of the upstreams outlives a tenant's revision: connections, sessions, learned eras. Cloning is cheap.
#[derive(Clone)]
pub struct Upstreams(Arc<Shared>);

struct Shared {
    dialer: Dialer,
    drain: Drain,
    /// Never by host alone: a connection is one tenant's, for one reviewed version and one credential.
    wires: Cache<WiresKey, Wires>,
    sweeper: Sweeper,
    eras: Cache<(TenantId, ServerVersionId, Uri), Arc<Learned>>,
    sessions: Sessions,
    ids: AtomicU64,
}

impl std::fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstreams").finish_non_exhaustive()
    }
}

/// Whose connections they are, and as whom they were made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct WiresKey {
    tenant: TenantId,
    version: ServerVersionId,
    /// Scheme and authority: with TLS, the name the certificate is checked against.
    origin: String,
    credential: Option<(CredentialId, u64)>,
}

/// The era an upstream was found to speak.
#[derive(Debug, Default)]
struct Learned(AtomicU8);

impl Learned {
    fn get(&self) -> Option<Era> {
        match self.0.load(Ordering::Relaxed) {
            1 => Some(Era::Modern),
            2 => Some(Era::Legacy),
            _ => None,
        }
    }

    fn set(&self, era: Option<Era>) {
        let number = match era {
            None => 0,
            Some(Era::Modern) => 1,
            Some(Era::Legacy) => 2,
        };
        self.0.store(number, Ordering::Relaxed);
    }
}

/// One published server, and how it is reached.
pub struct Upstream {
    tenant: TenantId,
    version: ServerVersionId,
    credential: Option<(CredentialId, u64)>,
    endpoint: Endpoint,
    wires: Wires,
    pin: EraPin,
    learned: Arc<Learned>,
    /// Who shares a session, where the upstream has sessions.
    pub sessions: SessionMode,
    timeout: Duration,
    answer_max: u64,
    shared: Arc<Shared>,
}

/// A call as it goes out: only what we choose is in it.
pub struct Outgoing<'a> {
    /// What the client asks; its parameters are rebuilt for the upstream, never copied as such.
    pub ask: &'a Ask<'a>,
    /// The arguments, for the headers that repeat them.
    pub arguments: Option<Object<'a>>,
    /// Which arguments are repeated in headers.
    pub annotated: &'a [Annotated],
    /// What the client says it is.
    pub client_info: Option<Raw<'a>>,
    /// What of the client's capabilities can be carried to a modern upstream, a `ClientCapabilities` object.
    pub capabilities: Raw<'a>,
    /// Where the call goes on with one that asked for input. Only modern upstreams ask so, and only they are answered.
    pub continued: Option<&'a Continued>,
    /// What the client wants to hear while the call runs.
    pub wanted: &'a Wants,
    /// The trace's next hop.
    pub traceparent: &'a str,
    /// What goes with it.
    pub tracestate: Option<&'a str>,
    /// Whose session the call may touch at a legacy upstream.
    pub isolation: Isolation,
}

/// How an upstream answers.
pub enum Answer {
    /// With one message.
    Whole(Whole),
    /// With a stream of messages.
    Stream(Box<Conversation>),
}

/// One message, and the id of the request that it must answer.
#[derive(Debug, Clone)]
pub struct Whole {
    /// The message.
    pub bytes: Bytes,
    /// Our request's id.
    pub id: u64,
}

/// An answer and the version it is in.
pub struct Answered {
    /// The answer.
    pub answer: Answer,
    /// What was spoken.
    pub version: Version,
}

/// One call, as a driver gets it.
#[derive(Clone, Copy)]
struct Job<'a> {
    /// What may be asked for, as the upstream calls it.
    subject: &'a str,
    credential: &'a Presented,
    call: &'a Outgoing<'a>,
    bounds: Bounds,
}

/// Why a driver stopped.
enum Stop {
    Fault(Fault),
    /// The answer is what servers of the other era say.
    OtherEra,
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Upstreams {
    /// Reaches upstreams that the dialer admits. What it has to finish later, `drain` owns;
    /// sessions at legacy upstreams are shared with other nodes through `shelf`. Call it inside a Tokio runtime.
    #[must_use]
    pub fn new(dialer: Dialer, drain: Drain, shelf: Option<Shelf>) -> Self {
        let sweeper = Sweeper::default();
        let (sweeping, begun) = (sweeper.clone().run(), drain.begun().clone());
        drain.spawn(async move {
            // It ends with the drain alone.
            let _ = begun.run_until_cancelled(sweeping).await;
        });
        Self(Arc::new(Shared {
            dialer,
            drain,
            wires: Cache::builder().max_capacity(MOST).time_to_idle(IDLE).build(),
            sweeper,
            eras: Cache::builder().max_capacity(MOST).time_to_idle(IDLE).build(),
            sessions: Sessions::new(shelf),
            ids: AtomicU64::new(1),
        }))
    }

    /// The way to a published server. Connects to nobody yet.
    #[must_use]
    pub fn reach(&self, tenant: TenantId, server: &Server) -> Arc<Upstream> {
        let endpoint = uri(&server.endpoint);
        let credential = match &server.credential {
            Credential::None => None,
            Credential::Bearer { place } | Credential::Header { place, .. } => Some((place.id, place.version)),
        };
        let origin = server.endpoint.origin().ascii_serialization();
        let key = WiresKey { tenant, version: server.version, origin, credential };
        let wires = self.0.wires.get_with(key, || {
            let wires = Wires::new(self.0.dialer.clone());
            self.0.sweeper.watch(&wires);
            wires
        });
        let learned = self.0.eras.get_with((tenant, server.version, endpoint.clone()), || {
            let learned = Learned::default();
            learned.set(server.probed_version.as_deref().and_then(Version::find).map(Version::era));
            Arc::new(learned)
        });
        Arc::new(Upstream {
            tenant,
            version: server.version,
            credential,
            endpoint: Endpoint::new(endpoint),
            wires,
            pin: server.era,
            learned,
            sessions: server.sessions,
            timeout: Duration::from_millis(server.timeout_ms.into()),
            answer_max: server.answer_max_bytes,
            shared: Arc::clone(&self.0),
        })
    }

    /// What dials for them, for a probe.
    pub(crate) fn dialer(&self) -> &Dialer {
        &self.0.dialer
    }
}

impl Upstream {
    /// Makes one call and waits for the head of its answer, at most the server's time-out from now, connecting included.
    ///
    /// Tries again only where the upstream cannot have begun the call. Dropping the future, or the answer, cancels it there.
    ///
    /// # Errors
    /// A [`Fault`] when no answer came, or none that can be read.
    pub async fn call(
        self: &Arc<Self>,
        released: &Released,
        credential: &Presented,
        call: &Outgoing<'_>,
    ) -> Result<Answered, Fault> {
        let bounds = Bounds::new(self.timeout, self.answer_max);
        let job = Job { subject: released.upstream_name(), credential, call, bounds };
        let era = self.era(credential, bounds).await?;
        match self.call_as(era, job).await {
            Ok(answered) => Ok(answered),
            Err(Stop::Fault(fault)) => Err(fault),
            Err(Stop::OtherEra) if self.pin == EraPin::Auto => {
                self.learned.set(None);
                let era = self.era(credential, bounds).await?;
                match self.call_as(era, job).await {
                    Ok(answered) => Ok(answered),
                    Err(Stop::Fault(fault)) => Err(fault),
                    Err(Stop::OtherEra) => Err(Fault::NoCommonVersion),
                }
            }
            Err(Stop::OtherEra) => Err(Fault::NoCommonVersion),
        }
    }

    /// The session that a legacy client's session has at this upstream, which is forgotten here: other callers share none
    /// of it. `None` where the upstream has no such session.
    pub async fn left_by(self: &Arc<Self>, client: [u8; 16]) -> Option<Left> {
        let is_modern = self.pin == EraPin::Modern || self.learned.get() == Some(Era::Modern);
        if self.sessions != SessionMode::PerPrincipal || is_modern {
            return None;
        }
        Left::find(self, client).await
    }

    async fn call_as(self: &Arc<Self>, era: Era, job: Job<'_>) -> Result<Answered, Stop> {
        match era {
            Era::Modern => modern::call(self, job).await,
            Era::Legacy => legacy::call(self, job).await,
        }
    }

    /// The era it speaks: pinned, learned, or found out now.
    async fn era(&self, credential: &Presented, bounds: Bounds) -> Result<Era, Fault> {
        match self.pin {
            EraPin::Modern => return Ok(Era::Modern),
            EraPin::Legacy => return Ok(Era::Legacy),
            EraPin::Auto => {}
        }
        if let Some(era) = self.learned.get() {
            return Ok(era);
        }
        let line = self.line(credential);
        let era = probe::era(&line, self.next_id(), bounds).await?;
        self.learned.set(Some(era));
        Ok(era)
    }

    fn line<'a>(&'a self, credential: &'a Presented) -> Line<'a> {
        Line { wires: &self.wires, endpoint: &self.endpoint, credential }
    }

    /// Unique among the requests of this node, so that calls which share a session are told apart.
    fn next_id(&self) -> u64 {
        self.shared.ids.fetch_add(1, Ordering::Relaxed)
    }
}

/// Where a request goes and what it presents.
#[derive(Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) wires: &'a Wires,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) credential: &'a Presented,
}

impl Line<'_> {
    /// A POST of one message. These are all the headers an upstream ever gets, beside those of the driver.
    pub(crate) fn post(&self, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body.into()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.path.clone();
        let headers = request.headers_mut();
        headers.reserve(12);
        headers.insert(HOST, self.endpoint.host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        self.present(&mut request);
        request
    }

    /// A request without a body.
    pub(crate) fn bare(&self, method: Method) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::default());
        *request.method_mut() = method;
        *request.uri_mut() = self.endpoint.path.clone();
        request.headers_mut().insert(HOST, self.endpoint.host.clone());
        self.present(&mut request);
        request
    }

    fn present(&self, request: &mut Request<Full<Bytes>>) {
        if let Some((name, value)) = self.credential.header() {
            request.headers_mut().insert(name.clone(), value.clone());
        }
    }

    /// Sends, and waits for the head of the answer.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        until: Instant,
    ) -> Result<::http::Response<Answering>, Fault> {
        http::exchange(self.wires, self.endpoint, request, until).await
    }
}

/// The endpoint as hyper takes it, without user information and fragment.
pub(crate) fn uri(url: &url::Url) -> Uri {
    let mut bare = url.clone();
    // These fail only for URLs without a host, which have nothing to take away.
    let _ = bare.set_username("");
    let _ = bare.set_password(None);
    bare.set_fragment(None);
    bare.as_str().parse().unwrap_or_default()
}

/// Our name for ourselves, as `clientInfo`.
pub(crate) fn client_info() -> Json {
    let mut writer = mcp::json::Writer::object();
    writer.text("name", CLIENT_NAME);
    writer.text("version", CLIENT_VERSION);
    writer.finish()
}
