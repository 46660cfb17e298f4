//! How far what was published has come, for pages that wait for it.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use store::TenantTx;
use store::published::{self, Status};

use crate::access::{Can, may};
use crate::console::{Page, Shell, show};
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

/// `GET …/policies/live`: polled, and often while something is on its way.
pub(super) async fn live(
    State(live): State<Live>,
    shell: Shell,
    can: Can<may::ViewPolicies>,
) -> Result<Response, Problem> {
    let live = view(&mut can.begin().await?, &live).await?;
    Ok(Page::new(LivePart { shell, live }).into_response())
}

impl LiveView {
    /// As the rest of a sentence that has begun.
    pub(super) fn said(&self) -> String {
        let mut chars = self.text.chars();
        chars.next().map(|first| format!("{}{}", first.to_lowercase(), chars.as_str())).unwrap_or_default()
    }
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
