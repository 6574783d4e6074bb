//! Sends events to Langfuse in batches, one at a time. While a batch is retried, the queue behind
//! it fills, and then records are lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{HeaderMap, StatusCode, Uri};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::config::boot::observe;
use crate::control_plane::http::client::Client;
use crate::control_plane::sinks::langfuse::event::{TraceEvents, events};
use crate::control_plane::sinks::queue_budget::{Job, Losses};

/// Requests of one batch.
const REQUESTS: usize = 50;
/// Bytes of one batch. Langfuse accepts 3.5 MB.
const BYTES: usize = 2_500_000;
/// How long a response may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a batch is sent, and the first pause between; each pause is twice the one before.
const MAX_ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Bytes of a response that are logged.
const SHOWN: usize = 500;

pub(super) struct Sender {
    client: Client,
    uri: Uri,
    headers: HeaderMap,
    flush: Duration,
    debug: bool,
    /// Bounds a body, in bytes.
    most: usize,
    losses: Losses,
    pending: Arc<AtomicU64>,
    /// Whether the last batch could not be delivered.
    down: bool,
}

/// The result of sending a batch.
#[derive(Debug, PartialEq, Eq)]
enum Delivery {
    /// The batch was accepted, save these events.
    Delivered(Vec<String>),
    /// Another attempt may succeed. The text says what failed.
    Retry(String),
    /// The batch is lost, for this reason. The text says what failed.
    Lost(&'static str, String),
}

/// Langfuse's response to a batch.
#[derive(Deserialize)]
struct IngestionResponse {
    #[serde(default)]
    errors: Vec<Refusal>,
    // Its presence shows that Langfuse responded.
    #[serde(rename = "successes")]
    _successes: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Refusal {
    id: String,
    #[serde(default)]
    status: u16,
    #[serde(default)]
    message: Option<String>,
}

/// The body of a batch.
#[derive(Default)]
struct Batch {
    body: Vec<u8>,
    /// The event ids of each request.
    ids: Vec<[String; 2]>,
}

impl Sender {
    pub(super) fn new(
        settings: &observe::Langfuse,
        client: Client,
        most: usize,
        losses: Losses,
        pending: Arc<AtomicU64>,
    ) -> Result<Sender, String> {
        let uri = format!("{}/api/public/ingestion", settings.host.trim_end_matches('/'));
        let uri = uri.parse::<Uri>().map_err(|_| format!("LANGFUSE_HOST `{}` makes no address", settings.host))?;
        let public = settings.public_key.as_deref().unwrap_or_default();
        let secret = settings.secret_key.as_deref().unwrap_or_default();
        let mut key = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(format!("{public}:{secret}"))))
            .map_err(|_| "LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY make no header".to_owned())?;
        key.set_sensitive(true);
        let headers = HeaderMap::from_iter([(AUTHORIZATION, key)]);
        let (flush, debug) = (settings.flush, settings.debug);
        Ok(Sender { client, uri, headers, flush, debug, most, losses, pending, down: false })
    }

    /// Runs until all senders are dropped and the last batch was sent.
    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = jobs.recv().await {
            let some = self.gather(first, &mut jobs).await;
            let (count, most) = (some.len() as u64, self.most);
            // Reading and folding takes too much time for the loop.
            match spawn_blocking(move || batches(&some, most)).await {
                Ok(batches) => {
                    for batch in batches {
                        self.deliver(batch).await;
                    }
                }
                Err(_) => self.lost("internal", count),
            }
        }
    }

    /// Returns the records of one interval, as far as they fit into a batch.
    async fn gather(&self, first: Job, jobs: &mut mpsc::Receiver<Job>) -> Vec<Job> {
        let until = Instant::now() + self.flush;
        let mut some = vec![first];
        while some.len() < REQUESTS {
            match timeout_at(until, jobs.recv()).await {
                Ok(Some(job)) => some.push(job),
                Ok(None) | Err(_) => break,
            }
        }
        some
    }

    async fn deliver(&mut self, batch: Batch) {
        let count = batch.ids.len() as u64;
        // The attempts share it.
        let body = Bytes::from(batch.body);
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=MAX_ATTEMPTS {
            let (reason, reason_text) = match self.send(&body).await {
                Delivery::Delivered(refused) => return self.on_delivered(&batch.ids, &refused),
                Delivery::Retry(_) if attempt < MAX_ATTEMPTS => {
                    sleep(pause).await;
                    pause *= 2;
                    continue;
                }
                Delivery::Retry(reason_text) => ("unreachable", reason_text),
                Delivery::Lost(reason, reason_text) => (reason, reason_text),
            };
            if !std::mem::replace(&mut self.down, true) {
                tracing::warn!("gateway: LANGFUSE_HOST does not accept records, and they are lost: {reason_text}");
            }
            return self.lost(reason, count);
        }
    }

    async fn send(&self, body: &Bytes) -> Delivery {
        let call = self.client.post(self.uri.clone(), self.headers.clone(), body.clone());
        match timeout(REQUEST_TIMEOUT, call).await {
            Ok(Ok((status, answer))) => {
                if self.debug {
                    let shown = String::from_utf8_lossy(&answer[..answer.len().min(SHOWN)]);
                    tracing::info!(bytes = body.len(), status = status.as_u16(), "langfuse: a batch was sent: {shown}");
                }
                interpret(status, &answer)
            }
            Ok(Err(reason_text)) => Delivery::Retry(reason_text),
            Err(_) => Delivery::Retry(format!("no answer within {} s", REQUEST_TIMEOUT.as_secs())),
        }
    }

    fn on_delivered(&mut self, ids: &[[String; 2]], refused: &[String]) {
        if std::mem::take(&mut self.down) {
            tracing::info!("gateway: LANGFUSE_HOST accepts records again");
        }
        let hit = ids.iter().filter(|ids| ids.iter().any(|id| refused.contains(id))).count() as u64;
        let passed = ids.len() as u64 - hit;
        self.losses.passed(passed);
        self.pending.fetch_sub(passed, Ordering::Relaxed);
        self.lost("rejected", hit);
    }

    fn lost(&mut self, reason: &str, count: u64) {
        self.losses.lost(reason, count);
        self.pending.fetch_sub(count, Ordering::Relaxed);
    }
}

/// Interprets a response.
fn interpret(status: StatusCode, answer: &[u8]) -> Delivery {
    match status.as_u16() {
        408 | 429 | 500.. => return Delivery::Retry(format!("status {}", status.as_u16())),
        200..=299 => {}
        status => return Delivery::Lost("refused", format!("status {status}; are the keys and the address right?")),
    }
    let Ok(read) = serde_json::from_slice::<IngestionResponse>(answer) else {
        return Delivery::Lost("answer", "the answer is not Langfuse's; is the address right?".to_owned());
    };
    if let Some(first) = read.errors.first() {
        let message = first.message.as_deref().unwrap_or_default();
        tracing::warn!(status = first.status, events = read.errors.len(), "langfuse: events were rejected: {message}");
    }
    Delivery::Delivered(read.errors.into_iter().map(|error| error.id).collect())
}

/// Makes the bodies of requests to Langfuse. Each is within the limit if each record alone is.
fn batches(jobs: &[Job], most: usize) -> Vec<Batch> {
    let mut batches = Vec::new();
    let mut open = Batch::default();
    for job in jobs {
        let TraceEvents { json, ids } = events(&job.record, &job.directory, most.min(BYTES / 8));
        if !open.ids.is_empty() && open.body.len() + json.len() > BYTES {
            batches.push(std::mem::take(&mut open));
        }
        open.body.extend_from_slice(if open.ids.is_empty() { b"{\"batch\":[" } else { b"," });
        open.body.extend_from_slice(&json);
        open.ids.push(ids);
    }
    batches.push(open);
    for batch in &mut batches {
        batch.body.extend_from_slice(b"]}");
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_plane::sinks::queue_budget::QueueBudget;
    use crate::control_plane::sinks::tests::{complete_record, directory};

    #[test]
    fn answers() {
        let later = |status: u16| Delivery::Retry(format!("status {status}"));
        let on_delivered = |ids: &[&str]| Delivery::Delivered(ids.iter().map(|id| id.to_string()).collect());
        let rows = [
            (207, r#"{"successes":[{"id":"a","status":201}],"errors":[]}"#, on_delivered(&[])),
            (
                207,
                r#"{"successes":[],"errors":[{"id":"a","status":400,"message":"no","error":{}},{"id":"b"}]}"#,
                on_delivered(&["a", "b"]),
            ),
            (200, r#"{"successes":[]}"#, on_delivered(&[])),
            (429, "", later(429)),
            (500, "{}", later(500)),
            (503, "<html>", later(503)),
        ];
        for (status, answer, expected) in rows {
            assert_eq!(interpret(StatusCode::from_u16(status).unwrap(), answer.as_bytes()), expected);
        }
        for (status, answer, reason) in
            [(401, "", "refused"), (404, "{}", "refused"), (200, "<html>", "answer"), (200, "{}", "answer")]
        {
            let delivery = interpret(StatusCode::from_u16(status).unwrap(), answer.as_bytes());
            assert!(matches!(delivery, Delivery::Lost(found, _) if found == reason), "{status} {answer}: {delivery:?}");
        }
    }

    #[test]
    fn batches_fit() {
        let budget = QueueBudget::new(1 << 30);
        let text = format!(r#"{{"messages":[{{"role":"user","content":"{}"}}]}}"#, "x".repeat(60_000));
        let record = Arc::new(complete_record(&text, "{}"));
        let jobs: Vec<Job> = (0..100).map(|_| budget.job(&record, &directory()).unwrap()).collect();
        let batches = batches(&jobs, 1 << 20);
        assert!((3..10).contains(&batches.len()));
        assert_eq!(batches.iter().map(|batch| batch.ids.len()).sum::<usize>(), 100);
        for batch in batches {
            assert!(batch.body.len() <= BYTES + 2);
            let read: serde_json::Value = serde_json::from_slice(&batch.body).unwrap();
            assert_eq!(read["batch"].as_array().unwrap().len(), 2 * batch.ids.len());
        }
    }
}
