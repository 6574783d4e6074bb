//! Sends requests to Langfuse: each is a trace with one generation, which is sent when the request
//! has ended.
//!
//! The request's id alone decides whether it is sent ([`is_sampled`]), so that all processes with
//! the same rate decide alike.

mod event;
mod identity;
mod input_output;
mod sender;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::JoinHandle;

use crate::config::boot::Boot;
use crate::control_plane::http::client::Client;
use crate::control_plane::metrics::meter::ControlPlaneMetrics;
use crate::control_plane::records::drain::{Directory, Sink, SinkShutdown};
use crate::control_plane::sinks::queue_budget::{Job, Losses, QueueBudget};
use crate::telemetry::record::{Outcome, Record};
use llm_wire::error::Kind;

/// The label `sink`.
const NAME: &str = "langfuse";
/// Requests that may wait to be sent.
const QUEUE: usize = 1000;

struct Langfuse {
    jobs: mpsc::Sender<Job>,
    budget: QueueBudget,
    losses: Losses,
    rate: f64,
    /// The number of records that are neither passed on nor lost yet.
    pending: Arc<AtomicU64>,
    sender: JoinHandle<()>,
}

/// Starts the sink. `None` if it is off. Must be called in a tokio runtime. An error is an invalid
/// address.
pub(crate) fn start(
    boot: &Boot,
    client: &Client,
    meter: &Arc<ControlPlaneMetrics>,
) -> Result<Option<Box<dyn Sink>>, String> {
    let settings = &boot.observe.langfuse;
    if !settings.enabled {
        return Ok(None);
    }
    let losses = Losses::new(NAME, meter.clone());
    let pending: Arc<AtomicU64> = Arc::default();
    let most = boot.observe.jsonl.body_bytes;
    let sender = sender::Sender::new(settings, client.clone(), most, losses.clone(), pending.clone())?;
    let (jobs, queue) = mpsc::channel(QUEUE);
    let sender = tokio::spawn(sender.run(queue));
    let budget = QueueBudget::new(boot.observe.record_buffer_bytes);
    Ok(Some(Box::new(Langfuse { jobs, budget, losses, rate: settings.sample_rate, pending, sender })))
}

impl Sink for Langfuse {
    fn is_enabled(&self) -> bool {
        self.rate > 0.0
    }

    fn record(&mut self, record: &Arc<Record>, directory: &Directory) {
        if !is_of_a_model(record) || !is_sampled(record.request_id.as_str(), self.rate) {
            return;
        }
        let Some(job) = self.budget.job(record, directory) else { return self.losses.lost("full", 1) };
        match self.jobs.try_send(job) {
            Ok(()) => {
                self.pending.fetch_add(1, Ordering::Relaxed);
            }
            Err(TrySendError::Full(_)) => self.losses.lost("full", 1),
            Err(TrySendError::Closed(_)) => self.losses.lost("stopped", 1),
        }
    }

    fn finish(self: Box<Self>) -> SinkShutdown {
        let Langfuse { jobs, losses, pending, sender, .. } = *self;
        drop(jobs);
        Box::pin(async move {
            let mut end = End { losses, pending, sender };
            let _ = (&mut end.sender).await;
        })
    }
}

/// Counts what could not be sent in time.
struct End {
    losses: Losses,
    pending: Arc<AtomicU64>,
    sender: JoinHandle<()>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.sender.abort();
        self.losses.lost("shutdown", self.pending.load(Ordering::Relaxed));
    }
}

/// Returns whether a model was involved. Counts of tokens are no generations, and a client without
/// a key of this gateway must not write into a paid project.
fn is_of_a_model(record: &Record) -> bool {
    let counts = ["/v1/messages/count_tokens", "/v1/responses/input_tokens"].contains(&record.endpoint);
    record.client_format.is_some() && !counts && record.outcome != Outcome::Failed(Kind::Auth)
}

/// Returns whether a request is in the share of `rate`.
fn is_sampled(request_id: &str, rate: f64) -> bool {
    let hash = Sha256::digest(request_id.as_bytes());
    let point = hash.iter().take(8).fold(0u64, |n, byte| n << 8 | u64::from(*byte));
    // 53 bits, which a float holds exactly: never 1.
    ((point >> 11) as f64) / ((1u64 << 53) as f64) < rate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sampling_is_stable_and_nested() {
        for n in 0..100 {
            let id = format!("id-{n}");
            assert!(is_sampled(&id, 1.0) && !is_sampled(&id, 0.0));
        }
        let sampled = |rate| -> Vec<u32> { (0..10_000).filter(|n| is_sampled(&format!("id-{n}"), rate)).collect() };
        let (tenth, half) = (sampled(0.1), sampled(0.5));
        assert!((900..1100).contains(&tenth.len()) && (4800..5200).contains(&half.len()));
        // A larger share has all of a smaller one.
        assert!(tenth.iter().all(|n| half.contains(n)));
    }
}
