//! `llm-proxy upgrade`: has the gateway that serves the embedded store replaced by a new process of
//! the program at its path.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::failure::Failure;
use super::{print, store_lock};
use crate::config::boot::{Boot, Environment};

/// How long the new process may take to serve, and a little more.
const PATIENCE: Duration = Duration::from_secs(65);
const LOOK: Duration = Duration::from_millis(50);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The gateway's process [default: the one that serves the store in DATA_DIR]
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
}

/// Fails if no process takes over. With `--pid` it does not wait for that, since only the embedded
/// store tells which process serves.
pub fn run(args: &Args) -> Result<(), Failure> {
    let (environment, _) = Environment::of_process();
    let (boot, _) = Boot::from(&[], &environment)?;
    let owner = || store_lock::owner(&boot.data_dir);
    let Some(pid) = args.pid.or_else(owner) else {
        let message = format!(
            "no gateway serves the store in {}; name its process with --pid, or its directory with DATA_DIR",
            boot.data_dir.display()
        );
        return Err(Failure::Failed(message));
    };
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let process = process.ok_or_else(|| Failure::Failed(format!("{pid} is no number of a process")))?;
    kill_process(process, Signal::USR2)
        .map_err(|error| Failure::Failed(format!("process {pid} can't be sent SIGUSR2: {error}")))?;
    if args.pid.is_some() {
        return print::line(&format!("asked process {pid} to hand over; its log says whether it did"));
    }
    let began = Instant::now();
    loop {
        match owner() {
            Some(new) if new != pid => return print::line(&format!("process {new} has taken over from {pid}")),
            _ if test_kill_process(process).is_err() => {
                return Err(Failure::Failed(format!("process {pid} has ended, and no other serves")));
            }
            _ if began.elapsed() > PATIENCE => {
                return Err(Failure::Failed(format!("process {pid} goes on to serve; its log says why")));
            }
            _ => std::thread::sleep(LOOK),
        }
    }
}
