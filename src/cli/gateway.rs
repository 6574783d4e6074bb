//! The parts of a running gateway, put together: what `serve` and `demo` start.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

use super::failure::Failure;
use super::port_owner::PortOwner;
use crate::config::boot::{Boot, Environment};
use crate::control_plane;
use crate::control_plane::ControlPlane;
use crate::control_plane::store::Store;
use crate::net::runtime::Driver;
use crate::shared::{Hints, ProcessState};
use crate::worker::{self, StartError, WorkerPool};

/// A running gateway: its workers and its control plane.
pub struct Gateway {
    shared: Arc<ProcessState>,
    workers: WorkerPool,
    control_plane: ControlPlane,
}

impl Gateway {
    /// Starts everything, on sockets of its own. When it returns, requests are served.
    pub fn start(boot: Boot, store: Arc<dyn Store>, environment: Environment) -> Result<Gateway, Failure> {
        Gateway::start_on(boot, store, environment, Vec::new(), None)
    }

    /// Does the same on sockets that were inherited, if there are any.
    pub fn start_on(
        boot: Boot,
        store: Arc<dyn Store>,
        environment: Environment,
        public: Vec<TcpListener>,
        admin: Option<TcpListener>,
    ) -> Result<Gateway, Failure> {
        // Many connections need many descriptors; the usual soft limit is 1,024. What the system
        // refuses stays as it was.
        if let Err(error) = raise_open_files() {
            tracing::warn!("the limit of open files can't be raised: {error}");
        }
        if !boot.core_dumps
            && let Err(error) = forbid_dumps()
        {
            tracing::warn!("the memory of this process can't be kept from core dumps: {error}");
        }
        let count = worker::count(boot.workers);
        let hints = hints(&boot);
        let shared = Arc::new(ProcessState::new(boot, count, hints));
        let control_plane = control_plane::start(shared.clone(), store, environment).map_err(Failure::Failed)?;
        let workers = match WorkerPool::start(&shared, public, admin) {
            Ok(workers) => workers,
            Err(why) => {
                control_plane.stop();
                return Err(start_failed(why, &shared.boot));
            }
        };
        Ok(Gateway { shared, workers, control_plane })
    }

    /// Returns the address of the public listener.
    pub fn addr(&self) -> SocketAddr {
        self.workers.addr
    }

    /// Returns the system interface that the workers use.
    pub fn driver(&self) -> Driver {
        self.workers.driver()
    }

    fn scheme(&self) -> &'static str {
        if self.shared.boot.tls_cert.is_some() { "https" } else { "http" }
    }

    /// Returns a URL of the public listener that works on this machine.
    pub fn url(&self) -> String {
        let scheme = self.scheme();
        let addr = self.addr();
        if addr.ip().is_unspecified() {
            format!("{scheme}://127.0.0.1:{}", addr.port())
        } else {
            format!("{scheme}://{addr}")
        }
    }

    /// Returns the address of the admin interface and its page, as this machine reaches it.
    pub fn page_address(&self) -> String {
        match self.workers.admin_addr {
            Some(addr) if addr.ip().is_unspecified() => format!("{}://127.0.0.1:{}", self.scheme(), addr.port()),
            Some(addr) => format!("{}://{addr}", self.scheme()),
            None => self.url(),
        }
    }

    /// Returns the settings that it was started with.
    pub fn boot(&self) -> &Boot {
        &self.shared.boot
    }

    /// Logs the facts of the start, one line each.
    pub fn introduce(&self, store: &str) {
        let snapshot = self.shared.publisher.load();
        let (providers, credentials) = (snapshot.providers.len(), snapshot.credentials_by_id.len());
        tracing::info!("llm-proxy {}", env!("CARGO_PKG_VERSION"));
        tracing::info!("store: {store}");
        tracing::info!("workers: {} ({})", self.shared.shards.len(), self.driver());
        tracing::info!("providers: {providers}");
        if providers == 0 {
            let why = snapshot.why_no_provider();
            tracing::warn!("{}", why.as_ref().unwrap_or(&self.shared.hints.no_providers));
        }
        tracing::info!("credentials: {credentials}");
        if self.shared.boot.allow_anonymous {
            tracing::warn!("ALLOW_ANONYMOUS is set: whoever reaches this port may use the providers' keys");
        } else if credentials == 0 {
            tracing::warn!("{}", self.shared.hints.no_credentials);
        }
        if let Some(addr) = self.workers.admin_addr {
            tracing::info!("admin interface: {}://{addr}", self.scheme());
        }
        tracing::info!("records: {}", sinks(&self.shared.boot));
        let place = if self.addr().ip().is_unspecified() { " (on all addresses of this machine)" } else { "" };
        tracing::info!("listening: {}{place}", self.url());
    }

    /// Reads the configuration and the certificate again.
    pub fn reload(&self) {
        self.control_plane.reload();
    }

    /// Returns the sockets of the public listener.
    pub fn listeners(&self) -> &[TcpListener] {
        &self.workers.listeners
    }

    /// Returns the socket of the admin interface, if it has one of its own.
    pub fn admin_listener(&self) -> Option<&TcpListener> {
        self.workers.admin_listener.as_ref()
    }

    /// Leaves new connections to another process. Connections that are kept are served, and each
    /// response is the last on its connection.
    pub fn hand_over(&mut self) {
        self.workers.hand_over();
    }

    /// Returns how long new connections are served behind a SIGTERM.
    pub fn shutdown_delay(&self) -> Duration {
        self.shared.boot.shutdown_delay
    }

    /// Tells load balancers and clients that this gateway is about to stop: it is not ready, and
    /// each response is the last on its connection. New connections are still served.
    pub fn leave(&self) {
        self.shared.leave();
    }

    /// Ends what runs within the grace, then the control plane.
    pub fn stop(self) {
        self.workers.drain();
        self.control_plane.stop();
    }
}

/// Names who has the port, as far as it answers on this machine.
fn start_failed(error: StartError, boot: &Boot) -> Failure {
    match error {
        StartError::PortInUse(addr) => {
            let (owner, stop) = PortOwner::at(addr, boot.tls_cert.is_some()).describe();
            let setting = if boot.admin_addr == Some(addr) { "ADMIN_ADDR" } else { "--port or PORT" };
            Failure::failed(format!(
                "port {} of {} is in use by {owner}; {stop}, or choose another port with {setting}",
                addr.port(),
                addr.ip()
            ))
        }
        StartError::Failed(why) => Failure::Failed(why),
    }
}

/// Raises this process's limit of open files as far as it may raise it itself.
fn raise_open_files() -> rustix::io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
}

/// Keeps the memory of this process from core dumps and from other processes of its user.
pub(super) fn forbid_dumps() -> rustix::io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

/// Where records of requests go, for the log of the start.
fn sinks(boot: &Boot) -> String {
    let observe = &boot.observe;
    let sinks = [
        // A configuration file has no tables.
        (observe.request_log.enabled && boot.config_file.is_none(), "request log in the store".to_owned()),
        (observe.jsonl.enabled, format!("JSONL in {}", observe.jsonl.path.display())),
        (observe.langfuse.enabled, format!("Langfuse at {}", observe.langfuse.host)),
        (observe.otlp.is_on(), "traces over OTLP".to_owned()),
    ];
    let on: Vec<String> = sinks.into_iter().filter(|(is_on, _)| *is_on).map(|(_, name)| name).collect();
    if on.is_empty() { "kept nowhere".to_owned() } else { on.join(", ") }
}

/// Returns the advice that error responses and the log give while there is no provider or no
/// credential.
fn hints(boot: &Boot) -> Hints {
    let (no_credentials, no_providers) = match boot.config_file {
        None => (
            "create one with `llm-proxy key create --name NAME`",
            "add one with `llm-proxy init`, or with `llm-proxy provider add --name NAME --type openai --base URL \
             --api-key KEY`",
        ),
        // No command writes into a file but `init`, which is told which one.
        Some(_) => (
            "add one under `credentials` of its configuration file",
            "add one under `providers` of its configuration file",
        ),
    };
    Hints {
        no_credentials: format!(
            "this gateway has no credential yet, so nobody may use it; {no_credentials}, or set ALLOW_ANONYMOUS=true"
        ),
        no_providers: format!("this gateway has no provider yet; {no_providers}"),
    }
}
