//! What one caller sees: worked out once for a principal and a revision. Callers who see the same share the listing.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use domain::Principal;
use mcp::{Era, Json};
use moka::sync::Cache;
use policy::{CallerView, Visibility};

use super::{Catalog, Exposed};

/// Most tools on a page of `tools/list`.
const PAGE: usize = 500;
/// Most different sets of tools whose pages a tenant keeps written out.
const SETS: u64 = 64;

/// What one caller sees of a tenant's tools, and the policies that hold for it.
#[derive(Debug)]
pub struct View {
    /// Whose view it is.
    pub principal: Principal,
    /// The policies that hold for this caller.
    pub policy: CallerView,
    /// The listed tools, indexes into the catalog.
    listed: Vec<usize>,
    /// SHA-256 over them: equal for all who see the same.
    set: [u8; 32],
}

/// The pages of a tenant's lists, written out, by the set of tools they show.
#[derive(Debug)]
pub struct Listings(Cache<[u8; 32], Arc<Listing>>);

/// The pages of one set, made when first asked for: for modern and for legacy clients.
#[derive(Debug, Default)]
struct Listing([OnceLock<Vec<Bytes>>; 2]);

/// A page of `tools/list`.
#[derive(Debug, Clone)]
pub struct Page {
    /// The JSON array of definitions.
    pub tools: Bytes,
    /// The place at which the next page begins.
    pub next: Option<usize>,
}

impl View {
    /// Works out what the principal sees.
    #[must_use]
    pub fn new(principal: Principal, policy: CallerView, catalog: &Catalog) -> Self {
        let is_listed = |tool: &Exposed| {
            principal.scope.covers(tool.server_id, tool.id) && !matches!(policy.visibility(tool.id), Visibility::Hidden)
        };
        let tools = (0..).zip(catalog.tools());
        let listed: Vec<usize> = tools.filter(|(_, tool)| is_listed(tool)).map(|(index, _)| index).collect();
        let bytes: Vec<u8> = listed.iter().flat_map(|index| index.to_be_bytes()).collect();
        Self { principal, policy, listed, set: secrets::sha256(&bytes) }
    }

    /// How many tools are listed.
    #[must_use]
    pub fn listed(&self) -> usize {
        self.listed.len()
    }
}

impl Default for Listings {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(SETS).build())
    }
}

impl Listings {
    /// The page that begins at a place in the view's list; `None` where none begins.
    #[must_use]
    pub fn page(&self, view: &View, catalog: &Catalog, era: Era, place: usize) -> Option<Page> {
        let listing = self.0.get_with(view.set, Arc::default);
        let slot = match era {
            Era::Modern => &listing.0[0],
            Era::Legacy => &listing.0[1],
        };
        let pages = slot.get_or_init(|| written(view, catalog, era));
        let tools = pages.get(place / PAGE).filter(|_| place.is_multiple_of(PAGE))?.clone();
        let next = place + PAGE;
        Some(Page { tools, next: (next < view.listed.len()).then_some(next) })
    }
}

fn written(view: &View, catalog: &Catalog, era: Era) -> Vec<Bytes> {
    let page = |tools: &[usize]| {
        let definitions = tools.iter().map(|index| catalog.tools()[*index].listing(era).raw());
        Bytes::from(Json::array(definitions).into_string())
    };
    if view.listed.is_empty() { vec![page(&[])] } else { view.listed.chunks(PAGE).map(page).collect() }
}
