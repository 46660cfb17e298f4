//! What a call is asked with, and what is answered.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::{Label, PolicyId};
use serde::Serialize;

/// What is known of a call beside its principal, tool and arguments.
#[derive(Debug, Clone, Copy)]
pub struct CallContext<'a> {
    /// When the call came.
    pub now: DateTime<Utc>,
    /// The address it came from, where it is known; policies test `context has ip`.
    pub ip: Option<IpAddr>,
    /// The client's own name for itself: a claim.
    pub client_name: Option<&'a str>,
    /// Its own version: a claim.
    pub client_version: Option<&'a str>,
    /// The labels this principal has read through this client. `None` is *unknown*: a policy that looks at them then errors,
    /// and the call is denied. An empty set is a promise that nothing was read.
    pub seen_labels: Option<&'a BTreeSet<Label>>,
}

/// The answer for one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// What it is.
    pub effect: Effect,
    /// Whether the caller may know that the tool exists; a denial that is not visible looks like an unknown tool.
    pub visible: bool,
    /// The policies that made the decision; none when nothing permits the call.
    pub determining: Vec<Arc<Determining>>,
    /// What the denied person and model read.
    pub reason: Option<String>,
    /// What is allowed instead.
    pub instead: Option<String>,
    /// A stable word for the cause, one of [`code`].
    pub code: &'static str,
    /// Who approves, when [`Effect::RequireApproval`]. A gateway without a queue denies such a call.
    pub approval: Option<Approval>,
    /// What an allowed call must also have done. Whoever can't apply one of them must deny the call.
    pub obligations: Vec<Obligation>,
    /// Whether the same principal calling the same tool gets this answer whatever the context and arguments.
    pub cacheable: bool,
    /// The policies that could not be evaluated; when there are any, the call is denied.
    pub errors: Vec<String>,
}

/// What may happen to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It is forwarded.
    Allow,
    /// It is refused.
    Deny,
    /// It waits for a person.
    RequireApproval,
}

/// A Cedar policy that made a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Determining {
    /// The policy its text is of.
    pub policy: PolicyId,
    /// The version of the text, from 1.
    pub version: u32,
    /// SHA-256 of the text, hexadecimal.
    pub sha256: String,
    /// For people: the rule's `@name`, else the policy's.
    pub name: String,
    /// The rule's `@id` within the text.
    pub rule: Option<String>,
    /// Which of the two it is.
    pub effect: RuleEffect,
}

/// Cedar's two kinds of policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleEffect {
    /// Allows, unless something forbids.
    Permit,
    /// Forbids, whatever permits.
    Forbid,
}

/// Who may approve a call, and for how long the question stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Approval {
    /// `group:…`, `role:…` or `user:…`; each forbid's `@approvers`, in order.
    pub approvers: Vec<String>,
    /// The shortest `@within`, in seconds.
    pub within_s: Option<u64>,
}

/// Something an allowed call must also have done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Obligation {
    /// What.
    pub kind: ObligationKind,
    /// The annotation's text, empty for [`ObligationKind::StripUi`].
    pub value: String,
    /// Which rule says so.
    pub rule: Arc<Determining>,
}

/// The obligations there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ObligationKind {
    /// Take values out: `result:$.customer.ssn`.
    Redact,
    /// Show only the end of values.
    Mask,
    /// Look for patterns: `secrets,iban`.
    Detect,
    /// Hold an argument to a bound: `arguments:$.limit<=100`.
    Clamp,
    /// Bound the result: `result_bytes<=65536`.
    Cap,
    /// Take out what is drawn on the client's screen.
    StripUi,
}

impl ObligationKind {
    /// All.
    pub const ALL: [Self; 6] = [Self::Redact, Self::Mask, Self::Detect, Self::Clamp, Self::Cap, Self::StripUi];

    /// The annotation that asks for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Redact => "redact",
            Self::Mask => "mask",
            Self::Detect => "detect",
            Self::Clamp => "clamp",
            Self::Cap => "cap",
            Self::StripUi => "strip_ui",
        }
    }
}

/// The stable words for the cause of a decision.
pub mod code {
    /// A permit covers the call and no forbid does.
    pub const ALLOWED: &str = "allowed";
    /// A forbid covers the call.
    pub const FORBIDDEN: &str = "forbidden_by_policy";
    /// No permit covers the call.
    pub const NOT_PERMITTED: &str = "not_permitted";
    /// A person may allow the call.
    pub const APPROVAL_REQUIRED: &str = "approval_required";
    /// A policy could not be evaluated.
    pub const POLICY_ERROR: &str = "policy_error";
    /// An argument that policies look at does not have the type the tool declares.
    pub const ARGUMENTS_DO_NOT_FIT: &str = "arguments_do_not_fit";
    /// The token does not reach the tool.
    pub const OUTSIDE_TOKEN_SCOPE: &str = "outside_token_scope";
    /// There is no such tool in this revision.
    pub const UNKNOWN_TOOL: &str = "unknown_tool";
}
