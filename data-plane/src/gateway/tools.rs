//! What is served of MCP: `server/discover`, `tools/list` and `tools/call`, in modern form.

use std::collections::BTreeSet;
use std::time::Instant;

use audit::Record;
use audit::record::Outcome;
use audit::words::{Kind, Stage, Status};
use bytes::Bytes;
use domain::{Label, Server};
use http::StatusCode;
use mcp::header::{self, Headers};
use mcp::hello::{CAPABILITIES, Identity};
use mcp::message;
use mcp::tools::{Call, Side, list_result};
use mcp::{Era, Id, Raw, Request};
use secrets::Scope;
use serde_json::value::RawValue;

use super::{Context, Gateway};
use crate::audit::{AuditUnavailable, OpenRecord, later};
use crate::call::inflight::Running;
use crate::call::record::{self, Subject};
use crate::call::{Client, Takes};
use crate::catalog::Exposed;
use crate::credentials::Presented;
use crate::permit::{self, Circumstances, Denied, NotKept, Permit, Verdict};
use crate::refusal::Refusal;
use crate::reply::{Closing, Concluded, Pieces, Ready, Reply, Talk, micros, until};
use crate::upstream::{Answer, Answered, Isolation, Outgoing, Wants};

/// For how long a client may keep what `server/discover` says, milliseconds.
const DISCOVER_TTL_MS: u64 = 60_000;

/// For how long a client may keep a list without asking again, milliseconds.
const LIST_TTL_MS: u64 = 10_000;
/// Where the tools go in a result without any.
const NO_TOOLS: &str = r#""tools":[]"#;

/// A call that is allowed, on its way out.
struct Leaving<'a> {
    permit: Permit,
    record: Box<Record>,
    call: &'a Call<'a>,
    tool: usize,
    id: &'a Id<'a>,
}

impl Gateway {
    pub(super) fn discover(&self, context: &Context, client: &Client<'_>, id: &Id<'_>) -> Reply {
        let identity = Identity {
            server_info: context.tenant.server_info.raw(),
            capabilities: CAPABILITIES,
            instructions: context.tenant.instructions.as_deref(),
        };
        let result = identity.discover_result(DISCOVER_TTL_MS);
        if self.listed(context, client, "server/discover", id).is_err() {
            return self.unrecorded(client.version.era(), Some(id));
        }
        Ready::new(StatusCode::OK, message::response(id, result.raw()).into_string()).into()
    }

    /// Answers a list from memory.
    pub(super) fn tools_list(&self, context: &Context, client: &Client<'_>, request: &Request<'_>) -> Reply {
        let era = client.version.era();
        let place = match request.params.get("cursor") {
            None | Some(Raw::NULL) => Some(0),
            Some(cursor) => cursor.text().and_then(|cursor| self.place(context, &cursor)),
        };
        let tenant = &context.tenant;
        let page = place.and_then(|place| tenant.listings.page(&context.view, &tenant.catalog, era, place));
        let Some(page) = page else {
            let record = self.begin(Kind::McpRequest, context, client, request);
            return self.refuse_recorded(record, era, Some(&request.id), &Refusal::BadCursor);
        };
        if self.listed(context, client, "tools/list", &request.id).is_err() {
            return self.unrecorded(era, Some(&request.id));
        }
        let cursor = page.next.map(|place| self.cursor(context, place));
        let side = Side { era, server_info: tenant.server_info.raw() };
        let around = list_result(&[], cursor.as_deref(), LIST_TTL_MS, &side).into_string();
        // The large array in the middle is shared and not copied.
        let Some((head, tail)) = around.split_once(NO_TOOLS) else {
            return self.refuse(context, era, Some(&request.id), &Refusal::BadCursor);
        };
        let head = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{head}"tools":"#, request.id.as_json());
        let pieces = [head.into(), page.tools, Bytes::from(format!("{tail}}}"))];
        Ready::new(StatusCode::OK, Pieces::Three(pieces)).into()
    }

    fn cursor(&self, context: &Context, place: usize) -> String {
        let plain = format!("{}:{place}", context.tenant.config_version);
        self.0.cursors.seal_text(&[b"tools/list", &parts(context)], plain.as_bytes())
    }

    /// The place a cursor names, while the list is the one it was made for.
    fn place(&self, context: &Context, cursor: &str) -> Option<usize> {
        let plain = self.0.cursors.open_text(&[b"tools/list", &parts(context)], cursor).ok()?;
        let (version, place) = std::str::from_utf8(&plain).ok()?.split_once(':')?;
        (version == &*context.tenant.config_version).then(|| place.parse().ok()).flatten()
    }

    /// Records something that was answered from memory.
    fn listed(
        &self,
        context: &Context,
        client: &Client<'_>,
        method: &'static str,
        id: &Id<'_>,
    ) -> Result<(), AuditUnavailable> {
        let subject = Subject {
            kind: Kind::McpRequest,
            arrival: &context.arrival,
            method: Some(method),
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

    fn begin(&self, kind: Kind, context: &Context, client: &Client<'_>, request: &Request<'_>) -> Box<Record> {
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

    /// One call of a tool: decided, recorded, forwarded, answered.
    pub(super) async fn tools_call(
        &self,
        context: &Context,
        client: &Client<'_>,
        headers: Option<&Headers<'_>>,
        request: &Request<'_>,
    ) -> Reply {
        let era = client.version.era();
        let mut record = self.begin(Kind::Call, context, client, request);
        let call = match Call::read(request.params.clone()) {
            Ok(call) => call,
            Err(error) => return self.refuse_recorded(record, era, Some(&request.id), &Refusal::Protocol(error)),
        };
        let arguments = call.arguments.unwrap_or(Raw::EMPTY);
        let deciding = Instant::now();
        let seen = self.seen(context, &call.name).await;
        let (tool, verdict) = decide(context, client, &call.name, arguments, seen.as_ref());
        record.dur.policy = Some(micros(deciding));
        describe(&mut record, context, tool, &call);
        let (permit, tool) = match (verdict, tool) {
            (Verdict::Allowed(permit, decision), Some(tool)) => {
                record.decision = record::decided(&decision, &context.tenant);
                (permit, tool)
            }
            (Verdict::Denied(denied), _) => return self.deny(context, client, record, (&request.id, denied)).await,
            (Verdict::Unknown(decision), _) => {
                record.decision = match decision {
                    Some(decision) => record::decided(&decision, &context.tenant),
                    None => record::refused(Stage::Rbac, policy::code::UNKNOWN_TOOL),
                };
                return self.unknown(record, era, &request.id).await;
            }
            (Verdict::Allowed(..), None) => return self.unknown(record, era, &request.id).await,
        };
        if let Some(headers) = headers {
            let annotated = &context.tenant.catalog.tools()[tool].annotated;
            if let Err(error) = header::check(headers, annotated, arguments.object().as_ref()) {
                return self.refuse_recorded(record, era, Some(&request.id), &Refusal::Protocol(error));
            }
        }
        let leaving = Leaving { permit, record, call: &call, tool, id: &request.id };
        Box::pin(self.forward(context, client, leaving)).await
    }

    /// The one answer for what does not exist and what is hidden, given when it is recorded.
    async fn unknown(&self, mut record: Box<Record>, era: Era, id: &Id<'_>) -> Reply {
        let refusal = Refusal::UnknownTool;
        let status = refusal.status(era);
        record.outcome = Outcome {
            status: Some(Status::Denied),
            http_status: Some(status.as_u16()),
            jsonrpc_code: Some(refusal.error().code.number()),
            ..std::mem::take(&mut record.outcome)
        };
        if self.0.recorder.note(record).await.is_err() {
            return self.unrecorded(era, Some(id));
        }
        self.0.metrics.refused(&refusal);
        self.0.metrics.call(Status::Denied);
        Ready::new(status, refusal.error().body(Some(id)).into_string()).into()
    }

    /// A denial the caller may see: a result that tells the model.
    async fn deny(
        &self,
        context: &Context,
        client: &Client<'_>,
        mut record: Box<Record>,
        (id, denied): (&Id<'_>, Denied),
    ) -> Reply {
        record.decision = record::denied(&denied, &context.tenant);
        let closing = closing(context, client, id, String::new());
        let concluded = closing.own_result(&denied.to_result());
        record.outcome = Outcome { status: Some(Status::Denied), ..concluded.outcome().clone() };
        record.outcome.reason = Some(denied.code.into());
        if self.0.recorder.note(record).await.is_err() {
            return self.unrecorded(client.version.era(), Some(id));
        }
        self.0.metrics.call(Status::Denied);
        concluded.ready.into()
    }

    /// Sends an allowed call to its upstream, when its record is stored.
    async fn forward(&self, context: &Context, client: &Client<'_>, leaving: Leaving<'_>) -> Reply {
        let era = client.version.era();
        let Leaving { permit, record, call, tool, id } = leaving;
        let tool = &context.tenant.catalog.tools()[tool];
        let Some((server, upstream)) = context.tenant.server(tool.server) else {
            return self.unknown(record, era, id).await;
        };
        let Ok(mut released) = permit.release(&self.0.recorder, record).await else {
            return self.unrecorded(era, Some(id));
        };
        released.record.arrived(context.arrival.at);
        let mut closing = closing(context, client, id, server.alias.to_string());
        let fetching = Instant::now();
        let credential = match self.remember(context, tool).await {
            Ok(()) => self.credential(context, server).await,
            Err(NotKept) => Err(Refusal::NotKept),
        };
        released.record.dur.credential = Some(micros(fetching));
        let credential = match credential {
            Ok(credential) => credential,
            Err(refusal) => return self.close(&closing, released.record, closing.refused(&refusal)),
        };
        let running = context.session.as_ref().map(|session| self.0.in_flight.begin(session.nonce, id.as_json()));
        let traceparent = context.trace.to_string();
        let wanted = wanted(context, client, call);
        let outgoing = outgoing(context, client, (call, tool, server), (&wanted, &traceparent));
        closing.sent = Instant::now();
        released.record.time_forwarded = Some(later(context.arrival.time, closing.sent - context.arrival.at));
        let cancelled = running.as_ref().map(|running| &running.cancelled);
        let answered = tokio::select! {
            biased;
            () = context.caller.ended.cancelled() => Err(Refusal::Revoked),
            () = until(cancelled) => Err(Refusal::Cancelled),
            answered = upstream.call(&released, &credential, &outgoing) => Ok(answered),
        };
        let mut record = released.record;
        record.dur.upstream_ttfb = Some(micros(closing.sent));
        match answered {
            Ok(Ok(answered)) => self.reply(context, (record, closing), answered, running).await,
            Ok(Err(fault)) => self.close(&closing, record, closing.fault(fault)),
            Err(refusal) => {
                self.close(&closing, record, closing.refused(&refusal));
                Reply::Withdrawn
            }
        }
    }

    /// What the caller has read, where the decision asks for it; `None` is unknown.
    async fn seen(&self, context: &Context, name: &str) -> Option<BTreeSet<Label>> {
        if !context.tenant.reads_seen_labels {
            return None;
        }
        let catalog = &context.tenant.catalog;
        let tool = &catalog.tools()[catalog.find(name)?];
        if !context.view.policy.reads_seen_labels(tool.id) {
            return None;
        }
        self.0.seen.of(&context.caller.principal).await
    }

    /// Notes what the caller is about to read, where any policy of the tenant asks for it.
    async fn remember(&self, context: &Context, tool: &Exposed) -> Result<(), NotKept> {
        if !context.tenant.reads_seen_labels || tool.labels.is_empty() {
            return Ok(());
        }
        self.0.seen.add(&context.caller.principal, &tool.labels).await
    }

    pub(super) async fn credential(&self, context: &Context, server: &Server) -> Result<Presented, Refusal> {
        let scope = Scope { tenant: context.tenant.snapshot.tenant, data_key: &context.tenant.data_key };
        self.0.credentials.fetch(scope, &server.credential).await.map_err(|error| {
            tracing::warn!(error = service::causes(&error), tenant.id = %scope.tenant, server.id = %server.id, "could not get a credential");
            Refusal::Credential { alias: server.alias.to_string() }
        })
    }

    /// Gives the client what the upstream answers: in one piece, or as it comes.
    async fn reply(
        &self,
        context: &Context,
        (mut record, closing): (OpenRecord, Closing),
        answered: Answered,
        running: Option<Running>,
    ) -> Reply {
        record.server.protocol_version = Some(answered.version.as_str().into());
        match answered.answer {
            Answer::Whole(whole) => self.close(&closing, record, closing.conclude(&whole)),
            Answer::Stream(conversation) => {
                let ended = context.caller.ended.clone();
                let metrics = self.0.metrics.clone();
                let talk = Talk { conversation, record: Some(record), closing, ended, running, metrics };
                match context.arrival.takes {
                    Takes::Events => Reply::Stream(Box::new(talk)),
                    Takes::Json => talk.last().await.map_or(Reply::Withdrawn, Reply::Whole),
                }
            }
        }
    }

    fn close(&self, closing: &Closing, record: OpenRecord, mut concluded: Concluded) -> Reply {
        self.0.metrics.call(concluded.status());
        closing.close(record, &mut concluded);
        concluded.ready.into()
    }
}

/// For whom a cursor is sealed.
fn parts(context: &Context) -> Vec<u8> {
    let principal = &context.caller.principal;
    [principal.tenant.uuid(), principal.user.uuid(), principal.token.uuid()].map(uuid::Uuid::into_bytes).concat()
}

fn decide(
    context: &Context,
    client: &Client<'_>,
    name: &str,
    arguments: Raw<'_>,
    seen_labels: Option<&BTreeSet<Label>>,
) -> (Option<usize>, Verdict) {
    let circumstances = Circumstances {
        now: context.arrival.time,
        ip: context.arrival.ip,
        client_name: client.name.as_deref(),
        client_version: client.client_version.as_deref(),
        seen_labels,
    };
    match arguments.read::<&RawValue>() {
        Ok(arguments) => permit::decide(&context.tenant.catalog, &context.view, name, circumstances, arguments),
        // Unreachable for what was parsed; and then there is nothing that could be allowed.
        Err(_) => (None, Verdict::Unknown(None)),
    }
}

/// Puts into the record what is called, and with what.
fn describe(record: &mut Record, context: &Context, tool: Option<usize>, call: &Call<'_>) {
    let hashed = context.tenant.arguments_key.hash(call.arguments.unwrap_or(Raw::EMPTY).get());
    record.args = hashed.args;
    record.pii.args.redacted = hashed.redacted;
    match tool.map(|tool| &context.tenant.catalog.tools()[tool]) {
        Some(tool) => {
            record.tool = tool.recorded.clone();
            record.server = tool.recorded_server.clone();
        }
        None => record.tool.name = Some(call.name.clone().into_owned().into()),
    }
}

fn outgoing<'a>(
    context: &'a Context,
    client: &Client<'a>,
    (call, tool, server): (&'a Call<'a>, &'a Exposed, &Server),
    (wanted, traceparent): (&'a Wants, &'a str),
) -> Outgoing<'a> {
    let principal = &context.caller.principal;
    let nonce = context.session.as_ref().map(|session| session.nonce);
    Outgoing {
        call,
        arguments: call.arguments.and_then(Raw::object).filter(|_| !tool.annotated.is_empty()),
        annotated: &tool.annotated,
        client_info: client.info,
        wanted,
        traceparent,
        tracestate: context.trace.state.as_deref(),
        isolation: Isolation::of(nonce, server.sessions, principal.user, principal.token),
    }
}

fn wanted(context: &Context, client: &Client<'_>, call: &Call<'_>) -> Wants {
    match context.arrival.takes {
        Takes::Events => Wants { progress: call.progress_token().map(Raw::to_json), log_level: client.log_level },
        Takes::Json => Wants::default(),
    }
}

fn closing(context: &Context, client: &Client<'_>, id: &Id<'_>, alias: String) -> Closing {
    Closing {
        tenant: std::sync::Arc::clone(&context.tenant),
        alias,
        id: id.clone().into_owned(),
        version: client.version,
        capabilities: client.capabilities.raw().to_json(),
        sent: Instant::now(),
        bytes_in: context.arrival.bytes_in,
    }
}
