//! Checks a policy text: syntax, types, annotations, and the names of the tenant's own things.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use cedar_policy::{
    ActionConstraint, Effect, EntityUid, Policy, PolicySet, ValidationMode, ValidationWarning, Validator,
};
use domain::UserId;
use miette::Diagnostic;

use crate::annotation::{self, Annotations};
use crate::nesting;
use crate::schema::{self, TOOLS_CALL, TYPES, uid};
use crate::shape::{self, Fields, LeftOut};
use crate::suggest::suggestion;
use crate::{CompileError, Finding, Severity, Vocabulary};

/// The longest policy text, in bytes.
const TEXT_MAX: usize = 256 * 1024;
/// Most findings of a text, roughly: nobody reads more, and to find the place of each takes as long as the text is.
const FINDINGS_MAX: usize = 100;
/// Most rules of a text that is written now: each is checked against every tool there is.
const RULES_MAX: usize = 1_000;

/// Checks a policy text against a tenant's own tools, for an editor: where it is empty of errors, [`crate::World::compile`]
/// takes the text.
#[must_use]
pub fn validate(text: &str, vocabulary: &Vocabulary) -> Vec<Finding> {
    match Checker::new(vocabulary) {
        Ok(checker) => checker.check(text),
        Err(error) => vec![Finding::error(text, 0, error.to_string())],
    }
}

/// Texts whose check a [`Checker`] remembers, and their bytes, at most.
const REMEMBERED_MAX: (usize, usize) = (256, 1024 * 1024);

/// What a tenant's policies may say: made once, it checks any number of texts, and remembers what it checked. Cheap to clone.
#[derive(Clone)]
pub struct Checker(Arc<Inner>);

struct Inner {
    language: Language,
    checked: Mutex<HashMap<String, Arc<Checked>>>,
}

impl Checker {
    /// Makes it of a tenant's servers and tools. With hundreds of tools it costs as much as compiling their policies.
    ///
    /// # Errors
    /// [`CompileError::Schema`] when no schema could be made of the tools.
    pub fn new(vocabulary: &Vocabulary) -> Result<Self, CompileError> {
        Ok(Self(Arc::new(Inner { language: Language::new(vocabulary)?, checked: Mutex::default() })))
    }

    pub(crate) fn language(&self) -> &Language {
        &self.0.language
    }

    /// Checks a text, or says again what it said of it: with hundreds of tools it takes milliseconds.
    pub(crate) fn checked(&self, text: &str) -> Arc<Checked> {
        let lock = || self.0.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(checked) = lock().get(text) {
            return Arc::clone(checked);
        }
        // Nobody waits for this: twice at once, it comes to the same.
        let checked = Arc::new(self.0.language.check(text));
        let mut known = lock();
        let bytes = known.keys().map(String::len).sum::<usize>() + text.len();
        if known.len() >= REMEMBERED_MAX.0 || bytes > REMEMBERED_MAX.1 {
            known.clear();
        }
        known.insert(text.to_owned(), Arc::clone(&checked));
        checked
    }

    /// As [`validate`].
    #[must_use]
    pub fn check(&self, text: &str) -> Vec<Finding> {
        // A rule ends with a semicolon, and so may other things: only where there are many are they counted.
        if text.matches(';').count() > RULES_MAX && parse(text).is_ok_and(|rules| rules.policies().count() > RULES_MAX)
        {
            let message = format!("a text has at most {RULES_MAX} rules: write several policies");
            return vec![Finding::error(text, 0, message)];
        }
        self.checked(text).findings.clone()
    }
}

impl fmt::Debug for Checker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Checker").field("tools", &self.language().tools.len()).finish_non_exhaustive()
    }
}

/// Everything a tenant's policies may say.
pub(crate) struct Language {
    validator: Validator,
    /// As policies name them, in the vocabulary's order.
    pub(crate) tools: Vec<(String, Fields)>,
    /// The arguments no policy can name.
    pub(crate) left_out: Vec<LeftOut>,
    servers: BTreeSet<String>,
    labels: BTreeSet<String>,
    groups: Option<BTreeSet<String>>,
    tenant: String,
}

/// A text that was checked. The rules are usable when no finding is an error.
pub(crate) struct Checked {
    pub(crate) rules: Vec<(Policy, Annotations)>,
    pub(crate) findings: Vec<Finding>,
}

impl Language {
    pub(crate) fn new(vocabulary: &Vocabulary) -> Result<Self, CompileError> {
        let (mut tools, mut left_out) = (Vec::new(), Vec::new());
        for server in &vocabulary.servers {
            for tool in &server.tools {
                let name = schema::tool_name(&server.key, &tool.name);
                let (fields, left) = shape::arguments(&name, &tool.definition);
                tools.push((name, fields));
                left_out.extend(left);
            }
        }
        let schema = schema::of(tools.iter().map(|(name, fields)| (name.as_str(), fields)))?;
        let labels = vocabulary.servers.iter().flat_map(|server| {
            server.labels.iter().chain(server.tools.iter().flat_map(|tool| &tool.labels)).map(ToString::to_string)
        });
        Ok(Self {
            validator: Validator::new(schema),
            left_out,
            servers: vocabulary.servers.iter().map(|server| server.key.to_string()).collect(),
            labels: labels.collect(),
            groups: vocabulary.groups.as_ref().map(|groups| groups.iter().map(ToString::to_string).collect()),
            tenant: vocabulary.tenant.to_string(),
            tools,
        })
    }

    pub(crate) fn check(&self, text: &str) -> Checked {
        let mut findings = Vec::new();
        let policies = match parse(text) {
            Ok(policies) => policies,
            Err(findings) => return Checked { rules: Vec::new(), findings },
        };
        findings.extend(self.types(text, &policies));
        let mut ids = BTreeSet::new();
        let mut rules = Vec::new();
        for policy in policies.policies() {
            let (annotations, wrong) = annotation::read(policy);
            if findings.len() >= FINDINGS_MAX {
                rules.push((policy.clone(), annotations));
                continue;
            }
            let place = |key: &str| annotation_place(policy, key);
            findings.extend(wrong.into_iter().map(|(key, message)| Finding::error(text, place(&key), message)));
            if let Some(id) = annotations.id.as_ref().filter(|id| !ids.insert((*id).clone())) {
                findings.push(Finding::error(text, place("id"), format!("another rule has the id `{id}` already")));
            }
            findings.extend(habits(text, policy, &annotations));
            findings.extend(self.names(text, policy));
            rules.push((policy.clone(), annotations));
        }
        findings.sort();
        findings.dedup();
        Checked { rules, findings }
    }

    /// Strict validation. A rule that can never apply is an error: what it protects is not protected.
    fn types(&self, text: &str, policies: &PolicySet) -> Vec<Finding> {
        let result = self.validator.validate(policies, ValidationMode::Strict);
        let mut wrong = BTreeSet::new();
        let mut findings = Vec::new();
        // Cedar repeats itself for each tool's action.
        let mut told = BTreeSet::new();
        for error in result.validation_errors() {
            wrong.insert(error.policy_id());
            if told.insert((error.policy_id(), offset(error))) {
                findings.push(described(text, Severity::Error, error, error.policy_id().as_ref()));
            }
            if findings.len() >= FINDINGS_MAX {
                break;
            }
        }
        for warning in result.validation_warnings() {
            if findings.len() >= FINDINGS_MAX {
                break;
            }
            let message = match warning {
                ValidationWarning::InvalidActionApplication(_) => {
                    "this rule can never apply: the action is never taken on such a resource"
                }
                ValidationWarning::ImpossiblePolicy(_) => {
                    "this rule can never apply: its condition is false for every call"
                }
                _ => {
                    findings.push(described(text, Severity::Warning, warning, warning.policy_id().as_ref()));
                    continue;
                }
            };
            // Once for each rule, and not where it only follows from an error.
            if wrong.insert(warning.policy_id()) {
                let at = policies.policy(warning.policy_id()).map_or(0, place);
                findings.push(Finding::error(text, at, message));
            }
        }
        findings.sort();
        findings.dedup_by_key(|finding| (finding.line, finding.column, finding.severity));
        findings
    }

    /// What Cedar can't know: whether the tools, servers, labels, groups and people a rule names are the tenant's.
    fn names(&self, text: &str, policy: &Policy) -> Vec<Finding> {
        let mut findings = Vec::new();
        for literal in policy.entity_literals() {
            if findings.len() >= FINDINGS_MAX {
                break;
            }
            let id = literal.id().unescaped();
            let at = literal_place(text, policy, &literal);
            let kind = literal.type_name();
            let tools = || self.tools.iter().map(|(name, _)| name.as_str());
            let found = if *kind == TYPES.tool && tools().all(|name| name != id) {
                Finding::error(text, at, format!("there is no tool `{id}`{}", suggestion(id, tools())))
            } else if *kind == TYPES.server && !self.servers.contains(id) {
                let known = self.servers.iter().map(String::as_str);
                Finding::error(text, at, format!("there is no server `{id}`{}", suggestion(id, known)))
            } else if *kind == TYPES.label && !self.labels.contains(id) {
                let known = self.labels.iter().map(String::as_str);
                Finding::warning(text, at, format!("no server or tool has the label `{id}`{}", suggestion(id, known)))
            } else if let Some(groups) =
                self.groups.as_ref().filter(|groups| *kind == TYPES.group && !groups.contains(id))
            {
                let known = groups.iter().map(String::as_str);
                Finding::warning(text, at, format!("there is no group `{id}`{}", suggestion(id, known)))
            } else if *kind == TYPES.user && id.parse::<UserId>().is_err() {
                Finding::error(
                    text,
                    at,
                    format!("`{id}` is not a user's id, which looks like `usr_` and 26 characters"),
                )
            } else if *kind == TYPES.tenant && id != self.tenant {
                Finding::error(text, at, format!("this tenant's id is `{}`", self.tenant))
            } else {
                continue;
            };
            findings.push(found);
        }
        findings
    }
}

pub(crate) fn parse(text: &str) -> Result<PolicySet, Vec<Finding>> {
    if text.len() > TEXT_MAX {
        return Err(vec![Finding::error(text, 0, format!("the text is longer than {TEXT_MAX} bytes"))]);
    }
    let (deep, at) = nesting::depth(text);
    if deep > nesting::DEPTH_MAX {
        let message = "too many brackets or operators in one another: use several rules, or `[…].contains(…)`";
        return Err(vec![Finding::error(text, at, message)]);
    }
    let policies: PolicySet = match text.parse() {
        Ok(policies) => policies,
        Err(errors) => {
            let errors: cedar_policy::ParseErrors = errors;
            let first = errors.iter().take(FINDINGS_MAX);
            return Err(first.map(|error| described(text, Severity::Error, error, "")).collect());
        }
    };
    if policies.num_of_templates() > 0 {
        let at = text.find("?principal").or_else(|| text.find("?resource")).unwrap_or(0);
        return Err(vec![Finding::error(
            text,
            at,
            "templates are not used here: write the principal or resource itself",
        )]);
    }
    Ok(policies)
}

/// Where in the text a diagnostic of Cedar's is.
fn offset(diagnostic: &dyn Diagnostic) -> usize {
    diagnostic.labels().and_then(|mut labels| labels.next()).map_or(0, |label| label.offset())
}

/// A diagnostic of Cedar's with its place, and its advice behind it.
fn described(text: &str, severity: Severity, diagnostic: &dyn Diagnostic, policy: &str) -> Finding {
    let message = diagnostic.to_string();
    let message = message.strip_prefix(&format!("for policy `{policy}`, ")).unwrap_or(&message);
    let advice = diagnostic.help().map(|help| format!("; {help}")).unwrap_or_default();
    let at = offset(diagnostic);
    let message = format!("{message}{advice}");
    match severity {
        Severity::Error => Finding::error(text, at, message),
        Severity::Warning => Finding::warning(text, at, message),
    }
}

/// What is valid and yet not meant.
fn habits(text: &str, policy: &Policy, annotations: &Annotations) -> Vec<Finding> {
    let at = place(policy);
    let mut findings = Vec::new();
    if policy.action_constraint() == ActionConstraint::Eq(uid(&TYPES.action, TOOLS_CALL)) {
        let message =
            "no call has this action itself, only members of it: write `action in Sluice::Action::\"tools/call\"`";
        findings.push(Finding::error(text, at, message));
    }
    if annotation::is_obliging(policy) {
        if policy.effect() == Effect::Forbid {
            findings.push(Finding::error(text, at, "`oblige` only adds obligations: there is nothing to forbid"));
        } else if annotations.obligations.is_empty() {
            findings.push(Finding::warning(
                text,
                at,
                "this rule adds no obligation: it has no `@redact`, `@mask` or other",
            ));
        }
    }
    let approvable = policy.to_json().is_ok_and(|json| crate::reads::Reads::of(&json).context("approved"));
    if annotations.approval.is_some() && !approvable {
        let message = "this can never be approved: end the rule with `unless { context.approved }`";
        findings.push(Finding::error(text, annotation_place(policy, "decision"), message));
    }
    findings
}

/// Where a policy begins in its text. Cedar keeps its places where only its core's types show them.
fn place(policy: &Policy) -> usize {
    policy.as_ref().loc().map_or(0, |loc| loc.span.offset())
}

fn annotation_place(policy: &Policy, key: &str) -> usize {
    let annotations = policy.as_ref().annotations().find(|(name, _)| AsRef::<str>::as_ref(*name) == key);
    annotations
        .and_then(|(_, annotation)| annotation.loc.as_ref())
        .map_or_else(|| place(policy), |loc| loc.span.offset())
}

/// Where a rule names an entity: Cedar says which it names, not where.
fn literal_place(text: &str, policy: &Policy, literal: &EntityUid) -> usize {
    let start = place(policy);
    let rest = text.get(start..).unwrap_or_default();
    start + rest.find(&literal.to_string()).unwrap_or(0)
}
