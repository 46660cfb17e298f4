//! Signing in and out, and forgotten passwords.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::Secret;
use serde::Deserialize;
use store::PlatformTx;
use store::accounts::Purpose;
use store::sessions;

use super::actions::{self, Begun, LoginError};
use super::mail::Letter;
use super::noted::{self, Deed};
use super::{LASTS, Needs, links};
use crate::console::page::SessionCookie;
use crate::console::{Done, Faults, Page, Visitor};
use crate::input::{At, Form};
use crate::problem::Problem;

/// What the forms of signing in show again.
#[derive(Debug, Template)]
#[template(path = "login/sign_in.html")]
pub(super) struct SignInPage {
    csrf: String,
    email: String,
    next: String,
    /// Whether something was sent after the session had ended.
    unsaved: bool,
    faults: Faults,
}

#[derive(Debug, Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
    #[serde(default)]
    unsaved: String,
}

/// `GET /sign-in`.
pub(super) async fn sign_in(State(needs): State<Needs>, visitor: Visitor, Form(asked): Form<Next>) -> Response {
    if visitor.signed_in.is_some() {
        return Done::to(needs.site.own_path(&asked.next).unwrap_or_else(home)).into_response();
    }
    let (csrf, email, unsaved) = (String::new(), String::new(), !asked.unsaved.is_empty());
    let page = SignInPage { csrf, email, next: asked.next, unsaved, faults: Faults::none() };
    Page::new(page).into_response()
}

fn home() -> String {
    "/".to_owned()
}

#[derive(Debug, Deserialize)]
pub(super) struct SignIn {
    email: String,
    password: Secret<String>,
    #[serde(default)]
    next: String,
}

/// `POST /sign-in`.
pub(super) async fn do_sign_in(
    State(needs): State<Needs>,
    visitor: Visitor,
    Form(sent): Form<SignIn>,
) -> Result<Response, Problem> {
    match actions::sign_in(&needs, &sent.email, sent.password, &visitor).await {
        Ok(begun) => Ok(signed_in(begun, needs.site.own_path(&sent.next).unwrap_or_else(home)).into_response()),
        Err(error) => {
            let (status, faults) = said(error)?;
            let csrf = visitor.csrf().to_owned();
            let page = SignInPage { csrf, email: sent.email, next: sent.next, unsaved: false, faults };
            Ok(Page::new(page).status(status).into_response())
        }
    }
}

/// On, with a new session.
pub(super) fn signed_in(begun: Begun, path: String) -> Done {
    Done::to(path).session(SessionCookie::Set(begun.secret, LASTS.num_seconds()))
}

/// What a form says when it was not done.
pub(super) fn said(error: LoginError) -> Result<(StatusCode, Faults), Problem> {
    let (status, faults) = match error {
        LoginError::Wrong => {
            (StatusCode::UNPROCESSABLE_ENTITY, Faults::whole("The e-mail address or the password is wrong."))
        }
        LoginError::TooMany => (
            StatusCode::TOO_MANY_REQUESTS,
            Faults::whole("Too many tries. Wait 15 minutes, or reset it with “Forgot your password?”."),
        ),
        LoginError::Busy(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Faults::whole("Too many people sign in at this moment. Try again in a few seconds."),
        ),
        LoginError::Weak(why) => (StatusCode::UNPROCESSABLE_ENTITY, Faults::at("password", why)),
        LoginError::Link => (
            StatusCode::UNPROCESSABLE_ENTITY,
            Faults::whole("This link was used already, or is too old. Ask for another one."),
        ),
        LoginError::SlugTaken => (
            StatusCode::UNPROCESSABLE_ENTITY,
            Faults::at("slug", "This name is taken, or was once. Choose another one."),
        ),
        LoginError::Quota(most) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            Faults::whole(format!(
                "You have made {most} workspaces, as many as one may here. Ask whoever runs this deployment for more."
            )),
        ),
        LoginError::EmailTaken => {
            (StatusCode::UNPROCESSABLE_ENTITY, Faults::whole("Another account has this address now."))
        }
        LoginError::Database(error) => return Err(error.into()),
    };
    Ok((status, faults))
}

/// Where somebody goes on who signs out.
#[derive(Debug, Default, Deserialize)]
pub(super) struct After {
    #[serde(default)]
    next: String,
}

/// `POST /sign-out`.
pub(super) async fn sign_out(
    State(needs): State<Needs>,
    visitor: Visitor,
    Form(after): Form<After>,
) -> Result<Done, Problem> {
    if let Some(signed) = visitor.signed_in {
        let mut tx = PlatformTx::begin(&needs.access.pool).await?;
        sessions::end(&mut tx, signed.user(), signed.session()).await?;
        let (user, session) = (signed.user(), signed.session());
        noted::note(&needs, &mut tx, (user, session), Deed::Ended(session)).await?;
        tx.commit().await?;
    }
    let next = needs.site.own_path(&after.next).unwrap_or_else(|| "/sign-in".to_owned());
    Ok(Done::to(next).session(SessionCookie::Clear))
}

/// "Look at your mail".
#[derive(Debug, Template)]
#[template(path = "login/look_at_your_mail.html")]
pub(super) struct LookAtYourMail {
    pub(super) email: String,
    /// The mail itself, where mails are shown.
    pub(super) letter: Option<Letter>,
    /// Whether there is any way for mails.
    pub(super) can_mail: bool,
    /// Where to ask again.
    pub(super) again: &'static str,
}

#[derive(Debug, Template)]
#[template(path = "login/forgot.html")]
struct ForgotPage {
    csrf: String,
    email: String,
    faults: Faults,
}

/// `GET /forgot`.
pub(super) async fn forgot(visitor: Visitor) -> Response {
    let page = ForgotPage { csrf: visitor.csrf().to_owned(), email: String::new(), faults: Faults::none() };
    Page::new(page).into_response()
}

#[derive(Debug, Deserialize)]
pub(super) struct Address {
    pub(super) email: String,
}

/// `POST /forgot`.
pub(super) async fn do_forgot(
    State(needs): State<Needs>,
    visitor: Visitor,
    Form(sent): Form<Address>,
) -> Result<Response, Problem> {
    match links::ask_reset(&needs, &sent.email, visitor.address).await {
        Ok(letter) => {
            let can_mail = needs.mail.has_way();
            Ok(Page::new(LookAtYourMail { email: sent.email, letter, can_mail, again: "/forgot" }).into_response())
        }
        Err(problem) if problem.kind() == "invalid" => {
            let faults = Faults::at("email", "This is no e-mail address.");
            let page = ForgotPage { csrf: visitor.csrf().to_owned(), email: sent.email, faults };
            Ok(Page::wrong(page).into_response())
        }
        Err(problem) => Err(problem),
    }
}

#[derive(Debug, Template)]
#[template(path = "login/reset.html")]
struct ResetPage {
    csrf: String,
    /// The account's address; none when the link is not good.
    email: Option<String>,
    token: String,
    faults: Faults,
}

/// `GET /reset/{token}`. Looks only: programs that read mails open links too.
pub(super) async fn reset(
    State(needs): State<Needs>,
    visitor: Visitor,
    At(token): At<String>,
) -> Result<Response, Problem> {
    reset_page(&needs, &visitor, token, Faults::none()).await
}

async fn reset_page(needs: &Needs, visitor: &Visitor, token: String, faults: Faults) -> Result<Response, Problem> {
    let email = links::find(needs, &token, Purpose::Reset).await?.map(|link| link.email);
    let status = match &email {
        None => StatusCode::NOT_FOUND,
        Some(_) if faults.is_empty() => StatusCode::OK,
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let page = ResetPage { csrf: visitor.csrf().to_owned(), email, token, faults };
    Ok(Page::new(page).status(status).into_response())
}

#[derive(Debug, Deserialize)]
pub(super) struct NewPassword {
    password: Secret<String>,
}

/// `POST /reset/{token}`.
pub(super) async fn do_reset(
    State(needs): State<Needs>,
    visitor: Visitor,
    At(token): At<String>,
    Form(sent): Form<NewPassword>,
) -> Result<Response, Problem> {
    match actions::reset(&needs, &token, sent.password, &visitor).await {
        Ok(begun) => {
            let done = signed_in(begun, home());
            Ok(done.saying("Your password is changed. You are signed out everywhere else.").into_response())
        }
        Err(error) => {
            let (_, faults) = said(error)?;
            reset_page(&needs, &visitor, token, faults).await
        }
    }
}
