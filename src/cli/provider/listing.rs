//! The providers of a store as a list, and which of them a command means.

use serde::{Deserialize, Serialize};

use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::store::{StoreLocation, call, pick};
use crate::config::models::Mapping;
use crate::control_plane::admin::view::ProviderView;

/// Writes the models of a mapping as one cell.
pub(super) fn models_text(models: &Mapping) -> String {
    if models.serves_all() {
        return "every model".to_owned();
    }
    print::list(models.entries().iter().map(|entry| entry.key()))
}

/// The providers, as the admin interface shows them.
#[derive(Serialize, Deserialize)]
pub(super) struct Listing {
    pub(super) version: i64,
    pub(super) providers: Vec<ProviderView>,
}

impl Listing {
    pub(super) fn read(place: &StoreLocation) -> Result<Listing, Failure> {
        match place {
            StoreLocation::Remote(remote) => call(remote, "GET", "/providers", None),
            StoreLocation::Local(store, _) => {
                let rows = store.load()?;
                let providers = rows.providers.iter().map(ProviderView::of).collect();
                Ok(Listing { version: rows.version, providers })
            }
        }
    }

    /// Returns id and name of the provider that `wanted`, a name or an id, means.
    pub(super) fn pick(&self, wanted: &str) -> Result<(i64, String), Failure> {
        let named = self.providers.iter().map(|row| (row.id, row.provider_key.as_str()));
        pick("provider", wanted, named).map(|(id, name)| (id, name.to_owned()))
    }

    pub(super) fn json(&self) -> Result<String, Failure> {
        serde_json::to_string_pretty(self)
            .map_err(|error| Failure::failed(format!("the list cannot be written as JSON: {error}")))
    }
}

/// The provider that a command names.
#[derive(Debug, clap::Args)]
pub(super) struct Named {
    /// Name or id of the provider
    #[arg(value_name = "NAME|ID")]
    pub(super) provider: String,
}
