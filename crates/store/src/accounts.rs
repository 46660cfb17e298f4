//! Accounts: a person's e-mail address and password, their workspaces, and the links they are mailed.

use chrono::{DateTime, Utc};
use domain::{Role, Slug, TenantId, UserId};

use crate::error::{broke, read};
use crate::{Error, PlatformTx};

/// A person who may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The person.
    pub user: UserId,
    /// Their e-mail address, in lower case.
    pub email: String,
    /// Their password, as argon2id keeps it (a PHC string); none while they have not chosen one.
    pub phc: Option<String>,
}

/// The account of an e-mail address, in lower case.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find(tx: &mut PlatformTx, email: &str) -> Result<Option<Account>, Error> {
    let found = sqlx::query_as!(
        Account,
        r#"select u.user_id as "user: UserId", u.email, p.phc as "phc?" from users u left join passwords p using (user_id)
           where u.email = $1"#,
        email,
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(found)
}

/// A person's account.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find_user(tx: &mut PlatformTx, user: UserId) -> Result<Option<Account>, Error> {
    let found = sqlx::query_as!(
        Account,
        r#"select u.user_id as "user: UserId", u.email, p.phc as "phc?" from users u left join passwords p using (user_id)
           where u.user_id = $1"#,
        user.uuid(),
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(found)
}

/// Gives a person a password, or another one.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn set_password(tx: &mut PlatformTx, user: UserId, phc: &str, at: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query!(
        "insert into passwords (user_id, phc, changed_at) values ($1, $2, $3)
         on conflict on constraint passwords_pkey do update set phc = $2, changed_at = $3",
        user.uuid(),
        phc,
        at,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Why a person did not get another e-mail address.
#[derive(Debug, thiserror::Error)]
pub enum ChangeEmailError {
    /// It is somebody else's.
    #[error("the address is taken")]
    Taken,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] Error),
}

/// Gives a person another e-mail address.
///
/// # Errors
/// [`ChangeEmailError::Taken`] when it is somebody else's.
pub async fn change_email(tx: &mut PlatformTx, user: UserId, email: &str) -> Result<(), ChangeEmailError> {
    let changed = sqlx::query!("update users set email = $2 where user_id = $1", user.uuid(), email)
        .execute(tx.connection())
        .await;
    match changed {
        Ok(_) => Ok(()),
        Err(error) if broke(&error, "users_email_key") => Err(ChangeEmailError::Taken),
        Err(error) => Err(Error::from(error).into()),
    }
}

/// A workspace a person is a member of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// The tenant.
    pub tenant: TenantId,
    /// Its name in URLs.
    pub slug: Slug,
    /// Its name for people.
    pub title: String,
    /// What it calls the person.
    pub name: String,
    /// What they may do there.
    pub role: Role,
}

/// Most workspaces of one person that are listed.
const WORKSPACES_MAX: i64 = 200;

/// The workspaces a person is a member of, by name.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list_workspaces(tx: &mut PlatformTx, user: UserId) -> Result<Vec<Workspace>, Error> {
    let rows = sqlx::query!(
        r#"select m.tenant_id as "tenant: TenantId", t.slug, s.title, m.name, m.role
           from memberships m join tenants t on t.tenant_id = m.tenant_id
           join tenant_settings s on s.tenant_id = m.tenant_id
           where m.user_id = $1 order by lower(s.title), t.slug limit $2"#,
        user.uuid(),
        WORKSPACES_MAX,
    )
    .fetch_all(tx.connection())
    .await?;
    let workspaces = rows.into_iter().map(|row| {
        Ok(Workspace {
            tenant: row.tenant,
            slug: read("tenants.slug", row.slug.parse().ok())?,
            title: row.title,
            name: row.name,
            role: read("memberships.role", Role::find(&row.role))?,
        })
    });
    workspaces.collect()
}

/// What a link in a mail is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Making an account.
    SignUp,
    /// Choosing another password.
    Reset,
    /// Taking the address for an account there is.
    ChangeEmail,
}

impl Purpose {
    const fn as_str(self) -> &'static str {
        match self {
            Self::SignUp => "sign_up",
            Self::Reset => "reset",
            Self::ChangeEmail => "change_email",
        }
    }
}

/// A link that was mailed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The address the mail went to.
    pub email: String,
    /// Whose address it is to become; none where the link is for something else.
    pub user: Option<UserId>,
}

/// Adds a link, and takes back what the same address was mailed for the same purpose before.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn add_link(
    tx: &mut PlatformTx,
    digest: [u8; 32],
    purpose: Purpose,
    link: &Link,
    (at, ends_at): (DateTime<Utc>, DateTime<Utc>),
) -> Result<(), Error> {
    sqlx::query!(
        "delete from mail_links where digest in
         (select digest from mail_links where ends_at < $1 limit 1000 for update skip locked)",
        at
    )
    .execute(tx.connection())
    .await?;
    sqlx::query!("delete from mail_links where email = $1 and purpose = $2", link.email, purpose.as_str())
        .execute(tx.connection())
        .await?;
    sqlx::query!(
        "insert into mail_links (digest, purpose, email, user_id, created_at, ends_at) values ($1, $2, $3, $4, $5, $6)",
        &digest,
        purpose.as_str(),
        link.email,
        link.user.map(domain::Id::uuid),
        at,
        ends_at,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// A link that is still good; it stays so.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find_link(
    tx: &mut PlatformTx,
    digest: [u8; 32],
    purpose: Purpose,
    at: DateTime<Utc>,
) -> Result<Option<Link>, Error> {
    let found = sqlx::query_as!(
        Link,
        r#"select email, user_id as "user: UserId" from mail_links where digest = $1 and purpose = $2 and ends_at > $3"#,
        &digest,
        purpose.as_str(),
        at,
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(found)
}

/// Uses a link up: of two who do so at once, one gets it.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn take_link(
    tx: &mut PlatformTx,
    digest: [u8; 32],
    purpose: Purpose,
    at: DateTime<Utc>,
) -> Result<Option<Link>, Error> {
    let taken = sqlx::query_as!(
        Link,
        r#"delete from mail_links where digest = $1 and purpose = $2 and ends_at > $3
           returning email, user_id as "user: UserId""#,
        &digest,
        purpose.as_str(),
        at,
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(taken)
}

/// Takes back every link that would let whoever reads an address's mail into its account.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn drop_links(tx: &mut PlatformTx, user: UserId, email: &str) -> Result<(), Error> {
    sqlx::query!("delete from mail_links where email = $1 or user_id = $2", email, user.uuid())
        .execute(tx.connection())
        .await?;
    Ok(())
}
