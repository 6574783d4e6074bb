//! `llm-proxy check-config FILE`: what a file would serve, and every problem with its line.

use std::path::PathBuf;

use super::{Failure, print};
use crate::config::boot::{Boot, Environment};
use crate::config::file::{self, Complaint, File};
use crate::config::models::Mapping;
use crate::config::snapshot::Snapshot;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Fails if a server would refuse the file.
pub fn run(args: &Args) -> Result<(), Failure> {
    let environment = environment();
    let place = args.file.display().to_string();
    let file = read(&args.file, &environment)?;
    let (snapshot, complaints) = file.compile(&|name| environment.get(name).map(str::to_owned));
    served(&file, &snapshot)?;
    let mut lines = lines(&place, &complaints);
    if let Err(bad) = Boot::with(&[], &environment, &file.settings) {
        lines.extend(bad.iter().map(ToString::to_string));
    }
    if lines.is_empty() { Ok(()) } else { Err(Failure::Usage(lines)) }
}

/// The environment that fills in `${NAME}`, as it is here.
pub fn environment() -> Environment {
    let (environment, warnings) = Environment::of_process();
    for warning in warnings {
        print::note("warning", &warning.0);
    }
    environment
}

/// Reads a file, or says all that is wrong with it.
pub fn read(path: &std::path::Path, environment: &Environment) -> Result<File, Failure> {
    let place = path.display().to_string();
    let text =
        std::fs::read_to_string(path).map_err(|error| Failure::failed(format!("{place} can't be read: {error}")))?;
    file::read(&text, &|name| environment.get(name).map(str::to_owned))
        .map_err(|complaints| Failure::Usage(lines(&place, &complaints)))
}

fn lines(place: &str, complaints: &[Complaint]) -> Vec<String> {
    complaints.iter().map(|complaint| format!("{place}: {complaint}")).collect()
}

fn served(file: &File, snapshot: &Snapshot) -> Result<(), Failure> {
    let models = |mapping: &Mapping| {
        if mapping.serves_all() {
            "every model".to_owned()
        } else {
            print::list(mapping.entries().iter().map(|entry| entry.key()))
        }
    };
    let line = |provider: &std::sync::Arc<crate::config::snapshot::Provider>| {
        let weight = if provider.weight == 0 { "standby".to_owned() } else { provider.weight.to_string() };
        [
            provider.key.to_string(),
            provider.provider_type.to_string(),
            provider.base.authority.clone(),
            weight,
            models(&provider.models),
        ]
    };
    let providers: Vec<_> = snapshot.providers.iter().map(line).collect();
    if !providers.is_empty() {
        print::table(["PROVIDER", "TYPE", "HOST", "WEIGHT", "MODELS"], &providers)?;
    }
    print::line(&format!(
        "{} of {} providers and {} of {} credentials would be served",
        snapshot.providers.len(),
        file.providers.len(),
        snapshot.credentials_by_id.len(),
        file.credentials.len(),
    ))
}
