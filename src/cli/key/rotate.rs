//! `llm-proxy key rotate`.

use serde_json::json;

use super::listing::Listing;
use super::secret::{generate, hash};
use super::time::now;
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::store::{StoreArgs, StoreLocation, call};
use crate::control_plane::admin::view::{CredentialView, audit_text};
use crate::control_plane::store::Change;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name or id of the key
    #[arg(value_name = "NAME|ID")]
    key: String,
    /// Hours for which the old key stays valid; 0 ends it at once
    #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u32).range(0..=720))]
    overlap: u32,
}

impl Args {
    pub(super) fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let place = store.open()?;
        let (id, name) = Listing::read(&place)?.pick(&self.key)?;
        let key = generate()?;
        let overlap = i64::from(self.overlap) * 3600;
        match &place {
            StoreLocation::Local(store, _) => {
                let rows = store.load()?.credentials;
                let Some(mut row) = rows.into_iter().find(|row| row.id == id) else {
                    return Err(Failure::failed(format!("the key {name} was revoked meanwhile")));
                };
                let old = audit_text(&CredentialView::of(&row));
                let old_key = std::mem::replace(&mut row.credential_key, hash(&key));
                row.previous_key = (overlap > 0).then_some(old_key);
                row.previous_key_until = (overlap > 0).then(|| now() + overlap);
                let before_and_after = [old, audit_text(&CredentialView::of(&row))];
                store.change("credential.rotate", &name, before_and_after, Change::UpdateCredential(row))?;
            }
            StoreLocation::Remote(remote) => {
                let body = json!({ "key": key, "overlap_secs": overlap }).to_string();
                let _: serde_json::Value = call(remote, "POST", &format!("/credentials/{id}/rotate"), Some(body))?;
            }
        }
        print::line(&key)?;
        let old = match self.overlap {
            0 => "the old one is refused from now on".to_owned(),
            hours => format!("the old one is good for {hours} hours more"),
        };
        print::note("note", &format!("key {name} with id {id} is a new one; {old}"));
        place.note_written();
        Ok(())
    }
}
