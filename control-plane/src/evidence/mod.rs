//! What proves the log to somebody who does not trust us: signed checkpoints, and bundles of records that verify offline.

mod api;
pub(crate) mod bundle;
mod pages;
pub(crate) mod plan;

use std::sync::Arc;

use audit::note::VerifierKey;
use axum::Router;
use axum::extract::FromRef;
use axum::routing::{get, post};
use domain::Clock;
use secrets::{MasterKey, SigningKey};
use tokio::sync::Semaphore;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Access;
use crate::ingest;

/// What this feature needs.
#[derive(Debug, Clone, FromRef)]
pub(crate) struct Needs {
    pub(crate) access: Access,
    pub(crate) clock: Clock,
    pub(crate) log: Log,
    /// Opens the personal parts of records.
    pub(crate) master: Arc<MasterKey>,
    /// How many logs may be verified at once.
    pub(crate) verifying: Arc<Semaphore>,
}

/// Logs that are verified at once, for whoever presses the button: each takes a part of a processor for seconds.
pub(crate) const VERIFYING: usize = 2;

/// How this deployment's logs are named, and by which key they are verified.
#[derive(Debug, Clone)]
pub struct Log {
    /// The deployment's id.
    pub deployment: Arc<str>,
    /// Verifies its checkpoints.
    pub key: Arc<VerifierKey>,
}

impl Log {
    /// The logs of a deployment whose checkpoints this key signs.
    #[must_use]
    pub fn new(deployment: &str, key: &SigningKey) -> Self {
        Self { deployment: deployment.into(), key: Arc::new(ingest::verifier_key(deployment, key)) }
    }
}

/// The pages, for whoever is signed in.
pub(crate) fn page_routes(needs: Needs) -> Router {
    Router::new()
        .route("/w/{tenant}/evidence", get(pages::index))
        .route("/w/{tenant}/evidence/verify", post(pages::verify))
        .route("/w/{tenant}/evidence/bundle", post(pages::bundle))
        .with_state(needs)
}

pub(crate) fn routes(needs: Needs) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(api::checkpoint)).routes(routes!(api::bundle)).with_state(needs)
}
