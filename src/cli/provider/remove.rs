//! `llm-proxy provider remove`.

use super::listing::{Listing, Named};
use crate::cli::failure::Failure;
use crate::cli::store::{StoreArgs, StoreLocation, call};
use crate::control_plane::admin::view;
use crate::control_plane::store::Change;

pub(super) fn run(named: &Named, store: &StoreArgs) -> Result<(), Failure> {
    let place = store.open()?;
    let listing = Listing::read(&place)?;
    let (id, name) = listing.pick(&named.provider)?;
    match &place {
        StoreLocation::Local(store, _) => {
            let old = listing.providers.iter().find(|row| row.id == id).and_then(view::audit_text);
            let change = Change::RemoveProvider { id, row_version: None };
            store.change("provider.delete", &name, [old, None], change)?;
        }
        StoreLocation::Remote(remote) => call(remote, "DELETE", &format!("/providers/{id}"), None)?,
    }
    place.report_written(&format!("removed provider {name} with id {id}"))?;
    Ok(())
}
