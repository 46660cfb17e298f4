//! The `sluice` command: everything on one machine (`up`), each plane by itself, and the tools around them.

mod audit;
mod demo_upstream;
mod plane;
mod up;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A hosted, multi-tenant MCP gateway.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs everything on this machine: Postgres, Redis, the control plane, nodes, a demo upstream and a demo tenant.
    Up,
    /// Runs the control plane; configured by environment, see docs/operate.md.
    ControlPlane,
    /// Runs a data-plane node; configured by environment, see docs/operate.md.
    DataPlane,
    /// Runs the small demo upstream MCP server.
    DemoUpstream(demo_upstream::DemoArgs),
    /// Makes a deployment's keys in a folder; never overwrites one.
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Works with the audit log, away from any server.
    Audit {
        #[command(subcommand)]
        command: audit::AuditCommand,
    },
    /// Runs a command with a private Postgres and Redis, their addresses in `DATABASE_URL` and `REDIS_URL`.
    WithServices(up::WithServicesArgs),
    #[command(hide = true)]
    Child(up::ChildArgs),
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Makes master, signing, checkpoint and verifying keys and the deployment's id.
    Create {
        /// The folder.
        folder: PathBuf,
    },
}

fn main() -> std::process::ExitCode {
    let arguments = Arguments::parse();
    match start(arguments.command) {
        Ok(code) => code,
        Err(error) => {
            say(&format!("sluice: {}", sentence(&error)));
            std::process::ExitCode::FAILURE
        }
    }
}

/// An error with its causes, none said twice: some libraries repeat a cause in what they say themselves.
fn sentence(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |said, cause| {
        let cause = cause.to_string();
        match said.as_str() {
            "" => cause,
            before if before.contains(&cause) => said,
            before => format!("{before}: {cause}"),
        }
    })
}

fn start(command: Command) -> anyhow::Result<std::process::ExitCode> {
    match command {
        Command::Audit { command } => return audit::run(&command),
        Command::ControlPlane => {
            let config = control_plane::Config::from_env(&environment)?;
            many_threads()?.block_on(plane::run(|drain| control_plane::run(config, drain)))
        }
        Command::DataPlane => {
            let config = data_plane::Config::from_env(&environment)?;
            many_threads()?.block_on(plane::run(|drain| data_plane::run(config, drain)))
        }
        Command::Up => one_thread()?.block_on(up::run()),
        Command::DemoUpstream(arguments) => one_thread()?.block_on(demo_upstream::run(arguments)),
        Command::Keys { command: KeysCommand::Create { folder } } => Ok(secrets::keys::create(&folder).map(drop)?),
        Command::WithServices(arguments) => one_thread()?.block_on(up::with_services(arguments)),
        Command::Child(arguments) => one_thread()?.block_on(up::child(arguments)),
    }
    .map(|()| std::process::ExitCode::SUCCESS)
}

fn many_threads() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

fn one_thread() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Tells a person at the terminal; standard output is kept for what a program may want to read.
#[expect(clippy::print_stderr, reason = "this is the one place where the command speaks")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// Reads one variable of the environment, the empty one as absent.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Waits for SIGINT or SIGTERM.
pub(crate) async fn told_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let inner = std::io::Error::other("nobody answers");
        let error = anyhow::Error::new(inner).context("can't connect: nobody answers").context("can't start");
        assert_eq!(sentence(&error), "can't start: can't connect: nobody answers");
        let error = anyhow::Error::msg("b").context("a");
        assert_eq!(sentence(&error), "a: b");
    }
}
