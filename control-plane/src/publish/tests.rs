//! From a change in Postgres to what stands in Redis.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use domain::projection::{self, EnvelopeKind, Head, IndexEntry, Revocation, TokenRecord, bucket_of, keys};
use domain::snapshot::Prefix;
use domain::{
    BootId, Clock, MembershipId, NodeId, Role, TenantId, TenantSnapshot, TokenDigest, TokenId, TokenKind, TokenScope,
    UserId,
};
use prometheus_client::registry::Registry;
use redis::streams::StreamRangeReply;
use redis::{AsyncCommands, aio::ConnectionManager};
use secrets::{MasterKey, SigningKey, VerifyingKeys};
use service::{Drain, Health};
use store::published::{self, Status};
use store::tenants::{self, KeyPurpose, Settings};
use store::tokens::{self, GatewayToken};
use store::{PgPool, PlatformTx, TenantTx, outbox, people, policies};

use super::live::{Live, Reached};
use super::metrics::PublishMetrics;
use super::worker::{Publisher, PublisherParts};

mod restore;

const DEPLOYMENT: &str = "dep_0123456789abcdef";

/// A Redis of the test's own; ends with it.
struct RedisServer {
    child: Child,
    dir: PathBuf,
    url: String,
}

impl RedisServer {
    fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = std::env::temp_dir().join(format!("sluice-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&dir).unwrap();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .current_dir(&dir)
            .stdout(Stdio::null())
            .spawn()
            .expect("`redis-server` is installed");
        let server = Self { child, dir, url: format!("redis://127.0.0.1:{port}") };
        let started = Instant::now();
        while redis::Client::open(server.url.as_str()).unwrap().get_connection().is_err() {
            assert!(started.elapsed() < Duration::from_secs(30), "redis-server does not come up");
            std::thread::yield_now();
        }
        server
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A deployment with one tenant, and its publisher.
struct World {
    pool: PgPool,
    redis: ConnectionManager,
    master: MasterKey,
    signing: Arc<SigningKey>,
    verifying: VerifyingKeys,
    clock: Clock,
    tenant: TenantId,
    user: UserId,
    registry: Registry,
    metrics: PublishMetrics,
    _server: RedisServer,
}

impl World {
    async fn new(given: PgPool) -> Self {
        // A pool of its own: those the harness gives share their connections among all tests of the process, and a
        // publisher and its listener hold several.
        let options = given.connect_options().as_ref().clone();
        given.close().await;
        let pool = sqlx::postgres::PgPoolOptions::new().max_connections(8).connect_with(options).await.unwrap();
        let server = RedisServer::start();
        let redis = service::redis::connect(&server.url).await.unwrap();
        let signing = Arc::new(SigningKey::generate());
        let verifying = VerifyingKeys::from_text(&signing.verifying_text()).unwrap();
        let clock = service::clock();
        let (tenant, master) = (TenantId::new(&clock), MasterKey::generate());
        let mut platform = PlatformTx::begin(&pool).await.unwrap();
        tenants::add(&mut platform, tenant, &"acme".parse().unwrap(), UserId::new(&clock), clock.now()).await.unwrap();
        let user =
            people::find_or_add_user(&mut platform, "a@example.com", UserId::new(&clock), clock.now()).await.unwrap();
        let mut tx = platform.into_tenant(tenant).await.unwrap();
        let settings = Settings { title: "Acme".to_owned(), blind_max_s: 60, prefix: Prefix::Always };
        tenants::add_settings(&mut tx, &settings).await.unwrap();
        for (id, purpose) in [("data", KeyPurpose::Data), ("arguments", KeyPurpose::Arguments)] {
            let key = master.wrap(tenant, id, &secrets::new_data_key());
            tenants::add_key(&mut tx, purpose, &key, clock.now()).await.unwrap();
        }
        let membership = people::Membership {
            id: MembershipId::new(&clock),
            user,
            name: "Ada".to_owned(),
            role: Role::Owner,
            groups: std::collections::BTreeSet::new(),
            created_at: clock.now(),
        };
        people::add(&mut tx, &membership).await.unwrap();
        tx.commit().await.unwrap();
        let mut registry = Registry::default();
        let metrics = PublishMetrics::register(&mut registry);
        Self { pool, redis, master, signing, verifying, clock, tenant, user, registry, metrics, _server: server }
    }

    fn publisher(&self) -> Publisher {
        Publisher::new(PublisherParts {
            pool: self.pool.clone(),
            redis: self.redis.clone(),
            deployment: DEPLOYMENT.to_owned(),
            signing: Arc::clone(&self.signing),
            clock: self.clock.clone(),
            check: Health::new(&Drain::new()).check("publisher"),
            metrics: self.metrics.clone(),
        })
        .unwrap()
    }

    /// A publisher at work until the drain ends.
    fn publishing(&self) -> Drain {
        let drain = Drain::new();
        drain.spawn(self.publisher().run(drain.clone()));
        drain
    }

    async fn change(&self) -> i64 {
        let mut tx = TenantTx::begin(&self.pool, self.tenant).await.unwrap();
        let revision = outbox::changed(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        revision
    }

    async fn issue(&self) -> (TokenId, TokenDigest) {
        let id = TokenId::new(&self.clock);
        let digest = secrets::token_digest(secrets::new_token(TokenKind::Gateway).expose());
        let token = GatewayToken {
            id,
            user: self.user,
            title: "laptop".to_owned(),
            scope: TokenScope::default(),
            issued_by: self.user,
            issued_at: self.clock.now(),
            expires_at: self.clock.now() + TimeDelta::days(1),
            revoked_at: None,
            last_used_at: None,
        };
        let mut tx = TenantTx::begin(&self.pool, self.tenant).await.unwrap();
        tokens::add_gateway(&mut tx, &token, digest).await.unwrap();
        outbox::token_changed(&mut tx, id).await.unwrap();
        tx.commit().await.unwrap();
        (id, digest)
    }

    async fn revoke(&self, token: TokenId) {
        let mut tx = TenantTx::begin(&self.pool, self.tenant).await.unwrap();
        tokens::revoke_gateway(&mut tx, token, self.clock.now()).await.unwrap();
        outbox::token_changed(&mut tx, token).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn read(&self, kind: EnvelopeKind, key: &str) -> Option<(u64, Vec<u8>)> {
        let bytes: Option<Vec<u8>> = self.redis.clone().get(key).await.unwrap();
        let bytes = bytes?;
        let opened = projection::open(&bytes, DEPLOYMENT, kind, key, &self.verifying).unwrap();
        Some((opened.header.revision, opened.body.to_vec()))
    }

    async fn head(&self) -> Option<Head> {
        let (_, body) = self.read(EnvelopeKind::Head, keys::HEAD).await?;
        Some(serde_json::from_slice(&body).unwrap())
    }

    async fn snapshot(&self) -> Option<TenantSnapshot> {
        let (_, body) = self.read(EnvelopeKind::Snapshot, &keys::snapshot(self.tenant)).await?;
        Some(serde_json::from_slice(&zstd::decode_all(body.as_slice()).unwrap()).unwrap())
    }

    async fn token(&self, digest: TokenDigest) -> Option<(u64, TokenRecord)> {
        let (revision, body) = self.read(EnvelopeKind::Token, &keys::token(self.tenant, digest)).await?;
        Some((revision, serde_json::from_slice(&body).unwrap()))
    }

    async fn revocations(&self) -> Vec<Revocation> {
        let reply: StreamRangeReply = self.redis.clone().xrange_all(keys::REVOKE).await.unwrap();
        let read = |bytes: Vec<u8>| {
            let opened = projection::open(&bytes, DEPLOYMENT, EnvelopeKind::Revocation, keys::REVOKE, &self.verifying);
            serde_json::from_slice(opened.unwrap().body).unwrap()
        };
        reply.ids.into_iter().map(|entry| read(entry.get("e").unwrap())).collect()
    }

    async fn status(&self) -> Status {
        let mut tx = TenantTx::begin(&self.pool, self.tenant).await.unwrap();
        published::status(&mut tx).await.unwrap()
    }

    /// Waits until the head says so.
    async fn until(&self, what: impl Fn(&Head) -> bool) -> Head {
        let started = Instant::now();
        loop {
            if let Some(head) = self.head().await
                && what(&head)
            {
                return head;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "the head never came: {:?}", self.head().await);
            a_moment().await;
        }
    }
}

/// Leaves the processor to the publisher before the next look.
async fn a_moment() {
    tokio::time::interval_at(tokio::time::Instant::now() + Duration::from_millis(10), Duration::from_secs(1))
        .tick()
        .await;
}

/// Ends the publisher and leaves the database to be dropped.
async fn end(world: &World, drain: Drain) {
    drain.finish(Duration::from_secs(10)).await.unwrap();
    world.pool.close().await;
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_change_is_published_signed_and_found_from_the_head_down(pool: PgPool) {
    let world = World::new(pool).await;
    let drain = world.publishing();
    world.change().await;
    let head = world.until(|head| head.change == 1).await;
    let snapshot = world.snapshot().await.unwrap();
    assert_eq!((snapshot.revision, snapshot.slug.as_str(), snapshot.title.as_str()), (1, "acme", "Acme"));
    let (_, index) = world.read(EnvelopeKind::Index, keys::INDEX).await.unwrap();
    assert_eq!(hex::encode(secrets::sha256(&index)), head.root);
    let bucket = bucket_of(world.tenant);
    let (_, entries) = world.read(EnvelopeKind::IndexBucket, &keys::index_bucket(bucket)).await.unwrap();
    assert_eq!(secrets::sha256(&entries), index[bucket * 32..][..32]);
    let entries: Vec<IndexEntry> = serde_json::from_slice(&entries).unwrap();
    assert_eq!((entries[0].tenant, entries[0].revision), (world.tenant, 1));
    assert!(world.read(EnvelopeKind::Slug, &keys::slug("acme")).await.is_some());
    world.change().await;
    world.until(|head| head.change == 2).await;
    assert_eq!(world.status().await.published.unwrap().revision, 2);
    end(&world, drain).await;
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn the_head_grows_younger_by_itself(pool: PgPool) {
    let world = World::new(pool).await;
    let drain = world.publishing();
    let first = world.until(|_| true).await;
    world.until(|head| head.at > first.at + TimeDelta::milliseconds(500)).await;
    end(&world, drain).await;
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_revocation_is_numbered_and_leaves_a_tombstone(pool: PgPool) {
    let world = World::new(pool).await;
    let drain = world.publishing();
    let (first, digest) = world.issue().await;
    let (second, _) = world.issue().await;
    let started = Instant::now();
    while world.token(digest).await.is_none() {
        assert!(started.elapsed() < Duration::from_secs(30));
        a_moment().await;
    }
    let Some((0, TokenRecord::Live(principal))) = world.token(digest).await else { panic!("not live") };
    assert_eq!((principal.tenant, principal.user, principal.token), (world.tenant, world.user, first));
    world.revoke(first).await;
    let head = world.until(|head| head.revocation == 1).await;
    assert_eq!(head.revocation_floor, 1);
    assert_eq!(world.token(digest).await, Some((1, TokenRecord::Revoked)));
    world.revoke(second).await;
    world.until(|head| head.revocation == 2).await;
    let said: Vec<_> = world.revocations().await.into_iter().map(|said| (said.number, said.token)).collect();
    assert_eq!(said, [(1, first), (2, second)]);
    end(&world, drain).await;
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_revoked_token_nobody_has_published_yet_is_a_tombstone_from_the_start(pool: PgPool) {
    let world = World::new(pool).await;
    let (token, digest) = world.issue().await;
    world.revoke(token).await;
    let drain = world.publishing();
    let started = Instant::now();
    while world.token(digest).await.is_none() {
        assert!(started.elapsed() < Duration::from_secs(30));
        a_moment().await;
    }
    assert_eq!(world.token(digest).await, Some((0, TokenRecord::Revoked)));
    end(&world, drain).await;
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn an_emptied_redis_is_filled_again(pool: PgPool) {
    let world = World::new(pool).await;
    let drain = world.publishing();
    world.change().await;
    let (kept, kept_digest) = world.issue().await;
    let (revoked, revoked_digest) = world.issue().await;
    world.until(|head| head.change == 1).await;
    let started = Instant::now();
    while world.token(revoked_digest).await.is_none() {
        assert!(started.elapsed() < Duration::from_secs(30));
        a_moment().await;
    }
    world.revoke(revoked).await;
    let before = world.until(|head| head.revocation == 1).await;
    let _: () = redis::cmd("FLUSHALL").query_async(&mut world.redis.clone()).await.unwrap();
    let after = world.until(|head| head.at > before.at).await;
    assert_eq!((after.change, after.revocation, after.root), (1, 1, before.root));
    assert_eq!(world.snapshot().await.unwrap().revision, 1);
    assert!(matches!(world.token(kept_digest).await, Some((_, TokenRecord::Live(found))) if found.token == kept));
    assert_eq!(world.token(revoked_digest).await, Some((1, TokenRecord::Revoked)));
    assert_eq!(world.revocations().await.len(), 1);
    end(&world, drain).await;
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_head_somebody_else_wrote_is_replaced(pool: PgPool) {
    let world = World::new(pool).await;
    let drain = world.publishing();
    world.change().await;
    let before = world.until(|head| head.change == 1).await;
    let _: () = world.redis.clone().set(keys::HEAD, "nonsense\nab\n").await.unwrap();
    let started = Instant::now();
    loop {
        let bytes: Vec<u8> = world.redis.clone().get(keys::HEAD).await.unwrap_or_default();
        if bytes != b"nonsense\nab\n" && !bytes.is_empty() {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(30));
        a_moment().await;
    }
    assert_eq!(world.head().await.unwrap().root, before.root);
    end(&world, drain).await;
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn policies_that_do_not_compile_are_not_published_and_the_reason_is_kept(pool: PgPool) {
    let world = World::new(pool).await;
    let drain = world.publishing();
    world.change().await;
    world.until(|head| head.change == 1).await;
    let mut tx = TenantTx::begin(&world.pool, world.tenant).await.unwrap();
    let text = "permit (principal, action, resource) when { principal.nonsense == 3 };";
    let policy = policies::Policy {
        id: domain::PolicyId::new(&world.clock),
        name: "broken".to_owned(),
        active_version: None,
        latest_version: 1,
        revision: 1,
        created_at: world.clock.now(),
    };
    policies::add(&mut tx, &policy).await.unwrap();
    let version = policies::Version {
        id: domain::PolicyVersionId::new(&world.clock),
        policy: policy.id,
        version: 1,
        text: text.to_owned(),
        sha256: hex::encode(secrets::sha256(text.as_bytes())),
        written_at: world.clock.now(),
        written_by: world.user,
    };
    policies::add_version(&mut tx, &version).await.unwrap();
    policies::change(&mut tx, &policies::Policy { active_version: Some(1), ..policy }).await.unwrap();
    outbox::changed(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    let started = Instant::now();
    while world.status().await.refusal.is_none() {
        assert!(started.elapsed() < Duration::from_secs(30));
        a_moment().await;
    }
    let status = world.status().await;
    let refusal = status.refusal.unwrap();
    assert!(refusal.reason.contains("broken"), "{}", refusal.reason);
    assert_eq!((refusal.revision, status.published.unwrap().revision), (2, 1));
    assert_eq!(world.snapshot().await.unwrap().revision, 1, "the last good one stays");
    end(&world, drain).await;
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn of_two_publishers_one_publishes_and_the_other_follows_when_it_ends(pool: PgPool) {
    let world = World::new(pool).await;
    let (first, second) = (world.publishing(), world.publishing());
    for expected in 1..=5 {
        world.change().await;
        world.until(|head| head.change == expected).await;
    }
    first.finish(Duration::from_secs(10)).await.unwrap();
    world.change().await;
    let head = world.until(|head| head.change == 6).await;
    assert_eq!((head.epoch, world.snapshot().await.unwrap().revision), (1, 6));
    end(&world, second).await;
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn live_on_n_of_n_comes_from_the_nodes_and_names_the_silent_ones(pool: PgPool) {
    let world = World::new(pool).await;
    let live = Live::new(world.redis.clone(), &world.master, DEPLOYMENT, world.clock.clone());
    let publication = published::Publication { epoch: 1, revision: 4, change: 7, at: world.clock.now() };
    let mut nodes: Vec<NodeId> = (0..5).map(|_| NodeId::new(&world.clock)).collect();
    nodes.sort();
    let boot = BootId::new(&world.clock);
    let member = |node: NodeId, seconds_ago: i64, change: u64| projection::Member {
        node,
        boot,
        address: "http://127.0.0.1:1".to_owned(),
        seen: world.clock.now() - TimeDelta::seconds(seconds_ago),
        epoch: 1,
        change,
        revocation: change,
    };
    let sealer = world.master.sealer(secrets::Purpose::Member, DEPLOYMENT);
    let lives = world.master.sealer(secrets::Purpose::Live, DEPLOYMENT);
    let mut redis = world.redis.clone();
    for (node, ago, change) in [(nodes[0], 0, 7), (nodes[1], 0, 6), (nodes[2], 60, 7), (nodes[3], 0, 7)] {
        let plain = serde_json::to_vec(&member(node, ago, change)).unwrap();
        let sealed = sealer.seal(&[keys::NODES.as_bytes(), node.to_string().as_bytes()], &plain);
        let _: () = redis.hset(keys::NODES, node.to_string(), sealed).await.unwrap();
    }
    // The fourth has the tenant loaded and is behind; the fifth is written by hand.
    let key = keys::live(world.tenant);
    let plain = serde_json::to_vec(&projection::Live { boot, epoch: 1, revision: 3 }).unwrap();
    let sealed = lives.seal(&[key.as_bytes(), nodes[3].to_string().as_bytes()], &plain);
    let _: () = redis.hset(&key, nodes[3].to_string(), &sealed).await.unwrap();
    let _: () = redis.hset(keys::NODES, nodes[4].to_string(), sealed).await.unwrap();
    let reach = live.publication(world.tenant, &publication).await.unwrap();
    assert_eq!((reach.live, reach.of), (1, 4));
    let reached: Vec<_> = reach.nodes.iter().map(|node| node.reached).collect();
    assert_eq!(reached, [Reached::Yes, Reached::NotYet, Reached::Unknown, Reached::NotYet]);
    let reach = live.revocation(7).await.unwrap();
    assert_eq!((reach.live, reach.of), (2, 4));
    end(&world, Drain::new()).await;
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn how_long_a_change_waited_is_counted_once_it_is_published(pool: PgPool) {
    let world = World::new(pool).await;
    let waiting = async || outbox::depth(&mut PlatformTx::begin(&world.pool).await.unwrap()).await.unwrap().0;
    let revision = world.change().await;
    world.issue().await;
    assert_eq!(waiting().await, 2);
    let drain = world.publishing();
    world.until(|head| head.change > 0).await;
    drain.finish(Duration::from_secs(10)).await.unwrap();
    assert_eq!((waiting().await, world.status().await.revision), (0, revision.cast_unsigned()));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &world.registry).unwrap();
    assert!(text.contains("sluice_publish_seconds_count 2\n"), "{text}");
}
