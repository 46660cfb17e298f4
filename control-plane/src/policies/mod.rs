//! Policies: texts with versions, checked against the tenant's own tools, put in force and rolled back.

pub(crate) mod actions;
mod api;
mod check_api;

use axum::extract::FromRef;
use domain::Clock;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Access;

/// What this feature needs.
#[derive(Debug, Clone, FromRef)]
pub(crate) struct Needs {
    pub(crate) access: Access,
    pub(crate) clock: Clock,
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
