//! The control plane: one thread that may wait. It follows the store, resolves names, fetches model
//! lists, leases shared limits, empties the record rings and watches the certificate. Nothing of it
//! is on the path of a request. It is one loop, one `select!` and one `match`: what it waits for is
//! an [`Event`], and each part handles its own.
//!
//! | folder | duty |
//! |---|---|
//! | `config` | from the store to the snapshot in force, and back as a file |
//! | [`store`] | PostgreSQL, SQLite and the configuration file |
//! | [`admin`] | the admin interface |
//! | `discovery` | names, model lists of providers, certificates |
//! | `limits` | shares of limits that several nodes have in common |
//! | [`records`] | finished requests from the workers, their cost and exact token counts |
//! | `sinks` | where finished requests go |
//! | `http` | this thread's own calls |
//! | `metrics` | what a scrape gets |

pub mod admin;
pub mod config;
pub(crate) mod discovery;
pub mod http;
mod limits;
mod metrics;
pub mod records;
mod sinks;
pub mod store;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime;
use tokio::sync::oneshot;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use crate::config::boot::Environment;
use crate::shared::ProcessState;
use config::sync;
use discovery::{certificates, dns, model_lists};
use http::client;
use limits::Leases;
use metrics::meter::ControlPlaneMetrics;
use records::drain::{self, Sink};
use records::{cost, exact_tokens};
use sinks::{access_log, jsonl, langfuse, otlp, request_log};
use store::Store;

/// How often the rings are emptied.
const DRAIN: Duration = Duration::from_millis(50);
/// How often the certificate is looked at.
const FILES: Duration = Duration::from_secs(2);
/// Threads for calls that wait, which are name lookups. More wait their turn.
const WAITING_CALLS: usize = 16;

/// The running thread. Dropped, it ends the thread without waiting for it.
#[derive(Debug)]
pub struct ControlPlane {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl ControlPlane {
    /// Ends the thread when it has passed on what the workers, which must have ended, have left in
    /// their rings.
    pub fn stop(self) {
        // It may have ended already.
        let _ = self.stop.send(());
        if self.thread.join().is_err() {
            tracing::error!("gateway: the background thread ended by a panic");
        }
    }

    /// False after a panic: the process still serves, but nothing follows the store any more.
    pub fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }
}

/// Starts the thread, and returns when the store was read and its configuration is in force.
///
/// `environment` is where `env:NAME` keys are taken from. An error says what is wrong and what to
/// do: the store can't be read, or the listener's certificate can't be used.
pub fn start(
    shared: Arc<ProcessState>,
    store: Arc<dyn Store>,
    environment: Environment,
) -> Result<ControlPlane, String> {
    let (stop, stopped) = oneshot::channel();
    let (ready, started) = mpsc::sync_channel(1);
    let spawned = thread::Builder::new().name("background".to_owned()).spawn(move || {
        let run = || run(shared, store, environment, stopped, &ready);
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(())) => {}
            Ok(Err(why)) => {
                let _ = ready.send(Err(why));
            }
            Err(_) => {
                tracing::error!("gateway: the background thread has panicked, nothing follows the store; restart")
            }
        }
    });
    let thread = spawned.map_err(|error| format!("the background thread can't be started: {error}"))?;
    match started.recv() {
        Ok(Ok(())) => Ok(ControlPlane { stop, thread }),
        Ok(Err(why)) => Err(why),
        Err(_) => Err("the background thread ended while it was starting".to_owned()),
    }
}

fn run(
    shared: Arc<ProcessState>,
    store: Arc<dyn Store>,
    environment: Environment,
    stopped: oneshot::Receiver<()>,
    ready: &SyncSender<Result<(), String>>,
) -> Result<(), String> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(WAITING_CALLS)
        .thread_name("background-wait")
        .build()
        .map_err(|error| format!("the background thread can't be started: {error}"))?;
    let result = runtime.block_on(async {
        let mut parts = Parts::new(shared, store, environment, stopped)?;
        parts.sync.load(&mut parts.names).await.map_err(|error| error.to_string())?;
        parts.serve(ready).await;
        Ok(())
    });
    // A lookup that the system still waits for is not waited for.
    runtime.shutdown_background();
    result
}

struct Parts {
    stopped: oneshot::Receiver<()>,
    sync: sync::Sync,
    names: dns::Names,
    models: model_lists::Models,
    leases: Leases,
    admin: admin::Admin,
    drain: drain::Drain,
    log_writers: request_log::Writers,
    /// `None` where spans go nowhere.
    otlp: Option<otlp::Exporter>,
    /// `None` for a plain listener.
    tls: Option<certificates::Watch>,
    empty: Interval,
    files: Interval,
}

/// What the thread waits for.
enum Event {
    Stop,
    Store(sync::Step),
    /// A new configuration has waited long enough for its names.
    Late,
    Names(dns::Step),
    Models(model_lists::Step),
    Leases(limits::Step),
    Admin(admin::Step),
    /// Time to empty the rings.
    Empty,
    /// Time to look at files.
    Files,
}

impl Parts {
    fn new(
        shared: Arc<ProcessState>,
        store: Arc<dyn Store>,
        environment: Environment,
        stopped: oneshot::Receiver<()>,
    ) -> Result<Parts, String> {
        let boot = &shared.boot;
        let trust = crate::tls::Trust { insecure: !boot.verify_ssl, extra_roots: boot.ssl_cert_file.as_deref() };
        // The workers' own configuration has the same warnings.
        let (upstream_tls, _) = crate::tls::client_config(&trust)?;
        let meter = ControlPlaneMetrics::new(&shared);
        let client = client::Client::new(shared.clone(), &upstream_tls);
        let mut sinks: Vec<Box<dyn Sink>> = vec![Box::new(access_log::Access)];
        sinks.extend(jsonl::start(boot, &meter)?);
        sinks.extend(langfuse::start(boot, &client, &meter)?);
        let (log, log_writers) = request_log::start(&shared, &store, &meter);
        sinks.extend(log.map(|log| Box::new(log) as Box<dyn Sink>));
        let prices = cost::Prices::new(shared.clone(), meter.clone(), cost::follow(&store));
        let recount = exact_tokens::Recount::new(shared.clone(), meter.clone())?;
        let otlp = otlp::start(&shared, &client, &meter)?.map(|(spans, exporter)| {
            sinks.push(Box::new(spans));
            exporter
        });
        let sync = sync::Sync::new(shared.clone(), store.clone(), environment.clone(), meter.clone());
        let current = sync.current.clone();
        Ok(Parts {
            stopped,
            sync,
            names: dns::Names::new(shared.clone()),
            models: model_lists::Models::new(shared.clone(), client.clone()),
            admin: admin::Admin::new(shared.clone(), store, current, environment, client, meter),
            leases: Leases::new(shared.clone())?,
            drain: drain::Drain::new(shared.clone(), sinks, prices, recount),
            log_writers,
            otlp,
            tls: certificates::Watch::start(shared)?,
            empty: every(DRAIN),
            files: every(FILES),
        })
    }

    async fn serve(&mut self, ready: &SyncSender<Result<(), String>>) {
        loop {
            if let Some(snapshot) = self.sync.publish(&mut self.names) {
                self.models.adopt(&snapshot);
                self.leases.adopt(&snapshot);
                // Nobody listens but for the first.
                let _ = ready.try_send(Ok(()));
            }
            match self.next().await {
                Event::Stop => break,
                Event::Store(step) => self.sync.take(step, &mut self.names),
                Event::Late => {}
                Event::Names(step) => self.names.take(step),
                Event::Models(step) => self.models.take(step),
                Event::Leases(step) => self.leases.take(step),
                Event::Admin(step) => self.admin.take(step),
                Event::Empty => {
                    self.drain.run();
                    self.sync.release();
                }
                Event::Files => self.tls.iter_mut().for_each(certificates::Watch::look),
            }
        }
        self.drain.finish().await;
        self.log_writers.finish().await;
        if let Some(otlp) = self.otlp.take() {
            otlp.finish().await;
        }
        self.sync.finish().await;
    }

    async fn next(&mut self) -> Event {
        let late = self.sync.deadline();
        tokio::select! {
            _ = &mut self.stopped => Event::Stop,
            step = self.sync.next() => Event::Store(step),
            () = until(late) => Event::Late,
            step = self.names.next() => Event::Names(step),
            step = self.models.next() => Event::Models(step),
            step = self.leases.next() => Event::Leases(step),
            step = self.admin.next() => Event::Admin(step),
            _ = self.empty.tick() => Event::Empty,
            _ = self.files.tick() => Event::Files,
        }
    }
}

/// A tick that was missed is not made up for.
fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Waits for a moment; for ever if there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
