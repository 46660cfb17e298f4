//! A tenant, ready to be served: everything that can be worked out from its snapshot is worked out once, here.

use std::sync::Arc;

use audit::args::ArgumentsKey;
use domain::{Principal, Secret, Server, TenantSnapshot, TokenId};
use mcp::Json;
use moka::sync::Cache;
use policy::World;
use secrets::{NodeKeys, UnwrapError};

use crate::catalog::{Catalog, Listings, View};
use crate::upstream::{CLIENT_NAME, CLIENT_VERSION, Upstream, Upstreams};

/// Most callers whose views a tenant keeps.
const VIEWS: u64 = 4_000;

/// What a node has that every tenant needs.
#[derive(Clone)]
pub struct CompileParts {
    /// Open the tenant's own keys.
    pub keys: Arc<NodeKeys>,
    /// The connections, sessions and learned eras that outlive a revision.
    pub upstreams: Upstreams,
}

/// A tenant as it is served: one snapshot, compiled. Immutable but for caches.
pub struct Tenant {
    /// What was published.
    pub snapshot: TenantSnapshot,
    /// Its tools under the names clients see.
    pub catalog: Catalog,
    /// How each of its servers is reached, in the snapshot's order.
    pub upstreams: Vec<Arc<Upstream>>,
    /// What clients are told about the gateway: an `Implementation`.
    pub server_info: Json,
    /// What clients are told about the tools as a whole.
    pub instructions: Option<String>,
    /// Makes the HMACs of arguments and results in records.
    pub arguments_key: ArgumentsKey,
    /// Epoch and revision, as records name them.
    pub config_version: Arc<str>,
    /// Opens its sealed credentials.
    pub(crate) data_key: Secret<[u8; 32]>,
    /// Its lists, written out.
    pub(crate) listings: Listings,
    /// Whether any of its policies looks at what a principal has read.
    pub(crate) reads_seen_labels: bool,
    world: World,
    views: Cache<TokenId, Arc<View>>,
}

/// Why a snapshot can't be served; the node goes on with the one it has.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// One of the tenant's keys does not open with our master key.
    #[error("the tenant's key does not open")]
    Key(#[from] UnwrapError),
    /// A policy is wrong.
    #[error(transparent)]
    Policy(#[from] policy::CompileError),
}

impl std::fmt::Debug for CompileParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompileParts").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Tenant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let TenantSnapshot { tenant, revision, .. } = &self.snapshot;
        f.debug_struct("Tenant").field("id", tenant).field("revision", revision).finish_non_exhaustive()
    }
}

impl Tenant {
    /// Compiles a snapshot. Costs milliseconds; asks nobody.
    ///
    /// # Errors
    /// [`CompileError`] when it can't be served: publishing checks the same, so this means a bug or another program's hand.
    pub fn compile(snapshot: TenantSnapshot, parts: &CompileParts) -> Result<Self, CompileError> {
        let world = World::new(&snapshot)?;
        let arguments_key = parts.keys.master.unwrap(snapshot.tenant, &snapshot.arguments_key)?;
        Ok(Self {
            catalog: Catalog::new(&snapshot),
            upstreams: snapshot.servers.iter().map(|server| parts.upstreams.reach(snapshot.tenant, server)).collect(),
            server_info: server_info(&snapshot),
            instructions: instructions(&snapshot),
            arguments_key: ArgumentsKey::new(&snapshot.arguments_key.id, arguments_key.expose()),
            config_version: format!("{}.{}", snapshot.epoch, snapshot.revision).into(),
            data_key: parts.keys.master.unwrap(snapshot.tenant, &snapshot.data_key)?,
            listings: Listings::default(),
            reads_seen_labels: world.reads_seen_labels(),
            world,
            views: Cache::builder().max_capacity(VIEWS).build(),
            snapshot,
        })
    }

    /// What this principal sees here; worked out at its first call in this revision.
    #[must_use]
    pub fn view(&self, principal: &Principal) -> Arc<View> {
        // A token's record may be written anew, with other groups or another scope: then the kept view is not its.
        if let Some(view) = self.views.get(&principal.token)
            && view.principal == *principal
        {
            return view;
        }
        let view = Arc::new(View::new(principal.clone(), self.world.caller(principal), &self.catalog));
        self.views.insert(principal.token, Arc::clone(&view));
        view
    }

    /// The server a tool belongs to, and the way to it.
    #[must_use]
    pub fn server(&self, index: usize) -> Option<(&Server, &Arc<Upstream>)> {
        self.snapshot.servers.get(index).zip(self.upstreams.get(index))
    }
}

fn server_info(snapshot: &TenantSnapshot) -> Json {
    let mut writer = mcp::json::Writer::object();
    writer.text("name", CLIENT_NAME);
    writer.text("title", &snapshot.title);
    writer.text("version", CLIENT_VERSION);
    writer.finish()
}

/// Longest instructions of one server, in characters.
const INSTRUCTIONS_EACH: usize = 1_000;
/// Longest instructions of all servers, in characters.
const INSTRUCTIONS_ALL: usize = 8_000;

/// The servers' reviewed instructions under their aliases; `None` when no server has any.
fn instructions(snapshot: &TenantSnapshot) -> Option<String> {
    let mut text = String::new();
    for server in &snapshot.servers {
        let Some(own) = &server.instructions else { continue };
        let clean = own.chars().filter(|letter| !letter.is_control() || *letter == '\n').take(INSTRUCTIONS_EACH);
        text.push_str("## ");
        text.push_str(server.alias.as_str());
        text.push('\n');
        text.extend(clean);
        text.push_str("\n\n");
    }
    let text = text.trim_end();
    (!text.is_empty()).then(|| text.chars().take(INSTRUCTIONS_ALL).collect())
}
