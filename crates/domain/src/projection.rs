//! What the control plane writes to Redis for the nodes, and how it is told from a forgery: key names, the signed
//! envelope, and the bodies inside. Nothing outside this module spells a Redis key.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{BootId, NodeId, Principal, TenantId, TokenDigest, TokenId, UserId};

/// Largest compressed snapshot that is published, bytes.
pub const SNAPSHOT_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Buckets of the index of all snapshots.
pub const INDEX_BUCKETS: usize = 256;

/// Names of Redis keys. They begin with the tenant's id in braces, a hash tag of Redis Cluster, where there is one.
pub mod keys {
    use super::{TenantId, TokenDigest, TokenId, UserId};

    /// Which tenant a slug names.
    #[must_use]
    pub fn slug(slug: &str) -> String {
        format!("slug:{slug}")
    }

    /// A tenant's published configuration.
    #[must_use]
    pub fn snapshot(tenant: TenantId) -> String {
        format!("{{{tenant}}}:snapshot")
    }

    /// A gateway token's principal, or its tombstone.
    #[must_use]
    pub fn token(tenant: TenantId, digest: TokenDigest) -> String {
        format!("{{{tenant}}}:token:{digest}")
    }

    /// Hash: node id -> sealed revision that is live there.
    #[must_use]
    pub fn live(tenant: TenantId) -> String {
        format!("{{{tenant}}}:live")
    }

    /// Stands while a legacy client's session, named by its nonce, has ended before its time. Sealed by the node.
    #[must_use]
    pub fn session_ended(tenant: TenantId, nonce: &str) -> String {
        format!("{{{tenant}}}:session_ended:{nonce}")
    }

    /// A session at a legacy upstream that nodes share, named by a digest of what it hangs on. Sealed by the node.
    #[must_use]
    pub fn upstream_session(tenant: TenantId, digest: &str) -> String {
        format!("{{{tenant}}}:upstream_session:{digest}")
    }

    /// Hash: digest of a label -> label and time, sealed by the node. What a principal has read through one token.
    #[must_use]
    pub fn seen_labels(tenant: TenantId, user: UserId, token: TokenId) -> String {
        format!("{{{tenant}}}:seen_labels:{user}:{token}")
    }

    /// Since when Redis has kept what principals read without a break. Sealed by a node.
    pub const SEEN_LABELS_BEGAN: &str = "seen_labels_began";

    /// Stands while a request to the relay can't be used again.
    #[must_use]
    pub fn relay_used(jti: &str) -> String {
        format!("relay_used:{jti}")
    }

    /// Bucket `bucket` of the index of snapshots.
    #[must_use]
    pub fn index_bucket(bucket: usize) -> String {
        format!("index:{bucket}")
    }

    /// The audit stream of a shard.
    #[must_use]
    pub fn audit(shard: u16) -> String {
        format!("audit:{{{shard}}}")
    }

    /// Hash: source -> sealed ack of the shard's owner.
    #[must_use]
    pub fn audit_ack(shard: u16) -> String {
        format!("audit:{{{shard}}}:ack")
    }

    /// The last signed checkpoint of a tenant's log, kept outside of the database that has the log.
    #[must_use]
    pub fn checkpoint(tenant: TenantId) -> String {
        format!("{{{tenant}}}:checkpoint")
    }

    /// Channel: a tenant's log has grown. A hint only.
    #[must_use]
    pub fn log(tenant: TenantId) -> String {
        format!("{{{tenant}}}:log")
    }

    /// A random value that changes when the stream was lost.
    #[must_use]
    pub fn audit_incarnation(shard: u16) -> String {
        format!("audit:{{{shard}}}:incarnation")
    }

    /// The state of the whole configuration, four times a second.
    pub const HEAD: &str = "head";
    /// Digests of the index's buckets.
    pub const INDEX: &str = "index";
    /// Stream of numbered revocations.
    pub const REVOKE: &str = "revoke";
    /// Hash: node id -> sealed member.
    pub const NODES: &str = "nodes";
    /// Channel: a call of a legacy client was taken back. Sealed by the node; a hint only.
    pub const WITHDRAWN: &str = "withdrawn";
    /// Channel: something changed, look at the head. A hint only.
    pub const HINT: &str = "hint";
}

/// Which shard of the audit stream a tenant's records go to.
#[must_use]
pub fn shard_of(tenant: TenantId, shards: u16) -> u16 {
    // The low bits of a UUIDv7 are random.
    u16::try_from(tenant.uuid().as_u128() % u128::from(shards.max(1))).unwrap_or(0)
}

/// Which bucket of the index a tenant's snapshot is in.
#[must_use]
pub fn bucket_of(tenant: TenantId) -> usize {
    usize::from(tenant.uuid().as_bytes()[15])
}

/// What an envelope holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvelopeKind {
    /// [`SlugRecord`], JSON.
    Slug,
    /// [`crate::TenantSnapshot`], zstd of JSON.
    Snapshot,
    /// [`TokenRecord`], JSON.
    Token,
    /// [`Revocation`], JSON.
    Revocation,
    /// [`Head`], JSON.
    Head,
    /// SHA-256 of each bucket's body, 32 bytes each, in order.
    Index,
    /// List of [`IndexEntry`], JSON, in order of tenants.
    IndexBucket,
    /// [`crate::relay::Discover`], JSON; its key is [`crate::relay::DISCOVER_PATH`]. Sent over HTTP, not kept.
    Relay,
}

/// What is signed: the header says what the body is and where it may stand, so that nothing can be moved or mixed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// 1.
    pub format: u32,
    /// The deployment's id.
    pub deployment: String,
    /// What the body is.
    pub kind: EnvelopeKind,
    /// Whose it is, where it is a tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// The Redis key it stands under.
    pub key: String,
    /// Orders first: raised when Postgres went back.
    pub epoch: u64,
    /// Orders second.
    pub revision: u64,
    /// By the signer's clock.
    pub signed_at: DateTime<Utc>,
    /// Which of the pinned keys signed.
    pub key_id: String,
    /// SHA-256 of the body, hexadecimal.
    pub sha256: String,
}

/// Signs envelopes: the control plane's Ed25519 key (`secrets::SigningKey`).
pub trait Sign {
    /// Names the key.
    fn key_id(&self) -> &str;
    /// An Ed25519 signature (RFC 8032) of the message.
    fn sign(&self, message: &[u8]) -> [u8; 64];
    /// SHA-256 of the bytes.
    fn sha256(&self, bytes: &[u8]) -> [u8; 32];
}

/// Checks envelopes: the public keys a node has pinned (`secrets::VerifyingKeys`).
pub trait Verify {
    /// Whether the named key is pinned and made this signature of this message.
    fn verify(&self, key_id: &str, message: &[u8], signature: &[u8]) -> bool;
    /// SHA-256 of the bytes.
    fn sha256(&self, bytes: &[u8]) -> [u8; 32];
}

/// What is to be signed, beside the body.
#[derive(Debug, Clone)]
pub struct Statement<'a> {
    /// The deployment's id.
    pub deployment: &'a str,
    /// What the body is.
    pub kind: EnvelopeKind,
    /// Whose it is, where it is a tenant's.
    pub tenant: Option<TenantId>,
    /// The Redis key it will stand under.
    pub key: &'a str,
    /// Orders first.
    pub epoch: u64,
    /// Orders second.
    pub revision: u64,
    /// Now.
    pub signed_at: DateTime<Utc>,
}

/// An envelope whose signature, place and digest were found right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened<'a> {
    /// What was signed.
    pub header: Header,
    /// The body it speaks of.
    pub body: &'a [u8],
}

/// Why an envelope is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not header, signature and body.
    #[error("the envelope is malformed")]
    Malformed,
    /// Not signed by a pinned key, or changed since.
    #[error("the envelope's signature is wrong")]
    Signature,
    /// Signed, but for another deployment, kind, key or tenant.
    #[error("the envelope belongs elsewhere")]
    Misplaced,
}

/// Signs a body: header as one line of JSON, signature as one line of hexadecimal, body.
#[must_use]
pub fn seal(statement: &Statement<'_>, body: &[u8], key: &impl Sign) -> Vec<u8> {
    let header = Header {
        format: 1,
        deployment: statement.deployment.to_owned(),
        kind: statement.kind,
        tenant: statement.tenant,
        key: statement.key.to_owned(),
        epoch: statement.epoch,
        revision: statement.revision,
        signed_at: statement.signed_at,
        key_id: key.key_id().to_owned(),
        sha256: hexadecimal(&key.sha256(body)),
    };
    let header = serde_json::to_string(&header).unwrap_or_default();
    let signature = hexadecimal(&key.sign(header.as_bytes()));
    [header.as_bytes(), b"\n", signature.as_bytes(), b"\n", body].concat()
}

/// Opens what was read from `key`.
///
/// # Errors
/// [`EnvelopeError`] when it is not an envelope, not signed by a pinned key, or signed for another place.
pub fn open<'a>(
    bytes: &'a [u8],
    deployment: &str,
    kind: EnvelopeKind,
    key: &str,
    keys: &impl Verify,
) -> Result<Opened<'a>, EnvelopeError> {
    let mut parts = bytes.splitn(3, |byte| *byte == b'\n');
    let (Some(line), Some(signature), Some(body)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(EnvelopeError::Malformed);
    };
    let header: Header = serde_json::from_slice(line).map_err(|_| EnvelopeError::Malformed)?;
    let signature = from_hexadecimal(signature).ok_or(EnvelopeError::Malformed)?;
    if !keys.verify(&header.key_id, line, &signature) || header.sha256 != hexadecimal(&keys.sha256(body)) {
        return Err(EnvelopeError::Signature);
    }
    if header.format != 1 || header.deployment != deployment || header.kind != kind || header.key != key {
        return Err(EnvelopeError::Misplaced);
    }
    Ok(Opened { header, body })
}

fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn from_hexadecimal(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// Which tenant a slug names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlugRecord {
    /// The tenant; `None` once the slug was given up.
    pub tenant: Option<TenantId>,
}

/// A gateway token in Redis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum TokenRecord {
    /// Worth what the principal says.
    Live(Principal),
    /// Revoked: worth nothing, for ever.
    Revoked,
}

/// Something a node must forget, numbered without holes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// From 1.
    pub number: u64,
    /// Whose token.
    pub tenant: TenantId,
    /// The token.
    pub token: TokenId,
    /// Its digest.
    pub digest: TokenDigest,
    /// What became of it.
    pub what: RevocationKind,
}

/// What became of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevocationKind {
    /// It is worth nothing any more; its open streams end.
    Revoked,
    /// Its principal changed: read the record again.
    Changed,
}

/// The state of the whole configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Raised when Postgres went back.
    pub epoch: u64,
    /// How many publications there were in this epoch.
    pub change: u64,
    /// The number of the last revocation.
    pub revocation: u64,
    /// The lowest number still in the stream: what came before concerns tokens that have expired.
    pub revocation_floor: u64,
    /// SHA-256 of the index's body, hexadecimal.
    pub root: String,
    /// When it was written: a head that does not grow younger is a writer that is gone.
    pub at: DateTime<Utc>,
}

/// A tenant's line in the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexEntry {
    /// The tenant.
    pub tenant: TenantId,
    /// The published revision.
    pub revision: u64,
    /// SHA-256 of the snapshot envelope's body, hexadecimal.
    pub sha256: String,
}

/// A node's line in the list of members ([`keys::NODES`]), sealed with the master key for `member`; the additional data
/// are the key and the node's id. What a node has done is read from what it says itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// Its present run.
    pub boot: BootId,
    /// Where its internal listener is reached.
    pub address: String,
    /// When it wrote this, by its own clock.
    pub seen: DateTime<Utc>,
    /// The epoch of the two numbers below.
    pub epoch: u64,
    /// Every tenant it has loaded is as of this publication or later.
    pub change: u64,
    /// It has applied all revocations up to this one.
    pub revocation: u64,
}

/// What of a tenant is live on a node ([`keys::live`]), sealed with the master key for `live`; the additional data are
/// the key and the node's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// The run of the node that says so.
    pub boot: BootId,
    /// The snapshot's epoch.
    pub epoch: u64,
    /// The snapshot's revision.
    pub revision: u64,
}

/// How often a node writes its line in the list of members, milliseconds.
pub const HEARTBEAT_MS: u64 = 2_000;
/// A member that has not written for so long is silent: what it does is unknown. Milliseconds.
pub const SILENT_AFTER_MS: i64 = 6_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Not a signature scheme: xor of a key byte, enough to see what is covered.
    struct Toy(u8);
    impl Sign for Toy {
        #[expect(clippy::unnecessary_literal_bound, reason = "the trait's signature")]
        fn key_id(&self) -> &str {
            "toy"
        }
        fn sign(&self, message: &[u8]) -> [u8; 64] {
            let mut out = [self.0; 64];
            for (index, byte) in message.iter().enumerate() {
                out[index % 64] = out[index % 64].rotate_left(3) ^ byte;
            }
            out
        }
        fn sha256(&self, bytes: &[u8]) -> [u8; 32] {
            let mut out = [0_u8; 32];
            for (index, byte) in bytes.iter().enumerate() {
                out[index % 32] = out[index % 32].rotate_left(1) ^ byte;
            }
            out
        }
    }
    impl Verify for Toy {
        fn verify(&self, key_id: &str, message: &[u8], signature: &[u8]) -> bool {
            key_id == "toy" && self.sign(message) == signature
        }
        fn sha256(&self, bytes: &[u8]) -> [u8; 32] {
            Sign::sha256(self, bytes)
        }
    }

    fn sealed() -> Vec<u8> {
        let statement = Statement {
            deployment: "dep",
            kind: EnvelopeKind::Head,
            tenant: None,
            key: keys::HEAD,
            epoch: 1,
            revision: 2,
            signed_at: DateTime::UNIX_EPOCH,
        };
        seal(&statement, b"body\nof two lines", &Toy(7))
    }

    #[test]
    fn an_envelope_opens_where_it_belongs_and_nowhere_else() {
        let bytes = sealed();
        let at = |deployment: &str, kind, key: &str| {
            open(&bytes, deployment, kind, key, &Toy(7)).map(|opened| opened.body.to_vec())
        };
        assert_eq!(at("dep", EnvelopeKind::Head, "head"), Ok(b"body\nof two lines".to_vec()));
        assert_eq!(at("other", EnvelopeKind::Head, "head"), Err(EnvelopeError::Misplaced));
        assert_eq!(at("dep", EnvelopeKind::Token, "head"), Err(EnvelopeError::Misplaced));
        assert_eq!(at("dep", EnvelopeKind::Head, "heads"), Err(EnvelopeError::Misplaced));
        assert!(open(&bytes, "dep", EnvelopeKind::Head, "head", &Toy(8)).is_err());
    }

    #[test]
    fn no_changed_byte_is_believed() {
        let bytes = sealed();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            assert!(open(&changed, "dep", EnvelopeKind::Head, "head", &Toy(7)).is_err(), "byte {place}");
        }
    }
}
