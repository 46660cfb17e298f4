//! What is served of MCP: `server/discover`, `tools/list` and `tools/call`, in modern form.

use std::collections::BTreeSet;
use std::time::Instant;

use audit::Record;
use audit::record::Outcome;
use audit::words::{Kind, Stage, Status};
use bytes::Bytes;
use domain::Label;
use http::StatusCode;
use mcp::header::{self, Headers};
use mcp::hello::{CAPABILITIES, Identity};
use mcp::message;
use mcp::tools::{Call, Side, list_result};
use mcp::{Era, Id, Raw, Request};
use serde_json::value::RawValue;

use super::forward::{Leaving, closing};
use super::{Context, Gateway};
use crate::audit::AuditUnavailable;
use crate::call::Client;
use crate::call::record::{self, Subject};
use crate::call::rounds::{Asking, Continued, Matter, StateUnknown};
use crate::permit::{self, Circumstances, Denied, Verdict};
use crate::refusal::Refusal;
use crate::reply::{Pieces, Ready, Reply, micros};

/// For how long a client may keep what `server/discover` says, milliseconds.
const DISCOVER_TTL_MS: u64 = 60_000;

/// For how long a client may keep a list without asking again, milliseconds.
const LIST_TTL_MS: u64 = 10_000;
/// Where the tools go in a result without any.
const NO_TOOLS: &str = r#""tools":[]"#;

/// How a call may ask its client for input, and what it goes on with.
#[derive(Default)]
struct Round {
    asking: Option<Asking>,
    continued: Option<Continued>,
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
        if era == Era::Legacy && !call.input.is_empty() {
            return self.refuse_recorded(record, era, Some(&request.id), &Refusal::Unasked);
        }
        let arguments = call.arguments.unwrap_or(Raw::EMPTY);
        let deciding = Instant::now();
        let seen = self.seen(context, &call.name).await;
        let (tool, verdict) = decide(context, client, &call.name, arguments, seen.as_ref());
        record.dur.policy = Some(micros(deciding));
        describe(&mut record, context, tool, &call);
        // Before the verdict: what is refused says, too, which call it would have gone on with.
        let round = match tool {
            Some(tool) if era == Era::Modern => self.round(context, &mut record, tool, &call),
            _ => Ok(Round::default()),
        };
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
        let Ok(Round { asking, continued }) = round else {
            return self.refuse_recorded(record, era, Some(&request.id), &Refusal::BadState);
        };
        let leaving = Leaving { permit, record, call: &call, tool, id: &request.id, asking, continued };
        Box::pin(self.forward(context, client, leaving)).await
    }

    /// Lets a call ask for input, and takes up the one it goes on with, if any, which its record notes. Each round is a call
    /// that is decided and recorded like every other: the state in it says only what its upstream asked before.
    fn round(
        &self,
        context: &Context,
        record: &mut Record,
        tool: usize,
        call: &Call<'_>,
    ) -> Result<Round, StateUnknown> {
        let tool = &context.tenant.catalog.tools()[tool];
        let (Some((server, _)), Some(id)) = (context.tenant.server(tool.server), record.call_id) else {
            return Ok(Round::default());
        };
        let matter = Matter {
            principal: &context.caller.principal,
            version: server.version,
            tool: tool.id,
            arguments: record.args.hmac.as_deref().unwrap_or_default(),
        };
        let mut asking = self.0.rounds.begin(&matter, id);
        let mut continued = None;
        if let Some(state) = call.input.state {
            continued = Some(asking.resume(&state.text().unwrap_or_default())?);
            asking.note(record);
        }
        Ok(Round { asking: Some(asking), continued })
    }

    /// The one answer for what does not exist and what is hidden, given when it is recorded.
    pub(super) async fn unknown(&self, mut record: Box<Record>, era: Era, id: &Id<'_>) -> Reply {
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
