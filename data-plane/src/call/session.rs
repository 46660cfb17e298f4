//! Sessions of legacy clients: a sealed id that any node can open, and a mark in Redis for those that ended early.

use std::time::Duration;

use domain::projection::keys;
use domain::{Clock, Principal};
use mcp::hello::Introduction;
use mcp::session::{Owner, Session};
use moka::sync::Cache;
use redis::AsyncCommands as _;
use redis::aio::ConnectionManager;
use secrets::Sealer;

/// How long a session lives; its id can't be changed, so this does not slide.
const LIFE: i64 = 7 * 24 * 60 * 60;
/// How long a node believes that a session goes on without looking.
const BELIEF: Duration = Duration::from_secs(1);
/// How long Redis may take to tell.
const PATIENCE: Duration = Duration::from_millis(250);
/// Most sessions of either kind remembered.
const MOST: u64 = 100_000;

/// Makes, opens and ends sessions.
#[derive(Clone)]
pub struct Sessions {
    sealer: Sealer,
    redis: Option<ConnectionManager>,
    clock: Clock,
    /// Seen to go on lately.
    alive: Cache<[u8; 16], ()>,
    /// Known to have ended.
    ended: Cache<[u8; 16], ()>,
}

/// A session that was opened: it is the caller's, and lives.
#[derive(Debug, Clone)]
pub struct LegacySession {
    /// What was sealed.
    pub state: Session,
    /// Names it among all sessions.
    pub nonce: [u8; 16],
}

/// The session is unknown, over, or another's: the client can't tell which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such session")]
pub struct SessionUnknown;

/// The end could not be made known to the other nodes.
#[derive(Debug, thiserror::Error)]
#[error("the session could not be ended")]
pub struct NotEnded;

impl Sessions {
    /// Seals with `sealer`; keeps ends in Redis, without which no session ends before its time.
    #[must_use]
    pub fn new(sealer: Sealer, redis: Option<ConnectionManager>, clock: Clock) -> Self {
        let life = Duration::from_secs(LIFE.unsigned_abs());
        Self {
            sealer,
            redis,
            clock,
            alive: Cache::builder().max_capacity(MOST).time_to_live(BELIEF).build(),
            ended: Cache::builder().max_capacity(MOST).time_to_live(life).build(),
        }
    }

    /// Begins a session and gives its id.
    #[must_use]
    pub fn begin(&self, principal: &Principal, introduction: Introduction) -> String {
        let now = self.clock.now().timestamp();
        let session = Session {
            version: introduction.version,
            capabilities: introduction.capabilities,
            client: introduction.client,
            nonce: hex::encode(secrets::random::<16>()),
            issued_at: now,
            expires_at: now + LIFE,
            owner: owner(principal),
        };
        let plain = serde_json::to_vec(&session).unwrap_or_default();
        self.sealer.seal_text(&parts(principal).each_ref().map(|part| &part[..]), &plain)
    }

    /// Opens a session's id for who presents it.
    ///
    /// # Errors
    /// [`SessionUnknown`] when it is not theirs, or not any more.
    pub async fn open(&self, principal: &Principal, id: &str) -> Result<LegacySession, SessionUnknown> {
        let parts = parts(principal);
        let plain = self.sealer.open_text(&parts.each_ref().map(|part| &part[..]), id).map_err(|_| SessionUnknown)?;
        let state: Session = serde_json::from_slice(&plain).map_err(|_| SessionUnknown)?;
        state.check(&owner(principal), self.clock.now().timestamp()).map_err(|_| SessionUnknown)?;
        let mut nonce = [0; 16];
        hex::decode_to_slice(&state.nonce, &mut nonce).map_err(|_| SessionUnknown)?;
        if self.has_ended(principal, &state.nonce, nonce).await {
            return Err(SessionUnknown);
        }
        Ok(LegacySession { state, nonce })
    }

    /// Ends a session for all nodes: here at once, elsewhere within a second.
    ///
    /// # Errors
    /// [`NotEnded`] when Redis does not take it.
    pub async fn end(&self, principal: &Principal, session: &LegacySession) -> Result<(), NotEnded> {
        let left = session.state.expires_at - self.clock.now().timestamp();
        let key = keys::session_ended(principal.tenant, &session.state.nonce);
        let mark = self.sealer.seal(&[b"ended", key.as_bytes()], b"");
        let seconds = u64::try_from(left).unwrap_or(0).max(1);
        let mut redis = self.redis.clone().ok_or(NotEnded)?;
        let told = tokio::time::timeout(PATIENCE, redis.set_ex::<_, _, ()>(&key, mark, seconds)).await;
        if !matches!(told, Ok(Ok(()))) {
            return Err(NotEnded);
        }
        self.ended.insert(session.nonce, ());
        Ok(())
    }

    /// Redis away means that it goes on: only its early end is not known then.
    async fn has_ended(&self, principal: &Principal, text: &str, nonce: [u8; 16]) -> bool {
        if self.ended.contains_key(&nonce) {
            return true;
        }
        if self.alive.contains_key(&nonce) {
            return false;
        }
        let Some(mut redis) = self.redis.clone() else { return false };
        let key = keys::session_ended(principal.tenant, text);
        let asked = tokio::time::timeout(PATIENCE, redis.get::<_, Option<Vec<u8>>>(&key)).await;
        let mark = asked.ok().and_then(Result::ok).flatten();
        let ended = mark.is_some_and(|mark| self.sealer.open(&[b"ended", key.as_bytes()], &mark).is_ok());
        let seen = if ended { &self.ended } else { &self.alive };
        seen.insert(nonce, ());
        ended
    }
}

/// For whom an id is sealed: whoever else presents it can't open it.
fn parts(principal: &Principal) -> [[u8; 16]; 3] {
    [principal.tenant.uuid(), principal.user.uuid(), principal.token.uuid()].map(uuid::Uuid::into_bytes)
}

fn owner(principal: &Principal) -> Owner {
    Owner {
        tenant: principal.tenant.to_string(),
        user: principal.user.to_string(),
        client: principal.token.to_string(),
    }
}
