//! The changes a version brings to the items of its server, and what a person said to them.

use chrono::{DateTime, Utc};
use domain::{ItemId, ItemKind, ServerId, ServerVersionId, UserId};
use uuid::Uuid;

use crate::error::read;
use crate::tools::{ChangeKind, ChangeState, Definition};
use crate::{Error, TenantTx};

/// A change that a version brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The item.
    pub item: ItemId,
    /// What it is.
    pub of: ItemKind,
    /// What the upstream knows it by.
    pub name: String,
    /// What would happen to it.
    pub kind: ChangeKind,
    /// Its place in the order found, among its kind.
    pub position: u32,
    /// What a person said.
    pub state: ChangeState,
    /// The definition that was live when it was found.
    pub before: Option<Definition>,
    /// The definition found.
    pub after: Option<Definition>,
}

/// Adds the changes of a new version; their definitions are known ([`super::add_seen`]).
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn add_changes(tx: &mut TenantTx, version: ServerVersionId, changes: &[Change]) -> Result<(), Error> {
    let digest = |definition: &Option<Definition>| definition.as_ref().map(|definition| definition.digest.clone());
    let items: Vec<Uuid> = changes.iter().map(|change| change.item.uuid()).collect();
    let kinds: Vec<String> = changes.iter().map(|change| change.kind.as_str().to_owned()).collect();
    let positions: Vec<i32> = changes.iter().map(|change| change.position.cast_signed()).collect();
    let after: Vec<Option<String>> = changes.iter().map(|change| digest(&change.after)).collect();
    let before: Vec<Option<String>> = changes.iter().map(|change| digest(&change.before)).collect();
    let states: Vec<String> = changes.iter().map(|change| change.state.as_str().to_owned()).collect();
    sqlx::query!(
        "insert into item_changes (server_version_id, item_id, kind, position, digest, digest_before, state)
         select $1, new.* from unnest($2::uuid[], $3::text[], $4::integer[], $5::text[], $6::text[], $7::text[]) as new",
        version.uuid(),
        &items,
        &kinds,
        &positions,
        &after as &[Option<String>],
        &before as &[Option<String>],
        &states,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The changes a version brings, kind by kind in the order found.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list_changes(tx: &mut TenantTx, version: ServerVersionId) -> Result<Vec<Change>, Error> {
    let rows = sqlx::query_as!(
        ChangeRow,
        r#"select c.item_id as "item: ItemId", i.kind as "of", i.name, c.kind, c.position, c.state,
               c.digest_before, b.definition as "before?", c.digest, a.definition as "after?"
           from item_changes c
           join items i on i.tenant_id = c.tenant_id and i.item_id = c.item_id
           left join item_definitions a on a.tenant_id = c.tenant_id and a.item_id = c.item_id and a.digest = c.digest
           left join item_definitions b on b.tenant_id = c.tenant_id and b.item_id = c.item_id and b.digest = c.digest_before
           where c.server_version_id = $1 order by i.kind, c.position, i.name"#,
        version.uuid(),
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(ChangeRow::read).collect()
}

/// What was last said no to, item by item: the digest of the definition, or none where the item was to go. What was said
/// yes to later is not among it.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list_rejected(tx: &mut TenantTx, server: ServerId) -> Result<Vec<(ItemId, Option<String>)>, Error> {
    let rows = sqlx::query!(
        r#"select said.item_id as "item: ItemId", said.digest from (
               select distinct on (c.item_id) c.item_id, c.digest, c.state from item_changes c
               join server_versions v on v.tenant_id = c.tenant_id and v.server_version_id = c.server_version_id
               where v.server_id = $1 and c.state <> 'held' order by c.item_id, v.number desc
           ) said where said.state = 'rejected'"#,
        server.uuid(),
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| (row.item, row.digest)).collect())
}

struct ChangeRow {
    item: ItemId,
    of: String,
    name: String,
    kind: String,
    position: i32,
    state: String,
    digest_before: Option<String>,
    before: Option<String>,
    digest: Option<String>,
    after: Option<String>,
}

impl ChangeRow {
    fn read(self) -> Result<Change, Error> {
        Ok(Change {
            item: self.item,
            of: read("items.kind", ItemKind::find(&self.of))?,
            name: self.name,
            kind: read("item_changes.kind", ChangeKind::find(&self.kind))?,
            position: self.position.cast_unsigned(),
            state: read("item_changes.state", ChangeState::find(&self.state))?,
            before: self.digest_before.zip(self.before).map(|(digest, text)| Definition { digest, text }),
            after: self.digest.zip(self.after).map(|(digest, text)| Definition { digest, text }),
        })
    }
}

/// A person's word on held changes of a version.
#[derive(Debug, Clone)]
pub struct Word<'a> {
    /// The version.
    pub version: ServerVersionId,
    /// The items it is about.
    pub items: &'a [ItemId],
    /// Whose word.
    pub by: UserId,
    /// When.
    pub at: DateTime<Utc>,
}

/// Accepts held changes: the definitions found become live, removed items are offered no longer. Gives how many there
/// were.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn accept(tx: &mut TenantTx, word: &Word<'_>) -> Result<u64, Error> {
    let items: Vec<Uuid> = word.items.iter().map(|item| item.uuid()).collect();
    let accepted = sqlx::query!(
        "with said as (
             update item_changes set state = 'accepted', decided_at = $3, decided_by = $4
             where server_version_id = $1 and item_id = any($2) and state = 'held'
             returning item_id, digest, position)
         update items i set digest = said.digest, position = said.position
         from said where i.item_id = said.item_id",
        word.version.uuid(),
        &items,
        word.at,
        word.by.uuid(),
    )
    .execute(tx.connection())
    .await?;
    Ok(accepted.rows_affected())
}

/// Rejects held changes: what was live stays. Gives how many there were.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn reject(tx: &mut TenantTx, word: &Word<'_>) -> Result<u64, Error> {
    let items: Vec<Uuid> = word.items.iter().map(|item| item.uuid()).collect();
    let rejected = sqlx::query!(
        "update item_changes set state = 'rejected', decided_at = $3, decided_by = $4
         where server_version_id = $1 and item_id = any($2) and state = 'held'",
        word.version.uuid(),
        &items,
        word.at,
        word.by.uuid(),
    )
    .execute(tx.connection())
    .await?;
    Ok(rejected.rows_affected())
}
