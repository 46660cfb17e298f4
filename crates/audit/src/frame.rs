//! A frame: the immutable bytes of one group commit of one source. It is sealed by `secrets::Sealer` with [`aad`], and
//! travels and rests as [`to_wire`].

use bytes::Bytes;
use domain::{BootId, NodeId, TenantId};
use lz4_flex::block::{CompressTable, compress_into_with_table, decompress, get_maximum_output_size};
use uuid::Uuid;

use crate::entry::{self, Entry, Form, Input, Private};
use crate::record::Leaf;

/// Most entries of a frame.
pub const ENTRIES_MAX: usize = 128;
/// The field of a Redis stream entry that holds a frame, as [`to_wire`] gives it.
pub const FIELD: &str = "f";
/// The field of a Redis stream entry that holds a tick of the shard's owner.
pub const TICK_FIELD: &str = "t";

const VERSION: u8 = 1;
/// The version byte of content that is packed: then the length of the unpacked content (4 bytes, little endian), and it as
/// an LZ4 block, its own version byte first.
const PACKED: u8 = 2;
/// Content shorter than this is not packed.
const PACKED_FROM: usize = 512;
/// No content is longer: 128 entries with a record of at most 32 KiB and a personal part.
const CONTENT_MAX: usize = 16 << 20;
/// Version, node, boot, shard, s.
const WIRE_HEADER: usize = 1 + 16 + 16 + 2 + 8;

/// One run of one node, as far as it concerns one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// The node.
    pub node: NodeId,
    /// The run.
    pub boot: BootId,
    /// The shard.
    pub shard: u16,
}

impl Source {
    /// The field of the shard's hash of acks.
    #[must_use]
    pub fn ack_field(&self) -> String {
        format!("{}:{}", self.node, self.boot)
    }
}

/// The content of a frame.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Frame {
    /// One to [`ENTRIES_MAX`].
    pub entries: Vec<Entry>,
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a frame")]
pub struct NotAFrame;

/// Why what was sealed does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// It is not whole, or not a frame.
    #[error(transparent)]
    NotAFrame(#[from] NotAFrame),
    /// A later release wrote it.
    #[error(transparent)]
    Version(#[from] UnknownVersion),
}

/// A frame of a version that is not known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a node sends frames of version {0}, which this release does not know: upgrade the control plane")]
pub struct UnknownVersion(pub u8);

impl Frame {
    /// The bytes that are sealed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut builder = Builder::default();
        self.entries.iter().for_each(|entry| builder.push(entry));
        Packer::default().pack(&builder).to_vec()
    }

    /// Reads what was sealed.
    ///
    /// # Errors
    /// [`ParseError`] when the bytes are anything but a whole frame of a version known here.
    pub fn parse(bytes: &Bytes) -> Result<Self, ParseError> {
        let unpacked = unpack(bytes)?;
        let bytes = unpacked.as_ref().unwrap_or(bytes);
        let mut input = Input { bytes, at: 0 };
        let [version, count] = input.array().ok_or(NotAFrame)?;
        if version != VERSION && version != PACKED {
            return Err(UnknownVersion(version).into());
        }
        if version == PACKED || count == 0 || usize::from(count) > ENTRIES_MAX {
            return Err(NotAFrame.into());
        }
        let entries = (0..count).map(|_| Entry::take(&mut input)).collect::<Option<_>>().ok_or(NotAFrame)?;
        if input.at == bytes.len() { Ok(Self { entries }) } else { Err(NotAFrame.into()) }
    }
}

/// A frame in the making.
#[derive(Debug)]
pub struct Builder {
    bytes: Vec<u8>,
}

impl Default for Builder {
    fn default() -> Self {
        Self { bytes: vec![VERSION, 0] }
    }
}

impl Builder {
    /// How many entries are in it.
    #[must_use]
    pub fn count(&self) -> usize {
        usize::from(self.bytes[1])
    }

    /// Whether no more go in.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.count() >= ENTRIES_MAX
    }

    /// How many bytes it has.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: &Entry) {
        entry.put(&mut self.bytes);
        self.bytes[1] = self.bytes[1].saturating_add(1);
    }

    /// Adds an entry with a record of a tenant's, in its leaf form, and its counter.
    pub fn push_record(&mut self, form: Form, place: (TenantId, u64), leaf: &Leaf, private: Option<&Private>) {
        entry::put_record(&mut self.bytes, form, place, leaf, private);
        self.bytes[1] = self.bytes[1].saturating_add(1);
    }

    /// The content, as [`Frame::parse`] takes it too.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Takes everything out and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.truncate(2);
        self.bytes[1] = 0;
    }
}

/// Packs content before it is sealed. An intent and its outcome say nearly the same, and so do the records of one tenant:
/// seven bytes become one, and every copy on the way to the log is as much cheaper. Keeps its memory from frame to frame.
#[derive(Default)]
pub struct Packer {
    table: CompressTable,
    out: Vec<u8>,
}

impl Packer {
    /// The bytes to be sealed: packed, unless there are few.
    pub fn pack<'a>(&'a mut self, content: &'a Builder) -> &'a [u8] {
        let plain = &content.bytes;
        let (Ok(length), PACKED_FROM..=CONTENT_MAX) = (u32::try_from(plain.len()), plain.len()) else { return plain };
        let most = HEAD + get_maximum_output_size(plain.len());
        if self.out.len() < most {
            self.out.resize(most, 0);
        }
        self.out[0] = PACKED;
        self.out[1..HEAD].copy_from_slice(&length.to_le_bytes());
        match compress_into_with_table(plain, &mut self.out[HEAD..], &mut self.table) {
            Ok(written) => &self.out[..HEAD + written],
            Err(_) => plain,
        }
    }
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Packer")
    }
}

/// The version byte and the length before packed content.
const HEAD: usize = 5;

/// Packed content as it was before; `None` when it is not packed.
fn unpack(bytes: &Bytes) -> Result<Option<Bytes>, NotAFrame> {
    let Some((&[PACKED, a, b, c, d], block)) = bytes.split_first_chunk::<HEAD>() else { return Ok(None) };
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    // LZ4 makes at most 255 bytes of one: whoever says more wants memory.
    if length > CONTENT_MAX || length > block.len().saturating_mul(255) {
        return Err(NotAFrame);
    }
    let content = decompress(block, length).map_err(|_| NotAFrame)?;
    Ok(Some(content.into()))
}

/// What a frame is sealed with, besides the key: so it can't be moved to another place.
#[derive(Debug)]
pub struct Aad {
    deployment: String,
    place: [u8; 42],
}

/// What the sealed frame `s` of a source is bound to.
#[must_use]
pub fn aad(deployment: &str, source: &Source, s: u64) -> Aad {
    let mut place = [0; 42];
    place[..16].copy_from_slice(source.node.uuid().as_bytes());
    place[16..32].copy_from_slice(source.boot.uuid().as_bytes());
    place[32..34].copy_from_slice(&source.shard.to_be_bytes());
    place[34..].copy_from_slice(&s.to_be_bytes());
    Aad { deployment: deployment.to_owned(), place }
}

impl Aad {
    /// Deployment, node, boot, shard, s.
    #[must_use]
    pub fn parts(&self) -> [&[u8]; 5] {
        let place = &self.place;
        [self.deployment.as_bytes(), &place[..16], &place[16..32], &place[32..34], &place[34..]]
    }
}

/// The sealed frame with its address, as it stands in the stream and in the spool.
#[must_use]
pub fn to_wire(source: &Source, s: u64, sealed: &[u8]) -> Bytes {
    let mut wire = wire_head(source, s, sealed.len());
    wire.extend_from_slice(sealed);
    wire.into()
}

/// The address of a frame as in [`to_wire`], with room for `sealed` bytes behind it.
#[must_use]
pub fn wire_head(source: &Source, s: u64, sealed: usize) -> Vec<u8> {
    let mut wire = Vec::with_capacity(WIRE_HEADER + sealed);
    wire.push(VERSION);
    wire.extend_from_slice(source.node.uuid().as_bytes());
    wire.extend_from_slice(source.boot.uuid().as_bytes());
    wire.extend_from_slice(&source.shard.to_be_bytes());
    wire.extend_from_slice(&s.to_be_bytes());
    wire
}

/// Reads the address off; the rest is sealed. The address is worth nothing until the seal was opened with it.
///
/// # Errors
/// [`NotAFrame`] when the bytes are too short or of another version.
pub fn from_wire(wire: &[u8]) -> Result<(Source, u64, &[u8]), NotAFrame> {
    let (header, sealed) = wire.split_first_chunk::<WIRE_HEADER>().ok_or(NotAFrame)?;
    if header[0] != VERSION {
        return Err(NotAFrame);
    }
    let uuid = |at: usize| Uuid::from_slice(&header[at..at + 16]).map_err(|_| NotAFrame);
    let source = Source {
        node: NodeId::from_uuid(uuid(1)?),
        boot: BootId::from_uuid(uuid(17)?),
        shard: u16::from_be_bytes([header[33], header[34]]),
    };
    let s = header[35..].iter().fold(0, |s, byte| s << 8 | u64::from(*byte));
    Ok((source, s, sealed))
}

#[cfg(test)]
mod tests {
    use domain::CallId;
    use proptest::prelude::*;

    use super::*;
    use crate::entry::Body;
    use crate::record::{Counter, Record};

    fn any_body() -> impl Strategy<Value = Body> {
        let private = proptest::option::of((any::<[u8; 32]>(), any::<Vec<u8>>()));
        (any::<Vec<u8>>(), private).prop_map(|(record, private)| Body {
            record: record.into(),
            private: private.map(|(key, pii)| Private { key, pii: pii.into() }),
        })
    }

    fn any_entry() -> impl Strategy<Value = Entry> {
        let tenant = any::<u128>().prop_map(|id| TenantId::from_uuid(Uuid::from_u128(id)));
        let call = any::<u128>().prop_map(|id| CallId::from_uuid(Uuid::from_u128(id)));
        let boots = proptest::collection::vec(any::<u128>(), 0..5);
        prop_oneof![
            (tenant.clone(), call.clone(), any::<u64>(), any_body())
                .prop_map(|(tenant, call, n, body)| Entry::Intent { tenant, call, n, body }),
            (tenant.clone(), call, any::<u64>(), any::<bool>(), any_body())
                .prop_map(|(tenant, call, n, had_intent, body)| Entry::Final { tenant, call, n, had_intent, body }),
            (tenant, any::<u64>(), any_body()).prop_map(|(tenant, n, body)| Entry::Note { tenant, n, body }),
            Just(Entry::Beat),
            Just(Entry::End),
            boots.prop_map(|boots| {
                Entry::Dead(boots.into_iter().map(|id| BootId::from_uuid(Uuid::from_u128(id))).collect())
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_frame_reads_back(entries in proptest::collection::vec(any_entry(), 1..=ENTRIES_MAX)) {
            let frame = Frame { entries };
            prop_assert_eq!(Frame::parse(&frame.to_bytes().into()), Ok(frame));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(
            bytes: Vec<u8>,
            entries in proptest::collection::vec(any_entry(), 1..4),
            cut: prop::sample::Index,
            change in (any::<prop::sample::Index>(), any::<u8>()),
        ) {
            let _ = from_wire(&bytes);
            prop_assert!(Frame::parse(&[&[9], &bytes[..]].concat().into()).is_err(), "an unknown version");
            let _ = Frame::parse(&[&[VERSION, 3], &bytes[..]].concat().into());
            let _ = Frame::parse(&[&[PACKED, 200, 1, 0, 0], &bytes[..]].concat().into());
            let mut whole = Frame { entries }.to_bytes();
            prop_assert!(Frame::parse(&whole[..cut.index(whole.len())].to_vec().into()).is_err(), "a part of a frame");
            let at = change.0.index(whole.len());
            whole[at] ^= change.1;
            let _ = Frame::parse(&whole.into());
        }

        #[test]
        fn a_frame_is_the_same_packed_and_unpacked(frames in proptest::collection::vec(
            proptest::collection::vec(any_entry(), 1..=ENTRIES_MAX), 1..4,
        )) {
            // The packer and the builder are used again, as a node does.
            let (mut packer, mut builder) = (Packer::default(), Builder::default());
            for entries in frames {
                builder.clear();
                for entry in &entries {
                    builder.push(entry);
                }
                let packed = packer.pack(&builder).to_vec();
                let plain = builder.bytes.clone();
                prop_assert_eq!(packed[0] == PACKED, plain.len() >= PACKED_FROM);
                prop_assert_eq!(Frame::parse(&packed.into()), Ok(Frame { entries: entries.clone() }));
                prop_assert_eq!(Frame::parse(&plain.into()), Ok(Frame { entries }));
            }
        }

        #[test]
        fn the_address_reads_back(node: u128, boot: u128, shard: u16, s: u64, sealed: Vec<u8>) {
            let (node, boot) = (NodeId::from_uuid(Uuid::from_u128(node)), BootId::from_uuid(Uuid::from_u128(boot)));
            let source = Source { node, boot, shard };
            let wire = to_wire(&source, s, &sealed);
            prop_assert_eq!(from_wire(&wire), Ok((source, s, &sealed[..])));
        }
    }

    #[test]
    fn a_length_that_the_packed_bytes_can_not_have_takes_no_memory() {
        for length in [u32::MAX, 255 * 4 + 1] {
            let bytes = [&[PACKED][..], &length.to_le_bytes(), &[0; 4]].concat();
            assert_eq!(Frame::parse(&bytes.into()), Err(NotAFrame.into()));
        }
    }

    #[test]
    fn what_a_later_release_wrote_is_told_from_rubbish() {
        let parse = |bytes: &[u8]| Frame::parse(&bytes.to_vec().into()).unwrap_err();
        assert_eq!(parse(&[9, 1, 0]), UnknownVersion(9).into());
        let later = Builder { bytes: [&[9][..], &[0; PACKED_FROM]].concat() };
        assert_eq!(parse(Packer::default().pack(&later)), UnknownVersion(9).into(), "packed");
        for rubbish in [&[][..], &[9], &[VERSION, 0], &[VERSION, 1, 200], &[PACKED, 0], &[PACKED, 0, 0, 0, 0]] {
            assert_eq!(parse(rubbish), NotAFrame.into(), "{rubbish:?}");
        }
    }

    #[test]
    fn a_record_is_put_in_with_the_number_it_is_given() {
        let clock = domain::Clock::new(|| chrono::DateTime::UNIX_EPOCH, || [1; 10]);
        let (tenant, call) = (TenantId::new(&clock), CallId::new(&clock));
        let mut record = Record::new(domain::RecordId::new(&clock), crate::words::Kind::Call, tenant, clock.now());
        record.gw.n = Some(Counter::Later);
        let mut builder = Builder::default();
        builder.push_record(Form::Intent(call), (tenant, 41), &record.to_leaf(), None);
        record.gw.n = Some(Counter::Given(41));
        let body = Body { record: record.to_bytes().into(), private: None };
        let expected = Frame { entries: vec![Entry::Intent { tenant, call, n: 41, body }] };
        assert_eq!(Frame::parse(&builder.into_bytes().into()), Ok(expected));
    }
}
