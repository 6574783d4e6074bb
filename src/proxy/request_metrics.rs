//! One core's metrics by labels: what a finished request adds to which series.
//!
//! A request finds its series by one look-up; they are made at the first request of their kind.
//! Label texts come from the snapshot; those of models are bounded in number (`shared::labels`).

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::snapshot::{Credential, Snapshot};
use crate::metrics::names::Family;
use crate::metrics::series_index::SeriesIndex;
use crate::metrics::series_list::Series;
use crate::shared::ProcessState;
use crate::shared::labels;
use crate::shared::labels::Names;
use crate::telemetry::record::{Outcome, Record, Short, Source, Tokens};
use crate::telemetry::stages::Stage;
use crate::telemetry::user_agent::UserAgent;

/// Kinds of requests that a core keeps series at hand for; beyond it the hand is emptied.
const AT_HAND: usize = 8192;

/// What tells kinds of requests apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    /// Where the text of a route template lies; there is one of each.
    endpoint: *const u8,
    method: *const u8,
    /// As the label has it.
    model: Short<128>,
    provider: i64,
    credential: i64,
    program: UserAgent,
}

/// Their series, each made when it is first needed.
#[derive(Debug)]
struct Route {
    names: Names,
    duration: Arc<Series>,
    by_status: Vec<(u16, Arc<Series>)>,
    tokens: Option<[Arc<Series>; 3]>,
    /// By who counted.
    sources: [Option<Arc<Series>>; Source::ALL.len()],
    /// By the kind of token ([`Route::spent`]).
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
    ways: [[Option<Arc<Series>>; 3]; 3],
}

type Providers = HashMap<i64, Provider, ahash::RandomState>;
type Routes = HashMap<Key, Route, ahash::RandomState>;

/// What is measured of a request beside its record.
#[derive(Debug, Clone, Copy, Default)]
pub struct Measured {
    /// Nanoseconds between an answer's arrival and its being handed on.
    pub after_ns: u64,
    /// Longest pause of a stream, in nanoseconds.
    pub gap_ns: u64,
}

pub struct RequestMetrics {
    book: SeriesIndex,
    active: Vec<(&'static str, Arc<Series>)>,
    stages: Vec<Arc<Series>>,
    /// By way (bypass, translated) and phase (before, after).
    overhead: [[Arc<Series>; 2]; 2],
    idle: Arc<Series>,
    routes: Routes,
    providers: Providers,
    /// What the texts above were taken from.
    generation: u64,
}

impl RequestMetrics {
    pub fn new(shared: &ProcessState, core: usize) -> RequestMetrics {
        let mut book = SeriesIndex::new(shared.shards[core].clone());
        let stages = Stage::ALL.iter().map(|stage| book.series(Family::StageTime, &[stage.label()])).collect();
        let overhead = ["bypass", "translated"]
            .map(|way| ["before", "after"].map(|phase| book.series(Family::Overhead, &[way, phase])));
        let idle = book.series(Family::Pool, &["idle"]);
        RequestMetrics {
            active: Vec::new(),
            stages,
            overhead,
            idle,
            routes: Routes::default(),
            providers: Providers::default(),
            generation: 0,
            book,
        }
    }

    /// A request has come to an endpoint.
    pub fn begun(&mut self, endpoint: &'static str) {
        self.active(endpoint).inc();
    }

    fn active(&mut self, endpoint: &'static str) -> &Series {
        let at = self.active.iter().position(|(known, _)| *known == endpoint).unwrap_or_else(|| {
            self.active.push((endpoint, self.book.series(Family::Active, &[endpoint])));
            self.active.len() - 1
        });
        &self.active[at].1
    }

    /// Connections to providers that are kept for the next request.
    pub fn idle_connections(&self, n: usize) {
        self.idle.set(n as u64);
    }

    /// A provider was tried. `outcome` is `ok`, or the label of a failure; `first_byte_us` is 0
    /// where no answer came.
    pub fn attempt(&mut self, (id, name): (i64, &str), outcome: &'static str, first_byte_us: u64) {
        let RequestMetrics { book, providers, .. } = self;
        let provider = provider(providers, book, id, name);
        if first_byte_us > 0 {
            provider.latency.observe(first_byte_us);
        }
        let at = provider.outcomes.iter().position(|(known, _)| *known == outcome).unwrap_or_else(|| {
            provider.outcomes.push((outcome, book.series(Family::AttemptEnds, &[name, outcome])));
            provider.outcomes.len() - 1
        });
        provider.outcomes[at].1.inc();
    }

    /// A connection was opened, in so many microseconds.
    pub fn connected(&mut self, (id, name): (i64, &str), us: u64) {
        let RequestMetrics { book, providers, .. } = self;
        provider(providers, book, id, name).connect.observe(us);
    }

    /// A limit of a credential has refused a request.
    pub fn rejected(&mut self, limit: &'static str, credential: &Credential, snapshot: &Snapshot, most: usize) {
        let name = labels::credential(snapshot, credential.id, most);
        self.book.series(Family::Rejections, &[limit, name]).inc();
    }

    /// A request has ended.
    pub fn count(&mut self, record: &Record, measured: &Measured, snapshot: &Snapshot, shared: &ProcessState) {
        if !record.endpoint.is_empty() {
            self.active(record.endpoint).dec();
        }
        // What monitoring asks for would drown the rest.
        if record.endpoint == "/metrics" || record.endpoint.starts_with("/health") {
            return;
        }
        self.renew(snapshot);
        self.times(record, measured);
        let RequestMetrics { book, routes, providers, .. } = self;
        let most = shared.boot.observe.metrics_max_credentials;
        let model = labels::model(record, &shared.model_labels);
        let route = route(routes, book, record, model, || labels::of(record, snapshot, &shared.model_labels, most));
        route.duration.observe(record.total_us);
        route.ended(record, book);
        // What will be counted exactly is told then.
        let tokens = record.tokens.as_ref();
        if let Some(tokens) = tokens.filter(|tokens| !shared.counts_exactly(tokens)) {
            route.spent(record, tokens, book);
        }
        if record.first_content_us > 0 {
            route.streamed(record, measured, book);
        }
        if record.attempts > 0 {
            provider(providers, book, record.provider, &route.names.provider).relayed(record, &route.names, book);
        }
    }

    fn times(&self, record: &Record, measured: &Measured) {
        for stage in Stage::ALL {
            match record.stages.get(stage) {
                0 => {}
                ns => self.stages[stage as usize].observe(ns),
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

    /// Forgets what may have other names by now. The series stay, and are found again by their
    /// labels.
    fn renew(&mut self, snapshot: &Snapshot) {
        if self.generation != snapshot.generation || self.routes.len() >= AT_HAND {
            self.routes.clear();
            self.providers.clear();
            self.generation = snapshot.generation;
        }
    }
}

impl Route {
    fn ended(&mut self, record: &Record, book: &mut SeriesIndex) {
        let names = &self.names;
        let at = self.by_status.iter().position(|(status, _)| *status == record.status).unwrap_or_else(|| {
            let status = itoa::Buffer::new().format(record.status).to_owned();
            let (method, endpoint, program) = (record.method, record.endpoint, record.program.name());
            let labels = [method, endpoint, &names.model, &names.provider, &status, &names.credential, program];
            self.by_status.push((record.status, book.series(Family::Requests, &labels)));
            self.by_status.len() - 1
        });
        self.by_status[at].1.inc();
    }

    fn spent(&mut self, record: &Record, tokens: &Tokens, book: &mut SeriesIndex) {
        let Names { model, provider, credential } = &self.names;
        let series = self.tokens.get_or_insert_with(|| {
            ["prompt", "completion", "total"]
                .map(|kind| book.series(Family::Tokens, &[model, provider, kind, credential, record.program.name()]))
        });
        for (series, n) in series.iter().zip([tokens.input, tokens.output, tokens.total()]) {
            series.add(n);
        }
        let details = [
            ("cache_read", tokens.cache_read),
            ("cache_write", tokens.cache_write()),
            ("reasoning", tokens.reasoning),
            ("server_tools", tokens.server_tools),
        ];
        for ((detail, n), series) in details.into_iter().zip(&mut self.details).filter(|((_, n), _)| *n > 0) {
            series.get_or_insert_with(|| book.series(Family::TokenDetails, &[model, provider, detail])).add(n);
        }
        let source = &mut self.sources[tokens.source as usize];
        source.get_or_insert_with(|| book.series(Family::TokenSources, &[provider, tokens.source.label()])).inc();
    }

    fn streamed(&mut self, record: &Record, measured: &Measured, book: &mut SeriesIndex) {
        let Names { model, provider, .. } = &self.names;
        let streams = self.streams.get_or_insert_with(|| Streams {
            ttft: book.series(Family::Ttft, &["provider", model, provider]),
            rate: book.series(Family::TokenRate, &["provider", model, provider]),
            inter_token: book.series(Family::InterToken, &[model, provider]),
            gap: book.series(Family::StreamGap, &[model, provider]),
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
    /// An answer of it, or what became of the wish for one.
    fn relayed(&mut self, record: &Record, names: &Names, book: &mut SeriesIndex) {
        if record.outcome == Outcome::ClientGone {
            book.series(Family::Disconnects, &[&names.model, &names.provider]).inc();
        }
        let (Some(client), Some(format)) = (record.client_format, record.provider_format) else { return };
        let family = if record.is_translated() { Family::Cross } else { Family::Bypass };
        let series = self.ways[client as usize][format as usize]
            .get_or_insert_with(|| book.series(family, &[client.protocol(), format.protocol(), &names.provider]));
        series.inc();
        if record.stream && !record.is_translated() {
            self.bypass_bytes.add(record.response_bytes);
        }
    }
}

fn provider<'t>(providers: &'t mut Providers, book: &mut SeriesIndex, id: i64, name: &str) -> &'t mut Provider {
    providers.entry(id).or_insert_with(|| Provider {
        latency: book.series(Family::Latency, &[name]),
        connect: book.series(Family::ConnectTime, &[name]),
        bypass_bytes: book.series(Family::BypassBytes, &[name]),
        outcomes: Vec::new(),
        ways: Default::default(),
    })
}

fn route<'t>(
    routes: &'t mut Routes,
    book: &mut SeriesIndex,
    record: &Record,
    model: &str,
    names: impl FnOnce() -> Names,
) -> &'t mut Route {
    let key = Key {
        endpoint: record.endpoint.as_ptr(),
        method: record.method.as_ptr(),
        model: Short::new(model),
        provider: record.provider,
        credential: record.credential,
        program: record.program,
    };
    routes.entry(key).or_insert_with(|| {
        let names = names();
        let Names { model, provider, credential } = &names;
        let labels = [record.method, record.endpoint, model, provider, credential, record.program.name()];
        let duration = book.series(Family::Duration, &labels);
        let (by_status, sources, details) = Default::default();
        Route { names, duration, by_status, tokens: None, sources, details, streams: None }
    })
}
