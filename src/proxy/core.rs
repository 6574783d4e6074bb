//! [`Core`]: what one worker owns and shares among its connections. Another worker reads nothing of
//! it, save its metric shard, its ring and the token buckets.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::breaker::budget::Budget;
use crate::config::boot::Boot;
use crate::config::snapshot::{Provider, Snapshot};
use crate::metrics::names::Counter;
use crate::metrics::shard::Shard;
use crate::net::pool::{Origin, Pool};
use crate::net::timer::Timers;
use crate::proxy::budget::resolved::KnownBudgets;
use crate::proxy::hedge_memory::Hedges;
use crate::proxy::log_limit::LogLimits;
use crate::proxy::reasoning_cache::ReasoningCache;
use crate::proxy::request_metrics::RequestMetrics;
use crate::proxy::throttle::AdminThrottle;
use crate::proxy::translation_key::TranslationKey;
use crate::proxy::wait_queue::WaitQueue;
use crate::route::selector::Selector;
use crate::shared::ProcessState;
use crate::telemetry::ring::Ring;
use crate::telemetry::sampling::Sampler;
use llm_wire::Format;
use llm_wire::json::{RawStr, Tape};
use llm_wire::passthrough::answer_templates::AnswerTemplates;
use llm_wire::passthrough::event_templates::EventTemplates;
use llm_wire::passthrough::request_templates::RequestTemplates;
use llm_wire::reasoning::envelope::{Scope, model_family};
use llm_wire::translate::known_answers::KnownAnswers;
use llm_wire::translate::known_requests::KnownRequests;

/// Bounds the name of a model, in bytes. Names are remembered, matched against patterns and
/// repeated in errors; those in use are far shorter.
pub const MAX_MODEL: usize = 1024;

/// One worker's view of a snapshot.
pub struct WorkerSnapshot {
    pub snapshot: Arc<Snapshot>,
    /// In the order of `Snapshot::providers`. Each is made when it is first used, since a request
    /// waits for a new view.
    origins: Vec<OnceCell<Rc<Origin>>>,
    pub selector: Selector,
    /// The scopes of reasoning that were used last, by provider and family of models.
    scopes: RefCell<Vec<(usize, Box<str>, Scope)>>,
    /// The last one, by provider and model.
    last_scope: RefCell<Option<(usize, Rc<str>, Scope)>>,
    /// The generation of the model lists that the selector knows.
    lists_generation: u64,
}

impl WorkerSnapshot {
    fn new(snapshot: Arc<Snapshot>, selector: Selector, lists_generation: u64) -> WorkerSnapshot {
        let origins = vec![OnceCell::new(); snapshot.providers.len()];
        let (scopes, last_scope) = Default::default();
        WorkerSnapshot { snapshot, origins, selector, scopes, last_scope, lists_generation }
    }

    /// Returns a provider by its index in the snapshot.
    pub fn provider(&self, index: usize) -> &Arc<Provider> {
        &self.snapshot.providers[index]
    }

    /// Returns the scope of reasoning of a model at a provider, which is a SHA-256.
    pub fn scope(&self, index: usize, model: &Rc<str>) -> Scope {
        if let Some((at, known, scope)) = &*self.last_scope.borrow()
            && *at == index
            && Rc::ptr_eq(known, model)
        {
            return *scope;
        }
        let scope = self.scope_of_family(index, model);
        *self.last_scope.borrow_mut() = Some((index, model.clone(), scope));
        scope
    }

    fn scope_of_family(&self, index: usize, model: &str) -> Scope {
        /// More are forgotten.
        const MAX_SCOPES: usize = 32;
        let family = model_family(model);
        let mut scopes = self.scopes.borrow_mut();
        if let Some((.., scope)) = scopes.iter().find(|(at, known, _)| *at == index && **known == *family) {
            return *scope;
        }
        if scopes.len() >= MAX_SCOPES {
            scopes.clear();
        }
        let scope = Scope::new(&self.snapshot.providers[index].dialect.account, family);
        scopes.push((index, family.into(), scope));
        scope
    }

    /// Returns where the provider's requests go, for the pool.
    pub fn origin(&self, index: usize) -> &Rc<Origin> {
        self.origins[index].get_or_init(|| {
            let provider = &self.snapshot.providers[index];
            let (base, outbound) = (&provider.base, &provider.outbound);
            let (proxy, trust) = (outbound.proxy.clone(), outbound.tls.clone());
            Rc::new(Origin::new((base.tls, base.host.clone(), base.port), proxy, trust))
        })
    }
}

/// What one worker owns and shares among its connections.
pub struct Core {
    pub index: usize,
    pub shared: Arc<ProcessState>,
    pub pool: Pool,
    pub timers: Rc<Timers>,
    pub metrics: Arc<Shard>,
    /// The series in that shard that have labels.
    pub request_metrics: RefCell<RequestMetrics>,
    pub ring: Arc<Ring>,
    /// Chooses the requests that are captured.
    pub sampler: Sampler,
    /// Bounds on log lines that clients can cause.
    pub log_limits: LogLimits,
    /// Budgets and times of hedged requests.
    pub hedges: RefCell<Hedges>,
    /// By the ids of providers that were retried.
    retry_budgets: RefCell<HashMap<i64, Budget, ahash::RandomState>>,
    /// Addresses that sent a wrong admin key.
    pub admin_throttle: RefCell<AdminThrottle>,
    pub reasoning_cache: ReasoningCache,
    /// Budgets of callers, and prices.
    pub budgets: KnownBudgets,
    /// Bodies that are being decoded.
    pub decoding: Cell<usize>,
    /// Requests that wait for room.
    pub wait_queue: Rc<WaitQueue>,
    /// Room for what one whole response holds.
    pub tape: RefCell<Tape>,
    pub templates: Templates,
    /// Open connections of clients.
    pub connections: Cell<usize>,
    /// Whether SHUTDOWN_GRACE_SECS is over: what still runs ends now, with an error of its format.
    stopping: Cell<bool>,
    view: RefCell<Rc<WorkerSnapshot>>,
    random: Cell<u64>,
    /// Hashes texts for comparisons within this worker.
    pub hasher: ahash::RandomState,
    /// The model that the last request named that wrote it without escapes.
    last_model: RefCell<Rc<str>>,
    /// The empty name, which requests share until their bodies were read: each `Rc<str>` that is
    /// made has memory of its own, the empty one too.
    no_name: Rc<str>,
}

/// The structures of what this worker has read, of requests, answers and events: what repeats one
/// is not read again. Those of answers and events are by format.
#[derive(Default)]
pub struct Templates {
    pub requests: RefCell<RequestTemplates>,
    /// Requests as providers of other formats got them.
    pub translations: RefCell<KnownRequests<TranslationKey>>,
    /// Whole answers as clients of other formats got them.
    pub translated_answers: RefCell<KnownAnswers>,
    answers: [RefCell<AnswerTemplates>; Format::ALL.len()],
    events: [RefCell<EventTemplates>; Format::ALL.len()],
}

impl Templates {
    /// Returns the templates of whole answers in this format.
    pub fn answers(&self, format: Format) -> &RefCell<AnswerTemplates> {
        &self.answers[format as usize]
    }

    /// Returns the templates of events in this format.
    pub fn events(&self, format: Format) -> &RefCell<EventTemplates> {
        &self.events[format as usize]
    }
}

impl Core {
    /// Makes the core of the worker `index`. `seed` makes its rotation differ from that of the
    /// others.
    pub fn new(index: usize, shared: Arc<ProcessState>, pool: Pool, timers: Rc<Timers>, seed: u64) -> Core {
        let metrics = shared.shards[index].clone();
        let ring = shared.rings[index].clone();
        let request_metrics = RefCell::new(RequestMetrics::new(&shared, index));
        let reasoning_cache = ReasoningCache::new(shared.clone(), index);
        let budgets = KnownBudgets::new(shared.prices.clone());
        let lists_generation = shared.catalog.generation();
        let selector = Selector::new(index, shared.boot.catch_all_routing, shared.catalog.load());
        let view = Rc::new(WorkerSnapshot::new(shared.publisher.load(), selector, lists_generation));
        Core {
            index,
            shared,
            pool,
            timers,
            metrics,
            request_metrics,
            ring,
            sampler: Sampler::default(),
            log_limits: LogLimits::default(),
            hedges: RefCell::default(),
            retry_budgets: RefCell::default(),
            admin_throttle: RefCell::default(),
            reasoning_cache,
            budgets,
            decoding: Cell::new(0),
            wait_queue: Rc::default(),
            tape: RefCell::default(),
            templates: Templates::default(),
            connections: Cell::new(0),
            stopping: Cell::new(false),
            view: RefCell::new(view),
            random: Cell::new(seed | 1),
            hasher: ahash::RandomState::new(),
            last_model: RefCell::new("".into()),
            no_name: "".into(),
        }
    }

    /// Returns the name of a model as text. Most requests name that of the one before, which needs
    /// no check and no memory.
    pub fn model_name(&self, written: RawStr<'_>) -> Rc<str> {
        let mut last = self.last_model.borrow_mut();
        // What is kept has no backslash, so neither has what is equal to it.
        if written.as_bytes() != last.as_bytes() {
            let name: Rc<str> = Rc::from(&*written.unescape());
            if written.has_escapes() || name.len() > MAX_MODEL {
                return name;
            }
            *last = name;
        }
        last.clone()
    }

    /// Returns the name of no model, which needs no memory.
    pub fn no_name(&self) -> Rc<str> {
        self.no_name.clone()
    }

    /// Returns the settings of the process.
    pub fn boot(&self) -> &Boot {
        &self.shared.boot
    }

    /// Returns the current configuration. A request takes it once and uses it to its end.
    pub fn view(&self) -> Rc<WorkerSnapshot> {
        let lists_generation = self.shared.catalog.generation();
        let is_stale = {
            let view = self.view.borrow();
            view.snapshot.generation != self.shared.publisher.generation() || view.lists_generation != lists_generation
        };
        if is_stale {
            let snapshot = self.shared.publisher.load();
            if snapshot.generation != self.view.borrow().snapshot.generation {
                self.budgets.forget_callers();
            }
            let selector = self.view.borrow().selector.after(&snapshot, self.shared.catalog.load());
            *self.view.borrow_mut() = Rc::new(WorkerSnapshot::new(snapshot, selector, lists_generation));
        }
        self.view.borrow().clone()
    }

    /// Returns whether the worker ends what still runs.
    pub fn stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Ends what still runs: every deadline expires, and the tasks that wake see that the worker is
    /// stopping.
    pub fn stop(&self) {
        self.stopping.set(true);
        self.timers.expire(false);
    }

    /// Returns the nanoseconds on the clock that all workers share, as of its last reading.
    pub fn now_ns(&self) -> u64 {
        self.timers.recent()
    }

    /// Returns the time in ticks of the circuit breakers.
    pub fn ticks(&self) -> u32 {
        self.shared.ticks()
    }

    /// Counts a request to a provider that is no retry. Only of providers that were retried is
    /// there anything to count: a bucket is full at first.
    pub fn deposit_retry(&self, provider: i64) {
        let mut budgets = self.retry_budgets.borrow_mut();
        if !budgets.is_empty()
            && let Some(budget) = budgets.get_mut(&provider)
        {
            budget.deposit(self.boot().retry_budget as u32);
        }
    }

    /// Returns whether another retry of a provider is within its budget.
    pub fn withdraw_retry(&self, provider: i64) -> bool {
        let mut budgets = self.retry_budgets.borrow_mut();
        let allowed = budgets.entry(provider).or_default();
        let allowed = allowed.withdraw(self.boot().retry_budget as u32, self.now_ns() / 1_000_000);
        if !allowed {
            self.metrics.inc(Counter::RetriesDenied);
        }
        allowed
    }

    /// Returns a pseudo-random number (xorshift64*), for request ids and the like. Not for secrets.
    pub fn random(&self) -> u64 {
        let mut x = self.random.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.random.set(x);
        x.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

/// Returns the microseconds since 1970.
pub fn unix_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64)
}
