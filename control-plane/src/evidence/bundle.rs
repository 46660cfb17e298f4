//! A bundle as it is written: line by line from the log, in constant memory.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write as _};
use std::sync::Arc;

use audit::bundle::Line;
use audit::merkle::{Cover, Hash, InTile};
use axum::body::{Body, Bytes};
use domain::RecordId;
use futures_util::stream;
use secrets::MasterKey;
use store::TenantTx;
use store::audit::{leaf, search};

use super::plan::{Part, Section, parts};
use crate::access::{Can, Permitted};
use crate::ingest::{self, Opened, Opener};
use crate::problem::Problem;

/// Records that are read at once.
const PAGE: i64 = 500;
/// zstd's own default.
const LEVEL: i32 = 3;

/// A bundle that is being written.
pub(super) struct Bundle<P> {
    can: Arc<Can<P>>,
    deployment: Arc<str>,
    parts: VecDeque<Part>,
    /// Opens personal parts, where they are asked for.
    personal: Option<Arc<MasterKey>>,
}

/// A bundle on its way, packed.
struct Packed<P> {
    bundle: Bundle<P>,
    packer: Option<zstd::Encoder<'static, Vec<u8>>>,
}

impl<P: Permitted> Bundle<P> {
    pub(super) fn new(can: Arc<Can<P>>, deployment: Arc<str>, sections: Vec<Section>) -> Self {
        Self { can, deployment, parts: parts(sections), personal: None }
    }

    /// With the personal parts of its records, as far as they are not erased.
    pub(super) fn with_personal(self, master: Arc<MasterKey>) -> Self {
        Self { personal: Some(master), ..self }
    }

    /// The packed bundle as a body. When something can't be had it breaks off, and verifying says so.
    pub(super) fn into_body(self) -> Result<Body, Problem> {
        let packer = zstd::Encoder::new(Vec::new(), LEVEL).map_err(|_| Problem::internal())?;
        let writing = Packed { bundle: self, packer: Some(packer) };
        let pieces = stream::unfold(Some(writing), async |writing| {
            let mut writing = writing?;
            match writing.next().await {
                Ok(Some(piece)) => Some((Ok(piece), Some(writing))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(Body::from_stream(pieces))
    }

    /// The next lines; `None` at the end.
    pub(super) async fn lines(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut out = Vec::new();
        match self.parts.pop_front() {
            None => return Ok(None),
            Some(Part::Header { epoch }) => {
                let tenant = self.can.actor().tenant();
                Line::Header { origin: self.origin(epoch), tenant }.write(&mut out);
            }
            Some(Part::Epoch { epoch }) => Line::Epoch { origin: self.origin(epoch) }.write(&mut out),
            Some(Part::Checkpoint(note)) => Line::Checkpoint(note).write(&mut out),
            Some(Part::Covered { epoch, first, end }) => {
                let mut tx = self.begin().await?;
                let hashes = covered(&mut tx, epoch, first, end).await?;
                Line::Covered { first, end, hashes }.write(&mut out);
            }
            Some(Part::Records { epoch, first, end }) => self.records(&mut out, epoch, (first, end)).await?,
        }
        Ok(Some(out))
    }

    fn origin(&self, epoch: u64) -> String {
        ingest::origin(&self.deployment, self.can.actor().tenant(), epoch)
    }

    /// One page of records. What the log no longer has at the range's beginning is left out; a hole within breaks it off.
    async fn records(&mut self, out: &mut Vec<u8>, epoch: u64, (first, end): (u64, u64)) -> io::Result<()> {
        // Whoever lost the right meanwhile gets no further.
        let mut tx = self.begin().await?;
        let page = search::leaves(&mut tx, epoch.cast_signed(), first.cast_signed(), PAGE).await;
        let mut page = page.map_err(io::Error::other)?;
        page.retain(|leaf| leaf.seq.cast_unsigned() < end);
        let mut next = page.first().map_or(end, |leaf| leaf.seq.cast_unsigned());
        if next > first {
            let hashes = covered(&mut tx, epoch, first, next).await?;
            Line::Covered { first, end: next, hashes }.write(out);
        }
        let mut keys = self.personal.as_deref().map(Opener::new);
        for leaf in &page {
            let hash: Hash = leaf.leaf_hash.as_slice().try_into().map_err(io::Error::other)?;
            if leaf.seq.cast_unsigned() != next {
                return Err(io::Error::other(format!("record {next} is not in the log")));
            }
            Line::Record { seq: next, leaf: hash, record: &leaf.body }.write(out);
            if let (Some(keys), Some(sealed)) = (&mut keys, &leaf.pii) {
                let record = (RecordId::from_uuid(leaf.id), leaf.part_time);
                let opened = keys.open(&mut tx, record, sealed).await.map_err(io::Error::other)?;
                if let Some(Opened { key, pii }) = opened {
                    Line::Personal { seq: next, key, pii: &pii }.write(out);
                }
            }
            next += 1;
        }
        if next < end {
            self.parts.push_front(Part::Records { epoch, first: next, end });
        }
        Ok(())
    }

    async fn begin(&self) -> io::Result<TenantTx> {
        self.can.begin().await.map_err(|problem| io::Error::other(problem.title().to_owned()))
    }
}

impl<P: Permitted> Packed<P> {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let Some(lines) = self.bundle.lines().await? else {
            // The frame's end, once.
            return self.packer.take().map(|packer| packer.finish().map(Bytes::from)).transpose();
        };
        let Some(packer) = &mut self.packer else { return Ok(None) };
        packer.write_all(&lines)?;
        packer.flush()?;
        Ok(Some(Bytes::from(std::mem::take(packer.get_mut()))))
    }
}

/// The roots of the subtrees over leaves that are left out.
pub(crate) async fn covered(tx: &mut TenantTx, epoch: u64, first: u64, end: u64) -> io::Result<Vec<Hash>> {
    let places: Vec<InTile> = Cover::of(first, end).map(InTile::of).collect();
    let wanted: Vec<(u8, u64)> = places.iter().map(|at| (at.level, at.index)).collect();
    let tiles = leaf::tiles(tx, epoch, &wanted).await.map_err(io::Error::other)?;
    let tiles: HashMap<(u8, u64), Vec<u8>> =
        tiles.into_iter().map(|tile| ((tile.level, tile.index), tile.hashes)).collect();
    let root = |at: &InTile| at.root(tiles.get(&(at.level, at.index))?);
    places.iter().map(root).collect::<Option<_>>().ok_or_else(|| io::Error::other("a tile of the log is missing"))
}
