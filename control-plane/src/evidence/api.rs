//! Checkpoints and bundles over HTTP.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use store::audit::checkpoint::{self, Signed};
use store::audit::leaf;
use utoipa::{IntoParams, ToSchema};

use super::Needs;
use super::bundle::{Bundle, Leaves};
use crate::access::{Can, may};
use crate::ingest::change::Change;
use crate::problem::Problem;
use crate::tenants::TenantPath;

/// The last checkpoint of a tenant's log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LastCheckpoint {
    /// Raised when the log was restored to an earlier state.
    epoch: u64,
    /// How many records it is over.
    size: u64,
    /// The signed note (C2SP tlog-checkpoint). Keep it: a later bundle must go on from it.
    note: String,
    signed_at: DateTime<Utc>,
    /// What verifies it. Keep it where nobody of Sluice can change it.
    verifier_key: String,
}

/// Shows the last signed checkpoint of the tenant's log, and the key that verifies it.
#[utoipa::path(get, path = "/tenants/{tenant}/audit/checkpoint", tag = "audit", params(TenantPath),
    responses((status = 200, body = LastCheckpoint), (status = "4XX", body = Problem)))]
pub(super) async fn checkpoint(
    State(needs): State<Needs>,
    can: Can<may::ViewActivity>,
) -> Result<Json<LastCheckpoint>, Problem> {
    let mut tx = can.begin().await?;
    let Signed { epoch, size, note, signed_at, .. } = last(checkpoint::last(&mut tx).await?)?;
    Ok(Json(LastCheckpoint { epoch, size, note, signed_at, verifier_key: needs.log.key.to_string() }))
}

fn last(signed: Option<Signed>) -> Result<Signed, Problem> {
    signed.ok_or_else(|| {
        Problem::new(StatusCode::CONFLICT, "no-checkpoint", "No record of this tenant is signed for yet")
            .detail("the first checkpoint comes within seconds of the first record: ask again then")
    })
}

/// Which records a bundle holds: all of them when nothing is said.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct BundleQuery {
    /// From this place in the log on.
    first: Option<u64>,
    /// Up to, not including, this place.
    end: Option<u64>,
    /// Instead of places: from the first record that began at this time or later …
    from: Option<DateTime<Utc>>,
    /// … up to the last that began before this time.
    until: Option<DateTime<Utc>>,
    /// The size of a checkpoint that was kept: the bundle can be compared with it.
    since: Option<u64>,
}

/// Downloads a bundle of records that `sluice audit verify` proves against a signed checkpoint (`docs/audit-bundle.md`),
/// packed with zstd. That it was taken is itself recorded.
#[utoipa::path(get, path = "/tenants/{tenant}/audit/bundle", tag = "audit", params(TenantPath, BundleQuery),
    responses((status = 200, content_type = "application/zstd", body = Vec<u8>), (status = "4XX", body = Problem)))]
pub(super) async fn bundle(
    State(needs): State<Needs>,
    can: Can<may::ExportActivity>,
    query: Result<Query<BundleQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|rejection| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "A value does not fit").detail(rejection.body_text())
    })?;
    if query.first.zip(query.end).is_some_and(|(first, end)| first > end) {
        return Err(Problem::invalid("first", "must not be above `end`"));
    }
    let mut tx = can.begin().await?;
    let signed = last(checkpoint::last(&mut tx).await?)?;
    let leaves = match (query.from, query.until) {
        (None, None) => (query.first.unwrap_or(0), query.end.unwrap_or(signed.size)),
        (from, until) => {
            let range = (from.unwrap_or(DateTime::UNIX_EPOCH), until.unwrap_or_else(|| needs.clock.now()));
            leaf::places(&mut tx, signed.epoch, range).await?.unwrap_or((0, 0))
        }
    };
    let leaves = Leaves { first: leaves.0.min(signed.size), end: leaves.1.min(signed.size), since: query.since };
    let marks = checkpoint::between(&mut tx, signed.epoch, leaves.first, leaves.end).await?;
    let taken = serde_json::json!({ "first": leaves.first, "end": leaves.end, "size": signed.size });
    let change = Change::new("audit.bundle", "audit", tx.tenant()).named("bundle").after(&taken);
    can.author(&needs.clock).noted(&mut tx, change).await?;
    tx.commit().await?;
    let name = format!("{}-audit-{}-{}.ndjson.zst", can.actor().slug(), leaves.first, leaves.end);
    let origin = crate::ingest::origin(&needs.log.deployment, signed.tenant, signed.epoch);
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/zstd")),
        (header::CONTENT_DISPOSITION, disposition.unwrap_or(HeaderValue::from_static("attachment"))),
    ];
    Ok((headers, Bundle::new(can, origin, (leaves, signed, marks)).into_body()?).into_response())
}
