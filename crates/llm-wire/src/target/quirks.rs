//! Oddities of hosts as named flags: a vendor is a row in the store, and what is odd about it is a
//! word on that row.
//!
//! Built-in sets come from the host of the provider's base URL ([`Host::of`]);
//! `provider_params.quirks` adds a word or, with a leading `-`, takes one away. Sources: the
//! vendors' API pages and trackers as collected in `docs/internals/translation/hosts.md`. What a
//! *model* can do is in [`caps`](crate::target::caps); what a *host* accepts on the wire is here.

macro_rules! hosts {
    ($( $(#[$default:meta])? $name:ident $label:literal; )*) => {
        /// Who runs the server. Decides built-in quirks and capability patterns.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub enum Host {
            $(
                #[doc = concat!("The host that `provider_params.host` calls `", $label, "`.")]
                $(#[$default])?
                $name,
            )*
        }

        impl Host {
            /// All hosts, for the reference.
            pub const ALL: &'static [Host] = &[ $( Host::$name, )* ];

            /// Returns the word for the host in `provider_params.host`.
            pub fn name(self) -> &'static str {
                match self { $( Host::$name => $label, )* }
            }

            /// By the word in `provider_params.host`, for servers behind a name of their own.
            pub fn named(name: &str) -> Option<Host> {
                match name { $( $label => Some(Host::$name), )* _ => None }
            }
        }
    };
}

hosts! {
    OpenAi "openai";
    Azure "azure";
    Anthropic "anthropic";
    Bedrock "bedrock";
    Vertex "vertex";
    DeepSeek "deepseek";
    Qwen "qwen";
    OpenRouter "openrouter";
    Vllm "vllm";
    Sglang "sglang";
    Ollama "ollama";
    Mistral "mistral";
    Groq "groq";
    Xai "xai";
    GeminiCompat "gemini-compat";
    Together "together";
    Fireworks "fireworks";
    Kimi "kimi";
    Glm "glm";
    MiniMax "minimax";
    #[default]
    Unknown "unknown";
}

/// `(pattern, host)`; a pattern with a leading dot is a suffix, one with a leading colon a port,
/// else the whole name.
const HOSTS: &[(&str, Host)] = &[
    ("api.openai.com", Host::OpenAi),
    (".api.openai.com", Host::OpenAi),
    (".openai.azure.com", Host::Azure),
    (".cognitiveservices.azure.com", Host::Azure),
    (".services.ai.azure.com", Host::Azure),
    ("api.anthropic.com", Host::Anthropic),
    (".amazonaws.com", Host::Bedrock),
    ("generativelanguage.googleapis.com", Host::GeminiCompat),
    ("aiplatform.googleapis.com", Host::Vertex),
    ("-aiplatform.googleapis.com", Host::Vertex),
    (".deepseek.com", Host::DeepSeek),
    (".aliyuncs.com", Host::Qwen),
    ("openrouter.ai", Host::OpenRouter),
    (".mistral.ai", Host::Mistral),
    ("api.groq.com", Host::Groq),
    ("api.x.ai", Host::Xai),
    (".together.xyz", Host::Together),
    (".together.ai", Host::Together),
    (".fireworks.ai", Host::Fireworks),
    (".moonshot.cn", Host::Kimi),
    (".moonshot.ai", Host::Kimi),
    (".kimi.com", Host::Kimi),
    (".bigmodel.cn", Host::Glm),
    ("api.z.ai", Host::Glm),
    (".minimax.chat", Host::MiniMax),
    (".minimaxi.com", Host::MiniMax),
    (".minimax.io", Host::MiniMax),
    ("ollama.com", Host::Ollama),
    (":11434", Host::Ollama),
];

impl Host {
    /// Returns the vendor behind the authority (`host` or `host:port`) of a base URL. Ports matter
    /// for Ollama alone, whose default port nothing else uses.
    pub fn of(authority: &str) -> Host {
        let authority = authority.to_ascii_lowercase();
        let name = match authority.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => authority.as_str(),
        };
        let hit = HOSTS.iter().find(|(pattern, _)| match pattern.as_bytes()[0] {
            b'.' | b'-' => name.ends_with(pattern),
            b':' => authority.ends_with(pattern),
            _ => name == *pattern,
        });
        hit.map_or(Host::Unknown, |(_, host)| *host)
    }

    /// A vendor's own API, which takes every field of its format. All others imitate it and get
    /// only what they are known to take.
    pub fn is_native(self) -> bool {
        matches!(self, Host::OpenAi | Host::Azure | Host::Anthropic | Host::Bedrock | Host::Vertex)
    }
}

macro_rules! quirks {
    ($( $name:ident $label:literal $why:literal; )*) => {
        /// One oddity.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Quirk { $( #[doc = $why] $name, )* }

        impl Quirk {
            /// Every row, for the reference.
            pub const ALL: &'static [Quirk] = &[ $( Quirk::$name, )* ];

            /// Returns the word for the quirk in `provider_params.quirks`.
            pub fn name(self) -> &'static str {
                match self { $( Quirk::$name => $label, )* }
            }

            /// Returns what it means, for the reference.
            pub fn description(self) -> &'static str {
                match self { $( Quirk::$name => $why, )* }
            }
        }
    };
}

quirks! {
    MinimalFields "minimal_fields" "Only model, messages, stream, stream_options, max_tokens, temperature, top_p, stop, tools, tool_choice and response_format are sent.";
    PlainContent "plain_content" "The content of a message is sent as a plain string when it is one text part.";
    JoinSystem "join_system" "The system prompt is sent as one string.";
    SystemFirst "system_first" "The chat template accepts system messages only at the beginning; later ones become user text.";
    AlternateRoles "alternate_roles" "The chat template requires user and assistant in turn; neighbours of one role are merged.";
    NoUserAfterTool "no_user_after_tool" "A user message directly after a tool message is refused; images go inside the tool content, text goes behind a short assistant message.";
    NoMessageName "no_message_name" "`messages[].name` is refused.";
    NoStreamUsage "no_stream_usage" "`stream_options` is refused.";
    AlwaysStream "always_stream" "The host answers only with streams; the gateway collects the stream for clients that did not ask for one.";
    StreamThinking "stream_thinking" "The host thinks only in streams; the gateway collects the stream for clients that did not ask for one.";
    NoToolChoice "no_tool_choice" "`tool_choice` is ignored or refused.";
    ToolChoiceAny "tool_choice_any" "The tool choice `required` is called `any`.";
    NoForcedToolThinking "no_forced_tool_thinking" "A forced tool choice is refused while the model thinks.";
    NoParallel "no_parallel" "`parallel_tool_calls` is refused.";
    NoToolStrict "no_tool_strict" "`strict` on a tool is refused.";
    NoJsonSchema "no_json_schema" "`json_schema` is refused; the schema goes into the prompt, with `json_object`.";
    NoLogprobs "no_logprobs" "`logprobs` is refused.";
    NoPenalties "no_penalties" "Frequency and presence penalties are refused.";
    NoZeroTemperature "no_zero_temperature" "A temperature of 0 is refused; 0.01 is sent.";
    EchoReasoning "echo_reasoning" "Within a tool loop every assistant message must carry its `reasoning_content`.";
    EchoEmptyReasoning "echo_empty_reasoning" "A `reasoning_content` that is not known is sent as an empty string.";
    EchoReasoningDetails "echo_reasoning_details" "`reasoning_details` is sent back unmodified.";
    ReasoningField "reasoning_field" "The field of visible reasoning is called `reasoning` instead of `reasoning_content`.";
    ThinkingType "thinking_type" "Thinking is turned on and off by `thinking: {type}`.";
    EnableThinking "enable_thinking" "Thinking is turned on and off by `enable_thinking` and limited by `thinking_budget`.";
    ReasoningObject "reasoning_object" "Thinking is controlled by `reasoning: {effort, max_tokens, exclude}`.";
    TemplateThinking "template_thinking" "Thinking is turned on and off by `chat_template_kwargs.enable_thinking`.";
    ReasoningFormat "reasoning_format" "`reasoning_format: parsed` keeps reasoning out of the text.";
    ThinkTags "think_tags" "Reasoning arrives inside the text, between `<think>` tags.";
    NoEncryptedReasoning "no_encrypted_reasoning" "The Responses endpoint refuses `encrypted_content`.";
    GoogleSignature "google_signature" "Tool calls carry `extra_content.google.thought_signature`, which is sent back unmodified.";
    VertexSignature "vertex_signature" "Tool calls carry `extra_content.vertex.thought_signature`, which is sent back unmodified.";
    ContinueFinal "continue_final" "The model continues a last assistant message (`continue_final_message`).";
    ImageString "image_string" "`image_url` is a plain string.";
    NoFiles "no_files" "File parts are refused.";
    NoDeveloper "no_developer" "The role `developer` is unknown.";
    OldFields "old_fields" "The host has an older version of OpenAI's API, without `safety_identifier`, `prompt_cache_*`, `metadata`, `verbosity` and `service_tier`; the client's id is sent as `user`.";
    NoMessagesStrict "no_messages_strict" "`strict` and `output_config.format` are refused for the newest models of this transport.";
}

/// A set of [`Quirk`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quirks(u64);

const _: () = assert!(Quirk::ALL.len() <= 64);

impl Quirks {
    /// The empty set.
    pub const NONE: Quirks = Quirks(0);

    const fn of(list: &[Quirk]) -> Quirks {
        let mut bits = 0;
        let mut i = 0;
        while i < list.len() {
            bits |= 1 << list[i] as u64;
            i += 1;
        }
        Quirks(bits)
    }

    /// Returns whether the set contains `quirk`.
    pub fn has(self, quirk: Quirk) -> bool {
        self.0 & (1 << quirk as u64) != 0
    }

    /// Returns the set with `quirk` added.
    pub fn with(self, quirk: Quirk) -> Quirks {
        Quirks(self.0 | 1 << quirk as u64)
    }

    /// Returns the set with `quirk` taken away.
    pub fn without(self, quirk: Quirk) -> Quirks {
        Quirks(self.0 & !(1 << quirk as u64))
    }

    /// Iterates over the quirks of the set, in the order of [`Quirk::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Quirk> {
        Quirk::ALL.iter().copied().filter(move |q| self.has(*q))
    }

    /// Returns the built-in set of a host.
    pub fn of_host(host: Host) -> Quirks {
        // What every imitator of Chat Completions has in common: plain strings, `system` instead of
        // `developer`, no `strict`.
        const COMPAT: Quirks =
            Quirks::of(&[Quirk::PlainContent, Quirk::JoinSystem, Quirk::NoDeveloper, Quirk::NoToolStrict]);
        const MINIMAL: Quirks = Quirks::of(&[Quirk::MinimalFields, Quirk::NoParallel]);
        const TEMPLATE: Quirks =
            Quirks::of(&[Quirk::SystemFirst, Quirk::TemplateThinking, Quirk::NoEncryptedReasoning]);
        const ECHO: Quirks = Quirks::of(&[Quirk::EchoReasoning]);
        let own: &[Quirk] = match host {
            Host::OpenAi | Host::Azure | Host::Anthropic => return Quirks::NONE,
            Host::Bedrock => return Quirks::of(&[Quirk::NoMessagesStrict]),
            Host::Vertex => return Quirks::NONE,
            Host::DeepSeek => &[
                Quirk::EchoReasoning,
                Quirk::EchoEmptyReasoning,
                Quirk::ThinkingType,
                Quirk::NoForcedToolThinking,
                Quirk::NoJsonSchema,
            ],
            Host::Qwen => &[Quirk::EnableThinking, Quirk::StreamThinking, Quirk::NoForcedToolThinking],
            Host::OpenRouter => {
                return Quirks::of(&[
                    Quirk::EchoReasoningDetails,
                    Quirk::ReasoningField,
                    Quirk::ReasoningObject,
                    Quirk::NoDeveloper,
                ]);
            }
            Host::Vllm => {
                return COMPAT.union(TEMPLATE).union(Quirks::of(&[
                    Quirk::AlternateRoles,
                    Quirk::ReasoningField,
                    Quirk::ContinueFinal,
                ]));
            }
            Host::Sglang => return COMPAT.union(TEMPLATE),
            Host::Ollama => &[Quirk::ReasoningField, Quirk::NoToolChoice],
            Host::Mistral => &[Quirk::NoUserAfterTool, Quirk::ToolChoiceAny, Quirk::ImageString],
            Host::Groq => &[Quirk::NoMessageName, Quirk::NoLogprobs, Quirk::ReasoningFormat, Quirk::ReasoningField],
            Host::Xai => return Quirks::of(&[Quirk::NoDeveloper, Quirk::PlainContent]),
            Host::GeminiCompat => &[Quirk::GoogleSignature],
            Host::Together | Host::Fireworks | Host::Unknown => &[],
            Host::Kimi => &[Quirk::EchoReasoning, Quirk::NoZeroTemperature],
            Host::Glm => &[Quirk::EchoReasoning, Quirk::ThinkingType],
            Host::MiniMax => {
                return COMPAT
                    .union(MINIMAL)
                    .union(ECHO)
                    .union(Quirks::of(&[Quirk::EchoReasoningDetails, Quirk::NoZeroTemperature]));
            }
        };
        COMPAT.union(MINIMAL).union(Quirks::of(own))
    }

    /// Returns the quirks that are in either set.
    pub const fn union(self, other: Quirks) -> Quirks {
        Quirks(self.0 | other.0)
    }

    /// Applies `provider_params.quirks`: `name` adds, `-name` takes away. Returns the words that
    /// are no quirk.
    pub fn apply<'w>(mut self, words: impl IntoIterator<Item = &'w str>) -> (Quirks, Vec<&'w str>) {
        let mut unknown = Vec::new();
        for word in words {
            let name = word.strip_prefix('-').unwrap_or(word);
            match Quirk::ALL.iter().find(|q| q.name() == name) {
                Some(quirk) if word.starts_with('-') => self = self.without(*quirk),
                Some(quirk) => self = self.with(*quirk),
                None => unknown.push(word),
            }
        }
        (self, unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_known_by_name() {
        let rows = [
            ("api.openai.com", Host::OpenAi),
            ("eu.api.openai.com", Host::OpenAi),
            ("contoso.openai.azure.com:443", Host::Azure),
            ("API.Anthropic.com", Host::Anthropic),
            ("api.deepseek.com", Host::DeepSeek),
            ("dashscope-intl.aliyuncs.com", Host::Qwen),
            ("us-east5-aiplatform.googleapis.com", Host::Vertex),
            ("bedrock-runtime.us-east-1.amazonaws.com", Host::Bedrock),
            ("localhost:11434", Host::Ollama),
            ("[::1]:11434", Host::Ollama),
            ("localhost:8000", Host::Unknown),
            ("evil-api.openai.com.example", Host::Unknown),
            ("notdeepseek.com", Host::Unknown),
        ];
        for (authority, host) in rows {
            assert_eq!(Host::of(authority), host, "{authority}");
        }
        for host in Host::ALL {
            assert_eq!(Host::named(host.name()), Some(*host));
        }
    }

    #[test]
    fn words_on_the_row_win() {
        let (quirks, unknown) = Quirks::of_host(Host::Unknown).apply(["think_tags", "-no_parallel", "nonsense"]);
        assert!(quirks.has(Quirk::ThinkTags) && !quirks.has(Quirk::NoParallel));
        assert_eq!(unknown, ["nonsense"]);
        assert!(Quirks::of_host(Host::OpenAi).iter().next().is_none());
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::HashSet<_> = Quirk::ALL.iter().map(|q| q.name()).collect();
        assert_eq!(names.len(), Quirk::ALL.len());
    }
}
