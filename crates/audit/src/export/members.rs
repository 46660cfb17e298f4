//! A record's members on their way into another schema: taken out by their path, put in by another.

use std::io;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize as _;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};
use serde_json::{Map, Value};

use super::Placed;
use crate::text::is_hidden;

/// Where bytes stand that are not a JSON object.
pub(super) const UNREADABLE: &str = "unreadable";

/// The members of a record that are left: paths are `actor.id`, `outcome.status` …
#[derive(Debug, Clone)]
pub(super) struct Members(Map<String, Value>);

impl Members {
    /// All members of a record, with those of its personal part in their places.
    pub(super) fn of(placed: &Placed<'_>) -> Self {
        let mut members = serde_json::from_slice(placed.record).unwrap_or_else(|_| {
            let text = String::from_utf8_lossy(placed.record).into_owned();
            Map::from_iter([(UNREADABLE.to_owned(), Value::String(text))])
        });
        if let Some(pii) = placed.pii.and_then(|pii| serde_json::from_slice(pii).ok()) {
            merge(&mut members, pii);
        }
        Self(members)
    }

    /// Whatever stands there.
    pub(super) fn get(&self, path: &str) -> Option<&Value> {
        get(&self.0, path)
    }

    /// A text.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.get(path)?.as_str()
    }

    /// A number that counts.
    pub(super) fn count(&self, path: &str) -> Option<u64> {
        self.get(path)?.as_u64()
    }

    /// A point in time.
    pub(super) fn time(&self, path: &str) -> Option<DateTime<Utc>> {
        self.text(path)?.parse().ok()
    }

    /// Takes a member out, and objects that are empty then.
    pub(super) fn take(&mut self, path: &str) -> Option<Value> {
        take(&mut self.0, path)
    }

    /// Takes a member out if it is a text; it stays otherwise.
    pub(super) fn take_text(&mut self, path: &str) -> Option<String> {
        self.text(path)?;
        match self.take(path) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// Takes a member out if it is a whole number; it stays otherwise.
    pub(super) fn take_integer(&mut self, path: &str) -> Option<i64> {
        let integer = self.get(path)?.as_i64()?;
        self.take(path).map(|_| integer)
    }

    /// What was not taken.
    pub(super) fn rest(self) -> Map<String, Value> {
        self.0
    }
}

fn get<'a>(map: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        None => map.get(path),
        Some((first, rest)) => get(map.get(first)?.as_object()?, rest),
    }
}

fn take(map: &mut Map<String, Value>, path: &str) -> Option<Value> {
    let Some((first, rest)) = path.split_once('.') else { return map.remove(path) };
    let inner = map.get_mut(first)?.as_object_mut()?;
    let taken = take(inner, rest);
    if inner.is_empty() && taken.is_some() {
        map.remove(first);
    }
    taken
}

/// Adds members where none stand: what is hashed is never overwritten by what is not.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (None, value) => drop(into.insert(key, value)),
            (Some(Value::Object(into)), Value::Object(from)) => merge(into, from),
            (Some(_), _) => {}
        }
    }
}

/// An event of another schema in the making.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) from: Members,
    to: Map<String, Value>,
}

impl Draft {
    pub(super) fn new(from: Members) -> Self {
        Self { from, to: Map::new() }
    }

    /// Sets a member of the event.
    pub(super) fn set(&mut self, to: &str, value: impl Into<Value>) {
        put(&mut self.to, to, value.into());
    }

    /// Sets a member if there is a value.
    pub(super) fn set_some(&mut self, to: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(to, value);
        }
    }

    /// Moves a text.
    pub(super) fn text(&mut self, to: &str, from: &str) {
        let text = self.from.take_text(from);
        self.set_some(to, text);
    }

    /// Moves a whole number.
    pub(super) fn integer(&mut self, to: &str, from: &str) {
        let integer = self.from.take_integer(from);
        self.set_some(to, integer);
    }

    /// Moves a whole number, written down.
    pub(super) fn written(&mut self, to: &str, from: &str) {
        let integer = self.from.take_integer(from);
        self.set_some(to, integer.map(|integer| integer.to_string()));
    }

    /// Moves a list of texts.
    pub(super) fn texts(&mut self, to: &str, from: &str) {
        let is_texts = |value: &Value| value.as_array().is_some_and(|list| list.iter().all(Value::is_string));
        if self.from.get(from).is_some_and(is_texts) {
            self.any(to, from);
        }
    }

    /// Moves whatever stands there.
    pub(super) fn any(&mut self, to: &str, from: &str) {
        let value = self.from.take(from);
        self.set_some(to, value);
    }

    /// Whether the event has the member.
    pub(super) fn has(&self, path: &str) -> bool {
        self.made(path).is_some()
    }

    /// A member of the event.
    pub(super) fn made(&self, path: &str) -> Option<&Value> {
        get(&self.to, path)
    }

    /// The event; what was not moved stands under `rest`.
    pub(super) fn finish(mut self, rest: &str, place: Map<String, Value>) -> Value {
        let mut left = self.from.rest();
        merge(&mut left, place);
        put(&mut self.to, rest, Value::Object(left));
        let mut event = Value::Object(self.to);
        // `serde_json` keeps another order where some crate of the same program asked it to.
        event.sort_all_objects();
        event
    }
}

fn put(map: &mut Map<String, Value>, path: &str, value: Value) {
    let Some((first, rest)) = path.split_once('.') else {
        map.insert(path.to_owned(), value);
        return;
    };
    let inner = map.entry(first).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(inner) = inner {
        put(inner, rest, value);
    }
}

/// A point in time as text.
pub(super) fn written(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Appends JSON on one line in which no character is hidden: they are escaped.
pub(super) fn write_json(value: &Value, out: &mut Vec<u8>) {
    let mut serializer = Serializer::with_formatter(out, Visible(CompactFormatter));
    // Writing a value into memory does not fail.
    let _ = value.serialize(&mut serializer);
}

struct Visible(CompactFormatter);

impl Formatter for Visible {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, hidden)) = rest.char_indices().find(|(_, char)| is_hidden(*char)) {
            self.0.write_string_fragment(writer, &rest[..at])?;
            for unit in hidden.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + hidden.len_utf8()..];
        }
        self.0.write_string_fragment(writer, rest)
    }
}
