//! Removals of rows by id, which no command needs.

use llm_proxy::control_plane::store::blocking::Blocking;
use llm_proxy::control_plane::store::{Change, Error};

pub trait Removals {
    fn remove_provider(&self, id: i64) -> Result<(), Error>;
    fn revoke_credential(&self, id: i64) -> Result<(), Error>;
}

impl Removals for Blocking {
    fn remove_provider(&self, id: i64) -> Result<(), Error> {
        let change = Change::RemoveProvider { id, row_version: None };
        self.change("provider.delete", "", [None, None], change).map(drop)
    }

    fn revoke_credential(&self, id: i64) -> Result<(), Error> {
        let change = Change::RemoveCredential { id, row_version: None };
        self.change("credential.delete", "", [None, None], change).map(drop)
    }
}
