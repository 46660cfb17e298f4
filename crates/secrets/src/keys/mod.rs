//! A deployment's keys: the master key that everything sealed hangs on, and the key that signs what nodes believe.

mod files;
mod master;
mod sealer;
mod signing;

pub use files::{ControlKeys, KeyError, NodeKeys, create};
pub use master::{MasterKey, UnwrapError};
pub use sealer::{OpenError, Purpose, Sealer};
pub use signing::{SigningKey, VerifyingKeys};

use crate::random::sha256;

/// How a key is named in what was made with it: the first 8 hexadecimal digits of a SHA-256.
pub(crate) fn key_id(bytes: &[u8]) -> String {
    hex::encode(&sha256(bytes)[..4])
}
