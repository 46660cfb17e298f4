//! The review of what servers offer, over HTTP.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::{Clock, EraPin, ItemId, Label, RiskClass, ServerId, ServerVersionId, ToolId, Transport, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::servers;
use store::tools;
use utoipa::{IntoParams, ToSchema};

use super::actions::{self, Changes, ServerError, ToolReview, Which};
use super::api::ServerPath;
use super::definition::differences;
use super::item_api::ItemChange;
use crate::access::{Can, may};
use crate::input::{At, Body};
use crate::problem::Problem;
use crate::tenants::TenantPath;

/// The version a path names.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct VersionPath {
    server: ServerId,
    version: ServerVersionId,
}

/// The tool a path names.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct ToolPath {
    server: ServerId,
    tool: ToolId,
}

/// What one look at a server found.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "MCP's own name of its version")]
pub(super) struct Version {
    id: ServerVersionId,
    /// From 1, per server.
    number: u32,
    /// `held`: a person must look; `decided`; `superseded` by a later look.
    #[schema(value_type = String)]
    state: &'static str,
    era: EraPin,
    protocol_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    server_info: Option<Box<RawValue>>,
    /// Its instructions for models; they come with the tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<String>,
    found_at: DateTime<Utc>,
    /// Absent: Sluice looked by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    found_by: Option<UserId>,
    /// The protocol versions it speaks, one of each era; absent: that could not be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    speaks: Option<Vec<String>>,
    /// How it was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<Transport>,
    /// What it says it can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    capabilities: Option<Box<RawValue>>,
    /// What else the look found, a sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Versions {
    versions: Vec<Version>,
}

/// A version with what it would change.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VersionWithChanges {
    #[serde(flatten)]
    version: Version,
    changes: Vec<ToolChange>,
    /// What it would do to prompts, resources and templates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    items: Vec<ItemChange>,
}

/// What a version would do to a tool.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ToolChange {
    tool: ToolId,
    name: String,
    /// `new`, `changed` or `removed`.
    #[schema(value_type = String)]
    kind: &'static str,
    /// `held`, `accepted` or `rejected`.
    #[schema(value_type = String)]
    state: &'static str,
    /// The guess for the definition found.
    risk: RiskClass,
    /// The members that differ, for a changed tool.
    #[schema(value_type = Vec<String>)]
    differs: Vec<&'static str>,
    /// The definition that was live.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Definition>,
    /// The definition found.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Definition>,
}

/// A definition.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Definition {
    /// SHA-256 of its canonical form, hexadecimal.
    digest: String,
    /// As the server gave it, byte for byte.
    #[schema(value_type = Object)]
    definition: Box<RawValue>,
}

/// Lists a server's versions, newest first.
#[utoipa::path(get, path = "/tenants/{tenant}/servers/{server}/versions", tag = "servers", params(TenantPath, ServerPath),
    responses((status = 200, body = Versions), (status = "4XX", body = Problem)))]
pub(super) async fn list_versions(
    can: Can<may::ViewServers>,
    At(path): At<ServerPath>,
) -> Result<Json<Versions>, Problem> {
    let mut tx = can.begin().await?;
    servers::find(&mut tx, path.server).await?.ok_or_else(Problem::not_found)?;
    let versions = servers::list_versions(&mut tx, path.server).await?;
    Ok(Json(Versions { versions: versions.into_iter().map(Version::from).collect() }))
}

/// Shows a version with what it would change.
#[utoipa::path(get, path = "/tenants/{tenant}/servers/{server}/versions/{version}", tag = "servers",
    params(TenantPath, VersionPath), responses((status = 200, body = VersionWithChanges), (status = "4XX", body = Problem)))]
pub(super) async fn get_version(
    can: Can<may::ViewServers>,
    At(path): At<VersionPath>,
) -> Result<Json<VersionWithChanges>, Problem> {
    let mut tx = can.begin().await?;
    shown(&mut tx, &path).await.map(Json)
}

async fn shown(tx: &mut store::TenantTx, path: &VersionPath) -> Result<VersionWithChanges, Problem> {
    let version = servers::find_version(tx, path.server, path.version).await?.ok_or_else(Problem::not_found)?;
    Ok(VersionWithChanges::new(version, Changes::read(tx, path.version).await?))
}

/// A decision on a version. Where nothing is named it is about all tools that are held, and no prompt or resource:
/// whoever knows only tools has read no other.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Decide {
    /// The tools it is about.
    tools: Option<BTreeSet<ToolId>>,
    /// The prompts, resources and templates it is about.
    items: Option<BTreeSet<ItemId>>,
    /// Whether it is about all that is held: tools, prompts, resources and templates. Nothing else is named then.
    #[serde(default)]
    all: bool,
}

impl TryFrom<Decide> for Which {
    type Error = Problem;

    fn try_from(decide: Decide) -> Result<Self, Problem> {
        match (decide.all, decide.tools, decide.items) {
            (true, None, None) => Ok(Self::All),
            (true, ..) => Err(Problem::invalid("all", "Either all, or some that are named.")),
            (false, None, None) => Ok(Self::Tools),
            (false, tools, items) => Ok(Self::Some(tools.unwrap_or_default(), items.unwrap_or_default())),
        }
    }
}

/// Accepts what a version would change: of all tools, of all that is held, or of some tools and items. What is left stays
/// held.
#[utoipa::path(post, path = "/tenants/{tenant}/servers/{server}/versions/{version}/accept", tag = "servers",
    params(TenantPath, VersionPath), request_body = Decide,
    responses((status = 200, body = VersionWithChanges), (status = "4XX", body = Problem)))]
pub(super) async fn accept(
    State(clock): State<Clock>,
    can: Can<may::ManageServers>,
    At(path): At<VersionPath>,
    Body(decide): Body<Decide>,
) -> Result<Json<VersionWithChanges>, Problem> {
    said(&clock, &can, &path, Word::Accept(decide.try_into()?)).await
}

/// Rejects what a version would change: of all tools, of all that is held, or of some tools and items. What was live
/// stays.
#[utoipa::path(post, path = "/tenants/{tenant}/servers/{server}/versions/{version}/reject", tag = "servers",
    params(TenantPath, VersionPath), request_body = Decide,
    responses((status = 200, body = VersionWithChanges), (status = "4XX", body = Problem)))]
pub(super) async fn reject(
    State(clock): State<Clock>,
    can: Can<may::ManageServers>,
    At(path): At<VersionPath>,
    Body(decide): Body<Decide>,
) -> Result<Json<VersionWithChanges>, Problem> {
    said(&clock, &can, &path, Word::Reject(decide.try_into()?)).await
}

/// What a person says to a version.
enum Word {
    Accept(Which),
    Reject(Which),
}

async fn said(
    clock: &Clock,
    can: &Can<may::ManageServers>,
    path: &VersionPath,
    word: Word,
) -> Result<Json<VersionWithChanges>, Problem> {
    let mut tx = can.begin().await?;
    let (author, named) = (can.author(clock), (path.server, path.version));
    match word {
        Word::Accept(which) => actions::accept(&mut tx, &author, named, which).await?,
        Word::Reject(which) => actions::reject(&mut tx, &author, named, which).await?,
    }
    let shown = shown(&mut tx, path).await?;
    tx.commit().await?;
    Ok(Json(shown))
}

/// A tool of a server.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Tool {
    id: ToolId,
    name: String,
    risk: RiskClass,
    /// Whether a person set the risk class; otherwise it is a guess.
    risk_reviewed: bool,
    /// Its own labels, beside the server's.
    labels: BTreeSet<Label>,
    /// What is live; absent: the tool is not offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<Definition>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Tools {
    tools: Vec<Tool>,
}

/// Lists a server's tools, those that wait for review or were removed among them.
#[utoipa::path(get, path = "/tenants/{tenant}/servers/{server}/tools", tag = "servers", params(TenantPath, ServerPath),
    responses((status = 200, body = Tools), (status = "4XX", body = Problem)))]
pub(super) async fn list_tools(can: Can<may::ViewServers>, At(path): At<ServerPath>) -> Result<Json<Tools>, Problem> {
    let mut tx = can.begin().await?;
    servers::find(&mut tx, path.server).await?.ok_or_else(Problem::not_found)?;
    let tools = tools::list(&mut tx, path.server).await?;
    Ok(Json(Tools { tools: tools.into_iter().map(Tool::from).collect() }))
}

/// What to change; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeTool {
    risk: Option<RiskClass>,
    labels: Option<BTreeSet<Label>>,
}

/// Sets a tool's risk class and labels.
#[utoipa::path(patch, path = "/tenants/{tenant}/servers/{server}/tools/{tool}", tag = "servers",
    params(TenantPath, ToolPath), request_body = ChangeTool,
    responses((status = 200, body = Tool), (status = "4XX", body = Problem)))]
pub(super) async fn change_tool(
    State(clock): State<Clock>,
    can: Can<may::ManageServers>,
    At(path): At<ToolPath>,
    Body(wanted): Body<ChangeTool>,
) -> Result<Json<Tool>, Problem> {
    if wanted.labels.as_ref().is_some_and(|labels| labels.len() > 50) {
        return Err(Problem::invalid("labels", "at most 50"));
    }
    let mut tx = can.begin().await?;
    let review = ToolReview { risk: wanted.risk, labels: wanted.labels };
    let changed: Result<tools::Tool, ServerError> =
        actions::change_tool(&mut tx, &can.author(&clock), (path.server, path.tool), review).await;
    let changed = changed?;
    tx.commit().await?;
    Ok(Json(changed.into()))
}

impl VersionWithChanges {
    pub(super) fn new(version: servers::Version, changes: Changes) -> Self {
        Self {
            version: version.into(),
            changes: changes.tools.into_iter().map(ToolChange::from).collect(),
            items: changes.items.into_iter().map(ItemChange::from).collect(),
        }
    }
}

impl From<servers::Version> for Version {
    fn from(version: servers::Version) -> Self {
        Self {
            id: version.id,
            number: version.number,
            state: version.state.as_str(),
            era: version.era,
            protocol_version: version.protocol_version,
            server_info: version.server_info.and_then(|info| RawValue::from_string(info).ok()),
            instructions: version.instructions,
            found_at: version.found_at,
            found_by: version.found_by,
            speaks: version.protocol.speaks,
            transport: version.protocol.transport,
            capabilities: version.protocol.capabilities.and_then(|said| RawValue::from_string(said).ok()),
            findings: version.protocol.findings,
        }
    }
}

impl From<tools::Change> for ToolChange {
    fn from(change: tools::Change) -> Self {
        let differs = match (&change.before, &change.after) {
            (Some(before), Some(after)) => differences(&before.text, &after.text),
            _ => Vec::new(),
        };
        Self {
            tool: change.tool,
            name: change.name,
            kind: change.kind.as_str(),
            state: change.state.as_str(),
            risk: change.risk,
            differs,
            before: change.before.and_then(Definition::from_stored),
            after: change.after.and_then(Definition::from_stored),
        }
    }
}

impl Definition {
    /// What was stored was JSON when it was found.
    pub(super) fn from_stored(stored: tools::Definition) -> Option<Self> {
        Some(Self { digest: stored.digest, definition: RawValue::from_string(stored.text).ok()? })
    }
}

impl From<tools::Tool> for Tool {
    fn from(tool: tools::Tool) -> Self {
        let tools::Tool { id, name, risk, risk_reviewed, labels, live, .. } = tool;
        Self { id, name, risk, risk_reviewed, labels, live: live.and_then(Definition::from_stored) }
    }
}
