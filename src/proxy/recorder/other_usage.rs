//! What attempts have used that are not the answer, and that their providers are paid for all the
//! same: a stream that broke off and that another provider goes on with, and the attempt that lost
//! a race.
//!
//! The provider of such an attempt is charged at once, its limits and its budgets. The budgets and
//! limits of the caller are charged at the end, for all attempts together.

use crate::proxy::provider_hold::ProviderHold;
use crate::telemetry::record::{AttemptUsage, Record, Source, Tokens};
use crate::tokens;
use llm_wire::Format;
use llm_wire::canonical::usage::Usage;

/// What the attempts of one request have used, save that of the answer.
#[derive(Debug, Default)]
pub(super) struct OtherUsage {
    broken: Option<Box<BrokenStream>>,
    all: Vec<AttemptUsage>,
}

/// The stream that broke off, while another provider goes on with it.
#[derive(Debug)]
struct BrokenStream {
    usage: AttemptUsage,
    format: Option<Format>,
    /// What its provider has reported.
    reported: Option<Tokens>,
    /// The bytes that the client had got of it.
    response_bytes: u64,
}

/// What is known of an attempt that lost a race.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Whether the provider got the request. Otherwise it is paid for nothing.
    pub is_sent: bool,
    /// What the provider has reported.
    pub reported: Option<Usage>,
    /// The bytes of the answer that had come. 0 of a stream that was read to its first content.
    pub answer_bytes: u64,
    /// Whether they are those of a stream of events.
    pub is_stream: bool,
}

impl Progress {
    /// Returns what the attempt has used, of a prompt that is estimated.
    pub fn used(&self, prompt: u64) -> Tokens {
        if !self.is_sent {
            return Tokens::default();
        }
        let reported = self.reported.as_ref().map(Tokens::reported);
        at_least(reported, estimated(prompt, self.answer_bytes, self.is_stream))
    }
}

/// What an attempt has used that ran beside the answer, and lost the race.
pub struct LoserUsed {
    pub progress: Progress,
    /// What it still holds of its provider's limits.
    pub hold: Option<ProviderHold>,
}

impl OtherUsage {
    /// Returns how many bytes the client has got of the attempt that runs.
    pub(super) fn answer_bytes(&self, record: &Record) -> u64 {
        let before = self.broken.as_ref().map_or(0, |broken| broken.response_bytes);
        record.response_bytes.saturating_sub(before)
    }

    /// Begins the continuation of the stream that a record is of, and returns what that has used.
    /// `prompt` is the estimate of its prompt.
    pub(super) fn begin_continuation(&mut self, record: &mut Record, prompt: u64) -> AttemptUsage {
        let reported = record.tokens.take();
        let estimate = estimated(prompt, record.response_bytes, record.stream);
        let usage = of_attempt(record, at_least(reported, estimate));
        let (format, response_bytes) = (record.provider_format, record.response_bytes);
        self.broken = Some(Box::new(BrokenStream { usage, format, reported, response_bytes }));
        usage
    }

    /// Returns whether another provider goes on with a stream that broke off.
    pub(super) fn is_continued(&self) -> bool {
        self.broken.is_some()
    }

    /// Makes the stream that broke off the answer again. Returns false if there is none.
    pub(super) fn cancel_continuation(&mut self, record: &mut Record) -> bool {
        let Some(broken) = self.broken.take() else { return false };
        let AttemptUsage { provider, sent_model, tier, .. } = broken.usage;
        (record.provider, record.sent_model, record.provider_format) = (provider, sent_model, broken.format);
        (record.tokens, record.tier) = (broken.reported, tier);
        true
    }

    /// Adds what the loser of a race has used.
    pub(super) fn add(&mut self, usage: AttemptUsage) {
        if usage.tokens.total() > 0 {
            self.all.push(usage);
        }
    }

    /// Returns all of it, at the end of the request.
    pub(super) fn finish(&mut self) -> Vec<AttemptUsage> {
        let mut all = std::mem::take(&mut self.all);
        all.extend(self.broken.take().map(|broken| broken.usage));
        all
    }
}

/// Returns the usage of the attempt that a record is of.
pub(super) fn of_attempt(record: &Record, tokens: Tokens) -> AttemptUsage {
    let Record { provider, sent_model, tier, .. } = *record;
    AttemptUsage { provider, sent_model, tier, tokens, cost: None, priced_above: 0 }
}

/// Returns an estimate by the tokens of the prompt and the bytes of the response.
pub(super) fn estimated(input: u64, bytes: u64, stream: bool) -> Tokens {
    let output = tokens::of_answer(bytes, stream);
    Tokens { input, output, source: Source::Estimate, ..Tokens::default() }
}

/// Returns what was reported, with an output of at least the estimate: what has come may be more
/// than was reported at the beginning.
pub(super) fn at_least(reported: Option<Tokens>, estimate: Tokens) -> Tokens {
    match reported {
        Some(tokens) if estimate.output > tokens.output => {
            Tokens { output: estimate.output, source: Source::Estimate, ..tokens }
        }
        Some(tokens) => tokens,
        None => estimate,
    }
}
