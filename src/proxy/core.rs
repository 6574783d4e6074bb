//! [`Core`]: one worker's own context. It writes nothing that another core reads, save its metric
//! shard, its ring and the token buckets.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::boot::Boot;
use crate::config::snapshot::{Provider, Snapshot};
use crate::metrics::shard::Shard;
use crate::net::pool::{Origin, Pool};
use crate::net::timer::Timers;
use crate::proxy::reasoning_cache::Replay;
use crate::proxy::request_metrics::RequestMetrics;
use crate::proxy::throttle::Guard;
use crate::route::pick::Selector;
use crate::shared::ProcessState;
use crate::telemetry::ring::Ring;
use crate::telemetry::sampling::Sample;

/// A snapshot as one core uses it.
pub struct WorkerSnapshot {
    pub snapshot: Arc<Snapshot>,
    /// Same order as `Snapshot::providers`. Made when they are wanted, for a request waits for a
    /// new view.
    origins: Vec<OnceCell<Rc<Origin>>>,
    pub selector: Selector,
    /// Of the lists of models that the selector knows.
    lists_generation: u64,
}

impl WorkerSnapshot {
    fn new(snapshot: Arc<Snapshot>, selector: Selector, lists_generation: u64) -> WorkerSnapshot {
        let origins = vec![OnceCell::new(); snapshot.providers.len()];
        WorkerSnapshot { snapshot, origins, selector, lists_generation }
    }

    pub fn provider(&self, index: usize) -> &Arc<Provider> {
        &self.snapshot.providers[index]
    }

    pub fn origin(&self, index: usize) -> &Rc<Origin> {
        self.origins[index].get_or_init(|| {
            let base = &self.snapshot.providers[index].base;
            Rc::new(Origin { tls: base.tls, host: base.host.clone(), port: base.port })
        })
    }
}

pub struct Core {
    pub index: usize,
    pub shared: Arc<ProcessState>,
    pub pool: Pool,
    pub timers: Rc<Timers>,
    pub metrics: Arc<Shard>,
    /// The series in that shard that have labels.
    pub tally: RefCell<RequestMetrics>,
    pub ring: Arc<Ring>,
    /// Requests that were told in detail.
    pub sample: Sample,
    /// Who failed at the admin interface.
    pub guard: RefCell<Guard>,
    pub replay: Replay,
    /// Requests and connections in progress on this core.
    pub connections: Cell<usize>,
    /// The grace of a shutdown has ended: whatever still runs ends now, with an error of its
    /// format.
    stopping: Cell<bool>,
    view: RefCell<Rc<WorkerSnapshot>>,
    random: Cell<u64>,
    /// For telling texts apart; what it gives is not kept.
    pub hasher: ahash::RandomState,
}

impl Core {
    pub fn new(index: usize, shared: Arc<ProcessState>, pool: Pool, timers: Rc<Timers>, seed: u64) -> Core {
        let metrics = shared.shards[index].clone();
        let ring = shared.rings[index].clone();
        let tally = RefCell::new(RequestMetrics::new(&shared, index));
        let lists_generation = shared.catalog.generation();
        let selector = Selector::new(index, shared.boot.catch_all_routing, shared.catalog.load());
        let view = Rc::new(WorkerSnapshot::new(shared.publisher.load(), selector, lists_generation));
        Core {
            index,
            shared,
            pool,
            timers,
            metrics,
            tally,
            ring,
            sample: Sample::default(),
            guard: RefCell::default(),
            replay: Replay::default(),
            connections: Cell::new(0),
            stopping: Cell::new(false),
            view: RefCell::new(view),
            random: Cell::new(seed | 1),
            hasher: ahash::RandomState::new(),
        }
    }

    pub fn boot(&self) -> &Boot {
        &self.shared.boot
    }

    /// The configuration in force now. Taken once per request; everything of that request uses it
    /// to its end.
    pub fn view(&self) -> Rc<WorkerSnapshot> {
        let lists_generation = self.shared.catalog.generation();
        let is_stale = {
            let view = self.view.borrow();
            view.snapshot.generation != self.shared.publisher.generation() || view.lists_generation != lists_generation
        };
        if is_stale {
            let snapshot = self.shared.publisher.load();
            let selector = self.view.borrow().selector.after(&snapshot, self.shared.catalog.load());
            *self.view.borrow_mut() = Rc::new(WorkerSnapshot::new(snapshot, selector, lists_generation));
        }
        self.view.borrow().clone()
    }

    pub fn stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Ends what still runs: every deadline passes, and whoever wakes sees that the reason is this.
    pub fn stop(&self) {
        self.stopping.set(true);
        self.timers.expire(false);
    }

    /// Nanoseconds on the clock that all cores share.
    pub fn now_ns(&self) -> u64 {
        self.shared.origin.elapsed().as_nanos() as u64
    }

    /// Not for secrets: request ids and the like (xorshift64*).
    pub fn random(&self) -> u64 {
        let mut x = self.random.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.random.set(x);
        x.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

/// Microseconds since 1970.
pub fn unix_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64)
}
