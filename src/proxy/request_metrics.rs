//! One worker's labelled metrics: what a finished request adds to which series.
//!
//! A request finds its series by one look-up. They are made at the first request of their kind.
//! Label values come from the snapshot; those of models are bounded in number (`shared::labels`).

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::snapshot::{Credential, Snapshot};
use crate::metrics::names::Family;
use crate::metrics::series_index::{OTHER, SeriesIndex};
use crate::metrics::series_list::Series;
use crate::shared::ProcessState;
use crate::shared::labels;
use crate::shared::labels::Names;
use crate::shared::model_labels::ModelLabels;
use crate::telemetry::record::{Outcome, Record, Short, Source, Tokens};
use crate::telemetry::stages::Stage;
use crate::telemetry::user_agent::UserAgent;

/// Kinds of requests of which a worker keeps the series. The map is cleared when it is full.
const MAX_KINDS: usize = 8192;

/// What distinguishes kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    /// The address of a route template's text. Each text exists once.
    endpoint: *const u8,
    method: *const u8,
    /// As the label has it.
    model: Short<128>,
    provider: i64,
    credential: i64,
    user_agent: UserAgent,
}

/// The series of one kind of requests, each made when it is first needed.
#[derive(Debug)]
struct Route {
    names: Names,
    duration: Arc<Series>,
    by_status: Vec<(u16, Arc<Series>)>,
    tokens: Option<[Arc<Series>; 3]>,
    /// By the source of the count.
    sources: [Option<Arc<Series>>; Source::ALL.len()],
    /// By the kind of token ([`Route::count_tokens`]).
    details: [Option<Arc<Series>>; 4],
    streams: Option<Streams>,
}

#[derive(Debug)]
struct Streams {
    ttft: Arc<Series>,
    rate: Arc<Series>,
    inter_token: Arc<Series>,
    gap: Arc<Series>,
}

/// The series of one provider.
#[derive(Debug)]
struct Provider {
    latency: Arc<Series>,
    connect: Arc<Series>,
    bypass_bytes: Arc<Series>,
    outcomes: Vec<(&'static str, Arc<Series>)>,
    /// By the formats of client and provider.
    transfers: [[Option<Arc<Series>>; 3]; 3],
}

/// The series of all providers.
#[derive(Debug, Default)]
struct Providers {
    list: Vec<Provider>,
    places: HashMap<i64, usize, ahash::RandomState>,
    /// The provider that was looked up last, and its place: most requests go to the one before.
    last: Option<(i64, usize)>,
}
/// Where the series of each kind are in a list.
type Places = HashMap<Key, usize, ahash::RandomState>;

/// What is measured of a request beside its record.
#[derive(Debug, Clone, Copy, Default)]
pub struct Measured {
    /// Nanoseconds between the arrival of a response and the first write to the client.
    pub after_ns: u64,
    /// Longest pause of a stream, in nanoseconds.
    pub gap_ns: u64,
}

/// The series of one worker that requests count in.
pub struct RequestMetrics {
    index: SeriesIndex,
    active: Vec<(&'static str, Arc<Series>)>,
    stages: Vec<Arc<Series>>,
    /// By transfer mode (bypass, translated) and phase (before, after).
    overhead: [[Arc<Series>; 2]; 2],
    idle: Arc<Series>,
    routes: Routes,
    providers: Providers,
    /// The snapshot that the label values above are from.
    generation: u64,
}

impl RequestMetrics {
    /// Makes the series of one worker that every request needs.
    pub fn new(shared: &ProcessState, worker: usize) -> RequestMetrics {
        let mut index = SeriesIndex::new(shared.shards[worker].clone());
        let stages = Stage::ALL.iter().map(|stage| index.series(Family::StageTime, &[stage.label()])).collect();
        let overhead = ["bypass", "translated"]
            .map(|mode| ["before", "after"].map(|phase| index.series(Family::Overhead, &[mode, phase])));
        let idle = index.series(Family::Pool, &["idle"]);
        RequestMetrics {
            active: Vec::new(),
            stages,
            overhead,
            idle,
            routes: Routes::default(),
            providers: Providers::default(),
            generation: 0,
            index,
        }
    }

    /// Counts a request that has come to an endpoint.
    pub fn begin_request(&mut self, endpoint: &'static str) {
        self.active(endpoint).inc();
    }

    fn active(&mut self, endpoint: &'static str) -> &Series {
        // Each text exists once; if not, the second one finds the same series by its label.
        let at = self.active.iter().position(|(known, _)| std::ptr::eq(*known, endpoint)).unwrap_or_else(|| {
            self.active.push((endpoint, self.index.series(Family::Active, &[endpoint])));
            self.active.len() - 1
        });
        &self.active[at].1
    }

    /// Sets the number of idle connections to providers.
    pub fn set_idle_connections(&self, n: usize) {
        self.idle.set(n as u64);
    }

    /// Counts an attempt at a provider. `outcome` is `ok`, or the label of a failure; `latency_us`
    /// is 0 without a response.
    pub fn record_attempt(&mut self, id: i64, name: &str, outcome: &'static str, latency_us: u64) {
        let RequestMetrics { index, providers, .. } = self;
        let provider = providers.find(index, id, name);
        if latency_us > 0 {
            provider.latency.observe(latency_us);
        }
        // Nearly always it is the same text.
        let is_known = |known: &str| std::ptr::eq(known, outcome) || known == outcome;
        let at = provider.outcomes.iter().position(|(known, _)| is_known(known)).unwrap_or_else(|| {
            provider.outcomes.push((outcome, index.series(Family::AttemptEnds, &[name, outcome])));
            provider.outcomes.len() - 1
        });
        provider.outcomes[at].1.inc();
    }

    /// Counts a connection that was opened in `us` microseconds.
    pub fn record_connect(&mut self, id: i64, name: &str, us: u64) {
        let RequestMetrics { index, providers, .. } = self;
        providers.find(index, id, name).connect.observe(us);
    }

    /// Counts a request that a limit of its credential has refused. At most `max_credentials`
    /// credentials have their own series.
    pub fn record_rejection(
        &mut self,
        limit: &'static str,
        credential: &Credential,
        snapshot: &Snapshot,
        max_credentials: usize,
    ) {
        let name = labels::credential(snapshot, credential.id, max_credentials);
        self.index.series(Family::Rejections, &[limit, name]).inc();
    }

    /// Counts a request that has ended.
    pub fn end_request(&mut self, record: &Record, measured: &Measured, snapshot: &Snapshot, shared: &ProcessState) {
        if !record.endpoint.is_empty() {
            self.active(record.endpoint).dec();
        }
        // Requests of monitoring would drown the rest.
        if record.endpoint == "/metrics" || record.endpoint.starts_with("/health") {
            return;
        }
        self.refresh(snapshot);
        self.observe_times(record, measured);
        let RequestMetrics { index, routes, providers, .. } = self;
        let max_credentials = shared.boot.observe.metrics_max_credentials;
        let models = &shared.model_labels;
        let names = || labels::of(record, snapshot, models, max_credentials);
        let route = routes.find(index, record, models, names);
        route.duration.observe(record.total_us);
        route.count_status(record, index);
        if record.virtual_model != 0 {
            let found = snapshot.virtual_models.values().find(|model| model.id == record.virtual_model);
            let name = found.map_or(OTHER, |model| &*model.name);
            let status = itoa::Buffer::new().format(record.status).to_owned();
            let labels = [name, &*route.names.model, &*route.names.provider, &*status];
            index.series(Family::VirtualModels, &labels).inc();
        }
        // Tokens that will be counted exactly are added then.
        let tokens = record.tokens.as_ref();
        if let Some(tokens) = tokens.filter(|tokens| !shared.counts_exactly(tokens)) {
            route.count_tokens(record, tokens, index);
        }
        if record.first_content_us > 0 {
            route.count_stream(record, measured, index);
        }
        if record.attempts > 0 {
            let provider = providers.find(index, record.provider, &route.names.provider);
            provider.count_transfer(record, &route.names, index);
        }
    }

    fn observe_times(&self, record: &Record, measured: &Measured) {
        for (ns, series) in record.stages.all().iter().zip(&self.stages) {
            if *ns > 0 {
                series.observe(*ns);
            }
        }
        if record.attempts == 0 || record.stages.before() == 0 {
            return;
        }
        let [before, after] = &self.overhead[usize::from(record.is_translated())];
        before.observe(record.stages.before());
        if measured.after_ns > 0 {
            after.observe(measured.after_ns);
        }
    }

    /// Forgets the series whose label values may have changed. They stay, and are found again by
    /// their labels.
    fn refresh(&mut self, snapshot: &Snapshot) {
        if self.generation != snapshot.generation || self.routes.list.len() >= MAX_KINDS {
            self.routes = Routes::default();
            self.providers = Providers::default();
            self.generation = snapshot.generation;
        }
    }
}

impl Key {
    fn of(record: &Record, model: &str) -> Key {
        Key {
            endpoint: record.endpoint.as_ptr(),
            method: record.method.as_ptr(),
            model: Short::new(model),
            provider: record.provider,
            credential: record.credential,
            user_agent: record.user_agent,
        }
    }

    /// Returns whether everything but the model is that of a record.
    fn is_of(&self, record: &Record) -> bool {
        let Key { endpoint, method, provider, credential, user_agent, .. } = *self;
        endpoint == record.endpoint.as_ptr()
            && method == record.method.as_ptr()
            && (provider, credential, user_agent) == (record.provider, record.credential, record.user_agent)
    }
}

impl Route {
    fn new(index: &mut SeriesIndex, record: &Record, names: Names) -> Route {
        let Names { model, provider, credential } = &names;
        let labels = [record.method, record.endpoint, model, provider, credential, record.user_agent.name()];
        let duration = index.series(Family::Duration, &labels);
        let (by_status, sources, details) = Default::default();
        Route { names, duration, by_status, tokens: None, sources, details, streams: None }
    }

    fn count_status(&mut self, record: &Record, index: &mut SeriesIndex) {
        let names = &self.names;
        let at = self.by_status.iter().position(|(status, _)| *status == record.status).unwrap_or_else(|| {
            let status = itoa::Buffer::new().format(record.status).to_owned();
            let (method, endpoint, user_agent) = (record.method, record.endpoint, record.user_agent.name());
            let labels = [method, endpoint, &names.model, &names.provider, &status, &names.credential, user_agent];
            self.by_status.push((record.status, index.series(Family::Requests, &labels)));
            self.by_status.len() - 1
        });
        self.by_status[at].1.inc();
    }

    fn count_tokens(&mut self, record: &Record, tokens: &Tokens, index: &mut SeriesIndex) {
        let Names { model, provider, credential } = &self.names;
        let series = self.tokens.get_or_insert_with(|| {
            ["prompt", "completion", "total"].map(|kind| {
                index.series(Family::Tokens, &[model, provider, kind, credential, record.user_agent.name()])
            })
        });
        for (series, n) in series.iter().zip([tokens.input, tokens.output, tokens.total()]) {
            series.add(n);
        }
        let Tokens { cache_read, reasoning, server_tools, .. } = *tokens;
        let cache_write = tokens.cache_write();
        if cache_read | cache_write | reasoning | server_tools > 0 {
            let details = [
                ("cache_read", cache_read),
                ("cache_write", cache_write),
                ("reasoning", reasoning),
                ("server_tools", server_tools),
            ];
            for ((detail, n), series) in details.into_iter().zip(&mut self.details).filter(|((_, n), _)| *n > 0) {
                series.get_or_insert_with(|| index.series(Family::TokenDetails, &[model, provider, detail])).add(n);
            }
        }
        let source = &mut self.sources[tokens.source as usize];
        source.get_or_insert_with(|| index.series(Family::TokenSources, &[provider, tokens.source.label()])).inc();
    }

    fn count_stream(&mut self, record: &Record, measured: &Measured, index: &mut SeriesIndex) {
        let Names { model, provider, .. } = &self.names;
        let streams = self.streams.get_or_insert_with(|| Streams {
            ttft: index.series(Family::Ttft, &["provider", model, provider]),
            rate: index.series(Family::TokenRate, &["provider", model, provider]),
            inter_token: index.series(Family::InterToken, &[model, provider]),
            gap: index.series(Family::StreamGap, &[model, provider]),
        });
        streams.ttft.observe(record.first_content_us);
        if measured.gap_ns > 0 {
            streams.gap.observe(measured.gap_ns / 1000);
        }
        let us = record.total_us.saturating_sub(record.first_content_us);
        match record.tokens {
            Some(tokens) if tokens.output > 1 && us > 0 => {
                // Thousandths of a token a second.
                streams.rate.observe(tokens.output.saturating_mul(1_000_000_000) / us);
                streams.inter_token.observe(us / (tokens.output - 1));
            }
            _ => {}
        }
    }
}

impl Provider {
    fn new(index: &mut SeriesIndex, name: &str) -> Provider {
        Provider {
            latency: index.series(Family::Latency, &[name]),
            connect: index.series(Family::ConnectTime, &[name]),
            bypass_bytes: index.series(Family::BypassBytes, &[name]),
            outcomes: Vec::new(),
            transfers: Default::default(),
        }
    }

    /// Counts a request that this provider served, or that ended meanwhile.
    fn count_transfer(&mut self, record: &Record, names: &Names, index: &mut SeriesIndex) {
        if record.outcome == Outcome::ClientDisconnected {
            index.series(Family::Disconnects, &[&names.model, &names.provider]).inc();
        }
        let (Some(client), Some(format)) = (record.client_format, record.provider_format) else { return };
        let family = if record.is_translated() { Family::Cross } else { Family::Bypass };
        let series = self.transfers[client as usize][format as usize]
            .get_or_insert_with(|| index.series(family, &[client.protocol(), format.protocol(), &names.provider]));
        series.inc();
        if record.stream && !record.is_translated() {
            self.bypass_bytes.add(record.response_bytes);
        }
    }
}

impl Providers {
    /// Finds the series of a provider, or makes them.
    fn find(&mut self, index: &mut SeriesIndex, id: i64, name: &str) -> &mut Provider {
        let at = match self.last {
            Some((last, at)) if last == id => at,
            _ => {
                let at = *self.places.entry(id).or_insert_with(|| {
                    self.list.push(Provider::new(index, name));
                    self.list.len() - 1
                });
                self.last = Some((id, at));
                at
            }
        };
        &mut self.list[at]
    }
}

/// The series of all kinds of requests that were seen.
#[derive(Debug, Default)]
struct Routes {
    list: Vec<Route>,
    places: Places,
    /// The kind of the last request, and its place.
    last: Option<(Key, usize)>,
}

impl Routes {
    /// Finds the series of a record's kind, or makes them. Most requests are of the kind of the one
    /// before, which needs no look-up.
    fn find(
        &mut self,
        index: &mut SeriesIndex,
        record: &Record,
        models: &ModelLabels,
        names: impl FnOnce() -> Names,
    ) -> &mut Route {
        let at = match &self.last {
            // A model that has a label of its own keeps it.
            Some((key, at)) if key.model.as_bytes() == labels::name(record).as_bytes() && key.is_of(record) => *at,
            _ => {
                let key = Key::of(record, labels::model(record, models));
                let at = *self.places.entry(key).or_insert_with(|| {
                    self.list.push(Route::new(index, record, names()));
                    self.list.len() - 1
                });
                self.last = Some((key, at));
                at
            }
        };
        &mut self.list[at]
    }
}
