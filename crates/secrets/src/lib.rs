//! Where credentials rest, and the keys both planes work with. All cryptography of ours is done here, by aws-lc-rs.
//!
//! [`keys`] holds a deployment's keys and what is sealed, wrapped, signed and digested with them; [`sealed`] and
//! [`vault`] are the two places of credentials, [`Store`] is either.

mod cipher;
pub mod keys;
pub mod personal;
pub mod random;
pub mod sealed;
pub mod shown;
pub mod store;
pub mod vault;

pub use keys::{
    ControlKeys, KeyError, MasterKey, NodeKeys, OpenError, Purpose, Sealer, SigningKey, UnwrapError, VerifyingKeys,
};
pub use random::{equal, hmac_sha256, new_data_key, new_token, random, sha256, token_digest};
pub use store::{Scope, Store, StoreError};
pub use vault::{Login, VaultConfig, VaultStore};
