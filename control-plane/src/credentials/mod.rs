//! Credentials: what is presented to upstream servers. They are written and replaced; nobody reads one.

pub(crate) mod actions;
mod api;
mod header;
mod pages;

use std::sync::Arc;

use axum::extract::FromRef;
use domain::Clock;
use secrets::{MasterKey, Store};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Access;

pub(crate) use api::{SetCredential, checked, give};
pub(crate) use pages::{Sent, routes as page_routes};

/// What this feature needs.
#[derive(Debug, Clone, FromRef)]
pub(crate) struct Needs {
    pub(crate) access: Access,
    pub(crate) clock: Clock,
    pub(crate) master: Arc<MasterKey>,
    pub(crate) store: Store,
}

pub(crate) fn routes(needs: Needs) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(api::get, api::set, api::remove)).with_state(needs)
}
