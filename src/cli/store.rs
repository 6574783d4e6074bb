//! What the commands that work on the store have in common.

use std::path::PathBuf;

use serde::de::DeserializeOwned;

use super::{Failure, print};
use crate::cli::admin_client::Remote;
use crate::config::boot::{Boot, Environment};
use crate::control_plane::store;
use crate::control_plane::store::blocking::Blocking;
use crate::tls;

/// Where a command works.
pub enum Place {
    /// On the store itself.
    Here(Blocking, Environment),
    /// Through the admin interface of a running gateway.
    There(Remote),
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
}

impl StoreArgs {
    /// The store that `serve` would open with the same flag and environment, or the gateway at
    /// `--url`.
    pub fn open(&self) -> Result<Place, Failure> {
        if let Some(url) = &self.url {
            return remote(url, &self.environment()).map(Place::There);
        }
        let (store, environment) = self.open_here()?;
        Ok(Place::Here(store, environment))
    }

    /// For a command that only works on the store itself.
    pub fn here_alone(&self, what: &str) -> Result<(), Failure> {
        match &self.url {
            None => Ok(()),
            Some(_) => Err(Failure::Usage(vec![format!(
                "{what} works on the store itself and not through --url; give it the DB_URL or the directory that the gateway has"
            )])),
        }
    }

    /// The store that `serve` would open with the same flag and environment.
    pub fn open_here(&self) -> Result<(Blocking, Environment), Failure> {
        let environment = self.environment();
        let boot = self.boot(&environment)?;
        Ok((Blocking::new(store::open(&boot, &environment)?)?, environment))
    }

    pub fn environment(&self) -> Environment {
        let (environment, warnings) = Environment::of_process();
        for warning in warnings {
            print::note("warning", &warning.0);
        }
        environment
    }

    /// Only what says which store it is: a setting of the server that is wrong is no matter here.
    pub fn boot(&self, environment: &Environment) -> Result<Boot, Failure> {
        let mut few = Environment::default();
        for name in ["DATA_DIR", "DB_URL", "CONFIG_FILE", "MIGRATE_ON_START"] {
            if let Some(value) = environment.get(name) {
                few.process.insert(name.to_owned(), value.into());
            }
        }
        let (mut boot, _) = Boot::from(&[], &few)?;
        if let Some(dir) = &self.data_dir {
            boot.data_dir.clone_from(dir);
            // Who names a directory means what is in it.
            (boot.db_url, boot.config_file) = (None, None);
        }
        Ok(boot)
    }
}

/// The gateway at `url`. Its certificate is looked at as providers' are.
fn remote(url: &str, environment: &Environment) -> Result<Remote, Failure> {
    let (boot, _) = Boot::from(&[], environment)?;
    let Some(key) = boot.admin_key else {
        return Err(Failure::failed("ADMIN_KEY is not set here; the admin interface asks for it"));
    };
    let trust = tls::Trust { insecure: !boot.verify_ssl, extra_roots: boot.ssl_cert_file.as_deref() };
    let (tls, _) = tls::client_config(&trust).map_err(Failure::failed)?;
    Remote::new(url, key, &tls).map_err(Failure::failed)
}

/// Calls a gateway, and reads its response.
pub fn call<T: DeserializeOwned>(
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

/// One member of a response.
pub fn number(answer: &serde_json::Value, pointer: &str) -> i64 {
    answer.pointer(pointer).and_then(serde_json::Value::as_i64).unwrap_or_default()
}

/// The problems of a gateway's configuration, each an object and what is wrong with it.
pub fn problems(remote: &Remote) -> Result<Vec<(String, String)>, Failure> {
    let answer: serde_json::Value = call(remote, "GET", "/config/problems", None)?;
    let told = |problem: &serde_json::Value| {
        let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
        (text("object"), text("message"))
    };
    Ok(answer["problems"].as_array().into_iter().flatten().map(told).collect())
}

/// Warns of those whose object begins so.
pub fn tell_problems(remote: &Remote, what: &str) -> Result<(), Failure> {
    for (object, message) in problems(remote)?.iter().filter(|(object, _)| object.starts_with(what)) {
        print::note("warning", &format!("{object}: {message}"));
    }
    Ok(())
}

/// The id and name of the row that `wanted`, a name or an id, means.
pub fn pick<'a>(
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
                "`{wanted}` may mean the {what}s with the ids {ids}; name the one by what only it has"
            )))
        }
    }
}

/// A name that lists, logs and metric labels can bear.
pub fn name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.trim() != text {
        return Err("a name is not empty and does not begin or end with a space".to_owned());
    }
    if text.chars().any(char::is_control) || text.chars().count() > 255 {
        return Err("a name has at most 255 characters, all of them visible".to_owned());
    }
    Ok(text.to_owned())
}
