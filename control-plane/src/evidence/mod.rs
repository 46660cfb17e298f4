//! What proves the log to somebody who does not trust us: signed checkpoints, and bundles of records that verify offline.

mod api;
mod bundle;

use std::sync::Arc;

use audit::note::VerifierKey;
use axum::extract::FromRef;
use domain::Clock;
use secrets::SigningKey;
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
}

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

pub(crate) fn routes(needs: Needs) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(api::checkpoint)).routes(routes!(api::bundle)).with_state(needs)
}
