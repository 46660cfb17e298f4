//! What one principal meets in a tenant's world.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, OnceLock};

use cedar_policy::{Entities, Entity, EntityUid, PolicySet, RestrictedExpression};
use chrono::{DateTime, Utc};
use domain::{GroupName, Principal, Role, TokenScope, ToolId, UserId};
use serde_json::value::RawValue;

use crate::decide::{Asked, Question};
use crate::listing::{Explanation, Visibility};
use crate::reads::Reads;
use crate::schema::{TYPES, uid};
use crate::world::Compiled;
use crate::{CallContext, Decision, code};

/// What one principal meets: kept as long as the principal and the revision. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CallerView {
    world: Arc<Compiled>,
    /// None when the principal reaches nothing here: it is of another tenant.
    reach: Option<Reach>,
    issued_at: DateTime<Utc>,
}

#[derive(Debug, Clone)]
struct Reach {
    class: Arc<Class>,
    scope: Arc<TokenScope>,
}

/// What is worked out for all principals that no policy can tell apart.
#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) principal: EntityUid,
    /// The world's entities with the principal's.
    pub(crate) entities: Entities,
    /// For each rule, whether its principal constraint may match.
    matching: Vec<bool>,
    /// One for each tool.
    cells: Box<[Cell]>,
}

/// Who is told apart by policies.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClassKey {
    pub(crate) groups: BTreeSet<GroupName>,
    pub(crate) role: Role,
    /// The person, when a rule names them.
    pub(crate) user: Option<UserId>,
}

/// One tool for one class, worked out when it is first asked for.
#[derive(Debug, Default)]
struct Cell {
    known: OnceLock<Known>,
    /// Only where decisions depend on the call.
    slices: OnceLock<Box<Slices>>,
}

/// What is known of a tool before any call.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) visibility: Visibility,
    /// The decision, when it depends on nothing in the call.
    pub(crate) settled: Option<Arc<Decision>>,
}

/// The rules that may match a principal's calls of a tool.
#[derive(Debug)]
pub(crate) struct Slices {
    pub(crate) calls: Slice,
    pub(crate) obliges: Slice,
}

/// Rules, and what they look at.
#[derive(Debug)]
pub(crate) struct Slice {
    /// None, which denies, were two rules of one id.
    pub(crate) policies: Option<PolicySet>,
    pub(crate) reads: Reads,
}

impl CallerView {
    pub(crate) fn new(world: Arc<Compiled>, class: Option<Arc<Class>>, principal: &Principal) -> Self {
        let class = class.filter(|_| principal.tenant == world.tenant);
        let reach = class.map(|class| Reach { class, scope: Arc::new(principal.scope.clone()) });
        Self { world, reach, issued_at: principal.issued_at }
    }

    /// Decides one call. `arguments` is the call's `arguments` object, free of duplicate keys; `{}` when there is none.
    ///
    /// An argument that policies look at and that is there, but not of its declared type (or an integer beyond 64 bits, or a
    /// number with more than four decimal places), denies the call: taken for absent, it would slip past a forbid that asks
    /// `has`. A required argument that is absent, and read, is an evaluation error and denies as well.
    #[must_use]
    pub fn decide(&self, tool: ToolId, context: &CallContext<'_>, arguments: &RawValue) -> Arc<Decision> {
        let (class, place) = match self.find(tool) {
            Ok(found) => found,
            Err(code) => return Arc::new(Decision::unseen(code)),
        };
        let known = class.known(&self.world, place);
        if let Some(settled) = &known.settled {
            return Arc::clone(settled);
        }
        let (tool, slices) = (&self.world.tools[place], class.slices(&self.world, place));
        let question = Question { world: &self.world, class, tool, slices };
        Arc::new(question.answer(&Asked { context, arguments, issued_at: self.issued_at }, &known.visibility))
    }

    /// Whether decisions about this principal's calls of the tool may look at what it has read, so that
    /// [`CallContext::seen_labels`] is needed; without it the answer is the same.
    #[must_use]
    pub fn reads_seen_labels(&self, tool: ToolId) -> bool {
        let Ok((class, place)) = self.find(tool) else { return false };
        if class.known(&self.world, place).settled.is_some() {
            return false;
        }
        let slices = class.slices(&self.world, place);
        slices.calls.reads.seen_labels() || slices.obliges.reads.seen_labels()
    }

    /// Whether the tool is shown to this principal.
    #[must_use]
    pub fn visibility(&self, tool: ToolId) -> Visibility {
        match self.find(tool) {
            Ok((class, place)) => class.known(&self.world, place).visibility.clone(),
            Err(_) => Visibility::Hidden,
        }
    }

    /// The tools this principal sees, in the snapshot's order, hidden ones left out. The first time costs some microseconds
    /// a tool.
    pub fn visible(&self) -> impl Iterator<Item = (ToolId, &Visibility)> {
        let reached = self.world.tools.iter().filter_map(|tool| Some((tool.id, self.find(tool.id).ok()?)));
        let all = reached.map(|(tool, (class, place))| (tool, &class.known(&self.world, place).visibility));
        all.filter(|(_, visibility)| **visibility != Visibility::Hidden)
    }

    /// What becomes of this principal's calls of a tool, as far as it can be said before any; nothing for a tool the world
    /// does not have.
    #[must_use]
    pub fn explain(&self, tool: ToolId) -> Option<Explanation> {
        let wanted = &self.world.tools[*self.world.places.get(&tool)?];
        let Ok((class, place)) = self.find(tool) else { return Some(Explanation::outside_scope(wanted)) };
        let slices = class.slices(&self.world, place);
        let question = Question { world: &self.world, class, tool: wanted, slices };
        Some(question.explain(class.known(&self.world, place)))
    }

    /// The tool's place, if the token reaches it.
    fn find(&self, tool: ToolId) -> Result<(&Class, usize), &'static str> {
        let place = *self.world.places.get(&tool).ok_or(code::UNKNOWN_TOOL)?;
        let reach = self.reach.as_ref().ok_or(code::OUTSIDE_TOKEN_SCOPE)?;
        let covered = reach.scope.covers(self.world.tools[place].server, tool);
        if covered { Ok((&reach.class, place)) } else { Err(code::OUTSIDE_TOKEN_SCOPE) }
    }
}

impl Class {
    pub(crate) fn new(world: &Compiled, key: &ClassKey) -> Option<Self> {
        // Whom no rule names is everybody: no policy can tell, and no message may.
        let user = key.user.map_or_else(|| "anybody".to_owned(), |user| user.to_string());
        let principal = uid(&TYPES.user, &user);
        let groups: HashSet<EntityUid> = key.groups.iter().map(|group| uid(&TYPES.group, group.as_str())).collect();
        let matching = |rule: &crate::rule::Rule| {
            rule.principal.as_ref().is_none_or(|entity| *entity == principal || groups.contains(entity))
        };
        Some(Self {
            matching: world.rules.iter().map(matching).collect(),
            entities: entities(world, key, &principal, &groups)?,
            cells: world.tools.iter().map(|_| Cell::default()).collect(),
            principal,
        })
    }

    fn known(&self, world: &Compiled, place: usize) -> &Known {
        self.cells[place].known.get_or_init(|| {
            let slices = self.slice(world, place);
            Question { world, class: self, tool: &world.tools[place], slices: &slices }.known()
        })
    }

    fn slices(&self, world: &Compiled, place: usize) -> &Slices {
        self.cells[place].slices.get_or_init(|| Box::new(self.slice(world, place)))
    }

    /// A slice may only leave out what can't match.
    fn slice(&self, world: &Compiled, place: usize) -> Slices {
        let slice = |places: &[usize]| {
            let rules = places.iter().filter(|place| self.matching[**place]).map(|place| &world.rules[*place]);
            let mut reads = Reads::default();
            let policies = rules.inspect(|rule| reads.join(&rule.reads)).map(|rule| rule.policy.clone());
            Slice { policies: PolicySet::from_policies(policies).ok(), reads }
        };
        let tool = &world.tools[place];
        Slices { calls: slice(&tool.calls), obliges: slice(&tool.obliges) }
    }
}

/// The world's entities with the principal's. None, which reaches nothing, if the values were not what entities can hold.
fn entities(world: &Compiled, key: &ClassKey, principal: &EntityUid, groups: &HashSet<EntityUid>) -> Option<Entities> {
    let roles = RestrictedExpression::new_set([RestrictedExpression::new_string(key.role.as_str().to_owned())]);
    let kind = RestrictedExpression::new_string("user".to_owned());
    let attributes = [("roles".to_owned(), roles), ("kind".to_owned(), kind)].into();
    let person = Entity::new(principal.clone(), attributes, groups.clone()).ok()?;
    let own = groups.iter().cloned().map(Entity::with_uid).chain([person]);
    world.entities.clone().add_entities(own, None).ok()
}
