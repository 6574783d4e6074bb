//! `llm-proxy model remove`.

use super::listing::{Listing, Named};
use crate::cli::failure::Failure;
use crate::cli::store::{StoreArgs, StoreLocation, call};
use crate::control_plane::admin::view;
use crate::control_plane::store::Change;

pub(super) fn run(named: &Named, store: &StoreArgs) -> Result<(), Failure> {
    let place = store.open()?;
    let listing = Listing::read(&place)?;
    let (id, name) = listing.pick(&named.model)?;
    match &place {
        StoreLocation::Local(store, _) => {
            let old = listing.models.iter().find(|row| row.id == id).and_then(view::audit_text);
            let change = Change::RemoveModel { id, row_version: None };
            store.change("model.delete", &name, [old, None], change)?;
        }
        StoreLocation::Remote(remote) => call(remote, "DELETE", &format!("/models/{id}"), None)?,
    }
    place.report_written(&format!("removed virtual model {name} with id {id}"))?;
    Ok(())
}
