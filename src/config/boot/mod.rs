//! Settings that are fixed for the life of the process: flags first, then the environment, then a
//! `.env` file, then the default.
//!
//! [`table`] holds every variable with its default, its help and its parser. This file decides
//! which source counts, and reports all faults at once.

pub mod db_url;
pub mod dotenv;
pub mod memory;
mod messages;
pub mod observe;
pub mod otlp;
mod settings;
pub mod table;

use std::collections::BTreeMap;
use std::path::Path;

use super::outbound;
use super::secret::Secret;
use super::setting_value;
pub use messages::{BadValue, Warning};
pub use settings::{Affinity, Boot, BudgetStatus, CatchAllRouting, Driver, GivenSetting};
use table::{IGNORED, InvalidValue, LATER, VARIABLES, Variable};

/// A flag of the command line that stands for a variable, as given.
#[derive(Debug, Clone)]
pub struct Flag {
    /// As written, such as `--port`.
    pub flag: &'static str,
    /// Its variable, such as `PORT`.
    pub variable: &'static str,
    pub value: String,
}

/// A setting of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSetting {
    /// The name of its variable, such as `PORT`.
    pub name: String,
    pub value: Secret,
    /// Its line in the file, from 1.
    pub line: usize,
}

/// The process's environment and the `.env` file, which the former overrides.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    pub process: BTreeMap<String, Secret>,
    pub file: BTreeMap<String, Secret>,
}

impl Environment {
    /// Reads the environment of this process and `.env` in the working directory. A secret of this
    /// program that is written as `file:PATH` is read from that file.
    pub fn of_process() -> (Environment, Vec<Warning>) {
        let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
        let process = std::env::vars_os().map(|(name, value)| (text(name), text(value).into())).collect();
        let (file, mut warnings) = dotenv::read(Path::new(".env"));
        let mut environment = Environment { process, file };
        for variable in VARIABLES.iter().filter(|variable| variable.secret) {
            let path = environment.get(variable.name).and_then(|value| value.trim().strip_prefix("file:"));
            let Some(path) = path.map(str::to_owned) else { continue };
            let read = outbound::secret_file(&path, &|name| environment.get(name).map(str::to_owned));
            let read = read.unwrap_or_else(|why| {
                warnings.push(Warning(format!("{}: {why}; it is taken as not set", variable.name)));
                String::new()
            });
            let in_process = environment.process.contains_key(variable.name);
            let values = if in_process { &mut environment.process } else { &mut environment.file };
            values.insert(variable.name.to_owned(), read.into());
        }
        (environment, warnings)
    }

    /// Returns the value of `name` and its source. An empty value is none: compose files write
    /// `X=${X:-}`.
    pub fn find(&self, name: &str) -> Option<(&str, &'static str)> {
        let set = |values: &'_ BTreeMap<String, Secret>| values.get(name).is_some_and(|value| !value.trim().is_empty());
        if set(&self.process) {
            Some((&self.process[name], "the environment"))
        } else if set(&self.file) {
            Some((&self.file[name], ".env"))
        } else {
            None
        }
    }

    /// Takes the values of these variables from `other`, for a command that needs no more of the
    /// settings, and is not to fail because of others.
    pub fn take(&mut self, other: &Environment, names: &[&str]) {
        for name in names {
            if let Some(value) = other.get(name) {
                self.process.insert((*name).to_owned(), value.into());
            }
        }
    }

    /// Takes the settings of a configuration file that are looked up by name when rows are
    /// compiled.
    pub fn add_settings(&mut self, settings: &[FileSetting]) {
        const LOOKED_UP: [&str; 9] = [
            "ALLOW_LINK_LOCAL_UPSTREAMS",
            "SECRET_ENV_ALLOW",
            "SECRET_FILE_DIRS",
            "VERIFY_SSL",
            "SSL_CERT_FILE",
            "HTTPS_PROXY",
            "HTTP_PROXY",
            "ALL_PROXY",
            "NO_PROXY",
        ];
        for setting in settings.iter().filter(|setting| LOOKED_UP.contains(&setting.name.as_str())) {
            self.file.entry(setting.name.clone()).or_insert_with(|| setting.value.clone());
        }
    }

    /// Returns the value of a variable, from the environment or else from a file.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.find(name).map(|(value, _)| value)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.process.keys().chain(self.file.keys().filter(|name| !self.process.contains_key(*name))).map(String::as_str)
    }
}

impl Boot {
    /// Reads every variable of [`VARIABLES`]; a flag goes before its variable. All bad values are
    /// reported together.
    pub fn from(flags: &[Flag], environment: &Environment) -> Result<(Boot, Vec<Warning>), Vec<BadValue>> {
        Boot::with(flags, environment, &[])
    }

    /// Returns the same with the settings of a configuration file, which come last.
    pub fn with(
        flags: &[Flag],
        environment: &Environment,
        settings: &[FileSetting],
    ) -> Result<(Boot, Vec<Warning>), Vec<BadValue>> {
        let mut boot = Boot::default();
        let mut bad = Vec::new();
        for variable in VARIABLES {
            let given = |name| given(name, flags, environment, settings);
            let (value, place) = match (given(variable.name), given(variable.alias)) {
                (Some((value, place)), Some((former, other))) if value != former => {
                    let message = format!("differs from {other}, which is its former name; set one of the two");
                    bad.push(BadValue { place, message });
                    continue;
                }
                (Some(found), _) | (None, Some(found)) => found,
                (None, None) => continue,
            };
            if let Err(invalid) = (variable.set)(&mut boot, value) {
                bad.push(BadValue { place, message: explain(variable, value, invalid) });
                continue;
            }
            let shown = (!variable.secret).then(|| value.to_owned());
            boot.given.push(GivenSetting { name: variable.name, value: shown, place });
        }
        if boot.tls_cert.is_some() != boot.tls_key.is_some() {
            let (given, missing) =
                if boot.tls_cert.is_some() { ("TLS_CERT", "TLS_KEY") } else { ("TLS_KEY", "TLS_CERT") };
            bad.push(BadValue {
                place: given.to_owned(),
                message: format!("is set without {missing}; set both or neither"),
            });
        }
        if boot.tls_client_ca.is_some() && boot.tls_cert.is_none() {
            bad.push(BadValue {
                place: "TLS_CLIENT_CA".to_owned(),
                message: "is set without TLS_CERT and TLS_KEY; certificates of clients need TLS".to_owned(),
            });
        }
        for (place, message) in boot.observe.contradictions() {
            bad.push(BadValue { place: place.to_owned(), message: message.to_owned() });
        }
        if bad.is_empty() { Ok((boot.clone(), warnings(&boot, environment))) } else { Err(bad) }
    }
}

/// Returns the value of the setting `name` and its source: a flag goes before the environment,
/// and that before the configuration file.
fn given<'a>(
    name: &str,
    flags: &'a [Flag],
    environment: &'a Environment,
    settings: &'a [FileSetting],
) -> Option<(&'a str, String)> {
    if let Some(flag) = flags.iter().rfind(|flag| flag.variable == name) {
        return Some((flag.value.trim(), flag.flag.to_owned()));
    }
    if let Some((value, place)) = environment.find(name) {
        return Some((value.trim(), format!("{name} in {place}")));
    }
    let setting = settings.iter().rfind(|setting| setting.name == name)?;
    Some((setting.value.trim(), format!("{name} in line {} of the configuration file", setting.line)))
}

fn explain(variable: &Variable, value: &str, invalid: InvalidValue) -> String {
    match invalid {
        InvalidValue::Explained(message) => message,
        InvalidValue::Expected(expected) if variable.secret => {
            format!("the value is invalid; it must be {expected}")
        }
        InvalidValue::Expected(expected) => {
            let shown: String = value.chars().take(80).collect();
            format!("`{shown}` is invalid; it must be {expected}")
        }
    }
}

/// The length of an admin key below which there is a warning.
const SHORT_ADMIN_KEY: usize = 16;

fn warnings(boot: &Boot, environment: &Environment) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if boot.allow_anonymous {
        warnings
            .push("ALLOW_ANONYMOUS is on: whoever reaches this port can use every provider without a key".to_owned());
    }
    if boot.admin_key.as_ref().is_some_and(|key| key.len() < SHORT_ADMIN_KEY) {
        warnings.push(format!(
            "ADMIN_KEY has fewer than {SHORT_ADMIN_KEY} characters and may be guessed; `openssl rand -hex 32` prints one"
        ));
    }
    if boot.admin_read_key.as_ref().is_some_and(|key| key.len() < SHORT_ADMIN_KEY) {
        warnings.push(format!(
            "ADMIN_READ_KEY has fewer than {SHORT_ADMIN_KEY} characters and may be guessed; `openssl rand -hex 32` prints one"
        ));
    }
    if boot.admin_read_key.is_some() && boot.admin_key.is_none() {
        warnings.push("ADMIN_READ_KEY has no effect without ADMIN_KEY: the admin interface is closed".to_owned());
    }
    if boot.admin_read_key.is_some() && boot.admin_read_key.as_deref() == boot.admin_key.as_deref() {
        warnings.push("ADMIN_READ_KEY is the same as ADMIN_KEY, so it may change everything".to_owned());
    }
    if !boot.verify_ssl {
        warnings.push("VERIFY_SSL is off: any server can pass for a provider and read its key".to_owned());
    }
    if boot.config_file.is_some() && boot.db_url.is_some() {
        warnings.push("CONFIG_FILE and DB_URL are both set: the file is served, the database is not asked".to_owned());
    }
    for name in boot.db_url.iter().flat_map(|url| &url.ignored) {
        warnings.push(format!("DB_URL: the parameter {name} has no effect here"));
    }
    for (name, means) in LATER.iter().filter(|(name, _)| environment.get(name).is_some()) {
        warnings.push(format!("{name} is set, but {means}"));
    }
    let switched_off = |name: &str, value| name.ends_with("_ENABLED") && setting_value::switch(value) == Ok(false);
    let ignored = |name: &str| environment.get(name).is_some_and(|value| !switched_off(name, value));
    let ignored: Vec<_> = IGNORED.iter().copied().filter(|name| ignored(name)).collect();
    if !ignored.is_empty() {
        warnings.push(format!("not served by this version and ignored: {}", ignored.join(", ")));
    }
    warnings.extend(environment.names().filter_map(unknown));
    warnings.into_iter().map(Warning).collect()
}

/// Returns the warning for a name that begins with `LLM_PROXY_`, as no variable of this program
/// does.
fn unknown(name: &str) -> Option<String> {
    let rest = name.strip_prefix("LLM_PROXY_")?;
    // The variable that a gateway sets for its successor.
    if rest == "HANDOVER" {
        return None;
    }
    if VARIABLES.iter().any(|variable| variable.is_named(rest)) && !is_of_kubernetes(rest) {
        return Some(format!(
            "{name} is not a variable of llm-proxy and is ignored; the name is {rest}, without the prefix"
        ));
    }
    if is_of_kubernetes(rest) || is_secret(rest) {
        return None;
    }
    Some(format!("{name} is not a variable of llm-proxy and is ignored; `llm-proxy serve --help` lists them"))
}

/// Returns whether a name is that of a provider's key: see `config::secret_env`.
fn is_secret(rest: &str) -> bool {
    rest.starts_with("SECRET_") && rest != "SECRET_KEY" && rest != "SECRET_KEY_PREVIOUS"
}

/// Returns whether Kubernetes sets the variable: it sets `LLM_PROXY_PORT=tcp://...` and similar
/// ones for a service named `llm-proxy`.
fn is_of_kubernetes(rest: &str) -> bool {
    rest == "PORT" || rest.starts_with("SERVICE_") || rest.starts_with("PORT_")
}

#[cfg(test)]
mod tests;
