//! Signing up: an address, a mail, then a name, a password and a workspace. And further workspaces.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::{Secret, Slug};
use serde::Deserialize;
use store::PlatformTx;
use store::accounts::{self, Purpose};

use super::actions::{self, NewPerson};
use super::pages::{Address, LookAtYourMail, said, signed_in};
use super::{Needs, links};
use crate::console::{Done, Faults, Page, SignedIn, Visitor};
use crate::input::{At, Form, check_title};
use crate::problem::Problem;
use crate::tenants::actions::NewTenant;

#[derive(Debug, Template)]
#[template(path = "login/sign_up.html")]
struct AskPage {
    csrf: String,
    email: String,
    faults: Faults,
}

/// `GET /sign-up`.
pub(super) async fn ask(visitor: Visitor) -> Response {
    if visitor.signed_in.is_some() {
        return Done::to("/").into_response();
    }
    Page::new(AskPage { csrf: String::new(), email: String::new(), faults: Faults::none() }).into_response()
}

/// `POST /sign-up`. Says the same whoever has the address.
pub(super) async fn do_ask(
    State(needs): State<Needs>,
    visitor: Visitor,
    Form(sent): Form<Address>,
) -> Result<Response, Problem> {
    match links::ask_sign_up(&needs, &sent.email, visitor.address).await {
        Ok(letter) => {
            let can_mail = needs.mail.has_way();
            Ok(Page::new(LookAtYourMail { email: sent.email, letter, can_mail, again: "/sign-up" }).into_response())
        }
        Err(problem) if problem.kind() == "invalid" => {
            let faults = Faults::at("email", "This is no e-mail address.");
            Ok(Page::wrong(AskPage { csrf: visitor.csrf().to_owned(), email: sent.email, faults }).into_response())
        }
        Err(problem) => Err(problem),
    }
}

/// What is said of oneself and of the first workspace.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Sent {
    #[serde(default)]
    name: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    slug: String,
}

impl Sent {
    /// The workspace that is wanted.
    fn workspace(&self) -> Result<NewTenant, Faults> {
        let (name, title, slug) = (self.name.trim(), self.title.trim(), self.slug.trim());
        let mut faults = Faults::none();
        if check_title("name", name, 100).is_err() {
            faults = faults.and(Faults::at("name", "Say what your colleagues call you, in at most 100 characters."));
        }
        if check_title("title", title, 100).is_err() {
            faults = faults.and(Faults::at("title", "Give it a name of at most 100 characters."));
        }
        let Ok(slug) = slug.parse::<Slug>() else {
            let rule = "Use 3 to 32 small letters, digits and hyphens, a letter first. A few words are reserved.";
            return Err(faults.and(Faults::at("slug", rule)));
        };
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(NewTenant { slug, title: title.to_owned(), owner_name: name.to_owned() })
    }
}

#[derive(Debug, Template)]
#[template(path = "login/confirm.html")]
struct ConfirmPage {
    csrf: String,
    /// Whose address the link was mailed to; none when the link is not good.
    email: Option<String>,
    /// The workspaces they are a member of already; then no workspace is asked for.
    member_of: Vec<String>,
    token: String,
    gateway: String,
    sent: Sent,
    faults: Faults,
}

/// `GET /sign-up/{token}`. Looks only: programs that read mails open links too.
pub(super) async fn confirm(
    State(needs): State<Needs>,
    visitor: Visitor,
    At(token): At<String>,
) -> Result<Response, Problem> {
    confirm_page(&needs, &visitor, token, (Sent::default(), Faults::none())).await
}

async fn confirm_page(
    needs: &Needs,
    visitor: &Visitor,
    token: String,
    (mut sent, faults): (Sent, Faults),
) -> Result<Response, Problem> {
    let email = links::find(needs, &token, Purpose::SignUp).await?.map(|link| link.email);
    let member_of = match &email {
        Some(email) => member_of(needs, email).await?,
        None => Vec::new(),
    };
    if let Some(email) = email.as_ref().filter(|_| faults.is_empty()) {
        (sent.title, sent.slug) = guessed(email);
    }
    let status = match &email {
        None => StatusCode::NOT_FOUND,
        Some(_) if faults.is_empty() => StatusCode::OK,
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let (csrf, gateway) = (visitor.csrf().to_owned(), needs.before_slug());
    Ok(Page::new(ConfirmPage { csrf, email, member_of, token, gateway, sent, faults }).status(status).into_response())
}

/// The workspaces somebody was added to before they signed up.
async fn member_of(needs: &Needs, email: &str) -> Result<Vec<String>, Problem> {
    let mut tx = PlatformTx::begin(&needs.access.pool).await?;
    let Some(account) = accounts::find(&mut tx, email).await? else { return Ok(Vec::new()) };
    let workspaces = accounts::list_workspaces(&mut tx, account.user).await?;
    Ok(workspaces.into_iter().map(|workspace| workspace.title).collect())
}

/// Hosts of mail for everybody: their names say nothing of where somebody works.
const FOR_EVERYBODY: [&str; 9] =
    ["gmail", "googlemail", "outlook", "hotmail", "live", "yahoo", "icloud", "proton", "gmx"];

/// A name and a slug to begin with, from the address's host: `ana@kestrel.example` makes `Kestrel` and `kestrel`.
fn guessed(email: &str) -> (String, String) {
    let host = email.rsplit_once('@').map_or("", |(_, host)| host);
    let word = host.split('.').rev().nth(1).unwrap_or_default();
    if FOR_EVERYBODY.contains(&word) {
        return (String::new(), String::new());
    }
    let Ok(slug) = word.parse::<Slug>() else { return (String::new(), String::new()) };
    let mut letters = word.chars();
    let title = letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect());
    (title, slug.to_string())
}

#[derive(Debug, Deserialize)]
pub(super) struct Confirmed {
    password: Secret<String>,
    #[serde(flatten)]
    sent: Sent,
}

/// `POST /sign-up/{token}`: uses the link up when all is right, and only then.
pub(super) async fn do_confirm(
    State(needs): State<Needs>,
    visitor: Visitor,
    At(token): At<String>,
    Form(Confirmed { password, sent }): Form<Confirmed>,
) -> Result<Response, Problem> {
    let email = links::find(&needs, &token, Purpose::SignUp).await?.map(|link| link.email);
    let is_member = match email {
        Some(email) => !member_of(&needs, &email).await?.is_empty(),
        None => false,
    };
    let workspace = match sent.workspace() {
        _ if is_member => None,
        Ok(workspace) => Some(workspace),
        Err(faults) => return confirm_page(&needs, &visitor, token, (sent, faults)).await,
    };
    match actions::sign_up(&needs, &token, NewPerson { password, workspace }, &visitor).await {
        Ok((begun, slug)) => {
            let path = slug.map_or_else(|| "/".to_owned(), |slug| format!("/w/{slug}"));
            Ok(signed_in(begun, path).into_response())
        }
        Err(error) => {
            let (_, faults) = said(error)?;
            confirm_page(&needs, &visitor, token, (sent, faults)).await
        }
    }
}

#[derive(Debug, Template)]
#[template(path = "login/new_workspace.html")]
struct NewWorkspacePage {
    signed: SignedIn,
    gateway: String,
    sent: Sent,
    faults: Faults,
}

/// `GET /workspaces/new`.
pub(super) async fn new_workspace(State(needs): State<Needs>, signed: SignedIn) -> Response {
    let name = signed.workspaces().first().map_or_else(String::new, |workspace| workspace.name.clone());
    let sent = Sent { name, ..Sent::default() };
    Page::new(NewWorkspacePage { signed, gateway: needs.before_slug(), sent, faults: Faults::none() }).into_response()
}

/// `POST /workspaces/new`.
pub(super) async fn do_new_workspace(
    State(needs): State<Needs>,
    signed: SignedIn,
    Form(sent): Form<Sent>,
) -> Result<Response, Problem> {
    let faults = match sent.workspace() {
        Ok(new) => match actions::found(&needs, signed.user(), signed.session(), new).await {
            Ok(slug) => return Ok(Done::to(format!("/w/{slug}")).into_response()),
            Err(error) => said(error)?.1,
        },
        Err(faults) => faults,
    };
    Ok(Page::wrong(NewWorkspacePage { signed, gateway: needs.before_slug(), sent, faults }).into_response())
}
