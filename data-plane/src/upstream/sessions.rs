//! Sessions at legacy upstreams: who shares one, and for how long it is kept.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::projection::keys;
use domain::{CredentialId, ServerVersionId, SessionMode, TenantId, TokenId, UserId};
use http::HeaderValue;
use mcp::Version;
use mcp::session::Capabilities;
use moka::sync::Cache;
use redis::AsyncCommands as _;
use redis::aio::ConnectionManager;
use secrets::Sealer;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::call::session::SetLevel;

/// For how long an unused session is remembered.
const IDLE: Duration = Duration::from_mins(30);
/// For how long a session lies on the shelf: an upstream that has forgotten it earlier says so.
const ON_SHELF: Duration = Duration::from_hours(24);
/// How long Redis may take.
const PATIENCE: Duration = Duration::from_millis(250);
/// Most sessions remembered at once.
const MOST: u64 = 100_000;

/// Whose state at the upstream a call may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// One call's only: the session ends with it.
    Call,
    /// One person's through one token.
    Principal(UserId, TokenId),
    /// One session of a legacy client's.
    Client([u8; 16]),
    /// Everybody's in the tenant.
    Shared,
}

impl Isolation {
    /// Whether all that the session does is for one session of a client's, or for one call.
    pub(super) const fn is_one_clients(self) -> bool {
        matches!(self, Self::Call | Self::Client(_))
    }

    /// A legacy client's session is mirrored one to one; a modern client has none, so the server's setting holds.
    #[must_use]
    pub fn of(client_session: Option<[u8; 16]>, mode: SessionMode, user: UserId, token: TokenId) -> Self {
        match (client_session, mode) {
            (Some(nonce), SessionMode::PerPrincipal) => Self::Client(nonce),
            (None, SessionMode::PerPrincipal) => Self::Principal(user, token),
            (_, SessionMode::PerCall) => Self::Call,
            (_, SessionMode::Shared) => Self::Shared,
        }
    }
}

/// What a session hangs on: with another credential, reviewed version or owner it is another session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SessionKey {
    pub(super) tenant: TenantId,
    pub(super) version: ServerVersionId,
    pub(super) credential: Option<(CredentialId, u64)>,
    pub(super) isolation: Isolation,
    /// What we said in it that the client can do.
    pub(super) declared: Capabilities,
}

/// A session at a legacy upstream.
#[derive(Debug)]
pub(super) struct Session {
    /// What the upstream calls it; `None` when it wants no sessions.
    pub(super) id: Option<HeaderValue>,
    /// The protocol version agreed on.
    pub(super) version: Version,
    /// Whether its server says that a level can be set in it.
    pub(super) has_levels: bool,
    /// Which level this node set in it.
    pub(super) level: LevelSet,
}

/// The mark of the level that was set last; 0 for none.
#[derive(Debug, Default)]
pub(super) struct LevelSet(AtomicU64);

impl LevelSet {
    pub(super) fn is(&self, set: SetLevel) -> bool {
        self.0.load(Ordering::Relaxed) == set.mark
    }

    pub(super) fn note(&self, set: SetLevel) {
        self.0.store(set.mark, Ordering::Relaxed);
    }
}

/// The sessions this node knows.
pub(super) struct Sessions {
    slots: Cache<SessionKey, Arc<OnceCell<Arc<Session>>>>,
    shelf: Option<Shelf>,
}

/// Where nodes leave sessions for each other, sealed: an upstream takes its session from any of them.
#[derive(Clone)]
pub struct Shelf {
    /// Redis; while it is away, each node has sessions of its own.
    pub redis: ConnectionManager,
    /// Seals them (`Purpose::Session`).
    pub sealer: Sealer,
}

/// A session as it lies on the shelf.
#[derive(Serialize, Deserialize)]
struct Shelved {
    id: String,
    version: Version,
    #[serde(default)]
    has_levels: bool,
}

impl Sessions {
    pub(super) fn new(shelf: Option<Shelf>) -> Self {
        Self { slots: Cache::builder().max_capacity(MOST).time_to_idle(IDLE).build(), shelf }
    }

    /// The session of that key; `open` makes it when there is none. Of several callers at once one opens, the others wait.
    pub(super) async fn get<F, E>(&self, key: SessionKey, open: impl FnOnce() -> F) -> Result<Arc<Session>, E>
    where
        F: Future<Output = Result<Session, E>>,
    {
        let slot = self.slots.get_with(key, Arc::default);
        let find_or_open = || async {
            let Some(shared) = &self.shelf else { return open().await.map(Arc::new) };
            match shared.find(&key).await {
                Some(found) => Ok(Arc::new(found)),
                None => Ok(Arc::new(shared.leave(&key, open().await?).await)),
            }
        };
        slot.get_or_try_init(find_or_open).await.map(Arc::clone)
    }

    /// Takes the session of that key from here and from the shelf, where there is one: whoever used it is gone.
    pub(super) async fn take(&self, key: SessionKey) -> Option<Arc<Session>> {
        let here = self.slots.remove(&key).and_then(|slot| slot.get().cloned());
        let Some(others) = &self.shelf else { return here };
        let session = match here {
            Some(session) => session,
            None => Arc::new(others.find(&key).await?),
        };
        others.remove(&key, &session).await;
        Some(session)
    }

    /// Forgets a session the upstream does not know any more, unless a new one has taken its place already.
    pub(super) async fn forget(&self, key: SessionKey, lost: &Arc<Session>) {
        let is_lost = |slot: &Arc<OnceCell<Arc<Session>>>| slot.get().is_some_and(|kept| Arc::ptr_eq(kept, lost));
        if !self.slots.get(&key).as_ref().is_some_and(is_lost) {
            return;
        }
        // The shelf first: who comes next must not find the lost one there again.
        if let Some(shelf) = &self.shelf {
            shelf.remove(&key, lost).await;
        }
        self.slots.invalidate(&key);
    }
}

impl Shelf {
    async fn find(&self, key: &SessionKey) -> Option<Session> {
        let name = key.shelf_name();
        let mut redis = self.redis.clone();
        let sealed = timeout(PATIENCE, redis.get::<_, Option<Vec<u8>>>(&name)).await.ok()?.ok()??;
        let plain = self.sealer.open(&[b"upstream", name.as_bytes()], &sealed).ok()?;
        let shelved: Shelved = serde_json::from_slice(&plain).ok()?;
        Some(Session {
            id: Some(HeaderValue::from_str(&shelved.id).ok()?),
            version: shelved.version,
            has_levels: shelved.has_levels,
            level: LevelSet::default(),
        })
    }

    /// Leaves a session for the others; gives theirs when one of them was faster.
    async fn leave(&self, key: &SessionKey, session: Session) -> Session {
        let Some(id) = session.id.as_ref().and_then(|id| id.to_str().ok()) else { return session };
        let shelved = Shelved { id: id.to_owned(), version: session.version, has_levels: session.has_levels };
        let name = key.shelf_name();
        let plain = serde_json::to_vec(&shelved).unwrap_or_default();
        let sealed = self.sealer.seal(&[b"upstream", name.as_bytes()], &plain);
        let mut set = redis::cmd("SET");
        set.arg(&name).arg(sealed).arg("NX").arg("EX").arg(ON_SHELF.as_secs());
        let mut redis = self.redis.clone();
        match timeout(PATIENCE, set.query_async::<Option<String>>(&mut redis)).await {
            Ok(Ok(None)) => self.find(key).await.unwrap_or(session),
            _ => session,
        }
    }

    /// Takes a session away that the upstream does not know any more.
    async fn remove(&self, key: &SessionKey, lost: &Session) {
        if self.find(key).await.is_some_and(|found| found.id == lost.id) {
            let mut redis = self.redis.clone();
            // Left there, it costs whoever finds it one more round trip.
            let _ = timeout(PATIENCE, redis.del::<_, ()>(key.shelf_name())).await;
        }
    }
}

impl SessionKey {
    fn shelf_name(&self) -> String {
        let mut text = self.version.uuid().as_bytes().to_vec();
        if let Some((credential, version)) = self.credential {
            text.extend_from_slice(credential.uuid().as_bytes());
            text.extend_from_slice(&version.to_be_bytes());
        }
        match self.isolation {
            Isolation::Call => text.push(0),
            Isolation::Principal(user, token) => {
                text.push(1);
                text.extend_from_slice(user.uuid().as_bytes());
                text.extend_from_slice(token.uuid().as_bytes());
            }
            Isolation::Client(nonce) => {
                text.push(2);
                text.extend_from_slice(&nonce);
            }
            Isolation::Shared => text.push(3),
        }
        // Each of the above has one length, so this can't be taken for a part of it.
        if self.declared != Capabilities::default() {
            text.push(self.declared.bits());
        }
        keys::upstream_session(self.tenant, &hex::encode(secrets::sha256(&text)))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::Fault;
    use super::*;

    fn key(isolation: Isolation) -> SessionKey {
        let id = Uuid::from_u128(1);
        SessionKey {
            tenant: TenantId::from_uuid(id),
            version: ServerVersionId::from_uuid(id),
            credential: None,
            isolation,
            declared: Capabilities::default(),
        }
    }

    async fn open(id: &'static str) -> Result<Session, Fault> {
        tokio::task::yield_now().await;
        let id = Some(HeaderValue::from_static(id));
        Ok(Session { id, version: Version::V2025_11_25, has_levels: false, level: LevelSet::default() })
    }

    #[tokio::test]
    async fn a_session_is_opened_once_and_again_only_after_it_was_lost() {
        let sessions = Sessions::new(None);
        let key = key(Isolation::Shared);
        let first = sessions.get(key, || open("a")).await.unwrap();
        let second = sessions.get(key, || open("b")).await.unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        sessions.forget(key, &first).await;
        let third = sessions.get(key, || open("c")).await.unwrap();
        sessions.forget(key, &first).await;
        let fourth = sessions.get(key, || open("d")).await.unwrap();
        assert!(Arc::ptr_eq(&third, &fourth), "a late report of the old loss must not end the new session");
    }

    #[tokio::test]
    async fn a_failed_opening_is_tried_again_by_the_next_caller() {
        let sessions = Sessions::new(None);
        let key = key(Isolation::Shared);
        assert!(sessions.get(key, || async { Err(Fault::Unreachable) }).await.is_err());
        assert!(sessions.get(key, || open("a")).await.is_ok());
    }

    #[test]
    fn a_legacy_client_keeps_its_own_session_and_a_modern_one_has_its_principals() {
        let (user, token) = (UserId::from_uuid(Uuid::from_u128(2)), TokenId::from_uuid(Uuid::from_u128(3)));
        let of = |client, mode| Isolation::of(client, mode, user, token);
        assert_eq!(of(Some([1; 16]), SessionMode::PerPrincipal), Isolation::Client([1; 16]));
        assert_eq!(of(None, SessionMode::PerPrincipal), Isolation::Principal(user, token));
        assert_eq!(of(Some([1; 16]), SessionMode::PerCall), Isolation::Call);
        assert_eq!(of(None, SessionMode::Shared), Isolation::Shared);
    }
}
