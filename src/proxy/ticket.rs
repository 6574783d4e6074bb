//! The record of a request while it runs. Filed when it is dropped, on every way out: an early return, a failure, a client that left.

use std::rc::Rc;
use std::time::Instant;

use super::core::{Core, unix_us};
use crate::error::Kind;
use crate::metrics::names::Counter;
use crate::record::entry::{Outcome, Record, Short};

pub struct Ticket {
    core: Rc<Core>,
    started: Instant,
    record: Record,
}

impl Ticket {
    /// Starts the clock: the head of a request has arrived.
    pub fn new(core: &Rc<Core>, request_id: &str) -> Ticket {
        core.metrics.inc(Counter::Requests);
        let record = Record {
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
        };
        Ticket { core: core.clone(), started: Instant::now(), record }
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
        self.core.ring.push(self.record);
    }
}
