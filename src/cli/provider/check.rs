//! Whether a gateway would accept a provider, and what it would serve with it, before a command
//! writes it.

use super::listing::models_text;
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::store::prober;
use crate::config::boot::Environment;
use crate::config::compile::{compile, judge, notices};
use crate::config::models::Mapping;
use crate::config::rows::{ProviderRow, Rows};
use crate::config::snapshot::Provider;

/// Compiles the row as a server does, and fails if it would have a problem: the person who typed it
/// can correct it. `done` is the participle of the error's sentence. A variable that is not set
/// here may be set where the server runs, so it is a warning, as is a value that was taken for what
/// it must mean. Returns such variables.
pub fn check(row: &ProviderRow, environment: &Environment, done: &str) -> Result<Vec<String>, Failure> {
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
    for name in &unset {
        let is_empty = environment.process.contains_key(name) || environment.file.contains_key(name);
        let state = if is_empty { "is empty" } else { "is not set" };
        print::note("warning", &format!("the environment variable {name} {state} here; the server needs it"));
    }
    note_meanings(row);
    Ok(unset)
}

/// Warns of values that are taken for something else than was typed.
pub(super) fn note_meanings(row: &ProviderRow) {
    let rows = Rows { version: 0, providers: vec![ProviderRow { is_enabled: true, ..row.clone() }], ..Rows::default() };
    for notice in notices(&rows, &|name| std::env::var(name).ok()) {
        print::note("warning", &notice.message);
    }
}

/// Asks the provider of this row, from this process, for its models.
///
/// # Errors
pub fn listed(row: &ProviderRow, environment: &Environment) -> Result<std::sync::Arc<[String]>, String> {
    let provider = compiled(row, environment)?;
    prober(environment)?.models(&provider)
}

/// Compiles the row as a server with this environment would.
pub(super) fn compiled(row: &ProviderRow, environment: &Environment) -> Result<std::sync::Arc<Provider>, String> {
    let providers = vec![ProviderRow { is_enabled: true, ..row.clone() }];
    let rows = Rows { version: 0, providers, ..Rows::default() };
    let (snapshot, problems) = compile(&rows, None, &|name| environment.get(name).map(str::to_owned));
    let why = || problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>().join("; ");
    snapshot.providers.into_iter().next().ok_or_else(why)
}

/// Writes a line for a person about the models that clients could use, given the provider's list.
pub fn would_serve(models: &Mapping, listed: &[String]) -> String {
    let count = listed.len();
    if models.serves_all() {
        let names = print::list(listed.iter().map(String::as_str));
        return match count {
            0 => "the provider answers and lists no model; every name that is asked for would be passed on".to_owned(),
            1 => format!("the provider lists 1 model, which would be served: {names}"),
            _ => format!("the provider lists {count} models, all of which would be served: {names}"),
        };
    }
    let missing: Vec<&str> = models
        .entries()
        .iter()
        .filter(|entry| !entry.is_pattern() && !listed.iter().any(|model| model == entry.mapped_name()))
        .map(|entry| entry.mapped_name())
        .collect();
    let models_word = if count == 1 { "model" } else { "models" };
    let served = format!("the provider lists {count} {models_word}; clients could use {}", models_text(models));
    match missing.as_slice() {
        [] => served,
        _ if count == 0 => served,
        names => format!("{served}; not in its list: {}", print::list(names.iter().copied())),
    }
}
