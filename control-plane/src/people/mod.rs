//! People: who is a member of the tenant, and what they may do there.

pub(crate) mod actions;
mod api;
mod invitations;
mod pages;

pub(crate) use api::{checked_email, new_user};

use axum::Router;
use axum::extract::FromRef;
use axum::routing::{get, post};
use domain::Clock;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Access;
use crate::login;

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

/// What the pages need besides.
#[derive(Debug, Clone, FromRef)]
pub(crate) struct PageNeeds {
    pub(crate) access: Access,
    pub(crate) clock: Clock,
    /// How invitations are mailed.
    pub(crate) login: login::Needs,
}

pub(crate) fn page_routes(needs: PageNeeds) -> Router {
    Router::new()
        .route("/w/{tenant}/people", get(pages::list))
        .route("/w/{tenant}/people/invite", get(pages::ask).post(pages::invite))
        .route("/w/{tenant}/people/invitations/{invitation}/withdraw", post(pages::withdraw))
        .route("/w/{tenant}/people/{member}", get(pages::member).post(pages::change))
        .route("/w/{tenant}/people/{member}/remove", post(pages::remove))
        .with_state(needs)
}
