//! How far an owner's session with a stream is, and what it no longer waits for.

use std::collections::BTreeMap;
use std::time::Duration;

use audit::Source;
use audit::ack::StreamId;
use tokio::time::Instant;

use super::draining::GiveUp;

/// After the database was set back and the stream was read to its end, nodes have so long to send again what they hold.
const SEND_AGAIN: Duration = Duration::from_secs(5);
/// And for so long frames are held that a node sends later, when it had been out of touch: longer than a node needs that was
/// only cut off from Redis for a moment.
const HELD: Duration = Duration::from_secs(15);

/// How far one session is.
pub(super) struct Reading {
    pub(super) fence: i64,
    pub(super) name: String,
    pub(super) cursor: StreamId,
    pub(super) tick: u64,
    pub(super) committed: Instant,
    pub(super) ticked: Instant,
    pub(super) trimmed: Instant,
    pub(super) signed: Instant,
    pub(super) marked: Instant,
    /// The database was set back, and what is missing since is not given up.
    pub(super) is_set_back: bool,
    /// When the stream was first read to its end.
    read_all: Option<Instant>,
    /// The first frame held of each source that may wait for what is gone, and since when it was the first.
    held_since: BTreeMap<Source, (u64, Instant)>,
}

impl Reading {
    /// What it is time to give up, since nobody has it any more.
    pub(super) fn gives_up(&mut self, read_all: bool, now: Instant) -> GiveUp {
        if read_all {
            self.read_all.get_or_insert(now);
        }
        let Some(first) = self.read_all else { return GiveUp::Nothing };
        if self.is_set_back && now - first >= SEND_AGAIN {
            return GiveUp::All;
        }
        let is_due = |since: &Instant| read_all && now - first.max(*since) >= HELD;
        let due = self.held_since.iter().filter(|(_, (_, since))| is_due(since));
        let due: Vec<Source> = due.map(|(source, _)| *source).collect();
        if due.is_empty() { GiveUp::Nothing } else { GiveUp::Of(due) }
    }

    /// Of these sources frames are held now, from these numbers on.
    pub(super) fn note_waiting(&mut self, sources: &[(Source, u64)], now: Instant) {
        let before = std::mem::take(&mut self.held_since);
        let since = |source, first| before.get(source).filter(|held| held.0 == first).map_or(now, |held| held.1);
        self.held_since = sources.iter().map(|(source, first)| (*source, (*first, since(source, *first)))).collect();
    }

    /// At its beginning.
    pub(super) fn new(fence: i64, name: String) -> Self {
        let now = Instant::now();
        Self {
            fence,
            name,
            cursor: StreamId::default(),
            tick: 0,
            committed: now,
            ticked: now,
            trimmed: now,
            signed: now,
            marked: now,
            is_set_back: false,
            read_all: None,
            held_since: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{BootId, NodeId};
    use uuid::Uuid;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_source_is_waited_for_by_itself() {
        let boot = BootId::from_uuid(Uuid::from_u128(1));
        let source = |node| Source { node: NodeId::from_uuid(Uuid::from_u128(node)), boot, shard: 0 };
        let (mut reading, now) = (Reading::new(1, "stream".to_owned()), Instant::now());
        assert_eq!(reading.gives_up(true, now), GiveUp::Nothing);
        reading.note_waiting(&[(source(1), 5)], now);
        let later = now + HELD - SECOND;
        reading.note_waiting(&[(source(1), 5), (source(2), 3)], later);
        assert_eq!(reading.gives_up(true, later), GiveUp::Nothing);
        let due = now + HELD;
        assert_eq!(reading.gives_up(false, due), GiveUp::Nothing, "what is missing may be in the stream");
        assert_eq!(reading.gives_up(true, due), GiveUp::Of(vec![source(1)]));
        // Its hole was filled, and it has another one.
        reading.note_waiting(&[(source(1), 9), (source(2), 3)], due);
        assert_eq!(reading.gives_up(true, later + HELD), GiveUp::Of(vec![source(2)]));
    }

    #[test]
    fn after_a_set_back_all_is_given_up_once_nodes_had_time_to_send_again() {
        let now = Instant::now();
        let mut reading = Reading { is_set_back: true, ..Reading::new(1, "stream".to_owned()) };
        assert_eq!(reading.gives_up(false, now + HELD), GiveUp::Nothing, "the stream was never read to its end");
        assert_eq!(reading.gives_up(true, now + HELD), GiveUp::Nothing);
        assert_eq!(reading.gives_up(false, now + HELD + SEND_AGAIN), GiveUp::All);
    }
}
