//! Built-in capability patterns of the models we know by name.
//!
//! Sources: Anthropic's pages "Thinking troubleshooting", "Models overview" and "Preserved
//! thinking" (2026), OpenAI's model pages and API reference (2026), gathered in
//! `docs/internals/translation/hosts.md`, "Classes of models". Dots and dashes in Claude names are
//! equal; transport prefixes (`us.anthropic.`, `anthropic/`) and dates are ignored.

use crate::Format;
use crate::canonical::effort::{Effort, Levels};
use crate::target::caps::{Caps, Disable, SamplingRule, Structured, Thinking};
use crate::target::quirks::Host;
use crate::target::tool_names::{IdRule, NameRule};

/// The table for a model before the row's own settings.
pub fn built_in(to: Format, host: Host, model: &str) -> Caps {
    let model = bare(model);
    let mut caps = match (to, Claude::parse(&model)) {
        (Format::Messages, Some(name)) => claude(name, host),
        (Format::Messages, None) => imitator_of_messages(),
        (_, Some(_)) => imitator(host, &model),
        (_, None) if matches!(host, Host::OpenAi | Host::Azure) => openai(&model),
        (_, None) => imitator(host, &model),
    };
    // A host that is not known gets what the format can say: it refuses by itself what it lacks.
    caps.pdf |= host == Host::Unknown;
    caps.audio_in |= host == Host::Unknown && to == Format::Chat;
    match to {
        Format::Chat => caps.chat = true,
        Format::Messages => caps.messages = true,
        Format::Responses => (caps.responses, caps.stop_max, caps.n) = (true, 0, false),
    }
    caps
}

/// The name without the path, region and vendor that some hosts put before it, in lower case.
fn bare(model: &str) -> String {
    let model = model.to_ascii_lowercase();
    let model = model.rsplit_once('/').map_or(model.as_str(), |(_, name)| name);
    let model = model.split_once("anthropic.").map_or(model, |(_, name)| name);
    model.to_owned()
}

/// Nothing known: what nearly every imitator of Chat Completions takes.
const PLAIN: Caps = Caps {
    chat: false,
    messages: false,
    responses: false,
    max_output: u32::MAX as u64,
    default_output: 8192,
    context_window: 128_000,
    window_stop: false,
    thinking: Thinking::None,
    levels: Levels::EMPTY,
    thinks_by_default: false,
    disable: Disable::Always,
    thinking_binding: false,
    interleaved_beta: false,
    sampling: SamplingRule::Ok,
    temperature_max: 2,
    temp_and_top_p_together: true,
    prefill: false,
    mid_system: true,
    developer: false,
    structured: Structured::JsonSchema,
    strict_tools: false,
    custom_tools: false,
    images_in_tool_result: false,
    url_images: true,
    pdf: false,
    audio_in: false,
    encrypted_reasoning: false,
    n: false,
    stop_max: 4,
    top_k: false,
    logprobs: false,
    stream_usage: true,
    tool_ids: IdRule::OpenAi,
    tool_names: NameRule::OpenAi,
    max_completion_tokens: false,
    tools_with_effort_on_chat: true,
    web_search: false,
    cache_points: false,
};

/// A Messages endpoint of another vendor: conservative.
fn imitator_of_messages() -> Caps {
    Caps {
        max_output: 8192,
        temperature_max: 1,
        mid_system: false,
        structured: Structured::None,
        images_in_tool_result: true,
        stop_max: u64::MAX,
        top_k: true,
        tool_ids: IdRule::Messages,
        tool_names: NameRule::Messages,
        prefill: true,
        ..PLAIN
    }
}

fn imitator(host: Host, model: &str) -> Caps {
    let mut caps = PLAIN;
    let low_to_high = Levels::range(Effort::Low, Effort::High);
    match host {
        Host::Vllm | Host::Sglang => {
            (caps.top_k, caps.logprobs, caps.n, caps.prefill) = (true, true, true, host == Host::Vllm)
        }
        Host::OpenRouter => {
            caps = Caps { top_k: true, n: true, logprobs: true, audio_in: true, pdf: true, ..caps };
            caps.levels = Levels::range(Effort::None, Effort::Xhigh);
            caps.thinking = Thinking::Effort;
        }
        Host::DeepSeek => {
            caps.structured = Structured::JsonObject;
            caps.thinks_by_default = model.contains("reasoner");
            caps.max_output = 65_536;
        }
        Host::Mistral => caps.tool_ids = IdRule::Mistral,
        Host::Groq => caps.max_completion_tokens = true,
        Host::Xai => {
            if model.contains("grok-3-mini") {
                caps.levels = Levels::of(&[Effort::Low, Effort::High]);
            }
            if !model.contains("grok-3") || model.contains("mini") {
                (caps.stop_max, caps.thinks_by_default) = (0, !model.contains("non-reasoning"));
            }
        }
        Host::GeminiCompat => {
            caps.levels = Levels::of(&[Effort::None, Effort::Minimal, Effort::Low, Effort::Medium, Effort::High]);
            caps.thinks_by_default = true;
            caps.pdf = false;
        }
        Host::Kimi => caps.temperature_max = 1,
        Host::Ollama | Host::Qwen | Host::Together | Host::Fireworks | Host::Glm | Host::MiniMax => caps.top_k = true,
        Host::OpenAi | Host::Azure | Host::Anthropic | Host::Bedrock | Host::Vertex | Host::Unknown => {}
    }
    if model.contains("gpt-oss") {
        (caps.levels, caps.thinks_by_default) = (low_to_high, true);
    }
    if !caps.levels.is_empty() {
        caps.thinking = Thinking::Effort;
    }
    caps
}

/// A parsed Claude name. A tier that is not known compares as the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Claude<'a> {
    tier: &'a str,
    /// `(0, 0)` if the name gives none.
    version: (u8, u8),
}

impl<'a> Claude<'a> {
    fn parse(name: &'a str) -> Option<Claude<'a>> {
        let rest = &name[name.find("claude")? + "claude".len()..];
        let mut tier = "";
        let mut numbers = [0u8; 2];
        let mut seen = 0;
        for word in rest.split(['-', '.', '@', ':', '_']).filter(|w| !w.is_empty()) {
            let number = word.parse::<u8>().ok().filter(|_| word.len() <= 2);
            match number {
                Some(n) if seen < 2 => {
                    numbers[seen] = n;
                    seen += 1;
                }
                Some(_) => {}
                // A date ends what counts as the version.
                None if word.bytes().all(|b| b.is_ascii_digit()) => seen = 2,
                None if tier.is_empty() && word != "v" && word != "latest" => tier = word,
                None => {
                    if word == "preview" {
                        seen = 2;
                    }
                }
            }
        }
        Some(Claude { tier, version: (numbers[0], numbers[1]) })
    }

    fn is(self, tier: &str) -> bool {
        self.tier == tier
    }
}

fn claude(name: Claude<'_>, host: Host) -> Caps {
    let all = Levels::range(Effort::Low, Effort::Max);
    let without_xhigh = Levels::of(&[Effort::Low, Effort::Medium, Effort::High, Effort::Max]);
    let direct = host == Host::Anthropic;
    // The newest class, which also stands for every name not known here.
    let newest = Caps {
        max_output: 128_000,
        context_window: 200_000,
        window_stop: true,
        thinking: Thinking::Adaptive,
        levels: all,
        thinks_by_default: true,
        disable: Disable::UpTo(Effort::High),
        thinking_binding: true,
        sampling: SamplingRule::None,
        temperature_max: 1,
        temp_and_top_p_together: false,
        mid_system: direct,
        structured: Structured::JsonSchema,
        strict_tools: true,
        images_in_tool_result: true,
        url_images: !matches!(host, Host::Bedrock),
        pdf: true,
        stop_max: u64::MAX,
        top_k: true,
        tool_ids: IdRule::Messages,
        tool_names: NameRule::Messages,
        web_search: matches!(host, Host::Anthropic | Host::Vertex),
        cache_points: true,
        ..PLAIN
    };
    let sampled = Caps {
        thinks_by_default: false,
        disable: Disable::Always,
        thinking_binding: false,
        sampling: SamplingRule::Ok,
        mid_system: false,
        ..newest
    };
    let manual = Caps {
        max_output: 64_000,
        thinking: Thinking::Manual,
        levels: Levels::EMPTY,
        interleaved_beta: true,
        prefill: true,
        ..sampled
    };
    let mut caps = match (name.tier, name.version) {
        ("fable" | "mythos", (5.., minor)) => Caps { disable: Disable::Never, thinking_binding: minor > 0, ..newest },
        ("mythos", _) => Caps {
            thinking: Thinking::AdaptiveOrManual,
            disable: Disable::Never,
            thinking_binding: false,
            mid_system: false,
            ..newest
        },
        ("sonnet", (5, 0)) => Caps { disable: Disable::Always, thinking_binding: false, mid_system: false, ..newest },
        (_, (5, minor)) => Caps { thinking_binding: minor >= 5, ..newest },
        (_, (4, 7..)) => Caps {
            thinks_by_default: false,
            disable: if host == Host::Bedrock { Disable::Never } else { Disable::Always },
            thinking_binding: false,
            mid_system: direct && name.version >= (4, 8),
            ..newest
        },
        (_, (4, 6)) => Caps { thinking: Thinking::AdaptiveOrManual, levels: without_xhigh, ..sampled },
        (_, (4, 5)) => manual,
        (_, (4, 2..)) => manual,
        ("opus", (4, 1)) => Caps { max_output: 32_000, window_stop: false, ..manual },
        ("opus", (4, 0)) => old_four(32_000, manual),
        (_, (4, _)) => old_four(64_000, manual),
        (_, (3, 7)) => Caps { interleaved_beta: false, ..old_four(64_000, manual) },
        (_, (1..=3, minor)) => Caps {
            max_output: if minor >= 5 { 8192 } else { 4096 },
            thinking: Thinking::None,
            interleaved_beta: false,
            ..old_four(4096, manual)
        },
        (_, (0, _)) => Caps { max_output: 64_000, ..newest },
        _ => newest,
    };
    if name.is("instant") {
        (caps.thinking, caps.max_output) = (Thinking::None, 4096);
    }
    if caps.thinking == Thinking::None {
        (caps.levels, caps.thinks_by_default) = (Levels::EMPTY, false);
    }
    // Bedrock reserves quota by `max_tokens`, so an absent one gets a small default there.
    caps.default_output = if host == Host::Bedrock { 8192.min(caps.max_output) } else { caps.max_output };
    caps
}

fn old_four(max_output: u64, manual: Caps) -> Caps {
    Caps {
        max_output,
        window_stop: false,
        structured: Structured::None,
        strict_tools: false,
        temp_and_top_p_together: true,
        ..manual
    }
}

/// `gpt-5.2-codex` is `(5, 2)`, `o3-mini` is an o-series model of no version.
fn gpt_version(model: &str) -> Option<(u32, u32)> {
    let rest = model.strip_prefix("gpt-")?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let (major, minor) = rest[..end].split_once('.').unwrap_or((&rest[..end], "0"));
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn openai(model: &str) -> Caps {
    let version = gpt_version(model).unwrap_or((0, 0));
    let is_o = model.strip_prefix('o').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let chat_variant = version.0 >= 5 && model.contains("-chat");
    let base = Caps {
        responses: true,
        chat: true,
        max_output: 16_384,
        strict_tools: true,
        custom_tools: version.0 >= 5,
        images_in_tool_result: true,
        pdf: true,
        audio_in: model.contains("audio"),
        n: true,
        logprobs: true,
        max_completion_tokens: true,
        web_search: true,
        cache_points: version >= (5, 6),
        context_window: 128_000,
        ..PLAIN
    };
    if is_o || (version.0 >= 5 && !chat_variant) {
        return openai_reasoning(model, version, base);
    }
    let mut caps = base;
    match model {
        _ if chat_variant => {
            caps.levels = Levels::of(&[Effort::Medium]);
            caps.sampling = SamplingRule::None;
        }
        _ if model.starts_with("gpt-4.1") => (caps.max_output, caps.context_window) = (32_768, 1_000_000),
        _ if model.starts_with("gpt-4o") || model.starts_with("chatgpt-4o") => {}
        _ if model.starts_with("gpt-4") || model.starts_with("gpt-3.5") => {
            caps =
                Caps { max_output: 4096, structured: Structured::JsonObject, strict_tools: false, pdf: false, ..caps };
        }
        // A name of no known series, such as a deployment at Azure: no limit of ours.
        _ => caps.max_output = PLAIN.max_output,
    }
    if model.contains("-search-preview") {
        caps.sampling = SamplingRule::None;
    }
    caps
}

fn openai_reasoning(model: &str, version: (u32, u32), base: Caps) -> Caps {
    use Effort::{High, Low, Max, Medium, Minimal, None as Off, Xhigh};
    let pro = model.contains("-pro");
    let codex = model.contains("-codex");
    let levels = match version {
        _ if model.starts_with("o1-mini") || model.starts_with("o1-preview") => Levels::EMPTY,
        (0, _) => Levels::range(Low, High),
        (5, 0) if pro => Levels::of(&[High]),
        (5, 0) if codex => Levels::range(Low, High),
        (5, 0) => Levels::range(Minimal, High),
        (5, 1) if model.contains("-max") => Levels::of(&[Off, Low, Medium, High, Xhigh]),
        (5, 1) => Levels::of(&[Off, Low, Medium, High]),
        (5, 2..=5) if pro => Levels::range(Medium, Xhigh),
        (5, 2..=5) => Levels::of(&[Off, Low, Medium, High, Xhigh]),
        _ if pro => Levels::range(Medium, Max),
        _ => Levels::of(&[Off, Low, Medium, High, Xhigh, Max]),
    };
    Caps {
        chat: !(pro || codex || model.contains("deep-research")),
        max_output: if version.0 == 0 { 100_000 } else { 128_000 },
        context_window: if version.0 == 0 { 200_000 } else { 400_000 },
        thinking: Thinking::Effort,
        levels,
        thinks_by_default: !levels.has(Off) || version >= (5, 6),
        disable: if levels.has(Off) { Disable::Always } else { Disable::Never },
        sampling: if version >= (5, 1) { SamplingRule::OnlyEffortNone } else { SamplingRule::None },
        developer: !model.starts_with("o1-mini") && !model.starts_with("o1-preview"),
        encrypted_reasoning: !levels.is_empty(),
        stop_max: 0,
        tools_with_effort_on_chat: version < (5, 4),
        ..base
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claude_names_are_parsed() {
        let rows = [
            ("claude-3-5-sonnet-20241022", "sonnet", (3, 5)),
            ("claude-3-haiku-20240307", "haiku", (3, 0)),
            ("claude-sonnet-4-20250514", "sonnet", (4, 0)),
            ("claude-opus-4-1-20250805", "opus", (4, 1)),
            ("claude-sonnet-4.5", "sonnet", (4, 5)),
            ("claude-sonnet-4-5@20250929", "sonnet", (4, 5)),
            ("claude-haiku-4-5-20251001-v1:0", "haiku", (4, 5)),
            ("claude-mythos-preview", "mythos", (0, 0)),
            ("claude-fable-5-1", "fable", (5, 1)),
            ("claude-3-7-sonnet-latest", "sonnet", (3, 7)),
        ];
        for (name, tier, version) in rows {
            assert_eq!(Claude::parse(name), Some(Claude { tier, version }), "{name}");
        }
        assert_eq!(Claude::parse("gpt-4o"), None);
        assert_eq!(bare("us.anthropic.claude-opus-4-8-v1:0"), "claude-opus-4-8-v1:0");
        assert_eq!(bare("Anthropic/Claude-Opus-5"), "claude-opus-5");
    }

    #[test]
    fn claude_table() {
        use Disable::{Always, Never, UpTo};
        use Thinking::{Adaptive, AdaptiveOrManual, Manual, None as No};
        let high = UpTo(Effort::High);
        #[rustfmt::skip]
        let rows = [
            // model                     thinking          disable default max_out  sampled prefill
            // mid    bound
            ("claude-fable-5",           Adaptive,         Never,  true,  128_000, false, false, true,  false),
            ("claude-fable-5-1",         Adaptive,         Never,  true,  128_000, false, false, true,  true),
            ("claude-mythos-5-2",        Adaptive,         Never,  true,  128_000, false, false, true,  true),
            ("claude-opus-5",            Adaptive,         high,   true,  128_000, false, false, true,  false),
            ("claude-opus-5-5",          Adaptive,         high,   true,  128_000, false, false, true,  true),
            ("claude-haiku-5-5",         Adaptive,         high,   true,  128_000, false, false, true,  true),
            ("claude-sonnet-5",          Adaptive,         Always, true,  128_000, false, false, false, false),
            ("claude-opus-4-8",          Adaptive,         Always, false, 128_000, false, false, true,  false),
            ("claude-opus-4-7",          Adaptive,         Always, false, 128_000, false, false, false, false),
            ("claude-opus-4-6",          AdaptiveOrManual, Always, false, 128_000, true,  false, false, false),
            ("claude-sonnet-4-6",        AdaptiveOrManual, Always, false, 128_000, true,  false, false, false),
            ("claude-haiku-4-5",         Manual,           Always, false, 64_000,  true,  true,  false, false),
            ("claude-opus-4-1",          Manual,           Always, false, 32_000,  true,  true,  false, false),
            ("claude-sonnet-4-20250514", Manual,           Always, false, 64_000,  true,  true,  false, false),
            ("claude-mythos-preview",    AdaptiveOrManual, Never,  true,  128_000, false, false, false, false),
            ("claude-3-haiku-20240307",  No,               Always, false, 4096,    true,  true,  false, false),
            ("claude-3-5-sonnet-latest", No,               Always, false, 8192,    true,  true,  false, false),
            ("claude-quartz-7",          Adaptive,         high,   true,  128_000, false, false, true,  true),
            ("claude-next",              Adaptive,         high,   true,  64_000,  false, false, true,  true),
            ("minimax-m2",               No,               Always, false, 8192,    true,  true,  false, false),
        ];
        for (model, thinking, disable, default, max, sampled, prefill, mid, bound) in rows {
            let caps = built_in(Format::Messages, Host::Anthropic, model);
            let got = (caps.thinking, caps.disable, caps.thinks_by_default, caps.max_output);
            assert_eq!(got, (thinking, disable, default, max), "{model}");
            let got = (caps.sampling == SamplingRule::Ok, caps.prefill, caps.mid_system, caps.thinking_binding);
            assert_eq!(got, (sampled, prefill, mid, bound), "{model}");
        }
        let bedrock = built_in(Format::Messages, Host::Bedrock, "us.anthropic.claude-opus-4-7-v1:0");
        assert_eq!((bedrock.disable, bedrock.default_output, bedrock.url_images), (Never, 8192, false));
    }

    #[test]
    fn openai_table() {
        use SamplingRule::{None as No, Ok, OnlyEffortNone};
        #[rustfmt::skip]
        let rows = [
            // model             levels                     default sampling        chat
            // tools+effort
            ("gpt-4o",           "",                         false, Ok,             true,  true),
            ("gpt-4.1-mini",     "",                         false, Ok,             true,  true),
            ("o3",               "low medium high",          true,  No,             true,  true),
            ("o1-mini",          "",                         true,  No,             true,  true),
            ("gpt-5",            "minimal low medium high",  true,  No,             true,  true),
            ("gpt-5-pro",        "high",                     true,  No,             false, true),
            ("gpt-5-chat-latest","medium",                   false, No,             true,  true),
            ("gpt-5.1",          "none low medium high",     false, OnlyEffortNone, true,  true),
            ("gpt-5.2-codex",    "none low medium high xhigh", false, OnlyEffortNone, false, true),
            ("gpt-5.4",          "none low medium high xhigh", false, OnlyEffortNone, true, false),
            ("gpt-5.6",          "none low medium high xhigh max", true, OnlyEffortNone, true, false),
            ("gpt-6-mini",       "none low medium high xhigh max", true, OnlyEffortNone, true, false),
        ];
        for (model, levels, default, sampling, chat, tools) in rows {
            let caps = built_in(Format::Responses, Host::OpenAi, model);
            let names: Vec<_> = Effort::ALL.into_iter().filter(|e| caps.levels.has(*e)).map(Effort::name).collect();
            assert_eq!(names.join(" "), levels, "{model}");
            assert_eq!((caps.thinks_by_default, caps.sampling), (default, sampling), "{model}");
            assert_eq!((caps.chat, caps.tools_with_effort_on_chat), (chat, tools), "{model}");
            assert_eq!(caps.stop_max, 0, "responses has no stop");
        }
        assert_eq!(built_in(Format::Chat, Host::OpenAi, "gpt-4o").stop_max, 4);
        assert_eq!(built_in(Format::Chat, Host::OpenAi, "o3").stop_max, 0);
    }
}
