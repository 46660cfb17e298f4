//! Issuing a token, which is shown once.

use std::collections::BTreeSet;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use domain::{Clock, MembershipId, Permission, Reach, RiskClass, ServerId, TokenId, TokenScope, ToolId};
use serde::Deserialize;
use store::{TenantTx, people, servers, tokens, tools};
use url::Url;

use super::actions::{self, Wanted};
use super::api::{checked, checked_days};
use crate::access::{Can, may};
use crate::connect::setup::{Client, Setup};
use crate::console::{Done, Faults, Page, Shell, show};
use crate::input::Form;
use crate::problem::Problem;

/// What the form sends.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Sent {
    /// `api`, else a gateway token.
    #[serde(default)]
    kind: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    member: String,
    #[serde(default)]
    days: String,
    /// `some` for those in `server` only.
    #[serde(default)]
    servers: String,
    #[serde(default)]
    server: Vec<String>,
    /// `read`, `write`, else whatever the person may call.
    #[serde(default)]
    risk: String,
    /// When the form was opened: sent again, it issues no second token.
    #[serde(default)]
    opened: String,
}

impl Sent {
    fn is_api(&self) -> bool {
        self.kind == "api"
    }

    fn takes(&self, server: &str) -> bool {
        self.server.iter().any(|id| id == server)
    }
}

/// Somebody a token may be for.
#[derive(Debug)]
struct Holder {
    id: String,
    name: String,
}

/// A server a token may reach.
#[derive(Debug)]
struct Server {
    id: String,
    key: String,
    tools: String,
}

#[derive(Debug, Template)]
#[template(path = "tokens/new.html")]
struct NewPage {
    shell: Shell,
    sent: Sent,
    faults: Faults,
    /// Empty where tokens are for oneself only.
    holders: Vec<Holder>,
    servers: Vec<Server>,
    /// How many tools there are, that read, and that read or write.
    tools: [usize; 3],
    opened: String,
}

/// `GET …/tokens/new`, with `?kind=api` for the other kind.
pub(super) async fn start(
    shell: Shell,
    can: Can<may::OwnTokens>,
    Form(mut sent): Form<Sent>,
) -> Result<Response, Problem> {
    sent.opened = shell.now.timestamp_millis().to_string();
    new_page(shell, can.begin().await?, sent, Faults::none()).await.map(|page| Page::new(page).into_response())
}

async fn new_page(shell: Shell, mut tx: TenantTx, sent: Sent, faults: Faults) -> Result<NewPage, Problem> {
    let live = tools::list_live(&mut tx).await?;
    let of = |limit: fn(RiskClass) -> bool| live.iter().filter(|tool| limit(tool.risk)).count();
    let tools = [of(|_| true), of(reads), of(reads_or_writes)];
    let servers = servers::list(&mut tx).await?.into_iter().map(|server| Server {
        tools: tools_said(live.iter().filter(|tool| tool.server == server.id).count()),
        id: server.id.to_string(),
        key: server.key.to_string(),
    });
    let servers = servers.collect();
    let may_hold = |member: &people::Membership| {
        (sent.is_api() || member.role.allows(Permission::CallTools))
            && (member.role != domain::Role::Owner || shell.may(Permission::ManageOwners))
    };
    let holders = if shell.may(Permission::ManageTokens) {
        let people = people::list(&mut tx).await?.into_iter().filter(may_hold);
        people.map(|member| Holder { id: member.id.to_string(), name: member.name }).collect()
    } else {
        Vec::new()
    };
    let opened = sent.opened.clone();
    Ok(NewPage { shell, sent, faults, holders, servers, tools, opened })
}

impl NewPage {
    fn tools_said(&self, place: usize) -> String {
        tools_said(self.tools.get(place).copied().unwrap_or_default())
    }
}

fn tools_said(number: usize) -> String {
    show::plural(number, "tool", "tools")
}

const fn reads(risk: RiskClass) -> bool {
    matches!(risk, RiskClass::Read)
}

const fn reads_or_writes(risk: RiskClass) -> bool {
    matches!(risk, RiskClass::Read | RiskClass::Write)
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

/// A token that was just issued.
struct Issued {
    id: TokenId,
    secret: String,
    user: domain::UserId,
    expires_at: DateTime<Utc>,
    /// None for an API token.
    scope: Option<TokenScope>,
}

/// `POST …/tokens/new`: issues a token, and shows it this once.
///
/// The answer is the page itself: what is shown must be kept nowhere on its way there. Loaded again, the form is sent again,
/// and leads to the token that is there.
pub(super) async fn issue(
    State(clock): State<Clock>,
    State(gateway): State<Arc<Url>>,
    shell: Shell,
    can: Can<may::OwnTokens>,
    Form(sent): Form<Sent>,
) -> Result<Response, Problem> {
    let mut tx = can.begin().await?;
    if let Some(path) = issued_before(&mut tx, &can, &sent).await? {
        let said = "This token was issued already. It is shown once only: revoke it and issue another if it is lost.";
        return Ok(Done::to(shell.to(&path)).saying(said).into_response());
    }
    match issued(&mut tx, &can, &clock, &sent).await {
        Ok(issued) => {
            let holder = people::find_user(&mut tx, issued.user).await?.map(|member| member.name).unwrap_or_default();
            tx.commit().await?;
            tracing::debug!(token = %issued.id, "a token is shown");
            let mut url = Url::clone(&gateway);
            url.set_path(&format!("/{}/mcp", shell.workspace.slug));
            let clients = if sent.is_api() { Vec::new() } else { Client::ALL.to_vec() };
            let setup = |client| Setup::new(client, url.as_str(), Some(&issued.secret));
            let setups = clients.into_iter().map(setup).collect();
            let reach = issued.scope.as_ref().map(reach_said);
            let Issued { secret, expires_at, .. } = issued;
            let page = IssuedPage { shell, secret, title: sent.title, holder, expires_at, reach, setups };
            Ok(Page::new(page).into_response())
        }
        Err(problem) if problem.status().is_client_error() && problem.kind() != "not-permitted" => {
            drop(tx);
            let faults = Faults::of(&problem);
            Ok(Page::wrong(new_page(shell, can.begin().await?, sent, faults).await?).into_response())
        }
        Err(problem) => Err(problem),
    }
}

/// What a token reaches, in a sentence.
fn reach_said(scope: &TokenScope) -> String {
    let servers = match &scope.servers {
        Reach::All => "all servers".to_owned(),
        Reach::Only(only) => show::plural(only.len(), "server", "servers"),
    };
    match &scope.tools {
        Reach::All => format!("What its holder may call, in {servers}"),
        Reach::Only(only) => format!("{} of now, in {servers}", tools_said(only.len())),
    }
}

/// The page of the token that this very form has issued before.
async fn issued_before(tx: &mut TenantTx, can: &Can<may::OwnTokens>, sent: &Sent) -> Result<Option<String>, Problem> {
    let Some(opened) = sent.opened.parse().ok().and_then(DateTime::from_timestamp_millis) else { return Ok(None) };
    let me = can.actor().user();
    if sent.is_api() {
        let found = tokens::list_api(tx)
            .await?
            .into_iter()
            .find(|token| token.issued_by == Some(me) && token.title == sent.title && token.issued_at >= opened);
        return Ok(found.map(|token| format!("tokens/api/{}", token.id)));
    }
    let found = tokens::list_gateway(tx)
        .await?
        .into_iter()
        .find(|token| token.issued_by == me && token.title == sent.title && token.issued_at >= opened);
    Ok(found.map(|token| format!("tokens/gateway/{}", token.id)))
}

async fn issued(tx: &mut TenantTx, can: &Can<may::OwnTokens>, clock: &Clock, sent: &Sent) -> Result<Issued, Problem> {
    let days = sent.days.parse().map_err(|_| Problem::invalid("days", "1 to 365"))?;
    let title = checked(sent.title.clone())?;
    let wanted = Wanted { member: member(sent)?, title, days: checked_days(days)? };
    let (author, role) = (can.author(clock), can.actor().role());
    if sent.is_api() {
        let (token, text) = actions::issue_api_for(tx, &author, can.actor(), wanted).await?;
        let secret = text.expose().to_owned();
        return Ok(Issued { id: token.id, secret, user: token.user, expires_at: token.expires_at, scope: None });
    }
    let scope = scope(tx, sent).await?;
    let (token, text) = actions::issue_gateway(tx, &author, role, wanted, scope).await?;
    let secret = text.expose().to_owned();
    Ok(Issued { id: token.id, secret, user: token.user, expires_at: token.expires_at, scope: Some(token.scope) })
}

fn member(sent: &Sent) -> Result<Option<MembershipId>, Problem> {
    if sent.member.is_empty() {
        return Ok(None);
    }
    sent.member.parse().map(Some).map_err(|_| Problem::invalid("member", "there is no such member"))
}

/// What the form lets the token reach. A highest risk names the tools that are there now.
async fn scope(tx: &mut TenantTx, sent: &Sent) -> Result<TokenScope, Problem> {
    let servers = if sent.servers == "some" {
        let ids: Result<BTreeSet<ServerId>, _> = sent.server.iter().map(|id| id.parse()).collect();
        let ids = ids.map_err(|_| Problem::invalid("servers", "there is no such server"))?;
        if ids.is_empty() {
            return Err(Problem::invalid("servers", "Choose at least one server, or all."));
        }
        Reach::Only(ids)
    } else {
        Reach::All
    };
    let limit = match sent.risk.as_str() {
        "read" => reads,
        "write" => reads_or_writes,
        _ => return Ok(TokenScope { servers, tools: Reach::All }),
    };
    let live = tools::list_live(tx).await?;
    let taken = live.into_iter().filter(|tool| servers.covers(&tool.server) && limit(tool.risk));
    let ids: BTreeSet<ToolId> = taken.map(|tool| tool.id).collect();
    if ids.is_empty() {
        return Err(Problem::invalid(
            "risk",
            "No tool of these servers is so harmless: the token would reach nothing.",
        ));
    }
    Ok(TokenScope { servers, tools: Reach::Only(ids) })
}
