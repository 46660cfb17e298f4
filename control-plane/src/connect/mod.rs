//! Connecting a client: what to type where, a token in place, and the first call as it lands.

mod blocked;
mod card;
mod pages;
pub(crate) mod setup;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::routing::{get, post};
use domain::Clock;
use secrets::MasterKey;
use service::Drain;
use url::Url;

pub(crate) use blocked::Tried;

use crate::access::Access;
use crate::endpoint;
use crate::publish::Live;

/// What this feature needs.
#[derive(Debug, Clone, FromRef)]
pub(crate) struct Needs {
    pub(crate) access: Access,
    pub(crate) clock: Clock,
    /// Opens the personal parts of records.
    pub(crate) master: Arc<MasterKey>,
    /// Where clients reach the data plane.
    pub(crate) gateway_url: Arc<Url>,
    /// What the nodes say of themselves.
    pub(crate) live: Live,
    /// Waits for the call that is to be blocked, and for its token to be revoked.
    pub(crate) drain: Drain,
}

impl Needs {
    /// What clients of a workspace connect to.
    fn endpoint(&self, slug: &domain::Slug) -> Url {
        endpoint::of(&self.gateway_url, slug)
    }
}

pub(crate) fn page_routes(needs: Needs) -> Router {
    Router::new()
        .route("/w/{tenant}/connect", get(pages::show))
        .route("/w/{tenant}/connect/token", post(pages::issue))
        .route("/w/{tenant}/connect/issued/{token}", get(pages::issued))
        .route("/w/{tenant}/connect/calls", get(pages::listen))
        .route("/w/{tenant}/connect/blocked", post(pages::try_blocked))
        .with_state(needs)
}
