//! What tokens cost.

use super::price::{Part, Price, Tier};
use crate::telemetry::record::Tokens;

/// The prices that are in force for a request, in dollars per million tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    pub input: f64,
    pub output: f64,
    pub cache_read: f64,
    pub cache_write_5m: f64,
    pub cache_write_1h: f64,
    pub reasoning: f64,
    /// The length of a prompt from which they apply; 0 for every prompt.
    pub above: u64,
}

/// A dollar for a million tokens is a thousand billionths for one.
const PER_TOKEN: f64 = 1e3;
const BILLIONTHS: f64 = 1e9;

/// Rounds an amount, which is not negative, as `f64::round` does. That is a call of a function on
/// processors of which no more than the baseline is known.
fn rounded(amount: f64) -> u64 {
    let whole = amount as u64;
    whole.saturating_add(u64::from(amount - whole as f64 >= 0.5))
}

impl Price {
    /// Returns the prices for a prompt of so many tokens. Tokens without a price of their own cost
    /// what their kind does: cached tokens cost as input, reasoning tokens as output.
    pub fn rates(&self, tier: Tier, prompt: u64) -> Rates {
        let find = |part: Part| match self.special.is_empty() {
            true => self.part(part),
            false => self.of_part(part, tier, prompt),
        };
        let (input, output) = (find(Part::Input).unwrap_or(0.0), find(Part::Output).unwrap_or(0.0));
        let write_5m = find(Part::CacheWrite5m).unwrap_or(input);
        Rates {
            input,
            output,
            cache_read: find(Part::CacheRead).unwrap_or(input),
            cache_write_5m: write_5m,
            cache_write_1h: find(Part::CacheWrite1h).unwrap_or(write_5m),
            reasoning: find(Part::Reasoning).unwrap_or(output),
            above: self.special.iter().map(|special| special.above).filter(|above| *above < prompt).max().unwrap_or(0),
        }
    }

    /// Returns the price of a part. A tier that has none of its own for long prompts costs so much
    /// more for them as the standard one does.
    fn of_part(&self, part: Part, tier: Tier, prompt: u64) -> Option<f64> {
        let at = |tier: Tier, long: bool| {
            let fits = |above: u64| if long { above > 0 && above < prompt } else { above == 0 };
            let fitting = self.special.iter().filter(|special| special.tier == tier && fits(special.above));
            let fitting = fitting.filter_map(|special| Some((special.above, special.parts[part as usize]?)));
            fitting.max_by_key(|(above, _)| *above).map(|(_, dollars)| dollars)
        };
        let short = self.part(part);
        let standard = at(Tier::Standard, true).or(short);
        if tier == Tier::Standard {
            return standard;
        }
        at(tier, true)
            .or_else(|| {
                let own = at(tier, false)?;
                let factor = match (standard, short) {
                    (Some(long), Some(short)) if short > 0.0 => long / short,
                    _ => 1.0,
                };
                Some(own * factor)
            })
            .or(standard)
    }

    /// Returns the cost of one request in billionths of a dollar.
    pub fn cost(&self, tier: Tier, used: &Tokens) -> u64 {
        self.cost_at(&self.rates(tier, used.input), used, 1)
    }

    /// Returns the cost of `requests` requests that used these tokens together, in billionths of a
    /// dollar.
    #[inline]
    pub fn cost_at(&self, rates: &Rates, used: &Tokens, requests: u64) -> u64 {
        let fees = self.fees(used, requests);
        if used.are_plain() {
            let tokens = used.input as f64 * rates.input * PER_TOKEN + used.output as f64 * rates.output * PER_TOKEN;
            return rounded(tokens + fees);
        }
        rounded(self.cost_by_kind(rates, used) + fees)
    }

    /// Returns the cost of tokens of all kinds, in billionths of a dollar.
    fn cost_by_kind(&self, rates: &Rates, used: &Tokens) -> f64 {
        let writes = used.cache_write_5m.saturating_add(used.cache_write_1h);
        let apart = |price: Option<f64>, count: u64| price.map_or((0, 0.0), |dollars| (count, dollars));
        let (audio_in, audio_in_price) = apart(self.audio_input, used.audio_input);
        let (image_in, image_in_price) = apart(self.image_input, used.image_input);
        let (audio_out, audio_out_price) = apart(self.audio_output, used.audio_output.min(used.output));
        let (image_out, image_out_price) = apart(self.image_output, used.image_output.min(used.output));
        let others = [used.cache_read, writes, audio_in, image_in];
        let plain = others.iter().fold(used.input, |rest, other| rest.saturating_sub(*other));
        let reasoning = used.reasoning.min(used.output);
        let others = [reasoning, audio_out, image_out];
        let visible = others.iter().fold(used.output, |rest, other| rest.saturating_sub(*other));
        let parts = [
            (plain, rates.input),
            (used.cache_read, rates.cache_read),
            (used.cache_write_5m, rates.cache_write_5m),
            (used.cache_write_1h, rates.cache_write_1h),
            (audio_in, audio_in_price),
            (image_in, image_in_price),
            (visible, rates.output),
            (reasoning, rates.reasoning),
            (audio_out, audio_out_price),
            (image_out, image_out_price),
        ];
        parts.iter().map(|(count, dollars)| *count as f64 * dollars * PER_TOKEN).sum::<f64>()
    }

    /// Returns the fees of `requests` requests, in billionths of a dollar.
    fn fees(&self, used: &Tokens, requests: u64) -> f64 {
        if self.per_request.is_none() && self.per_search.is_none() {
            return 0.0;
        }
        let fees = [(requests, self.per_request), (used.server_tools, self.per_search)];
        fees.iter().map(|(count, dollars)| *count as f64 * dollars.unwrap_or(0.0) * BILLIONTHS).sum::<f64>()
    }

    /// Returns whether tokens that are written to a cache for an hour may cost more than others.
    pub fn has_hour_writes(&self) -> bool {
        let of_special = |special: &super::price::Special| special.parts[Part::CacheWrite1h as usize].is_some();
        self.cache_write_1h.is_some() || self.special.iter().any(of_special)
    }

    /// Returns whether audio or pictures have prices of their own that depend on the request.
    pub fn has_media(&self) -> bool {
        [self.audio_input, self.image_input, self.audio_output].iter().any(Option::is_some)
    }

    /// Returns the most that a request may cost. A prompt may be written to a cache for five minutes
    /// without a word of the client: the gateway marks it, or the provider does so by itself.
    pub fn most(&self, may: &May) -> Most {
        let rates = self.rates(may.tier, may.prompt);
        let hour = may.writes_for_hour.then_some(rates.cache_write_1h);
        let writes = [Some(rates.cache_write_5m), hour].into_iter().flatten();
        let audio = [self.audio_input, self.image_input].into_iter().flatten().filter(|_| may.has_media);
        let input = writes.chain(audio).fold(rates.input, f64::max);
        let audio = self.audio_output.filter(|_| may.has_media);
        let output = [audio, self.image_output].into_iter().flatten().fold(rates.output.max(rates.reasoning), f64::max);
        let searches = self.per_search.unwrap_or(0.0) * may.searches as f64;
        let fees = self.per_request.unwrap_or(0.0) + searches;
        Most { input: input * PER_TOKEN, output: output * PER_TOKEN, fees: fees * BILLIONTHS }
    }
}

/// The most that a request may cost, in billionths of a dollar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Most {
    /// For a token of the prompt.
    pub input: f64,
    /// For a token of the response.
    pub output: f64,
    /// For the request apart from its tokens.
    pub fees: f64,
}

/// What a request may need, for [`Price::most`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct May {
    pub tier: Tier,
    /// Tokens of the prompt.
    pub prompt: u64,
    /// Whether the prompt may be written to a cache for an hour.
    pub writes_for_hour: bool,
    /// Whether it has audio or pictures, or asks for audio.
    pub has_media: bool,
    /// How often the provider may search.
    pub searches: u64,
}

impl May {
    /// Returns whether it may need something that has a price of its own.
    #[inline]
    pub fn has_extras(&self) -> bool {
        self.writes_for_hour || self.has_media || self.searches > 0
    }
}
