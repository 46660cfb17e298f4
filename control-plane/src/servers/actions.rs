//! The rules of servers, their versions and tools.

mod decisions;
mod import;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use domain::{Credential, CredentialPlace, ItemId, Label, RiskClass, ServerId, ServerKey, ToolId};
use store::health::Backoff;
use store::items::{self, Item};
use store::servers::{self, Server, Settings, WriteError};
use store::tenants::{self, KeyPurpose};
use store::tools::{self, Tool};
use store::{TenantTx, credentials, health};

use super::relay::Target;
use super::review::FoundError;
use super::watch::Seen;
use crate::ingest::change::Change;
use crate::recorded::Author;

pub(crate) use self::decisions::{Which, accept, accept_first, reject};
pub(crate) use self::import::{Changes, Imported, Looker, Rejected, import};

/// Most servers of a tenant.
pub(crate) const SERVERS_MAX: usize = 500;

/// Why something was not done to a server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    /// There is no such server, version, tool or item.
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

/// Sets the labels of a prompt, resource or template.
pub(crate) async fn label_item(
    tx: &mut TenantTx,
    author: &Author,
    (server, item): (ServerId, ItemId),
    labels: Option<BTreeSet<Label>>,
) -> Result<Item, ServerError> {
    locked(tx, server).await?;
    let before = items::find(tx, server, item).await?.ok_or(ServerError::NotFound)?;
    let labels = labels.unwrap_or_else(|| before.labels.clone());
    if labels != before.labels {
        items::set_labels(tx, item, &labels).await?;
        let change = Change::new("item.change", "item", item).named(before.name.as_str());
        author.changed(tx, change.before(&before.labels).after(&labels)).await?;
    }
    Ok(Item { labels, ..before })
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
