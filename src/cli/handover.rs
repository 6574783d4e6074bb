//! An upgrade without a gap: a new process of the program that is now at this one's path takes over
//! the listening sockets and the lock of the store, and this one drains.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::gateway::Gateway;
use super::notify;
use super::store_lock::StoreLock;
use crate::net::inherited::{Bequest, Inherited, Name, VARIABLE};

/// How long a new process may take until it serves.
const PATIENCE: Duration = Duration::from_secs(60);
/// What it writes then.
const SERVES: &[u8] = b"serves";

/// Where the program is. Read it at the start: later its file may have been replaced.
pub(super) fn program() -> Option<PathBuf> {
    std::env::current_exe().ok()
}

/// Starts a successor and waits until it serves. If it does not, this gateway is as it was; the error
/// says why.
pub(super) fn start_successor(
    program: Option<&PathBuf>,
    gateway: &Gateway,
    lock: Option<&StoreLock>,
) -> Result<u32, String> {
    let program = program.ok_or("the path of the program is not known")?;
    let failed = |error: std::io::Error| format!("{}: {error}", program.display());
    let (mut serves, tell) = std::io::pipe().map_err(failed)?;
    let mut bequest = Bequest::default();
    for listener in gateway.listeners() {
        bequest.add(Name::Public, listener.as_fd()).map_err(failed)?;
    }
    if let Some(admin) = gateway.admin_listener() {
        bequest.add(Name::Admin, admin.as_fd()).map_err(failed)?;
    }
    if let Some(lock) = lock {
        bequest.add(Name::Lock, lock.fd()).map_err(failed)?;
    }
    bequest.add(Name::Ready, tell.as_fd()).map_err(failed)?;
    drop(tell);
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).env(VARIABLE, bequest.value());
    for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
        command.env_remove(name);
    }
    let mut child = command.stdin(Stdio::null()).spawn().map_err(failed)?;
    drop(bequest);
    let (sender, receiver) = mpsc::channel();
    let wait = move || {
        let mut said = Vec::new();
        let _ = serves.read_to_end(&mut said);
        let _ = sender.send(said == SERVES);
    };
    std::thread::Builder::new().name("handover".to_owned()).spawn(wait).map_err(failed)?;
    match receiver.recv_timeout(PATIENCE) {
        Ok(true) => Ok(child.id()),
        Ok(false) => Err(format!("the new process has ended before it served ({})", end(&mut child))),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            let _ = child.kill();
            Err(format!("the new process did not serve within {} s ({})", PATIENCE.as_secs(), end(&mut child)))
        }
    }
}

fn end(child: &mut Child) -> String {
    // It may have closed its end without ending.
    let _ = child.kill();
    child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// Tells the predecessor, if there is one, that this process serves, and the service manager.
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
