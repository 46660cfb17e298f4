//! Who may call a server's tools, as the policies in force have it.

use std::collections::HashMap;
use std::sync::Arc;

use domain::{Permission, Principal, TokenId, TokenScope, ToolId};
use policy::{Outcome, Visibility, Vocabulary};
use store::TenantTx;
use store::people::{self, Membership};

use crate::policies::actions::aside;
use crate::policies::reach;
use crate::policies::worlds::{self, Present};

/// Most kinds of people who are asked about; where policies tell more of them apart, nothing is said.
const KINDS_MAX: usize = 200;
/// Most people one tool is explained for.
pub(super) const EXPLAINED_MAX: usize = 50;

/// What is needed to say who may call; read within a transaction, worked out outside.
#[derive(Debug)]
pub(super) struct Asked {
    present: Arc<Present>,
    people: Vec<Membership>,
}

/// Reads what is needed.
pub(super) async fn ask(tx: &mut TenantTx) -> Result<Asked, store::Error> {
    let mut people = people::list(tx).await?;
    people.retain(|person| person.role.allows(Permission::CallTools));
    Ok(Asked { present: worlds::present(tx).await?, people })
}

/// Who may call.
#[derive(Debug, Clone, Default)]
pub(super) struct Callers {
    people: usize,
    by_tool: HashMap<ToolId, usize>,
}

impl Callers {
    /// In words; `–` where it could not be worked out.
    pub(super) fn of(&self, tool: ToolId) -> String {
        let may = self.by_tool.get(&tool).copied().unwrap_or_default();
        match (may, self.people) {
            (_, 0) => "–".to_owned(),
            (0, _) => "Nobody".to_owned(),
            (may, people) if may == people => "Everybody".to_owned(),
            (may, people) => format!("{may} of {people} people"),
        }
    }
}

/// Counts for each tool who sees it, which is who may call it at least sometimes.
pub(super) async fn count(asked: Asked) -> Callers {
    let counted = aside(move || {
        let Asked { present, people } = asked;
        let mut callers = Callers { people: people.len(), by_tool: HashMap::new() };
        let texts: Vec<&str> = present.texts.iter().map(|text| text.text.as_str()).collect();
        let kinds = reach::kinds(people, &texts);
        if kinds.len() > KINDS_MAX {
            return None;
        }
        for kind in &kinds {
            let Some(person) = kind.first() else { continue };
            let view = present.caller(&principal(&present.vocabulary, person)).ok()?;
            for (tool, visibility) in view.visible() {
                if *visibility == Visibility::Listed {
                    *callers.by_tool.entry(tool).or_default() += kind.len();
                }
            }
        }
        Some(callers)
    });
    counted.await.flatten().unwrap_or_default()
}

/// What becomes of one person's calls of a tool.
#[derive(Debug, Clone)]
pub(super) struct Explained {
    pub(super) name: String,
    pub(super) role: &'static str,
    pub(super) outcome: &'static str,
    /// A status' kind.
    pub(super) kind: &'static str,
    /// The policies that make it so.
    pub(super) policies: String,
}

/// Explains one tool, person by person.
pub(super) async fn explain(asked: Asked, tool: ToolId) -> Vec<Explained> {
    let explained = aside(move || {
        let people = asked.people.iter().take(EXPLAINED_MAX);
        Some(people.filter_map(|person| explained(&asked.present, person, tool)).collect())
    });
    explained.await.flatten().unwrap_or_default()
}

fn explained(present: &Present, person: &Membership, tool: ToolId) -> Option<Explained> {
    let found = present.caller(&principal(&present.vocabulary, person)).ok()?.explain(tool)?;
    let (outcome, kind) = match found.outcome {
        Outcome::Allowed => ("May call it", "ok"),
        Outcome::Depends => ("Depends on the call", "wait"),
        Outcome::Denied if found.visibility == Visibility::Hidden => ("Does not see it", ""),
        Outcome::Denied => ("Denied", "deny"),
    };
    let mut names: Vec<Arc<str>> = Vec::new();
    for policy in &found.policies {
        let name: Arc<str> = policy.name.as_str().into();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Some(Explained {
        name: person.name.clone(),
        role: crate::console::role_name(person.role),
        outcome,
        kind,
        policies: names.join(", "),
    })
}

/// The person as a token of theirs that reaches everything would be.
fn principal(vocabulary: &Vocabulary, person: &Membership) -> Principal {
    Principal {
        tenant: vocabulary.tenant,
        user: person.user,
        token: TokenId::from_uuid(uuid::Uuid::nil()),
        role: person.role,
        groups: person.groups.clone(),
        scope: TokenScope::default(),
        issued_at: chrono::DateTime::UNIX_EPOCH,
        expires_at: chrono::DateTime::UNIX_EPOCH,
    }
}
