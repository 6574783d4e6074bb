//! The facts of Chat Completions.

use crate::format::Format;
use crate::formats::profile::{
    FormatProfile, HttpProfile, KeyHeader, RateLimitHeaders, RequestProfile, ResponseProfile, ToolsProfile,
};
use crate::target::quirks::Host;

pub(crate) const PROFILE: FormatProfile = FormatProfile {
    name: "chat",
    title: "Chat Completions",
    protocol: "openai",
    vendor: Host::OpenAi,
    fallbacks: [Format::Responses, Format::Messages],
    http: HttpProfile {
        path: "/chat/completions",
        version_segment: "",
        count_path: None,
        count_is_common: false,
        counted_members: &[],
        key_header: KeyHeader::Bearer,
        version_header: None,
        version_headers: &[],
        rate_limit_headers: RateLimitHeaders::OpenAi,
        request_id_header: None,
        model_list_query: "",
    },
    request: RequestProfile {
        conversation: "messages",
        smallest: r#"{"model":"model","messages":[{"role":"user","content":"hi"}]}"#,
        has_system_messages: true,
        has_state: false,
        has_zero_max_tokens: false,
        has_minimum_of_tokens: false,
        has_seed_and_penalties: true,
        thinking_bars_sampling: false,
        has_verbosity: true,
        has_blank_stops: true,
        has_identity: true,
        has_moderation: true,
        tools: ToolsProfile {
            has_custom: true,
            has_allowed: true,
            has_examples: true,
            has_output_schema: false,
            has_untyped_schema: false,
            needs_properties: true,
            needs_object_root: false,
            needs_declared_calls: false,
        },
    },
    response: ResponseProfile {
        id_prefix: "chatcmpl-",
        has_opaque_reasoning: false,
        has_omitted_thinking: false,
        is_whole_at_finish: true,
        count_object: None,
    },
};
