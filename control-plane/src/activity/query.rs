//! The address of a search: what is looked for, as people type it and as links carry it.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use domain::TokenId;
use store::audit::search::{Among, Filter, Place};

use super::actions::{self, TEXT_RANGE};
pub(crate) use super::names::Names;
use super::outcome::Outcome;
use crate::console::{Present, Zone, show};

/// Longest value in an address, bytes.
const VALUE_MAX: usize = 512;
/// Most parameters that are kept although they are not known: each has a chip with all the others in its address.
const UNKNOWN_MAX: usize = 8;
/// What may stand in an address, in the order it is written.
const NAMES: [&str; 16] = [
    "q", "name", "decision", "caller", "token", "tool", "server", "label", "kind", "trace", "range", "from", "until",
    "group", "pause", "after",
];
/// Those of them that narrow calls as they come in. `pause` keeps their page as it is.
const LIVE: [&str; 8] = ["name", "decision", "caller", "tool", "server", "label", "pause", "after"];
/// Those of them that may be typed into the search bar, as `name:value`.
const TYPED: [&str; 10] = ["decision", "caller", "tool", "server", "label", "kind", "trace", "from", "until", "group"];
/// Kinds of records that may be asked for, and what they are called.
const KINDS: [(&str, &str); 5] = [
    ("call", "Calls"),
    ("admin", "Changes"),
    ("auth", "Refused requests"),
    ("server", "Server events"),
    ("all", "Everything"),
];

/// A range of time that has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// As addresses write it.
    pub(crate) word: &'static str,
    /// As a button has it.
    pub(crate) short: &'static str,
    /// In a sentence.
    pub(crate) name: &'static str,
    /// How long it is.
    pub(crate) length: TimeDelta,
}

/// The ranges of time one chooses from.
pub(crate) const SPANS: [Span; 5] = [
    Span { word: "1h", short: "1 h", name: "last hour", length: TimeDelta::hours(1) },
    Span { word: "6h", short: "6 h", name: "last 6 hours", length: TimeDelta::hours(6) },
    Span { word: "24h", short: "24 h", name: "last 24 hours", length: TimeDelta::hours(24) },
    Span { word: "7d", short: "7 d", name: "last 7 days", length: TimeDelta::days(7) },
    Span { word: "30d", short: "30 d", name: "last 30 days", length: TimeDelta::days(30) },
];

impl Span {
    /// The one that is taken where none is named.
    pub(crate) const USUAL: Self = SPANS[2];

    /// The range of a word.
    pub(crate) fn find(word: &str) -> Option<Self> {
        SPANS.into_iter().find(|span| span.word == word)
    }
}

/// What an address asks for: its parameters by name. What is not known stays in it, and is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    known: Vec<(&'static str, String)>,
    unknown: Vec<(String, String)>,
    /// The record that is open, as it is named.
    pub(crate) open: Option<String>,
    /// Whether something was typed that is better written otherwise.
    pub(crate) is_typed: bool,
}

impl Asked {
    /// Reads the parameters of an address. Words of the search bar that are filters become parameters of their own.
    pub(crate) fn read(pairs: Vec<(String, String)>) -> Self {
        Self::read_of(&NAMES, pairs)
    }

    /// Reads those of calls as they come in. What is typed there and is no filter is a name.
    pub(super) fn read_live(pairs: Vec<(String, String)>) -> Self {
        let mut asked = Self::read_of(&LIVE, pairs);
        if let Some(name) = asked.get("q").map(str::to_owned) {
            asked.is_typed = true;
            asked.unset("q");
            asked.set("name", name);
        }
        asked
    }

    fn read_of(names: &'static [&'static str], pairs: Vec<(String, String)>) -> Self {
        let (mut asked, mut typed) = (Self::default(), String::new());
        for (name, value) in pairs {
            let value = value.trim();
            if value.is_empty() {
                continue;
            }
            let value = value[..value.floor_char_boundary(VALUE_MAX)].to_owned();
            if name == "call" {
                asked.open = Some(value);
            } else if name == "q" {
                typed = value;
            } else if let Some(known) = names.iter().find(|known| **known == name) {
                asked.set(known, value);
            } else {
                asked.add_unknown(show::clip(&name, 64), value);
            }
        }
        // Last, so that what is typed wins over what was set before.
        asked.type_in(names, &typed);
        asked
    }

    fn add_unknown(&mut self, name: String, value: String) {
        if self.unknown.len() < UNKNOWN_MAX && self.unknown.iter().all(|(unknown, _)| *unknown != name) {
            self.unknown.push((name, value));
        }
    }

    /// What is typed: words, of which `tool:wiki__read` and the like are filters.
    fn type_in(&mut self, names: &[&str], text: &str) {
        let mut words = Vec::new();
        let find = |name| TYPED.into_iter().find(|known| *known == name && names.contains(known));
        for word in text.split_whitespace() {
            let filter = word.split_once(':').filter(|(_, value)| !value.is_empty());
            match filter.and_then(|(name, value)| Some((find(name)?, value))) {
                Some((name, value)) => {
                    self.is_typed = true;
                    self.set(name, value.to_owned());
                }
                None => words.push(word),
            }
        }
        if !words.is_empty() {
            self.set("q", words.join(" "));
        }
    }

    /// The value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.known.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn set(&mut self, name: &'static str, value: String) {
        self.unset(name);
        self.known.push((name, value));
    }

    pub(super) fn unset(&mut self, name: &str) {
        self.known.retain(|(known, _)| *known != name);
    }

    /// The same with a parameter, from the first page on and with nothing open.
    pub(crate) fn with(&self, name: &'static str, value: &str) -> Self {
        let mut other = self.without(name);
        other.set(name, value.to_owned());
        other
    }

    /// The same without a parameter, likewise.
    pub(crate) fn without(&self, name: &str) -> Self {
        let mut other = Self { open: None, ..self.clone() };
        other.known.retain(|(known, _)| *known != name && *known != "after");
        other.unknown.retain(|(unknown, _)| unknown != name);
        other
    }

    /// What of it narrows calls as they come in, too.
    pub(super) fn live(&self) -> Self {
        let known = self.known.iter().filter(|(known, _)| *known != "after" && LIVE.contains(known));
        Self { known: known.cloned().collect(), ..Self::default() }
    }

    /// The same page with this record open, or none.
    pub(crate) fn opening(&self, record: Option<&str>) -> Self {
        Self { open: record.map(str::to_owned), ..self.clone() }
    }

    /// The parameters as an address has them: `?q=…`, or nothing.
    pub(crate) fn query(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in self.pairs() {
            query.append_pair(name, value);
        }
        let query = query.finish();
        if query.is_empty() { query } else { format!("?{query}") }
    }

    /// All parameters, in their order.
    pub(crate) fn pairs(&self) -> Vec<(&str, &str)> {
        let known = NAMES.into_iter().filter_map(|name| Some((name, self.get(name)?)));
        let unknown = self.unknown.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        known.chain(unknown).chain(self.open.as_deref().map(|record| ("call", record))).collect()
    }

    /// Whether anything narrows the search but its time.
    pub(crate) fn is_narrowed(&self) -> bool {
        self.known.iter().any(|(name, _)| !matches!(*name, "range" | "from" | "until" | "group" | "pause" | "after"))
    }

    /// Whether records are shown together by who made them.
    pub(crate) fn is_by_person(&self) -> bool {
        self.get("group") == Some("person")
    }

    /// The named range of time, where none is given by its ends.
    pub(crate) fn span(&self) -> Option<Span> {
        let is_given = self.get("from").is_some() || self.get("until").is_some();
        (!is_given).then(|| self.get("range").and_then(Span::find).unwrap_or(Span::USUAL))
    }
}

/// A filter as the page shows it, with the way to be rid of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chip {
    pub(crate) name: String,
    pub(crate) value: String,
    /// The address without it.
    pub(crate) without: String,
    /// Why it does not narrow anything; empty where it does.
    pub(crate) fault: String,
}

/// A search that can be made, and how the page shows it.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    pub(crate) filter: Filter,
    pub(crate) after: Option<Place>,
    pub(crate) chips: Vec<Chip>,
    /// Whether the counts kept by minute and hour answer for exactly this search.
    pub(crate) is_counted: bool,
    pub(crate) outcomes: Vec<Outcome>,
}

/// Makes a filter of what was asked for. What does not fit narrows nothing, and its chip says why.
pub(crate) fn resolve(asked: &Asked, names: &Names, present: Present) -> Resolved {
    let (from, until) = times(asked, present);
    let mut resolved = Resolved {
        filter: Filter { kinds: vec!["call".to_owned()], ..Filter::of(from, until) },
        after: asked.get("after").and_then(actions::from_cursor),
        chips: Vec::new(),
        is_counted: true,
        outcomes: Vec::new(),
    };
    for (name, value) in asked.known.iter().map(|(name, value)| (*name, value.as_str())) {
        let read = match name {
            "range" => Span::find(value).map(|_| String::new()).ok_or("no such range of time".to_owned()),
            "from" | "until" => time(value, present.zone)
                .map(|_| {
                    if name == "from" { between(asked, (from, until), present.zone) } else { show_end(until, present) }
                })
                .ok_or("write a time as 2026-11-20T15:00".to_owned()),
            "group" => {
                if value == "person" {
                    Ok(String::new())
                } else {
                    Err("only by person".to_owned())
                }
            }
            "pause" => Ok(String::new()),
            "after" => {
                actions::from_cursor(value).map(|_| String::new()).ok_or("is not the next page of anything".to_owned())
            }
            _ => resolved.narrow(names, name, value),
        };
        resolved.chips.extend(chip(asked, name, value, read));
    }
    let unknown = asked
        .unknown
        .iter()
        .filter_map(|(name, value)| chip(asked, name, value, Err("there is no such filter".to_owned())));
    resolved.chips.extend(unknown);
    resolved
}

impl Resolved {
    /// Narrows the search by one parameter; gives what its chip shows, or why it narrows nothing.
    fn narrow(&mut self, names: &Names, name: &str, value: &str) -> Result<String, String> {
        // What the counts kept by minute and hour are counted by.
        let is_counted = matches!(name, "decision" | "server" | "tool") || (name, value) == ("kind", "call");
        let filter = &mut self.filter;
        let shown = match name {
            "decision" => {
                self.outcomes = decisions(value)?;
                let words = self.outcomes.iter().flat_map(|one| one.statuses());
                filter.statuses = words.map(|&word| word.to_owned()).collect();
                self.outcomes.iter().map(|one| one.name()).collect::<Vec<_>>().join(", ")
            }
            "caller" => {
                let (id, shown) = names.find_caller(value)?;
                filter.actor = Some(id);
                shown
            }
            "token" => {
                let token: TokenId = value.parse().map_err(|_| "no such token")?;
                filter.token = Some(token);
                value.to_owned()
            }
            "server" => server(filter, names, value)?,
            "tool" => tool(filter, names, value)?,
            "label" => {
                among(filter, names.labelled(value)?)?;
                value.replace(',', ", ")
            }
            "name" => {
                if let Ok((id, shown)) = names.find_caller(value) {
                    filter.actor = Some(id);
                    shown
                } else {
                    among(filter, names.called(value)?)?;
                    value.to_owned()
                }
            }
            "trace" => {
                filter.trace = Some(value.to_ascii_lowercase());
                value.to_owned()
            }
            "kind" => {
                let (word, shown) =
                    KINDS.into_iter().find(|(word, _)| *word == value).ok_or("no such kind of record")?;
                filter.kinds = if word == "all" { Vec::new() } else { vec![word.to_owned()] };
                shown.to_owned()
            }
            _ => {
                // The minutes that nodes' clocks may run ahead do not make a week too long.
                let from = filter.from.max(filter.until - TEXT_RANGE);
                if from - filter.from > TimeDelta::minutes(5) {
                    return Err("a text is looked for in at most 7 days".to_owned());
                }
                (filter.text, filter.from) = (Some(value.trim_matches('"').to_owned()), from);
                value.to_owned()
            }
        };
        self.is_counted &= is_counted;
        Ok(shown)
    }
}

/// What a chip shows; the search bar and the choice of time show what they hold by themselves.
fn chip(asked: &Asked, name: &str, value: &str, read: Result<String, String>) -> Option<Chip> {
    let (value, fault) = match read {
        Ok(_) if matches!(name, "q" | "range" | "after" | "group" | "pause") => return None,
        // So do the rows of choices.
        Ok(_) if is_choice(name, value) => return None,
        // One chip has both ends.
        Ok(_) if name == "until" && asked.get("from").is_some() => return None,
        Ok(shown) => (shown, String::new()),
        Err(fault) => (value.to_owned(), fault),
    };
    let name_shown = match name {
        "q" => "Text",
        "decision" => "Decision",
        "caller" => "Caller",
        "token" => "Token",
        "tool" => "Tool",
        "server" => "Server",
        "label" => "Label",
        "name" => "Name",
        "trace" => "Trace",
        "kind" => "Show",
        "group" => "Group",
        "from" | "until" | "range" => "Time",
        "after" => "Page",
        other => other,
    };
    let without = if matches!(name, "from" | "until") && fault.is_empty() {
        asked.without("from").without("until")
    } else {
        asked.without(name)
    };
    Some(Chip { name: name_shown.to_owned(), value, without: without.query(), fault })
}

/// Whether a row of choices above the table has this one.
fn is_choice(name: &str, value: &str) -> bool {
    match name {
        "decision" => Outcome::CHOICES.into_iter().any(|one| one.word() == value),
        "kind" => matches!(value, "call" | "admin" | "all"),
        _ => false,
    }
}

fn decisions(value: &str) -> Result<Vec<Outcome>, String> {
    let read = |word: &str| Outcome::find(word.trim()).ok_or("is none of allowed, denied, failed, limited".to_owned());
    value.split(',').map(read).collect()
}

/// A range of time as its chip shows it, with the zone: `19 Nov 14:30 to 15:30, Europe/Paris`.
fn between(asked: &Asked, (from, until): (DateTime<Utc>, DateTime<Utc>), zone: Zone) -> String {
    let (first, last) = (zone.local(from), zone.local(until));
    let day = |at: &DateTime<chrono_tz::Tz>| at.format("%-d %b").to_string();
    let is_open = end(asked, "until", zone).is_none();
    let zone = zone.name();
    if is_open {
        return format!("since {} {}, {zone}", day(&first), first.format("%H:%M"));
    }
    let is_midnight = |at: &DateTime<chrono_tz::Tz>| at.time() == NaiveTime::MIN;
    if is_midnight(&first) && is_midnight(&last) && first.date_naive().succ_opt() == Some(last.date_naive()) {
        return format!("{}, {zone}", day(&first));
    }
    let until = if first.date_naive() == last.date_naive() { String::new() } else { format!("{} ", day(&last)) };
    format!("{} {} to {until}{}, {zone}", day(&first), first.format("%H:%M"), last.format("%H:%M"))
}

/// The end of a range that has no other: `until 19 Nov 15:30, Europe/Paris`.
fn show_end(until: DateTime<Utc>, present: Present) -> String {
    format!("until {}, {}", present.zone.local(until).format("%-d %b %H:%M"), present.zone.name())
}

fn server(filter: &mut Filter, names: &Names, value: &str) -> Result<String, String> {
    let server = names.find_server(value).ok_or("there is no such server")?;
    filter.server = Some(server.id);
    Ok(server.key.to_string())
}

/// Servers and tools that are asked for in one way only: those of two ways have no common list.
fn among(filter: &mut Filter, among: Among) -> Result<(), String> {
    if filter.among.is_some() {
        return Err("a label and a name are not asked for together".to_owned());
    }
    filter.among = Some(among);
    Ok(())
}

/// A tool by the name clients see, also with a dot for what stands between alias and name; `wiki.*` is the whole server.
fn tool(filter: &mut Filter, names: &Names, value: &str) -> Result<String, String> {
    let parts = value.split_once("__").or_else(|| value.split_once('.'));
    if let Some((alias, "*")) = parts {
        return server(filter, names, alias).map(|key| format!("{key}, all tools"));
    }
    let is_dotted = !value.contains("__") && parts.is_some_and(|(alias, _)| names.find_server(alias).is_some());
    let name = if is_dotted { value.replacen('.', "__", 1) } else { value.to_owned() };
    filter.tool = Some(name.clone());
    Ok(name)
}

/// From when until when. Records of nodes whose clocks run ahead are believed up to five minutes.
fn times(asked: &Asked, present: Present) -> (DateTime<Utc>, DateTime<Utc>) {
    let Present { now, zone } = present;
    let ahead = now + TimeDelta::minutes(5);
    let length = asked.get("range").and_then(Span::find).unwrap_or(Span::USUAL).length;
    let (from, until) = (end(asked, "from", zone), end(asked, "until", zone));
    match (from, until) {
        (None, None) => (now - length, ahead),
        (Some(from), None) => (from, ahead.max(from + TimeDelta::minutes(1))),
        (None, Some(until)) => (until - length, until),
        (Some(from), Some(until)) => (from, until.max(from + TimeDelta::minutes(1))),
    }
}

fn end(asked: &Asked, name: &str, zone: Zone) -> Option<DateTime<Utc>> {
    time(asked.get(name)?, zone)
}

/// A time as people write it: with seconds and zone, or as clocks in the zone show it, to the minute, or a day.
fn time(text: &str, zone: Zone) -> Option<DateTime<Utc>> {
    let exact = DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc());
    let minute = || {
        let format = if text.len() > 16 { "%Y-%m-%dT%H:%M:%S" } else { "%Y-%m-%dT%H:%M" };
        Some(zone.read(NaiveDateTime::parse_from_str(text, format).ok()?))
    };
    let day = || Some(zone.read(text.parse::<NaiveDate>().ok()?.and_time(NaiveTime::MIN)));
    let time = exact.or_else(minute).or_else(day)?;
    // What Postgres takes, with room for what is added.
    (1970..=9000).contains(&chrono::Datelike::year(&time)).then_some(time)
}

#[cfg(test)]
mod tests;
