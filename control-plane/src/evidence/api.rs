//! Checkpoints and bundles over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use domain::Permission;
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::audit::checkpoint::{self, Signed};
use utoipa::{IntoParams, ToSchema};

use super::Needs;
use super::bundle::Bundle;
use super::plan::{self, Section, Wanted};
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
    let Signed { epoch, size, note, signed_at, .. } = checkpoint::last(&mut tx).await?.ok_or_else(none_signed)?;
    Ok(Json(LastCheckpoint { epoch, size, note, signed_at, verifier_key: needs.log.key.to_string() }))
}

fn none_signed() -> Problem {
    Problem::new(StatusCode::CONFLICT, "no-checkpoint", "No record of this tenant is signed for yet")
        .detail("the first checkpoint comes within seconds of the first record: ask again then")
}

/// Which records a bundle holds: all of them when nothing is said.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct BundleQuery {
    /// Only those of this epoch: without it of all, and of the last one when places are named.
    pub(super) epoch: Option<u64>,
    /// From this place in the log on.
    pub(super) first: Option<u64>,
    /// Up to, not including, this place.
    pub(super) end: Option<u64>,
    /// Instead of places: from the first record that began at this time or later …
    pub(super) from: Option<DateTime<Utc>>,
    /// … up to the last that began before this time.
    pub(super) until: Option<DateTime<Utc>>,
    /// The size of a checkpoint that was kept: the bundle can be compared with it.
    pub(super) since: Option<u64>,
    /// With the personal parts of the records, as far as they are not erased: names, addresses, what was kept of arguments.
    /// It takes `activity.export_personal`, which owners and auditors have.
    #[serde(default)]
    pub(super) personal: bool,
}

impl BundleQuery {
    fn wanted(&self, now: DateTime<Utc>) -> Wanted {
        let Self { epoch, first, end, since, .. } = *self;
        match (self.from, self.until) {
            (None, None) if (first, end, since) == (None, None, None) => Wanted::All { epoch },
            (None, None) => Wanted::Places { epoch, first: first.unwrap_or(0), end, since },
            (from, until) => {
                Wanted::Time { epoch, from: from.unwrap_or(DateTime::UNIX_EPOCH), until: until.unwrap_or(now) }
            }
        }
    }
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
    download(needs, can, &query).await
}

/// Hands a bundle out, and records that it was taken.
pub(super) async fn download(
    needs: Needs,
    can: Can<may::ExportActivity>,
    query: &BundleQuery,
) -> Result<Response, Problem> {
    if query.personal {
        can.also(Permission::ExportPersonal)?;
    }
    let mut tx = can.begin().await?;
    let sections = plan::sections(&mut tx, query.wanted(needs.clock.now())).await?.ok_or_else(none_signed)?;
    let range = |section: &Section| json!({ "epoch": section.epoch, "first": section.first, "end": section.end });
    let taken = json!({ "sections": sections.iter().map(range).collect::<Vec<_>>(), "personal": query.personal });
    let name = if query.personal { "bundle with personal parts" } else { "bundle" };
    let change = Change::new("audit.bundle", "audit", tx.tenant()).named(name).after(&taken);
    can.author(&needs.clock).noted(&mut tx, change).await?;
    tx.commit().await?;
    let name = match &*sections {
        [one] => format!("{}-{}", one.first, one.end),
        several => format!("epochs-{}-{}", several[0].epoch, several[several.len() - 1].epoch),
    };
    let name = format!("{}-audit-{name}.ndjson.zst", can.actor().slug());
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/zstd")),
        (header::CONTENT_DISPOSITION, disposition.unwrap_or(HeaderValue::from_static("attachment"))),
    ];
    let bundle = Bundle::new(Arc::new(can), Arc::clone(&needs.log.deployment), sections);
    let bundle = if query.personal { bundle.with_personal(needs.master) } else { bundle };
    Ok((headers, bundle.into_body()?).into_response())
}
