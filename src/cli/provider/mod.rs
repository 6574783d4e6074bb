//! `llm-proxy provider add|set|enable|disable|test|list|remove|reencrypt`.

mod add;
mod list;
mod reencrypt;
mod remove;
mod set;
mod test;

use std::io::{self, Read};

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use super::store::{StoreArgs, StoreLocation, call, pick, prober};
use super::{Failure, print};
use crate::config::boot::Environment;
use crate::config::compile::{compile, judge, notices};
use crate::config::models::Mapping;
use crate::config::rows::{ProviderRow, Rows};
use crate::config::snapshot::Provider;
use crate::control_plane::admin::view::ProviderView;

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
    Add(add::Args),
    /// Change a provider: what is not named stays as it is
    Set(set::Args),
    /// Serve a disabled provider again
    Enable(set::Named),
    /// Stop serving a provider without removing it
    Disable(set::Named),
    /// Ask a provider for its models, and with --model for a short answer
    Test(test::Args),
    /// List the providers
    List(list::Args),
    /// Remove a provider
    Remove(set::Named),
    /// Encrypt the stored API keys of providers with the current SECRET_KEY
    Reencrypt,
}

pub fn run(args: Args) -> Result<(), Failure> {
    let store = &args.store;
    match args.command {
        Command::Add(add) => add.run(store),
        Command::Set(set) => set.run(store),
        Command::Enable(named) => set::enable(&named, true, store),
        Command::Disable(named) => set::enable(&named, false, store),
        Command::Test(test) => test.run(store),
        Command::List(list) => list.run(store),
        Command::Remove(named) => remove::run(&named, store),
        Command::Reencrypt => reencrypt::run(store),
    }
}

/// Reads `MODEL=UPSTREAM_MODEL`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((model, upstream)) if !model.is_empty() && !upstream.is_empty() => {
            Ok((model.to_owned(), upstream.to_owned()))
        }
        _ => Err("write it as MODEL=UPSTREAM_MODEL".to_owned()),
    }
}

/// The key as it was given; `-` reads it from stdin.
pub fn given_key(text: String) -> Result<String, Failure> {
    /// A key of a page is no key.
    const MAX_KEY: u64 = 64 << 10;
    if text != "-" {
        return Ok(text);
    }
    let mut text = String::new();
    match io::stdin().take(MAX_KEY).read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        Ok(_) => Err(Failure::failed("there is no key on stdin")),
        Err(error) => Err(Failure::failed(format!("the key cannot be read from stdin: {error}"))),
    }
}

/// A mapping as JSON, in the order of `pairs`, which is that in which patterns are tried.
pub fn mapping_json<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let json = |text: &str| serde_json::Value::from(text).to_string();
    let pairs: Vec<_> = pairs.map(|(model, upstream)| json(model) + ":" + &json(upstream)).collect();
    format!("{{{}}}", pairs.join(","))
}

/// Compiles the row as a server will. Who has just typed it can mend it, so that every problem
/// refuses it; what `done` says is then not done. A variable that is missing here may be there
/// where the server runs: it is a warning, as is what was taken for what it must mean.
pub fn check(row: &ProviderRow, environment: &Environment, done: &str) -> Result<(), Failure> {
    let rows = Rows { version: 0, providers: vec![ProviderRow { is_enabled: true, ..row.clone() }], ..Rows::default() };
    let (problems, unset) = judge(&rows, &|name| environment.get(name).map(str::to_owned));
    if !problems.is_empty() {
        let messages: Vec<_> = problems.into_iter().map(|problem| problem.message).collect();
        return Err(Failure::failed(format!(
            "provider {} is not {done}, for it would have a problem: {}",
            row.provider_key,
            messages.join("; also, ")
        )));
    }
    for name in unset {
        print::note("warning", &format!("the environment variable {name} is not set here; the server needs it"));
    }
    note_meanings(row);
    Ok(())
}

/// Warns of what is taken for something else than was typed.
pub fn note_meanings(row: &ProviderRow) {
    let rows = Rows { version: 0, providers: vec![ProviderRow { is_enabled: true, ..row.clone() }], ..Rows::default() };
    for notice in notices(&rows, &|name| std::env::var(name).ok()) {
        print::note("warning", &notice.message);
    }
}

/// The models that the provider of this row lists, asked from here.
///
/// # Errors
/// A sentence: the row can't be used, its key is in a variable that is not set here, or what the
/// provider answered instead.
pub fn listed(row: &ProviderRow, environment: &Environment) -> Result<std::sync::Arc<[String]>, String> {
    let provider = compiled(row, environment)?;
    prober(environment)?.models(&provider)
}

/// The provider that a server would make of this row here.
fn compiled(row: &ProviderRow, environment: &Environment) -> Result<std::sync::Arc<Provider>, String> {
    let providers = vec![ProviderRow { is_enabled: true, ..row.clone() }];
    let rows = Rows { version: 0, providers, ..Rows::default() };
    let (snapshot, problems) = compile(&rows, None, &|name| environment.get(name).map(str::to_owned));
    let why = || problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>().join("; ");
    snapshot.providers.into_iter().next().ok_or_else(why)
}

/// What clients could ask this provider for, given its list: a line for a person.
pub fn would_serve(models: &Mapping, listed: &[String]) -> String {
    let count = listed.len();
    if models.serves_all() {
        let names = print::list(listed.iter().map(String::as_str));
        return match count {
            0 => "the provider answers and lists no model; every name that is asked for would be passed on".to_owned(),
            _ => format!("the provider lists {count} models, all of which would be served: {names}"),
        };
    }
    let missing: Vec<&str> = models
        .entries()
        .iter()
        .filter(|entry| !entry.is_pattern() && !listed.iter().any(|model| model == entry.mapped_name()))
        .map(|entry| entry.mapped_name())
        .collect();
    let served = format!("the provider lists {count} models; {} would be served", shown(models));
    match missing.as_slice() {
        [] => served,
        _ if count == 0 => served,
        names => format!("{served}, of which it does not list {}", print::list(names.iter().copied())),
    }
}

/// The models of a mapping, as one cell.
pub fn shown(models: &Mapping) -> String {
    if models.serves_all() {
        return "every model".to_owned();
    }
    print::list(models.entries().iter().map(|entry| entry.key()))
}

/// As the admin interface shows providers.
#[derive(Serialize, Deserialize)]
struct Listing {
    version: i64,
    providers: Vec<ProviderView>,
}

impl Listing {
    fn read(place: &StoreLocation) -> Result<Listing, Failure> {
        match place {
            StoreLocation::Remote(remote) => call(remote, "GET", "/providers", None),
            StoreLocation::Local(store, _) => {
                let rows = store.load()?;
                let providers = rows.providers.iter().map(ProviderView::of).collect();
                Ok(Listing { version: rows.version, providers })
            }
        }
    }

    /// The id and name of the provider that `wanted` means.
    fn pick(&self, wanted: &str) -> Result<(i64, String), Failure> {
        let named = self.providers.iter().map(|row| (row.id, row.provider_key.as_str()));
        pick("provider", wanted, named).map(|(id, name)| (id, name.to_owned()))
    }

    fn json(&self) -> Result<String, Failure> {
        serde_json::to_string_pretty(self)
            .map_err(|error| Failure::failed(format!("the list cannot be written as JSON: {error}")))
    }
}
