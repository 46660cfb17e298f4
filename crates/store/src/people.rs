//! People, and their places in tenants.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use domain::{GroupName, MembershipId, Role, UserId};
use uuid::Uuid;

use crate::error::{broke, read};
use crate::tenants::LastChange;
use crate::words::{from_words, to_words};
use crate::{Error, PlatformTx, TenantTx};

/// The person with this e-mail address, in lower case; made as `new` when there is none yet.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find_or_add_user(
    tx: &mut PlatformTx,
    email: &str,
    new: UserId,
    at: DateTime<Utc>,
) -> Result<UserId, Error> {
    sqlx::query!(
        "insert into users (user_id, email, created_at) values ($1, $2, $3) on conflict on constraint users_email_key do nothing",
        new.uuid(),
        email,
        at,
    )
    .execute(tx.connection())
    .await?;
    let id = sqlx::query_scalar!(r#"select user_id as "user_id: UserId" from users where email = $1"#, email)
        .fetch_one(tx.connection())
        .await?;
    Ok(id)
}

/// The e-mail addresses of these people, in no order.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list_emails(tx: &mut PlatformTx, users: &[UserId]) -> Result<Vec<(UserId, String)>, Error> {
    let users: Vec<Uuid> = users.iter().map(|user| user.uuid()).collect();
    let rows = sqlx::query!(r#"select user_id as "user_id: UserId", email from users where user_id = any($1)"#, &users)
        .fetch_all(tx.connection())
        .await?;
    Ok(rows.into_iter().map(|row| (row.user_id, row.email)).collect())
}

/// A person's place in the tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The place.
    pub id: MembershipId,
    /// The person.
    pub user: UserId,
    /// What the tenant calls them.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The groups they are in.
    pub groups: BTreeSet<GroupName>,
    /// Since when.
    pub created_at: DateTime<Utc>,
}

/// Why a person was not added.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// They are a member already.
    #[error("the person is a member already")]
    AlreadyMember,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] Error),
}

/// Adds a person to the tenant.
///
/// # Errors
/// [`AddError::AlreadyMember`] when they are one.
pub async fn add(tx: &mut TenantTx, membership: &Membership) -> Result<(), AddError> {
    let added = sqlx::query!(
        "insert into memberships (membership_id, user_id, name, role, groups, created_at) values ($1, $2, $3, $4, $5, $6)",
        membership.id.uuid(),
        membership.user.uuid(),
        membership.name,
        membership.role.as_str(),
        &to_words(&membership.groups),
        membership.created_at,
    )
    .execute(tx.connection())
    .await;
    match added {
        Ok(_) => Ok(()),
        Err(error) if broke(&error, "memberships_user_id_key") => Err(AddError::AlreadyMember),
        Err(error) => Err(Error::from(error).into()),
    }
}

/// All members, in the order they came.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list(tx: &mut TenantTx) -> Result<Vec<Membership>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"select membership_id as "id: MembershipId", user_id as "user: UserId", name, role, groups, created_at
           from memberships order by created_at, membership_id"#
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(Row::read).collect()
}

/// One member, locked until the transaction ends.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find(tx: &mut TenantTx, id: MembershipId) -> Result<Option<Membership>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"select membership_id as "id: MembershipId", user_id as "user: UserId", name, role, groups, created_at
           from memberships where membership_id = $1 for update"#,
        id.uuid(),
    )
    .fetch_optional(tx.connection())
    .await?;
    row.map(Row::read).transpose()
}

/// A person's place in the tenant, if they have one; locked until the transaction ends, so that it is still theirs
/// when what was decided on it is written.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find_user(tx: &mut TenantTx, user: UserId) -> Result<Option<Membership>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"select membership_id as "id: MembershipId", user_id as "user: UserId", name, role, groups, created_at
           from memberships where user_id = $1 for update"#,
        user.uuid(),
    )
    .fetch_optional(tx.connection())
    .await?;
    row.map(Row::read).transpose()
}

/// How many owners the tenant has. Their rows are locked until the transaction ends, so that two who leave at once do
/// not both see the other staying.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn count_owners(tx: &mut TenantTx) -> Result<usize, Error> {
    let rows = sqlx::query_scalar!(
        r#"select 1 as "one!" from memberships where role = 'owner' order by membership_id for update"#
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.len())
}

/// Who last changed a member's place.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn last_change(tx: &mut TenantTx, id: MembershipId) -> Result<LastChange, Error> {
    let found = sqlx::query!(
        r#"select changed_by as "changed_by: UserId", changed_at from memberships where membership_id = $1"#,
        id.uuid(),
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(found.map(|row| LastChange { by: row.changed_by, at: row.changed_at }).unwrap_or_default())
}

/// Writes a member's name, role and groups, and who did.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn change(
    tx: &mut TenantTx,
    membership: &Membership,
    (by, at): (UserId, DateTime<Utc>),
) -> Result<(), Error> {
    sqlx::query!(
        "update memberships set name = $2, role = $3, groups = $4, changed_by = $5, changed_at = $6 where membership_id = $1",
        membership.id.uuid(),
        membership.name,
        membership.role.as_str(),
        &to_words(&membership.groups),
        by.uuid(),
        at,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Takes a member's place away.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn remove(tx: &mut TenantTx, id: MembershipId) -> Result<(), Error> {
    sqlx::query!("delete from memberships where membership_id = $1", id.uuid()).execute(tx.connection()).await?;
    Ok(())
}

struct Row {
    id: MembershipId,
    user: UserId,
    name: String,
    role: String,
    groups: Vec<String>,
    created_at: DateTime<Utc>,
}

impl Row {
    fn read(self) -> Result<Membership, Error> {
        Ok(Membership {
            id: self.id,
            user: self.user,
            name: self.name,
            role: read("memberships.role", Role::find(&self.role))?,
            groups: from_words("memberships.groups", &self.groups)?,
            created_at: self.created_at,
        })
    }
}
