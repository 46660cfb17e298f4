//! What a shard's owner tells a source: which frames took effect. Sealed by `secrets::Sealer` with [`aad`]; and the one
//! rule by which a node lets go of a frame.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use crate::entry::Input;
use crate::frame::{self, Aad, Source};
use crate::ranges::Ranges;

/// A place in a Redis stream: milliseconds and a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StreamId(pub u64, pub u64);

/// Why a text is no place in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a stream id")]
pub struct NotAStreamId;

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

impl FromStr for StreamId {
    type Err = NotAStreamId;
    fn from_str(text: &str) -> Result<Self, NotAStreamId> {
        let (millis, number) = text.split_once('-').ok_or(NotAStreamId)?;
        Ok(Self(millis.parse().map_err(|_| NotAStreamId)?, number.parse().map_err(|_| NotAStreamId)?))
    }
}

/// Which frames of a source took effect, as of one commit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ack {
    /// Orders first: raised when Postgres went back.
    pub epoch: u64,
    /// Orders second: the shard's version.
    pub version: u64,
    /// How far the owner had read the stream.
    pub cursor: StreamId,
    /// All frames up to this one took effect …
    pub wm: u64,
    /// … except these.
    pub missing: Ranges,
}

/// Why bytes are no ack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an ack")]
pub struct NotAnAck;

const VERSION: u8 = 1;

/// What the sealed ack of a source is bound to.
#[must_use]
pub fn aad(deployment: &str, source: &Source) -> Aad {
    frame::aad(deployment, source, 0)
}

impl Ack {
    /// Whether frame `s` took effect for good.
    #[must_use]
    pub fn covers(&self, s: u64) -> bool {
        s <= self.wm && !self.missing.contains(s)
    }

    /// Whether this ack says more than another: the one with the higher (epoch, version) is kept.
    #[must_use]
    pub fn is_newer_than(&self, other: Option<&Self>) -> bool {
        other.is_none_or(|other| (self.epoch, self.version) > (other.epoch, other.version))
    }

    /// The bytes that are sealed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        let numbers = [self.epoch, self.version, self.cursor.0, self.cursor.1, self.wm];
        let ranges = self.missing.as_slice().iter().flat_map(|(first, end)| [*first, *end]);
        numbers.into_iter().chain(ranges).for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        out
    }

    /// Reads what was sealed.
    ///
    /// # Errors
    /// [`NotAnAck`] when the bytes are anything else.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotAnAck> {
        let bytes = Bytes::copy_from_slice(bytes);
        let mut input = Input { bytes: &bytes, at: 0 };
        if input.array() != Some([VERSION]) {
            return Err(NotAnAck);
        }
        let mut number = || input.u64().ok_or(NotAnAck);
        let (epoch, version) = (number()?, number()?);
        let (cursor, wm) = (StreamId(number()?, number()?), number()?);
        let mut missing = Ranges::default();
        while input.at < bytes.len() {
            let (first, end) = (input.u64().ok_or(NotAnAck)?, input.u64().ok_or(NotAnAck)?);
            missing.insert(first, end);
        }
        Ok(Self { epoch, version, cursor, wm, missing })
    }
}

/// Lets go of exactly the frames that took effect, and gives them; nothing else ever frees a frame.
pub fn free<T>(outbox: &mut BTreeMap<u64, T>, ack: &Ack) -> Vec<(u64, T)> {
    outbox.extract_if(..=ack.wm, |s, _| !ack.missing.contains(*s)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_ack_reads_back_and_no_bytes_make_the_reader_panic(
            numbers: [u64; 5], ranges in proptest::collection::vec((0_u64..90, 1_u64..9), 0..5), any: Vec<u8>,
        ) {
            let missing = ranges.into_iter().map(|(first, length)| (first, first + length)).collect();
            let [epoch, version, millis, number, wm] = numbers;
            let ack = Ack { epoch, version, cursor: StreamId(millis, number), wm, missing };
            prop_assert_eq!(Ack::parse(&ack.to_bytes()), Ok(ack.clone()));
            prop_assert_eq!(ack.cursor.to_string().parse(), Ok(ack.cursor));
            let _ = Ack::parse(&any);
        }

        #[test]
        fn only_what_took_effect_is_let_go(wm in 0_u64..20, hole in 1_u64..20, length in 0_u64..5) {
            let missing: Ranges = [(hole, hole + length)].into_iter().collect();
            let ack = Ack { epoch: 0, version: 0, cursor: StreamId(0, 0), wm, missing };
            let mut outbox: BTreeMap<u64, u64> = (1..=20).map(|s| (s, s)).collect();
            let freed = free(&mut outbox, &ack);
            for s in 1..=20 {
                let took_effect = s <= wm && !(hole..hole + length).contains(&s);
                prop_assert_eq!(ack.covers(s), took_effect);
                prop_assert_eq!(outbox.contains_key(&s), !took_effect);
                prop_assert_eq!(freed.contains(&(s, s)), took_effect);
            }
        }
    }
}
