//! The person's own account: password, address, and the browsers that are signed in.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use domain::{Secret, SessionId};
use serde::Deserialize;
use store::PlatformTx;
use store::accounts::Purpose;
use store::sessions::{self, Session};

use super::actions;
use super::noted::{self, Deed};
use super::pages::{LookAtYourMail, said, signed_in};
use super::{IDLE, Needs, links};
use crate::console::page::SessionCookie;
use crate::console::{Done, Faults, Page, SignedIn, Visitor};
use crate::input::{At, Form};
use crate::problem::Problem;

#[derive(Debug, Template)]
#[template(path = "login/account.html")]
struct AccountPage {
    signed: SignedIn,
    now: DateTime<Utc>,
    sessions: Vec<Session>,
    /// The address that is wanted instead.
    wanted: String,
    password_faults: Faults,
    email_faults: Faults,
}

impl AccountPage {
    /// Whether a session is the one this page was asked for with.
    fn is_this(&self, session: &Session) -> bool {
        session.id == self.signed.session()
    }
}

async fn page(needs: &Needs, signed: SignedIn) -> Result<AccountPage, Problem> {
    let now = needs.access.clock.now();
    let mut tx = PlatformTx::begin(&needs.access.pool).await?;
    let sessions = sessions::list(&mut tx, signed.user(), now, now - IDLE).await?;
    let (password_faults, email_faults) = (Faults::none(), Faults::none());
    Ok(AccountPage { signed, now, sessions, wanted: String::new(), password_faults, email_faults })
}

/// `GET /account`.
pub(super) async fn account(State(needs): State<Needs>, signed: SignedIn) -> Result<Response, Problem> {
    Ok(Page::new(page(&needs, signed).await?).into_response())
}

#[derive(Debug, Deserialize)]
pub(super) struct ChangePassword {
    present: Secret<String>,
    password: Secret<String>,
}

/// `POST /account/password`.
pub(super) async fn change_password(
    State(needs): State<Needs>,
    signed: SignedIn,
    visitor: Visitor,
    Form(sent): Form<ChangePassword>,
) -> Result<Response, Problem> {
    let who = (signed.user(), signed.email());
    match actions::change_password(&needs, who, (sent.present, sent.password), &visitor).await {
        Ok(begun) => {
            let done = signed_in(begun, "/account".to_owned());
            Ok(done.saying("Your password is changed. You are signed out everywhere else.").into_response())
        }
        Err(error) => {
            let (status, password_faults) = said_of_proof(error)?;
            Ok(Page::new(AccountPage { password_faults, ..page(&needs, signed).await? }).status(status).into_response())
        }
    }
}

/// As [`said`], where the only password in question is the person's own.
fn said_of_proof(error: actions::LoginError) -> Result<(StatusCode, Faults), Problem> {
    if matches!(error, actions::LoginError::Wrong) {
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, Faults::at("present", "This is not your current password.")));
    }
    said(error)
}

#[derive(Debug, Deserialize)]
pub(super) struct ChangeEmail {
    present: Secret<String>,
    email: String,
}

/// `POST /account/email`: mails a link to the new address.
pub(super) async fn change_email(
    State(needs): State<Needs>,
    signed: SignedIn,
    visitor: Visitor,
    Form(sent): Form<ChangeEmail>,
) -> Result<Response, Problem> {
    let (status, email_faults) = match actions::prove(&needs, signed.user(), sent.present, &visitor).await {
        Ok(()) => match links::ask_change_email(&needs, &sent.email, visitor.address, signed.user()).await {
            Ok(letter) => {
                let can_mail = needs.mail.has_way();
                let page = LookAtYourMail { email: sent.email, letter, can_mail, again: "/account" };
                return Ok(Page::new(page).into_response());
            }
            Err(problem) if problem.kind() == "invalid" => {
                (StatusCode::UNPROCESSABLE_ENTITY, Faults::at("email", "This is no e-mail address."))
            }
            Err(problem) => return Err(problem),
        },
        Err(error) => said_of_proof(error)?,
    };
    let page = AccountPage { email_faults, wanted: sent.email, ..page(&needs, signed).await? };
    Ok(Page::new(page).status(status).into_response())
}

#[derive(Debug, Template)]
#[template(path = "login/confirm_email.html")]
struct ConfirmEmailPage {
    signed: SignedIn,
    /// The new address; none when the link is not good, or is another person's.
    email: Option<String>,
    token: String,
    faults: Faults,
}

/// `GET /account/email/{token}`. Looks only.
pub(super) async fn confirm_email(
    State(needs): State<Needs>,
    signed: SignedIn,
    At(token): At<String>,
) -> Result<Response, Problem> {
    confirm_email_page(&needs, signed, token, Faults::none()).await
}

async fn confirm_email_page(
    needs: &Needs,
    signed: SignedIn,
    token: String,
    faults: Faults,
) -> Result<Response, Problem> {
    let link = links::find(needs, &token, Purpose::ChangeEmail).await?;
    let email = link.filter(|link| link.user == Some(signed.user())).map(|link| link.email);
    let status = match &email {
        None => StatusCode::NOT_FOUND,
        Some(_) if faults.is_empty() => StatusCode::OK,
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Ok(Page::new(ConfirmEmailPage { signed, email, token, faults }).status(status).into_response())
}

/// `POST /account/email/{token}`.
pub(super) async fn do_confirm_email(
    State(needs): State<Needs>,
    signed: SignedIn,
    visitor: Visitor,
    At(token): At<String>,
) -> Result<Response, Problem> {
    match actions::take_email(&needs, &token, signed.user(), &visitor).await {
        Ok(begun) => {
            let done = signed_in(begun, "/account".to_owned());
            Ok(done.saying("Your address is changed. You are signed out everywhere else.").into_response())
        }
        Err(error) => {
            let (_, faults) = said(error)?;
            confirm_email_page(&needs, signed, token, faults).await
        }
    }
}

/// `POST /account/sessions/{session}/end`: signs one of the person's browsers out.
pub(super) async fn end_session(
    State(needs): State<Needs>,
    signed: SignedIn,
    At(session): At<SessionId>,
) -> Result<Done, Problem> {
    let mut tx = PlatformTx::begin(&needs.access.pool).await?;
    if !sessions::end(&mut tx, signed.user(), session).await? {
        return Err(Problem::not_found());
    }
    noted::note(&needs, &mut tx, (signed.user(), signed.session()), Deed::Ended(session)).await?;
    tx.commit().await?;
    if session == signed.session() {
        return Ok(Done::to("/sign-in").session(SessionCookie::Clear));
    }
    Ok(Done::to("/account").saying("That browser is signed out."))
}

/// `POST /account/sessions/end-others`: signs every other browser of the person's out.
pub(super) async fn end_others(State(needs): State<Needs>, signed: SignedIn) -> Result<Done, Problem> {
    let mut tx = PlatformTx::begin(&needs.access.pool).await?;
    if sessions::end_others(&mut tx, signed.user(), signed.session()).await? > 0 {
        noted::note(&needs, &mut tx, (signed.user(), signed.session()), Deed::EndedOthers).await?;
    }
    tx.commit().await?;
    Ok(Done::to("/account").saying("You are signed out everywhere else."))
}
