//! The sink of the table `spend_days`: what each request used and cost, summed by day.
//!
//! The thread of the records sums up what it drains; a task adds these sums to those of the store
//! every second. Sums that the store does not take wait, and go with the next ones: their number is
//! bounded by that of the keys, models and providers. A crash loses what was not yet added.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, sleep_until, timeout};

use crate::config::snapshot::Credential;
use crate::control_plane::metrics::meter::ControlPlaneMetrics;
use crate::control_plane::records::drain::{Directory, Sink};
use crate::control_plane::store::logs::spend::{DAY, GROUP_SEPARATOR, TierOfPrices};
use crate::control_plane::store::logs::{SpendKey, SpendSums};
use crate::control_plane::store::{Store, now};
use crate::shared::ProcessState;
use crate::shared::labels;
use crate::telemetry::record::{AttemptUsage, Outcome, Record, Short, Tokens};
use llm_wire::error::Kind;

/// The name of the sink in metrics.
const NAME: &str = "spend";
/// How often sums are added to those of the store.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// How long the store may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the last sums may take at the end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// Sums that may wait for the store. Requests beyond them are counted as lost.
const MAX_SUMS: usize = 20_000;
/// Batches that may wait for the task that writes.
const MAX_BATCHES: usize = 64;
/// Names of models, as clients wrote them, that have sums of their own. The rest share `other`,
/// since clients may invent any number.
const MAX_MODELS: usize = 2000;
const OTHER: &str = "other";
/// How long sums are kept.
const KEPT_DAYS: i64 = 800;
/// How often old ones are removed.
const SWEEP_INTERVAL: Duration = Duration::from_secs(6 * 3600);

type Sums = HashMap<SpendKey, SpendSums, ahash::RandomState>;

/// What tells requests apart while they are summed up.
#[derive(PartialEq, Eq, Hash)]
struct Ids {
    day: i64,
    credential: i64,
    provider: i64,
    model: Short<96>,
    sent_model: Short<96>,
    tags: Option<Box<str>>,
    tier: &'static str,
    priced_above: u64,
}

/// The sink of `spend_days`, which sums requests before it writes them.
pub(crate) struct Spend {
    shared: Arc<ProcessState>,
    meter: Arc<ControlPlaneMetrics>,
    sums: HashMap<Ids, (SpendKey, SpendSums), ahash::RandomState>,
    models: HashSet<Short<96>, ahash::RandomState>,
    batches: Sender<Sums>,
}

/// The task that writes.
pub(crate) struct Writer(Option<JoinHandle<()>>);

/// Makes the sink and its task. No sink without tables. Must be called in a tokio runtime.
pub(crate) fn start(
    shared: &Arc<ProcessState>,
    store: &Arc<dyn Store>,
    meter: &Arc<ControlPlaneMetrics>,
) -> (Option<Spend>, Writer) {
    if store.tables().is_none() {
        return (None, Writer(None));
    }
    let (sender, receiver) = mpsc::channel(MAX_BATCHES);
    let spend = Spend {
        shared: shared.clone(),
        meter: meter.clone(),
        sums: HashMap::default(),
        models: HashSet::default(),
        batches: sender,
    };
    let writing = Writing { store: store.clone(), meter: meter.clone(), sums: Sums::default(), is_failing: false };
    // The task of old days ends with the runtime.
    tokio::spawn(sweep(store.clone()));
    (Some(spend), Writer(Some(tokio::spawn(writing.run(receiver)))))
}

impl Sink for Spend {
    fn is_enabled(&self) -> bool {
        true
    }

    fn record(&mut self, record: &Arc<Record>, directory: &Directory) {
        // As in the request log: only requests for models, with a valid key.
        if record.client_format.is_none() || record.outcome == Outcome::Failed(Kind::Auth) {
            return;
        }
        let ids = Ids {
            day: record.started_us as i64 / (DAY * 1_000_000) * DAY,
            credential: record.credential,
            provider: record.provider,
            model: self.model(record),
            sent_model: if record.provider == 0 { Short::EMPTY } else { record.sent_model },
            tags: record.tags.clone(),
            tier: record.tier,
            priced_above: record.priced_above,
        };
        for other in record.other_usage.iter().flatten() {
            let AttemptUsage { provider, sent_model, tier, priced_above, .. } = *other;
            let ids = Ids { provider, sent_model, tier, priced_above, tags: ids.tags.clone(), ..ids };
            self.add(ids, record, &sums_of(&other.tokens, other.cost), directory);
        }
        self.add(ids, record, &sums(record), directory);
    }

    fn flush(&mut self) {
        if self.sums.is_empty() {
            return;
        }
        // A task that is behind gets them later, together with the next ones.
        let Ok(place) = self.batches.try_reserve() else { return };
        let mut batch = Sums::default();
        for (_, (key, sums)) in self.sums.drain() {
            batch.entry(key).or_default().add(&sums);
        }
        place.send(batch);
    }
}

impl Spend {
    /// Returns the model as the client named it, if a provider got the request and it is one of a
    /// bounded number of names.
    fn model(&mut self, record: &Record) -> Short<96> {
        if record.provider == 0 {
            return Short::EMPTY;
        }
        if self.models.contains(&record.model) {
            return record.model;
        }
        let has_answer = (200..300).contains(&record.status);
        if has_answer && self.models.len() < MAX_MODELS {
            self.models.insert(record.model);
            return record.model;
        }
        Short::new(OTHER)
    }

    fn add(&mut self, ids: Ids, record: &Record, sums: &SpendSums, directory: &Directory) {
        if let Some((_, known)) = self.sums.get_mut(&ids) {
            known.add(sums);
        } else if self.sums.len() < MAX_SUMS {
            let key = self.key(&ids, record, directory);
            self.sums.insert(ids, (key, *sums));
        } else {
            self.meter.lost(NAME, "full", 1);
        }
    }

    fn key(&self, ids: &Ids, record: &Record, directory: &Directory) -> SpendKey {
        let (credential, group_path) = match ids.credential {
            0 => (Credential::ANONYMOUS.to_owned(), String::new()),
            id => directory.owner(id, GROUP_SEPARATOR),
        };
        let provider = directory.provider(ids.provider).map_or_else(String::new, |provider| provider.key.to_string());
        let upstream_model = match ids.provider {
            0 => String::new(),
            _ => {
                let has_answered = (200..300).contains(&record.status) && !ids.sent_model.is_empty();
                let name = if ids.sent_model.is_empty() { &record.model } else { &ids.sent_model };
                labels::of_model(name, has_answered, &self.shared.model_labels).to_owned()
            }
        };
        SpendKey {
            day: ids.day,
            credential,
            group_path,
            tags: ids.tags.as_deref().unwrap_or_default().to_owned(),
            model: ids.model.as_str().to_owned(),
            provider,
            upstream_model,
            tier: TierOfPrices { tier: ids.tier, above: ids.priced_above }.to_string(),
        }
    }
}

/// Returns the sums of one request.
fn sums(record: &Record) -> SpendSums {
    let has_failed = record.status >= 400 || record.outcome != Outcome::Complete;
    let of_answer = sums_of(&record.tokens.unwrap_or_default(), record.cost);
    SpendSums { requests: 1, errors: i64::from(has_failed), ..of_answer }
}

/// Returns the sums of what an attempt has used, which is no request of its own.
fn sums_of(tokens: &Tokens, cost: Option<u64>) -> SpendSums {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    SpendSums {
        requests: 0,
        errors: 0,
        unpriced: i64::from(cost.is_none() && tokens.total() > 0),
        input_tokens: number(tokens.input),
        output_tokens: number(tokens.output),
        cache_read_tokens: number(tokens.cache_read),
        cache_write_5m_tokens: number(tokens.cache_write_5m),
        cache_write_1h_tokens: number(tokens.cache_write_1h),
        reasoning_tokens: number(tokens.reasoning),
        audio_input_tokens: number(tokens.audio_input),
        audio_output_tokens: number(tokens.audio_output),
        image_input_tokens: number(tokens.image_input),
        image_output_tokens: number(tokens.image_output),
        searches: number(tokens.server_tools),
        cost: number(cost.unwrap_or_default()),
    }
}

struct Writing {
    store: Arc<dyn Store>,
    meter: Arc<ControlPlaneMetrics>,
    /// What the store has not got yet.
    sums: Sums,
    /// Whether the store did not take the last ones, and a warning was logged.
    is_failing: bool,
}

impl Writing {
    /// Runs until the sink is dropped and its sums are written.
    async fn run(mut self, mut batches: Receiver<Sums>) {
        while let Some(first) = batches.recv().await {
            self.take(first);
            let due = Instant::now() + WRITE_INTERVAL;
            loop {
                tokio::select! {
                    () = sleep_until(due) => break,
                    batch = batches.recv() => match batch {
                        Some(batch) => self.take(batch),
                        None => break,
                    },
                }
            }
            self.write().await;
        }
        if !self.sums.is_empty() {
            self.write().await;
        }
    }

    fn take(&mut self, batch: Sums) {
        for (key, sums) in batch {
            if self.sums.len() >= MAX_SUMS && !self.sums.contains_key(&key) {
                self.meter.lost(NAME, "full", sums.requests.unsigned_abs());
            } else {
                self.sums.entry(key).or_default().add(&sums);
            }
        }
    }

    async fn write(&mut self) {
        let Some(tables) = self.store.tables() else { return };
        let rows: Vec<_> = self.sums.iter().map(|(key, sums)| (key.clone(), *sums)).collect();
        let requests = rows.iter().map(|(_, sums)| sums.requests.unsigned_abs()).sum();
        let failed = match timeout(WRITE_TIMEOUT, tables.add_spend(rows)).await {
            Ok(Ok(())) => {
                self.sums.clear();
                self.meter.passed(NAME, requests);
                None
            }
            Ok(Err(error)) => Some(error.message),
            Err(_) => {
                // They may have been added: twice would be wrong, and is not repaired by what
                // follows.
                self.sums.clear();
                self.meter.lost(NAME, "store", requests);
                Some(format!("no answer within {} s", WRITE_TIMEOUT.as_secs()))
            }
        };
        match (failed, self.is_failing) {
            (Some(why), false) => {
                tracing::warn!("gateway: what was spent can't be added to the sums of the store now: {why}");
                self.is_failing = true;
            }
            (None, true) => {
                tracing::info!("gateway: what was spent is added to the sums of the store again");
                self.is_failing = false;
            }
            _ => {}
        }
    }
}

impl Writer {
    /// Writes what is left after the sink was dropped, within a bounded time.
    pub(crate) async fn finish(&mut self) {
        let Some(task) = self.0.take() else { return };
        if timeout(SHUTDOWN_TIMEOUT, task).await.is_err() {
            let seconds = SHUTDOWN_TIMEOUT.as_secs();
            tracing::warn!("gateway: the last sums of what was spent could not be written within {seconds} s");
        }
    }
}

/// Removes old days at intervals.
async fn sweep(store: Arc<dyn Store>) {
    let Some(tables) = store.tables() else { return };
    loop {
        let first = (now() / DAY - KEPT_DAYS) * DAY;
        // A store that is unavailable is tried again later.
        if let Ok(count) = tables.forget_spend(first).await
            && count > 0
        {
            tracing::info!("gateway: {count} sums of what was spent were older than {KEPT_DAYS} days and are gone");
        }
        tokio::time::sleep(SWEEP_INTERVAL).await;
    }
}
