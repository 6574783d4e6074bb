//! The monoio runtime of a worker thread: io_uring where the kernel allows it, else epoll.
//!
//! Whether io_uring works is found out by building the ring that will be used: a probe with a tiny
//! ring succeeds where the limit of locked memory then refuses the real one. `COOP_TASKRUN`
//! (kernel 5.19) saves an interrupt per completion; without it this driver costs about a quarter
//! more system time per request than epoll.

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

    pub fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        match &mut self.built {
            Built::Uring(runtime) => runtime.block_on(future),
            Built::Epoll(runtime) => runtime.block_on(future),
        }
    }
}

/// Yields to the other tasks of this worker.
///
/// That takes a wait: the scheduler of this version runs a task that wakes itself before all others,
/// and looks at the clock only when no task is left to run.
pub async fn yield_now() {
    monoio::time::sleep(Duration::from_millis(1)).await;
}

fn uring() -> io::Result<Worker> {
    let mut cooperative = io_uring::IoUring::builder();
    cooperative.setup_coop_taskrun();
    let built = RuntimeBuilder::<IoUringDriver>::new()
        .uring_builder(cooperative)
        .with_entries(RING_ENTRIES)
        .enable_timer()
        .build();
    let runtime = match built {
        Ok(runtime) => runtime,
        // Older kernels refuse the flag.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => {
            RuntimeBuilder::<IoUringDriver>::new().with_entries(RING_ENTRIES).enable_timer().build()?
        }
        Err(error) => return Err(error),
    };
    Ok(Worker { built: Built::Uring(runtime), io_uring_error: None })
}

fn epoll() -> io::Result<Worker> {
    let runtime = RuntimeBuilder::<LegacyDriver>::new().with_entries(RING_ENTRIES).enable_timer().build()?;
    Ok(Worker { built: Built::Epoll(runtime), io_uring_error: None })
}
