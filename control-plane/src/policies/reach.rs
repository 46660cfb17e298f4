//! What people and tokens may call, tool by tool, and what a change of the policies does to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::{PolicyText, Principal, RiskClass, TokenId, TokenScope, ToolId};
use policy::{CallContext, CallerView, Determining, Effect, Outcome, Vocabulary, World};
use serde_json::value::RawValue;
use store::people::Membership;

use super::actions::{PolicyError, aside};
use super::worlds::Present;
use crate::console::show;

/// What becomes of calls, strictest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answer {
    /// Every call is denied.
    Denied,
    /// A person decides.
    Asks,
    /// It depends on the call: its arguments, the time, the address.
    Depends,
    /// Every call is allowed.
    Allowed,
}

/// What becomes of calls of one tool.
#[derive(Debug, Clone)]
pub(crate) struct Reached {
    pub(crate) tool: ToolId,
    /// As policies name it.
    pub(crate) name: String,
    pub(crate) risk: RiskClass,
    pub(crate) answer: Answer,
    /// Whether the caller sees the tool at all.
    pub(crate) is_listed: bool,
    /// The policies that make it so.
    pub(crate) policies: Vec<Arc<Determining>>,
    /// The stable word for a denial that no policy speaks.
    pub(crate) code: &'static str,
    /// What a denied person and model read.
    pub(crate) reason: String,
}

/// Who calls: a member, through a token or through any of theirs.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) member: Membership,
    pub(crate) scope: TokenScope,
}

/// What becomes of this caller's calls of each tool, in the vocabulary's order.
pub(crate) async fn of(present: Arc<Present>, caller: Caller, now: DateTime<Utc>) -> Result<Vec<Reached>, PolicyError> {
    let work = move || {
        let view = present.caller(&principal(&present.vocabulary, &caller, now))?;
        let tools = present.vocabulary.servers.iter().flat_map(|server| &server.tools);
        Ok(tools.filter_map(|tool| reached(&view, tool.id, tool.risk, now)).collect())
    };
    aside(work).await.ok_or(PolicyError::NotChecked)?
}

/// A tool whose answer changes for some people.
#[derive(Debug, Clone)]
pub(crate) struct Flip {
    pub(crate) name: String,
    pub(crate) risk: RiskClass,
    pub(crate) before: Answer,
    pub(crate) after: Answer,
    /// For whom, as the tenant calls them.
    pub(crate) people: Vec<String>,
}

impl Flip {
    /// Whether more is allowed than was.
    pub(crate) fn is_looser(&self) -> bool {
        self.after > self.before
    }

    /// For whom, in words.
    pub(crate) fn people_said(&self) -> String {
        let names: Vec<String> = self.people.iter().map(show::visible).collect();
        show::some_of(&names, 4, ", ")
    }
}

/// What changes for these people, those of a kind together, when these texts are in force instead; what became looser first.
pub(crate) async fn flips(
    present: Arc<Present>,
    after: Vec<PolicyText>,
    kinds: Vec<Vec<Membership>>,
    now: DateTime<Utc>,
) -> Result<Vec<Flip>, PolicyError> {
    let work = move || {
        let vocabulary = &present.vocabulary;
        let after = World::compile_by(present.checker()?, vocabulary, &after).map_err(|error| uncompiled(&error))?;
        let mut found: BTreeMap<(bool, String, Answer, Answer), Flip> = BTreeMap::new();
        for kind in kinds {
            let names: Vec<String> = kind.iter().map(|member| member.name.clone()).collect();
            let Some(member) = kind.into_iter().next() else { continue };
            let caller = Caller { member, scope: TokenScope::default() };
            let principal = principal(vocabulary, &caller, now);
            let views = (present.caller(&principal)?, after.caller(&principal));
            for tool in vocabulary.servers.iter().flat_map(|server| &server.tools) {
                let (Some(was), Some(is)) =
                    (reached(&views.0, tool.id, tool.risk, now), reached(&views.1, tool.id, tool.risk, now))
                else {
                    continue;
                };
                if was.answer == is.answer {
                    continue;
                }
                let flip = Flip {
                    name: is.name.clone(),
                    risk: tool.risk,
                    before: was.answer,
                    after: is.answer,
                    people: Vec::new(),
                };
                let key = (!flip.is_looser(), is.name, was.answer, is.answer);
                found.entry(key).or_insert(flip).people.extend(names.iter().cloned());
            }
        }
        Ok(found.into_values().collect())
    };
    aside(work).await.ok_or(PolicyError::NotChecked)?
}

/// What policies can tell people apart by: role, groups, and who they are where a text names them.
type Kind = (&'static str, BTreeSet<domain::GroupName>, Option<domain::UserId>);

/// The people who call tools, those together whom none of these texts can tell apart.
pub(crate) fn kinds(people: Vec<Membership>, texts: &[&str]) -> Vec<Vec<Membership>> {
    let mut kinds: BTreeMap<Kind, Vec<Membership>> = BTreeMap::new();
    for member in people.into_iter().filter(|member| member.role.allows(domain::Permission::CallTools)) {
        let id = member.user.to_string();
        let named = texts.iter().any(|text| text.contains(&id)).then_some(member.user);
        kinds.entry((member.role.as_str(), member.groups.clone(), named)).or_default().push(member);
    }
    kinds.into_values().collect()
}

fn uncompiled(error: &policy::CompileError) -> PolicyError {
    tracing::warn!(%error, "the policies in force do not compile against the tenant's tools of now");
    PolicyError::NotCompiled(error.to_string())
}

fn principal(vocabulary: &Vocabulary, caller: &Caller, now: DateTime<Utc>) -> Principal {
    Principal {
        tenant: vocabulary.tenant,
        user: caller.member.user,
        token: TokenId::from_uuid(uuid::Uuid::nil()),
        role: caller.member.role,
        groups: caller.member.groups.clone(),
        scope: caller.scope.clone(),
        issued_at: now,
        expires_at: now,
    }
}

fn reached(view: &CallerView, tool: ToolId, risk: RiskClass, now: DateTime<Utc>) -> Option<Reached> {
    let explained = view.explain(tool)?;
    let answer = match explained.outcome {
        Outcome::Allowed => Answer::Allowed,
        Outcome::Denied => Answer::Denied,
        Outcome::Depends => asks_or_depends(view, tool, now),
    };
    Some(Reached {
        tool,
        name: explained.name,
        risk,
        answer,
        is_listed: explained.visibility != policy::Visibility::Hidden,
        policies: explained.policies,
        code: explained.code.unwrap_or_default(),
        reason: explained.reason.unwrap_or_default(),
    })
}

/// Of calls that depend: whether what they wait for is a person.
fn asks_or_depends(view: &CallerView, tool: ToolId, now: DateTime<Utc>) -> Answer {
    let context = CallContext { now, ip: None, client_name: None, client_version: None, seen_labels: None };
    match view.decide(tool, &context, RawValue::NULL).effect {
        Effect::RequireApproval => Answer::Asks,
        Effect::Allow | Effect::Deny => Answer::Depends,
    }
}

impl Answer {
    /// As `ui::decision` knows it; what depends has no badge of its own.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Denied => "deny",
            Self::Asks => "approval",
            Self::Depends => "Depends on the call",
            Self::Allowed => "allow",
        }
    }
}
