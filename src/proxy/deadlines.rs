//! The deadlines of one attempt, from the settings of the process, of the provider and of the
//! model, and what the client asks for.

use std::time::Duration;

use crate::config::boot::Boot;
use crate::config::snapshot::Provider;
use crate::config::timeouts::FirstContent;
use crate::route::pick::Candidate;
use llm_http::RequestHead;
use llm_wire::target::caps::Thinking;

/// The deadlines of an attempt.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// To open a connection; `None` is that of the pool.
    pub connect: Option<Duration>,
    /// From the start of the attempt to the first content of a stream.
    pub first_content: Option<Duration>,
    /// The longest silence of the provider.
    pub silence: Duration,
    /// The whole request.
    pub total: Option<Duration>,
}

/// Bytes of a token of a prompt, roughly: what long prompts have.
const BYTES_PER_TOKEN: u64 = 4;

/// Returns about how many tokens the prompt of a body has.
pub(super) fn prompt_tokens(body: &[u8]) -> u64 {
    body.len() as u64 / BYTES_PER_TOKEN
}

impl Deadlines {
    /// Returns the deadlines before a provider is chosen.
    pub fn of_process(boot: &Boot) -> Deadlines {
        let (silence, total) = (boot.request_timeout, boot.total_timeout);
        Deadlines { connect: None, first_content: None, silence, total }
    }

    /// Returns the deadlines of an attempt at `candidate`, whose name of the model is `model`, for
    /// a body of `bytes`.
    pub fn of(boot: &Boot, provider: &Provider, candidate: &Candidate, model: &str, bytes: usize) -> Deadlines {
        let tokens = bytes as u64 / BYTES_PER_TOKEN;
        let reasons = candidate.target.caps.thinking != Thinking::None;
        if provider.timeouts.is_empty() {
            let first_content = boot.ttft_timeout.limit(tokens, reasons);
            return Deadlines { first_content, ..Deadlines::of_process(boot) };
        }
        let own = provider.timeouts.of_model(model);
        let per_1k = own.first_content_per_1k.filter(|_| matches!(own.first_content, Some(FirstContent::Fixed(_))));
        let thousands = u32::try_from(tokens / 1000).unwrap_or(u32::MAX);
        let more = per_1k.map_or(Duration::ZERO, |per_1k| per_1k.saturating_mul(thousands));
        let first_content = own.first_content.unwrap_or(boot.ttft_timeout).limit(tokens, reasons);
        Deadlines {
            connect: own.connect,
            first_content: first_content.map(|limit| limit.saturating_add(more)),
            silence: own.silence.unwrap_or(boot.request_timeout),
            total: own.total.or(boot.total_timeout),
        }
    }
}

/// Returns the time that the client gives its request: `x-llm-proxy-timeout-ms`, or else
/// `x-stainless-timeout` in seconds, which the SDKs of OpenAI and Anthropic send.
pub(super) fn of_client(head: &RequestHead, bytes: &[u8]) -> Option<Duration> {
    let number = |name: &str| std::str::from_utf8(head.get(bytes, name)?).ok()?.trim().parse::<f64>().ok();
    let seconds = number("x-llm-proxy-timeout-ms").map(|ms| ms / 1000.0).or_else(|| number("x-stainless-timeout"))?;
    Duration::try_from_secs_f64(seconds).ok().filter(|limit| !limit.is_zero())
}
