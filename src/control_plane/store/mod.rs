//! The stores of providers, credentials and their like, behind one trait.
//!
//! Several processes (other gateways, the command line, SQL by hand) may use the same store at the
//! same time. Every write moves `config_version` on, whoever makes it, and stamps the row with the
//! version that it made, so that a reader who knows a version can ask for what came after it.

pub mod blocking;
mod change;
mod clock;
mod error;
pub mod file;
pub mod file_text;
mod hours_sql;
mod identity;
mod interface;
mod log_search;
mod log_sql;
pub mod logs;
mod migrations;
mod plan;
pub mod postgres;
mod refusals;
mod row_sql;
pub mod schema;
mod schema_status;
mod spend_sql;
pub mod sqlite;

use std::sync::Arc;

use crate::config::boot::{Boot, Environment};

pub use change::{
    Audit, AuditFilter, AuditList, AuditRow, Change, Changes, Delta, IdempotencyKey, PriceChange, SumsKey, Write,
    Written,
};
pub(crate) use clock::{SUMS_KEPT_SECS, now};
pub use error::{Answer, Error, Fault};
pub use interface::Store;
pub use plan::{Plan, Step};

/// Opens the store that `boot` names. Only the embedded one is read from at once; the others
/// connect when they are first used.
pub fn open(boot: &Boot, environment: &Environment) -> Result<Arc<dyn Store>, Error> {
    if let Some(path) = &boot.config_file {
        return Ok(Arc::new(file::FileStore::new(path, environment.clone(), &boot.data_dir)));
    }
    match &boot.db_url {
        Some(url) => {
            let options = postgres::Options { migrate: boot.migrate_on_start, poll: boot.config_poll };
            Ok(Arc::new(postgres::Postgres::new(url, options)?))
        }
        None => Ok(Arc::new(sqlite::Sqlite::open(&boot.data_dir)?)),
    }
}

/// [`Store::identity`] of the store that `boot` names, without making it: `None` if it does not
/// exist, or can't be distinguished.
pub fn identity(boot: &Boot) -> Result<Option<String>, Error> {
    if let Some(path) = &boot.config_file {
        return Ok(file::identity(path));
    }
    match &boot.db_url {
        Some(url) => {
            let options = postgres::Options { migrate: false, poll: boot.config_poll };
            let store = blocking::Blocking::new(Arc::new(postgres::Postgres::new(url, options)?))?;
            store.identity()
        }
        None => Ok(sqlite::identity(&boot.data_dir.join(sqlite::FILE))),
    }
}
