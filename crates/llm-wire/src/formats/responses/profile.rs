//! The facts of Responses.

use crate::format::Format;
use crate::formats::profile::{
    FormatProfile, HttpProfile, KeyHeader, RateLimitHeaders, RequestProfile, ResponseProfile, ToolsProfile,
};
use crate::reasoning::envelope::Seal;
use crate::target::quirks::Host;

/// What other code may ask about Responses.
pub(crate) const PROFILE: FormatProfile = FormatProfile {
    name: "responses",
    title: "Responses",
    protocol: "response_api",
    vendor: Host::OpenAi,
    fallbacks: [Format::Messages, Format::Chat],
    http: HttpProfile {
        path: "/responses",
        version_segment: "",
        has_deployments: false,
        count_path: Some("/responses/input_tokens"),
        count_is_common: false,
        counted_members: &[
            "model",
            "input",
            "instructions",
            "tools",
            "tool_choice",
            "text",
            "reasoning",
            "truncation",
            "parallel_tool_calls",
        ],
        key_header: KeyHeader::Bearer,
        version_header: None,
        version_headers: &[],
        rate_limit_headers: RateLimitHeaders::OpenAi,
        request_id_header: None,
        model_list_query: "",
    },
    request: RequestProfile {
        conversation: "input",
        smallest: r#"{"model":"model","input":"hi"}"#,
        has_system_messages: false,
        cached_system: None,
        has_system_items: true,
        has_legacy_functions: false,
        has_usage_option: false,
        seals: &[Seal::Encrypted],
        has_encrypted_reasoning: true,
        has_plain_reasoning: false,
        thinking_tools_format: None,
        answers_through_tool: false,
        searches_by_model: false,
        has_state: true,
        has_zero_max_tokens: false,
        has_minimum_of_tokens: true,
        has_seed_and_penalties: false,
        thinking_bars_sampling: false,
        has_verbosity: true,
        has_blank_stops: true,
        has_identity: true,
        has_moderation: true,
        tools: ToolsProfile {
            has_custom: true,
            has_allowed: true,
            has_mcp: true,
            has_explicit_strict: false,
            has_typed_results: true,
            has_examples: false,
            has_output_schema: true,
            // `{}` is accepted (recorded).
            has_untyped_schema: true,
            needs_properties: true,
            needs_object_root: false,
            needs_declared_calls: false,
        },
    },
    response: ResponseProfile {
        id_prefix: "resp_",
        has_opaque_reasoning: true,
        has_omitted_thinking: false,
        fails_by_error_member: false,
        has_bare_end_mark: false,
        repeats_request: true,
        is_whole_at_finish: false,
        count_object: Some("response.input_tokens"),
    },
};
