//! The settings of a workspace.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::snapshot::Prefix;
use domain::{Clock, Permission};
use serde::Deserialize;
use store::tenants::{self, Settings};
use store::{people, policies, servers};

use super::{Needs, actions};
use crate::access::{Can, Permitted, may};
use crate::console::{Done, Faults, Page, Shell, show};
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
    revision: String,
    sent: Sent,
    limits: Vec<Limit>,
    faults: Faults,
}

/// What a form of the page sends; each form sends some of it.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Sent {
    title: Option<String>,
    prefix: Option<String>,
    blind_max_s: Option<String>,
}

impl Sent {
    fn of(settings: &Settings) -> Self {
        Self {
            title: Some(settings.title.clone()),
            prefix: Some(settings.prefix.as_str().to_owned()),
            blind_max_s: Some(settings.blind_max_s.to_string()),
        }
    }

    fn title(&self) -> &str {
        self.title.as_deref().unwrap_or_default()
    }

    fn blind_max_s(&self) -> &str {
        self.blind_max_s.as_deref().unwrap_or_default()
    }

    fn has_prefix(&self, prefix: &str) -> bool {
        self.prefix.as_deref() == Some(prefix)
    }
}

async fn page<P: Permitted>(needs: &Needs, shell: Shell, can: &Can<P>) -> Result<SettingsPage, Problem> {
    let mut tx = can.begin().await?;
    let (settings, revision) = tenants::get_settings(&mut tx).await?;
    let limit = |what, used: usize, most: Option<usize>| Limit {
        what,
        used: show::count(used),
        most: most.map_or_else(|| "–".to_owned(), show::count),
    };
    let limits = vec![
        limit("People", people::list(&mut tx).await?.len(), None),
        limit("Servers", servers::list(&mut tx).await?.len(), Some(SERVERS_MAX)),
        limit("Policies", policies::list(&mut tx).await?.len(), Some(POLICIES_MAX)),
    ];
    let mut mcp_url = url::Url::clone(&needs.gateway_url);
    mcp_url.set_path(&format!("/{}/mcp", can.actor().slug()));
    Ok(SettingsPage {
        may_change: shell.may(Permission::ManageTenant),
        shell,
        mcp_url: mcp_url.to_string(),
        revision: show::count(revision),
        sent: Sent::of(&settings),
        limits,
        faults: Faults::none(),
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
    let (mut settings, _) = tenants::get_settings(&mut tx).await?;
    if let Err(faults) = read(&sent, &mut settings) {
        drop(tx);
        let page = page(&needs, shell, &can).await?;
        let all = page.sent;
        let sent = Sent {
            title: sent.title.or(all.title),
            prefix: sent.prefix.or(all.prefix),
            blind_max_s: sent.blind_max_s.or(all.blind_max_s),
        };
        return Ok(Page::wrong(SettingsPage { sent, faults, ..page }).into_response());
    }
    actions::change(&mut tx, &can.author(&clock), &settings).await?;
    tx.commit().await?;
    Ok(Done::to(shell.to("settings")).saying("The settings are saved.").into_response())
}

fn read(sent: &Sent, settings: &mut Settings) -> Result<(), Faults> {
    if let Some(title) = &sent.title {
        let title = title.trim();
        check_title("title", title, 100)
            .map_err(|_| Faults::at("title", "Give it a name of at most 100 characters."))?;
        title.clone_into(&mut settings.title);
    }
    if let Some(prefix) = &sent.prefix {
        settings.prefix = Prefix::find(prefix).ok_or_else(|| Faults::at("prefix", "Choose one."))?;
    }
    if let Some(seconds) = &sent.blind_max_s {
        let seconds = seconds.trim().parse().ok().filter(|seconds| *seconds <= 60);
        settings.blind_max_s =
            seconds.ok_or_else(|| Faults::at("blind_max_s", "A whole number of seconds from 0 to 60."))?;
    }
    Ok(())
}
