//! The changes a version brings to the tools of its server, and what a person said to them.

use chrono::{DateTime, Utc};
use domain::{RiskClass, ServerId, ServerVersionId, ToolId, UserId};
use uuid::Uuid;

use super::Definition;
use crate::error::read;
use crate::{Error, TenantTx};

/// What a version would do to a tool, or to another thing a server offers.
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

    pub(crate) fn find(text: &str) -> Option<Self> {
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

    pub(crate) fn find(text: &str) -> Option<Self> {
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

/// Adds the changes of a new version; their definitions are known ([`super::add_seen`]).
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
    /// How many prompts, resources and templates do.
    pub items: i64,
    /// When the difference was found.
    pub found_at: DateTime<Utc>,
}

/// The servers with changes that wait for a person, the longest wait first.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list_held(tx: &mut TenantTx) -> Result<Vec<Held>, Error> {
    let rows = sqlx::query_as!(
        Held,
        r#"select server_id as "server: ServerId", tools as "tools!", items as "items!", found_at from (
               select v.server_id, v.found_at,
                   (select count(*) from tool_changes c where c.tenant_id = v.tenant_id
                       and c.server_version_id = v.server_version_id and c.state = 'held') as tools,
                   (select count(*) from item_changes c where c.tenant_id = v.tenant_id
                       and c.server_version_id = v.server_version_id and c.state = 'held') as items
               from server_versions v
               join servers s on s.tenant_id = v.tenant_id and s.server_id = v.server_id
               where v.state = 'held' and s.removed_at is null
           ) held where tools + items > 0 order by found_at, server_id"#
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows)
}
