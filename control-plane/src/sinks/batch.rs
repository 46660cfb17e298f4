//! What is sent at once, and what its receiver made of it.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use domain::{DestinationId, RecordId, TenantId};

/// Items of one tenant for one destination, in the log's order. Never empty.
///
/// The same items are always sent with the same bounds, also after a failure or a restart: whatever a sender derives from
/// a batch alone (a key, a file's name) tells the receiver that it has it already.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    /// Whose records.
    pub(super) tenant: TenantId,
    /// Where to.
    pub(super) destination: DestinationId,
    /// Which edition of the log the places are of.
    pub(super) epoch: u64,
    /// The first item's place in the log.
    pub(super) first: u64,
    /// The last item's place in the log. Places between that the destination's filter leaves out are not missing.
    pub(super) last: u64,
    /// What this is about besides the places: another edition of the settings that shape items, a replay, a test.
    pub(super) edition: Edition,
    /// What is sent.
    pub(super) items: Vec<Item>,
}

/// Why the same places may be sent again and are to be taken again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Edition {
    /// The records themselves; the number is raised whenever format or filter change.
    Live(u64),
    /// A replay that somebody asked for, by its number.
    Replay(u64),
    /// Dead letters that somebody asked to send again, by the number of that wish.
    Letters(u64),
    /// A signed checkpoint over all records before `last`, alone in its batch.
    Checkpoint,
    /// One marked record, which is in no log.
    Test(RecordId),
}

/// One record as it is sent.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// Its place in the log.
    pub(super) seq: u64,
    /// The record; for a checkpoint one that is made from it.
    pub(super) id: RecordId,
    /// When it began.
    pub(super) time: DateTime<Utc>,
    /// The record's kind, `checkpoint` for a signed note.
    pub(super) kind: &'static str,
    /// It in the destination's format: one line, without the line's end.
    pub(super) bytes: Bytes,
}

impl Batch {
    /// A name that only the same items for the same destination have: SHA-256 in hexadecimal, 32 digits of it.
    pub(super) fn key(&self) -> String {
        let Self { tenant, destination, epoch, first, last, edition, .. } = self;
        let edition = match edition {
            Edition::Live(number) => format!("live {number}"),
            Edition::Replay(number) => format!("replay {number}"),
            Edition::Letters(number) => format!("letters {number}"),
            Edition::Checkpoint => "checkpoint".to_owned(),
            Edition::Test(id) => format!("test {id}"),
        };
        let text = format!("{tenant} {destination} {epoch} {first} {last} {edition}");
        let mut key = hex::encode(secrets::sha256(text.as_bytes()));
        key.truncate(32);
        key
    }

    /// The items' size.
    pub(super) fn bytes(&self) -> usize {
        self.items.iter().map(|item| item.bytes.len()).sum()
    }

    /// The items as lines.
    pub(super) fn lines(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.items.iter().map(|item| item.bytes.len() + 1).sum());
        for item in &self.items {
            out.extend_from_slice(&item.bytes);
            out.push(b'\n');
        }
        out
    }
}

/// What the receiver made of a batch. A sender answers within its own deadline, in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has all of it; what it said, for people: `HTTP 200`.
    Accepted(String),
    /// Not now: the same batch is sent again, later, for ever.
    Retry {
        /// How long the receiver asks to wait.
        after: Option<Duration>,
        /// Why not now.
        why: Fault,
    },
    /// More than it takes at once: halved, and what is alone becomes a dead letter.
    TooLarge(Fault),
    /// Something in this batch never passes: halved, and what is alone becomes a dead letter.
    Refused(Fault),
    /// The settings are wrong: nothing is sent until a person has looked.
    Stopped(Fault),
}

/// What went wrong, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// A stable word: `unresolved`, `address_refused`, `unreachable`, `tls`, `timeout`, `cut_off`, `status`, `redirect`,
    /// `settings`, or one of the kind of destination's own (`hec_7`).
    pub(super) code: String,
    /// What happened and what to do about it, without any secret.
    pub(super) said: String,
    /// The HTTP status, where there is one.
    pub(super) status: Option<u16>,
}

impl Fault {
    /// A fault without a status.
    pub(super) fn new(code: impl Into<String>, said: impl Into<String>) -> Self {
        Self { code: code.into(), said: said.into(), status: None }
    }

    /// With the HTTP status.
    pub(super) fn at(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn batch(first: u64, last: u64, edition: Edition) -> Batch {
        let (tenant, destination) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let (tenant, destination) = (TenantId::from_uuid(tenant), DestinationId::from_uuid(destination));
        Batch { tenant, destination, epoch: 1, first, last, edition, items: Vec::new() }
    }

    #[test]
    fn a_batch_has_the_key_of_its_bounds_and_its_edition() {
        let one = batch(10, 20, Edition::Live(1));
        assert_eq!(one.key(), batch(10, 20, Edition::Live(1)).key());
        let others = [
            batch(10, 21, Edition::Live(1)),
            batch(9, 20, Edition::Live(1)),
            batch(10, 20, Edition::Live(2)),
            batch(10, 20, Edition::Replay(1)),
            batch(10, 20, Edition::Checkpoint),
        ];
        for other in others {
            assert_ne!(one.key(), other.key(), "{:?}", other.edition);
        }
    }
}
