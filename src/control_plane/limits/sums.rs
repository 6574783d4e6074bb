//! The sums of budgets at the server of `LIMITS_URL`, for gateways that have stores of their own.
//!
//! With a database the gateways on it share its sums, and nothing of this is used. Otherwise each
//! has an embedded store or a file, and [`SharedSums`] stands before it: everything but the sums goes
//! on to that store.
//!
//! Each claim is one call of a script, so that no other comes in between. After the server has
//! lost its data, each gateway sends the last sums that it knows, and the highest count. Lost is what
//! gateways took after their last answer: about a second's worth, since they report that often.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};

use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use super::redis::{Heard, Operation, Remote, SumsRequest};
use crate::config::boot::{Boot, Environment};
use crate::config::rows::Rows;
use crate::config::snapshot::Problem;
use crate::control_plane::store::{
    self, Answer, AuditRow, Change, Changes, Error, Fault, Store, SumsKey, Write, Written, logs, now,
};
use crate::limit::budget::{Claim, Grant};

/// Sums of which it is known what was heard last. Those of the oldest windows are forgotten first.
const MAX_KNOWN: usize = 20_000;

/// Opens the store that `boot` names, with the sums of budgets where gateways share them.
pub fn open_store(boot: &Boot, environment: &Environment) -> Result<Arc<dyn Store>, Error> {
    let inner = store::open(boot, environment)?;
    match (&boot.limits_url, &boot.db_url, &boot.config_file) {
        // A database is shared already.
        (None, ..) | (Some(_), Some(_), None) => Ok(inner),
        (Some(url), ..) => Ok(Arc::new(SharedSums::new(inner, url)?)),
    }
}

/// A store whose sums of budgets are at the server of `LIMITS_URL`.
struct SharedSums {
    inner: Arc<dyn Store>,
    remote: Mutex<Remote>,
    known: SyncMutex<HashMap<SumsKey, Heard>>,
    /// Distinguishes this process.
    id: String,
    /// Counts calls, so that no two hashes that this process makes have one id.
    calls: AtomicU64,
}

impl SharedSums {
    fn new(inner: Arc<dyn Store>, url: &str) -> Result<SharedSums, Error> {
        let refused = |why| Error::new(Fault::Unavailable, format!("LIMITS_URL can't be used: {why}"));
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|why| refused(why.to_string()))?;
        let remote = Mutex::new(Remote::new(url).map_err(refused)?);
        Ok(SharedSums { inner, remote, known: SyncMutex::default(), id: hex::encode(random), calls: AtomicU64::new(0) })
    }

    async fn ask(&self, asked: Vec<(SumsKey, Operation)>) -> Result<Vec<Grant>, Error> {
        let new_id = format!("{}-{}", self.id, self.calls.fetch_add(1, Ordering::Relaxed));
        let requests: Vec<_> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let request = |(key, operation): &(SumsKey, Operation)| SumsRequest {
                key: name_of(key),
                keep_ms: kept_ms(key),
                new_id: new_id.clone(),
                heard: known.get(key).cloned(),
                operation: *operation,
            };
            asked.iter().map(request).collect()
        };
        let answered = self.remote.lock().await.change_sums(&requests).await;
        let answers = answered.map_err(|why| {
            let message = format!("the server of LIMITS_URL, which keeps the sums of budgets, did not respond: {why}; check that it runs and that LIMITS_URL is right");
            Error::new(Fault::Unavailable, message)
        })?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut grants = Vec::with_capacity(answers.len());
        for ((key, _), (grant, id)) in asked.into_iter().zip(answers) {
            known.insert(key, Heard { id, sums: grant.sums });
            grants.push(grant);
        }
        if known.len() > MAX_KNOWN {
            let before = now() - store::SUMS_KEPT_SECS;
            known.retain(|key, _| key.starts_at == 0 || key.starts_at > before);
        }
        Ok(grants)
    }
}

/// The name of the sums at the server. A hash of the budget's name, which may have any character.
fn name_of(key: &SumsKey) -> String {
    let hash = Sha256::digest(key.name.as_bytes());
    format!("llm-proxy:budget:{}:{}:{}", hex::encode(&hash[..16]), key.kind, key.starts_at)
}

/// How long the sums of a window are kept after the last change, in milliseconds: two windows and
/// more. 0 is for ever.
fn kept_ms(key: &SumsKey) -> u64 {
    let days = match key.kind.rsplit('/').next() {
        Some("hour") => 2,
        Some("day") => 4,
        Some("week") => 21,
        Some("month") => 70,
        _ => 0,
    };
    days * 86_400_000
}

impl Store for SharedSums {
    fn place(&self) -> String {
        self.inner.place()
    }

    fn version(&self) -> Answer<'_, i64> {
        self.inner.version()
    }

    fn load(&self) -> Answer<'_, Rows> {
        self.inner.load()
    }

    fn changes(&self, since: i64) -> Answer<'_, Changes> {
        self.inner.changes(since)
    }

    fn changed(&self, since: i64) -> Answer<'_, ()> {
        self.inner.changed(since)
    }

    /// A change of sums is written to the audit log of the inner store first, which also knows whether
    /// it is a repetition.
    fn write_all(&self, writes: Vec<Write>) -> Answer<'_, Vec<Written>> {
        Box::pin(async move {
            let operations: Vec<_> = writes.iter().map(|write| operation(&write.change)).collect();
            let written = self.inner.write_all(writes).await?;
            let new = operations.into_iter().zip(&written).filter(|(_, written)| !written.repeated);
            let asked: Vec<_> = new.filter_map(|(operation, _)| operation).collect();
            if !asked.is_empty() {
                self.ask(asked).await?;
            }
            Ok(written)
        })
    }

    fn audit_log(&self, before: Option<i64>, limit: u32) -> Answer<'_, Vec<AuditRow>> {
        self.inner.audit_log(before, limit)
    }

    fn identity(&self) -> Answer<'_, Option<String>> {
        self.inner.identity()
    }

    fn problems(&self) -> Vec<Problem> {
        self.inner.problems()
    }

    fn notices(&self) -> Vec<Problem> {
        self.inner.notices()
    }

    fn claim(&self, claims: Vec<(SumsKey, Claim)>) -> Answer<'_, Vec<Grant>> {
        let asked = claims.into_iter().map(|(key, claim)| (key, Operation::Claim(claim))).collect();
        Box::pin(self.ask(asked))
    }

    fn tables(&self) -> Option<&dyn logs::Tables> {
        self.inner.tables()
    }
}

fn operation(change: &Change) -> Option<(SumsKey, Operation)> {
    match change {
        Change::ResetBudget { key, .. } => Some((key.clone(), Operation::Reset)),
        Change::TopUpBudget { key, units, .. } => Some((key.clone(), Operation::TopUp(*units))),
        _ => None,
    }
}
