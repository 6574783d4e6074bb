//! The embedded store: one SQLite file in `DATA_DIR`, readable by its owner only, since providers'
//! keys are in it.
//!
//! Write-ahead logging lets the server read while the command line writes. A thread of its own owns
//! the connection and does one thing after the other, since a write may wait for another process;
//! it ends when the last handle is dropped. Logs and prices have another one.

mod changes;
mod file;
mod logs;
mod rows;
mod spend;
mod statement;
pub mod steps;
mod sums;
mod thread;
mod write;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use rusqlite::Connection;
use tokio::time::timeout;

use crate::config::rows::Rows;
use crate::config::snapshot::Problem;
use crate::control_plane::store::change::{AuditFilter, AuditList, Changes, SumsKey, Write, Written};
use crate::control_plane::store::error::{Answer, Error, Fault};
use crate::control_plane::store::identity::digest;
use crate::control_plane::store::interface::Store;
use crate::control_plane::store::logs::Tables;
use crate::limit::budget::{Claim, Grant};
pub use file::FILE;
pub use thread::Sqlite;
use thread::Thread;

/// How often a store that can only be read is opened anew.
const REOPEN_INTERVAL: Duration = Duration::from_secs(5);

/// [`Store::identity`] of the store in this file: device and inode, which every path to the file
/// and every container that mounts it have in common. `None` if there is no such file.
pub(super) fn identity(path: &Path) -> Option<String> {
    let file = std::fs::metadata(path).ok()?;
    Some(digest(&format!("sqlite:{}:{}", file.dev(), file.ino())))
}

impl Sqlite {
    /// Opens the store in `dir` and brings it up to date. Makes the directory and the file where
    /// they are missing. Several processes may do so at once.
    ///
    /// A store that is there and up to date, but can't be written, is opened to be read:
    /// [`Store::problems`] says so, and each change tries to open it anew.
    pub fn open(dir: &Path) -> Result<Sqlite, Error> {
        let (connection, path, unwritable) = match file::open(dir) {
            Ok((connection, path)) => (connection, path, None),
            Err(error) => {
                let readable = (error.fault == Fault::Unavailable).then(|| file::open_to_read(dir)).flatten();
                let Some((connection, path)) = readable else { return Err(error) };
                (connection, path, Some(Arc::new(error)))
            }
        };
        let main = Thread::start(&path, "store", Ok(connection))?;
        Ok(Sqlite { path, main, side: Arc::default(), unwritable: Arc::new(ArcSwapOption::new(unwritable)) })
    }

    /// Opens the store in `dir` for a command. One that is missing is empty, and made by its first
    /// change: a command that fails before leaves nothing behind.
    pub fn open_lazily(dir: &Path) -> Result<Sqlite, Error> {
        let unavailable = |why: String| Error::new(Fault::Unavailable, why);
        let dir = std::path::absolute(dir)
            .map_err(|error| unavailable(format!("the data directory {} cannot be used: {error}", dir.display())))?;
        let path = dir.join(FILE);
        if path.exists() {
            return Sqlite::open(&dir);
        }
        let main = Thread::start(&path, "store", file::in_memory(&path))?;
        let missing = unavailable(format!("{} does not exist", path.display()));
        let unwritable = Arc::new(ArcSwapOption::from_pointee(missing));
        Ok(Sqlite { path, main, side: Arc::default(), unwritable })
    }

    /// Opens the store anew if it could only be read.
    fn reopen(&self) -> impl FnOnce(&mut Connection) -> Result<(), Error> + Send + 'static {
        let (unwritable, path) = (self.unwritable.clone(), self.path.clone());
        move |connection| {
            if unwritable.load().is_none() {
                return Ok(());
            }
            let dir = path.parent().unwrap_or(&path);
            let (writable, _) = file::open(dir)?;
            *connection = writable;
            unwritable.store(None);
            Ok(())
        }
    }

    /// Returns the path of the database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn run<T, E>(&self, work: impl FnOnce(&mut Connection) -> Result<T, E> + Send + 'static) -> Answer<'_, T>
    where
        T: Send + 'static,
        write::Refused: From<E>,
    {
        self.main.run(work)
    }
}

impl Store for Sqlite {
    fn place(&self) -> String {
        format!("embedded, {}", self.path.display())
    }

    fn version(&self) -> Answer<'_, i64> {
        self.run(|connection| rows::version(connection))
    }

    fn load(&self) -> Answer<'_, Rows> {
        self.run(rows::load)
    }

    fn changes(&self, since: i64) -> Answer<'_, Changes> {
        self.run(move |connection| rows::changes(connection, since))
    }

    fn changed(&self, since: i64) -> Answer<'_, ()> {
        Box::pin(async move {
            // It watches before the first look, so that no write falls between the two.
            let mut files = changes::FileWatch::new(&self.path);
            while self.version().await? == since {
                if self.unwritable.load().is_none() {
                    files.wait().await;
                } else if timeout(REOPEN_INTERVAL, files.wait()).await.is_err() {
                    // It may be the same as before: that is known.
                    let _ = self.run(self.reopen()).await;
                }
            }
            Ok(())
        })
    }

    fn write_all(&self, writes: Vec<Write>) -> Answer<'_, Vec<Written>> {
        let reopen = self.reopen();
        self.run(move |connection| {
            reopen(connection)?;
            write::write_all(connection, &writes)
        })
    }

    fn audit_log(&self, filter: AuditFilter, limit: u32) -> Answer<'_, AuditList> {
        self.run(move |connection| rows::audit_log(connection, &filter, limit))
    }

    fn identity(&self) -> Answer<'_, Option<String>> {
        Box::pin(std::future::ready(Ok(identity(&self.path))))
    }

    fn problems(&self) -> Vec<Problem> {
        let problem = |error: &Arc<Error>| Problem {
            object: "store".to_owned(),
            message: format!("can only be read, so that changes are refused and nothing is logged to it: {error}"),
        };
        self.unwritable.load().as_ref().map(problem).into_iter().collect()
    }

    fn claim(&self, claims: Vec<(SumsKey, Claim)>) -> Answer<'_, Vec<Grant>> {
        self.run(move |connection| sums::claim(connection, &claims))
    }

    fn tables(&self) -> Option<&dyn Tables> {
        Some(self)
    }
}

#[cfg(test)]
mod tests;
