//! Records as tables show them.

use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
use domain::RecordId;
use store::audit::search;

use super::outcome::Outcome;
use super::query::Names;
use crate::console::{Present, show};

/// Longer than this, microseconds, and the time a call took is marked.
const SLOW_US: i64 = 1_000_000;

/// A record as tables show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) at: DateTime<Utc>,
    /// The day, where it is not today; then `14:05:41`, then `.207`.
    pub(crate) day: String,
    pub(crate) clock: String,
    pub(crate) fraction: String,
    /// Who acted, and whether it is a person.
    pub(crate) who: String,
    pub(crate) is_person: bool,
    /// Through which program, as it calls itself.
    pub(crate) client: String,
    pub(crate) name: ToolName,
    /// What `ui::decision` takes; empty where nothing was decided.
    pub(crate) badge: &'static str,
    pub(crate) took: String,
    pub(crate) took_class: &'static str,
    /// Where it is shown whole.
    pub(crate) url: String,
    pub(crate) is_open: bool,
}

/// A tool's name in its two parts, or what else a record is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ToolName {
    /// The server's name in it.
    pub(crate) prefix: String,
    pub(crate) name: String,
    /// What its tile is made from.
    pub(crate) logo: String,
}

impl ToolName {
    /// Of the name clients see: `wiki__read_page`.
    pub(crate) fn of(exposed: &str, logo: Option<&str>) -> Self {
        let (prefix, name) =
            exposed.split_once("__").map_or(("", exposed), |(alias, _)| exposed.split_at(alias.len() + 2));
        let logo = logo.unwrap_or(if prefix.is_empty() { name } else { prefix });
        Self { prefix: prefix.to_owned(), name: name.to_owned(), logo: logo.to_owned() }
    }

    /// Of a record in a list.
    fn of_record(record: &search::Row, names: &Names) -> Self {
        let server = record.server_id.and_then(|id| names.server(id)).map(|server| server.key.as_str());
        if let Some(tool) = &record.tool_name {
            return Self::of(tool, server);
        }
        let name = record.change_action.as_deref().or(record.method.as_deref()).unwrap_or(&record.kind);
        Self { prefix: String::new(), name: name.to_owned(), logo: server.unwrap_or(name).to_owned() }
    }
}

impl Row {
    /// Of a record of the log; `url` is where it is shown whole.
    pub(crate) fn of(record: &search::Row, names: &Names, Present { now, zone }: Present, url: String) -> Self {
        let (at, today) = (zone.local(record.time), zone.local(now).date_naive());
        let outcome = Outcome::of(record.effect.as_deref(), record.status.as_deref());
        let took = record.duration_us;
        let (caller, is_person) = caller(record.actor_kind.as_deref(), record.actor_id.as_deref(), names);
        Self {
            id: RecordId::from_uuid(record.id).to_string(),
            at: record.time,
            day: if at.date_naive() == today { String::new() } else { day(at.date_naive(), today) },
            clock: at.format("%H:%M:%S").to_string(),
            fraction: at.format("%.3f").to_string(),
            who: caller,
            is_person,
            client: record.client_name.clone().unwrap_or_default(),
            name: ToolName::of_record(record, names),
            badge: outcome.map_or("", Outcome::badge),
            took: took.map_or_else(|| "–".to_owned(), |took| show::took(took.max(0).cast_unsigned())),
            took_class: match outcome {
                Some(Outcome::Failed) => "c-fail",
                _ if took.is_some_and(|took| took > SLOW_US) => "c-wait",
                _ => "",
            },
            url,
            is_open: false,
        }
    }

    /// The caller, the time and the day, for tables too narrow for columns of them.
    pub(crate) fn narrow(&self) -> String {
        let parts = [self.who.as_str(), self.day.as_str(), self.clock.as_str()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
    }
}

/// A day: `19 Nov`, with the year when it is another one.
pub(super) fn day(day: NaiveDate, today: NaiveDate) -> String {
    day.format(if day.year() == today.year() { "%-d %b" } else { "%-d %b %Y" }).to_string()
}

/// What people call an actor, and whether it is a person.
pub(crate) fn caller(kind: Option<&str>, id: Option<&str>, names: &Names) -> (String, bool) {
    let known = id.and_then(|id| names.person(id));
    match (kind, known) {
        (_, Some(name)) => (name.to_owned(), true),
        (Some("system"), None) => ("Sluice".to_owned(), false),
        (Some("anonymous") | None, None) => ("Nobody known".to_owned(), false),
        // Somebody who is no member any more.
        (Some(kind), None) => (id.map_or_else(|| kind.to_owned(), |id| show::clip(id, 40)), kind == "user"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_s_name_has_its_server_apart() {
        let name = |text| ToolName::of(text, None);
        assert_eq!((&*name("wiki__read__page").prefix, &*name("wiki__read__page").name), ("wiki__", "read__page"));
        assert_eq!((&*name("read").prefix, &*name("read").name, &*name("read").logo), ("", "read", "read"));
    }
}
