//! The record of a request while it runs. Filed when it is dropped, on every way out: an early
//! return, a failure, a client that left.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Instant;

use crate::limit::{Hold, Need};
use crate::metrics::names::Counter;
use crate::proxy::core::{Core, unix_us};
use crate::proxy::request_metrics::Measured;
use crate::telemetry::capture::{Attempt, Detail};
use crate::telemetry::record::{Outcome, Record, Short, Source, Tokens};
use crate::telemetry::stages::{Stage, Stages};
use crate::telemetry::trace::{Context, Parent};
use crate::telemetry::user_agent::UserAgent;
use crate::tokens;
use llm_wire::Format;
use llm_wire::error::{Error, Kind};

pub struct RequestRecorder {
    core: Rc<Core>,
    started: Instant,
    record: Record,
    /// What it holds of its credential's limits.
    hold: Option<Hold>,
    /// An answer of a model is asked for: tokens are spent.
    generates: bool,
    attempt: Running,
    /// `None` with STAGE_CLOCK off.
    clock: Option<StageClock>,
}

/// The attempt that runs, or ran last. Times are microseconds since the start.
#[derive(Debug, Clone, Copy, Default)]
struct Running {
    began_us: u64,
    /// 0 if no answer came.
    first_byte_us: u64,
    /// 0 likewise.
    status: u16,
    /// Path at the provider; `None` before it was asked.
    path: Option<&'static str>,
}

/// The stage clock of one request.
struct StageClock {
    /// The end of the last stage.
    last: Instant,
    /// When bytes of the upstream came last.
    read: Option<Instant>,
    /// The client has a part of the answer.
    handed: bool,
    measured: Measured,
}

impl RequestRecorder {
    /// Starts the clock: the head of a request has arrived, whose first bytes came at `head_began`.
    pub fn new(core: &Rc<Core>, request_id: &str, head: &[u8], head_began: Option<Instant>) -> RequestRecorder {
        core.metrics.inc(Counter::Requests);
        let mut record = Record::new(request_id, unix_us());
        let wants = core.shared.wants;
        record.sampled_out =
            wants.per_second.is_some_and(|most| !core.sample.takes(record.started_us / 1_000_000, most));
        if !record.sampled_out {
            record.detail = Detail::new(wants, head);
        }
        let started = Instant::now();
        record.stages.add(Stage::HeadRead, head_began.map_or(0, |began| nanoseconds(began, started)));
        let clock = StageClock { last: started, read: None, handed: false, measured: Measured::default() };
        RequestRecorder {
            core: core.clone(),
            started,
            record,
            hold: None,
            generates: false,
            attempt: Running::default(),
            clock: core.boot().observe.stage_clock.then_some(clock),
        }
    }

    /// The request is for this endpoint, a route template.
    pub fn set_route(&mut self, endpoint: &'static str) {
        self.record.endpoint = endpoint;
        self.core.tally.borrow_mut().begun(endpoint);
    }

    /// Tokens will be spent.
    pub fn mark_generation(&mut self) {
        self.generates = true;
    }

    pub fn set_user_agent(&mut self, program: UserAgent) {
        self.record.program = program;
    }

    /// Keeps what the request was given of its credential's limits, until it ends.
    pub fn set_limit_hold(&mut self, hold: Hold) {
        self.hold = Some(hold);
    }

    pub fn record_mut(&mut self) -> &mut Record {
        &mut self.record
    }

    pub fn credential(&self) -> i64 {
        self.record.credential
    }

    pub fn request_id(&self) -> &str {
        self.record.request_id.as_str()
    }

    pub fn elapsed_us(&self) -> u64 {
        microseconds(self.started, Instant::now())
    }

    /// When it came, in seconds since 1970.
    pub fn started_s(&self) -> i64 {
        (self.record.started_us / 1_000_000) as i64
    }

    /// What some sink wants to know beside the record. `None` if none does.
    pub fn detail(&mut self) -> Option<&mut Detail> {
        self.record.detail.as_deref_mut()
    }

    /// Something goes wrong: the request is told in detail although it was left out. `head` is its
    /// head.
    pub fn capture_after_all(&mut self, head: &[u8]) {
        if !std::mem::take(&mut self.record.sampled_out) {
            return;
        }
        self.record.detail = Detail::new(self.core.shared.wants, head);
        let Running { began_us, first_byte_us, status, path } = self.attempt;
        let (provider, model) = (self.record.provider, self.record.sent_model);
        if let (Some(path), Some(format)) = (path, self.record.provider_format)
            && let Some(detail) = self.detail()
        {
            let attempt = Attempt::new(provider, format, model, path, began_us);
            detail.attempt(Attempt { first_byte_us, status, ..attempt });
        }
    }

    /// Whether it has ended otherwise than well.
    pub fn has_failed(&self) -> bool {
        self.record.outcome != Outcome::Complete || self.record.status >= 400
    }

    /// The request has its place in a trace. `parent` is what the client says of its own span.
    pub fn start_trace(&mut self, parent: Option<Parent>) {
        let otlp = &self.core.boot().observe.otlp;
        let record = &mut self.record;
        if let Some(detail) = record.detail.as_deref_mut().filter(|_| otlp.is_on()) {
            let samples = |trace, parent| otlp.samples(trace, parent);
            detail.trace = Some(Context::new(record.request_id.as_str(), record.started_us, parent, samples));
        }
    }

    /// The trace, and the number that the span of the next attempt will have in it.
    pub fn trace(&self) -> Option<(Context, u64)> {
        let detail = self.record.detail.as_ref()?;
        Some((detail.trace?, detail.attempts.len() as u64 + 1))
    }

    // --- the clock

    /// A stage is over: the time since the last one ended was its.
    pub fn end_stage(&mut self, stage: Stage) {
        if self.clock.is_some() {
            self.end_stage_at(stage, Instant::now());
        }
    }

    fn end_stage_at(&mut self, stage: Stage, now: Instant) {
        if let Some(clock) = &mut self.clock {
            self.record.stages.add(stage, nanoseconds(clock.last, now));
            clock.last = now;
        }
    }

    /// Bytes of an answer have come.
    pub fn on_upstream_bytes(&mut self) {
        let streams = self.record.first_content_us > 0;
        if let Some(clock) = &mut self.clock
            && (streams || !clock.handed)
        {
            let now = Instant::now();
            if let Some(before) = clock.read.filter(|_| streams) {
                clock.measured.gap_ns = clock.measured.gap_ns.max(nanoseconds(before, now));
            }
            clock.read = Some(now);
        }
    }

    /// Bytes of the answer go to the client: now, for [`RequestRecorder::write_finished`].
    pub fn write_started(&mut self) -> Option<Instant> {
        let clock = self.clock.as_mut()?;
        let now = Instant::now();
        if !std::mem::replace(&mut clock.handed, true)
            && let Some(read) = clock.read
        {
            clock.measured.after_ns = nanoseconds(read, now);
        }
        Some(now)
    }

    /// The client has taken what was handed over, or has gone.
    pub fn write_finished(&mut self, handed_over: Option<Instant>) {
        if let (Some(clock), Some(began)) = (&mut self.clock, handed_over) {
            let now = Instant::now();
            self.record.stages.add(Stage::WriteStall, nanoseconds(began, now));
            // Not of the stage that runs.
            clock.last += now.saturating_duration_since(began);
        }
    }

    pub fn stages(&self) -> Option<&Stages> {
        self.clock.as_ref().map(|_| &self.record.stages)
    }

    // --- attempts

    /// A provider is tried.
    pub fn begin_attempt(&mut self, provider: i64) {
        self.record.attempts = self.record.attempts.saturating_add(1);
        self.record.provider = provider;
        // The first one begins where the last stage has just ended.
        let began = self.clock.as_ref().filter(|_| self.record.attempts == 1).map(|clock| clock.last);
        let began_us = began.map_or_else(|| self.elapsed_us(), |began| microseconds(self.started, began));
        self.attempt = Running { began_us, ..Running::default() };
    }

    /// What it is asked for. `body` is `None` where the client's goes as it came.
    pub fn set_upstream_request(&mut self, format: Format, model: &str, path: &'static str, body: Option<&[u8]>) {
        let model = Short::new(model);
        self.record.provider_format = Some(format);
        self.record.sent_model = model;
        self.attempt.path = Some(path);
        let (provider, began_us) = (self.record.provider, self.attempt.began_us);
        if let Some(detail) = self.detail() {
            detail.attempt(Attempt::new(provider, format, model, path, began_us));
            detail.sent(body);
        }
    }

    /// The upstream has answered: the first time counts.
    pub fn first_byte(&mut self, status: u16) {
        let now = Instant::now();
        let us = microseconds(self.started, now);
        if self.record.first_byte_us == 0 {
            self.record.first_byte_us = us;
        }
        self.attempt.first_byte_us = us;
        self.attempt.status = status;
        if let Some(attempt) = self.detail().and_then(Detail::last) {
            attempt.first_byte_us = us;
            attempt.status = status;
        }
        self.end_stage_at(Stage::FirstByte, now);
        if let Some(clock) = &mut self.clock {
            clock.read = Some(now);
        }
    }

    /// The first content of a stream: the first time counts.
    pub fn first_content(&mut self) {
        if self.record.first_content_us == 0 {
            self.record.first_content_us = self.elapsed_us().max(1);
            self.end_stage(Stage::FirstContent);
        }
    }

    /// The provider tells which model answers, as `name` finds out if somebody wants to know. The
    /// first time counts.
    pub fn set_answering_model<'n>(&mut self, name: impl FnOnce() -> Option<Cow<'n, str>>) {
        if let Some(attempt) =
            self.detail().and_then(Detail::last).filter(|attempt| attempt.answered_by == Short::EMPTY)
        {
            attempt.answered_by = name().map_or(Short::EMPTY, |name| Short::new(&name));
        }
    }

    /// The attempt has ended.
    pub fn end_attempt(&mut self, provider: &str, failure: Option<&Error>) {
        let (id, began_us) = (self.record.provider, self.attempt.began_us);
        let format = self.record.provider_format;
        let started = self.started;
        if let Some(detail) = self.detail() {
            let now = microseconds(started, Instant::now());
            let failure = failure.map(|error| (error.kind, Box::from(error.to_string())));
            // One that failed before it asked anything is told all the same.
            if !detail.ended(now, failure.clone())
                && let (Some(format), Some(_)) = (format, &failure)
            {
                detail.attempt(Attempt::new(id, format, Short::EMPTY, "", began_us));
                detail.ended(now, failure);
            }
        }
        let outcome = match (failure, self.record.outcome) {
            (Some(error), _) => error.kind.row().label,
            (None, Outcome::Truncated(kind)) => kind.row().label,
            (None, Outcome::ClientGone) => "client_gone",
            (None, Outcome::Complete | Outcome::Failed(_)) => "ok",
        };
        let latency = self.attempt.first_byte_us.saturating_sub(self.attempt.began_us);
        self.core.tally.borrow_mut().attempt((self.record.provider, provider), outcome, latency);
    }

    // --- the end

    /// Bytes that went to the client.
    pub fn add_response_bytes(&mut self, bytes: usize) {
        self.record.response_bytes += bytes as u64;
    }

    pub fn set_complete(&mut self, status: u16) {
        self.record.status = status;
        self.record.outcome = Outcome::Complete;
    }

    pub fn set_failed(&mut self, status: u16, error: &Error) {
        self.record.status = status;
        self.record.outcome = Outcome::Failed(error.kind);
        self.record_error(error);
    }

    pub fn set_truncated(&mut self, error: &Error) {
        self.record.outcome = Outcome::Truncated(error.kind);
        self.record_error(error);
    }

    /// As [`RequestRecorder::set_truncated`], where the provider itself said no more.
    pub fn set_cut(&mut self, kind: Kind) {
        self.record.outcome = Outcome::Truncated(kind);
    }

    /// An answer of the gateway's own, head and all, is what the client gets.
    pub fn capture_reply(&mut self, answer: &[u8]) {
        if let Some(detail) = self.detail()
            && let Some(end) = memchr::memmem::find(answer, b"\r\n\r\n")
        {
            detail.replies(&answer[end + 4..]);
        }
    }

    fn record_error(&mut self, error: &Error) {
        if let Some(detail) = self.detail() {
            detail.error = Some(error.to_string().into());
        }
    }

    pub fn set_client_disconnected(&mut self) {
        self.record.outcome = Outcome::ClientGone;
    }

    /// What a provider has told in the middle of an answer that came to no end: its output is
    /// guessed by what came through.
    fn complete_count(&mut self) {
        let record = &mut self.record;
        let broke_off =
            matches!(record.outcome, Outcome::Truncated(_) | Outcome::ClientGone) && record.finish.is_none();
        if let Some(tokens) = record.tokens.as_mut().filter(|_| broke_off) {
            tokens.output = tokens.output.max(tokens::of_answer(record.response_bytes, record.stream));
            tokens.source = Source::Estimate;
        }
    }

    /// The tokens of an answer of which the provider has told nothing.
    fn estimate(&self) -> Option<Tokens> {
        let record = &self.record;
        let answered = match record.outcome {
            Outcome::Failed(_) => false,
            Outcome::Complete => record.status < 400,
            Outcome::Truncated(_) | Outcome::ClientGone => record.first_byte_us > 0,
        };
        if !self.generates || record.attempts == 0 || !answered {
            return None;
        }
        let input = self.hold.as_ref().map_or_else(|| record.request_bytes.div_ceil(4), |hold| hold.need().prompt);
        let output = tokens::of_answer(record.response_bytes, record.stream);
        Some(Tokens { input, output, source: Source::Estimate, ..Tokens::default() })
    }
}

fn nanoseconds(from: Instant, to: Instant) -> u64 {
    to.saturating_duration_since(from).as_nanos() as u64
}

fn microseconds(from: Instant, to: Instant) -> u64 {
    to.saturating_duration_since(from).as_micros() as u64
}

impl Drop for RequestRecorder {
    fn drop(&mut self) {
        let now = Instant::now();
        self.record.total_us = microseconds(self.started, now);
        self.end_stage_at(Stage::LastByte, now);
        let metrics = &self.core.metrics;
        metrics.add(Counter::BytesOut, self.record.response_bytes);
        metrics.add(Counter::BytesIn, self.record.request_bytes);
        match self.record.outcome {
            Outcome::ClientGone => {
                self.record.status = 499;
                metrics.inc(Counter::ClientsGone);
            }
            Outcome::Truncated(_) => metrics.inc(Counter::Truncated),
            Outcome::Complete | Outcome::Failed(_) => {}
        }
        let estimate = self.estimate();
        if let Some(hold) = self.hold.take() {
            // The clock of the limits, read by the one of the record.
            let started = self.started.saturating_duration_since(self.core.shared.origin).as_nanos() as u64;
            let used = used(&self.record, hold.need());
            hold.settle(started + self.record.total_us * 1000, used);
        }
        if self.record.tokens.is_none_or(|tokens| tokens.total() == 0) {
            self.record.tokens = estimate.or(self.record.tokens);
        }
        self.complete_count();
        let measured = self.clock.as_ref().map_or_else(Measured::default, |clock| clock.measured);
        // It is borrowed if this is the unwinding of a panic in it.
        if let Ok(mut tally) = self.core.tally.try_borrow_mut() {
            tally.count(&self.record, &measured, &self.core.view().snapshot, &self.core.shared);
        }
        let record = std::mem::replace(&mut self.record, Record::new("", 0));
        self.core.ring.push(record);
    }
}

/// The tokens that a request has used up.
///
/// What the provider reported counts. If it told nothing: what failed was free; of an answer that
/// was begun, or whose client left while a provider worked on it, the prompt counts as estimated
/// and the answer by its bytes. A client can't have tokens for nothing by leaving.
fn used(record: &Record, need: Need) -> u64 {
    if let Some(tokens) = record.tokens.filter(|tokens| tokens.input + tokens.output > 0) {
        return tokens.input.saturating_add(tokens.output);
    }
    let answered = || need.prompt + tokens::of_answer(record.response_bytes, record.stream).min(need.output);
    match record.outcome {
        Outcome::Failed(_) => 0,
        Outcome::Complete if record.status >= 400 => 0,
        Outcome::ClientGone if record.attempts == 0 => 0,
        Outcome::Complete | Outcome::Truncated(_) | Outcome::ClientGone => answered(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::record::Tokens;

    #[test]
    fn what_counts_as_used() {
        let record = |outcome, status, attempts, response_bytes, tokens| Record {
            outcome,
            status,
            attempts,
            response_bytes,
            tokens,
            stream: true,
            ..Record::new("", 0)
        };
        let told = Some(Tokens { input: 70, output: 30, cache_read: 60, ..Tokens::default() });
        let (gone, done, failed) = (Outcome::ClientGone, Outcome::Complete, Outcome::Failed(Kind::UpstreamFault));
        let cut = Outcome::Truncated(Kind::UpstreamTruncated);
        let rows = [
            (done, 200, 1, 5000, told, 100),
            (cut, 200, 1, 5000, told, 100),
            (gone, 0, 1, 5000, told, 100),
            (done, 200, 1, 5000, None, 40 + 50),
            (done, 200, 1, 5000, Some(Tokens::default()), 40 + 50),
            (cut, 200, 1, 5000, None, 40 + 50),
            (gone, 0, 1, 1000, None, 40 + 10),
            (gone, 0, 1, 1 << 40, None, 40 + 500),
            (gone, 0, 1, 0, None, 40),
            (gone, 0, 0, 0, None, 0),
            (done, 429, 2, 300, None, 0),
            (failed, 502, 1, 300, None, 0),
        ];
        for (outcome, status, attempts, bytes, tokens, expected) in rows {
            let record = record(outcome, status, attempts, bytes, tokens);
            assert_eq!(used(&record, Need { prompt: 40, output: 500 }), expected, "{record:?}");
        }
    }
}
