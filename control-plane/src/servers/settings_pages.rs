//! A server's settings, and what stops, refreshes and ends it.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::{Alias, ServerId};
use serde::Deserialize;
use store::servers::Server;
use store::tools;
use url::Url;

use super::Needs;
use super::actions::{self, Imported, Rejected, ServerError};
use super::api::{check, check_stays};
use super::pages::Head;
use super::probe_api;
use super::tool_pages::labels;
use crate::access::{Can, may};
use crate::console::{Done, Faults, Page, Shell, show};
use crate::credentials::actions as credentials;
use crate::input::{At, Form};
use crate::problem::Problem;

/// A server's settings as a form has them.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Sent {
    #[serde(default)]
    title: String,
    #[serde(default)]
    endpoint: String,
    #[serde(default)]
    alias: String,
    #[serde(default)]
    labels: String,
    /// Seconds.
    #[serde(default)]
    timeout: String,
    /// Megabytes.
    #[serde(default)]
    largest: String,
    /// What was seen.
    #[serde(default)]
    revision: String,
}

#[derive(Debug, Template)]
#[template(path = "servers/settings.html")]
pub(super) struct SettingsPage {
    shell: Shell,
    head: Head,
    key: String,
    /// Over the field in which the key is typed.
    confirm_label: String,
    tools: usize,
    sent: Sent,
    faults: Faults,
    /// What is wrong with the name that was typed.
    unnamed: Faults,
}

impl Sent {
    fn of(server: &Server) -> Self {
        let settings = &server.settings;
        Self {
            title: settings.title.clone(),
            endpoint: settings.endpoint.to_string(),
            alias: settings.alias.to_string(),
            labels: settings.labels.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            timeout: (settings.timeout_ms / 1000).to_string(),
            largest: (settings.answer_max_bytes / MEGABYTE).to_string(),
            revision: server.revision.to_string(),
        }
    }
}

const MEGABYTE: u64 = 1024 * 1024;

pub(super) async fn open(
    shell: Shell,
    can: Can<may::ViewServers>,
    At((_, server)): At<(String, ServerId)>,
) -> Result<Page<SettingsPage>, Problem> {
    Ok(Page::new(page(shell, &can, server).await?))
}

async fn page<P: crate::access::Permitted>(shell: Shell, can: &Can<P>, id: ServerId) -> Result<SettingsPage, Problem> {
    let mut tx = can.begin().await?;
    let (head, server) = Head::read(&mut tx, &shell, (id, "/settings")).await?;
    let tools = tools::list(&mut tx, id).await?.into_iter().filter(|tool| tool.live.is_some()).count();
    let (key, sent) = (server.key.to_string(), Sent::of(&server));
    let confirm_label = format!("Type {key} to be sure");
    Ok(SettingsPage { shell, head, key, confirm_label, tools, sent, faults: Faults::none(), unnamed: Faults::none() })
}

pub(super) async fn change(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::ManageServers>,
    At((_, id)): At<(String, ServerId)>,
    Form(sent): Form<Sent>,
) -> Result<Response, Problem> {
    match changed(&needs, &can, id, &sent).await {
        Ok(()) => {
            Ok(Done::to(shell.to(&format!("servers/{id}/settings"))).saying("The settings are saved.").into_response())
        }
        Err(problem) if matches!(problem.status().as_u16(), 409 | 422) => {
            let page = page(shell, &can, id).await?;
            // Sent again, it goes over what is there now, which the fault has told of.
            let sent = Sent { revision: page.sent.revision.clone(), ..sent };
            let is_stale = problem.kind() == "changed-meanwhile";
            let faults = if is_stale { meanwhile(&page.sent, &sent) } else { Faults::of(&problem) };
            let status = problem.status();
            Ok(Page::wrong(SettingsPage { sent, faults, ..page }).status(status).into_response())
        }
        Err(problem) => Err(problem),
    }
}

/// What somebody else saved while these settings were being edited, field by field.
fn meanwhile(theirs: &Sent, mine: &Sent) -> Faults {
    let whole = "Somebody saved these settings while you were editing. What you typed is kept; saving again puts it in \
                 the place of theirs.";
    let fields = [
        ("title", &theirs.title, &mine.title),
        ("endpoint", &theirs.endpoint, &mine.endpoint),
        ("alias", &theirs.alias, &mine.alias),
        ("labels", &theirs.labels, &mine.labels),
        ("timeout", &theirs.timeout, &mine.timeout),
        ("largest", &theirs.largest, &mine.largest),
    ];
    let differing = fields.into_iter().filter(|(_, theirs, mine)| theirs.trim() != mine.trim());
    differing.fold(Faults::whole(whole), |faults, (field, theirs, _)| {
        let theirs = if theirs.is_empty() { "nothing".to_owned() } else { format!("“{}”", show::visible(theirs)) };
        faults.and(Faults::at(field, format!("Saved now is {theirs}.")))
    })
}

async fn changed(needs: &Needs, can: &Can<may::ManageServers>, id: ServerId, sent: &Sent) -> Result<(), Problem> {
    let alias: Alias = sent.alias.trim().parse().map_err(|error| Problem::invalid("alias", format!("{error}")))?;
    let endpoint: Url =
        sent.endpoint.trim().parse().map_err(|_| Problem::invalid("endpoint", "This is no address."))?;
    let labels = labels(&sent.labels)?;
    let number = |field: &'static str, text: &str| {
        text.trim().parse::<u32>().map_err(|_| Problem::invalid(field, "A whole number."))
    };
    let revision = sent.revision.parse().map_err(|_| Problem::invalid("revision", "Open the page again."))?;
    let mut tx = can.begin().await?;
    let before = store::servers::find(&mut tx, id).await?.ok_or_else(Problem::not_found)?;
    check_stays(&before.settings.endpoint, &endpoint)?;
    // What was set through the API may be no whole number here: untouched, it stays as it is.
    let shown = Sent::of(&before);
    let is_kept = |shown: &str, sent: &str| shown == sent.trim();
    let timeout_ms = if is_kept(&shown.timeout, &sent.timeout) {
        before.settings.timeout_ms
    } else {
        number("timeout", &sent.timeout)?.saturating_mul(1000)
    };
    let answer_max_bytes = if is_kept(&shown.largest, &sent.largest) {
        before.settings.answer_max_bytes
    } else {
        u64::from(number("largest", &sent.largest)?) * MEGABYTE
    };
    let title = sent.title.trim().to_owned();
    let author = can.author(&needs.clock);
    let after = actions::change(&mut tx, &author, (id, revision), |settings| {
        (settings.title, settings.endpoint, settings.alias, settings.labels) = (title, endpoint, alias, labels);
        (settings.timeout_ms, settings.answer_max_bytes) = (timeout_ms, answer_max_bytes);
    });
    let after = after.await.map_err(|error| match error {
        ServerError::AliasTaken => Problem::invalid("alias", "Another server has this prefix."),
        other => other.into(),
    })?;
    // Before the commit: what does not fit is rolled back.
    check(&after.settings).map_err(|problem| renamed(&problem))?;
    Ok(tx.commit().await?)
}

/// The API's names of two fields are not the form's, nor are their units.
fn renamed(problem: &Problem) -> Problem {
    let fault = |field: &str| problem.faults().iter().any(|fault| fault.field.as_deref() == Some(field));
    if fault("timeout_ms") {
        return Problem::invalid("timeout", "1 to 600 seconds.");
    }
    if fault("answer_max_bytes") {
        return Problem::invalid("largest", "1 to 100 MiB.");
    }
    problem.clone()
}

pub(super) async fn pause(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::ManageServers>,
    At((_, id)): At<(String, ServerId)>,
) -> Result<Done, Problem> {
    let server = set_paused(&needs, &can, id, true).await?;
    let title = show::visible(&server.settings.title);
    Ok(Done::to(shell.to(&format!("servers/{id}"))).saying(format!("{title} is paused. Every call to it is refused.")))
}

pub(super) async fn resume(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::ManageServers>,
    At((_, id)): At<(String, ServerId)>,
) -> Result<Done, Problem> {
    let server = set_paused(&needs, &can, id, false).await?;
    let title = show::visible(&server.settings.title);
    Ok(Done::to(shell.to(&format!("servers/{id}"))).saying(format!("{title} takes calls again.")))
}

async fn set_paused(
    needs: &Needs,
    can: &Can<may::ManageServers>,
    id: ServerId,
    paused: bool,
) -> Result<Server, Problem> {
    let mut tx = can.begin().await?;
    let server = actions::set_paused(&mut tx, &can.author(&needs.clock), id, paused).await?;
    tx.commit().await?;
    Ok(server)
}

/// The name, typed to be sure.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Typed {
    #[serde(default)]
    typed: String,
}

pub(super) async fn remove(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::ManageServers>,
    At((_, id)): At<(String, ServerId)>,
    Form(typed): Form<Typed>,
) -> Result<Response, Problem> {
    let mut tx = can.begin().await?;
    let server = store::servers::find(&mut tx, id).await?.ok_or_else(Problem::not_found)?;
    if typed.typed.trim() != server.key.as_str() {
        drop(tx);
        let page = page(shell, &can, id).await?;
        let unnamed = Faults::at("typed", format!("Type {} to remove it.", server.key));
        return Ok(Page::wrong(SettingsPage { unnamed, ..page }).into_response());
    }
    let place = actions::remove(&mut tx, &can.author(&needs.clock), id).await?;
    tx.commit().await?;
    if let Some(place) = place {
        credentials::forget(&needs.store, can.actor().tenant(), &place).await;
    }
    let title = show::visible(&server.settings.title);
    Ok(Done::to(shell.to("servers"))
        .saying(format!("{title} is removed, and its credential destroyed."))
        .into_response())
}

/// What refreshing asks again.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Refresh {
    /// What was rejected, too.
    #[serde(default)]
    rejected: String,
}

/// Has a node look at the server now.
pub(super) async fn refresh(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::ManageServers>,
    At((_, id)): At<(String, ServerId)>,
    Form(refresh): Form<Refresh>,
) -> Result<Done, Problem> {
    let rejected = if refresh.rejected.is_empty() { Rejected::StayOut } else { Rejected::AskAgain };
    let at = |path: &str| shell.to(&format!("servers/{id}{path}"));
    match probe_api::look(&needs.relay, &needs.clock, &can, (id, rejected)).await {
        Ok(Imported::Unchanged) => Ok(Done::to(at("")).saying("All is as it was reviewed.")),
        Ok(Imported::Held(version, changes)) => {
            let count = show::plural(changes.len(), "tool waits", "tools wait");
            Ok(Done::to(at(&format!("/versions/{}", version.id))).saying(format!("{count} for your review.")))
        }
        // A server that can't be looked at is shown so; ours is the page for our own faults.
        Err(problem) if matches!(problem.kind(), "probe-failed" | "definitions-refused" | "unavailable") => {
            Ok(Done::to(at("")).saying(format!("{}: {}", problem.title(), problem.said())))
        }
        Err(problem) => Err(problem),
    }
}
