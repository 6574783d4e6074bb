//! The sums of budgets at the server of `LIMITS_URL`, for gateways that have stores of their own.
//!
//! With a database the gateways on it share its sums, and nothing of this is used. Otherwise each
//! has an embedded store or a file, and [`SharedSums`] stands before it: everything but the sums
//! goes on to that store.
//!
//! Each claim is one call of a script, so that no other comes in between. After the server has lost
//! its data, or has come back with older data, each gateway sends the last sums that it knows, and
//! the highest count. Lost is what gateways took after their last answer: about a second's worth,
//! since they report that often.
//!
//! A server that is slow may carry out a call after the gateway has given it up. Each reset and
//! top-up therefore has an id, and has an effect once. Claims have numbers: those that were not
//! answered are cancelled before another is made, so that a gateway has one round of them on its
//! way.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use super::redis::{Heard, Operation, Record, Remote, SumsRequest};
use crate::config::boot::{Boot, Environment};
use crate::config::rows::Rows;
use crate::config::snapshot::Problem;
use crate::control_plane::store::{
    self, Answer, AuditFilter, AuditList, Change, Changes, Error, Fault, IdempotencyKey, Store, SumsKey, Write,
    Written, logs, now,
};
use crate::limit::budget::{Claim, Grant};

/// Sums of which it is known what was heard last. Those of the oldest windows are forgotten first.
const MAX_KNOWN: usize = 20_000;
/// How long the server knows a reset or top-up, in milliseconds: as long as the store knows its
/// key.
const WRITE_KEPT_MS: u64 = IdempotencyKey::KEPT_SECS as u64 * 1000;
/// How long the server knows the last claim of a gateway, in milliseconds. One that it carries out
/// later than this after another one counts as spent.
const CLAIM_KEPT_MS: u64 = 3_600_000;
/// How often a reset or top-up is sent that was not answered.
const WRITE_TRIES: usize = 2;

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
    link: Mutex<Link>,
    /// Distinguishes this process.
    id: String,
    /// Counts resets and top-ups.
    writes: AtomicU64,
}

/// The server, and what was heard of it.
struct Link {
    remote: Remote,
    known: HashMap<SumsKey, Heard>,
    /// Claims that were sent and not answered, as cancellations. They are those of one round, since
    /// they are sent before anything else is.
    unanswered: Vec<Request>,
    /// Counts calls, so that no two hashes that this process makes have one id.
    calls: u64,
}

/// A change of the sums of a budget.
#[derive(Clone)]
struct Request {
    key: SumsKey,
    operation: Operation,
    record: Option<Record>,
}

impl Request {
    /// Makes the request that takes this one back. `None` if it need not be.
    fn cancellation(&self) -> Option<Request> {
        match self.operation {
            Operation::Claim(claim) if self.record.is_some() => {
                Some(Request { operation: Operation::Cancel(claim), ..self.clone() })
            }
            _ => None,
        }
    }
}

impl SharedSums {
    fn new(inner: Arc<dyn Store>, url: &str) -> Result<SharedSums, Error> {
        let refused = |why| Error::new(Fault::Unavailable, format!("LIMITS_URL can't be used: {why}"));
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|why| refused(why.to_string()))?;
        let remote = Remote::new(url).map_err(refused)?;
        let link = Mutex::new(Link { remote, known: HashMap::new(), unanswered: Vec::new(), calls: 0 });
        Ok(SharedSums { inner, link, id: hex::encode(random), writes: AtomicU64::new(0) })
    }

    async fn ask(&self, mut requests: Vec<Request>) -> Result<Vec<Grant>, Error> {
        let mut link = self.link.lock().await;
        if !link.unanswered.is_empty() {
            let cancellations = link.unanswered.clone();
            link.call(&self.id, &cancellations).await?;
            link.unanswered.clear();
        }
        // Numbers are in the order in which claims are sent.
        let number = link.calls + 1;
        requests.iter_mut().filter_map(|request| request.record.as_mut()).for_each(|record| record.number = number);
        // The future may be dropped while it waits for the answer.
        link.unanswered = requests.iter().filter_map(Request::cancellation).collect();
        let grants = link.call(&self.id, &requests).await?;
        link.unanswered.clear();
        Ok(grants)
    }

    /// Makes the requests of claims. Those of one budget in one round have a record each.
    fn requests(&self, claims: Vec<(SumsKey, Claim)>) -> Vec<Request> {
        let mut of_key: HashMap<SumsKey, usize> = HashMap::new();
        let request = |(key, claim): (SumsKey, Claim)| {
            let is_read = claim.want == 0 && claim.give == 0 && claim.spent == 0;
            let record = (!is_read).then(|| {
                let at = of_key.entry(key.clone()).or_default();
                let name = format!("{}:node:{}:{at}", name_of(&key), self.id);
                *at += 1;
                Record { key: name, keep_ms: CLAIM_KEPT_MS, number: 0 }
            });
            Request { key, operation: Operation::Claim(claim), record }
        };
        claims.into_iter().map(request).collect()
    }

    /// Makes the request of a reset or top-up. `None` for other changes. Its record has the name of
    /// the budget and not of the window, since a repetition may come in the next one.
    fn request(&self, write: &Write) -> Option<Request> {
        let (key, operation) = operation(&write.change)?;
        let id = match &write.idempotency_key {
            Some(known) => hex::encode(Sha256::digest(format!("{} {}", known.key, known.fingerprint))),
            None => format!("{}-{}", self.id, self.writes.fetch_add(1, Ordering::Relaxed)),
        };
        let name = format!("llm-proxy:budget:{}:{}:write:{id}", hash_of(&key), key.kind);
        Some(Request { key, operation, record: Some(Record { key: name, keep_ms: WRITE_KEPT_MS, number: 0 }) })
    }
}

impl Link {
    async fn call(&mut self, node: &str, requests: &[Request]) -> Result<Vec<Grant>, Error> {
        self.calls += 1;
        let new_id = format!("{node}-{}", self.calls);
        let sums_request = |request: &Request| SumsRequest {
            key: name_of(&request.key),
            keep_ms: kept_ms(&request.key),
            new_id: new_id.clone(),
            heard: self.known.get(&request.key).cloned(),
            record: request.record.clone(),
            operation: request.operation,
        };
        let sums_requests: Vec<_> = requests.iter().map(sums_request).collect();
        let answers = self.remote.change_sums(&sums_requests).await.map_err(|why| {
            let message = format!("the server of LIMITS_URL, which keeps the sums of budgets, did not respond: {why}; check that it runs and that LIMITS_URL is right");
            Error::new(Fault::Unavailable, message)
        })?;
        let mut grants = Vec::with_capacity(answers.len());
        for (request, (grant, heard)) in requests.iter().zip(answers) {
            self.known.insert(request.key.clone(), heard);
            grants.push(grant);
        }
        if self.known.len() > MAX_KNOWN {
            let before = now() - store::SUMS_KEPT_SECS;
            self.known.retain(|key, _| key.starts_at == 0 || key.starts_at > before);
        }
        Ok(grants)
    }
}

/// The name of the sums at the server. A hash of the budget's name, which may have any character.
fn name_of(key: &SumsKey) -> String {
    format!("llm-proxy:budget:{}:{}:{}", hash_of(key), key.kind, key.starts_at)
}

fn hash_of(key: &SumsKey) -> String {
    hex::encode(&Sha256::digest(key.name.as_bytes())[..16])
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

    /// A change of sums is written to the audit log of the inner store first. A repetition goes to
    /// the server as well, which the first one may not have reached; if it has, it changes nothing.
    fn write_all(&self, writes: Vec<Write>) -> Answer<'_, Vec<Written>> {
        Box::pin(async move {
            let requests: Vec<_> = writes.iter().filter_map(|write| self.request(write)).collect();
            let written = self.inner.write_all(writes).await?;
            let mut tries = if requests.is_empty() { 0 } else { WRITE_TRIES };
            while tries > 0 {
                tries -= 1;
                match self.ask(requests.clone()).await {
                    Ok(_) => break,
                    Err(_) if tries > 0 => {}
                    Err(error) => return Err(unknown_change(&error)),
                }
            }
            Ok(written)
        })
    }

    fn audit_log(&self, filter: AuditFilter, limit: u32) -> Answer<'_, AuditList> {
        self.inner.audit_log(filter, limit)
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
        Box::pin(self.ask(self.requests(claims)))
    }

    fn tables(&self) -> Option<&dyn logs::Tables> {
        self.inner.tables()
    }
}

fn unknown_change(error: &Error) -> Error {
    let message = format!(
        "{}; whether the budget was changed is not known: look at it before you change it again, or repeat the request with the same Idempotency-Key, which changes it once",
        error.message
    );
    Error::new(Fault::Unavailable, message)
}

fn operation(change: &Change) -> Option<(SumsKey, Operation)> {
    match change {
        Change::ResetBudget { key, .. } => Some((key.clone(), Operation::Reset)),
        Change::TopUpBudget { key, units, .. } => Some((key.clone(), Operation::TopUp(*units))),
        _ => None,
    }
}
