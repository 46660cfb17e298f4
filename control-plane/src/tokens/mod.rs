//! Tokens: for the gateway and for this API; each is shown once.

pub(crate) mod actions;
mod api;
mod issue_pages;
pub(crate) mod issued_pages;
mod pages;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::routing::get;
use domain::Clock;
use url::Url;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Access;
use crate::console::Site;

/// What this feature needs.
#[derive(Debug, Clone, FromRef)]
pub(crate) struct Needs {
    pub(crate) access: Access,
    pub(crate) clock: Clock,
    /// Where clients reach the data plane.
    pub(crate) gateway_url: Arc<Url>,
    /// Where the API is.
    pub(crate) site: Site,
}

pub(crate) fn page_routes(needs: Needs) -> Router {
    let at = |path: &str| format!("/w/{{tenant}}/tokens{path}");
    Router::new()
        .route(&at(""), get(pages::list))
        .route(&at("/new"), get(issue_pages::start).post(issue_pages::issue))
        .route(&at("/gateway/{token}/issued"), get(issued_pages::gateway))
        .route(&at("/api/{token}/issued"), get(issued_pages::api))
        .route(&at("/gateway/{token}"), get(pages::gateway).post(pages::revoke_gateway))
        .route(&at("/api/{token}"), get(pages::api).post(pages::revoke_api))
        .with_state(needs)
}

pub(crate) fn routes(needs: Needs) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(api::list_gateway, api::issue_gateway))
        .routes(routes!(api::revoke_gateway))
        .routes(routes!(api::list_api, api::issue_api))
        .routes(routes!(api::revoke_api))
        .with_state(needs)
}
