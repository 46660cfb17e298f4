//! Destinations over HTTP: secrets come in and never go out.

use std::collections::HashMap;

use audit::export::Format;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use domain::{Clock, DestinationId, Secret, ServerId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::destinations::{self, Destination, State as Run, Wanted};
use store::lanes::{self, Kind, Lane};
use store::letters;
use utoipa::{IntoParams, ToSchema};

use super::actions::{self, Begin, NewSecret, Plan};
use super::batch::Answer;
use super::settings::Settings;
use super::webhook::SigningSecret;
use super::{Needs, steps};
use crate::access::{Can, may};
use crate::input::{At, Body, check_title};
use crate::problem::Problem;
use crate::tenants::TenantPath;

/// The destination a path names.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct DestinationPath {
    pub(super) destination: DestinationId,
}

/// Where records are sent; never its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Shown {
    id: DestinationId,
    name: String,
    /// `native`, `ocsf`, `ecs` or `cef`.
    format: String,
    settings: Settings,
    /// Where it leads, for people.
    place: String,
    wanted: Filter,
    /// Whether what is personal in records goes along.
    personal: bool,
    /// `paused`, `running`, or `stopped`: Sluice has stopped it, `error` says why.
    #[schema(value_type = String)]
    state: &'static str,
    /// To be sent along with a change.
    revision: u64,
    created_at: DateTime<Utc>,
    changed_at: DateTime<Utc>,
    changed_by: UserId,
    /// How far it is.
    progress: Progress,
    /// How many records its receiver never took.
    dead_letters: u64,
    /// A replay that is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    replay: Option<Replay>,
}

/// Which records are sent: each list takes all when it is empty. A record without an effect or a server passes the list of
/// them.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Filter {
    /// Kinds of records: `call`, `admin`, ….
    pub(super) kinds: Vec<String>,
    /// What was decided: `allow`, `deny`, ….
    pub(super) effects: Vec<String>,
    /// Which server a call was for.
    pub(super) servers: Vec<ServerId>,
}

/// How far a destination is behind the log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Progress {
    /// The epoch of the log it is in.
    epoch: u64,
    /// The place of the first record that is not sent.
    next: u64,
    /// Records of the log from there on, also those its filter leaves out.
    lag_records: u64,
    /// For how long the first of them has waited.
    lag_seconds: u64,
    /// How many were sent since it was added.
    sent: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_at: Option<DateTime<Utc>>,
    /// Tries in a row that failed; 0 while it works.
    failures: u32,
    /// When it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_at: Option<DateTime<Utc>>,
    /// What last went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<LastError>,
    /// Records that the log no longer had when they were to be sent: it kept them for a shorter time than this waited.
    lost: u64,
    /// When that was last found.
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LastError {
    at: DateTime<Utc>,
    /// A stable word: `unresolved`, `tls`, `status`, `hec_7`, ….
    code: String,
    /// What happened and what to do.
    said: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Replay {
    /// Where it began.
    first: u64,
    /// The place of the next record it sends.
    next: u64,
    /// The place it ends before.
    end: u64,
    /// Most records in a second.
    rate: u32,
    /// Whether Sluice has stopped it, and only it: end it, or pause and start the destination to have it go on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stopped: bool,
    /// What went wrong, while it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<LastError>,
}

impl Shown {
    pub(super) fn new(
        destination: Destination,
        lanes: &[Lane],
        (end, letters): ((u64, u64), u64),
        now: DateTime<Utc>,
    ) -> Result<Self, Problem> {
        let (settings, _) = actions::read(&destination)?;
        let of = |kind| lanes.iter().find(|lane| lane.destination == destination.id && lane.kind == kind);
        let live = of(Kind::Live).ok_or_else(Problem::internal)?;
        let replay = of(Kind::Replay).and_then(|lane| {
            let (first, end) = lane.range?;
            let error = LastError::of(lane).filter(|_| lane.failures > 0);
            let stopped = !lane.is_on && destination.state == Run::Running;
            Some(Replay { first, next: lane.next, end, rate: lane.rate?, stopped, error })
        });
        Ok(Self {
            id: destination.id,
            name: destination.name,
            format: destination.format,
            place: settings.place(),
            settings: settings.masked(),
            wanted: Filter {
                kinds: destination.wanted.kinds,
                effects: destination.wanted.effects,
                servers: destination.wanted.servers,
            },
            personal: destination.personal,
            state: destination.state.as_str(),
            revision: destination.revision,
            created_at: destination.created_at,
            changed_at: destination.changed_at,
            changed_by: destination.changed_by,
            progress: Progress::of(live, end, now),
            dead_letters: letters,
            replay,
        })
    }
}

impl Progress {
    fn of(live: &Lane, end: (u64, u64), now: DateTime<Utc>) -> Self {
        let lag_records = steps::lag(live, end);
        let since = live.behind_since.filter(|_| lag_records > 0);
        Self {
            epoch: live.epoch,
            next: live.next,
            lag_records,
            lag_seconds: since.map_or(0, |since| (now - since).num_seconds().max(0).unsigned_abs()),
            sent: live.sent,
            sent_at: live.sent_at,
            failures: live.failures,
            retry_at: live.due_at.filter(|_| live.failures > 0 && live.is_on),
            error: LastError::of(live),
            lost: live.lost.map_or(0, |lost| lost.0),
            lost_at: live.lost.map(|lost| lost.1),
        }
    }
}

impl LastError {
    fn of(lane: &Lane) -> Option<Self> {
        let error = lane.error.clone()?;
        Some(Self { at: error.at, code: error.code, said: error.said, status: error.status })
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct List {
    destinations: Vec<Shown>,
}

/// Lists the destinations.
#[utoipa::path(get, path = "/tenants/{tenant}/audit/destinations", tag = "destinations", params(TenantPath),
    responses((status = 200, body = List), (status = "4XX", body = Problem)))]
pub(super) async fn list(can: Can<may::ViewDestinations>) -> Result<Json<List>, Problem> {
    let mut tx = can.begin().await?;
    let found = destinations::list(&mut tx).await?;
    let lanes = lanes::list(&mut tx, None).await?;
    let letters: HashMap<_, _> = letters::counts(&mut tx).await?.into_iter().collect();
    let (end, now) = (store::audit::delivery::end(&mut tx).await?, can.now());
    let shown = |destination: Destination| {
        let letters = letters.get(&destination.id).copied().unwrap_or_default();
        Shown::new(destination, &lanes, (end, letters), now)
    };
    Ok(Json(List { destinations: found.into_iter().map(shown).collect::<Result<_, _>>()? }))
}

/// Shows a destination.
#[utoipa::path(get, path = "/tenants/{tenant}/audit/destinations/{destination}", tag = "destinations",
    params(TenantPath, DestinationPath), responses((status = 200, body = Shown), (status = "4XX", body = Problem)))]
pub(super) async fn get(
    can: Can<may::ViewDestinations>,
    At(path): At<DestinationPath>,
) -> Result<Json<Shown>, Problem> {
    let mut tx = can.begin().await?;
    let found = destinations::find(&mut tx, path.destination).await?.ok_or_else(Problem::not_found)?;
    Ok(Json(steps::shown(&mut tx, found, can.now()).await?))
}

/// A secret as it was sent: a text, or an object whose text is kept.
#[derive(Debug)]
pub(super) struct Given(Secret<String>);

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = serde_json::from_str::<String>(raw.get()).unwrap_or_else(|_| raw.get().to_owned());
        Ok(Self(Secret::new(text)))
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddDestination {
    name: String,
    /// `native` when left out, `ocsf`, `ecs` or `cef`.
    #[schema(value_type = Option<String>)]
    format: Option<Format>,
    settings: Settings,
    #[serde(default)]
    wanted: Filter,
    /// Whether what is personal in records goes along: names, addresses, what was kept of arguments. It takes
    /// `activity.export_personal` besides, as does, while it does, each change, starting it and sending again: owners have
    /// both.
    #[serde(default)]
    personal: bool,
    /// What proves us to the receiver: a webhook's `whsec_…`, which is made when left out; a collector's token; keys, as an
    /// object. It can be replaced and never read.
    #[schema(value_type = Option<Object>, write_only)]
    secret: Option<Given>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Added {
    #[serde(flatten)]
    destination: Shown,
    /// The signing secret, where it was made now: enter it at the receiver, it is not shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// Adds a destination. It sends nothing before it is started, and then what comes into the log from now on.
#[utoipa::path(post, path = "/tenants/{tenant}/audit/destinations", tag = "destinations", params(TenantPath),
    request_body = AddDestination, responses((status = 201, body = Added), (status = "4XX", body = Problem)))]
pub(super) async fn add(
    State(needs): State<Needs>,
    can: Can<may::ManageDestinations>,
    Body(new): Body<AddDestination>,
) -> Result<(StatusCode, Json<Added>), Problem> {
    check_title("name", &new.name, 60)?;
    let (name, format) = (new.name, new.format.unwrap_or(Format::Native));
    let plan = Plan { name, format, settings: new.settings, wanted: new.wanted.into(), personal: new.personal };
    let made = (new.secret.is_none() && matches!(plan.settings, Settings::Webhook(_))).then(SigningSecret::generate);
    let shown = made.as_ref().map(|made| made.expose().clone());
    let secret = new.secret.map(|given| given.0).or(made).unwrap_or_else(|| Secret::new(String::new()));
    let added = steps::add(&needs, &can, plan, &secret).await?;
    let mut tx = can.begin().await?;
    let destination = steps::shown(&mut tx, added, can.now()).await?;
    Ok((StatusCode::CREATED, Json(Added { destination, secret: shown })))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeDestination {
    /// The revision that was seen.
    revision: u64,
    name: Option<String>,
    #[schema(value_type = Option<String>)]
    format: Option<Format>,
    /// Of the same kind.
    settings: Option<Settings>,
    wanted: Option<Filter>,
    personal: Option<bool>,
    /// A new secret.
    #[schema(value_type = Option<Object>, write_only)]
    secret: Option<Given>,
    /// Whether a webhook's batches are signed with the secret before, too, until the next change of it.
    #[serde(default)]
    keep_previous: bool,
}

/// Changes a destination.
#[utoipa::path(patch, path = "/tenants/{tenant}/audit/destinations/{destination}", tag = "destinations",
    params(TenantPath, DestinationPath), request_body = ChangeDestination,
    responses((status = 200, body = Shown), (status = "4XX", body = Problem)))]
pub(super) async fn change(
    State(needs): State<Needs>,
    can: Can<may::ManageDestinations>,
    At(path): At<DestinationPath>,
    Body(change): Body<ChangeDestination>,
) -> Result<Json<Shown>, Problem> {
    let secret =
        change.secret.map(
            |Given(secret)| {
                if change.keep_previous { NewSecret::Beside(secret) } else { NewSecret::Replacing(secret) }
            },
        );
    if let Some(name) = &change.name {
        check_title("name", name, 60)?;
    }
    let named = (path.destination, change.revision);
    let altered = steps::alter(&needs, &can, named, secret, |before, settings, format| Plan {
        name: change.name.unwrap_or_else(|| before.name.clone()),
        format: change.format.unwrap_or(format),
        settings: change.settings.unwrap_or(settings),
        wanted: change.wanted.map_or_else(|| before.wanted.clone(), Wanted::from),
        personal: change.personal.unwrap_or(before.personal),
    });
    let altered = altered.await?;
    let mut tx = can.begin().await?;
    Ok(Json(steps::shown(&mut tx, altered, can.now()).await?))
}

/// Removes a destination, with its place in the log and its dead letters.
#[utoipa::path(delete, path = "/tenants/{tenant}/audit/destinations/{destination}", tag = "destinations",
    params(TenantPath, DestinationPath), responses((status = 204), (status = "4XX", body = Problem)))]
pub(super) async fn remove(
    State(needs): State<Needs>,
    can: Can<may::ManageDestinations>,
    At(path): At<DestinationPath>,
) -> Result<StatusCode, Problem> {
    steps::remove(&needs, &can, path.destination).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Starts sending, from where it left off. Where what is personal goes along it takes `activity.export_personal` besides.
#[utoipa::path(post, path = "/tenants/{tenant}/audit/destinations/{destination}/start", tag = "destinations",
    params(TenantPath, DestinationPath), responses((status = 200, body = Shown), (status = "4XX", body = Problem)))]
pub(super) async fn start(
    State(clock): State<Clock>,
    can: Can<may::ManageDestinations>,
    At(path): At<DestinationPath>,
) -> Result<Json<Shown>, Problem> {
    let mut tx = can.begin().await?;
    let found = steps::start(&mut tx, (&can, &clock), path.destination).await?;
    let shown = steps::shown(&mut tx, found, can.now()).await?;
    tx.commit().await?;
    Ok(Json(shown))
}

/// Pauses sending. The place in the log is kept as long as the log's records are.
#[utoipa::path(post, path = "/tenants/{tenant}/audit/destinations/{destination}/pause", tag = "destinations",
    params(TenantPath, DestinationPath), responses((status = 200, body = Shown), (status = "4XX", body = Problem)))]
pub(super) async fn pause(
    State(clock): State<Clock>,
    can: Can<may::ManageDestinations>,
    At(path): At<DestinationPath>,
) -> Result<Json<Shown>, Problem> {
    let mut tx = can.begin().await?;
    let found = steps::pause(&mut tx, (&can, &clock), path.destination).await?;
    let shown = steps::shown(&mut tx, found, can.now()).await?;
    tx.commit().await?;
    Ok(Json(shown))
}

/// What a test came to.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TestResult {
    /// Whether the receiver took the record.
    accepted: bool,
    /// What it said, or what is wrong and what to do.
    said: String,
    /// A stable word for what is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// From the beginning of the connection to the answer.
    took_ms: u64,
}

/// Sends one record that says it is a test, and tells what the receiver made of it.
#[utoipa::path(post, path = "/tenants/{tenant}/audit/destinations/{destination}/test", tag = "destinations",
    params(TenantPath, DestinationPath), responses((status = 200, body = TestResult), (status = "4XX", body = Problem)))]
pub(super) async fn test(
    State(needs): State<Needs>,
    can: Can<may::ManageDestinations>,
    At(path): At<DestinationPath>,
) -> Result<Json<TestResult>, Problem> {
    let tested = steps::test(&needs, &can, path.destination).await?;
    let took_ms = u64::try_from(tested.took.as_millis()).unwrap_or(u64::MAX);
    Ok(Json(match tested.answer {
        Answer::Accepted(said) => TestResult { accepted: true, said, code: None, status: None, took_ms },
        Answer::Retry { why: fault, .. }
        | Answer::TooLarge(fault)
        | Answer::Refused(fault)
        | Answer::Stopped(fault) => {
            TestResult { accepted: false, said: fault.said, code: Some(fault.code), status: fault.status, took_ms }
        }
    }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StartReplay {
    /// From the first record that began at this time or later …
    from: Option<DateTime<Utc>>,
    /// … or from this place in the log.
    seq: Option<u64>,
    /// Most records in a second: 1 to 10000, 500 when left out.
    rate: Option<u32>,
}

/// Sends records again, from a time or a place up to the log's present end, beside what is new. Where what is personal goes
/// along it takes `activity.export_personal` besides.
#[utoipa::path(post, path = "/tenants/{tenant}/audit/destinations/{destination}/replay", tag = "destinations",
    params(TenantPath, DestinationPath), request_body = StartReplay,
    responses((status = 202, body = Shown), (status = "4XX", body = Problem)))]
pub(super) async fn replay(
    State(clock): State<Clock>,
    can: Can<may::ManageDestinations>,
    At(path): At<DestinationPath>,
    Body(asked): Body<StartReplay>,
) -> Result<(StatusCode, Json<Shown>), Problem> {
    let from = match (asked.from, asked.seq) {
        (Some(time), None) => Begin::Time(time),
        (None, Some(seq)) => Begin::Place(seq),
        _ => return Err(Problem::invalid("from", "either `from` or `seq`")),
    };
    let mut tx = can.begin().await?;
    let rate = asked.rate.unwrap_or(actions::REPLAY_RATE);
    steps::replay(&mut tx, (&can, &clock), path.destination, (from, rate)).await?;
    let found = destinations::find(&mut tx, path.destination).await?.ok_or_else(Problem::not_found)?;
    let shown = steps::shown(&mut tx, found, can.now()).await?;
    tx.commit().await?;
    Ok((StatusCode::ACCEPTED, Json(shown)))
}

/// Ends a replay before its end.
#[utoipa::path(delete, path = "/tenants/{tenant}/audit/destinations/{destination}/replay", tag = "destinations",
    params(TenantPath, DestinationPath), responses((status = 204), (status = "4XX", body = Problem)))]
pub(super) async fn end_replay(
    State(clock): State<Clock>,
    can: Can<may::ManageDestinations>,
    At(path): At<DestinationPath>,
) -> Result<StatusCode, Problem> {
    let mut tx = can.begin().await?;
    actions::end_replay(&mut tx, &can.author(&clock), path.destination).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
