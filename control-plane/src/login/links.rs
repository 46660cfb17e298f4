//! Links in mails: asked for, and used up once, by a form and never by being opened.

use std::net::IpAddr;

use chrono::Duration;
use domain::UserId;
use store::accounts::{self, Link, Purpose};
use store::{Error, PlatformTx};

use super::mail::Letter;
use super::{Needs, RESET_WITHIN, SIGN_UP_WITHIN, throttle};
use crate::people::checked_email;
use crate::problem::Problem;

/// Asks for the mail that begins an account. What comes of it is not told, only mailed; where mails are shown, shown.
pub(super) async fn ask_sign_up(needs: &Needs, email: &str, address: IpAddr) -> Result<Option<Letter>, Problem> {
    ask(needs, checked_email(email)?, address, Asked::SignUp).await
}

/// Asks for the mail with which another password is chosen.
pub(super) async fn ask_reset(needs: &Needs, email: &str, address: IpAddr) -> Result<Option<Letter>, Problem> {
    ask(needs, checked_email(email)?, address, Asked::Reset).await
}

/// Asks for the mail with which a person takes another address.
pub(super) async fn ask_change_email(
    needs: &Needs,
    email: &str,
    address: IpAddr,
    user: UserId,
) -> Result<Option<Letter>, Problem> {
    ask(needs, checked_email(email)?, address, Asked::ChangeEmail(user)).await
}

#[derive(Debug, Clone, Copy)]
enum Asked {
    SignUp,
    Reset,
    ChangeEmail(UserId),
}

async fn ask(needs: &Needs, email: String, address: IpAddr, asked: Asked) -> Result<Option<Letter>, Problem> {
    if !throttle::mail(&needs.access, &email, address).await? {
        // The same answer: who asks for others must not learn that others asked.
        return Ok(None);
    }
    if !needs.mail.is_possible() {
        return Ok(None);
    }
    let (sending, shown) = (needs.clone(), tokio::sync::oneshot::channel());
    let (show, seen) = shown;
    let work = async move {
        match letter(&sending, email, asked).await {
            Ok(letter) => {
                sending.mail.post(&letter).await;
                // Nobody waits for it where mails are sent.
                let _ = show.send(letter);
            }
            Err(error) => tracing::error!(error = %crate::problem::causes(&error), "a link could not be made"),
        }
    };
    needs.mail.run(work).await;
    Ok(if needs.mail.is_shown() { seen.await.ok() } else { None })
}

/// The letter that is due: with a link, or with why there is none.
async fn letter(needs: &Needs, email: String, asked: Asked) -> Result<Letter, Error> {
    let mut tx = PlatformTx::begin(&needs.access.pool).await?;
    let account = accounts::find(&mut tx, &email).await?;
    let letter = match (asked, account) {
        (Asked::SignUp, Some(account)) if account.phc.is_some() => known(needs, email),
        (Asked::SignUp, _) => {
            let link = add(needs, &mut tx, (&email, Purpose::SignUp, None), SIGN_UP_WITHIN).await?;
            sign_up(needs, email, &link)
        }
        (Asked::Reset, Some(_)) => {
            let link = add(needs, &mut tx, (&email, Purpose::Reset, None), RESET_WITHIN).await?;
            reset(needs, email, &link)
        }
        (Asked::Reset, None) => unknown(needs, email),
        (Asked::ChangeEmail(_), Some(_)) => taken(needs, email),
        (Asked::ChangeEmail(user), None) => {
            let link = add(needs, &mut tx, (&email, Purpose::ChangeEmail, Some(user)), RESET_WITHIN).await?;
            change(needs, email, &link)
        }
    };
    tx.commit().await?;
    Ok(letter)
}

/// Makes a link; its token is in the mail only.
async fn add(
    needs: &Needs,
    tx: &mut PlatformTx,
    (email, purpose, user): (&str, Purpose, Option<UserId>),
    lasting: Duration,
) -> Result<String, Error> {
    let token = hex::encode(secrets::random::<32>());
    let now = needs.access.clock.now();
    let link = Link { email: email.to_owned(), user };
    accounts::add_link(tx, secrets::sha256(token.as_bytes()), purpose, &link, (now, now + lasting)).await?;
    let page = match purpose {
        Purpose::SignUp => "/sign-up",
        Purpose::Reset => "/reset",
        Purpose::ChangeEmail => "/account/email",
    };
    Ok(needs.site.link(&format!("{page}/{token}")))
}

fn sign_up(needs: &Needs, to: String, link: &str) -> Letter {
    let text = format!(
        "Open this link to finish signing up for Sluice at {}:\n\n{link}\n\nIt is good for 24 hours and works once. \
         If you did not ask for it, there is nothing to do.",
        needs.site.host()
    );
    Letter { to, subject: "Finish signing up for Sluice".to_owned(), text }
}

fn known(needs: &Needs, to: String) -> Letter {
    let text = format!(
        "Somebody, probably you, wanted to sign up for Sluice at {} with this address. You have an account already.\n\n\
         Sign in:\n\n{}\n\nForgotten your password?\n\n{}\n\nIf this was not you, there is nothing to do.",
        needs.site.host(),
        needs.site.link("/sign-in"),
        needs.site.link("/forgot")
    );
    Letter { to, subject: "You have a Sluice account already".to_owned(), text }
}

fn reset(needs: &Needs, to: String, link: &str) -> Letter {
    let text = format!(
        "Open this link to choose a new password for Sluice at {}:\n\n{link}\n\nIt is good for an hour and works once. \
         If you did not ask for it, there is nothing to do: your password stays as it is.",
        needs.site.host()
    );
    Letter { to, subject: "Choose a new password for Sluice".to_owned(), text }
}

fn unknown(needs: &Needs, to: String) -> Letter {
    let text = format!(
        "Somebody, probably you, wanted to choose a new password for Sluice at {}. There is no account with this \
         address.\n\nSign up:\n\n{}\n\nIf this was not you, there is nothing to do.",
        needs.site.host(),
        needs.site.link("/sign-up")
    );
    Letter { to, subject: "There is no Sluice account with this address".to_owned(), text }
}

fn change(needs: &Needs, to: String, link: &str) -> Letter {
    let text = format!(
        "Open this link, in the browser you are signed in with, to make this the address of your account at {}:\n\n\
         {link}\n\nIt is good for an hour and works once. If you did not ask for it, there is nothing to do.",
        needs.site.host()
    );
    Letter { to, subject: "Confirm your new address for Sluice".to_owned(), text }
}

fn taken(needs: &Needs, to: String) -> Letter {
    let text = format!(
        "Somebody wanted to make this the address of their account at {}, but you have an account with it. Nothing was \
         changed, and there is nothing to do.",
        needs.site.host()
    );
    Letter { to, subject: "Your Sluice account stays yours".to_owned(), text }
}

/// A link that is still good, without using it up.
pub(super) async fn find(needs: &Needs, token: &str, purpose: Purpose) -> Result<Option<Link>, Problem> {
    let mut tx = PlatformTx::begin(&needs.access.pool).await?;
    Ok(accounts::find_link(&mut tx, digest(token), purpose, needs.access.clock.now()).await?)
}

/// Uses a link up, in this transaction.
pub(super) async fn take(
    needs: &Needs,
    tx: &mut PlatformTx,
    token: &str,
    purpose: Purpose,
) -> Result<Option<Link>, Error> {
    accounts::take_link(tx, digest(token), purpose, needs.access.clock.now()).await
}

fn digest(token: &str) -> [u8; 32] {
    secrets::sha256(token.as_bytes())
}
