//! What upstream servers offer beside tools, its definitions, and the changes of it that wait for a person.

mod changes;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use domain::{ItemId, ItemKind, Label, ServerId};
use uuid::Uuid;

use crate::error::read;
use crate::tools::Definition;
use crate::words::{from_words, to_words};
use crate::{Error, TenantTx};

pub use self::changes::{Change, Word, accept, add_changes, list_changes, list_rejected, reject};

/// A prompt, resource or template, live or only known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its id, the same over all definitions.
    pub id: ItemId,
    /// Whose it is.
    pub server: ServerId,
    /// What it is.
    pub kind: ItemKind,
    /// What the upstream knows it by.
    pub name: String,
    /// Its place in the upstream's order, among its kind.
    pub position: u32,
    /// Its own labels.
    pub labels: BTreeSet<Label>,
    /// The accepted definition; none: it is not offered.
    pub live: Option<Definition>,
}

/// An item to be made known, with the definition it was found with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The item.
    pub id: ItemId,
    /// What it is; used when it is new, as are its name and place.
    pub kind: ItemKind,
    /// What the upstream knows it by.
    pub name: String,
    /// Its place in the upstream's order, among its kind.
    pub position: u32,
    /// What it was found with.
    pub definition: Definition,
}

/// Makes items and definitions known that were not; what was known stays as it is. One statement each, whatever the number.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn add_seen(tx: &mut TenantTx, server: ServerId, seen: &[Seen], at: DateTime<Utc>) -> Result<(), Error> {
    let ids: Vec<Uuid> = seen.iter().map(|item| item.id.uuid()).collect();
    let kinds: Vec<String> = seen.iter().map(|item| item.kind.as_str().to_owned()).collect();
    let names: Vec<String> = seen.iter().map(|item| item.name.clone()).collect();
    let positions: Vec<i32> = seen.iter().map(|item| item.position.cast_signed()).collect();
    let digests: Vec<String> = seen.iter().map(|item| item.definition.digest.clone()).collect();
    let texts: Vec<String> = seen.iter().map(|item| item.definition.text.clone()).collect();
    sqlx::query!(
        "insert into items (item_id, server_id, kind, name, position)
         select new.item_id, $1, new.kind, new.name, new.position
         from unnest($2::uuid[], $3::text[], $4::text[], $5::integer[]) as new (item_id, kind, name, position)
         on conflict on constraint items_pkey do nothing",
        server.uuid(),
        &ids,
        &kinds,
        &names,
        &positions,
    )
    .execute(tx.connection())
    .await?;
    sqlx::query!(
        "insert into item_definitions (item_id, digest, definition, first_seen_at)
         select new.item_id, new.digest, new.definition, $1
         from unnest($2::uuid[], $3::text[], $4::text[]) as new (item_id, digest, definition)
         on conflict on constraint item_definitions_pkey do nothing",
        at,
        &ids,
        &digests,
        &texts,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Deletes a server's definitions of items that neither are live nor were found by a version that is kept, and its items
/// that never were live and about which neither a version nor a person says anything.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn forget_unused(tx: &mut TenantTx, server: ServerId) -> Result<(), Error> {
    sqlx::query!(
        "delete from item_definitions d using items i
         where i.server_id = $1 and i.tenant_id = d.tenant_id and i.item_id = d.item_id and i.digest is distinct from d.digest
             and not exists (select from item_changes c where c.tenant_id = d.tenant_id and c.item_id = d.item_id
                 and (c.digest = d.digest or c.digest_before = d.digest))",
        server.uuid(),
    )
    .execute(tx.connection())
    .await?;
    sqlx::query!(
        "delete from items i where i.server_id = $1 and i.digest is null and i.labels = '{}'
             and not exists (select from item_changes c where c.tenant_id = i.tenant_id and c.item_id = i.item_id)",
        server.uuid(),
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// All known items of a server, kind by kind in the upstream's order.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list(tx: &mut TenantTx, server: ServerId) -> Result<Vec<Item>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"select i.item_id as "id: ItemId", i.server_id as "server: ServerId", i.kind, i.name, i.position, i.labels,
               i.digest, d.definition as "definition?"
           from items i
           left join item_definitions d on d.tenant_id = i.tenant_id and d.item_id = i.item_id and d.digest = i.digest
           where i.server_id = $1 order by i.kind, i.position, i.name"#,
        server.uuid(),
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(Row::read).collect()
}

/// One known item of a server.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find(tx: &mut TenantTx, server: ServerId, item: ItemId) -> Result<Option<Item>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"select i.item_id as "id: ItemId", i.server_id as "server: ServerId", i.kind, i.name, i.position, i.labels,
               i.digest, d.definition as "definition?"
           from items i
           left join item_definitions d on d.tenant_id = i.tenant_id and d.item_id = i.item_id and d.digest = i.digest
           where i.server_id = $1 and i.item_id = $2"#,
        server.uuid(),
        item.uuid(),
    )
    .fetch_optional(tx.connection())
    .await?;
    row.map(Row::read).transpose()
}

/// The live items of all servers that were not removed, server by server and kind by kind in the upstream's order.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list_live(tx: &mut TenantTx) -> Result<Vec<Item>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"select i.item_id as "id: ItemId", i.server_id as "server: ServerId", i.kind, i.name, i.position, i.labels,
               i.digest, d.definition as "definition?"
           from items i
           join servers s on s.tenant_id = i.tenant_id and s.server_id = i.server_id and s.removed_at is null
           join item_definitions d on d.tenant_id = i.tenant_id and d.item_id = i.item_id and d.digest = i.digest
           order by i.server_id, i.kind, i.position, i.name"#
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(Row::read).collect()
}

/// Writes an item's own labels.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn set_labels(tx: &mut TenantTx, item: ItemId, labels: &BTreeSet<Label>) -> Result<(), Error> {
    sqlx::query!("update items set labels = $2 where item_id = $1", item.uuid(), &to_words(labels))
        .execute(tx.connection())
        .await?;
    Ok(())
}

struct Row {
    id: ItemId,
    server: ServerId,
    kind: String,
    name: String,
    position: i32,
    labels: Vec<String>,
    digest: Option<String>,
    definition: Option<String>,
}

impl Row {
    fn read(self) -> Result<Item, Error> {
        Ok(Item {
            id: self.id,
            server: self.server,
            kind: read("items.kind", ItemKind::find(&self.kind))?,
            name: self.name,
            position: self.position.cast_unsigned(),
            labels: from_words("items.labels", &self.labels)?,
            live: self.digest.zip(self.definition).map(|(digest, text)| Definition { digest, text }),
        })
    }
}
