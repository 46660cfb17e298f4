//! What a lane sends next.

use std::time::Duration;

use audit::export::Format;
use chrono::{DateTime, Utc};
use domain::RecordId;
use secrets::MasterKey;
use store::audit::delivery::{self, Asked, Part, Sent, Span};
use store::destinations::{Destination, Wanted};
use store::lanes::{CHECKPOINT_EVERY, Kind, Lane};
use store::{TenantTx, letters};

use super::batch::{Batch, Edition};
use super::encode;
use super::settings::Most;
use crate::ingest::{Opener, OpeningError};

/// Places of the log that are looked through at once for records that are wanted.
const SPAN: u64 = 20_000;
/// Between two looks whether a batch that waits for more is full: as long as it may take to fill, and not less …
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// … nor more than this: it may fill at once.
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(15);

/// What is to be done next in a lane.
#[derive(Debug)]
pub(super) enum Next {
    /// Send this, and then go on at this place; the last record reached the log at this time.
    Send(Batch, u64, DateTime<Utc>),
    /// Send this checkpoint.
    Checkpoint(Batch),
    /// Too little of it is there yet to be sent: to be looked at again after a while.
    Wait(Duration),
    /// Nothing of it is wanted up to here, or the log has it no longer: epoch and place, and when the last before it reached
    /// the log, where that is known.
    Skip(u64, u64, Option<DateTime<Utc>>),
    /// The log has these no longer, and they were never sent: epoch, the first, and the place after the last.
    Lost(u64, u64, u64),
    /// These dead letters are no longer in the log.
    Forget(u64, Vec<u64>),
    /// All is sent, up to this end of the log.
    Nothing((u64, u64)),
    /// The lane has reached its end.
    End,
}

/// What a page is made by.
#[derive(Debug, Clone, Copy)]
pub(super) struct By<'a> {
    pub(super) destination: &'a Destination,
    pub(super) format: Format,
    pub(super) most: Most,
    /// Whether what was under way is to be no more than that, either.
    pub(super) is_narrowed: bool,
    /// How long records wait for a batch to fill.
    pub(super) linger: Option<Duration>,
    /// Opens personal parts, where they go along.
    pub(super) master: &'a MasterKey,
    pub(super) now: DateTime<Utc>,
}

impl<'a> By<'a> {
    /// What the destination wants of what is in a span.
    fn asked(self, span: Span) -> Asked<'a> {
        Asked { wanted: &self.destination.wanted, span, personal: self.destination.personal }
    }
}

/// For how long nothing of a lane is to be sent, though records wait: told without a way out, and without reading records.
/// `None` where that is not known.
pub(super) async fn rest(tx: &mut TenantTx, lane: &Lane, by: By<'_>) -> Result<Option<Duration>, store::Error> {
    if by.linger.is_none() || lane.kind != Kind::Live || bounds(lane, by.destination).is_some() {
        return Ok(None);
    }
    let (epoch, size) = delivery::end(tx).await?;
    if lane.epoch < epoch || lane.next >= size || due_checkpoint(tx, lane, by).await?.is_some() {
        return Ok(None);
    }
    let (part, _) = part(lane, size, by, None);
    let (span, latest) = place(tx, part, lane.near).await?;
    // What is missing there is told at once.
    if part.end < size || latest.is_none() { Ok(None) } else { wait(tx, part, by.asked(span), by).await }
}

/// Looks what comes next.
pub(super) async fn next(tx: &mut TenantTx, lane: &Lane, by: By<'_>) -> Result<Next, OpeningError> {
    match lane.kind {
        Kind::Letters => asked(tx, lane, by).await,
        Kind::Live | Kind::Replay => log(tx, lane, by).await,
    }
}

/// The place before which a batch that was under way ends, if it would be made the same way again.
fn bounds(lane: &Lane, destination: &Destination) -> Option<u64> {
    lane.pending.filter(|pending| pending.1 == destination.shape).map(|pending| pending.0)
}

async fn log(tx: &mut TenantTx, lane: &Lane, by: By<'_>) -> Result<Next, OpeningError> {
    let (epoch, size) = delivery::end(tx).await?;
    let is_old = lane.epoch < epoch;
    let end = lane.range.map_or(if is_old { u64::MAX >> 1 } else { size }, |(_, until)| until);
    if let Some(batch) = due_checkpoint(tx, lane, by).await? {
        return Ok(Next::Checkpoint(batch));
    }
    if lane.next >= end {
        return Ok(if lane.range.is_some() { Next::End } else { Next::Nothing((epoch, size)) });
    }
    let pending = bounds(lane, by.destination);
    let (mut part, most) = part(lane, end, by, pending);
    let (span, latest) = place(tx, part, lane.near).await?;
    if lane.kind == Kind::Live
        && latest.is_none()
        && let Some(hole) = delivery::hole(tx, part).await?
    {
        if hole > part.first {
            // What is before it comes first.
            part.end = hole;
        } else if let Some(to) = end_of_hole(tx, part, (!is_old).then_some(end)).await? {
            return Ok(Next::Lost(part.epoch, part.first, to));
        }
    }
    let asked = by.asked(span);
    let follows = lane.kind == Kind::Live && !is_old && pending.is_none() && part.end == end;
    if follows && let Some(wait) = wait(tx, part, asked, by).await? {
        return Ok(Next::Wait(wait));
    }
    let records = delivery::page(tx, part, asked, (most.items, most.bytes)).await?;
    if records.is_empty() {
        return Ok(nothing_wanted(tx, part, latest, (end, is_old && lane.range.is_none())).await?);
    }
    let edition = match lane.kind {
        Kind::Replay => Edition::Replay(lane.number),
        _ => Edition::Live(by.destination.shape),
    };
    let read_all = records.len() < most.items;
    // Where the page is all that is wanted of the part, the part is done with it.
    let whole = records.iter().map(Sent::bytes).sum::<usize>() < most.bytes;
    let (batch, received_at, is_cut) = batch(tx, records, (part.epoch, edition), by, most).await?;
    let go_on = if read_all && whole && !is_cut && pending.is_none() { part.end } else { batch.last + 1 };
    Ok(Next::Send(batch, go_on, received_at))
}

/// The part of the log that is looked at next, and most of it that is sent. What was under way is sent as it was, or the
/// beginning of it where it is to be narrower: never more, so that where it is small enough it is the same batch.
fn part(lane: &Lane, end: u64, by: By<'_>, pending: Option<u64>) -> (Part, Most) {
    let mut part = Part { epoch: lane.epoch, first: lane.next, end: end.min(lane.next.saturating_add(SPAN)) };
    if let Some(last) = pending {
        part.end = last + 1;
        let items = if by.is_narrowed { by.most.items } else { usize::MAX >> 1 };
        return (part, Most { items, bytes: usize::MAX >> 1 });
    }
    if by.destination.wanted == Wanted::default() {
        part.end = part.end.min(part.first.saturating_add(u64::try_from(by.most.items).unwrap_or(SPAN)));
    }
    (part, by.most)
}

/// Where a part's records are looked for, and when the last of them reached the log, where all of them are there. What is
/// near is looked into first, which spares all other partitions; that nothing is elsewhere is counted, not believed.
pub(super) async fn place(
    tx: &mut TenantTx,
    part: Part,
    near: Option<DateTime<Utc>>,
) -> Result<(Span, Option<DateTime<Utc>>), store::Error> {
    for span in near.map(Span::near).into_iter().chain([Span::ALL]) {
        let latest = delivery::whole(tx, part, span).await?;
        if latest.is_some() {
            return Ok((span, latest));
        }
    }
    Ok((Span::ALL, None))
}

/// How long a batch that reaches to the end of the log is to wait for more; `None` where it is sent now.
async fn wait(tx: &mut TenantTx, part: Part, asked: Asked<'_>, by: By<'_>) -> Result<Option<Duration>, store::Error> {
    let Some(linger) = by.linger else { return Ok(None) };
    let waiting = delivery::waiting(tx, part, asked).await?;
    let is_full = waiting.records >= by.most.items as u64 || waiting.bytes >= by.most.bytes as u64;
    if waiting.records == 0 || is_full {
        return Ok(None);
    }
    let left = linger.saturating_sub(waiting.since);
    // It fills as it did so far, from the first record on.
    let full_in = |have: u64, most: usize| {
        let have = u32::try_from(have).unwrap_or(u32::MAX).max(1);
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        waiting.since.saturating_mul(most.saturating_sub(have)) / have
    };
    let full_in = full_in(waiting.records, by.most.items).min(full_in(waiting.bytes, by.most.bytes));
    Ok((!left.is_zero()).then(|| left.min(full_in.clamp(LOOK_AGAIN, LOOK_AGAIN_MAX))))
}

/// Where to go on behind a part of which nothing is wanted, or which is not there.
async fn nothing_wanted(
    tx: &mut TenantTx,
    part: Part,
    latest: Option<DateTime<Utc>>,
    (end, is_over): (u64, bool),
) -> Result<Next, store::Error> {
    if latest.is_some() {
        return Ok(Next::Skip(part.epoch, part.end, latest));
    }
    Ok(match delivery::first_from(tx, part.epoch, part.first).await? {
        Some(first) if first >= part.end => Next::Skip(part.epoch, first.min(end), None),
        Some(_) => Next::Skip(part.epoch, part.end, None),
        None if is_over => Next::Skip(part.epoch + 1, 0, None),
        None => Next::Skip(part.epoch, end, None),
    })
}

/// Where a hole that a part begins with ends: where the log goes on, or at its end, which of an epoch that is over is asked
/// for. `None` where nothing is missing there.
async fn end_of_hole(tx: &mut TenantTx, part: Part, end: Option<u64>) -> Result<Option<u64>, store::Error> {
    let end = match end {
        Some(end) => Some(end),
        None => delivery::size_of(tx, part.epoch).await?,
    };
    let first = delivery::first_from(tx, part.epoch, part.first).await?;
    let to = first.map(|first| end.map_or(first, |end| first.min(end))).or(end);
    Ok(to.filter(|to| *to > part.first))
}

/// Dead letters that somebody asked for.
async fn asked(tx: &mut TenantTx, lane: &Lane, by: By<'_>) -> Result<Next, OpeningError> {
    let destination = by.destination.id;
    let pending = bounds(lane, by.destination);
    let limit = u32::try_from(by.most.items).unwrap_or(u32::MAX);
    let places = letters::asked(tx, (destination, lane.number), pending, limit).await?;
    let Some(&(epoch, _)) = places.first() else {
        // What was under way is taken; what else is asked for comes next.
        return Ok(if pending.is_some() { Next::Skip(lane.epoch, lane.next, None) } else { Next::End });
    };
    let places: Vec<u64> = places.into_iter().map(|place| place.1).collect();
    let records = delivery::at(tx, (epoch, &places), by.most.bytes, by.destination.personal).await?;
    // What is behind the last that was read was not looked for.
    let last = records.last().map_or(u64::MAX, |sent| sent.seq.cast_unsigned());
    let gone = |seq: &u64| *seq <= last && !records.iter().any(|sent| sent.seq.cast_unsigned() == *seq);
    let gone: Vec<u64> = places.into_iter().filter(gone).collect();
    if !gone.is_empty() {
        return Ok(Next::Forget(epoch, gone));
    }
    let (batch, received_at, _) = batch(tx, records, (epoch, Edition::Letters(lane.number)), by, by.most).await?;
    Ok(Next::Send(batch, lane.next, received_at))
}

/// The items of a page, as many as the bytes allow and one at least; when the last of them reached the log; whether some
/// were left.
async fn batch(
    tx: &mut TenantTx,
    records: Vec<Sent>,
    (epoch, edition): (u64, Edition),
    by: By<'_>,
    most: Most,
) -> Result<(Batch, DateTime<Utc>, bool), OpeningError> {
    let (tenant, count) = (tx.tenant(), records.len());
    let (mut keys, mut items) = (Opener::new(by.master), Vec::with_capacity(count));
    let (mut bytes, mut received_at) = (0, by.now);
    for sent in records {
        let opened = match &sent.pii {
            Some(sealed) => keys.open(tx, (RecordId::from_uuid(sent.id), sent.part_time), sealed).await?,
            None => None,
        };
        let pii = opened.as_ref().map(|opened| opened.pii.as_slice());
        let item = encode::record((tenant, epoch), &sent, pii, by.format);
        bytes += item.bytes.len() + 1;
        if bytes > most.bytes && !items.is_empty() {
            break;
        }
        received_at = sent.received_at;
        items.push(item);
    }
    let (first, last) = (items.first().map_or(0, |item| item.seq), items.last().map_or(0, |item| item.seq));
    let is_cut = items.len() < count;
    Ok((Batch { tenant, destination: by.destination.id, epoch, first, last, edition, items }, received_at, is_cut))
}

/// The last checkpoint over nothing but what was sent, when it is time for one.
async fn due_checkpoint(tx: &mut TenantTx, lane: &Lane, by: By<'_>) -> Result<Option<Batch>, store::Error> {
    let is_time = (by.now - lane.checkpoint.1).to_std().is_ok_and(|since| since >= CHECKPOINT_EVERY);
    if lane.kind != Kind::Live || !is_time || lane.next == 0 {
        return Ok(None);
    }
    let signed = delivery::checkpoint(tx, lane.epoch, lane.checkpoint.0, lane.next).await?;
    Ok(signed.map(|signed| encode::checkpoint(&signed, by.destination.id)))
}
