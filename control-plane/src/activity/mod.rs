//! What happened: searching the tenant's log, one record with what proves it, and counts for charts.

pub(crate) mod actions;
mod api;
pub(crate) mod call;
pub(crate) mod counts;
mod export;
mod further;
mod live_pages;
pub(crate) mod names;
pub(crate) mod outcome;
pub(crate) mod pages;
mod people;
pub(crate) mod query;
pub(crate) mod rows;
mod streams;
mod when;
mod words;

pub(crate) use streams::Streams;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::routing::{get, post};
use domain::Clock;
use secrets::MasterKey;
use service::Drain;
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
    /// Streams to browsers end when it begins.
    pub(crate) drain: Drain,
    /// The live pages that are open.
    pub(crate) streams: Streams,
}

pub(crate) fn routes(needs: Needs) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(api::search))
        .routes(routes!(api::series))
        .routes(routes!(api::find))
        .with_state(needs)
}

/// The pages, for whoever is signed in.
pub(crate) fn page_routes(needs: Needs) -> Router {
    Router::new()
        .route("/w/{tenant}/activity", get(pages::index))
        .route("/w/{tenant}/activity/export", post(export::export))
        .route("/w/{tenant}/live", get(live_pages::live))
        .route("/w/{tenant}/live/events", get(live_pages::events))
        .with_state(needs)
}
