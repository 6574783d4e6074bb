//! The database file: creates, opens and migrates it, and explains its errors.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, TransactionBehavior, params};

use crate::control_plane::store::error::{Error, Fault};
use crate::control_plane::store::migrations;
use crate::control_plane::store::migrations::{Applied, Migration};

/// The name of the file in `DATA_DIR`.
pub const FILE: &str = "llm-proxy.db";

/// Longest wait for another process's write to end.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens the store in `dir` and brings it up to date. Makes the directory and the file where they
/// are missing. Several processes may do so at once.
pub(super) fn open(dir: &Path) -> Result<(Connection, PathBuf), Error> {
    open_at(dir, migrations::SQLITE)
}

/// The same with some of the steps.
pub(super) fn open_at(dir: &Path, known: &[Migration]) -> Result<(Connection, PathBuf), Error> {
    let path = prepare(dir)?;
    let open = || -> Result<Connection, QueryError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        keep_temporary_files_in(&path, &connection);
        write_ahead(&connection)?;
        migrate(&mut connection, known)?;
        Ok(connection)
    };
    match open() {
        Ok(connection) => Ok((connection, path)),
        Err(error) => Err(error.explain(&path)),
    }
}

/// Lets SQLite make its temporary files, such as those of large sorts, beside the store: elsewhere
/// the process may not be able to. This is for the whole process, and is set before another
/// connection uses it. A directory that cannot be written is refused; then SQLite looks for one.
fn keep_temporary_files_in(path: &Path, connection: &Connection) {
    static SET: Once = Once::new();
    let dir = path.parent().and_then(Path::to_str);
    SET.call_once(|| {
        let _ = dir.map(|dir| connection.pragma_update(None, "temp_store_directory", dir));
    });
}

/// Returns an empty store in memory, in the place of one at `path` that is yet to be made.
pub(super) fn in_memory(path: &Path) -> Result<Connection, Error> {
    let open = || -> Result<Connection, QueryError> {
        let mut connection = Connection::open_in_memory()?;
        migrate(&mut connection, migrations::SQLITE)?;
        Ok(connection)
    };
    open().map_err(|error| error.explain(path))
}

/// Opens a store that cannot be written, to read it: one on a full or read-only disk. `None` if
/// that is not possible either, or not without a migration.
///
/// Where the files of write-ahead logging can't be made, the file is taken for one that nobody
/// changes, unless changes wait beside it.
pub(super) fn open_to_read(dir: &Path) -> Option<(Connection, PathBuf)> {
    let path = dir.canonicalize().ok()?.join(FILE);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let is_current = |connection: &Connection| {
        let applied = read_applied(connection).ok()?;
        Some(!applied.is_empty() && migrations::pending(migrations::SQLITE, &applied).ok()?.is_empty())
    };
    let open = |connection: rusqlite::Result<Connection>| {
        let connection = connection.ok()?;
        connection.busy_timeout(BUSY_TIMEOUT).ok()?;
        (is_current(&connection) == Some(true)).then_some(connection)
    };
    let shared = open(Connection::open_with_flags(&path, flags));
    let unchanged = || {
        let mut log = path.clone().into_os_string();
        log.push("-wal");
        if std::fs::metadata(log).is_ok_and(|log| log.len() > 0) {
            return None;
        }
        let name = utf8_percent_encode(path.to_str()?, NON_ALPHANUMERIC);
        open(Connection::open_with_flags(format!("file:{name}?immutable=1"), flags | OpenFlags::SQLITE_OPEN_URI))
    };
    Some((shared.or_else(unchanged)?, path))
}

/// Another connection to a store that is open, for what may be lost when the power fails: it does
/// not wait for the disk.
pub(super) fn side(path: &Path) -> Result<Connection, Error> {
    let open = || -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "synchronous", "normal")?;
        Ok(connection)
    };
    open().map_err(|error| QueryError::from(error).explain(path))
}

/// Creates directory and file, readable by their owner alone from the first moment. What exists
/// keeps its mode.
fn prepare(dir: &Path) -> Result<PathBuf, Error> {
    let refuse = |what: &str, error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                "; let DATA_DIR be a directory that this user may write to"
            }
            io::ErrorKind::StorageFull => "; free some space on its disk",
            _ => "; let DATA_DIR be a directory",
        };
        Error::new(Fault::Unavailable, format!("{what}: {error}{hint}"))
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| refuse(&format!("the data directory {} cannot be made", dir.display()), error))?;
    // Absolute, so that it stays the same file and is never taken for a `file:` address.
    let dir = dir
        .canonicalize()
        .map_err(|error| refuse(&format!("the data directory {} cannot be used", dir.display()), error))?;
    let path = dir.join(FILE);
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|error| refuse(&format!("the store {} cannot be opened", path.display()), error))?;
    Ok(path)
}

/// Switches to write-ahead logging. The switch needs the file for itself and does not wait for it,
/// as other statements do.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())) {
            Err(error) if is_busy(&error) && Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
            // A file system without shared memory keeps its old journal, which works as well.
            other => return other,
        }
    }
}

pub(super) fn migrate(connection: &mut Connection, known: &[Migration]) -> Result<(), QueryError> {
    if migrations::pending(known, &read_applied(connection)?)?.is_empty() {
        return Ok(());
    }
    // Read again under the write lock: another process may have migrated meanwhile.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let steps = migrations::pending(known, &read_applied(&transaction)?)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS llm_proxy_migrations (
             version    INTEGER PRIMARY KEY,
             name       TEXT    NOT NULL,
             checksum   TEXT    NOT NULL,
             applied_at INTEGER NOT NULL DEFAULT (unixepoch())
         ) STRICT",
    )?;
    for step in steps {
        transaction.execute_batch(step.up)?;
        transaction.execute(
            "INSERT INTO llm_proxy_migrations (version, name, checksum) VALUES (?1, ?2, ?3)",
            params![step.version, step.name, step.checksum()],
        )?;
    }
    transaction.commit()?;
    Ok(())
}

/// Returns the steps that were applied to the file: none if it is empty. Fails if its tables belong
/// to another program.
pub(super) fn read_applied(connection: &Connection) -> Result<Vec<Applied>, QueryError> {
    let tables: Option<bool> = connection
        .query_row(
            "SELECT max(name = 'llm_proxy_migrations') FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
            [],
            |row| row.get(0),
        )
        .optional()?
        .flatten();
    match tables {
        None => Ok(Vec::new()),
        Some(false) => Err(QueryError::Reported(Error::new(
            Fault::Version,
            "is a database of something else; let DATA_DIR be another directory",
        ))),
        Some(true) => {
            let row = |row: &Row<'_>| Ok(Applied { version: row.get(0)?, checksum: row.get(1)? });
            let sql = "SELECT version, checksum FROM llm_proxy_migrations ORDER BY version";
            Ok(connection.prepare(sql)?.query_map([], row)?.collect::<rusqlite::Result<_>>()?)
        }
    }
}

/// An error before the name of its file is known.
#[derive(Debug)]
pub(super) enum QueryError {
    Sqlite(rusqlite::Error),
    /// The message lacks its subject.
    Reported(Error),
}

impl From<rusqlite::Error> for QueryError {
    fn from(error: rusqlite::Error) -> QueryError {
        QueryError::Sqlite(error)
    }
}

impl From<Error> for QueryError {
    fn from(error: Error) -> QueryError {
        QueryError::Reported(error)
    }
}

impl QueryError {
    pub(super) fn explain(self, path: &Path) -> Error {
        let path = path.display();
        let error = match self {
            QueryError::Reported(error) => return Error::new(error.fault, format!("the store {path} {error}")),
            QueryError::Sqlite(error) => error,
        };
        let reason = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => "cannot be written: its disk is full".to_owned(),
            Some(ErrorCode::ReadOnly) => "cannot be written: the file or its disk is read-only".to_owned(),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                format!("was locked by another process for more than {} s", BUSY_TIMEOUT.as_secs())
            }
            Some(ErrorCode::NotADatabase) => {
                "is no SQLite file; move it away, or let DATA_DIR be another directory".to_owned()
            }
            Some(ErrorCode::DatabaseCorrupt) => format!("is damaged ({error}); restore it from a backup"),
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => format!("cannot be opened ({error})"),
            _ => format!("failed: {error}"),
        };
        Error::new(Fault::Unavailable, format!("the store {path} {reason}"))
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

pub(super) fn is_unique_violation(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE)
}
