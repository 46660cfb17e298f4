//! Servers over HTTP.

use std::collections::{BTreeSet, HashMap};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use domain::{Alias, Clock, EraPin, Label, ServerId, ServerKey, ServerVersionId, SessionMode};
use secrets::Store;
use serde::{Deserialize, Serialize};
use store::TenantTx;
use store::health::{self, Health};
use store::servers::{self, Settings};
use url::Url;
use utoipa::{IntoParams, ToSchema};

use super::actions::{self, ServerError};
use crate::access::{Can, may};
use crate::credentials::actions as credentials;
use crate::input::{At, Body, check_title};
use crate::problem::Problem;
use crate::tenants::TenantPath;

/// The server a path names.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct ServerPath {
    pub(crate) server: ServerId,
}

/// An upstream server.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Server {
    id: ServerId,
    /// Its name in policies, chosen once and never used again.
    key: ServerKey,
    /// The prefix of its tools.
    alias: Alias,
    title: String,
    endpoint: Url,
    era: EraPin,
    sessions: SessionMode,
    /// Labels all its tools inherit.
    labels: BTreeSet<Label>,
    timeout_ms: u32,
    answer_max_bytes: u64,
    /// Whether calls are refused for now.
    paused: bool,
    /// The reviewed version; absent before the first review, when it serves nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<ServerVersionId>,
    /// To be sent along with a change.
    revision: u64,
    created_at: DateTime<Utc>,
    /// How it was when it was last looked at; absent when it never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<ServerHealth>,
}

/// How a server was when it was last looked at: at its imports, and every few minutes while it is live and not paused.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ServerHealth {
    /// `healthy`, `unreachable`, `needs_sign_in`, or `unusable`: it answers, but nothing that can be used.
    #[schema(value_type = String)]
    state: &'static str,
    /// Since when it has been so.
    since: DateTime<Utc>,
    checked_at: DateTime<Utc>,
    /// What is wrong, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Servers {
    servers: Vec<Server>,
}

/// Lists the servers.
#[utoipa::path(get, path = "/tenants/{tenant}/servers", tag = "servers", params(TenantPath),
    responses((status = 200, body = Servers), (status = "4XX", body = Problem)))]
pub(super) async fn list(can: Can<may::ViewServers>) -> Result<Json<Servers>, Problem> {
    let mut tx = can.begin().await?;
    let found = servers::list(&mut tx).await?;
    let seen = health::list(&mut tx).await?.into_iter().map(|health| (health.server, health));
    let mut seen: HashMap<ServerId, Health> = seen.collect();
    let servers = found.into_iter().map(|server| {
        let health = seen.remove(&server.id);
        Server::new(server, health)
    });
    Ok(Json(Servers { servers: servers.collect() }))
}

/// A server with its health.
async fn shown(tx: &mut TenantTx, server: servers::Server) -> Result<Json<Server>, Problem> {
    let health = health::find(tx, server.id).await?;
    Ok(Json(Server::new(server, health)))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddServer {
    /// Its name in policies, chosen once and never used again.
    key: ServerKey,
    /// The prefix of its tools: the first 12 characters of the key, when left out.
    alias: Option<Alias>,
    title: String,
    endpoint: Url,
    #[serde(default)]
    era: EraPin,
    #[serde(default)]
    sessions: SessionMode,
    #[serde(default)]
    labels: BTreeSet<Label>,
    /// Longest wait for the end of an answer: 1000 to 600000, 60000 when left out.
    timeout_ms: Option<u32>,
    /// Largest answer passed on: 1024 to 104857600, 10 MiB when left out.
    answer_max_bytes: Option<u64>,
}

/// Registers a server.
///
/// It serves nothing before what it offers was imported and accepted.
#[utoipa::path(post, path = "/tenants/{tenant}/servers", tag = "servers", params(TenantPath), request_body = AddServer,
    responses((status = 201, body = Server), (status = "4XX", body = Problem)))]
pub(super) async fn add(
    State(clock): State<Clock>,
    can: Can<may::ManageServers>,
    Body(new): Body<AddServer>,
) -> Result<(StatusCode, Json<Server>), Problem> {
    let usual = usual(&new.key, new.alias, new.title, new.endpoint)?;
    let settings = Settings {
        era: new.era,
        sessions: new.sessions,
        labels: new.labels,
        timeout_ms: new.timeout_ms.unwrap_or(usual.timeout_ms),
        answer_max_bytes: new.answer_max_bytes.unwrap_or(usual.answer_max_bytes),
        ..usual
    };
    check(&settings)?;
    let mut tx = can.begin().await?;
    let server = actions::add(&mut tx, &can.author(&clock), new.key, settings).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(Server::new(server, None))))
}

/// The settings of a server of which nothing more is said.
pub(super) fn usual(key: &ServerKey, alias: Option<Alias>, title: String, endpoint: Url) -> Result<Settings, Problem> {
    let short: String = key.as_str().chars().take(12).collect();
    let alias = alias.or_else(|| short.parse().ok());
    Ok(Settings {
        alias: alias.ok_or_else(|| Problem::invalid("alias", "1 to 12 lower-case letters, digits and hyphens"))?,
        title,
        endpoint,
        era: EraPin::default(),
        sessions: SessionMode::default(),
        labels: BTreeSet::new(),
        timeout_ms: 60_000,
        answer_max_bytes: 10 * 1024 * 1024,
    })
}

/// Shows a server.
#[utoipa::path(get, path = "/tenants/{tenant}/servers/{server}", tag = "servers", params(TenantPath, ServerPath),
    responses((status = 200, body = Server), (status = "4XX", body = Problem)))]
pub(super) async fn get(can: Can<may::ViewServers>, At(path): At<ServerPath>) -> Result<Json<Server>, Problem> {
    let mut tx = can.begin().await?;
    let found = servers::find(&mut tx, path.server).await?.ok_or_else(Problem::not_found)?;
    shown(&mut tx, found).await
}

/// What to change; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeServer {
    /// The revision you saw; when it is another one by now, nothing is changed.
    revision: u64,
    alias: Option<Alias>,
    title: Option<String>,
    endpoint: Option<Url>,
    era: Option<EraPin>,
    sessions: Option<SessionMode>,
    labels: Option<BTreeSet<Label>>,
    timeout_ms: Option<u32>,
    answer_max_bytes: Option<u64>,
}

/// Changes a server.
#[utoipa::path(patch, path = "/tenants/{tenant}/servers/{server}", tag = "servers", params(TenantPath, ServerPath),
    request_body = ChangeServer, responses((status = 200, body = Server), (status = "4XX", body = Problem)))]
pub(super) async fn change(
    State(clock): State<Clock>,
    can: Can<may::ManageServers>,
    At(path): At<ServerPath>,
    Body(wanted): Body<ChangeServer>,
) -> Result<Json<Server>, Problem> {
    let mut tx = can.begin().await?;
    let before = servers::find_locked(&mut tx, path.server).await?.ok_or_else(Problem::not_found)?;
    if let Some(endpoint) = &wanted.endpoint {
        check_stays(&before.settings.endpoint, endpoint)?;
    }
    let (named, mut settings) = ((path.server, wanted.revision), before.settings);
    wanted.apply(&mut settings);
    check(&settings)?;
    let changed = actions::change(&mut tx, &can.author(&clock), named, settings).await?;
    let shown = shown(&mut tx, changed).await?;
    tx.commit().await?;
    Ok(shown)
}

impl ChangeServer {
    fn apply(self, settings: &mut Settings) {
        fn set<T>(place: &mut T, wanted: Option<T>) {
            if let Some(wanted) = wanted {
                *place = wanted;
            }
        }
        set(&mut settings.alias, self.alias);
        set(&mut settings.title, self.title);
        set(&mut settings.endpoint, self.endpoint);
        set(&mut settings.era, self.era);
        set(&mut settings.sessions, self.sessions);
        set(&mut settings.labels, self.labels);
        set(&mut settings.timeout_ms, self.timeout_ms);
        set(&mut settings.answer_max_bytes, self.answer_max_bytes);
    }
}

/// Removes a server and its credential; its key is never used again.
#[utoipa::path(delete, path = "/tenants/{tenant}/servers/{server}", tag = "servers", params(TenantPath, ServerPath),
    responses((status = 204), (status = "4XX", body = Problem)))]
pub(super) async fn remove(
    State(clock): State<Clock>,
    State(store): State<Store>,
    can: Can<may::ManageServers>,
    At(path): At<ServerPath>,
) -> Result<StatusCode, Problem> {
    let mut tx = can.begin().await?;
    let place = actions::remove(&mut tx, &can.author(&clock), path.server).await?;
    tx.commit().await?;
    if let Some(place) = place {
        credentials::forget(&store, can.actor().tenant(), &place).await;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Has calls to a server refused for now.
#[utoipa::path(post, path = "/tenants/{tenant}/servers/{server}/pause", tag = "servers", params(TenantPath, ServerPath),
    responses((status = 200, body = Server), (status = "4XX", body = Problem)))]
pub(super) async fn pause(
    State(clock): State<Clock>,
    can: Can<may::ManageServers>,
    At(path): At<ServerPath>,
) -> Result<Json<Server>, Problem> {
    set_paused(&clock, &can, path.server, true).await
}

/// Takes calls to a server again.
#[utoipa::path(post, path = "/tenants/{tenant}/servers/{server}/resume", tag = "servers", params(TenantPath, ServerPath),
    responses((status = 200, body = Server), (status = "4XX", body = Problem)))]
pub(super) async fn resume(
    State(clock): State<Clock>,
    can: Can<may::ManageServers>,
    At(path): At<ServerPath>,
) -> Result<Json<Server>, Problem> {
    set_paused(&clock, &can, path.server, false).await
}

async fn set_paused(
    clock: &Clock,
    can: &Can<may::ManageServers>,
    server: ServerId,
    paused: bool,
) -> Result<Json<Server>, Problem> {
    let mut tx = can.begin().await?;
    let server = actions::set_paused(&mut tx, &can.author(clock), server, paused).await?;
    let shown = shown(&mut tx, server).await?;
    tx.commit().await?;
    Ok(shown)
}

impl From<ServerError> for Problem {
    fn from(error: ServerError) -> Self {
        match error {
            ServerError::NotFound => Self::not_found(),
            ServerError::ChangedMeanwhile(revision) => Self::changed_meanwhile(revision),
            ServerError::KeyTaken => Self::new(StatusCode::CONFLICT, "key-taken", "A server has or had this key")
                .detail("a key is never used again, because policies and records name it: choose another one"),
            ServerError::AliasTaken => Self::new(StatusCode::CONFLICT, "alias-taken", "A server has this alias")
                .detail("choose another alias: it makes the names of tools unique"),
            ServerError::TooMany => Self::new(StatusCode::CONFLICT, "too-many-servers", "There are too many servers")
                .detail(error.to_string()),
            ServerError::Found(error) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "definitions-refused", "What the server offers is refused")
                    .detail(error.to_string())
            }
            ServerError::Decided => Self::new(StatusCode::CONFLICT, "decided", "Nothing here waits for a decision")
                .detail("it was decided, or a later import took its place: read the server's versions again"),
            ServerError::Database(error) => error.into(),
        }
    }
}

pub(super) fn check(settings: &Settings) -> Result<(), Problem> {
    check_title("title", &settings.title, 100)?;
    check_endpoint(&settings.endpoint)?;
    if !(1_000..=600_000).contains(&settings.timeout_ms) {
        return Err(Problem::invalid("timeout_ms", "1000 to 600000"));
    }
    if !(1_024..=104_857_600).contains(&settings.answer_max_bytes) {
        return Err(Problem::invalid("answer_max_bytes", "1024 to 104857600"));
    }
    if settings.labels.len() > 50 {
        return Err(Problem::invalid("labels", "at most 50"));
    }
    Ok(())
}

/// Its tools were reviewed and its credential was given for where it is.
pub(super) fn check_stays(before: &Url, endpoint: &Url) -> Result<(), Problem> {
    if endpoint.origin() == before.origin() {
        return Ok(());
    }
    Err(Problem::invalid("endpoint", "another origin is another server: add it as one"))
}

/// An address a node may try; whether it may be dialled is judged there, when it is.
pub(super) fn check_endpoint(endpoint: &Url) -> Result<(), Problem> {
    let web = matches!(endpoint.scheme(), "http" | "https") && endpoint.host().is_some();
    let plain = endpoint.username().is_empty() && endpoint.password().is_none() && endpoint.fragment().is_none();
    if web && plain && endpoint.as_str().len() <= 2_048 {
        return Ok(());
    }
    Err(Problem::invalid("endpoint", "an http or https address without user, password and fragment"))
}

impl From<Health> for ServerHealth {
    fn from(health: Health) -> Self {
        let Health { state, since, checked_at, error, .. } = health;
        Self { state: state.as_str(), since, checked_at, error }
    }
}

impl Server {
    fn new(server: servers::Server, health: Option<Health>) -> Self {
        let servers::Server { id, key, settings, paused, version, revision, created_at } = server;
        let Settings { alias, title, endpoint, era, sessions, labels, timeout_ms, answer_max_bytes } = settings;
        Self {
            id,
            key,
            alias,
            title,
            endpoint,
            era,
            sessions,
            labels,
            timeout_ms,
            answer_max_bytes,
            paused,
            version,
            revision,
            created_at,
            health: health.map(ServerHealth::from),
        }
    }
}
