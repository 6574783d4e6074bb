//! The schema's steps, one by one, for `llm-proxy migrate`.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior, params};

use crate::control_plane::store::error::Error;
use crate::control_plane::store::migrations;
use crate::control_plane::store::migrations::SQLITE;
use crate::control_plane::store::schema_status::{Status, Step};
use crate::control_plane::store::sqlite::file;
use crate::control_plane::store::sqlite::file::QueryError;

/// Returns which steps were applied to the database in `dir`.
pub fn status(dir: &Path) -> Result<Status, Error> {
    let applied = match there(dir) {
        Some(path) => {
            let applied = Connection::open(&path)
                .map_err(QueryError::from)
                .and_then(|connection| file::read_applied(&connection));
            applied.map_err(|error| error.explain(&path))?
        }
        None => Vec::new(),
    };
    let is_applied = |version| applied.iter().any(|step| step.version == version);
    let steps =
        SQLITE.iter().map(|step| Step { version: step.version, name: step.name, applied: is_applied(step.version) });
    Ok(Status { steps: steps.collect(), note: None })
}

/// Applies the missing steps up to `to`. Without a `to`, this is what every opening of the store
/// does.
pub fn up(dir: &Path, to: Option<i64>) -> Result<Vec<i64>, Error> {
    let before = status(dir)?;
    let known = SQLITE.iter().take_while(|step| to.is_none_or(|to| step.version <= to)).count();
    file::open_at(dir, &SQLITE[..known])?;
    let missing = before.steps.iter().take(known).filter(|step| !step.applied);
    Ok(missing.map(|step| step.version).collect())
}

/// Reverts the steps above `to`, and returns their numbers.
pub fn down(dir: &Path, to: i64) -> Result<Vec<i64>, Error> {
    let Some(path) = there(dir) else { return Ok(Vec::new()) };
    let work = || -> Result<Vec<i64>, QueryError> {
        let mut connection = Connection::open(&path)?;
        connection.busy_timeout(file::BUSY_TIMEOUT)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let applied = file::read_applied(&transaction)?;
        // An unknown step can't be reverted.
        migrations::pending(SQLITE, &applied)?;
        let mut taken = Vec::new();
        for step in SQLITE.iter().rev().filter(|step| step.version > to) {
            if applied.iter().any(|applied| applied.version == step.version) {
                transaction.execute_batch(step.down)?;
                transaction.execute("DELETE FROM llm_proxy_migrations WHERE version = ?1", params![step.version])?;
                taken.push(step.version);
            }
        }
        if taken.len() == applied.len() && !taken.is_empty() {
            transaction.execute_batch("DROP TABLE llm_proxy_migrations")?;
        }
        transaction.commit()?;
        Ok(taken)
    };
    work().map_err(|error| error.explain(&path))
}

fn there(dir: &Path) -> Option<std::path::PathBuf> {
    Some(dir.join(file::FILE)).filter(|path| path.exists())
}
