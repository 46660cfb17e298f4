//! The lines of an audit bundle: a range of a tenant's log with what proves it against a signed checkpoint. The format is
//! on one page, `docs/audit-bundle.md`.
//!
//! A bundle walks over the whole tree from leaf 0 to the size of its last checkpoint: each leaf is there as a record, or
//! is covered by the root of a complete subtree. So the same walk proves a whole log, a range and a filtered choice.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::TenantId;
use serde::Deserialize;

use crate::merkle::{Cover, Hash};

/// The name of the format, in the first line.
pub const FORMAT: &str = "sluice.audit-bundle/1";
/// The most bytes a line has: a record or a note, and what stands around it.
pub const LINE_MAX: usize = 128 * 1024;

/// What stands around the number, the hash and the tail of a record's line …
const RECORD: [&[u8]; 3] = [b"{\"seq\":", b",\"leaf\":", b",\"record\":"];
/// … and of a personal part's.
const PERSONAL: [&[u8]; 3] = [b"{\"of\":", b",\"key\":", b",\"pii\":"];
/// Letters of a hash in base64.
const HASH_TEXT: usize = 44;

/// One line, as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line<'a> {
    /// The first: whose log this is.
    Header {
        /// The log's name, as in its checkpoints.
        origin: String,
        /// The tenant whose records are in it.
        tenant: TenantId,
    },
    /// A record in its place.
    Record {
        /// Its place, the index of its leaf.
        seq: u64,
        /// The hash that is said to be its leaf's.
        leaf: Hash,
        /// Its exact bytes.
        record: &'a [u8],
    },
    /// The personal part of the record before it.
    Personal {
        /// Whose.
        seq: u64,
        /// The key of the commitment.
        key: [u8; 32],
        /// Its exact bytes.
        pii: &'a [u8],
    },
    /// Leaves that are left out, from one up to, not including, another.
    Covered {
        /// The first.
        first: u64,
        /// The one after the last.
        end: u64,
        /// The roots of the subtrees that [`Cover`] lists.
        hashes: Vec<Hash>,
    },
    /// A checkpoint over all leaves before it.
    Checkpoint(String),
    /// The log's next epoch begins here, with leaf 0.
    Epoch {
        /// The log's name in that epoch.
        origin: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderWire {
    bundle: String,
    origin: String,
    tenant: TenantId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CoveredWire {
    covered: (u64, u64),
    hashes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EpochWire {
    epoch: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckpointWire {
    checkpoint: String,
}

impl<'a> Line<'a> {
    /// Reads a line without its end; `None` when it is none of these.
    #[must_use]
    pub fn read(line: &'a [u8]) -> Option<Self> {
        if let Some((seq, leaf, record)) = with_tail(line, RECORD) {
            return Some(Self::Record { seq, leaf, record });
        }
        if let Some((seq, key, pii)) = with_tail(line, PERSONAL) {
            return Some(Self::Personal { seq, key, pii });
        }
        if line.starts_with(b"{\"covered\":") {
            let CoveredWire { covered: (first, end), hashes } = serde_json::from_slice(line).ok()?;
            let hashes: Vec<Hash> = hashes.iter().map(|text| hash(text)).collect::<Option<_>>()?;
            return (Cover::of(first, end).count() == hashes.len() && first < end).then_some(Self::Covered {
                first,
                end,
                hashes,
            });
        }
        if line.starts_with(b"{\"checkpoint\":") {
            return serde_json::from_slice(line).ok().map(|CheckpointWire { checkpoint }| Self::Checkpoint(checkpoint));
        }
        if line.starts_with(b"{\"epoch\":") {
            return serde_json::from_slice(line).ok().map(|EpochWire { epoch }| Self::Epoch { origin: epoch });
        }
        let HeaderWire { bundle, origin, tenant } = serde_json::from_slice(line).ok()?;
        (bundle == FORMAT).then_some(Self::Header { origin, tenant })
    }

    /// Writes the line with its end.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Header { origin, tenant } => {
                out.extend_from_slice(b"{\"bundle\":");
                text(out, FORMAT);
                out.extend_from_slice(b",\"origin\":");
                text(out, origin);
                out.extend_from_slice(b",\"tenant\":");
                text(out, &tenant.to_string());
            }
            Self::Record { seq, leaf, record } => tailed(out, RECORD, (*seq, leaf, record)),
            Self::Personal { seq, key, pii } => tailed(out, PERSONAL, (*seq, key, pii)),
            Self::Covered { first, end, hashes } => {
                out.extend_from_slice(format!("{{\"covered\":[{first},{end}],\"hashes\":[").as_bytes());
                for (index, hash) in hashes.iter().enumerate() {
                    out.extend_from_slice(if index > 0 { b"," } else { b"" });
                    text(out, &STANDARD.encode(hash));
                }
                out.push(b']');
            }
            Self::Checkpoint(note) => {
                out.extend_from_slice(b"{\"checkpoint\":");
                text(out, note);
            }
            Self::Epoch { origin } => {
                out.extend_from_slice(b"{\"epoch\":");
                text(out, origin);
            }
        }
        out.extend_from_slice(b"}\n");
    }
}

/// Writes what [`with_tail`] reads, but for the brace at its end.
fn tailed(out: &mut Vec<u8>, parts: [&[u8]; 3], (number, hash, tail): (u64, &Hash, &[u8])) {
    let [begin, middle, end] = parts;
    out.extend_from_slice(begin);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    out.extend_from_slice(middle);
    text(out, &STANDARD.encode(hash));
    out.extend_from_slice(end);
    out.extend_from_slice(tail);
}

fn text(out: &mut Vec<u8>, text: &str) {
    crate::json::string(out, text);
}

fn hash(text: &str) -> Option<Hash> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// Reads `<begin><number><middle>"<base64 of 32 bytes>"<end><tail>}`: such a line has one form, so that the tail's bytes
/// are found without reading them.
fn with_tail<'a>(line: &'a [u8], parts: [&[u8]; 3]) -> Option<(u64, Hash, &'a [u8])> {
    let [begin, middle, end] = parts;
    let rest = line.strip_prefix(begin)?;
    let (number, rest) = rest.split_at(rest.iter().position(|byte| !byte.is_ascii_digit())?);
    let number = std::str::from_utf8(number).ok().filter(|digits| *digits == "0" || !digits.starts_with('0'))?;
    let (text, rest) = rest.strip_prefix(middle)?.strip_prefix(b"\"")?.split_first_chunk::<HASH_TEXT>()?;
    let mut hash = [0; 32];
    // A buffer of exactly 32 bytes takes no text of another length.
    let written = STANDARD.decode_slice(text, &mut hash).ok()?;
    let tail = rest.strip_prefix(b"\"")?.strip_prefix(end)?.strip_suffix(b"}")?;
    (written == 32).then_some((number.parse().ok()?, hash, tail))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn written(line: &Line<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        line.write(&mut out);
        assert_eq!(out.pop(), Some(b'\n'));
        out
    }

    fn tenant() -> TenantId {
        TenantId::from_uuid(Uuid::from_u128(7))
    }

    #[test]
    fn lines_read_as_they_were_written() {
        let lines = [
            Line::Header { origin: "audit.x/t/\"7\"/1".to_owned(), tenant: tenant() },
            Line::Record { seq: 0, leaf: [1; 32], record: br#"{"a":"\",\"record\":"}"# },
            Line::Record { seq: u64::MAX, leaf: [255; 32], record: b"" },
            Line::Personal { seq: 12, key: [2; 32], pii: br#"{"actor":{"name":"}"}}"# },
            Line::Covered { first: 3, end: 9, hashes: vec![[3; 32]; 3] },
            Line::Checkpoint("o\n1\nroot\n\n\u{2014} s x\n".to_owned()),
            Line::Epoch { origin: "audit.x/t/7/2".to_owned() },
        ];
        for line in lines {
            assert_eq!(Line::read(&written(&line)), Some(line));
        }
    }

    #[test]
    fn the_form_of_each_line_is_the_one_that_is_written_down() {
        let leaf = STANDARD.encode([0; 32]);
        let record = written(&Line::Record { seq: 5, leaf: [0; 32], record: b"{}" });
        assert_eq!(String::from_utf8(record).unwrap(), format!(r#"{{"seq":5,"leaf":"{leaf}","record":{{}}}}"#));
        let covered = written(&Line::Covered { first: 0, end: 1, hashes: vec![[0; 32]] });
        assert_eq!(String::from_utf8(covered).unwrap(), format!(r#"{{"covered":[0,1],"hashes":["{leaf}"]}}"#));
        let header = written(&Line::Header { origin: "o".to_owned(), tenant: tenant() });
        insta::assert_snapshot!(String::from_utf8(header).unwrap(), @r#"{"bundle":"sluice.audit-bundle/1","origin":"o","tenant":"ten_00000000000000000000000007"}"#);
    }

    #[test]
    fn what_is_nearly_a_line_is_none() {
        let leaf = STANDARD.encode([0; 32]);
        let wrong = [
            format!(r#"{{"seq":05,"leaf":"{leaf}","record":{{}}}}"#),
            format!(r#"{{"seq":,"leaf":"{leaf}","record":{{}}}}"#),
            format!(r#"{{"seq":18446744073709551616,"leaf":"{leaf}","record":{{}}}}"#),
            format!(r#"{{"seq":5, "leaf":"{leaf}","record":{{}}}}"#),
            format!(r#"{{"seq":5,"leaf":"{}","record":{{}}}}"#, &leaf[1..]),
            format!(r#"{{"covered":[0,3],"hashes":["{leaf}"]}}"#),
            r#"{"covered":[1,1],"hashes":[]}"#.to_owned(),
            r#"{"bundle":"sluice.audit-bundle/2","origin":"o","tenant":"ten_00000000000000000000000007"}"#.to_owned(),
            r#"{"checkpoint":7}"#.to_owned(),
            String::new(),
        ];
        for line in wrong {
            assert_eq!(Line::read(line.as_bytes()), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(line: Vec<u8>, begin in 0_usize..5) {
            let begins: [&[u8]; 5] = [b"", b"{\"seq\":1,\"leaf\":\"", b"{\"of\":1", b"{\"covered\":[0,", b"{\"checkpoint\":"];
            let _ = Line::read(&[begins[begin], &line].concat());
        }
    }
}
