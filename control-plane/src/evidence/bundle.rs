//! A bundle as it is written: line by line from the log, packed, in constant memory.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write as _};

use audit::bundle::Line;
use audit::merkle::{Cover, Hash, InTile};
use axum::body::{Body, Bytes};
use chrono::{DateTime, Utc};
use futures_util::stream;
use store::TenantTx;
use store::audit::checkpoint::Signed;
use store::audit::{leaf, search};

use crate::access::{Can, may};
use crate::problem::Problem;

/// Records that are read at once.
const PAGE: i64 = 500;
/// Checkpoints within the range stand at least so far apart, seconds: each costs who verifies a signature.
const APART_S: i64 = 60;
/// zstd's own default.
const LEVEL: i32 = 3;

/// Which leaves are in a bundle as records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaves {
    pub(super) first: u64,
    pub(super) end: u64,
    /// Where a checkpoint that was kept can be compared.
    pub(super) since: Option<u64>,
}

/// What is still to be written.
#[derive(Debug)]
enum Part {
    Header,
    /// Leaves that are left out.
    Covered(u64, u64),
    /// Leaves that are there.
    Records(u64, u64),
    Checkpoint(String),
}

/// A bundle that is being written.
pub(super) struct Bundle {
    can: Can<may::ExportActivity>,
    origin: String,
    signed: Signed,
    parts: VecDeque<Part>,
    packer: Option<zstd::Encoder<'static, Vec<u8>>>,
}

impl Bundle {
    /// Plans a bundle: the leaves, the last checkpoint, and those within the range.
    pub(super) fn new(
        can: Can<may::ExportActivity>,
        origin: String,
        (leaves, signed, within): (Leaves, Signed, Vec<Signed>),
    ) -> Self {
        let mut parts = VecDeque::from([Part::Header]);
        let split = leaves.since.filter(|since| *since < leaves.first).unwrap_or(0);
        parts.extend([Part::Covered(0, split), Part::Covered(split, leaves.first)]);
        let mut next = leaves.first;
        let mut before: Option<DateTime<Utc>> = None;
        for mark in within.into_iter().filter(|mark| mark.size < signed.size) {
            let apart = before.is_none_or(|at| (mark.signed_at - at).num_seconds() >= APART_S);
            if apart {
                before = Some(mark.signed_at);
                parts.extend([Part::Records(next, mark.size), Part::Checkpoint(mark.note)]);
                next = mark.size;
            }
        }
        parts.extend([Part::Records(next, leaves.end), Part::Covered(leaves.end, signed.size)]);
        parts.push_back(Part::Checkpoint(signed.note.clone()));
        Self { can, origin, signed, parts, packer: None }
    }

    /// The packed bundle as a body. When something can't be had it breaks off, and verifying says so.
    pub(super) fn into_body(mut self) -> Result<Body, Problem> {
        self.packer = Some(zstd::Encoder::new(Vec::new(), LEVEL).map_err(|_| Problem::internal())?);
        let pieces = stream::unfold(Some(self), async |bundle| {
            let mut bundle = bundle?;
            match bundle.next().await {
                Ok(Some(piece)) => Some((Ok(piece), Some(bundle))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(Body::from_stream(pieces))
    }

    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let Some(part) = self.parts.pop_front() else {
            // The frame's end, once.
            return self.packer.take().map(|packer| packer.finish().map(Bytes::from)).transpose();
        };
        let lines = self.lines(part).await?;
        let Some(packer) = &mut self.packer else { return Ok(None) };
        packer.write_all(&lines)?;
        packer.flush()?;
        Ok(Some(Bytes::from(std::mem::take(packer.get_mut()))))
    }

    async fn lines(&mut self, part: Part) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        match part {
            Part::Header => {
                Line::Header { origin: self.origin.clone(), tenant: self.signed.tenant }.write(&mut out);
            }
            Part::Checkpoint(note) => Line::Checkpoint(note).write(&mut out),
            Part::Covered(first, end) if first >= end => {}
            Part::Covered(first, end) => {
                let mut tx = self.begin().await?;
                let hashes = covered(&mut tx, self.signed.epoch, first, end).await?;
                Line::Covered { first, end, hashes }.write(&mut out);
            }
            Part::Records(first, end) if first >= end => {}
            Part::Records(first, end) => self.records(&mut out, first, end).await?,
        }
        Ok(out)
    }

    /// One page of records. What the log no longer has at the range's beginning is left out; a hole within breaks it off.
    async fn records(&mut self, out: &mut Vec<u8>, first: u64, end: u64) -> io::Result<()> {
        // Whoever lost the right meanwhile gets no further.
        let mut tx = self.begin().await?;
        let (epoch, from) = (self.signed.epoch.cast_signed(), first.cast_signed());
        let mut page = search::leaves(&mut tx, epoch, from, PAGE).await.map_err(io::Error::other)?;
        page.retain(|leaf| leaf.seq.cast_unsigned() < end);
        let mut next = page.first().map_or(end, |leaf| leaf.seq.cast_unsigned());
        if next > first {
            let hashes = covered(&mut tx, self.signed.epoch, first, next).await?;
            Line::Covered { first, end: next, hashes }.write(out);
        }
        for leaf in &page {
            let hash: Hash = leaf.leaf_hash.as_slice().try_into().map_err(io::Error::other)?;
            if leaf.seq.cast_unsigned() != next {
                return Err(io::Error::other(format!("record {next} is not in the log")));
            }
            Line::Record { seq: next, leaf: hash, record: &leaf.body }.write(out);
            next += 1;
        }
        if next < end {
            self.parts.push_front(Part::Records(next, end));
        }
        Ok(())
    }

    async fn begin(&self) -> io::Result<TenantTx> {
        self.can.begin().await.map_err(|problem| io::Error::other(problem.title().to_owned()))
    }
}

/// The roots of the subtrees over leaves that are left out.
async fn covered(tx: &mut TenantTx, epoch: u64, first: u64, end: u64) -> io::Result<Vec<Hash>> {
    let places: Vec<InTile> = Cover::of(first, end).map(InTile::of).collect();
    let wanted: Vec<(u8, u64)> = places.iter().map(|at| (at.level, at.index)).collect();
    let tiles = leaf::tiles(tx, epoch, &wanted).await.map_err(io::Error::other)?;
    let tiles: HashMap<(u8, u64), Vec<u8>> =
        tiles.into_iter().map(|tile| ((tile.level, tile.index), tile.hashes)).collect();
    let root = |at: &InTile| at.root(tiles.get(&(at.level, at.index))?);
    places.iter().map(root).collect::<Option<_>>().ok_or_else(|| io::Error::other("a tile of the log is missing"))
}
