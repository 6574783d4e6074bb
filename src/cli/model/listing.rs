//! The virtual models of a store as a list, and which of them a command means.

use serde::{Deserialize, Serialize};

use crate::cli::failure::Failure;
use crate::cli::store::{StoreLocation, call, pick};
use crate::control_plane::admin::view::ModelView;

/// The virtual model that a command names.
#[derive(Debug, clap::Args)]
pub(super) struct Named {
    /// Name or id of the virtual model
    #[arg(value_name = "NAME|ID")]
    pub(super) model: String,
}

/// The virtual models, as the admin interface shows them.
#[derive(Serialize, Deserialize)]
pub(super) struct Listing {
    pub(super) version: i64,
    pub(super) models: Vec<ModelView>,
}

impl Listing {
    pub(super) fn read(place: &StoreLocation) -> Result<Listing, Failure> {
        match place {
            StoreLocation::Remote(remote) => call(remote, "GET", "/models", None),
            StoreLocation::Local(store, _) => {
                let rows = store.load()?;
                Ok(Listing { version: rows.version, models: rows.models.iter().map(ModelView::of).collect() })
            }
        }
    }

    pub(super) fn pick(&self, wanted: &str) -> Result<(i64, String), Failure> {
        let named = self.models.iter().map(|row| (row.id, row.name.as_str()));
        pick("virtual model", wanted, named).map(|(id, name)| (id, name.to_owned()))
    }

    pub(super) fn json(&self) -> Result<String, Failure> {
        serde_json::to_string_pretty(self)
            .map_err(|error| Failure::failed(format!("the list cannot be written as JSON: {error}")))
    }
}
