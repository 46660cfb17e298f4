//! What a principal has read: the labels of the tools it called through one token in the last 24 hours. Kept in Redis for all
//! nodes, because a modern client has no session, and only for tenants whose policies ask for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use domain::projection::keys;
use domain::{Clock, Label, Principal, TenantId, TokenId, UserId};
use moka::sync::Cache;
use redis::AsyncCommands as _;
use redis::aio::ConnectionManager;
use secrets::Sealer;
use tokio::time::timeout;

/// For how long a label counts as seen.
const LIFE: Duration = Duration::from_hours(24);
/// How long Redis may take.
const PATIENCE: Duration = Duration::from_millis(250);
/// Most principals whose labels a node remembers itself, in case Redis forgets.
const MOST: u64 = 100_000;

/// Knows what principals have read.
#[derive(Clone)]
pub struct SeenLabels {
    redis: ConnectionManager,
    /// `Purpose::Seen`.
    sealer: Sealer,
    clock: Clock,
    here: Cache<(TenantId, UserId, TokenId), Arc<Seen>>,
}

/// Labels, and when each was seen last, in seconds of Unix time.
type Seen = BTreeMap<Label, i64>;

/// The other nodes could not be told what is about to be read: it must not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what was read could not be kept")]
pub struct NotKept;

impl SeenLabels {
    /// Keeps them in Redis, sealed with `sealer`.
    #[must_use]
    pub fn new(redis: ConnectionManager, sealer: Sealer, clock: Clock) -> Self {
        Self { redis, sealer, clock, here: Cache::builder().max_capacity(MOST).time_to_live(LIFE).build() }
    }

    /// As [`Self::new`], for a node that starts: from now on Redis keeps what is read, unless it does so already.
    pub async fn start(redis: ConnectionManager, sealer: Sealer, clock: Clock) -> Self {
        let seen = Self::new(redis, sealer, clock);
        // Should Redis be away, the first who asks says it.
        let _ = seen.begin().await;
        seen
    }

    /// Notes that Redis keeps what is read from now on, unless it does so already.
    async fn begin(&self) -> Option<i64> {
        let now = self.now();
        let sealed = self.sealer.seal(&[keys::SEEN_LABELS_BEGAN.as_bytes()], &now.to_be_bytes());
        let mut redis = self.redis.clone();
        let noted = redis.set_nx::<_, _, bool>(keys::SEEN_LABELS_BEGAN, sealed);
        timeout(PATIENCE, noted).await.ok()?.ok()?;
        Some(now)
    }

    /// What the principal has read; `None` when that is unknown: Redis is away, holds what no node wrote, or has lost its
    /// memory within the last day and since the token was issued.
    pub async fn of(&self, principal: &Principal) -> Option<BTreeSet<Label>> {
        let key = keys::seen_labels(principal.tenant, principal.user, principal.token);
        let mut redis = self.redis.clone();
        let mut pipe = redis::pipe();
        pipe.hgetall(&key).get(keys::SEEN_LABELS_BEGAN);
        let asked = pipe.query_async::<(HashMap<String, Vec<u8>>, Option<Vec<u8>>)>(&mut redis);
        let (kept, began) = timeout(PATIENCE, asked).await.ok()?.ok()?;
        let kept: Option<Seen> = kept.iter().map(|(field, sealed)| self.open(&key, field, sealed)).collect();
        let kept = kept?;
        let began = match began {
            Some(sealed) => self.began(&sealed)?,
            None => self.begin().await?,
        };
        let since = self.now() - LIFE.as_secs().cast_signed();
        if began > since && began > principal.issued_at.timestamp() {
            return None;
        }
        let here = self.here.get(&whose(principal));
        let all = kept.iter().chain(here.iter().flat_map(|here| here.iter()));
        Some(all.filter(|(_, at)| **at > since).map(|(label, _)| label.clone()).collect())
    }

    /// Notes what the principal is about to read, for all nodes. Done before the call leaves, so that nothing of the answer,
    /// be it a stream or an error, is there first.
    ///
    /// # Errors
    /// [`NotKept`] when Redis does not take it.
    pub async fn add(&self, principal: &Principal, labels: &BTreeSet<Label>) -> Result<(), NotKept> {
        let now = self.now();
        let key = keys::seen_labels(principal.tenant, principal.user, principal.token);
        let mut pipe = redis::pipe();
        pipe.atomic();
        for label in labels {
            let (field, sealed) = self.seal(&key, label, now);
            pipe.hset(&key, field, sealed).ignore();
        }
        pipe.expire(&key, LIFE.as_secs().cast_signed()).ignore();
        let mut redis = self.redis.clone();
        let told = timeout(PATIENCE, pipe.query_async::<()>(&mut redis)).await;
        if !matches!(told, Ok(Ok(()))) {
            return Err(NotKept);
        }
        self.here.entry(whose(principal)).and_upsert_with(|known| {
            let mut seen = known.map(|known| (**known.value()).clone()).unwrap_or_default();
            seen.extend(labels.iter().map(|label| (label.clone(), now)));
            Arc::new(seen)
        });
        Ok(())
    }

    fn seal(&self, key: &str, label: &Label, at: i64) -> (String, Vec<u8>) {
        let field = hex::encode(secrets::sha256(label.as_str().as_bytes()));
        let plain = [&at.to_be_bytes()[..], label.as_str().as_bytes()].concat();
        let sealed = self.sealer.seal(&[key.as_bytes(), field.as_bytes()], &plain);
        (field, sealed)
    }

    fn open(&self, key: &str, field: &str, sealed: &[u8]) -> Option<(Label, i64)> {
        let plain = self.sealer.open(&[key.as_bytes(), field.as_bytes()], sealed).ok()?;
        let (at, label) = plain.split_first_chunk()?;
        Some((std::str::from_utf8(label).ok()?.parse().ok()?, i64::from_be_bytes(*at)))
    }

    fn began(&self, sealed: &[u8]) -> Option<i64> {
        let plain = self.sealer.open(&[keys::SEEN_LABELS_BEGAN.as_bytes()], sealed).ok()?;
        Some(i64::from_be_bytes(plain.try_into().ok()?))
    }

    fn now(&self) -> i64 {
        self.clock.now().timestamp()
    }
}

const fn whose(principal: &Principal) -> (TenantId, UserId, TokenId) {
    (principal.tenant, principal.user, principal.token)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use secrets::Purpose;

    use super::*;
    use crate::audit::tests::Redis;
    use crate::testing::{DEPLOYMENT, keys as fresh_keys, principal};

    const BEGAN: i64 = 1_800_000_000;

    async fn node(redis: &Redis, keys: &secrets::NodeKeys, now: fn() -> DateTime<Utc>) -> SeenLabels {
        let connection = service::redis::connect(&redis.url()).await.unwrap();
        SeenLabels::new(connection, keys.master.sealer(Purpose::Seen, DEPLOYMENT), Clock::new(now, || [7; 10]))
    }

    fn began() -> DateTime<Utc> {
        DateTime::from_timestamp(BEGAN, 0).unwrap()
    }

    fn the_day_before() -> DateTime<Utc> {
        DateTime::from_timestamp(BEGAN - 86_400, 0).unwrap()
    }

    fn set(labels: &[&str]) -> BTreeSet<Label> {
        labels.iter().map(|label| label.parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn every_node_knows_for_a_day_what_a_principal_has_read_and_of_nobody_else() {
        let (redis, keys) = (Redis::start().await, fresh_keys());
        let (first, second) = (node(&redis, &keys, began).await, node(&redis, &keys, began).await);
        node(&redis, &keys, the_day_before).await.begin().await.unwrap();
        let mine = principal(TenantId::from_uuid(uuid::Uuid::from_u128(7)));
        assert_eq!(second.of(&mine).await, Some(set(&[])));
        first.add(&mine, &set(&["a"])).await.unwrap();
        second.add(&mine, &set(&["b", "c"])).await.unwrap();
        for node in [&first, &second] {
            assert_eq!(node.of(&mine).await, Some(set(&["a", "b", "c"])));
        }
        let other = Principal { token: TokenId::from_uuid(uuid::Uuid::from_u128(99)), ..mine.clone() };
        assert_eq!(first.of(&other).await, Some(set(&[])));

        let nearly = node(&redis, &keys, || DateTime::from_timestamp(BEGAN + 86_399, 0).unwrap()).await;
        nearly.add(&mine, &set(&["c"])).await.unwrap();
        assert_eq!(nearly.of(&mine).await, Some(set(&["a", "b", "c"])));
        let later = node(&redis, &keys, || DateTime::from_timestamp(BEGAN + 86_400, 0).unwrap()).await;
        assert_eq!(later.of(&mine).await, Some(set(&["c"])), "each label has its own day");
        let mut connection = redis.connection().await;
        let name = keys::seen_labels(mine.tenant, mine.user, mine.token);
        let left: u64 = connection.ttl(&name).await.unwrap();
        assert!((86_000..=86_400).contains(&left), "{left}");

        let () = connection.del(&name).await.unwrap();
        assert_eq!(first.of(&mine).await, Some(set(&["a"])), "what this node told itself is not forgotten with Redis");
    }

    #[tokio::test]
    async fn a_redis_that_lost_its_memory_knows_nothing_of_older_tokens_for_a_day() {
        let (redis, keys) = (Redis::start().await, fresh_keys());
        let now = node(&redis, &keys, began).await;
        node(&redis, &keys, the_day_before).await.begin().await.unwrap();
        let old = Principal { issued_at: the_day_before(), ..principal(TenantId::from_uuid(uuid::Uuid::from_u128(7))) };
        assert_eq!(now.of(&old).await, Some(set(&[])));
        let mut connection = redis.connection().await;
        let () = redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
        assert_eq!(now.of(&old).await, None);
        assert_eq!(now.of(&old).await, None, "also when asked again");
        let fresh = Principal { issued_at: began(), ..old.clone() };
        assert_eq!(now.of(&fresh).await, Some(set(&[])), "a token issued since has read nothing before");
        let later = node(&redis, &keys, || DateTime::from_timestamp(BEGAN + 86_400, 0).unwrap()).await;
        assert_eq!(later.of(&old).await, Some(set(&[])));
        let () = connection.set(keys::SEEN_LABELS_BEGAN, "foreign").await.unwrap();
        assert_eq!(later.of(&old).await, None);
    }

    #[tokio::test]
    async fn without_redis_or_with_a_foreign_hand_in_it_nothing_is_known() {
        let (redis, keys) = (Redis::start().await, fresh_keys());
        node(&redis, &keys, the_day_before).await.begin().await.unwrap();
        let node = node(&redis, &keys, began).await;
        let mine = principal(TenantId::from_uuid(uuid::Uuid::from_u128(7)));
        node.add(&mine, &set(&["a"])).await.unwrap();
        let mut connection = redis.connection().await;
        let name = keys::seen_labels(mine.tenant, mine.user, mine.token);
        let whole: HashMap<String, Vec<u8>> = connection.hgetall(&name).await.unwrap();
        let (field, sealed) = whole.into_iter().next().unwrap();
        assert!(!sealed.is_empty() && field.len() == 64);
        let () = connection.hset(&name, "0".repeat(64), &sealed).await.unwrap();
        assert_eq!(node.of(&mine).await, None, "a value under another name");
        let () = connection.del(&name).await.unwrap();
        assert_eq!(node.of(&mine).await, Some(set(&["a"])));
        drop(redis);
        assert_eq!(node.of(&mine).await, None);
        assert_eq!(node.add(&mine, &set(&["b"])).await, Err(NotKept));
    }
}
