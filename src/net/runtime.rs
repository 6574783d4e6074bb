//! The monoio runtime of a worker thread: io_uring where the kernel allows it, else epoll.
//!
//! Whether io_uring works is found out by building the ring that will be used: a probe with a tiny
//! ring succeeds where the limit of locked memory then refuses the real one. `COOP_TASKRUN`
//! (kernel 5.19) saves an interrupt per completion; without it this driver costs about a quarter
//! more system time per request than epoll. `SINGLE_ISSUER` (kernel 6.0) saves a lock.

use std::fmt;
use std::future::Future;
use std::io;
use std::time::Duration;

use monoio::time::TimeDriver;
use monoio::{IoUringDriver, LegacyDriver, Runtime, RuntimeBuilder};
use rustix::io::Errno;

/// Entries of a worker's ring. About 100 KiB of locked memory.
const RING_ENTRIES: u32 = 1024;

/// The system interface that a runtime uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    IoUring,
    Epoll,
}

impl Driver {
    /// Returns the word that settings and metrics use.
    pub fn name(self) -> &'static str {
        match self {
            Driver::IoUring => "io_uring",
            Driver::Epoll => "epoll",
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which driver the operator has configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// io_uring, or epoll where io_uring is not available.
    Auto,
    Only(Driver),
}

enum Built {
    Uring(Runtime<TimeDriver<IoUringDriver>>),
    Epoll(Runtime<TimeDriver<LegacyDriver>>),
}

/// A runtime, which belongs to the thread that built it.
pub struct Worker {
    built: Built,
    io_uring_error: Option<io::Error>,
}

impl Worker {
    /// Builds a runtime on this thread.
    pub fn build(choice: Choice) -> io::Result<Worker> {
        match choice {
            Choice::Only(Driver::Epoll) => epoll(),
            Choice::Only(Driver::IoUring) => uring(),
            Choice::Auto => match uring() {
                Ok(worker) => Ok(worker),
                Err(error) => Ok(Worker { io_uring_error: Some(error), ..epoll()? }),
            },
        }
    }

    /// Returns the system interface that was chosen.
    pub fn driver(&self) -> Driver {
        match self.built {
            Built::Uring(_) => Driver::IoUring,
            Built::Epoll(_) => Driver::Epoll,
        }
    }

    /// Returns the kernel's error if io_uring was tried and is not available.
    pub fn io_uring_error(&self) -> Option<&io::Error> {
        self.io_uring_error.as_ref()
    }

    /// Runs a future to its end, and on this thread everything that it spawns.
    pub fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        match &mut self.built {
            Built::Uring(runtime) => runtime.block_on(future),
            Built::Epoll(runtime) => runtime.block_on(future),
        }
    }
}

/// Yields to the other tasks of this worker.
///
/// That takes a wait: the scheduler of this version runs a task that wakes itself before all
/// others, and looks at the clock only when no task is left to run.
pub async fn yield_now() {
    monoio::time::sleep(Duration::from_millis(1)).await;
}

/// Builds a ring with the flags that this kernel knows. Older kernels refuse a flag with `EINVAL`.
///
/// `DEFER_TASKRUN` is not among them: it was measured, and was no faster
/// (docs/internals/io-uring.md).
fn uring() -> io::Result<Worker> {
    let mut single_issuer = io_uring::IoUring::builder();
    // Kernel 6.0: this thread alone submits, so the kernel needs no lock. Kernel 5.18: one bad
    // entry does not hold up those behind it.
    single_issuer.setup_coop_taskrun().setup_single_issuer().setup_submit_all();
    let mut cooperative = io_uring::IoUring::builder();
    cooperative.setup_coop_taskrun();
    let mut last = io::Error::from(Errno::INVAL);
    for flags in [single_issuer, cooperative, io_uring::IoUring::builder()] {
        let builder = RuntimeBuilder::<IoUringDriver>::new().uring_builder(flags);
        match builder.with_entries(RING_ENTRIES).enable_timer().build() {
            Ok(runtime) => return Ok(Worker { built: Built::Uring(runtime), io_uring_error: None }),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

fn epoll() -> io::Result<Worker> {
    let runtime = RuntimeBuilder::<LegacyDriver>::new().with_entries(RING_ENTRIES).enable_timer().build()?;
    Ok(Worker { built: Built::Epoll(runtime), io_uring_error: None })
}
