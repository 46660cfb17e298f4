//! From permit and forbid to a decision about one call.

use std::sync::{Arc, LazyLock};

use cedar_policy::{
    AuthorizationError, Authorizer, Context, EntityUid, EvaluationError, PolicySet, Request, RestrictedExpression,
};
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;

use crate::caller::{Class, Known, Slice, Slices};
use crate::decision::{Approval, Obligation};
use crate::listing::{self, Visibility};
use crate::reads::Reads;
use crate::rule::Rule;
use crate::schema::{OBLIGE, TYPES, uid};
use crate::shape::{self, Misfit, Part};
use crate::world::{Compiled, ToolWorld};
use crate::{CallContext, Decision, Effect, RuleEffect, code};

pub(crate) static AUTHORIZER: LazyLock<Authorizer> = LazyLock::new(Authorizer::new);

/// A principal and a tool, with the rules that may match.
pub(crate) struct Question<'a> {
    pub(crate) world: &'a Compiled,
    pub(crate) class: &'a Class,
    pub(crate) tool: &'a ToolWorld,
    pub(crate) slices: &'a Slices,
}

/// One call of the tool by the principal.
pub(crate) struct Asked<'a> {
    pub(crate) context: &'a CallContext<'a>,
    pub(crate) arguments: &'a RawValue,
    pub(crate) issued_at: DateTime<Utc>,
}

/// What Cedar said.
struct Verdict<'a> {
    allowed: bool,
    /// The satisfied forbids, else the satisfied permits, in their order.
    determining: Vec<&'a Rule>,
    errors: Vec<String>,
}

type Pairs = Vec<(String, RestrictedExpression)>;

impl<'a> Question<'a> {
    /// What can be said before any call: the decision itself, when no rule looks at the context.
    pub(crate) fn known(&self) -> Known {
        if !self.slices.calls.reads.nothing() || !self.slices.obliges.reads.nothing() {
            return Known { visibility: self.visibility(), settled: None };
        }
        let mut decision = self.decide(&Pairs::new(), None);
        decision.cacheable = true;
        let visibility = listing::of_settled(&decision, &self.forbids(&decision));
        decision.visible = visibility != Visibility::Hidden;
        Known { visibility, settled: Some(Arc::new(decision)) }
    }

    /// Decides a call.
    pub(crate) fn answer(&self, asked: &Asked<'_>, visibility: &Visibility) -> Decision {
        let reads = &self.slices.calls.reads;
        let arguments = reads
            .context("arguments")
            .then(|| shape::values(&self.tool.arguments, asked.arguments, |name| reads.argument(name)));
        let mut decision = match arguments.transpose() {
            Ok(arguments) => {
                let mut common = reads.clone();
                common.join(&self.slices.obliges.reads);
                self.decide(&pairs(&common, asked), arguments)
            }
            Err(misfit) => does_not_fit(&misfit),
        };
        decision.visible = *visibility != Visibility::Hidden;
        decision
    }

    fn decide(&self, common: &Pairs, arguments: Option<RestrictedExpression>) -> Decision {
        let mut call = common.clone();
        call.extend(arguments.map(|arguments| ("arguments".to_owned(), arguments)));
        let first = self.evaluate(&self.tool.action, &self.slices.calls, call.clone(), false);
        if !first.errors.is_empty() {
            return first.failed();
        }
        if first.allowed {
            return self.oblige(&first, common.clone());
        }
        let Some(approval) = approval(&first.determining) else { return first.denied() };
        let second = self.evaluate(&self.tool.action, &self.slices.calls, call, true);
        match (second.errors.is_empty(), second.allowed) {
            (false, _) => second.failed(),
            (true, false) => first.denied(),
            (true, true) => {
                let denied = first.denied();
                Decision {
                    effect: Effect::RequireApproval,
                    code: code::APPROVAL_REQUIRED,
                    approval: Some(approval),
                    ..denied
                }
            }
        }
    }

    /// An allowed call's obligations: those of every permit of `oblige` that holds.
    fn oblige(&self, allowed: &Verdict<'a>, common: Pairs) -> Decision {
        let mut decision = Decision::new(Effect::Allow, code::ALLOWED, &allowed.determining);
        if self.slices.obliges.policies.as_ref().is_some_and(PolicySet::is_empty) {
            return decision;
        }
        let verdict = self.evaluate(&uid(&TYPES.action, OBLIGE), &self.slices.obliges, common, false);
        if !verdict.errors.is_empty() {
            return verdict.failed();
        }
        for rule in verdict.determining {
            decision.obligations.extend(rule.annotations.obligations.iter().map(|(kind, value)| Obligation {
                kind: *kind,
                value: value.clone(),
                rule: Arc::clone(&rule.about),
            }));
        }
        decision
    }

    fn evaluate(&self, action: &EntityUid, slice: &Slice, mut pairs: Pairs, approved: bool) -> Verdict<'a> {
        if slice.reads.context("approved") {
            pairs.push(("approved".to_owned(), RestrictedExpression::new_bool(approved)));
        }
        // Built typed and without a schema: that costs a fifth, and a test holds that it conforms.
        let Some(policies) = &slice.policies else { return Verdict::broken() };
        let Ok(context) = Context::from_pairs(pairs) else { return Verdict::broken() };
        let (principal, resource) = (self.class.principal.clone(), self.tool.resource.clone());
        let Ok(request) = Request::new(principal, action.clone(), resource, context, None) else {
            return Verdict::broken();
        };
        let response = AUTHORIZER.is_authorized(&request, policies, &self.class.entities);
        let diagnostics = response.diagnostics();
        Verdict {
            allowed: response.decision() == cedar_policy::Decision::Allow,
            determining: self.rules(diagnostics.reason()),
            errors: diagnostics.errors().map(|error| self.described(error)).collect(),
        }
    }

    /// The rules of these ids, in their order.
    pub(crate) fn rules<'i>(&self, ids: impl Iterator<Item = &'i cedar_policy::PolicyId>) -> Vec<&'a Rule> {
        let mut places: Vec<usize> = ids.filter_map(|id| AsRef::<str>::as_ref(id).parse().ok()).collect();
        places.sort_unstable();
        places.into_iter().filter_map(|place| self.world.rules.get(place)).collect()
    }

    fn forbids(&self, decision: &Decision) -> Vec<&'a Rule> {
        let of = |rule: &&Rule| {
            rule.about.effect == RuleEffect::Forbid
                && decision.determining.iter().any(|about| Arc::ptr_eq(about, &rule.about))
        };
        self.world.rules.iter().filter(of).collect()
    }

    /// An error in words that hold nothing of the call: Cedar's own may quote arguments.
    fn described(&self, error: &AuthorizationError) -> String {
        let AuthorizationError::PolicyEvaluationError(error) = error;
        let name = self.rules(std::iter::once(error.policy_id())).first().map_or("?", |rule| rule.about.name.as_str());
        let what = match error.inner() {
            EvaluationError::EntityDoesNotExist(_) => "it names something that does not exist",
            EvaluationError::EntityAttrDoesNotExist(_) | EvaluationError::RecordAttrDoesNotExist(_) => {
                "what it looks at is absent"
            }
            EvaluationError::TypeError(_) => "a value has the wrong type",
            EvaluationError::IntegerOverflow(_) => "a number became too large",
            EvaluationError::FailedExtensionFunctionExecution(_) => "a value is not of the form it needs",
            _ => "it could not be evaluated",
        };
        format!("policy `{name}`: {what}")
    }
}

impl Verdict<'_> {
    fn broken() -> Self {
        Self {
            allowed: false,
            determining: Vec::new(),
            errors: vec!["the call could not be put to the policies".to_owned()],
        }
    }

    fn denied(&self) -> Decision {
        let code = if self.determining.is_empty() { code::NOT_PERMITTED } else { code::FORBIDDEN };
        let said = |text: fn(&Rule) -> Option<&String>| self.determining.iter().find_map(|rule| text(rule)).cloned();
        Decision {
            reason: said(|rule| rule.annotations.reason.as_ref()),
            instead: said(|rule| rule.annotations.instead.as_ref()),
            ..Decision::new(Effect::Deny, code, &self.determining)
        }
    }

    /// Cedar passes over a policy that errs, a forbid too; so an error denies.
    fn failed(self) -> Decision {
        Decision {
            reason: Some("A policy could not be evaluated for this call, so the call is denied.".to_owned()),
            errors: self.errors,
            ..Decision::new(Effect::Deny, code::POLICY_ERROR, &self.determining)
        }
    }
}

impl Decision {
    fn new(effect: Effect, code: &'static str, determining: &[&Rule]) -> Self {
        Self {
            effect,
            visible: true,
            determining: determining.iter().map(|rule| Arc::clone(&rule.about)).collect(),
            reason: None,
            instead: None,
            code,
            approval: None,
            obligations: Vec::new(),
            cacheable: false,
            errors: Vec::new(),
        }
    }

    /// A denial of a tool the caller may not know of.
    pub(crate) fn unseen(code: &'static str) -> Self {
        Self { visible: false, cacheable: true, ..Self::new(Effect::Deny, code, &[]) }
    }
}

fn does_not_fit(misfit: &Misfit) -> Decision {
    let what = match (misfit.argument.as_str(), misfit.part) {
        ("", _) => "The arguments are not an object".to_owned(),
        (argument, Part::Name) => {
            format!("The argument `{argument}` differs from one that the tool declares in upper and lower case only")
        }
        (argument, Part::Value) => {
            format!("The argument `{argument}` does not have the type or range that the tool declares")
        }
    };
    let reason = Some(format!("{what}, and a policy looks at it."));
    Decision { reason, ..Decision::new(Effect::Deny, code::ARGUMENTS_DO_NOT_FIT, &[]) }
}

/// Who may approve, when forbids that hold ask for it.
fn approval(forbids: &[&Rule]) -> Option<Approval> {
    let asked: Vec<&Approval> = forbids.iter().filter_map(|rule| rule.annotations.approval.as_ref()).collect();
    let mut approvers: Vec<String> = Vec::new();
    for approver in asked.iter().flat_map(|approval| &approval.approvers) {
        if !approvers.contains(approver) {
            approvers.push(approver.clone());
        }
    }
    let within_s = asked.iter().filter_map(|approval| approval.within_s).min();
    (!asked.is_empty()).then_some(Approval { approvers, within_s })
}

/// The context without `arguments` and `approved`: of it, what is read.
fn pairs(reads: &Reads, asked: &Asked<'_>) -> Pairs {
    let context = asked.context;
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let mut pairs = Pairs::new();
    let mut add = |name: &str, value: Option<RestrictedExpression>| {
        pairs.extend(value.map(|value| (name.to_owned(), value)));
    };
    if reads.context("now") {
        let now = context.now.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        add("now", Some(RestrictedExpression::new_datetime(now)));
    }
    if reads.context("ip") {
        add("ip", context.ip.map(|ip| RestrictedExpression::new_ip(ip.to_canonical().to_string())));
    }
    if reads.context("client") {
        let name = context.client_name.map(|name| ("name".to_owned(), text(name)));
        let version = context.client_version.map(|version| ("version".to_owned(), text(version)));
        add("client", RestrictedExpression::new_record(name.into_iter().chain(version)).ok());
    }
    if reads.context("token") {
        let age = (context.now - asked.issued_at).num_seconds();
        let fields =
            [("kind".to_owned(), text("gateway")), ("ageSeconds".to_owned(), RestrictedExpression::new_long(age))];
        add("token", RestrictedExpression::new_record(fields).ok());
    }
    if reads.context("session") {
        let labels = context.seen_labels.map(|labels| {
            let labels = labels.iter().map(|label| uid(&TYPES.label, label.as_str()));
            RestrictedExpression::new_set(labels.map(RestrictedExpression::new_entity_uid))
        });
        let seen = labels.map(|labels| ("seenLabels".to_owned(), labels));
        add("session", RestrictedExpression::new_record(seen).ok());
    }
    pairs
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::schema::{self, action_name};

    #[test]
    fn the_context_that_is_built_conforms_to_the_schema() {
        let definition = r#"{"inputSchema":{"properties":{"s":{"type":"string"},"l":{"type":"integer"},"d":{"type":"number"},
            "b":{"type":"boolean"},"a":{"type":"array","items":{"type":"string"}},
            "r":{"properties":{"x":{"type":"integer"}},"required":["x"]}},"required":["s","l","d","b","a","r"]}}"#;
        let arguments = r#"{"s":"x","l":1.0,"d":2,"b":true,"a":["p","q"],"r":{"x":1},"other":[]}"#;
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let (fields, left_out) = shape::arguments("erp/all", &raw(definition));
        assert_eq!(left_out, []);
        let schema = schema::of([("erp/all", &fields)].into_iter()).unwrap();
        let seen: BTreeSet<domain::Label> = ["customer-data".parse().unwrap()].into();
        for (ip, name) in [(Some("2001:db8::1".parse().unwrap()), Some("x")), (None, None)] {
            let now = "2026-11-20T09:00:00.123Z".parse().unwrap();
            let context = CallContext { now, ip, client_name: name, client_version: name, seen_labels: Some(&seen) };
            let asked = Asked { context: &context, arguments: &raw(arguments), issued_at: DateTime::UNIX_EPOCH };
            let mut pairs = pairs(&Reads::all(), &asked);
            pairs.push(("approved".to_owned(), RestrictedExpression::new_bool(false)));
            let obliging = Context::from_pairs(pairs.clone()).unwrap();
            obliging.validate(&schema, &uid(&TYPES.action, OBLIGE)).unwrap();
            let arguments = shape::values(&fields, asked.arguments, |_| true).unwrap();
            pairs.push(("arguments".to_owned(), arguments));
            let calling = Context::from_pairs(pairs).unwrap();
            calling.validate(&schema, &uid(&TYPES.action, &action_name("erp/all"))).unwrap();
        }
    }
}
