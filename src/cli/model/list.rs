//! `llm-proxy model list`.

use super::listing::Listing;
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::store::{StoreArgs, StoreLocation, print_problems};
use crate::config::compile::{compile, notices};
use crate::config::virtual_models::{self, Written};
use crate::control_plane::admin::view::ModelView;

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
            None => Listing { version: 0, models: Vec::new() },
        };
        if self.json {
            return print::line(&listing.json()?);
        }
        let Some(place) = place else { return Ok(()) };
        if listing.models.is_empty() {
            let name = place.name();
            print::note(
                "note",
                &format!("no virtual model in the store ({name}); `llm-proxy model add --help` shows how"),
            );
            return Ok(());
        }
        match &place {
            StoreLocation::Local(store, environment) => {
                let rows = store.load()?;
                let env = |name: &str| environment.get(name).map(str::to_owned);
                let (_, problems) = compile(&rows, None, &env);
                let found = problems.into_iter().chain(notices(&rows, &env));
                for problem in found.filter(|problem| problem.object.starts_with("model ")) {
                    print::note("warning", &format!("{}: {}", problem.object, problem.message));
                }
            }
            StoreLocation::Remote(remote) => print_problems(remote, "model ")?,
        }
        let lines: Vec<_> = listing.models.iter().map(cells).collect();
        print::table(["ID", "NAME", "MEMBERS", "KEYS WITH THEIR OWN", "STATUS"], &lines)
    }
}

fn cells(row: &ModelView) -> [String; 5] {
    let members = virtual_models::members("members", row.members.get(), &mut Vec::new());
    let overrides = virtual_models::overrides(row.overrides.get(), &mut Vec::new());
    let members: Vec<_> = members.iter().map(member_text).collect();
    [
        row.id.to_string(),
        row.name.clone(),
        print::list(members.iter().map(String::as_str)),
        print::list(overrides.iter().map(|(name, _)| &**name)),
        if row.is_enabled { "enabled" } else { "disabled" }.to_owned(),
    ]
}

/// Writes a member as `--member` accepts it, without options that have their default.
fn member_text(member: &Written) -> String {
    let mut text = member.model.to_string();
    if member.weight != 1 {
        text.push_str(&format!(",weight={}", member.weight));
    }
    if member.priority != 0 {
        text.push_str(&format!(",priority={}", member.priority));
    }
    if let Some(provider) = &member.provider {
        text.push_str(&format!(",provider={provider}"));
    }
    text
}
