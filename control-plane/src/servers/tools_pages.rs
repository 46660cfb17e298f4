//! One server: its tools, and what waits for review.

use askama::Template;
use axum::response::{IntoResponse, Response};
use domain::{Alias, RiskClass, ServerId, ToolId};
use serde::Deserialize;
use store::audit;
use store::credentials;
use store::servers::{self, VersionState};
use store::tools::{self, Change, ChangeState, Tool};

use super::actions::Changes;
use super::callers::{self, Callers};
use super::definition::description;
use super::held::Held;
use super::pages::{self, Head};
use super::usage::{self, ByName, Usage};
use crate::access::{Can, may};
use crate::console::{Choice, Hx, Page, Shell, show};
use crate::input::{At, Form};
use crate::problem::Problem;

/// Tools of a page.
const PAGE: usize = 100;

/// A tool in the table.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: ToolId,
    pub(super) url: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) risk: RiskClass,
    pub(super) is_guess: bool,
    pub(super) labels: Vec<String>,
    pub(super) is_live: bool,
    pub(super) is_held: bool,
    pub(super) callers: String,
    pub(super) calls: u64,
}

#[derive(Debug, Template)]
#[template(path = "servers/tools.html")]
struct ToolsPage {
    shell: Shell,
    head: Head,
    held: Option<Held>,
    rows: Vec<Row>,
    known: usize,
    filters: Vec<Choice>,
    query: Query,
    more: String,
    usage: Usage,
    credential: String,
    version: Option<servers::Version>,
    /// What the last look found beside, a sentence each.
    findings: Vec<String>,
    labels: Vec<String>,
    key: String,
    alias: String,
}

#[derive(Debug, Template)]
#[template(path = "servers/tools.html", block = "results")]
struct Results {
    shell: Shell,
    head: Head,
    rows: Vec<Row>,
    known: usize,
    filters: Vec<Choice>,
    query: Query,
    more: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Query {
    #[serde(default)]
    q: String,
    #[serde(default)]
    risk: String,
    /// The last tool of the page before.
    #[serde(default)]
    after: String,
    /// The held change that is shown.
    #[serde(default)]
    change: String,
}

/// A server's tools, and what waits for a decision.
pub(super) async fn show(
    shell: Shell,
    can: Can<may::ViewServers>,
    hx: Hx,
    At((_, id)): At<(String, ServerId)>,
    Form(query): Form<Query>,
) -> Result<Response, Problem> {
    let mut tx = can.begin().await?;
    let (head, server) = Head::read(&mut tx, &shell, (id, "")).await?;
    let known = tools::list(&mut tx, id).await?;
    let since = usage::since(shell.now);
    let used = audit::usage::by_tool(&mut tx, id, since).await?;
    let versions = servers::list_versions(&mut tx, id).await?;
    let newest = versions.iter().find(|version| version.state == VersionState::Held);
    let changes = match newest {
        Some(version) => Changes::read(&mut tx, version.id).await?,
        None => Changes::default(),
    };
    let waiting = newest.map(|version| Held::of(&shell, &head, version, &changes, &query.change));
    let mut usage = Usage::default();
    for row in audit::usage::by_server(&mut tx, since, Some(id)).await? {
        usage.add(since, &row);
    }
    let credential = pages::credential(credentials::find(&mut tx, id).await?.as_ref());
    let asked = callers::ask(&mut tx).await?;
    drop(tx);
    let callers = callers::count(asked).await;
    let (used, alias) = (ByName::new(&used), &server.settings.alias);
    let seen = Seen { shell: &shell, head: &head, known: &known, changes: &changes.tools, used, alias, callers };
    let rows = seen.rows();
    let filters = filters(&shell, &head, &rows, &query);
    let (rows, more) = seen.narrowed(rows, &query);
    let known = known.len();
    if hx.0 {
        return Ok(Page::new(Results { rows, known, filters, query, more, shell: shell.clone(), head }).into_response());
    }
    let findings = findings(&versions, &server);
    let version = versions.into_iter().find(|version| Some(version.id) == server.version);
    let labels = server.settings.labels.iter().map(ToString::to_string).collect();
    let (key, alias) = (server.key.to_string(), server.settings.alias.to_string());
    let page = ToolsPage {
        held: waiting,
        rows,
        known,
        filters,
        more,
        query,
        usage,
        credential,
        version,
        findings,
        labels,
        key,
        alias,
        head,
        shell: shell.clone(),
    };
    Ok(Page::new(page).into_response())
}

/// What the last look has to say: it is written to the version that waits and to the live one.
fn findings(versions: &[servers::Version], server: &servers::Server) -> Vec<String> {
    let newest = versions.first().filter(|newest| newest.state == VersionState::Held);
    let live = || versions.iter().find(|version| Some(version.id) == server.version);
    newest.or_else(live).map(|version| version.protocol.findings.clone()).unwrap_or_default()
}

/// What the rows are made of.
struct Seen<'a> {
    shell: &'a Shell,
    head: &'a Head,
    known: &'a [Tool],
    changes: &'a [Change],
    used: ByName,
    alias: &'a Alias,
    callers: Callers,
}

impl Seen<'_> {
    /// Tools that are offered, or were or will be: what was never accepted and waits no longer is left out.
    fn rows(&self) -> Vec<Row> {
        let is_held =
            |tool: ToolId| self.changes.iter().any(|change| change.tool == tool && change.state == ChangeState::Held);
        let row = |tool: &Tool| Row {
            id: tool.id,
            url: self.head.to(self.shell, &format!("/tools/{}", tool.id)),
            description: description(
                tool.live.as_ref().map(|live| live.text.as_str()).or_else(|| found(self.changes, tool.id)),
            ),
            risk: tool.risk,
            is_guess: !tool.risk_reviewed,
            labels: tool.labels.iter().map(ToString::to_string).collect(),
            is_live: tool.live.is_some(),
            is_held: is_held(tool.id),
            callers: self.callers.of(tool.id),
            calls: self.used.of(self.alias, &tool.name),
            name: tool.name.clone(),
        };
        self.known.iter().filter(|tool| tool.live.is_some() || is_held(tool.id)).map(row).collect()
    }

    fn narrowed(&self, rows: Vec<Row>, query: &Query) -> (Vec<Row>, String) {
        let q = query.q.trim().to_lowercase();
        let is_wanted = |row: &Row| {
            is_of(row, &query.risk)
                && (q.is_empty()
                    || row.name.to_lowercase().contains(&q)
                    || row.description.to_lowercase().contains(&q)
                    || row.labels.iter().any(|label| label.contains(&q)))
        };
        let mut rows: Vec<Row> = rows.into_iter().filter(is_wanted).collect();
        let begin = rows.iter().position(|row| row.id.to_string() == query.after).map_or(0, |place| place + 1);
        rows.drain(..begin);
        if rows.len() <= PAGE {
            return (rows, String::new());
        }
        rows.truncate(PAGE);
        let after = rows.last().map(|last| last.id.to_string()).unwrap_or_default();
        (rows, address(self.shell, self.head, &Query { after, ..query.clone() }))
    }
}

/// The definition a tool was found with, where it waits.
fn found(changes: &[Change], tool: ToolId) -> Option<&str> {
    let change = changes.iter().find(|change| change.tool == tool)?;
    change.after.as_ref().map(|after| after.text.as_str())
}

fn is_of(row: &Row, risk: &str) -> bool {
    match risk {
        "" => true,
        "held" => row.is_held,
        "danger" => row.risk >= RiskClass::Execute,
        risk => row.risk.as_str() == risk,
    }
}

fn address(shell: &Shell, head: &Head, query: &Query) -> String {
    let mut parameters = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in [("q", query.q.trim()), ("risk", query.risk.as_str()), ("after", query.after.as_str())] {
        if !value.is_empty() {
            parameters.append_pair(name, value);
        }
    }
    let parameters = parameters.finish();
    let mark = if parameters.is_empty() { "" } else { "?" };
    format!("{}{mark}{parameters}", head.to(shell, ""))
}

fn filters(shell: &Shell, head: &Head, rows: &[Row], query: &Query) -> Vec<Choice> {
    let choices = [
        ("All", ""),
        ("Held", "held"),
        ("Read", "read"),
        ("Write", "write"),
        ("Reaches out", "network"),
        ("Destructive", "danger"),
    ];
    let counted =
        choices.into_iter().map(|(text, risk)| (text, risk, rows.iter().filter(|row| is_of(row, risk)).count()));
    let of_some = counted.filter(|(_, risk, count)| risk.is_empty() || *count > 0 || query.risk == *risk);
    let choice = |(text, risk, count): (&str, &str, usize)| {
        let url = address(shell, head, &Query { q: query.q.clone(), risk: risk.to_owned(), ..Query::default() });
        Choice { count: show::count(count), ..Choice::new(text, url, query.risk == risk) }
    };
    of_some.map(choice).collect()
}
