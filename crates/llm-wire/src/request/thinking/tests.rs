use super::*;
use crate::format::Format;
use crate::target::overrides::Overrides;
use crate::target::quirks::Host;

fn claude(model: &str) -> Caps {
    Caps::for_model(Format::Messages, Host::Anthropic, model, &Overrides::default())
}

fn openai(model: &str) -> Caps {
    Caps::for_model(Format::Responses, Host::OpenAi, model, &Overrides::default())
}

fn now(max_tokens: u64) -> Circumstances {
    Circumstances { max_tokens, forced_tool: false, thinking_lost: false }
}

/// Efforts and budgets towards Messages: every level and model class.
#[test]
fn efforts_towards_messages() {
    use Effort::*;
    use ThinkingField::{Absent, Adaptive, Disabled, Enabled};
    #[rustfmt::skip]
        let rows: &[(&str, Effort, ThinkingField, Option<Effort>, u64)] = &[
            ("claude-opus-5",     None,    Disabled, Option::None, 8000),
            ("claude-opus-5",     Minimal, Adaptive, Some(Low),    8000),
            ("claude-opus-5",     Xhigh,   Adaptive, Some(Xhigh),  8000),
            ("claude-opus-5",     Max,     Adaptive, Some(Max),    8000),
            ("claude-fable-5-1",  None,    Absent,   Some(Low),    8000),
            ("claude-opus-4-6",   Xhigh,   Adaptive, Some(Max),    8000),
            ("claude-opus-4-6",   High,    Adaptive, Some(High),   8000),
            ("claude-sonnet-4-5", None,    Disabled, Option::None, 8000),
            ("claude-sonnet-4-5", Minimal, Enabled { budget: 1024 },   Option::None, 8000),
            ("claude-sonnet-4-5", Low,     Enabled { budget: 4096 },   Option::None, 8000),
            ("claude-sonnet-4-5", Medium,  Enabled { budget: 10_240 }, Option::None, 18_240),
            ("claude-sonnet-4-5", High,    Enabled { budget: 24_576 }, Option::None, 32_576),
            ("claude-sonnet-4-5", Max,     Enabled { budget: 49_152 }, Option::None, 57_152),
            ("claude-3-haiku-20240307", High, Absent, Option::None, 4096),
        ];
    for (model, effort, thinking, level, max_tokens) in rows {
        let caps = claude(model);
        let reasoning_request = Reasoning::from_effort(Some(*effort));
        let got = for_messages(reasoning_request, &caps, now(8000), &mut Ledger::new(false)).unwrap();
        assert_eq!((got.thinking, got.effort, got.max_tokens), (*thinking, *level, *max_tokens), "{model} {effort:?}");
        if let Enabled { budget } = got.thinking {
            assert!(budget >= BUDGET_MIN && budget < got.max_tokens);
        }
        if got.thinking == Adaptive {
            assert_eq!(got.show, Some(Show::Summary), "display must be explicit");
        }
    }
}

/// Budgets stay below `max_tokens` for any pair of numbers; a forced tool switches manual
/// thinking off.
#[test]
fn budgets_fit() {
    let caps = claude("claude-opus-4-1");
    for max_tokens in [1, 1000, 1024, 1025, 20_000, 32_000, 1 << 40] {
        for budget in [0, 1024, 5000, 31_999, 32_000, 1 << 40] {
            let reasoning_request = Reasoning { mode: Mode::Manual { budget }, ..Reasoning::default() };
            let got = for_messages(reasoning_request, &caps, now(max_tokens), &mut Ledger::new(false)).unwrap();
            assert!(got.max_tokens <= caps.max_output);
            if let ThinkingField::Enabled { budget } = got.thinking {
                assert!((BUDGET_MIN..got.max_tokens).contains(&budget), "{max_tokens} {budget}");
            }
        }
    }
    let reasoning_request = Reasoning::from_effort(Some(Effort::High));
    let forced = Circumstances { forced_tool: true, ..now(8000) };
    let mut ledger = Ledger::new(false);
    let got = for_messages(reasoning_request, &caps, forced, &mut ledger).unwrap();
    assert_eq!(got.thinking, ThinkingField::Disabled);
    assert_eq!(ledger.dropped_header().as_deref(), Some("thinking;dropped"));
    let got = for_messages(reasoning_request, &claude("claude-opus-4-7"), forced, &mut Ledger::new(false)).unwrap();
    assert_eq!(got.thinking, ThinkingField::Adaptive, "adaptive keeps both");
}

/// Efforts and budgets towards OpenAI.
#[test]
fn controls_towards_openai() {
    use Effort::*;
    let manual = |budget| Reasoning { mode: Mode::Manual { budget }, ..Reasoning::default() };
    let adaptive = Reasoning { mode: Mode::Adaptive, ..Reasoning::default() };
    #[rustfmt::skip]
        let rows: &[(&str, Reasoning, Option<Effort>)] = &[
            ("gpt-5",   manual(1500),  Some(Minimal)),
            ("gpt-5.2", manual(1500),  Some(Low)),
            ("gpt-5",   manual(8191),  Some(Low)),
            ("gpt-5",   manual(8192),  Some(Medium)),
            ("gpt-5",   manual(20_000), Some(High)),
            ("gpt-5",   manual(40_000), Some(High)),
            ("gpt-5.2", manual(40_000), Some(Xhigh)),
            ("gpt-5",   adaptive,      Option::None),
            ("gpt-5.1", adaptive,      Some(Medium)),
            ("gpt-5.2", adaptive,      Some(Medium)),
            ("gpt-5",   Reasoning { effort: Some(Max), ..adaptive }, Some(High)),
            ("gpt-5.2", Reasoning { effort: Some(Max), ..adaptive }, Some(Xhigh)),
            ("gpt-6",   Reasoning { effort: Some(Max), ..adaptive }, Some(Max)),
            ("gpt-5",   Reasoning::from_effort(Some(None)), Some(Minimal)),
            ("gpt-5.2", Reasoning::from_effort(Some(None)), Some(None)),
            ("gpt-5",   Reasoning::default(), Option::None),
            ("gpt-4o",  Reasoning::from_effort(Some(High)), Option::None),
        ];
    for (model, reasoning_request, effort) in rows {
        let got = for_openai(*reasoning_request, &openai(model), &mut Ledger::new(false)).unwrap();
        assert_eq!(got.effort, *effort, "{model} {reasoning_request:?}");
    }
    let reasoning_request = Reasoning::from_effort(Some(High));
    assert!(for_openai(reasoning_request, &openai("gpt-5"), &mut Ledger::new(false)).unwrap().summary);
    let hidden = Reasoning { show: Some(Show::Omitted), ..reasoning_request };
    assert!(!for_openai(hidden, &openai("gpt-5"), &mut Ledger::new(false)).unwrap().summary);
}

#[test]
fn switches_of_compatible_hosts() {
    let rows = [
        (Host::DeepSeek, Some(Effort::High), Switch::ThinkingType(true)),
        (Host::DeepSeek, Some(Effort::None), Switch::ThinkingType(false)),
        (Host::DeepSeek, None, Switch::None),
        (Host::Qwen, Some(Effort::Low), Switch::EnableThinking(true, Some(4096))),
        (Host::Vllm, Some(Effort::None), Switch::Template(false)),
        (
            Host::OpenRouter,
            Some(Effort::High),
            Switch::Object { effort: Some(Effort::High), max_tokens: None, exclude: false },
        ),
        (Host::Unknown, Some(Effort::High), Switch::None),
    ];
    for (host, effort, switch) in rows {
        let caps = Caps::for_model(Format::Chat, host, "some-model", &Overrides::default());
        let reasoning_request = Reasoning::from_effort(effort);
        let got = for_chat(reasoning_request, &caps, Quirks::of_host(host), &mut Ledger::new(false)).unwrap();
        assert_eq!(got.1, switch, "{host:?} {effort:?}");
    }
}
