//! The rules of signing in.

use domain::{Secret, SessionId, Slug, UserId};
use store::accounts::{self, ChangeEmailError, Link, Purpose};
use store::sessions::{self, Session};
use store::{PgPool, PlatformTx, people, tenants};

use super::mail::Letter;
use super::noted::{self, Deed};
use super::password::{Busy, Passwords};
use super::{LASTS, Needs, links, throttle};
use crate::console::Visitor;
use crate::ingest::change::{Actor, By};
use crate::people::{checked_email, new_user};
use crate::recorded::Author;
use crate::tenants::actions::{self as workspaces, CreateError, NewTenant, QuotaError};

/// Why somebody is not signed in, or something of their account not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    /// The address or the password; which of them is not said.
    #[error("the address or the password is wrong")]
    Wrong,
    /// Too many tries.
    #[error("too many tries")]
    TooMany,
    /// Too much to do at this moment.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The password is easy to guess.
    #[error("the password is easy to guess")]
    Weak(String),
    /// The link is used up, too old, or none.
    #[error("the link is not good")]
    Link,
    /// Another workspace has the slug, or had it.
    #[error("the slug is taken")]
    SlugTaken,
    /// They have made as many workspaces as one may.
    #[error("a person makes at most {0} workspaces")]
    Quota(u32),
    /// Another account has the address.
    #[error("the address is taken")]
    EmailTaken,
    #[error(transparent)]
    Database(#[from] store::Error),
}

impl From<CreateError> for LoginError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Add(tenants::AddError::SlugTaken) => Self::SlugTaken,
            CreateError::Add(tenants::AddError::Database(error)) | CreateError::Database(error) => error.into(),
        }
    }
}

impl From<QuotaError> for LoginError {
    fn from(error: QuotaError) -> Self {
        match error {
            QuotaError::Reached(most) => Self::Quota(most),
            QuotaError::Database(error) => error.into(),
        }
    }
}

/// A session that was begun: its secret is for the browser's cookie and kept nowhere.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) secret: Secret<String>,
    pub(crate) session: SessionId,
}

/// Signs somebody in. Unknown addresses take as long as wrong passwords, and count as much.
pub(super) async fn sign_in(
    needs: &Needs,
    email: &str,
    password: Secret<String>,
    visitor: &Visitor,
) -> Result<Begun, LoginError> {
    let email = email.trim().to_lowercase();
    let guess = throttle::guess(&needs.access, &email, visitor.address).await?.ok_or(LoginError::TooMany)?;
    let account = {
        let mut tx = PlatformTx::begin(&needs.access.pool).await?;
        accounts::find(&mut tx, &email).await?
    };
    let kept = account.as_ref().and_then(|account| account.phc.clone());
    let matches = needs.passwords.matches(password, kept.clone()).await?;
    let Some(account) = account else { return Err(LoginError::Wrong) };
    if !matches {
        noted::failed(needs, account.user, email).await;
        return Err(LoginError::Wrong);
    }
    let mut tx = PlatformTx::begin(&needs.access.pool).await?;
    // The password may have been changed while this one was looked at, and all sessions ended with it; or it is being
    // changed now, by somebody who does not see this session yet.
    sessions::hold(&mut tx, account.user).await?;
    let present = accounts::find_user(&mut tx, account.user).await?;
    if present.is_none_or(|present| present.phc != kept) {
        return Err(LoginError::Wrong);
    }
    guess.was_right(&mut tx).await?;
    let begun = begin(needs, &mut tx, account.user, visitor).await?;
    tx.commit().await?;
    Ok(begun)
}

/// Begins a session, and ends the one the browser had: a session's secret never outlives a change of who it speaks for.
pub(super) async fn begin(
    needs: &Needs,
    tx: &mut PlatformTx,
    user: UserId,
    visitor: &Visitor,
) -> Result<Begun, store::Error> {
    if let Some(before) = &visitor.signed_in {
        sessions::end(tx, before.user(), before.session()).await?;
    }
    let secret = Secret::new(hex::encode(secrets::random::<32>()));
    let now = needs.access.clock.now();
    let session = Session {
        id: SessionId::new(&needs.access.clock),
        user,
        created_at: now,
        seen_at: now,
        ends_at: now + LASTS,
        agent: visitor.agent.clone(),
        address: visitor.address.to_string(),
    };
    sessions::add(tx, &session, secrets::sha256(secret.expose().as_bytes())).await?;
    noted::note(needs, tx, (user, session.id), Deed::SignedIn).await?;
    Ok(Begun { secret, session: session.id })
}

/// What a person who signs up says of themselves.
#[derive(Debug)]
pub(super) struct NewPerson {
    pub(super) password: Secret<String>,
    /// Their first workspace; none for who is a member of one already.
    pub(super) workspace: Option<NewTenant>,
}

/// Makes an account, with a workspace where one is wanted, and signs its person in: all at once or not at all.
pub(super) async fn sign_up(
    needs: &Needs,
    token: &str,
    new: NewPerson,
    visitor: &Visitor,
) -> Result<(Begun, Option<Slug>), LoginError> {
    let link = links::find(needs, token, Purpose::SignUp).await.map_err(|_| LoginError::Link)?;
    let link = link.ok_or(LoginError::Link)?;
    let known = new.workspace.as_ref().map_or_else(Vec::new, |new| vec![new.title.as_str(), new.owner_name.as_str()]);
    let phc = kept(needs, new.password, &link.email, &known).await?;
    let mut tx = PlatformTx::begin(&needs.access.pool).await?;
    let link = links::take(needs, &mut tx, token, Purpose::SignUp).await?.ok_or(LoginError::Link)?;
    let now = needs.access.clock.now();
    let user = people::find_or_add_user(&mut tx, &link.email, new_user(), now).await?;
    if accounts::find_user(&mut tx, user).await?.is_some_and(|account| account.phc.is_some()) {
        return Err(LoginError::Link);
    }
    accounts::set_password(&mut tx, user, &phc, now).await?;
    let begun = begin(needs, &mut tx, user, visitor).await?;
    let Some(workspace) = new.workspace else {
        tx.commit().await?;
        return Ok((begun, None));
    };
    workspaces::check_quota(&mut tx, user, needs.tenants_per_person).await?;
    let author = author(needs, user, begun.session);
    let (tx, founded) = workspaces::found(tx, &needs.master, &author, workspace).await?;
    tx.commit().await?;
    Ok((begun, Some(founded.slug)))
}

/// Makes another workspace of a signed-in person's.
pub(super) async fn found(needs: &Needs, user: UserId, session: SessionId, new: NewTenant) -> Result<Slug, LoginError> {
    let mut tx = PlatformTx::begin(&needs.access.pool).await?;
    workspaces::check_quota(&mut tx, user, needs.tenants_per_person).await?;
    let (tx, founded) = workspaces::found(tx, &needs.master, &author(needs, user, session), new).await?;
    tx.commit().await?;
    Ok(founded.slug)
}

pub(super) fn author(needs: &Needs, user: UserId, session: SessionId) -> Author {
    Author { user, actor: Actor::User { user, by: By::Session(session) }, clock: needs.access.clock.clone() }
}

pub(super) async fn kept(
    needs: &Needs,
    password: Secret<String>,
    email: &str,
    known: &[&str],
) -> Result<String, LoginError> {
    let known = known.iter().copied().chain([email, "sluice"]).chain(email.split('@')).map(str::to_owned).collect();
    if let Some(weakness) = needs.passwords.weakness(password.clone(), known).await? {
        return Err(LoginError::Weak(weakness));
    }
    Ok(needs.passwords.keep(password).await?)
}

/// Gives whoever reads an account's mail a new password, ends all its sessions, and begins one.
pub(super) async fn reset(
    needs: &Needs,
    token: &str,
    password: Secret<String>,
    visitor: &Visitor,
) -> Result<Begun, LoginError> {
    let link = links::find(needs, token, Purpose::Reset).await.map_err(|_| LoginError::Link)?;
    let phc = kept(needs, password, &link.ok_or(LoginError::Link)?.email, &[]).await?;
    let mut tx = PlatformTx::begin(&needs.access.pool).await?;
    let link = links::take(needs, &mut tx, token, Purpose::Reset).await?.ok_or(LoginError::Link)?;
    let account = accounts::find(&mut tx, &link.email).await?.ok_or(LoginError::Link)?;
    change_password_in(needs, &mut tx, (account.user, &link.email), &phc).await?;
    let begun = begin(needs, &mut tx, account.user, visitor).await?;
    noted::note(needs, &mut tx, (account.user, begun.session), Deed::Password).await?;
    tx.commit().await?;
    Ok(begun)
}

/// Writes a password; every session and every link from before it ends.
async fn change_password_in(
    needs: &Needs,
    tx: &mut PlatformTx,
    (user, email): (UserId, &str),
    phc: &str,
) -> Result<(), store::Error> {
    accounts::set_password(tx, user, phc, needs.access.clock.now()).await?;
    sessions::end_all(tx, user).await?;
    accounts::drop_links(tx, user, email).await?;
    throttle::forgive(tx, email).await
}

/// Changes a signed-in person's password, ends all their sessions, and begins another.
pub(super) async fn change_password(
    needs: &Needs,
    (user, email): (UserId, &str),
    (present, wanted): (Secret<String>, Secret<String>),
    visitor: &Visitor,
) -> Result<Begun, LoginError> {
    prove(needs, user, present, visitor).await?;
    let phc = kept(needs, wanted, email, &[]).await?;
    let mut tx = PlatformTx::begin(&needs.access.pool).await?;
    change_password_in(needs, &mut tx, (user, email), &phc).await?;
    let begun = begin(needs, &mut tx, user, visitor).await?;
    noted::note(needs, &mut tx, (user, begun.session), Deed::Password).await?;
    tx.commit().await?;
    Ok(begun)
}

/// Asks a signed-in person for their password again, under limits like those of signing in, but counted apart: whoever
/// locks an account from outside must not keep its person from changing the password.
pub(super) async fn prove(
    needs: &Needs,
    user: UserId,
    password: Secret<String>,
    visitor: &Visitor,
) -> Result<(), LoginError> {
    let guess = throttle::proof(&needs.access, user, visitor.address).await?.ok_or(LoginError::TooMany)?;
    let account = {
        let mut tx = PlatformTx::begin(&needs.access.pool).await?;
        accounts::find_user(&mut tx, user).await?
    };
    if !needs.passwords.matches(password, account.and_then(|account| account.phc)).await? {
        return Err(LoginError::Wrong);
    }
    let mut tx = PlatformTx::begin(&needs.access.pool).await?;
    guess.was_right(&mut tx).await?;
    Ok(tx.commit().await?)
}

/// Takes the address a link was mailed to, for the account that asked for it.
pub(super) async fn take_email(
    needs: &Needs,
    token: &str,
    user: UserId,
    visitor: &Visitor,
) -> Result<Begun, LoginError> {
    let mut tx = PlatformTx::begin(&needs.access.pool).await?;
    let link = links::take(needs, &mut tx, token, Purpose::ChangeEmail).await?;
    let link = link.filter(|link| link.user == Some(user)).ok_or(LoginError::Link)?;
    let before = accounts::find_user(&mut tx, user).await?.ok_or(LoginError::Link)?;
    accounts::change_email(&mut tx, user, &link.email).await.map_err(|error| match error {
        ChangeEmailError::Taken => LoginError::EmailTaken,
        ChangeEmailError::Database(error) => error.into(),
    })?;
    // Whoever reads the old address's mail no longer comes in with it, and whoever was in comes in anew.
    accounts::drop_links(&mut tx, user, &before.email).await?;
    sessions::end_all(&mut tx, user).await?;
    let begun = begin(needs, &mut tx, user, visitor).await?;
    noted::note(needs, &mut tx, (user, begun.session), Deed::Email).await?;
    tx.commit().await?;
    tell_old_address(needs, before.email, link).await;
    Ok(begun)
}

async fn tell_old_address(needs: &Needs, before: String, link: Link) {
    let text = format!(
        "The address of your account at {} is now {}. If this was not you, tell the people who run it at once.",
        needs.site.host(),
        link.email
    );
    let letter = Letter { to: before, subject: "Your Sluice account has another address".to_owned(), text };
    let mail = needs.mail.clone();
    needs.mail.run(async move { mail.post(&letter).await }).await;
}

/// Gives an account a password without asking: for the first start of a deployment on one's own machine.
///
/// # Errors
/// [`store::Error`] when the database failed, or nobody has the address.
pub async fn give_password(
    pool: &PgPool,
    passwords: &Passwords,
    email: &str,
    password: Secret<String>,
) -> Result<(), store::Error> {
    let clock = service::clock();
    let email = checked_email(email).unwrap_or_default();
    let mut tx = PlatformTx::begin(pool).await?;
    let Some(account) = accounts::find(&mut tx, &email).await? else {
        return Err(store::Error::Unreadable { column: "users.email" });
    };
    let Ok(phc) = passwords.keep(password).await else {
        return Err(store::Error::Unreadable { column: "passwords.phc" });
    };
    accounts::set_password(&mut tx, account.user, &phc, clock.now()).await?;
    tx.commit().await
}
