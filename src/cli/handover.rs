//! An upgrade without a gap: a new process of the program that is now at this one's path takes over
//! the listening sockets and the lock of the store, and this one drains.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Child;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::gateway::Gateway;
use super::launcher::{self, Launcher};
use super::notify;
use super::store_lock::StoreLock;
use crate::net::inherited::{Bequest, Inherited, Name};

/// How long a new process may take until it serves.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the new process writes when it serves.
const SERVES: &[u8] = b"serves";

/// Returns the path of the program. Call it at the start: later its file may have been replaced.
pub(super) fn program() -> Option<PathBuf> {
    std::env::current_exe().ok()
}

/// Starts a successor and waits until it serves. If it does not, this gateway is as it was; the
/// error says why. A gateway that may start no program itself has it started by its launcher.
pub(super) fn start_successor(
    program: Option<&PathBuf>,
    launcher: Option<&Launcher>,
    gateway: &Gateway,
    lock: Option<&StoreLock>,
) -> Result<u32, String> {
    let program = program.ok_or("the path of the program is not known")?;
    let failed = |error: std::io::Error| format!("{}: {error}", program.display());
    let (mut readiness, ready) = std::io::pipe().map_err(failed)?;
    let mut fds: Vec<_> = gateway.listeners().iter().map(|listener| (Name::Public, listener.as_fd())).collect();
    fds.extend(gateway.admin_listener().map(|admin| (Name::Admin, admin.as_fd())));
    fds.extend(lock.map(|lock| (Name::Lock, lock.fd())));
    fds.push((Name::Ready, ready.as_fd()));
    let mut successor = match launcher {
        Some(launcher) => Successor::Launched(launcher, launcher.start_successor(&fds)?),
        None => {
            let mut bequest = Bequest::default();
            for (name, fd) in fds {
                bequest.add(name, fd).map_err(failed)?;
            }
            let args: Vec<_> = std::env::args_os().skip(1).collect();
            Successor::Child(launcher::command(program, &args, &bequest).spawn().map_err(failed)?)
        }
    };
    drop(ready);
    let (sender, receiver) = mpsc::channel();
    let wait = move || {
        let mut bytes = Vec::new();
        let _ = readiness.read_to_end(&mut bytes);
        let _ = sender.send(bytes == SERVES);
    };
    std::thread::Builder::new().name("handover".to_owned()).spawn(wait).map_err(failed)?;
    match receiver.recv_timeout(PATIENCE) {
        Ok(true) => Ok(successor.id()),
        Ok(false) => Err(format!("the new process has ended before it served ({})", successor.end())),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            Err(format!("the new process did not serve within {} s ({})", PATIENCE.as_secs(), successor.end()))
        }
    }
}

/// The process that is to take over.
enum Successor<'a> {
    Child(Child),
    /// By the launcher, with this number.
    Launched(&'a Launcher, u32),
}

impl Successor<'_> {
    fn id(&self) -> u32 {
        match self {
            Successor::Child(child) => child.id(),
            Successor::Launched(_, id) => *id,
        }
    }

    /// Ends it if it has not ended, and returns how it ended.
    fn end(&mut self) -> String {
        match self {
            Successor::Child(child) => launcher::end(child),
            Successor::Launched(launcher, _) => launcher.end_successor(),
        }
    }
}

/// Reports to the predecessor, if there is one, and to the service manager that this process
/// serves.
pub(super) fn report_serving(inherited_ready: Option<std::fs::File>) {
    if let Some(mut ready) = inherited_ready
        && let Err(error) = ready.write_all(SERVES)
    {
        tracing::warn!("the process before this one can't be told that this one serves: {error}");
    }
    notify::send(notify::READY);
}

/// Takes what was inherited; an error ends the start.
pub(super) fn inherited() -> Result<Inherited, super::failure::Failure> {
    Inherited::take().map_err(super::failure::Failure::Failed)
}
