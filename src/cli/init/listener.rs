//! The listener of the gateway that `llm-proxy init` sets up, and whether it runs already.

use super::target::Target;
use crate::cli::admin_client::Health;
use crate::cli::failure::Failure;
use crate::cli::port_owner::{self, PortOwner};
use crate::cli::print;
use crate::config::boot::Environment;
use crate::control_plane::store as stores;

/// The variable of the port.
const PORT: &str = "PORT";

/// Where the gateway listens, or will.
#[derive(Debug)]
pub(super) struct Listener {
    /// How this machine reaches it.
    pub(super) url: String,
    port: u16,
    /// A gateway with this store listens there now.
    pub(super) is_served: bool,
    /// What `.env` must have for `serve` to listen there in the next shell.
    pub(super) settings: Vec<(String, String)>,
}

impl Listener {
    /// Takes the address of the settings, with the next port that nobody has if that one is taken,
    /// and a note.
    pub(super) fn choose(target: &Target, environment: &Environment) -> Result<Listener, Failure> {
        let mut boot = target.boot(environment)?;
        // Those that this shell alone has are not found by the next one.
        let mut settings: Vec<_> = ["HOST", PORT]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), environment.process.get(name)?.trim().to_owned())))
            .filter(|(name, value)| {
                !value.is_empty() && environment.file.get(name).is_none_or(|set| set.trim() != value)
            })
            .collect();
        let port = boot.port;
        let owner = PortOwner::of(&boot);
        let is_served = match &owner {
            PortOwner::Gateway(Health { store_id: Some(theirs), is_demo: false }) => {
                stores::identity(&boot)?.is_some_and(|ours| ours == *theirs)
            }
            _ => false,
        };
        if !is_served && !matches!(owner, PortOwner::Nobody) {
            let (name, _) = owner.describe();
            let Some(free) = port_owner::free_behind(boot.host, port) else {
                return Err(Failure::failed(format!("port {port} is in use by {name}; choose another one with PORT")));
            };
            print::note("note", &format!("port {port} is in use by {name}; this gateway gets port {free}"));
            boot.port = free;
            settings.retain(|(name, _)| name != PORT);
            settings.push((PORT.to_owned(), free.to_string()));
        }
        Ok(Listener { url: port_owner::url(&boot), port: boot.port, is_served, settings })
    }

    /// Returns the command that starts the gateway there: a variable of the shell goes before
    /// `.env`.
    pub(super) fn command(&self, environment: &Environment) -> String {
        let set = environment.process.get(PORT).map(|value| value.trim()).filter(|value| !value.is_empty());
        match set.map(str::parse::<u16>) {
            Some(Ok(set)) if set == self.port => "llm-proxy serve".to_owned(),
            Some(_) => format!("{PORT}={} llm-proxy serve", self.port),
            None => "llm-proxy serve".to_owned(),
        }
    }
}
