//! What is read from a shard's stream: frames, opened and judged, and ticks of the shard's clock.

use audit::ack::StreamId;
use audit::frame::{ParseError, UnknownVersion};
use audit::protocol::{Arrived, Content};
use audit::{Columns, Entry, Frame, Source, frame};
use bytes::Bytes;

use super::Means;

/// An entry of the stream.
#[derive(Debug, Clone)]
pub(super) struct Incoming {
    /// Its place.
    pub id: StreamId,
    /// What it is.
    pub what: Payload,
}

/// What an entry of the stream is.
#[derive(Debug, Clone)]
pub(super) enum Payload {
    /// A frame in its wire form.
    Frame(Bytes),
    /// A sealed tick.
    Tick(Bytes),
    /// Nothing we write.
    Foreign,
}

impl Payload {
    /// Bytes as sent.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Frame(bytes) | Self::Tick(bytes) => bytes.len(),
            Self::Foreign => 0,
        }
    }
}

/// An entry of the stream, judged.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    /// Its place.
    pub id: StreamId,
    /// What came of it.
    pub verdict: Verdict,
}

/// What came of an entry of the stream.
#[derive(Debug, Clone)]
pub(super) enum Verdict {
    /// A frame whose seal opened.
    Frame {
        /// The frame.
        arrived: Arrived,
        /// Its wire form, should it have to wait or be put aside.
        wire: Bytes,
    },
    /// The shard's clock goes on to `tick`, if its present owner says so.
    Tick {
        /// The owner's fence.
        fence: u64,
        /// The number.
        tick: u64,
    },
    /// Nobody vouches for it; put aside, changes nothing.
    Unvouched {
        /// The address on it, where it has one.
        address: Option<(Source, u64)>,
        /// The bytes.
        wire: Bytes,
        /// A stable word.
        reason: &'static str,
    },
    /// Nothing at all.
    Nothing,
}

/// Judges an entry of a shard's stream.
///
/// # Errors
/// [`UnknownVersion`] when a later release wrote it: it is good, and neither to be put aside nor acknowledged here.
pub(super) fn judge(means: &Means, shard: u16, incoming: Incoming) -> Result<Judged, UnknownVersion> {
    let Incoming { id, what } = incoming;
    let verdict = match what {
        Payload::Frame(wire) => judge_frame(means, shard, wire)?,
        Payload::Tick(sealed) => judge_tick(means, shard, &sealed),
        Payload::Foreign => Verdict::Nothing,
    };
    Ok(Judged { id, verdict })
}

fn judge_frame(means: &Means, shard: u16, wire: Bytes) -> Result<Verdict, UnknownVersion> {
    let Ok((source, s, sealed)) = frame::from_wire(&wire) else {
        return Ok(Verdict::Unvouched { address: None, wire, reason: "unreadable" });
    };
    let address = Some((source, s));
    let aad = frame::aad(&means.needs.deployment, &source, s);
    let Ok(plain) = means.frames.open(&aad.parts(), sealed) else {
        return Ok(Verdict::Unvouched { address, wire, reason: "unopened" });
    };
    // A frame of another shard was moved here: its own owner knows of it, or will.
    if source.shard != shard || s == 0 || s > i64::MAX.cast_unsigned() {
        return Ok(Verdict::Unvouched { address, wire, reason: "misplaced" });
    }
    Ok(Verdict::Frame { arrived: Arrived { source, s, content: content(plain)? }, wire })
}

/// Opens a frame that was kept, in its wire form.
///
/// # Errors
/// [`UnknownVersion`] when a later release kept it.
pub(super) fn reopen(means: &Means, wire: &Bytes) -> Result<Content, UnknownVersion> {
    let Ok((source, s, sealed)) = frame::from_wire(wire) else { return Ok(Content::Poison) };
    let aad = frame::aad(&means.needs.deployment, &source, s);
    means.frames.open(&aad.parts(), sealed).map_or(Ok(Content::Poison), content)
}

fn content(plain: Vec<u8>) -> Result<Content, UnknownVersion> {
    match Frame::parse(&plain.into()) {
        Ok(frame) if frame.entries.iter().all(is_sound) => Ok(Content::Entries(frame)),
        Ok(_) | Err(ParseError::NotAFrame(_)) => Ok(Content::Poison),
        Err(ParseError::Version(unknown)) => Err(unknown),
    }
}

/// Whether an entry's record reads, and is of the tenant the entry names.
fn is_sound(entry: &Entry) -> bool {
    let (tenant, n, body) = match entry {
        Entry::Intent { tenant, n, body, .. }
        | Entry::Final { tenant, n, body, .. }
        | Entry::Note { tenant, n, body } => (tenant, n, body),
        Entry::Beat | Entry::End | Entry::Dead(_) => return true,
    };
    let in_range = *n <= i64::MAX.cast_unsigned();
    in_range && Columns::of(&body.record).is_ok_and(|columns| columns.tenant == Some(*tenant))
}

fn judge_tick(means: &Means, shard: u16, sealed: &[u8]) -> Verdict {
    let Ok(plain) = means.acks.open(&tick_parts(&shard.to_be_bytes()), sealed) else { return Verdict::Nothing };
    match plain.as_chunks::<8>() {
        ([fence, tick], []) => Verdict::Tick { fence: u64::from_be_bytes(*fence), tick: u64::from_be_bytes(*tick) },
        _ => Verdict::Nothing,
    }
}

/// Seals a tick: who may write to Redis can't make time pass.
pub(super) fn seal_tick(means: &Means, shard: u16, fence: u64, tick: u64) -> Vec<u8> {
    let plain = [fence.to_be_bytes(), tick.to_be_bytes()].concat();
    means.acks.seal(&tick_parts(&shard.to_be_bytes()), &plain)
}

fn tick_parts(shard: &[u8; 2]) -> [&[u8]; 2] {
    [b"tick", shard]
}
