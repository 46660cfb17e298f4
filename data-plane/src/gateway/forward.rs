//! An allowed call on its way: recorded, sent to its upstream, and back to the client.

use std::sync::Arc;
use std::time::Instant;

use audit::Record;
use domain::{CallId, Server};
use mcp::ask::Ask;
use mcp::{Era, Id, Json, Raw, input};
use secrets::Scope;

use super::{Context, Gateway};
use crate::audit::{OpenRecord, later};
use crate::call::asking::{self, Asker};
use crate::call::inflight::Running;
use crate::call::rounds::{Asking, Continued};
use crate::call::{Client, Takes};
use crate::catalog::Exposed;
use crate::credentials::Presented;
use crate::permit::{NotKept, Permit};
use crate::refusal::Refusal;
use crate::reply::{Closing, Concluded, Reply, Talk, micros, until};
use crate::upstream::{Answer, Answered, Isolation, Outgoing, Wants, place};

/// A call that is allowed, on its way out.
pub(super) struct Leaving<'a> {
    pub(super) permit: Permit,
    pub(super) record: Box<Record>,
    pub(super) ask: &'a Ask<'a>,
    pub(super) tool: usize,
    pub(super) id: &'a Id<'a>,
    /// How it may ask its client for input.
    pub(super) asking: Option<Asking>,
    /// Where it goes on with one that did.
    pub(super) continued: Option<Continued>,
}

/// What of a call is made for its upstream and has to last until it answers.
struct Told {
    wanted: Wants,
    traceparent: String,
    capabilities: Json,
    continued: Option<Continued>,
    asker: Option<Asker>,
}

impl Gateway {
    /// Sends an allowed call to its upstream, when its record is stored.
    pub(super) async fn forward(&self, context: &Context, client: &Client<'_>, leaving: Leaving<'_>) -> Reply {
        let era = client.version.era();
        let Leaving { permit, record, ask, tool, id, asking, continued } = leaving;
        let tool = &context.tenant.catalog.tools()[tool];
        let Some((server, upstream)) = context.tenant.server(tool.server) else {
            return self.unknown(record, era, id).await;
        };
        let Ok(mut released) = permit.release(&self.0.recorder, record).await else {
            return self.unrecorded(era, Some(id));
        };
        released.record.arrived(context.arrival.at);
        let mut closing = Closing { asking, ..closing(context, client, id, server.alias.to_string()) };
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
        let isolation = isolation(context, server);
        // What many share says nothing of what one of them can do, and asks none of them.
        let asks = released.record.call_id.filter(|_| isolation != Isolation::Shared);
        let asker = asks.and_then(|call| self.asker(context, (tool, server), call));
        let told = Told { asker, ..Told::new(context, client, ask, continued) };
        let outgoing = outgoing(context, client, (ask, tool, server), &told);
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

    /// What asks a legacy call's client what a legacy upstream wants of it; only a stream can carry that.
    fn asker(&self, context: &Context, (tool, server): (&Exposed, &Server), call: CallId) -> Option<Asker> {
        let session = context.session.as_ref().filter(|_| context.arrival.takes == Takes::Events)?;
        Some(Asker(Arc::new(asking::Asking {
            asks: self.0.asks.clone(),
            in_flight: self.0.in_flight.clone(),
            recorder: self.0.recorder.clone(),
            tenant: Arc::clone(&context.tenant),
            caller: Arc::clone(&context.caller),
            session: Arc::clone(session),
            arrival: context.arrival.clone(),
            trace: context.trace.clone(),
            call,
            server_id: server.id,
            place: place(server),
            alias: server.alias.to_string(),
            tool: tool.recorded.clone(),
            server: tool.recorded_server.clone(),
        })))
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
        (mut record, mut closing): (OpenRecord, Closing),
        answered: Answered,
        running: Option<Running>,
    ) -> Reply {
        record.server.protocol_version = Some(answered.version.as_str().into());
        if answered.version.era() == Era::Legacy {
            // There is no such question in that era, and no way to answer it.
            closing.asking = None;
        }
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

fn outgoing<'a>(
    context: &'a Context,
    client: &Client<'a>,
    (ask, tool, server): (&'a Ask<'a>, &'a Exposed, &Server),
    told: &'a Told,
) -> Outgoing<'a> {
    let isolation = isolation(context, server);
    let declaring = context.session.as_ref().filter(|_| isolation != Isolation::Shared);
    Outgoing {
        ask,
        arguments: ask.arguments.and_then(Raw::object).filter(|_| !tool.annotated.is_empty()),
        annotated: &tool.annotated,
        era: client.version.era(),
        client_info: client.info,
        capabilities: told.capabilities.raw(),
        continued: told.continued.as_ref(),
        wanted: &told.wanted,
        traceparent: &told.traceparent,
        tracestate: context.trace.state.as_deref(),
        declared: declaring.map(|session| session.state.capabilities).unwrap_or_default(),
        asker: told.asker.as_ref(),
        isolation,
    }
}

fn isolation(context: &Context, server: &Server) -> Isolation {
    let principal = &context.caller.principal;
    let nonce = context.session.as_ref().map(|session| session.nonce);
    Isolation::of(nonce, server.sessions, principal.user, principal.token)
}

impl Told {
    fn new(context: &Context, client: &Client<'_>, ask: &Ask<'_>, continued: Option<Continued>) -> Self {
        let capabilities = match client.version.era() {
            Era::Modern => input::carried(&client.capabilities),
            // What a modern upstream asks of such a client is not carried, so it must not ask.
            Era::Legacy => Raw::EMPTY.to_json(),
        };
        let (wanted, traceparent) = (wanted(context, client, ask), context.trace.to_string());
        Self { wanted, traceparent, capabilities, continued, asker: None }
    }
}

fn wanted(context: &Context, client: &Client<'_>, ask: &Ask<'_>) -> Wants {
    match context.arrival.takes {
        Takes::Events => Wants {
            progress: ask.progress_token().map(Raw::to_json),
            logs: client.logs,
            set: context.session.as_ref().and_then(|session| session.level),
        },
        Takes::Json => Wants::default(),
    }
}

pub(super) fn closing(context: &Context, client: &Client<'_>, id: &Id<'_>, alias: String) -> Closing {
    Closing {
        tenant: Arc::clone(&context.tenant),
        alias,
        id: id.clone().into_owned(),
        version: client.version,
        capabilities: client.capabilities.raw().to_json(),
        asking: None,
        sent: Instant::now(),
        bytes_in: context.arrival.bytes_in,
    }
}
