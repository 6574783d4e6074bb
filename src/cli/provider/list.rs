//! `llm-proxy provider list`.

use std::collections::HashSet;

use super::listing::{Listing, models_text};
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::store::{StoreArgs, StoreLocation, print_problems};
use crate::config::compile::{compile, notices};
use crate::config::models::Mapping;
use crate::control_plane::admin::view::ProviderView;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
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
        // Which rows are served is known here only if the variables are set that their keys are
        // taken from.
        let served = match &place {
            StoreLocation::Local(store, environment) => {
                let rows = store.load()?;
                let env = |name: &str| environment.get(name).map(str::to_owned);
                let (snapshot, problems) = compile(&rows, None, &env);
                let providers = problems.iter().filter(|problem| problem.object.starts_with("provider "));
                for problem in providers.chain(&notices(&rows, &|_| None)) {
                    print::note("warning", &format!("{}: {}", problem.object, problem.message));
                }
                Some(snapshot.providers.iter().map(|provider| provider.id).collect::<HashSet<_>>())
            }
            StoreLocation::Remote(remote) => {
                print_problems(remote, "provider ")?;
                None
            }
        };
        let lines: Vec<_> = listing.providers.iter().map(|row| cells(row, served.as_ref())).collect();
        print::table(["ID", "NAME", "TYPE", "BASE", "WEIGHT", "MODELS", "STATUS"], &lines)
    }
}

fn cells(row: &ProviderView, served: Option<&HashSet<i64>>) -> [String; 7] {
    let is_served = row.is_enabled && served.is_none_or(|served| served.contains(&row.id));
    let status = match (row.is_enabled, is_served) {
        (false, _) => "disabled",
        (true, false) => "not served",
        (true, true) if row.weight == 0 => "standby",
        (true, true) if served.is_none() => "enabled",
        (true, true) => "served",
    };
    let models = || models_text(&Mapping::parse(row.model_mapping.get()).0);
    [
        row.id.to_string(),
        row.provider_key.clone(),
        row.provider_type.clone(),
        row.api_base.clone(),
        row.weight.to_string(),
        if is_served { models() } else { "-".to_owned() },
        status.to_owned(),
    ]
}
