//! The review of what a server offers: the first one as a whole, later ones change by change.

use std::borrow::Borrow;
use std::collections::BTreeSet;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::{ItemId, RiskClass, ServerId, ServerVersionId, ToolId};
use serde::Deserialize;
use store::items;
use store::servers::{self, VersionState};
use store::tools::{self, ChangeKind, ChangeState};

use super::Needs;
use super::actions::{self, Changes, ServerError, ToolReview, Which};
use super::change::{flag, lines, says};
use super::definition::description;
use super::diff::readable_tool;
use super::item_rows::ItemRow;
use super::pages::Head;
use super::whole::Whole;
use crate::access::{Can, may};
use crate::console::{Done, Faults, Page, Shell, show};
use crate::diff::Line;
use crate::input::{At, Form};
use crate::problem::Problem;

/// Changes of a page.
const PAGE: usize = 50;
/// Bytes of definitions on a page, before and after; one that is larger has a page of its own.
const PAGE_BYTES: usize = 512 * 1024;

/// Which page.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Further {
    /// The last tool of the page before.
    #[serde(default)]
    after: String,
    /// The last prompt, resource or template of the page before.
    #[serde(default)]
    after_item: String,
}

/// A change under review.
#[derive(Debug)]
struct Row {
    tool: ToolId,
    name: String,
    description: String,
    kind: ChangeKind,
    state: ChangeState,
    risk: RiskClass,
    says: String,
    flag: &'static str,
    lines: Vec<Line>,
    /// The whole definition of a new tool, to be read.
    whole: Whole,
}

#[derive(Debug, Template)]
#[template(path = "servers/review.html")]
pub(super) struct ReviewPage {
    shell: Shell,
    head: Head,
    version: servers::Version,
    says: String,
    rows: Vec<Row>,
    /// How many tools the version changes.
    all: usize,
    /// Where the next ones are; empty at the end.
    next: String,
    /// Prompts, resources and templates, in the same way.
    items: Vec<ItemRow>,
    all_items: usize,
    next_items: String,
    /// How much waits, and of it how many tools.
    open: usize,
    open_tools: usize,
    is_first: bool,
    faults: Faults,
}

/// A class in words.
pub(crate) fn class_name(risk: impl Borrow<RiskClass>) -> &'static str {
    match risk.borrow() {
        RiskClass::Read => "Read",
        RiskClass::Write => "Write",
        RiskClass::Network => "Reaches out",
        RiskClass::Execute => "Runs code",
        RiskClass::Destructive => "Destructive",
        RiskClass::SecretBearing => "Holds secrets",
    }
}

pub(super) async fn open(
    shell: Shell,
    can: Can<may::ViewServers>,
    At((_, server, version)): At<(String, ServerId, ServerVersionId)>,
    Form(further): Form<Further>,
) -> Result<Page<ReviewPage>, Problem> {
    Ok(Page::new(page(shell, &can, (server, version), &further).await?))
}

async fn page<P: crate::access::Permitted>(
    shell: Shell,
    can: &Can<P>,
    (server, version): (ServerId, ServerVersionId),
    further: &Further,
) -> Result<ReviewPage, Problem> {
    let mut tx = can.begin().await?;
    let (head, _) = Head::read(&mut tx, &shell, (server, "/versions")).await?;
    let version = servers::find_version(&mut tx, server, version).await?.ok_or_else(Problem::not_found)?;
    let Changes { tools: changes, items } = Changes::read(&mut tx, version.id).await?;
    let known = tools::list(&mut tx, server).await?;
    drop(tx);
    let is_open = version.state == VersionState::Held;
    let is_first = is_open && !head.is_reviewed;
    let open_tools = changes.iter().filter(|change| is_open && change.state == ChangeState::Held).count();
    let open = open_tools + items.iter().filter(|change| is_open && change.state == ChangeState::Held).count();
    let all_items = items.len();
    let (items, last_item) = item_page(items, &further.after_item);
    let at = |name: &str, last: String| head.to(&shell, &format!("/versions/{}?{name}={last}", version.id));
    let next_items = last_item.map(|last| at("after_item", last.to_string())).unwrap_or_default();
    let all = changes.len();
    let (changes, last) = tool_page(changes, &further.after);
    let next = last.map(|last| at("after", last.to_string())).unwrap_or_default();
    let row = |change: tools::Change| {
        let definition = change.after.as_ref().or(change.before.as_ref()).map(|found| found.text.as_str());
        // What a person has said of a tool stands, whatever is guessed anew.
        let said = known.iter().find(|tool| tool.id == change.tool && tool.risk_reviewed).map(|tool| tool.risk);
        Row {
            description: description(definition),
            says: says(&change),
            flag: flag(&change),
            whole: if change.kind == ChangeKind::New {
                whole(definition.unwrap_or_default())
            } else {
                Whole::default()
            },
            lines: if change.kind == ChangeKind::New { Vec::new() } else { lines(&change) },
            risk: said.unwrap_or(change.risk),
            tool: change.tool,
            kind: change.kind,
            state: change.state,
            name: change.name,
        }
    };
    let rows = changes.into_iter().map(row).collect();
    let says = version.server_info.as_deref().map(about).unwrap_or_default();
    let faults = Faults::none();
    let items = items.into_iter().map(ItemRow::of).collect();
    Ok(ReviewPage {
        shell,
        head,
        version,
        says,
        rows,
        all,
        next,
        items,
        all_items,
        next_items,
        open,
        open_tools,
        is_first,
        faults,
    })
}

/// The page of tools that follows one, and its last where there are more. What waits comes first: the next page of it is
/// the first one again, once this one is decided.
fn tool_page(mut changes: Vec<tools::Change>, after: &str) -> (Vec<tools::Change>, Option<ToolId>) {
    changes.sort_by_key(|change| change.state != ChangeState::Held);
    let begin = changes.iter().position(|change| change.tool.to_string() == after).map_or(0, |at| at + 1);
    changes.drain(..begin);
    let fit = fitting(changes.iter().map(|change| size(change.before.as_ref()) + size(change.after.as_ref())));
    let is_more = changes.len() > fit;
    changes.truncate(fit);
    let last = changes.last().filter(|_| is_more).map(|last| last.tool);
    (changes, last)
}

/// The page of items that follows one, in the same way.
fn item_page(mut changes: Vec<items::Change>, after: &str) -> (Vec<items::Change>, Option<ItemId>) {
    changes.sort_by_key(|change| change.state != ChangeState::Held);
    let begin = changes.iter().position(|change| change.item.to_string() == after).map_or(0, |at| at + 1);
    changes.drain(..begin);
    let fit = fitting(changes.iter().map(|change| size(change.before.as_ref()) + size(change.after.as_ref())));
    let is_more = changes.len() > fit;
    changes.truncate(fit);
    let last = changes.last().filter(|_| is_more).map(|last| last.item);
    (changes, last)
}

fn size(definition: Option<&tools::Definition>) -> usize {
    definition.map_or(0, |definition| definition.text.len())
}

/// How many of the next, by their bytes, are on a page: one at least.
fn fitting(sizes: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0_usize;
    let within = sizes.take(PAGE).take_while(|size| {
        bytes = bytes.saturating_add(*size);
        bytes <= PAGE_BYTES
    });
    within.count().max(1)
}

/// A definition as people read it.
fn whole(definition: &str) -> Whole {
    Whole::of(&readable_tool(definition))
}

/// A server's name and version as it gives them.
pub(crate) fn about(info: &str) -> String {
    let info: serde_json::Value = serde_json::from_str(info).unwrap_or_default();
    let said = |name: &str| show::clip(info[name].as_str().unwrap_or_default(), 80);
    format!("{} {}", said("name"), said("version")).trim().to_owned()
}

/// What a person says of the tools and items they chose.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Said {
    /// The tools chosen; the whole version where it has none.
    #[serde(default)]
    tool: Vec<ToolId>,
    /// The prompts, resources and templates chosen.
    #[serde(default)]
    item: Vec<ItemId>,
    /// A class for a tool, as `<tool>:<class>`.
    #[serde(default)]
    risk: Vec<String>,
    /// All that is held, whatever is chosen.
    #[serde(default)]
    all: String,
}

impl Said {
    fn which(&self) -> Result<Which, Problem> {
        if !self.all.is_empty() {
            return Ok(Which::All);
        }
        if self.tool.is_empty() && self.item.is_empty() {
            return Err(Problem::invalid("tool", "Choose at least one of them."));
        }
        Ok(Which::Some(self.tool.iter().copied().collect(), self.item.iter().copied().collect()))
    }

    /// The classes of chosen tools.
    fn classes(&self) -> Result<Vec<(ToolId, RiskClass)>, Problem> {
        let chosen: BTreeSet<ToolId> = self.tool.iter().copied().collect();
        let read = |text: &String| {
            let (tool, class) = text.split_once(':')?;
            Some((tool.parse().ok()?, RiskClass::find(class)?))
        };
        let all: Option<Vec<(ToolId, RiskClass)>> = self.risk.iter().map(read).collect();
        let mut all = all.ok_or_else(|| Problem::invalid("risk", "A tool and its class."))?;
        all.retain(|(tool, _)| chosen.contains(tool));
        Ok(all)
    }
}

pub(super) async fn accept(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::ManageServers>,
    At((_, server, version)): At<(String, ServerId, ServerVersionId)>,
    Form(said): Form<Said>,
) -> Result<Response, Problem> {
    let accepted = accepted(&needs, &can, (server, version), &said).await;
    said_so(
        shell,
        &can,
        (server, version),
        accepted.map(|count| format!("{count} accepted. Agents get them within a second.")),
    )
    .await
}

async fn accepted(
    needs: &Needs,
    can: &Can<may::ManageServers>,
    (server, version): (ServerId, ServerVersionId),
    said: &Said,
) -> Result<String, Problem> {
    let (which, classes) = (said.which()?, said.classes()?);
    let author = can.author(&needs.clock);
    let mut tx = can.begin().await?;
    let changes = Changes::read(&mut tx, version).await?;
    let guessed = &changes.tools;
    let known = tools::list(&mut tx, server).await?;
    // Only what differs from what was shown is a person's word; the rest stays a guess.
    let is_said = |&(tool, risk): &(ToolId, RiskClass)| {
        let reviewed = known.iter().find(|known| known.id == tool && known.risk_reviewed).map(|known| known.risk);
        let shown = reviewed.or_else(|| guessed.iter().find(|change| change.tool == tool).map(|change| change.risk));
        shown != Some(risk)
    };
    let review = |(tool, risk)| (tool, ToolReview { risk: Some(risk), labels: None });
    let reviews = classes.into_iter().filter(is_said).map(review).collect();
    actions::change_tools(&mut tx, &author, server, reviews).await?;
    let count = counted(&which, &changes);
    actions::accept(&mut tx, &author, (server, version), which).await?;
    tx.commit().await?;
    Ok(count)
}

fn counted(which: &Which, changes: &Changes) -> String {
    let is_held = |change: &&tools::Change| change.state == ChangeState::Held;
    let held_tools = || changes.tools.iter().filter(is_held).count();
    let (tools, all) = match which {
        Which::All => (held_tools(), changes.held()),
        Which::Tools => (held_tools(), held_tools()),
        Which::Some(tools, items) => (tools.len(), tools.len() + items.len()),
    };
    if tools == all { show::plural(all, "tool is", "tools are") } else { show::plural(all, "change is", "changes are") }
}

pub(super) async fn reject(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::ManageServers>,
    At((_, server, version)): At<(String, ServerId, ServerVersionId)>,
    Form(said): Form<Said>,
) -> Result<Response, Problem> {
    let rejected = async {
        let which = said.which()?;
        let mut tx = can.begin().await?;
        let count = counted(&which, &Changes::read(&mut tx, version).await?);
        actions::reject(&mut tx, &can.author(&needs.clock), (server, version), which).await?;
        tx.commit().await?;
        Ok::<_, Problem>(format!("{count} rejected. What was reviewed before stays."))
    };
    let rejected = rejected.await;
    said_so(shell, &can, (server, version), rejected).await
}

/// On to the server, or to what is still open of the version; what was wrong is said on the review.
async fn said_so(
    shell: Shell,
    can: &Can<may::ManageServers>,
    (server, version): (ServerId, ServerVersionId),
    said: Result<String, Problem>,
) -> Result<Response, Problem> {
    match said {
        Ok(text) => {
            let mut tx = can.begin().await?;
            let found = servers::find_version(&mut tx, server, version).await?.ok_or(ServerError::NotFound)?;
            let at = if found.state == VersionState::Held { format!("/versions/{version}") } else { String::new() };
            Ok(Done::to(shell.to(&format!("servers/{server}{at}"))).saying(text).into_response())
        }
        Err(problem) if matches!(problem.status().as_u16(), 409 | 422) => {
            let page = page(shell, can, (server, version), &Further::default()).await?;
            let faults = Faults::of(&problem);
            let status = problem.status();
            Ok(Page::wrong(ReviewPage { faults, ..page }).status(status).into_response())
        }
        Err(problem) => Err(problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_as_long_as_people_and_as_large_as_machines_bear() {
        assert_eq!(fitting([10; 60].into_iter()), PAGE);
        assert_eq!(fitting([PAGE_BYTES / 2; 60].into_iter()), 2);
        assert_eq!(fitting([PAGE_BYTES + 1; 3].into_iter()), 1);
        assert_eq!(fitting([10, PAGE_BYTES, 10].into_iter()), 1);
    }
}
