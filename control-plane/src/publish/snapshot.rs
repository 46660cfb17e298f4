//! Builds a tenant's snapshot from one state of the database.

use std::collections::HashMap;

use domain::snapshot::SNAPSHOT_FORMAT;
use domain::{Annotations, Carries, Credential, Item, Server, ServerId, Slug, TenantSnapshot, Tool};
use serde::Deserialize;
use serde_json::value::RawValue;
use store::tenants::KeyPurpose;
use store::{TenantTx, credentials, items, policies, servers, tenants, tools};

/// Reads everything a node needs of the transaction's tenant; the transaction must see one state throughout.
pub(crate) async fn build(tx: &mut TenantTx, slug: Slug, epoch: u64) -> Result<TenantSnapshot, store::Error> {
    let (settings, revision) = tenants::get_settings(tx).await?;
    Ok(TenantSnapshot {
        format: SNAPSHOT_FORMAT,
        tenant: tx.tenant(),
        slug,
        title: settings.title,
        epoch,
        revision,
        blind_max_s: settings.blind_max_s,
        prefix: settings.prefix,
        servers: build_servers(tx).await?,
        policies: policies::list_active(tx).await?,
        arguments_key: tenants::get_key(tx, KeyPurpose::Arguments).await?,
        data_key: tenants::get_key(tx, KeyPurpose::Data).await?,
    })
}

async fn build_servers(tx: &mut TenantTx) -> Result<Vec<Server>, store::Error> {
    let mut tools: HashMap<ServerId, Vec<Tool>> = HashMap::new();
    for tool in tools::list_live(tx).await? {
        let server = tool.server;
        tools.entry(server).or_default().extend(published_tool(tool)?);
    }
    let mut items: HashMap<ServerId, Vec<Item>> = HashMap::new();
    for item in items::list_live(tx).await? {
        let server = item.server;
        items.entry(server).or_default().extend(published_item(item)?);
    }
    let stored = credentials::list(tx).await?;
    let mut presented: HashMap<ServerId, Credential> =
        stored.into_iter().map(|stored| (stored.server, stored.into())).collect();
    let mut built = Vec::new();
    for server in servers::list(tx).await? {
        // A server nobody has reviewed yet is not there for clients.
        let Some(id) = server.version else { continue };
        let version = servers::find_version(tx, server.id, id).await?;
        let version = version.ok_or(store::Error::Unreadable { column: "servers.server_version_id" })?;
        let credential = presented.remove(&server.id).unwrap_or(Credential::None);
        let tools = tools.remove(&server.id).unwrap_or_default();
        let items = items.remove(&server.id).unwrap_or_default();
        built.push(published_server(server, version, credential, (tools, items)));
    }
    Ok(built)
}

fn published_server(
    server: servers::Server,
    version: servers::Version,
    credential: Credential,
    (tools, items): (Vec<Tool>, Vec<Item>),
) -> Server {
    let (settings, protocol) = (server.settings, version.protocol);
    Server {
        id: server.id,
        key: server.key,
        alias: settings.alias,
        title: settings.title,
        version: version.id,
        endpoint: settings.endpoint,
        era: settings.era,
        probed_version: Some(version.protocol_version),
        sessions: settings.sessions,
        credential,
        labels: settings.labels,
        instructions: version.instructions,
        paused: server.paused,
        timeout_ms: settings.timeout_ms,
        answer_max_bytes: settings.answer_max_bytes,
        tools,
        items,
        speaks: protocol.speaks.unwrap_or_default(),
        carries: protocol.capabilities.as_deref().map(Carries::of).unwrap_or_default(),
    }
}

/// The one part of a definition that the snapshot says twice.
#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    annotations: Annotations,
}

fn published_tool(tool: tools::Tool) -> Result<Option<Tool>, store::Error> {
    let Some(live) = tool.live else { return Ok(None) };
    let unreadable = |_| store::Error::Unreadable { column: "tool_definitions.definition" };
    // Hints of a wrong type are no hints: the pessimistic ones hold.
    let annotations = serde_json::from_str::<Claims>(&live.text).map(|claims| claims.annotations).unwrap_or_default();
    Ok(Some(Tool {
        id: tool.id,
        name: tool.name,
        definition: RawValue::from_string(live.text).map_err(unreadable)?,
        digest: live.digest,
        risk: tool.risk,
        labels: tool.labels,
        annotations,
    }))
}

fn published_item(item: items::Item) -> Result<Option<Item>, store::Error> {
    let Some(live) = item.live else { return Ok(None) };
    let unreadable = |_| store::Error::Unreadable { column: "item_definitions.definition" };
    Ok(Some(Item {
        id: item.id,
        kind: item.kind,
        name: item.name,
        definition: RawValue::from_string(live.text).map_err(unreadable)?,
        digest: live.digest,
        labels: item.labels,
    }))
}
