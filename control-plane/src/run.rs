//! The control plane as a program: connects, brings the schema up to date, serves, works until the drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::{Clock, Secret};
use prometheus_client::registry::Registry;
use secrets::keys::{ControlKeys, KeyError, NodeKeys};
use secrets::{SigningKey, Store, StoreError, VaultConfig, VaultStore};
use service::health::Check;
use service::{Drain, Health};
use store::{PgPool, PlatformTx};
use tokio::net::TcpListener;

use crate::app::{self, Parts};
use crate::config::{Config, MailConfig};
use crate::console::{Site, SiteError};

use crate::evidence::Log;
use crate::ingest;
use crate::login::{Mail, MailError, Passwords};
use crate::metrics::{IngestCounts, Metrics};
use crate::problem::causes;
use crate::publish::{Live, PublishMetrics, Publisher, PublisherParts};
use crate::servers::{Looks, Relay, Sandbox, Watch};
use crate::sinks;

/// How often the database is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(5);

/// Why the control plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A key is missing or unusable.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The database can't be used.
    #[error(transparent)]
    Database(#[from] store::StartError),
    /// The address of Redis is wrong.
    #[error(transparent)]
    Redis(#[from] service::redis::ConnectError),
    /// Vault can't be used.
    #[error(transparent)]
    Vault(#[from] StoreError),
    /// The number of audit shards is none.
    #[error(transparent)]
    AuditShards(#[from] ingest::WrongShards),
    /// The client to the nodes could not be made.
    #[error("the client to the data-plane nodes could not be set up")]
    Relay(#[from] reqwest::Error),
    /// The console can't be served at its address.
    #[error("SLUICE_PUBLIC_URL is wrong")]
    Site(#[from] SiteError),
    /// Mail can't leave.
    #[error(transparent)]
    Mail(#[from] MailError),
    /// There is nobody to show a mail to.
    #[error("SLUICE_SMTP_URL is not set: people sign up by mail wherever others than this machine reach the console")]
    NoMail,
    /// The port is in use, or not ours to take.
    #[error("can't listen at {address}: set {variable} to a free address")]
    Listen {
        /// Which setting it is.
        variable: &'static str,
        /// What was tried.
        address: std::net::SocketAddr,
        /// What the operating system says.
        source: std::io::Error,
    },
}

/// Runs until the drain begins: the API and the workers. The schema is brought up to date first.
///
/// # Errors
/// [`StartError`] when it can't begin.
pub async fn run(config: Config, drain: Drain) -> Result<(), StartError> {
    let ControlKeys { shared, signing, checkpoint } = ControlKeys::load(&config.keys)?;
    let checkpoint = Arc::new(checkpoint);
    let deployment = shared.deployment.clone();
    let keys = (shared, Arc::new(signing));
    let pool = store::connect(config.database_url.expose(), config.database_connections).await?;
    store::migrate(&pool).await?;
    let store = credential_store(config.vault.clone(), &drain).await?;
    let health = Health::new(&drain);
    let mut registry = Registry::default();
    registry.register_collector(Box::new(health.clone()));
    let metrics = Metrics::register(&mut registry, pool.clone());
    let at = (pool.clone(), health.check("publisher"), metrics.publish.clone());
    let publisher = publisher(&config, &keys, at)?;
    let log = Log::new(&deployment, &checkpoint);
    let looks = Looks::new(config.probes_per_minute, metrics.probes_refused.clone());
    let parts = parts(&config, keys, (pool.clone(), service::clock(), store, log), (looks, &drain))?;
    let listener = listen("SLUICE_LISTEN", config.listen).await?;
    let internal = listen("SLUICE_INTERNAL_LISTEN", config.internal_listen).await?;
    let taken_in = ingest::spawn(&audit_needs(&config, &parts, (deployment, checkpoint)), &drain)?;
    registry.register_collector(Box::new(IngestCounts {
        metrics: taken_in,
        clock: parts.clock.clone(),
        shards: config.audit_shards,
    }));
    drain.spawn(watch((pool, parts.clock.clone()), health.check("postgres"), metrics.clone(), drain.clone()));
    drain.spawn(look_for_redis("REDIS_URL", config.redis_url.clone()));
    if config.audit_redis_url.expose() != config.redis_url.expose() {
        drain.spawn(look_for_redis("AUDIT_REDIS_URL", config.audit_redis_url.clone()));
    }
    drain.spawn(publisher.run(drain.clone()));
    let sinks = sinks::Metrics::register(&mut registry);
    let sinks = sinks::Worker::new(app::sink_needs(&parts), sink_means(&config).await?, sinks);
    drain.spawn(sinks.run(drain.clone()));
    drain.spawn(server_watch(&config, &parts, &metrics).run(drain.clone()));
    let internal_routes = health.routes().merge(service::metrics::routes(registry));
    drain.spawn(service::listen::serve(internal, internal_routes, drain.clone()));
    tracing::info!(listen = %config.listen, "the control plane is up");
    let routes = metrics.counting(app::router(&parts)).merge(health.routes());
    service::listen::serve(listener, routes, drain.clone()).await;
    Ok(())
}

async fn listen(variable: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { variable, address, source })
}

/// Says at once when Redis is not there. The API serves without it, so it is no reason not to start.
async fn look_for_redis(variable: &'static str, url: Secret<String>) {
    if let Err(error) = service::redis::connect(url.expose()).await {
        let error = causes(&error);
        tracing::error!(
            error,
            "{variable} leads to no Redis: until it does, nothing is published and no records come in"
        );
    }
}

/// Says whether the database is there, how much waits to be published and how far looks at servers are behind, until the
/// drain begins.
async fn watch((pool, clock): (PgPool, Clock), check: Check, metrics: Metrics, drain: Drain) {
    loop {
        match behind(&pool, clock.now()).await {
            Ok((waiting, oldest, overdue)) => {
                check.green();
                metrics.publish.set_outbox(waiting, oldest);
                metrics.set_overdue(overdue);
            }
            Err(error) => check.red(error.to_string()),
        }
        tokio::select! {
            () = tokio::time::sleep(PING_EVERY) => {}
            () = drain.begun().cancelled() => return,
        }
    }
}

fn server_watch(config: &Config, parts: &Parts, metrics: &Metrics) -> Watch {
    let Parts { pool, clock, relay, .. } = parts.clone();
    Watch { pool, clock, relay, every: config.server_check.0, metrics: metrics.clone() }
}

async fn behind(pool: &PgPool, now: DateTime<Utc>) -> Result<(u64, Duration, Duration), store::Error> {
    let mut tx = PlatformTx::begin(pool).await?;
    let (waiting, oldest) = store::outbox::depth(&mut tx).await?;
    Ok((waiting, oldest, store::health::overdue(&mut tx, now).await?))
}

fn audit_needs(config: &Config, parts: &Parts, (deployment, checkpoints): (String, Arc<SigningKey>)) -> ingest::Needs {
    ingest::Needs {
        pool: parts.pool.clone(),
        redis_url: config.audit_redis_url.expose().clone(),
        deployment,
        master: parts.master.clone(),
        checkpoints,
        clock: parts.clock.clone(),
        shards: config.audit_shards,
        hold: ingest::HOLD,
        horizon: ingest::HORIZON,
        retention: config.audit_retention,
    }
}

/// What sending to destinations may use: what is slow there takes no connection of ingest's or of people's.
async fn sink_means(config: &Config) -> Result<sinks::Means, StartError> {
    let url = config.database_url.expose();
    let pool = store::connect_waiting(url, config.sink_connections, sinks::CONNECTION_WAIT).await?;
    Ok(sinks::Means { pool, memory: config.sink_memory.0 })
}

/// Where credentials rest: in Vault, which is kept logged in, or sealed.
async fn credential_store(vault: Option<VaultConfig>, drain: &Drain) -> Result<Store, StoreError> {
    let Some(config) = vault else { return Ok(Store::Sealed) };
    let vault = VaultStore::connect(config).await?;
    let (keeping, begun) = (vault.clone(), drain.begun().clone());
    drain.spawn(async move {
        tokio::select! {
            () = keeping.keep_logged_in() => {}
            () = begun.cancelled() => {}
        }
    });
    Ok(Store::Vault(vault))
}

/// What nodes hold too, and what signs what they believe.
type Keys = (NodeKeys, Arc<SigningKey>);

fn publisher(
    config: &Config,
    (shared, signing): &Keys,
    (pool, check, metrics): (PgPool, Check, PublishMetrics),
) -> Result<Publisher, StartError> {
    Ok(Publisher::new(PublisherParts {
        pool,
        redis: service::redis::connect_lazily(config.redis_url.expose())?,
        deployment: shared.deployment.clone(),
        signing: Arc::clone(signing),
        clock: service::clock(),
        check,
        metrics,
    })?)
}

fn parts(
    config: &Config,
    (shared, signing): Keys,
    (pool, clock, store, log): (PgPool, Clock, Store, Log),
    (looks, drain): (Looks, &Drain),
) -> Result<Parts, StartError> {
    let redis = service::redis::connect_lazily(config.redis_url.expose())?;
    let live = Live::new(redis, &shared.master, &shared.deployment, clock.clone());
    let site = Site::new(config.public_url.clone(), &shared.deployment)?.behind(config.proxies);
    let mail = mail(config, &site, drain)?;
    let relay = Relay::new(config.relay_urls.clone(), signing, (shared.deployment, looks), drain.clone())?;
    let (master, gateway_url) = (Arc::new(shared.master), config.gateway_url.clone());
    let tenants_per_person = config.tenants_per_person;
    let passwords = Passwords::default();
    let sandbox = Sandbox(config.sandbox_url.clone());
    Ok(Parts {
        pool,
        clock,
        master,
        gateway_url,
        relay,
        store,
        live,
        tenants_per_person,
        site,
        passwords,
        mail,
        sandbox,
        drain: drain.clone(),
        log,
        egress: Arc::new(config.egress.clone()),
    })
}

/// How mail leaves. It is shown on pages only where nobody but this machine reaches them.
fn mail(config: &Config, site: &Site, drain: &Drain) -> Result<Mail, StartError> {
    match &config.mail {
        MailConfig::Smtp { url, from } => Ok(Mail::smtp(url.expose(), from, drain.clone())?),
        MailConfig::Kept(_) if !site.is_loopback() => Err(StartError::NoMail),
        MailConfig::Kept(folder) if config.listen.ip().is_loopback() => Ok(Mail::kept(folder.clone())?),
        MailConfig::Kept(_) => {
            tracing::warn!("nobody can sign up: set SLUICE_PUBLIC_URL and SLUICE_SMTP_URL");
            Ok(Mail::none())
        }
    }
}
