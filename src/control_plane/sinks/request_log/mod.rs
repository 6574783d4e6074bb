//! The sink of the tables `request_logs` and `error_logs`.
//!
//! Rows are made when the rings are drained, wait in a queue that is bounded in rows and bytes, and
//! are written in batches by a task for each table. Rows that find the queue full, exceed the rate,
//! or meet a store that can't be written are counted as lost.

mod rate;
mod row;
mod shorten;
mod trace;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep, timeout, timeout_at};

use crate::control_plane::metrics::meter::ControlPlaneMetrics;
use crate::control_plane::records::drain::{Directory, Sink};
use crate::control_plane::store::logs::{ErrorRow, RequestRow, Row, Table, Value, Which};
use crate::control_plane::store::{Error, Store};
use crate::shared::ProcessState;
use crate::telemetry::record::Record;
use rate::Rate;

/// Rows that may wait, of requests and of failures.
const MAX_ROWS: [usize; 2] = [1000, 500];
/// Bytes of rows that may wait, for each table.
const MAX_BYTES: usize = 32 << 20;
/// Rows of one batch, which also ends after [`FLUSH_INTERVAL`].
const BATCH: usize = 50;
const FLUSH_INTERVAL: Duration = Duration::from_secs(2);
/// How long the store may take for a batch.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the last batches may take at the end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// How often old rows are removed, and how many at once.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3600);
const SWEEP_ROWS: i64 = 2000;

/// The names of the sinks in metrics.
const NAMES: [&str; 2] = ["request_log", "error_log"];

/// The sink of the tables `request_logs` and `error_logs`.
pub(crate) struct Log {
    requests: Queue,
    errors: Queue,
    bodies: bool,
    started: Instant,
    /// Requests that were sampled out since the last count.
    sampled_out: u64,
}

/// The tasks that write.
pub(crate) struct Writers(JoinSet<()>);

/// Makes the sink and its tasks. No sink if nothing is to be written. Must be called in a tokio
/// runtime.
pub(crate) fn start(
    shared: &ProcessState,
    store: &Arc<dyn Store>,
    meter: &Arc<ControlPlaneMetrics>,
) -> (Option<Log>, Writers) {
    let settings = &shared.boot.observe.request_log;
    let mut writers = Writers(JoinSet::new());
    if !settings.enabled {
        return (None, writers);
    }
    if store.tables().is_none() {
        tracing::info!(
            "gateway: no rows of requests are kept (REQUEST_LOG_ENABLED): a configuration file has no tables for them"
        );
        return (None, writers);
    }
    let mut queue = |at: usize, table: &'static Table| {
        let (sender, receiver) = mpsc::channel(MAX_ROWS[at]);
        let bytes = Arc::new(AtomicUsize::new(0));
        let rate = Rate::new(settings.per_second);
        let writer = Writer { name: NAMES[at], table, store: store.clone(), meter: meter.clone(), failing: false };
        writers.0.spawn(writer.run(receiver, bytes.clone()));
        Queue { name: NAMES[at], sender, bytes, rate, meter: meter.clone() }
    };
    let requests = queue(0, RequestRow::TABLE);
    let errors = queue(1, ErrorRow::TABLE);
    if let Some(retention) = settings.retention {
        // The task ends with the runtime.
        tokio::spawn(sweep(store.clone(), retention));
    }
    (Some(Log { requests, errors, bodies: settings.bodies, started: Instant::now(), sampled_out: 0 }), writers)
}

impl Sink for Log {
    fn is_enabled(&self) -> bool {
        true
    }

    fn record(&mut self, record: &Arc<Record>, directory: &Directory) {
        if !row::is_logged(record) {
            return;
        }
        let second = self.started.elapsed().as_secs();
        let failed = record.status >= 400 || row::category(record).is_some();
        if record.sampled_out && !failed {
            self.sampled_out += 1;
            return;
        }
        self.requests.push(second, failed, || row::request(record, directory, self.bodies).values());
        // Failed attempts may come before a successful one.
        if failed || record.attempts > 1 {
            for error in row::errors(record, directory, self.bodies) {
                self.errors.push(second, true, || error.values());
            }
        }
    }

    fn flush(&mut self) {
        match std::mem::take(&mut self.sampled_out) {
            0 => {}
            n => self.requests.meter.lost(self.requests.name, "rate", n),
        }
    }
}

/// The queue of one table.
struct Queue {
    name: &'static str,
    sender: Sender<Waiting>,
    /// Bytes of the rows in it.
    bytes: Arc<AtomicUsize>,
    rate: Rate,
    meter: Arc<ControlPlaneMetrics>,
}

struct Waiting {
    row: Vec<Value>,
    bytes: usize,
}

impl Queue {
    /// Queues a row, which is only made if there is room for it.
    fn push(&mut self, second: u64, failed: bool, row: impl FnOnce() -> Vec<Value>) {
        if !self.rate.allows(second, failed) {
            return self.meter.lost(self.name, "rate", 1);
        }
        let Ok(place) = self.sender.try_reserve() else { return self.meter.lost(self.name, "full", 1) };
        let row = row();
        let text = |value: &Value| if let Value::Text(text) = value { text.len() } else { 0 };
        let bytes = row.iter().map(|value| size_of::<Value>() + text(value)).sum();
        if self.bytes.load(Ordering::Relaxed) + bytes > MAX_BYTES {
            return self.meter.lost(self.name, "full", 1);
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        place.send(Waiting { row, bytes });
    }
}

struct Writer {
    name: &'static str,
    table: &'static Table,
    store: Arc<dyn Store>,
    meter: Arc<ControlPlaneMetrics>,
    /// Whether the last batch could not be written, and a warning was logged.
    failing: bool,
}

impl Writer {
    /// Runs until the sink is dropped and its rows are written.
    async fn run(mut self, mut queue: Receiver<Waiting>, bytes: Arc<AtomicUsize>) {
        while let Some(first) = queue.recv().await {
            let mut rows = Vec::with_capacity(BATCH);
            let mut take = |waiting: Waiting| {
                bytes.fetch_sub(waiting.bytes, Ordering::Relaxed);
                rows.push(waiting.row);
                rows.len()
            };
            let full = Instant::now() + FLUSH_INTERVAL;
            let mut count = take(first);
            while count < BATCH
                && let Ok(Some(waiting)) = timeout_at(full, queue.recv()).await
            {
                count = take(waiting);
            }
            self.write(rows).await;
        }
    }

    async fn write(&mut self, rows: Vec<Vec<Value>>) {
        let count = rows.len() as u64;
        let Some(tables) = self.store.tables() else { return };
        let failed = match timeout(WRITE_TIMEOUT, tables.insert(self.table, rows)).await {
            Ok(Ok(())) => None,
            Ok(Err(Error { message, .. })) => Some(message),
            Err(_) => Some(format!("no answer within {} s", WRITE_TIMEOUT.as_secs())),
        };
        let name = self.table.name;
        match &failed {
            None => self.meter.passed(self.name, count),
            Some(_) => self.meter.lost(self.name, "store", count),
        }
        match (failed, self.failing) {
            (Some(why), false) => {
                tracing::warn!(
                    "gateway: rows of {name} can't be written and are lost until they can; requests go on: {why}"
                );
                self.failing = true;
            }
            (None, true) => {
                tracing::info!("gateway: rows of {name} are written again");
                self.failing = false;
            }
            _ => {}
        }
    }
}

impl Writers {
    /// Writes what is left after the sink was dropped, within a bounded time.
    pub(crate) async fn finish(&mut self) {
        let all = async { while self.0.join_next().await.is_some() {} };
        if timeout(SHUTDOWN_TIMEOUT, all).await.is_err() {
            tracing::warn!(
                "gateway: the last rows of the request log could not be written within {} s",
                SHUTDOWN_TIMEOUT.as_secs()
            );
        }
    }
}

/// Removes old rows at intervals, a few at a time.
async fn sweep(store: Arc<dyn Store>, retention: Duration) {
    let Some(tables) = store.tables() else { return };
    loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let oldest = i64::try_from(now.saturating_sub(retention).as_micros()).unwrap_or_default();
        for table in [RequestRow::TABLE, ErrorRow::TABLE] {
            let mut total = 0;
            // A store that is unavailable is tried again in an hour.
            while let Ok(count) = tables.remove(table, Which::Before(oldest, SWEEP_ROWS)).await {
                total += count;
                if count == 0 {
                    break;
                }
                sleep(Duration::from_millis(100)).await;
            }
            if total > 0 {
                tracing::info!(
                    "gateway: {total} rows of {} were older than REQUEST_LOG_RETENTION_DAYS and are gone",
                    table.name
                );
            }
        }
        sleep(SWEEP_INTERVAL).await;
    }
}
