//! The facts of Chat Completions.

use crate::format::Format;
use crate::formats::profile::{
    FormatProfile, HttpProfile, KeyHeader, RateLimitHeaders, RequestProfile, ResponseProfile, ToolsProfile,
};
use crate::reasoning::envelope::Seal;
use crate::target::quirks::Host;

/// What other code may ask about Chat Completions.
pub(crate) const PROFILE: FormatProfile = FormatProfile {
    name: "chat",
    title: "Chat Completions",
    protocol: "openai",
    vendor: Host::OpenAi,
    fallbacks: [Format::Responses, Format::Messages],
    http: HttpProfile {
        path: "/chat/completions",
        version_segment: "",
        has_deployments: true,
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
        cached_system: None,
        has_system_items: false,
        has_legacy_functions: true,
        has_usage_option: true,
        seals: &[Seal::Thinking, Seal::Redacted, Seal::Encrypted, Seal::Signature],
        has_encrypted_reasoning: false,
        has_plain_reasoning: true,
        thinking_tools_format: Some(Format::Responses),
        answers_through_tool: false,
        searches_by_model: true,
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
            has_mcp: false,
            has_explicit_strict: true,
            has_typed_results: false,
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
        fails_by_error_member: true,
        fails_by_status: false,
        has_bare_end_mark: true,
        repeats_request: false,
        is_whole_at_finish: true,
        count_object: None,
    },
};
