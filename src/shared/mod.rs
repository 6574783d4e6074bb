//! What the threads of this process share, and what workers ask of the background thread. Nothing
//! here is locked, and nothing is written on the request path save a core's own shard and ring.

pub mod admin;
pub mod catalog;
pub mod labels;
pub mod model_labels;
pub mod names;
pub mod reasoning_cache;
pub mod store;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;

use crate::config::boot::Boot;
use crate::config::publish::Publisher;
use crate::metrics::shard::Shard;
use crate::telemetry::capture::CaptureConfig;
use crate::telemetry::record::{Source, Tokens};
use crate::telemetry::ring::Ring;

/// One per process.
pub struct ProcessState {
    pub boot: Boot,
    pub publisher: Publisher,
    /// Host names, kept fresh by the background thread.
    pub names: names::Table,
    /// Model lists of providers that serve every model.
    pub catalog: catalog::Catalog,
    /// Requests to the admin interface.
    pub desk: admin::AdminQueue,
    /// What describes the admin interface, made once by the background thread.
    pub openapi: OnceLock<Vec<u8>>,
    /// TLS of the listener; renewed when its files change. `None` is a plain listener.
    pub tls: ArcSwapOption<ServerConfig>,
    /// When the listener's certificate ends, in seconds since 1970; 0 if it has none.
    pub certificate_ends: AtomicI64,
    /// What the workers wait for sockets with, once they run.
    pub driver: OnceLock<&'static str>,
    /// How the store is, for `/health` and `/metrics`.
    pub store: store::Watch,
    /// Set once, at the signal to stop.
    draining: AtomicBool,
    /// Of every core, for `/metrics`.
    pub shards: Vec<Arc<Shard>>,
    /// The models that have a metric label of their own.
    pub model_labels: model_labels::ModelLabels,
    /// Of the background thread.
    pub background: Arc<Shard>,
    /// Of every core, drained by the background thread.
    pub rings: Vec<Arc<Ring>>,
    /// What the sinks of records want beside their numbers.
    pub wants: CaptureConfig,
    /// Reasoning that cores tell one another of.
    pub replay: reasoning_cache::ReasoningBroadcast,
    /// The clock of the token buckets counts from here.
    pub origin: Instant,
    pub hints: Hints,
}

/// Sentences that explain an empty or closed gateway to whoever meets its 401 or 404.
#[derive(Debug, Clone)]
pub struct Hints {
    pub no_credentials: String,
    pub no_providers: String,
}

impl ProcessState {
    pub fn new(boot: Boot, workers: usize, hints: Hints) -> ProcessState {
        let wants = wants(&boot);
        let room = boot.observe.record_buffer_bytes / workers.max(1);
        let model_labels = model_labels::ModelLabels::new(boot.observe.metrics_max_models);
        ProcessState {
            boot,
            model_labels,
            publisher: Publisher::default(),
            names: names::Table::default(),
            catalog: catalog::Catalog::default(),
            desk: admin::AdminQueue::default(),
            openapi: OnceLock::new(),
            tls: ArcSwapOption::empty(),
            certificate_ends: AtomicI64::new(0),
            driver: OnceLock::new(),
            store: store::Watch::default(),
            draining: AtomicBool::new(false),
            shards: (0..workers).map(|_| Shard::new()).collect(),
            background: Shard::new(),
            rings: (0..workers).map(|_| Ring::new(room)).collect(),
            wants,
            replay: reasoning_cache::ReasoningBroadcast::new(workers),
            origin: Instant::now(),
            hints,
        }
    }

    /// Whether the background thread will count these tokens again, and tell them.
    pub fn counts_exactly(&self, tokens: &Tokens) -> bool {
        self.boot.observe.exact_tokens && tokens.source == Source::Estimate
    }

    /// No new connection is accepted and every answer says that it is the last on its connection.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }
}

/// Bytes of a body that are enough to count its tokens.
const COUNTED_BYTES: usize = 1 << 20;

fn wants(boot: &Boot) -> CaptureConfig {
    let observe = &boot.observe;
    let of_all = observe.jsonl.enabled || observe.langfuse.enabled || observe.otlp.is_on() || observe.exact_tokens;
    // A row of the request log names the headers and what failed.
    let rows = &observe.request_log;
    let bodies = [
        (observe.jsonl.enabled, observe.jsonl.body_bytes),
        (observe.langfuse.enabled, observe.jsonl.body_bytes),
        (rows.enabled && rows.bodies, observe.jsonl.body_bytes),
        (observe.exact_tokens, COUNTED_BYTES),
    ];
    let body_bytes = bodies.iter().filter(|(wanted, _)| *wanted).map(|(_, bytes)| *bytes).max().unwrap_or(0);
    // A failure that was not to be told has no body any more when it fails.
    let per_second = (!of_all && !rows.bodies).then_some(rows.per_second);
    CaptureConfig { detail: of_all || rows.enabled, body_bytes, per_second }
}
