//! `llm-proxy key create|set|enable|disable|list|rotate|revoke`.

mod check;
mod create;
mod list;
mod listing;
mod priority;
mod revoke;
mod rotate;
mod secret;
pub(super) mod set;
mod time;

use clap::Subcommand;
use listing::Named;
pub use secret::{generate, hash};

use super::failure::Failure;
use super::store::StoreArgs;

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
    #[command(alias = "add")]
    Create(create::Args),
    /// Change the limits of a key, or its name: what is not named stays as it is
    #[command(alias = "update")]
    Set(set::Args),
    /// Accept a disabled key again
    Enable(Named),
    /// Refuse a key without removing it
    Disable(Named),
    /// List the keys by name, without the secrets themselves
    #[command(alias = "ls")]
    List(list::Args),
    /// Replace a key by a new one and print it; the old one stays valid for a while
    Rotate(rotate::Args),
    /// Revoke keys permanently; a running server refuses them at once
    #[command(aliases = ["remove", "delete", "rm"])]
    Revoke(revoke::Args),
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
        Command::Revoke(revoke) => revoke.run(store),
    }
}
