//! A circuit breaker with a cooldown and a multiplier, as a pure function of events and time.
//!
//! | phase | requests | leaves it |
//! |---|---|---|
//! | `Closed` | all | a 429: `Cooling`; failures in a row: `Open` |
//! | `Cooling` | none until its time | its time, or a success: `Closed`; the third 429: `Open` |
//! | `Open` | none until its time | its time: `HalfOpen` |
//! | `HalfOpen` | a probe | successes: `SlowStart`; any failure: `Open` for longer |
//! | `SlowStart` | a growing share | its time: `Closed`; as `Closed` otherwise |
//!
//! A multiplier below 1 is the memory of failures that opened nothing. It shrinks the provider's
//! share, and each success gives a part of it back.

use super::policy::{Policy, WHOLE};

/// Milliseconds of a tick, the unit of all times here.
pub const TICK: u64 = 100;

/// The greatest time, in ticks: three years.
const LAST: u32 = (1 << 30) - 1;
/// The greatest count of failures in a row, and of openings.
const MAX_COUNT: u32 = 15;
/// Openings beyond this do not lengthen the time any more.
const MAX_EXPONENT: u32 = 10;
/// The least multiplier of a circuit that is half open.
const HALF_OPEN_LEAST: u32 = 200;
/// The least multiplier of a circuit that has closed.
const CLOSED_LEAST: u32 = 300;
/// The least share in a slow start.
const SLOW_START_LEAST: u32 = 200;

/// The state of a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Closed,
    Cooling,
    Open,
    HalfOpen,
    SlowStart,
}

/// Why a circuit is not closed, or was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    None,
    Throttled,
    ServerErrors,
    Transport,
    KeyRefused,
    ModelMissing,
    Administrator,
}

impl Reason {
    const ALL: [Reason; 7] = [
        Reason::None,
        Reason::Throttled,
        Reason::ServerErrors,
        Reason::Transport,
        Reason::KeyRefused,
        Reason::ModelMissing,
        Reason::Administrator,
    ];

    /// Returns the label that metrics, logs and the admin API show.
    pub fn label(self) -> &'static str {
        match self {
            Reason::None => "none",
            Reason::Throttled => "429",
            Reason::ServerErrors => "5xx",
            Reason::Transport => "transport",
            Reason::KeyRefused => "key_refused",
            Reason::ModelMissing => "model_missing",
            Reason::Administrator => "administrator",
        }
    }
}

/// What became of a request, as far as a circuit is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Success,
    /// A 429, with the ticks that the provider asked to wait.
    Throttled(Option<u32>),
    ServerError,
    /// The connection failed or broke, or a deadline expired.
    Transport,
    /// A 408.
    Slow,
    KeyRefused,
    ModelMissing,
    /// The account has nothing left until then, in ticks from now.
    Exhausted(u32),
    /// An administrator took the provider out of service.
    OpenedByHand,
    ClosedByHand,
}

/// Whether a request may go to the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    Free,
    /// As a probe, if there are not enough of them yet.
    Probe,
    Benched,
}

/// What is remembered of one account, or of one model there: the state and its counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circuit {
    pub phase: Phase,
    /// Until when it is cooling or open, or since when it starts slowly. In ticks.
    pub at: u32,
    /// Of [`WHOLE`].
    pub multiplier: u32,
    pub reason: Reason,
    /// 429 in a row; in `HalfOpen` successes in a row.
    throttled: u32,
    server_errors: u32,
    transport: u32,
    /// How often it opened without closing in between.
    openings: u32,
}

impl Circuit {
    /// The circuit of a provider that has not failed.
    pub const HEALTHY: Circuit = Circuit {
        phase: Phase::Closed,
        at: 0,
        multiplier: WHOLE,
        reason: Reason::None,
        throttled: 0,
        server_errors: 0,
        transport: 0,
        openings: 0,
    };

    /// Returns the circuit as one word. That of a healthy one is 0.
    pub fn pack(self) -> u64 {
        let fields = [
            (self.phase as u32, 3),
            (WHOLE - self.multiplier.min(WHOLE), 10),
            (self.throttled, 4),
            (self.server_errors, 4),
            (self.transport, 4),
            (self.openings, 4),
            (self.reason as u32, 3),
            (self.at, 30),
        ];
        fields.iter().fold(0, |word, (value, bits)| word << bits | u64::from(*value))
    }

    /// Returns the circuit that [`Circuit::pack`] made this word of.
    pub fn unpack(mut word: u64) -> Circuit {
        let mut take = |bits: u32| {
            let value = (word & ((1 << bits) - 1)) as u32;
            word >>= bits;
            value
        };
        let at = take(30);
        let reason = Reason::ALL.get(take(3) as usize).copied().unwrap_or(Reason::None);
        let [openings, transport, server_errors, throttled] = [take(4), take(4), take(4), take(4)];
        let multiplier = WHOLE.saturating_sub(take(10));
        let phase = match take(3) {
            1 => Phase::Cooling,
            2 => Phase::Open,
            3 => Phase::HalfOpen,
            4 => Phase::SlowStart,
            _ => Phase::Closed,
        };
        Circuit { phase, at, multiplier, reason, throttled, server_errors, transport, openings }
    }

    /// Returns whether a request may go to the provider now.
    pub fn admission(self, now: u32) -> Admission {
        match self.phase {
            Phase::Closed | Phase::SlowStart => Admission::Free,
            Phase::Cooling if now >= self.at => Admission::Free,
            Phase::HalfOpen => Admission::Probe,
            Phase::Open if now >= self.at => Admission::Probe,
            Phase::Cooling | Phase::Open => Admission::Benched,
        }
    }

    /// Returns the state as metrics and the administrator know it.
    pub fn state(self, now: u32) -> &'static str {
        match self.phase {
            Phase::Open if now < self.at => "open",
            Phase::Open | Phase::HalfOpen => "half_open",
            Phase::Closed | Phase::Cooling | Phase::SlowStart => "closed",
        }
    }

    /// Returns the ticks until a request may go to the provider. 0 if it may now.
    pub fn wait(self, now: u32) -> u32 {
        match self.phase {
            Phase::Cooling | Phase::Open => self.at.saturating_sub(now),
            Phase::Closed | Phase::HalfOpen | Phase::SlowStart => 0,
        }
    }

    /// Returns the share of its weight that the provider gets, of [`WHOLE`].
    pub fn share(self, now: u32, policy: &Policy) -> u32 {
        let factor = match self.phase {
            Phase::Open | Phase::HalfOpen => policy.half_open_share,
            Phase::SlowStart if policy.slow_start > 0 => {
                let elapsed = u64::from(now.saturating_sub(self.at)) * u64::from(WHOLE) / u64::from(policy.slow_start);
                (elapsed.min(u64::from(WHOLE)) as u32).max(SLOW_START_LEAST)
            }
            Phase::Closed | Phase::Cooling | Phase::SlowStart => WHOLE,
        };
        (self.multiplier * factor / WHOLE).max(policy.min_multiplier).min(WHOLE)
    }

    /// Returns the circuit when a probe begins.
    pub fn probing(self, now: u32) -> Circuit {
        match self.phase {
            Phase::Open if now >= self.at => Circuit {
                phase: Phase::HalfOpen,
                at: 0,
                multiplier: self.multiplier.max(HALF_OPEN_LEAST),
                throttled: 0,
                ..self
            },
            _ => self,
        }
    }

    /// Returns the circuit after an event.
    #[must_use]
    pub fn after(self, event: Event, now: u32, policy: &Policy) -> Circuit {
        match event {
            Event::Success => self.after_success(now, policy),
            Event::Throttled(wait) => {
                let count = if self.phase == Phase::HalfOpen { 1 } else { (self.throttled + 1).min(MAX_COUNT) };
                let doubled = doubled(policy.base_cooldown, count - 1, policy.max_cooldown);
                let wait = wait.map_or(doubled, |wait| wait.clamp(1, policy.max_cooldown.max(1)));
                let next = Circuit { throttled: count, ..self.shrunk(500, policy) };
                if self.phase == Phase::HalfOpen || count >= policy.threshold_429 {
                    return next.open(wait, Reason::Throttled, now);
                }
                next.bench(wait, Reason::Throttled, now)
            }
            Event::ServerError => {
                let count = (self.server_errors + 1).min(MAX_COUNT);
                let next = Circuit { server_errors: count, ..self.shrunk(700, policy) };
                next.open_if(count >= policy.threshold_5xx, Reason::ServerErrors, now, policy)
            }
            Event::Transport => {
                let count = (self.transport + 1).min(MAX_COUNT);
                let next = Circuit { transport: count, ..self.shrunk(700, policy) };
                next.open_if(count >= policy.threshold_transport, Reason::Transport, now, policy)
            }
            Event::Slow if self.phase == Phase::HalfOpen => self,
            Event::Slow => Circuit { throttled: 0, server_errors: 0, transport: 0, ..self.shrunk(900, policy) },
            Event::KeyRefused => self.open_if(true, Reason::KeyRefused, now, policy),
            Event::ModelMissing => self.open_if(true, Reason::ModelMissing, now, policy),
            Event::Exhausted(wait) if matches!(self.phase, Phase::Closed | Phase::SlowStart | Phase::Cooling) => {
                self.bench(wait.clamp(1, policy.max_cooldown.max(1)), Reason::Throttled, now)
            }
            Event::Exhausted(_) => self,
            Event::OpenedByHand => Circuit { phase: Phase::Open, at: LAST, reason: Reason::Administrator, ..self },
            Event::ClosedByHand => Circuit::HEALTHY,
        }
    }

    fn after_success(self, now: u32, policy: &Policy) -> Circuit {
        if self.reason == Reason::Administrator {
            return self;
        }
        let next = match self.phase {
            Phase::HalfOpen if self.throttled + 1 < policy.half_open_successes => {
                return Circuit { throttled: self.throttled + 1, ..self };
            }
            Phase::HalfOpen => Circuit {
                phase: Phase::SlowStart,
                at: now,
                openings: 0,
                multiplier: self.multiplier.max(CLOSED_LEAST),
                ..self
            },
            // A request that began before the circuit opened.
            Phase::Open => return self,
            Phase::SlowStart if now.saturating_sub(self.at) < policy.slow_start => self.grown(policy),
            Phase::SlowStart | Phase::Closed | Phase::Cooling => {
                Circuit { phase: Phase::Closed, at: 0, ..self }.grown(policy)
            }
        };
        let reason = if next.phase == Phase::SlowStart { next.reason } else { Reason::None };
        Circuit { throttled: 0, server_errors: 0, transport: 0, reason, ..next }
    }

    fn grown(self, policy: &Policy) -> Circuit {
        Circuit { multiplier: (self.multiplier + policy.recovery_step).min(WHOLE), ..self }
    }

    fn shrunk(self, share: u32, policy: &Policy) -> Circuit {
        Circuit { multiplier: (self.multiplier * share / WHOLE).max(policy.min_multiplier).min(WHOLE), ..self }
    }

    /// Opens for a time that doubles with each opening. In a half-open circuit any failure does.
    fn open_if(self, is_due: bool, reason: Reason, now: u32, policy: &Policy) -> Circuit {
        match self.phase {
            Phase::HalfOpen => {}
            // What was on its way when it opened changes nothing.
            Phase::Open => return self,
            _ if !is_due => return self,
            _ => {}
        }
        self.open(doubled(policy.base_open, self.openings, policy.max_open), reason, now)
    }

    fn open(self, wait: u32, reason: Reason, now: u32) -> Circuit {
        if self.reason == Reason::Administrator || (self.phase == Phase::Open && now < self.at) {
            return self;
        }
        let at = now.saturating_add(wait).min(LAST - 1);
        let openings = (self.openings + 1).min(MAX_COUNT);
        Circuit { phase: Phase::Open, at, reason, openings, server_errors: 0, transport: 0, throttled: 0, ..self }
    }

    fn bench(self, wait: u32, reason: Reason, now: u32) -> Circuit {
        match self.phase {
            Phase::Open => self,
            _ => {
                let until = now.saturating_add(wait).min(LAST - 1);
                let at = if self.phase == Phase::Cooling { self.at.max(until) } else { until };
                Circuit { phase: Phase::Cooling, at, reason, ..self }
            }
        }
    }
}

fn doubled(base: u32, times: u32, most: u32) -> u32 {
    base.saturating_mul(1 << times.min(MAX_EXPONENT)).min(most)
}

#[cfg(test)]
// `tests/loom` compiles this file under another path.
#[path = "circuit/tests.rs"]
mod tests;
