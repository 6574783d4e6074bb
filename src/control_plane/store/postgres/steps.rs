//! The schema's steps on a connection of their own.

use std::sync::Arc;

use tokio_postgres::Client;

use crate::config::boot::db_url::DbUrl;
use crate::control_plane::store::error::Error;
use crate::control_plane::store::migrations::POSTGRES;
use crate::control_plane::store::postgres::adopt::Found;
use crate::control_plane::store::postgres::connection::{Access, Notifications, drive};
use crate::control_plane::store::postgres::migrate;
use crate::control_plane::store::schema_status::{Status, Step};

/// The migrations of a database, for the command line.
pub struct Steps(Access);

impl Steps {
    /// Takes the address of a database. Nothing is connected yet.
    pub fn new(url: &DbUrl) -> Result<Steps, Error> {
        Access::new(url).map(Steps)
    }

    /// Returns which steps were applied.
    pub async fn status(&self) -> Result<Status, Error> {
        let client = self.connect().await?;
        let state = migrate::look(&client).await.map_err(|error| error.explain(&self.0.place))?;
        let note = match &state.found {
            Found::Nothing | Found::Reported => None,
            Found::Version1 => Some("the tables are those of llm-proxy v1; `migrate up` takes them over".to_owned()),
            Found::Other(why) => Some(format!("the store {} {why}", self.0.place)),
        };
        let applied = |version| state.applied.iter().any(|step| step.version == version);
        let step = |step: &crate::control_plane::store::migrations::Migration| Step {
            version: step.version,
            name: step.name,
            applied: applied(step.version),
        };
        Ok(Status { steps: POSTGRES.iter().map(step).collect(), note })
    }

    /// Applies the steps that are missing, up to `to` or all, and returns their numbers.
    pub async fn up(&self, to: Option<i64>) -> Result<Vec<i64>, Error> {
        let mut client = self.connect().await?;
        let done = migrate::up(&mut client, POSTGRES, to).await;
        done.map(|done| done.steps).map_err(|error| error.explain(&self.0.place))
    }

    /// Reverts the steps above `to`, and returns their numbers.
    pub async fn down(&self, to: i64) -> Result<Vec<i64>, Error> {
        let mut client = self.connect().await?;
        migrate::down(&mut client, POSTGRES, to).await.map_err(|error| error.explain(&self.0.place))
    }

    async fn connect(&self) -> Result<Client, Error> {
        let (client, connection) = self.0.connect().await?;
        tokio::spawn(drive(connection, Arc::<Notifications>::default()));
        Ok(client)
    }
}
