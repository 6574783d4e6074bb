//! Signals that the process handles. None of those named here ends it by itself.
//!
//! | signal | `serve` | `demo` |
//! |---|---|---|
//! | SIGTERM | not ready for SHUTDOWN_DELAY_SECS, then the drain | the drain |
//! | SIGINT | the drain | the drain |
//! | a second SIGTERM or SIGINT, 0.2 s later at least | ends at once, with status 1 | likewise |
//! | SIGHUP | reads the configuration and the certificate again | the drain |
//! | SIGUSR1 | a line in the log: files that were moved are reopened by themselves | nothing |
//! | SIGUSR2 | starts a process that takes over, then the delay and the drain | nothing |
//!
//! `mock` ends at once where `demo` drains.

use std::io;
use std::time::{Duration, Instant};

use tokio::runtime::{self, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failure::Failure;

/// A second signal within this time is the first one: `timeout` and some supervisors send each
/// signal to the process and to its group.
const ONE_SIGNAL: Duration = Duration::from_millis(200);

/// A signal that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    Terminate,
    Interrupt,
    Hangup,
    User1,
    User2,
}

/// The process's signals, from the moment of [`Signals::watch`].
pub(super) struct Signals {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user1: Signal,
    user2: Signal,
}

impl Signals {
    /// Takes the signals over from their default action. Call it before anyone learns that the
    /// process serves, as it may be stopped at once.
    pub(super) fn watch() -> Result<Signals, Failure> {
        let failed = |error: io::Error| Failure::failed(format!("signals can't be waited for: {error}"));
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let entered = runtime.enter();
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let hangup = signal(SignalKind::hangup()).map_err(failed)?;
        let user1 = signal(SignalKind::user_defined1()).map_err(failed)?;
        let user2 = signal(SignalKind::user_defined2()).map_err(failed)?;
        drop(entered);
        Ok(Signals { runtime, terminate, interrupt, hangup, user1, user2 })
    }

    /// Waits for the next signal.
    pub(super) fn next(&mut self) -> Received {
        self.runtime.block_on(async {
            tokio::select! {
                _ = self.terminate.recv() => Received::Terminate,
                _ = self.interrupt.recv() => Received::Interrupt,
                _ = self.hangup.recv() => Received::Hangup,
                _ = self.user1.recv() => Received::User1,
                _ = self.user2.recv() => Received::User2,
            }
        })
    }

    /// Waits until the first signal that stops a program which reloads nothing, and returns the
    /// status that a shell reports for a program that the signal ended.
    pub(super) fn wait_for_stop(&mut self) -> i32 {
        loop {
            match self.next() {
                Received::Hangup => return 128 + libc::SIGHUP,
                Received::Interrupt => return 128 + libc::SIGINT,
                Received::Terminate => return 128 + libc::SIGTERM,
                Received::User1 | Received::User2 => {}
            }
        }
    }

    /// Ends the process at the next SIGTERM or SIGINT, from a thread of its own.
    pub(super) fn end_at_the_next(mut self) {
        let first = Instant::now();
        let wait = move || {
            while !matches!(self.next(), Received::Terminate | Received::Interrupt) || first.elapsed() < ONE_SIGNAL {}
            tracing::warn!("a second signal to stop was received; what still runs is cut");
            std::process::exit(1);
        };
        if let Err(error) = std::thread::Builder::new().name("signals".to_owned()).spawn(wait) {
            tracing::warn!("a second signal to stop will not be seen: {error}");
        }
    }
}
