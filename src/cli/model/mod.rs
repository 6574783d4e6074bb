//! `llm-proxy model add|set|enable|disable|list|remove`: virtual models.

mod add;
mod list;
mod member;
mod remove;
mod set;

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use super::store::{StoreArgs, StoreLocation, call, pick};
use super::{Failure, print};
use crate::config::compile::{judge, notices};
use crate::config::rows::{ModelRow, Rows};
use crate::control_plane::admin::view::ModelView;

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
    Add(add::Args),
    /// Change a virtual model: what is not named stays as it is
    Set(set::Args),
    /// Serve a disabled virtual model again
    Enable(Named),
    /// Stop serving a virtual model without removing it
    Disable(Named),
    /// List the virtual models
    List(list::Args),
    /// Remove a virtual model
    Remove(Named),
}

/// Which virtual model.
#[derive(Debug, clap::Args)]
pub(super) struct Named {
    /// Name or id of the virtual model
    #[arg(value_name = "NAME|ID")]
    model: String,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let store = &args.store;
    match args.command {
        Command::Add(add) => add.run(store),
        Command::Set(set) => set.run(store),
        Command::Enable(named) => set::enable(&named, true, store),
        Command::Disable(named) => set::enable(&named, false, store),
        Command::List(list) => list.run(store),
        Command::Remove(named) => remove::run(&named, store),
    }
}

/// Judges the row among those of the store, as a server will. A problem refuses it; what `done` says
/// is then not done. What may be wrong is a warning.
fn check(rows: &Rows, row: &ModelRow, done: &str) -> Result<(), Failure> {
    let row = ModelRow { is_enabled: true, ..row.clone() };
    let others = rows.models.iter().filter(|other| other.id != row.id);
    let rows = Rows { models: others.cloned().chain([row.clone()]).collect(), ..rows.clone() };
    let env = |_: &str| Some("unset".to_owned());
    let object = format!("model {}", row.name);
    let (problems, _) = judge(&rows, &env);
    let messages: Vec<_> =
        problems.into_iter().filter(|problem| problem.object == object).map(|problem| problem.message).collect();
    if !messages.is_empty() {
        return Err(Failure::failed(format!(
            "model {} is not {done}, for it would have a problem: {}",
            row.name,
            messages.join("; also, ")
        )));
    }
    for notice in notices(&rows, &env).iter().filter(|notice| notice.object == object) {
        print::note("warning", &notice.message);
    }
    Ok(())
}

/// As the admin interface shows virtual models.
#[derive(Serialize, Deserialize)]
struct Listing {
    version: i64,
    models: Vec<ModelView>,
}

impl Listing {
    fn read(place: &StoreLocation) -> Result<Listing, Failure> {
        match place {
            StoreLocation::Remote(remote) => call(remote, "GET", "/models", None),
            StoreLocation::Local(store, _) => {
                let rows = store.load()?;
                Ok(Listing { version: rows.version, models: rows.models.iter().map(ModelView::of).collect() })
            }
        }
    }

    fn pick(&self, wanted: &str) -> Result<(i64, String), Failure> {
        let named = self.models.iter().map(|row| (row.id, row.name.as_str()));
        pick("virtual model", wanted, named).map(|(id, name)| (id, name.to_owned()))
    }

    fn json(&self) -> Result<String, Failure> {
        serde_json::to_string_pretty(self)
            .map_err(|error| Failure::failed(format!("the list cannot be written as JSON: {error}")))
    }
}
