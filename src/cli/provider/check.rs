//! Whether a gateway would accept a provider, and what it would serve with it, before a command
//! writes it.

use super::listing::shown;
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::store::prober;
use crate::config::boot::Environment;
use crate::config::compile::{compile, judge, notices};
use crate::config::models::Mapping;
use crate::config::rows::{ProviderRow, Rows};
use crate::config::snapshot::Provider;

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
pub(super) fn note_meanings(row: &ProviderRow) {
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
pub(super) fn compiled(row: &ProviderRow, environment: &Environment) -> Result<std::sync::Arc<Provider>, String> {
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
