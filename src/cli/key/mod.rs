//! `llm-proxy key create|set|enable|disable|list|rotate|revoke`.

mod create;
mod list;
mod rotate;
pub(super) mod set;

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use super::Failure;
use super::store::{StoreArgs, StoreLocation, call, pick};
use crate::config::compile::compile;
use crate::config::rows::{CredentialRow, Rows};
use crate::control_plane::admin::credentials;
pub use crate::control_plane::admin::credentials::hash;
use crate::control_plane::admin::view::{CredentialView, shown};
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

/// Which key.
#[derive(Debug, clap::Args)]
pub struct Named {
    /// Name or id of the key
    #[arg(value_name = "NAME|ID")]
    key: String,
}

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

/// A new key.
pub fn generate() -> Result<String, Failure> {
    credentials::generate().map_err(Failure::failed)
}

/// Compiles the row as a server will. Who has just typed it can mend it, so that every problem
/// refuses it; what `done` says is then not done. Whether its group is there, a gateway knows
/// itself.
fn check(row: &CredentialRow, place: &StoreLocation, done: &str) -> Result<(), Failure> {
    let mut row = CredentialRow { is_enabled: true, ..row.clone() };
    let mut rows = Rows::default();
    match place {
        StoreLocation::Local(store, _) if row.group_name.is_some() => rows.groups = store.load()?.groups,
        StoreLocation::Local(..) => {}
        StoreLocation::Remote(_) => row.group_name = None,
    }
    rows.credentials.push(row.clone());
    let (_, problems) = compile(&rows, None, &|_| None);
    let object = format!("credential {}", row.name);
    let problems: Vec<_> = problems.into_iter().filter(|problem| problem.object == object).collect();
    if problems.is_empty() {
        return Ok(());
    }
    let messages: Vec<_> = problems.into_iter().map(|problem| problem.message).collect();
    Err(Failure::failed(format!(
        "key {} is not {done}, for it would have a problem: {}",
        row.name,
        messages.join("; also, ")
    )))
}

const DAY: i64 = 86_400;

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn revoke(named: &Named, store: &StoreArgs) -> Result<(), Failure> {
    let place = store.open()?;
    let listing = Listing::read(&place)?;
    let (id, name) = listing.pick(&named.key)?;
    match &place {
        StoreLocation::Local(store, _) => {
            let old = listing.credentials.iter().find(|row| row.id == id).and_then(shown);
            let change = Change::RemoveCredential { id, row_version: None };
            store.change("credential.delete", &name, [old, None], change)?;
        }
        StoreLocation::Remote(remote) => call(remote, "DELETE", &format!("/credentials/{id}"), None)?,
    }
    place.report_written(&format!("revoked key {name} with id {id}"))?;
    Ok(())
}

/// As the admin interface shows credentials.
#[derive(Serialize, Deserialize)]
struct Listing {
    version: i64,
    credentials: Vec<CredentialView>,
}

impl Listing {
    fn read(place: &StoreLocation) -> Result<Listing, Failure> {
        match place {
            StoreLocation::Remote(remote) => call(remote, "GET", "/credentials", None),
            StoreLocation::Local(store, _) => {
                let rows = store.load()?;
                let credentials = rows.credentials.iter().map(CredentialView::of).collect();
                Ok(Listing { version: rows.version, credentials })
            }
        }
    }

    fn pick(&self, wanted: &str) -> Result<(i64, String), Failure> {
        let named = self.credentials.iter().map(|row| (row.id, row.name.as_str()));
        pick("key", wanted, named).map(|(id, name)| (id, name.to_owned()))
    }

    fn json(&self) -> Result<String, Failure> {
        serde_json::to_string_pretty(self)
            .map_err(|error| Failure::failed(format!("the list cannot be written as JSON: {error}")))
    }
}
