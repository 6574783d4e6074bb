//! The process that starts successors of a gateway which may start no program itself (`SANDBOX`).
//!
//! It is made before the gateway restricts itself. It waits for the descriptors that the gateway
//! hands over at an upgrade, starts the program at the gateway's path with the gateway's arguments,
//! and answers with the number of the process. Nothing else can be asked of it. It ends with the
//! gateway.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::failure::Failure;
use super::gateway;
use crate::net::fd_channel::FdChannel;
use crate::net::inherited::{Bequest, Name, VARIABLE};

/// Asks for the successor, once its descriptors were sent.
const START: &str = "start";
/// Ends a successor that does not serve.
const END: &str = "end";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The program that is started
    program: PathBuf,
    /// Its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// The gateway's side.
#[derive(Debug)]
pub(super) struct Launcher(FdChannel);

impl Launcher {
    /// Starts the process, for successors of `program`.
    pub(super) fn start(program: &PathBuf) -> io::Result<Launcher> {
        let (own, theirs) = FdChannel::pair()?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0("llm-proxy").arg("launcher").arg(program).args(std::env::args_os().skip(1));
        command.env_remove(VARIABLE).stdin(Stdio::from(OwnedFd::from(theirs))).spawn()?;
        Ok(Launcher(own))
    }

    /// Starts a successor that inherits these descriptors, and returns its process.
    pub(super) fn start_successor(&self, fds: &[(Name, BorrowedFd<'_>)]) -> Result<u32, String> {
        let failed = |error: io::Error| format!("the process that starts successors: {error}");
        for (name, fd) in fds {
            self.0.send(name.text(), Some(*fd)).map_err(failed)?;
        }
        self.0.send(START, None).map_err(failed)?;
        let answer = self.0.receive().map_err(failed)?;
        let (answer, _) = answer.ok_or("the process that starts successors has ended")?;
        answer.parse().map_err(|_| answer)
    }

    /// Ends the successor that was started last, and returns how it ended.
    pub(super) fn end_successor(&self) -> String {
        let ended = self.0.send(END, None).and_then(|()| self.0.receive());
        ended.ok().flatten().map_or_else(|| "its end is not known".to_owned(), |(answer, _)| answer)
    }
}

/// The process itself: serves one gateway, until that ends.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::failed(format!("the gateway can't be listened to: {error}"));
    // The gateway's secrets are in the environment of this process, too.
    let _ = gateway::forbid_dumps();
    let channel = FdChannel::from(io::stdin().as_fd().try_clone_to_owned().map_err(failed)?);
    let mut bequest = Bequest::default();
    let mut child: Option<Child> = None;
    while let Some((text, fd)) = channel.receive().map_err(failed)? {
        let answer = match (Name::of(&text), fd) {
            (Some(name), Some(fd)) => {
                bequest.add(name, fd.as_fd()).map_err(failed)?;
                continue;
            }
            _ if text == START => {
                // Open until the successor has its copies.
                let handed_over = std::mem::take(&mut bequest);
                match command(&args.program, &args.args, &handed_over).spawn() {
                    Ok(new) => {
                        let id = new.id();
                        child = Some(new);
                        id.to_string()
                    }
                    Err(error) => format!("{}: {error}", args.program.display()),
                }
            }
            _ => child.take().map_or_else(|| "none was started".to_owned(), |mut child| end(&mut child)),
        };
        channel.send(&answer, None).map_err(failed)?;
    }
    Ok(())
}

/// Returns the command that starts a successor with what is handed over, which must be open until
/// it has started.
pub(super) fn command(program: &Path, args: &[OsString], bequest: &Bequest) -> Command {
    let mut command = Command::new(program);
    command.args(args).env(VARIABLE, bequest.value()).stdin(Stdio::null());
    for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
        command.env_remove(name);
    }
    command
}

/// Ends a process if it has not ended, and returns how it ended.
pub(super) fn end(child: &mut Child) -> String {
    // It may have closed its end without ending.
    let _ = child.kill();
    child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
}
