//! The tokens of a workspace: who holds them, what they reach, and how they end.

use std::collections::HashMap;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{Clock, Permission, Reach, RiskClass, ServerId, TokenId, TokenScope, ToolId, UserId};
use store::tokens::{self, ApiToken, GatewayToken};
use store::{TenantTx, people, servers, tools};

use super::actions;
use crate::access::{Can, may};
use crate::console::{Choice, Done, Page, Shell, show};
use crate::input::{At, Form};
use crate::problem::Problem;

/// Tokens of a page, of each kind.
const PAGE: usize = 50;
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
    reach: String,
}

#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct Query {
    /// `ended` for those that are worth nothing any more; of one token `once`, where it was shown already.
    #[serde(default)]
    show: String,
    /// Of one person only.
    #[serde(default)]
    holder: String,
    /// The last gateway token of the page before.
    #[serde(default)]
    after: String,
    /// The last API token of the page before.
    #[serde(default)]
    api_after: String,
}

/// Tokens of one kind that are shown together.
#[derive(Debug)]
struct Shown {
    rows: Vec<Row>,
    /// How many there are on all pages.
    all: usize,
    /// Where the next ones are; empty at the end.
    next: String,
}

impl Shown {
    /// A page of the tokens that are good, or of those that are not; `to` gives the address of what follows a token.
    fn of(rows: Vec<Row>, after: &str, to: impl Fn(&str) -> String) -> Self {
        let all = rows.len();
        let begin = rows.iter().position(|row| row.id.to_string() == after).map_or(0, |place| place + 1);
        let mut rows: Vec<Row> = rows.into_iter().skip(begin).collect();
        let is_more = rows.len() > PAGE;
        rows.truncate(PAGE);
        let next = rows.last().filter(|_| is_more).map(|last| to(&last.id.to_string())).unwrap_or_default();
        Self { rows, all, next }
    }

    /// How many are shown, in words.
    fn said(&self) -> String {
        let all = show::plural(self.all, "token", "tokens");
        if self.rows.len() == self.all { all } else { format!("{} of {all}", show::count(self.rows.len())) }
    }
}

#[derive(Debug, Template)]
#[template(path = "tokens/index.html")]
struct ListPage {
    shell: Shell,
    gateway: Shown,
    api: Shown,
    choices: Vec<Choice>,
    shows_ended: bool,
    /// Whether these are the person's own only.
    only_own: bool,
    /// Whose they are, where one asked for those of one person.
    holder: Option<String>,
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
    let holder: Option<UserId> = query.holder.parse().ok();
    let is_of = |user: UserId| holder.is_none_or(|holder| holder == user);
    let gateway: Vec<Row> =
        gateway.into_iter().filter(|token| is_of(token.user)).map(|token| words.gateway(token)).collect();
    let api: Vec<Row> = api.into_iter().filter(|token| is_of(token.user)).map(|token| words.api(token)).collect();
    let holder = holder.map(|holder| words.person(holder));
    let shows_ended = query.show == "ended";
    let is_shown = |row: &Row| row.has_ended(&shell.now) == shows_ended;
    let ended = gateway.iter().chain(&api).filter(|row| row.has_ended(&shell.now)).count();
    let good = gateway.len() + api.len() - ended;
    let choices = vec![
        Choice { count: show::count(good), ..Choice::new("Active", of_kind(&shell, &query, ""), !shows_ended) },
        Choice {
            count: show::count(ended),
            ..Choice::new("Expired or revoked", of_kind(&shell, &query, "ended"), shows_ended)
        },
    ];
    let of = |rows: Vec<Row>| rows.into_iter().filter(is_shown).collect::<Vec<Row>>();
    // Each list stays where it is while the other goes on.
    let gateway = Shown::of(of(gateway), &query.after, |after| address(&shell, &query, (after, &query.api_after)));
    let api = Shown::of(of(api), &query.api_after, |after| address(&shell, &query, (&query.after, after)));
    Ok(Page::new(ListPage { shell, gateway, api, choices, shows_ended, only_own: !sees_all, holder }).into_response())
}

/// The same person's tokens, of those that are good or of those that are not.
fn of_kind(shell: &Shell, query: &Query, show: &str) -> String {
    let query = Query { show: show.to_owned(), holder: query.holder.clone(), ..Query::default() };
    address(shell, &query, ("", ""))
}

/// The same list, further on.
fn address(shell: &Shell, query: &Query, (after, api_after): (&str, &str)) -> String {
    let mut address = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in
        [("show", query.show.as_str()), ("holder", &*query.holder), ("after", after), ("api_after", api_after)]
    {
        if !value.is_empty() {
            address.append_pair(name, value);
        }
    }
    format!("{}?{}", shell.to("tokens"), address.finish())
}

/// What people and servers are called, and how risky tools are.
pub(super) struct Words {
    people: HashMap<UserId, String>,
    servers: HashMap<ServerId, String>,
    risks: HashMap<ToolId, RiskClass>,
    user: UserId,
}

impl Words {
    pub(super) async fn of(tx: &mut TenantTx, user: UserId) -> Result<Self, store::Error> {
        let people = people::list(tx).await?.into_iter().map(|member| (member.user, member.name)).collect();
        let servers = servers::list(tx)
            .await?
            .into_iter()
            .map(|server| (server.id, show::visible(&server.settings.title)))
            .collect();
        let risks = tools::list_offered(tx).await?.into_iter().map(|tool| (tool.id, tool.risk)).collect();
        Ok(Self { people, servers, risks, user })
    }

    pub(super) fn person(&self, user: UserId) -> String {
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
            reach: self.reach(&token.scope),
            title: token.title,
        }
    }

    /// What a token reaches at most: how risky tools, how many, and where.
    pub(super) fn reach(&self, scope: &TokenScope) -> String {
        let tools = match &scope.tools {
            Reach::All => "Whatever policies allow".to_owned(),
            Reach::Only(only) => {
                let risks: Vec<RiskClass> = only.iter().filter_map(|id| self.risks.get(id).copied()).collect();
                let number = show::plural(only.len(), "tool", "tools");
                match risks.as_slice() {
                    [] => number,
                    risks if risks.iter().all(|risk| *risk == RiskClass::Read) => format!("{number}, read only"),
                    risks if risks.iter().all(|risk| matches!(risk, RiskClass::Read | RiskClass::Write)) => {
                        format!("{number}, up to write")
                    }
                    _ => format!("{number}, of any risk"),
                }
            }
        };
        let servers = match &scope.servers {
            Reach::All => "all servers".to_owned(),
            Reach::Only(only) if only.is_empty() => "no server".to_owned(),
            Reach::Only(only) => {
                let name = |id: &ServerId| self.servers.get(id).cloned().unwrap_or_else(|| "a removed one".to_owned());
                show::some_of(&only.iter().map(name).collect::<Vec<_>>(), 3, " · ")
            }
        };
        format!("{tools}, in {servers}")
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
            reach: String::new(),
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
    /// Whether they wanted to see the token itself, which is not shown again.
    was_shown: bool,
}

/// `GET …/tokens/gateway/{token}`.
pub(super) async fn gateway(
    shell: Shell,
    can: Can<may::ViewTenant>,
    At((_, id)): At<(String, TokenId)>,
    Form(query): Form<Query>,
) -> Result<Response, Problem> {
    let mut tx = can.begin().await?;
    let words = Words::of(&mut tx, can.actor().user()).await?;
    let found = tokens::find_gateway(&mut tx, id).await?.map(|token| words.gateway(token));
    shown(shell, found, &query)
}

/// `GET …/tokens/api/{token}`.
pub(super) async fn api(
    shell: Shell,
    can: Can<may::ViewTenant>,
    At((_, id)): At<(String, TokenId)>,
    Form(query): Form<Query>,
) -> Result<Response, Problem> {
    let mut tx = can.begin().await?;
    let words = Words::of(&mut tx, can.actor().user()).await?;
    let found = tokens::find_api(&mut tx, id).await?.map(|token| words.api(token));
    shown(shell, found, &query)
}

/// Another's token is none to whoever may not see others' tokens.
fn shown(shell: Shell, found: Option<Row>, query: &Query) -> Result<Response, Problem> {
    let row = found.filter(|row| row.is_own || shell.may(Permission::ViewTokens)).ok_or_else(Problem::not_found)?;
    let may_revoke = row.is_own || shell.may(Permission::ManageTokens);
    Ok(Page::new(TokenPage { shell, row, may_revoke, was_shown: query.show == "once" }).into_response())
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

    /// The end of its id, by which two of one name are told apart.
    fn short_id(&self) -> String {
        let id = self.id.to_string();
        format!("…{}", &id[id.len().saturating_sub(6)..])
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

    /// Where one sees what was called with it, below the workspace.
    fn calls_path(&self) -> String {
        format!("activity?token={}&range=30d", self.id)
    }

    /// Its page, below the workspace.
    fn path(&self) -> String {
        match self.kind {
            Kind::Gateway => format!("tokens/gateway/{}", self.id),
            Kind::Api => format!("tokens/api/{}", self.id),
        }
    }
}
