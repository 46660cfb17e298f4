//! One server: its tools, what waits for review, its calls and its versions.

use askama::Template;
use axum::response::{IntoResponse, Response};
use domain::{Alias, RiskClass, ServerId, ServerVersionId, ToolId};
use serde::Deserialize;
use store::audit::usage::OfTool;
use store::credentials;
use store::servers::{self, VersionState};
use store::tools::{self, Change, ChangeKind, ChangeState, Tool};
use store::{TenantTx, audit};

use super::callers::{self, Callers};
use super::definition::{Definition, differences};
use super::diff::{self, Line};
use super::pages::{self, Head};
use super::usage::{self, ByName, Usage};
use crate::access::{Can, may};
use crate::console::{Choice, Hx, Page, Shell, show};
use crate::input::{At, Form};
use crate::problem::Problem;

/// Held changes that the card of a server lists; the review has all.
const LISTED: usize = 8;
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

/// What waits for a decision.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) version: ServerVersionId,
    /// Where all that waits is rejected.
    pub(super) reject: String,
    pub(super) found_at: chrono::DateTime<chrono::Utc>,
    pub(super) changes: Vec<Waiting>,
    pub(super) more: usize,
    pub(super) count: usize,
    /// The change that is shown, and how.
    pub(super) shown: Option<(String, Vec<Line>)>,
}

/// One change that waits, in a line.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) url: String,
    pub(super) name: String,
    pub(super) says: String,
    pub(super) flag: &'static str,
    pub(super) is_shown: bool,
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
pub(super) async fn tools(
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
        Some(version) => tools::list_changes(&mut tx, version.id).await?,
        None => Vec::new(),
    };
    let waiting = newest.map(|version| held(&shell, &head, version, &changes, &query.change));
    let mut usage = Usage::default();
    for row in audit::usage::by_server(&mut tx, since, Some(id)).await? {
        usage.add(since, &row);
    }
    let credential = pages::credential(credentials::find(&mut tx, id).await?.as_ref());
    let asked = callers::ask(&mut tx).await?;
    drop(tx);
    let callers = callers::count(asked).await;
    let (used, alias) = (ByName::new(&used), &server.settings.alias);
    let seen = Seen { shell: &shell, head: &head, known: &known, changes: &changes, used, alias, callers };
    let rows = seen.rows();
    let filters = filters(&shell, &head, &rows, &query);
    let (rows, more) = seen.narrowed(rows, &query);
    let known = seen.known.len();
    if hx.0 {
        return Ok(Page::new(Results { rows, known, filters, query, more, shell: shell.clone(), head }).into_response());
    }
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
        labels,
        key,
        alias,
        head,
        shell: shell.clone(),
    };
    Ok(Page::new(page).into_response())
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

/// The beginning of what a definition says of itself.
pub(super) fn description(definition: Option<&str>) -> String {
    let read = definition.and_then(|text| Definition::read(text).ok());
    let said = read.and_then(|read| read.description.or(read.title)).unwrap_or_default();
    let first = said.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    show::clip(first.trim(), 140)
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
        ("Dangerous", "danger"),
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

fn held(shell: &Shell, head: &Head, version: &servers::Version, changes: &[Change], wanted: &str) -> Held {
    let open: Vec<&Change> = changes.iter().filter(|change| change.state == ChangeState::Held).collect();
    let chosen = open.iter().find(|change| change.tool.to_string() == wanted).or_else(|| open.first());
    let shown = chosen.filter(|_| head.is_reviewed).map(|change| (change.name.clone(), lines(change)));
    let waiting = |change: &&Change| Waiting {
        url: format!("{}?change={}#drift", head.to(shell, ""), change.tool),
        name: change.name.clone(),
        says: says(change),
        flag: flag(change),
        is_shown: chosen.is_some_and(|chosen| chosen.tool == change.tool),
    };
    Held {
        version: version.id,
        reject: head.to(shell, &format!("/versions/{}/reject", version.id)),
        found_at: version.found_at,
        changes: open.iter().take(LISTED).map(waiting).collect(),
        more: open.len().saturating_sub(LISTED),
        count: open.len(),
        shown,
    }
}

/// A change as a diff.
pub(super) fn lines(change: &Change) -> Vec<Line> {
    diff::lines(
        change.before.as_ref().map(|before| before.text.as_str()),
        change.after.as_ref().map(|after| after.text.as_str()),
    )
}

/// What a change changes, in words.
pub(super) fn says(change: &Change) -> String {
    match (change.kind, &change.before, &change.after) {
        (ChangeKind::New, ..) => "New tool".to_owned(),
        (ChangeKind::Removed, ..) => "Offered no longer".to_owned(),
        (_, Some(before), Some(after)) => {
            let word = |member: &str| match member {
                "inputSchema" => "arguments",
                "outputSchema" => "results",
                "annotations" => "hints",
                "title" => "title",
                "name" => "name",
                _ => "description",
            };
            let words: Vec<&str> = differences(&before.text, &after.text).into_iter().map(word).collect();
            format!("Other {}", words.join(", "))
        }
        _ => "Changed".to_owned(),
    }
}

/// What should make one look twice; empty where nothing does.
pub(super) fn flag(change: &Change) -> &'static str {
    let hides = |text: &str| serde_json::from_str(text).is_ok_and(|definition| hides(&definition));
    let class = |text: &str| Definition::read(text).ok().map(|read| super::risk::guess(&read));
    match (&change.before, &change.after) {
        (_, Some(after)) if hides(&after.text) => "Hidden characters",
        (Some(before), Some(after)) if class(&after.text) > class(&before.text) => "Riskier",
        _ => "",
    }
}

/// Whether any text in a definition has characters that do not show.
fn hides(value: &serde_json::Value) -> bool {
    let is_hiding = |text: &str| show::pieces(text).iter().any(|piece| piece.is_hidden);
    match value {
        serde_json::Value::String(text) => is_hiding(text),
        serde_json::Value::Array(values) => values.iter().any(hides),
        serde_json::Value::Object(members) => members.iter().any(|(name, value)| is_hiding(name) || hides(value)),
        _ => false,
    }
}

/// A tool's calls in a line.
#[derive(Debug)]
struct Used {
    tool: String,
    calls: u64,
    denied: u64,
    share: u64,
    activity: String,
}

#[derive(Debug, Template)]
#[template(path = "servers/calls.html")]
struct CallsPage {
    shell: Shell,
    head: Head,
    usage: Usage,
    used: Vec<Used>,
    activity: String,
}

/// A server's calls of the last day, tool by tool.
pub(super) async fn calls(
    shell: Shell,
    can: Can<may::ViewServers>,
    At((_, id)): At<(String, ServerId)>,
) -> Result<Response, Problem> {
    let mut tx = can.begin().await?;
    let (head, server) = Head::read(&mut tx, &shell, (id, "/calls")).await?;
    let (usage, used) = day(&mut tx, &shell, id).await?;
    let most = used.iter().map(|used| used.count).max().unwrap_or(1).max(1).unsigned_abs();
    let of_tool = |tool: &str| {
        let mut parameters = url::form_urlencoded::Serializer::new(String::new());
        parameters.append_pair("tool", tool);
        shell.to(&format!("activity?{}", parameters.finish()))
    };
    let used = used.into_iter().map(|used| Used {
        activity: of_tool(&used.tool),
        calls: used.count.unsigned_abs(),
        denied: (used.count - used.allowed).unsigned_abs(),
        share: used.count.unsigned_abs() * 100 / most,
        tool: used.tool,
    });
    let (used, activity) = (used.collect(), of_tool(&format!("{}.*", server.settings.alias)));
    Ok(Page::new(CallsPage { head, usage, used, activity, shell: shell.clone() }).into_response())
}

async fn day(tx: &mut TenantTx, shell: &Shell, id: ServerId) -> Result<(Usage, Vec<OfTool>), store::Error> {
    let since = usage::since(shell.now);
    let mut usage = Usage::default();
    for row in audit::usage::by_server(tx, since, Some(id)).await? {
        usage.add(since, &row);
    }
    Ok((usage, audit::usage::by_tool(tx, id, since).await?))
}

/// A version in a line.
#[derive(Debug)]
struct Past {
    url: String,
    version: servers::Version,
    is_live: bool,
    found_by: String,
}

#[derive(Debug, Template)]
#[template(path = "servers/versions.html")]
struct VersionsPage {
    shell: Shell,
    head: Head,
    versions: Vec<Past>,
}

/// What was found at each look that found something else, newest first.
pub(super) async fn versions(
    shell: Shell,
    can: Can<may::ViewServers>,
    At((_, id)): At<(String, ServerId)>,
) -> Result<Response, Problem> {
    let mut tx = can.begin().await?;
    let (head, server) = Head::read(&mut tx, &shell, (id, "/versions")).await?;
    let versions = servers::list_versions(&mut tx, id).await?;
    drop(tx);
    let people: Vec<_> = versions.iter().filter_map(|version| version.found_by).collect();
    let emails = can.emails(&people).await?;
    let past = versions.into_iter().map(|version| Past {
        url: head.to(&shell, &format!("/versions/{}", version.id)),
        is_live: Some(version.id) == server.version,
        found_by: version.found_by.map_or_else(
            || "Sluice".to_owned(),
            |user| emails.get(&user).cloned().unwrap_or_else(|| "Somebody who left".to_owned()),
        ),
        version,
    });
    let versions = past.collect();
    Ok(Page::new(VersionsPage { shell, head, versions }).into_response())
}
