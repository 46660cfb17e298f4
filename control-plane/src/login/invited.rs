//! Coming into a workspace by a mailed link: it proves the address, so that who has no account yet makes one here.

use std::net::IpAddr;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::{MembershipId, Secret, Slug, UserId};
use serde::Deserialize;
use store::invitations::{self, Opened};
use store::{PlatformTx, accounts, people};

use super::actions::{Begun, LoginError, author, begin, kept};
use super::mail::Letter;
use super::pages::{said, signed_in};
use super::{Needs, throttle};
use crate::console::{Done, Faults, Page, SignedIn, Visitor, show};
use crate::ingest::change::Change;
use crate::input::{At, Form, check_title};
use crate::people::new_user;
use crate::problem::Problem;

/// Somebody who is to be written to.
pub(crate) struct Invited<'a> {
    pub(crate) email: String,
    /// The link's own.
    pub(crate) token: String,
    /// The address of whoever asks.
    pub(crate) by: &'a str,
    pub(crate) title: &'a str,
    pub(crate) role: &'static str,
}

/// Whether another mail may go to this address, asked for from there.
pub(crate) async fn may_mail(needs: &Needs, email: &str, address: IpAddr) -> Result<bool, store::Error> {
    throttle::mail(&needs.access, email, address).await
}

/// Mails an invitation; gives the mail where mails are shown.
pub(crate) async fn send_invitation(needs: &Needs, asked: Invited<'_>) -> Option<Letter> {
    let text = format!(
        "{} asks you to join the workspace “{}” of Sluice at {}, as {}. Open this link to come in:\n\n{}\n\n\
         It is good for 7 days and works once. If you did not expect this, ignore it.",
        asked.by,
        plain(asked.title),
        needs.site.host(),
        asked.role,
        needs.site.link(&format!("/invitations/{}", asked.token)),
    );
    let subject = format!("You are asked to join a workspace at {}", needs.site.host());
    let letter = Letter { to: asked.email, subject, text };
    let (mail, sent) = (needs.mail.clone(), letter.clone());
    needs.mail.run(async move { mail.post(&sent).await }).await;
    needs.mail.is_shown().then_some(letter)
}

/// A name somebody chose, as a mail may say it: what programs that show mails would make a link of is none any more, for a
/// mail of ours must not lead to where its sender's workspace is called.
fn plain(name: &str) -> String {
    let letters: Vec<char> = show::visible(name).chars().collect();
    let is_word =
        |place: Option<usize>| place.and_then(|place| letters.get(place)).is_some_and(|one| one.is_alphanumeric());
    let letter = |(place, letter): (usize, &char)| match letter {
        '.' | '@' if is_word(place.checked_sub(1)) && is_word(Some(place + 1)) => '·',
        '/' => '·',
        other => *other,
    };
    letters.iter().enumerate().map(letter).collect()
}

/// Who opened the link, as far as the page differs.
#[derive(Debug, PartialEq, Eq)]
enum Who {
    /// The person, signed in.
    Invited,
    /// Somebody else, signed in.
    Another(String),
    /// Nobody; the address has an account.
    Known,
    /// Nobody; the address has none.
    New,
}

#[derive(Debug, Template)]
#[template(path = "login/invited.html")]
struct InvitedPage {
    csrf: String,
    /// None when the link is not good.
    opened: Option<Opened>,
    who: Who,
    token: String,
    name: String,
    faults: Faults,
}

impl InvitedPage {
    /// Signing in, and back here.
    fn sign_in(&self) -> String {
        format!("/sign-in?next=%2Finvitations%2F{}", self.token)
    }
}

/// `GET /invitations/{token}`. Looks only; who is a member already is where they wanted to be.
pub(super) async fn show(
    State(needs): State<Needs>,
    visitor: Visitor,
    At(token): At<String>,
) -> Result<Response, Problem> {
    if let Some(slug) = joined(&needs, &visitor, &token).await? {
        return Ok(Done::to(format!("/w/{slug}")).saying("You are a member already.").into_response());
    }
    let name = visitor.signed_in.as_ref().and_then(|signed| signed.workspaces().first());
    let name = name.map_or_else(String::new, |workspace| workspace.name.clone());
    page(&needs, &visitor, token, (name, Faults::none())).await
}

/// The workspace that a link is for, where whoever opens it is the person it was mailed to, and a member.
async fn joined(needs: &Needs, visitor: &Visitor, token: &str) -> Result<Option<Slug>, Problem> {
    let Some(signed) = &visitor.signed_in else { return Ok(None) };
    let mut tx = PlatformTx::begin(&needs.access.pool).await?;
    let opened = invitations::find(&mut tx, digest(token), needs.access.clock.now()).await?;
    let own = opened.filter(|opened| opened.invitation.email == signed.email()).map(|opened| opened.slug);
    Ok(own.filter(|slug| signed.workspaces().iter().any(|workspace| workspace.slug == *slug)))
}

async fn page(
    needs: &Needs,
    visitor: &Visitor,
    token: String,
    (name, faults): (String, Faults),
) -> Result<Response, Problem> {
    let mut tx = PlatformTx::begin(&needs.access.pool).await?;
    let opened = invitations::find(&mut tx, digest(&token), needs.access.clock.now()).await?;
    let who = match (&opened, &visitor.signed_in) {
        (Some(opened), Some(signed)) if signed.email() != opened.invitation.email => {
            Who::Another(signed.email().to_owned())
        }
        (Some(_), Some(_)) => Who::Invited,
        (Some(opened), None) => {
            let account = accounts::find(&mut tx, &opened.invitation.email).await?;
            if account.is_some_and(|account| account.phc.is_some()) { Who::Known } else { Who::New }
        }
        (None, _) => Who::New,
    };
    let status = match &opened {
        None => StatusCode::NOT_FOUND,
        Some(_) if faults.is_empty() => StatusCode::OK,
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let page = InvitedPage { csrf: visitor.csrf().to_owned(), opened, who, token, name, faults };
    Ok(Page::new(page).status(status).into_response())
}

fn digest(token: &str) -> [u8; 32] {
    secrets::sha256(token.as_bytes())
}

#[derive(Debug, Deserialize)]
pub(super) struct Accepted {
    #[serde(default)]
    name: String,
    #[serde(default = "no_password")]
    password: Secret<String>,
}

fn no_password() -> Secret<String> {
    Secret::new(String::new())
}

/// `POST /invitations/{token}`: uses the link up when all is right, and only then.
pub(super) async fn accept(
    State(needs): State<Needs>,
    visitor: Visitor,
    At(token): At<String>,
    Form(Accepted { name, password }): Form<Accepted>,
) -> Result<Response, Problem> {
    let name = name.trim().to_owned();
    if check_title("name", &name, 100).is_err() {
        let faults = Faults::at("name", "Say what your colleagues call you, in at most 100 characters.");
        return page(&needs, &visitor, token, (name, faults)).await;
    }
    let done = match &visitor.signed_in {
        Some(signed) => join(&needs, &token, &name, signed).await.map(|slug| Done::to(format!("/w/{slug}"))),
        None => sign_up(&needs, &token, (&name, password), &visitor)
            .await
            .map(|(begun, slug)| signed_in(begun, format!("/w/{slug}"))),
    };
    match done {
        Ok(done) => Ok(done.saying("Welcome.").into_response()),
        Err(error) => {
            let (_, faults) = said(error)?;
            page(&needs, &visitor, token, (name, faults)).await
        }
    }
}

/// Brings in a person who is signed in, with the address the link was mailed to.
async fn join(needs: &Needs, token: &str, name: &str, signed: &SignedIn) -> Result<Slug, LoginError> {
    let mut tx = PlatformTx::begin(&needs.access.pool).await?;
    let account = accounts::find_user(&mut tx, signed.user()).await?.ok_or(LoginError::Link)?;
    let opened = take(needs, &mut tx, token).await?;
    if opened.invitation.email != account.email {
        return Err(LoginError::Link);
    }
    add(needs, tx, &opened, (signed.user(), name), signed.session()).await
}

/// Makes the account of a person who has none, and brings them in: all at once or not at all.
async fn sign_up(
    needs: &Needs,
    token: &str,
    (name, password): (&str, Secret<String>),
    visitor: &Visitor,
) -> Result<(Begun, Slug), LoginError> {
    let now = needs.access.clock.now();
    let opened = {
        let mut tx = PlatformTx::begin(&needs.access.pool).await?;
        invitations::find(&mut tx, digest(token), now).await?.ok_or(LoginError::Link)?
    };
    let email = &opened.invitation.email;
    let phc = kept(needs, password, email, &[name, opened.title.as_str()]).await?;
    let mut tx = PlatformTx::begin(&needs.access.pool).await?;
    let opened = take(needs, &mut tx, token).await?;
    let user = people::find_or_add_user(&mut tx, &opened.invitation.email, new_user(), now).await?;
    if accounts::find_user(&mut tx, user).await?.is_some_and(|account| account.phc.is_some()) {
        return Err(LoginError::Link);
    }
    accounts::set_password(&mut tx, user, &phc, now).await?;
    let begun = begin(needs, &mut tx, user, visitor).await?;
    let slug = add(needs, tx, &opened, (user, name), begun.session).await?;
    Ok((begun, slug))
}

async fn take(needs: &Needs, tx: &mut PlatformTx, token: &str) -> Result<Opened, LoginError> {
    let now = needs.access.clock.now();
    let opened = invitations::find(tx, digest(token), now).await?.ok_or(LoginError::Link)?;
    if invitations::take(tx, digest(token), now).await? { Ok(opened) } else { Err(LoginError::Link) }
}

/// Writes the place of somebody whose link was good. Whoever asked them was allowed to when they did, and is still.
async fn add(
    needs: &Needs,
    tx: PlatformTx,
    opened: &Opened,
    (user, name): (UserId, &str),
    session: domain::SessionId,
) -> Result<Slug, LoginError> {
    let mut tx = tx.into_tenant(opened.tenant).await?;
    if people::find_user(&mut tx, user).await?.is_some() {
        // They were added in the meantime: the link is used up, and they are where they wanted to be.
        tx.commit().await?;
        return Ok(opened.slug.clone());
    }
    let author = author(needs, user, session);
    let place = people::Membership {
        id: MembershipId::new(&author.clock),
        user,
        name: name.to_owned(),
        role: opened.invitation.role,
        groups: std::collections::BTreeSet::new(),
        created_at: author.now(),
    };
    match people::add(&mut tx, &place).await {
        Ok(()) => {}
        // They are added in this very moment: nothing is done, and the link, opened again, brings them in.
        Err(people::AddError::AlreadyMember) => return Err(LoginError::Link),
        Err(people::AddError::Database(error)) => return Err(error.into()),
    }
    let seen = serde_json::json!([place.user, place.name, place.role, place.groups]);
    author.noted(&mut tx, Change::new("member.add", "member", place.id).after(&seen)).await?;
    tx.commit().await?;
    Ok(opened.slug.clone())
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn a_workspaces_name_is_no_link_in_a_mail() {
        for (name, said) in [
            ("Acme Inc.", "Acme Inc."),
            ("Pay at https://evil.example/login", "Pay at https:··evil·example·login"),
            ("www.evil.example", "www·evil·example"),
            ("ana@evil.example", "ana·evil·example"),
            ("Acme\u{202e}emcA", "Acme⟨U+202E⟩emcA"),
        ] {
            assert_eq!(plain(name), said);
        }
    }
}
