//! How far the present configuration has come, over HTTP.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use store::published::{self, Publication, Refusal};
use utoipa::ToSchema;

use super::TenantPath;
use crate::access::{Can, may};
use crate::problem::Problem;
use crate::publish::{Live, Reach};

/// How far the tenant's configuration has come.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LiveState {
    /// The number of the present configuration.
    revision: u64,
    /// What is published; absent before the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<LivePublication>,
    /// Why the present configuration is not published, if it can't be: what was published before stays in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<LiveRefusal>,
    /// On which nodes what is published is live; absent while nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    reach: Option<Reach>,
}

/// What is published.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LivePublication {
    revision: u64,
    at: DateTime<Utc>,
}

/// Why a configuration is not published.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LiveRefusal {
    revision: u64,
    reason: String,
    at: DateTime<Utc>,
}

/// Shows how far the tenant's configuration has come: published or refused, and live on how many nodes.
#[utoipa::path(get, path = "/tenants/{tenant}/live", tag = "tenants", params(TenantPath),
    responses((status = 200, body = LiveState), (status = "4XX", body = Problem)))]
pub(super) async fn live(State(live): State<Live>, can: Can<may::ViewServers>) -> Result<Json<LiveState>, Problem> {
    let status = published::status(&mut can.begin().await?).await?;
    let reach = match &status.published {
        Some(publication) => reach(&live, &can, publication).await,
        None => None,
    };
    Ok(Json(LiveState {
        revision: status.revision,
        published: status.published.map(|Publication { revision, at, .. }| LivePublication { revision, at }),
        refused: status.refusal.map(|Refusal { revision, reason, at }| LiveRefusal { revision, reason, at }),
        reach,
    }))
}

/// What the nodes say. That Redis is away is no reason to show nothing.
async fn reach(live: &Live, can: &Can<may::ViewServers>, publication: &Publication) -> Option<Reach> {
    let said = live.publication(can.actor().tenant(), publication).await;
    said.inspect_err(|error| tracing::warn!(%error, "Redis can't be asked which nodes are up to date")).ok()
}
