//! What a request holds of its budgets, and how much it may need.

use std::rc::Rc;

use crate::config::prices::ModelPrices;
use crate::config::prices::cost::{May, Most};
use crate::config::snapshot::Provider;
use crate::limit::Need;
use crate::limit::budget::{LARGEST, Reservation, Unit};
use crate::proxy::budget::resolved::{JointReservation, Used};
use crate::telemetry::record::{AttemptUsage, Record, Short, Tokens};
use crate::tokens;

/// What a request holds of its budgets.
#[derive(Debug)]
pub struct Spending {
    /// Of its credential, groups and tags.
    pub own: Own,
    /// Of the provider that is asked.
    pub provider: Vec<Held>,
    /// The tokens of the prompt, estimated, and the most that the response may have.
    pub need: Need,
    pub plan: Plan,
}

/// How a request holds what it has reserved of the budgets of its credential, groups and tags.
#[derive(Debug)]
pub enum Own {
    /// Of all together, out of what the gateway held.
    Joint(JointReservation),
    /// Of each by itself.
    Each(Vec<Held>),
}

/// What a request holds of one budget.
#[derive(Debug)]
pub struct Held {
    pub unit: Unit,
    pub reservation: Reservation,
}

/// What a request may need, by provider.
#[derive(Debug)]
pub struct Plan {
    /// Tokens of the prompt, with a margin.
    pub prompt: u64,
    /// The same without a margin: what is charged where no usage is reported.
    pub likely_prompt: u64,
    /// Whether `prompt` is the most that so many bytes may be, which costs nothing to find.
    pub is_by_bytes: bool,
    /// The most tokens of one response.
    pub most: u64,
    pub answers: u64,
    /// Whether the client or the kind of request limits the response.
    pub is_limited: bool,
    pub may: May,
    pub prices: Rc<ModelPrices>,
    /// Whether a budget in dollars is among those of the request.
    pub needs_price: bool,
}

impl Spending {
    /// Returns whether something of it depends on the provider that is asked next.
    pub fn depends_on(&self, provider: &Provider) -> bool {
        let may_have_no_price = self.plan.needs_price && !self.plan.prices.are_complete();
        may_have_no_price || !provider.budgets.is_empty() || !self.provider.is_empty()
    }

    /// Charges the budgets of the provider of the attempt that broke off: another one goes on with
    /// its stream.
    pub fn settle_provider(&mut self, used: &AttemptUsage) {
        let used = self.used((used.provider, &used.sent_model), used.tier, &used.tokens, 0);
        std::mem::take(&mut self.provider).into_iter().for_each(|held| held.settle(&used));
    }

    /// Charges all budgets at the end of the request, after which it holds nothing. `tokens` is what
    /// the answer used, and `others` what other attempts did: the caller pays for all of them.
    #[inline]
    pub fn settle(&mut self, record: &Record, others: &[AttemptUsage], tokens: &Tokens) {
        let of_answer = self.used((record.provider, &record.sent_model), record.tier, tokens, 1);
        match &mut self.own {
            Own::Joint(reservation) if others.is_empty() && self.provider.is_empty() => {
                reservation.settle(&of_answer);
            }
            _ => self.settle_each(of_answer, others),
        }
    }

    /// Charges each budget by itself. Cold, so that the common end of a request stays short: this is
    /// that of one with several attempts, or whose provider has budgets of its own.
    #[cold]
    fn settle_each(&mut self, of_answer: Used, others: &[AttemptUsage]) {
        let of_all = others.iter().fold(of_answer, |sum, other| {
            sum.plus(self.used((other.provider, &other.sent_model), other.tier, &other.tokens, 0))
        });
        match &mut self.own {
            Own::Joint(reservation) => reservation.settle(&of_all),
            Own::Each(each) => each.drain(..).for_each(|held| held.settle(&of_all)),
        }
        self.provider.drain(..).for_each(|held| held.settle(&of_answer));
    }

    /// Returns what an attempt has used, with the fees of `requests`: as the log and the sums of
    /// costs have it, a request has its fee once, for its answer.
    #[inline]
    fn used(&self, sent: (i64, &Short<96>), tier: &str, used: &Tokens, requests: u64) -> Used {
        let total = used.total();
        let needs_cost = self.plan.needs_price || self.provider.iter().any(|held| held.unit == Unit::Dollars);
        let dollars = match total == 0 || !needs_cost {
            true => Some(0),
            false => self.plan.prices.cost(sent, tier, used, requests).map(bounded),
        };
        Used { tokens: bounded(total), dollars }
    }
}

/// The most that one request reserves or is charged: more than any budget has, and so little that
/// the sums of a budget that only warns can't overflow by what a client or a provider claims.
const MOST_OF_ONE: i64 = LARGEST + 1;

/// Returns a number as an amount, which is at most [`MOST_OF_ONE`].
#[inline]
fn bounded(number: u64) -> i64 {
    number.min(MOST_OF_ONE.unsigned_abs()) as i64
}

impl Held {
    fn settle(self, used: &Used) {
        let units = used.units(self.unit, self.reservation.units);
        self.reservation.settle(units);
    }
}

impl Plan {
    /// Estimates the prompt instead of taking the most that its bytes may be. False if it was
    /// estimated.
    pub fn refine(&mut self, body: &[u8]) -> bool {
        let was_by_bytes = std::mem::take(&mut self.is_by_bytes);
        if was_by_bytes {
            let estimate = tokens::prompt(body);
            self.prompt = self.prompt.min(estimate.saturating_add(estimate / 2));
            self.may.prompt = self.prompt;
        }
        was_by_bytes
    }

    /// The most that the request may use with responses of `output` tokens, at any of its providers
    /// or at one.
    #[inline]
    pub fn amount(&self, unit: Unit, output: u64, provider: Option<i64>) -> i64 {
        let output = output.saturating_mul(self.answers);
        if unit == Unit::Tokens {
            return bounded(self.prompt.saturating_add(output));
        }
        let dollars = match self.prices.highest(&self.may).filter(|_| provider.is_none()) {
            Some(highest) => self.cost(&highest, output).max(0.0),
            None => self.highest_cost(output, provider),
        };
        rounded_up(dollars).min(MOST_OF_ONE)
    }

    #[inline]
    fn cost(&self, most: &Most, output: u64) -> f64 {
        self.prompt as f64 * most.input + output as f64 * most.output + most.fees
    }

    /// Returns the most that the request may cost where no price is the highest for all requests.
    /// It is no part of what is inlined into the request path.
    #[inline(never)]
    fn highest_cost(&self, output: u64, provider: Option<i64>) -> f64 {
        self.prices.most(&self.may, provider).map(|most| self.cost(&most, output)).fold(0.0, f64::max)
    }

    /// The longest response, in tokens, for which `available` is enough.
    pub fn affordable(&self, unit: Unit, available: i64) -> u64 {
        let rest = available.saturating_sub(self.amount(unit, 0, None)).max(0);
        let of_output = match unit {
            Unit::Tokens => 1.0,
            Unit::Dollars => self.prices.most(&self.may, None).map(|most| most.output).fold(0.0, f64::max),
        };
        let each = of_output * self.answers as f64;
        if each <= 0.0 { u64::MAX } else { (rest as f64 / each).floor() as u64 }
    }
}

/// Rounds up an amount, which is not negative. `f64::ceil` is a call of a function on processors of
/// which no more than the baseline is known.
#[inline]
fn rounded_up(amount: f64) -> i64 {
    let whole = amount as i64;
    whole.saturating_add(i64::from((whole as f64) < amount))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::prices::{Price, PriceTable, ProviderPrice};

    /// A price that is the highest in each part is found in any list, and gives what the highest of
    /// all of them does, also where some are unknown, cross, or have fees.
    #[test]
    fn the_most_of_all_providers_is_that_of_the_most_expensive_one() {
        let price = |input: f64, output: f64, fee: f64| {
            Some(Price { input: Some(input), output: Some(output), per_request: Some(fee), ..Price::default() })
        };
        let kinds = [price(1.0, 2.0, 0.0), price(2.2, 1.1, 0.0), price(2.2, 2.3, 0.01), price(0.3, 9.9, 0.5), None];
        let (mut found, mut crossed) = (0, 0);
        for list in (0..125).map(|n| [n % 5, n / 5 % 5, n / 25]) {
            let of = |(id, kind): (i64, &usize)| ProviderPrice::new(id, "m", kinds[*kind].clone().map(Arc::new));
            let known = list.iter().any(|kind| kinds[*kind].is_some());
            for (prompt, output) in [(0, 0), (7, 1), (1_000, 64), (999_999, 123_457)] {
                let plan = Plan {
                    prompt,
                    likely_prompt: prompt,
                    is_by_bytes: true,
                    most: output,
                    answers: 1,
                    is_limited: true,
                    may: May { prompt, ..May::default() },
                    prices: Rc::new(ModelPrices::new(Arc::<PriceTable>::default(), (1..).zip(&list).map(of))),
                    needs_price: true,
                };
                let highest = (1..=3).map(|id| plan.amount(Unit::Dollars, output, Some(id))).max();
                assert_eq!(Some(plan.amount(Unit::Dollars, output, None)), highest, "{list:?}");
                let of_most = plan.prices.highest(&plan.may);
                found += i32::from(of_most.is_some());
                crossed += i32::from(known && of_most.is_none());
                let may = May { searches: 1, ..plan.may };
                assert!(plan.prices.highest(&may).is_none());
            }
        }
        assert!(found > 100 && crossed > 100, "{found} {crossed}");
    }

    #[test]
    fn an_absurd_limit_takes_more_than_any_budget_has_and_no_more() {
        let price = Price { input: Some(1.0), output: Some(2.0), ..Price::default() };
        let prices = [ProviderPrice::new(1, "m", Some(Arc::new(price)))];
        let plan = Plan {
            prompt: 7,
            likely_prompt: 7,
            is_by_bytes: true,
            most: u64::MAX,
            answers: 3,
            is_limited: true,
            may: May { prompt: 7, ..May::default() },
            prices: Rc::new(ModelPrices::new(Arc::<PriceTable>::default(), prices.into_iter())),
            needs_price: true,
        };
        for (unit, provider) in [(Unit::Tokens, None), (Unit::Dollars, None), (Unit::Dollars, Some(1))] {
            assert_eq!(plan.amount(unit, u64::MAX, provider), LARGEST + 1);
            assert!(plan.amount(unit, 1000, provider) < LARGEST);
        }
    }

    #[test]
    fn amounts_are_rounded_up() {
        for amount in [0.0, 0.25, 1.0, 1.000_000_1, 7.5, 1e15 + 0.5, 9e18, 1e300, f64::INFINITY] {
            assert_eq!(rounded_up(amount), amount.ceil() as i64, "{amount}");
        }
    }
}
