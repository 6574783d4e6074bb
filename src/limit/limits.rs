//! The limits of one credential or group, and what a request holds of them.

use std::sync::Arc;

use super::bucket::{Bucket, Per, Refused, Taken};
use super::running::{Running, Slot};

/// What one credential or group may use. What is `None` is not limited.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Requests in a second.
    pub requests: Option<Arc<Bucket>>,
    /// Tokens in a minute, of prompts and responses together.
    pub tokens: Option<Arc<Bucket>>,
    pub at_once: Option<ConcurrencyLimit>,
}

/// The numbers of a row. `None` is no limit, 0 blocks all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settings {
    /// Requests per second, and the capacity.
    pub requests: Option<(u32, u32)>,
    /// Tokens per minute, which is the capacity too.
    pub tokens: Option<u32>,
    pub at_once: Option<u32>,
}

/// How many requests may run at once.
#[derive(Debug, Clone)]
pub struct ConcurrencyLimit {
    pub most: u32,
    pub running: Arc<Running>,
}

/// The tokens that a request may need, estimated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Need {
    pub prompt: u64,
    /// The most that the answer may have.
    pub output: u64,
}

/// What a request holds while it runs.
///
/// Dropped without having been settled, it gives back all tokens: nothing can have been used then.
#[derive(Debug, Default)]
#[must_use]
pub struct Hold {
    slot: Option<Slot>,
    /// Of the request bucket.
    request: Option<Taken>,
    tokens: Option<(Arc<Bucket>, Taken)>,
    need: Need,
    /// What the same request holds of the limits of other levels.
    others: Vec<Hold>,
}

/// Which limit refused, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Requests(Refused),
    /// `wanted` is what would have been reserved.
    Tokens {
        wanted: u64,
        refused: Refused,
    },
    /// The prompt alone is larger than the bucket.
    Prompt {
        estimate: u64,
    },
    Concurrency {
        most: u32,
    },
}

impl Limits {
    /// Makes limits of these numbers. Buckets of `before` whose numbers are the same are reused
    /// with what they hold, and the count of running requests always is.
    pub fn new(settings: Settings, before: Option<&Limits>) -> Limits {
        let kept = |bucket: Option<&Arc<Bucket>>, rate, burst, per| match bucket {
            Some(bucket) if (bucket.rate(), bucket.burst()) == (rate, burst) => bucket.clone(),
            _ => Arc::new(Bucket::new(rate, burst, per)),
        };
        let requests = before.and_then(|before| before.requests.as_ref());
        let tokens = before.and_then(|before| before.tokens.as_ref());
        let running = || before.and_then(|before| before.at_once.as_ref()).map(|before| before.running.clone());
        Limits {
            requests: settings.requests.map(|(rate, burst)| kept(requests, rate, burst, Per::Second)),
            tokens: settings.tokens.map(|rate| kept(tokens, rate, rate, Per::Minute)),
            at_once: settings.at_once.map(|most| ConcurrencyLimit { most, running: running().unwrap_or_default() }),
        }
    }

    /// Returns the numbers that these limits were made of.
    pub fn settings(&self) -> Settings {
        Settings {
            requests: self.requests.as_ref().map(|bucket| (bucket.rate(), bucket.burst())),
            tokens: self.tokens.as_ref().map(|bucket| bucket.rate()),
            at_once: self.at_once.as_ref().map(|at_once| at_once.most),
        }
    }

    /// Returns whether nothing is limited.
    pub fn is_none(&self) -> bool {
        self.requests.is_none() && self.tokens.is_none() && self.at_once.is_none()
    }

    /// Takes one request, the tokens it may need and a place among those that run, or nothing.
    ///
    /// `now` is nanoseconds of the clock that all cores share. An answer may be allowed more tokens
    /// than the bucket ever holds, since many clients ask for far more than they use: then all of
    /// it is reserved.
    pub fn admit(&self, now: u64, need: Need) -> Result<Hold, Refusal> {
        let slot = match &self.at_once {
            None => None,
            Some(ConcurrencyLimit { most, running }) => {
                Some(Running::enter(running, *most).ok_or(Refusal::Concurrency { most: *most })?)
            }
        };
        let request = match &self.requests {
            None => None,
            Some(bucket) => Some(bucket.take(now, 1).map_err(Refusal::Requests)?),
        };
        match self.reserve(now, need) {
            Ok(tokens) => Ok(Hold { slot, request, tokens, need, others: Vec::new() }),
            Err(refusal) => {
                self.undo_request(now, request);
                Err(refusal)
            }
        }
    }

    /// Takes the same from the limits of several levels, from all or from none. A refusal comes
    /// with the number of the level that refused.
    pub fn admit_all(levels: &[&Limits], now: u64, need: Need) -> Result<Hold, (usize, Refusal)> {
        let mut holds: Vec<Hold> = Vec::new();
        for (at, limits) in levels.iter().enumerate() {
            match limits.admit(now, need) {
                Ok(hold) => holds.push(hold),
                Err(refusal) => {
                    for (limits, hold) in levels.iter().zip(&mut holds) {
                        limits.undo_request(now, hold.request.take());
                    }
                    return Err((at, refusal));
                }
            }
        }
        let mut hold = holds.pop().unwrap_or_default();
        hold.others = holds;
        Ok(hold)
    }

    fn undo_request(&self, now: u64, request: Option<Taken>) {
        if let (Some(bucket), Some(taken)) = (&self.requests, request) {
            bucket.settle(now, taken, 0);
        }
    }

    fn reserve(&self, now: u64, need: Need) -> Result<Option<(Arc<Bucket>, Taken)>, Refusal> {
        let Some(bucket) = &self.tokens else { return Ok(None) };
        let capacity = u64::from(bucket.burst());
        if need.prompt > capacity && capacity > 0 {
            return Err(Refusal::Prompt { estimate: need.prompt });
        }
        let wanted = need.prompt.saturating_add(need.output).min(capacity);
        match bucket.take(now, wanted) {
            Ok(taken) => Ok(Some((bucket.clone(), taken))),
            Err(refused) => Err(Refusal::Tokens { wanted, refused }),
        }
    }
}

impl Hold {
    /// Returns what was estimated when the request was admitted.
    pub fn need(&self) -> Need {
        self.need
    }

    /// Ends the request at `now`, and charges the tokens that it used.
    pub fn settle(mut self, now: u64, used: u64) {
        if let Some((bucket, taken)) = self.tokens.take() {
            bucket.settle(now, taken, used);
        }
        self.slot = None;
        std::mem::take(&mut self.others).into_iter().for_each(|other| other.settle(now, used));
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some((bucket, taken)) = self.tokens.take() {
            // Nothing is charged, so no clock is needed.
            bucket.settle(0, taken, 0);
        }
    }
}
