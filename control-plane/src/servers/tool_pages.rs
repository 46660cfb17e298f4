//! One tool: what it is, who may call it, and what a person says of it.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::{Label, RiskClass, ServerId, ToolId};
use serde::Deserialize;
use store::servers::VersionState;
use store::tools::{ChangeState, Tool};
use store::{audit, servers, tools};

use super::Needs;
use super::actions::{self, ToolReview};
use super::callers::{self, EXPLAINED_MAX, Explained};
use super::definition::Definition;
use super::pages::Head;
use super::usage;
use crate::access::{Can, may};
use crate::console::{Done, Faults, Page, Shell, show};
use crate::input::{At, Form};
use crate::problem::Problem;

/// Most labels of a tool.
const LABELS_MAX: usize = 50;

#[derive(Debug, Template)]
#[template(path = "servers/tool.html")]
pub(super) struct ToolPage {
    shell: Shell,
    head: Head,
    tool: Tool,
    /// As agents call it.
    called: String,
    description: String,
    hints: Vec<(&'static str, bool)>,
    schema: String,
    digest: String,
    is_held: bool,
    /// Where what waits of it is reviewed; empty where nothing waits.
    review: String,
    inherited: Vec<String>,
    calls: u64,
    people: Vec<Explained>,
    risk: RiskClass,
    labels: String,
    faults: Faults,
}

pub(super) async fn open(
    shell: Shell,
    can: Can<may::ViewServers>,
    At((_, server, tool)): At<(String, ServerId, ToolId)>,
) -> Result<Page<ToolPage>, Problem> {
    Ok(Page::new(page(shell, &can, (server, tool)).await?))
}

async fn page<P: crate::access::Permitted>(
    shell: Shell,
    can: &Can<P>,
    (id, tool): (ServerId, ToolId),
) -> Result<ToolPage, Problem> {
    let mut tx = can.begin().await?;
    let (head, server) = Head::read(&mut tx, &shell, (id, "")).await?;
    let tool =
        tools::list(&mut tx, id).await?.into_iter().find(|known| known.id == tool).ok_or_else(Problem::not_found)?;
    let versions = servers::list_versions(&mut tx, id).await?;
    let newest = versions.iter().find(|version| version.state == VersionState::Held);
    let waiting = match newest {
        Some(version) => tools::list_changes(&mut tx, version.id).await?,
        None => Vec::new(),
    };
    let waiting = waiting.into_iter().find(|change| change.tool == tool.id && change.state == ChangeState::Held);
    let used = audit::usage::by_tool(&mut tx, id, usage::since(shell.now)).await?;
    let calls = usage::ByName::new(&used).of(&server.settings.alias, &tool.name);
    let asked = callers::ask(&mut tx).await?;
    drop(tx);
    let people = if tool.live.is_some() { callers::explain(asked, tool.id).await } else { Vec::new() };
    let is_held = waiting.is_some();
    let review = newest.filter(|_| is_held).map(|newest| head.to(&shell, &format!("/versions/{}", newest.id)));
    let shown = tool.live.clone().or_else(|| waiting.and_then(|change| change.after));
    let read = shown.as_ref().and_then(|shown| Definition::read(&shown.text).ok());
    let schema = read.as_ref().and_then(|read| serde_json::to_string_pretty(&read.input_schema).ok());
    Ok(ToolPage {
        called: format!("{}__{}", server.settings.alias, tool.name),
        hints: read.as_ref().filter(|read| read.annotated).map(hints).unwrap_or_default(),
        schema: schema.unwrap_or_default(),
        description: read.and_then(|read| read.description.or(read.title)).unwrap_or_default(),
        digest: shown.map(|shown| shown.digest).unwrap_or_default(),
        inherited: server.settings.labels.iter().map(ToString::to_string).collect(),
        risk: tool.risk,
        labels: tool.labels.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        faults: Faults::none(),
        shell,
        head,
        tool,
        is_held,
        review: review.unwrap_or_default(),
        calls,
        people,
    })
}

/// What a tool claims of itself, as it is understood.
fn hints(read: &Definition) -> Vec<(&'static str, bool)> {
    let claims = read.annotations;
    vec![
        ("Only reads", claims.read_only),
        ("Destroys", claims.destructive && !claims.read_only),
        ("Harmless to repeat", claims.idempotent),
        ("Reaches outside", claims.open_world),
    ]
}

/// A person's word on a tool.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Sent {
    #[serde(default)]
    risk: String,
    /// Separated by spaces or commas.
    #[serde(default)]
    labels: String,
}

/// Labels as people write them: separated by spaces or commas.
pub(super) fn labels(text: &str) -> Result<BTreeSet<Label>, Problem> {
    let words = text.split(|letter: char| letter.is_whitespace() || letter == ',').filter(|word| !word.is_empty());
    let read = |word: &str| {
        word.parse().map_err(|error| {
            Problem::invalid("labels", format!("{} is no label: {error}.", show::visible(show::clip(word, 40))))
        })
    };
    let labels: BTreeSet<Label> = words.map(read).collect::<Result<_, _>>()?;
    if labels.len() > LABELS_MAX {
        return Err(Problem::invalid("labels", "At most 50 labels."));
    }
    Ok(labels)
}

pub(super) async fn change(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::ManageServers>,
    At((_, server, tool)): At<(String, ServerId, ToolId)>,
    Form(sent): Form<Sent>,
) -> Result<Response, Problem> {
    let changed = async {
        let risk = RiskClass::find(&sent.risk).ok_or_else(|| Problem::invalid("risk", "One of the six classes."))?;
        let review = ToolReview { risk: Some(risk), labels: Some(labels(&sent.labels)?) };
        let mut tx = can.begin().await?;
        let before = tools::list(&mut tx, server).await?.into_iter().find(|known| known.id == tool);
        let after = actions::change_tool(&mut tx, &can.author(&needs.clock), (server, tool), review).await?;
        tx.commit().await?;
        let said =
            if before.as_ref() == Some(&after) { "is reviewed so already. Nothing changed." } else { "is reviewed." };
        Ok::<_, Problem>(format!("{} {said}", show::visible(show::clip(&after.name, 60))))
    };
    match changed.await {
        Ok(said) => Ok(Done::to(shell.to(&format!("servers/{server}/tools/{tool}"))).saying(said).into_response()),
        Err(problem) if problem.status() == axum::http::StatusCode::UNPROCESSABLE_ENTITY => {
            let page = page(shell, &can, (server, tool)).await?;
            let risk = RiskClass::find(&sent.risk).unwrap_or(page.tool.risk);
            let page = ToolPage { faults: Faults::of(&problem), labels: sent.labels, risk, ..page };
            Ok(Page::wrong(page).into_response())
        }
        Err(problem) => Err(problem),
    }
}
