//! A bucket as a credential has it: the node's own rate ([`Gcra`]) and, where nodes share it, what
//! this one has leased ([`Lease`]).

use super::gcra::Gcra;
use super::lease::{Lease, Source};
use super::word::{AtomicU64, Ordering};

const NANOS_PER_MS: u64 = 1_000_000;

/// What a rate counts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    Second,
    Minute,
}

impl Per {
    /// Returns the length of the interval in nanoseconds.
    pub fn nanos(self) -> u64 {
        match self {
            Per::Second => 1_000_000_000,
            Per::Minute => 60_000_000_000,
        }
    }
}

/// `burst` units, of which `rate` come back in each second or minute.
#[derive(Debug)]
pub struct Bucket {
    rate: u32,
    burst: u32,
    per: Per,
    gcra: Gcra,
    pub lease: Lease,
    /// Units that the shared store had left when it was last asked; 0 before that.
    elsewhere: AtomicU64,
}

/// Units that were taken. They come back to nobody by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    pub units: u64,
    source: Source,
}

/// Why units were not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The limit is zero, or more was asked for than the bucket ever holds.
    Never,
    /// They will be there in this time, if nobody else takes them.
    For { ms: u64 },
}

/// What a bucket holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    pub limit: u32,
    /// Units that could be taken at once.
    pub left: u32,
    /// Milliseconds until it is full, rounded up.
    pub reset_ms: u64,
}

impl Bucket {
    /// `rate` 0 admits nothing. `burst` 0 means `rate`.
    pub fn new(rate: u32, burst: u32, per: Per) -> Bucket {
        let burst = if burst == 0 { rate } else { burst };
        let gcra = Gcra::new(rate, burst, per.nanos());
        Bucket { rate, burst, per, gcra, lease: Lease::new(burst), elsewhere: AtomicU64::new(0) }
    }

    /// Returns how many units come back in each interval.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Returns the capacity in units.
    pub fn burst(&self) -> u32 {
        self.burst
    }

    /// Returns the interval of the rate.
    pub fn per(&self) -> Per {
        self.per
    }

    /// Takes `n` units at `now`, nanoseconds of the clock that all cores share.
    pub fn take(&self, now: u64, n: u64) -> Result<Taken, Refused> {
        if self.rate == 0 || n > u64::from(self.burst) {
            return Err(Refused::Never);
        }
        self.gcra.take(now, n).map_err(wait)?;
        match self.lease.take(n, self.elsewhere.load(Ordering::Relaxed)) {
            Ok(source) => Ok(Taken { units: n, source }),
            Err(missing) => {
                self.gcra.give_back(n);
                Err(wait(self.gcra.time_for(missing)))
            }
        }
    }

    /// Gives back what of `taken` was not used, or takes what was used beyond it.
    pub fn settle(&self, now: u64, taken: Taken, used: u64) {
        let leased = taken.source == Source::Leased;
        if used <= taken.units {
            let unused = taken.units - used;
            self.gcra.give_back(unused);
            if leased {
                self.lease.give(unused);
            }
        } else {
            let more = used - taken.units;
            self.gcra.charge(now, more);
            if leased {
                self.lease.charge(more.min(u64::from(self.burst)));
            }
        }
    }

    /// The rest for all nodes, as the shared store reported it.
    pub fn set_remaining(&self, left: u64) {
        self.elsewhere.store(left, Ordering::Relaxed);
    }

    /// Returns what the bucket holds at `now`, nanoseconds of the clock that all workers share.
    pub fn level(&self, now: u64) -> Level {
        if self.rate == 0 {
            return Level { limit: 0, left: 0, reset_ms: 0 };
        }
        let elsewhere = self.elsewhere.load(Ordering::Relaxed);
        let leased = self.lease.balance().map(|own| elsewhere.saturating_add_signed(own));
        let left = self.gcra.left(now).min(leased.unwrap_or(u64::MAX)).min(u64::from(self.burst));
        let missing = u64::from(self.burst) - left;
        let reset = match leased {
            Some(_) => self.gcra.time_for(missing),
            None => self.gcra.until_full(now),
        };
        Level { limit: self.burst, left: left as u32, reset_ms: reset.div_ceil(NANOS_PER_MS) }
    }
}

fn wait(nanos: u64) -> Refused {
    Refused::For { ms: nanos.div_ceil(NANOS_PER_MS).max(1) }
}
