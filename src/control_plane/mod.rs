//! The control plane: one thread that may wait. It follows the store, resolves names, fetches model
//! lists, leases shared limits, and watches the certificate; a thread beside it drains the record
//! rings. Nothing of it is on the path of a request. It is one loop, one `select!` and one `match`:
//! it waits for an [`Event`], and each part handles its own.
//!
//! | folder | duty |
//! |---|---|
//! | `config` | from the store to the current snapshot, and back as a file |
//! | [`store`] | PostgreSQL, SQLite and the configuration file |
//! | [`admin`] | the admin interface |
//! | `discovery` | names, model lists of providers, certificates |
//! | `limits` | leases of limits that several nodes share |
//! | `budgets` | what this node holds of budgets |
//! | [`records`] | finished requests from the workers, their cost and exact token counts |
//! | `sinks` | where finished requests go |
//! | `webhook` | calls of WEBHOOK_URL |
//! | `http` | the HTTP client of this thread |
//! | `metrics` | the response to a scrape |

pub mod admin;
mod budgets;
pub mod config;
pub(crate) mod discovery;
pub mod http;
mod idle_memory;
mod limits;
mod metrics;
pub mod records;
mod sinks;
pub mod store;
mod timing;
mod ui;
mod webhook;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime;
use tokio::sync::oneshot;
use tokio::time::Interval;

use crate::config::boot::Environment;
use crate::shared::{ProcessState, unused_memory};
use config::sync;
use discovery::{certificates, dns, model_lists};
use http::client;
use idle_memory::IdleMemory;
use limits::Leases;
use metrics::meter::ControlPlaneMetrics;
use records::drain::{Drain, Sink};
use records::drain_thread::DrainThread;
use records::{cost, exact_tokens};
use sinks::{access_log, jsonl, langfuse, otlp, request_log, spend};
use store::Store;
use timing::{every, until};

pub use limits::open_store;

/// How often snapshots are dropped that no worker uses any more.
const RELEASE_INTERVAL: Duration = Duration::from_secs(1);
/// How often the certificate files are checked.
const FILES_INTERVAL: Duration = Duration::from_secs(2);
/// Threads for blocking calls, which are name lookups. More calls are queued.
const BLOCKING_THREADS: usize = 16;

/// The running thread. Dropping this ends the thread without waiting for it.
#[derive(Debug)]
pub struct ControlPlane {
    stop: oneshot::Sender<()>,
    reload: tokio::sync::mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl ControlPlane {
    /// Ends the thread after it has passed on the records in the workers' rings. The workers must
    /// have ended.
    pub fn stop(self) {
        // It may have ended already.
        let _ = self.stop.send(());
        if self.thread.join().is_err() {
            tracing::error!("gateway: a panic ended the control plane");
        }
    }

    /// Reads the configuration and the certificate's files again, without waiting for it.
    pub fn reload(&self) {
        // A reload that is asked for already will see what this one would.
        let _ = self.reload.try_send(());
    }
}

/// Starts the thread, and returns when the store was read and its configuration is published.
///
/// `environment` has the values of `env:NAME` keys. An error states what is wrong and what to do:
/// the store can't be read, or the listener's certificate can't be used.
pub fn start(
    shared: Arc<ProcessState>,
    store: Arc<dyn Store>,
    environment: Environment,
) -> Result<ControlPlane, String> {
    let (stop, stopped) = oneshot::channel();
    let (reload, reloads) = tokio::sync::mpsc::channel(1);
    let (ready, started) = mpsc::sync_channel(1);
    let spawned = thread::Builder::new().name("background".to_owned()).spawn(move || {
        let run = || run(shared, store, environment, Commands { stopped, reloads }, &ready);
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let _ = ready.send(Err(error));
            }
            Err(_) => {
                tracing::error!(
                    "gateway: the control plane has panicked, and changes of the store are no longer seen; restart"
                )
            }
        }
    });
    let thread = spawned.map_err(|error| format!("the control plane can't be started: {error}"))?;
    match started.recv() {
        Ok(Ok(())) => Ok(ControlPlane { stop, reload, thread }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err("the control plane ended while it was starting".to_owned()),
    }
}

fn run(
    shared: Arc<ProcessState>,
    store: Arc<dyn Store>,
    environment: Environment,
    commands: Commands,
    ready: &SyncSender<Result<(), String>>,
) -> Result<(), String> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("background-wait")
        .build()
        .map_err(|error| format!("the control plane can't be started: {error}"))?;
    let result = runtime.block_on(async {
        let mut parts = Parts::new(shared, store, environment, commands)?;
        parts.sync.load(&mut parts.names).await.map_err(|error| error.to_string())?;
        parts.serve(ready).await;
        Ok(())
    });
    // Lookups that are still running are abandoned.
    runtime.shutdown_background();
    result
}

/// What the rest of the process asks of this thread.
struct Commands {
    stopped: oneshot::Receiver<()>,
    reloads: tokio::sync::mpsc::Receiver<()>,
}

struct Parts {
    commands: Commands,
    sync: sync::Sync,
    names: dns::Names,
    models: model_lists::Models,
    leases: Leases,
    budgets: budgets::Budgets,
    admin: admin::Admin,
    drain: DrainThread,
    log_writers: request_log::Writers,
    spend_writer: spend::Writer,
    webhook_tasks: webhook::Tasks,
    /// `None` without a collector.
    otlp: Option<otlp::Exporter>,
    /// `None` for a plain listener.
    tls: Option<certificates::Watch>,
    idle_memory: IdleMemory,
    release_tick: Interval,
    files_tick: Interval,
}

/// What the loop waits for.
enum Event {
    Stop,
    Reload,
    Store(sync::Step),
    /// A new configuration has waited for its names long enough.
    Late,
    Names(dns::Step),
    Models(model_lists::Step),
    Leases(limits::Step),
    Budgets(budgets::Step),
    Admin(admin::Step),
    /// Old snapshots are to be dropped.
    Release,
    IdleMemory,
    /// The certificate files are to be checked.
    Files,
}

impl Parts {
    fn new(
        shared: Arc<ProcessState>,
        store: Arc<dyn Store>,
        environment: Environment,
        commands: Commands,
    ) -> Result<Parts, String> {
        let boot = &shared.boot;
        let trust = crate::tls::Trust { insecure: !boot.verify_ssl, extra_roots: boot.ssl_cert_file.as_deref() };
        let (upstream_tls, warnings) = crate::tls::client_config(&trust)?;
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let _ = shared.upstream_tls.set(upstream_tls.clone());
        let meter = ControlPlaneMetrics::new(&shared);
        let client = client::Client::new(shared.clone(), &upstream_tls);
        let mut sinks: Vec<Box<dyn Sink>> = vec![Box::new(access_log::Access)];
        sinks.extend(jsonl::start(boot, &meter)?);
        sinks.extend(langfuse::start(boot, &client, &meter)?);
        let (log, log_writers) = request_log::start(&shared, &store, &meter);
        sinks.extend(log.map(|log| Box::new(log) as Box<dyn Sink>));
        let (spend, spend_writer) = spend::start(&shared, &store, &meter);
        sinks.extend(spend.map(|spend| Box::new(spend) as Box<dyn Sink>));
        let prices = cost::Prices::new(shared.clone(), meter.clone(), cost::follow(&store, &shared));
        let recount = exact_tokens::Recount::new(shared.clone(), meter.clone())?;
        let otlp = otlp::start(&shared, &client, &meter)?.map(|(spans, exporter)| {
            sinks.push(Box::new(spans));
            exporter
        });
        let (webhook, webhook_tasks) = webhook::start(&shared, &client, &meter)?;
        let sync = sync::Sync::new(shared.clone(), store.clone(), environment.clone(), meter.clone());
        let current = sync.current.clone();
        let budgets = budgets::Budgets::new(shared.clone(), store.clone(), webhook);
        limits::cooldowns::share(&shared)?;
        Ok(Parts {
            commands,
            sync,
            names: dns::Names::new(shared.clone()),
            models: model_lists::Models::new(shared.clone(), client.clone()),
            admin: admin::Admin::new(shared.clone(), store, current, environment, client, meter),
            leases: Leases::new(shared.clone())?,
            budgets,
            drain: DrainThread::start(shared.clone(), Drain::new(shared.clone(), sinks, prices, recount))?,
            log_writers,
            spend_writer,
            webhook_tasks,
            otlp,
            idle_memory: IdleMemory::new(shared.clone()),
            tls: certificates::Watch::start(shared)?,
            release_tick: every(RELEASE_INTERVAL),
            files_tick: every(FILES_INTERVAL),
        })
    }

    async fn serve(mut self, ready: &SyncSender<Result<(), String>>) {
        loop {
            if let Some(snapshot) = self.sync.publish(&mut self.names) {
                self.models.adopt(&snapshot);
                self.leases.adopt(&snapshot);
                self.budgets.adopt(&snapshot);
                // Only the first one has a receiver.
                if ready.try_send(Ok(())).is_ok() {
                    unused_memory::release();
                }
            }
            match self.next().await {
                Event::Stop => break,
                Event::Reload => {
                    self.sync.current.request_reload();
                    self.tls.iter_mut().for_each(certificates::Watch::check);
                }
                Event::Store(step) => self.sync.take(step, &mut self.names),
                Event::Late => {}
                Event::Names(step) => self.names.take(step),
                Event::Models(step) => self.models.take(step),
                Event::Leases(step) => self.leases.take(step),
                Event::Budgets(step) => self.budgets.take(step),
                Event::Admin(step) => self.admin.take(step),
                Event::Release => self.sync.release(),
                Event::IdleMemory => self.idle_memory.look(),
                Event::Files => self.tls.iter_mut().for_each(certificates::Watch::check),
            }
        }
        self.budgets.finish().await;
        match self.drain.stop() {
            Some(mut drain) => drain.finish().await,
            None => tracing::error!("gateway: a panic ended the thread of the records; they are lost"),
        }
        self.log_writers.finish().await;
        self.spend_writer.finish().await;
        drop(self.budgets);
        self.webhook_tasks.finish().await;
        if let Some(otlp) = self.otlp.take() {
            otlp.finish().await;
        }
        self.sync.finish().await;
    }

    async fn next(&mut self) -> Event {
        let late = self.sync.deadline();
        tokio::select! {
            _ = &mut self.commands.stopped => Event::Stop,
            Some(()) = self.commands.reloads.recv() => Event::Reload,
            step = self.sync.next() => Event::Store(step),
            () = until(late) => Event::Late,
            step = self.names.next() => Event::Names(step),
            step = self.models.next() => Event::Models(step),
            step = self.leases.next() => Event::Leases(step),
            step = self.budgets.next() => Event::Budgets(step),
            step = self.admin.next() => Event::Admin(step),
            () = self.idle_memory.next() => Event::IdleMemory,
            _ = self.release_tick.tick(), if self.sync.has_old_snapshots() => Event::Release,
            _ = self.files_tick.tick(), if self.tls.is_some() => Event::Files,
        }
    }
}
