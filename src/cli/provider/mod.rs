//! `llm-proxy provider add|set|enable|disable|test|list|remove|reencrypt`.

mod add;
mod check;
mod input;
mod list;
mod listing;
mod reencrypt;
mod remove;
mod set;
mod test;

pub use check::{check, listed, would_serve};
use clap::Subcommand;
pub use input::given_key;
use listing::Named;

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
    /// Add a provider; a running server uses it at once
    #[command(alias = "create")]
    Add(add::Args),
    /// Change a provider: what is not named stays as it is
    #[command(alias = "update")]
    Set(set::Args),
    /// Serve a disabled provider again
    Enable(Named),
    /// Stop serving a provider without removing it
    Disable(Named),
    /// Ask a provider for its models, and with --model for a short answer
    Test(test::Args),
    /// List the providers
    #[command(alias = "ls")]
    List(list::Args),
    /// Remove providers
    #[command(aliases = ["delete", "rm"])]
    Remove(remove::Args),
    /// Encrypt the stored API keys of providers with the current SECRET_KEY
    Reencrypt,
}

/// Runs `llm-proxy provider`.
pub fn run(args: Args) -> Result<(), Failure> {
    let store = &args.store;
    match args.command {
        Command::Add(add) => add.run(store),
        Command::Set(set) => set.run(store),
        Command::Enable(named) => set::enable(&named, true, store),
        Command::Disable(named) => set::enable(&named, false, store),
        Command::Test(test) => test.run(store),
        Command::List(list) => list.run(store),
        Command::Remove(remove) => remove.run(store),
        Command::Reencrypt => reencrypt::run(store),
    }
}
