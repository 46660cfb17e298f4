//! Tokens: for the gateway and for this API; each is shown once.

pub(crate) mod actions;
mod api;

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
        .routes(routes!(api::list_gateway, api::issue_gateway))
        .routes(routes!(api::revoke_gateway))
        .routes(routes!(api::list_api, api::issue_api))
        .routes(routes!(api::revoke_api))
        .with_state(needs)
}
