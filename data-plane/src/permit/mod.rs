//! The decision. Only [`decide`] makes a [`Permit`], and only a stored record makes of it the [`Released`] that
//! `upstream` takes: no call is forwarded undecided or unrecorded.

mod seen;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::{Label, ToolId};
use mcp::Json;
use mcp::error::Denial;
use policy::{CallContext, Decision, Effect};
use serde_json::value::RawValue;

pub use seen::{NotKept, SeenLabels};

use crate::audit::{AuditUnavailable, OpenRecord, Recorder};
use crate::catalog::{Catalog, Exposed, View};

/// An allowed call of one tool by one caller.
#[derive(Debug)]
pub struct Permit {
    tool: ToolId,
    upstream_name: Arc<str>,
}

/// An allowed call whose record is stored: it may be forwarded, once.
pub struct Released {
    permit: Permit,
    /// Closed with the call's outcome, or as cancelled when dropped before.
    pub(crate) record: OpenRecord,
}

/// What was decided of a call.
pub enum Verdict {
    /// It may be made.
    Allowed(Permit, Arc<Decision>),
    /// It may not, and the caller may know why.
    Denied(Denied),
    /// It may not, and the caller may not know that the tool exists. The decision is for the record alone.
    Unknown(Option<Arc<Decision>>),
}

/// A denial that the caller may see.
#[derive(Debug)]
pub struct Denied {
    /// A stable word.
    pub code: &'static str,
    /// Where it was decided.
    pub stage: audit::words::Stage,
    /// The decision, where policy made it.
    pub decision: Option<Arc<Decision>>,
    /// Why, for the model and for people.
    pub reason: String,
    /// What is allowed instead.
    pub instead: Option<String>,
}

/// What is known of a call beside who makes it, for policy.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// When it came.
    pub now: DateTime<Utc>,
    /// From where.
    pub ip: Option<IpAddr>,
    /// The client's own name for itself.
    pub client_name: Option<&'a str>,
    /// Its own version.
    pub client_version: Option<&'a str>,
    /// What the caller has read; `None` is unknown, and policies that ask for it deny.
    pub seen_labels: Option<&'a BTreeSet<Label>>,
}

/// The code of an obligation that this gateway cannot meet.
pub const OBLIGATION_UNSUPPORTED: &str = "obligation_unsupported";
/// The code of a call to a paused server.
pub const SERVER_PAUSED: &str = "server_paused";

/// Decides a call: first what the token reaches, then policy, on the tool's immutable id.
#[must_use]
pub fn decide(
    catalog: &Catalog,
    view: &View,
    name: &str,
    circumstances: Circumstances<'_>,
    arguments: &RawValue,
) -> (Option<usize>, Verdict) {
    let Some(index) = catalog.find(name) else { return (None, Verdict::Unknown(None)) };
    let tool = &catalog.tools()[index];
    if !view.principal.scope.covers(tool.server_id, tool.id) {
        return (Some(index), Verdict::Unknown(None));
    }
    let context = CallContext {
        now: circumstances.now,
        ip: circumstances.ip,
        client_name: circumstances.client_name,
        client_version: circumstances.client_version,
        seen_labels: circumstances.seen_labels,
    };
    let decision = view.policy.decide(tool.id, &context, arguments);
    (Some(index), judge(tool, decision))
}

fn judge(tool: &Exposed, decision: Arc<Decision>) -> Verdict {
    let allowed = decision.effect == Effect::Allow && decision.errors.is_empty();
    if !allowed && !decision.visible {
        return Verdict::Unknown(Some(decision));
    }
    if !allowed {
        return Verdict::Denied(Denied::by_policy(decision));
    }
    if let Some(obligation) = decision.obligations.first() {
        let kind = obligation.kind.as_str();
        return Verdict::Denied(Denied {
            code: OBLIGATION_UNSUPPORTED,
            stage: audit::words::Stage::Policy,
            reason: format!("The policy asks for `{kind}` of what this tool does, which this gateway can not do yet"),
            instead: None,
            decision: Some(decision),
        });
    }
    if tool.paused {
        return Verdict::Denied(Denied {
            code: SERVER_PAUSED,
            stage: audit::words::Stage::Paused,
            reason: "The server of this tool is paused".to_owned(),
            instead: None,
            decision: Some(decision),
        });
    }
    Verdict::Allowed(Permit { tool: tool.id, upstream_name: Arc::clone(&tool.upstream_name) }, decision)
}

impl Denied {
    fn by_policy(decision: Arc<Decision>) -> Self {
        let default = match decision.effect {
            Effect::RequireApproval => "A person would have to approve this call, and nobody can do so here",
            _ if !decision.errors.is_empty() => "A policy could not be evaluated for this call",
            _ => "No policy allows this call",
        };
        Self {
            code: decision.code,
            stage: audit::words::Stage::Policy,
            reason: decision.reason.clone().unwrap_or_else(|| default.to_owned()),
            instead: decision.instead.clone(),
            decision: Some(decision),
        }
    }

    /// The tool result that tells the model, in modern form.
    #[must_use]
    pub fn to_result(&self) -> Json {
        // What allowed the call is no reason for denying it.
        let decision = self.decision.as_ref().filter(|decision| decision.effect != Effect::Allow);
        let rule = decision.and_then(|decision| decision.determining.first());
        Denial {
            code: self.code,
            rule: rule.map(|rule| rule.name.as_str()),
            reason: &self.reason,
            instead: self.instead.as_deref(),
        }
        .to_result()
    }
}

impl Permit {
    /// Stores the record of what is about to be done; only then may it be done.
    ///
    /// # Errors
    /// [`AuditUnavailable`] when it could not be stored: nothing may be forwarded.
    pub async fn release(self, recorder: &Recorder, record: Box<audit::Record>) -> Result<Released, AuditUnavailable> {
        Ok(Released { permit: self, record: recorder.open(record).await? })
    }
}

impl Released {
    /// The tool that may be called, as its upstream calls it.
    #[must_use]
    pub fn upstream_name(&self) -> &str {
        &self.permit.upstream_name
    }

    /// The tool that may be called.
    #[must_use]
    pub const fn tool(&self) -> ToolId {
        self.permit.tool
    }
}
