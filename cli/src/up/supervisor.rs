//! Runs processes as our own children: starts them, starts again what dies, ends them all.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::state::Started;

/// A process that is meant to run.
pub(crate) struct Process {
    name: String,
    command: Box<dyn Fn() -> anyhow::Result<Command>>,
    child: Child,
    started: Started,
    since: Instant,
    /// When to start it again, while it is down.
    again: Option<Instant>,
}

/// A process that dies within this time of its start is started again only after [`PAUSE`].
const SETTLED: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(1);
/// How long all of them get to end by themselves.
const PATIENCE: Duration = Duration::from_secs(15);

/// All processes, in the order they were started; they are ended the other way round.
#[derive(Default)]
pub(crate) struct Supervisor {
    processes: Vec<Process>,
}

impl Supervisor {
    /// Starts a process.
    pub(crate) fn start(
        &mut self,
        name: &str,
        command: impl Fn() -> anyhow::Result<Command> + 'static,
    ) -> anyhow::Result<()> {
        let child = command()?.spawn()?;
        let started = Started::new(name, child.id());
        let process = Process {
            name: name.to_owned(),
            command: Box::new(command),
            child,
            started,
            since: Instant::now(),
            again: None,
        };
        self.processes.push(process);
        Ok(())
    }

    /// What runs now.
    pub(crate) fn started(&self) -> Vec<Started> {
        self.processes.iter().map(|process| process.started.clone()).collect()
    }

    /// The name of a process that has ended, if one has.
    pub(crate) fn find_ended(&mut self) -> Option<String> {
        self.processes.iter_mut().find_map(|process| process.has_ended().then(|| process.name.clone()))
    }

    /// Starts again what has died. True when something was started.
    pub(crate) fn restart_ended(&mut self) -> anyhow::Result<bool> {
        let now = Instant::now();
        let mut restarted = false;
        for process in &mut self.processes {
            if process.again.is_none() && process.has_ended() {
                let pause = if process.since.elapsed() < SETTLED { PAUSE } else { Duration::ZERO };
                crate::say(&format!("{} ended; starting it again", process.name));
                process.again = Some(now + pause);
            }
            if process.again.is_some_and(|again| again <= now) {
                process.child = (process.command)()?.spawn()?;
                process.started = Started::new(&process.name, process.child.id());
                (process.since, process.again, restarted) = (now, None, true);
            }
        }
        Ok(restarted)
    }

    /// Ends all, the last started first, each with the time it needs, and kills what does not end.
    pub(crate) async fn end(&mut self) {
        let patience = Instant::now() + PATIENCE;
        for process in self.processes.iter_mut().rev() {
            if process.has_ended() {
                continue;
            }
            process.started.signal(Signal::TERM);
            while !process.has_ended() && Instant::now() < patience {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            if !process.has_ended() {
                let _ = process.child.kill();
                let _ = process.child.wait();
            }
        }
    }
}

impl Process {
    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}
