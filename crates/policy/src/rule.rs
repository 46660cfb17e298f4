//! One Cedar policy of a tenant's, ready to be sliced: which calls its scope can match at all.

use std::sync::Arc;

use cedar_policy::{ActionConstraint, EntityUid, Policy, PolicyId, PrincipalConstraint, ResourceConstraint};
use domain::PolicyText;

use crate::annotation::{self, Annotations};
use crate::decision::{Determining, RuleEffect};
use crate::reads::Reads;

/// One Cedar policy, with what its scope names.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Its id in Cedar is its place among the rules.
    pub(crate) policy: Policy,
    /// How it is named in decisions and records.
    pub(crate) about: Arc<Determining>,
    pub(crate) annotations: Annotations,
    /// What of the context it looks at.
    pub(crate) reads: Reads,
    /// The entity the principal must be or lie in; none when any principal may match.
    pub(crate) principal: Option<EntityUid>,
    /// The actions that may match; none when any may.
    actions: Option<Vec<EntityUid>>,
    /// The entity the resource must be or lie in; none when any resource may match.
    pub(crate) resource: Option<EntityUid>,
    /// Whether it is about obligations and nothing else.
    pub(crate) obliges: bool,
}

impl Rule {
    pub(crate) fn new(place: usize, text: &PolicyText, policy: &Policy, annotations: Annotations) -> Self {
        let effect = match policy.effect() {
            cedar_policy::Effect::Permit => RuleEffect::Permit,
            cedar_policy::Effect::Forbid => RuleEffect::Forbid,
        };
        let about = Determining {
            policy: text.id,
            version: text.version,
            sha256: text.sha256.clone(),
            name: annotations.name.clone().unwrap_or_else(|| text.name.clone()),
            rule: annotations.id.clone(),
            effect,
        };
        Self {
            policy: policy.new_id(PolicyId::new(place.to_string())),
            about: Arc::new(about),
            reads: policy.to_json().map_or_else(|_| Reads::all(), |json| Reads::of(&json)),
            // A kind of constraint without an entity may match anything: a slice leaves out only what can't match.
            principal: match policy.principal_constraint() {
                PrincipalConstraint::Eq(entity)
                | PrincipalConstraint::In(entity)
                | PrincipalConstraint::IsIn(_, entity) => Some(entity),
                PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
            },
            actions: match policy.action_constraint() {
                ActionConstraint::Any => None,
                ActionConstraint::Eq(action) => Some(vec![action]),
                ActionConstraint::In(actions) => Some(actions),
            },
            resource: match policy.resource_constraint() {
                ResourceConstraint::Eq(entity)
                | ResourceConstraint::In(entity)
                | ResourceConstraint::IsIn(_, entity) => Some(entity),
                ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
            },
            obliges: annotation::is_obliging(policy),
            annotations,
        }
    }

    /// Whether its action constraint may match one of these (an action and the groups it is in).
    pub(crate) fn may_match_action(&self, actions: &[EntityUid]) -> bool {
        self.actions.as_ref().is_none_or(|own| own.iter().any(|action| actions.contains(action)))
    }
}
