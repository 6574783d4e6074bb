//! The facts of Messages.

use crate::format::Format;
use crate::formats::profile::{
    FormatProfile, HttpProfile, KeyHeader, RateLimitHeaders, RequestProfile, ResponseProfile, ToolsProfile,
};
use crate::reasoning::envelope::Seal;
use crate::target::quirks::Host;

/// What other code may ask about Messages.
pub(crate) const PROFILE: FormatProfile = FormatProfile {
    name: "messages",
    title: "Messages",
    protocol: "anthropic",
    vendor: Host::Anthropic,
    // Responses keeps images in tool results, opaque reasoning and custom tools; Chat has none of
    // them.
    fallbacks: [Format::Responses, Format::Chat],
    http: HttpProfile {
        path: "/messages",
        version_segment: "/v1",
        has_deployments: false,
        count_path: Some("/messages/count_tokens"),
        count_is_common: true,
        counted_members: &["model", "messages", "system", "tools", "tool_choice", "thinking", "mcp_servers"],
        key_header: KeyHeader::XApiKey,
        version_header: Some(("anthropic-version", "2023-06-01")),
        version_headers: &["anthropic-version", "anthropic-beta"],
        rate_limit_headers: RateLimitHeaders::Anthropic,
        request_id_header: Some("request-id"),
        // 1000 is the most that Anthropic gives (docs.claude.com, "List Models", 2026-11).
        model_list_query: "limit=1000",
    },
    request: RequestProfile {
        conversation: "messages",
        smallest: r#"{"model":"model","max_tokens":1024,"messages":[{"role":"user","content":"hi"}]}"#,
        has_system_messages: false,
        cached_system: Some("system"),
        has_system_items: false,
        has_legacy_functions: false,
        has_usage_option: false,
        seals: &[Seal::Thinking, Seal::Redacted],
        has_encrypted_reasoning: false,
        has_plain_reasoning: false,
        thinking_tools_format: None,
        answers_through_tool: true,
        searches_by_model: false,
        has_state: false,
        has_zero_max_tokens: true,
        has_minimum_of_tokens: false,
        has_seed_and_penalties: false,
        thinking_bars_sampling: true,
        has_verbosity: false,
        has_blank_stops: false,
        has_identity: false,
        has_moderation: false,
        tools: ToolsProfile {
            has_custom: false,
            has_allowed: false,
            has_mcp: true,
            has_explicit_strict: false,
            has_typed_results: false,
            has_examples: true,
            has_output_schema: false,
            has_untyped_schema: false,
            needs_properties: false,
            needs_object_root: true,
            needs_declared_calls: true,
        },
    },
    response: ResponseProfile {
        id_prefix: "msg_",
        has_opaque_reasoning: true,
        has_omitted_thinking: true,
        fails_by_error_member: false,
        fails_by_status: false,
        has_bare_end_mark: true,
        repeats_request: false,
        is_whole_at_finish: false,
        count_object: None,
    },
};
