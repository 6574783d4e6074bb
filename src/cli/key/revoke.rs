//! `llm-proxy key revoke`.

use super::listing::Listing;
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::store::{StoreArgs, StoreLocation, call, remove_each};
use crate::control_plane::admin::view::audit_text;
use crate::control_plane::store::Change;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Names or ids of the keys
    #[arg(value_name = "NAME|ID", required = true)]
    keys: Vec<String>,
}

impl Args {
    pub(super) fn run(&self, store: &StoreArgs) -> Result<(), Failure> {
        let place = store.open()?;
        let listing = Listing::read(&place)?;
        remove_each(
            &self.keys,
            |wanted| listing.pick(wanted),
            |id, name| {
                match &place {
                    StoreLocation::Local(store, _) => {
                        let old = listing.credentials.iter().find(|row| row.id == id).and_then(audit_text);
                        let change = Change::RemoveCredential { id, row_version: None };
                        store.change("credential.delete", name, [old, None], change)?;
                    }
                    StoreLocation::Remote(remote) => call(remote, "DELETE", &format!("/credentials/{id}"), None)?,
                }
                print::line(&format!("revoked key {name} with id {id}"))
            },
        )?;
        place.note_written();
        Ok(())
    }
}
