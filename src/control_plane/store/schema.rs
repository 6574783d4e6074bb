//! The steps of a store's schema, for `llm-proxy migrate`. A store that serves does not use this.

use std::path::PathBuf;

use tokio::runtime::Builder;

use crate::config::boot::Boot;
use crate::control_plane::store::error::{Error, Fault};
use crate::control_plane::store::postgres::steps::Steps;
pub use crate::control_plane::store::schema_status::{Status, Step};
use crate::control_plane::store::sqlite::steps as sqlite;

/// A store whose steps can be listed, applied and reverted.
pub enum Schema {
    Sqlite(PathBuf),
    Postgres(Box<Steps>),
}

impl Schema {
    /// Of the store that `boot` names.
    pub fn of(boot: &Boot) -> Result<Schema, Error> {
        match (&boot.config_file, &boot.db_url) {
            (Some(path), _) => {
                let message = format!(
                    "the configuration file {} has no schema, so that there is nothing to migrate",
                    path.display()
                );
                Err(Error::new(Fault::ReadOnly, message))
            }
            (None, Some(url)) => Ok(Schema::Postgres(Box::new(Steps::new(url)?))),
            (None, None) => Ok(Schema::Sqlite(boot.data_dir.clone())),
        }
    }

    /// Returns which steps were applied.
    pub fn status(&self) -> Result<Status, Error> {
        match self {
            Schema::Sqlite(dir) => sqlite::status(dir),
            Schema::Postgres(steps) => wait(steps.status()),
        }
    }

    /// Applies the missing steps, up to `to`. Returns the applied ones.
    pub fn up(&self, to: Option<i64>) -> Result<Vec<i64>, Error> {
        match self {
            Schema::Sqlite(dir) => sqlite::up(dir, to),
            Schema::Postgres(steps) => wait(steps.up(to)),
        }
    }

    /// Reverts steps, with the data in them, until `to` is the newest. Returns the reverted ones.
    pub fn down(&self, to: i64) -> Result<Vec<i64>, Error> {
        match self {
            Schema::Sqlite(dir) => sqlite::down(dir, to),
            Schema::Postgres(steps) => wait(steps.down(to)),
        }
    }
}

fn wait<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let failed = |error| Error::new(Fault::Unavailable, format!("the system gives no runtime for the store: {error}"));
    Builder::new_current_thread().enable_all().build().map_err(failed)?.block_on(work)
}
