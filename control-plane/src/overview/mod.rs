//! Where a workspace stands: the way to its first call, then what goes through it and what needs somebody.

mod figures;
mod pages;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::routing::get;
use domain::{Clock, Slug};
use url::Url;

use crate::access::Access;
use crate::endpoint;
use crate::servers::Sandbox;

/// What this feature needs.
#[derive(Debug, Clone, FromRef)]
pub(crate) struct Needs {
    pub(crate) access: Access,
    pub(crate) clock: Clock,
    /// Where clients reach the data plane.
    pub(crate) gateway_url: Arc<Url>,
    pub(crate) sandbox: Sandbox,
}

impl Needs {
    /// A workspace's address for clients.
    fn endpoint(&self, slug: &Slug) -> String {
        endpoint::of(&self.gateway_url, slug).into()
    }
}

/// The pages, for whoever is signed in.
pub(crate) fn page_routes(needs: Needs) -> Router {
    Router::new().route("/w/{tenant}", get(pages::overview)).with_state(needs)
}
