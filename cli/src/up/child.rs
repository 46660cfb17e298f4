//! Processes that end when we do: `sluice child -- COMMAND` asks the kernel for a signal at its parent's death and then
//! becomes the command, or, where the command must run as another user, does the same as that user, stays, and passes
//! signals on.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use clap::Args;
use rustix::process::{Pid, Signal};
use tokio::signal::unix::{SignalKind, signal};

/// `sluice child`: used by `sluice up` only.
#[derive(Debug, Args)]
pub(crate) struct ChildArgs {
    /// Run the command as this user.
    #[arg(long)]
    uid: Option<u32>,
    /// And this group.
    #[arg(long)]
    gid: Option<u32>,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Who a program runs as when we are root and it must not be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OtherUser {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A command that runs as our child and ends with us, its output appended to `log`.
pub(crate) fn command(
    program: &Path,
    arguments: &[String],
    user: Option<OtherUser>,
    log: PathBuf,
) -> anyhow::Result<Command> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("child");
    if let Some(user) = user {
        command.arg("--uid").arg(user.uid.to_string()).arg("--gid").arg(user.gid.to_string());
    }
    // A group of its own: Ctrl-C reaches us alone, and we end our children in order.
    command.process_group(0);
    command.arg("--").arg(program).args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(command)
}

/// Our own program, by a path that other users may take whatever folders it lies below.
const OURSELVES: &str = "/proc/self/exe";

/// Runs as the command until it ends.
pub(crate) async fn run(arguments: ChildArgs) -> anyhow::Result<()> {
    let parent = rustix::process::getppid();
    // SIGINT: to Postgres, SIGTERM means to wait for its clients.
    rustix::process::set_parent_process_death_signal(Some(Signal::INT))?;
    anyhow::ensure!(rustix::process::getppid() == parent, "the parent ended");
    let (program, rest) = arguments.command.split_first().context("no command")?;
    let (Some(uid), Some(gid)) = (arguments.uid, arguments.gid) else {
        return Err(Command::new(program).args(rest).exec()).with_context(|| format!("can't start {program}"));
    };
    let mut again = tokio::process::Command::new(OURSELVES);
    again.args(["child", "--"]).args(&arguments.command).uid(uid).gid(gid).current_dir("/");
    let mut child = again.spawn()?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    loop {
        tokio::select! {
            ended = child.wait() => std::process::exit(ended?.code().unwrap_or(1)),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, Signal::INT);
        }
    }
}
