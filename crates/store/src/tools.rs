//! Tools of upstream servers, their definitions, and the changes that wait for a person.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use domain::{Label, RiskClass, ServerId, ServerVersionId, ToolId, UserId};
use uuid::Uuid;

use crate::error::read;
use crate::words::{from_words, to_words};
use crate::{Error, TenantTx};

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

/// How many tools a server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// The server.
    pub server: ServerId,
    /// Tools that are live.
    pub live: i64,
    /// Changes a person must look at.
    pub held: i64,
}

/// Counts the tools of all servers, live ones and held changes; servers without either are left out.
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

/// What a version would do to a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// Offer it.
    New,
    /// Give it another definition.
    Changed,
    /// Offer it no longer.
    Removed,
}

impl ChangeKind {
    /// The written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }

    fn find(text: &str) -> Option<Self> {
        [Self::New, Self::Changed, Self::Removed].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What a person said to a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeState {
    /// Nothing yet.
    Held,
    /// Yes: it is live.
    Accepted,
    /// No: what was live stays.
    Rejected,
}

impl ChangeState {
    /// The written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
        }
    }

    fn find(text: &str) -> Option<Self> {
        [Self::Held, Self::Accepted, Self::Rejected].into_iter().find(|state| state.as_str() == text)
    }
}

/// A change that a version brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The tool.
    pub tool: ToolId,
    /// Its name.
    pub name: String,
    /// What would happen to it.
    pub kind: ChangeKind,
    /// Its place in the order found.
    pub position: u32,
    /// The guess for the definition found; for a removed tool the class it has.
    pub risk: RiskClass,
    /// What a person said.
    pub state: ChangeState,
    /// The definition that was live when it was found.
    pub before: Option<Definition>,
    /// The definition found.
    pub after: Option<Definition>,
}

/// Adds the changes of a new version; their definitions are known ([`add_seen`]).
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn add_changes(tx: &mut TenantTx, version: ServerVersionId, changes: &[Change]) -> Result<(), Error> {
    let digest = |definition: &Option<Definition>| definition.as_ref().map(|definition| definition.digest.clone());
    let tools: Vec<Uuid> = changes.iter().map(|change| change.tool.uuid()).collect();
    let kinds: Vec<String> = changes.iter().map(|change| change.kind.as_str().to_owned()).collect();
    let positions: Vec<i32> = changes.iter().map(|change| change.position.cast_signed()).collect();
    let after: Vec<Option<String>> = changes.iter().map(|change| digest(&change.after)).collect();
    let before: Vec<Option<String>> = changes.iter().map(|change| digest(&change.before)).collect();
    let risks: Vec<String> = changes.iter().map(|change| change.risk.as_str().to_owned()).collect();
    let states: Vec<String> = changes.iter().map(|change| change.state.as_str().to_owned()).collect();
    sqlx::query!(
        "insert into tool_changes (server_version_id, tool_id, kind, position, digest, digest_before, risk, state)
         select $1, new.* from unnest($2::uuid[], $3::text[], $4::integer[], $5::text[], $6::text[], $7::text[], $8::text[]) as new",
        version.uuid(),
        &tools,
        &kinds,
        &positions,
        &after as &[Option<String>],
        &before as &[Option<String>],
        &risks,
        &states,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The changes a version brings, in the order found.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list_changes(tx: &mut TenantTx, version: ServerVersionId) -> Result<Vec<Change>, Error> {
    let rows = sqlx::query_as!(
        ChangeRow,
        r#"select c.tool_id as "tool: ToolId", t.name, c.kind, c.position, c.risk, c.state,
               c.digest_before, b.definition as "before?", c.digest, a.definition as "after?"
           from tool_changes c
           join tools t on t.tenant_id = c.tenant_id and t.tool_id = c.tool_id
           left join tool_definitions a on a.tenant_id = c.tenant_id and a.tool_id = c.tool_id and a.digest = c.digest
           left join tool_definitions b on b.tenant_id = c.tenant_id and b.tool_id = c.tool_id and b.digest = c.digest_before
           where c.server_version_id = $1 order by c.position, t.name"#,
        version.uuid(),
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(ChangeRow::read).collect()
}

/// What was last said no to, tool by tool: the digest of the definition, or none where the tool was to go. What was said
/// yes to later is not among it.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list_rejected(tx: &mut TenantTx, server: ServerId) -> Result<Vec<(ToolId, Option<String>)>, Error> {
    let rows = sqlx::query!(
        r#"select said.tool_id as "tool: ToolId", said.digest from (
               select distinct on (c.tool_id) c.tool_id, c.digest, c.state from tool_changes c
               join server_versions v on v.tenant_id = c.tenant_id and v.server_version_id = c.server_version_id
               where v.server_id = $1 and c.state <> 'held' order by c.tool_id, v.number desc
           ) said where said.state = 'rejected'"#,
        server.uuid(),
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| (row.tool, row.digest)).collect())
}

struct ChangeRow {
    tool: ToolId,
    name: String,
    kind: String,
    position: i32,
    risk: String,
    state: String,
    digest_before: Option<String>,
    before: Option<String>,
    digest: Option<String>,
    after: Option<String>,
}

impl ChangeRow {
    fn read(self) -> Result<Change, Error> {
        Ok(Change {
            tool: self.tool,
            name: self.name,
            kind: read("tool_changes.kind", ChangeKind::find(&self.kind))?,
            position: self.position.cast_unsigned(),
            risk: read("tool_changes.risk", RiskClass::find(&self.risk))?,
            state: read("tool_changes.state", ChangeState::find(&self.state))?,
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
    /// The tools it is about.
    pub tools: &'a [ToolId],
    /// Whose word.
    pub by: UserId,
    /// When.
    pub at: DateTime<Utc>,
}

/// Accepts held changes: the definitions found become live, removed tools are offered no longer. A risk class no person
/// has set follows the guess. Gives how many there were.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn accept(tx: &mut TenantTx, word: &Word<'_>) -> Result<u64, Error> {
    let tools: Vec<Uuid> = word.tools.iter().map(|tool| tool.uuid()).collect();
    let accepted = sqlx::query!(
        "with said as (
             update tool_changes set state = 'accepted', decided_at = $3, decided_by = $4
             where server_version_id = $1 and tool_id = any($2) and state = 'held'
             returning tool_id, digest, position, risk)
         update tools t set digest = said.digest, position = said.position,
             risk = case when t.risk_reviewed then t.risk else said.risk end
         from said where t.tool_id = said.tool_id",
        word.version.uuid(),
        &tools,
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
    let tools: Vec<Uuid> = word.tools.iter().map(|tool| tool.uuid()).collect();
    let rejected = sqlx::query!(
        "update tool_changes set state = 'rejected', decided_at = $3, decided_by = $4
         where server_version_id = $1 and tool_id = any($2) and state = 'held'",
        word.version.uuid(),
        &tools,
        word.at,
        word.by.uuid(),
    )
    .execute(tx.connection())
    .await?;
    Ok(rejected.rows_affected())
}

/// A server with changes that wait for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The server.
    pub server: ServerId,
    /// How many tools differ.
    pub tools: i64,
    /// When the difference was found.
    pub found_at: DateTime<Utc>,
}

/// The servers with changes that wait for a person, the longest wait first.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list_held(tx: &mut TenantTx) -> Result<Vec<Held>, Error> {
    let rows = sqlx::query!(
        r#"select v.server_id as "server: ServerId", count(*) as "tools!", min(v.found_at) as "found_at!"
           from server_versions v join tool_changes c using (tenant_id, server_version_id)
           join servers s on s.tenant_id = v.tenant_id and s.server_id = v.server_id
           where v.state = 'held' and c.state = 'held' and s.removed_at is null
           group by 1 order by 3, 1"#
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| Held { server: row.server, tools: row.tools, found_at: row.found_at }).collect())
}
