//! A tenant's log as a Merkle tree (RFC 9162, 2.1): hashes, the frontier that is carried along, tiles of 256 hashes.

use aws_lc_rs::digest::{Context, SHA256};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// Hashes in a full tile (C2SP tlog-tiles).
pub const TILE: usize = 256;
/// Levels of the tree in one level of tiles.
const TILE_BITS: u32 = TILE.ilog2();

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
        self.join(0, leaf);
    }

    /// Appends the 2^`level` leaves under the root of a complete subtree ([`Cover`]).
    ///
    /// # Errors
    /// [`NotAFrontier`] when such a subtree can't stand here, or the tree would have more leaves than can be counted.
    pub fn append_subtree(&mut self, level: u32, root: Hash) -> Result<(), NotAFrontier> {
        let leaves = 1_u64.checked_shl(level).ok_or(NotAFrontier)?;
        if !self.size.is_multiple_of(leaves) || self.size.checked_add(leaves).is_none() {
            return Err(NotAFrontier);
        }
        self.join(level, root);
        Ok(())
    }

    /// Puts a complete subtree at the right edge: it joins its left neighbour as long as that is of the same size.
    fn join(&mut self, level: u32, root: Hash) {
        let mut hash = root;
        for _ in 0..(self.size >> level).trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1 << level;
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

/// The complete subtrees that cover the leaves from `first` up to, not including, `end`: from the left, each as large as
/// fits. Of each, its level (it has 2^level leaves) and its place on that level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cover {
    next: u64,
    end: u64,
}

impl Cover {
    /// Covers a range; none of it when `end` is not above `first`.
    #[must_use]
    pub const fn of(first: u64, end: u64) -> Self {
        Self { next: first, end }
    }
}

impl Iterator for Cover {
    type Item = (u32, u64);

    fn next(&mut self) -> Option<Self::Item> {
        let left = self.end.checked_sub(self.next).filter(|left| *left > 0)?;
        // Where it stands bounds its size from above, and so does what is left to cover.
        let level = self.next.trailing_zeros().min(left.ilog2());
        let place = self.next.checked_shr(level).unwrap_or(0);
        self.next += 1 << level;
        Some((level, place))
    }
}

/// Where the roots of complete subtrees are found: of each, the tile, and which of the tile's hashes are under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InTile {
    /// The tile's level.
    pub level: u8,
    /// The tile's place on it.
    pub index: u64,
    first: usize,
    count: usize,
}

impl InTile {
    /// Where the root of a subtree of [`Cover`] is found.
    #[must_use]
    pub fn of((level, place): (u32, u64)) -> Self {
        let (tile_level, inside) = (level / TILE_BITS, level % TILE_BITS);
        // The subtree's hashes on the tile's level, and how many of them.
        let (first, count) = (place << inside, 1_usize << inside);
        let within = usize::try_from(first % TILE as u64).unwrap_or(0);
        let level = u8::try_from(tile_level).unwrap_or(u8::MAX);
        Self { level, index: first / TILE as u64, first: within, count }
    }

    /// The root, from the tile's hashes side by side; `None` when they do not reach so far.
    #[must_use]
    pub fn root(&self, hashes: &[u8]) -> Option<Hash> {
        Some(tile_root(hashes.as_chunks::<32>().0.get(self.first..self.first + self.count)?))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 9162, 2.1.1, word for word.
    fn tree_hash(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => digest(&[]),
            [leaf] => *leaf,
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                node_hash(&tree_hash(&leaves[..split]), &tree_hash(&leaves[split..]))
            }
        }
    }

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|index| leaf_hash(&index.to_le_bytes())).collect()
    }

    /// The vectors of the certificate-transparency project's own tests.
    #[test]
    fn the_roots_are_those_of_certificate_transparency() {
        let records =
            ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut frontier = Frontier::default();
        assert_eq!(hex(&frontier.root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        for (record, root) in records.iter().zip(roots) {
            let bytes = record
                .as_bytes()
                .chunks(2)
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
            frontier.append(leaf_hash(&bytes.collect::<Vec<u8>>()));
            assert_eq!(hex(&frontier.root()), root);
        }
    }

    fn hex(hash: &Hash) -> String {
        use std::fmt::Write as _;
        hash.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    }

    #[test]
    fn the_frontier_of_any_size_has_the_root_of_the_whole_tree_and_reads_back() {
        let leaves = leaves(300);
        let mut frontier = Frontier::default();
        for size in 0..leaves.len() {
            assert_eq!((frontier.size(), frontier.root()), (size as u64, tree_hash(&leaves[..size])));
            assert_eq!(Frontier::parse(&frontier.to_bytes()), Ok(frontier.clone()));
            frontier.append(leaves[size]);
        }
    }

    #[test]
    fn any_range_left_out_is_covered_by_subtrees_that_keep_the_root() {
        let leaves = leaves(40);
        for (first, end, size) in (0..=40).flat_map(|first| (first..=40).map(move |end| (first, end, 40))) {
            let mut frontier = Frontier::default();
            leaves[..first].iter().for_each(|leaf| frontier.append(*leaf));
            for (level, place) in Cover::of(first as u64, end as u64) {
                let (from, count) = (usize::try_from(place << level).unwrap(), 1 << level);
                frontier.append_subtree(level, tree_hash(&leaves[from..from + count])).unwrap();
            }
            leaves[end..size].iter().for_each(|leaf| frontier.append(*leaf));
            assert_eq!((frontier.size(), frontier.root()), (40, tree_hash(&leaves)), "{first}..{end}");
        }
    }

    #[test]
    fn the_root_of_any_subtree_is_found_in_a_tile() {
        let leaves = leaves(TILE * 3 + 7);
        let tiles = |level: u8, index: u64| {
            let below = if level == 0 { leaves.clone() } else { leaves.chunks_exact(TILE).map(tile_root).collect() };
            below.chunks(TILE).nth(usize::try_from(index).unwrap()).unwrap().concat()
        };
        for (first, end) in [(0, 775), (1, 775), (255, 257), (256, 768), (300, 301), (511, 774)] {
            for (level, place) in Cover::of(first, end) {
                let at = InTile::of((level, place));
                let from = usize::try_from(place << level).unwrap();
                let root = tree_hash(&leaves[from..from + (1 << level)]);
                assert_eq!(at.root(&tiles(at.level, at.index)), Some(root), "{level} {place}");
            }
        }
        assert_eq!(InTile::of((3, 1)).root(&[0; 15 * 32]), None, "the tile ends before");
    }

    #[test]
    fn a_subtree_stands_only_where_one_of_its_size_can() {
        let mut frontier = Frontier::default();
        frontier.append(leaf_hash(b"x"));
        assert!(frontier.append_subtree(1, leaf_hash(b"y")).is_err());
        assert!(frontier.append_subtree(64, leaf_hash(b"y")).is_err());
        frontier.append_subtree(0, leaf_hash(b"y")).unwrap();
        frontier.append_subtree(1, leaf_hash(b"z")).unwrap();
        assert_eq!(frontier.size(), 4);
        assert!(Frontier::parse(&[255; 8 + 64 * 32]).unwrap().append_subtree(0, leaf_hash(b"y")).is_err());
    }

    #[test]
    fn tiles_hold_the_leaves_and_their_roots_wherever_one_goes_on() {
        let all = leaves(TILE * 3 + 7);
        let mut tiler = Tiler::default();
        let mut full = Vec::new();
        for (index, leaf) in all.iter().enumerate() {
            if index % 100 == 0 {
                let first = index - index % TILE;
                let nodes = all[..first].chunks(TILE).map(tile_root).collect();
                let resumed = Tiler::resume(index as u64, all[first..index].to_vec(), nodes).unwrap();
                assert_eq!(resumed, tiler);
            }
            full.extend(tiler.append(*leaf));
        }
        assert_eq!(full.len(), 3);
        for (index, tile) in full.iter().enumerate() {
            assert_eq!((tile.level, tile.index), (0, index as u64));
            assert_eq!(tile.hashes, all[index * TILE..(index + 1) * TILE]);
            assert_eq!((tile_root(&tile.hashes), tile.to_bytes().len()), (tree_hash(&tile.hashes), 8192));
        }
        assert!(Tiler::resume(7, Vec::new(), Vec::new()).is_err());
    }

    #[test]
    fn a_full_level_of_tiles_is_a_tile_of_the_next_level() {
        let leaf = leaf_hash(b"x");
        let nodes = vec![tile_root(&[leaf; TILE]); TILE - 1];
        let mut tiler = Tiler::resume((TILE * TILE) as u64 - 1, vec![leaf; TILE - 1], nodes).unwrap();
        let full = tiler.append(leaf);
        assert_eq!((full[1].level, full[1].index, full[1].hashes.len()), (1, 0, TILE));
        assert_eq!(full[1].hashes[TILE - 1], tile_root(&full[0].hashes));
        assert_eq!(Tiler::resume((TILE * TILE) as u64, Vec::new(), Vec::new()), Ok(tiler));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            let _ = Frontier::parse(&bytes);
        }
    }
}
