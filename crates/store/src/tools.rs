//! Tools of upstream servers, their definitions, and the changes that wait for a person.

mod changes;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use domain::{Label, RiskClass, ServerId, ToolId};
use uuid::Uuid;

use crate::error::read;
use crate::words::{from_words, to_words};
use crate::{Error, TenantTx};

pub use self::changes::{
    Change, ChangeKind, ChangeState, Held, Word, accept, add_changes, list_changes, list_held, list_rejected, reject,
};

/// A tool, live or only known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Its id, the same over all definitions.
    pub id: ToolId,
    /// Whose it is.
    pub server: ServerId,
    /// The name the upstream knows it by.
    pub name: String,
    /// Its place in the upstream's order.
    pub position: u32,
    /// The worst it can do.
    pub risk: RiskClass,
    /// Whether a person said so.
    pub risk_reviewed: bool,
    /// Its own labels.
    pub labels: BTreeSet<Label>,
    /// The accepted definition; none: the tool is not offered.
    pub live: Option<Definition>,
}

/// A definition of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// SHA-256 of its canonical form, hexadecimal.
    pub digest: String,
    /// JSON as the upstream gave it.
    pub text: String,
}

/// A tool to be made known, with the definition it was found with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The tool.
    pub id: ToolId,
    /// Its name; used when the tool is new.
    pub name: String,
    /// Its place in the upstream's order.
    pub position: u32,
    /// The guess, used when the tool is new.
    pub risk: RiskClass,
    /// What it was found with.
    pub definition: Definition,
}

/// Makes tools and definitions known that were not; what was known stays as it is. One statement each, whatever the number.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn add_seen(tx: &mut TenantTx, server: ServerId, seen: &[Seen], at: DateTime<Utc>) -> Result<(), Error> {
    let ids: Vec<Uuid> = seen.iter().map(|tool| tool.id.uuid()).collect();
    let names: Vec<String> = seen.iter().map(|tool| tool.name.clone()).collect();
    let positions: Vec<i32> = seen.iter().map(|tool| tool.position.cast_signed()).collect();
    let risks: Vec<String> = seen.iter().map(|tool| tool.risk.as_str().to_owned()).collect();
    let digests: Vec<String> = seen.iter().map(|tool| tool.definition.digest.clone()).collect();
    let texts: Vec<String> = seen.iter().map(|tool| tool.definition.text.clone()).collect();
    sqlx::query!(
        "insert into tools (tool_id, server_id, name, position, risk)
         select new.tool_id, $1, new.name, new.position, new.risk
         from unnest($2::uuid[], $3::text[], $4::integer[], $5::text[]) as new (tool_id, name, position, risk)
         on conflict on constraint tools_pkey do nothing",
        server.uuid(),
        &ids,
        &names,
        &positions,
        &risks,
    )
    .execute(tx.connection())
    .await?;
    sqlx::query!(
        "insert into tool_definitions (tool_id, digest, definition, first_seen_at)
         select new.tool_id, new.digest, new.definition, $1
         from unnest($2::uuid[], $3::text[], $4::text[]) as new (tool_id, digest, definition)
         on conflict on constraint tool_definitions_pkey do nothing",
        at,
        &ids,
        &digests,
        &texts,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Deletes a server's definitions that neither are live nor were found by a version that is kept, and its tools that never
/// were live and about which neither a version nor a person says anything.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn forget_unused(tx: &mut TenantTx, server: ServerId) -> Result<(), Error> {
    sqlx::query!(
        "delete from tool_definitions d using tools t
         where t.server_id = $1 and t.tenant_id = d.tenant_id and t.tool_id = d.tool_id and t.digest is distinct from d.digest
             and not exists (select from tool_changes c where c.tenant_id = d.tenant_id and c.tool_id = d.tool_id
                 and (c.digest = d.digest or c.digest_before = d.digest))",
        server.uuid(),
    )
    .execute(tx.connection())
    .await?;
    sqlx::query!(
        "delete from tools t where t.server_id = $1 and t.digest is null and not t.risk_reviewed and t.labels = '{}'
             and not exists (select from tool_changes c where c.tenant_id = t.tenant_id and c.tool_id = t.tool_id)",
        server.uuid(),
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// All known tools of a server, in the upstream's order.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list(tx: &mut TenantTx, server: ServerId) -> Result<Vec<Tool>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"select t.tool_id as "id: ToolId", t.server_id as "server: ServerId", t.name, t.position, t.risk, t.risk_reviewed, t.labels,
               t.digest, d.definition as "definition?"
           from tools t
           left join tool_definitions d on d.tenant_id = t.tenant_id and d.tool_id = t.tool_id and d.digest = t.digest
           where t.server_id = $1 order by t.position, t.name"#,
        server.uuid(),
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(Row::read).collect()
}

/// The live tools of all servers that were not removed, in the upstreams' order.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list_live(tx: &mut TenantTx) -> Result<Vec<Tool>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"select t.tool_id as "id: ToolId", t.server_id as "server: ServerId", t.name, t.position, t.risk, t.risk_reviewed, t.labels,
               t.digest, d.definition as "definition?"
           from tools t
           join servers s on s.tenant_id = t.tenant_id and s.server_id = t.server_id and s.removed_at is null
           join tool_definitions d on d.tenant_id = t.tenant_id and d.tool_id = t.tool_id and d.digest = t.digest
           order by t.server_id, t.position, t.name"#
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(Row::read).collect()
}

/// A live tool without its definition, which may be long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Its id.
    pub id: ToolId,
    /// Whose it is.
    pub server: ServerId,
    /// The name the upstream knows it by.
    pub name: String,
    /// The worst it can do.
    pub risk: RiskClass,
    /// Its own labels.
    pub labels: BTreeSet<Label>,
}

/// What [`list_live`] lists, in the same order, without definitions.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list_offered(tx: &mut TenantTx) -> Result<Vec<Offered>, Error> {
    let rows = sqlx::query!(
        r#"select t.tool_id as "id: ToolId", t.server_id as "server: ServerId", t.name, t.risk, t.labels
           from tools t
           join servers s on s.tenant_id = t.tenant_id and s.server_id = t.server_id and s.removed_at is null
           where t.digest is not null order by t.server_id, t.position, t.name"#
    )
    .fetch_all(tx.connection())
    .await?;
    let offered = rows.into_iter().map(|row| {
        Ok(Offered {
            id: row.id,
            server: row.server,
            risk: read("tools.risk", RiskClass::find(&row.risk))?,
            labels: from_words("tools.labels", &row.labels)?,
            name: row.name,
        })
    });
    offered.collect()
}

/// How many tools [`list_live`] lists.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn count_live(tx: &mut TenantTx) -> Result<usize, Error> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from tools t
           join servers s on s.tenant_id = t.tenant_id and s.server_id = t.server_id and s.removed_at is null
           where t.digest is not null"#
    )
    .fetch_one(tx.connection())
    .await?;
    Ok(usize::try_from(count).unwrap_or_default())
}

/// How many tools a server has, and how much of it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// The server.
    pub server: ServerId,
    /// Tools that are live.
    pub live: i64,
    /// Changes a person must look at, of tools and of what it offers beside them.
    pub held: i64,
}

/// Counts the live tools of all servers and their held changes; servers without either are left out.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn count(tx: &mut TenantTx) -> Result<Vec<Counted>, Error> {
    Ok(sqlx::query_as!(
        Counted,
        r#"select server_id as "server!: ServerId", sum(live)::int8 as "live!", sum(held)::int8 as "held!" from (
               select server_id, count(*) as live, 0 as held from tools where digest is not null group by server_id
               union all
               select v.server_id, 0, count(*) from server_versions v
               join tool_changes c on c.tenant_id = v.tenant_id and c.server_version_id = v.server_version_id
               where v.state = 'held' and c.state = 'held' group by v.server_id
               union all
               select v.server_id, 0, count(*) from server_versions v
               join item_changes c on c.tenant_id = v.tenant_id and c.server_version_id = v.server_version_id
               where v.state = 'held' and c.state = 'held' group by v.server_id
           ) counted group by server_id"#
    )
    .fetch_all(tx.connection())
    .await?)
}

/// The servers that have a live tool with this text in its name, in any case.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find_servers(tx: &mut TenantTx, text: &str) -> Result<BTreeSet<ServerId>, Error> {
    let rows = sqlx::query!(
        r#"select distinct server_id as "server: ServerId" from tools
           where digest is not null and strpos(lower(name), lower($1)) > 0"#,
        text,
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| row.server).collect())
}

/// Writes a person's review of a tool: its risk class and labels.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn change(tx: &mut TenantTx, tool: &Tool) -> Result<(), Error> {
    sqlx::query!(
        "update tools set risk = $2, risk_reviewed = $3, labels = $4 where tool_id = $1",
        tool.id.uuid(),
        tool.risk.as_str(),
        tool.risk_reviewed,
        &to_words(&tool.labels),
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

struct Row {
    id: ToolId,
    server: ServerId,
    name: String,
    position: i32,
    risk: String,
    risk_reviewed: bool,
    labels: Vec<String>,
    digest: Option<String>,
    definition: Option<String>,
}

impl Row {
    fn read(self) -> Result<Tool, Error> {
        Ok(Tool {
            id: self.id,
            server: self.server,
            name: self.name,
            position: self.position.cast_unsigned(),
            risk: read("tools.risk", RiskClass::find(&self.risk))?,
            risk_reviewed: self.risk_reviewed,
            labels: from_words("tools.labels", &self.labels)?,
            live: self.digest.zip(self.definition).map(|(digest, text)| Definition { digest, text }),
        })
    }
}
