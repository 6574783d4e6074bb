//! The embedded store: one SQLite file in `DATA_DIR`, readable by its owner only, since providers' keys are in it.
//!
//! Write-ahead logging lets the server read while the command line writes. Change is seen through `PRAGMA data_version`, which moves
//! when another connection has committed, and then `config_version`, since logs are written to the same file.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, TransactionBehavior, params};

use super::migrations::{self, Applied, Migration};
use super::{Error, Fault, Store};
use crate::config::rows::{CredentialRow, ProviderRow, Rows};

/// The file in `DATA_DIR`.
pub const FILE: &str = "llm-proxy.db";
/// Longest wait for another process's write to end.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Sqlite {
    connection: Connection,
    path: PathBuf,
    /// What [`Store::load`] saw last.
    seen: Option<Seen>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    /// `PRAGMA data_version`; means something on this connection alone, and does not move with its own writes.
    data: i64,
    /// `config_version.version`.
    version: i64,
}

impl Sqlite {
    /// Opens the store in `dir` and brings it up to date. Makes the directory and the file where they are missing. Several processes
    /// may do so at once.
    pub fn open(dir: &Path) -> Result<Sqlite, Error> {
        let path = prepare(dir)?;
        let open = || -> Result<Connection, Trouble> {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let mut connection = Connection::open_with_flags(&path, flags)?;
            connection.busy_timeout(PATIENCE)?;
            write_ahead(&connection)?;
            migrate(&mut connection, migrations::SQLITE)?;
            Ok(connection)
        };
        match open() {
            Ok(connection) => Ok(Sqlite { connection, path, seen: None }),
            Err(trouble) => Err(trouble.explain(&path)),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn run<T>(&mut self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        work(&mut self.connection).map_err(|error| Trouble::from(error).explain(&self.path))
    }

    /// Executes an insert and gives the row's id; `taken` is said when a unique value is.
    fn insert(
        &mut self,
        sql: &str,
        values: impl rusqlite::Params,
        taken: impl FnOnce() -> String,
    ) -> Result<i64, Error> {
        match self.connection.execute(sql, values) {
            Ok(_) => Ok(self.connection.last_insert_rowid()),
            Err(error) if is_unique_violation(&error) => Err(Error::new(Fault::Conflict, taken())),
            Err(error) => Err(Trouble::from(error).explain(&self.path)),
        }
    }

    fn delete(&mut self, sql: &str, id: i64, what: &str) -> Result<(), Error> {
        match self.run(|connection| connection.execute(sql, [id]))? {
            0 => Err(Error::new(Fault::NotFound, format!("there is no {what} with id {id}"))),
            _ => Ok(()),
        }
    }
}

impl Store for Sqlite {
    fn load(&mut self) -> Result<Rows, Error> {
        let (data, rows) = self.run(|connection| {
            // Before the rows: what is committed in between is then seen as a change, at worst once too often.
            let data = data_version(connection)?;
            let snapshot = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
            let rows = Rows {
                version: config_version(&snapshot)?,
                providers: all(&snapshot, PROVIDERS, provider)?,
                credentials: all(&snapshot, CREDENTIALS, credential)?,
            };
            Ok((data, rows))
        })?;
        self.seen = Some(Seen { data, version: rows.version });
        Ok(rows)
    }

    fn version(&mut self) -> Result<i64, Error> {
        self.run(|connection| config_version(connection))
    }

    fn changed(&mut self) -> Result<bool, Error> {
        let Some(seen) = self.seen else { return Ok(true) };
        let data = self.run(|connection| data_version(connection))?;
        if data == seen.data {
            return Ok(false);
        }
        let version = self.version()?;
        if version == seen.version {
            // Somebody wrote something else; that need not be looked at again.
            self.seen = Some(Seen { data, version });
        }
        Ok(version != seen.version)
    }

    fn add_provider(&mut self, row: &ProviderRow) -> Result<i64, Error> {
        self.seen = None;
        self.insert(
            "INSERT INTO providers (provider_key, provider_type, api_base, api_key, model_mapping, weight, provider_params, \
             lua_script, is_enabled) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                row.provider_key,
                row.provider_type,
                row.api_base,
                &*row.api_key,
                row.model_mapping,
                row.weight,
                row.provider_params,
                row.lua_script,
                row.is_enabled,
            ],
            || format!("a provider named `{}` exists; remove it first, or choose another name", row.provider_key),
        )
    }

    fn remove_provider(&mut self, id: i64) -> Result<(), Error> {
        self.seen = None;
        self.delete("DELETE FROM providers WHERE id = ?1", id, "provider")
    }

    fn create_credential(&mut self, row: &CredentialRow) -> Result<i64, Error> {
        self.seen = None;
        self.insert(
            "INSERT INTO credentials (credential_key, name, allowed_models, rate_limit, burst, expires_at, is_enabled) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                row.credential_key,
                row.name,
                row.allowed_models,
                row.rate_limit,
                row.burst,
                row.expires_at,
                row.is_enabled,
            ],
            || "a credential with this key exists".to_owned(),
        )
    }

    fn revoke_credential(&mut self, id: i64) -> Result<(), Error> {
        self.seen = None;
        self.delete("DELETE FROM credentials WHERE id = ?1", id, "credential")
    }
}

/// Makes directory and file, with nobody else's eyes on them from the first moment. What exists keeps its mode.
fn prepare(dir: &Path) -> Result<PathBuf, Error> {
    let refuse = |what: &str, error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                "; let DATA_DIR be a directory that this user may write to"
            }
            io::ErrorKind::StorageFull => "; free some space on its disk",
            _ => "",
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

/// Switches to write-ahead logging. The switch needs the file for itself and does not wait for it, as other statements do.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())) {
            Err(error) if is_busy(&error) && Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
            // A file system without shared memory keeps its old journal, which works as well.
            other => return other,
        }
    }
}

fn migrate(connection: &mut Connection, known: &[Migration]) -> Result<(), Trouble> {
    if migrations::pending(known, &applied(connection)?)?.is_empty() {
        return Ok(());
    }
    // Looked at again under the write lock: another process may have done it since.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let steps = migrations::pending(known, &applied(&transaction)?)?;
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

/// The steps that the file has seen: none if it is empty, an error if its tables are not ours.
fn applied(connection: &Connection) -> Result<Vec<Applied>, Trouble> {
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
        Some(false) => Err(Trouble::Ours(Error::new(
            Fault::Version,
            "is a database of something else; let DATA_DIR be another directory",
        ))),
        Some(true) => {
            let row = |row: &Row<'_>| Ok(Applied { version: row.get(0)?, checksum: row.get(1)? });
            Ok(all(connection, "SELECT version, checksum FROM llm_proxy_migrations ORDER BY version", row)?)
        }
    }
}

fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "data_version", |row| row.get(0))
}

fn config_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT version FROM config_version", [], |row| row.get(0))
}

fn all<T>(connection: &Connection, sql: &str, read: fn(&Row<'_>) -> rusqlite::Result<T>) -> rusqlite::Result<Vec<T>> {
    connection.prepare(sql)?.query_map([], read)?.collect()
}

const PROVIDERS: &str = "SELECT id, provider_key, provider_type, api_base, api_key, model_mapping, weight, provider_params, \
                         lua_script, is_enabled FROM providers ORDER BY id";
const CREDENTIALS: &str = "SELECT id, credential_key, name, allowed_models, rate_limit, burst, expires_at, is_enabled \
                           FROM credentials ORDER BY id";

fn provider(row: &Row<'_>) -> rusqlite::Result<ProviderRow> {
    Ok(ProviderRow {
        id: row.get(0)?,
        provider_key: text(row, 1)?,
        provider_type: text(row, 2)?,
        api_base: text(row, 3)?,
        api_key: text(row, 4)?.into(),
        model_mapping: text(row, 5)?,
        weight: row.get(6)?,
        provider_params: text(row, 7)?,
        lua_script: Some(text(row, 8)?).filter(|script| !script.is_empty()),
        is_enabled: row.get(9)?,
    })
}

fn credential(row: &Row<'_>) -> rusqlite::Result<CredentialRow> {
    Ok(CredentialRow {
        id: row.get(0)?,
        credential_key: text(row, 1)?,
        name: text(row, 2)?,
        allowed_models: text(row, 3)?,
        rate_limit: row.get(4)?,
        burst: row.get(5)?,
        expires_at: row.get(6)?,
        is_enabled: row.get(7)?,
    })
}

/// Text that is not UTF-8 spoils its own row, not the whole reading.
fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    })
}

/// An error before it is known of which file it speaks.
#[derive(Debug)]
enum Trouble {
    Sqlite(rusqlite::Error),
    /// The message lacks its subject.
    Ours(Error),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Trouble {
        Trouble::Sqlite(error)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Ours(error)
    }
}

impl Trouble {
    fn explain(self, path: &Path) -> Error {
        let path = path.display();
        let error = match self {
            Trouble::Ours(error) => return Error::new(error.fault, format!("the store {path} {error}")),
            Trouble::Sqlite(error) => error,
        };
        let reason = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => "cannot be written: its disk is full".to_owned(),
            Some(ErrorCode::ReadOnly) => "cannot be written: the file or its disk is read-only".to_owned(),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                format!("was locked by another process for more than {} s", PATIENCE.as_secs())
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

fn is_unique_violation(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> (tempfile::TempDir, Sqlite) {
        let dir = tempfile::tempdir().unwrap();
        let store = Sqlite::open(dir.path()).unwrap();
        (dir, store)
    }

    fn tables(connection: &Connection) -> Vec<String> {
        let sql = "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name";
        all(connection, sql, |row| row.get(0)).unwrap()
    }

    #[test]
    fn every_step_can_be_taken_back_and_taken_again() {
        let (_dir, mut store) = open();
        let full = tables(&store.connection);
        for step in migrations::SQLITE.iter().rev() {
            store.connection.execute_batch(step.down).unwrap();
            store.connection.execute("DELETE FROM llm_proxy_migrations WHERE version = ?1", [step.version]).unwrap();
        }
        assert_eq!(tables(&store.connection), ["llm_proxy_migrations"]);
        migrate(&mut store.connection, migrations::SQLITE).unwrap();
        assert_eq!(tables(&store.connection), full);
    }

    #[test]
    fn a_newer_store_is_left_alone() {
        let (dir, store) = open();
        store
            .connection
            .execute("INSERT INTO llm_proxy_migrations (version, name, checksum) VALUES (999, 'x', 'x')", [])
            .unwrap();
        let error = Sqlite::open(dir.path()).unwrap_err();
        assert_eq!(error.fault, Fault::Version);
        assert!(error.message.contains("newer llm-proxy (its schema is 999"), "{error}");
    }

    #[test]
    fn somebody_elses_database_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let other = Connection::open(dir.path().join(FILE)).unwrap();
        other.execute_batch("CREATE TABLE recipes (id INTEGER)").unwrap();
        let error = Sqlite::open(dir.path()).unwrap_err();
        assert!(
            error.message.ends_with("is a database of something else; let DATA_DIR be another directory"),
            "{error}"
        );
        assert_eq!(tables(&other), ["recipes"]);
    }

    #[test]
    fn a_step_that_fails_leaves_nothing_behind() {
        let mut connection = Connection::open_in_memory().unwrap();
        let broken = Migration {
            version: 1,
            name: "broken",
            up: "CREATE TABLE a (id INTEGER); CREATE TABLE a (id INTEGER)",
            down: "",
        };
        assert!(migrate(&mut connection, &[broken]).is_err());
        assert_eq!(tables(&connection), [""; 0]);
    }

    #[test]
    fn trouble_with_the_disk_is_told_in_words() {
        // what limits the store, what is said
        let rows = [
            ("PRAGMA max_page_count = 1", "cannot be written: its disk is full"),
            ("PRAGMA query_only = 1", "cannot be written: the file or its disk is read-only"),
        ];
        for (pragma, message) in rows {
            let (_dir, mut store) = open();
            store.connection.execute_batch(pragma).unwrap();
            let row = ProviderRow {
                provider_key: "p".into(),
                model_mapping: "{}".into(),
                provider_params: "{}".into(),
                ..ProviderRow::default()
            };
            let large = ProviderRow { api_base: "x".repeat(100_000), ..row };
            let error = store.add_provider(&large).unwrap_err();
            assert_eq!(error.fault, Fault::Unavailable);
            assert!(error.message.ends_with(message), "{error}");
        }
    }

    #[test]
    fn text_that_is_no_text_spoils_its_own_row_only() {
        let (_dir, mut store) = open();
        let sql = "INSERT INTO credentials (credential_key, name) VALUES ('a', CAST(x'ff' AS TEXT)), ('b', 'fine')";
        store.connection.execute_batch(sql).unwrap();
        let names: Vec<_> = store.load().unwrap().credentials.into_iter().map(|row| row.name).collect();
        assert_eq!(names, ["\u{fffd}", "fine"]);
    }

    #[test]
    fn writes_to_the_logs_are_no_change() {
        let (dir, mut store) = open();
        store.load().unwrap();
        let other = Sqlite::open(dir.path()).unwrap();
        other.connection.execute("INSERT INTO request_logs (timestamp, request_id) VALUES (1, 'r')", []).unwrap();
        assert!(!store.changed().unwrap());
        other.connection.execute("UPDATE config_version SET version = version + 1", []).unwrap();
        assert!(store.changed().unwrap());
        store.load().unwrap();
        assert!(!store.changed().unwrap());
    }
}
