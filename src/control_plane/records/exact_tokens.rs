//! Counts the tokens of records whose provider reported none, with TOKEN_COUNTING=exact. Such
//! records wait here for the counting thread, and reach the sinks later. A record that can't be
//! counted keeps its estimate.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use crate::control_plane::metrics::meter::ControlPlaneMetrics;
use crate::control_plane::records::token_counter::{Counter, Counts, Job};
use crate::metrics::names::Family;
use crate::shared::{ProcessState, labels};
use crate::telemetry::capture::{Body, SharedOrOwned};
use crate::telemetry::record::{Record, Source, Tokens};
use crate::tokens::answer::Answer;
use crate::tokens::picture::DefaultPicture;

/// How long running counts are awaited when the gateway stops.
pub(crate) const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

type Counted = (Arc<Record>, Option<Counts>);

/// Counts the tokens of records whose provider has reported none.
pub(crate) struct Recount {
    shared: Arc<ProcessState>,
    meter: Arc<ControlPlaneMetrics>,
    /// `None` if exact counts are off.
    counter: Option<Counter>,
    /// Finished counts, bounded by the counter's own queue.
    counted: (Sender<Counted>, Receiver<Counted>),
    waiting: usize,
}

impl Recount {
    /// Makes it, with a thread if exact counts are on. The error says that the system gives none.
    pub(crate) fn new(shared: Arc<ProcessState>, meter: Arc<ControlPlaneMetrics>) -> Result<Recount, String> {
        let boot = &shared.boot;
        let pictures = DefaultPicture { tokens: boot.image_tokens, width: boot.image_width, height: boot.image_height };
        let counter = match boot.observe.exact_tokens {
            true => Some(Counter::start(pictures).map_err(|error| format!("tokens can't be counted: {error}"))?),
            false => None,
        };
        Ok(Recount { shared, meter, counter, counted: mpsc::channel(), waiting: 0 })
    }

    /// Takes a record whose tokens can be counted. Returns any other, ready for the sinks.
    pub(crate) fn take(&mut self, record: Arc<Record>) -> Option<Arc<Record>> {
        let Some(counter) = &self.counter else { return Some(record) };
        if !record.tokens.as_ref().is_some_and(|tokens| self.shared.counts_exactly(tokens)) {
            return Some(record);
        }
        if let Some(job) = job(&record) {
            let (done, waiting) = (self.counted.0.clone(), record.clone());
            if counter.submit(job, move |counts| drop(done.send((waiting, counts)))) {
                self.waiting += 1;
                return None;
            }
            self.meter.lost("token_counter", "full", 1);
        }
        self.add_to_metrics(&record);
        Some(record)
    }

    /// Returns the next counted record.
    pub(crate) fn next(&mut self) -> Option<Arc<Record>> {
        let counted = self.counted.1.try_recv().ok()?;
        Some(self.settle(counted))
    }

    /// Returns whether records wait for their count.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// Returns the next counted record while the gateway stops. Records that are not counted before
    /// `deadline` are lost.
    pub(crate) fn last(&mut self, deadline: Instant) -> Option<Arc<Record>> {
        if self.waiting > 0
            && let Ok(counted) = self.counted.1.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            return Some(self.settle(counted));
        }
        None
    }

    fn settle(&mut self, (mut record, counts): Counted) -> Arc<Record> {
        self.waiting -= 1;
        if let Some(Counts { input, output, exact }) = counts {
            let source = if exact { Source::Counted } else { Source::Estimate };
            Arc::make_mut(&mut record).tokens = Some(Tokens { input, output, source, ..Tokens::default() });
        }
        self.add_to_metrics(&record);
        record
    }

    /// Adds the tokens to the metrics, which the worker has left to this.
    fn add_to_metrics(&self, record: &Record) {
        let Some(tokens) = record.tokens else { return };
        let snapshot = self.shared.publisher.load();
        let max_credentials = self.shared.boot.observe.metrics_max_credentials;
        let labels::Names { model, provider, credential } =
            labels::of(record, &snapshot, &self.shared.model_labels, max_credentials);
        for (kind, n) in [("prompt", tokens.input), ("completion", tokens.output), ("total", tokens.total())] {
            let labels = [&*model, &*provider, kind, &*credential, record.user_agent.name()];
            self.meter.with(Family::Tokens, &labels, |series| series.add(n));
        }
        self.meter.with(Family::TokenSources, &[&*provider, tokens.source.label()], |series| series.inc());
    }
}

/// Returns the job of a record, if its bodies were captured completely.
fn job(record: &Record) -> Option<Job> {
    let detail = record.detail.as_ref()?;
    let attempt = detail.attempts.last()?;
    let request = match &attempt.request {
        SharedOrOwned::Own(cut) => cut,
        SharedOrOwned::Same => detail.body.as_ref()?,
        SharedOrOwned::Absent => return None,
    };
    let Body { cut, stream, .. } = attempt.response.as_ref()?;
    if !request.is_whole() || !cut.is_whole() {
        return None;
    }
    let answer = if *stream { Answer::Stream(cut.bytes.clone()) } else { Answer::Whole(cut.bytes.clone()) };
    let (model, format) = (record.sent_model.as_str().to_owned(), attempt.format);
    Some(Job { model, format, request: request.bytes.clone(), answer })
}
