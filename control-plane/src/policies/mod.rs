//! Policies: texts with versions, checked against the tenant's own tools, put in force and rolled back.

pub(crate) mod actions;
mod api;
mod begin_pages;
mod check_api;
mod edit_pages;
mod highlight;
pub(crate) mod live_pages;
mod own_pages;
mod pages;
pub(crate) mod reach;
mod reach_pages;
mod version_pages;
pub(crate) mod worlds;

pub(crate) use own_pages::seen_by;

use axum::Router;
use axum::extract::FromRef;
use axum::routing::{get, post};
use domain::Clock;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Access;
use crate::publish::Live;

/// What this feature needs.
#[derive(Debug, Clone, FromRef)]
pub(crate) struct Needs {
    pub(crate) access: Access,
    pub(crate) clock: Clock,
    /// What the nodes say of themselves.
    pub(crate) live: Live,
}

pub(crate) fn page_routes(needs: Needs) -> Router {
    let at = |path: &str| format!("/w/{{tenant}}/policies{path}");
    Router::new()
        .route("/w/{tenant}/access", get(own_pages::show))
        .route(&at(""), get(pages::list))
        .route(&at("/new"), get(edit_pages::start).post(edit_pages::add))
        .route(&at("/begin"), post(begin_pages::begin))
        .route(&at("/check"), post(edit_pages::check))
        .route(&at("/words"), get(edit_pages::words))
        .route(&at("/live"), get(live_pages::live))
        .route(&at("/access"), get(reach_pages::show))
        .route(&at("/{policy}"), get(edit_pages::edit).post(edit_pages::write))
        .route(&at("/{policy}/deactivate"), post(version_pages::deactivate))
        .route(&at("/{policy}/remove"), post(version_pages::remove))
        .route(&at("/{policy}/versions/{version}"), get(version_pages::show))
        .route(&at("/{policy}/versions/{version}/publish"), post(version_pages::publish))
        .with_state(needs)
}

pub(crate) fn routes(needs: Needs) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(api::list, api::add))
        .routes(routes!(api::get, api::remove))
        .routes(routes!(api::list_versions, api::write))
        .routes(routes!(api::get_version))
        .routes(routes!(api::activate))
        .routes(routes!(api::deactivate))
        .routes(routes!(check_api::check))
        .routes(routes!(check_api::list_packs))
        .with_state(needs)
}
