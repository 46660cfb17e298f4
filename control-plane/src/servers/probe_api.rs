//! Looking at an upstream server over HTTP: by a node, shown step by step.

use std::convert::Infallible;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event as ServerSent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use domain::relay::{Failed, Found, Step};
use domain::{Clock, Credential, EraPin, ItemKind, RiskClass, ServerId};
use futures_util::stream::{self, Stream};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::health::State as Condition;
use store::tenants::{self, KeyPurpose};
use tokio::sync::mpsc::Receiver;
use url::Url;
use utoipa::{IntoParams, ToSchema};

use super::actions::{self, Imported, Looker, Rejected, ServerError};
use super::api::{ServerPath, check_endpoint};
use super::relay::{Event, Relay, Target};
use super::review_api::VersionWithChanges;
use super::watch::{self, Seen};
use super::{item_review, review, risk};
use crate::access::{Can, may};
use crate::input::{At, Body};
use crate::problem::Problem;
use crate::tenants::TenantPath;

/// What to look at.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProbeAddress {
    endpoint: Url,
    #[serde(default)]
    era: EraPin,
}

/// What a look came to: `found` or `failed`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Probed {
    steps: Vec<Step>,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<Offer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<Failed>,
}

/// What a server offers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Offer {
    era: EraPin,
    pub(super) protocol_version: String,
    /// As the server describes itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(super) server_info: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<String>,
    pub(super) tools: Vec<Offered>,
    /// What it offers beside tools.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    items: Vec<OfferedItem>,
    /// The protocol versions it speaks, one of each era; absent: that could not be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    speaks: Option<Vec<String>>,
    /// What else there is to know, a sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<String>,
    /// Why it can't be imported, if they can't.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<String>,
}

/// A tool a server offers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Offered {
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    /// The guess.
    pub(super) risk: RiskClass,
}

/// A prompt, resource or template a server offers.
#[derive(Debug, Serialize, ToSchema)]
struct OfferedItem {
    kind: ItemKind,
    /// A prompt's name, a resource's URI, a template's text.
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

/// Has a node look at an address, without a credential.
///
/// With `accept: text/event-stream` each step is an event (`step`, then `found` or `failed`) as it ends.
#[utoipa::path(post, path = "/tenants/{tenant}/probes", tag = "servers", params(TenantPath), request_body = ProbeAddress,
    responses((status = 200, body = Probed), (status = "4XX", body = Problem)))]
pub(super) async fn probe(
    State(relay): State<Relay>,
    State(clock): State<Clock>,
    can: Can<may::ManageServers>,
    headers: HeaderMap,
    Body(wanted): Body<ProbeAddress>,
) -> Result<Response, Problem> {
    check_endpoint(&wanted.endpoint)?;
    let mut tx = can.begin().await?;
    let target = Target {
        tenant: tx.tenant(),
        server: None,
        endpoint: wanted.endpoint,
        era: wanted.era,
        credential: Credential::None,
        data_key: tenants::get_key(&mut tx, KeyPurpose::Data).await?,
    };
    drop(tx);
    answer(&headers, relay.probe(&clock, &target)?).await
}

/// Has a node look at a registered server with its credential; nothing is changed.
///
/// With `accept: text/event-stream` each step is an event (`step`, then `found` or `failed`) as it ends.
#[utoipa::path(post, path = "/tenants/{tenant}/servers/{server}/probe", tag = "servers", params(TenantPath, ServerPath),
    responses((status = 200, body = Probed), (status = "4XX", body = Problem)))]
pub(super) async fn probe_server(
    State(relay): State<Relay>,
    State(clock): State<Clock>,
    can: Can<may::ManageServers>,
    At(path): At<ServerPath>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (target, _) = actions::target(&mut can.begin().await?, path.server).await?;
    answer(&headers, relay.probe(&clock, &target)?).await
}

/// What an import came to.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Import {
    /// What waits for a decision; absent when all is as it was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<VersionWithChanges>,
}

/// What an import asks again.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ImportQuery {
    /// Whether to hold again what was rejected before and is still offered.
    #[serde(default)]
    rejected: bool,
}

/// Has a node look at a registered server and holds for review what differs from what is live.
///
/// What was rejected and is offered unchanged is not held again, unless it is asked for.
#[utoipa::path(post, path = "/tenants/{tenant}/servers/{server}/import", tag = "servers",
    params(TenantPath, ServerPath, ImportQuery),
    responses((status = 200, description = "Nothing waits for a decision", body = Import),
        (status = 201, description = "Something waits for a decision", body = Import),
        (status = 502, description = "The server could not be looked at", body = Problem), (status = "4XX", body = Problem)))]
pub(super) async fn import(
    State(relay): State<Relay>,
    State(clock): State<Clock>,
    can: Can<may::ManageServers>,
    At(path): At<ServerPath>,
    query: Result<Query<ImportQuery>, QueryRejection>,
) -> Result<(StatusCode, Json<Import>), Problem> {
    let Query(query) = query.map_err(|_| Problem::invalid("rejected", "true or false"))?;
    let rejected = if query.rejected { Rejected::AskAgain } else { Rejected::StayOut };
    match look(&relay, &clock, &can, (path.server, rejected)).await? {
        Imported::Unchanged => Ok((StatusCode::OK, Json(Import { held: None }))),
        Imported::Held(version, changes) => {
            Ok((StatusCode::CREATED, Json(Import { held: Some(VersionWithChanges::new(*version, changes)) })))
        }
    }
}

/// Has a node look at a registered server, and takes in what it found.
pub(super) async fn look(
    relay: &Relay,
    clock: &Clock,
    can: &Can<may::ManageServers>,
    (server, rejected): (ServerId, Rejected),
) -> Result<Imported, Problem> {
    // No transaction is held while the node looks.
    let (target, server) = actions::target(&mut can.begin().await?, server).await?;
    let found = match ended(relay.probe(clock, &target)?).await? {
        Ok(found) => found,
        Err(failed) => {
            note(can, clock, (server.id, server.revision), &watch::failure(&failed)).await?;
            return Err(Problem::new(StatusCode::BAD_GATEWAY, "probe-failed", "The server could not be looked at")
                .detail(failed.detail));
        }
    };
    let mut tx = can.begin().await?;
    let (looker, named) = (Looker::from(can.author(clock)), (server.id, server.revision));
    let imported = match actions::import(&mut tx, &looker, named, &found, rejected).await {
        Err(ServerError::Found(error)) => {
            drop(tx);
            let seen = Seen { state: Condition::Unusable, error: Some(error.to_string()) };
            note(can, clock, named, &seen).await?;
            return Err(ServerError::Found(error).into());
        }
        imported => imported?,
    };
    let seen = Seen { state: Condition::Healthy, error: None };
    actions::note(&mut tx, named, &seen, clock.now(), None).await?;
    tx.commit().await?;
    Ok(imported)
}

/// Keeps how a server was seen.
async fn note(
    can: &Can<may::ManageServers>,
    clock: &Clock,
    named: (ServerId, u64),
    seen: &Seen,
) -> Result<(), Problem> {
    let mut tx = can.begin().await?;
    actions::note(&mut tx, named, seen, clock.now(), None).await?;
    Ok(tx.commit().await?)
}

async fn ended(mut events: Receiver<Event>) -> Result<Result<Found, Failed>, Problem> {
    while let Some(event) = events.recv().await {
        match event {
            Event::Step(_) => {}
            Event::Found(found) => return Ok(Ok(*found)),
            Event::Failed(failed) => return Ok(Err(failed)),
            Event::NoNode => return Err(no_node()),
        }
    }
    Err(no_node())
}

pub(super) fn no_node() -> Problem {
    Problem::unavailable("no data-plane node answered, and only they reach upstream servers").unchanged()
}

async fn answer(headers: &HeaderMap, events: Receiver<Event>) -> Result<Response, Problem> {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accept.contains("text/event-stream") {
        return Ok(Sse::new(streamed(events)).keep_alive(KeepAlive::default()).into_response());
    }
    Ok(Json(collected(events).await?).into_response())
}

async fn collected(mut events: Receiver<Event>) -> Result<Probed, Problem> {
    let mut probed = Probed { steps: Vec::new(), found: None, failed: None };
    while let Some(event) = events.recv().await {
        match event {
            Event::Step(step) => probed.steps.push(step),
            Event::Found(found) => probed.found = Some(Offer::from(*found)),
            Event::Failed(failed) => probed.failed = Some(failed),
            Event::NoNode => return Err(no_node()),
        }
    }
    Ok(probed)
}

fn streamed(events: Receiver<Event>) -> impl Stream<Item = Result<ServerSent, Infallible>> {
    stream::unfold(events, async |mut events| {
        let event = events.recv().await?;
        let (name, data) = match event {
            Event::Step(step) => ("step", serde_json::to_string(&step)),
            Event::Found(found) => ("found", serde_json::to_string(&Offer::from(*found))),
            Event::Failed(failed) => ("failed", serde_json::to_string(&failed)),
            Event::NoNode => ("problem", serde_json::to_string(&no_node())),
        };
        Some((Ok(ServerSent::default().event(name).data(data.unwrap_or_default())), events))
    })
}

impl From<Found> for Offer {
    fn from(found: Found) -> Self {
        let texts: Vec<&str> = found.tools.iter().map(|tool| tool.get()).collect();
        let about = review::check_about(&found);
        let read = about.and_then(|()| Ok((review::read(&texts)?, item_review::read(&found.items))));
        let refused = read.as_ref().err().map(ToString::to_string);
        let (tools, items) = read.unwrap_or_default();
        let findings = found.findings.into_iter().chain(items.findings).collect();
        let items = items.listed.into_iter().flat_map(|(kind, items)| items.into_iter().map(move |item| (kind, item)));
        let items = items.map(|(kind, item)| OfferedItem { kind, name: item.name, description: item.says });
        let tools = tools.into_iter().map(|tool| Offered {
            risk: risk::guess(&tool),
            name: tool.name,
            title: tool.title,
            description: tool.description,
        });
        Self {
            tools: tools.collect(),
            items: items.collect(),
            speaks: found.speaks,
            findings,
            refused,
            era: found.era,
            protocol_version: found.protocol_version,
            server_info: found.server_info,
            instructions: found.instructions,
        }
    }
}
