//! What the buckets promise, for any order of threads and any clock readings.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::bucket::{Bucket, Per, Refused};
use super::gcra::Gcra;
use super::lease::{Lease, Source};
use super::*;

const SECOND: u64 = 1_000_000_000;

fn bucket(rate: u32, burst: u32) -> Bucket {
    Bucket::new(rate, burst, Per::Second)
}

fn admitted(bucket: &Bucket, now: u64) -> bool {
    bucket.take(now, 1).is_ok()
}

#[test]
fn zero_blocks_everything() {
    for per in [Per::Second, Per::Minute] {
        let bucket = Bucket::new(0, 0, per);
        assert_eq!(bucket.take(SECOND, 1), Err(Refused::Never));
        assert_eq!(bucket.take(SECOND, 0), Err(Refused::Never));
        assert_eq!(bucket.level(SECOND), Level { limit: 0, left: 0, reset_ms: 0 });
    }
}

#[test]
fn one_per_second_admits_one_then_waits() {
    let bucket = bucket(1, 0);
    assert!(admitted(&bucket, SECOND));
    assert_eq!(bucket.level(SECOND), Level { limit: 1, left: 0, reset_ms: 1000 });
    assert_eq!(bucket.take(SECOND + SECOND / 2, 1), Err(Refused::For { ms: 500 }));
    assert!(admitted(&bucket, 2 * SECOND));
}

#[test]
fn burst_is_the_capacity_and_refills_at_the_rate() {
    let bucket = bucket(10, 3);
    let first: Vec<bool> = (0..4).map(|_| admitted(&bucket, SECOND)).collect();
    assert_eq!(first, [true, true, true, false]);
    assert!(!admitted(&bucket, SECOND + 99_000_000));
    assert!(admitted(&bucket, SECOND + 100_000_000));
}

/// 64 callers who ask again at once, in simulated time: no more than the limit and the burst, and
/// hardly less.
#[test]
fn rates_are_exact() {
    for rate in [1, 3, 7, 10, 100, 10_000, 1_000_000] {
        let bucket = bucket(rate, 0);
        let seconds = if rate > 10_000 { 1 } else { 10 };
        let step = (SECOND / u64::from(rate) / 3).min(1_000_000);
        let count = (0..seconds * SECOND / step).filter(|at| admitted(&bucket, SECOND + at * step)).count() as u64;
        let (limit, burst) = (seconds * u64::from(rate), u64::from(rate));
        assert!(count <= limit + burst, "{rate}: {count}");
        assert!(count >= (limit + burst) * 97 / 100, "{rate}: {count}");
    }
}

/// Every number that a row may hold, with nothing overflowing.
#[test]
fn extremes() {
    for per in [Per::Second, Per::Minute] {
        for (rate, burst) in [(1, u32::MAX), (u32::MAX, 1), (u32::MAX, u32::MAX), (1, 1)] {
            let bucket = Bucket::new(rate, burst, per);
            for now in [0, 1 << 61, 1 << 62] {
                let taken = bucket.take(now, 1).unwrap();
                bucket.settle(now, taken, u64::MAX);
                assert!(bucket.level(now).left <= burst);
                bucket.settle(now, taken, 0);
            }
        }
    }
}

#[test]
fn a_reserve_is_settled_with_what_was_used() {
    // A token is a millisecond.
    let bucket = Bucket::new(60_000, 1000, Per::Minute);
    let left = |now| bucket.level(now).left;
    let taken = bucket.take(SECOND, 800).unwrap();
    assert_eq!(left(SECOND), 200);
    assert_eq!(bucket.take(SECOND, 500), Err(Refused::For { ms: 300 }));
    bucket.settle(SECOND, taken, 300);
    assert_eq!(left(SECOND), 700);
    // More was used than reserved: a debt, which new requests wait for.
    let taken = bucket.take(SECOND, 500).unwrap();
    bucket.settle(SECOND, taken, 1500);
    assert_eq!(left(SECOND), 0);
    assert_eq!(bucket.take(SECOND, 100), Err(Refused::For { ms: 900 }));
    // What comes back late makes nobody richer than the capacity.
    let taken = bucket.take(10 * SECOND, 1000).unwrap();
    bucket.settle(20 * SECOND, taken, 0);
    assert_eq!(left(20 * SECOND), 1000);
    assert!(bucket.take(20 * SECOND, 1001).is_err());
    // Absurd numbers close it for an hour, and no longer.
    let taken = bucket.take(20 * SECOND, 1).unwrap();
    bucket.settle(20 * SECOND, taken, u64::MAX);
    assert!(bucket.take(3000 * SECOND, 1).is_err());
    assert!(bucket.take(3621 * SECOND, 1).is_ok());
}

fn limits(requests: Option<u32>, tokens: Option<u32>, at_once: Option<u32>) -> Limits {
    Limits::new(Settings { requests: requests.map(|rate| (rate, rate)), tokens, at_once }, None)
}

#[test]
fn what_does_not_change_is_kept() {
    let before = limits(Some(5), Some(100), Some(1));
    let hold = before.admit(SECOND, Need { prompt: 30, output: 0 }).unwrap();
    let after = Limits::new(Settings { tokens: Some(200), at_once: Some(2), ..before.settings() }, Some(&before));
    assert!(Arc::ptr_eq(before.requests.as_ref().unwrap(), after.requests.as_ref().unwrap()));
    assert_eq!(after.tokens.as_ref().unwrap().level(SECOND).left, 200);
    // One of before still runs.
    let second = after.admit(SECOND, Need::default()).unwrap();
    assert_eq!(after.admit(SECOND, Need::default()).unwrap_err(), Refusal::Concurrency { most: 2 });
    drop(hold);
    drop(after.admit(SECOND, Need::default()).unwrap());
    drop(second);
    assert_eq!(before.at_once.as_ref().unwrap().running.count(), 0);
    let same = Limits::new(after.settings(), Some(&after));
    assert!(Arc::ptr_eq(after.tokens.as_ref().unwrap(), same.tokens.as_ref().unwrap()));
}

#[test]
fn a_refusal_takes_nothing() {
    let need = |prompt, output| Need { prompt, output };
    let limits = limits(Some(2), Some(100), Some(2));
    let left = |now| {
        let running = limits.at_once.as_ref().unwrap().running.count();
        (limits.requests.as_ref().unwrap().level(now).left, limits.tokens.as_ref().unwrap().level(now).left, running)
    };
    let first = limits.admit(SECOND, need(10, 50)).unwrap();
    assert_eq!(left(SECOND), (1, 40, 1));
    let refusal = limits.admit(SECOND, need(10, 50)).unwrap_err();
    assert_eq!(refusal, Refusal::Tokens { wanted: 60, refused: Refused::For { ms: 12_000 } });
    assert_eq!(limits.admit(SECOND, need(101, 0)).unwrap_err(), Refusal::Prompt { estimate: 101 });
    assert_eq!(left(SECOND), (1, 40, 1));
    let second = limits.admit(SECOND, need(1, 1)).unwrap();
    assert_eq!(limits.admit(SECOND, need(1, 1)).unwrap_err(), Refusal::Concurrency { most: 2 });
    first.settle(SECOND, 5);
    assert_eq!(left(SECOND), (0, 93, 1));
    assert!(matches!(limits.admit(SECOND, need(1, 1)), Err(Refusal::Requests(Refused::For { ms: 500 }))));
    assert_eq!(left(SECOND), (0, 93, 1));
    // As a task does that is thrown away.
    drop(second);
    assert_eq!(left(SECOND), (0, 95, 0));
    // More is allowed to the answer than the bucket holds: it takes all, once all is there.
    assert!(limits.admit(2 * SECOND, need(10, 1 << 40)).is_err());
    drop(limits.admit(61 * SECOND, need(10, 1 << 40)).unwrap());
}

#[test]
fn concurrency_is_released_however_a_request_ends() {
    let limits = limits(None, None, Some(3));
    let running = limits.at_once.as_ref().unwrap().running.clone();
    for _ in 0..10 {
        let held: Vec<_> = (0..5).filter_map(|_| limits.admit(0, Need::default()).ok()).collect();
        assert_eq!((held.len(), running.count()), (3, 3));
        let mut held = held.into_iter();
        held.next().unwrap().settle(0, 0);
        let taken = held.next().unwrap();
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _taken = taken;
            std::panic::resume_unwind(Box::new(()));
        }));
        assert_eq!(running.count(), 1);
    }
    assert_eq!(running.count(), 0);
    let none = Limits { at_once: Some(ConcurrencyLimit { most: 0, running }), ..Limits::default() };
    assert!(matches!(none.admit(0, Need::default()), Err(Refusal::Concurrency { most: 0 })));
}

#[test]
fn four_threads_never_admit_more_than_burst_plus_rate_times_time() {
    let bucket = bucket(1000, 50);
    let clock = AtomicU64::new(SECOND);
    let count = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    let now = clock.fetch_add(10_000, Ordering::Relaxed);
                    if admitted(&bucket, now) {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    // 80,000 steps of 10 microseconds are 0.8 s.
    let count = count.load(Ordering::Relaxed);
    assert!((800..=50 + 800).contains(&count), "{count} admitted");
}

#[test]
fn leases() {
    let lease = Lease::new(80);
    assert_eq!(lease.slice(), 10);
    assert_eq!((lease.take(7, 0), lease.missing(), lease.balance()), (Ok(Source::Local), 0, None));
    assert!(lease.begin() && !lease.begin());
    assert_eq!((lease.balance(), lease.missing()), (Some(10), 0));
    assert_eq!(lease.take(8, 0), Ok(Source::Leased));
    assert_eq!(lease.take(3, 0), Err(1));
    lease.give(1);
    assert_eq!((lease.take(3, 0), lease.missing()), (Ok(Source::Leased), 10));
    // More than a slice: allowed once a slice is there, and owed then.
    lease.give(10);
    assert_eq!((lease.take(25, 0), lease.missing()), (Ok(Source::Leased), 25));
    assert_eq!(lease.take(1, 0), Err(16));
    // Most of it was not used.
    lease.give(30);
    assert_eq!((lease.take_surplus(), lease.take_surplus(), lease.balance()), (5, 0, Some(10)));
    lease.charge(11);
    assert_eq!((lease.balance(), lease.missing()), (Some(-1), 11));
    lease.end();
    lease.give(5);
    lease.charge(5);
    assert_eq!((lease.balance(), lease.missing(), lease.take_surplus()), (None, 0, 0));
    assert_eq!(Lease::new(1).slice(), 1);
}

#[test]
fn a_lease_goes_into_debt_by_half_of_what_is_left() {
    let lease = Lease::new(80);
    assert!(lease.begin());
    assert_eq!((0..80).filter(|_| lease.take(1, 60).is_ok()).count(), 10 + 30);
    assert_eq!((lease.take(1, 60), lease.missing()), (Err(1), 40));
    // The store reports that nothing is left now.
    assert_eq!(lease.take(1, 0), Err(31));
    // A need that is larger than all of it takes no more than a full slice.
    lease.give(40);
    assert_eq!((lease.take(79, 60), lease.balance()), (Ok(Source::Leased), Some(-69)));
    assert_eq!(lease.take(1, u64::MAX), Ok(Source::Leased));
}

#[test]
fn what_a_lease_refuses_is_not_taken_from_the_bucket() {
    let bucket = bucket(16, 0);
    assert!(bucket.lease.begin());
    // The store was not heard yet.
    assert_eq!((0..16).filter(|_| admitted(&bucket, SECOND)).count(), 2);
    bucket.lease.give(2);
    bucket.set_remaining(5);
    assert_eq!(bucket.level(SECOND), Level { limit: 16, left: 7, reset_ms: 563 });
    // The slice and half of what is left, which is owed then.
    assert_eq!((0..16).filter(|_| admitted(&bucket, SECOND)).count(), 4);
    assert_eq!((bucket.lease.balance(), bucket.level(SECOND).left), (Some(-2), 3));
    // The store has gone: the node's own limit, of which six were used.
    bucket.lease.end();
    assert_eq!((0..16).filter(|_| admitted(&bucket, SECOND)).count(), 10);
}

/// One step of a thread that has read the clock.
#[derive(Debug, Clone)]
enum Op {
    Take(u64),
    GiveBack(u64),
    Charge(u64),
}

/// Readings go forward on the whole, and any one may be late.
fn steps() -> impl Strategy<Value = Vec<(u64, u64, Op)>> {
    let op = prop_oneof![
        4 => (1u64..4).prop_map(Op::Take),
        1 => (0u64..100).prop_map(Op::GiveBack),
        1 => (0u64..3).prop_map(Op::Charge),
    ];
    prop::collection::vec((0u64..300_000_000, 0u64..200_000_000, op), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Between any two takings, in the order of their exchanges: no more than the capacity and what
    /// has come back since the first one's reading, less what was given back between them. Holds
    /// for any interleaving, since one is no more than an order of exchanges with readings of the
    /// clock that were made before them.
    #[test]
    fn never_more_than_capacity_and_rate_times_time(rate in 1u32..50, burst in 1u32..50, steps in steps()) {
        let gcra = Gcra::new(rate, burst, SECOND);
        let interval = SECOND.div_ceil(u64::from(rate));
        let mut clock = SECOND;
        // Reading, units (negative: given back), of what was done; and what may still be given
        // back.
        let mut done: Vec<(u64, i64)> = Vec::new();
        let mut outstanding = 0;
        for (pause, late, op) in steps {
            clock += pause;
            let now = clock - late;
            match op {
                Op::Take(n) => if gcra.take(now, n).is_ok() {
                    outstanding += n;
                    done.push((now, n as i64));
                },
                Op::GiveBack(share) => {
                    let n = outstanding * share / 100;
                    outstanding -= n;
                    gcra.give_back(n);
                    done.push((now, -(n as i64)));
                }
                Op::Charge(n) => gcra.charge(now, n),
            }
        }
        for (first, (start, units)) in done.iter().enumerate().filter(|(_, (_, units))| *units > 0) {
            let mut net = *units;
            for (end, more) in &done[first + 1..] {
                net += more;
                if *more > 0 {
                    let regained = end.saturating_sub(*start);
                    let most = u64::from(burst) * interval + regained;
                    prop_assert!(net <= 0 || net as u64 * interval <= most, "{net} units from {start} to {end}");
                }
            }
        }
    }

    /// The same property by windows of the clock, when nothing is given back.
    #[test]
    fn in_every_window_of_readings(rate in 1u32..50, burst in 1u32..50, steps in steps()) {
        let gcra = Gcra::new(rate, burst, SECOND);
        let mut clock = SECOND;
        let mut taken = Vec::new();
        for (pause, late, op) in steps {
            clock += pause;
            if let Op::Take(n) = op && gcra.take(clock - late, n).is_ok() {
                taken.push((clock - late, n));
            }
        }
        taken.sort_unstable();
        for (at, (from, _)) in taken.iter().enumerate() {
            let mut sum = 0;
            for (to, n) in &taken[at..] {
                sum += n;
                let most = u128::from(burst) * u128::from(SECOND) + u128::from(rate) * u128::from(to - from);
                prop_assert!(u128::from(sum) * u128::from(SECOND) <= most, "{sum} from {from} to {to}");
            }
        }
    }
}
