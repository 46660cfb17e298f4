//! Tenants' policies in force, compiled against their tools, and kept for as long as neither changes: with hundreds of tools
//! compiling takes far longer than a page may, and pages ask for the same again and again.

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
static KEPT: Mutex<VecDeque<Arc<Present>>> = Mutex::new(VecDeque::new());

/// Who is told apart by policies, at most.
type Kind = (Role, BTreeSet<GroupName>, UserId);

/// What a tenant's policies may speak of, and what is in force, at one revision of its configuration.
#[derive(Debug)]
pub(crate) struct Present {
    tenant: TenantId,
    revision: u64,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) texts: Vec<PolicyText>,
    checker: OnceLock<Result<Checker, String>>,
    world: OnceLock<Result<World, String>>,
    packs: OnceLock<Result<Vec<(Pack, Count)>, String>>,
    /// A world remembers what it works out for somebody while a view of theirs lives.
    views: Mutex<HashMap<Kind, CallerView>>,
}

/// Reads it, or finds it kept. What takes long is done when it is asked for, outside of the transaction.
pub(crate) async fn present(tx: &mut TenantTx) -> Result<Arc<Present>, store::Error> {
    // Read first: what changes meanwhile is newer than its name, and is read anew under the next one.
    let (_, revision) = tenants::get_settings(tx).await?;
    let groups = people::list(tx).await?.into_iter().flat_map(|member| member.groups).collect();
    if let Some(kept) = find(tx.tenant(), revision, &groups) {
        return Ok(kept);
    }
    let present = Arc::new(Present {
        tenant: tx.tenant(),
        revision,
        vocabulary: vocabulary(tx).await?,
        texts: policies::list_active(tx).await?,
        checker: OnceLock::new(),
        world: OnceLock::new(),
        packs: OnceLock::new(),
        views: Mutex::default(),
    });
    keep(&present);
    Ok(present)
}

/// Finds what is kept, and remembers that it was asked for.
fn find(tenant: TenantId, revision: u64, groups: &BTreeSet<GroupName>) -> Option<Arc<Present>> {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let is_it = |one: &Arc<Present>| {
        (one.tenant, one.revision) == (tenant, revision) && one.vocabulary.groups.as_ref() == Some(groups)
    };
    let place = kept.iter().position(is_it)?;
    let found = kept.remove(place)?;
    kept.push_front(Arc::clone(&found));
    Some(found)
}

fn keep(present: &Arc<Present>) {
    let tools = present.vocabulary.servers.iter().flat_map(|server| &server.tools);
    if tools.map(|tool| tool.definition.get().len()).sum::<usize>() > DEFINITIONS_MAX {
        return;
    }
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.retain(|one| one.tenant != present.tenant);
    kept.push_front(Arc::clone(present));
    kept.truncate(TENANTS_MAX);
}

impl Present {
    /// What the policies may say. Takes long the first time: call it [`super::actions::aside`].
    pub(crate) fn checker(&self) -> Result<&Checker, PolicyError> {
        self.checker
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

    /// What each pack alone would do. Takes long the first time.
    pub(crate) fn packs(&self) -> Result<&[(Pack, Count)], PolicyError> {
        let checker = self.checker()?;
        let count = |pack: Pack| Ok((pack, pack.count_by(checker, &self.vocabulary).map_err(|error| said(&error))?));
        let counted = self.packs.get_or_init(|| Pack::ALL.into_iter().map(count).collect());
        counted.as_ref().map(Vec::as_slice).map_err(|said| why(said))
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
