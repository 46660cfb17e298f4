//! A change of a tool as whoever reviews it is told of it.

use store::tools::{Change, ChangeKind};

use super::definition::{Definition, differences};
use super::diff;
use crate::console::show;
use crate::diff::Line;

/// A change as a diff.
pub(super) fn lines(change: &Change) -> Vec<Line> {
    diff::lines(
        change.before.as_ref().map(|before| before.text.as_str()),
        change.after.as_ref().map(|after| after.text.as_str()),
    )
}

/// What a change changes, in words.
pub(super) fn says(change: &Change) -> String {
    match (change.kind, &change.before, &change.after) {
        (ChangeKind::New, ..) => "New tool".to_owned(),
        (ChangeKind::Removed, ..) => "Offered no longer".to_owned(),
        (_, Some(before), Some(after)) => {
            let word = |member: &str| match member {
                "inputSchema" => "arguments",
                "outputSchema" => "results",
                "annotations" => "hints",
                "title" => "title",
                "name" => "name",
                _ => "description",
            };
            let words: Vec<&str> = differences(&before.text, &after.text).into_iter().map(word).collect();
            format!("Changed: {}", words.join(", "))
        }
        _ => "Changed".to_owned(),
    }
}

/// What should make one look twice; empty where nothing does.
pub(super) fn flag(change: &Change) -> &'static str {
    let class = |text: &str| Definition::read(text).ok().map(|read| super::risk::guess(&read));
    match (&change.before, &change.after) {
        (_, Some(after)) if hides_something(&after.text) => "Hidden characters",
        (Some(before), Some(after)) if class(&after.text) > class(&before.text) => "Riskier",
        _ => "",
    }
}

/// Whether a definition has characters that do not show.
pub(super) fn hides_something(definition: &str) -> bool {
    serde_json::from_str(definition).is_ok_and(|definition| hides(&definition))
}

/// Whether any text in a definition has characters that do not show.
fn hides(value: &serde_json::Value) -> bool {
    let is_hiding = |text: &str| show::pieces(text).iter().any(|piece| piece.is_hidden);
    match value {
        serde_json::Value::String(text) => is_hiding(text),
        serde_json::Value::Array(values) => values.iter().any(hides),
        serde_json::Value::Object(members) => members.iter().any(|(name, value)| is_hiding(name) || hides(value)),
        _ => false,
    }
}
