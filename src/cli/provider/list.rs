//! `llm-proxy provider list`.

use std::collections::HashMap;

use super::listing::{Listing, models_text};
use crate::cli::failure::Failure;
use crate::cli::preview::Preview;
use crate::cli::print;
use crate::cli::store::{StoreArgs, StoreLocation, print_problems};
use crate::config::boot::Environment;
use crate::config::compile::notices;
use crate::config::models::Mapping;
use crate::config::rows::Rows;
use crate::control_plane::admin::view::ProviderView;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Whether an enabled provider is served, as far as it is known here.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Status {
    Served,
    NotServed,
    /// It is where the gateway runs, if this variable is set there.
    Needs(String),
}

impl Args {
    pub(super) fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let place = store.open_to_read()?;
        let listing = match &place {
            Some(place) => Listing::read(place)?,
            None => Listing { version: 0, providers: Vec::new() },
        };
        if self.json {
            return print::line(&listing.json()?);
        }
        let Some(place) = place else { return Ok(()) };
        if listing.providers.is_empty() {
            let message = format!(
                "no provider in the store ({}); `llm-proxy provider add --help` shows how to add one",
                place.name()
            );
            print::note("note", &message);
            return Ok(());
        }
        let known = match &place {
            StoreLocation::Local(store, environment) => judged(&store.load()?, environment),
            StoreLocation::Remote(remote) => {
                print_problems(remote, "provider ")?;
                let status = |served: bool| if served { Status::Served } else { Status::NotServed };
                let rows = listing.providers.iter();
                rows.filter_map(|row| Some((row.id, status(row.is_served?)))).collect()
            }
        };
        let lines: Vec<_> = listing.providers.iter().map(|row| cells(row, known.get(&row.id))).collect();
        print::table(["ID", "NAME", "TYPE", "BASE", "WEIGHT", "MODELS", "STATUS"], &lines)
    }
}

/// Returns the status of each provider, and prints the problems. A variable that is not set in this
/// shell may be set where the gateway runs, and so decides nothing here.
fn judged(rows: &Rows, environment: &Environment) -> HashMap<i64, Status> {
    let found = Preview::compile(rows, environment);
    let problems = found.problems.iter().filter(|problem| problem.object.starts_with("provider "));
    for problem in problems.chain(&notices(rows, &|_| None)) {
        print::note("warning", &format!("{}: {}", problem.object, problem.message));
    }
    found.note_unset_variables();
    let status = |id: i64| match (found.snapshot.provider(id), found.needs.get(&id)) {
        (None, _) => Status::NotServed,
        (Some(_), Some(name)) => Status::Needs(name.clone()),
        (Some(_), None) => Status::Served,
    };
    rows.providers.iter().map(|row| (row.id, status(row.id))).collect()
}

fn cells(row: &ProviderView, known: Option<&Status>) -> [String; 7] {
    let status = match known {
        _ if !row.is_enabled => "disabled".to_owned(),
        Some(Status::NotServed) => "not served".to_owned(),
        Some(Status::Needs(name)) => format!("needs {name}"),
        _ if row.weight == 0 => "standby".to_owned(),
        Some(Status::Served) => "served".to_owned(),
        // A gateway of another version does not say.
        None => "enabled".to_owned(),
    };
    let is_used = row.is_enabled && known != Some(&Status::NotServed);
    let models = || models_text(&Mapping::parse(row.model_mapping.get()).0);
    [
        row.id.to_string(),
        row.provider_key.clone(),
        row.provider_type.clone(),
        row.api_base.clone(),
        row.weight.to_string(),
        if is_used { models() } else { "-".to_owned() },
        status,
    ]
}
