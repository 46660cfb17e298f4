//! A server's credential in the console: set, replaced, removed; never shown.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use domain::{Secret, ServerId};
use serde::Deserialize;
use store::credentials::{self, Stored};

use super::api::Checked;
use super::{Needs, SetCredential, actions, checked, give};
use crate::access::{Can, may};
use crate::console::{Done, Faults, Page, Shell};
use crate::input::{At, Form};
use crate::problem::Problem;
use crate::servers::Head;

/// The pages.
pub(crate) fn routes(needs: Needs) -> Router {
    Router::new()
        .route("/w/{tenant}/servers/{server}/credential", get(open).post(set))
        .route("/w/{tenant}/servers/{server}/credential/remove", post(remove))
        .with_state(needs)
}

/// A credential as a form sends it.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Sent {
    /// `none`, `bearer` or `header`.
    #[serde(default)]
    pub(crate) kind: String,
    /// The header, for kind `header`.
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    value: Option<Secret<String>>,
}

impl Sent {
    /// An empty form in which this is chosen.
    pub(crate) fn of_kind(kind: &str) -> Self {
        Self { kind: kind.to_owned(), name: String::new(), value: None }
    }

    /// Forgets the value: a form is never shown again with one.
    pub(crate) fn forget(&mut self) {
        self.value = None;
    }

    /// What can be set; nothing where none is wanted.
    pub(crate) fn checked(&self) -> Result<Option<Checked>, Problem> {
        let value = || self.value.clone().unwrap_or_else(|| Secret::new(String::new()));
        let wanted = match self.kind.as_str() {
            "none" | "" => return Ok(None),
            "bearer" => SetCredential::Bearer { value: value() },
            "header" => SetCredential::Header { name: self.name.trim().to_owned(), value: value() },
            _ => return Err(Problem::invalid("kind", "None, a bearer token, or a header.")),
        };
        checked(wanted).map(Some)
    }
}

#[derive(Debug, Template)]
#[template(path = "credentials/index.html")]
pub(super) struct CredentialPage {
    shell: Shell,
    head: Head,
    stored: Option<Stored>,
    set_by: String,
    sent: Sent,
    faults: Faults,
}

pub(super) async fn open(
    shell: Shell,
    can: Can<may::ViewServers>,
    At((_, server)): At<(String, ServerId)>,
) -> Result<Page<CredentialPage>, Problem> {
    Ok(Page::new(page(shell, &can, server).await?))
}

async fn page<P: crate::access::Permitted>(
    shell: Shell,
    can: &Can<P>,
    server: ServerId,
) -> Result<CredentialPage, Problem> {
    let mut tx = can.begin().await?;
    let (head, _) = Head::read(&mut tx, &shell, (server, "/credential")).await?;
    let stored = credentials::find(&mut tx, server).await?;
    drop(tx);
    let by: Vec<_> = stored.iter().map(|stored| stored.changed_by).collect();
    let set_by = can.emails(&by).await?.into_values().next().unwrap_or_default();
    let header = stored.as_ref().and_then(|stored| stored.header.clone());
    let kind = if header.is_some() { "header" } else { "bearer" };
    let sent = Sent { kind: kind.to_owned(), name: header.unwrap_or_default(), value: None };
    Ok(CredentialPage { shell, head, stored, set_by, sent, faults: Faults::none() })
}

pub(super) async fn set(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::ManageCredentials>,
    At((_, server)): At<(String, ServerId)>,
    Form(mut sent): Form<Sent>,
) -> Result<Response, Problem> {
    let outcome = match sent
        .checked()
        .and_then(|found| found.ok_or_else(|| Problem::invalid("kind", "A bearer token or a header.")))
    {
        Ok(found) => give(&needs, &can, server, found).await,
        Err(problem) => Err(problem),
    };
    match outcome {
        Ok(_) => Ok(Done::to(shell.to(&format!("servers/{server}/credential")))
            .saying("The credential is set. The next call presents it.")
            .into_response()),
        Err(problem) if problem.status() == axum::http::StatusCode::UNPROCESSABLE_ENTITY => {
            let page = page(shell, &can, server).await?;
            sent.forget();
            Ok(Page::wrong(CredentialPage { sent, faults: Faults::of(&problem), ..page }).into_response())
        }
        Err(problem) => Err(problem),
    }
}

pub(super) async fn remove(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::ManageCredentials>,
    At((_, server)): At<(String, ServerId)>,
) -> Result<Done, Problem> {
    let mut tx = can.begin().await?;
    let place = actions::remove(&mut tx, &can.author(&needs.clock), server).await?;
    tx.commit().await?;
    actions::forget(&needs.store, can.actor().tenant(), &place).await;
    Ok(Done::to(shell.to(&format!("servers/{server}/credential")))
        .saying("The credential is removed. Calls go without one."))
}
