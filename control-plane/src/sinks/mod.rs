//! Destinations: where a tenant's records are sent as they enter the log, at least once and in its order.
//!
//! [`Worker`] finds cursors ([`store::lanes`]) with something to send, [`lane`] sends what one of them comes to next
//! ([`page`]) through a [`sender`], and moves it by the answer.

mod actions;
mod api;
mod backoff;
mod batch;
mod detail_pages;
mod encode;
mod forms;
mod hec;
mod http;
mod idle;
mod lane;
mod letters_api;
mod memory;
mod metrics;
mod page;
mod pages;
mod s3;
mod sender;
mod settings;
mod steps;
mod syslog;
mod webhook;
mod worker;

use std::sync::Arc;

use axum::extract::FromRef;
use axum::routing::{get, post};
use domain::Clock;
use secrets::{MasterKey, Store};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Access;

pub use self::memory::MEMORY_LEAST;
pub use self::metrics::Metrics;
pub use self::sender::Outside;
pub use self::worker::{CONNECTION_WAIT, Means, Worker};

/// What this feature needs.
#[derive(Debug, Clone)]
pub struct Needs {
    pub(crate) access: Access,
    pub(crate) master: Arc<MasterKey>,
    pub(crate) store: Store,
    /// What may be used of the world outside.
    pub outside: Outside,
}

impl FromRef<Needs> for Access {
    fn from_ref(needs: &Needs) -> Self {
        needs.access.clone()
    }
}

impl FromRef<Needs> for Clock {
    fn from_ref(needs: &Needs) -> Self {
        needs.outside.clock.clone()
    }
}

pub(crate) fn routes(needs: Needs) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(api::list, api::add))
        .routes(routes!(api::get, api::change, api::remove))
        .routes(routes!(api::start))
        .routes(routes!(api::pause))
        .routes(routes!(api::test))
        .routes(routes!(api::replay, api::end_replay))
        .routes(routes!(letters_api::list))
        .routes(routes!(letters_api::resend))
        .with_state(needs)
}

pub(crate) fn page_routes(needs: Needs) -> axum::Router {
    axum::Router::new()
        .route("/w/{tenant}/destinations", get(pages::list))
        .route("/w/{tenant}/destinations/new", get(pages::new).post(pages::add))
        .route("/w/{tenant}/destinations/{destination}", get(detail_pages::open))
        .route("/w/{tenant}/destinations/{destination}/settings", post(detail_pages::change))
        .route("/w/{tenant}/destinations/{destination}/start", post(detail_pages::start))
        .route("/w/{tenant}/destinations/{destination}/retry", post(detail_pages::retry))
        .route("/w/{tenant}/destinations/{destination}/pause", post(detail_pages::pause))
        .route("/w/{tenant}/destinations/{destination}/test", post(detail_pages::test))
        .route("/w/{tenant}/destinations/{destination}/replay", post(detail_pages::replay))
        .route("/w/{tenant}/destinations/{destination}/replay-end", post(detail_pages::end_replay))
        .route("/w/{tenant}/destinations/{destination}/resend", post(detail_pages::resend))
        .route("/w/{tenant}/destinations/{destination}/remove", post(detail_pages::remove))
        .with_state(needs)
}
