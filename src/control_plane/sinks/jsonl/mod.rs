//! Writes a file with a line of JSON for each step of each request to a model, in a thread of its
//! own.

mod file;
mod lines;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::thread;

use tokio::sync::oneshot;

use crate::config::boot::Boot;
use crate::control_plane::metrics::meter::ControlPlaneMetrics;
use crate::control_plane::records::drain::{Directory, Sink, SinkShutdown};
use crate::control_plane::sinks::queue_budget::{Job, Losses, QueueBudget};
use crate::telemetry::record::Record;

/// The label `sink`.
const NAME: &str = "jsonl";

struct Jsonl {
    jobs: SyncSender<Job>,
    budget: QueueBudget,
    losses: Losses,
    /// Set when no more records come.
    over: Arc<AtomicBool>,
    /// Signals that the last line is in the file.
    written: oneshot::Receiver<()>,
}

/// Starts the sink. `None` if it is off. An error means that the thread can't be started; a file
/// that can't be opened is tried again.
pub(crate) fn start(boot: &Boot, meter: &Arc<ControlPlaneMetrics>) -> Result<Option<Box<dyn Sink>>, String> {
    let settings = &boot.observe.jsonl;
    if !settings.enabled {
        return Ok(None);
    }
    let (jobs, queue) = mpsc::sync_channel(settings.buffer);
    let (done, written) = oneshot::channel();
    let losses = Losses::new(NAME, meter.clone());
    let writer = writer::Writer::new(settings.clone(), boot.observe.log_file_mode, losses.clone());
    let over: Arc<AtomicBool> = Arc::default();
    let last = over.clone();
    let run = move || {
        writer.run(&queue, &last);
        // The receiver is gone if this took too long.
        let _ = done.send(());
    };
    let spawned = thread::Builder::new().name(NAME.to_owned()).spawn(run);
    spawned.map_err(|error| format!("the thread of JSONL_LOG_PATH can't be started: {error}"))?;
    let budget = QueueBudget::new(boot.observe.record_buffer_bytes);
    Ok(Some(Box::new(Jsonl { jobs, budget, losses, over, written })))
}

impl Sink for Jsonl {
    fn is_enabled(&self) -> bool {
        true
    }

    fn record(&mut self, record: &Arc<Record>, directory: &Directory) {
        // Requests to the gateway's own endpoints involve no model, and those to the admin
        // interface hold secrets.
        if record.client_format.is_none() {
            return;
        }
        let Some(job) = self.budget.job(record, directory) else { return self.losses.lost("full", 1) };
        match self.jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.losses.lost("full", 1),
            Err(TrySendError::Disconnected(_)) => self.losses.lost("stopped", 1),
        }
    }

    fn finish(self: Box<Self>) -> SinkShutdown {
        let Jsonl { jobs, over, written, .. } = *self;
        over.store(true, Ordering::Release);
        drop(jobs);
        Box::pin(async {
            // An error means that the thread has ended, too.
            let _ = written.await;
        })
    }
}
