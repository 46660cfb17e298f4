//! What one may call oneself: for every role, and by what the gateway tells its caller anyway.
//!
//! A tool that a caller does not see at the gateway does not stand here either, and of a policy there is its name and its
//! reason: both are in the answer to a call that it denies.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use domain::{Clock, Permission, TokenId, TokenScope, ToolId, UserId};
use store::people::Membership;
use store::tokens::{self, GatewayToken};
use store::{TenantTx, people};

use super::actions::PolicyError;
use super::reach::{self, Caller};
use super::reach_pages::{Found, Query, found};
use super::worlds;
use crate::access::{Can, may};
use crate::console::{Hx, Page, Shell, role_name};
use crate::input::Form;
use crate::problem::Problem;

#[derive(Debug, Template)]
#[template(path = "policies/own.html")]
struct OwnPage {
    shell: Shell,
    query: Query,
    /// The title of the token that is asked about, where one is.
    token: Option<String>,
    shown: Found,
}

#[derive(Debug, Template)]
#[template(path = "policies/own.html", block = "results")]
struct Results {
    shell: Shell,
    shown: Found,
}

/// `GET /w/{tenant}/access`.
pub(super) async fn show(
    State(clock): State<Clock>,
    shell: Shell,
    can: Can<may::ViewTenant>,
    hx: Hx,
    Form(query): Form<Query>,
) -> Result<Response, Problem> {
    let user = can.actor().user();
    let query = Query { member: String::new(), only_listed: true, ..query };
    let mut tx = can.begin().await?;
    let token = own_token(&mut tx, user, &query.token).await?;
    let member = own_place(&mut tx, user).await?;
    let scope = token.as_ref().map(|token| token.scope.clone()).unwrap_or_default();
    let address = shell.to("access");
    let mut shown = found(tx, (member, scope), &query, (&address, clock.now())).await?;
    if !shell.may(Permission::CallTools) {
        shown.instead = format!("Your role here is {}, and that role calls no tools.", role_name(shell.workspace.role));
    } else if !shown.instead.is_empty() && !shell.may(Permission::ViewPolicies) {
        // Why the policies do not compile is for those who read them.
        "The policies do not fit today’s tools, so this can’t be said. An owner can mend it."
            .clone_into(&mut shown.instead);
    }
    if hx.0 {
        return Ok(Page::new(Results { shell, shown }).into_response());
    }
    let token = token.map(|token| token.title);
    Ok(Page::new(OwnPage { shell, query, token, shown }).into_response())
}

/// The token asked about; another person's is none.
async fn own_token(tx: &mut TenantTx, user: UserId, id: &str) -> Result<Option<GatewayToken>, Problem> {
    if id.is_empty() {
        return Ok(None);
    }
    let id: TokenId = id.parse().map_err(|_| Problem::not_found())?;
    let found = tokens::list_gateway_of(tx, user).await?.into_iter().find(|token| token.id == id);
    found.map(Some).ok_or_else(Problem::not_found)
}

async fn own_place(tx: &mut TenantTx, user: UserId) -> Result<Membership, Problem> {
    let found = people::list(tx).await?.into_iter().find(|member| member.user == user);
    found.ok_or_else(Problem::not_found)
}

/// The tools that a person sees at the gateway; none where the policies do not fit the tools of now.
///
/// # Errors
/// A [`Problem`] when the database does not answer.
pub(crate) async fn seen_by(tx: &mut TenantTx, user: UserId, now: DateTime<Utc>) -> Result<BTreeSet<ToolId>, Problem> {
    let member = own_place(tx, user).await?;
    let present = worlds::present(tx).await?;
    match reach::of(present, Caller { member, scope: TokenScope::default() }, now).await {
        Ok(rows) => Ok(rows.into_iter().filter(|row| row.is_listed).map(|row| row.tool).collect()),
        Err(PolicyError::NotCompiled(_)) => Ok(BTreeSet::new()),
        Err(error) => Err(error.into()),
    }
}
