//! What one principal meets in a tenant's world.

use std::sync::Arc;

use domain::ToolId;
use serde_json::value::RawValue;

use crate::{CallContext, Decision, Effect, code};

/// What one principal meets: kept as long as the principal and the revision.
#[derive(Debug, Clone)]
pub struct CallerView(pub(crate) ());

/// Whether a tool is shown to a principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visibility {
    /// Listed: some call to it may be allowed.
    Listed,
    /// Listed, but no call to it will be allowed, and the forbids that say so want to be read.
    ListedDenied {
        /// The forbid's `@reason`.
        reason: Option<String>,
        /// The forbid's `@instead`.
        instead: Option<String>,
    },
    /// Not listed; calling it looks like calling an unknown tool.
    Hidden,
}

impl CallerView {
    /// Decides one call. `arguments` is the call's `arguments` object, free of duplicate keys; `{}` when there is none.
    #[must_use]
    pub fn decide(&self, _tool: ToolId, _context: &CallContext<'_>, _arguments: &RawValue) -> Arc<Decision> {
        Arc::new(Decision {
            effect: Effect::Deny,
            visible: false,
            determining: Vec::new(),
            reason: None,
            instead: None,
            code: code::UNKNOWN_TOOL,
            approval: None,
            obligations: Vec::new(),
            cacheable: false,
            errors: Vec::new(),
        })
    }

    /// Whether the tool is shown to this principal.
    #[must_use]
    pub fn visibility(&self, _tool: ToolId) -> Visibility {
        Visibility::Hidden
    }

    /// The tools this principal sees, in the snapshot's order, hidden ones left out.
    pub fn visible(&self) -> impl Iterator<Item = (ToolId, Visibility)> {
        std::iter::empty()
    }
}
