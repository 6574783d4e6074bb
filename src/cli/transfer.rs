//! `llm-proxy export` and `llm-proxy import`: a store as a configuration file, and back.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::failure::Failure;
use super::store::{StoreArgs, StoreLocation, call, number, print_problems};
use super::{check_config, print};
use crate::cli::admin_client::Remote;
use crate::config::boot::Environment;
use crate::config::file::{self, File};
use crate::config::rows::Rows;
use crate::config::vault;
use crate::control_plane::config::import_export::{plan, write};
use crate::control_plane::store::blocking::Blocking;

#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// New file, readable by its owner only [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// The configuration file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Also remove providers and credentials that are not in the file
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    store: StoreArgs,
}

const WITH_KEYS: &str = "the file holds the providers' keys; `${NAME}` in their place takes them from the environment";
const WITHOUT_KEYS: &str = "a gateway does not tell providers' keys: set the variables that stand in their places, or write them, and write the \
                            headers that are `***`, before the file is taken up where they are not known";

/// Runs `llm-proxy export`.
pub fn export(args: &ExportArgs) -> Result<(), Failure> {
    let Some(place) = args.store.open_to_read()? else {
        return Err(Failure::failed("there is nothing to export"));
    };
    let (text, note) = match place {
        StoreLocation::Local(store, environment) => (write(&opened(store.load()?, &environment), true), WITH_KEYS),
        StoreLocation::Remote(remote) => {
            let answer: Value = call(&remote, "GET", "/config/export", None)?;
            (answer["file"].as_str().unwrap_or_default().to_owned(), WITHOUT_KEYS)
        }
    };
    match &args.output {
        None => print::line(text.trim_end()),
        Some(path) => {
            let failed = |error| Failure::failed(format!("{} can't be written: {error}", path.display()));
            let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)
        }
    }?;
    print::note("note", note);
    Ok(())
}

/// With the keys as they are used.
fn opened(mut rows: Rows, environment: &Environment) -> Rows {
    for row in &mut rows.providers {
        match vault::open("api_key", &row.api_key, &|name| environment.get(name).map(str::to_owned)) {
            Ok(key) => row.api_key = key.into(),
            Err(why) => {
                let message = format!("provider {}: {why}; it is exported as it is", row.provider_key);
                print::note("warning", &message);
            }
        }
    }
    rows
}

/// Takes the providers and credentials of the configuration file `text` into the store.
pub fn import_text(text: &str, store: &StoreArgs) -> Result<(), Failure> {
    let place = store.open()?;
    let environment = store.environment();
    let file = file::read(text, &|name| environment.get(name).map(str::to_owned))
        .map_err(|problems| Failure::Usage(problems.iter().map(|problem| problem.message.clone()).collect()))?;
    take(&file, &place, false, &environment)
}

/// Runs `llm-proxy import`.
pub fn import(args: &ImportArgs) -> Result<(), Failure> {
    let place = args.store.open()?;
    let environment = match &place {
        StoreLocation::Local(_, environment) => environment.clone(),
        StoreLocation::Remote(_) => args.store.environment(),
    };
    let file = check_config::read(&args.file, &environment)?;
    take(&file, &place, args.prune, &environment)
}

fn take(file: &File, place: &StoreLocation, prune: bool, environment: &Environment) -> Result<(), Failure> {
    if !file.settings.is_empty() {
        print::note("note", "settings are not of the store; set them in the environment of the server");
    }
    match place {
        StoreLocation::Local(store, _) => import_local(store, file, prune, environment)?,
        StoreLocation::Remote(remote) => import_remote(remote, file, prune)?,
    }
    place.note_written();
    Ok(())
}

fn import_local(store: &Blocking, file: &File, prune: bool, environment: &Environment) -> Result<(), Failure> {
    let env = |name: &str| environment.get(name).map(str::to_owned);
    // A row that can't be served is kept all the same, as in every store.
    for problem in file.compile(&env).1 {
        print::note("warning", &problem.to_string());
    }
    let plan = plan(&store.load()?, file.rows(), prune, &env).map_err(Failure::failed)?;
    store.take(&plan).map_err(|error| Failure::failed(format!("{error}; nothing was changed")))?;
    print_counts([plan.count("create"), plan.count("update"), plan.count("delete"), plan.same])
}

/// The variables are those of this environment, not of the gateway's.
fn import_remote(remote: &Remote, file: &File, prune: bool) -> Result<(), Failure> {
    let body = json!({ "file": file::write(&file.rows(), &|_| None), "prune": prune });
    let done: Value = call(remote, "POST", "/config/import", Some(body.to_string()))?;
    print_problems(remote, "")?;
    print_counts(
        ["added", "changed", "removed", "same"]
            .map(|name| usize::try_from(number(&done, &format!("/{name}"))).unwrap_or_default()),
    )
}

fn print_counts([added, changed, removed, same]: [usize; 4]) -> Result<(), Failure> {
    print::line(&format!("added {added}, changed {changed}, removed {removed}; {same} were as in the file"))
}
