//! The way to the upstream servers: connections, eras, sessions, and one call at a time.
//!
//! Nothing is sent to a tool without a [`Released`]: a decision that allows it and a record that is stored.

mod conversation;
pub(crate) mod discover;
mod fault;
pub(crate) mod http;
mod learned;
mod legacy;
mod modern;
mod probe;
mod sessions;
mod wires;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::http::header::{ACCEPT, CONTENT_TYPE, HOST};
use ::http::{HeaderValue, Method, Request, Uri};
use bytes::Bytes;
use domain::{Credential, CredentialId, EraPin, Server, ServerVersionId, SessionMode, TenantId};
use egress::Dialer;
use http_body_util::Full;
use mcp::ask::Ask;
use mcp::header::Annotated;
use mcp::session::Capabilities;
use mcp::{Era, Json, Object, Raw, Version};
use moka::sync::Cache;
use service::Drain;
use tokio::time::Instant;

pub use conversation::{Conversation, Item, Wants};
pub use fault::{Fault, FaultStatus};
pub(crate) use http::Bounds;
pub use legacy::{InSession, Left};
pub use sessions::{Isolation, Shelf};

use crate::call::asking::Asker;
use crate::call::rounds::Continued;
use crate::credentials::Presented;
use crate::permit::Released;
use learned::{Choice, LEARNED, Learned};
use sessions::Sessions;
use wires::{Answering, Endpoint, Sweeper, Wires};

/// For how long an idle upstream's connections are remembered.
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
    /// The era of the client, in which the upstream is asked too if it speaks it.
    pub era: Era,
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
    /// What a legacy client declared, which its session at a legacy upstream declares too.
    pub declared: Capabilities,
    /// What asks the client what a legacy upstream wants of it; `None` where that can't be carried.
    pub asker: Option<&'a Asker>,
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
    /// The same, by a status alone that a server may well give for a while: 404 or 405 to a handshake.
    Absent,
    /// No session could be opened, so the call was not sent.
    NoSession(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Stop {
    /// What a legacy call came to. A server that answers `initialize` with none of our legacy versions may speak a modern one.
    fn after_handshake(self) -> Self {
        match self {
            Self::Fault(Fault::NoCommonVersion) | Self::NoSession(Fault::NoCommonVersion) => Self::OtherEra,
            stop => stop,
        }
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
            eras: Cache::builder().max_capacity(MOST).time_to_idle(LEARNED).build(),
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
            let found = server.probed_version.as_deref().and_then(Version::find).map(Version::era);
            Arc::new(Learned::probed(found, Instant::now()))
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
        let answered = match self.attempt(job).await {
            // Of what it speaks, something else is known now.
            Err(Stop::OtherEra | Stop::Absent) if self.pin == EraPin::Auto => self.attempt(job).await,
            // Nothing of the call was sent in the era that its client speaks, so it may go out in the other.
            Err(Stop::NoSession(_)) if self.falls_back() => self.attempt_in(Era::Modern, job).await,
            answered => answered,
        };
        answered.map_err(|stop| match stop {
            Stop::Fault(fault) | Stop::NoSession(fault) => fault,
            Stop::OtherEra | Stop::Absent => Fault::NoCommonVersion,
        })
    }

    /// Whether a call whose session can't be opened may do without: its server is known to speak the modern era.
    fn falls_back(&self) -> bool {
        self.pin == EraPin::Auto && self.learned.speaks(Era::Modern, Instant::now()) == Some(true)
    }

    /// The session that a legacy client's session has at this upstream, which is forgotten here: other callers share none
    /// of it. `None` where the upstream has no such session.
    pub async fn left_by(self: &Arc<Self>, client: [u8; 16], declared: Capabilities) -> Option<Left> {
        let has_sessions = match self.pin {
            EraPin::Modern => false,
            EraPin::Legacy => true,
            EraPin::Auto => self.learned.speaks(Era::Legacy, Instant::now()) != Some(false),
        };
        if self.sessions != SessionMode::PerPrincipal || !has_sessions {
            return None;
        }
        Left::find(self, client, declared).await
    }

    /// Brings a client's answer to what the upstream asked it in a session.
    ///
    /// # Errors
    /// A [`Fault`] when the upstream does not take it.
    pub async fn answer(&self, credential: &Presented, session: &InSession, answer: Json) -> Result<(), Fault> {
        legacy::answer(self, credential, session, answer).await
    }

    /// Makes the call in the era that suits its client best. What that shows of the upstream is remembered.
    async fn attempt(self: &Arc<Self>, job: Job<'_>) -> Result<Answered, Stop> {
        let era = self.era(job).await?;
        self.attempt_in(era, job).await
    }

    async fn attempt_in(self: &Arc<Self>, era: Era, job: Job<'_>) -> Result<Answered, Stop> {
        let answered = match era {
            Era::Modern => modern::call(self, job).await,
            Era::Legacy => legacy::call(self, job).await.map_err(Stop::after_handshake),
        };
        self.learn(era, &answered, job.call);
        answered
    }

    /// The era to speak: pinned, or what is known to suit the client, or found out now.
    async fn era(&self, job: Job<'_>) -> Result<Era, Fault> {
        match self.pin {
            EraPin::Modern => return Ok(Era::Modern),
            EraPin::Legacy => return Ok(Era::Legacy),
            EraPin::Auto => {}
        }
        if let Choice::Speak(era) = self.learned.choose(job.call.era, Instant::now()) {
            return Ok(era);
        }
        let line = self.line(job.credential);
        let found = probe::era(&line, self.next_id(), job.bounds).await?;
        self.learned.note(Era::Modern, found == Era::Modern, Instant::now());
        Ok(found)
    }

    fn learn(&self, era: Era, answered: &Result<Answered, Stop>, call: &Outgoing<'_>) {
        let now = Instant::now();
        match (era, answered) {
            (Era::Legacy, Ok(_)) if self.learned.speaks(Era::Legacy, now) != Some(true) => {
                self.learned.note(Era::Legacy, true, now);
            }
            // It is asked again what it is.
            (Era::Modern, Err(Stop::OtherEra)) => self.learned.forget(Era::Modern),
            (Era::Legacy, Err(stop @ (Stop::OtherEra | Stop::Absent))) => {
                let is_doubtful = matches!(stop, Stop::Absent) || self.learned.speaks(Era::Legacy, now) == Some(true);
                // A call that goes on with another was not even tried.
                match call.continued {
                    Some(_) => {}
                    None if is_doubtful => self.learned.doubt(Era::Legacy, now),
                    None => self.learned.note(Era::Legacy, false, now),
                }
                if self.learned.speaks(Era::Modern, now) == Some(false) {
                    self.learned.forget(Era::Modern);
                }
            }
            _ => {}
        }
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

/// Where a server is and as whom it is reached, in 32 hex digits: the same across its versions where neither changed.
pub(crate) fn place(server: &Server) -> String {
    let mut text = server.endpoint.as_str().as_bytes().to_vec();
    if let Credential::Bearer { place } | Credential::Header { place, .. } = &server.credential {
        // No URL has this byte, and what follows has one length.
        text.push(0);
        text.extend_from_slice(place.id.uuid().as_bytes());
        text.extend_from_slice(&place.version.to_be_bytes());
    }
    hex::encode(&secrets::sha256(&text)[..16])
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
