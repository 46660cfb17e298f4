//! What a person says to the changes a version brings: of tools and of what is offered beside them, in one act.

use std::collections::{BTreeMap, BTreeSet};

use domain::{ItemId, ServerId, ServerVersionId, ToolId};
use store::servers::{self, Server, VersionState};
use store::tools::ChangeState;
use store::{TenantTx, items, tools};

use super::import::Changes;
use super::{ServerError, locked, write};
use crate::ingest::change::Change;
use crate::recorded::Author;

/// Which changes of a version a person speaks of.
#[derive(Debug)]
pub(crate) enum Which {
    /// All that are held, and the version itself.
    All,
    /// Those of all tools that are held, and the version itself; prompts, resources and templates stay held.
    Tools,
    /// Those of these tools and of these items.
    Some(BTreeSet<ToolId>, BTreeSet<ItemId>),
}

/// Accepts held changes: they are live with the next publication. The version's instructions come with its first
/// accepted change, or with the version itself where nothing else changed.
pub(crate) async fn accept(
    tx: &mut TenantTx,
    author: &Author,
    (id, version): (ServerId, ServerVersionId),
    which: Which,
) -> Result<(), ServerError> {
    let before = locked(tx, id).await?;
    let (tools, items) = held(tx, (id, version), which).await?;
    tools::accept(tx, &tools::Word { version, tools: &tools, by: author.user, at: author.now() }).await?;
    items::accept(tx, &items::Word { version, items: &items, by: author.user, at: author.now() }).await?;
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
    let (tools, items) = held(tx, (id, version), which).await?;
    tools::reject(tx, &tools::Word { version, tools: &tools, by: author.user, at: author.now() }).await?;
    items::reject(tx, &items::Word { version, items: &items, by: author.user, at: author.now() }).await?;
    decide(tx, version).await?;
    author.noted(tx, Change::new("server.reject", "server_version", version).named(server.key.as_str())).await?;
    Ok(())
}

/// The tools and items spoken of, all of them held.
async fn held(
    tx: &mut TenantTx,
    (server, version): (ServerId, ServerVersionId),
    which: Which,
) -> Result<(Vec<ToolId>, Vec<ItemId>), ServerError> {
    let found = servers::find_version(tx, server, version).await?.ok_or(ServerError::NotFound)?;
    if found.state != VersionState::Held {
        return Err(ServerError::Decided);
    }
    let changes = Changes::read(tx, version).await?;
    let tools: BTreeMap<ToolId, ChangeState> = changes.tools.iter().map(|change| (change.tool, change.state)).collect();
    let items: BTreeMap<ItemId, ChangeState> = changes.items.iter().map(|change| (change.item, change.state)).collect();
    match which {
        Which::All => Ok((all_held(tools), all_held(items))),
        Which::Tools => Ok((all_held(tools), Vec::new())),
        Which::Some(wanted_tools, wanted_items) => Ok((all_of(&tools, wanted_tools)?, all_of(&items, wanted_items)?)),
    }
}

fn all_held<Id>(states: BTreeMap<Id, ChangeState>) -> Vec<Id> {
    states.into_iter().filter(|(_, state)| *state == ChangeState::Held).map(|(id, _)| id).collect()
}

/// Those wanted, if all of them are held.
fn all_of<Id: Ord>(states: &BTreeMap<Id, ChangeState>, wanted: BTreeSet<Id>) -> Result<Vec<Id>, ServerError> {
    for id in &wanted {
        match states.get(id) {
            None => return Err(ServerError::NotFound),
            Some(ChangeState::Held) => {}
            Some(_) => return Err(ServerError::Decided),
        }
    }
    Ok(wanted.into_iter().collect())
}

/// Closes a version of which nothing is held any more.
async fn decide(tx: &mut TenantTx, version: ServerVersionId) -> Result<(), ServerError> {
    if Changes::read(tx, version).await?.held() == 0 {
        servers::set_decided(tx, version).await?;
    }
    Ok(())
}
