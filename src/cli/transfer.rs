//! `llm-proxy export` and `llm-proxy import`: a store as a configuration file, and back.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::store::StoreArgs;
use super::{Failure, check_config, print};
use crate::background::store::blocking::Blocking;
use crate::background::store::{Change, Error};
use crate::config::boot::Environment;
use crate::config::file;
use crate::config::rows::{CredentialRow, ProviderRow, Rows, Stamp};
use crate::config::vault;

#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// Where to write it, readable by its owner only; without it, to stdout
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Also remove providers and credentials that are not in the file
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    store: StoreArgs,
}

pub fn export(args: &ExportArgs) -> Result<(), Failure> {
    let (store, environment) = args.store.open_here()?;
    let mut rows = store.load()?;
    for row in &mut rows.providers {
        match vault::open(&row.api_key, &|name| environment.get(name).map(str::to_owned)) {
            Ok(key) => row.api_key = key.into(),
            Err(why) => print::note(
                "warning",
                &format!("provider {}: api_key {why}; it is exported as it is", row.provider_key),
            ),
        }
    }
    let text = file::write(&rows);
    match &args.output {
        None => print::line(text.trim_end()),
        Some(path) => {
            let failed = |error| Failure::failed(format!("{} can't be written: {error}", path.display()));
            let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)
        }
    }?;
    print::note("note", "the file holds the providers' keys; `${NAME}` in their place takes them from the environment");
    Ok(())
}

pub fn import(args: &ImportArgs) -> Result<(), Failure> {
    let (store, environment) = args.store.open_here()?;
    let file = check_config::read(&args.file, &environment)?;
    let env = |name: &str| environment.get(name).map(str::to_owned);
    // A row that can't be served is kept all the same, as in every store.
    for complaint in file.compile(&env).1 {
        print::note("warning", &complaint.to_string());
    }
    if !file.settings.is_empty() {
        print::note("note", "settings are not of the store; set them in the environment of the server");
    }
    let there = store.load()?;
    let plan = plan(&there, file.rows(), args.prune, &environment).map_err(Failure::failed)?;
    for (done, step) in plan.steps.iter().enumerate() {
        let text = |error: Error| {
            Failure::failed(format!("{error}; {done} of {} changes were made, say it again", plan.steps.len()))
        };
        carry_out(&store, step).map_err(text)?;
    }
    print::line(&format!(
        "added {}, changed {}, removed {}; {} were as in the file",
        plan.count("create"),
        plan.count("update"),
        plan.count("delete"),
        plan.same
    ))
}

struct Plan {
    steps: Vec<Step>,
    /// Rows that are as in the file.
    same: usize,
}

struct Step {
    action: &'static str,
    object: String,
    change: Change,
}

impl Plan {
    fn count(&self, what: &str) -> usize {
        self.steps.iter().filter(|step| step.action.ends_with(what)).count()
    }

    fn add(&mut self, action: &'static str, object: &str, change: Change) {
        self.steps.push(Step { action, object: object.to_owned(), change });
    }
}

fn carry_out(store: &Blocking, step: &Step) -> Result<i64, Error> {
    store.change(step.action, &step.object, None, step.change.clone())
}

/// What makes of the rows `there` those of the file. Providers are told apart by their names, credentials by their keys.
fn plan(there: &Rows, file: Rows, prune: bool, environment: &Environment) -> Result<Plan, String> {
    let env = |name: &str| environment.get(name).map(str::to_owned);
    let mut plan = Plan { steps: Vec::new(), same: 0 };
    let mut kept = (HashSet::new(), HashSet::new());
    let known: HashMap<_, _> = there.providers.iter().map(|row| (row.provider_key.as_str(), row)).collect();
    for row in file.providers {
        let sealed = vault::seal(&row.api_key, &env)?;
        match known.get(row.provider_key.as_str()) {
            None => plan.add(
                "provider.create",
                &row.provider_key.clone(),
                Change::AddProvider(ProviderRow { api_key: sealed.into(), ..row }),
            ),
            Some(old) => {
                kept.0.insert(old.id);
                let key = vault::open(&old.api_key, &env).unwrap_or_default();
                let new = ProviderRow { id: old.id, stamp: old.stamp, ..row };
                if same_provider(&new, old) && key == *new.api_key {
                    plan.same += 1;
                } else {
                    plan.add(
                        "provider.update",
                        &old.provider_key,
                        Change::UpdateProvider(ProviderRow { api_key: sealed.into(), ..new }),
                    );
                }
            }
        }
    }
    let known: HashMap<_, _> = there.credentials.iter().map(|row| (row.credential_key.as_str(), row)).collect();
    for row in file.credentials {
        match known.get(row.credential_key.as_str()) {
            None => plan.add("credential.create", &row.name.clone(), Change::AddCredential(row)),
            Some(old) => {
                kept.1.insert(old.id);
                let new = CredentialRow { id: old.id, stamp: old.stamp, ..row };
                if same_credential(&new, old) {
                    plan.same += 1;
                } else {
                    plan.add("credential.update", &old.name, Change::UpdateCredential(new));
                }
            }
        }
    }
    if prune {
        for row in there.providers.iter().filter(|row| !kept.0.contains(&row.id)) {
            let change = Change::RemoveProvider { id: row.id, row_version: Some(row.stamp.version) };
            plan.add("provider.delete", &row.provider_key, change);
        }
        for row in there.credentials.iter().filter(|row| !kept.1.contains(&row.id)) {
            let change = Change::RemoveCredential { id: row.id, row_version: Some(row.stamp.version) };
            plan.add("credential.delete", &row.name, change);
        }
    }
    Ok(plan)
}

/// But for the key, which may be encrypted; JSON may be spaced otherwise.
fn same_provider(new: &ProviderRow, old: &ProviderRow) -> bool {
    let plain = |row: &ProviderRow| {
        let json = (tight(&row.model_mapping), tight(&row.provider_params));
        let (model_mapping, provider_params) = json;
        ProviderRow { model_mapping, provider_params, api_key: "".into(), stamp: Stamp::default(), ..row.clone() }
    };
    plain(new) == plain(old)
}

fn same_credential(new: &CredentialRow, old: &CredentialRow) -> bool {
    let plain = |row: &CredentialRow| {
        let (allowed_models, metadata) = (tight(&row.allowed_models), tight(&row.metadata));
        CredentialRow { allowed_models, metadata, stamp: Stamp::default(), ..row.clone() }
    };
    plain(new) == plain(old)
}

/// JSON without the spaces between its tokens; what is none stays as it is.
fn tight(json: &str) -> String {
    let mut out = Vec::with_capacity(json.len());
    let mut quoted = false;
    let mut escaped = false;
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b' ' | b'\n' | b'\r' | b'\t' if !quoted => continue,
            _ => {}
        }
        out.push(byte);
    }
    String::from_utf8(out).unwrap_or_default()
}
