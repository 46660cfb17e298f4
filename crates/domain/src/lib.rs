//! The words both planes share: ids, names, roles, principals, tokens, servers and tools, the tenant snapshot.
//!
//! Pure: no clock, randomness, environment or I/O of its own; what it needs of them comes in as a value ([`Clock`]).

pub mod clock;
pub mod header;
pub mod id;
pub mod item;
pub mod name;
pub mod principal;
pub mod projection;
pub mod relay;
pub mod role;
pub mod secret;
pub mod server;
pub mod snapshot;
pub mod token;

pub use clock::Clock;
pub use id::{
    BootId, CallId, CredentialId, DestinationId, Id, InvitationId, ItemId, MembershipId, NodeId, PolicyId,
    PolicyVersionId, RecordId, ServerId, ServerVersionId, SessionId, TenantId, TokenId, ToolId, UserId,
};
pub use item::{Carries, Item, ItemKind};
pub use name::{Alias, GroupName, Label, ServerKey, Slug};
pub use principal::{Principal, Reach, TokenScope};
pub use role::{Permission, Role};
pub use secret::Secret;
pub use server::{Annotations, EraPin, RiskClass, SessionMode, Transport};
pub use snapshot::{Credential, CredentialPlace, PolicyText, Server, TenantSnapshot, Tool, WrappedKey};
pub use token::{TokenDigest, TokenKind, TokenText};
