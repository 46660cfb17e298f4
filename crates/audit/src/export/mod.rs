//! The log's records in the words of the systems that customers watch: each record becomes one line, without a line
//! break in it, whatever its texts hold. What goes where is on one page, `docs/siem.md`.
//!
//! A mapping takes members out of the record, and what it did not take goes along under a name of our own: so nothing is
//! lost that a mapping does not know, except in CEF, which has no place for it. Pure, and without a clock: a record sent
//! twice has the same bytes twice.

mod cef;
mod ecs;
mod members;
mod native;
mod ocsf;

use chrono::{DateTime, Utc};
use domain::TenantId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::merkle::{self, Hash};
use crate::words::{Effect, Kind, Status};
use members::Members;

/// The most bytes of a CEF line: what receivers of syslog should take at least (RFC 5425, 4.3.1, asks for 8,192).
pub const CEF_MAX: usize = 8192;

/// The version of OCSF that is written.
pub const OCSF_VERSION: &str = "1.8.0";

/// The version of the Elastic Common Schema that is written.
pub const ECS_VERSION: &str = "9.4.0";

/// How a record is written for a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// The record's exact bytes, its place in the log around them.
    Native,
    /// Open Cybersecurity Schema Framework, [`OCSF_VERSION`].
    Ocsf,
    /// Elastic Common Schema, [`ECS_VERSION`].
    Ecs,
    /// The Common Event Format, version 0, at most [`CEF_MAX`] bytes.
    Cef,
}

impl Format {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Native, Self::Ocsf, Self::Ecs, Self::Cef];

    /// The word it is stored and chosen by.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Ocsf => "ocsf",
            Self::Ecs => "ecs",
            Self::Cef => "cef",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn find(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|format| format.as_str() == word)
    }

    /// Its name for people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Native => "Sluice JSON",
            Self::Ocsf => "OCSF 1.8",
            Self::Ecs => "Elastic Common Schema",
            Self::Cef => "CEF",
        }
    }

    /// A record in this format: one line, without its end. Bytes that are no record become a line that holds them.
    #[must_use]
    pub fn encode(self, placed: &Placed<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(placed.record.len() + 512);
        match self {
            Self::Native => native::write(placed, &mut out),
            Self::Ocsf => members::write_json(&ocsf::event(placed, Members::of(placed)), &mut out),
            Self::Ecs => members::write_json(&ecs::event(placed, Members::of(placed)), &mut out),
            Self::Cef => out.extend_from_slice(cef::line(placed, &Members::of(placed)).as_bytes()),
        }
        out
    }

    /// Whether its lines are JSON objects.
    #[must_use]
    pub const fn is_json(self) -> bool {
        !matches!(self, Self::Cef)
    }
}

/// A record and its place in its tenant's log.
#[derive(Debug, Clone, Copy)]
pub struct Placed<'a> {
    /// Whose log.
    pub tenant: TenantId,
    /// The log's epoch and the index of the leaf; `None` for a record that is in no log: a test.
    pub place: Option<(u64, u64)>,
    /// When it was given its place.
    pub received_at: DateTime<Utc>,
    /// Its exact bytes.
    pub record: &'a [u8],
    /// The personal part, where there is one and it is to go along.
    pub pii: Option<&'a [u8]>,
}

impl Placed<'_> {
    /// The index of the leaf.
    fn seq(&self) -> Option<u64> {
        self.place.map(|(_, seq)| seq)
    }

    /// The hash of the leaf, hexadecimal.
    fn leaf_hash(&self) -> String {
        hex(&merkle::leaf_hash(self.record))
    }

    /// What every format says of it alike.
    #[must_use]
    pub fn gist(&self) -> Gist {
        Gist::of(self, &Members::of(self))
    }
}

/// How much a record should trouble whoever watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It is as it should be.
    Informational,
    /// Something went wrong, as things do.
    Low,
    /// Something was refused.
    Medium,
    /// Somebody should look.
    High,
}

/// What every format says of a record alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gist {
    /// The record's id, by which copies are told; empty when the bytes hold none.
    pub id: String,
    /// What it is about; `None` when the word is newer than this program.
    pub kind: Option<Kind>,
    /// When it began; when that is not known, when it was given its place.
    pub time: DateTime<Utc>,
    /// How much it should trouble.
    pub severity: Severity,
    /// What was done: `tools/call`, `server.add`, `gap` …
    pub action: String,
}

impl Gist {
    fn of(placed: &Placed<'_>, members: &Members) -> Self {
        let kind = members.text("kind").and_then(Kind::find);
        Self {
            id: members.text("id").unwrap_or_default().to_owned(),
            kind,
            time: members.time("time").unwrap_or(placed.received_at),
            severity: severity(kind, members),
            action: action(members).to_owned(),
        }
    }

    /// The action, what it was done to and how it ended: one sentence for people.
    fn message(&self, members: &Members) -> String {
        let target = ["tool.name", "change.target.name", "change.target.id", "server.name", "server.host"];
        let target = target.iter().find_map(|path| members.text(path));
        let end = ["outcome.status", "decision.effect", "source.reason"].iter().find_map(|path| members.text(path));
        let mut message = self.action.clone();
        for (before, part) in [(" ", target), (": ", end)] {
            if let Some(part) = part {
                message.push_str(before);
                message.push_str(part);
            }
        }
        message
    }
}

fn action(members: &Members) -> &str {
    let refused = members.text("kind") == Some(Kind::Auth.as_str()) && members.text("decision.effect").is_some();
    let named = ["mcp.method", "change.action"].iter().find_map(|path| members.text(path));
    named.or(refused.then_some("auth.refuse")).or_else(|| members.text("kind")).unwrap_or("unknown")
}

fn severity(kind: Option<Kind>, members: &Members) -> Severity {
    let denied = members.text("decision.effect") == Some(Effect::Deny.as_str());
    let status = members.text("outcome.status").and_then(Status::find);
    if members.get(members::UNREADABLE).is_some() {
        return Severity::High;
    }
    // Who wants not to be seen begins with what watches.
    match members.text("change.action") {
        Some("destination.stop") => return Severity::High,
        Some("destination.pause" | "destination.change" | "destination.remove") => return Severity::Medium,
        _ => {}
    }
    match (kind, status) {
        (Some(Kind::Alert | Kind::Gap | Kind::Epoch), _) | (_, Some(Status::GatewayError)) => Severity::High,
        (_, Some(Status::Denied | Status::Unknown)) => Severity::Medium,
        _ if denied => Severity::Medium,
        (_, None | Some(Status::Success | Status::Cancelled | Status::ApprovalPending)) => Severity::Informational,
        _ => Severity::Low,
    }
}

/// Whether a record tells of something that went well; `None` when it does not say.
fn success(members: &Members) -> Option<bool> {
    let kind = members.text("kind").and_then(Kind::find);
    match members.text("outcome.status").and_then(Status::find) {
        Some(Status::Success) => Some(true),
        Some(Status::Unknown | Status::ApprovalPending) => None,
        Some(_) => Some(false),
        // A change is recorded with itself: there is none that did not happen.
        None if matches!(kind, Some(Kind::Admin | Kind::Auth)) => Some(true),
        None => None,
    }
}

/// The member of the log's own that stands beside a record's: none of a record has its name.
fn place(placed: &Placed<'_>) -> Map<String, Value> {
    let mut log = Map::new();
    if let Some((epoch, _)) = placed.place {
        log.insert("epoch".to_owned(), epoch.into());
    }
    log.insert("leaf_hash".to_owned(), placed.leaf_hash().into());
    Map::from_iter([("log".to_owned(), Value::Object(log))])
}

fn hex(hash: &Hash) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = hash.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}
