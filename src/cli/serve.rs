//! `llm-proxy serve`: settings, then the server.

use super::failure::Failure;
use super::gateway::Gateway;
use super::signals::{Received, Signals};
use super::store_lock::StoreLock;
use super::{handover, local_key, logging, notify, sandbox};
use crate::config::boot::FileSetting;
use crate::config::boot::{Boot, Environment, Flag, Warning, table};
use crate::config::file;
use crate::config::rows::ProviderRow;
use crate::control_plane::store::blocking::Blocking;
use crate::control_plane::{open_store, store};
use crate::net::inherited::Inherited;
use crate::shared::unused_memory;

#[derive(Debug, Default, clap::Args)]
#[command(after_help = table::help())]
pub struct Args {
    /// Address to listen on [env: HOST]
    #[arg(long, value_name = "ADDRESS")]
    host: Option<String>,
    /// Port to listen on; 0 takes any free port [env: PORT]
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// Number of worker threads; 0 is one for each available core [env: WORKERS]
    #[arg(long, value_name = "N")]
    workers: Option<String>,
    /// Directory of the embedded store [env: DATA_DIR]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// YAML file with providers, credentials and settings, used instead of a store [env:
    /// CONFIG_FILE]
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
    /// How workers wait for sockets: epoll, io_uring or auto [env: RUNTIME_DRIVER]
    #[arg(long, value_name = "DRIVER")]
    driver: Option<String>,
}

/// The settings that a server starts with.
#[derive(Debug)]
pub struct Start {
    pub boot: Boot,
    /// Where `api_key` values of the form `env:NAME` are looked up.
    pub environment: Environment,
    /// Warnings for the log, which is not started yet.
    pub warnings: Vec<Warning>,
}

/// Reads flags, environment and `.env`.
pub fn settings(args: &Args) -> Result<Start, Failure> {
    let (mut environment, mut warnings) = Environment::of_process();
    let flags = args.flags();
    let file = file_settings(&flags, &environment)?;
    let (boot, more) = Boot::with(&flags, &environment, &file)?;
    warnings.extend(more);
    environment.add_settings(&file);
    Ok(Start { boot, environment, warnings })
}

/// Returns the settings in the configuration file, if one is named. Other problems of the file are
/// reported when it is served.
fn file_settings(flags: &[Flag], environment: &Environment) -> Result<Vec<FileSetting>, Failure> {
    let flag = flags.iter().rfind(|flag| flag.variable == "CONFIG_FILE").map(|flag| flag.value.as_str());
    let Some(path) = flag.or_else(|| environment.get("CONFIG_FILE")).map(str::trim) else { return Ok(Vec::new()) };
    let text = store::file_text::read(std::path::Path::new(path)).map_err(|why| {
        Failure::Usage(vec![format!("the configuration file {path} {why}; --config or CONFIG_FILE must name another")])
    })?;
    let (file, problems) = file::read_all(&text, &|name| environment.get(name).map(str::to_owned));
    if problems.is_empty() {
        return Ok(file.settings);
    }
    let mut lines: Vec<_> = problems.iter().map(|problem| format!("{path}: {problem}")).collect();
    if let Err(bad) = Boot::with(flags, environment, &file.settings) {
        lines.extend(bad.iter().map(ToString::to_string));
    }
    Err(Failure::Usage(lines))
}

/// Runs the gateway until a signal ends it.
pub fn run(start: Start) -> Result<(), Failure> {
    let Start { mut boot, environment, warnings } = start;
    let program = handover::program();
    logging::start(&boot);
    let Inherited { public, admin, lock, ready } = handover::inherited()?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    // Before the first thread, since a thread restricts itself and those that it starts.
    let launcher = if boot.sandbox { sandbox::enter(&boot, program.as_ref())? } else { None };
    if boot.db_url.is_none() && boot.config_file.is_none() {
        first_providers(&Blocking::embedded(&boot.data_dir)?, &environment)?;
    }
    let is_embedded = boot.db_url.is_none() && boot.config_file.is_none();
    let mut lock = if is_embedded { StoreLock::take(&boot.data_dir, lock)? } else { None };
    let store = open_store(&boot, &environment)?;
    let place = store.place();
    local_key::give(&mut boot)?;
    let mut gateway = Gateway::start_on(boot, store, environment, public, admin)?;
    let mut signals = Signals::watch()?;
    gateway.introduce(&place);
    local_key::introduce(gateway.boot(), &gateway.page_address());
    lock.iter_mut().for_each(StoreLock::write_owner);
    handover::report_serving(ready);
    unused_memory::release();
    let stop = wait_for_stop(&mut signals, &gateway, || {
        handover::start_successor(program.as_ref(), launcher.as_ref(), &gateway, lock.as_ref())
    });
    signals.end_at_the_next();
    let delay = gateway.shutdown_delay();
    match stop {
        Stop::Interrupted => notify::send(notify::STOPPING),
        Stop::Terminated => {
            notify::send(notify::STOPPING);
            if !delay.is_zero() {
                tracing::info!(
                    "stopping: not ready any more; new connections are served for SHUTDOWN_DELAY_SECS ({} s)",
                    delay.as_secs_f32()
                );
                gateway.leave();
                std::thread::sleep(delay);
            }
        }
        Stop::HandedOver(pid) => {
            notify::send(&format!("MAINPID={pid}"));
            tracing::info!(
                "process {pid} has taken over; kept connections are served for SHUTDOWN_DELAY_SECS ({} s)",
                delay.as_secs_f32()
            );
            gateway.hand_over();
            std::thread::sleep(delay);
        }
    }
    tracing::info!("stopping: no new connections; waiting for what runs (SHUTDOWN_GRACE_SECS)");
    gateway.stop();
    tracing::info!("stopped");
    Ok(())
}

/// Why a gateway stops.
enum Stop {
    /// SIGTERM: by an orchestrator, whose load balancer must see first that this gateway is not
    /// ready.
    Terminated,
    /// SIGINT: by a person at a terminal, who does not wait.
    Interrupted,
    /// Another process serves in its place.
    HandedOver(u32),
}

/// Handles signals until one asks to stop. `succeed` starts a process that takes over.
fn wait_for_stop(signals: &mut Signals, gateway: &Gateway, succeed: impl Fn() -> Result<u32, String>) -> Stop {
    loop {
        match signals.next() {
            Received::Terminate => return Stop::Terminated,
            Received::Interrupt => return Stop::Interrupted,
            Received::Hangup => {
                tracing::info!("SIGHUP: the configuration and the certificate are read again");
                notify::send(notify::RELOADING);
                gateway.reload();
                notify::send(notify::READY);
            }
            Received::User1 => tracing::info!("SIGUSR1: log files that were moved are reopened when they are written"),
            Received::User2 => {
                tracing::info!("SIGUSR2: another process is started, which is to take over");
                match succeed() {
                    Ok(pid) => return Stop::HandedOver(pid),
                    Err(why) => tracing::error!("SIGUSR2: no process has taken over, and this gateway goes on: {why}"),
                }
            }
        }
    }
}

/// Providers from the environment, so that a key is all that a first start needs.
const FIRST: &[(&str, &str, &str, &str)] = &[
    ("openai", "openai", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    ("anthropic", "anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY"),
];

/// Returns the variables of [`FIRST`].
pub fn vendor_variables() -> impl Iterator<Item = &'static str> {
    FIRST.iter().map(|(_, _, _, variable)| *variable)
}

/// Gives an empty store the providers whose keys the environment holds. The keys stay there: the
/// rows name the variables.
fn first_providers(store: &Blocking, environment: &Environment) -> Result<(), Failure> {
    // A store that can only be read is reported when it is served.
    if !store.load()?.providers.is_empty() || !store.store().problems().is_empty() {
        return Ok(());
    }
    for (key, kind, base, variable) in FIRST {
        if environment.get(variable).is_some_and(|value| !value.trim().is_empty()) {
            store.add_provider(&ProviderRow {
                provider_key: (*key).into(),
                provider_type: (*kind).into(),
                api_base: (*base).into(),
                api_key: format!("env:{variable}").into(),
                model_mapping: "{}".into(),
                weight: 1,
                provider_params: "{}".into(),
                is_enabled: true,
                ..ProviderRow::default()
            })?;
            tracing::info!("the store was empty: added provider `{key}`, since {variable} is set");
        }
    }
    Ok(())
}

impl Args {
    /// Returns whether any flag is given.
    pub fn has_flags(&self) -> bool {
        !self.flags().is_empty()
    }

    fn flags(&self) -> Vec<Flag> {
        let flags = [
            ("--host", "HOST", &self.host),
            ("--port", "PORT", &self.port),
            ("--workers", "WORKERS", &self.workers),
            ("--data-dir", "DATA_DIR", &self.data_dir),
            ("--config", "CONFIG_FILE", &self.config),
            ("--driver", "RUNTIME_DRIVER", &self.driver),
        ];
        let given =
            |(flag, variable, value): (_, _, &Option<String>)| Some(Flag { flag, variable, value: value.clone()? });
        flags.into_iter().filter_map(given).collect()
    }
}
