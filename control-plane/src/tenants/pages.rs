//! The settings of a workspace.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::snapshot::Prefix;
use domain::{Clock, Permission};
use serde::Deserialize;
use store::tenants::{self, Settings};
use store::{people, policies, servers};

use super::{Needs, actions};
use crate::access::{Can, Permitted, may};
use crate::console::{Conflict, Done, Faults, Field, Page, Shell, show};
use crate::endpoint;
use crate::input::{Form, check_title};
use crate::policies::actions::POLICIES_MAX;
use crate::problem::Problem;
use crate::servers::actions::SERVERS_MAX;

/// What there is, and how much of it there may be.
struct Limit {
    what: &'static str,
    used: String,
    /// Empty: nobody counts.
    most: String,
}

#[derive(Template)]
#[template(path = "settings/index.html")]
struct SettingsPage {
    shell: Shell,
    may_change: bool,
    mcp_url: String,
    /// What is kept, and what the forms show.
    kept: Sent,
    sent: Sent,
    limits: Vec<Limit>,
    faults: Faults,
    conflict: Option<Conflict>,
}

/// What a form of the page sends; each form sends some of it.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Sent {
    title: Option<String>,
    prefix: Option<String>,
    blind_max_s: Option<String>,
    /// What the fields held when the form was opened.
    was_title: Option<String>,
    was_prefix: Option<String>,
    was_blind_max_s: Option<String>,
}

impl Sent {
    fn of(settings: &Settings) -> Self {
        Self {
            title: Some(settings.title.clone()),
            prefix: Some(settings.prefix.as_str().to_owned()),
            blind_max_s: Some(settings.blind_max_s.to_string()),
            ..Self::default()
        }
    }

    /// What this form leaves out, from what is kept.
    fn or(self, kept: &Self) -> Self {
        Self {
            title: self.title.or_else(|| kept.title.clone()),
            prefix: self.prefix.or_else(|| kept.prefix.clone()),
            blind_max_s: self.blind_max_s.or_else(|| kept.blind_max_s.clone()),
            ..self
        }
    }

    /// The fields that this form sends, beside what is kept.
    fn fields<'a>(&'a self, kept: &'a Self) -> Vec<Field<'a>> {
        let field = |label, was: &'a Option<String>, now: &'a Option<String>, sent: &'a Option<String>| {
            Some(Field { label, was: was.as_deref(), now: now.as_deref()?, sent: sent.as_deref()?.trim() })
        };
        let fields = [
            field("Name", &self.was_title, &kept.title, &self.title),
            field("Names of tools", &self.was_prefix, &kept.prefix, &self.prefix),
            field("Seconds without touch", &self.was_blind_max_s, &kept.blind_max_s, &self.blind_max_s),
        ];
        fields.into_iter().flatten().collect()
    }

    fn title(&self) -> &str {
        self.title.as_deref().unwrap_or_default()
    }

    fn blind_max_s(&self) -> &str {
        self.blind_max_s.as_deref().unwrap_or_default()
    }

    fn prefix(&self) -> &str {
        self.prefix.as_deref().unwrap_or_default()
    }

    fn has_prefix(&self, prefix: &str) -> bool {
        self.prefix.as_deref() == Some(prefix)
    }
}

async fn page<P: Permitted>(needs: &Needs, shell: Shell, can: &Can<P>) -> Result<SettingsPage, Problem> {
    let mut tx = can.begin().await?;
    let (settings, _) = tenants::get_settings(&mut tx).await?;
    let limit = |what, used: usize, most: Option<usize>| Limit {
        what,
        used: show::count(used),
        most: most.map_or_else(|| "no limit".to_owned(), show::count),
    };
    let limits = vec![
        limit("People", people::list(&mut tx).await?.len(), None),
        limit("Servers", servers::list(&mut tx).await?.len(), Some(SERVERS_MAX)),
        limit("Policies", policies::list(&mut tx).await?.len(), Some(POLICIES_MAX)),
    ];
    Ok(SettingsPage {
        may_change: shell.may(Permission::ManageTenant),
        shell,
        mcp_url: endpoint::of(&needs.gateway_url, can.actor().slug()).into(),
        kept: Sent::of(&settings),
        sent: Sent::of(&settings),
        limits,
        faults: Faults::none(),
        conflict: None,
    })
}

/// `GET /w/{tenant}/settings`.
pub(super) async fn open(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::ViewTenant>,
) -> Result<Response, Problem> {
    Ok(Page::new(page(&needs, shell, &can).await?).into_response())
}

/// `POST /w/{tenant}/settings`: what a form leaves out stays.
pub(super) async fn change(
    State(needs): State<Needs>,
    State(clock): State<Clock>,
    shell: Shell,
    can: Can<may::ManageTenant>,
    Form(sent): Form<Sent>,
) -> Result<Response, Problem> {
    let mut tx = can.begin().await?;
    let (mut settings, last) = tenants::lock_settings(&mut tx).await?;
    let (kept, before) = (Sent::of(&settings), settings.clone());
    if let Err(faults) = read(&sent, &mut settings) {
        drop(tx);
        let page = page(&needs, shell, &can).await?;
        return Ok(Page::wrong(SettingsPage { sent: sent.or(&page.kept), faults, ..page }).into_response());
    }
    let everybody = people::list(&mut tx).await?;
    let conflict = Conflict::find(&sent.fields(&kept), can.actor().user(), last, &everybody);
    if let Some(conflict) = conflict {
        drop(tx);
        let page = page(&needs, shell, &can).await?;
        let page = SettingsPage { sent: sent.or(&page.kept), conflict: Some(conflict), ..page };
        return Ok(Page::new(page).status(StatusCode::CONFLICT).into_response());
    }
    actions::change(&mut tx, &can.author(&clock), &settings).await?;
    tx.commit().await?;
    let said = if settings == before { "Nothing changed." } else { "The settings are saved." };
    Ok(Done::to(shell.to("settings")).saying(said).into_response())
}

/// What a form sends of a field, unless it is what the field held anyway: somebody else may have changed it since.
fn touched<'a>(sent: Option<&'a str>, was: Option<&str>) -> Option<&'a str> {
    sent.filter(|sent| was != Some(sent))
}

fn read(sent: &Sent, settings: &mut Settings) -> Result<(), Faults> {
    if let Some(title) = touched(sent.title.as_deref(), sent.was_title.as_deref()) {
        let title = title.trim();
        check_title("title", title, 100)
            .map_err(|_| Faults::at("title", "Give it a name of at most 100 characters."))?;
        title.clone_into(&mut settings.title);
    }
    if let Some(prefix) = touched(sent.prefix.as_deref(), sent.was_prefix.as_deref()) {
        settings.prefix = Prefix::find(prefix).ok_or_else(|| Faults::at("prefix", "Choose one."))?;
    }
    if let Some(seconds) = touched(sent.blind_max_s.as_deref(), sent.was_blind_max_s.as_deref()) {
        let seconds = seconds.trim().parse().ok().filter(|seconds| *seconds <= 60);
        settings.blind_max_s =
            seconds.ok_or_else(|| Faults::at("blind_max_s", "A whole number of seconds from 0 to 60."))?;
    }
    Ok(())
}
