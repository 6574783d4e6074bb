//! `llm-proxy check-config`: what a file, the store or a running gateway serves, and every problem;
//! those of a file with their lines.

use std::path::PathBuf;

use super::failure::Failure;
use super::print;
use super::store::{StoreArgs, StoreLocation, call, number, problems};
use crate::cli::admin_client::Remote;
use crate::config::boot::table::VARIABLES;
use crate::config::boot::{Boot, Environment, FileSetting};
use crate::config::compile::{compile, judge, notices};
use crate::config::file::{self, File, FileProblem, schema};
use crate::config::models::Mapping;
use crate::config::rows::Rows;
use crate::config::snapshot::Snapshot;
use crate::control_plane::config::models_file;
use crate::control_plane::store::blocking::Blocking;
use crate::route::rank::overlap;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A configuration file [default: the store, or the gateway at --url]
    #[arg(value_name = "FILE", conflicts_with_all = ["store_dir", "url"])]
    file: Option<PathBuf>,
    /// Print the JSON schema of configuration files, for editors, and check nothing
    #[arg(long)]
    schema: bool,
    #[command(flatten)]
    store: StoreArgs,
}

/// Fails if a server would refuse the file, or has problems with a row.
pub fn run(args: &Args) -> Result<(), Failure> {
    if args.schema {
        return print::line(&format!("{:#}", schema::schema()));
    }
    let named = match &args.file {
        Some(path) => Some(path.clone()),
        None => args.store.config_file()?,
    };
    let lines = match named {
        Some(path) => of_file(&path)?,
        None => match args.store.open_to_read()? {
            None => Vec::new(),
            Some(StoreLocation::Local(store, environment)) => of_store(&store, &environment)?,
            Some(StoreLocation::Remote(remote)) => of_gateway(&remote)?,
        },
    };
    if lines.is_empty() { Ok(()) } else { Err(Failure::Usage(lines)) }
}

fn of_file(path: &std::path::Path) -> Result<Vec<String>, Failure> {
    let environment = environment();
    let env = |name: &str| environment.get(name).map(str::to_owned);
    let place = path.display().to_string();
    let (file, mut problems) = file::read_all(&text(path)?, &env);
    let (errors, warnings) = file.review(&env);
    if problems.is_empty() {
        served(&file.rows(), &file.compile(&env).0)?;
        problems = errors;
    }
    for warning in lines(&place, &warnings) {
        print::note("warning", &warning);
    }
    for line in overridden(&file.settings, &environment) {
        print::note("note", &format!("{place}: {line}"));
    }
    let mut lines = lines(&place, &problems);
    match Boot::with(&[], &environment, &file.settings) {
        Ok((boot, _)) => lines.extend(of_models_file(&boot)),
        Err(bad) => lines.extend(bad.iter().map(ToString::to_string)),
    }
    Ok(lines)
}

/// Returns the settings of a file that have no effect with this environment, which goes before it.
fn overridden(settings: &[FileSetting], environment: &Environment) -> Vec<String> {
    let line = |setting: &FileSetting| {
        let variable = VARIABLES.iter().find(|variable| variable.is_named(&setting.name))?;
        let names = [variable.name, variable.alias];
        let (value, place) = names.into_iter().find_map(|name| environment.find(name))?;
        let value = value.trim();
        let shown = if variable.secret { String::new() } else { format!(" (`{value}`)") };
        (value != setting.value.trim()).then(|| {
            format!("line {}: {} has no effect: that of {place}{shown} goes before it", setting.line, setting.name)
        })
    };
    settings.iter().filter_map(line).collect()
}

/// Returns what is wrong with the facts about models that the settings name.
fn of_models_file(boot: &Boot) -> Vec<String> {
    let Some(path) = &boot.models_file else { return Vec::new() };
    let messages = models_file::read(path).map_or_else(|message| vec![message], |(_, messages)| messages);
    messages.into_iter().map(|message| format!("MODELS_FILE {}: {message}", path.display())).collect()
}

fn text(path: &std::path::Path) -> Result<String, Failure> {
    crate::control_plane::store::file_text::read(path)
        .map_err(|why| Failure::failed(format!("{} {why}", path.display())))
}

/// Checks the rows of a store, with the variables of this environment, which need not be those of
/// the server.
fn of_store(store: &Blocking, environment: &Environment) -> Result<Vec<String>, Failure> {
    let rows = store.load()?;
    let env = |name: &str| environment.get(name).map(str::to_owned);
    let (snapshot, problems) = compile(&rows, None, &env);
    served(&rows, &snapshot)?;
    for notice in notices(&rows, &env) {
        print::note("warning", &format!("{}: {}", notice.object, notice.message));
    }
    let (errors, _) = judge(&rows, &env);
    let (problems, unset): (Vec<_>, Vec<_>) = problems.into_iter().partition(|problem| errors.contains(problem));
    for problem in unset {
        print::note("warning", &format!("{}: {}", problem.object, problem.message));
    }
    let mut lines: Vec<_> =
        problems.into_iter().map(|problem| format!("{}: {}", problem.object, problem.message)).collect();
    if let Ok((boot, _)) = Boot::from(&[], environment) {
        lines.extend(of_models_file(&boot));
    }
    Ok(lines)
}

fn of_gateway(remote: &Remote) -> Result<Vec<String>, Failure> {
    let ask = |path: &str| call::<serde_json::Value>(remote, "GET", path, None);
    let (providers, credentials) = (ask("/providers?size=1")?, ask("/credentials?size=1")?);
    let problems = problems(remote)?;
    let [providers, credentials] = [&providers, &credentials].map(|list| number(list, "/total_count"));
    let count = problems.len();
    print::line(&format!("{providers} providers and {credentials} credentials, {count} problems"))?;
    Ok(problems.into_iter().map(|(object, message)| format!("{object}: {message}")).collect())
}

/// Returns the environment that fills in `${NAME}`: that of this process.
pub fn environment() -> Environment {
    let (environment, warnings) = Environment::of_process();
    for warning in warnings {
        print::note("warning", &warning.0);
    }
    environment
}

/// Reads a file, or fails with all of its problems.
pub fn read(path: &std::path::Path, environment: &Environment) -> Result<File, Failure> {
    let place = path.display().to_string();
    file::read(&text(path)?, &|name| environment.get(name).map(str::to_owned))
        .map_err(|problems| Failure::Usage(lines(&place, &problems)))
}

fn lines(place: &str, problems: &[FileProblem]) -> Vec<String> {
    problems.iter().map(|problem| format!("{place}: {problem}")).collect()
}

fn served(rows: &Rows, snapshot: &Snapshot) -> Result<(), Failure> {
    if let Some(overlap) = overlap(snapshot) {
        print::note("warning", &overlap);
    }
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
        rows.providers.len(),
        snapshot.credentials_by_id.len(),
        rows.credentials.len(),
    ))
}
