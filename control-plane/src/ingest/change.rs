//! A change of configuration as an audit record: written in the transaction of the change, so that there is never one
//! without the other.

use audit::words::{ActorKind, AuthMethod, Kind};
use audit::{Record, Text};
use domain::{Clock, RecordId, SessionId, TenantId, TokenId, UserId};
use serde::Serialize;
use store::audit::inbox::{self, InboxRecord};
use store::{PlatformTx, TenantTx};

/// Who changes configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A person.
    User {
        /// Who.
        user: UserId,
        /// What proved it.
        by: By,
    },
    /// Sluice itself: first start, upkeep.
    System,
}

/// What proves who makes a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// An API token.
    Token(TokenId),
    /// A browser that is signed in.
    Session(SessionId),
}

/// What was changed. Values are kept as digests only: a record never holds what it tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    action: &'static str,
    kind: &'static str,
    id: String,
    name: Option<String>,
    before: Option<String>,
    after: Option<String>,
}

impl Change {
    /// A change of one thing: what was done (`server.add`, `token.revoke`), the kind of thing, and its id.
    #[must_use]
    pub fn new(action: &'static str, kind: &'static str, id: impl std::fmt::Display) -> Self {
        Self { action, kind, id: id.to_string(), name: None, before: None, after: None }
    }

    /// What people call the thing; never a person's name or address.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The thing as it was; its SHA-256 (of RFC 8785 JSON) is kept.
    #[must_use]
    pub fn before(mut self, value: &impl Serialize) -> Self {
        self.before = digest(value);
        self
    }

    /// The thing as it is now; its SHA-256 (of RFC 8785 JSON) is kept.
    #[must_use]
    pub fn after(mut self, value: &impl Serialize) -> Self {
        self.after = digest(value);
        self
    }
}

/// Records a change made in this transaction.
///
/// # Errors
/// [`store::Error`] when the database failed; the transaction is then to be dropped.
pub async fn record(tx: &mut TenantTx, clock: &Clock, actor: &Actor, change: Change) -> Result<(), store::Error> {
    let id = RecordId::new(clock);
    let record = Record::new(id, Kind::Admin, tx.tenant(), clock.now());
    inbox::add(tx, &InboxRecord { id, body: body(record, actor, change), pii: None }).await
}

/// Records in the logs of these tenants what was done to the account of a member of theirs, in this transaction.
///
/// # Errors
/// [`store::Error`] when the database failed; the transaction is then to be dropped.
pub async fn record_account(
    tx: &mut PlatformTx,
    tenants: &[TenantId],
    clock: &Clock,
    actor: &Actor,
    change: &Change,
) -> Result<(), store::Error> {
    for tenant in tenants {
        let id = RecordId::new(clock);
        let record = Record::new(id, Kind::Auth, *tenant, clock.now());
        let record = InboxRecord { id, body: body(record, actor, change.clone()), pii: None };
        inbox::add_to(tx, *tenant, &record).await?;
    }
    Ok(())
}

fn body(mut record: Record, actor: &Actor, change: Change) -> Vec<u8> {
    let (kind, who) = match actor {
        Actor::User { user, .. } => (ActorKind::User, user.to_string()),
        Actor::System => (ActorKind::System, "sluice".to_owned()),
    };
    (record.actor.kind, record.actor.id) = (Some(kind), Some(who.into()));
    match actor {
        Actor::User { by: By::Token(token), .. } => {
            record.actor.auth_method = Some(AuthMethod::ApiKey);
            record.actor.token_id = Some(*token);
        }
        Actor::User { by: By::Session(session), .. } => {
            record.actor.auth_method = Some(AuthMethod::Session);
            record.session.id = Some(session.to_string().into());
        }
        Actor::System => {}
    }
    record.change.action = Some(change.action.into());
    record.change.before = change.before.map(Text::from);
    record.change.after = change.after.map(Text::from);
    record.change.target.kind = Some(change.kind.into());
    record.change.target.id = Some(change.id.into());
    record.change.target.name = change.name.map(Text::from);
    record.to_bytes()
}

/// SHA-256 of a value's canonical JSON, hexadecimal; none of what can't be written as JSON.
fn digest(value: &impl Serialize) -> Option<String> {
    let canonical = serde_json_canonicalizer::to_vec(value).ok()?;
    Some(hex::encode(secrets::sha256(&canonical)))
}
