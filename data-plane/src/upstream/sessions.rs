//! Sessions at legacy upstreams: who shares one, and for how long it is kept.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use domain::{ServerVersionId, SessionMode, TenantId, TokenId, UserId};
use http::HeaderValue;
use mcp::Version;
use moka::sync::Cache;
use tokio::sync::OnceCell;

/// For how long an unused session is remembered.
const IDLE: Duration = Duration::from_mins(30);
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
    pub(super) credential_version: u64,
    pub(super) isolation: Isolation,
}

/// A session at a legacy upstream.
#[derive(Debug)]
pub(super) struct Session {
    /// What the upstream calls it; `None` when it wants no sessions.
    pub(super) id: Option<HeaderValue>,
    /// The protocol version agreed on.
    pub(super) version: Version,
}

/// The sessions this node has open.
#[derive(Debug, Clone)]
pub(super) struct Sessions(Cache<SessionKey, Arc<OnceCell<Arc<Session>>>>);

impl Sessions {
    pub(super) fn new() -> Self {
        Self(Cache::builder().max_capacity(MOST).time_to_idle(IDLE).build())
    }

    /// The session of that key; `open` makes it when there is none. Of several callers at once one opens, the others wait.
    pub(super) async fn get<F, E>(&self, key: SessionKey, open: impl FnOnce() -> F) -> Result<Arc<Session>, E>
    where
        F: Future<Output = Result<Session, E>>,
    {
        let slot = self.0.get_with(key, Arc::default);
        slot.get_or_try_init(|| async { open().await.map(Arc::new) }).await.map(Arc::clone)
    }

    /// Forgets a session the upstream does not know any more, unless a new one has taken its place already.
    pub(super) fn forget(&self, key: SessionKey, lost: &Arc<Session>) {
        let is_lost = |slot: &Arc<OnceCell<Arc<Session>>>| slot.get().is_some_and(|kept| Arc::ptr_eq(kept, lost));
        if self.0.get(&key).as_ref().is_some_and(is_lost) {
            self.0.invalidate(&key);
        }
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
            credential_version: 0,
            isolation,
        }
    }

    async fn open(id: &'static str) -> Result<Session, Fault> {
        tokio::task::yield_now().await;
        Ok(Session { id: Some(HeaderValue::from_static(id)), version: Version::V2025_11_25 })
    }

    #[tokio::test]
    async fn a_session_is_opened_once_and_again_only_after_it_was_lost() {
        let sessions = Sessions::new();
        let key = key(Isolation::Shared);
        let first = sessions.get(key, || open("a")).await.unwrap();
        let second = sessions.get(key, || open("b")).await.unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        sessions.forget(key, &first);
        let third = sessions.get(key, || open("c")).await.unwrap();
        sessions.forget(key, &first);
        let fourth = sessions.get(key, || open("d")).await.unwrap();
        assert!(Arc::ptr_eq(&third, &fourth), "a late report of the old loss must not end the new session");
    }

    #[tokio::test]
    async fn a_failed_opening_is_tried_again_by_the_next_caller() {
        let sessions = Sessions::new();
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
