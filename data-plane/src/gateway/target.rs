//! One thing of one upstream server, which its client calls: looked up, decided, recorded, and then forwarded. In modern form.

use std::collections::BTreeSet;
use std::time::Instant;

use audit::Record;
use audit::record::Outcome;
use audit::words::{Kind, Stage, Status};
use domain::Label;
use mcp::ask::{Ask, Subject};
use mcp::header::{self, Headers};
use mcp::{Era, Id, Method, Raw, Request};
use serde_json::value::RawValue;

use super::forward::{Leaving, closing};
use super::{Context, Gateway};
use crate::call::Client;
use crate::call::record;
use crate::call::rounds::{Asking, Continued, Matter, StateUnknown};
use crate::permit::{self, Circumstances, Denied, Verdict};
use crate::refusal::Refusal;
use crate::reply::{Ready, Reply, micros};

/// How a call may ask its client for input, and what it goes on with.
#[derive(Default)]
struct Round {
    asking: Option<Asking>,
    continued: Option<Continued>,
}

impl Gateway {
    /// A request about one thing of one server: decided, recorded, forwarded, answered.
    pub(super) async fn target(
        &self,
        context: &Context,
        client: &Client<'_>,
        headers: Option<&Headers<'_>>,
        (method, request): (Method, &Request<'_>),
    ) -> Reply {
        let era = client.version.era();
        let mut record = self.begin(Kind::Call, context, client, request);
        let ask = match Ask::read(method, request.params.clone()) {
            Ok(ask) => ask,
            Err(error) => return self.refuse_recorded(record, era, Some(&request.id), &Refusal::Protocol(error)),
        };
        if era == Era::Legacy && !ask.input.is_empty() {
            return self.refuse_recorded(record, era, Some(&request.id), &Refusal::Unasked);
        }
        let arguments = ask.arguments.unwrap_or(Raw::EMPTY);
        let deciding = Instant::now();
        let seen = self.seen(context, &ask.subject).await;
        let (tool, verdict) = decide(context, client, &ask.subject, arguments, seen.as_ref());
        record.dur.policy = Some(micros(deciding));
        describe(&mut record, context, tool, &ask);
        // Before the verdict: what is refused says, too, which call it would have gone on with.
        let round = match tool {
            Some(tool) if era == Era::Modern => self.round(context, &mut record, tool, &ask),
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
        let leaving = Leaving { permit, record, ask: &ask, tool, id: &request.id, asking, continued };
        Box::pin(self.forward(context, client, leaving)).await
    }

    /// Lets a call ask for input, and takes up the one it goes on with, if any, which its record notes. Each round is a call
    /// that is decided and recorded like every other: the state in it says only what its upstream asked before.
    fn round(&self, context: &Context, record: &mut Record, tool: usize, ask: &Ask<'_>) -> Result<Round, StateUnknown> {
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
        if let Some(state) = ask.input.state {
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
    async fn seen(&self, context: &Context, subject: &Subject<'_>) -> Option<BTreeSet<Label>> {
        if !context.tenant.reads_seen_labels {
            return None;
        }
        let Subject::Tool(name) = subject else { return None };
        let catalog = &context.tenant.catalog;
        let tool = &catalog.tools()[catalog.find(name)?];
        if !context.view.policy.reads_seen_labels(tool.id) {
            return None;
        }
        self.0.seen.of(&context.caller.principal).await
    }
}

fn decide(
    context: &Context,
    client: &Client<'_>,
    subject: &Subject<'_>,
    arguments: Raw<'_>,
    seen_labels: Option<&BTreeSet<Label>>,
) -> (Option<usize>, Verdict) {
    // A tool is all there is to decide on: a prompt that happens to have its name is not it.
    let Subject::Tool(name) = subject else { return (None, Verdict::Unknown(None)) };
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
fn describe(record: &mut Record, context: &Context, tool: Option<usize>, ask: &Ask<'_>) {
    let hashed = context.tenant.arguments_key.hash(ask.arguments.unwrap_or(Raw::EMPTY).get());
    record.args = hashed.args;
    record.pii.args.redacted = hashed.redacted;
    match tool.map(|tool| &context.tenant.catalog.tools()[tool]) {
        Some(tool) => {
            record.tool = tool.recorded.clone();
            record.server = tool.recorded_server.clone();
        }
        None => record.tool.name = Some(ask.subject.name().to_owned().into()),
    }
}
