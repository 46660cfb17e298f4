//! Writing a policy: the text, what is wrong in it, and the words it may use.

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::{Clock, Permission, PolicyId};
use policy::packs::Pack;
use policy::{Finding, Severity};
use serde::{Deserialize, Serialize};
use store::policies::{self, Policy, Version, Written};

use super::actions::{self, PolicyError, TEXT_MAX_BYTES};
use super::highlight::{self, Line};
use super::live_pages::{self, LiveView};
use super::pages::{PackCard, named, names, packs};
use super::{Needs, api, reach_pages, worlds};
use crate::access::{Can, Permitted, may};
use crate::console::{Done, Faults, Hx, Page, Shell, show};
use crate::diff;
use crate::input::{At, Form, check_title};
use crate::problem::Problem;
use crate::publish::Live;

/// What a text is checked to be.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) findings: Vec<Finding>,
    /// Nothing was checked: there is no text.
    pub(super) is_empty: bool,
}

impl Checked {
    pub(super) fn errors(&self) -> usize {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error).count()
    }

    pub(super) fn is_error(finding: &Finding) -> bool {
        finding.severity == Severity::Error
    }
}

#[derive(Debug, Template)]
#[template(path = "policies/_checked.html")]
struct CheckedPart {
    checked: Checked,
}

/// What the form of a policy sends.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Sent {
    #[serde(default)]
    name: String,
    #[serde(default)]
    text: String,
    /// The revision that was seen.
    #[serde(default)]
    revision: u64,
    /// The newest version that was seen.
    #[serde(default)]
    seen: u32,
    /// `check`, `review`, or to save only.
    #[serde(default, rename = "do")]
    then: String,
}

impl Sent {
    /// With the line ends that are saved: a form has CR LF, whatever was typed.
    fn tidy(mut self) -> Self {
        self.text = self.text.replace("\r\n", "\n");
        self
    }
}

#[derive(Debug, Template)]
#[template(path = "policies/new.html")]
struct NewPage {
    shell: Shell,
    packs: Vec<PackCard>,
    sent: Sent,
    faults: Faults,
    checked: Checked,
}

#[derive(Debug, Deserialize)]
pub(super) struct Start {
    #[serde(default)]
    pack: String,
}

/// `GET …/policies/new`, with `?pack=read_only` filled in.
pub(super) async fn start(
    shell: Shell,
    can: Can<may::WritePolicies>,
    Form(start): Form<Start>,
) -> Result<Response, Problem> {
    let sent = match Pack::find(&start.pack) {
        Some(pack) => Sent { name: pack.title().to_owned(), text: pack.text().to_owned(), ..Sent::default() },
        None => Sent::default(),
    };
    new_page(shell, &can, sent, Faults::none()).await.map(|page| Page::new(page).into_response())
}

async fn new_page<P: Permitted>(shell: Shell, can: &Can<P>, sent: Sent, faults: Faults) -> Result<NewPage, Problem> {
    let packs = packs(can.begin().await?).await?;
    let checked = look(can, &sent.text).await?;
    Ok(NewPage { shell, packs, sent, faults, checked })
}

/// `POST …/policies/new`.
pub(super) async fn add(
    State(clock): State<Clock>,
    shell: Shell,
    can: Can<may::WritePolicies>,
    Form(sent): Form<Sent>,
) -> Result<Response, Problem> {
    let sent = sent.tidy();
    if sent.then == "check" {
        return new_page(shell, &can, sent, Faults::none()).await.map(|page| Page::new(page).into_response());
    }
    match added(&clock, &can, &sent).await {
        Ok((policy, version)) => Ok(gone_on(&shell, &sent, &policy, Saved::New(version.version))),
        Err(problem) if problem.status().is_client_error() => {
            let faults = faults(&problem)?;
            Ok(Page::wrong(new_page(shell, &can, sent, faults).await?).into_response())
        }
        Err(problem) => Err(problem),
    }
}

async fn added(clock: &Clock, can: &Can<may::WritePolicies>, sent: &Sent) -> Result<(Policy, Version), Problem> {
    check_title("name", &sent.name, 100)?;
    api::checked(can, &sent.text).await?;
    let mut tx = can.begin().await?;
    let written = actions::add(&mut tx, &can.author(clock), sent.name.clone(), sent.text.clone()).await?;
    tx.commit().await?;
    Ok(written)
}

/// What saving came to: a new version, or the newest one, which says the same.
#[derive(Debug, Clone, Copy)]
enum Saved {
    New(u32),
    Same(u32),
}

fn gone_on(shell: &Shell, sent: &Sent, policy: &Policy, saved: Saved) -> Response {
    let path = format!("policies/{}", policy.id);
    let (Saved::New(version) | Saved::Same(version)) = saved;
    if sent.then == "review" {
        return Done::to(shell.to(&format!("{path}/versions/{version}"))).into_response();
    }
    let said = match saved {
        Saved::New(_) => format!("Version {version} is saved. It is in force once it is published."),
        Saved::Same(_) => format!("Nothing changed: version {version} says the same."),
    };
    Done::to(shell.to(&path)).saying(said).into_response()
}

/// What is wrong with the form; errors of the text stand where they are, not above it.
fn faults(problem: &Problem) -> Result<Faults, Problem> {
    Ok(match problem.kind() {
        "policy-wrong" => Faults::whole("The policy has errors, so nothing was saved."),
        "name-taken" => Faults::at("name", "Another policy has this name."),
        // It is said with what is there now: `Meanwhile`.
        "changed-meanwhile" => Faults::none(),
        "not-permitted" | "not-found" => return Err(problem.clone()),
        _ => Faults::of(problem),
    })
}

/// A version among a policy's.
#[derive(Debug)]
pub(super) struct VersionRow {
    version: u32,
    written_at: chrono::DateTime<chrono::Utc>,
    written_by: String,
    is_live: bool,
}

#[derive(Debug, Template)]
#[template(path = "policies/edit.html")]
pub(super) struct EditPage {
    shell: Shell,
    policy: Policy,
    versions: Vec<VersionRow>,
    sent: Sent,
    /// The newest text, for whoever may only read it.
    lines: Vec<Line>,
    faults: Faults,
    meanwhile: Option<Meanwhile>,
    checked: Checked,
    live: LiveView,
}

/// What somebody else did to a policy while it was being edited.
#[derive(Debug)]
struct Meanwhile {
    said: String,
    version: u32,
    /// What the draft has otherwise than the newest version.
    diff: Vec<diff::Line>,
}

impl Meanwhile {
    fn of(policy: &Policy, versions: &[VersionRow], (newest, sent): (&str, &Sent)) -> Self {
        let said = match versions.first().filter(|version| version.version > sent.seen) {
            Some(VersionRow { version, written_by, is_live, .. }) => {
                let also = if *is_live { ", which is in force now," } else { "" };
                format!("{} saved v{version}{also} while you were editing.", show::visible(written_by))
            }
            None => match policy.active_version {
                Some(active) => format!("Somebody put v{active} in force while you were editing."),
                None => "Somebody switched this policy off while you were editing.".to_owned(),
            },
        };
        Self { said, version: policy.latest_version, diff: diff::lines(newest, &sent.text) }
    }
}

/// `GET …/policies/{policy}`.
pub(super) async fn edit(
    State(live): State<Live>,
    shell: Shell,
    can: Can<may::ViewPolicies>,
    At((_, policy)): At<(String, PolicyId)>,
) -> Result<Response, Problem> {
    let page = edit_page((shell, live), &can, policy, None, Faults::none()).await?;
    Ok(Page::new(page).into_response())
}

pub(super) async fn edit_page<P: Permitted>(
    (shell, live): (Shell, Live),
    can: &Can<P>,
    policy: PolicyId,
    sent: Option<Sent>,
    faults: Faults,
) -> Result<EditPage, Problem> {
    let mut tx = can.begin().await?;
    let policy = policies::find(&mut tx, policy).await?.ok_or_else(Problem::not_found)?;
    let names = names(&mut tx).await?;
    let found = policies::list_written(&mut tx, policy.id).await?;
    let newest = policies::find_version(&mut tx, policy.id, policy.latest_version).await?;
    let newest = newest.map(|version| version.text).unwrap_or_default();
    let live = live_pages::view(&mut tx, &live).await?;
    drop(tx);
    let mut sent = sent.unwrap_or_else(|| Sent { text: newest.clone(), ..Sent::default() });
    let checked = look(can, &sent.text).await?;
    let row = |version: Written| VersionRow {
        is_live: policy.active_version == Some(version.version),
        version: version.version,
        written_at: version.written_at,
        written_by: named(&names, version.written_by),
    };
    let versions: Vec<VersionRow> = found.into_iter().map(row).collect();
    let is_stale = sent.revision > 0 && sent.revision != policy.revision;
    let meanwhile = is_stale.then(|| Meanwhile::of(&policy, &versions, (&newest, &sent)));
    (sent.revision, sent.seen) = (policy.revision, policy.latest_version);
    Ok(EditPage { meanwhile, shell, versions, lines: highlight::lines(&newest), policy, sent, faults, checked, live })
}

/// `POST …/policies/{policy}`: saves a version, where the text is another one than the newest.
pub(super) async fn write(
    State(Needs { clock, live, .. }): State<Needs>,
    shell: Shell,
    can: Can<may::WritePolicies>,
    At((_, id)): At<(String, PolicyId)>,
    Form(sent): Form<Sent>,
) -> Result<Response, Problem> {
    let sent = sent.tidy();
    if sent.then == "check" {
        let page = edit_page((shell, live), &can, id, Some(sent), Faults::none()).await?;
        return Ok(Page::new(page).into_response());
    }
    match written(&clock, &can, id, &sent).await {
        Ok((policy, saved)) => Ok(gone_on(&shell, &sent, &policy, saved)),
        Err(problem) if problem.status().is_client_error() => {
            let (status, faults) = (problem.status(), faults(&problem)?);
            let page = edit_page((shell, live), &can, id, Some(sent), faults).await?;
            Ok(Page::new(page).status(status).into_response())
        }
        Err(problem) => Err(problem),
    }
}

async fn written(
    clock: &Clock,
    can: &Can<may::WritePolicies>,
    id: PolicyId,
    sent: &Sent,
) -> Result<(Policy, Saved), Problem> {
    let mut tx = can.begin().await?;
    let policy = policies::find(&mut tx, id).await?.ok_or_else(Problem::not_found)?;
    let newest = policies::find_version(&mut tx, id, policy.latest_version).await?;
    drop(tx);
    if newest.is_some_and(|newest| newest.text == sent.text) {
        let saved = Saved::Same(policy.latest_version);
        return Ok((policy, saved));
    }
    api::checked(can, &sent.text).await?;
    let mut tx = can.begin().await?;
    let (policy, version) = actions::write(&mut tx, &can.author(clock), (id, sent.revision), sent.text.clone()).await?;
    tx.commit().await?;
    Ok((policy, Saved::New(version.version)))
}

/// Checks a text to show what is wrong in it.
pub(super) async fn look<P: Permitted>(can: &Can<P>, text: &str) -> Result<Checked, Problem> {
    if text.trim().is_empty() {
        return Ok(Checked { is_empty: true, findings: Vec::new() });
    }
    if text.len() > TEXT_MAX_BYTES {
        // The form is shown again all the same, with the text in it.
        let message = format!("The text is too long: it has {} bytes, at most {TEXT_MAX_BYTES} are taken.", text.len());
        let finding = Finding { line: 1, column: 1, severity: Severity::Error, message };
        return Ok(Checked { findings: vec![finding], is_empty: false });
    }
    let present = worlds::present(&mut can.begin().await?).await?;
    match actions::check(text.to_owned(), present).await {
        Ok(findings) | Err(PolicyError::Wrong(findings)) => Ok(Checked { findings, is_empty: false }),
        Err(error) => Err(error.into()),
    }
}

/// `POST …/policies/check`: while somebody writes. Saves nothing.
pub(super) async fn check(
    hx: Hx,
    shell: Shell,
    can: Can<may::WritePolicies>,
    Form(sent): Form<Sent>,
) -> Result<Response, Problem> {
    let sent = sent.tidy();
    if !hx.0 {
        return new_page(shell, &can, sent, Faults::none()).await.map(|page| Page::new(page).into_response());
    }
    Ok(Page::new(CheckedPart { checked: look(&can, &sent.text).await? }).into_response())
}

/// What the editor completes.
#[derive(Debug, Serialize)]
pub(super) struct Words {
    tools: Vec<ToolWord>,
    servers: Vec<String>,
    labels: Vec<String>,
    groups: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ToolWord {
    name: String,
    risk: &'static str,
    arguments: Vec<policy::Argument>,
}

/// `GET …/policies/words`: the tenant's own things, which a policy may name.
pub(super) async fn words(can: Can<may::ViewPolicies>) -> Result<Json<Words>, Problem> {
    let present = worlds::present(&mut can.begin().await?).await?;
    let vocabulary = &present.vocabulary;
    let tools = vocabulary.servers.iter().flat_map(|server| {
        server.tools.iter().map(|tool| ToolWord {
            name: reach_pages::tool_name(&server.key, &tool.name),
            risk: tool.risk.as_str(),
            arguments: tool.arguments(),
        })
    });
    let labels = vocabulary.servers.iter().flat_map(|server| {
        server.labels.iter().chain(server.tools.iter().flat_map(|tool| &tool.labels)).map(ToString::to_string)
    });
    let labels: std::collections::BTreeSet<String> = labels.collect();
    Ok(Json(Words {
        servers: vocabulary.servers.iter().map(|server| server.key.to_string()).collect(),
        labels: labels.into_iter().collect(),
        groups: vocabulary.groups.iter().flatten().map(ToString::to_string).collect(),
        tools: tools.collect(),
    }))
}

impl EditPage {
    /// A path of the policy's, below the workspace.
    fn path(&self, rest: &str) -> String {
        format!("policies/{}{rest}", self.policy.id)
    }

    fn may_write(&self) -> bool {
        self.shell.may(Permission::WritePolicies)
    }
}
