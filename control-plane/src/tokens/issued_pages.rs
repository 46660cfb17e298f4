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
use domain::TokenId;
use store::shown_once::{self, FormId};
use store::{TenantTx, tokens};
use url::Url;

use super::pages::Words;
use crate::access::{Can, may};
use crate::connect::setup::{Client, Setup};
use crate::console::{Done, Page, Shell, SignedIn, Site};
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
    /// Whose setup is open: the one the token is named after.
    open: Client,
    /// A first request of an API token.
    first: String,
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
        return Ok(shown_already(&shell, &format!("tokens/gateway/{id}?show=once")));
    };
    let token = tokens::find_gateway(&mut tx, id).await?.ok_or_else(Problem::not_found)?;
    let words = Words::of(&mut tx, can.actor().user()).await?;
    let (holder, reach) = (words.person(token.user), words.reach(&token.scope));
    tx.commit().await?;
    let url = endpoint::of(&gateway, can.actor().slug());
    let setups = Client::ALL.into_iter().map(|client| Setup::new(client, url.as_str(), Some(&secret))).collect();
    let open =
        Client::ALL.into_iter().find(|client| token.title.contains(client.title())).unwrap_or(Client::ClaudeCode);
    let (reach, title, expires_at, first) = (Some(reach), token.title, token.expires_at, String::new());
    let page = IssuedPage { shell, secret, title, holder, expires_at, reach, setups, open, first };
    Ok(Page::new(page).into_response())
}

/// `GET …/tokens/api/{token}/issued`.
pub(super) async fn api(
    State(site): State<Site>,
    shell: Shell,
    can: Can<may::OwnTokens>,
    At((_, id)): At<(String, TokenId)>,
) -> Result<Response, Problem> {
    let mut tx = can.begin().await?;
    let Some(secret) = taken(&mut tx, &shell.signed, id, can.now()).await? else {
        return Ok(shown_already(&shell, &format!("tokens/api/{id}?show=once")));
    };
    let token = tokens::find_api(&mut tx, id).await?.ok_or_else(Problem::not_found)?;
    let holder = Words::of(&mut tx, can.actor().user()).await?.person(token.user);
    tx.commit().await?;
    let (title, expires_at, open) = (token.title, token.expires_at, Client::Other);
    let first = site.link(&format!("/api/v1/tenants/{}", can.actor().slug()));
    let first = format!("curl -H 'Authorization: Bearer {secret}' {first}");
    let page = IssuedPage { shell, secret, title, holder, expires_at, reach: None, setups: Vec::new(), open, first };
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

/// On to the token's page, which says that it is not shown again.
fn shown_already(shell: &Shell, path: &str) -> Response {
    Done::to(shell.to(path)).into_response()
}
