//! A token that was just issued, shown once.
//!
//! The form that issues it is answered with a way on, so that a page that is loaded again sends nothing again. Until the
//! browser has come there, the token rests sealed with a key that only the browser's cookie gives: the database alone does
//! not open it, and it is in no address, log or cookie.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{Reach, TokenId, TokenScope, UserId};
use store::shown_once::{self, FormId};
use store::{TenantTx, people, tokens};
use url::Url;

use crate::access::{Can, may};
use crate::connect::setup::{Client, Setup};
use crate::console::{Done, Page, Shell, SignedIn, show};
use crate::endpoint;
use crate::input::At;
use crate::problem::Problem;

/// How long a token waits to be shown, and how long a form that is sent again issues nothing.
const WITHIN: TimeDelta = TimeDelta::minutes(15);

/// The form of one browser that issues a token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opened<'a> {
    signed: &'a SignedIn,
    form: FormId,
}

impl<'a> Opened<'a> {
    /// The mark of a form that is opened now.
    pub(crate) fn mark() -> String {
        hex::encode(secrets::random::<16>())
    }

    /// A form as it was sent; without a mark of its own it is as if it was opened just now.
    pub(crate) fn of(signed: &'a SignedIn, sent: &str) -> Self {
        let form = hex::decode(sent).ok().and_then(|bytes| bytes.try_into().ok());
        Self { signed, form: form.unwrap_or_else(secrets::random) }
    }

    /// The token that this very form has issued before.
    pub(crate) async fn issued(&self, tx: &mut TenantTx, now: DateTime<Utc>) -> Result<Option<TokenId>, store::Error> {
        shown_once::claim(tx, (self.signed.session(), self.form), (now, now + WITHIN)).await
    }

    /// Keeps the token's text until it is shown.
    pub(crate) async fn keep(&self, tx: &mut TenantTx, token: TokenId, text: &str) -> Result<(), store::Error> {
        let sealed = secrets::shown::seal(self.signed.shown_key(), tx.tenant(), token, text.as_bytes());
        shown_once::keep(tx, (self.signed.session(), self.form), token, &sealed).await
    }
}

#[derive(Debug, Template)]
#[template(path = "tokens/issued.html")]
struct IssuedPage {
    shell: Shell,
    secret: String,
    title: String,
    holder: String,
    expires_at: DateTime<Utc>,
    /// None for an API token.
    reach: Option<String>,
    setups: Vec<Setup>,
}

/// `GET …/tokens/gateway/{token}/issued`.
pub(super) async fn gateway(
    State(gateway): State<Arc<Url>>,
    shell: Shell,
    can: Can<may::OwnTokens>,
    At((_, id)): At<(String, TokenId)>,
) -> Result<Response, Problem> {
    let mut tx = can.begin().await?;
    let Some(secret) = taken(&mut tx, &shell.signed, id, can.now()).await? else {
        return Ok(shown_already(&shell, &format!("tokens/gateway/{id}")));
    };
    let token = tokens::find_gateway(&mut tx, id).await?.ok_or_else(Problem::not_found)?;
    let holder = name(&mut tx, token.user).await?;
    tx.commit().await?;
    let url = endpoint::of(&gateway, can.actor().slug());
    let setups = Client::ALL.into_iter().map(|client| Setup::new(client, url.as_str(), Some(&secret))).collect();
    let (reach, title, expires_at) = (Some(reach_said(&token.scope)), token.title, token.expires_at);
    Ok(Page::new(IssuedPage { shell, secret, title, holder, expires_at, reach, setups }).into_response())
}

/// `GET …/tokens/api/{token}/issued`.
pub(super) async fn api(
    shell: Shell,
    can: Can<may::OwnTokens>,
    At((_, id)): At<(String, TokenId)>,
) -> Result<Response, Problem> {
    let mut tx = can.begin().await?;
    let Some(secret) = taken(&mut tx, &shell.signed, id, can.now()).await? else {
        return Ok(shown_already(&shell, &format!("tokens/api/{id}")));
    };
    let token = tokens::find_api(&mut tx, id).await?.ok_or_else(Problem::not_found)?;
    let holder = name(&mut tx, token.user).await?;
    tx.commit().await?;
    let (title, expires_at) = (token.title, token.expires_at);
    let page = IssuedPage { shell, secret, title, holder, expires_at, reach: None, setups: Vec::new() };
    Ok(Page::new(page).into_response())
}

/// The text of a token that this session issued and was not shown yet; it is gone with the transaction.
pub(crate) async fn taken(
    tx: &mut TenantTx,
    signed: &SignedIn,
    id: TokenId,
    now: DateTime<Utc>,
) -> Result<Option<String>, Problem> {
    let Some(sealed) = shown_once::take(tx, signed.session(), id, now).await? else { return Ok(None) };
    let opened = secrets::shown::open(signed.shown_key(), tx.tenant(), id, &sealed).ok();
    Ok(opened.and_then(|bytes| String::from_utf8(bytes).ok()))
}

/// On to another page, which says that the token is not shown again.
pub(crate) fn shown_already(shell: &Shell, path: &str) -> Response {
    let said = "A token is shown once only. Revoke this one and issue another if it is lost.";
    Done::to(shell.to(path)).saying(said).into_response()
}

async fn name(tx: &mut TenantTx, user: UserId) -> Result<String, store::Error> {
    let everybody = people::list(tx).await?;
    Ok(everybody.into_iter().find(|member| member.user == user).map(|member| member.name).unwrap_or_default())
}

/// What a token reaches, in a sentence.
fn reach_said(scope: &TokenScope) -> String {
    let servers = match &scope.servers {
        Reach::All => "all servers".to_owned(),
        Reach::Only(only) => show::plural(only.len(), "server", "servers"),
    };
    match &scope.tools {
        Reach::All => format!("What its holder may call, in {servers}"),
        Reach::Only(only) => format!("{} of now, in {servers}", show::plural(only.len(), "tool", "tools")),
    }
}
