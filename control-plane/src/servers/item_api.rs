//! What servers offer beside tools, over HTTP: prompts, resources and templates of resources.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use domain::{Clock, ItemId, ItemKind, Label, ServerId};
use serde::{Deserialize, Serialize};
use store::{items, servers};
use utoipa::{IntoParams, ToSchema};

use super::actions;
use super::api::ServerPath;
use super::item_definition::differences;
use super::review_api::Definition;
use crate::access::{Can, may};
use crate::input::{At, Body};
use crate::problem::Problem;
use crate::tenants::TenantPath;

/// Most labels of an item.
const LABELS_MAX: usize = 50;

/// The prompt, resource or template a path names.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct ItemPath {
    server: ServerId,
    item: ItemId,
}

/// What a version would do to a prompt, resource or template.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ItemChange {
    item: ItemId,
    of: ItemKind,
    /// A prompt's name, a resource's URI, a template's text.
    name: String,
    /// `new`, `changed` or `removed`.
    #[schema(value_type = String)]
    kind: &'static str,
    /// `held`, `accepted` or `rejected`.
    #[schema(value_type = String)]
    state: &'static str,
    /// The members that differ, for a changed one.
    #[schema(value_type = Vec<String>)]
    differs: Vec<&'static str>,
    /// The definition that was live.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Definition>,
    /// The definition found.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Definition>,
}

impl From<items::Change> for ItemChange {
    fn from(change: items::Change) -> Self {
        let differs = match (&change.before, &change.after) {
            (Some(before), Some(after)) => differences(change.of, &before.text, &after.text),
            _ => Vec::new(),
        };
        Self {
            item: change.item,
            of: change.of,
            name: change.name,
            kind: change.kind.as_str(),
            state: change.state.as_str(),
            differs,
            before: change.before.and_then(Definition::from_stored),
            after: change.after.and_then(Definition::from_stored),
        }
    }
}

/// A prompt, resource or template of a server.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Item {
    id: ItemId,
    kind: ItemKind,
    /// A prompt's name, a resource's URI, a template's text.
    name: String,
    /// Its own labels, beside the server's.
    labels: BTreeSet<Label>,
    /// What is live; absent: it is not offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<Definition>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Items {
    items: Vec<Item>,
}

/// Lists a server's prompts, resources and templates, those that wait for review or were removed among them.
#[utoipa::path(get, path = "/tenants/{tenant}/servers/{server}/items", tag = "servers", params(TenantPath, ServerPath),
    responses((status = 200, body = Items), (status = "4XX", body = Problem)))]
pub(super) async fn list_items(can: Can<may::ViewServers>, At(path): At<ServerPath>) -> Result<Json<Items>, Problem> {
    let mut tx = can.begin().await?;
    servers::find(&mut tx, path.server).await?.ok_or_else(Problem::not_found)?;
    let items = items::list(&mut tx, path.server).await?;
    Ok(Json(Items { items: items.into_iter().map(Item::from).collect() }))
}

/// What to change; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeItem {
    labels: Option<BTreeSet<Label>>,
}

/// Sets the labels of a prompt, resource or template.
#[utoipa::path(patch, path = "/tenants/{tenant}/servers/{server}/items/{item}", tag = "servers",
    params(TenantPath, ItemPath), request_body = ChangeItem,
    responses((status = 200, body = Item), (status = "4XX", body = Problem)))]
pub(super) async fn change_item(
    State(clock): State<Clock>,
    can: Can<may::ManageServers>,
    At(path): At<ItemPath>,
    Body(wanted): Body<ChangeItem>,
) -> Result<Json<Item>, Problem> {
    if wanted.labels.as_ref().is_some_and(|labels| labels.len() > LABELS_MAX) {
        return Err(Problem::invalid("labels", format!("at most {LABELS_MAX}")));
    }
    let mut tx = can.begin().await?;
    let changed = actions::label_item(&mut tx, &can.author(&clock), (path.server, path.item), wanted.labels).await?;
    tx.commit().await?;
    Ok(Json(changed.into()))
}

impl From<items::Item> for Item {
    fn from(item: items::Item) -> Self {
        let items::Item { id, kind, name, labels, live, .. } = item;
        Self { id, kind, name, labels, live: live.and_then(Definition::from_stored) }
    }
}
