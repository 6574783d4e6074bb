//! The atomics that workers share, of limits, circuits and issued ids, under a model checker: loom
//! runs every test below once for each order in which its threads can meet, and for every value
//! that the memory model lets them read.
//!
//! The sources are compiled here a second time, with loom's atomics in the place of the processor's
//! (`super::word`), so that nothing of the crate itself has to know of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

mod word {
    pub use loom::sync::Arc;
    pub use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
}

#[path = "../../src/breaker/cell.rs"]
mod cell;
#[path = "../../src/breaker/circuit.rs"]
mod circuit;
#[path = "../../src/breaker/policy.rs"]
mod policy;

#[path = "../../src/limit/gcra.rs"]
mod gcra;
#[path = "../../src/limit/lease.rs"]
mod lease;
#[path = "../../src/limit/running.rs"]
mod running;

#[path = "../../src/shared/issued_ids.rs"]
mod issued_ids;

use gcra::Gcra;
use issued_ids::{Entry, IdHash, Issued};
use lease::{Lease, Source};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use running::Running;

const SECOND: u64 = 1_000_000_000;

type Task<T> = Box<dyn Fn() -> T + Send + Sync>;

/// Runs the first task on this thread and the others beside it.
fn in_parallel<T: Send + 'static>(tasks: Vec<Task<T>>) -> Vec<T> {
    let mut tasks = tasks.into_iter();
    let own = tasks.next().unwrap();
    let threads: Vec<_> = tasks.map(|task| thread::spawn(task)).collect();
    let mut results = vec![own()];
    results.extend(threads.into_iter().map(|thread| thread.join().unwrap()));
    results
}

/// All orders of three threads in which they are interrupted three times at most: without a bound
/// it takes minutes, and finds no more.
fn bounded(test: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(test);
}

/// Three threads whose readings of the clock differ: the capacity of two and nothing more, since
/// nothing comes back in that time.
#[test]
fn takers_share_the_capacity() {
    bounded(|| {
        let gcra = Arc::new(Gcra::new(1, 2, SECOND));
        let take = |now: u64| -> Task<bool> {
            let gcra = gcra.clone();
            Box::new(move || gcra.take(now, 1).is_ok())
        };
        let taken = in_parallel(vec![take(SECOND), take(SECOND + 5), take(SECOND + 2)]);
        // One that read the clock early may find that a later one has left less than a whole unit.
        let count = taken.iter().filter(|taken| **taken).count() as u64;
        assert!((1..=2).contains(&count));
        assert!(gcra.until_full(SECOND + 5) <= count * SECOND);
    });
}

/// One takes twice as time passes, another in between; what comes back in a second is one unit.
#[test]
fn what_comes_back_is_taken_once() {
    loom::model(|| {
        let gcra = Arc::new(Gcra::new(1, 1, SECOND));
        let take = |readings: &'static [u64]| -> Task<usize> {
            let gcra = gcra.clone();
            Box::new(move || readings.iter().filter(|now| gcra.take(**now, 1).is_ok()).count())
        };
        let taken: usize = in_parallel(vec![take(&[SECOND, 2 * SECOND]), take(&[SECOND, 2 * SECOND])]).iter().sum();
        assert!((1..=2).contains(&taken), "{taken}");
    });
}

/// A reserve comes back while others take: nothing is lost and nothing is doubled.
#[test]
fn giving_back_is_exact() {
    loom::model(|| {
        let gcra = Arc::new(Gcra::new(1, 3, SECOND));
        gcra.take(SECOND, 2).unwrap();
        let giver = {
            let gcra = gcra.clone();
            thread::spawn(move || gcra.give_back(2))
        };
        let taker = {
            let gcra = gcra.clone();
            thread::spawn(move || gcra.take(SECOND, 2).is_ok())
        };
        giver.join().unwrap();
        let taken = taker.join().unwrap();
        assert_eq!(gcra.left(SECOND), if taken { 1 } else { 3 });
    });
}

/// A debt and a taking: the taking is allowed before the debt or not at all.
#[test]
fn charging_is_exact() {
    loom::model(|| {
        let gcra = Arc::new(Gcra::new(1, 2, SECOND));
        let charger = {
            let gcra = gcra.clone();
            thread::spawn(move || gcra.charge(SECOND, 3))
        };
        let taken = gcra.take(SECOND, 1).is_ok();
        charger.join().unwrap();
        assert_eq!(gcra.until_full(SECOND), SECOND * (3 + u64::from(taken)));
    });
}

/// Two requests run at most, whoever enters and leaves, and none is left when all have left.
#[test]
fn running_requests_are_bounded_and_counted_down() {
    bounded(|| {
        let running = Arc::new(Running::default());
        let inside = Arc::new(AtomicU64::new(0));
        let request = || -> Task<bool> {
            let (running, inside) = (running.clone(), inside.clone());
            Box::new(move || {
                let Some(slot) = Running::enter(&running, 2) else { return false };
                assert!(inside.fetch_add(1, Ordering::Relaxed) < 2);
                inside.fetch_sub(1, Ordering::Relaxed);
                drop(slot);
                true
            })
        };
        let entered = in_parallel(vec![request(), request(), request()]);
        assert!(entered.iter().filter(|entered| **entered).count() >= 2);
        assert_eq!(running.count(), 0);
    });
}

/// Requests spend a slice while the background thread renews it: no unit is spent twice, none is
/// lost.
#[test]
fn a_lease_is_spent_once() {
    bounded(|| {
        let lease = Arc::new(Lease::new(16));
        assert!(lease.begin());
        let spend = || -> Task<u64> {
            let lease = lease.clone();
            Box::new(move || u64::from(lease.take(2, 0) == Ok(Source::Leased)) * 2)
        };
        let renew = || -> Task<u64> {
            let lease = lease.clone();
            Box::new(move || {
                let missing = lease.missing();
                lease.give(missing);
                missing
            })
        };
        let [granted, first, second] = in_parallel(vec![renew(), spend(), spend()])[..] else { unreachable!() };
        assert_eq!(lease.balance(), Some(2 + signed(granted) - signed(first) - signed(second)));
    });
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap()
}

/// Requests on two cores may go into debt together, and by no more than one could alone.
#[test]
fn a_debt_has_one_bound_for_all() {
    bounded(|| {
        let lease = Arc::new(Lease::new(8));
        assert!(lease.begin());
        let spend = || -> Task<u64> {
            let lease = lease.clone();
            Box::new(move || (0..2).filter(|_| lease.take(1, 2).is_ok()).count() as u64)
        };
        let taken: u64 = in_parallel(vec![spend(), spend()]).iter().sum();
        assert_eq!((taken, lease.balance()), (2, Some(-1)));
    });
}

/// What a request did not use comes back while the surplus is taken for the store.
#[test]
fn a_surplus_is_returned_once() {
    loom::model(|| {
        let lease = Arc::new(Lease::new(16));
        assert!(lease.begin());
        let giver = {
            let lease = lease.clone();
            thread::spawn(move || lease.give(3))
        };
        let returned = lease.take_surplus();
        giver.join().unwrap();
        assert_eq!((returned + lease.take_surplus(), lease.balance()), (3, Some(2)));
    });
}

/// The store goes away while a request asks: it is refused by what is left, or not asked for a
/// balance at all.
#[test]
fn a_lease_that_ends() {
    loom::model(|| {
        let lease = Arc::new(Lease::new(8));
        assert!(lease.begin());
        let ender = {
            let lease = lease.clone();
            thread::spawn(move || lease.end())
        };
        let taken = (lease.take(1, 0), lease.take(1, 0));
        ender.join().unwrap();
        let expected = [
            (Ok(Source::Leased), Err(1)),
            (Ok(Source::Leased), Ok(Source::Local)),
            (Ok(Source::Local), Ok(Source::Local)),
        ];
        assert!(expected.contains(&taken), "{taken:?}");
        assert_eq!(lease.balance(), None);
    });
}

/// Failures of two workers at once are both counted: none is lost, so the circuit opens in time.
#[test]
fn no_failure_is_lost() {
    loom::model(|| {
        let policy = policy::Policy { threshold_transport: 2, ..policy::Policy::default() };
        let cell = Arc::new(cell::Cell::default());
        let fail = || {
            let (cell, policy) = (cell.clone(), policy.clone());
            Box::new(move || cell.record(circuit::Event::Transport, 1, &policy)) as Task<()>
        };
        in_parallel(vec![fail(), fail()]);
        assert_eq!(cell.circuit().phase, circuit::Phase::Open);
    });
}

/// Of two workers that would probe at once one does, and what it took is given back.
#[test]
fn one_probe_at_once_and_none_leaks() {
    loom::model(|| {
        let policy = policy::Policy::default();
        let cell = Arc::new(cell::Cell::default());
        cell.record(circuit::Event::KeyRefused, 0, &policy);
        let probe = || {
            let (cell, policy) = (cell.clone(), policy.clone());
            Box::new(move || {
                let began = cell.begin_probe(1000, &policy);
                if began {
                    assert_eq!(cell.probes(), 1);
                    cell.record(circuit::Event::Success, 1000, &policy);
                    cell.end_probe();
                }
                began
            }) as Task<bool>
        };
        let began = in_parallel(vec![probe(), probe()]);
        assert!(began.contains(&true));
        assert_eq!(cell.probes(), 0);
        // Two successes in a row close it, wherever they came from.
        let successes = began.iter().filter(|began| **began).count();
        let expected = if successes == 2 { circuit::Phase::SlowStart } else { circuit::Phase::HalfOpen };
        assert_eq!(cell.circuit().phase, expected);
    });
}

/// A reader beside two writers of one entry finds what was written for an id as a whole, or not
/// that id.
#[test]
fn half_an_entry_is_none() {
    bounded(|| {
        let written = [
            (IdHash(1 << 63 | 5), Issued { provider: 1, owner: 10 }),
            (IdHash(1 << 63 | 6), Issued { provider: 2, owner: 20 }),
        ];
        let entry = Arc::new(Entry::default());
        let write = |(hash, issued): (IdHash, Issued)| {
            let entry = entry.clone();
            Box::new(move || entry.write(hash, issued)) as Task<()>
        };
        let read = {
            let entry = entry.clone();
            Box::new(move || {
                let (hash, issued) = entry.read();
                assert!(written.iter().all(|(known, whole)| hash != *known || issued == *whole), "{hash:?} {issued:?}");
            }) as Task<()>
        };
        in_parallel(vec![read, write(written[0]), write(written[1])]);
    });
}
