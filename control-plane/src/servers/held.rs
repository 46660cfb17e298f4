//! What of a server waits for a decision, as its page shows it.

use domain::ServerVersionId;
use store::servers;
use store::tools::{Change, ChangeState};

use super::actions::Changes;
use super::change::{flag, lines, says};
use super::pages::Head;
use crate::console::{Shell, show};
use crate::diff::Line;

/// Held changes that the card of a server lists; the review has all.
const LISTED: usize = 8;

/// What waits for a decision.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) version: ServerVersionId,
    /// Where all that waits is rejected.
    pub(super) reject: String,
    pub(super) found_at: chrono::DateTime<chrono::Utc>,
    pub(super) changes: Vec<Waiting>,
    pub(super) more: usize,
    /// All that waits, of tools and of what is offered beside them.
    pub(super) count: usize,
    /// The same in words.
    pub(super) title: String,
    /// The change that is shown, and how.
    pub(super) shown: Option<(String, Vec<Line>)>,
}

/// One change that waits, in a line.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) url: String,
    pub(super) name: String,
    pub(super) says: String,
    pub(super) flag: &'static str,
    pub(super) is_shown: bool,
}

impl Held {
    /// What of a version's changes waits; the change that is wanted is shown, else the first.
    pub(super) fn of(shell: &Shell, head: &Head, version: &servers::Version, changes: &Changes, wanted: &str) -> Self {
        let open: Vec<&Change> = changes.tools.iter().filter(|change| change.state == ChangeState::Held).collect();
        let chosen = open.iter().find(|change| change.tool.to_string() == wanted).or_else(|| open.first());
        let shown = chosen.filter(|_| head.is_reviewed).map(|change| (change.name.clone(), lines(change)));
        let waiting = |change: &&Change| Waiting {
            url: format!("{}?change={}#drift", head.to(shell, ""), change.tool),
            name: change.name.clone(),
            says: says(change),
            flag: flag(change),
            is_shown: chosen.is_some_and(|chosen| chosen.tool == change.tool),
        };
        Self {
            version: version.id,
            reject: head.to(shell, &format!("/versions/{}/reject", version.id)),
            found_at: version.found_at,
            changes: open.iter().take(LISTED).map(waiting).collect(),
            more: open.len().saturating_sub(LISTED),
            count: changes.held(),
            title: title(open.len(), changes.held(), head.is_reviewed),
            shown,
        }
    }
}

/// How much waits, in words: tools are named where nothing else waits.
fn title(tools: usize, all: usize, is_reviewed: bool) -> String {
    match (tools == all, is_reviewed) {
        (true, true) => format!("{} changed, held for review", show::plural(tools, "tool", "tools")),
        (true, false) => format!("{} for the first review", show::plural(tools, "tool waits", "tools wait")),
        (false, true) => format!("{} held for review", show::plural(all, "change", "changes")),
        (false, false) => {
            format!(
                "{} for the first review",
                show::plural(all, "tool, prompt or resource waits", "tools, prompts and resources wait")
            )
        }
    }
}
