//! People: who is a member of the tenant, and what they may do there.

pub(crate) mod actions;
mod api;

pub(crate) use api::{checked_email, new_user};

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
        .routes(routes!(api::change, api::remove))
        .with_state(needs)
}
