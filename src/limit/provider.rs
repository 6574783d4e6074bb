//! Limits of a provider: how many requests run there at once, and how many requests and tokens it
//! gets in a minute. All workers share them, and they are kept over reloads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::bucket::{Bucket, Per, Refused};
use super::limits::{ConcurrencyLimit, Hold, Limits, Need, Refusal};

/// The levels of priority. Level 0 goes first.
pub const LEVELS: usize = 3;
/// The level of requests that have no priority of their own.
pub const NORMAL_LEVEL: usize = 1;

/// The numbers of `provider_params.limits`. What is `None` is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProviderSettings {
    pub max_concurrency: Option<u32>,
    pub requests_per_minute: Option<u32>,
    pub tokens_per_minute: Option<u32>,
}

/// What one provider may be sent.
#[derive(Debug)]
pub struct ProviderLimits {
    limits: Limits,
    state: Arc<State>,
}

/// What is kept whatever becomes of the numbers.
#[derive(Debug, Default)]
struct State {
    /// Requests that wait for this provider, by their level.
    waiting: [AtomicU64; LEVELS],
    /// The mean time of a request there, in milliseconds, which follows the last ones.
    mean_ms: AtomicU64,
}

/// One that waits for a provider, until it is dropped.
#[derive(Debug)]
pub struct Waiter {
    state: Arc<State>,
    level: usize,
}

impl ProviderLimits {
    /// Makes limits of these numbers. Buckets of `before` whose numbers are the same are reused
    /// with what they hold, and the count of running requests always is.
    pub fn new(settings: ProviderSettings, before: Option<&ProviderLimits>) -> ProviderLimits {
        let bucket = |rate: Option<u32>, old: fn(&Limits) -> &Option<Arc<Bucket>>| {
            let rate = rate?;
            let old = before.and_then(|before| old(&before.limits).clone());
            Some(old.filter(|old| old.rate() == rate).unwrap_or_else(|| Arc::new(Bucket::new(rate, rate, Per::Minute))))
        };
        let running = before.and_then(|before| before.limits.at_once.as_ref()).map(|before| before.running.clone());
        let limits = Limits {
            requests: bucket(settings.requests_per_minute, |limits| &limits.requests),
            tokens: bucket(settings.tokens_per_minute, |limits| &limits.tokens),
            at_once: settings
                .max_concurrency
                .map(|most| ConcurrencyLimit { most, running: running.unwrap_or_default() }),
        };
        ProviderLimits { limits, state: before.map(|before| before.state.clone()).unwrap_or_default() }
    }

    /// Returns the numbers that these limits were made of.
    pub fn settings(&self) -> ProviderSettings {
        ProviderSettings {
            max_concurrency: self.limits.at_once.as_ref().map(|at_once| at_once.most),
            requests_per_minute: self.limits.requests.as_ref().map(|bucket| bucket.rate()),
            tokens_per_minute: self.limits.tokens.as_ref().map(|bucket| bucket.rate()),
        }
    }

    /// Returns whether an estimate of tokens is needed.
    pub fn counts_tokens(&self) -> bool {
        self.limits.tokens.is_some()
    }

    /// Takes what a request needs, or nothing.
    pub fn admit(&self, now: u64, need: Need) -> Result<Hold, Refusal> {
        self.limits.admit(now, need)
    }

    /// Returns how many requests run there, if that is limited.
    pub fn running(&self) -> Option<u64> {
        self.limits.at_once.as_ref().map(|at_once| at_once.running.count())
    }

    /// Counts a request of `level` that waits for this provider.
    pub fn wait(&self, level: usize) -> Waiter {
        let level = level.min(LEVELS - 1);
        self.state.waiting[level].fetch_add(1, Ordering::Relaxed);
        Waiter { state: self.state.clone(), level }
    }

    /// Returns how many requests wait that go before one of `level`.
    pub fn before(&self, level: usize) -> u64 {
        self.state.waiting.iter().take(level).map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Returns how many requests wait that one of `level` must not overtake when it comes.
    pub fn ahead(&self, level: usize) -> u64 {
        self.before(level.saturating_add(1))
    }

    /// Notes how long a request took there.
    pub fn record_duration(&self, ms: u64) {
        // Others may note theirs meanwhile; the mean is an estimate.
        let mean = self.state.mean_ms.load(Ordering::Relaxed);
        let next = if mean == 0 { ms } else { (mean * 7 + ms) / 8 };
        self.state.mean_ms.store(next.max(1), Ordering::Relaxed);
    }

    /// Returns after how many milliseconds a refused request may come again. `None` is never.
    pub fn retry_ms(&self, refusal: Refusal, level: usize) -> Option<u64> {
        match refusal {
            Refusal::Requests(Refused::For { ms }) | Refusal::Tokens { refused: Refused::For { ms }, .. } => Some(ms),
            Refusal::Concurrency { most } if most > 0 => {
                let mean = self.state.mean_ms.load(Ordering::Relaxed).max(1000);
                Some(mean.saturating_mul(self.ahead(level) + 1).div_ceil(u64::from(most)))
            }
            _ => None,
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.state.waiting[self.level].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEED: Need = Need { prompt: 10, output: 20 };

    #[test]
    fn numbers_that_stay_keep_their_buckets() {
        let settings =
            ProviderSettings { max_concurrency: Some(2), requests_per_minute: Some(3), tokens_per_minute: None };
        let first = ProviderLimits::new(settings, None);
        let holds: Vec<_> = (0..2).map(|_| first.admit(0, NEED).unwrap()).collect();
        assert_eq!(first.admit(0, NEED).err(), Some(Refusal::Concurrency { most: 2 }));
        let second = ProviderLimits::new(ProviderSettings { max_concurrency: Some(3), ..settings }, Some(&first));
        assert_eq!(second.running(), Some(2));
        let third = second.admit(0, NEED).unwrap();
        drop((holds, third));
        assert_eq!(second.running(), Some(0));
        // The requests of this minute are used up, and the next is there in a third of it.
        let refusal = second.admit(0, NEED).err().unwrap();
        assert_eq!(second.retry_ms(refusal, 1), Some(20_000));
    }

    #[test]
    fn waits_grow_with_who_is_ahead() {
        let limits = ProviderLimits::new(ProviderSettings { max_concurrency: Some(2), ..Default::default() }, None);
        (0..100).for_each(|_| limits.record_duration(4000));
        let refusal = Refusal::Concurrency { most: 2 };
        assert_eq!(limits.retry_ms(refusal, 1), Some(2000));
        let waiting = [limits.wait(1), limits.wait(0)];
        assert_eq!((limits.before(1), limits.ahead(1), limits.ahead(0)), (1, 2, 1));
        assert_eq!(limits.retry_ms(refusal, 1), Some(6000));
        drop(waiting);
        assert_eq!(limits.ahead(2), 0);
        assert_eq!(limits.retry_ms(Refusal::Concurrency { most: 0 }, 1), None);
    }
}
