//! `llm-proxy model add|set|enable|disable|list|remove`: virtual models.

mod add;
mod check;
mod list;
mod listing;
mod member;
mod remove;
mod set;

use clap::Subcommand;
use listing::Named;

use super::failure::Failure;
use super::store::StoreArgs;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add a virtual model; a running server uses it at once
    #[command(alias = "create")]
    Add(add::Args),
    /// Change a virtual model: what is not named stays as it is
    #[command(alias = "update")]
    Set(set::Args),
    /// Serve a disabled virtual model again
    Enable(Named),
    /// Stop serving a virtual model without removing it
    Disable(Named),
    /// List the virtual models
    #[command(alias = "ls")]
    List(list::Args),
    /// Remove virtual models
    #[command(aliases = ["delete", "rm"])]
    Remove(remove::Args),
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let store = &args.store;
    match args.command {
        Command::Add(add) => add.run(store),
        Command::Set(set) => set.run(store),
        Command::Enable(named) => set::enable(&named, true, store),
        Command::Disable(named) => set::enable(&named, false, store),
        Command::List(list) => list.run(store),
        Command::Remove(remove) => remove.run(store),
    }
}
