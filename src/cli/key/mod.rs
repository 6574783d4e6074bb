//! `llm-proxy key create|set|enable|disable|list|rotate|revoke`.

mod check;
mod create;
mod list;
mod listing;
mod priority;
mod rotate;
mod secret;
pub(super) mod set;
mod time;

use clap::Subcommand;
use listing::{Listing, Named};
pub use secret::{generate, hash};

use super::failure::Failure;
use super::store::{StoreArgs, StoreLocation, call};
use crate::control_plane::admin::view::audit_text;
use crate::control_plane::store::Change;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a key and print it once; only its hash is stored
    Create(create::Args),
    /// Change the limits of a key, or its name: what is not named stays as it is
    Set(set::Args),
    /// Accept a disabled key again
    Enable(Named),
    /// Refuse a key without removing it
    Disable(Named),
    /// List the keys by name, without the secrets themselves
    List(list::Args),
    /// Replace a key by a new one and print it; the old one stays valid for a while
    Rotate(rotate::Args),
    /// Revoke a key permanently; a running server refuses it at once
    Revoke(Named),
}

/// Runs `llm-proxy key`.
pub fn run(args: Args) -> Result<(), Failure> {
    let store = &args.store;
    match args.command {
        Command::Create(create) => create.run(store),
        Command::Set(set) => set.run(store),
        Command::Enable(named) => set::enable(&named, true, store),
        Command::Disable(named) => set::enable(&named, false, store),
        Command::List(list) => list.run(store),
        Command::Rotate(rotate) => rotate.run(store),
        Command::Revoke(named) => revoke(&named, store),
    }
}

fn revoke(named: &Named, store: &StoreArgs) -> Result<(), Failure> {
    let place = store.open()?;
    let listing = Listing::read(&place)?;
    let (id, name) = listing.pick(&named.key)?;
    match &place {
        StoreLocation::Local(store, _) => {
            let old = listing.credentials.iter().find(|row| row.id == id).and_then(audit_text);
            let change = Change::RemoveCredential { id, row_version: None };
            store.change("credential.delete", &name, [old, None], change)?;
        }
        StoreLocation::Remote(remote) => call(remote, "DELETE", &format!("/credentials/{id}"), None)?,
    }
    place.report_written(&format!("revoked key {name} with id {id}"))?;
    Ok(())
}
