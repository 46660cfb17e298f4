//! A tenant's policies, compiled against its own tools.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use cedar_policy::{Entities, Entity, EntityUid, RestrictedExpression};
use domain::{
    PolicyId, PolicyText, Principal, RiskClass, ServerId, SessionMode, TenantId, TenantSnapshot, ToolId, UserId,
};

use crate::caller::{CallerView, Class, ClassKey};
use crate::check::Checker;
use crate::rule::Rule;
use crate::schema::{OBLIGE, TOOLS_CALL, TYPES, action_name, tool_name, uid};
use crate::shape::{Fields, LeftOut};
use crate::vocabulary::{ServerWords, ToolWords};
use crate::{Finding, Severity, Vocabulary};

/// A tenant's policies, compiled against its own tools: one for each revision. Cheap to clone.
#[derive(Debug, Clone)]
pub struct World(pub(crate) Arc<Compiled>);

/// What a [`World`] holds.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) tenant: TenantId,
    pub(crate) rules: Vec<Rule>,
    /// In the snapshot's order.
    pub(crate) tools: Vec<ToolWorld>,
    pub(crate) places: HashMap<ToolId, usize>,
    /// Tenant, servers, labels and tools.
    pub(crate) entities: Entities,
    /// People whom a rule names; everybody else differs only by groups and role.
    named: HashSet<UserId>,
    left_out: Vec<LeftOut>,
    /// What is worked out for one kind of principal, as long as a view of it lives.
    classes: Mutex<HashMap<ClassKey, Weak<Class>>>,
}

/// A tool, and the rules whose action and resource may match it.
#[derive(Debug)]
pub(crate) struct ToolWorld {
    pub(crate) id: ToolId,
    pub(crate) server: ServerId,
    /// `<server key>/<name>`
    pub(crate) name: String,
    pub(crate) resource: EntityUid,
    pub(crate) action: EntityUid,
    pub(crate) arguments: Fields,
    /// Rules about a call of it, as places among the rules.
    pub(crate) calls: Vec<usize>,
    /// Rules that may oblige.
    pub(crate) obliges: Vec<usize>,
}

/// Why a tenant's policies can't be used. Whoever publishes refuses such a configuration.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// Policies are wrong.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Policies(Vec<PolicyFinding>),
    /// Two tools of one server have the same name.
    #[error("the tool `{0}` exists twice")]
    ToolTwice(String),
    /// No schema could be made of the tools.
    #[error("no schema could be made of the tools: {0}")]
    Schema(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No entities could be made of the servers and tools.
    #[error("no entities could be made of the servers and tools: {0}")]
    Entities(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What is wrong with one of a tenant's policies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy `{name}`, {finding}")]
pub struct PolicyFinding {
    /// The policy.
    pub policy: PolicyId,
    /// Its name for people.
    pub name: String,
    /// What is wrong, and where.
    pub finding: Finding,
}

impl World {
    /// Compiles a snapshot's policies. Costs milliseconds; done once per revision.
    ///
    /// # Errors
    /// [`CompileError`] when a policy does not validate against the snapshot's own tools.
    pub fn new(snapshot: &TenantSnapshot) -> Result<Self, CompileError> {
        Self::compile(&Vocabulary::from(snapshot), &snapshot.policies)
    }

    /// Compiles policies against a vocabulary, for whoever has no snapshot.
    ///
    /// # Errors
    /// As [`World::new`].
    pub fn compile(vocabulary: &Vocabulary, policies: &[PolicyText]) -> Result<Self, CompileError> {
        Self::compile_by(&Checker::new(vocabulary)?, vocabulary, policies)
    }

    /// Compiles by a checker that was made of the same vocabulary.
    ///
    /// # Errors
    /// As [`World::new`].
    pub fn compile_by(
        checker: &Checker,
        vocabulary: &Vocabulary,
        policies: &[PolicyText],
    ) -> Result<Self, CompileError> {
        let language = checker.language();
        let rules = rules(checker, policies)?;
        let entities = entities(vocabulary)?;
        let tools = tools(vocabulary, language.tools.clone(), &rules, &entities);
        Ok(Self(Arc::new(Compiled {
            tenant: vocabulary.tenant,
            places: tools.iter().enumerate().map(|(place, tool)| (tool.id, place)).collect(),
            named: named(&rules),
            rules,
            tools,
            entities,
            left_out: language.left_out.clone(),
            classes: Mutex::default(),
        })))
    }

    /// The arguments no policy can speak about, because no Cedar type fits their schema.
    #[must_use]
    pub fn left_out(&self) -> &[LeftOut] {
        &self.0.left_out
    }

    /// Whether any policy looks at what a principal has read: then it must be kept, from the first call on.
    #[must_use]
    pub fn reads_seen_labels(&self) -> bool {
        self.0.rules.iter().any(|rule| rule.reads.seen_labels())
    }

    /// What this principal meets. Keep it for as long as the principal and the revision: it remembers what it works out.
    /// A principal of another tenant reaches nothing.
    #[must_use]
    pub fn caller(&self, principal: &Principal) -> CallerView {
        let key = ClassKey {
            groups: principal.groups.clone(),
            role: principal.role,
            user: Some(principal.user).filter(|user| self.0.named.contains(user)),
        };
        CallerView::new(Arc::clone(&self.0), self.0.class(key), principal)
    }
}

impl Compiled {
    fn class(&self, key: ClassKey) -> Option<Arc<Class>> {
        let mut classes = self.classes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(class) = classes.get(&key).and_then(Weak::upgrade) {
            return Some(class);
        }
        classes.retain(|_, class| class.strong_count() > 0);
        let class = Arc::new(Class::new(self, &key)?);
        classes.insert(key, Arc::downgrade(&class));
        Some(class)
    }
}

fn rules(checker: &Checker, policies: &[PolicyText]) -> Result<Vec<Rule>, CompileError> {
    let (mut rules, mut wrong) = (Vec::new(), Vec::new());
    for text in policies {
        let found = checker.checked(&text.text);
        for (policy, annotations) in &found.rules {
            rules.push(Rule::new(rules.len(), text, policy, annotations.clone()));
        }
        let errors = found.findings.iter().filter(|finding| finding.severity == Severity::Error).cloned();
        wrong.extend(errors.map(|finding| PolicyFinding { policy: text.id, name: text.name.clone(), finding }));
    }
    if wrong.is_empty() { Ok(rules) } else { Err(CompileError::Policies(wrong)) }
}

/// People whom a rule names.
fn named(rules: &[Rule]) -> HashSet<UserId> {
    let literals = rules.iter().flat_map(|rule| rule.policy.entity_literals());
    literals
        .filter(|literal| *literal.type_name() == TYPES.user)
        .filter_map(|user| user.id().unescaped().parse().ok())
        .collect()
}

fn tools(
    vocabulary: &Vocabulary,
    arguments: Vec<(String, Fields)>,
    rules: &[Rule],
    entities: &Entities,
) -> Vec<ToolWorld> {
    let mut by_resource: HashMap<Option<&EntityUid>, Vec<usize>> = HashMap::new();
    for (place, rule) in rules.iter().enumerate() {
        by_resource.entry(rule.resource.as_ref()).or_default().push(place);
    }
    let all = vocabulary.servers.iter().flat_map(|server| server.tools.iter().map(move |tool| (server.id, tool.id)));
    all.zip(arguments)
        .map(|((server, id), (name, arguments))| {
            let resource = uid(&TYPES.tool, &name);
            let action = uid(&TYPES.action, &action_name(&name));
            let above = entities.ancestors(&resource).into_iter().flatten();
            let lineage = above.chain([&resource]).map(Some).chain([None]);
            let mut candidates: Vec<usize> =
                lineage.filter_map(|entity| by_resource.get(&entity)).flatten().copied().collect();
            candidates.sort_unstable();
            let call = [action.clone(), uid(&TYPES.action, TOOLS_CALL)];
            let oblige = [uid(&TYPES.action, OBLIGE)];
            let matching = |actions: &[EntityUid], wanted: fn(&Rule) -> bool| {
                let rule = |place: &&usize| {
                    rules.get(**place).is_some_and(|rule| wanted(rule) && rule.may_match_action(actions))
                };
                candidates.iter().filter(rule).copied().collect()
            };
            let calls = matching(&call, |rule| !rule.obliges);
            let obliges = matching(&oblige, |rule| rule.obliges);
            ToolWorld { id, server, name, resource, action, arguments, calls, obliges }
        })
        .collect()
}

fn entities(vocabulary: &Vocabulary) -> Result<Entities, CompileError> {
    let tenant = uid(&TYPES.tenant, &vocabulary.tenant.to_string());
    let mut all = vec![Entity::with_uid(tenant.clone())];
    let mut labels = BTreeSet::new();
    for server in &vocabulary.servers {
        labels.extend(&server.labels);
        all.push(server_entity(server, &tenant)?);
        for tool in &server.tools {
            labels.extend(&tool.labels);
            all.push(tool_entity(server, tool)?);
            // `action in Action::"tools/call"` is a question about entities.
            let action = uid(&TYPES.action, &action_name(&tool_name(&server.key, &tool.name)));
            all.push(Entity::new_no_attrs(action, [uid(&TYPES.action, TOOLS_CALL)].into()));
        }
    }
    all.extend(labels.into_iter().map(|label| Entity::with_uid(uid(&TYPES.label, label.as_str()))));
    Entities::from_entities(all, None).map_err(|error| CompileError::Entities(error.into()))
}

fn server_entity(server: &ServerWords, tenant: &EntityUid) -> Result<Entity, CompileError> {
    let parents = server.labels.iter().map(|label| uid(&TYPES.label, label.as_str())).chain([tenant.clone()]);
    let attributes = [
        ("era", text(server.era.as_str())),
        ("transport", text("streamable-http")),
        ("shared", RestrictedExpression::new_bool(server.sessions == SessionMode::Shared)),
    ];
    entity(uid(&TYPES.server, server.key.as_str()), attributes, parents)
}

fn tool_entity(server: &ServerWords, tool: &ToolWords) -> Result<Entity, CompileError> {
    let parents = tool.labels.iter().map(|label| uid(&TYPES.label, label.as_str()));
    let parents = parents.chain([uid(&TYPES.server, server.key.as_str())]);
    let destructive = match tool.risk {
        RiskClass::Read | RiskClass::Write => false,
        RiskClass::Destructive => true,
        RiskClass::Network | RiskClass::Execute | RiskClass::SecretBearing => tool.annotations.destructive,
    };
    let attributes = [
        ("name", text(&tool.name)),
        ("risk", text(tool.risk.as_str())),
        ("readOnly", RestrictedExpression::new_bool(tool.risk == RiskClass::Read)),
        ("destructive", RestrictedExpression::new_bool(destructive)),
        ("idempotent", RestrictedExpression::new_bool(tool.annotations.idempotent)),
        ("openWorld", RestrictedExpression::new_bool(tool.annotations.open_world)),
        // A vocabulary holds accepted tools only.
        ("reviewed", RestrictedExpression::new_bool(true)),
    ];
    entity(uid(&TYPES.tool, &tool_name(&server.key, &tool.name)), attributes, parents)
}

fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

fn entity<const N: usize>(
    uid: EntityUid,
    attributes: [(&str, RestrictedExpression); N],
    parents: impl Iterator<Item = EntityUid>,
) -> Result<Entity, CompileError> {
    let attributes = attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Entity::new(uid, attributes, parents.collect()).map_err(|error| CompileError::Entities(error.into()))
}
