//! What tests of this plane make by hand: keys, a Redis of their own, and everything a publisher writes there.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use domain::projection::{
    self, EnvelopeKind, Head, INDEX_BUCKETS, IndexEntry, Revocation, RevocationKind, SlugRecord, Statement,
    TokenRecord, bucket_of, keys,
};
use domain::snapshot::{Prefix, SNAPSHOT_FORMAT};
use domain::{
    Principal, Role, Slug, TenantId, TenantSnapshot, TokenDigest, TokenId, TokenKind, TokenScope, TokenText, UserId,
};
use http::HeaderValue;
use prometheus_client::registry::Registry;
use redis::Commands;
use secrets::{MasterKey, SigningKey, sha256};
use service::{Drain, Health};
use uuid::Uuid;

use super::Feed;
use super::source::REVOCATION_FIELD;
use crate::app::{Node, assemble, tests::config_with};

/// A deployment's keys.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) deployment: String,
    pub(crate) master: MasterKey,
    pub(crate) signing: SigningKey,
}

impl Keys {
    /// Fresh ones.
    pub(crate) fn new() -> Self {
        Self {
            deployment: "dep_0123456789abcdef".to_owned(),
            master: MasterKey::generate(),
            signing: SigningKey::generate(),
        }
    }
}

/// A Redis of the test's own; ends with it.
#[derive(Debug)]
pub(crate) struct RedisServer {
    child: Child,
    dir: PathBuf,
    pub(crate) url: String,
}

impl RedisServer {
    /// Starts one on a free port.
    pub(crate) fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = std::env::temp_dir().join(format!("sluice-{}", Uuid::new_v4()));
        std::fs::create_dir(&dir).unwrap();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .current_dir(&dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("`redis-server` is installed");
        let server = Self { child, dir, url: format!("redis://127.0.0.1:{port}") };
        let started = Instant::now();
        while server.try_connect().is_none() {
            assert!(started.elapsed() < Duration::from_secs(30), "redis-server does not come up");
            std::thread::yield_now();
        }
        server
    }

    fn try_connect(&self) -> Option<redis::Connection> {
        redis::Client::open(self.url.as_str()).unwrap().get_connection().ok()
    }

    pub(crate) fn connect(&self) -> redis::Connection {
        self.try_connect().unwrap()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A publisher's work, done by hand.
pub(crate) struct Hand {
    pub(crate) keys: Keys,
    pub(crate) redis: redis::Connection,
    pub(crate) epoch: u64,
    pub(crate) change: u64,
    pub(crate) revocation: u64,
    pub(crate) floor: u64,
    pub(crate) at: DateTime<Utc>,
    entries: Vec<IndexEntry>,
}

/// A token and who it is of.
pub(crate) struct Issued {
    pub(crate) token: TokenText,
    pub(crate) principal: Principal,
}

impl Issued {
    pub(crate) fn digest(&self) -> TokenDigest {
        secrets::token_digest(self.token.expose())
    }

    pub(crate) fn header(&self) -> HeaderValue {
        HeaderValue::try_from(format!("Bearer {}", self.token.expose())).unwrap()
    }
}

impl Hand {
    fn new(redis: &RedisServer) -> Self {
        let at = service::clock().now();
        Self {
            keys: Keys::new(),
            redis: redis.connect(),
            epoch: 1,
            change: 0,
            revocation: 0,
            floor: 1,
            at,
            entries: Vec::new(),
        }
    }

    /// Signs with the deployment's key.
    pub(crate) fn seal(
        &self,
        kind: EnvelopeKind,
        tenant: Option<TenantId>,
        place: (&str, u64),
        body: &[u8],
    ) -> Vec<u8> {
        seal_with(&self.keys.signing, &self.keys.deployment, (kind, tenant), (place.0, self.epoch, place.1), body)
    }

    /// Publishes a revision of a tenant, and the head.
    pub(crate) fn publish(&mut self, snapshot: &TenantSnapshot) {
        let tenant = snapshot.tenant;
        let body = zstd::bulk::compress(&serde_json::to_vec(snapshot).unwrap(), 1).unwrap();
        let sealed =
            self.seal(EnvelopeKind::Snapshot, Some(tenant), (&keys::snapshot(tenant), snapshot.revision), &body);
        self.set(&keys::snapshot(tenant), &sealed);
        self.name(snapshot.slug.as_str(), tenant);
        self.entries.retain(|entry| entry.tenant != tenant);
        let sha256 = hex::encode(sha256(&body));
        self.entries.push(IndexEntry { tenant, revision: snapshot.revision, sha256 });
        self.entries.sort_by_key(|entry| entry.tenant);
        self.change += 1;
        self.index();
        self.head();
    }

    /// Writes a slug's record.
    pub(crate) fn name(&mut self, slug: &str, tenant: TenantId) {
        let record = serde_json::to_vec(&SlugRecord { tenant: Some(tenant) }).unwrap();
        let sealed = self.seal(EnvelopeKind::Slug, Some(tenant), (&keys::slug(slug), 1), &record);
        self.set(&keys::slug(slug), &sealed);
    }

    fn digests(&self) -> Vec<u8> {
        (0..INDEX_BUCKETS).flat_map(|bucket| sha256(&self.bucket(bucket))).collect()
    }

    fn bucket(&self, bucket: usize) -> Vec<u8> {
        let entries: Vec<_> = self.entries.iter().filter(|entry| bucket_of(entry.tenant) == bucket).collect();
        serde_json::to_vec(&entries).unwrap()
    }

    fn index(&mut self) {
        for bucket in 0..INDEX_BUCKETS {
            let body = self.bucket(bucket);
            if body != b"[]" {
                let key = keys::index_bucket(bucket);
                let sealed = self.seal(EnvelopeKind::IndexBucket, None, (&key, self.change), &body);
                self.set(&key, &sealed);
            }
        }
        let sealed = self.seal(EnvelopeKind::Index, None, (keys::INDEX, self.change), &self.digests());
        self.set(keys::INDEX, &sealed);
    }

    /// Writes a younger head.
    pub(crate) fn head(&mut self) {
        self.at += TimeDelta::milliseconds(1);
        let sealed = self.sealed_head();
        self.set(keys::HEAD, &sealed);
    }

    pub(crate) fn sealed_head(&self) -> Vec<u8> {
        let head = Head {
            epoch: self.epoch,
            change: self.change,
            revocation: self.revocation,
            revocation_floor: self.floor,
            root: hex::encode(sha256(&self.digests())),
            at: self.at,
        };
        self.seal(EnvelopeKind::Head, None, (keys::HEAD, self.change), &serde_json::to_vec(&head).unwrap())
    }

    /// Issues a token in a tenant.
    pub(crate) fn issue(&mut self, tenant: TenantId, token: u128) -> Issued {
        let issued = Issued {
            token: secrets::new_token(TokenKind::Gateway),
            principal: principal(tenant.uuid().as_u128(), token),
        };
        let record = TokenRecord::Live(issued.principal.clone());
        self.record(tenant, issued.digest(), &record, self.revocation);
        issued
    }

    /// Writes a token's record.
    pub(crate) fn record(&mut self, tenant: TenantId, digest: TokenDigest, record: &TokenRecord, revision: u64) {
        let key = keys::token(tenant, digest);
        let body = serde_json::to_vec(record).unwrap();
        let sealed = self.seal(EnvelopeKind::Token, Some(tenant), (&key, revision), &body);
        self.set(&key, &sealed);
    }

    /// Revokes a token and writes the head; its old record stays where it is.
    pub(crate) fn revoke(&mut self, issued: &Issued, what: RevocationKind) {
        self.revocation += 1;
        let sealed = self.sealed_revocation(issued, what);
        self.add_revocation(self.revocation, &sealed);
        self.head();
    }

    pub(crate) fn sealed_revocation(&self, issued: &Issued, what: RevocationKind) -> Vec<u8> {
        let (tenant, number) = (issued.principal.tenant, self.revocation);
        let revocation = Revocation { number, tenant, token: issued.principal.token, digest: issued.digest(), what };
        let body = serde_json::to_vec(&revocation).unwrap();
        self.seal(EnvelopeKind::Revocation, Some(tenant), (keys::REVOKE, number), &body)
    }

    pub(crate) fn add_revocation(&mut self, number: u64, sealed: &[u8]) {
        let id = format!("{}-{number}", self.epoch);
        let _: String = self.redis.xadd(keys::REVOKE, id, &[(REVOCATION_FIELD, sealed)]).unwrap();
    }

    pub(crate) fn set(&mut self, key: &str, value: &[u8]) {
        let _: () = self.redis.set(key, value).unwrap();
    }

    pub(crate) fn get(&mut self, key: &str) -> Vec<u8> {
        self.redis.get(key).unwrap()
    }

    pub(crate) fn empty(&mut self) {
        let _: () = redis::cmd("FLUSHALL").query(&mut self.redis).unwrap();
    }
}

/// Signs with any key, for any place.
pub(crate) fn seal_with(
    key: &SigningKey,
    deployment: &str,
    (kind, tenant): (EnvelopeKind, Option<TenantId>),
    (place, epoch, revision): (&str, u64, u64),
    body: &[u8],
) -> Vec<u8> {
    let signed_at = DateTime::UNIX_EPOCH;
    let statement = Statement { deployment, kind, tenant, key: place, epoch, revision, signed_at };
    projection::seal(&statement, body, key)
}

/// A node whose feed goes a round when the test says so.
pub(crate) struct Plane {
    pub(crate) node: Arc<Node>,
    pub(crate) feed: Feed,
    pub(crate) hand: Hand,
    pub(crate) drain: Drain,
    pub(crate) health: Health,
    pub(crate) server: RedisServer,
}

impl Plane {
    /// A node that has not looked at its empty Redis yet.
    pub(crate) async fn start(changes: &[(&str, &str)]) -> Self {
        let server = RedisServer::start();
        let hand = Hand::new(&server);
        let (node, feed, health, drain) = second(&server, &hand, changes).await;
        Self { node, feed, hand, drain, health, server }
    }

    /// A node that serves the tenant `acme`, and that tenant.
    pub(crate) async fn serving() -> (Self, TenantId) {
        let mut plane = Self::start(&[]).await;
        let acme = tenant(1);
        let snapshot = snapshot(&plane.hand.keys, acme, "acme", 1);
        plane.hand.publish(&snapshot);
        plane.round().await.unwrap();
        (plane, acme)
    }

    /// One round of the feed.
    pub(crate) async fn round(&mut self) -> Result<(), String> {
        self.feed.round(&self.drain).await.map_err(|error| error.to_string())
    }

    /// Goes rounds until every tenant in memory is in step.
    pub(crate) async fn in_step(&mut self) {
        let started = Instant::now();
        loop {
            self.round().await.unwrap();
            if self.feed.position().change.is_some() {
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "the tenants stay behind");
        }
    }
}

/// Another node on the same Redis.
pub(crate) async fn second(
    server: &RedisServer,
    hand: &Hand,
    changes: &[(&str, &str)],
) -> (Arc<Node>, Feed, Health, Drain) {
    let spool = server.dir.join(Uuid::new_v4().to_string());
    let mut all = vec![("REDIS_URL", server.url.as_str()), ("SLUICE_DATA_DIR", spool.to_str().unwrap())];
    all.extend_from_slice(changes);
    let (mut registry, drain) = (Registry::default(), Drain::new());
    let health = Health::new(&drain);
    let (node, feed) = assemble(config_with(&hand.keys, &all), &mut registry, &health, &drain).await.unwrap();
    (node, feed, health, drain)
}

/// A tenant's id.
pub(crate) fn tenant(number: u128) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(number))
}

/// A tenant without servers.
pub(crate) fn snapshot(keys: &Keys, tenant: TenantId, slug: &str, revision: u64) -> TenantSnapshot {
    TenantSnapshot {
        format: SNAPSHOT_FORMAT,
        tenant,
        slug: slug.parse::<Slug>().unwrap(),
        title: format!("{slug} {revision}"),
        epoch: 1,
        revision,
        blind_max_s: 60,
        prefix: Prefix::Always,
        servers: Vec::new(),
        policies: Vec::new(),
        arguments_key: keys.master.wrap(tenant, "arguments", &secrets::new_data_key()),
        data_key: keys.master.wrap(tenant, "data", &secrets::new_data_key()),
    }
}

/// A member of a tenant whose token does not expire soon.
pub(crate) fn principal(tenant: u128, token: u128) -> Principal {
    Principal {
        tenant: self::tenant(tenant),
        user: UserId::from_uuid(Uuid::from_u128(1)),
        token: TokenId::from_uuid(Uuid::from_u128(token)),
        role: Role::Member,
        groups: BTreeSet::new(),
        scope: TokenScope::default(),
        issued_at: DateTime::UNIX_EPOCH,
        expires_at: DateTime::from_timestamp(32_503_680_000, 0).unwrap(),
    }
}
