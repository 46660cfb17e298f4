//! A tenant's log as a Merkle tree (RFC 9162, 2.1): hashes, the frontier that is carried along, tiles of 256 hashes.

use aws_lc_rs::digest::{Context, SHA256};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// Hashes in a full tile (C2SP tlog-tiles).
pub const TILE: usize = 256;

/// The hash of a record: SHA-256 of 0x00 and its bytes.
#[must_use]
pub fn leaf_hash(record: &[u8]) -> Hash {
    digest(&[&[0], record])
}

/// The hash of a node: SHA-256 of 0x01 and its children.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    digest(&[&[1], left, right])
}

fn digest(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// The roots of the complete subtrees that make up a tree, the largest first: all that is needed to append to it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

/// Why bytes are not a frontier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a frontier")]
pub struct NotAFrontier;

impl Frontier {
    /// How many leaves the tree has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf; its index is the size before.
    pub fn append(&mut self, leaf: Hash) {
        let mut hash = leaf;
        // One subtree is complete, and joins its left neighbour, for each trailing one of the size.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The tree's root; that of the empty tree is the hash of nothing.
    #[must_use]
    pub fn root(&self) -> Hash {
        let joined = self.peaks.iter().rev().copied().reduce(|right, left| node_hash(&left, &right));
        joined.unwrap_or_else(|| digest(&[]))
    }

    /// The size, eight bytes, big endian, then the roots, the largest subtree's first.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.size.to_be_bytes().to_vec();
        self.peaks.iter().for_each(|peak| bytes.extend_from_slice(peak));
        bytes
    }

    /// Reads [`Self::to_bytes`].
    ///
    /// # Errors
    /// [`NotAFrontier`] when the number of roots does not fit the size.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotAFrontier> {
        let (size, rest) = bytes.split_first_chunk::<8>().ok_or(NotAFrontier)?;
        let size = u64::from_be_bytes(*size);
        let (peaks, odd) = rest.as_chunks::<32>();
        if !odd.is_empty() || u64::try_from(peaks.len()) != Ok(u64::from(size.count_ones())) {
            return Err(NotAFrontier);
        }
        Ok(Self { size, peaks: peaks.to_vec() })
    }
}

/// A full tile: 256 hashes side by side on one level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// 0: of leaves. 1: of full tiles of leaves.
    pub level: u8,
    /// Its place on the level.
    pub index: u64,
    /// [`TILE`] of them.
    pub hashes: Vec<Hash>,
}

impl Tile {
    /// The hashes side by side, 8,192 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.hashes.concat()
    }
}

/// The tiles at the right edge that are not full yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tiler {
    size: u64,
    leaves: Vec<Hash>,
    nodes: Vec<Hash>,
}

impl Tiler {
    /// Goes on with a tree of `size` leaves: the last `size % 256` leaf hashes, and the roots of the last
    /// `size / 256 % 256` full tiles of leaves ([`tile_root`]).
    ///
    /// # Errors
    /// [`NotAFrontier`] when there are not as many as that.
    pub fn resume(size: u64, leaves: Vec<Hash>, nodes: Vec<Hash>) -> Result<Self, NotAFrontier> {
        let tile = TILE as u64;
        let fits = leaves.len() as u64 == size % tile && nodes.len() as u64 == size / tile % tile;
        if fits { Ok(Self { size, leaves, nodes }) } else { Err(NotAFrontier) }
    }

    /// Appends a leaf, and gives the tiles that it fills: none, one, or one of each level.
    pub fn append(&mut self, leaf: Hash) -> Vec<Tile> {
        let mut full = Vec::new();
        self.leaves.push(leaf);
        self.size += 1;
        if self.leaves.len() == TILE {
            let index = self.size / TILE as u64 - 1;
            self.nodes.push(tile_root(&self.leaves));
            full.push(Tile { level: 0, index, hashes: std::mem::take(&mut self.leaves) });
            if self.nodes.len() == TILE {
                let hashes = std::mem::take(&mut self.nodes);
                full.push(Tile { level: 1, index: index / TILE as u64, hashes });
            }
        }
        full
    }
}

/// The root of the complete subtree over a power of two of hashes.
#[must_use]
pub fn tile_root(hashes: &[Hash]) -> Hash {
    let mut level = hashes.to_vec();
    while level.len() > 1 {
        level = level.chunks(2).map(|pair| pair.get(1).map_or(pair[0], |right| node_hash(&pair[0], right))).collect();
    }
    level.first().copied().unwrap_or_else(|| digest(&[]))
}
