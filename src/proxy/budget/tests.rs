//! Requests that hold their budgets together against requests that hold each by itself: after any
//! sequence of reserves, ends, grants, top-ups and resets both leave every account as the other.

use std::rc::Rc;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::spending::{Held, Own, Plan, Spending};
use super::resolved::ResolvedBudgets;
use crate::config::prices::cost::May;
use crate::config::prices::{ModelPrices, Price, PriceTable, ProviderPrice};
use crate::limit::Need;
use crate::limit::budget::{Account, Budget, Grant, Scope, State, Sums, Terms, Unit};
use crate::limit::period::{Period, Window, Zone};
use crate::telemetry::record::{AttemptUsage, Record, Short, Tokens};

/// Of each kind of budget one or two.
const KINDS: [(Unit, bool); 5] =
    [(Unit::Dollars, true), (Unit::Tokens, true), (Unit::Tokens, false), (Unit::Dollars, false), (Unit::Tokens, true)];
/// The last of the budgets is that of the provider.
const OF_PROVIDER: usize = KINDS.len() - 1;

/// What happens to the budgets.
#[derive(Debug, Clone)]
enum Event {
    /// A request of so much comes, which falls under the budgets of these bits, and under that of
    /// its provider or not.
    Ask { bits: u8, at_provider: bool, prompt: u64, output: u64 },
    /// One of the requests ends, with what its answer and its other attempts have used.
    End { which: usize, answer: Attempt, others: Vec<Attempt> },
    /// One of them is dropped without an end.
    Drop { which: usize },
    /// The store grants something of a budget.
    Grant { of: usize, units: i64, extra: i64 },
    /// A budget is reset: other requests find another account.
    Reset { of: usize },
}

/// What an attempt has used. The price at one of the providers is not known.
#[derive(Debug, Clone)]
struct Attempt {
    provider: i64,
    tokens: Tokens,
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let count = || prop_oneof![Just(0), 1..3_000u64, Just(u64::MAX / 3)];
    let parts = (1..=3i64, count(), count(), prop_oneof![3 => Just(0), 1 => 1..200u64], 0..3u64);
    parts.prop_map(|(provider, input, output, cache_read, server_tools)| Attempt {
        provider,
        tokens: Tokens { input, output, cache_read, server_tools, ..Tokens::default() },
    })
}

fn event() -> impl Strategy<Value = Event> {
    let of = 0..KINDS.len();
    let others = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(attempt(), 1..3)];
    prop_oneof![
        6 => (0..16u8, prop::bool::weighted(0.2), 0..2_000u64, 0..2_000u64)
            .prop_map(|(bits, at_provider, prompt, output)| Event::Ask { bits, at_provider, prompt, output }),
        5 => (any::<usize>(), attempt(), others)
            .prop_map(|(which, answer, others)| Event::End { which, answer, others }),
        1 => any::<usize>().prop_map(|which| Event::Drop { which }),
        3 => (of.clone(), 0..100_000i64, 0..3i64).prop_map(|(of, units, extra)| Event::Grant { of, units, extra }),
        1 => of.prop_map(|of| Event::Reset { of }),
    ]
}

/// The budgets with every account that they have had.
struct World {
    budgets: Vec<Arc<Budget>>,
    accounts: Vec<Arc<Account>>,
    running: Vec<Spending>,
}

impl World {
    fn new() -> World {
        let budget = |(id, (unit, is_hard)): (i64, (Unit, bool))| {
            let zone = Zone::parse("").unwrap();
            let terms = Terms {
                scope: if id as usize == OF_PROVIDER { Scope::Provider } else { Scope::Credential },
                subject: "a".into(),
                unit,
                amount: 1_000_000,
                period: Period::Total,
                zone,
                is_hard,
                warn_at: Box::new([]),
                downgrade_to: None,
            };
            Arc::new(Budget::new(id, "b", terms, Arc::new(State::default())))
        };
        let budgets: Vec<_> = (0..).zip(KINDS).map(budget).collect();
        let mut world = World { budgets, accounts: Vec::new(), running: Vec::new() };
        (0..KINDS.len()).for_each(|of| world.begin(of, 0, 1_000_000));
        world
    }

    fn begin(&mut self, of: usize, epoch: i64, units: i64) {
        let account = Arc::new(Account::new(Window::ALL, epoch));
        let sums = Sums { epoch, ..Sums::default() };
        assert!(account.take(&Grant { units, left: units, sums }, 0, 0));
        self.budgets[of].state.begin(account.clone());
        self.accounts.push(account);
    }

    fn account(&self, of: usize) -> Arc<Account> {
        self.budgets[of].state.account(1).unwrap()
    }

    /// Reserves for a request of all its budgets or of none. Returns whether it did.
    fn ask(&mut self, are_joint: bool, plan: Plan, (bits, at_provider, now): (u8, bool, u64)) -> bool {
        let own = (0..OF_PROVIDER).filter(|of| bits >> of & 1 == 1);
        let own: Vec<_> = own.map(|of| self.budgets[of].clone()).collect();
        let amount = |unit: Unit| plan.amount(unit, plan.most, None);
        let own = match are_joint {
            true => ResolvedBudgets::of_request(&own, 1).unwrap().reserve(now, amount).map(Own::Joint),
            false => own
                .iter()
                .map(|budget| hold(budget, amount(budget.terms.unit), now))
                .collect::<Option<_>>()
                .map(Own::Each),
        };
        let Some(own) = own else { return false };
        let of_provider = &self.budgets[OF_PROVIDER];
        let provider = at_provider.then(|| hold(of_provider, amount(of_provider.terms.unit), now));
        let provider = provider.flatten().into_iter().collect();
        self.running.push(Spending { own, provider, need: Need { prompt: plan.prompt, output: plan.most }, plan });
        true
    }

    fn take(&mut self, which: usize) -> Option<Spending> {
        (!self.running.is_empty()).then(|| self.running.swap_remove(which % self.running.len()))
    }

    /// All that the accounts have, by the words of their `Debug`.
    fn state(&self) -> Vec<String> {
        self.accounts.iter().map(|account| format!("{account:?}")).collect()
    }
}

/// Reserves from one budget as a request does that asks each by itself.
fn hold(budget: &Budget, units: i64, now: u64) -> Option<Held> {
    let account = budget.state.account(1).unwrap();
    let unit = budget.terms.unit;
    let reservation = match budget.terms.is_hard {
        true => account.reserve_held(units, now)?,
        false => account.reserve_anyway(units, now),
    };
    Some(Held { unit, reservation })
}

/// Makes the plan of a request with a model that three providers serve, of which one has no price.
fn plan(prompt: u64, most: u64) -> Plan {
    let price = |input: f64, output: f64| Price {
        input: Some(input),
        output: Some(output),
        cache_read: Some(input / 10.0),
        per_request: Some(output / 4.0),
        per_search: Some(input / 2.0),
        ..Price::default()
    };
    let known = [price(1.1e-8, 2.3e-8), price(2.0e-8, 1.0e-8)].map(|price| Some(Arc::new(price)));
    let list = (1..).zip(known.into_iter().chain([None])).map(|(id, price)| ProviderPrice::new(id, "m", price));
    Plan {
        prompt,
        likely_prompt: prompt,
        is_by_bytes: false,
        most,
        answers: 1,
        is_limited: true,
        may: May { prompt, ..May::default() },
        prices: Rc::new(ModelPrices::new(Arc::<PriceTable>::default(), list)),
        needs_price: true,
    }
}

fn settle(mut spending: Spending, answer: &Attempt, others: &[Attempt]) {
    let sent_model = Short::new("m");
    let record = Record { provider: answer.provider, sent_model, ..Record::new("", 0) };
    let other = |attempt: &Attempt| AttemptUsage {
        provider: attempt.provider,
        sent_model,
        tier: "",
        tokens: attempt.tokens,
        cost: None,
        priced_above: 0,
    };
    let others: Vec<_> = others.iter().map(other).collect();
    spending.settle(&record, &others, &answer.tokens);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn budgets_held_together_are_charged_as_each_by_itself(events in prop::collection::vec(event(), 1..120)) {
        let [mut joint, mut single] = [World::new(), World::new()];
        for (now, event) in (1u64..).zip(events) {
            match &event {
                Event::Ask { bits, at_provider, prompt, output } => {
                    let facts = (*bits, *at_provider, now);
                    let is_held = joint.ask(true, plan(*prompt, *output), facts);
                    prop_assert_eq!(is_held, single.ask(false, plan(*prompt, *output), facts));
                }
                Event::End { which, answer, others } => {
                    for world in [&mut joint, &mut single] {
                        world.take(*which).into_iter().for_each(|spending| settle(spending, answer, others));
                    }
                }
                Event::Drop { which } => [&mut joint, &mut single].map(|world| world.take(*which)).into_iter().for_each(drop),
                Event::Grant { of, units, extra } => {
                    for world in [&mut joint, &mut single] {
                        let account = world.account(*of);
                        let sums = Sums { epoch: account.epoch, extra: *extra, ..Sums::default() };
                        let is_same = account.take(&Grant { units: *units, left: *units, sums }, 0, now);
                        prop_assert!(is_same);
                    }
                }
                Event::Reset { of } => {
                    for world in [&mut joint, &mut single] {
                        let epoch = world.account(*of).epoch + 1;
                        world.begin(*of, epoch, 50_000);
                    }
                }
            }
            prop_assert_eq!(joint.state(), single.state(), "after {:?}", event);
        }
    }
}
