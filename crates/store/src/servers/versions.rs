//! The versions of a server: what one look found, where it differs from what is live.

use chrono::{DateTime, Utc};
use domain::{EraPin, ServerId, ServerVersionId, Transport, UserId};

use crate::error::read;
use crate::{Error, TenantTx};

/// Where a version stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionState {
    /// A person must look.
    Held,
    /// A person has.
    Decided,
    /// A later probe found something else before one did.
    Superseded,
}

impl VersionState {
    /// The written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Decided => "decided",
            Self::Superseded => "superseded",
        }
    }

    fn find(text: &str) -> Option<Self> {
        [Self::Held, Self::Decided, Self::Superseded].into_iter().find(|state| state.as_str() == text)
    }
}

/// What one probe found, where it differs from what is live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its id.
    pub id: ServerVersionId,
    /// Of which server.
    pub server: ServerId,
    /// From 1, per server.
    pub number: u32,
    /// Where it stands.
    pub state: VersionState,
    /// Modern or legacy.
    pub era: EraPin,
    /// The protocol version agreed on.
    pub protocol_version: String,
    /// `serverInfo`, JSON as the server gave it.
    pub server_info: Option<String>,
    /// Instructions for models.
    pub instructions: Option<String>,
    /// When.
    pub found_at: DateTime<Utc>,
    /// Who asked; none: Sluice looked by itself.
    pub found_by: Option<UserId>,
    /// How it is spoken to.
    pub protocol: Protocol,
}

/// How a server is spoken to, as the last look that could tell found it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Protocol {
    /// The protocol versions it answered in, one of each era; none: that was never told.
    pub speaks: Option<Vec<String>>,
    /// `ServerCapabilities`, JSON as the server gave it; none: never told.
    pub capabilities: Option<String>,
    /// How it was reached; none: never told.
    pub transport: Option<Transport>,
    /// What else there is to know, a sentence each.
    pub findings: Vec<String>,
}

/// Adds a version; the server's earlier held ones are superseded.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn add_version(tx: &mut TenantTx, version: &Version) -> Result<(), Error> {
    supersede(tx, version.server).await?;
    sqlx::query!(
        "insert into server_versions (server_version_id, server_id, number, state, era, protocol_version, server_info, instructions,
             found_at, found_by, speaks, capabilities, transport, findings)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        version.id.uuid(),
        version.server.uuid(),
        version.number.cast_signed(),
        version.state.as_str(),
        version.era.as_str(),
        version.protocol_version,
        version.server_info,
        version.instructions,
        version.found_at,
        version.found_by.map(UserId::uuid),
        version.protocol.speaks.as_deref(),
        version.protocol.capabilities,
        version.protocol.transport.map(Transport::as_str),
        &version.protocol.findings,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Takes back what waits for a decision: the server offers it no longer. Says whether anything did.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn supersede(tx: &mut TenantTx, server: ServerId) -> Result<bool, Error> {
    let superseded = sqlx::query!(
        "update server_versions set state = 'superseded' where server_id = $1 and state = 'held'",
        server.uuid()
    )
    .execute(tx.connection())
    .await?;
    Ok(superseded.rows_affected() > 0)
}

/// Deletes superseded versions nobody said anything to, but for the newest (whoever has it open is told what became of
/// it); then, while more than `most` are left, the oldest of those of which nothing was accepted, superseded ones first.
/// What was accepted stays, and so does the newest version of all: its number is not given again.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn forget_versions(tx: &mut TenantTx, server: ServerId, most: u16) -> Result<(), Error> {
    let gone = sqlx::query_scalar!(
        r#"with known as (
               select v.server_version_id as id, v.number, v.state = 'superseded' as superseded,
                   'accepted' = any(said.states) is true or v.server_version_id in (
                       select s.server_version_id from servers s where s.server_id = $1) as accepted,
                   'rejected' = any(said.states) is true as rejected
               from server_versions v
               left join lateral (
                   select array_agg(distinct c.state) as states from (
                       select state from tool_changes t
                       where t.tenant_id = v.tenant_id and t.server_version_id = v.server_version_id
                       union all
                       select state from item_changes i
                       where i.tenant_id = v.tenant_id and i.server_version_id = v.server_version_id) c) said on true
               where v.server_id = $1 and v.state <> 'held'),
           waste as (
               select id from known where superseded and not accepted and not rejected
                   and number < (select max(number) from known where superseded)),
           excess as (
               select id from known where id not in (select id from waste) and not accepted and (superseded or rejected)
                   and number < (select max(number) from server_versions where server_id = $1)
               order by superseded desc, number
               limit greatest(0, (select count(*) from server_versions where server_id = $1)
                   - (select count(*) from waste) - $2))
           select id as "id!" from waste union all select id from excess"#,
        server.uuid(),
        i64::from(most),
    )
    .fetch_all(tx.connection())
    .await?;
    sqlx::query!("delete from tool_changes where server_version_id = any($1)", &gone).execute(tx.connection()).await?;
    sqlx::query!("delete from item_changes where server_version_id = any($1)", &gone).execute(tx.connection()).await?;
    sqlx::query!("delete from server_versions where server_version_id = any($1)", &gone)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// A server's versions, newest first.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list_versions(tx: &mut TenantTx, server: ServerId) -> Result<Vec<Version>, Error> {
    let rows = sqlx::query_as!(
        VersionRow,
        r#"select server_version_id as "id: ServerVersionId", server_id as "server: ServerId", number, state, era,
               protocol_version, server_info, instructions, found_at, found_by as "found_by: UserId",
               speaks, capabilities, transport, findings
           from server_versions where server_id = $1 order by number desc"#,
        server.uuid(),
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(VersionRow::read).collect()
}

/// One version of a server.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find_version(
    tx: &mut TenantTx,
    server: ServerId,
    version: ServerVersionId,
) -> Result<Option<Version>, Error> {
    let row = sqlx::query_as!(
        VersionRow,
        r#"select server_version_id as "id: ServerVersionId", server_id as "server: ServerId", number, state, era,
               protocol_version, server_info, instructions, found_at, found_by as "found_by: UserId",
               speaks, capabilities, transport, findings
           from server_versions where server_id = $1 and server_version_id = $2"#,
        server.uuid(),
        version.uuid(),
    )
    .fetch_optional(tx.connection())
    .await?;
    row.map(VersionRow::read).transpose()
}

/// Writes how a version's server is spoken to.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn set_protocol(tx: &mut TenantTx, version: ServerVersionId, protocol: &Protocol) -> Result<(), Error> {
    sqlx::query!(
        "update server_versions set speaks = $2, capabilities = $3, transport = $4, findings = $5
         where server_version_id = $1",
        version.uuid(),
        protocol.speaks.as_deref(),
        protocol.capabilities,
        protocol.transport.map(Transport::as_str),
        &protocol.findings,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Says that a person has looked at all of a version.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn set_decided(tx: &mut TenantTx, version: ServerVersionId) -> Result<(), Error> {
    sqlx::query!("update server_versions set state = 'decided' where server_version_id = $1", version.uuid())
        .execute(tx.connection())
        .await?;
    Ok(())
}

struct VersionRow {
    id: ServerVersionId,
    server: ServerId,
    number: i32,
    state: String,
    era: String,
    protocol_version: String,
    server_info: Option<String>,
    instructions: Option<String>,
    found_at: DateTime<Utc>,
    found_by: Option<UserId>,
    speaks: Option<Vec<String>>,
    capabilities: Option<String>,
    transport: Option<String>,
    findings: Vec<String>,
}

impl VersionRow {
    fn read(self) -> Result<Version, Error> {
        let transport = |text: String| read("server_versions.transport", Transport::find(&text));
        let protocol = Protocol {
            speaks: self.speaks,
            capabilities: self.capabilities,
            transport: self.transport.map(transport).transpose()?,
            findings: self.findings,
        };
        Ok(Version {
            id: self.id,
            server: self.server,
            number: self.number.cast_unsigned(),
            state: read("server_versions.state", VersionState::find(&self.state))?,
            era: read("server_versions.era", EraPin::find(&self.era))?,
            protocol_version: self.protocol_version,
            server_info: self.server_info,
            instructions: self.instructions,
            found_at: self.found_at,
            found_by: self.found_by,
            protocol,
        })
    }
}
