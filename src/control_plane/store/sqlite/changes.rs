//! Waits for writes to the embedded store, of this process or another, without polling: the kernel
//! reports writes to the files of the database (inotify).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{sleep, timeout};

/// The least time between two checks. Logs are written to the same files.
const PAUSE: Duration = Duration::from_millis(200);
/// The number of checks after an event before the next one is awaited: the kernel reports the write
/// to the log, and the transaction is visible a little later, by a write to shared memory that it
/// does not report.
const LOOKS: u8 = 5;
/// The most time between two checks, in case that an event was lost.
const LONGEST: Duration = Duration::from_secs(30);
/// Room for some 15 events. Those that don't fit are read with the next ones.
const BUFFER: usize = 1024;

/// Watches the files of a database.
pub(super) struct FileWatch {
    /// The start of the names of the database and its write-ahead log.
    name: PathBuf,
    /// `None` if the kernel grants no more watches.
    events: Option<AsyncFd<OwnedFd>>,
    /// How many of [`LOOKS`] are left.
    looks: u8,
}

impl FileWatch {
    /// Writes after this call end the next wait. Must be called in a tokio runtime.
    pub(super) fn new(database: &Path) -> FileWatch {
        let name = database.file_name().map(PathBuf::from).unwrap_or_default();
        FileWatch { events: watch_directory(database).ok(), name, looks: LOOKS }
    }

    /// Waits for the next check: at least [`PAUSE`], at most [`LONGEST`].
    pub(super) async fn wait(&mut self) {
        sleep(PAUSE).await;
        self.looks = self.looks.saturating_sub(1);
        if self.looks == 0 && self.events.is_some() {
            self.written().await;
            self.looks = LOOKS;
        }
    }

    /// Waits until the files are written, for at most [`LONGEST`]; not at all without a watch. The
    /// transaction may be visible a little later.
    pub(super) async fn written(&mut self) {
        let FileWatch { name, events: Some(events), .. } = self else { return };
        let written = async {
            while let Ok(is_ours) = events.async_io(Interest::READABLE, |events| read_events(events, name)).await {
                if is_ours {
                    return;
                }
            }
            // The events can't be read.
            std::future::pending().await
        };
        let _ = timeout(LONGEST, written).await;
    }
}

fn watch_directory(database: &Path) -> io::Result<AsyncFd<OwnedFd>> {
    let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let directory = database.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    inotify::add_watch(&events, directory, WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO)?;
    // The newer function is unsafe for types that may close their descriptor; this one keeps it.
    #[expect(deprecated)]
    AsyncFd::with_interest(events, Interest::READABLE)
}

/// Reads all events that there are. Returns whether one is of a file whose name starts with `name`,
/// or events were lost.
fn read_events(events: &OwnedFd, name: &Path) -> io::Result<bool> {
    let mut buffer = [MaybeUninit::uninit(); BUFFER];
    let mut reader = Reader::new(events, &mut buffer);
    let mut seen = None;
    loop {
        match reader.next() {
            Ok(event) => {
                let is_ours = event
                    .file_name()
                    .is_none_or(|file| file.to_bytes().starts_with(name.as_os_str().as_encoded_bytes()));
                seen = Some(seen == Some(true) || is_ours);
            }
            Err(rustix::io::Errno::WOULDBLOCK) if seen.is_some() => return Ok(seen == Some(true)),
            Err(error) => return Err(error.into()),
        }
    }
}
