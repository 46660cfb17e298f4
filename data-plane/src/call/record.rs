//! What the audit record of a message says before the message was acted on.

use std::sync::Arc;

use audit::record::{
    Actor, Client as ClientField, Decision as DecisionField, Mcp, Obligation, PolicySet, PolicyUse, Reason, Session,
};
use audit::words::{ActorKind, AuthMethod, Effect, Kind, Mode, SessionOrigin, Stage, TraceSource as Source, Transport};
use audit::{Record, Text};
use domain::{CallId, Clock, Principal, RecordId};
use mcp::Id;
use policy::{Decision, RuleEffect};

use super::session::LegacySession;
use super::trace::{Trace, TraceSource, hex_text};
use super::{Arrival, Client};
use crate::caller::Caller;
use crate::permit::Denied;
use crate::tenants::Tenant;

/// Which message a record is about.
pub struct Subject<'a> {
    /// What it is.
    pub kind: Kind,
    /// How and when it came.
    pub arrival: &'a Arrival,
    /// Its method, as it was written.
    pub method: Option<&'a str>,
    /// Its id.
    pub request: Option<&'a Id<'a>>,
    /// Who sent it, as far as the message says.
    pub client: Option<&'a Client<'a>>,
    /// Within which session.
    pub session: Option<&'a LegacySession>,
    /// Within which trace.
    pub trace: &'a Trace,
}

/// The record of a message, as far as it is known who sends it and what it is.
#[must_use]
pub fn begin(subject: &Subject<'_>, tenant: &Tenant, caller: &Caller, clock: &Clock) -> Box<Record> {
    let id = RecordId::new(clock);
    let mut record = Box::new(Record::new(id, subject.kind, tenant.snapshot.tenant, subject.arrival.time));
    record.call_id = Some(CallId::new(clock));
    record.actor = caller.actor.clone();
    record.client = client(subject.client);
    record.mcp = mcp(subject);
    record.trace = traced(subject.trace, subject.arrival);
    record.gw.config_version = Some(Text::Shared(Arc::clone(&tenant.config_version)));
    record.outcome.bytes_in = Some(subject.arrival.bytes_in);
    if let Some(session) = subject.session {
        let id = Some(Text::from(session.state.nonce.clone()));
        record.session = Session { id, origin: Some(SessionOrigin::McpHeader), ..Session::default() };
    }
    record.pii.client.ip = subject.arrival.ip.map(Text::of);
    record.pii.client.user_agent = subject.arrival.user_agent.clone().map(Text::from);
    record
}

/// What records say of a caller.
pub(crate) fn actor(principal: &Principal) -> Actor {
    Actor {
        kind: Some(ActorKind::User),
        id: Some(Text::Shared(principal.user.to_string().into())),
        auth_method: Some(AuthMethod::ApiKey),
        token_id: Some(principal.token),
        token_exp: Some(principal.expires_at),
        roles: vec![Text::Fixed(principal.role.as_str())],
        groups: principal.groups.iter().map(|group| Text::Shared(group.to_string().into())).collect(),
        ..Actor::default()
    }
}

fn client(client: Option<&Client<'_>>) -> ClientField {
    let Some(client) = client else { return ClientField::default() };
    ClientField {
        name: client.name.clone().map(Text::from),
        version: client.client_version.clone().map(Text::from),
        verified: client.name.as_ref().map(|_| false),
        ..ClientField::default()
    }
}

fn mcp(subject: &Subject<'_>) -> Mcp {
    let id = subject.request.map(Id::as_json);
    let kind = |id: &str| if id.starts_with('"') { "string" } else { "number" };
    Mcp {
        method: subject.method.map(|method| Text::from(method.to_owned())),
        protocol_version: subject.client.map(|client| Text::Fixed(client.version.as_str())),
        request_id: id.map(|id| Text::from(id.trim_matches('"').to_owned())),
        request_id_type: id.map(kind).map(Text::Fixed),
        transport: Some(Transport::StreamableHttp),
        ..Mcp::default()
    }
}

fn traced(trace: &Trace, arrival: &Arrival) -> audit::record::Trace {
    audit::record::Trace {
        id: Some(Text::from(trace.id_text())),
        span_id: Some(Text::from(trace.span_text())),
        parent_id: trace.parent.map(|parent| Text::from(hex_text(&parent))),
        sampled: Some(trace.sampled),
        source: Some(match trace.source {
            TraceSource::Meta => Source::Meta,
            TraceSource::Header => Source::Http,
            TraceSource::New => Source::New,
        }),
        traceparent: arrival.traceparent.clone().filter(|_| trace.source == TraceSource::Header).map(Text::from),
    }
}

/// What policy decided.
#[must_use]
pub fn decided(decision: &Decision, tenant: &Tenant) -> DecisionField {
    DecisionField {
        effect: Some(match decision.effect {
            policy::Effect::Allow => Effect::Allow,
            policy::Effect::Deny => Effect::Deny,
            policy::Effect::RequireApproval => Effect::RequireApproval,
        }),
        stage: Some(Stage::Policy),
        code: Some(Text::Fixed(decision.code)),
        policies: decision.determining.iter().map(|rule| policy_use(rule)).collect(),
        policy_set: PolicySet { version: Some(tenant.snapshot.revision), ..PolicySet::default() },
        obligations: decision.obligations.iter().map(obligation).collect(),
        ..DecisionField::default()
    }
}

fn policy_use(rule: &policy::Determining) -> PolicyUse {
    PolicyUse {
        id: Some(rule.policy),
        version: Some(rule.version),
        name: Some(Text::from(rule.name.clone())),
        sha256: Some(Text::from(rule.sha256.clone())),
        effect: Some(match rule.effect {
            RuleEffect::Permit => Effect::Allow,
            RuleEffect::Forbid => Effect::Deny,
        }),
        mode: Some(Mode::Enforce),
    }
}

fn obligation(obligation: &policy::Obligation) -> Obligation {
    Obligation {
        applied: Some(false),
        detail: Some(Text::from(obligation.value.clone())),
        kind: Some(Text::Fixed(obligation.kind.as_str())),
        ..Obligation::default()
    }
}

/// What was refused without asking policy.
#[must_use]
pub fn refused(stage: Stage, code: &'static str) -> DecisionField {
    DecisionField {
        effect: Some(Effect::Deny),
        stage: Some(stage),
        code: Some(Text::Fixed(code)),
        ..DecisionField::default()
    }
}

/// What was denied in the caller's sight.
#[must_use]
pub fn denied(denied: &Denied, tenant: &Tenant) -> DecisionField {
    let mut field = denied.decision.as_ref().map_or_else(DecisionField::default, |decision| decided(decision, tenant));
    if field.effect != Some(Effect::RequireApproval) {
        field.effect = Some(Effect::Deny);
    }
    field.stage = Some(denied.stage);
    field.code = Some(Text::Fixed(denied.code));
    field.reasons = vec![Reason { code: Some(Text::Fixed(denied.code)), ..Reason::default() }];
    field
}
