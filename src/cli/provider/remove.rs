//! `llm-proxy provider remove`.

use super::listing::Listing;
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::store::{StoreArgs, StoreLocation, call, remove_each};
use crate::control_plane::admin::view;
use crate::control_plane::store::Change;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Names or ids of the providers
    #[arg(value_name = "NAME|ID", required = true)]
    providers: Vec<String>,
}

impl Args {
    pub(super) fn run(&self, store: &StoreArgs) -> Result<(), Failure> {
        let place = store.open()?;
        let listing = Listing::read(&place)?;
        remove_each(
            &self.providers,
            |wanted| listing.pick(wanted),
            |id, name| {
                match &place {
                    StoreLocation::Local(store, _) => {
                        let old = listing.providers.iter().find(|row| row.id == id).and_then(view::audit_text);
                        let change = Change::RemoveProvider { id, row_version: None };
                        store.change("provider.delete", name, [old, None], change)?;
                    }
                    StoreLocation::Remote(remote) => call(remote, "DELETE", &format!("/providers/{id}"), None)?,
                }
                print::line(&format!("removed provider {name} with id {id}"))
            },
        )?;
        place.note_written();
        Ok(())
    }
}
