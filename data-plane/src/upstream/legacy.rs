//! The driver for legacy upstreams (2025-03-26 to 2025-11-25): a handshake, a session, then calls.

use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::Full;
use mcp::ask::{Hop, Outbound};
use mcp::json::Writer;
use mcp::message::Outcome;
use mcp::session::Capabilities;
use mcp::{Id, Json, Limits, Message, Method as Asked, Raw, Version, header, hello, message, notification};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::conversation::{Conversation, Heard, Way};
use super::http::{Media, media, status_fault, whole};
use super::modern::{PROTOCOL_VERSION, trace, value};
use super::sessions::{Isolation, LevelSet, Session, SessionKey};
use super::wires::Answering;
use super::{Answer, Answered, Bounds, Fault, Job, Line, Outgoing, Stop, Upstream, Whole, client_info};
use crate::credentials::Presented;

pub(super) const SESSION_ID: HeaderName = HeaderName::from_static(header::SESSION_ID);
/// How long a message that nobody waits for may take.
const ASIDE: Duration = Duration::from_secs(10);
/// How long a call waits for its client's log level to be set.
const LEVEL_WITHIN: Duration = Duration::from_secs(2);

/// Makes one call, within a session that is there or is opened for it.
pub(super) async fn call(upstream: &Arc<Upstream>, job: Job<'_>) -> Result<Answered, Stop> {
    let Job { subject, credential, call, bounds } = job;
    // It spoke the other era when it asked. Without its question the tool would only run a second time.
    if call.continued.is_some() {
        return Err(Stop::OtherEra);
    }
    // Nor has it asked before: without its answers the tool would run as if they had been taken.
    if call.ask.input.responses.is_some() {
        return Err(Fault::Unasked.into());
    }
    for _ in 0..2 {
        let session = session(upstream, credential, call, bounds).await.map_err(|stop| match stop {
            Stop::Fault(fault) => Stop::NoSession(fault),
            stop => stop,
        })?;
        set_level(upstream, credential, (&session, call), bounds).await;
        let aside =
            Aside { upstream: Arc::clone(upstream), credential: credential.clone(), session: Arc::clone(&session) };
        match call_within(aside, subject, call, bounds).await? {
            Within::Answered(answer) => return Ok(Answered { answer, version: session.version }),
            // It was not processed: it may be sent again, once, in a new session.
            Within::SessionLost => {
                if let Some(key) = key(upstream, call.isolation, call.declared) {
                    upstream.shared.sessions.forget(key, &session).await;
                }
            }
        }
    }
    Err(Fault::SessionLost.into())
}

/// What a legacy client's session has left at an upstream.
pub struct Left {
    upstream: Arc<Upstream>,
    session: Arc<Session>,
}

impl Left {
    /// What the client's session of this nonce has here. It is looked for on the shelf too: any node may have opened it.
    pub(super) async fn find(upstream: &Arc<Upstream>, client: [u8; 16], declared: Capabilities) -> Option<Self> {
        let key = key(upstream, Isolation::Client(client), declared)?;
        let session = upstream.shared.sessions.take(key).await.filter(|session| session.id.is_some())?;
        Some(Self { upstream: Arc::clone(upstream), session })
    }

    /// Ends it there (DELETE).
    pub fn end(self, credential: Presented) {
        Aside { upstream: self.upstream, credential, session: self.session }.end();
    }
}

enum Within {
    Answered(Answer),
    SessionLost,
}

async fn call_within(aside: Aside, subject: &str, call: &Outgoing<'_>, bounds: Bounds) -> Result<Within, Stop> {
    let upstream = Arc::clone(&aside.upstream);
    let id = upstream.next_id();
    let line = upstream.line(&aside.credential);
    let request = request(&line, id, subject, call, &aside.session)?;
    let session = Arc::clone(&aside.session);
    let mut guard = Guard { aside: aside.clone(), id, cancels: true, end_session: call.isolation == Isolation::Call };
    let response = match line.send(request, bounds.until).await {
        Ok(response) => response,
        Err(fault) => {
            // Only what may be running there needs to be called off.
            guard.cancels = fault == Fault::Late;
            return Err(fault.into());
        }
    };
    let answer = match (response.status().is_success(), media(&response)) {
        (true, Media::Events) => {
            let wanted = call.wanted.heard(id);
            let way = Way::Legacy(guard, call.asker.cloned());
            Answer::Stream(Box::new(Conversation::new(response.into_body(), id, wanted, bounds, way)))
        }
        (true, Media::Json) => {
            let bytes = whole(response.into_body(), bounds).await?;
            guard.cancels = false;
            Answer::Whole(Whole { bytes, id })
        }
        _ => {
            guard.cancels = false;
            return refused(&session, response, id, bounds).await;
        }
    };
    Ok(Within::Answered(answer))
}

fn request(
    line: &Line<'_>,
    id: u64,
    subject: &str,
    call: &Outgoing<'_>,
    session: &Session,
) -> Result<Request<Full<Bytes>>, Fault> {
    let token = Json::integer(id);
    let params = call.ask.params_for(&Outbound {
        subject,
        state: None,
        progress_token: call.wanted.progress.as_ref().map(|_| token.raw()),
        traceparent: Some(call.traceparent),
        tracestate: call.tracestate,
        hop: Hop::Legacy,
    });
    let mut request =
        line.post(message::request(&Id::number(id), call.ask.method.as_str(), params.raw()).into_string());
    stamp(&mut request, session);
    trace(request.headers_mut(), call)?;
    Ok(request)
}

/// What an error status comes to.
async fn refused(session: &Session, response: Response<Answering>, id: u64, bounds: Bounds) -> Result<Within, Stop> {
    let status = response.status();
    if status == StatusCode::NOT_FOUND && session.id.is_some() {
        return Ok(Within::SessionLost);
    }
    if media(&response) != Media::Json || matches!(status.as_u16(), 401 | 403 | 429) {
        return Err(status_fault(status).into());
    }
    let bytes = whole(response.into_body(), bounds).await?;
    let Ok(Message::Response(message)) = Message::parse(&bytes, &Limits::upstream()) else {
        return Err(status_fault(status).into());
    };
    let Outcome::Error(error) = &message.outcome else { return Err(Fault::Malformed.into()) };
    match error.code {
        // Real servers say so with 400, too (reference e.3).
        -32001..=-32000 if status == StatusCode::BAD_REQUEST && session.id.is_some() => Ok(Within::SessionLost),
        // What -32021 says, which has come to be used in this era too, is about this call alone.
        -32022 | -32020 => Err(Stop::OtherEra),
        _ if message.id == Some(Id::number(id)) => {
            Ok(Within::Answered(Answer::Whole(Whole { bytes: bytes.clone(), id })))
        }
        _ => Err(status_fault(status).into()),
    }
}

fn key(upstream: &Upstream, isolation: Isolation, declared: Capabilities) -> Option<SessionKey> {
    (isolation != Isolation::Call).then_some(SessionKey {
        tenant: upstream.tenant,
        version: upstream.version,
        credential: upstream.credential,
        isolation,
        declared,
    })
}

async fn session(
    upstream: &Arc<Upstream>,
    credential: &Presented,
    call: &Outgoing<'_>,
    bounds: Bounds,
) -> Result<Arc<Session>, Stop> {
    let line = upstream.line(credential);
    let declared = call.declared.to_json();
    let opening = || async {
        let id = upstream.next_id();
        introduce(&line, (id, declared.raw()), bounds).await.map(|opened| opened.session)
    };
    match key(upstream, call.isolation, call.declared) {
        None => opening().await.map(Arc::new),
        Some(key) => upstream.shared.sessions.get(key, opening).await,
    }
}

/// A session and what the server said of itself when it was opened.
pub(super) struct Opened {
    pub(super) session: Session,
    /// The result of `initialize`.
    pub(super) result: Bytes,
}

/// The handshake of a client that can do nothing but call.
pub(super) async fn open(line: &Line<'_>, id: u64, bounds: Bounds) -> Result<Opened, Stop> {
    introduce(line, (id, Raw::EMPTY), bounds).await
}

/// The handshake: `initialize`, with what the client can do, then `notifications/initialized`.
async fn introduce(line: &Line<'_>, (id, declared): (u64, Raw<'_>), bounds: Bounds) -> Result<Opened, Stop> {
    let params = hello::initialize_params(declared, client_info().raw());
    let request = line.post(message::request(&Id::number(id), "initialize", params.raw()).into_string());
    let response = line.send(request, bounds.until).await?;
    let status = response.status();
    match status.as_u16() {
        400 => return Err(Stop::OtherEra),
        404 | 405 => return Err(Stop::Absent),
        _ => {}
    }
    if !status.is_success() {
        return Err(status_fault(status).into());
    }
    let session_id = response.headers().get(&SESSION_ID).cloned();
    let bytes = one_answer(response, id, bounds).await?;
    let Ok(Message::Response(answer)) = Message::parse(&bytes, &Limits::upstream()) else {
        return Err(Fault::Malformed.into());
    };
    let result = match answer.outcome {
        Outcome::Result(result) if answer.id == Some(Id::number(id)) => result,
        Outcome::Error(error) if matches!(error.code, -32601 | -32022..=-32020) => return Err(Stop::OtherEra),
        _ => return Err(Fault::Malformed.into()),
    };
    let introduced = match hello::Upstream::initialized(&result) {
        Ok(introduced) => introduced,
        Err(hello::Strange::NoCommonVersion) => return Err(Fault::NoCommonVersion.into()),
        Err(hello::Strange::Malformed) => return Err(Fault::Malformed.into()),
    };
    let session = Session {
        id: session_id,
        version: introduced.version,
        has_levels: introduced.capabilities.has("logging"),
        level: LevelSet::default(),
    };
    initialized(line, &session, bounds.until).await?;
    let result = bytes.slice_ref(result.raw().get().as_bytes());
    Ok(Opened { session, result })
}

async fn initialized(line: &Line<'_>, session: &Session, until: Instant) -> Result<(), Fault> {
    let mut request = line.post(notification::initialized().into_string());
    stamp(&mut request, session);
    let response = line.send(request, until).await?;
    if response.status().is_success() { Ok(()) } else { Err(status_fault(response.status())) }
}

/// The answer to a request that is answered once, as JSON or in a stream.
pub(super) async fn one_answer(response: Response<Answering>, id: u64, bounds: Bounds) -> Result<Bytes, Fault> {
    match media(&response) {
        Media::Json => whole(response.into_body(), bounds).await,
        Media::Events => {
            Conversation::new(response.into_body(), id, Heard::default(), bounds, Way::Modern).last().await
        }
        Media::Other => Err(Fault::NotMcp),
    }
}

/// Puts the session's headers on a request.
pub(super) fn stamp(request: &mut Request<Full<Bytes>>, session: &Session) {
    let headers = request.headers_mut();
    if let Some(id) = &session.id {
        headers.insert(SESSION_ID, id.clone());
    }
    // 2025-03-26 does not have the header yet.
    if session.version >= Version::V2025_06_18 {
        headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(session.version.as_str()));
    }
}

/// Sets the level that the client set for its own session, once for each that it sets. A session that others share keeps
/// its own. Whatever becomes of it, the client gets only the lines it wants, and the call shows whether the session is there.
async fn set_level(
    upstream: &Upstream,
    credential: &Presented,
    (session, call): (&Session, &Outgoing<'_>),
    bounds: Bounds,
) {
    let Some(set) = call.wanted.set.filter(|set| !session.level.is(*set)) else { return };
    if !session.has_levels || !call.isolation.is_one_clients() {
        return;
    }
    let bounds = Bounds { until: bounds.until.min(Instant::now() + LEVEL_WITHIN), ..bounds };
    let (line, id) = (upstream.line(credential), upstream.next_id());
    let mut params = Writer::object();
    params.text("level", set.level.as_str());
    let body = message::request(&Id::number(id), Asked::SetLevel.as_str(), params.finish().raw());
    let mut request = line.post(body.into_string());
    stamp(&mut request, session);
    if let Ok(response) = line.send(request, bounds.until).await
        && response.status().is_success()
        && one_answer(response, id, bounds).await.is_ok()
    {
        session.level.note(set);
    }
}

/// A session at a legacy upstream, as it is named where an answer has to find it. Serialized with short names.
#[derive(Serialize, Deserialize)]
pub struct InSession {
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(rename = "p")]
    version: Version,
}

/// Brings the client's answer to a request of the upstream's.
pub(super) async fn answer(
    upstream: &Upstream,
    credential: &Presented,
    session: &InSession,
    answer: Json,
) -> Result<(), Fault> {
    let id = session.id.as_deref().map(value).transpose()?;
    let session = Session { id, version: session.version, has_levels: false, level: LevelSet::default() };
    let mut request = upstream.line(credential).post(answer.into_string());
    stamp(&mut request, &session);
    let response = upstream.line(credential).send(request, Instant::now() + ASIDE).await?;
    if response.status().is_success() { Ok(()) } else { Err(status_fault(response.status())) }
}

/// What is needed to say something beside a call, in its session.
#[derive(Clone)]
pub(super) struct Aside {
    upstream: Arc<Upstream>,
    credential: Presented,
    session: Arc<Session>,
}

impl Aside {
    /// Sends a message nobody waits for.
    pub(super) fn say(&self, message: Json) {
        let aside = self.clone();
        self.upstream.shared.drain.spawn(async move {
            let line = aside.upstream.line(&aside.credential);
            let mut request = line.post(message.into_string());
            stamp(&mut request, &aside.session);
            // It is a courtesy: what becomes of it changes nothing here.
            let _ = line.send(request, Instant::now() + ASIDE).await;
        });
    }

    /// How long its server may take.
    pub(super) fn within(&self) -> Duration {
        self.upstream.timeout
    }

    /// The session; `None` when its id can't be written down.
    pub(super) fn in_session(&self) -> Option<InSession> {
        let id = self.session.id.as_ref().map(|id| id.to_str().map(str::to_owned)).transpose().ok()?;
        Some(InSession { id, version: self.session.version })
    }

    /// Comes back for the rest of a stream the server closed on purpose (2025-11-25).
    pub(super) async fn resume(&self, last_event: &str, until: Instant) -> Result<Option<Answering>, Fault> {
        let line = self.upstream.line(&self.credential);
        let mut request = line.bare(Method::GET);
        stamp(&mut request, &self.session);
        let headers = request.headers_mut();
        headers.insert(::http::header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        headers.insert("last-event-id", value(last_event)?);
        let response = line.send(request, until).await?;
        let is_stream = response.status().is_success() && media(&response) == Media::Events;
        Ok(is_stream.then(|| response.into_body()))
    }

    fn end(&self) {
        let aside = self.clone();
        self.upstream.shared.drain.spawn(async move {
            let line = aside.upstream.line(&aside.credential);
            let mut request = line.bare(Method::DELETE);
            stamp(&mut request, &aside.session);
            let _ = line.send(request, Instant::now() + ASIDE).await;
        });
    }
}

/// Tells the upstream that nobody waits for a call any more, unless it was answered. A closed stream does not say so in
/// this era.
pub(super) struct Guard {
    pub(super) aside: Aside,
    id: u64,
    /// Whether the call still runs there.
    pub(super) cancels: bool,
    /// Whether the session was this call's own.
    end_session: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.cancels {
            self.aside.say(notification::cancelled(&Id::number(self.id), "the client is gone"));
        }
        if self.end_session && self.aside.session.id.is_some() {
            self.aside.end();
        }
    }
}
