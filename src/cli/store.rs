//! The parts that commands on the store have in common.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::failure::Failure;
use super::port_owner::{self, PortOwner};
use super::{local_key, print, store_lock};
use crate::cli::admin_client::Remote;
use crate::cli::probe::Prober;
use crate::config::boot::{BadValue, Boot, Environment};
use crate::config::file;
use crate::control_plane::open_store;
use crate::control_plane::store::blocking::Blocking;
use crate::control_plane::store::file::FileStore;
use crate::control_plane::store::{self, file_text, sqlite};
use crate::tls;

/// The settings that decide where a gateway listens.
pub(super) const LISTENER: &[&str] = &["HOST", "PORT", "TLS_CERT", "TLS_KEY"];

/// Where a command works.
pub enum StoreLocation {
    /// On the store itself.
    Local(Blocking, Environment),
    /// Through the admin interface of a running gateway.
    Remote(Remote),
}

#[derive(Debug, clap::Args)]
pub struct StoreArgs {
    /// Directory of the embedded store [env: DATA_DIR] [default: ./data]
    // A global argument is also read by the commands above it, where `data_dir` is the flag of
    // `serve`: hence its own id.
    #[arg(id = "store_dir", long = "data-dir", value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// Use the admin interface of the gateway at URL, with the key in ADMIN_KEY, instead of the
    /// store itself
    #[arg(long = "url", value_name = "URL", global = true, conflicts_with = "store_dir")]
    url: Option<String>,
    /// Write into the store of this directory although the gateway that runs on this machine has
    /// another
    #[arg(long = "new-store", global = true, conflicts_with = "url")]
    new_store: bool,
}

/// The name of what a command makes: `NAME`, or `--name NAME`.
#[derive(Debug, clap::Args)]
#[group(id = "new_name", required = true, multiple = false)]
pub(super) struct NewName {
    /// Its name; `--name NAME` does the same
    #[arg(id = "given_name", value_name = "NAME", value_parser = name)]
    positional: Option<String>,
    /// Its name, which is unique
    #[arg(id = "name", long = "name", value_name = "NAME", value_parser = name)]
    flag: Option<String>,
}

impl NewName {
    /// Returns the name.
    pub(super) fn get(&self) -> &str {
        self.positional.as_deref().or(self.flag.as_deref()).unwrap_or_default()
    }
}

impl StoreLocation {
    /// Returns the name of the store or gateway, for a person.
    pub fn name(&self) -> String {
        match self {
            StoreLocation::Local(store, _) => store.place(),
            StoreLocation::Remote(remote) => remote.url().to_owned(),
        }
    }

    /// Prints what a command has written, and to which store.
    pub fn report_written(&self, text: &str) -> Result<(), Failure> {
        print::line(text)?;
        self.note_written();
        Ok(())
    }

    /// Prints which store was written.
    pub fn note_written(&self) {
        print::note("note", &format!("written to the store: {}", self.name()));
    }
}

impl StoreArgs {
    /// Opens the store that `serve` would open with the same flag and environment, or the gateway
    /// at `--url`, for a command that writes. An embedded store that is missing is made by
    /// the first change.
    pub fn open(&self) -> Result<StoreLocation, Failure> {
        // A file is changed by its editor alone. That counts before anything else that may be wrong.
        if let Some(path) = self.config_file()? {
            return Err(Failure::from(FileStore::unwritable(&path)));
        }
        self.open_to_count()
    }

    /// The same for a command that changes no row, but the sums of budgets, which a configuration
    /// file has too.
    pub fn open_to_count(&self) -> Result<StoreLocation, Failure> {
        if let Some(url) = &self.url {
            return gateway_at(url, &self.environment()).map(StoreLocation::Remote);
        }
        let (boot, environment) = self.checked_boot()?;
        let store = match is_missing(&boot) {
            true => Blocking::lazy(&boot.data_dir)?,
            false => Blocking::new(open_store(&boot, &environment)?)?,
        };
        Ok(StoreLocation::Local(store, environment))
    }

    /// Opens the store or gateway for a command that only reads. Nothing is made; returns `None`,
    /// with a note, if there is no store yet.
    ///
    /// # Errors
    /// Also if `--data-dir` names a directory that holds no store: a name that was typed was meant.
    pub fn open_to_read(&self) -> Result<Option<StoreLocation>, Failure> {
        if let Some(url) = &self.url {
            return gateway_at(url, &self.environment()).map(StoreLocation::Remote).map(Some);
        }
        let environment = self.environment();
        let boot = self.boot(&environment)?;
        if is_missing(&boot) {
            let (dir, file) = (boot.data_dir.display(), boot.data_dir.join(sqlite::FILE));
            let message = format!("there is no store in the directory {dir}: {} does not exist", file.display());
            if self.data_dir.is_some() {
                return Err(Failure::Failed(format!("{message}; give --data-dir the DATA_DIR of the gateway")));
            }
            print::note("note", &format!("{message} yet; a command that writes makes it"));
            return Ok(None);
        }
        Ok(Some(StoreLocation::Local(Blocking::new(open_store(&boot, &environment)?)?, environment)))
    }

    /// Fails for `--url`: the command works on the store itself only.
    pub fn require_local(&self, what: &str) -> Result<(), Failure> {
        match &self.url {
            None => Ok(()),
            Some(_) => Err(Failure::Usage(vec![format!(
                "{what} works on the store itself and not through --url; give it the DB_URL or the directory that the gateway has"
            )])),
        }
    }

    /// Opens the store that `serve` would open with the same flag and environment, to write into
    /// its logs and prices too. An embedded store is made if it is missing.
    pub fn open_local(&self) -> Result<(Blocking, Environment), Failure> {
        let (boot, environment) = self.checked_boot()?;
        Ok((Blocking::new(open_store(&boot, &environment)?)?, environment))
    }

    /// Returns the settings of the store to write into.
    ///
    /// # Errors
    /// Also if the gateway that runs on this machine has another store, unless the caller has named
    /// this one.
    fn checked_boot(&self) -> Result<(Boot, Environment), Failure> {
        let environment = self.environment();
        let boot = self.boot(&environment)?;
        if self.data_dir.is_none() && !self.new_store {
            refuse_other_store(&boot, &environment)?;
        }
        Ok((boot, environment))
    }

    /// Reads the environment and `.env`, and prints the warnings about the latter.
    pub fn environment(&self) -> Environment {
        let (environment, warnings) = Environment::of_process();
        for warning in warnings {
            print::note("warning", &warning.0);
        }
        environment
    }

    /// Returns the path of the configuration file, if the command works on one.
    pub fn config_file(&self) -> Result<Option<PathBuf>, Failure> {
        if self.url.is_some() {
            return Ok(None);
        }
        Ok(self.boot(&Environment::of_process().0)?.config_file)
    }

    /// Returns the settings that identify the store. Other invalid settings of the server are
    /// ignored.
    pub fn boot(&self, environment: &Environment) -> Result<Boot, Failure> {
        let mut few = Environment::default();
        few.take(environment, &["DATA_DIR", "DB_URL", "CONFIG_FILE", "MIGRATE_ON_START"]);
        let (mut boot, _) = Boot::from(&[], &few)?;
        if let Some(dir) = &self.data_dir {
            boot.data_dir.clone_from(dir);
            // A directory that was named means the embedded store in it.
            (boot.db_url, boot.config_file) = (None, None);
        }
        Ok(boot)
    }
}

/// Returns whether `boot` names an embedded store that does not exist.
pub(super) fn is_missing(boot: &Boot) -> bool {
    boot.db_url.is_none() && boot.config_file.is_none() && !boot.data_dir.join(sqlite::FILE).exists()
}

/// Returns the settings of the listener of a gateway with this environment, and with the
/// configuration file that it names. What else is wrong there is not reported.
pub(super) fn listener(environment: &Environment) -> Result<Boot, Failure> {
    settings(environment, LISTENER)
}

/// Returns the port of a gateway with this environment, whatever is wrong with the rest of its
/// listener.
pub(super) fn port(environment: &Environment) -> Result<u16, Failure> {
    Ok(settings(environment, &["PORT"])?.port)
}

/// Returns the settings with these names, of the environment and of the configuration file that it
/// names.
fn settings(environment: &Environment, names: &[&str]) -> Result<Boot, Failure> {
    let mut few = Environment::default();
    few.take(environment, names);
    let env = |name: &str| environment.get(name).map(str::to_owned);
    let read = |path: &str| Some(file::read_all(&file_text::read(Path::new(path.trim())).ok()?, &env).0.settings);
    let mut settings = environment.get("CONFIG_FILE").and_then(read).unwrap_or_default();
    settings.retain(|setting| names.contains(&setting.name.as_str()));
    Ok(Boot::with(&[], &few, &settings)?.0)
}

/// Fails if a gateway on this machine, at the address of these settings, has another store than
/// `boot` names: what a command writes there would have no effect on it. It may be meant for the gateway
/// that serves this store at another port.
fn refuse_other_store(boot: &Boot, environment: &Environment) -> Result<(), Failure> {
    let is_embedded = boot.db_url.is_none() && boot.config_file.is_none();
    if is_embedded && store_lock::is_served(&boot.data_dir) {
        return Ok(());
    }
    // `serve` reports what is wrong with the settings.
    let Ok(listener) = listener(environment) else { return Ok(()) };
    let owner = PortOwner::of(&listener);
    let PortOwner::Gateway(health) = owner else { return Ok(()) };
    let Some(theirs) = health.store_id else { return Ok(()) };
    if store::identity(boot)?.is_some_and(|ours| ours == theirs) {
        return Ok(());
    }
    let url = port_owner::url(&listener);
    let ours = match (&boot.config_file, &boot.db_url) {
        (Some(path), _) => format!("the file {}", path.display()),
        (None, Some(url)) => format!("PostgreSQL {}", url.place()),
        (None, None) => boot.data_dir.join(sqlite::FILE).display().to_string(),
    };
    if health.is_demo {
        return Err(Failure::Failed(format!(
            "`llm-proxy demo` runs at {url}, and keeps nothing that is written to it; stop it with Ctrl-C in its \
             terminal, or write into this store all the same ({ours}) with --new-store and serve it at another port"
        )));
    }
    Err(Failure::Failed(format!(
        "the gateway at {url} has another store than this command would write ({ours}); \
         reach that gateway with --url {url}, name the directory of its store with --data-dir DIR, \
         or write here all the same with --new-store"
    )))
}

/// Makes a client of the gateway at `url`. Its certificate is checked as providers' are.
fn gateway_at(url: &str, environment: &Environment) -> Result<Remote, Failure> {
    let (boot, _) = Boot::from(&[], environment)?;
    let Some(key) = boot.admin_key else {
        return Err(no_admin_key(url, &boot));
    };
    let trust = tls::Trust { insecure: !boot.verify_ssl, extra_roots: boot.ssl_cert_file.as_deref() };
    let (tls, _) = tls::client_config(&trust).map_err(Failure::failed)?;
    Remote::new(url, key, &tls).map_err(Failure::failed)
}

/// Says where the key of the gateway at `url` may be: one that was started on a terminal without
/// any has made its own.
fn no_admin_key(url: &str, boot: &Boot) -> Failure {
    let path = local_key::path(&boot.data_dir);
    let place = match path.exists() {
        true => format!("the gateway of this directory has its key in {0}: set ADMIN_KEY=$(cat {0})", path.display()),
        false => format!(
            "set it to the ADMIN_KEY of that gateway; one that was started on a terminal without any has its key in \
             the file {} of its DATA_DIR",
            local_key::FILE
        ),
    };
    Failure::failed(format!("ADMIN_KEY is not set here, and the admin interface at {url} requires it; {place}"))
}

/// Makes a client for probes of providers, with the TLS settings that a gateway with this
/// environment would have.
pub(super) fn prober(environment: &Environment) -> Result<Prober, String> {
    let mut few = Environment::default();
    few.take(environment, &["VERIFY_SSL", "SSL_CERT_FILE"]);
    let bad = |bad: Vec<BadValue>| bad.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let (boot, _) = Boot::from(&[], &few).map_err(bad)?;
    Prober::new(&tls::Trust { insecure: !boot.verify_ssl, extra_roots: boot.ssl_cert_file.as_deref() })
}

/// Calls a gateway, and reads its response.
pub(super) fn call<T: DeserializeOwned>(
    remote: &Remote,
    method: &str,
    path: &str,
    body: Option<String>,
) -> Result<T, Failure> {
    let text = remote.call(method, path, body).map_err(Failure::failed)?;
    let text = if text.is_empty() { "null" } else { &text };
    serde_json::from_str(text)
        .map_err(|error| Failure::failed(format!("the answer of {} can't be read: {error}", remote.url())))
}

/// Returns one member of a response.
pub(super) fn number(answer: &serde_json::Value, pointer: &str) -> i64 {
    answer.pointer(pointer).and_then(serde_json::Value::as_i64).unwrap_or_default()
}

/// Returns the problems of a gateway's configuration, each with its object.
pub(super) fn problems(remote: &Remote) -> Result<Vec<(String, String)>, Failure> {
    let answer: serde_json::Value = call(remote, "GET", "/config/problems", None)?;
    let describe = |problem: &serde_json::Value| {
        let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
        (text("object"), text("message"))
    };
    Ok(answer["problems"].as_array().into_iter().flatten().map(describe).collect())
}

/// Prints a warning for each problem whose object begins with `what`.
pub(super) fn print_problems(remote: &Remote, what: &str) -> Result<(), Failure> {
    for (object, message) in problems(remote)?.iter().filter(|(object, _)| object.starts_with(what)) {
        print::note("warning", &format!("{object}: {message}"));
    }
    Ok(())
}

/// Calls `remove` for each of the rows that a command names, once for those that it names twice.
/// Nothing is removed unless `pick` knows all of them.
pub(super) fn remove_each(
    wanted: &[String],
    pick: impl Fn(&str) -> Result<(i64, String), Failure>,
    mut remove: impl FnMut(i64, &str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let picked: Vec<_> = wanted.iter().map(|wanted| pick(wanted)).collect::<Result<_, _>>()?;
    for (at, (id, name)) in picked.iter().enumerate() {
        if !picked[..at].iter().any(|(known, _)| known == id) {
            remove(*id, name)?;
        }
    }
    Ok(())
}

/// Returns id and name of the row that `wanted`, a name or an id, means.
pub(super) fn pick<'a>(
    what: &str,
    wanted: &str,
    rows: impl Iterator<Item = (i64, &'a str)>,
) -> Result<(i64, &'a str), Failure> {
    let by_id = wanted.parse::<i64>().ok();
    let found: Vec<_> = rows.filter(|(id, name)| *name == wanted || Some(*id) == by_id).collect();
    match found.as_slice() {
        [row] => Ok(*row),
        [] => Err(Failure::failed(format!("there is no {what} with the name or id `{wanted}`"))),
        rows => {
            let ids = rows.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>().join(", ");
            Err(Failure::failed(format!(
                "{} {what}s have the name or id `{wanted}` (ids {ids}); give the name or id of one alone",
                rows.len()
            )))
        }
    }
}

/// Checks a name: lists, logs and metric labels must be able to contain it.
pub(super) fn name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.trim() != text {
        return Err("a name is not empty and does not begin or end with a space".to_owned());
    }
    if text.chars().any(char::is_control) || text.chars().count() > 255 {
        return Err("a name has at most 255 characters, all of them visible".to_owned());
    }
    Ok(text.to_owned())
}
