//! The record of a request while it runs. Filed when it is dropped, on every way out: an early return, a failure, a client that left.

use std::rc::Rc;
use std::time::Instant;

use super::core::{Core, unix_us};
use crate::error::Kind;
use crate::limit::{Hold, Need};
use crate::metrics::names::Counter;
use crate::record::entry::{Outcome, Record, Short};
use crate::tokens;

pub struct Ticket {
    core: Rc<Core>,
    started: Instant,
    record: Record,
    /// What it holds of its credential's limits.
    hold: Option<Hold>,
}

impl Ticket {
    /// Starts the clock: the head of a request has arrived.
    pub fn new(core: &Rc<Core>, request_id: &str) -> Ticket {
        core.metrics.inc(Counter::Requests);
        let record = begun(request_id);
        Ticket { core: core.clone(), started: Instant::now(), record, hold: None }
    }

    /// Keeps what the request was given of its credential's limits, until it ends.
    pub fn hold(&mut self, hold: Hold) {
        self.hold = Some(hold);
    }

    pub fn edit(&mut self) -> &mut Record {
        &mut self.record
    }

    pub fn credential(&self) -> i64 {
        self.record.credential
    }

    pub fn request_id(&self) -> &str {
        self.record.request_id.as_str()
    }

    pub fn elapsed_us(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    /// The upstream has answered: the first time counts.
    pub fn first_byte(&mut self) {
        if self.record.first_byte_us == 0 {
            self.record.first_byte_us = self.elapsed_us();
        }
    }

    /// Bytes that went to the client.
    pub fn sent(&mut self, bytes: usize) {
        self.record.response_bytes += bytes as u64;
    }

    pub fn complete(&mut self, status: u16) {
        self.record.status = status;
        self.record.outcome = Outcome::Complete;
    }

    pub fn failed(&mut self, status: u16, kind: Kind) {
        self.record.status = status;
        self.record.outcome = Outcome::Failed(kind);
    }

    pub fn truncated(&mut self, kind: Kind) {
        self.record.outcome = Outcome::Truncated(kind);
    }

    pub fn client_gone(&mut self) {
        self.record.outcome = Outcome::ClientGone;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.record.total_us = self.elapsed_us();
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
        if let Some(hold) = self.hold.take() {
            // The clock of the limits, read by the one of the record.
            let started = self.started.saturating_duration_since(self.core.shared.origin).as_nanos() as u64;
            let used = used(&self.record, hold.need());
            hold.settle(started + self.record.total_us * 1000, used);
        }
        self.core.ring.push(self.record);
    }
}

/// The record of a request of which nothing is known yet.
fn begun(request_id: &str) -> Record {
    Record {
        request_id: Short::new(request_id),
        endpoint: "",
        method: "",
        client_format: None,
        provider_format: None,
        model: Short::EMPTY,
        credential: 0,
        provider: 0,
        generation: 0,
        status: 0,
        stream: false,
        attempts: 0,
        // What holds if the task is dropped before anything else was said.
        outcome: Outcome::ClientGone,
        tokens: None,
        request_bytes: 0,
        response_bytes: 0,
        started_us: unix_us(),
        total_us: 0,
        first_byte_us: 0,
    }
}

/// The tokens that a request has used up.
///
/// What the provider reported counts. If it told nothing: what failed was free; of an answer that was begun, or whose client left while a
/// provider worked on it, the prompt counts as estimated and the answer by its bytes. A client can't have tokens for nothing by leaving.
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
    use crate::record::entry::Tokens;

    #[test]
    fn what_counts_as_used() {
        let record = |outcome, status, attempts, response_bytes, tokens| Record {
            outcome,
            status,
            attempts,
            response_bytes,
            tokens,
            stream: true,
            ..begun("")
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
