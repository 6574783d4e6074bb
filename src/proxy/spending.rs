//! What a request holds of its budgets, and how much it may need.

use std::rc::Rc;

use crate::config::prices::cost::{May, Most};
use crate::config::prices::{ModelPrices, Tier};
use crate::config::snapshot::Provider;
use crate::limit::Need;
use crate::limit::budget::{Reservation, Unit};
use crate::telemetry::record::{AttemptUsage, Record, Tokens};
use crate::tokens;

/// What a request holds of its budgets.
#[derive(Debug)]
pub struct Spending {
    /// Of its credential, groups and tags.
    pub own: Vec<Held>,
    /// Of the provider that is asked.
    pub provider: Vec<Held>,
    /// The tokens of the prompt, estimated, and the most that the response may have.
    pub need: Need,
    pub plan: Plan,
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
        let used = Used::sum([self.used(used, 0)]);
        std::mem::take(&mut self.provider).into_iter().for_each(|held| held.settle(&used));
    }

    /// The request has ended. `tokens` is what the answer used, and `others` what other attempts
    /// did: the caller pays for all of them.
    pub fn settle(self, record: &Record, others: &[AttemptUsage], tokens: impl FnOnce(Need) -> Tokens) {
        let Record { provider, sent_model, tier, .. } = *record;
        let answer =
            AttemptUsage { provider, sent_model, tier, tokens: tokens(self.need), cost: None, priced_above: 0 };
        let of_answer = self.used(&answer, 1);
        let of_all = Used::sum(others.iter().map(|other| self.used(other, 0)).chain([of_answer]));
        let of_answer = Used::sum([of_answer]);
        self.own.into_iter().for_each(|held| held.settle(&of_all));
        self.provider.into_iter().for_each(|held| held.settle(&of_answer));
    }

    /// Returns what an attempt has used, with the fees of `requests`: as the log and the sums of
    /// costs have it, a request has its fee once, for its answer.
    fn used(&self, of: &AttemptUsage, requests: u64) -> Used {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let total = of.tokens.total();
        let needs_cost = self.own.iter().chain(&self.provider).any(|held| held.unit == Unit::Dollars);
        let cost = || {
            let price = self.plan.prices.of(of.provider, &of.sent_model)?;
            let rates = price.rates(Tier::of(of.tier.as_bytes()), of.tokens.input);
            Some(number(price.cost_at(&rates, &of.tokens, requests)))
        };
        Used { tokens: number(total), dollars: if total == 0 || !needs_cost { Some(0) } else { cost() } }
    }
}

/// What was used, in both units.
#[derive(Debug, Clone, Copy)]
struct Used {
    tokens: i64,
    /// `None` if a price is not known any more.
    dollars: Option<i64>,
}

impl Used {
    fn sum(all: impl IntoIterator<Item = Used>) -> Used {
        all.into_iter().fold(Used { tokens: 0, dollars: Some(0) }, |sum, one| Used {
            tokens: sum.tokens.saturating_add(one.tokens),
            dollars: sum.dollars.zip(one.dollars).map(|(sum, one)| sum.saturating_add(one)),
        })
    }
}

impl Held {
    fn settle(self, used: &Used) {
        let units = match self.unit {
            Unit::Tokens => used.tokens,
            // A price that is not known any more: what was reserved.
            Unit::Dollars => used.dollars.unwrap_or(self.reservation.units),
        };
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
    pub fn amount(&self, unit: Unit, output: u64, provider: Option<i64>) -> i64 {
        let output = output.saturating_mul(self.answers);
        if unit == Unit::Tokens {
            return i64::try_from(self.prompt.saturating_add(output)).unwrap_or(i64::MAX);
        }
        let cost = |most: Most| self.prompt as f64 * most.input + output as f64 * most.output + most.fees;
        self.prices.most(&self.may, provider).map(cost).fold(0.0, f64::max).ceil() as i64
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
