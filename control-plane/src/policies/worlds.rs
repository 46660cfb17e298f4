//! Tenants' policies in force, compiled against their tools, and kept for as long as neither changes: with hundreds of tools
//! compiling takes far longer than a page may, and pages ask for the same again and again. Most changes of a configuration
//! touch neither, and one of a policy leaves the tools: what is made of these alone goes on.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use domain::{GroupName, PolicyText, Principal, Role, TenantId, UserId};
use policy::packs::{Count, Pack};
use policy::{CallerView, Checker, CompileError, Vocabulary, World};
use store::{TenantTx, people, policies, tenants};

use super::actions::{PolicyError, vocabulary};

/// Most tenants that are kept; the one asked for longest ago goes first.
const TENANTS_MAX: usize = 16;
/// A tenant whose tools' definitions are longer, bytes, is worked out each time.
const DEFINITIONS_MAX: usize = 4 * 1024 * 1024;
/// Most people of a tenant for whom what is worked out is kept.
const PEOPLE_MAX: usize = 256;

/// One for the process: what is kept is named by tenant and revision.
static KEPT: Mutex<VecDeque<Kept>> = Mutex::new(VecDeque::new());

/// What is kept of a tenant, and the revision of its configuration it was last found to be of.
#[derive(Debug, Clone)]
struct Kept {
    tenant: TenantId,
    revision: u64,
    present: Arc<Present>,
}

/// Who is told apart by policies, at most.
type Kind = (Role, BTreeSet<GroupName>, UserId);

/// What a tenant's policies may speak of, and what is in force.
#[derive(Debug)]
pub(crate) struct Present {
    pub(crate) vocabulary: Arc<Vocabulary>,
    pub(crate) texts: Vec<PolicyText>,
    language: Arc<Language>,
    world: OnceLock<Result<World, String>>,
    /// A world remembers what it works out for somebody while a view of theirs lives.
    views: Mutex<HashMap<Kind, CallerView>>,
}

/// What is made of a vocabulary alone.
#[derive(Debug, Default)]
struct Language {
    checker: OnceLock<Result<Checker, String>>,
    packs: OnceLock<Result<[(Pack, Count); 3], String>>,
}

/// Reads it, or finds it kept. What takes long is done when it is asked for, outside of the transaction.
pub(crate) async fn present(tx: &mut TenantTx) -> Result<Arc<Present>, store::Error> {
    // Read first: what changes meanwhile is newer than its name, and is read anew under the next one.
    let (_, revision) = tenants::get_settings(tx).await?;
    let groups: BTreeSet<_> = people::list(tx).await?.into_iter().flat_map(|member| member.groups).collect();
    let before = find(tx.tenant());
    let is_it = |kept: &Kept| kept.revision == revision && kept.present.vocabulary.groups.as_ref() == Some(&groups);
    if let Some(kept) = before.as_ref().filter(|kept| is_it(kept)) {
        return Ok(Arc::clone(&kept.present));
    }
    let (vocabulary, texts) = (vocabulary(tx).await?, policies::list_active(tx).await?);
    let present = Present::after(before.map(|kept| kept.present), vocabulary, texts);
    keep(Kept { tenant: tx.tenant(), revision, present: Arc::clone(&present) });
    Ok(present)
}

/// Finds what is kept, and remembers that it was asked for.
fn find(tenant: TenantId) -> Option<Kept> {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let place = kept.iter().position(|one| one.tenant == tenant)?;
    let found = kept.remove(place)?;
    kept.push_front(found.clone());
    Some(found)
}

fn keep(new: Kept) {
    let tools = new.present.vocabulary.servers.iter().flat_map(|server| &server.tools);
    let is_long = tools.map(|tool| tool.definition.get().len()).sum::<usize>() > DEFINITIONS_MAX;
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.retain(|one| one.tenant != new.tenant);
    if !is_long {
        kept.push_front(new);
        kept.truncate(TENANTS_MAX);
    }
}

impl Present {
    /// What is now, with all of what was before that still holds.
    fn after(before: Option<Arc<Self>>, vocabulary: Vocabulary, texts: Vec<PolicyText>) -> Arc<Self> {
        let before = before.filter(|before| *before.vocabulary == vocabulary);
        if let Some(before) = before.as_ref().filter(|before| before.texts == texts) {
            return Arc::clone(before);
        }
        let (vocabulary, language) = match before {
            Some(before) => (Arc::clone(&before.vocabulary), Arc::clone(&before.language)),
            None => (Arc::new(vocabulary), Arc::default()),
        };
        Arc::new(Self { vocabulary, texts, language, world: OnceLock::new(), views: Mutex::default() })
    }

    /// What the policies may say. Takes long the first time: call it [`super::actions::aside`].
    pub(crate) fn checker(&self) -> Result<&Checker, PolicyError> {
        self.language
            .checker
            .get_or_init(|| Checker::new(&self.vocabulary).map_err(|error| said(&error)))
            .as_ref()
            .map_err(|said| why(said))
    }

    /// The policies in force. Takes long the first time.
    pub(crate) fn world(&self) -> Result<&World, PolicyError> {
        let checker = self.checker()?;
        let compile = || World::compile_by(checker, &self.vocabulary, &self.texts).map_err(|error| said(&error));
        self.world.get_or_init(compile).as_ref().map_err(|said| why(said))
    }

    /// What each pack alone would do. Takes a moment the first time.
    pub(crate) fn packs(&self) -> Result<&[(Pack, Count)], PolicyError> {
        let count = || Pack::count_all(&self.vocabulary).map_err(|error| said(&error));
        let counted = self.language.packs.get_or_init(count);
        counted.as_ref().map(<[_; 3]>::as_slice).map_err(|said| why(said))
    }

    /// What somebody meets in the policies in force.
    pub(crate) fn caller(&self, principal: &Principal) -> Result<CallerView, PolicyError> {
        let view = self.world()?.caller(principal);
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        if views.len() >= PEOPLE_MAX {
            views.clear();
        }
        views.insert((principal.role, principal.groups.clone(), principal.user), view.clone());
        Ok(view)
    }
}

fn said(error: &CompileError) -> String {
    tracing::warn!(%error, "the policies in force do not compile against the tenant's tools of now");
    error.to_string()
}

fn why(said: &str) -> PolicyError {
    PolicyError::NotCompiled(said.to_owned())
}

#[cfg(test)]
mod tests {
    use domain::{Annotations, EraPin, PolicyId, RiskClass, ServerId, SessionMode, ToolId};
    use policy::{ServerWords, ToolWords};
    use serde_json::value::RawValue;
    use uuid::Uuid;

    use super::*;

    fn vocabulary(definition: &str) -> Vocabulary {
        let tool = ToolWords {
            id: ToolId::from_uuid(Uuid::from_u128(3)),
            name: "read".to_owned(),
            risk: RiskClass::Read,
            labels: BTreeSet::new(),
            annotations: Annotations::default(),
            definition: RawValue::from_string(definition.to_owned()).unwrap(),
        };
        let server = ServerWords {
            id: ServerId::from_uuid(Uuid::from_u128(2)),
            key: "wiki".parse().unwrap(),
            era: EraPin::default(),
            sessions: SessionMode::default(),
            labels: BTreeSet::new(),
            tools: vec![tool],
        };
        Vocabulary { tenant: TenantId::from_uuid(Uuid::from_u128(1)), servers: vec![server], groups: None }
    }

    fn text(version: u32) -> PolicyText {
        let text = format!("@id(\"v{version}\")\npermit (principal, action, resource);");
        PolicyText {
            id: PolicyId::from_uuid(Uuid::from_u128(4)),
            version,
            name: "All".to_owned(),
            text,
            sha256: String::new(),
        }
    }

    #[test]
    fn a_change_compiles_again_only_what_it_touches() {
        let (old, new) = (r#"{"name":"read"}"#, r#"{"name":"read","description":"Reads."}"#);
        let first = Present::after(None, vocabulary(old), vec![text(1)]);
        first.world().unwrap();
        let elsewhere = Present::after(Some(Arc::clone(&first)), vocabulary(old), vec![text(1)]);
        assert!(Arc::ptr_eq(&first, &elsewhere), "neither tools nor policies are others");
        let of_policy = Present::after(Some(first), vocabulary(old), vec![text(2)]);
        assert!(Arc::ptr_eq(&elsewhere.language, &of_policy.language) && of_policy.language.checker.get().is_some());
        assert!(of_policy.world.get().is_none(), "what is in force is not what was");
        let of_tool = Present::after(Some(Arc::clone(&of_policy)), vocabulary(new), vec![text(2)]);
        assert!(of_tool.language.checker.get().is_none() && *of_tool.vocabulary != *of_policy.vocabulary);
    }
}
