//! The overview in the console.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{Permission, RecordId};
use serde::Deserialize;
use store::audit::rollup;
use store::destinations::{self, State as Run};
use store::health::{self, State as HealthState};
use store::{TenantTx, lanes, policies, tokens, tools};

use super::Needs;
use super::figures::{self, Figures, ServerFigures};
use crate::access::{Can, may};
use crate::activity::actions::{self, Scope, SearchError};
use crate::activity::pages::names;
use crate::activity::query::{self, Asked, Names, Span};
use crate::activity::rows::{self, Row};
use crate::console::{Choice, Done, Hx, Page, Shell, show};
use crate::input::Form;
use crate::problem::Problem;

/// How long before its end a token is brought up.
const ENDS_SOON: TimeDelta = TimeDelta::days(7);
/// Servers that fail one by one; more of them are told of together, so that the rest is seen too.
const FAILING: usize = 3;
/// Of one's own latest calls, for whom everybody's are not.
const OWN: usize = 10;
/// The ranges of time of this page.
const SPANS: [&str; 4] = ["1h", "24h", "7d", "30d"];

/// What the address says.
#[derive(Debug, Deserialize)]
pub(super) struct OverviewQuery {
    range: Option<String>,
    /// `off`: the way to the first call is not shown.
    guide: Option<String>,
}

/// The way to the first call.
#[derive(Debug, Template)]
#[template(path = "overview/first_run.html")]
struct FirstRun {
    shell: Shell,
    steps: Steps,
}

#[derive(Debug, Template)]
#[template(path = "overview/first_run.html", block = "listening")]
struct Listening {
    shell: Shell,
}

/// How far one is.
#[derive(Debug, Clone)]
struct Steps {
    endpoint: String,
    command: String,
    /// The servers' names, and how many tools of them are offered.
    servers: Vec<String>,
    has_sandbox: bool,
    tools: usize,
    has_tokens: bool,
    has_policies: bool,
    people: usize,
    done: usize,
    /// The first that is not done, from one.
    now: usize,
}

impl Steps {
    /// How long what is left takes: about a minute each.
    fn minutes(&self) -> String {
        show::plural(5_usize.saturating_sub(self.done), "minute", "minutes")
    }

    /// The kind of a step's way on: the primary one where one is.
    const fn kind(&self, step: usize) -> &'static str {
        if self.now == step { "primary sm" } else { "sm" }
    }
}

/// What goes through the workspace.
#[derive(Debug, Template)]
#[template(path = "overview/index.html")]
struct Overview {
    shell: Shell,
    spans: Vec<Choice>,
    span: Span,
    here: String,
    figures: Figures,
    servers: Vec<ServerFigures>,
    needs: Vec<Need>,
}

#[derive(Debug, Template)]
#[template(path = "overview/index.html", block = "tiles")]
struct Tiles {
    shell: Shell,
    span: Span,
    here: String,
    figures: Figures,
    servers: Vec<ServerFigures>,
    needs: Vec<Need>,
}

/// What somebody should do something about.
#[derive(Debug, Clone)]
struct Need {
    kind: &'static str,
    icon: &'static str,
    what: String,
    detail: String,
    verb: &'static str,
    url: String,
}

/// For who sees only their own calls.
#[derive(Debug, Template)]
#[template(path = "overview/own.html")]
struct Own {
    shell: Shell,
    rows: Vec<Row>,
    endpoint: String,
}

/// `GET /w/{tenant}`.
pub(super) async fn overview(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::ViewTenant>,
    hx: Hx,
    Form(query): Form<OverviewQuery>,
) -> Result<Response, Problem> {
    let mut tx = can.begin().await?;
    let names = names(&mut tx, Scope::of(&can), &Asked::default()).await?;
    if !shell.may(Permission::ViewActivity) {
        return own(&mut tx, &needs, shell, &can, &names).await;
    }
    let is_first_run = query.guide.as_deref() != Some("off") && !rollup::is_any(&mut tx).await?;
    if is_first_run && hx.0 {
        return Ok(Page::new(Listening { shell }).into_response());
    }
    if is_first_run {
        let steps = steps(&mut tx, &needs, &shell, &names).await?;
        return Ok(Page::new(FirstRun { shell, steps }).into_response());
    }
    // The figures ask for themselves with their range: this is the guide, which hears that its call has come.
    if hx.0 && query.range.is_none() {
        return Ok(Done::to(shell.to("")).into_response());
    }
    let span = query.range.as_deref().filter(|word| SPANS.contains(word)).and_then(Span::find);
    // The usual one of this page is its first.
    let span = span.or_else(|| Span::find(SPANS[0])).unwrap_or(Span::USUAL);
    let figures = figures::figures(&mut tx, span, &names, shell.present()).await?;
    let may_servers = shell.may(Permission::ViewServers);
    let servers =
        if may_servers { figures::server_figures(&mut tx, span, &names, shell.now).await? } else { Vec::new() };
    let needs = needs_you(&mut tx, &shell, &names).await?;
    let here = format!("{}?range={}{}", shell.to(""), span.word, if query.guide.is_some() { "&guide=off" } else { "" });
    if hx.0 {
        return Ok(Page::new(Tiles { shell, span, here, figures, servers, needs }).into_response());
    }
    let choice = |word: &&str| {
        let one = Span::find(word).unwrap_or(Span::USUAL);
        Choice::new(one.short, format!("{}?range={}", shell.to(""), one.word), one == span)
    };
    let spans = SPANS.iter().map(choice).collect();
    Ok(Page::new(Overview { shell, spans, span, here, figures, servers, needs }).into_response())
}

async fn own(
    tx: &mut TenantTx,
    needs: &Needs,
    shell: Shell,
    can: &Can<may::ViewTenant>,
    names: &Names,
) -> Result<Response, Problem> {
    let month = Asked::default().with("range", "30d");
    let filter = query::resolve(&month, names, shell.present()).filter;
    let page = match actions::search(tx, Scope::Own(can.actor().user()), filter, None, OWN).await {
        Ok(page) => page.rows,
        Err(SearchError::Database(error)) => return Err(error.into()),
        Err(_) => Vec::new(),
    };
    let url = |id: RecordId| format!("{}?range=30d&call={id}", shell.to("activity"));
    let rows = rows::read(tx, &page, (names, shell.present()), url).await?;
    Ok(Page::new(Own { endpoint: needs.endpoint(&shell.workspace.slug), rows, shell }).into_response())
}

async fn steps(tx: &mut TenantTx, needs: &Needs, shell: &Shell, names: &Names) -> Result<Steps, store::Error> {
    let endpoint = needs.endpoint(&shell.workspace.slug);
    let servers: Vec<String> = names.servers.iter().map(|server| server.settings.title.clone()).collect();
    let tools = tools::count_live(tx).await?;
    let has_tokens =
        tokens::list_gateway(tx).await?.iter().any(|token| token.revoked_at.is_none() && token.expires_at > shell.now);
    let has_policies = !policies::list_active(tx).await?.is_empty();
    // In the order of the page: workspace, server, policy, client, team.
    let done = [true, tools > 0, has_policies, false, names.people.len() > 1];
    Ok(Steps {
        command: format!(
            "claude mcp add --transport http sluice {endpoint} --header \"Authorization: Bearer YOUR_TOKEN\""
        ),
        endpoint,
        servers,
        has_sandbox: needs.sandbox.0.is_some(),
        tools,
        has_tokens,
        has_policies,
        people: names.people.len(),
        done: done.iter().filter(|done| **done).count(),
        now: done.iter().position(|done| !done).map_or(0, |place| place + 1),
    })
}

/// What has an action and somebody to take it; nothing of it is a reason to look.
async fn needs_you(tx: &mut TenantTx, shell: &Shell, names: &Names) -> Result<Vec<Need>, store::Error> {
    let mut needs = Vec::new();
    if shell.may(Permission::ViewServers) {
        unhealthy(tx, shell, names, &mut needs).await?;
        held(tx, shell, names, &mut needs).await?;
    }
    if shell.may(Permission::ViewDestinations) {
        undelivered(tx, shell, &mut needs).await?;
    }
    if shell.may(Permission::ViewTokens) {
        ending(tx, shell, names, &mut needs).await?;
    }
    needs.truncate(7);
    Ok(needs)
}

async fn unhealthy(tx: &mut TenantTx, shell: &Shell, names: &Names, needs: &mut Vec<Need>) -> Result<(), store::Error> {
    let mut failing = Vec::new();
    for look in health::list(tx).await?.into_iter().filter(|look| look.state != HealthState::Healthy) {
        let Some(server) = names.server(look.server.uuid()).filter(|server| !server.paused) else { continue };
        let since = show::length((shell.now - look.since).num_seconds());
        let (what, icon) = match look.state {
            HealthState::NeedsSignIn => {
                (format!("{} does not take our credential.", server.settings.title), "key-round")
            }
            HealthState::Unusable => {
                (format!("{} answers, but nothing that can be used.", server.settings.title), "unplug")
            }
            _ => (format!("{} is failing.", server.settings.title), "unplug"),
        };
        let error = look.error.unwrap_or_default();
        let detail = format!(
            "For {since}, last checked {}. {}",
            show::ago(&look.checked_at, &shell.now),
            show::clip(&error, 160)
        );
        let url = shell.to(&format!("servers/{}", server.id));
        failing.push(server.settings.title.clone());
        let kind = if look.state == HealthState::NeedsSignIn { "wait" } else { "fail" };
        needs.push(Need { kind, icon, what, detail, verb: "Open server", url });
    }
    if failing.len() > FAILING {
        let what = format!("{} servers are failing.", failing.len());
        let detail = format!("{}.", failing.join(", "));
        *needs =
            vec![Need { kind: "fail", icon: "unplug", what, detail, verb: "See servers", url: shell.to("servers") }];
    }
    Ok(())
}

async fn held(tx: &mut TenantTx, shell: &Shell, names: &Names, needs: &mut Vec<Need>) -> Result<(), store::Error> {
    for held in tools::list_held(tx).await? {
        let Some(server) = names.server(held.server.uuid()) else { continue };
        let tools = offered(&held);
        let is_new = server.version.is_none();
        needs.push(Need {
            kind: "wait",
            icon: "git-compare",
            what: if is_new {
                format!("{} has {tools} to review.", server.settings.title)
            } else {
                format!("{} changed {tools}.", server.settings.title)
            },
            detail: if is_new {
                "None of them is offered to anybody until you accept them.".to_owned()
            } else {
                format!(
                    "Found {}. Agents keep using the reviewed definitions until you accept the new ones.",
                    show::ago(&held.found_at, &shell.now)
                )
            },
            verb: if is_new { "Review tools" } else { "See the diff" },
            url: shell.to(&format!("servers/{}", server.id)),
        });
    }
    Ok(())
}

/// What of a server's offer waits, in words.
fn offered(held: &tools::Held) -> String {
    let (tools, items) = (held.tools.max(0).cast_unsigned(), held.items.max(0).cast_unsigned());
    let tools_said = show::plural(tools, "tool", "tools");
    let items_said = show::plural(items, "prompt or resource", "prompts and resources");
    match (tools, items) {
        (_, 0) => tools_said,
        (0, _) => items_said,
        _ => format!("{tools_said}, {items_said}"),
    }
}

/// Destinations that do not take what is sent to them.
async fn undelivered(tx: &mut TenantTx, shell: &Shell, needs: &mut Vec<Need>) -> Result<(), store::Error> {
    let lanes = lanes::list(tx, None).await?;
    for destination in destinations::list(tx).await? {
        let lane = lanes.iter().find(|lane| lane.destination == destination.id && lane.kind == lanes::Kind::Live);
        let Some(lane) = lane else { continue };
        let said = lane.error.as_ref().map(|error| show::clip(&error.said, 160)).unwrap_or_default();
        let (what, detail) = match destination.state {
            Run::Stopped => (format!("{} was stopped.", destination.name), said),
            Run::Running if lane.failures > 0 => {
                let tries = show::plural(lane.failures, "time", "times");
                (format!("{} gets no records.", destination.name), format!("Tried {tries} in a row. {said}"))
            }
            _ => continue,
        };
        let url = shell.to(&format!("destinations/{}", destination.id));
        needs.push(Need { kind: "deny", icon: "send", what, detail, verb: "Open destination", url });
    }
    Ok(())
}

async fn ending(tx: &mut TenantTx, shell: &Shell, names: &Names, needs: &mut Vec<Need>) -> Result<(), store::Error> {
    let ends_soon = |at: DateTime<Utc>| at > shell.now && at < shell.now + ENDS_SOON;
    let tokens = tokens::list_gateway(tx).await?;
    // Only those somebody still calls with.
    let mut ending: Vec<_> = tokens
        .iter()
        .filter(|token| token.revoked_at.is_none() && token.last_used_at.is_some() && ends_soon(token.expires_at))
        .collect();
    ending.sort_by_key(|token| token.expires_at);
    let Some(first) = ending.first() else { return Ok(()) };
    let count = show::plural(ending.len(), "token in use expires", "tokens in use expire");
    let first_of = if ending.len() == 1 { "" } else { "The first is " };
    let owner = names.person(&first.user.to_string()).unwrap_or("somebody who left");
    needs.push(Need {
        kind: "wait",
        icon: "key-round",
        what: format!("{count} within a week."),
        detail: format!("{first_of}{}, of {owner}, {}.", first.title, show::until(&first.expires_at, &shell.now)),
        verb: "See tokens",
        url: shell.to("tokens"),
    });
    Ok(())
}
