//! Nodes over one store in simulated time, with everything that happens to a budget: requests that
//! use less or more than they have reserved, those that are served by a cheaper model instead,
//! answers of the store that are lost, crashes, restarts, reloads, resets, top-ups, the ends of
//! windows and changes of the period.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::limit::period::Window;

const AMOUNT: i64 = 10_000;
const NODES: usize = 3;
/// Seconds of a window.
const WINDOW: i64 = 100;
/// The part of the amount that a node takes at first.
const FIRST: i64 = 16;

/// The sums of one window: the number of changes of the period before it, and its begin.
type Key = (u32, i64);

/// What a node claims for.
#[derive(Debug, Clone)]
enum For {
    Begin(Window),
    Go(Arc<Account>, u64),
    Close(Arc<Account>),
}

/// A claim on its way, with its answer once the store has given one.
#[derive(Debug)]
struct Flight {
    key: Key,
    claim: Claim,
    purpose: For,
    answer: Option<Grant>,
}

/// A request that runs: what it has reserved, where, and what it will use.
struct Running {
    key: Key,
    reservation: Reservation,
    used: i64,
}

/// A node, with the requests that it runs. It does what `control_plane::budgets` does.
struct Node {
    state: State,
    /// Changes of the period that it has heard of.
    kind: u32,
    amount: i64,
    running: Vec<Running>,
    flight: Option<Flight>,
    closing: Vec<(Key, Arc<Account>)>,
}

impl Node {
    fn new(kind: u32, amount: i64) -> Node {
        let (state, running, closing) = (State::default(), Vec::new(), Vec::new());
        Node { state, kind, amount, running, flight: None, closing }
    }

    fn retire(&mut self) {
        if let Some(account) = self.state.last()
            && !self.closing.iter().any(|(_, known)| Arc::ptr_eq(known, &account))
        {
            self.closing.push(((self.kind, account.window.starts_at), account));
        }
    }

    /// The next claim of a node that has none on its way.
    fn claim(&mut self, unix: i64, now: u64, is_patient: bool) -> Option<Flight> {
        let flight = |key, claim, purpose| Flight { key, claim, purpose, answer: None };
        for (key, account) in &self.closing {
            if let Some(claim) = account.close(self.amount) {
                return Some(flight(*key, claim, For::Close(account.clone())));
            }
        }
        let Some(account) = self.state.account(unix) else {
            self.retire();
            let starts_at = unix / WINDOW * WINDOW;
            let window = Window { starts_at, ends_at: starts_at + WINDOW };
            let claim = Claim { amount: self.amount, want: self.amount / FIRST, ..Claim::default() };
            return Some(flight((self.kind, starts_at), claim, For::Begin(window)));
        };
        let (claim, asked) = account.claim(self.amount, now, is_patient)?;
        Some(flight((self.kind, account.window.starts_at), claim, For::Go(account, asked)))
    }

    fn take(&mut self, flight: Flight, now: u64, is_lost: bool) {
        let Flight { key, claim, purpose, answer } = flight;
        match (answer.filter(|_| !is_lost), purpose) {
            (Some(grant), For::Begin(window)) => {
                let account = Arc::new(Account::new(window, grant.sums.epoch));
                account.take(&grant, 0, now);
                match key.0 == self.kind {
                    true => self.state.begin(account),
                    // The period has changed meanwhile.
                    false => self.closing.push((key, account)),
                }
            }
            (Some(grant), For::Go(account, asked)) => {
                if !account.take(&grant, asked, now) && key.0 == self.kind {
                    let fresh = Arc::new(Account::new(account.window, grant.sums.epoch));
                    fresh.take(&Grant { units: 0, ..grant }, 0, now);
                    self.state.begin(fresh);
                }
            }
            (None, For::Go(account, _)) => {
                account.fail(&claim);
                account.give_up();
            }
            (None, For::Close(account)) => account.fail(&claim),
            (Some(_), For::Close(_)) | (None, For::Begin(_)) => {}
        }
    }
}

/// The store, and what was really spent, by the sums that it counts for.
#[derive(Default)]
struct World {
    sums: HashMap<Key, Sums>,
    spent: HashMap<(Key, i64), i64>,
    /// What requests have used beyond what they had reserved.
    beyond: HashMap<(Key, i64), i64>,
    /// The most that was allowed, with top-ups.
    allowed: HashMap<(Key, i64), i64>,
}

impl World {
    fn allow(&mut self, key: Key, amount: i64) {
        let sums = *self.sums.entry(key).or_default();
        let allowed = self.allowed.entry((key, sums.epoch)).or_default();
        *allowed = (*allowed).max(amount + sums.extra);
    }

    fn answer(&mut self, flight: &mut Flight) {
        if flight.answer.is_none() {
            self.allow(flight.key, flight.claim.amount);
            flight.answer = Some(self.sums.entry(flight.key).or_default().apply(&flight.claim));
        }
    }

    fn charge(&mut self, key: Key, reservation: &Reservation, used: i64) {
        let of = (key, reservation.account().epoch);
        *self.spent.entry(of).or_default() += used;
        *self.beyond.entry(of).or_default() += (used - reservation.units).max(0);
    }

    fn end(&mut self, request: Running) {
        self.charge(request.key, &request.reservation, request.used);
        request.reservation.settle(request.used);
    }

    /// The stated bound: the amount, and what requests use beyond their reserves.
    fn check(&self) -> Result<(), TestCaseError> {
        for (of, spent) in &self.spent {
            let (allowed, beyond) = (self.allowed.get(of).copied().unwrap_or(0), self.beyond[of]);
            prop_assert!(*spent <= allowed + beyond, "{of:?}: {spent} of {allowed} and {beyond}");
        }
        Ok(())
    }
}

#[derive(Debug, Clone)]
enum Event {
    /// A request reserves so much and will use so much of it, in per cent. If that is not
    /// affordable, it is served by a model that costs a tenth.
    Ask {
        node: usize,
        units: i64,
        percent: i64,
    },
    /// It ends: completely, by a failure, or since its client leaves.
    End {
        node: usize,
    },
    /// It has used nothing.
    Drop {
        node: usize,
    },
    /// The attempt at the provider of a budget breaks off, and another one at the same provider
    /// takes its place.
    Rescue {
        node: usize,
        percent: i64,
    },
    Claim {
        node: usize,
        is_patient: bool,
    },
    Store {
        node: usize,
    },
    Answer {
        node: usize,
        is_lost: bool,
    },
    /// What it runs has cost what it would have, and nobody reports it.
    Crash {
        node: usize,
    },
    Restart {
        node: usize,
    },
    /// It reads another amount.
    Reload {
        node: usize,
        amount: i64,
    },
    /// It reads another period, so that other sums count.
    ChangePeriod {
        node: usize,
    },
    Reset,
    TopUp {
        units: i64,
    },
    Wait {
        ms: u64,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let node = 0..NODES;
    prop_oneof![
        8 => (node.clone(), 1..400i64, 0..=150i64).prop_map(|(node, units, percent)| Event::Ask { node, units, percent }),
        5 => node.clone().prop_map(|node| Event::End { node }),
        1 => node.clone().prop_map(|node| Event::Drop { node }),
        1 => (node.clone(), 0..=150i64).prop_map(|(node, percent)| Event::Rescue { node, percent }),
        6 => (node.clone(), any::<bool>()).prop_map(|(node, is_patient)| Event::Claim { node, is_patient }),
        6 => node.clone().prop_map(|node| Event::Store { node }),
        6 => (node.clone(), prop::bool::weighted(0.1)).prop_map(|(node, is_lost)| Event::Answer { node, is_lost }),
        1 => node.clone().prop_map(|node| Event::Crash { node }),
        1 => node.clone().prop_map(|node| Event::Restart { node }),
        1 => (node.clone(), 100..AMOUNT * 2).prop_map(|(node, amount)| Event::Reload { node, amount }),
        1 => node.prop_map(|node| Event::ChangePeriod { node }),
        1 => Just(Event::Reset),
        1 => (1..500i64).prop_map(|units| Event::TopUp { units }),
        3 => (1..40_000u64).prop_map(|ms| Event::Wait { ms }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order, what is spent of the sums of a window is at most the
    /// amount and what requests have used beyond their reserves.
    #[test]
    fn never_more_than_the_stated_bound(events in prop::collection::vec(event(), 1..500)) {
        let mut world = World::default();
        let mut nodes: Vec<Node> = (0..NODES).map(|_| Node::new(0, AMOUNT)).collect();
        let (mut now, origin) = (10_000u64, 1_000_000i64);
        for event in events {
            let unix = origin + (now / 1000) as i64;
            match event {
                Event::Wait { ms } => now += ms,
                Event::TopUp { units } => {
                    for (key, sums) in &mut world.sums {
                        sums.extra += units;
                        *world.allowed.entry((*key, sums.epoch)).or_default() += units;
                    }
                }
                Event::Reset => {
                    for sums in world.sums.values_mut() {
                        *sums = Sums { epoch: sums.epoch + 1, ..Sums::default() };
                    }
                }
                Event::Ask { node, units, percent } => {
                    let node = &mut nodes[node];
                    let Some(account) = node.state.account(unix) else { continue };
                    let key = (node.kind, account.window.starts_at);
                    for units in [units, units / 10] {
                        if let Ok(reservation) = account.reserve(units, now, None) {
                            node.running.push(Running { key, reservation, used: units * percent / 100 });
                            break;
                        }
                    }
                }
                Event::End { node } => nodes[node].running.pop().into_iter().for_each(|request| world.end(request)),
                Event::Drop { node } => drop(nodes[node].running.pop()),
                Event::Rescue { node, percent } => {
                    let Some(request) = nodes[node].running.pop() else { continue };
                    let (key, units) = (request.key, request.reservation.units);
                    world.end(request);
                    if let Some(account) = nodes[node].state.account(unix)
                        && (nodes[node].kind, account.window.starts_at) == key
                        && let Some(reservation) = account.reserve_held(units, now)
                    {
                        nodes[node].running.push(Running { key, reservation, used: units * percent / 100 });
                    }
                }
                Event::Claim { node, is_patient } => {
                    if nodes[node].flight.is_none() {
                        nodes[node].flight = nodes[node].claim(unix, now, is_patient);
                    }
                }
                Event::Store { node } => {
                    if let Some(flight) = &mut nodes[node].flight {
                        world.answer(flight);
                    }
                }
                Event::Answer { node, is_lost } => {
                    if let Some(flight) = nodes[node].flight.take() {
                        nodes[node].take(flight, now, is_lost);
                    }
                }
                Event::Crash { node } => {
                    for request in &nodes[node].running {
                        world.charge(request.key, &request.reservation, request.used);
                    }
                    nodes[node] = Node::new(nodes[node].kind, nodes[node].amount);
                }
                Event::Restart { node } => {
                    let node = &mut nodes[node];
                    node.running.drain(..).for_each(|request| world.end(request));
                    if let Some(flight) = node.flight.take() {
                        node.take(flight, now, false);
                    }
                    node.retire();
                    for (key, account) in &node.closing {
                        if let Some(claim) = account.close(node.amount) {
                            world.allow(*key, node.amount);
                            world.sums.entry(*key).or_default().apply(&claim);
                        }
                    }
                    *node = Node::new(node.kind, node.amount);
                }
                Event::Reload { node, amount } => nodes[node].amount = amount,
                Event::ChangePeriod { node } => {
                    nodes[node].retire();
                    nodes[node].kind += 1;
                    nodes[node].state = State::default();
                }
            }
            world.check()?;
        }
    }
}
