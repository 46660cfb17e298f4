//! `sluice up`: a whole deployment on one machine, as children of one process.

mod child;
mod demo_tenant;
mod endpoints;
mod planes;
mod ports;
mod postgres;
mod redis;
mod round_robin;
mod services;
mod state;
mod supervisor;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub(crate) use child::{ChildArgs, run as child};
pub(crate) use services::{WithServicesArgs, run as with_services};

use endpoints::Endpoints;
use ports::{MAX_NODES, Ports};
use state::State;
use supervisor::Supervisor;

/// How long a part may take to be ready.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often the children are looked at.
const TICK: Duration = Duration::from_millis(50);

/// What `up` takes from the environment.
struct Settings {
    folder: PathBuf,
    ports: Ports,
    nodes: u16,
    database_url: Option<String>,
    redis_url: Option<String>,
}

impl Settings {
    fn from_environment() -> anyhow::Result<Self> {
        let number = |name: &str, default: u16| match crate::environment(name) {
            None => Ok(default),
            Some(text) => text.parse().with_context(|| format!("{name} is `{text}`; it must be a number")),
        };
        let nodes = number("SLUICE_NODES", 1)?;
        if !(1..=MAX_NODES).contains(&nodes) {
            bail!("SLUICE_NODES is {nodes}; it must be 1 to {MAX_NODES}");
        }
        Ok(Self {
            folder: crate::environment("SLUICE_DIR").unwrap_or_else(|| ".sluice".to_owned()).into(),
            ports: Ports::from(number("SLUICE_PORT", 7300)?)?,
            nodes,
            database_url: crate::environment("DATABASE_URL"),
            redis_url: crate::environment("REDIS_URL"),
        })
    }
}

/// Runs everything until it is told to end.
pub(crate) async fn run() -> anyhow::Result<()> {
    let settings = Settings::from_environment()?;
    let state = State::open(&settings.folder)?;
    for name in state.end_leftovers() {
        crate::say(&format!("ended {name}, left over from a start that was killed"));
    }
    let _ = std::fs::remove_file(state.path("endpoints.json"));
    settings.ports.check(settings.nodes)?;
    let mut supervisor = Supervisor::default();
    let stop = CancellationToken::new();
    let outcome = tokio::select! {
        outcome = start_and_watch(&settings, &state, &mut supervisor, &stop) => outcome,
        () = crate::told_to_end() => {
            crate::say("ending");
            Ok(())
        }
    };
    stop.cancel();
    let _ = std::fs::remove_file(state.path("endpoints.json"));
    supervisor.end().await;
    state.note_started(&[])?;
    outcome
}

async fn start_and_watch(
    settings: &Settings,
    state: &State,
    supervisor: &mut Supervisor,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let addresses = services::start(settings, state, supervisor).await?;
    let planes = planes::prepare(settings, state, &addresses)?;
    planes.start(supervisor)?;
    state.note_started(&supervisor.started())?;
    wait_until("the control plane is ready", (state, supervisor), || planes.control_plane_is_ready()).await?;
    let tenants = TcpListener::bind(("127.0.0.1", settings.ports.tenants())).await?;
    let nodes = (1..=settings.nodes).map(|number| settings.ports.node(number)).collect();
    tokio::spawn(round_robin::serve(tenants, nodes, stop.clone()));
    wait_until("the nodes are ready", (state, supervisor), || planes.nodes_are_ready()).await?;
    let demo = demo_tenant::find_or_make(settings, state, &addresses).await?;
    let endpoints = Endpoints::new(settings, &addresses, &demo);
    endpoints.write(state, &supervisor.started())?;
    endpoints.announce();
    loop {
        tokio::time::sleep(TICK).await;
        if supervisor.restart_ended()? {
            state.note_started(&supervisor.started())?;
            endpoints.write(state, &supervisor.started())?;
        }
    }
}

/// Waits until a part is ready, and says which one ended instead, if one did.
async fn wait_until<F: Future<Output = bool>>(
    what: &str,
    (state, supervisor): (&State, &mut Supervisor),
    ready: impl Fn() -> F,
) -> anyhow::Result<()> {
    let start = Instant::now();
    while !ready().await {
        if let Some(name) = supervisor.find_ended() {
            let (words, log) = (state.last_words(&name), state.path(&format!("{name}.log")));
            bail!("{name} ended before {what}: {words} (more in {})", log.display());
        }
        if start.elapsed() > PATIENCE {
            bail!(
                "it took more than {} s until {what}; the logs are in {}",
                PATIENCE.as_secs(),
                state.path("").display()
            );
        }
        tokio::time::sleep(TICK).await;
    }
    crate::say(&format!("{what} ({} ms)", start.elapsed().as_millis()));
    Ok(())
}
