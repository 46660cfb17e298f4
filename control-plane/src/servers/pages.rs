//! The list of servers, and what all pages of one server begin with.

use std::collections::HashMap;

use askama::Template;
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chrono::{DateTime, Utc};
use domain::ServerId;
use serde::Deserialize;
use store::credentials::Stored;
use store::health::{Health, State};
use store::servers::Server;
use store::tools::Counted;
use store::{TenantTx, audit, credentials, health, servers, tools};

use super::usage::{self, Usage};
use super::{
    Needs, add_pages, calls_pages, review_pages, sandbox_pages, settings_pages, tool_pages, tools_pages, version_pages,
};
use crate::access::{Can, may};
use crate::console::{Choice, Hx, Page, Shell, show};
use crate::input::Form;
use crate::problem::Problem;

/// The pages.
pub(crate) fn routes(needs: Needs) -> Router {
    let at = |path: &str| format!("/w/{{tenant}}/servers/{{server}}{path}");
    Router::new()
        .route("/w/{tenant}/servers", get(list))
        .route("/w/{tenant}/servers/new", get(add_pages::open).post(add_pages::look))
        .route("/w/{tenant}/servers/add", post(add_pages::add))
        .route("/w/{tenant}/servers/sandbox", post(sandbox_pages::add))
        .route(&at(""), get(tools_pages::show))
        .route(&at("/calls"), get(calls_pages::show))
        .route(&at("/versions"), get(version_pages::show))
        .route(&at("/settings"), get(settings_pages::open).post(settings_pages::change))
        .route(&at("/pause"), post(settings_pages::pause))
        .route(&at("/resume"), post(settings_pages::resume))
        .route(&at("/remove"), post(settings_pages::remove))
        .route(&at("/refresh"), post(settings_pages::refresh))
        .route(&at("/versions/{version}"), get(review_pages::open))
        .route(&at("/versions/{version}/accept"), post(review_pages::accept))
        .route(&at("/versions/{version}/reject"), post(review_pages::reject))
        .route(&at("/tools/{tool}"), get(tool_pages::open).post(tool_pages::change))
        .with_state(needs)
}

/// How a server is, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Condition {
    /// A status' kind.
    pub(crate) kind: &'static str,
    pub(crate) word: &'static str,
    pub(crate) is_wrong: bool,
}

impl Condition {
    /// By the last look at it.
    pub(crate) fn of(server: &Server, looked: Option<State>) -> Self {
        let (kind, word, is_wrong) = match looked {
            _ if server.paused => ("wait", "Paused", false),
            Some(State::Unreachable) => ("fail", "Unreachable", true),
            Some(State::NeedsSignIn) => ("wait", "Needs a credential", true),
            Some(State::Unusable) => ("fail", "Unusable", true),
            Some(State::Healthy) if server.version.is_none() => ("wait", "Waits for review", false),
            Some(State::Healthy) => ("ok", "Healthy", false),
            None => ("", "Not looked at yet", false),
        };
        Self { kind, word, is_wrong }
    }
}

/// A server in the list.
#[derive(Debug)]
struct Row {
    title: String,
    url: String,
    place: String,
    alias: String,
    condition: Condition,
    tools: u64,
    held: u64,
    credential: String,
    usage: Usage,
}

#[derive(Debug, Template)]
#[template(path = "servers/index.html")]
struct ListPage {
    shell: Shell,
    rows: Vec<Row>,
    filters: Vec<Choice>,
    q: String,
    state: String,
    is_empty: bool,
    has_sandbox: bool,
}

#[derive(Debug, Template)]
#[template(path = "servers/index.html", block = "results")]
struct Results {
    shell: Shell,
    rows: Vec<Row>,
    filters: Vec<Choice>,
    q: String,
    state: String,
    is_empty: bool,
    has_sandbox: bool,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Query {
    #[serde(default)]
    q: String,
    #[serde(default)]
    state: String,
}

async fn list(
    axum::extract::State(sandbox): axum::extract::State<super::Sandbox>,
    shell: Shell,
    can: Can<may::ViewServers>,
    hx: Hx,
    Form(query): Form<Query>,
) -> Result<Response, Problem> {
    let mut tx = can.begin().await?;
    let rows = rows(&mut tx, &shell, query.q.trim()).await?;
    let is_empty = rows.is_empty() && query.q.trim().is_empty();
    let filters = filters(&shell, &rows, &query);
    let rows: Vec<Row> = rows.into_iter().filter(|row| is_wanted(row, &query.state)).collect();
    let has_sandbox = sandbox.0.is_some();
    let Query { q, state } = query;
    if hx.0 {
        return Ok(Page::new(Results { shell, rows, filters, q, state, is_empty, has_sandbox }).into_response());
    }
    Ok(Page::new(ListPage { shell, rows, filters, q, state, is_empty, has_sandbox }).into_response())
}

async fn rows(tx: &mut TenantTx, shell: &Shell, q: &str) -> Result<Vec<Row>, Problem> {
    let mut found = servers::list(tx).await?;
    if !q.is_empty() {
        let with_tool = tools::find_servers(tx, q).await?;
        let q = q.to_lowercase();
        let says = |text: &str| text.to_lowercase().contains(&q);
        found.retain(|server| {
            let Server { key, settings, .. } = server;
            with_tool.contains(&server.id)
                || says(&settings.title)
                || says(key.as_str())
                || says(settings.endpoint.as_str())
                || settings.labels.iter().any(|label| says(label.as_str()))
        });
    }
    let seen: HashMap<ServerId, Health> =
        health::list(tx).await?.into_iter().map(|health| (health.server, health)).collect();
    let counted: HashMap<ServerId, Counted> =
        tools::count(tx).await?.into_iter().map(|counted| (counted.server, counted)).collect();
    let stored: HashMap<ServerId, Stored> =
        credentials::list(tx).await?.into_iter().map(|stored| (stored.server, stored)).collect();
    let since = usage::since(shell.now);
    let mut used: HashMap<ServerId, Usage> = HashMap::new();
    for row in audit::usage::by_server(tx, since, None).await? {
        used.entry(row.server).or_default().add(since, &row);
    }
    let row = |server: Server| Row {
        condition: Condition::of(&server, seen.get(&server.id).map(|health| health.state)),
        url: shell.to(&format!("servers/{}", server.id)),
        place: place(&server),
        alias: server.settings.alias.to_string(),
        tools: counted.get(&server.id).map_or(0, |counted| counted.live.unsigned_abs()),
        held: counted.get(&server.id).map_or(0, |counted| counted.held.unsigned_abs()),
        credential: credential(stored.get(&server.id)),
        usage: used.remove(&server.id).unwrap_or_default(),
        title: server.settings.title,
    };
    Ok(found.into_iter().map(row).collect())
}

fn is_wanted(row: &Row, state: &str) -> bool {
    match state {
        "review" => row.held > 0,
        "unhealthy" => row.condition.is_wrong,
        _ => true,
    }
}

fn filters(shell: &Shell, rows: &[Row], query: &Query) -> Vec<Choice> {
    let choice = |text: &str, state: &'static str| {
        let mut parameters = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("q", query.q.trim()), ("state", state)] {
            if !value.is_empty() {
                parameters.append_pair(name, value);
            }
        }
        let parameters = parameters.finish();
        let mark = if parameters.is_empty() { "" } else { "?" };
        let count = rows.iter().filter(|row| is_wanted(row, state)).count();
        let is_current =
            query.state == state || (state.is_empty() && !matches!(query.state.as_str(), "review" | "unhealthy"));
        let url = format!("{}{mark}{parameters}", shell.to("servers"));
        Choice { count: show::count(count), ..Choice::new(text, url, is_current) }
    };
    vec![choice("All", ""), choice("Need review", "review"), choice("Unhealthy", "unhealthy")]
}

/// Where a server is, as people say it.
pub(super) fn place(server: &Server) -> String {
    let endpoint = &server.settings.endpoint;
    let host = endpoint.host_str().unwrap_or_default();
    let port = endpoint.port().map(|port| format!(":{port}")).unwrap_or_default();
    let path = endpoint.path().trim_end_matches('/');
    let scheme = if endpoint.scheme() == "http" { "http://" } else { "" };
    format!("{scheme}{host}{port}{path}")
}

/// A credential in words; never its value.
pub(super) fn credential(stored: Option<&Stored>) -> String {
    match stored {
        None => "None".to_owned(),
        Some(Stored { header: None, .. }) => "Bearer token".to_owned(),
        Some(Stored { header: Some(name), .. }) => format!("Header {name}"),
    }
}

/// What all pages of one server show.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) id: ServerId,
    pub(crate) title: String,
    pub(crate) place: String,
    pub(crate) paused: bool,
    pub(crate) is_reviewed: bool,
    pub(crate) condition: Condition,
    /// What is wrong; empty where nothing is.
    pub(crate) error: String,
    pub(crate) checked_at: Option<DateTime<Utc>>,
    /// For how long it has been so; empty where it was never looked at.
    pub(crate) lasts: String,
    /// How many of its tools agents are offered, and how often they were called in the last day.
    pub(crate) tools: u64,
    pub(crate) calls: u64,
    pub(crate) tabs: Vec<Choice>,
}

impl Head {
    /// Reads it; `tab` is the path of the page below the server's.
    pub(crate) async fn read(
        tx: &mut TenantTx,
        shell: &Shell,
        (id, tab): (ServerId, &str),
    ) -> Result<(Self, Server), Problem> {
        let server = servers::find(tx, id).await?.ok_or_else(Problem::not_found)?;
        let health = health::find(tx, id).await?;
        let tabs = [
            ("Tools", ""),
            ("Calls", "/calls"),
            ("Versions", "/versions"),
            ("Credential", "/credential"),
            ("Settings", "/settings"),
        ];
        let tabs = tabs.map(|(text, path)| Choice::new(text, shell.to(&format!("servers/{id}{path}")), path == tab));
        let counted = tools::count(tx).await?.into_iter().find(|counted| counted.server == id);
        let used = audit::usage::by_server(tx, usage::since(shell.now), Some(id)).await?;
        let head = Self {
            id,
            title: server.settings.title.clone(),
            place: place(&server),
            paused: server.paused,
            is_reviewed: server.version.is_some(),
            condition: Condition::of(&server, health.as_ref().map(|health| health.state)),
            lasts: health
                .as_ref()
                .map_or_else(String::new, |health| show::length((shell.now - health.since).num_seconds())),
            checked_at: health.as_ref().map(|health| health.checked_at),
            error: health.and_then(|health| health.error).unwrap_or_default(),
            tools: counted.map_or(0, |counted| counted.live.unsigned_abs()),
            calls: used.iter().map(|row| row.count.unsigned_abs()).sum(),
            tabs: tabs.to_vec(),
        };
        Ok((head, server))
    }

    /// What is asked before it is paused.
    pub(crate) fn pause_title(&self) -> String {
        format!("Pause {}?", show::visible(&self.title))
    }

    /// What is wrong and for how long, in a title.
    pub(crate) fn fault_title(&self) -> String {
        format!("{} for {}", self.condition.word, self.lasts)
    }

    /// Whether a person must give it a credential, which is mended elsewhere than the rest.
    pub(crate) fn wants_credential(&self) -> bool {
        self.condition.word == "Needs a credential"
    }

    /// A path of the server's.
    pub(crate) fn to(&self, shell: &Shell, path: &str) -> String {
        shell.to(&format!("servers/{}{path}", self.id))
    }
}
