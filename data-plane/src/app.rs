//! A node put together: its parts, its two listeners, its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use domain::{BootId, Clock};
use egress::{Dialer, Rules};
use http::Request;
use hyper::body::Incoming;
use prometheus_client::registry::Registry;
use redis::aio::ConnectionManager;
use secrets::{KeyError, Login, NodeKeys, Purpose, Sealer, Store, StoreError, VaultConfig, VaultStore};
use service::health::Check;
use service::{Drain, Health};
use tokio::net::TcpListener;

use crate::audit::{Condition, Keys, Recorder, Settings, SpoolSettings, StartError as RecorderError};
use crate::call::asking::Asks;
use crate::call::inflight::InFlight;
use crate::call::rounds::Rounds;
use crate::call::session::Sessions;
use crate::call::withdrawal::Withdrawals;
use crate::caller::Callers;
use crate::config::{Config, Switch, VaultLogin};
use crate::credentials::Credentials;
use crate::gateway::{Gateway, Parts};
use crate::listen::{Entrance, PublicUrl};
use crate::metrics::{AuditCounts, Metrics};
use crate::permit::SeenLabels;
use crate::relay::{self, Relay};
use crate::tenants::source::Source;
use crate::tenants::{Acks, CompileParts, Feed, FeedParts, Tenants, Touch, Who};
use crate::upstream::{Shelf, Upstreams};

/// How long the last records may take to become durable when a node ends.
const LAST_RECORDS: Duration = Duration::from_secs(10);
/// How long Vault may take to answer.
const VAULT_WITHIN: Duration = Duration::from_secs(5);

/// What every request may need.
#[derive(Debug)]
pub struct Node {
    /// The settings.
    pub config: Config,
    /// What clients call us.
    pub public_url: PublicUrl,
    /// This run of the node.
    pub boot: BootId,
    /// The time.
    pub clock: Clock,
    /// The deployment's id and keys.
    pub keys: Arc<NodeKeys>,
    /// What is counted.
    pub metrics: Metrics,
    /// Redis with the projections.
    pub redis: RedisHandle,
    /// The tenants served.
    pub tenants: Arc<Tenants>,
    /// The callers known.
    pub callers: Arc<Callers>,
    /// The pipeline.
    pub gateway: Gateway,
    /// The audit log.
    pub recorder: Recorder,
    /// The way to upstream servers.
    pub upstreams: Upstreams,
    /// What is presented to them.
    pub credentials: Credentials,
    /// What is ending, and what must be waited for.
    pub drain: Drain,
}

/// A shared connection to Redis that shows nothing of itself.
#[derive(Clone)]
pub struct RedisHandle(pub ConnectionManager);

impl std::fmt::Debug for RedisHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedisHandle")
    }
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A key is missing or wrong.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The address of Redis is wrong.
    #[error(transparent)]
    Redis(#[from] service::redis::ConnectError),
    /// The audit log can't begin.
    #[error(transparent)]
    Recorder(#[from] RecorderError),
    /// Vault can't be used.
    #[error(transparent)]
    Vault(#[from] StoreError),
    /// An address can't be listened on.
    #[error("can't listen on {address}: is something else there?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: std::io::Error,
    },
}

/// Runs a node until `drain` begins. Its listeners and workers are tasks of the drain.
///
/// # Errors
/// [`StartError`] when a key, an address or a setting does not hold.
pub async fn run(config: Config, drain: Drain) -> Result<(), StartError> {
    let listener = listen(config.listen).await?;
    let internal = listen(config.internal_listen).await?;
    let mut registry = Registry::default();
    let health = Health::new(&drain);
    registry.register_collector(Box::new(health.clone()));
    let (node, feed) = assemble(config, &mut registry, &health, &drain).await?;
    let recorder = node.recorder.clone();
    drain.spawn(watch(recorder.clone(), health.check("audit"), drain.clone()));
    let relay = Relay::new(relay::Parts {
        clock: node.clock.clone(),
        keys: Arc::clone(&node.keys),
        upstreams: node.upstreams.clone(),
        credentials: node.credentials.clone(),
        recorder: recorder.clone(),
        redis: node.redis.0.clone(),
        drain: drain.clone(),
    });
    let internal_routes =
        Router::new().merge(health.routes()).merge(service::metrics::routes(registry)).merge(relay.routes());
    drain.spawn(feed.run(drain.clone()));
    drain.spawn(service::listen::serve(internal, internal_routes, drain.clone()));
    tracing::info!(node.id = %node.config.node, address = %node.config.listen, "serving");
    serve(listener, node, drain).await;
    recorder.close(LAST_RECORDS).await;
    Ok(())
}

/// Makes the parts of a node. Nothing runs yet.
///
/// # Errors
/// [`StartError`] when a key or an address is wrong.
pub async fn assemble(
    config: Config,
    registry: &mut Registry,
    health: &Health,
    drain: &Drain,
) -> Result<(Arc<Node>, Feed), StartError> {
    let keys = Arc::new(config.keys.load()?);
    let clock = service::clock();
    let metrics = Metrics::register(registry);
    let redis = service::redis::connect_lazily(config.redis_url.expose())?;
    let boot = BootId::new(&clock);
    let source = Source::new(redis.clone(), &keys.deployment, keys.verifying.clone(), metrics.clone());
    let touch = Arc::new(Touch::new());
    let shelf = Shelf { redis: redis.clone(), sealer: keys.master.sealer(Purpose::Session, &keys.deployment) };
    let upstreams = Upstreams::new(Dialer::new(rules(&config)), drain.clone(), Some(shelf));
    let parts = CompileParts { keys: Arc::clone(&keys), upstreams: upstreams.clone() };
    let credentials = Credentials::new(store(&config, drain).await?);
    let tenants = Tenants::new(source.clone(), Arc::clone(&touch), parts, metrics.clone(), config.tenant_cache_bytes);
    let callers = Arc::new(Callers::new(source, touch, clock.clone(), metrics.clone(), config.caller_cache));
    let who = Who { node: config.node, boot, address: config.internal_url.to_string() };
    let sealer = |purpose| keys.master.sealer(purpose, &keys.deployment);
    let acks = Acks::new(redis.clone(), who, clock.clone(), sealer(Purpose::Member), sealer(Purpose::Live));
    let feed_parts = FeedParts {
        acks,
        clock: clock.clone(),
        metrics: metrics.clone(),
        check: health.check("configuration"),
        redis_url: config.redis_url.expose().clone(),
        max_stale: config.max_stale,
    };
    let feed = Feed::new(Arc::clone(&tenants), Arc::clone(&callers), feed_parts);
    let recorder = recorder(&config, &keys, boot, (&clock, registry))?;
    let (sessions, in_flight, withdrawals) = sessions(&config, drain, (&redis, sealer(Purpose::Session), &clock))?;
    let gateway = Gateway::new(Parts {
        clock: clock.clone(),
        recorder: recorder.clone(),
        credentials: credentials.clone(),
        sessions,
        withdrawals: Some(withdrawals),
        in_flight,
        seen: SeenLabels::start(redis.clone(), sealer(Purpose::Seen), clock.clone()).await,
        cursors: sealer(Purpose::Cursor),
        rounds: Rounds::new(sealer(Purpose::RequestState), clock.clone()),
        asks: Asks::new(sealer(Purpose::Request), clock.clone()),
        metrics: metrics.clone(),
        drain: drain.clone(),
    });
    let node = Node {
        public_url: PublicUrl::new(&config.public_url),
        config,
        boot,
        clock,
        keys,
        metrics,
        redis: RedisHandle(redis),
        tenants,
        callers,
        gateway,
        recorder,
        upstreams,
        credentials,
        drain: drain.clone(),
    };
    Ok((Arc::new(node), feed))
}

/// The sessions of legacy clients and their running calls; hears what other nodes tell of them.
fn sessions(
    config: &Config,
    drain: &Drain,
    (redis, sealer, clock): (&ConnectionManager, Sealer, &Clock),
) -> Result<(Sessions, InFlight, Withdrawals), service::redis::ConnectError> {
    let (sessions, calls) = (Sessions::new(sealer.clone(), Some(redis.clone()), clock.clone()), InFlight::default());
    let client = service::redis::client(config.redis_url.expose())?;
    let hearing = Withdrawals::listen(sealer.clone(), client, calls.clone(), sessions.clone());
    let ended = drain.begun().clone();
    drain.spawn(async move {
        // It ends with the drain alone.
        let _ = ended.run_until_cancelled(hearing).await;
    });
    Ok((sessions, calls, Withdrawals { redis: redis.clone(), sealer }))
}

/// Reports each second how well recording goes, until the drain begins.
async fn watch(recorder: Recorder, check: Check, drain: Drain) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    while drain.begun().run_until_cancelled(seconds.tick()).await.is_some() {
        match recorder.condition() {
            Condition::Well => check.green(),
            Condition::Spooling => check.yellow("records wait on this node's disk"),
            Condition::Refusing => check.red("records can't be made durable, so calls are refused"),
        }
    }
}

/// Which addresses upstreams may have.
fn rules(config: &Config) -> Rules {
    Rules {
        allow_loopback: config.egress_loopback == Switch::On,
        allowed: config.egress_allowed.clone(),
        https_only: config.egress_loopback == Switch::Off,
    }
}

fn recorder(
    config: &Config,
    keys: &NodeKeys,
    boot: BootId,
    (clock, registry): (&Clock, &mut Registry),
) -> Result<Recorder, RecorderError> {
    let url = config.audit_redis_url.expose().clone();
    let settings = Settings {
        shards: config.audit_shards,
        stream_max: config.audit_stream_max,
        spool: Some(SpoolSettings::new(config.data_dir.join("spool"), config.audit_spool)),
        ..Settings::new(keys.deployment.clone(), config.node, boot, url)
    };
    let sealer = |purpose| keys.master.sealer(purpose, &keys.deployment);
    let keys = Keys { frames: sealer(Purpose::AuditFrame), acks: sealer(Purpose::AuditAck) };
    let recorder = Recorder::start(settings, keys, clock.clone())?;
    registry.register_collector(Box::new(AuditCounts(recorder.clone())));
    Ok(recorder)
}

/// Where credentials may rest beside the snapshot.
async fn store(config: &Config, drain: &Drain) -> Result<Store, StoreError> {
    let Some(vault) = &config.vault else { return Ok(Store::Sealed) };
    let login = match &vault.login {
        VaultLogin::Token(token) => Login::Token(token.clone()),
        VaultLogin::AppRole { role_id, secret_id } => {
            Login::AppRole { mount: "approle".to_owned(), role_id: role_id.clone(), secret_id: secret_id.clone() }
        }
    };
    let config = VaultConfig {
        address: vault.address.clone(),
        mount: vault.mount.clone(),
        namespace: vault.namespace.clone(),
        login,
        certificates: None,
        deadline: VAULT_WITHIN,
    };
    let vault = VaultStore::connect(config).await?;
    let (keeper, begun) = (vault.clone(), drain.begun().clone());
    drain.spawn(async move {
        // It ends with the drain alone.
        let _ = begun.run_until_cancelled(keeper.keep_logged_in()).await;
    });
    Ok(Store::Vault(vault))
}

/// Serves the tenant port until the drain begins.
async fn serve(listener: TcpListener, node: Arc<Node>, drain: Drain) {
    let entrance = Arc::new(Entrance::new(node));
    let answers = tower::service_fn(move |request: Request<Incoming>| {
        let entrance = Arc::clone(&entrance);
        async move { Ok::<_, Infallible>(entrance.answer(request.map(Body::new)).await) }
    });
    service::listen::serve(listener, answers, drain).await;
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A configuration for tests, with changes.
    pub(crate) fn config(changes: &[(&str, &str)]) -> Config {
        let keys = crate::tenants::testing::Keys::new();
        config_with(&keys, changes)
    }

    /// As [`config`], with keys that the test holds too.
    pub(crate) fn config_with(keys: &crate::tenants::testing::Keys, changes: &[(&str, &str)]) -> Config {
        let (master, verifying) = (keys.master.to_text(), keys.signing.verifying_text());
        let base = [
            ("SLUICE_DEPLOYMENT", keys.deployment.as_str()),
            ("SLUICE_NODE_ID", "node_00000000000000000000000001"),
            ("REDIS_URL", "redis://127.0.0.1:1"),
            ("SLUICE_MASTER_KEY", master.expose()),
            ("SLUICE_VERIFYING_KEYS", verifying.as_str()),
        ];
        Config::from_env(&|name| {
            changes.iter().chain(&base).find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
        .unwrap()
    }
}
