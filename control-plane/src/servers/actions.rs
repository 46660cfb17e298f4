//! The rules of servers, their versions and tools.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use domain::relay::Found;
use domain::{
    Clock, Credential, CredentialPlace, Label, RiskClass, ServerId, ServerKey, ServerVersionId, ToolId, UserId,
};
use store::health::Backoff;
use store::servers::{self, Server, Settings, Version, VersionState, WriteError};
use store::tenants::{self, KeyPurpose};
use store::tools::{self, Change as ToolChange, ChangeState, Tool, Word};
use store::{TenantTx, credentials, health};

use super::relay::Target;
use super::review::{self, Brought, FoundError};
use super::watch::Seen;
use crate::ingest::change::{self, Change};
use crate::recorded::Author;

/// Most servers of a tenant.
pub(crate) const SERVERS_MAX: usize = 500;
/// For how long Sluice leaves what waits for a person as it is, whatever it finds meanwhile: a server that answers
/// differently each time must not take from under a reviewer what is under review.
const WAITS_FOR: TimeDelta = TimeDelta::hours(1);
/// Most versions kept of a server; only accepted ones are kept beyond.
const VERSIONS_MAX: u16 = 50;

/// Why something was not done to a server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    /// There is no such server, version or tool.
    #[error("there is no such thing")]
    NotFound,
    /// Somebody else changed it.
    #[error("it is at revision {0}")]
    ChangedMeanwhile(u64),
    /// The key is or was in use.
    #[error("the key is taken")]
    KeyTaken,
    /// Another server has the alias.
    #[error("the alias is taken")]
    AliasTaken,
    /// There are too many.
    #[error("a tenant has at most {SERVERS_MAX} servers")]
    TooMany,
    /// What a probe found is refused.
    #[error(transparent)]
    Found(#[from] FoundError),
    /// Nothing of this version waits for a decision.
    #[error("the version is decided")]
    Decided,
    #[error(transparent)]
    Database(#[from] store::Error),
}

impl From<WriteError> for ServerError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::KeyTaken => Self::KeyTaken,
            WriteError::AliasTaken => Self::AliasTaken,
            WriteError::Database(error) => Self::Database(error),
        }
    }
}

/// Registers a server. It serves nothing before its first review.
pub(crate) async fn add(
    tx: &mut TenantTx,
    author: &Author,
    key: ServerKey,
    settings: Settings,
) -> Result<Server, ServerError> {
    if servers::list(tx).await?.len() >= SERVERS_MAX {
        return Err(ServerError::TooMany);
    }
    let server = Server {
        id: ServerId::new(&author.clock),
        key,
        settings,
        paused: false,
        version: None,
        revision: 1,
        created_at: author.now(),
    };
    servers::add(tx, &server).await?;
    health::add(tx, server.id, author.now()).await?;
    let change = Change::new("server.add", "server", server.id).named(server.key.as_str()).after(&seen(&server));
    author.changed(tx, change).await?;
    Ok(server)
}

/// Gives these settings, which were checked, to a server that is still at the revision its changer saw.
pub(crate) async fn change(
    tx: &mut TenantTx,
    author: &Author,
    (id, revision): (ServerId, u64),
    settings: Settings,
) -> Result<Server, ServerError> {
    let before = locked(tx, id).await?;
    if before.revision != revision {
        return Err(ServerError::ChangedMeanwhile(before.revision));
    }
    if settings == before.settings {
        return Ok(before);
    }
    let after = Server { settings, ..before.clone() };
    write(tx, author, "server.change", &before, after).await
}

/// Has calls refused for now, or no longer. Done twice it is done once.
pub(crate) async fn set_paused(
    tx: &mut TenantTx,
    author: &Author,
    id: ServerId,
    paused: bool,
) -> Result<Server, ServerError> {
    let before = locked(tx, id).await?;
    if before.paused == paused {
        return Ok(before);
    }
    let action = if paused { "server.pause" } else { "server.resume" };
    let after = Server { paused, ..before.clone() };
    write(tx, author, action, &before, after).await
}

/// Removes a server with its credential, whose place is given, to be destroyed once the transaction is through. The
/// server's key is never used again.
pub(crate) async fn remove(
    tx: &mut TenantTx,
    author: &Author,
    id: ServerId,
) -> Result<Option<CredentialPlace>, ServerError> {
    let server = locked(tx, id).await?;
    let place = credentials::find(tx, id).await?.map(|stored| stored.place);
    credentials::remove(tx, id).await?;
    health::remove(tx, id).await?;
    servers::remove(tx, id, author.now()).await?;
    let change = Change::new("server.remove", "server", id).named(server.key.as_str()).before(&seen(&server));
    author.changed(tx, change).await?;
    Ok(place)
}

/// What a node needs to look at a registered server.
pub(crate) async fn target(tx: &mut TenantTx, id: ServerId) -> Result<(Target, Server), ServerError> {
    let server = servers::find(tx, id).await?.ok_or(ServerError::NotFound)?;
    let credential = credentials::find(tx, id).await?.map_or(Credential::None, Credential::from);
    let target = Target {
        tenant: tx.tenant(),
        server: Some(id),
        endpoint: server.settings.endpoint.clone(),
        era: server.settings.era,
        credential,
        data_key: tenants::get_key(tx, KeyPurpose::Data).await?,
    };
    Ok((target, server))
}

/// What a probe came to.
#[derive(Debug)]
pub(crate) enum Imported {
    /// A person must look at this.
    Held(Box<Version>, Vec<ToolChange>),
    /// All is as it was accepted.
    Unchanged,
}

/// Who looks at a server.
#[derive(Debug)]
pub(crate) struct Looker {
    /// The person; none: Sluice looks by itself.
    pub(crate) person: Option<UserId>,
    /// As records name who looks.
    pub(crate) actor: change::Actor,
    pub(crate) clock: Clock,
}

impl Looker {
    /// Whether it leaves what waits as it is.
    fn leaves(&self, waiting: &Version) -> bool {
        self.person.is_none() && (self.clock.now() - waiting.found_at).abs() < WAITS_FOR
    }
}

impl From<Author> for Looker {
    fn from(author: Author) -> Self {
        Self { person: Some(author.user), actor: author.actor, clock: author.clock }
    }
}

/// What becomes of definitions a person has said no to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// They are not asked again.
    StayOut,
    /// They are asked again.
    AskAgain,
}

/// Takes in what a probe of the server, then at `revision`, found: what differs from what is live is held. What waits
/// already stays as it is, and what waited and is offered no longer is taken back; where nobody asked, not before it has
/// waited for [`WAITS_FOR`].
pub(crate) async fn import(
    tx: &mut TenantTx,
    looker: &Looker,
    (id, revision): (ServerId, u64),
    found: &Found,
    rejected: Rejected,
) -> Result<Imported, ServerError> {
    review::check_about(found)?;
    let texts: Vec<&str> = found.tools.iter().map(|tool| tool.get()).collect();
    let definitions = review::read(&texts)?;
    let server = locked(tx, id).await?;
    if server.revision != revision {
        return Err(ServerError::ChangedMeanwhile(server.revision));
    }
    let versions = servers::list_versions(tx, id).await?;
    let waiting = versions.first().filter(|newest| newest.state == VersionState::Held);
    if let Some(newest) = waiting.filter(|newest| looker.leaves(newest)) {
        return Ok(Imported::Held(Box::new(newest.clone()), tools::list_changes(tx, newest.id).await?));
    }
    let mut brought = review::compare(&tools::list(tx, id).await?, &definitions, || ToolId::new(&looker.clock));
    if rejected == Rejected::StayOut {
        brought.leave_out(&tools::list_rejected(tx, id).await?);
    }
    if brought.changes.is_empty() && is_known(&versions, &server, found, rejected) {
        if servers::supersede(tx, id).await? {
            forget(tx, id).await?;
        }
        return Ok(Imported::Unchanged);
    }
    if let Some(newest) = waiting.filter(|newest| says(newest, found)) {
        let waiting = tools::list_changes(tx, newest.id).await?;
        if brought.is_waiting(&waiting) {
            return Ok(Imported::Held(Box::new(newest.clone()), waiting));
        }
    }
    let number = versions.first().map_or(1, |newest| newest.number + 1);
    let version = hold(tx, looker, (id, number), found, &brought).await?;
    forget(tx, id).await?;
    let change = Change::new("server.import", "server_version", version.id).named(server.key.as_str());
    change::record(tx, &looker.clock, &looker.actor, change).await?;
    Ok(Imported::Held(Box::new(version), brought.changes))
}

/// Keeps how a server, then at `revision`, was seen: what was removed or changed meanwhile is not what was looked at.
pub(crate) async fn note(
    tx: &mut TenantTx,
    (id, revision): (ServerId, u64),
    seen: &Seen,
    at: DateTime<Utc>,
    backoff: Option<Backoff>,
) -> Result<(), ServerError> {
    let server = locked(tx, id).await?;
    if server.revision != revision {
        return Err(ServerError::ChangedMeanwhile(server.revision));
    }
    Ok(health::put(tx, id, (seen.state, seen.error.as_deref()), at, backoff).await?)
}

/// Deletes what was replaced before anybody decided on it, and what only it brought.
async fn forget(tx: &mut TenantTx, id: ServerId) -> Result<(), ServerError> {
    servers::forget_versions(tx, id, VERSIONS_MAX).await?;
    Ok(tools::forget_unused(tx, id).await?)
}

/// Whether what a server says of itself is what is live, or what a person has said no to since.
fn is_known(versions: &[Version], server: &Server, found: &Found, rejected: Rejected) -> bool {
    let live = versions.iter().find(|version| Some(version.id) == server.version);
    let after = live.map_or(0, |live| live.number);
    let decided = versions.iter().find(|version| version.number > after && version.state == VersionState::Decided);
    live.is_some_and(|live| says(live, found))
        || rejected == Rejected::StayOut && decided.is_some_and(|decided| says(decided, found))
}

fn says(version: &Version, found: &Found) -> bool {
    version.instructions == found.instructions
        && version.protocol_version == found.protocol_version
        && version.era == found.era
}

async fn hold(
    tx: &mut TenantTx,
    looker: &Looker,
    (server, number): (ServerId, u32),
    found: &Found,
    brought: &Brought,
) -> Result<Version, ServerError> {
    let version = Version {
        id: ServerVersionId::new(&looker.clock),
        server,
        number,
        state: VersionState::Held,
        era: found.era,
        protocol_version: found.protocol_version.clone(),
        server_info: found.server_info.as_ref().map(|info| info.get().to_owned()),
        instructions: found.instructions.clone(),
        found_at: looker.clock.now(),
        found_by: looker.person,
    };
    tools::add_seen(tx, server, &brought.seen, version.found_at).await?;
    servers::add_version(tx, &version).await?;
    tools::add_changes(tx, version.id, &brought.changes).await?;
    Ok(version)
}

/// Which changes of a version a person speaks of.
#[derive(Debug)]
pub(crate) enum Which {
    /// All that are held, and the version itself.
    All,
    /// Those of these tools.
    Tools(BTreeSet<ToolId>),
}

/// Accepts held changes: they are live with the next publication. The version's instructions come with its first
/// accepted tool, or with the version itself where no tool changed.
pub(crate) async fn accept(
    tx: &mut TenantTx,
    author: &Author,
    (id, version): (ServerId, ServerVersionId),
    which: Which,
) -> Result<(), ServerError> {
    let before = locked(tx, id).await?;
    let tools = held(tx, (id, version), which).await?;
    tools::accept(tx, &word(author, version, &tools)).await?;
    decide(tx, version).await?;
    let after = Server { version: Some(version), ..before.clone() };
    write(tx, author, "server.accept", &before, after).await?;
    Ok(())
}

/// Accepts as [`accept`] does, of a server of which nothing was accepted before.
pub(crate) async fn accept_first(
    tx: &mut TenantTx,
    author: &Author,
    (id, version): (ServerId, ServerVersionId),
    which: Which,
) -> Result<(), ServerError> {
    if locked(tx, id).await?.version.is_some() {
        return Err(ServerError::Decided);
    }
    accept(tx, author, (id, version), which).await
}

/// Rejects held changes: what was live stays.
pub(crate) async fn reject(
    tx: &mut TenantTx,
    author: &Author,
    (id, version): (ServerId, ServerVersionId),
    which: Which,
) -> Result<(), ServerError> {
    let server = locked(tx, id).await?;
    let tools = held(tx, (id, version), which).await?;
    tools::reject(tx, &word(author, version, &tools)).await?;
    decide(tx, version).await?;
    author.noted(tx, Change::new("server.reject", "server_version", version).named(server.key.as_str())).await?;
    Ok(())
}

fn word<'a>(author: &Author, version: ServerVersionId, tools: &'a [ToolId]) -> Word<'a> {
    Word { version, tools, by: author.user, at: author.now() }
}

/// The tools spoken of, all of them held.
async fn held(
    tx: &mut TenantTx,
    (server, version): (ServerId, ServerVersionId),
    which: Which,
) -> Result<Vec<ToolId>, ServerError> {
    let found = servers::find_version(tx, server, version).await?.ok_or(ServerError::NotFound)?;
    if found.state != VersionState::Held {
        return Err(ServerError::Decided);
    }
    let states: BTreeMap<ToolId, ChangeState> =
        tools::list_changes(tx, version).await?.iter().map(|change| (change.tool, change.state)).collect();
    let Which::Tools(wanted) = which else {
        return Ok(states.into_iter().filter(|(_, state)| *state == ChangeState::Held).map(|(tool, _)| tool).collect());
    };
    for tool in &wanted {
        match states.get(tool) {
            None => return Err(ServerError::NotFound),
            Some(ChangeState::Held) => {}
            Some(_) => return Err(ServerError::Decided),
        }
    }
    Ok(wanted.into_iter().collect())
}

/// Closes a version of which nothing is held any more.
async fn decide(tx: &mut TenantTx, version: ServerVersionId) -> Result<(), ServerError> {
    let open = tools::list_changes(tx, version).await?.iter().any(|change| change.state == ChangeState::Held);
    if !open {
        servers::set_decided(tx, version).await?;
    }
    Ok(())
}

/// A person's review of a tool.
#[derive(Debug)]
pub(crate) struct ToolReview {
    pub(crate) risk: Option<RiskClass>,
    pub(crate) labels: Option<BTreeSet<Label>>,
}

/// Sets a tool's risk class and labels; from now on no guess changes the class.
pub(crate) async fn change_tool(
    tx: &mut TenantTx,
    author: &Author,
    (server, tool): (ServerId, ToolId),
    wanted: ToolReview,
) -> Result<Tool, ServerError> {
    let changed = change_tools(tx, author, server, vec![(tool, wanted)]).await?;
    changed.into_iter().next().ok_or(ServerError::NotFound)
}

/// Writes a person's review of several tools of a server, which is locked and read once.
pub(crate) async fn change_tools(
    tx: &mut TenantTx,
    author: &Author,
    server: ServerId,
    wanted: Vec<(ToolId, ToolReview)>,
) -> Result<Vec<Tool>, ServerError> {
    locked(tx, server).await?;
    let known = tools::list(tx, server).await?;
    let mut changed = Vec::new();
    for (tool, wanted) in wanted {
        let before = known.iter().find(|found| found.id == tool).ok_or(ServerError::NotFound)?;
        changed.push(reviewed(tx, author, before, wanted).await?);
    }
    Ok(changed)
}

async fn reviewed(tx: &mut TenantTx, author: &Author, before: &Tool, wanted: ToolReview) -> Result<Tool, ServerError> {
    let mut after = before.clone();
    if let Some(risk) = wanted.risk {
        (after.risk, after.risk_reviewed) = (risk, true);
    }
    after.labels = wanted.labels.unwrap_or(after.labels);
    if after != *before {
        tools::change(tx, &after).await?;
        let seen = |tool: &Tool| serde_json::json!([tool.risk, tool.risk_reviewed, tool.labels]);
        let change = Change::new("tool.change", "tool", after.id).named(after.name.as_str());
        author.changed(tx, change.before(&seen(before)).after(&seen(&after))).await?;
    }
    Ok(after)
}

async fn locked(tx: &mut TenantTx, id: ServerId) -> Result<Server, ServerError> {
    servers::find_locked(tx, id).await?.ok_or(ServerError::NotFound)
}

async fn write(
    tx: &mut TenantTx,
    author: &Author,
    action: &'static str,
    before: &Server,
    after: Server,
) -> Result<Server, ServerError> {
    servers::change(tx, &after, (author.user, author.now())).await?;
    let change = Change::new(action, "server", after.id).named(after.key.as_str());
    author.changed(tx, change.before(&seen(before)).after(&seen(&after))).await?;
    Ok(Server { revision: after.revision + 1, ..after })
}

/// What a record's digest is of.
fn seen(server: &Server) -> serde_json::Value {
    let settings = &server.settings;
    serde_json::json!({
        "alias": settings.alias, "title": settings.title, "endpoint": settings.endpoint, "era": settings.era,
        "sessions": settings.sessions, "labels": settings.labels, "timeout_ms": settings.timeout_ms,
        "answer_max_bytes": settings.answer_max_bytes, "paused": server.paused, "version": server.version,
    })
}
