//! The address of a search: what is looked for, as people type it and as links carry it.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use store::audit::search::{Filter, Place};
use store::people::Membership;
use store::servers::Server;

use super::actions::{self, TEXT_RANGE};
use super::outcome::Outcome;
use crate::console::show;

/// Longest value in an address, bytes.
const VALUE_MAX: usize = 512;
/// What may stand in an address, in the order it is written.
const NAMES: [&str; 11] =
    ["q", "decision", "caller", "tool", "server", "kind", "trace", "range", "from", "until", "after"];
/// Those of them that may be typed into the search bar, as `name:value`.
const TYPED: [&str; 8] = ["decision", "caller", "tool", "server", "kind", "trace", "from", "until"];
/// Kinds of records that may be asked for, and what they are called.
const KINDS: [(&str, &str); 5] =
    [("call", "Calls"), ("admin", "Changes"), ("auth", "Sign-ins"), ("server", "Server events"), ("all", "Everything")];

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
        let mut asked = Self::default();
        for (name, value) in pairs {
            let value = value.trim();
            if value.is_empty() {
                continue;
            }
            let value = value[..value.floor_char_boundary(VALUE_MAX)].to_owned();
            if name == "call" {
                asked.open = Some(value);
            } else if name == "q" {
                asked.type_in(&value);
            } else if let Some(known) = NAMES.into_iter().find(|known| *known == name) {
                asked.set(known, value);
            } else {
                asked.unknown.push((show::clip(&name, 64), value));
            }
        }
        asked
    }

    /// What is typed: words, of which `tool:wiki__read` and the like are filters.
    fn type_in(&mut self, text: &str) {
        let mut words = Vec::new();
        for word in text.split_whitespace() {
            let filter = word.split_once(':').filter(|(_, value)| !value.is_empty());
            match filter.and_then(|(name, value)| Some((TYPED.into_iter().find(|known| *known == name)?, value))) {
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

    fn set(&mut self, name: &'static str, value: String) {
        self.known.retain(|(known, _)| *known != name);
        self.known.push((name, value));
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
        self.known.iter().any(|(name, _)| !matches!(*name, "range" | "from" | "until" | "after"))
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

/// What a tenant calls things.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    pub(crate) people: Vec<Membership>,
    pub(crate) servers: Vec<Server>,
}

impl Names {
    /// The person's name in the tenant.
    pub(crate) fn person(&self, id: &str) -> Option<&str> {
        self.people.iter().find(|person| person.user.to_string() == id).map(|person| person.name.as_str())
    }

    /// The server.
    pub(crate) fn server(&self, id: uuid::Uuid) -> Option<&Server> {
        self.servers.iter().find(|server| server.id.uuid() == id)
    }

    fn find_person(&self, text: &str) -> Result<&Membership, String> {
        let wanted = text.to_lowercase();
        if let Some(exact) =
            self.people.iter().find(|person| person.user.to_string() == text || person.name.to_lowercase() == wanted)
        {
            return Ok(exact);
        }
        let found: Vec<_> = self.people.iter().filter(|person| person.name.to_lowercase().contains(&wanted)).collect();
        match found[..] {
            [one] => Ok(one),
            [] => Err("nobody here is called so".to_owned()),
            _ => Err(format!("{} people are called so", found.len())),
        }
    }

    fn find_server(&self, text: &str) -> Option<&Server> {
        self.servers.iter().find(|server| {
            server.key.as_str() == text || server.settings.alias.as_str() == text || server.id.to_string() == text
        })
    }
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
pub(crate) fn resolve(asked: &Asked, names: &Names, now: DateTime<Utc>) -> Resolved {
    let (from, until) = times(asked, now);
    let mut filter = empty(from, until);
    let mut resolved_outcomes = Vec::new();
    let (mut chips, mut is_counted) = (Vec::new(), true);
    for (name, value) in asked.known.iter().map(|(name, value)| (*name, value.as_str())) {
        let read = match name {
            "q" => {
                is_counted = false;
                // The minutes that nodes' clocks may run ahead do not make a week too long.
                let from = filter.from.max(filter.until - TEXT_RANGE);
                if from - filter.from > TimeDelta::minutes(5) {
                    Err("a text is looked for in at most 7 days".to_owned())
                } else {
                    (filter.text, filter.from) = (Some(value.to_owned()), from);
                    Ok(value.to_owned())
                }
            }
            "decision" => decisions(value).map(|outcomes| {
                filter.statuses = outcomes.iter().flat_map(|one| one.statuses()).map(|&word| word.to_owned()).collect();
                let shown: Vec<_> = outcomes.iter().map(|one| one.name()).collect();
                resolved_outcomes = outcomes;
                shown.join(", ")
            }),
            "caller" => names.find_person(value).map(|person| {
                is_counted = false;
                filter.actor = Some(person.user.to_string());
                person.name.clone()
            }),
            "server" => server(&mut filter, names, value),
            "tool" => tool(&mut filter, names, value),
            "trace" => {
                is_counted = false;
                filter.trace = Some(value.to_ascii_lowercase());
                Ok(value.to_owned())
            }
            "kind" => KINDS.iter().find(|(word, _)| *word == value).ok_or("no such kind of record".to_owned()).map(
                |(word, shown)| {
                    is_counted &= *word == "call";
                    filter.kinds = if *word == "all" { Vec::new() } else { vec![(*word).to_owned()] };
                    (*shown).to_owned()
                },
            ),
            "range" => Span::find(value).map(|_| String::new()).ok_or("no such range of time".to_owned()),
            "from" | "until" => {
                time(value).map(|time| show::exact(&time)).ok_or("write a time as 2026-11-20T15:00".to_owned())
            }
            _ => {
                actions::from_cursor(value).map(|_| String::new()).ok_or("is not the next page of anything".to_owned())
            }
        };
        chips.extend(chip(asked, name, value, read));
    }
    let unknown =
        asked.unknown.iter().filter_map(|(name, value)| chip(asked, name, value, Err("is not a filter".to_owned())));
    chips.extend(unknown);
    let after = asked.get("after").and_then(actions::from_cursor);
    Resolved { filter, after, chips, is_counted, outcomes: resolved_outcomes }
}

fn empty(from: DateTime<Utc>, until: DateTime<Utc>) -> Filter {
    Filter {
        from,
        until,
        kinds: vec!["call".to_owned()],
        actor: None,
        token: None,
        server: None,
        tool: None,
        effect: None,
        statuses: Vec::new(),
        call: None,
        trace: None,
        text: None,
    }
}

/// What a chip shows; the search bar and the choice of time show what they hold by themselves.
fn chip(asked: &Asked, name: &str, value: &str, read: Result<String, String>) -> Option<Chip> {
    let (value, fault) = match read {
        Ok(_) if matches!(name, "q" | "range" | "after") => return None,
        Ok(shown) => (shown, String::new()),
        Err(fault) => (value.to_owned(), fault),
    };
    let name_shown = match name {
        "q" => "Text",
        "decision" => "Decision",
        "caller" => "Caller",
        "tool" => "Tool",
        "server" => "Server",
        "trace" => "Trace",
        "kind" => "Show",
        "from" => "From",
        "until" => "Until",
        "range" => "Time",
        "after" => "Page",
        other => other,
    };
    Some(Chip { name: name_shown.to_owned(), value, without: asked.without(name).query(), fault })
}

fn decisions(value: &str) -> Result<Vec<Outcome>, String> {
    let read =
        |word: &str| Outcome::find(word.trim()).ok_or("one of allowed, denied, waiting, failed, limited".to_owned());
    value.split(',').map(read).collect()
}

fn server(filter: &mut Filter, names: &Names, value: &str) -> Result<String, String> {
    let server = names.find_server(value).ok_or("there is no such server")?;
    filter.server = Some(server.id);
    Ok(server.key.to_string())
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
fn times(asked: &Asked, now: DateTime<Utc>) -> (DateTime<Utc>, DateTime<Utc>) {
    let ahead = now + TimeDelta::minutes(5);
    let length = asked.get("range").and_then(Span::find).unwrap_or(Span::USUAL).length;
    let (from, until) = (asked.get("from").and_then(time), asked.get("until").and_then(time));
    match (from, until) {
        (None, None) => (now - length, ahead),
        (Some(from), None) => (from, ahead.max(from + TimeDelta::minutes(1))),
        (None, Some(until)) => (until - length, until),
        (Some(from), Some(until)) => (from, until.max(from + TimeDelta::minutes(1))),
    }
}

/// A time as people write it, in UTC: with seconds and zone, to the minute, or a day.
fn time(text: &str) -> Option<DateTime<Utc>> {
    let exact = DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc());
    let minute = || {
        let format = if text.len() > 16 { "%Y-%m-%dT%H:%M:%S" } else { "%Y-%m-%dT%H:%M" };
        Some(chrono::NaiveDateTime::parse_from_str(text, format).ok()?.and_utc())
    };
    let day = || Some(text.parse::<NaiveDate>().ok()?.and_time(chrono::NaiveTime::MIN).and_utc());
    let time = exact.or_else(minute).or_else(day)?;
    // What Postgres takes, with room for what is added.
    (1970..=9000).contains(&chrono::Datelike::year(&time)).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Asked {
        Asked::read(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    fn resolved(query: &str) -> Resolved {
        resolve(&asked(query), &Names::default(), "2026-11-20T14:00:00Z".parse().unwrap())
    }

    #[test]
    fn words_that_are_typed_become_filters() {
        let typed = asked("q=decision:denied+drop+table+tool:wiki__read&range=6h");
        assert!(typed.is_typed);
        assert_eq!(typed.query(), "?q=drop+table&decision=denied&tool=wiki__read&range=6h");
        assert!(!asked(typed.query().trim_start_matches('?')).is_typed);
        let colons = asked("q=a:b+http://x+tool:");
        assert_eq!((colons.is_typed, colons.get("q")), (false, Some("a:b http://x tool:")));
    }

    #[test]
    fn what_is_unknown_stays_and_is_said() {
        let asked = asked("colour=red&decision=purple&call=rec_x");
        assert_eq!(asked.query(), "?decision=purple&colour=red&call=rec_x");
        let resolved = resolve(&asked, &Names::default(), "2026-11-20T14:00:00Z".parse().unwrap());
        let faults: Vec<_> = resolved.chips.iter().map(|chip| (&*chip.name, chip.fault.is_empty())).collect();
        assert_eq!(faults, [("Decision", false), ("colour", false)]);
        assert_eq!(resolved.chips[1].without, "?decision=purple");
        assert_eq!(resolved.filter.statuses, [""; 0]);
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, read) in [
            ("2026-11-19T15:00", "2026-11-19T15:00:00Z"),
            ("2026-11-19T15:00:05", "2026-11-19T15:00:05Z"),
            ("2026-11-19", "2026-11-19T00:00:00Z"),
            ("2026-11-19T15:00:00+02:00", "2026-11-19T13:00:00Z"),
        ] {
            assert_eq!(time(text), Some(read.parse().unwrap()), "{text}");
        }
        for wrong in ["yesterday", "0001-01-01", "9999-12-31", "2026-13-01", "2026-11-19T25:00"] {
            assert_eq!(time(wrong), None, "{wrong}");
        }
        let backwards = resolved("from=2026-11-19&until=2026-11-18").filter;
        assert!(backwards.from < backwards.until);
    }

    #[test]
    fn a_text_is_not_looked_for_in_a_long_time() {
        assert_eq!(resolved("q=x&range=7d").filter.text.as_deref(), Some("x"));
        let long = resolved("q=x&range=30d");
        assert_eq!(long.filter.text, None);
        assert_eq!(long.chips[0].name, "Text");
    }
}
