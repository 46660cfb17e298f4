//! A server's settings, and what stops, refreshes and ends it.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::{Alias, ServerId};
use serde::Deserialize;
use store::people;
use store::servers::{Server, Settings};
use url::Url;

use super::Needs;
use super::actions::{self, Imported, Rejected, ServerError};
use super::api::{check, check_stays};
use super::pages::Head;
use super::probe_api;
use super::tool_pages::labels;
use crate::access::{Can, may};
use crate::console::{Conflict, Done, Faults, Field, Page, Shell, show};
use crate::credentials::actions as credentials;
use crate::input::{At, Form};
use crate::problem::Problem;

/// A server's settings as a form has them, and as they were when it was opened.
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
    was_title: Option<String>,
    was_endpoint: Option<String>,
    was_alias: Option<String>,
    was_labels: Option<String>,
    was_timeout: Option<String>,
    was_largest: Option<String>,
}

#[derive(Debug, Template)]
#[template(path = "servers/settings.html")]
pub(super) struct SettingsPage {
    shell: Shell,
    head: Head,
    key: String,
    /// Over the field in which the key is typed.
    confirm_label: String,
    sent: Sent,
    faults: Faults,
    conflict: Option<Conflict>,
    /// What is wrong with the name that was typed.
    unnamed: Faults,
}

impl Sent {
    /// A form in which nothing was changed yet.
    fn of(server: &Server) -> Self {
        let settings = &server.settings;
        Self::shown([
            settings.title.clone(),
            settings.endpoint.to_string(),
            settings.alias.to_string(),
            settings.labels.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            (settings.timeout_ms / 1000).to_string(),
            (settings.answer_max_bytes / MEGABYTE).to_string(),
        ])
    }

    /// A form that is opened with these values.
    fn shown(values: [String; 6]) -> Self {
        let was = values.clone().map(Some);
        let [was_title, was_endpoint, was_alias, was_labels, was_timeout, was_largest] = was;
        let form = Self { was_title, was_endpoint, was_alias, was_labels, was_timeout, was_largest, ..Self::default() };
        form.holding(values)
    }

    /// The same form with other values in its fields.
    fn holding(self, [title, endpoint, alias, labels, timeout, largest]: [String; 6]) -> Self {
        Self { title, endpoint, alias, labels, timeout, largest, ..self }
    }

    /// What its fields held when it was opened, by their names.
    fn opened(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let was = [
            ("title", &self.was_title),
            ("endpoint", &self.was_endpoint),
            ("alias", &self.was_alias),
            ("labels", &self.was_labels),
            ("timeout", &self.was_timeout),
            ("largest", &self.was_largest),
        ];
        was.into_iter().filter_map(|(name, was)| Some((name, was.as_deref()?)))
    }

    /// Its fields beside what is kept now.
    fn fields<'a>(&'a self, now: &'a Self) -> [Field<'a>; 6] {
        let field = |label, was: &'a Option<String>, now: &'a String, sent: &'a String| Field {
            label,
            was: was.as_deref(),
            now,
            sent: sent.trim(),
        };
        [
            field("Name", &self.was_title, &now.title, &self.title),
            field("Address", &self.was_endpoint, &now.endpoint, &self.endpoint),
            field("Prefix", &self.was_alias, &now.alias, &self.alias),
            field("Labels", &self.was_labels, &now.labels, &self.labels),
            field("Timeout", &self.was_timeout, &now.timeout, &self.timeout),
            field("Largest answer", &self.was_largest, &now.largest, &self.largest),
        ]
    }

    /// The settings it asks for, of a server that now has these.
    fn read(&self, before: &Server) -> Result<Settings, Problem> {
        let alias: Alias = self.alias.parse().map_err(|error| Problem::invalid("alias", format!("{error}")))?;
        let endpoint: Url = self.endpoint.parse().map_err(|_| Problem::invalid("endpoint", "This is no address."))?;
        check_stays(&before.settings.endpoint, &endpoint)?;
        // What was set through the API may be no whole number here: untouched, it stays as it is.
        let now = Self::of(before);
        let number = |field: &'static str, text: &str| {
            text.parse::<u32>().map_err(|_| Problem::invalid(field, "A whole number."))
        };
        let timeout_ms = if self.timeout == now.timeout {
            before.settings.timeout_ms
        } else {
            number("timeout", &self.timeout)?.saturating_mul(1000)
        };
        let answer_max_bytes = if self.largest == now.largest {
            before.settings.answer_max_bytes
        } else {
            u64::from(number("largest", &self.largest)?) * MEGABYTE
        };
        let (title, labels) = (self.title.clone(), labels(&self.labels)?);
        let kept = before.settings.clone();
        let settings = Settings { title, endpoint, alias, labels, timeout_ms, answer_max_bytes, ..kept };
        check(&settings).map_err(|problem| renamed(&problem))?;
        Ok(settings)
    }
}

/// What came of a change.
enum Changed {
    Done,
    /// All is as it was.
    Nothing,
    /// Somebody else was first; the form as it now is.
    Contested(Box<(Conflict, Sent)>),
}

impl SettingsPage {
    fn url(&self) -> String {
        self.head.to(&self.shell, "/settings")
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
    let (key, sent) = (server.key.to_string(), Sent::of(&server));
    let confirm_label = format!("Type the key “{key}” to be sure");
    let (faults, unnamed, conflict) = (Faults::none(), Faults::none(), None);
    Ok(SettingsPage { shell, head, key, confirm_label, sent, faults, conflict, unnamed })
}

pub(super) async fn change(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::ManageServers>,
    At((_, id)): At<(String, ServerId)>,
    Form(sent): Form<Sent>,
) -> Result<Response, Problem> {
    let done = |said: &str| Ok(Done::to(shell.to(&format!("servers/{id}/settings"))).saying(said).into_response());
    match changed(&needs, &can, id, &sent).await {
        Ok(Changed::Done) => done("The settings are saved."),
        Ok(Changed::Nothing) => done("Nothing changed."),
        Ok(Changed::Contested(contested)) => {
            let (conflict, sent) = *contested;
            let page = page(shell, &can, id).await?;
            let page = SettingsPage { sent, conflict: Some(conflict), ..page };
            Ok(Page::new(page).status(StatusCode::CONFLICT).into_response())
        }
        Err(problem) if problem.status() == StatusCode::UNPROCESSABLE_ENTITY => {
            let page = page(shell, &can, id).await?;
            Ok(Page::wrong(SettingsPage { sent, faults: Faults::of(&problem), ..page }).into_response())
        }
        Err(problem) => Err(problem),
    }
}

/// Saves what was sent, unless somebody else changed the same field meanwhile.
async fn changed(needs: &Needs, can: &Can<may::ManageServers>, id: ServerId, sent: &Sent) -> Result<Changed, Problem> {
    let mut tx = can.begin().await?;
    let before = store::servers::find_locked(&mut tx, id).await?.ok_or_else(Problem::not_found)?;
    let now = Sent::of(&before);
    let fields = sent.fields(&now);
    let last = store::servers::last_change(&mut tx, id).await?;
    let everybody = people::list(&mut tx).await?;
    let conflict = Conflict::find(&fields, can.actor().user(), last, &everybody);
    let merged = now.clone().holding(fields.map(|field| field.merged()));
    if let Some(conflict) = conflict {
        return Ok(Changed::Contested(Box::new((conflict, merged))));
    }
    let settings = merged.read(&before)?;
    let author = can.author(&needs.clock);
    let after =
        actions::change(&mut tx, &author, (id, before.revision), settings).await.map_err(|error| match error {
            ServerError::AliasTaken => Problem::invalid("alias", "Another server has this prefix."),
            other => other.into(),
        })?;
    tx.commit().await?;
    Ok(if after.revision == before.revision { Changed::Nothing } else { Changed::Done })
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
    Ok(Done::to(shell.to(&format!("servers/{id}"))).saying(format!("{title} is paused. Every call to it is denied.")))
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
            let count = show::plural(changes.held(), "change waits", "changes wait");
            Ok(Done::to(at(&format!("/versions/{}", version.id))).saying(format!("{count} for your review.")))
        }
        // A server that can't be looked at is shown so; ours is the page for our own faults.
        Err(problem)
            if matches!(problem.kind(), "probe-failed" | "too-many-probes" | "definitions-refused" | "unavailable") =>
        {
            Ok(Done::to(at("")).saying(format!("{}: {}", problem.title(), problem.said())))
        }
        Err(problem) => Err(problem),
    }
}
