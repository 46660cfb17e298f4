//! Dead letters of a destination over HTTP.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use domain::{Clock, RecordId};
use serde::{Deserialize, Serialize};
use store::destinations;
use store::letters;
use utoipa::{IntoParams, ToSchema};

use super::api::DestinationPath;
use super::steps;
use crate::access::{Can, may};
use crate::input::{At, Form};
use crate::problem::Problem;
use crate::tenants::TenantPath;

/// Dead letters on a page.
const PAGE: u32 = 100;

/// A record that the receiver never took. Its payload is in the log, at its place.
#[derive(Debug, Serialize, ToSchema)]
struct DeadLetter {
    epoch: u64,
    seq: u64,
    record: RecordId,
    /// When it began.
    time: DateTime<Utc>,
    /// A stable word for what is wrong.
    code: String,
    /// What the receiver said.
    said: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    failed_at: DateTime<Utc>,
    /// Whether it is being sent again.
    resending: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeadLetters {
    dead_letters: Vec<DeadLetter>,
    /// Where the next page begins: `epoch` and `seq` of the next query.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Place>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
#[derive(Default)]
pub(super) struct Place {
    /// From this epoch of the log …
    epoch: u64,
    /// … and this place in it on.
    seq: u64,
}

/// Lists a destination's dead letters in the log's order.
#[utoipa::path(get, path = "/tenants/{tenant}/audit/destinations/{destination}/dead-letters", tag = "destinations",
    params(TenantPath, DestinationPath, Place),
    responses((status = 200, body = DeadLetters), (status = "4XX", body = Problem)))]
pub(super) async fn list(
    can: Can<may::ViewDestinations>,
    At(path): At<DestinationPath>,
    Form(from): Form<Place>,
) -> Result<Json<DeadLetters>, Problem> {
    let mut tx = can.begin().await?;
    destinations::find(&mut tx, path.destination).await?.ok_or_else(Problem::not_found)?;
    let found = letters::list(&mut tx, path.destination, (from.epoch, from.seq), PAGE + 1).await?;
    let most = usize::try_from(PAGE).unwrap_or(usize::MAX);
    let next = found.get(most).map(|letter| Place { epoch: letter.epoch, seq: letter.seq });
    let dead_letters = found.into_iter().take(most).map(|letter| DeadLetter {
        epoch: letter.epoch,
        seq: letter.seq,
        record: letter.record,
        time: letter.time,
        code: letter.code,
        said: letter.said,
        status: letter.status,
        failed_at: letter.failed_at,
        resending: letter.wish.is_some(),
    });
    Ok(Json(DeadLetters { dead_letters: dead_letters.collect(), next }))
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Resent {
    /// How many are being sent again.
    asked: u64,
}

/// Sends all dead letters of a destination again. What is taken is one no longer. Where what is personal goes along it takes
/// `activity.export_personal` besides.
#[utoipa::path(post, path = "/tenants/{tenant}/audit/destinations/{destination}/dead-letters/resend",
    tag = "destinations", params(TenantPath, DestinationPath),
    responses((status = 202, body = Resent), (status = "4XX", body = Problem)))]
pub(super) async fn resend(
    State(clock): State<Clock>,
    can: Can<may::ManageDestinations>,
    At(path): At<DestinationPath>,
) -> Result<(StatusCode, Json<Resent>), Problem> {
    let mut tx = can.begin().await?;
    let asked = steps::resend(&mut tx, (&can, &clock), path.destination).await?;
    tx.commit().await?;
    Ok((StatusCode::ACCEPTED, Json(Resent { asked })))
}
