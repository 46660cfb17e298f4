//! How far what was published has come, for pages that wait for it.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use store::TenantTx;
use store::published::{self, Status};

use crate::access::{Can, may};
use crate::console::{Page, Shell, show};
use crate::input::Form;
use crate::problem::Problem;
use crate::publish::{Live, Reach};

/// What is said of it.
#[derive(Debug, Clone)]
pub(crate) struct LiveView {
    /// The dot: `ok`, `wait`, `deny`, or none.
    pub(crate) kind: &'static str,
    pub(crate) text: String,
    /// Why the present configuration is not published.
    pub(crate) refused: String,
    /// Whether it is soon otherwise.
    pub(crate) moves: bool,
}

#[derive(Debug, Template)]
#[template(path = "policies/_live.html")]
struct LivePart {
    shell: Shell,
    live: LiveView,
}

/// `GET …/policies/live`: polled while something is on its way.
pub(super) async fn live(
    State(live): State<Live>,
    shell: Shell,
    can: Can<may::ViewPolicies>,
    Form(asked): Form<Asked>,
) -> Result<Response, Problem> {
    let live = view(&mut can.begin().await?, &live).await?;
    let arrived = (!asked.moved.is_empty() && live.kind == "ok").then(|| live.text.clone());
    let page = Page::new(LivePart { shell, live });
    Ok(match arrived {
        Some(text) => page.toast(text).into_response(),
        None => page.into_response(),
    })
}

/// What the page shows so far.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    /// Set while something was on its way: that it has arrived is worth a word.
    #[serde(default)]
    moved: String,
}

/// Looks how far the tenant's configuration has come. That Redis is away is no reason to show nothing.
pub(crate) async fn view(tx: &mut TenantTx, live: &Live) -> Result<LiveView, Problem> {
    let status = published::status(tx).await?;
    let reach = match &status.published {
        Some(publication) => live.publication(tx.tenant(), publication).await.ok(),
        None => None,
    };
    Ok(said(&status, reach.as_ref()))
}

fn said(status: &Status, reach: Option<&Reach>) -> LiveView {
    let is_present = status.published.as_ref().is_some_and(|published| published.revision >= status.revision);
    let refused = status.refusal.as_ref().filter(|refusal| refusal.revision >= status.revision);
    let say = |kind, text: String, moves| LiveView { kind, text, refused: String::new(), moves };
    match reach {
        _ if refused.is_some() => LiveView {
            refused: refused.map(|refusal| refusal.reason.clone()).unwrap_or_default(),
            ..say("deny", "Not published".to_owned(), true)
        },
        _ if !is_present => say("wait", "Publishing…".to_owned(), true),
        None => say("", "Nodes unknown".to_owned(), true),
        Some(reach) if reach.of == 0 => say("wait", "No node is up".to_owned(), true),
        Some(reach) => {
            let is_everywhere = reach.live == reach.of;
            let text = format!("Live on {} of {}", show::count(reach.live), show::plural(reach.of, "node", "nodes"));
            say(if is_everywhere { "ok" } else { "wait" }, text, !is_everywhere)
        }
    }
}
