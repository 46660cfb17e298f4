//! The audit record, its canonical bytes, keyed hashes, the Merkle log and the protocol from a node to the log.
//!
//! Pure: no clock, randomness, environment or I/O of its own. The nodes form [`record::Record`]s and send them as
//! [`frame`]s; a shard's owner runs [`protocol`] over them and gives each record its place in its tenant's [`merkle`] log.

#[macro_use]
mod json;

pub mod ack;
pub mod args;
pub mod bundle;
pub mod columns;
pub mod entry;
pub mod export;
pub mod frame;
pub mod merkle;
pub mod note;
pub mod notes;
pub mod pii;
pub mod protocol;
pub mod ranges;
pub mod record;
pub mod text;
pub mod verify;
pub mod words;

pub use ack::Ack;
pub use columns::Columns;
pub use entry::Entry;
pub use frame::{Frame, Source};
pub use ranges::Ranges;
pub use record::Record;
pub use text::Text;
