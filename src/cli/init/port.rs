//! The port of the gateway that `llm-proxy init` sets up, and whether it runs already.

use super::target::Target;
use crate::cli::admin_client::Health;
use crate::cli::failure::Failure;
use crate::cli::port_owner::{self, PortOwner};
use crate::cli::print;
use crate::config::boot::{Boot, Environment};
use crate::control_plane::store as stores;

/// The variable of the port.
const PORT: &str = "PORT";

/// Where the gateway listens, or will.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) number: u16,
    /// A gateway with this store listens there now.
    pub(super) is_served: bool,
    /// It is not the one that `serve` would take by itself in the next shell.
    pub(super) is_chosen: bool,
}

impl Port {
    /// Takes the port of the settings, or the next one that nobody has, with a note.
    pub(super) fn choose(target: &Target, environment: &Environment) -> Result<Port, Failure> {
        let boot = target.boot(environment)?;
        let number = boot.port;
        let is_chosen = number != Boot::default().port
            && environment.file.get(PORT).is_none_or(|set| set.trim() != number.to_string());
        let owner = PortOwner::of(number);
        let is_served = match &owner {
            PortOwner::Nobody => return Ok(Port { number, is_served: false, is_chosen }),
            PortOwner::Gateway(health) if health.is_demo => false,
            PortOwner::Gateway(Health { store_id: Some(theirs), .. }) => {
                stores::identity(&boot)?.is_some_and(|ours| ours == *theirs)
            }
            PortOwner::Gateway(_) => false,
            PortOwner::Other => false,
        };
        if is_served {
            return Ok(Port { number, is_served, is_chosen });
        }
        let (name, _) = owner.describe();
        let Some(free) = port_owner::free_behind(boot.host, number) else {
            return Err(Failure::failed(format!("port {number} is in use by {name}; choose another one with PORT")));
        };
        print::note("note", &format!("port {number} is in use by {name}; this gateway gets port {free}"));
        Ok(Port { number: free, is_served: false, is_chosen: true })
    }

    /// Returns the setting that `.env` must have for `serve` to take this port.
    pub(super) fn setting(&self) -> Option<(String, String)> {
        self.is_chosen.then(|| (PORT.to_owned(), self.number.to_string()))
    }

    /// Returns the command that starts the gateway there: a variable of the shell goes before
    /// `.env`.
    pub(super) fn command(&self, environment: &Environment) -> String {
        match environment.process.get(PORT).map(|value| value.trim().parse::<u16>()) {
            Some(Ok(set)) if set == self.number => "llm-proxy serve".to_owned(),
            Some(_) => format!("{PORT}={} llm-proxy serve", self.number),
            None => "llm-proxy serve".to_owned(),
        }
    }
}
