//! The command palette: what of a workspace has a name, found by part of it.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use domain::{CallId, Permission};
use serde::Deserialize;
use store::{TenantTx, people, policies, servers, tools};

use super::{Hx, Needs, Page, Shell, show};
use crate::access::{Can, may};
use crate::input::Form;
use crate::problem::Problem;

/// Most things shown.
const SHOWN: usize = 10;

pub(super) fn routes(needs: Needs) -> Router {
    Router::new().route("/w/{tenant}/palette", get(find)).with_state(needs)
}

/// One thing that was found.
struct Found {
    kind: &'static str,
    icon: &'static str,
    text: String,
    url: String,
}

#[derive(Template)]
#[template(path = "palette.html")]
struct PalettePage {
    shell: Shell,
    q: String,
    found: Vec<Found>,
}

#[derive(Template)]
#[template(path = "_palette.html")]
struct PalettePart {
    found: Vec<Found>,
}

#[derive(Debug, Deserialize)]
struct Query {
    #[serde(default)]
    q: String,
}

/// `GET /w/{tenant}/palette?q=`: options for the palette; without htmx a page of links.
async fn find(
    State(_): State<Needs>,
    shell: Shell,
    can: Can<may::ViewTenant>,
    hx: Hx,
    Form(query): Form<Query>,
) -> Result<Response, Problem> {
    let wanted = query.q.trim().to_lowercase();
    let mut found = Vec::new();
    if !wanted.is_empty() {
        let mut tx = can.begin().await?;
        found = search(&mut tx, &shell, &wanted).await?;
        found.truncate(SHOWN);
    }
    if hx.0 {
        return Ok(Page::new(PalettePart { found }).into_response());
    }
    Ok(Page::new(PalettePage { shell, q: query.q, found }).into_response())
}

async fn search(tx: &mut TenantTx, shell: &Shell, wanted: &str) -> Result<Vec<Found>, store::Error> {
    let mut found: Vec<Found> = record(shell, wanted).into_iter().collect();
    let holds = |text: &str| text.to_lowercase().contains(wanted);
    let servers = if shell.may(Permission::ViewServers) { servers::list(tx).await? } else { Vec::new() };
    for server in &servers {
        if holds(&server.settings.title) || holds(server.key.as_str()) {
            let url = shell.to(&format!("servers/{}", server.id));
            found.push(Found { kind: "Server", icon: "server", text: server.settings.title.clone(), url });
        }
    }
    if shell.may(Permission::ViewPolicies) {
        for policy in policies::list(tx).await?.into_iter().filter(|policy| holds(&policy.name)) {
            let url = shell.to(&format!("policies/{}", policy.id));
            found.push(Found { kind: "Policy", icon: "shield-check", text: policy.name, url });
        }
    }
    if shell.may(Permission::ViewMembers) {
        for member in people::list(tx).await?.into_iter().filter(|member| holds(&member.name)) {
            let url = shell.to(&format!("people/{}", member.id));
            found.push(Found { kind: "Person", icon: "user", text: member.name, url });
        }
    }
    if shell.may(Permission::ViewServers) && found.len() < SHOWN {
        for tool in tools::list_offered(tx).await? {
            let Some(server) = servers.iter().find(|server| server.id == tool.server) else { continue };
            let text = format!("{}__{}", server.settings.alias, tool.name);
            if holds(&text) {
                let url = shell.to(&format!("servers/{}/tools/{}", tool.server, tool.id));
                found.push(Found { kind: "Tool", icon: "wrench", text, url });
            }
        }
    }
    Ok(found)
}

/// A call's id or a trace's, which Activity knows.
fn record(shell: &Shell, wanted: &str) -> Option<Found> {
    let to = |text: &str, query: String| Found {
        kind: "Activity",
        icon: "scroll-text",
        text: text.to_owned(),
        url: shell.to(&format!("activity?{query}")),
    };
    if wanted.len() == 32 && wanted.chars().all(|char| char.is_ascii_hexdigit()) {
        return Some(to("The calls of this trace", format!("trace={wanted}")));
    }
    wanted.parse::<CallId>().ok().map(|call| to("This call", format!("call={call}")))
}
