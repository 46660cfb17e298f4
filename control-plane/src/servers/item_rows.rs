//! Changes of prompts, resources and templates as whoever reviews them reads them.

use domain::{ItemId, ItemKind};
use store::items::Change;
use store::tools::{ChangeKind, ChangeState};

use super::change::hides_something;
use super::item_definition::{ItemDefinition, differences, readable};
use super::whole::Whole;
use crate::console::show;
use crate::diff::{self, Line};

/// A change under review.
#[derive(Debug)]
pub(super) struct ItemRow {
    pub(super) item: ItemId,
    /// What it is, in a word.
    pub(super) of: &'static str,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) state: ChangeState,
    pub(super) says: String,
    pub(super) flag: &'static str,
    pub(super) lines: Vec<Line>,
    /// The whole definition of a new one, to be read.
    pub(super) whole: Whole,
}

impl ItemRow {
    pub(super) fn of(change: Change) -> Self {
        let text = |definition: &Option<store::tools::Definition>| {
            definition.as_ref().map(|definition| definition.text.clone()).unwrap_or_default()
        };
        let (before, after) = (text(&change.before), text(&change.after));
        let shown = if after.is_empty() { &before } else { &after };
        let is_new = change.kind == ChangeKind::New;
        Self {
            item: change.item,
            of: word(change.of),
            description: description(change.of, shown),
            says: says(&change, &before, &after),
            flag: if hides_something(&after) { "Hidden characters" } else { "" },
            whole: if is_new { Whole::of(&readable(change.of, &after)) } else { Whole::default() },
            lines: if is_new { Vec::new() } else { lines(change.of, &before, &after) },
            state: change.state,
            name: change.name,
        }
    }
}

/// A kind in a word.
const fn word(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::Prompt => "Prompt",
        ItemKind::Resource => "Resource",
        ItemKind::Template => "Resource template",
    }
}

/// What a change changes, in words.
fn says(change: &Change, before: &str, after: &str) -> String {
    match change.kind {
        ChangeKind::New => "New".to_owned(),
        ChangeKind::Removed => "Offered no longer".to_owned(),
        ChangeKind::Changed => format!("Changed: {}", differences(change.of, before, after).join(", ")),
    }
}

fn lines(kind: ItemKind, before: &str, after: &str) -> Vec<Line> {
    diff::lines(&readable(kind, before), &readable(kind, after))
}

/// The beginning of what a definition says of itself.
fn description(kind: ItemKind, definition: &str) -> String {
    let said = ItemDefinition::read(kind, definition).ok().and_then(|read| read.says).unwrap_or_default();
    let first = said.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    show::clip(first.trim(), 140)
}
