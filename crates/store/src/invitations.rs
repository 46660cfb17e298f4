//! People asked into a tenant by a mailed link, until they come.

use chrono::{DateTime, Utc};
use domain::{InvitationId, Role, Slug, TenantId, UserId};

use crate::error::read;
use crate::{Error, PlatformTx, TenantTx};

/// Somebody who is asked into a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Its id.
    pub id: InvitationId,
    /// The address the link was mailed to.
    pub email: String,
    /// What they are to be.
    pub role: Role,
    /// Who asks them.
    pub invited_by: UserId,
    /// Since when.
    pub created_at: DateTime<Utc>,
    /// Until when the link is good.
    pub ends_at: DateTime<Utc>,
}

/// An invitation as whoever opens its link sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Into which tenant.
    pub tenant: TenantId,
    /// Its name in URLs.
    pub slug: Slug,
    /// Its name for people.
    pub title: String,
    /// The invitation.
    pub invitation: Invitation,
}

/// Adds an invitation; one of the same address before it is no more, and neither are those that ended.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn add(tx: &mut TenantTx, invitation: &Invitation, digest: [u8; 32]) -> Result<(), Error> {
    sqlx::query!("delete from invitations where email = $1 or ends_at < $2", invitation.email, invitation.created_at)
        .execute(tx.connection())
        .await?;
    sqlx::query!(
        "insert into invitations (invitation_id, digest, email, role, invited_by, created_at, ends_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        invitation.id.uuid(),
        &digest,
        invitation.email,
        invitation.role.as_str(),
        invitation.invited_by.uuid(),
        invitation.created_at,
        invitation.ends_at,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The invitations that are still good, newest first.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list(tx: &mut TenantTx, now: DateTime<Utc>) -> Result<Vec<Invitation>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"select invitation_id as "id: InvitationId", email, role, invited_by as "invited_by: UserId", created_at, ends_at
           from invitations where ends_at > $1 order by created_at desc, invitation_id"#,
        now,
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(Row::read).collect()
}

/// Takes an invitation back; gives it, if there was one.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn withdraw(tx: &mut TenantTx, id: InvitationId) -> Result<Option<Invitation>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"delete from invitations where invitation_id = $1
           returning invitation_id as "id: InvitationId", email, role, invited_by as "invited_by: UserId", created_at, ends_at"#,
        id.uuid(),
    )
    .fetch_optional(tx.connection())
    .await?;
    row.map(Row::read).transpose()
}

/// Takes back what a person asked others to: they may no longer, or no longer as much.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn withdraw_all_by(tx: &mut TenantTx, user: UserId) -> Result<(), Error> {
    sqlx::query!("delete from invitations where invited_by = $1", user.uuid()).execute(tx.connection()).await?;
    Ok(())
}

/// The invitation of a link, while it is good; it stays so.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find(tx: &mut PlatformTx, digest: [u8; 32], now: DateTime<Utc>) -> Result<Option<Opened>, Error> {
    let row = sqlx::query!(
        r#"select i.tenant_id as "tenant: TenantId", t.slug, s.title, i.invitation_id as "id: InvitationId", i.email, i.role,
               i.invited_by as "invited_by: UserId", i.created_at, i.ends_at
           from invitations i join tenants t on t.tenant_id = i.tenant_id
           join tenant_settings s on s.tenant_id = i.tenant_id
           where i.digest = $1 and i.ends_at > $2"#,
        &digest,
        now,
    )
    .fetch_optional(tx.connection())
    .await?;
    let Some(row) = row else { return Ok(None) };
    let invitation = Row {
        id: row.id,
        email: row.email,
        role: row.role,
        invited_by: row.invited_by,
        created_at: row.created_at,
        ends_at: row.ends_at,
    };
    Ok(Some(Opened {
        tenant: row.tenant,
        slug: read("tenants.slug", row.slug.parse().ok())?,
        title: row.title,
        invitation: invitation.read()?,
    }))
}

/// Uses an invitation up: of two who do so at once, one finds it there.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn take(tx: &mut PlatformTx, digest: [u8; 32], now: DateTime<Utc>) -> Result<bool, Error> {
    let done = sqlx::query!("delete from invitations where digest = $1 and ends_at > $2", &digest, now)
        .execute(tx.connection())
        .await?;
    Ok(done.rows_affected() == 1)
}

struct Row {
    id: InvitationId,
    email: String,
    role: String,
    invited_by: UserId,
    created_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
}

impl Row {
    fn read(self) -> Result<Invitation, Error> {
        Ok(Invitation {
            id: self.id,
            email: self.email,
            role: read("invitations.role", Role::find(&self.role))?,
            invited_by: self.invited_by,
            created_at: self.created_at,
            ends_at: self.ends_at,
        })
    }
}
