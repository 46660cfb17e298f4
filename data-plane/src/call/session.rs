//! Sessions of legacy clients: a sealed id that any node can open, and in Redis what can change: whether it ended early, and
//! what its client set.

use std::time::{Duration, Instant};

use domain::projection::keys;
use domain::{Clock, Principal, TenantId};
use mcp::hello::Introduction;
use mcp::meta::LogLevel;
use mcp::session::{Owner, Session};
use moka::sync::Cache;
use redis::aio::ConnectionManager;
use secrets::Sealer;

/// How long a session lives; its id can't be changed, so this does not slide.
const LIFE: i64 = 7 * 24 * 60 * 60;
/// How long a node believes that a session goes on as it was, without looking, where it was not told otherwise.
const BELIEF: Duration = Duration::from_secs(1);
/// How long what was seen of an idle session is kept for the time in which Redis is away.
const IDLE: Duration = Duration::from_hours(1);
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
    belief: Duration,
    /// Seen to go on.
    alive: Cache<[u8; 16], Seen>,
    /// Known to have ended.
    ended: Cache<[u8; 16], ()>,
}

/// What was seen of a session that goes on.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Instant,
    level: Option<SetLevel>,
}

/// A level that a client set for its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetLevel {
    /// The least level of the log lines it wants.
    pub level: LogLevel,
    /// Random, never 0: tells it from what was set before and after.
    pub mark: u64,
}

/// A session that was opened: it is the caller's, and lives.
#[derive(Debug, Clone)]
pub struct LegacySession {
    /// What was sealed.
    pub state: Session,
    /// Names it among all sessions.
    pub nonce: [u8; 16],
    /// Its log level; none until its client sets one.
    pub level: Option<SetLevel>,
}

/// The session is unknown, over, or another's: the client can't tell which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such session")]
pub struct SessionUnknown;

/// The end could not be made known to the other nodes.
#[derive(Debug, thiserror::Error)]
#[error("the session could not be ended")]
pub struct NotEnded;

/// What a client set could not be made known to the other nodes.
#[derive(Debug, thiserror::Error)]
#[error("the session's state could not be kept")]
pub struct StateNotKept;

impl Sessions {
    /// Seals with `sealer`; keeps ends and states in Redis, without which no session ends before its time.
    #[must_use]
    pub fn new(sealer: Sealer, redis: Option<ConnectionManager>, clock: Clock) -> Self {
        let life = Duration::from_secs(LIFE.unsigned_abs());
        Self {
            sealer,
            redis,
            clock,
            belief: BELIEF,
            alive: Cache::builder().max_capacity(MOST).time_to_idle(IDLE).build(),
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
        let level = self.look(principal, &state.nonce, nonce).await?;
        Ok(LegacySession { state, nonce, level })
    }

    /// Ends a session for all nodes: here at once, elsewhere as soon as they hear of it, and within a second.
    ///
    /// # Errors
    /// [`NotEnded`] when Redis does not take it.
    pub async fn end(&self, principal: &Principal, session: &LegacySession) -> Result<(), NotEnded> {
        let key = keys::session_ended(principal.tenant, &session.state.nonce);
        let mark = self.sealer.seal(&[b"ended", key.as_bytes()], b"");
        let mut pipe = redis::pipe();
        pipe.atomic().set_ex(&key, mark, self.left(session)).ignore();
        self.tell(pipe, session.nonce).await.ok_or(NotEnded)?;
        self.ended.insert(session.nonce, ());
        // By itself: that a session is over holds also where Redis, with the rules of an earlier release, keeps its state
        // until it expires.
        let state = redis::Cmd::del(state_key(principal.tenant, &session.state.nonce));
        if let Some(mut redis) = self.redis.clone() {
            let _ = tokio::time::timeout(PATIENCE, state.query_async::<()>(&mut redis)).await;
        }
        Ok(())
    }

    /// Sets the log level of a session for all nodes: here at once, elsewhere as soon as they hear of it, and within a second.
    ///
    /// # Errors
    /// [`StateNotKept`] when Redis does not take it.
    pub async fn set_level(
        &self,
        principal: &Principal,
        session: &LegacySession,
        level: LogLevel,
    ) -> Result<(), StateNotKept> {
        let set = SetLevel { level, mark: u64::from_be_bytes(secrets::random()).max(1) };
        let key = state_key(principal.tenant, &session.state.nonce);
        let mut pipe = redis::pipe();
        pipe.atomic().hset(&key, LEVEL, self.sealer.seal(&level_parts(&key), &set.to_bytes())).ignore();
        pipe.expire(&key, self.left(session).cast_signed()).ignore();
        self.tell(pipe, session.nonce).await.ok_or(StateNotKept)?;
        self.alive.insert(session.nonce, Seen { at: Instant::now(), level: Some(set) });
        Ok(())
    }

    /// How long a session has to live, in seconds.
    fn left(&self, session: &LegacySession) -> u64 {
        let left = session.state.expires_at - self.clock.now().timestamp();
        u64::try_from(left).unwrap_or(0).max(1)
    }

    /// Takes in what another node tells of a session: what was seen of it is not believed any more.
    pub fn hear(&self, word: &[u8]) {
        let nonce = self.sealer.open(&CHANGED, word).ok().and_then(|plain| <[u8; 16]>::try_from(plain).ok());
        if let Some(nonce) = nonce {
            self.alive.invalidate(&nonce);
        }
    }

    /// Changes what Redis has of a session, and tells the other nodes to look at it.
    async fn tell(&self, mut pipe: redis::Pipeline, nonce: [u8; 16]) -> Option<()> {
        pipe.publish(keys::WITHDRAWN, self.sealer.seal(&CHANGED, &nonce)).ignore();
        let mut redis = self.redis.clone()?;
        tokio::time::timeout(PATIENCE, pipe.query_async::<()>(&mut redis)).await.ok()?.ok()
    }

    /// The log level of a session that goes on. Redis away means that it goes on as it was: only what changes is not known
    /// then.
    async fn look(
        &self,
        principal: &Principal,
        text: &str,
        nonce: [u8; 16],
    ) -> Result<Option<SetLevel>, SessionUnknown> {
        if self.ended.contains_key(&nonce) {
            return Err(SessionUnknown);
        }
        let last = self.alive.get(&nonce);
        if let Some(seen) = last.filter(|seen| seen.at.elapsed() < self.belief) {
            return Ok(seen.level);
        }
        let level = match self.find(principal.tenant, text).await {
            None => last.and_then(|seen| seen.level),
            Some(Err(SessionUnknown)) => {
                self.ended.insert(nonce, ());
                return Err(SessionUnknown);
            }
            Some(Ok(level)) => level,
        };
        self.alive.insert(nonce, Seen { at: Instant::now(), level });
        Ok(level)
    }

    /// What Redis has of a session; `None` when that can't be told. What no node sealed is as if it was not there.
    async fn find(&self, tenant: TenantId, text: &str) -> Option<Result<Option<SetLevel>, SessionUnknown>> {
        let (ended, state) = (keys::session_ended(tenant, text), state_key(tenant, text));
        let mut pipe = redis::pipe();
        pipe.get(&ended).hget(&state, LEVEL);
        let mut redis = self.redis.clone()?;
        let asked = pipe.query_async::<(Option<Vec<u8>>, Option<Vec<u8>>)>(&mut redis);
        let (mark, level) = tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()?;
        if mark.is_some_and(|mark| self.sealer.open(&[b"ended", ended.as_bytes()], &mark).is_ok()) {
            return Some(Err(SessionUnknown));
        }
        let level = level.and_then(|sealed| self.sealer.open(&level_parts(&state), &sealed).ok());
        Some(Ok(level.and_then(|plain| SetLevel::read(&plain))))
    }
}

impl SetLevel {
    fn to_bytes(self) -> Vec<u8> {
        [&self.mark.to_be_bytes()[..], self.level.as_str().as_bytes()].concat()
    }

    fn read(plain: &[u8]) -> Option<Self> {
        let (mark, level) = plain.split_first_chunk()?;
        Some(Self { level: LogLevel::find(std::str::from_utf8(level).ok()?)?, mark: u64::from_be_bytes(*mark) })
    }
}

/// What words of changed sessions are bound to.
const CHANGED: [&[u8]; 1] = [b"session changed"];
/// The field of a session's log level.
const LEVEL: &str = "level";

/// Hash: what the client of a legacy session, named by its nonce, has set. Each field is sealed by the node.
fn state_key(tenant: TenantId, nonce: &str) -> String {
    format!("{{{tenant}}}:session:{nonce}")
}

/// What a session's log level is bound to.
const fn level_parts(key: &str) -> [&[u8]; 3] {
    [b"state", key.as_bytes(), LEVEL.as_bytes()]
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

#[cfg(test)]
mod tests {
    use secrets::Purpose;
    use uuid::Uuid;

    use super::*;
    use crate::audit::tests::{Redis, eventually};
    use crate::call::inflight::InFlight;
    use crate::call::withdrawal::Withdrawals;
    use crate::testing::{DEPLOYMENT, keys, principal};

    /// A node's part, which believes for an hour what it has seen.
    async fn node(redis: &Redis, sealer: &Sealer) -> Sessions {
        let connection = service::redis::connect(&redis.url()).await.unwrap();
        let belief = Duration::from_hours(1);
        Sessions { belief, ..Sessions::new(sealer.clone(), Some(connection), service::clock()) }
    }

    #[tokio::test]
    async fn what_changes_at_one_node_is_heard_at_the_others() {
        let (redis, us) = (Redis::start().await, principal(TenantId::from_uuid(Uuid::from_u128(9))));
        let sealer = keys().master.sealer(Purpose::Session, DEPLOYMENT);
        let (here, there) = (node(&redis, &sealer).await, node(&redis, &sealer).await);
        let client = service::redis::client(&redis.url()).unwrap();
        tokio::spawn(Withdrawals::listen(sealer, client, InFlight::default(), there.clone()));
        let mut connection = redis.connection().await;
        let mut listening = async || {
            let mut asked = redis::cmd("PUBSUB");
            asked.arg("NUMSUB").arg(keys::WITHDRAWN);
            asked.query_async::<(String, u64)>(&mut connection).await.unwrap().1 == 1
        };
        eventually(&mut listening).await;
        let introduction = Introduction {
            version: mcp::Version::V2025_11_25,
            capabilities: mcp::session::Capabilities::default(),
            client: None,
        };
        let id = here.begin(&us, introduction);
        let session = there.open(&us, &id).await.unwrap();
        assert_eq!(session.level, None);
        there.hear(&session.nonce);
        assert!(there.alive.contains_key(&session.nonce), "what no node sealed is not heard");
        here.set_level(&us, &session, LogLevel::Error).await.unwrap();
        let level = async || there.open(&us, &id).await.unwrap().level;
        eventually(async || level().await.is_some_and(|set| set.level == LogLevel::Error)).await;
        here.end(&us, &session).await.unwrap();
        eventually(async || there.open(&us, &id).await.is_err()).await;
    }
}
