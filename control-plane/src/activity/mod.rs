//! What happened: searching the tenant's log, one record with what proves it, and counts for charts.

pub(crate) mod actions;
mod api;

use std::sync::Arc;

use axum::extract::FromRef;
use domain::Clock;
use secrets::MasterKey;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Access;

/// What this feature needs.
#[derive(Debug, Clone, FromRef)]
pub(crate) struct Needs {
    pub(crate) access: Access,
    pub(crate) clock: Clock,
    /// Opens the personal parts of records.
    pub(crate) master: Arc<MasterKey>,
}

pub(crate) fn routes(needs: Needs) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(api::search))
        .routes(routes!(api::series))
        .routes(routes!(api::find))
        .with_state(needs)
}
