//! The signals that end a process.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Trouble;

/// SIGTERM and SIGINT, from now on: their default of ending at once no longer holds.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    ignore_interrupt: bool,
}

impl Signals {
    /// Takes both signals over. A child of `dev` leaves Ctrl-C, which reaches the whole group, to its
    /// parent.
    pub(super) fn take(ignore_interrupt: bool) -> Result<Self, Trouble> {
        let refused = |error: io::Error| Trouble::failed("signals cannot be received").why(error.to_string());
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(refused)?,
            interrupt: signal(SignalKind::interrupt()).map_err(refused)?,
            ignore_interrupt,
        })
    }

    /// The next signal that is meant for this process.
    pub(super) async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => if !self.ignore_interrupt { return },
            }
        }
    }
}
