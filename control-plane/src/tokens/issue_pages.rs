//! Issuing a token, which is shown once.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::{Clock, MembershipId, Permission, Reach, RiskClass, ServerId, TokenId, TokenScope, ToolId};
use serde::Deserialize;
use store::{TenantTx, people, servers, tools};

use super::actions::{self, Wanted};
use super::api::{checked, checked_days};
use super::issued_pages::Opened;
use crate::access::{Can, may};
use crate::console::{Done, Faults, Page, Shell, SignedIn, show};
use crate::input::Form;
use crate::policies::seen_by;
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
    /// `read`, `write`, else whatever the person may call; a form begins with the least.
    #[serde(default)]
    risk: String,
    /// Made when the form is opened: sent again, it issues no second token.
    #[serde(default)]
    form: String,
}

impl Sent {
    /// What a token of this kind may be for.
    fn example(&self) -> &'static str {
        if self.is_api() { "Terraform in CI" } else { "Claude Code on my laptop" }
    }

    fn holder_hint(&self) -> &'static str {
        if self.is_api() { "It may do what this person may." } else { "Calls are made in this person’s name." }
    }

    fn is_api(&self) -> bool {
        self.kind == "api"
    }

    fn takes(&self, server: &str) -> bool {
        self.server.iter().any(|id| id == server)
    }
}

/// In the place of a risk: the least that reaches anything.
const LEAST: &str = "least";

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
    title: String,
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
}

/// `GET …/tokens/new`, with `?kind=api` for the other kind.
pub(super) async fn start(
    shell: Shell,
    can: Can<may::OwnTokens>,
    Form(mut sent): Form<Sent>,
) -> Result<Response, Problem> {
    sent.form = Opened::mark();
    LEAST.clone_into(&mut sent.risk);
    new_page(shell, &can, sent, Faults::none()).await.map(|page| Page::new(page).into_response())
}

async fn new_page(shell: Shell, can: &Can<may::OwnTokens>, mut sent: Sent, faults: Faults) -> Result<NewPage, Problem> {
    let mut tx = can.begin().await?;
    let live = live_for(&mut tx, can).await?;
    let of = |limit: fn(RiskClass) -> bool| live.iter().filter(|tool| limit(tool.risk)).count();
    let tools = [of(|_| true), of(reads), of(reads_or_writes)];
    if sent.risk == LEAST {
        let least = match tools {
            [_, 0, 0] => "",
            [_, 0, _] => "write",
            _ => "read",
        };
        least.clone_into(&mut sent.risk);
    }
    let sees_all = shell.may(Permission::ViewServers);
    let is_seen = |id: ServerId| sees_all || live.iter().any(|tool| tool.server == id);
    let servers = servers::list(&mut tx).await?.into_iter().filter(|server| is_seen(server.id)).map(|server| Server {
        tools: tools_said(live.iter().filter(|tool| tool.server == server.id).count()),
        id: server.id.to_string(),
        title: show::visible(&server.settings.title),
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
    Ok(NewPage { shell, sent, faults, holders, servers, tools })
}

/// The live tools that whoever asks may know of: all, or those they see at the gateway themselves.
async fn live_for(tx: &mut TenantTx, can: &Can<may::OwnTokens>) -> Result<Vec<tools::Offered>, Problem> {
    let live = tools::list_offered(tx).await?;
    if can.actor().role().allows(Permission::ViewServers) {
        return Ok(live);
    }
    let seen = seen_by(tx, can.actor().user(), can.now()).await?;
    Ok(live.into_iter().filter(|tool| seen.contains(&tool.id)).collect())
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

/// `POST …/tokens/new`: issues a token, and goes on to where it is shown.
pub(super) async fn issue(
    State(clock): State<Clock>,
    signed: SignedIn,
    shell: Shell,
    can: Can<may::OwnTokens>,
    Form(sent): Form<Sent>,
) -> Result<Response, Problem> {
    let kind = if sent.is_api() { "api" } else { "gateway" };
    let opened = Opened::of(&signed, &sent.form);
    let mut tx = can.begin().await?;
    let issued = match opened.issued(&mut tx, clock.now()).await? {
        Some(before) => Ok(before),
        None => issued(&mut tx, &can, &clock, (&opened, &sent)).await,
    };
    match issued {
        Ok(token) => {
            tx.commit().await?;
            Ok(Done::to(shell.to(&format!("tokens/{kind}/{token}/issued"))).into_response())
        }
        Err(problem) if problem.status().is_client_error() && problem.kind() != "not-permitted" => {
            drop(tx);
            let faults = Faults::of(&problem);
            Ok(Page::wrong(new_page(shell, &can, sent, faults).await?).into_response())
        }
        Err(problem) => Err(problem),
    }
}

async fn issued(
    tx: &mut TenantTx,
    can: &Can<may::OwnTokens>,
    clock: &Clock,
    (opened, sent): (&Opened<'_>, &Sent),
) -> Result<TokenId, Problem> {
    let days = sent.days.parse().map_err(|_| Problem::invalid("days", "1 to 365"))?;
    let title = checked(sent.title.clone())?;
    let wanted = Wanted { member: member(sent)?, title, days: checked_days(days)? };
    let (author, role) = (can.author(clock), can.actor().role());
    let (id, text) = if sent.is_api() {
        let (token, text) = actions::issue_api_for(tx, &author, can.actor(), wanted).await?;
        (token.id, text)
    } else {
        let scope = scope(tx, can, sent).await?;
        let (token, text) = actions::issue_gateway(tx, &author, role, wanted, scope).await?;
        (token.id, text)
    };
    opened.keep(tx, id, text.expose()).await?;
    Ok(id)
}

fn member(sent: &Sent) -> Result<Option<MembershipId>, Problem> {
    if sent.member.is_empty() {
        return Ok(None);
    }
    sent.member.parse().map(Some).map_err(|_| Problem::invalid("member", "there is no such member"))
}

/// What the form lets the token reach. A highest risk names the tools that are there now.
async fn scope(tx: &mut TenantTx, can: &Can<may::OwnTokens>, sent: &Sent) -> Result<TokenScope, Problem> {
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
    let live = live_for(tx, can).await?;
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
