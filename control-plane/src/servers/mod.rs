//! Upstream servers: registering and probing them, and the review of what they offer.

pub(crate) mod actions;
mod add_pages;
mod api;
mod callers;
mod calls_pages;
mod change;
mod definition;
mod diff;
mod held;
mod item_api;
mod item_definition;
mod item_review;
mod item_rows;
mod looks;
mod pages;
mod probe_api;
mod relay;
mod review;
mod review_api;
pub(crate) mod review_pages;
mod risk;
mod sandbox_pages;
mod settings_pages;
mod tool_pages;
mod tools_pages;
mod usage;
mod version_pages;
mod watch;
mod whole;

use axum::extract::FromRef;
use domain::{Annotations, Clock};
use secrets::Store;
use url::Url;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Access;
use crate::credentials;

pub(crate) use api::ServerPath;
pub use looks::Looks;
pub(crate) use pages::{Condition, Head, routes as page_routes};
pub use relay::Relay;
pub use watch::Watch;

/// What this feature needs.
#[derive(Debug, Clone, FromRef)]
pub(crate) struct Needs {
    pub(crate) access: Access,
    pub(crate) clock: Clock,
    pub(crate) relay: Relay,
    pub(crate) store: Store,
    pub(crate) sandbox: Sandbox,
    pub(crate) credentials: credentials::Needs,
}

/// A server to try Sluice with, if this deployment has one.
#[derive(Debug, Clone, Default)]
pub struct Sandbox(pub Option<Url>);

/// What a stored definition claims of its tool.
pub(crate) fn annotations(definition: &str) -> Annotations {
    definition::Definition::read(definition).map(|read| read.annotations).unwrap_or_default()
}

pub(crate) fn routes(needs: Needs) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(api::list, api::add))
        .routes(routes!(api::get, api::change, api::remove))
        .routes(routes!(api::pause))
        .routes(routes!(api::resume))
        .routes(routes!(probe_api::probe))
        .routes(routes!(probe_api::probe_server))
        .routes(routes!(probe_api::import))
        .routes(routes!(review_api::list_versions))
        .routes(routes!(review_api::get_version))
        .routes(routes!(review_api::accept))
        .routes(routes!(review_api::reject))
        .routes(routes!(review_api::list_tools))
        .routes(routes!(review_api::change_tool))
        .routes(routes!(item_api::list_items))
        .routes(routes!(item_api::change_item))
        .with_state(needs)
}
