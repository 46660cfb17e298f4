//! What the checks need to know of a record, read from its bytes.

use std::borrow::Cow;

use domain::{BootId, NodeId, TenantId};
use serde::Deserialize;

use super::times::is_time;

/// A record as far as the checks read it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Read<'a> {
    #[serde(borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(rename = "final")]
    pub(super) is_final: bool,
    #[serde(borrow)]
    pub(super) time: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) time_forwarded: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) time_end: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) pii_commit: Option<Cow<'a, str>>,
    #[serde(default)]
    tenant: Tenant,
    #[serde(default)]
    pub(super) gw: Gateway,
    #[serde(default)]
    pub(super) source: Source,
    #[serde(default)]
    pub(super) amends: Amends,
    #[serde(default)]
    pub(super) epoch: Epoch,
    #[serde(default, borrow)]
    pub(super) outcome: Outcome<'a>,
}

#[derive(Debug, Default, Deserialize)]
struct Tenant {
    id: Option<TenantId>,
}

/// The run of a node that formed the record, and the number it gave it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Gateway {
    node: Option<NodeId>,
    boot: Option<BootId>,
    n: Option<u64>,
}

/// The run that a note speaks of.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Source {
    node: Option<NodeId>,
    boot: Option<BootId>,
    pub(super) clean: Option<bool>,
    pub(super) last_n: Option<u64>,
    pub(super) complete_n: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Amends {
    pub(super) seq: Option<u64>,
}

/// What an epoch goes on from.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Epoch {
    #[serde(default)]
    pub(super) recovered: Tree,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Tree {
    pub(super) epoch: Option<u64>,
    pub(super) size: Option<u64>,
    pub(super) root: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Outcome<'a> {
    #[serde(borrow)]
    pub(super) status: Option<Cow<'a, str>>,
}

/// One run of one node.
pub(super) type Run = (NodeId, BootId);

impl<'a> Read<'a> {
    /// Reads a record; `None` when it is none. Records are written in one form (RFC 8785), so that mostly what is not looked
    /// at can be passed over; another form is read in full.
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        let read = Self::quickly(bytes).or_else(|| serde_json::from_slice(bytes).ok());
        read.filter(|read: &Self| {
            [&read.time, &read.time_forwarded, &read.time_end].into_iter().flatten().all(|time| is_time(time))
        })
    }

    fn quickly(bytes: &'a [u8]) -> Option<Self> {
        let (mut read, mut kind, mut is_final) = (Self::default(), None, None);
        let time = |value| text(value).map(|text| Some(Cow::Borrowed(text)));
        let mut members = Members::of(bytes)?;
        while let Some((name, value)) = members.next()? {
            match name {
                b"kind" => kind = Some(text(value)?),
                b"final" => is_final = Some(flag(value)?),
                b"time" => read.time = time(value)?,
                b"time_end" => read.time_end = time(value)?,
                b"time_forwarded" => read.time_forwarded = time(value)?,
                b"pii_commit" => read.pii_commit = time(value)?,
                b"tenant" => read.tenant = Tenant { id: Some(text(member(value, b"id")??)?.parse().ok()?) },
                b"gw" => read.gw = Gateway::quickly(value)?,
                b"outcome" => read.outcome.status = member(value, b"status")?.map_or(Some(None), time)?,
                b"source" => read.source = serde_json::from_slice(value).ok()?,
                b"amends" => read.amends = serde_json::from_slice(value).ok()?,
                b"epoch" => read.epoch = serde_json::from_slice(value).ok()?,
                _ => {}
            }
        }
        (read.kind, read.is_final) = (Cow::Borrowed(kind?), is_final?);
        Some(read)
    }

    /// Whose log it is in.
    pub(super) const fn tenant(&self) -> Option<TenantId> {
        self.tenant.id
    }

    /// The run that formed it, with its number.
    pub(super) fn numbered(&self) -> Option<(Run, u64)> {
        Some(((self.gw.node?, self.gw.boot?), self.gw.n?))
    }

    /// The run that it speaks of.
    pub(super) fn told_of(&self) -> Option<Run> {
        Some((self.source.node?, self.source.boot?))
    }
}

impl Gateway {
    fn quickly(value: &[u8]) -> Option<Self> {
        let (mut gateway, mut members) = (Self::default(), Members::of(value)?);
        while let Some((name, value)) = members.next()? {
            match name {
                b"node" => gateway.node = Some(text(value)?.parse().ok()?),
                b"boot" => gateway.boot = Some(text(value)?.parse().ok()?),
                b"n" => gateway.n = Some(number(value)?),
                _ => {}
            }
        }
        Some(gateway)
    }
}

/// A member of an object, if it has it.
#[expect(clippy::option_option, reason = "no object, or one without the member")]
fn member<'a>(object: &'a [u8], wanted: &[u8]) -> Option<Option<&'a [u8]>> {
    let mut members = Members::of(object)?;
    while let Some((name, value)) = members.next()? {
        if name == wanted {
            return Some(Some(value));
        }
    }
    Some(None)
}

/// A text without escapes.
fn text(value: &[u8]) -> Option<&str> {
    let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let is_plain = inner.iter().all(|byte| *byte != b'\\' && *byte >= b' ');
    is_plain.then(|| std::str::from_utf8(inner).ok()).flatten()
}

/// A number as JSON has it, without a sign, a fraction or zeros before it.
fn number(value: &[u8]) -> Option<u64> {
    let is_plain = value.iter().all(u8::is_ascii_digit) && (value.len() == 1 || value.first() != Some(&b'0'));
    is_plain.then(|| std::str::from_utf8(value).ok()?.parse().ok()).flatten()
}

fn flag(value: &[u8]) -> Option<bool> {
    match value {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// The members of an object in the form of RFC 8785: without white space, in order, and here with plain names only.
struct Members<'a> {
    rest: &'a [u8],
    last: &'a [u8],
}

impl<'a> Members<'a> {
    fn of(object: &'a [u8]) -> Option<Self> {
        let rest = object.strip_prefix(b"{")?.strip_suffix(b"}")?;
        Some(Self { rest, last: b"" })
    }

    /// The next one; `None` where it is in another form.
    #[expect(clippy::option_option, reason = "another form, or the end")]
    fn next(&mut self) -> Option<Option<(&'a [u8], &'a [u8])>> {
        if self.rest.is_empty() {
            return Some(None);
        }
        let rest = self.rest.strip_prefix(b"\"")?;
        let (name, rest) = rest.split_at(memchr::memchr2(b'"', b'\\', rest)?);
        let value = rest.strip_prefix(b"\":")?;
        let (value, rest) = value.split_at(end_of_value(value)?);
        if name <= self.last && !self.last.is_empty() {
            return None;
        }
        self.rest = match rest.split_first() {
            None => rest,
            Some((b',', rest)) if !rest.is_empty() => rest,
            Some(_) => return None,
        };
        self.last = name;
        Some(Some((name, value)))
    }
}

/// How many bytes a value has that begins here.
fn end_of_value(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        match bytes.get(at) {
            Some(b'"') => at = end_of_text(bytes, at + 1)?,
            Some(b'{' | b'[') => (at, depth) = (at + 1, depth + 1),
            Some(b'}' | b']') => (at, depth) = (at + 1, depth.checked_sub(1)?),
            Some(b' ' | b'\t' | b'\r' | b'\n') => return None,
            Some(b',') if depth == 0 => return (at > 0).then_some(at),
            Some(_) => at += 1,
            None => return (depth == 0 && at > 0).then_some(at),
        }
    }
}

/// Where a text ends whose inside begins here.
fn end_of_text(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What both ways of reading make of a record.
    fn both(bytes: &[u8]) -> (Option<String>, Option<String>) {
        let shown = |read: Option<Read<'_>>| read.map(|read| format!("{read:?}"));
        (shown(Read::quickly(bytes)), shown(serde_json::from_slice(bytes).ok()))
    }

    #[test]
    fn a_record_reads_quickly_as_it_does_in_full() {
        let record = r#"{"actor":{"id":"a\"}b"},"args":{"keys":["x","}"]},"final":true,"kind":"call","outcome":{"bytes_in":1,"status":"unknown"},"pii_commit":"hs256:x","source":{"clean":false,"last_n":5},"tenant":{"id":"ten_00000000000000000000000007"},"time":"2026-01-01T00:00:00.000000Z"}"#;
        let (quick, full) = both(record.as_bytes());
        assert!(quick.is_some());
        assert_eq!(quick, full);
    }

    #[test]
    fn another_form_is_read_in_full() {
        let other = [
            r#"{"kind": "call","final":true}"#,
            r#"{"kind":"call","final":true}"#,
            r#"{"final":true,"kind":"c\u0061ll"}"#,
            r#"{"final":true,"kind":"call",}"#,
            r#"{"final":true,"final":true,"kind":"call"}"#,
            r#"{"final":true}"#,
            "[]",
            "",
        ];
        for bytes in other {
            assert!(Read::quickly(bytes.as_bytes()).is_none(), "{bytes}");
        }
        assert_eq!(Read::of(br#"{"kind":"c\u0061ll","final":true}"#).unwrap().kind, "call");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>, text: String) {
            let _ = Read::of(&bytes);
            let _ = Read::quickly(format!("{{\"a\":{text}}}").as_bytes());
            let _ = Read::quickly(format!("{{\"kind\":\"{text}\",\"time\":{text}}}").as_bytes());
        }
    }
}
