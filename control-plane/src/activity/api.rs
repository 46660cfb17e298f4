//! Activity over HTTP.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use domain::{CallId, Clock, Permission, RecordId, ServerId, TokenId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::audit::rollup::{BOUNDS_MS, Range};
use store::audit::search::{Filter, Leaf, Row};
use utoipa::{IntoParams, ToSchema};

use super::Needs;
use super::actions::{self, Page, Scope, SearchError};
use crate::access::{Can, may};
use crate::input::At;
use crate::problem::Problem;
use crate::tenants::TenantPath;

/// Records on a page, where nothing else is asked for.
const LIMIT: usize = 50;
/// Most records on a page.
const LIMIT_MAX: usize = 200;
/// Longest text in a query, bytes.
const TEXT_MAX: usize = 512;

/// What is looked for: all that is given must hold.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SearchQuery {
    /// Begun at this time or later; a day before `until`, when left out.
    from: Option<DateTime<Utc>>,
    /// Begun before this time; now, when left out.
    until: Option<DateTime<Utc>>,
    /// Of this kind: `call`, `admin`, `auth` …
    kind: Option<String>,
    /// By this actor: a user's id.
    person: Option<String>,
    /// With this gateway token.
    #[param(value_type = Option<String>)]
    token: Option<TokenId>,
    /// At this server.
    #[param(value_type = Option<String>)]
    server: Option<ServerId>,
    /// This tool, by the name clients see.
    tool: Option<String>,
    /// Decided so: `allow`, `deny` …
    decision: Option<String>,
    /// Ended so: `success`, `tool_error`, `denied` …
    status: Option<String>,
    /// Of this call.
    #[param(value_type = Option<String>)]
    call: Option<CallId>,
    /// Of this trace: the `x-trace-id` of an answer.
    trace: Option<String>,
    /// Holding this text anywhere, in either case; in at most seven days.
    q: Option<String>,
    /// The `next` of the page before.
    cursor: Option<String>,
    /// Records on the page, at most 200.
    limit: Option<usize>,
}

impl SearchQuery {
    fn filter(self, now: DateTime<Utc>) -> Result<Filter, Problem> {
        let texts = [
            ("kind", &self.kind),
            ("person", &self.person),
            ("tool", &self.tool),
            ("decision", &self.decision),
            ("status", &self.status),
            ("trace", &self.trace),
            ("q", &self.q),
        ];
        for (name, text) in texts {
            check_text(name, text.as_deref().unwrap_or_default())?;
        }
        let (from, until) = range(self.from, self.until, now)?;
        Ok(Filter {
            from,
            until,
            kinds: self.kind.into_iter().collect(),
            actor: self.person,
            token: self.token,
            server: self.server,
            tool: self.tool,
            effect: self.decision,
            statuses: self.status.into_iter().collect(),
            call: self.call,
            trace: self.trace,
            among: None,
            text: self.q.filter(|text| !text.is_empty()),
        })
    }
}

/// Postgres takes no U+0000, and nobody means one.
fn check_text(name: &str, text: &str) -> Result<(), Problem> {
    if text.len() > TEXT_MAX || text.contains('\0') {
        return Err(Problem::invalid(name, format!("at most {TEXT_MAX} bytes, without U+0000")));
    }
    Ok(())
}

fn range(
    from: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(DateTime<Utc>, DateTime<Utc>), Problem> {
    // Records of nodes whose clocks run ahead are believed up to five minutes.
    let until = until.unwrap_or(now + TimeDelta::minutes(5));
    let from = from.or_else(|| until.checked_sub_signed(TimeDelta::days(1))).unwrap_or(until);
    let is_storable = |time: DateTime<Utc>| (0..=9_999).contains(&chrono::Datelike::year(&time));
    if from >= until || !is_storable(from) || !is_storable(until) {
        return Err(Problem::invalid("from", "must be before `until`, both in years 0 to 9999"));
    }
    Ok((from, until))
}

/// A record in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Found {
    id: RecordId,
    /// Its place in the tenant's log.
    seq: i64,
    kind: String,
    /// Whether it is its call's last word.
    #[serde(rename = "final")]
    is_final: bool,
    time: DateTime<Utc>,
    received_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<CallId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<TokenId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<ServerId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_us: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
    /// Of a change: what was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
}

impl From<Row> for Found {
    fn from(row: Row) -> Self {
        Self {
            id: RecordId::from_uuid(row.id),
            seq: row.seq,
            kind: row.kind,
            is_final: row.is_final,
            time: row.time,
            received_at: row.received_at,
            call: row.call_id.map(CallId::from_uuid),
            actor_kind: row.actor_kind,
            actor: row.actor_id,
            token: row.token_id.map(TokenId::from_uuid),
            client: row.client_name,
            method: row.method,
            server: row.server_id.map(ServerId::from_uuid),
            tool: row.tool_name,
            decision: row.effect,
            status: row.status,
            duration_us: row.duration_us,
            result_bytes: row.result_bytes,
            trace: row.trace_id,
            action: row.change_action,
        }
    }
}

/// A page of records, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FoundPage {
    records: Vec<Found>,
    /// The `cursor` of the next page; absent when all of the range was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Time ran out: the page holds what was found until then, and `next` goes on from there.
    partial: bool,
}

impl From<Page> for FoundPage {
    fn from(page: Page) -> Self {
        let records = page.rows.into_iter().map(Found::from).collect();
        Self { records, next: page.next.map(actions::to_cursor), partial: page.is_partial }
    }
}

/// Searches the tenant's log: all of it where the role may see it, otherwise the caller's own calls.
#[utoipa::path(get, path = "/tenants/{tenant}/activity", tag = "activity", params(TenantPath, SearchQuery),
    responses((status = 200, body = FoundPage), (status = "4XX", body = Problem)))]
pub(super) async fn search(
    State(clock): State<Clock>,
    can: Can<may::OwnActivity>,
    query: Result<Query<SearchQuery>, QueryRejection>,
) -> Result<Json<FoundPage>, Problem> {
    let Query(mut query) = query.map_err(|rejection| unreadable(&rejection))?;
    let limit = query.limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX);
    let after = query.cursor.take().map(|cursor| {
        actions::from_cursor(&cursor).ok_or_else(|| Problem::invalid("cursor", "is not the `next` of a page"))
    });
    let (after, filter) = (after.transpose()?, query.filter(clock.now())?);
    let mut tx = can.begin().await?;
    Ok(Json(actions::search(&mut tx, Scope::of(&can), filter, after, limit).await?.into()))
}

impl From<SearchError> for Problem {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::RangeTooLong => Self::invalid("from", error.to_string()),
            SearchError::OutOfTime => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "out-of-time", "The search took too long")
                    .detail("choose a shorter range of time, or look for less")
            }
            SearchError::Database(error) => error.into(),
        }
    }
}

fn unreadable(rejection: &QueryRejection) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "A value does not fit").detail(rejection.body_text())
}

/// The record a path names.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct RecordPath {
    #[param(value_type = String)]
    record: RecordId,
}

/// A record with what it is proved by.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OneRecord {
    id: RecordId,
    /// Raised when the log was restored to an earlier state.
    epoch: i64,
    /// Its place in the tenant's log.
    seq: i64,
    /// SHA-256 of 0x00 and the record's bytes, hexadecimal (RFC 9162, 2.1.1).
    leaf_hash: String,
    received_at: DateTime<Utc>,
    /// The record, byte for byte as it is hashed (RFC 8785).
    #[schema(value_type = Object)]
    record: Box<RawValue>,
    /// What is personal in it, unless it was erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    personal: Option<Box<RawValue>>,
}

/// Shows one record.
#[utoipa::path(get, path = "/tenants/{tenant}/activity/{record}", tag = "activity", params(TenantPath, RecordPath),
    responses((status = 200, body = OneRecord), (status = "4XX", body = Problem)))]
pub(super) async fn find(
    State(needs): State<Needs>,
    can: Can<may::OwnActivity>,
    At(path): At<RecordPath>,
) -> Result<Json<OneRecord>, Problem> {
    let mut tx = can.begin().await?;
    let found = actions::find(&mut tx, Scope::of(&can), &needs.master, path.record).await?;
    let (leaf, personal) = found.ok_or_else(Problem::not_found)?;
    shown(leaf, personal).map(Json)
}

fn shown(leaf: Leaf, personal: Option<String>) -> Result<OneRecord, Problem> {
    let record = String::from_utf8(leaf.body).ok().and_then(|body| RawValue::from_string(body).ok());
    Ok(OneRecord {
        id: RecordId::from_uuid(leaf.id),
        epoch: leaf.epoch,
        seq: leaf.seq,
        leaf_hash: hex::encode(leaf.leaf_hash),
        received_at: leaf.received_at,
        record: record.ok_or_else(Problem::internal)?,
        personal: personal.and_then(|personal| RawValue::from_string(personal).ok()),
    })
}

/// What a series is of.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SeriesQuery {
    /// From here on; a day before `until`, when left out.
    from: Option<DateTime<Utc>>,
    /// Up to here; now, when left out.
    until: Option<DateTime<Utc>>,
    /// Only of this server.
    #[param(value_type = Option<String>)]
    server: Option<ServerId>,
    /// Only of this tool, by the name clients see.
    tool: Option<String>,
}

/// Calls over time.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Series {
    /// The length of a step, seconds.
    step_s: i32,
    /// Upper bounds of the buckets of duration, milliseconds; the last bucket has none.
    bounds_ms: [u64; BOUNDS_MS.len()],
    /// In order; steps without calls are left out.
    points: Vec<SeriesPoint>,
}

/// Calls of one step that were decided and ended alike.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SeriesPoint {
    start: DateTime<Utc>,
    decision: String,
    status: String,
    count: i64,
    /// The durations together of those that have one, microseconds.
    duration_us: i64,
    /// How many had a duration in each bucket; a refused call has none.
    buckets: Vec<i64>,
}

/// Counts calls over time, from counts kept by minute and hour.
#[utoipa::path(get, path = "/tenants/{tenant}/activity/series", tag = "activity", params(TenantPath, SeriesQuery),
    responses((status = 200, body = Series), (status = "4XX", body = Problem)))]
pub(super) async fn series(
    State(clock): State<Clock>,
    can: Can<may::OwnActivity>,
    query: Result<Query<SeriesQuery>, QueryRejection>,
) -> Result<Json<Series>, Problem> {
    can.also(Permission::ViewActivity)?;
    let Query(query) = query.map_err(|rejection| unreadable(&rejection))?;
    check_text("tool", query.tool.as_deref().unwrap_or_default())?;
    let (from, until) = range(query.from, query.until, clock.now())?;
    let range = Range { from, until, step_s: 60, server: query.server, tool: query.tool };
    let mut tx = can.begin().await?;
    let (step_s, points) = actions::series(&mut tx, range).await?;
    let points = points.into_iter().map(|point| SeriesPoint {
        start: point.start,
        decision: point.effect,
        status: point.status,
        count: point.count,
        duration_us: point.duration_us,
        buckets: point.buckets.to_vec(),
    });
    Ok(Json(Series { step_s, bounds_ms: BOUNDS_MS, points: points.collect() }))
}
