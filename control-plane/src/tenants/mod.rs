//! Tenants: making one, what it says about itself, and the first one of a new deployment.

pub(crate) mod actions;
mod api;
mod live_api;
mod pages;

pub(crate) use api::TenantPath;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::routing::get;
use domain::Clock;
use secrets::MasterKey;
use url::Url;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Access;
use crate::publish::Live;

/// What this feature needs.
#[derive(Debug, Clone, FromRef)]
pub(crate) struct Needs {
    pub(crate) access: Access,
    pub(crate) clock: Clock,
    pub(crate) master: Arc<MasterKey>,
    /// Where clients reach the data plane.
    pub(crate) gateway_url: Arc<Url>,
    /// What the nodes say of themselves.
    pub(crate) live: Live,
    /// How many tenants a person may make.
    pub(crate) tenants_per_person: u32,
}

pub(crate) fn routes(needs: Needs) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(api::create))
        .routes(routes!(api::get, api::change))
        .routes(routes!(live_api::live))
        .with_state(needs)
}

pub(crate) fn page_routes(needs: Needs) -> Router {
    Router::new().route("/w/{tenant}/settings", get(pages::open).post(pages::change)).with_state(needs)
}
