//! The lock on the embedded store: one gateway serves it at a time. The command line takes no lock,
//! so it may write meanwhile.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::failure::Failure;

/// The file in `DATA_DIR`. It holds the number of the process that serves.
const FILE: &str = "gateway.lock";

/// The lock, until it is dropped by the last process that has it.
pub(super) struct StoreLock(File);

impl StoreLock {
    /// Locks the store in `dir`, or takes over the lock of a predecessor. `None` where the file
    /// can't be made, since nobody can write to the store then.
    pub(super) fn take(dir: &Path, inherited: Option<File>) -> Result<Option<StoreLock>, Failure> {
        if let Some(file) = inherited {
            return Ok(Some(StoreLock(file)));
        }
        let path = dir.join(FILE);
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = match opened {
            Ok(file) => file,
            Err(error) => {
                tracing::warn!("the lock {} can't be made: {error}", path.display());
                return Ok(None);
            }
        };
        match file.try_lock() {
            Ok(()) => {
                let mut lock = StoreLock(file);
                lock.write_owner();
                Ok(Some(lock))
            }
            Err(TryLockError::WouldBlock) => {
                let owner = owner(dir).map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
                Err(Failure::failed(format!(
                    "the store in {} is served by {owner} already; stop that gateway, give this one another DATA_DIR, \
                     or let both share a PostgreSQL database (DB_URL)",
                    dir.display()
                )))
            }
            Err(TryLockError::Error(error)) => {
                tracing::warn!("the lock {} can't be taken: {error}", path.display());
                Ok(None)
            }
        }
    }

    /// Writes which process serves, as the first line, before the rest is cut off: a reader sees a
    /// whole number at any time. A failure is ignored, since the lock alone counts.
    pub(super) fn write_owner(&mut self) {
        let line = format!("{}\n", std::process::id());
        let write = |file: &mut File| {
            file.rewind()?;
            file.write_all(line.as_bytes())?;
            file.set_len(line.len() as u64)
        };
        let _ = write(&mut self.0);
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Returns whether a process serves the store in `dir`, as far as its file and its number show. The
/// lock is not tried: that would refuse a gateway that starts at this moment.
pub(super) fn is_served(dir: &Path) -> bool {
    owner(dir).is_some_and(|pid| Path::new("/proc").join(pid.to_string()).exists())
}

/// Returns the process that serves the store in `dir`, if the file has it.
pub(super) fn owner(dir: &Path) -> Option<u32> {
    let mut text = String::new();
    File::open(dir.join(FILE)).ok()?.take(32).read_to_string(&mut text).ok()?;
    text.lines().next()?.trim().parse().ok()
}
