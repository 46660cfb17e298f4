//! The tokens of a workspace: who holds them, what they reach, and how they end.

use std::collections::HashMap;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{Clock, Permission, Reach, ServerId, TokenId, TokenScope, UserId};
use store::tokens::{self, ApiToken, GatewayToken};
use store::{TenantTx, people, servers};

use super::actions;
use crate::access::{Can, may};
use crate::console::{Choice, Done, Page, Shell, show};
use crate::input::{At, Form};
use crate::problem::Problem;

/// From so many days before its end a token is worth a look.
const SOON_DAYS: i64 = 7;
/// A token that was not used for so long is worth a look.
const IDLE_DAYS: i64 = 60;

/// Which of the two a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Gateway,
    Api,
}

/// A token as it is shown; never the token itself.
#[derive(Debug)]
pub(super) struct Row {
    id: TokenId,
    kind: Kind,
    title: String,
    holder: String,
    is_own: bool,
    issued_by: String,
    issued_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    revoked_at: Option<DateTime<Utc>>,
    /// At most a minute late.
    last_used_at: Option<DateTime<Utc>>,
    /// What it reaches.
    servers: String,
    tools: String,
}

#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct Query {
    /// `ended` for those that are worth nothing any more.
    #[serde(default)]
    show: String,
}

#[derive(Debug, Template)]
#[template(path = "tokens/index.html")]
struct ListPage {
    shell: Shell,
    gateway: Vec<Row>,
    api: Vec<Row>,
    choices: Vec<Choice>,
    shows_ended: bool,
    /// Whether these are the person's own only.
    only_own: bool,
}

/// `GET …/tokens`.
pub(super) async fn list(
    shell: Shell,
    can: Can<may::ViewTenant>,
    Form(query): Form<Query>,
) -> Result<Response, Problem> {
    let sees_all = shell.may(Permission::ViewTokens);
    let user = can.actor().user();
    let mut tx = can.begin().await?;
    let words = Words::of(&mut tx, user).await?;
    let (gateway, api) = if sees_all {
        (tokens::list_gateway(&mut tx).await?, tokens::list_api(&mut tx).await?)
    } else {
        (tokens::list_gateway_of(&mut tx, user).await?, tokens::list_api_of(&mut tx, user).await?)
    };
    let gateway: Vec<Row> = gateway.into_iter().map(|token| words.gateway(token)).collect();
    let api: Vec<Row> = api.into_iter().map(|token| words.api(token)).collect();
    let shows_ended = query.show == "ended";
    let is_shown = |row: &Row| row.has_ended(&shell.now) == shows_ended;
    let ended = gateway.iter().chain(&api).filter(|row| row.has_ended(&shell.now)).count();
    let good = gateway.len() + api.len() - ended;
    let choices = vec![
        Choice { count: show::count(good), ..Choice::new("Active", shell.to("tokens"), !shows_ended) },
        Choice {
            count: show::count(ended),
            ..Choice::new("Expired or revoked", shell.to("tokens?show=ended"), shows_ended)
        },
    ];
    let gateway = gateway.into_iter().filter(is_shown).collect();
    let api = api.into_iter().filter(is_shown).collect();
    Ok(Page::new(ListPage { shell, gateway, api, choices, shows_ended, only_own: !sees_all }).into_response())
}

/// What people and servers are called.
struct Words {
    people: HashMap<UserId, String>,
    servers: HashMap<ServerId, String>,
    user: UserId,
}

impl Words {
    async fn of(tx: &mut TenantTx, user: UserId) -> Result<Self, store::Error> {
        let people = people::list(tx).await?.into_iter().map(|member| (member.user, member.name)).collect();
        let servers = servers::list(tx).await?.into_iter().map(|server| (server.id, server.key.to_string())).collect();
        Ok(Self { people, servers, user })
    }

    fn person(&self, user: UserId) -> String {
        self.people.get(&user).cloned().unwrap_or_else(|| "Somebody who left".to_owned())
    }

    fn gateway(&self, token: GatewayToken) -> Row {
        Row {
            id: token.id,
            kind: Kind::Gateway,
            holder: self.person(token.user),
            is_own: token.user == self.user,
            issued_by: self.person(token.issued_by),
            issued_at: token.issued_at,
            expires_at: token.expires_at,
            revoked_at: token.revoked_at,
            last_used_at: token.last_used_at,
            servers: self.reach(&token.scope),
            tools: match &token.scope.tools {
                Reach::All => "all tools".to_owned(),
                Reach::Only(only) => show::plural(only.len(), "tool", "tools"),
            },
            title: token.title,
        }
    }

    fn reach(&self, scope: &TokenScope) -> String {
        match &scope.servers {
            Reach::All => "all servers".to_owned(),
            Reach::Only(only) if only.is_empty() => "no server".to_owned(),
            Reach::Only(only) => {
                let name = |id: &ServerId| self.servers.get(id).cloned().unwrap_or_else(|| "a removed one".to_owned());
                only.iter().map(name).collect::<Vec<_>>().join(", ")
            }
        }
    }

    fn api(&self, token: ApiToken) -> Row {
        Row {
            id: token.id,
            kind: Kind::Api,
            holder: self.person(token.user),
            is_own: token.user == self.user,
            issued_by: token.issued_by.map_or_else(|| "Not known".to_owned(), |user| self.person(user)),
            issued_at: token.issued_at,
            expires_at: token.expires_at,
            revoked_at: token.revoked_at,
            last_used_at: token.last_used_at,
            servers: String::new(),
            tools: String::new(),
            title: token.title,
        }
    }
}

#[derive(Debug, Template)]
#[template(path = "tokens/token.html")]
struct TokenPage {
    shell: Shell,
    row: Row,
    /// Whether the person may revoke it.
    may_revoke: bool,
}

/// `GET …/tokens/gateway/{token}`.
pub(super) async fn gateway(
    shell: Shell,
    can: Can<may::ViewTenant>,
    At((_, id)): At<(String, TokenId)>,
) -> Result<Response, Problem> {
    let mut tx = can.begin().await?;
    let words = Words::of(&mut tx, can.actor().user()).await?;
    let found = tokens::find_gateway(&mut tx, id).await?.map(|token| words.gateway(token));
    shown(shell, found)
}

/// `GET …/tokens/api/{token}`.
pub(super) async fn api(
    shell: Shell,
    can: Can<may::ViewTenant>,
    At((_, id)): At<(String, TokenId)>,
) -> Result<Response, Problem> {
    let mut tx = can.begin().await?;
    let words = Words::of(&mut tx, can.actor().user()).await?;
    let found = tokens::find_api(&mut tx, id).await?.map(|token| words.api(token));
    shown(shell, found)
}

/// Another's token is none to whoever may not see others' tokens.
fn shown(shell: Shell, found: Option<Row>) -> Result<Response, Problem> {
    let row = found.filter(|row| row.is_own || shell.may(Permission::ViewTokens)).ok_or_else(Problem::not_found)?;
    let may_revoke = row.is_own || shell.may(Permission::ManageTokens);
    Ok(Page::new(TokenPage { shell, row, may_revoke }).into_response())
}

/// `POST …/tokens/gateway/{token}`: revokes it.
pub(super) async fn revoke_gateway(
    State(clock): State<Clock>,
    shell: Shell,
    can: Can<may::ViewTenant>,
    At((_, id)): At<(String, TokenId)>,
    Form(_): Form<Nothing>,
) -> Result<Done, Problem> {
    let mut tx = can.begin().await?;
    actions::revoke_gateway(&mut tx, &can.author(&clock), can.actor().role(), id).await?;
    tx.commit().await?;
    Ok(Done::to(shell.to("tokens")).saying("The token is revoked. Every node refuses it within a second."))
}

/// `POST …/tokens/api/{token}`: revokes it.
pub(super) async fn revoke_api(
    State(clock): State<Clock>,
    shell: Shell,
    can: Can<may::ViewTenant>,
    At((_, id)): At<(String, TokenId)>,
    Form(_): Form<Nothing>,
) -> Result<Done, Problem> {
    let mut tx = can.begin().await?;
    actions::revoke_api(&mut tx, &can.author(&clock), can.actor().role(), id).await?;
    tx.commit().await?;
    Ok(Done::to(shell.to("tokens")).saying("The API token is revoked. The next request with it is refused."))
}

/// A form without fields.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Nothing {}

impl Row {
    fn has_ended(&self, now: &DateTime<Utc>) -> bool {
        self.revoked_at.is_some() || self.expires_at <= *now
    }

    /// Whether it ends within a week.
    fn ends_soon(&self, now: &DateTime<Utc>) -> bool {
        !self.has_ended(now) && self.expires_at - *now < TimeDelta::days(SOON_DAYS)
    }

    /// Whether it lies about: it made no request for two months.
    fn is_idle(&self, now: &DateTime<Utc>) -> bool {
        let since = self.last_used_at.unwrap_or(self.issued_at);
        *now - since > TimeDelta::days(IDLE_DAYS)
    }

    fn is_api(&self) -> bool {
        self.kind == Kind::Api
    }

    /// Where one sees what it may call, below the workspace.
    fn access_path(&self) -> String {
        let page = if self.is_own { "access" } else { "policies/access" };
        format!("{page}?token={}", self.id)
    }

    /// Its page, below the workspace.
    fn path(&self) -> String {
        match self.kind {
            Kind::Gateway => format!("tokens/gateway/{}", self.id),
            Kind::Api => format!("tokens/api/{}", self.id),
        }
    }
}
