//! What the threads of this process share, and what workers request from the control plane. Nothing
//! here is locked, and the request path writes nothing but its worker's own shard and ring.

pub mod admin;
pub mod admin_failures;
pub mod body_memory;
pub mod budgets;
pub mod catalog;
pub mod issued_ids;
#[cfg(test)]
mod issued_ids_tests;
pub mod labels;
pub mod model_labels;
pub mod names;
pub mod peers;
pub mod placement;
pub mod reasoning_cache;
pub mod sessions;
pub mod store;
pub mod unused_memory;
mod word;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::{ClientConfig, ServerConfig};

use crate::breaker::circuit::TICK;
use crate::config::boot::Boot;
use crate::config::prices::PriceTable;
use crate::config::publish::Publisher;
use crate::limit::Running;
use crate::metrics::shard::Shard;
use crate::telemetry::capture::CaptureConfig;
use crate::telemetry::record::{Source, Tokens};
use crate::telemetry::ring::{DrainWaker, Ring};

/// The state of the process.
pub struct ProcessState {
    pub boot: Boot,
    pub publisher: Publisher,
    /// Addresses of host names, kept fresh by the control plane.
    pub names: names::Table,
    /// Model lists of providers that serve every model.
    pub catalog: catalog::Catalog,
    /// What bodies may take of memory.
    pub body_memory: Arc<body_memory::BodyMemory>,
    /// Requests in progress, where MAX_CONCURRENT_REQUESTS limits them.
    pub running: Arc<Running>,
    /// Requests that wait for room.
    pub queued: Arc<Running>,
    /// Connections of each address.
    pub peers: peers::Peers,
    /// Connections of each worker.
    pub placement: Arc<placement::Placement>,
    /// Requests to the admin interface.
    pub admin_queue: admin::AdminQueue,
    /// Wrong admin keys of all addresses.
    pub admin_failures: admin_failures::AdminFailures,
    /// Prices of models, from the store.
    pub prices: Arc<ArcSwap<PriceTable>>,
    /// Wakes the control plane when a request waits for more of a budget.
    pub budget_waker: budgets::BudgetWaker,
    /// Scrapes of `/metrics`, which need no key: they must not keep administrators out.
    pub scrape_queue: admin::AdminQueue,
    /// Requests of clients for what they have used: they must not keep administrators out.
    pub usage_queue: admin::AdminQueue,
    /// The OpenAPI document of the admin interface, written once by the control plane.
    pub openapi: OnceLock<Vec<u8>>,
    /// Who has signed in to the page at `/ui`.
    pub sessions: sessions::Sessions,
    /// What `/ui` serves without a session, written once by the control plane.
    pub page_files: OnceLock<Vec<admin::PageFile>>,
    /// TLS of connections to providers. Whoever needs it first sets it: to read the system's
    /// authorities takes ten milliseconds.
    pub upstream_tls: OnceLock<Arc<ClientConfig>>,
    /// TLS of the listeners, renewed when its files change. `None` is plain TCP.
    pub tls: ArcSwapOption<ServerConfig>,
    /// When the listener's certificate expires, in seconds since 1970. 0 without one.
    pub certificate_ends: AtomicI64,
    /// The name of the system interface that the workers use, once they run.
    pub driver: OnceLock<&'static str>,
    /// The state of the store, for `/health` and `/metrics`.
    pub store: store::Watch,
    /// Set once, at SIGTERM.
    leaving: AtomicBool,
    /// `Store::identity`, once it is known.
    pub store_id: OnceLock<String>,
    /// Set once, when another process accepts new connections in this one's place.
    handed_over: AtomicBool,
    /// Set once, when new connections are no longer accepted.
    draining: AtomicBool,
    /// The metrics of each worker.
    pub shards: Vec<Arc<Shard>>,
    /// The models that have a metric label of their own.
    pub model_labels: model_labels::ModelLabels,
    /// The metrics of the control plane.
    pub background: Arc<Shard>,
    /// The finished requests of each worker, which the control plane drains.
    pub rings: Vec<Arc<Ring>>,
    /// Wakes the thread that drains the rings.
    pub drain_waker: DrainWaker,
    /// What the sinks need beside the numbers of a record.
    pub capture: CaptureConfig,
    /// Reasoning that workers send to one another.
    pub reasoning: reasoning_cache::ReasoningBroadcast,
    /// Who has issued the stored responses that clients may name.
    pub issued: issued_ids::IssuedIds,
    /// Who has the files that clients name. A table of its own, so that files push no response out.
    pub files: issued_ids::IssuedIds,
    /// Where the clock of the token buckets begins.
    pub origin: Instant,
    pub hints: Hints,
}

/// Sentences for the 401 and 404 of a gateway without credentials or providers.
#[derive(Debug, Clone)]
pub struct Hints {
    pub no_credentials: String,
    pub no_providers: String,
}

impl ProcessState {
    /// Makes the state of a process with this many workers. Nothing is published yet.
    pub fn new(boot: Boot, workers: usize, hints: Hints) -> ProcessState {
        let capture = capture_config(&boot);
        let issued = issued_ids::IssuedIds::new(boot.stored_response_ids);
        let files = issued_ids::IssuedIds::new(boot.stored_response_ids / 4);
        let room = boot.observe.record_buffer_bytes / workers.max(1);
        let model_labels = model_labels::ModelLabels::new(boot.observe.metrics_max_models);
        let body_memory = body_memory::BodyMemory::new(boot.max_buffered_bytes());
        let peers = peers::Peers::new(boot.max_connections_per_peer);
        ProcessState {
            boot,
            running: Arc::default(),
            queued: Arc::default(),
            peers,
            placement: placement::Placement::new(workers),
            model_labels,
            publisher: Publisher::default(),
            names: names::Table::default(),
            catalog: catalog::Catalog::default(),
            body_memory,
            admin_queue: admin::AdminQueue::default(),
            admin_failures: admin_failures::AdminFailures::default(),
            prices: Arc::default(),
            budget_waker: budgets::BudgetWaker::default(),
            scrape_queue: admin::AdminQueue::default(),
            usage_queue: admin::AdminQueue::default(),
            openapi: OnceLock::new(),
            sessions: sessions::Sessions::default(),
            page_files: OnceLock::new(),
            upstream_tls: OnceLock::new(),
            tls: ArcSwapOption::empty(),
            certificate_ends: AtomicI64::new(0),
            driver: OnceLock::new(),
            store: store::Watch::default(),
            leaving: AtomicBool::new(false),
            store_id: OnceLock::new(),
            handed_over: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            shards: (0..workers).map(|_| Shard::new()).collect(),
            background: Shard::new(),
            rings: (0..workers).map(|_| Ring::new(room)).collect(),
            drain_waker: DrainWaker::default(),
            capture,
            reasoning: reasoning_cache::ReasoningBroadcast::new(workers),
            issued,
            files,
            origin: Instant::now(),
            hints,
        }
    }

    /// Returns whether the control plane will count these tokens exactly, and add them to the
    /// metrics.
    pub fn counts_exactly(&self, tokens: &Tokens) -> bool {
        self.boot.observe.exact_tokens && tokens.source == Source::Estimate
    }

    /// Returns the time in ticks of the circuit breakers.
    pub fn ticks(&self) -> u32 {
        u32::try_from(self.origin.elapsed().as_millis() / u128::from(TICK)).unwrap_or(u32::MAX)
    }

    /// Returns true from SIGTERM on: this process is not ready, and each response is the last on
    /// its connection. New connections may still be accepted.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// Begins to leave, at SIGTERM: see [`is_leaving`](Self::is_leaving).
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    /// Returns true once no new connection is accepted.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Returns true when this process accepts no new connection, as it drains or another does.
    pub fn accepts_nothing(&self) -> bool {
        self.is_draining() || self.handed_over.load(Ordering::Acquire)
    }

    /// Leaves new connections to another process.
    pub fn hand_over(&self) {
        self.leave();
        self.handed_over.store(true, Ordering::Release);
    }

    /// Begins to drain.
    pub fn drain(&self) {
        self.leave();
        self.draining.store(true, Ordering::Release);
    }
}

/// Bytes of a body that suffice to count its tokens.
const COUNTED_BYTES: usize = 1 << 20;

fn capture_config(boot: &Boot) -> CaptureConfig {
    let observe = &boot.observe;
    let needs_all = observe.jsonl.enabled || observe.langfuse.enabled || observe.otlp.is_on() || observe.exact_tokens;
    // A row of the request log names the headers and what failed.
    let rows = &observe.request_log;
    let bodies = [
        (observe.jsonl.enabled, observe.jsonl.body_bytes),
        (observe.langfuse.enabled, observe.jsonl.body_bytes),
        (rows.enabled && rows.bodies, observe.jsonl.body_bytes),
        (observe.exact_tokens, COUNTED_BYTES),
    ];
    let body_bytes = bodies.iter().filter(|(is_needed, _)| *is_needed).map(|(_, bytes)| *bytes).max().unwrap_or(0);
    // A request that was sampled out has no body any more when it fails.
    let per_second = (!needs_all && !rows.bodies).then_some(rows.per_second);
    CaptureConfig { detail: needs_all || rows.enabled, body_bytes, per_second }
}
