//! Requests and answers of each format, as vendors send them, shortened.

use llm_proxy::config::rows::ProviderRow;

use super::fake::Fake;
use super::gateway;

/// One format's exchange.
pub struct Sample {
    /// `provider_type` of a provider that speaks it.
    pub kind: &'static str,
    /// Path of the provider's base.
    pub base: &'static str,
    /// Path that clients post to.
    pub path: &'static str,
    pub ask: &'static str,
    pub ask_stream: &'static str,
    pub answer: &'static str,
    /// Events that carry no content: they are held back.
    pub opening: &'static [&'static str],
    /// Events with content, and what follows them to the end mark.
    pub content: &'static [&'static str],
    /// An error event that may stand anywhere.
    pub error: &'static str,
}

impl Sample {
    /// A provider that speaks this format.
    pub fn provider(&self, name: &str, fake: &Fake) -> ProviderRow {
        gateway::provider(name, self.kind, &fake.url(self.base))
    }

    /// All events of a stream.
    pub fn events(&self) -> Vec<&'static str> {
        [self.opening, self.content].concat()
    }
}

/// The model that every sample names, in requests and in answers.
pub const MODEL: &str = "m-asked";

pub const ALL: &[&Sample] = &[&CHAT, &COMPLETIONS, &MESSAGES, &RESPONSES];

pub const CHAT: Sample = Sample {
    kind: "openai",
    base: "/v1",
    path: "/v1/chat/completions",
    ask: r#"{"model":"m-asked","messages":[{"role":"user","content":"hi"}]}"#,
    ask_stream: r#"{"model":"m-asked","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}]}"#,
    answer: r#"{"id":"c1","object":"chat.completion","model":"m-asked","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#,
    opening: &[
        "data: {\"id\":\"c1\",\"model\":\"m-asked\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n",
    ],
    content: &[
        "data: {\"id\":\"c1\",\"model\":\"m-asked\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"},\"finish_reason\":null}]}\n\n",
        "data: {\"id\":\"c1\",\"model\":\"m-asked\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo\"},\"finish_reason\":null}]}\n\n",
        "data: {\"id\":\"c1\",\"model\":\"m-asked\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"id\":\"c1\",\"model\":\"m-asked\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}\n\n",
        "data: [DONE]\n\n",
    ],
    error: "data: {\"error\":{\"message\":\"it broke\",\"type\":\"server_error\",\"code\":null}}\n\n",
};

pub const COMPLETIONS: Sample = Sample {
    kind: "openai",
    base: "/v1",
    path: "/v1/completions",
    ask: r#"{"model":"m-asked","prompt":"hi"}"#,
    ask_stream: r#"{"model":"m-asked","stream":true,"prompt":"hi"}"#,
    answer: r#"{"id":"t1","object":"text_completion","model":"m-asked","choices":[{"index":0,"text":"Hello","finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#,
    opening: &[
        "data: {\"id\":\"t1\",\"model\":\"m-asked\",\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":null}]}\n\n",
    ],
    content: &[
        "data: {\"id\":\"t1\",\"model\":\"m-asked\",\"choices\":[{\"index\":0,\"text\":\"Hello\",\"finish_reason\":null}]}\n\n",
        "data: {\"id\":\"t1\",\"model\":\"m-asked\",\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\n",
        "data: [DONE]\n\n",
    ],
    error: "data: {\"error\":{\"message\":\"it broke\",\"type\":\"server_error\",\"code\":null}}\n\n",
};

pub const MESSAGES: Sample = Sample {
    kind: "anthropic",
    base: "",
    path: "/v1/messages",
    ask: r#"{"model":"m-asked","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#,
    ask_stream: r#"{"model":"m-asked","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#,
    answer: r#"{"id":"msg_1","type":"message","role":"assistant","model":"m-asked","content":[{"type":"text","text":"Hello"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":2}}"#,
    opening: &[
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m-asked\",\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n",
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
        "event: ping\ndata: {\"type\":\"ping\"}\n\n",
    ],
    content: &[
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hel\"}}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"lo\"}}\n\n",
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":2}}\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    ],
    error: "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"it broke\"}}\n\n",
};

pub const RESPONSES: Sample = Sample {
    kind: "responses",
    base: "/v1",
    path: "/v1/responses",
    ask: r#"{"model":"m-asked","input":"hi"}"#,
    ask_stream: r#"{"model":"m-asked","stream":true,"input":"hi"}"#,
    answer: r#"{"id":"resp_1","object":"response","status":"completed","model":"m-asked","output":[{"type":"message","id":"i1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Hello","annotations":[]}]}],"usage":{"input_tokens":3,"output_tokens":2,"total_tokens":5}}"#,
    opening: &[
        "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"in_progress\",\"model\":\"m-asked\",\"output\":[]}}\n\n",
        "event: response.in_progress\ndata: {\"type\":\"response.in_progress\",\"sequence_number\":1,\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"in_progress\",\"model\":\"m-asked\",\"output\":[]}}\n\n",
        "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"sequence_number\":2,\"output_index\":0,\"item\":{\"type\":\"message\",\"id\":\"i1\",\"role\":\"assistant\",\"status\":\"in_progress\",\"content\":[]}}\n\n",
        "event: response.content_part.added\ndata: {\"type\":\"response.content_part.added\",\"sequence_number\":3,\"item_id\":\"i1\",\"output_index\":0,\"content_index\":0,\"part\":{\"type\":\"output_text\",\"text\":\"\",\"annotations\":[]}}\n\n",
    ],
    content: &[
        "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":4,\"item_id\":\"i1\",\"output_index\":0,\"content_index\":0,\"delta\":\"Hello\"}\n\n",
        "event: response.output_text.done\ndata: {\"type\":\"response.output_text.done\",\"sequence_number\":5,\"item_id\":\"i1\",\"output_index\":0,\"content_index\":0,\"text\":\"Hello\"}\n\n",
        "event: response.output_item.done\ndata: {\"type\":\"response.output_item.done\",\"sequence_number\":6,\"output_index\":0,\"item\":{\"type\":\"message\",\"id\":\"i1\",\"role\":\"assistant\",\"status\":\"completed\",\"content\":[{\"type\":\"output_text\",\"text\":\"Hello\",\"annotations\":[]}]}}\n\n",
        "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":7,\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"completed\",\"model\":\"m-asked\",\"output\":[],\"usage\":{\"input_tokens\":3,\"output_tokens\":2,\"total_tokens\":5}}}\n\n",
    ],
    error: "event: error\ndata: {\"type\":\"error\",\"sequence_number\":9,\"code\":\"server_error\",\"message\":\"it broke\",\"param\":null}\n\n",
};
