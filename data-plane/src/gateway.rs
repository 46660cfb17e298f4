//! THE pipeline, from a request to its answer. Each step needs what the one before it made:
//!
//! ```text
//! caller, tenant = who it is and whom they call   (`caller::admit`: the snapshot in memory)
//! message        = what is asked, by which era    (`call`, `mcp::era`; legacy sessions end here)
//! permit         = the decision                   (`permit::decide`; denied and unknown look alike where hidden)
//! released       = the record is stored           (`Permit::release`: only then may anything leave)
//! credential     = fetched now, dropped after     (`credentials`)
//! answer         = from the upstream              (`upstream`, in whichever era it speaks)
//! reply          = translated, recorded, streamed (`reply`)
//! ```

mod answers;
mod forward;
mod legacy;
mod lists;
mod own;
mod state;
mod target;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use audit::Record;
use audit::record::Outcome;
use audit::words::{Kind, Status};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use domain::{Clock, Slug};
use http::{HeaderMap, HeaderValue, Method as Verb, Request, StatusCode, header};
use mcp::era::{self, Inbound};
use mcp::header::Headers;
use mcp::method::Route;
use mcp::{Body as Parsed, Era, Id, Limits, Message, Method, Notification, Object, RpcError};
use secrets::Sealer;
use service::Drain;

use crate::app::Node;
use crate::audit::{AuditUnavailable, Recorder};
use crate::call::asking::Asks;
use crate::call::inflight::InFlight;
use crate::call::record::{self, Subject};
use crate::call::rounds::Rounds;
use crate::call::session::Sessions;
use crate::call::trace::{Said, Trace};
use crate::call::withdrawal::Withdrawals;
use crate::call::{self, Arrival, Client, SharedSession};
use crate::caller::{Admitted, Caller, Refused, admit};
use crate::catalog::View;
use crate::credentials::Credentials;
use crate::listen::body::{self, BodyError};
use crate::listen::{Full, Seat, TRACE_ID};
use crate::metrics::Metrics;
use crate::permit::SeenLabels;
use crate::refusal::Refusal;
use crate::reply::{self, Ready, Reply};
use crate::tenants::Tenant;

/// Answers a request to a tenant's endpoint, `/{slug}/mcp`.
pub async fn serve(node: &Arc<Node>, slug: &Slug, request: Request<Body>, seat: &Seat) -> Response {
    match admit(node, slug, request.headers()).await {
        Ok(Admitted { caller, tenant }) => node.gateway.answer(tenant, caller, request, seat).await,
        Err(refused) => {
            let whose = refused.tenant.unwrap_or(audit::protocol::DEPLOYMENT);
            let reason = match refused.refused {
                Refused::Unauthorized => "unauthenticated",
                Refused::Unavailable => "out_of_touch",
            };
            node.recorder.refused(whose, reason);
            refused.response(&node.public_url, slug)
        }
    }
}

/// What the pipeline needs, the same for every request. Cloning is cheap.
#[derive(Clone)]
pub struct Gateway(Arc<Parts>);

/// The parts of the pipeline.
pub struct Parts {
    /// The time.
    pub clock: Clock,
    /// The audit log.
    pub recorder: Recorder,
    /// What is presented to upstreams.
    pub credentials: Credentials,
    /// Sessions of legacy clients.
    pub sessions: Sessions,
    /// The running calls of legacy sessions.
    pub in_flight: InFlight,
    /// Tells the other nodes of calls that were taken back.
    pub withdrawals: Option<Withdrawals>,
    /// What principals have read.
    pub seen: SeenLabels,
    /// Seals places in lists (`Purpose::Cursor`).
    pub cursors: Sealer,
    /// Calls that ask for input.
    pub rounds: Rounds,
    /// Calls whose legacy upstreams ask their clients.
    pub asks: Asks,
    /// What is counted.
    pub metrics: Metrics,
    /// Owns the calls that go on when their client has gone.
    pub drain: Drain,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gateway")
    }
}

/// Where a message belongs: who sends it, to whom, and how it came.
#[derive(Clone)]
struct Context {
    tenant: Arc<Tenant>,
    caller: Arc<Caller>,
    view: Arc<View>,
    arrival: Arrival,
    trace: Trace,
    session: SharedSession,
    /// The request's place in the node. Work that outlives the request holds a clone.
    seat: Seat,
}

impl Gateway {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Answers a request of a known caller, to whom its place is counted from here on.
    pub async fn answer(
        &self,
        tenant: Arc<Tenant>,
        caller: Arc<Caller>,
        request: Request<Body>,
        seat: &Seat,
    ) -> Response {
        let (head, body) = request.into_parts();
        let arrival = Arrival::read(&head, &self.0.clock);
        let trace = Trace::begin(Said::default(), arrival.trace(), &self.0.clock);
        let view = tenant.view(&caller.principal);
        let claimed = seat.claim(caller.principal.tenant, caller.principal.user);
        let mut context = Context { tenant, caller, view, arrival, trace, session: None, seat: seat.clone() };
        let mut response = match (claimed, head.method) {
            (Err(full), _) => self.no_room(&context, &head.headers, full),
            (Ok(()), Verb::POST) => self.post(&mut context, &head.headers, body).await,
            (Ok(()), Verb::DELETE) => self.terminate(&context, &head.headers).await,
            _ => self.refuse(&context, Era::Legacy, None, &Refusal::HttpMethod).into_response(&context),
        };
        if let Ok(id) = HeaderValue::try_from(context.trace.id_text()) {
            response.headers_mut().insert(TRACE_ID, id);
        }
        response
    }

    /// Refuses a request before anything of its body is read.
    fn no_room(&self, context: &Context, headers: &HeaderMap, full: Full) -> Response {
        let era = guess(&call::protocol_headers(headers));
        self.refuse(context, era, None, &Refusal::Overloaded(full)).into_response(context)
    }

    async fn post(&self, context: &mut Context, headers: &HeaderMap, body: Body) -> Response {
        let protocol = call::protocol_headers(headers);
        let bytes = match read(headers, body).await {
            Ok(bytes) => bytes,
            Err(refusal) => return self.refuse(context, guess(&protocol), None, &refusal).into_response(context),
        };
        context.arrival.bytes_in = bytes.len() as u64;
        let parsed = match Parsed::parse(&bytes, &Limits::default()) {
            Ok(parsed) => parsed,
            Err(error) => {
                let (era, id) = (guess(&protocol), error.id.clone());
                return self.refuse(context, era, id.as_ref(), &error.into()).into_response(context);
            }
        };
        if let Some(meta) = meta(&parsed) {
            let [parent, state] = ["traceparent", "tracestate"].map(|key| meta.text(key));
            let said = Said { parent: parent.as_deref(), state: state.as_deref() };
            // Without a word of the message's own, what the head said stands.
            if said.parent.is_some() {
                context.trace = Trace::begin(said, context.arrival.trace(), &self.0.clock);
            }
        }
        match era::classify(era::Verb::Post, &protocol, Some(&parsed)) {
            Inbound::Modern(meta) => self.modern(context, &protocol, parsed, meta).await.into_response(context),
            Inbound::Initialize => self.initialize(context, &parsed),
            Inbound::Session(id) => {
                if let Err(refusal) = self.enter(context, &protocol, id).await {
                    return self.refuse(context, Era::Legacy, id_of(&parsed), &refusal).into_response(context);
                }
                self.in_session(context, bytes.clone(), &parsed).await
            }
            Inbound::Misfit(misfit) => {
                let error = misfit.to_error().unwrap_or_else(|| Refusal::HttpMethod.error());
                self.refuse(context, Era::Legacy, id_of(&parsed), &Refusal::Protocol(error)).into_response(context)
            }
            Inbound::Stream(_) | Inbound::Terminate(_) => {
                self.refuse(context, Era::Legacy, None, &Refusal::HttpMethod).into_response(context)
            }
        }
    }

    /// A message of the modern era.
    async fn modern(
        &self,
        context: &Context,
        headers: &Headers<'_>,
        parsed: Parsed<'_>,
        meta: Option<Object<'_>>,
    ) -> Reply {
        let request = match parsed {
            Parsed::One(Message::Request(request)) => request,
            // The era has no notifications from clients, and none over HTTP: a closed stream says it all.
            Parsed::One(Message::Notification(_)) => return Reply::Accepted,
            Parsed::One(Message::Response(_)) | Parsed::Batch(_) => {
                let error = RpcError::new(mcp::Code::InvalidRequest, "Only requests and notifications");
                return self.refuse(context, Era::Modern, None, &Refusal::Protocol(error));
            }
        };
        let modern = match era::check_modern(headers, &request, meta) {
            Ok(modern) => modern,
            Err(error) => return self.refuse(context, Era::Modern, Some(&request.id), &Refusal::Protocol(error)),
        };
        let client = Client::modern(&modern);
        match modern.method.route() {
            // What else we answer of ourselves is of the other era.
            Route::Own => self.discover(context, &client, &request.id),
            Route::List(mcp::method::Kind::Tool) => self.tools_list(context, &client, &request),
            Route::Target => self.target(context, &client, Some(headers), (modern.method, &request)).await,
            Route::List(_) | Route::Listen | Route::Task | Route::SessionState => {
                let refusal = Refusal::UnknownMethod(request.method.into_owned());
                self.refuse(context, Era::Modern, Some(&request.id), &refusal)
            }
        }
    }

    /// Begins the record of a request.
    fn begin(&self, kind: Kind, context: &Context, client: &Client<'_>, request: &mcp::Request<'_>) -> Box<Record> {
        let subject = Subject {
            kind,
            arrival: &context.arrival,
            method: Some(&request.method),
            request: Some(&request.id),
            client: Some(client),
            session: context.session.as_deref(),
            trace: &context.trace,
        };
        record::begin(&subject, &context.tenant, &context.caller, &self.0.clock)
    }

    /// Records something that was answered from memory.
    fn answered(
        &self,
        context: &Context,
        client: &Client<'_>,
        method: Method,
        id: &Id<'_>,
    ) -> Result<(), AuditUnavailable> {
        let subject = Subject {
            kind: Kind::McpRequest,
            arrival: &context.arrival,
            method: Some(method.as_str()),
            request: Some(id),
            client: Some(client),
            session: context.session.as_deref(),
            trace: &context.trace,
        };
        let mut record = record::begin(&subject, &context.tenant, &context.caller, &self.0.clock);
        record.outcome.status = Some(Status::Success);
        record.outcome.http_status = Some(200);
        self.0.recorder.add(record)
    }

    /// Refuses a message of a known caller, with a record of it.
    fn refuse(&self, context: &Context, era: Era, id: Option<&Id<'_>>, refusal: &Refusal) -> Reply {
        let subject = Subject {
            kind: Kind::McpRequest,
            arrival: &context.arrival,
            method: None,
            request: id,
            client: None,
            session: context.session.as_deref(),
            trace: &context.trace,
        };
        let record = record::begin(&subject, &context.tenant, &context.caller, &self.0.clock);
        self.refuse_recorded(record, era, id, refusal)
    }

    /// The same, where the record has been begun.
    fn refuse_recorded(&self, mut record: Box<Record>, era: Era, id: Option<&Id<'_>>, refusal: &Refusal) -> Reply {
        let error = refusal.error();
        let status = refusal.status(era);
        record.outcome = Outcome {
            status: Some(Status::ProtocolError),
            http_status: Some(status.as_u16()),
            jsonrpc_code: Some(error.code.number()),
            reason: Some(refusal.label().into()),
            error_type: Some(refusal.label().into()),
            ..std::mem::take(&mut record.outcome)
        };
        if self.0.recorder.add(record).is_err() {
            return self.unrecorded(era, id);
        }
        self.0.metrics.refused(refusal);
        Reply::Whole(Ready::new(status, error.body(id).into_string()))
    }

    /// Refuses what could not be recorded: nothing else is told of it.
    fn unrecorded(&self, era: Era, id: Option<&Id<'_>>) -> Reply {
        let refusal = Refusal::AuditUnavailable;
        self.0.metrics.refused(&refusal);
        Ready::new(refusal.status(era), refusal.error().body(id).into_string()).into()
    }
}

impl Reply {
    fn into_response(self, context: &Context) -> Response {
        match self {
            Self::Whole(ready) => {
                let not_allowed = ready.status == StatusCode::METHOD_NOT_ALLOWED;
                let mut response = Response::from(ready);
                if not_allowed {
                    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST, DELETE"));
                }
                response
            }
            Self::Stream(talk) => talk.into_response(),
            Self::Withdrawn if context.arrival.takes == call::Takes::Events => reply::events(Body::empty()),
            Self::Withdrawn | Self::Accepted => reply::empty(StatusCode::ACCEPTED),
        }
    }
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Refusal> {
    if !is_json(headers) {
        return Err(Refusal::NotJson);
    }
    body::read(body).await.map_err(|error| match error {
        BodyError::TooLarge => Refusal::BodyTooLarge,
        BodyError::CutOff => Refusal::BodyCutOff,
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut given = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (given.next(), given.next()) else { return false };
    let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    essence.eq_ignore_ascii_case(b"application/json")
}

/// The era of a request whose message can't tell: what its header says.
fn guess(headers: &Headers<'_>) -> Era {
    match headers.version.plain() {
        Ok(Some(version)) if mcp::Version::find(version).is_none_or(|version| version.era() == Era::Modern) => {
            Era::Modern
        }
        _ => Era::Legacy,
    }
}

fn params<'a, 'b>(message: &'b Message<'a>) -> Option<&'b Object<'a>> {
    match message {
        Message::Request(request) => Some(&request.params),
        Message::Notification(Notification { params, .. }) => Some(params),
        Message::Response(_) => None,
    }
}

/// What the message says beside its matter.
fn meta<'a>(parsed: &Parsed<'a>) -> Option<Object<'a>> {
    let Parsed::One(message) = parsed else { return None };
    params(message)?.object("_meta")
}

fn id_of<'b>(parsed: &'b Parsed<'_>) -> Option<&'b Id<'b>> {
    match parsed {
        Parsed::One(Message::Request(request)) => Some(&request.id),
        _ => None,
    }
}
