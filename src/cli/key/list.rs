//! `llm-proxy key list`.

use std::collections::HashSet;

use super::listing::Listing;
use super::time::now;
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::store::{StoreArgs, StoreLocation, print_problems};
use crate::config::compile::compile;
use crate::config::models::Allowed;
use crate::control_plane::admin::view::CredentialView;
use crate::rfc3339;

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
            None => Listing { version: 0, credentials: Vec::new() },
        };
        if self.json {
            return print::line(&listing.json()?);
        }
        let Some(place) = place else { return Ok(()) };
        if listing.credentials.is_empty() {
            let name = place.name();
            let message = format!("no key in the store ({name}); create one with `llm-proxy key create --name NAME`");
            print::note("note", &message);
            return Ok(());
        }
        let served = match &place {
            StoreLocation::Local(store, _) => {
                let (snapshot, problems) = compile(&store.load()?, None, &|_| None);
                for problem in problems.iter().filter(|problem| problem.object.starts_with("credential ")) {
                    print::note("warning", &format!("{}: {}", problem.object, problem.message));
                }
                Some(snapshot.credentials_by_id.iter().map(|credential| credential.id).collect::<HashSet<_>>())
            }
            StoreLocation::Remote(remote) => {
                print_problems(remote, "credential ")?;
                None
            }
        };
        let now = now();
        let status = |row: &CredentialView| match row.expires() {
            _ if !row.is_enabled => "disabled",
            _ if served.as_ref().is_some_and(|served| !served.contains(&row.id)) => "refused",
            Some(end) if end <= now => "expired",
            _ => "valid",
        };
        let lines: Vec<_> = listing.credentials.iter().map(|row| cells(row, status(row))).collect();
        print::table(
            ["ID", "NAME", "HASH", "RATE/S", "BURST", "TOKENS/MIN", "AT ONCE", "EXPIRES", "MODELS", "STATUS"],
            &lines,
        )
    }
}

fn cells(row: &CredentialView, status: &str) -> [String; 10] {
    let (allowed, _) = Allowed::parse(row.allowed_models.get());
    let models = match (allowed.allows_all(), allowed.entries().len()) {
        (true, _) => "all".to_owned(),
        (false, 0) => "none".to_owned(),
        (false, _) => print::list(allowed.entries()),
    };
    let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    [
        row.id.to_string(),
        row.name.clone(),
        row.key_preview.clone(),
        number(row.rate_limit),
        number(row.burst.or(row.rate_limit)),
        number(row.tokens_per_minute),
        number(row.max_concurrency),
        row.expires().map_or_else(|| "never".to_owned(), rfc3339::format_minutes),
        models,
        status.to_owned(),
    ]
}
