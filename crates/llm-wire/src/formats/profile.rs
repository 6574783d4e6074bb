//! What differs between formats and is a fact: each format's folder has a constant of
//! [`FormatProfile`] in its `profile.rs`, and [`Format::profile`] finds it.
//!
//! A question about a format that has a yes, a word or a number for an answer belongs here, so that
//! code outside of the folders of formats compares no format by name. What needs code, such as
//! decoders and encoders, is chosen by a `match` that the compiler keeps complete.

use crate::format::Format;
use crate::reasoning::envelope::Seal;
use crate::target::quirks::Host;

/// The facts of one format.
#[derive(Debug)]
pub struct FormatProfile {
    /// The word for this format on the command line, in configuration and in metric labels.
    pub name: &'static str,
    /// The vendor's name of this format, for sentences.
    pub title: &'static str,
    /// The word that dashboards and logs of llm-proxy v1 know.
    pub protocol: &'static str,
    /// The vendor whose format it is.
    pub vendor: Host,
    /// The formats of other providers for a client of this one, best first.
    pub fallbacks: [Format; 2],
    /// Paths and headers.
    pub http: HttpProfile,
    /// What a request of the format can express.
    pub request: RequestProfile,
    /// What a response of the format can express.
    pub response: ResponseProfile,
}

/// How the format is spoken over HTTP.
#[derive(Debug)]
pub struct HttpProfile {
    /// The path of the endpoint, behind the base URL and its version segment.
    pub path: &'static str,
    /// The version segment that base URLs of this format leave out.
    pub version_segment: &'static str,
    /// Azure's first API has the model as a deployment in the paths of this format.
    pub has_deployments: bool,
    /// The path of the endpoint that counts a request's tokens, if there is one.
    pub count_path: Option<&'static str>,
    /// Whether compatible hosts have that endpoint too.
    pub count_is_common: bool,
    /// The members of a request that this endpoint accepts.
    pub counted_members: &'static [&'static str],
    /// The header that carries an API key.
    pub key_header: KeyHeader,
    /// The header and value that every request needs.
    pub version_header: Option<(&'static str, &'static str)>,
    /// The headers of a client's request that tell its version of the format.
    pub version_headers: &'static [&'static str],
    /// The names under which the format reports rate limits.
    pub rate_limit_headers: RateLimitHeaders,
    /// The response header with the request's id that SDKs of the format read, beside
    /// `x-request-id`.
    pub request_id_header: Option<&'static str>,
    /// The query that gets the whole list of models in one page.
    pub model_list_query: &'static str,
}

/// The header that carries an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyHeader {
    /// `authorization: Bearer KEY`.
    Bearer,
    /// `x-api-key: KEY`.
    XApiKey,
}

/// The names of the headers that tell a caller what is left of its limits.
///
/// OpenAI: API reference, "Rate limits", "in headers"; Anthropic: "Rate limits", "response
/// headers". Both as of 2026-08.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateLimitHeaders {
    /// `x-ratelimit-reset-requests`, with a span.
    OpenAi,
    /// `anthropic-ratelimit-requests-reset`, with a time of day.
    Anthropic,
}

/// What a request can say.
#[derive(Debug)]
pub struct RequestProfile {
    /// The member that holds the conversation.
    pub conversation: &'static str,
    /// The smallest request, for a model named `model`.
    pub smallest: &'static str,
    /// The system prompt is one of the messages.
    pub has_system_messages: bool,
    /// The member that holds the system prompt, if its parts can carry cache breakpoints.
    pub cached_system: Option<&'static str>,
    /// System messages are items of the conversation like others, not parts of the system prompt.
    pub has_system_items: bool,
    /// `functions`, the older form of tools, is accepted.
    pub has_legacy_functions: bool,
    /// A stream has usage only if `stream_options.include_usage` asks for it.
    pub has_usage_option: bool,
    /// The kinds of opaque reasoning that a request can send back.
    pub seals: &'static [Seal],
    /// Opaque reasoning is `encrypted_content`, which some hosts refuse.
    pub has_encrypted_reasoning: bool,
    /// Reasoning that has no opaque state can be sent back as text.
    pub has_plain_reasoning: bool,
    /// The vendor's other format, for models that refuse tools beside thinking in this one.
    pub thinking_tools_format: Option<Format>,
    /// Structured output can be asked for through a tool that the model must call.
    pub answers_through_tool: bool,
    /// Web search is a property of the model, whose name has `-search` in it.
    pub searches_by_model: bool,
    /// The format refers to state that the provider keeps: previous responses, stored prompts,
    /// background work, truncation, limits of calls.
    pub has_state: bool,
    /// `max_tokens: 0` asks to fill the cache.
    pub has_zero_max_tokens: bool,
    /// A limit of output below 16 is refused by the vendor, whatever the model.
    pub has_minimum_of_tokens: bool,
    /// `seed`, penalties and `logit_bias`.
    pub has_seed_and_penalties: bool,
    /// Sampling parameters are refused while the model thinks.
    pub thinking_bars_sampling: bool,
    /// `verbosity` (C) or `text.verbosity` (R) sets how much the model writes.
    pub has_verbosity: bool,
    /// Stop sequences of white space alone are accepted.
    pub has_blank_stops: bool,
    /// `user`, `safety_identifier`, `prompt_cache_key` and `metadata` of any content.
    pub has_identity: bool,
    /// A request can ask for moderation of its content.
    pub has_moderation: bool,
    /// What a request can say about tools.
    pub tools: ToolsProfile,
}

/// What a request can say about tools.
#[derive(Debug)]
pub struct ToolsProfile {
    /// Custom tools, whose input is free text.
    pub has_custom: bool,
    /// A tool choice can name the allowed tools, and calls in parallel be asked for by `true`.
    pub has_allowed: bool,
    /// MCP servers can be declared.
    pub has_mcp: bool,
    /// A client's `strict: false` differs from its absence.
    pub has_explicit_strict: bool,
    /// A result names the kind of its call.
    pub has_typed_results: bool,
    /// A tool can have examples of its input.
    pub has_examples: bool,
    /// A tool can have a schema of its output.
    pub has_output_schema: bool,
    /// A schema without `type` is accepted.
    pub has_untyped_schema: bool,
    /// Every schema of an object needs `properties`.
    pub needs_properties: bool,
    /// The root of a schema must say that it is an object, and a strict schema may only have what
    /// the vendor's subset of JSON schema has.
    pub needs_object_root: bool,
    /// Calls in history are refused without a declaration of their tools.
    pub needs_declared_calls: bool,
}

/// The fields of a response.
#[derive(Debug)]
pub struct ResponseProfile {
    /// The prefix of a response's id.
    pub id_prefix: &'static str,
    /// Opaque reasoning (signatures, encrypted content) has a place of its own.
    pub has_opaque_reasoning: bool,
    /// Thinking can be asked for without its text.
    pub has_omitted_thinking: bool,
    /// A body with a member `error` is no answer, whatever else is in it.
    pub fails_by_error_member: bool,
    /// A whole answer may say by its `status` that it failed. It is a response all the same, with an
    /// id and usage.
    pub fails_by_status: bool,
    /// The end mark of a stream has no content of its own, so that alone it is no response.
    pub has_bare_end_mark: bool,
    /// A response repeats values of its request.
    pub repeats_request: bool,
    /// A stream whose finish reason came is whole, with or without its end mark.
    pub is_whole_at_finish: bool,
    /// The member `object` of a count of tokens.
    pub count_object: Option<&'static str>,
}
