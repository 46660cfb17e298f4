//! What can be said of a tool before any call: whether it is listed, and why. The one place of partial evaluation, which Cedar
//! calls experimental: nothing is ever allowed by it.

use std::sync::Arc;

use cedar_policy::{Decision as CedarDecision, PartialResponse, Request};
use domain::ToolId;
use serde::Serialize;

use crate::caller::Known;
use crate::decide::{AUTHORIZER, Question};
use crate::rule::Rule;
use crate::world::ToolWorld;
use crate::{Decision, Determining, Effect, RuleEffect, code};

/// Whether a tool is shown to a principal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "visibility")]
pub enum Visibility {
    /// Listed: some call to it may be allowed.
    Listed,
    /// Listed, but no call to it will be allowed, and every forbid that says so is `@visible`.
    ListedDenied {
        /// A forbid's `@reason`.
        reason: Option<String>,
        /// A forbid's `@instead`.
        instead: Option<String>,
    },
    /// Not listed; calling it looks like calling an unknown tool.
    Hidden,
}

/// What becomes of a principal's calls of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The tool.
    pub tool: ToolId,
    /// The tool as policies name it.
    pub name: String,
    /// What becomes of them.
    pub outcome: Outcome,
    /// Whether the tool is shown.
    pub visibility: Visibility,
    /// The policies that make it so; for [`Outcome::Depends`], those that may come to decide a call.
    pub policies: Vec<Arc<Determining>>,
    /// One of [`code`], where the outcome is certain.
    pub code: Option<&'static str>,
    /// What a denied person and model read.
    pub reason: Option<String>,
    /// What is allowed instead.
    pub instead: Option<String>,
}

/// What becomes of a principal's calls of a tool, as far as it can be said before any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every call is allowed.
    Allowed,
    /// Every call is denied.
    Denied,
    /// It depends on the call: its arguments, the time, an approval.
    Depends,
}

/// A settled decision's visibility: a denial is hidden, unless every forbid that holds wants to be read.
pub(crate) fn of_settled(decision: &Decision, forbids: &[&Rule]) -> Visibility {
    match decision.effect {
        Effect::Allow | Effect::RequireApproval => Visibility::Listed,
        Effect::Deny if decision.code == code::FORBIDDEN => denied(forbids),
        // It is denied when called, and said there; it is no reason to hide.
        Effect::Deny if decision.code == code::POLICY_ERROR => Visibility::Listed,
        Effect::Deny => Visibility::Hidden,
    }
}

/// A tool no call of which is allowed: without `@visible` on each forbid that certainly holds, hiding is what was chosen.
fn denied(forbids: &[&Rule]) -> Visibility {
    if forbids.is_empty() || !forbids.iter().all(|rule| rule.annotations.visible) {
        return Visibility::Hidden;
    }
    let (reason, instead) = texts(forbids);
    Visibility::ListedDenied { reason, instead }
}

fn texts(forbids: &[&Rule]) -> (Option<String>, Option<String>) {
    let said = |text: fn(&Rule) -> Option<&String>| forbids.iter().find_map(|rule| text(rule)).cloned();
    (said(|rule| rule.annotations.reason.as_ref()), said(|rule| rule.annotations.instead.as_ref()))
}

impl<'a> Question<'a> {
    /// Whether the tool is listed when decisions depend on the call: hidden only where denial is certain.
    pub(crate) fn visibility(&self) -> Visibility {
        let Some(response) = self.without_context() else { return Visibility::Listed };
        // As above: what errs is no reason to hide.
        if response.decision() != Some(CedarDecision::Deny) || response.definitely_errored().next().is_some() {
            return Visibility::Listed;
        }
        denied(&self.certain_forbids(&response))
    }

    /// What becomes of the principal's calls.
    pub(crate) fn explain(&self, known: &Known) -> Explanation {
        let explanation = Explanation {
            tool: self.tool.id,
            name: self.tool.name.clone(),
            outcome: Outcome::Depends,
            visibility: known.visibility.clone(),
            policies: Vec::new(),
            code: None,
            reason: None,
            instead: None,
        };
        if let Some(settled) = &known.settled {
            return Explanation {
                outcome: if settled.effect == Effect::Allow { Outcome::Allowed } else { Outcome::Denied },
                policies: settled.determining.clone(),
                code: Some(settled.code),
                reason: settled.reason.clone(),
                instead: settled.instead.clone(),
                ..explanation
            };
        }
        let Some(response) = self.without_context() else { return explanation };
        let forbids = self.certain_forbids(&response);
        let about = |rules: &[&Rule]| rules.iter().map(|rule| Arc::clone(&rule.about)).collect();
        if response.decision() == Some(CedarDecision::Deny) {
            let (reason, instead) = texts(&forbids);
            let code = if forbids.is_empty() { code::NOT_PERMITTED } else { code::FORBIDDEN };
            let policies = about(&forbids);
            return Explanation {
                outcome: Outcome::Denied,
                code: Some(code),
                policies,
                reason,
                instead,
                ..explanation
            };
        }
        if self.is_certainly_allowed(&response) {
            let permits: Vec<_> = response.definitely_satisfied().map(|policy| policy.id().clone()).collect();
            let policies = about(&self.rules(permits.iter()));
            return Explanation { outcome: Outcome::Allowed, code: Some(code::ALLOWED), policies, ..explanation };
        }
        let may: Vec<_> = response.may_be_determining().map(|policy| policy.id().clone()).collect();
        Explanation { policies: about(&self.rules(may.iter())), ..explanation }
    }

    /// Evaluates with nothing known of the call.
    fn without_context(&self) -> Option<PartialResponse> {
        let policies = self.slices.calls.policies.as_ref()?;
        let request = Request::builder()
            .principal(self.class.principal.clone())
            .action(self.tool.action.clone())
            .resource(self.tool.resource.clone())
            .build();
        Some(AUTHORIZER.is_authorized_partial(&request, policies, &self.class.entities))
    }

    /// Whether nothing of a call is left to ask: no policy depends on it, none may err, and no argument is looked at, which
    /// could misfit.
    fn is_certainly_allowed(&self, response: &PartialResponse) -> bool {
        response.decision() == Some(CedarDecision::Allow)
            && response.nontrivial_residuals().next().is_none()
            && response.definitely_errored().next().is_none()
            && !self.slices.calls.reads.any_argument()
            && !self.slices.obliges.reads.any_argument()
    }

    fn certain_forbids(&self, response: &PartialResponse) -> Vec<&'a Rule> {
        let certain: Vec<_> = response.definitely_satisfied().map(|policy| policy.id().clone()).collect();
        let rules = self.rules(certain.iter());
        rules.into_iter().filter(|rule| rule.about.effect == RuleEffect::Forbid).collect()
    }
}

impl Explanation {
    /// A tool the token does not reach.
    pub(crate) fn outside_scope(tool: &ToolWorld) -> Self {
        Self {
            tool: tool.id,
            name: tool.name.clone(),
            outcome: Outcome::Denied,
            visibility: Visibility::Hidden,
            policies: Vec::new(),
            code: Some(code::OUTSIDE_TOKEN_SCOPE),
            reason: None,
            instead: None,
        }
    }
}
