//! Frames that are held are taken in a part at a time: however many wait behind one, or behind a hole that is given up, no
//! transaction takes longer for it than for a batch of the stream.

use std::collections::BTreeMap;

use audit::Source;
use audit::protocol::{self, Arrived, GapReason, HELD_MAX};
use store::audit::held::{self, Waiting};
use store::audit::source;
use store::{Error, IngestTx};

use super::loaded::lets_through;
use super::stream::ENTRIES_MAX;

/// How many held frames one transaction takes in at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part(pub(super) usize);

impl Default for Part {
    fn default() -> Self {
        Self(ENTRIES_MAX)
    }
}

/// Which sources' holes are given up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum GiveUp {
    /// None's.
    #[default]
    Nothing,
    /// Those of these.
    Of(Vec<Source>),
    /// Those of all that have any.
    All,
}

/// A source whose first held frames are to be taken in before anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Drain {
    pub(super) source: Source,
    /// The first frame that is held of it.
    pub(super) first: u64,
    /// Why its holes are given up; none where the frames follow what took effect.
    pub(super) reason: Option<GapReason>,
}

/// What is to be taken in before a batch: what follows what took effect, what is given up, what is more than may wait, and what
/// is held of sources that end with this batch, unless it is little.
pub(super) async fn before(
    tx: &mut IngestTx,
    shard: u16,
    (batch, lapsing): (&[Arrived], &[Source]),
    (give_up, goes_on, part): (&GiveUp, bool, Part),
) -> Result<Option<Drain>, Error> {
    if goes_on && let Some((source, first)) = held::ready(tx, shard).await? {
        return Ok(Some(Drain { source, first, reason: None }));
    }
    let stuck = match give_up {
        GiveUp::Nothing => None,
        GiveUp::Of(sources) => {
            held::waiting(tx, sources).await?.first().map(|(source, waiting)| (*source, waiting.first))
        }
        GiveUp::All => held::sources(tx, shard, 1).await?.first().copied(),
    };
    if let Some((source, first)) = stuck {
        return Ok(Some(Drain { source, first, reason: Some(GapReason::SetBack) }));
    }
    let named: Vec<Source> = protocol::sources_of(batch).into_iter().chain(lapsing.iter().copied()).collect();
    let waiting = held::waiting(tx, &named).await?;
    if waiting.iter().all(|(_, waiting)| waiting.count <= part.0 as u64) {
        return Ok(None);
    }
    let marks: BTreeMap<Source, u64> =
        source::lock(tx, &named).await?.into_iter().map(|row| (row.source, row.wm)).collect();
    let too_many = waiting.iter().find_map(|(source, waiting)| {
        let wm = marks.get(source).copied().unwrap_or_default();
        let reason = too_much((*source, wm), *waiting, (batch, lapsing), part)?;
        Some(Drain { source: *source, first: waiting.first, reason: Some(reason) })
    });
    Ok(too_many)
}

/// Why holes of a source are given up before a batch that does not fill them.
fn too_much(
    (source, wm): (Source, u64),
    waiting: Waiting,
    (batch, lapsing): (&[Arrived], &[Source]),
    part: Part,
) -> Option<GapReason> {
    if lets_through((source, wm), waiting, batch) {
        return None;
    }
    let arriving = batch.iter().filter(|arrived| arrived.source == source).count();
    let all = usize::try_from(waiting.count).unwrap_or(usize::MAX).saturating_add(arriving);
    let ends = lapsing.contains(&source) || protocol::ended_in(batch).contains(&source);
    match (all > HELD_MAX, ends && waiting.count > part.0 as u64) {
        (true, _) => Some(GapReason::Overdue),
        (false, true) => Some(GapReason::Lost),
        (false, false) => None,
    }
}
