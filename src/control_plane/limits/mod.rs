//! Limits across nodes: leases slices of each bucket from a shared store (`LIMITS_URL`), which the
//! workers spend.
//!
//! Nothing of this is on the path of a request: a worker spends what its node holds
//! ([`crate::limit::lease`]), and this refills it to a slice every [`TICK`]. So all nodes together
//! admit, over any time `t`, at most `capacity + rate * t` plus what each may be ahead: a slice (an
//! eighth of the capacity, at least 1) that it held when it began, and half of what the store
//! reported as left, which it may owe and then pays back; or one request's tokens where those are
//! more.
//!
//! A node takes its first slice in advance and reports it with its first call, so that a new
//! credential or node has no gap. While the store does not respond, each node enforces the limits
//! alone, with a warning and a counter.

pub(crate) mod cooldowns;
mod redis;
mod sums;

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval};

use crate::config::snapshot::{KeyHash, Snapshot};
use crate::control_plane::timing::every;
use crate::limit::Bucket;
use crate::metrics::names::Counter;
use crate::shared::ProcessState;
use redis::{Grant, LeaseRequest, Remote};

pub use sums::open_store;

/// How often slices are refilled. A slice of an eighth is spent in 125 ms at the full rate.
const TICK: Duration = Duration::from_millis(25);
/// Buckets of one round. Others wait for the next.
const ROUND_SIZE: usize = 1000;
/// The longest wait before an empty bucket is requested again. It is not requested before it can
/// have something.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// The first and the longest pause between tries of a store that is down. Pauses double.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Renews the leases of shared limits, and shares cooldowns, through Redis.
pub(crate) struct Leases {
    shared: Arc<ProcessState>,
    /// `None` without `LIMITS_URL`.
    store: Option<Store>,
}

struct Store {
    /// `None` during a round, which owns it.
    remote: Option<Remote>,
    url: String,
    entries: Vec<Entry>,
    /// Where the next round begins.
    turn: usize,
    round: JoinSet<Round>,
    tick: Interval,
    outage: Option<Outage>,
}

/// A store that does not respond.
struct Outage {
    message: String,
    pause: Duration,
    until: Instant,
}

/// A shared bucket.
struct Entry {
    key: String,
    bucket: Arc<Bucket>,
    /// Units that were taken in advance, and not yet reported to the store.
    owed: u64,
    /// When it may be requested again.
    due: Instant,
}

/// The result of a round.
pub(crate) struct Round {
    remote: Remote,
    requests: Vec<LeaseRequest>,
    grants: Result<Vec<Grant>, String>,
}

/// What has happened, for [`Leases::take`].
pub(crate) enum Step {
    Tick,
    Ended(Box<Round>),
    /// A round ended without a result, which only a panic can cause.
    Lost,
}

impl Leases {
    /// Makes the part of the control plane for shared limits. An error says what is wrong with
    /// `LIMITS_URL`.
    pub(crate) fn new(shared: Arc<ProcessState>) -> Result<Leases, String> {
        let store = match &shared.boot.limits_url {
            None => None,
            Some(url) => Some(Store::new(url).map_err(|error| format!("LIMITS_URL can't be used: {error}"))?),
        };
        Ok(Leases { shared, store })
    }

    /// Notes that `snapshot` is current. Its unchanged buckets continue as they are.
    pub(crate) fn adopt(&mut self, snapshot: &Snapshot) {
        if let Some(store) = &mut self.store {
            store.adopt(snapshot);
        }
    }

    /// Waits for the next step. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Step {
        let Some(store) = &mut self.store else { return std::future::pending().await };
        tokio::select! {
            Some(ended) = store.round.join_next() => ended.map_or(Step::Lost, |round| Step::Ended(Box::new(round))),
            _ = store.tick.tick(), if store.round.is_empty() => Step::Tick,
        }
    }

    /// Does what a step requires. It does not wait.
    pub(crate) fn take(&mut self, step: Step) {
        let Some(store) = &mut self.store else { return };
        let failed = match step {
            Step::Tick => return store.begin(),
            Step::Ended(round) => store.end(*round),
            Step::Lost => {
                store.remote = Remote::new(&store.url).ok();
                Err("the round ended by a panic".to_owned())
            }
        };
        match failed {
            Ok(renewed) => self.shared.background.add(Counter::LimitLeases, renewed),
            Err(message) => {
                self.shared.background.inc(Counter::LimitStoreFailures);
                store.fail(message);
            }
        }
    }
}

impl Store {
    fn new(url: &str) -> Result<Store, String> {
        let remote = Some(Remote::new(url)?);
        let url = url.to_owned();
        Ok(Store { remote, url, entries: Vec::new(), turn: 0, round: JoinSet::new(), tick: every(TICK), outage: None })
    }

    fn adopt(&mut self, snapshot: &Snapshot) {
        let mut old: HashMap<String, Entry> = self.entries.drain(..).map(|entry| (entry.key.clone(), entry)).collect();
        let credentials = snapshot.credentials_by_id.iter().map(|row| ("", row.hash, &row.limits));
        let groups = snapshot.groups.iter().map(|row| ("group-", Sha256::digest(&*row.name).into(), &row.limits));
        for (kind, hash, limits) in credentials.chain(groups) {
            for (what, bucket) in [("requests", &limits.requests), ("tokens", &limits.tokens)] {
                let Some(bucket) = bucket.as_ref().filter(|bucket| bucket.rate() > 0) else { continue };
                let key = key(&hash, kind, what, bucket);
                let known = old.remove(&key).filter(|entry| Arc::ptr_eq(&entry.bucket, bucket));
                let mut entry =
                    known.unwrap_or_else(|| Entry { key, bucket: bucket.clone(), owed: 0, due: Instant::now() });
                if self.outage.is_none() {
                    entry.lease();
                }
                self.entries.push(entry);
            }
        }
        // Requests that began with the previous snapshot may still hold some of these.
        old.into_values().for_each(|gone| gone.bucket.lease.end());
    }

    /// Begins a round for the buckets that need something.
    fn begin(&mut self) {
        let now = Instant::now();
        if self.outage.as_ref().is_some_and(|outage| now < outage.until) {
            return;
        }
        let Some(mut remote) = self.remote.take() else { return };
        let requests = self.due_requests(now);
        // A round without buckets checks whether a store that was down responds.
        if requests.is_empty() && self.outage.is_none() {
            self.remote = Some(remote);
            return;
        }
        self.round.spawn(async move {
            let grants = remote.renew(&requests).await;
            Round { remote, requests, grants }
        });
    }

    /// Returns the buckets of one round. It begins behind the last of the round before, so that
    /// none waits behind the same others for ever.
    fn due_requests(&mut self, now: Instant) -> Vec<LeaseRequest> {
        let turn = self.turn.min(self.entries.len());
        let (before, behind) = self.entries.split_at_mut(turn);
        let places = behind.iter_mut().chain(before);
        let mut requests = Vec::new();
        for (passed, entry) in (1..).zip(places) {
            requests.extend(if entry.due <= now { entry.lease_request() } else { None });
            if requests.len() == ROUND_SIZE {
                self.turn = (turn + passed) % self.entries.len();
                break;
            }
        }
        requests
    }

    /// Ends a round. Returns how many slices were refilled.
    fn end(&mut self, round: Round) -> Result<u64, String> {
        self.remote = Some(round.remote);
        let grants = round.grants?;
        if self.outage.take().is_some() {
            tracing::info!("gateway: the store of LIMITS_URL responds again, limits are shared");
            self.entries.iter_mut().for_each(Entry::lease);
        }
        let now = Instant::now();
        for (request, grant) in round.requests.iter().zip(&grants) {
            request.bucket.lease.give(grant.units);
            request.bucket.set_remaining(grant.left);
        }
        // Entries may have been added or removed since.
        let mut answered: HashMap<&str, &Grant> =
            round.requests.iter().map(|request| request.key.as_str()).zip(&grants).collect();
        for entry in &mut self.entries {
            if let Some(grant) = answered.remove(entry.key.as_str()) {
                entry.due = now + grant.wait.min(MAX_WAIT);
            }
        }
        Ok(grants.len() as u64)
    }

    /// Logs a failure. The same message is logged once until the store responds again.
    fn fail(&mut self, message: String) {
        let pause = self.outage.as_ref().map_or(PAUSES.0, |outage| (outage.pause * 2).min(PAUSES.1));
        if self.outage.as_ref().is_none_or(|outage| outage.message != message) {
            tracing::warn!(
                "gateway: the store of LIMITS_URL can't be asked, each node keeps its limits for itself: {message}"
            );
        }
        self.outage = Some(Outage { message, pause, until: Instant::now() + pause });
        for entry in &mut self.entries {
            entry.bucket.lease.end();
            entry.owed = 0;
        }
    }
}

impl Entry {
    /// Takes the first slice in advance, if it holds none.
    fn lease(&mut self) {
        if self.bucket.lease.begin() {
            self.owed = self.bucket.lease.slice();
            self.due = Instant::now();
        }
    }

    /// Returns the request of a bucket. `None` if it needs nothing: a slice that is mostly there
    /// can wait.
    fn lease_request(&mut self) -> Option<LeaseRequest> {
        let lease = &self.bucket.lease;
        let missing = lease.missing();
        let requested = if missing * 4 >= lease.slice() { missing } else { 0 };
        let surplus = lease.take_surplus();
        if requested == 0 && surplus == 0 && self.owed == 0 {
            return None;
        }
        let used = signed(std::mem::take(&mut self.owed)) - signed(surplus);
        Some(LeaseRequest { key: self.key.clone(), bucket: self.bucket.clone(), used, requested })
    }
}

/// Returns the name of a bucket in the store. It has the hash of a credential's key or of a group's
/// name, since nodes with stores of their own have other ids for the same row, and the limits, so
/// that a changed limit is a new bucket.
fn key(hash: &KeyHash, kind: &str, what: &str, bucket: &Bucket) -> String {
    let mut key = format!("llm-proxy:{kind}{what}:");
    // Half of the hash distinguishes keys. Writing to a String does not fail.
    hash[..16].iter().for_each(|byte| {
        let _ = write!(key, "{byte:02x}");
    });
    let _ = write!(key, ":{}:{}", bucket.rate(), bucket.burst());
    key
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::Per;

    #[tokio::test]
    async fn everyone_has_a_turn() {
        let mut store = Store::new("redis://127.0.0.1:1").unwrap();
        let now = Instant::now();
        let count = ROUND_SIZE * 5 / 2;
        store.entries = (0..count)
            .map(|n| Entry { key: n.to_string(), bucket: Arc::new(Bucket::new(1, 1, Per::Second)), owed: 0, due: now })
            .collect();
        assert!(store.due_requests(now).is_empty(), "without a lease there is nothing to renew");
        for entry in &store.entries {
            entry.bucket.lease.begin();
            // Nothing is granted meanwhile, so that all need something in every round.
            entry.bucket.lease.charge(1);
        }
        let mut requests_of = HashMap::new();
        for _ in 0..5 {
            let requests = store.due_requests(now);
            assert_eq!(requests.len(), ROUND_SIZE);
            requests.into_iter().for_each(|request| *requests_of.entry(request.key).or_insert(0) += 1);
        }
        assert!(requests_of.len() == count && requests_of.values().all(|times| *times == 2));
        store.entries.truncate(1);
        assert_eq!(store.due_requests(now).len(), 1);
    }
}
