//! The tokens of one request: what its credential's limits are charged, and what the record says.

use crate::limit::Need;
use crate::telemetry::record::{Outcome, Record, Source, Tokens};
use crate::tokens;

/// Returns the tokens that a request has used up, for the limits of its credential.
///
/// The usage that the provider reported counts. Without one, a failure is free; for a response that
/// began, or a client that left while a provider worked on it, the prompt counts as estimated and
/// the response by `bytes`, those of it that the client got. A client gets no free tokens by
/// disconnecting.
pub(super) fn charged(record: &Record, need: Need, bytes: u64) -> u64 {
    if let Some(tokens) = record.tokens.filter(|tokens| tokens.input + tokens.output > 0) {
        return tokens.input.saturating_add(tokens.output);
    }
    let estimated = || need.prompt + tokens::of_answer(bytes, record.stream).min(need.output);
    match record.outcome {
        Outcome::Failed(_) => 0,
        Outcome::Complete if record.status >= 400 => 0,
        Outcome::ClientDisconnected if record.attempts == 0 => 0,
        Outcome::Complete | Outcome::Truncated(_) | Outcome::ClientDisconnected => estimated(),
    }
}

/// Returns the tokens that count for the budgets of a request as its provider has reported them.
/// `None` if [`spent`] has to find them.
pub(super) fn reported(record: &Record) -> Option<&Tokens> {
    record.tokens.as_ref().filter(|tokens| tokens.total() > 0 && !is_interrupted(record))
}

/// Returns the tokens that a request has used up, for its budgets: as [`charged`], by their kinds.
/// Of a response that came to no end at least what was forwarded counts.
pub(super) fn spent(record: &Record, need: Need, bytes: u64) -> Tokens {
    let reported = record.tokens.filter(|tokens| tokens.total() > 0);
    let Some(mut tokens) = reported else {
        let used = charged(record, need, bytes);
        let input = need.prompt.min(used);
        return Tokens { input, output: used - input, source: Source::Estimate, ..Tokens::default() };
    };
    if is_interrupted(record) {
        tokens.output = tokens.output.max(tokens::of_answer(bytes, record.stream));
    }
    tokens
}

/// Returns the tokens of a prompt of which nothing is known but the bytes of the request.
pub(super) fn prompt_by_bytes(record: &Record) -> u64 {
    record.request_bytes.div_ceil(4)
}

fn is_interrupted(record: &Record) -> bool {
    matches!(record.outcome, Outcome::Truncated(_) | Outcome::ClientDisconnected) && record.finish.is_none()
}

/// Completes the tokens of a model's response: estimates those that the provider did not report.
/// `prompt` is the estimate of the prompt, if there is one.
pub(super) fn complete(record: &mut Record, prompt: Option<u64>, bytes: u64) {
    if record.tokens.is_none_or(|tokens| tokens.total() == 0) && has_response(record) {
        let input = prompt.unwrap_or_else(|| prompt_by_bytes(record));
        let output = tokens::of_answer(bytes, record.stream);
        record.tokens = Some(Tokens { input, output, source: Source::Estimate, ..Tokens::default() });
    }
}

/// Completes what a provider reported in the middle of a response that came to no end: its output
/// is at least what was forwarded.
pub(super) fn complete_interrupted(record: &mut Record, bytes: u64) {
    let is_interrupted = is_interrupted(record);
    if let Some(tokens) = record.tokens.as_mut().filter(|_| is_interrupted) {
        tokens.output = tokens.output.max(tokens::of_answer(bytes, record.stream));
        tokens.source = Source::Estimate;
    }
}

fn has_response(record: &Record) -> bool {
    record.attempts > 0
        && match record.outcome {
            Outcome::Failed(_) => false,
            Outcome::Complete => record.status < 400,
            Outcome::Truncated(_) | Outcome::ClientDisconnected => record.first_byte_us > 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use llm_wire::error::Kind;

    #[test]
    fn charges_reported_or_estimated_tokens() {
        let record = |outcome, status, attempts, response_bytes, tokens| Record {
            outcome,
            status,
            attempts,
            response_bytes,
            tokens,
            stream: true,
            ..Record::new("", 0)
        };
        let reported = Some(Tokens { input: 70, output: 30, cache_read: 60, ..Tokens::default() });
        let (left, done) = (Outcome::ClientDisconnected, Outcome::Complete);
        let (cut, failed) = (Outcome::Truncated(Kind::UpstreamTruncated), Outcome::Failed(Kind::UpstreamFault));
        let rows = [
            (done, 200, 1, 5000, reported, 100),
            (cut, 200, 1, 5000, reported, 100),
            (left, 0, 1, 5000, reported, 100),
            (done, 200, 1, 5000, None, 40 + 50),
            (done, 200, 1, 5000, Some(Tokens::default()), 40 + 50),
            (cut, 200, 1, 5000, None, 40 + 50),
            (left, 0, 1, 1000, None, 40 + 10),
            (left, 0, 1, 1 << 40, None, 40 + 500),
            (left, 0, 1, 0, None, 40),
            (left, 0, 0, 0, None, 0),
            (done, 429, 2, 300, None, 0),
            (failed, 502, 1, 300, None, 0),
        ];
        for (outcome, status, attempts, bytes, tokens, expected) in rows {
            let record = record(outcome, status, attempts, bytes, tokens);
            assert_eq!(charged(&record, Need { prompt: 40, output: 500 }, bytes), expected, "{record:?}");
        }
    }
}
