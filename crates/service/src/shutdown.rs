//! When a program is to end: SIGINT, SIGTERM, or the end of the supervisor that started it.

use std::io;
use std::os::fd::AsFd as _;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Why a program is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// SIGINT, from a terminal.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// The supervisor is gone.
    Orphaned,
}

/// Waits for the wish to end.
#[derive(Debug)]
pub struct Shutdown {
    interrupt: Signal,
    terminate: Signal,
    supervisor: Option<Receiver>,
}

impl Shutdown {
    /// Listens for SIGINT and SIGTERM from now on.
    ///
    /// # Errors
    /// The operating system's, when it refuses.
    pub fn on_signals() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            supervisor: None,
        })
    }

    /// As [`Shutdown::on_signals`], and for the end of the process that holds the other end of standard input.
    ///
    /// A supervisor starts the program with a pipe as standard input, writes nothing and keeps it: however it ends, the
    /// pipe closes. (`PR_SET_PDEATHSIG` would fire when the *thread* that spawned the program ends.)
    ///
    /// # Errors
    /// The operating system's, when standard input is no pipe.
    pub fn on_signals_or_closed_stdin() -> io::Result<Self> {
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Self { supervisor: Some(Receiver::from_owned_fd(stdin)?), ..Self::on_signals()? })
    }

    /// Waits until the program is to end. May be called again, for a second wish.
    pub async fn requested(&mut self) -> Reason {
        tokio::select! {
            _ = self.interrupt.recv() => Reason::Interrupt,
            _ = self.terminate.recv() => Reason::Terminate,
            () = closed(self.supervisor.as_mut()) => {
                self.supervisor = None;
                Reason::Orphaned
            }
        }
    }
}

/// Waits for the end of the pipe, for ever where there is none.
async fn closed(pipe: Option<&mut Receiver>) {
    let Some(pipe) = pipe else { return std::future::pending().await };
    let mut ignored = [0; 64];
    while pipe.read(&mut ignored).await.is_ok_and(|length| length > 0) {}
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::unix::pipe;

    use super::*;

    #[tokio::test]
    async fn the_end_of_the_supervisor_ends_the_program() {
        let (mut supervisor, receiver) = pipe::pipe().unwrap();
        let mut shutdown = Shutdown { supervisor: Some(receiver), ..Shutdown::on_signals().unwrap() };
        supervisor.write_all(b"anything").await.unwrap();
        drop(supervisor);
        assert_eq!(shutdown.requested().await, Reason::Orphaned);
    }
}
