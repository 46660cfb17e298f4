//! The `sluice` command: everything on one machine (`up`), each plane by itself, and the tools around them.

mod audit;
mod demo_upstream;
mod plane;
mod ready;
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
    /// Asks the plane whose internal listener is at `SLUICE_INTERNAL_LISTEN` whether it is ready; exits 1 when it is not.
    Ready,
    /// Runs the small demo upstream MCP server.
    DemoUpstream(demo_upstream::DemoArgs),
    /// Makes a deployment's keys, and changes them.
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Puts right what a restored backup of Postgres leaves wrong; once, before a control plane runs again.
    ///
    /// First end every control plane (nodes may go on), restore Postgres, and leave Redis as it is: it alone knows what was
    /// revoked since the backup. Settings are those of a control plane, from the environment.
    ///
    /// Gateway tokens that were revoked since the backup are revoked again, and those issued since are worth nothing any more.
    /// Every destination is paused, each tenant's log goes on in a new epoch, and all is published anew. Until it has come to
    /// its end nothing is published: when it was cut off, run it again.
    ///
    /// Whatever else was changed, removed or erased since is as it was at the backup: docs/operate.md says what to go through.
    Restore(RestoreArgs),
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

#[derive(Debug, clap::Args)]
struct RestoreArgs {
    /// Revokes every token, those for the API too, and ends every session: where nobody knows what was revoked since the
    /// backup.
    #[arg(long)]
    revoke_all: bool,
    /// Where Redis was lost too: goes on as if no token had been revoked since the backup. Those that were work again.
    #[arg(long, conflicts_with = "revoke_all")]
    keep_tokens: bool,
    /// Where Redis was lost too: the highest epoch that was in use. The console's Evidence page shows it, and the first line
    /// of each bundle and of each checkpoint ends in it.
    #[arg(long, value_name = "EPOCH", default_value_t = 1)]
    above_epoch: u64,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Makes master, signing, checkpoint and verifying keys and the deployment's id.
    Create {
        /// The folder. No key in it is overwritten.
        folder: PathBuf,
    },
    /// Wraps what earlier master keys have wrapped by the present one, the first line of `master.key`; planes may run.
    ///
    /// Settings are those of a control plane, from the environment. It works in small steps and may be cut off and run again;
    /// once it finds nothing to do, no key in Postgres needs an earlier line: docs/operate.md says when to take that out.
    Rewrap,
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
        Command::Ready => one_thread()?.block_on(ready::run()),
        Command::Restore(arguments) => {
            let config = control_plane::Config::from_env(&environment)?;
            one_thread()?.block_on(restore(&config, &arguments))
        }
        Command::Up => one_thread()?.block_on(up::run()),
        Command::DemoUpstream(arguments) => one_thread()?.block_on(demo_upstream::run(arguments)),
        Command::Keys { command: KeysCommand::Create { folder } } => Ok(secrets::keys::create(&folder).map(drop)?),
        Command::Keys { command: KeysCommand::Rewrap } => {
            let config = control_plane::Config::from_env(&environment)?;
            one_thread()?.block_on(rewrap(&config))
        }
        Command::WithServices(arguments) => one_thread()?.block_on(up::with_services(arguments)),
        Command::Child(arguments) => one_thread()?.block_on(up::child(arguments)),
    }
    .map(|()| std::process::ExitCode::SUCCESS)
}

async fn restore(config: &control_plane::Config, arguments: &RestoreArgs) -> anyhow::Result<()> {
    let RestoreArgs { revoke_all, keep_tokens, above_epoch } = *arguments;
    let options = control_plane::restore::Options { revoke_all, keep_tokens, above_epoch };
    let done = control_plane::restore::restore(config, options).await?;
    say(&format!(
        "{} tenants are published again, in epoch {}; {} logs go on in a new epoch",
        done.tenants, done.epoch, done.logs
    ));
    say(&format!("{} gateway tokens that were revoked since the backup are revoked again", done.revoked_again));
    say(&format!("{} gateway tokens that were issued since the backup are worth nothing any more", done.forgotten));
    say(&format!("{} destinations are paused: start those that are still wanted, in the console", done.paused));
    if revoke_all {
        say(&format!("{} tokens are revoked and {} sessions ended", done.revoked, done.sessions));
    } else {
        say("`sluice restore --revoke-all` revokes every token, API tokens too, and ends every session");
    }
    say("as of the backup: API tokens, sign-ins, passwords, roles, policies, servers, credentials, destinations, and");
    say("personal parts that were erased since. What was taken back or erased since has to be again: docs/operate.md");
    Ok(())
}

async fn rewrap(config: &control_plane::Config) -> anyhow::Result<()> {
    let done = control_plane::rewrap::rewrap(config).await?;
    say(&format!("wrapping by the first line of `master.key`, the key {}", done.by));
    say(&format!("{} keys of workspaces are wrapped by it now, and published anew", done.tenants));
    say(&format!("{} keys of personal parts of records are wrapped by it now", done.personal));
    for left in &done.left {
        say(&format!("stays as it was: {left}"));
    }
    for tenant in &done.refused {
        say(&format!(
            "goes on with an earlier configuration and the keys in it, since its present one is refused: {tenant}"
        ));
    }
    anyhow::ensure!(
        done.left.is_empty() && done.refused.is_empty(),
        "{} keys stay as they were, and {} workspaces go on with an earlier configuration: leave the old lines of \
         `master.key` where they are, mend what is said above, and run this again",
        done.left.len(),
        done.refused.len()
    );
    Ok(())
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

/// Reads one variable of the environment, the empty one as absent. Where it is absent and `NAME_FILE` names a file, it is
/// what the file holds: so a secret need not stand in the environment. A file that holds nothing ends the program: what it
/// was for must not silently be something else.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub(crate) fn environment(name: &str) -> Option<String> {
    let read = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    read(name).or_else(|| {
        let path = read(&format!("{name}_FILE"))?;
        let held = held_by(&path).unwrap_or_else(|why| {
            say(&format!("sluice: {name}_FILE is wrong: `{path}` {why}"));
            std::process::exit(1)
        });
        Some(held)
    })
}

/// What a file holds, without the line's end; or why it is of no use.
fn held_by(path: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("can't be read: {error}"))?;
    match text.trim_end() {
        "" => Err("is empty".to_owned()),
        held => Ok(held.to_owned()),
    }
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
    fn a_file_stands_for_a_variable_without_its_last_line_end() {
        let path = std::env::temp_dir().join(format!("sluice-held-{}", std::process::id()));
        std::fs::write(&path, "postgres://x\n").unwrap();
        let held = held_by(path.to_str().unwrap());
        std::fs::write(&path, "\n").unwrap();
        let empty = held_by(path.to_str().unwrap());
        std::fs::remove_file(&path).unwrap();
        assert_eq!(held.as_deref(), Ok("postgres://x"));
        assert_eq!(empty, Err("is empty".to_owned()));
        assert!(held_by("/nowhere").unwrap_err().starts_with("can't be read: "));
    }

    #[test]
    fn a_cause_is_said_once() {
        let inner = std::io::Error::other("nobody answers");
        let error = anyhow::Error::new(inner).context("can't connect: nobody answers").context("can't start");
        assert_eq!(sentence(&error), "can't start: can't connect: nobody answers");
        let error = anyhow::Error::msg("b").context("a");
        assert_eq!(sentence(&error), "a: b");
    }
}
