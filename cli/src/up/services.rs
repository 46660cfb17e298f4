//! Postgres and Redis: private ones as our children, or those that `DATABASE_URL` and `REDIS_URL` name.

use std::rc::Rc;

use anyhow::Context;
use clap::Args;

use super::postgres::{Postgres, Safety};
use super::redis::Redis;
use super::state::State;
use super::supervisor::Supervisor;
use super::{Settings, wait_until};

/// Where the services are.
pub(crate) struct Addresses {
    pub(crate) database: String,
    pub(crate) redis_control: String,
    pub(crate) redis_node: String,
}

/// Starts what is not given by the environment.
pub(crate) async fn start(
    settings: &Settings,
    state: &State,
    supervisor: &mut Supervisor,
) -> anyhow::Result<Addresses> {
    let database = match &settings.database_url {
        Some(url) => {
            control_plane::check_database(url).await?;
            url.clone()
        }
        None => start_postgres(state, settings.ports.postgres(), Safety::Durable, supervisor).await?,
    };
    let (redis_control, redis_node) = match &settings.redis_url {
        Some(url) => {
            check_redis(url).await?;
            (url.clone(), url.clone())
        }
        None => start_redis(state, settings.ports.redis(), supervisor).await?,
    };
    Ok(Addresses { database, redis_control, redis_node })
}

/// Whether there is a Redis at this address; known within a few seconds.
async fn check_redis(url: &str) -> anyhow::Result<()> {
    let connected = service::redis::connect(url).await.map(drop);
    connected.context("REDIS_URL leads to no Redis: start it there, or unset REDIS_URL to have a private one")
}

async fn start_postgres(
    state: &State,
    port: u16,
    safety: Safety,
    supervisor: &mut Supervisor,
) -> anyhow::Result<String> {
    let postgres = Rc::new(Postgres::prepare(state, port, safety)?);
    supervisor.start("postgres", {
        let postgres = postgres.clone();
        move || postgres.command()
    })?;
    state.note_started(&supervisor.started())?;
    wait_until("Postgres is ready", (state, supervisor), || std::future::ready(postgres.is_ready())).await?;
    Ok(postgres.url())
}

async fn start_redis(state: &State, port: u16, supervisor: &mut Supervisor) -> anyhow::Result<(String, String)> {
    let redis = Rc::new(Redis::prepare(state, port)?);
    supervisor.start("redis", {
        let redis = redis.clone();
        move || redis.command()
    })?;
    state.note_started(&supervisor.started())?;
    wait_until("Redis is ready", (state, supervisor), || redis.is_ready()).await?;
    Ok((redis.control_url(), redis.node_url()))
}

/// `sluice with-services`: for tests.
#[derive(Debug, Args)]
pub(crate) struct WithServicesArgs {
    /// The folder to keep them in; what is in it is thrown away.
    #[arg(long, default_value = "target/services")]
    folder: std::path::PathBuf,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Runs a command with a private Postgres and Redis, and ends with its exit code.
pub(crate) async fn run(arguments: WithServicesArgs) -> anyhow::Result<()> {
    let state = State::open(&arguments.folder)?;
    let _ = state.end_leftovers();
    state.forget_data()?;
    let mut supervisor = Supervisor::default();
    let outcome = tokio::select! {
        outcome = run_with(&state, &arguments.command, &mut supervisor) => outcome,
        () = crate::told_to_end() => Ok(130),
    };
    supervisor.end().await;
    state.note_started(&[])?;
    match outcome? {
        0 => Ok(()),
        code => std::process::exit(code),
    }
}

async fn run_with(state: &State, command: &[String], supervisor: &mut Supervisor) -> anyhow::Result<i32> {
    let database = start_postgres(state, free_port()?, Safety::Throwaway, supervisor).await?;
    let (redis, _) = start_redis(state, free_port()?, supervisor).await?;
    let (program, rest) = command.split_first().context("no command")?;
    let mut child = tokio::process::Command::new(program)
        .args(rest)
        .env("DATABASE_URL", database)
        .env("REDIS_URL", redis)
        .env("PATH", Redis::path_with_program(state)?)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("can't start {program}"))?;
    Ok(child.wait().await?.code().unwrap_or(1))
}

/// A port that is free now.
fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[tokio::test]
    async fn a_redis_that_is_not_there_is_named_at_once() {
        let began = Instant::now();
        let error = check_redis("redis://:canary@127.0.0.1:1").await.unwrap_err();
        let shown = format!("{error:#}");
        assert!(
            shown.starts_with("REDIS_URL leads to no Redis: start it there") && !shown.contains("canary"),
            "{shown}"
        );
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
}
