//! The control plane as a program: connects, brings the schema up to date, serves, works until the drain.

use std::sync::Arc;

use domain::Clock;
use secrets::keys::{ControlKeys, KeyError};
use service::{Drain, Health};
use tokio::net::TcpListener;

use crate::app::{self, Parts};
use crate::config::Config;
use crate::servers::Relay;

/// Why the control plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A key is missing or unusable.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The database can't be used.
    #[error(transparent)]
    Database(#[from] store::StartError),
    /// The client to the nodes could not be made.
    #[error("the client to the data-plane nodes could not be set up")]
    Relay(#[from] reqwest::Error),
    /// The port is in use, or not ours to take.
    #[error("can't listen at {address}: set SLUICE_CONTROL_LISTEN to a free address")]
    Listen {
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
    let keys = ControlKeys::load(&config.keys)?;
    let pool = store::connect(config.database_url.expose(), config.database_connections).await?;
    store::migrate(&pool).await?;
    let clock = service::clock();
    let parts = parts(&config, keys, (pool, clock), &drain)?;
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|source| StartError::Listen { address: config.listen, source })?;
    let health = Health::new(&drain);
    health.check("postgres").green();
    tracing::info!(listen = %config.listen, "the control plane is up");
    service::listen::serve(listener, app::router(&parts).merge(health.routes()), drain.clone()).await;
    Ok(())
}

fn parts(
    config: &Config,
    keys: ControlKeys,
    (pool, clock): (store::PgPool, Clock),
    drain: &Drain,
) -> Result<Parts, StartError> {
    let signing = Arc::new(keys.signing);
    let relay = Relay::new(config.relay_urls.clone(), signing, keys.shared.deployment, drain.clone())?;
    Ok(Parts { pool, clock, master: Arc::new(keys.shared.master), gateway_url: config.gateway_url.clone(), relay })
}
