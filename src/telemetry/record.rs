//! What is known of a request when it has ended. A worker writes it, the control plane reads it.
//!
//! A record owns no text but tags: names are looked up in a snapshot by id, and what a client may
//! choose (request id, model) is copied into a fixed space and cut there. So a record costs a copy
//! and no allocation, unless the request has tags or a sink needs its [`Detail`].

use crate::telemetry::capture::Detail;
pub use crate::telemetry::short::Short;
use crate::telemetry::stages::Stages;
use crate::telemetry::user_agent::UserAgent;
use llm_wire::Format;
use llm_wire::canonical::usage::Usage;
use llm_wire::error::Kind;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The response was sent completely, whatever its status.
    Complete,
    /// The client disconnected before the end.
    ClientDisconnected,
    /// The request was refused or failed with this kind before anything of a response was sent.
    Failed(Kind),
    /// The response broke off after its head was sent.
    Truncated(Kind),
}

/// What was wrong with a stream that went to the client as its provider sent it, and came to its
/// end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamDefect {
    /// One of its events is no JSON.
    MalformedEvent,
    /// It has a finish reason and no end mark (`[DONE]`). Some hosts never send one.
    NoEndMark,
}

impl StreamDefect {
    /// Returns the word for it in records.
    pub fn label(self) -> &'static str {
        match self {
            StreamDefect::MalformedEvent => "malformed_event",
            StreamDefect::NoEndMark => "no_end_mark",
        }
    }
}

/// Where a count of tokens is from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Source {
    #[default]
    Provider,
    /// Estimated by sizes, since the provider reported nothing.
    Estimate,
    /// Counted by this gateway with the vocabulary of the model, or with the nearest one.
    Counted,
}

impl Source {
    /// Every source, in the order of declaration.
    pub const ALL: [Source; 3] = [Source::Provider, Source::Estimate, Source::Counted];

    /// Returns the metric label `source`.
    pub fn label(self) -> &'static str {
        match self {
            Source::Provider => "provider",
            Source::Estimate => "estimate",
            Source::Counted => "counted",
        }
    }
}

/// What a request cost, in tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    /// All input, cached or not.
    pub input: u64,
    /// All output, reasoning included.
    pub output: u64,
    pub cache_read: u64,
    /// Written to a cache for five minutes, or for an unknown time.
    pub cache_write_5m: u64,
    /// Written to a cache for an hour.
    pub cache_write_1h: u64,
    pub reasoning: u64,
    /// Of the input.
    pub audio_input: u64,
    pub image_input: u64,
    /// Of the output.
    pub audio_output: u64,
    pub image_output: u64,
    /// Calls of tools that ran at the provider: a number of requests, not of tokens.
    pub server_tools: u64,
    pub source: Source,
}

impl Tokens {
    /// Returns the tokens that a provider reported.
    pub fn reported(usage: &Usage) -> Tokens {
        Tokens {
            input: usage.input_total,
            output: usage.output_total,
            cache_read: usage.cache_read,
            cache_write_5m: usage.cache_write_5m,
            cache_write_1h: usage.cache_write_1h,
            reasoning: usage.reasoning,
            audio_input: usage.audio_input,
            image_input: usage.image_input,
            audio_output: usage.audio_output,
            image_output: usage.image_output,
            server_tools: usage.server_tools,
            source: Source::Provider,
        }
    }

    /// Returns the sum of input and output. It saturates.
    #[inline]
    pub fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// Returns whether none of them is of a kind that may have a price of its own: there are no
    /// others than plain ones of the input and the output.
    #[inline]
    pub fn are_plain(&self) -> bool {
        let cached = self.cache_read | self.cache_write_5m | self.cache_write_1h;
        let media = self.audio_input | self.image_input | self.audio_output | self.image_output;
        (cached | media | self.reasoning) == 0
    }

    /// Returns the tokens that were written to a cache, for either time.
    pub fn cache_write(&self) -> u64 {
        self.cache_write_5m.saturating_add(self.cache_write_1h)
    }
}

/// What an attempt has used that is not the answer, and that its provider is paid for all the same:
/// a stream that broke off and that another provider went on with, or an attempt that lost a race.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptUsage {
    /// The id of the provider.
    pub provider: i64,
    /// The upstream model, cut.
    pub sent_model: Short<96>,
    /// The tier of service, as that of a [`Record`].
    pub tier: &'static str,
    pub tokens: Tokens,
    /// As those of a [`Record`].
    pub cost: Option<u64>,
    pub priced_above: u64,
}

/// One finished request.
#[derive(Debug, Clone)]
pub struct Record {
    pub request_id: Short<64>,
    /// Route template, such as `/v1/chat/completions`.
    pub endpoint: &'static str,
    pub method: &'static str,
    /// The client's format; `None` on paths of no format.
    pub client_format: Option<Format>,
    pub provider_format: Option<Format>,
    /// The model as the client wrote it, cut.
    pub model: Short<96>,
    /// The upstream model of the last attempt, cut.
    pub sent_model: Short<96>,
    /// The id of the virtual model that was asked for. 0 is none.
    pub virtual_model: i64,
    /// The id of the credential. 0 is none.
    pub credential: i64,
    /// The id of the last provider that was tried. 0 is none.
    pub provider: i64,
    /// The number of the snapshot, for looking up names.
    pub generation: u64,
    pub user_agent: UserAgent,
    pub status: u16,
    pub stream: bool,
    pub attempts: u8,
    pub outcome: Outcome,
    pub stream_defect: Option<StreamDefect>,
    /// `None` where no model has responded.
    pub tokens: Option<Tokens>,
    /// Billionths of a dollar, where the configuration has the prices: what the answer costs. The
    /// control plane sets it.
    pub cost: Option<u64>,
    /// What other attempts have used that are paid for. Nearly always nothing.
    pub other_usage: Option<Box<[AttemptUsage]>>,
    /// Why the response ended, in one vocabulary for all formats (`stop`, `length`,
    /// `tool_calls`...). `None` if it was not seen.
    pub finish: Option<&'static str>,
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// Microseconds since 1970 when the head was complete.
    pub started_us: u64,
    /// Microseconds from the head to the last byte written.
    pub total_us: u64,
    /// Microseconds from the head to the first byte of the upstream's response; 0 without one.
    pub first_byte_us: u64,
    /// Microseconds from the head to the first content of a stream; 0 for whole responses, and
    /// without content.
    pub first_content_us: u64,
    /// All zero with STAGE_CLOCK off, save the time to read the head.
    pub stages: Stages,
    pub detail: Option<Box<Detail>>,
    /// The tier of service: the one that the answer named, else the one that the request asks for;
    /// `batch`, `flex`, `priority`, or empty.
    pub tier: &'static str,
    /// The length of a prompt from which the applied prices apply; 0 for every prompt. Set with the
    /// cost.
    pub priced_above: u64,
    /// The tags of the request that are known here, in alphabetical order, with commas.
    pub tags: Option<Box<str>>,
    /// Whether it has no detail because more requests came in its second than are captured
    /// ([`CaptureConfig::per_second`](crate::telemetry::capture::CaptureConfig)).
    pub sampled_out: bool,
}

impl Record {
    /// Makes the record of a request of which nothing else is known yet.
    pub fn new(request_id: &str, started_us: u64) -> Record {
        Record::of(Short::new(request_id), started_us)
    }

    /// Does the same with an id that was cut already.
    #[inline]
    pub fn of(request_id: Short<64>, started_us: u64) -> Record {
        Record {
            request_id,
            endpoint: "",
            method: "",
            client_format: None,
            provider_format: None,
            model: Short::EMPTY,
            sent_model: Short::EMPTY,
            virtual_model: 0,
            credential: 0,
            provider: 0,
            generation: 0,
            user_agent: UserAgent::UNKNOWN,
            status: 0,
            stream: false,
            attempts: 0,
            // This holds if the task is dropped before anything else is known.
            outcome: Outcome::ClientDisconnected,
            stream_defect: None,
            tokens: None,
            cost: None,
            other_usage: None,
            finish: None,
            request_bytes: 0,
            response_bytes: 0,
            started_us,
            total_us: 0,
            first_byte_us: 0,
            first_content_us: 0,
            stages: Stages::default(),
            detail: None,
            tier: "",
            priced_above: 0,
            tags: None,
            sampled_out: false,
        }
    }

    /// Returns whether the request went to a provider of another format.
    pub fn is_translated(&self) -> bool {
        self.provider_format.is_some() && self.provider_format != self.client_format
    }

    /// Returns what the request has cost with all of its attempts, as far as the prices are known.
    pub fn total_cost(&self) -> Option<u64> {
        let others = self.other_usage.iter().flatten().filter_map(|other| other.cost);
        self.cost.into_iter().chain(others).reduce(u64::saturating_add)
    }

    /// Returns the bytes that its detail takes of a ring's memory.
    pub fn detail_size(&self) -> usize {
        self.detail.as_ref().map_or(0, |detail| detail.size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_text_is_cut_at_a_character() {
        assert_eq!(Short::<4>::new("abc").as_str(), "abc");
        assert_eq!(Short::<4>::new("abcé").as_str(), "abc");
        assert_eq!(Short::<4>::new("").as_str(), "");
    }
}
