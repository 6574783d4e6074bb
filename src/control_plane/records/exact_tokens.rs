//! Counts again what was guessed: records whose provider told no tokens, with TOKEN_COUNTING=exact.
//! They wait here for the counting thread, and reach the sinks late; what can't be counted goes on
//! with its guess.

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
use crate::tokens::picture::Unsized;

/// How long the counts that are under way are waited for when the gateway stops.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

type Counted = (Arc<Record>, Option<Counts>);

pub(crate) struct Recount {
    shared: Arc<ProcessState>,
    meter: Arc<ControlPlaneMetrics>,
    /// `None` where nobody wants exact counts.
    counter: Option<Counter>,
    /// Bounded by the counter's own queue.
    counted: (Sender<Counted>, Receiver<Counted>),
    waiting: usize,
}

impl Recount {
    pub(crate) fn new(shared: Arc<ProcessState>, meter: Arc<ControlPlaneMetrics>) -> Result<Recount, String> {
        let boot = &shared.boot;
        let pictures = Unsized { tokens: boot.image_tokens, width: boot.image_width, height: boot.image_height };
        let counter = match boot.observe.exact_tokens {
            true => Some(Counter::start(pictures).map_err(|error| format!("tokens can't be counted: {error}"))?),
            false => None,
        };
        Ok(Recount { shared, meter, counter, counted: mpsc::channel(), waiting: 0 })
    }

    /// Takes a record whose tokens can be counted; gives back any other, ready for the sinks.
    pub(crate) fn take(&mut self, record: Arc<Record>) -> Option<Arc<Record>> {
        let Some(counter) = &self.counter else { return Some(record) };
        if !record.tokens.as_ref().is_some_and(|tokens| self.shared.counts_exactly(tokens)) {
            return Some(record);
        }
        if let Some(job) = job(&record) {
            let (done, waits) = (self.counted.0.clone(), record.clone());
            if counter.submit(job, move |counts| drop(done.send((waits, counts)))) {
                self.waiting += 1;
                return None;
            }
            self.meter.lost("token_counter", "full", 1);
        }
        self.tell(&record);
        Some(record)
    }

    /// The next record that was counted.
    pub(crate) fn next(&mut self) -> Option<Arc<Record>> {
        let counted = self.counted.1.try_recv().ok()?;
        Some(self.settle(counted))
    }

    /// The rest of them, when the gateway stops. Those that are not counted by then are given up,
    /// and their records with them.
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
        self.tell(&record);
        record
    }

    /// Counts the tokens that the worker has left for here.
    fn tell(&self, record: &Record) {
        let Some(tokens) = record.tokens else { return };
        let snapshot = self.shared.publisher.load();
        let most = self.shared.boot.observe.metrics_max_credentials;
        let labels::Names { model, provider, credential } =
            labels::of(record, &snapshot, &self.shared.model_labels, most);
        for (kind, n) in [("prompt", tokens.input), ("completion", tokens.output), ("total", tokens.total())] {
            let labels = [&*model, &*provider, kind, &*credential, record.program.name()];
            self.meter.with(Family::Tokens, &labels, |series| series.add(n));
        }
        self.meter.with(Family::TokenSources, &[&*provider, tokens.source.label()], |series| series.inc());
    }
}

/// What is to be counted, if all of it was kept.
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
