//! Accounts over one store, in simulated time.

use proptest::prelude::*;

use super::account::{EMPTY_MS, IDLE_MS};
use super::*;
use crate::limit::period::Window;

const AMOUNT: i64 = 10_000;

/// A node of a simulation, with its clock and the requests that it runs.
struct Node {
    account: Option<Arc<Account>>,
    running: Vec<(Reservation, i64)>,
    /// A claim that is on its way, with its answer once the store has given one.
    flight: Option<(Claim, u64, Option<Grant>)>,
}

#[derive(Debug, Clone)]
enum Event {
    /// A request reserves so much and will use so much of it, in per cent.
    Ask {
        node: usize,
        units: i64,
        percent: i64,
    },
    End {
        node: usize,
    },
    /// The client leaves or the provider fails: nothing was used.
    Drop {
        node: usize,
    },
    Claim {
        node: usize,
    },
    Store {
        node: usize,
    },
    /// The answer arrives, or is lost on its way.
    Answer {
        node: usize,
        is_lost: bool,
    },
    /// The process dies, with all that it holds, and starts again.
    Crash {
        node: usize,
    },
    /// It stops as it should, and starts again.
    Restart {
        node: usize,
    },
    Wait {
        ms: u64,
    },
    TopUp {
        units: i64,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let node = 0..3usize;
    prop_oneof![
        6 => (node.clone(), 1..400i64, 0..=100i64).prop_map(|(node, units, percent)| Event::Ask { node, units, percent }),
        4 => node.clone().prop_map(|node| Event::End { node }),
        1 => node.clone().prop_map(|node| Event::Drop { node }),
        6 => node.clone().prop_map(|node| Event::Claim { node }),
        6 => node.clone().prop_map(|node| Event::Store { node }),
        6 => (node.clone(), prop::bool::weighted(0.1)).prop_map(|(node, is_lost)| Event::Answer { node, is_lost }),
        1 => node.clone().prop_map(|node| Event::Crash { node }),
        1 => node.prop_map(|node| Event::Restart { node }),
        2 => (1..8000u64).prop_map(|ms| Event::Wait { ms }),
        1 => (1..500i64).prop_map(|units| Event::TopUp { units }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Over any order of requests, claims, lost answers, crashes and restarts on three nodes, no
    /// more is spent than the amount, as long as no request uses more than it has reserved.
    #[test]
    fn never_more_than_the_amount(events in prop::collection::vec(event(), 1..400)) {
        let mut sums = Sums::default();
        let node = |_| Node { account: None, running: Vec::new(), flight: None };
        let mut nodes: Vec<Node> = (0..3).map(node).collect();
        let (mut now, mut spent, mut amount) = (10_000, 0, AMOUNT);
        for event in events {
            match event {
                Event::Wait { ms } => now += ms,
                Event::TopUp { units } => {
                    sums.extra += units;
                    amount += units;
                }
                Event::Ask { node, units, percent } => {
                    if let Some(account) = &nodes[node].account
                        && let Ok(reservation) = account.reserve(units, now, None)
                    {
                        nodes[node].running.push((reservation, units * percent / 100));
                    }
                }
                Event::End { node } => {
                    if let Some((reservation, used)) = nodes[node].running.pop() {
                        spent += used;
                        reservation.settle(used);
                    }
                }
                Event::Drop { node } => drop(nodes[node].running.pop()),
                Event::Claim { node } => {
                    let node = &mut nodes[node];
                    if node.flight.is_some() {
                        continue;
                    }
                    let claim = match &node.account {
                        None => Some((Claim { amount: AMOUNT, want: AMOUNT / 16, ..Claim::default() }, 0)),
                        Some(account) => account.claim(AMOUNT, now, false),
                    };
                    node.flight = claim.map(|(claim, asked)| (claim, asked, None));
                }
                Event::Store { node } => {
                    if let Some((claim, _, answer @ None)) = &mut nodes[node].flight {
                        *answer = Some(sums.apply(claim));
                    }
                }
                Event::Answer { node, is_lost } => {
                    let node = &mut nodes[node];
                    let Some((claim, asked, answer)) = node.flight.take() else { continue };
                    match (answer.filter(|_| !is_lost), &node.account) {
                        (Some(grant), Some(account)) => prop_assert!(account.take(&grant, asked, now)),
                        (Some(grant), None) => {
                            let account = Arc::new(Account::new(Window::ALL, grant.sums.epoch));
                            account.take(&grant, 0, now);
                            node.account = Some(account);
                        }
                        (None, Some(account)) => account.fail(&claim),
                        (None, None) => {}
                    }
                }
                Event::Crash { node } => {
                    // Its requests may have cost all that was reserved.
                    spent += nodes[node].running.iter().map(|(_, used)| used).sum::<i64>();
                    nodes[node] = Node { account: None, running: Vec::new(), flight: None };
                }
                Event::Restart { node } => {
                    let node = &mut nodes[node];
                    for (reservation, used) in node.running.drain(..) {
                        spent += used;
                        reservation.settle(used);
                    }
                    if let Some(account) = node.account.take()
                        && let Some(claim) = account.close(AMOUNT)
                    {
                        sums.apply(&claim);
                    }
                    node.flight = None;
                }
            }
            prop_assert!(spent <= amount, "{spent} of {amount}");
            prop_assert!(sums.taken <= amount, "{sums:?}");
        }
    }
}

fn fresh(want: i64, sums: &mut Sums) -> Arc<Account> {
    let grant = sums.apply(&Claim { amount: AMOUNT, want, ..Claim::default() });
    let account = Arc::new(Account::new(Window::ALL, grant.sums.epoch));
    account.take(&grant, 0, 0);
    account
}

#[test]
fn what_is_used_beyond_the_reserve_is_charged() {
    let mut sums = Sums::default();
    let account = fresh(100, &mut sums);
    account.reserve(80, 0, None).unwrap().settle(150);
    assert_eq!(account.spent(), 150);
    let (claim, asked) = account.claim(AMOUNT, 0, true).unwrap();
    assert_eq!((claim.give, claim.spent), (-50, 150));
    assert!(account.take(&sums.apply(&claim), asked, 0));
    assert_eq!((sums.spent, sums.left(AMOUNT)), (150, AMOUNT - sums.taken));
    assert!(sums.taken >= 150);
}

#[test]
fn an_empty_budget_refuses_and_is_asked_again() {
    let mut sums = Sums { taken: AMOUNT - 10, ..Sums::default() };
    let account = fresh(10, &mut sums);
    assert_eq!(account.reserve(20, 0, None).unwrap_err(), Short::Empty { available: 10 }, "it is known");
    let question = match account.reserve(20, EMPTY_MS + 1, None).unwrap_err() {
        Short::Ask(question) => question,
        empty => panic!("{empty:?}"),
    };
    assert_eq!(account.reserve(20, 300, Some(question)).unwrap_err(), Short::Ask(question), "not answered yet");
    sums.extra = 100;
    let (claim, asked) = account.claim(AMOUNT, 300, true).unwrap();
    account.take(&sums.apply(&claim), asked, 300);
    account.reserve(20, 301, Some(question)).unwrap().settle(20);
}

#[test]
fn a_reset_begins_anew() {
    let mut sums = Sums::default();
    let account = fresh(100, &mut sums);
    sums = Sums { epoch: sums.epoch + 1, ..Sums::default() };
    account.reserve(10, 0, None).unwrap().settle(10);
    let (claim, asked) = account.claim(AMOUNT, 0, false).unwrap();
    assert!(!account.take(&sums.apply(&claim), asked, 0));
    assert_eq!(sums, Sums { epoch: 1, ..Sums::default() }, "what was spent before does not count");
}

#[test]
fn what_nobody_uses_goes_back() {
    let mut sums = Sums::default();
    let account = fresh(1000, &mut sums);
    let (claim, asked) = account.claim(AMOUNT, IDLE_MS, true).unwrap();
    assert_eq!((claim.give, claim.want), (1000, 0));
    account.take(&sums.apply(&claim), asked, IDLE_MS);
    assert_eq!(sums.taken, 0);
    assert!(account.is_settled() && account.close(AMOUNT).is_none());
}
