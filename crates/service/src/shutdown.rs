//! When a program is to end: SIGINT or SIGTERM.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Why a program is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// SIGINT, from a terminal.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// Waits for the wish to end.
#[derive(Debug)]
pub struct Shutdown {
    interrupt: Signal,
    terminate: Signal,
}

impl Shutdown {
    /// Listens for SIGINT and SIGTERM from now on.
    ///
    /// # Errors
    /// The operating system's, when it refuses.
    pub fn on_signals() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits until the program is to end. May be called again, for a second wish.
    pub async fn requested(&mut self) -> Reason {
        tokio::select! {
            _ = self.interrupt.recv() => Reason::Interrupt,
            _ = self.terminate.recv() => Reason::Terminate,
        }
    }
}
