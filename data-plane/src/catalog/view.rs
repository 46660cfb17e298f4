//! What one caller sees: worked out once for a principal and a revision, then only copied out.

use std::sync::OnceLock;

use bytes::Bytes;
use domain::Principal;
use mcp::tools::{Side, list_result};
use mcp::{Era, Json, Raw};
use policy::{CallerView, Visibility};

use super::{Catalog, Exposed};

/// Most tools on a page of `tools/list`.
const PAGE: usize = 500;
/// For how long a client may keep a list without asking again, milliseconds.
const LIST_TTL_MS: u64 = 10_000;

/// What one caller sees of a tenant's tools, and the policies that hold for it.
#[derive(Debug)]
pub struct View {
    /// Whose view it is.
    pub principal: Principal,
    /// The policies that hold for this caller.
    pub policy: CallerView,
    /// The listed tools, indexes into the catalog.
    listed: Vec<usize>,
    /// The results of `tools/list`, page by page, made when first asked for: for modern and for legacy clients.
    pages: [OnceLock<Vec<Bytes>>; 2],
}

impl View {
    /// Works out what the principal sees.
    #[must_use]
    pub fn new(principal: Principal, policy: CallerView, catalog: &Catalog) -> Self {
        let is_listed = |tool: &Exposed| {
            principal.scope.covers(tool.server_id, tool.id) && !matches!(policy.visibility(tool.id), Visibility::Hidden)
        };
        let listed = (0..).zip(catalog.tools()).filter(|(_, tool)| is_listed(tool)).map(|(index, _)| index).collect();
        Self { principal, policy, listed, pages: Default::default() }
    }

    /// How many tools are listed.
    #[must_use]
    pub fn listed(&self) -> usize {
        self.listed.len()
    }

    /// The result of `tools/list` from that tool on, by its place in this list; `None` where no page begins.
    ///
    /// `cursor` makes the text that names a place.
    #[must_use]
    pub fn page(
        &self,
        catalog: &Catalog,
        side: &Side<'_>,
        place: usize,
        cursor: impl Fn(usize) -> String,
    ) -> Option<Bytes> {
        let slot = match side.era {
            Era::Modern => 0,
            Era::Legacy => 1,
        };
        let pages = self.pages[slot].get_or_init(|| self.render(catalog, side, cursor));
        place.is_multiple_of(PAGE).then(|| pages.get(place / PAGE).cloned()).flatten()
    }

    fn render(&self, catalog: &Catalog, side: &Side<'_>, cursor: impl Fn(usize) -> String) -> Vec<Bytes> {
        let definitions: Vec<Raw<'_>> =
            self.listed.iter().map(|index| catalog.tools()[*index].listing(side.era)).map(Json::raw).collect();
        let write = |tools: &[Raw<'_>], next: Option<String>| {
            Bytes::from(list_result(tools, next.as_deref(), LIST_TTL_MS, side).into_string())
        };
        if definitions.is_empty() {
            return vec![write(&[], None)];
        }
        let page = |(number, tools): (usize, &[Raw<'_>])| {
            let end = (number + 1) * PAGE;
            write(tools, (end < definitions.len()).then(|| cursor(end)))
        };
        definitions.chunks(PAGE).enumerate().map(page).collect()
    }
}
