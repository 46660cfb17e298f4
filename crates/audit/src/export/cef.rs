//! The Common Event Format, version 0: one line of at most [`CEF_MAX`] bytes, made for receivers that know nothing
//! else. It has no place for what it has no key for; each text is cut at its key's length, and what was cut ends in `…`.

use std::fmt::Write as _;
use std::net::IpAddr;

use serde_json::Value;

use super::members::Members;
use super::{CEF_MAX, Gist, Placed, Severity, success};
use crate::text::is_hidden;
use crate::words::Kind;

/// Kept for the note that something was left out.
const NOTE: &str = " flexString2Label=leftOut flexString2=yes";

/// Letters of the short keys of the format, of its long ones, and of the header's parts.
const SHORT: usize = 63;
const LONG: usize = 512;

/// The line.
pub(super) fn line(placed: &Placed<'_>, from: &Members) -> String {
    let gist = Gist::of(placed, from);
    let version = from.text("gw.version").unwrap_or("-");
    let end = ["outcome.status", "decision.effect"].iter().find_map(|path| from.text(path));
    let mut line = String::with_capacity(1024);
    line.push_str("CEF:0|Sluice|Sluice MCP Gateway|");
    header(&mut line, version);
    header(&mut line, &signature(&gist, from));
    header(&mut line, &end.map_or_else(|| gist.action.clone(), |end| format!("{} {end}", gist.action)));
    line.push_str(severity(gist.severity));
    line.push('|');
    let mut extension = Extension { line, left_out: false, first: true };
    place(&mut extension, placed, &gist, from);
    who(&mut extension, from);
    what(&mut extension, &gist, from);
    rest(&mut extension, from, &gist);
    extension.finish()
}

const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Informational => "1",
        Severity::Low => "3",
        Severity::Medium => "6",
        Severity::High => "8",
    }
}

/// `mcp.tools_call.deny`, `admin.server.add`, `gap`: a word without anything to escape.
fn signature(gist: &Gist, from: &Members) -> String {
    let kind = gist.kind.map_or("unknown", Kind::as_str);
    let mut word = match from.text("mcp.method") {
        Some(method) => format!("mcp.{method}"),
        None if gist.action.starts_with(kind) => gist.action.clone(),
        None => format!("{kind}.{}", gist.action),
    };
    if let Some(effect) = from.text("decision.effect") {
        word.push('.');
        word.push_str(effect);
    }
    let plain = |char: char| if char.is_ascii_alphanumeric() || char == '.' { char } else { '_' };
    word.chars().take(SHORT).map(plain).collect()
}

fn place(extension: &mut Extension, placed: &Placed<'_>, gist: &Gist, from: &Members) {
    extension.short("externalId", Some(&gist.id));
    extension.number("rt", Some(gist.time.timestamp_millis()));
    extension.labelled("cn2", "epoch", placed.place.map(|(epoch, _)| epoch.to_string()).as_deref());
    extension.labelled("cn3", "seq", placed.seq().map(|seq| seq.to_string()).as_deref());
    extension.labelled("cs6", "tenant", Some(&placed.tenant.to_string()));
    extension.short("cat", from.text("kind"));
    extension.short("act", from.text("decision.effect"));
    let outcome = success(from).map(|success| if success { "success" } else { "failure" });
    extension.short("outcome", outcome);
    extension.long("reason", from.text("decision.code").or_else(|| from.text("outcome.reason")));
    extension.long("fileHash", Some(&placed.leaf_hash()));
}

fn who(extension: &mut Extension, from: &Members) {
    extension.long("suid", from.text("actor.id"));
    extension.long("suser", from.text("actor.email").or_else(|| from.text("actor.name")));
    extension.short("spriv", from.text("actor.kind"));
    match from.text("client.ip").and_then(|ip| ip.parse::<IpAddr>().ok()) {
        Some(IpAddr::V4(ip)) => extension.short("src", Some(&ip.to_string())),
        Some(IpAddr::V6(ip)) => extension.labelled("c6a2", "Source IPv6 Address", Some(&ip.to_string())),
        None => {}
    }
    extension.number("spt", from.get("client.port").and_then(Value::as_i64));
    let client = ["client.name", "client.version"].iter().filter_map(|path| from.text(path));
    let client = client.collect::<Vec<_>>().join(" ");
    extension.long("requestClientApplication", Some(from.text("client.user_agent").unwrap_or(&client)));
    extension.labelled("cs5", "token", from.text("actor.token_id"));
}

fn what(extension: &mut Extension, gist: &Gist, from: &Members) {
    match (from.text("tool.name"), gist.kind) {
        (Some(tool), _) => extension.labelled("cs1", "tool", Some(tool)),
        (None, Some(Kind::Admin | Kind::Auth)) => {
            let target = ["kind", "id", "name"].map(|key| format!("change.target.{key}"));
            let target = target.iter().filter_map(|path| from.text(path)).collect::<Vec<_>>().join(" ");
            extension.labelled("cs1", "target", Some(&target));
        }
        (None, _) => extension.labelled("cs1", "source", from.text("source.node")),
    }
    let policies = from.get("decision.policies").and_then(Value::as_array);
    let names = policies.into_iter().flatten().filter_map(|policy| {
        policy.get("name").or_else(|| policy.get("id")).and_then(Value::as_str).map(str::to_owned)
    });
    match from.get("source") {
        Some(source) => extension.labelled("cs2", "missing", Some(&spans(source))),
        None => extension.labelled("cs2", "policies", Some(&names.collect::<Vec<_>>().join(","))),
    }
    extension.labelled("cs3", "argsHmac", from.text("args.hmac"));
    extension.labelled("cs4", "call", from.text("call_id"));
    extension.long("destinationServiceName", from.text("server.name"));
    extension.long("dhost", from.text("server.host"));
    extension.number("cnt", from.get("count").and_then(Value::as_i64));
}

/// The frames that a note says are missing: `3-7,9-9`.
fn spans(source: &Value) -> String {
    let missing = source.get("missing").and_then(Value::as_array);
    let span = |span: &Value| Some(format!("{}-{}", span.get("first")?.as_u64()?, span.get("last")?.as_u64()?));
    missing.into_iter().flatten().filter_map(span).collect::<Vec<_>>().join(",")
}

fn rest(extension: &mut Extension, from: &Members, gist: &Gist) {
    extension.number("start", Some(gist.time.timestamp_millis()));
    extension.number("end", from.time("time_end").map(|end| end.timestamp_millis()));
    let total = from.get("dur.total").and_then(Value::as_i64).map(|micros| micros.to_string());
    extension.labelled("cn1", "durationMicros", total.as_deref());
    extension.number("in", from.get("outcome.bytes_in").and_then(Value::as_i64));
    extension.number("out", from.get("outcome.bytes_out").and_then(Value::as_i64));
    extension.labelled("flexString1", "trace", from.text("trace.id"));
    extension.long("deviceExternalId", from.text("gw.node"));
    extension.long("msg", Some(&gist.message(from)));
}

/// One part of the header and the bar after it.
fn header(line: &mut String, text: &str) {
    for char in cut(text, SHORT).chars() {
        match char {
            '\\' | '|' => line.extend(['\\', char]),
            '\n' | '\t' => line.push(' '),
            _ => visible(line, char),
        }
    }
    line.push('|');
}

/// Keys and values: as long as there is room, the most telling first.
struct Extension {
    line: String,
    left_out: bool,
    first: bool,
}

impl Extension {
    fn short(&mut self, key: &str, text: Option<&str>) {
        self.put(key, &cut(text.unwrap_or_default(), SHORT));
    }

    fn long(&mut self, key: &str, text: Option<&str>) {
        self.put(key, &cut(text.unwrap_or_default(), LONG));
    }

    fn number(&mut self, key: &str, number: Option<i64>) {
        self.put(key, &number.map(|number| number.to_string()).unwrap_or_default());
    }

    /// One of the keys that mean what their label says.
    fn labelled(&mut self, key: &str, label: &str, text: Option<&str>) {
        if text.is_some_and(|text| !text.is_empty()) {
            self.put(&format!("{key}Label"), label);
            self.long(key, text);
        }
    }

    fn put(&mut self, key: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        let length = self.line.len();
        if !self.first {
            self.line.push(' ');
        }
        self.line.push_str(key);
        self.line.push('=');
        for char in text.chars() {
            match char {
                '\\' | '=' => self.line.extend(['\\', char]),
                '\n' => self.line.push_str("\\n"),
                '\r' => self.line.push_str("\\r"),
                _ => visible(&mut self.line, char),
            }
        }
        if self.line.len() > CEF_MAX - NOTE.len() {
            self.line.truncate(length);
            self.left_out = true;
        } else {
            self.first = false;
        }
    }

    fn finish(mut self) -> String {
        if self.left_out {
            self.line.push_str(NOTE);
        }
        self.line
    }
}

/// The beginning of a text of at most so many letters; one that was longer ends in `…`.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most - 1).chain(['…']).collect(),
    }
}

/// A character as it is, or by its name where it would not be seen.
fn visible(line: &mut String, char: char) {
    if is_hidden(char) {
        // Writing into memory does not fail.
        let _ = write!(line, "⟨U+{:04X}⟩", u32::from(char));
    } else {
        line.push(char);
    }
}
