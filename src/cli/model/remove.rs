//! `llm-proxy model remove`.

use super::listing::Listing;
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::store::{StoreArgs, StoreLocation, call, remove_each};
use crate::control_plane::admin::view;
use crate::control_plane::store::Change;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Names or ids of the virtual models
    #[arg(value_name = "NAME|ID", required = true)]
    models: Vec<String>,
}

impl Args {
    pub(super) fn run(&self, store: &StoreArgs) -> Result<(), Failure> {
        let place = store.open()?;
        let listing = Listing::read(&place)?;
        remove_each(
            &self.models,
            |wanted| listing.pick(wanted),
            |id, name| {
                match &place {
                    StoreLocation::Local(store, _) => {
                        let old = listing.models.iter().find(|row| row.id == id).and_then(view::audit_text);
                        let change = Change::RemoveModel { id, row_version: None };
                        store.change("model.delete", name, [old, None], change)?;
                    }
                    StoreLocation::Remote(remote) => call(remote, "DELETE", &format!("/models/{id}"), None)?,
                }
                print::line(&format!("removed virtual model {name} with id {id}"))
            },
        )?;
        place.note_written();
        Ok(())
    }
}
