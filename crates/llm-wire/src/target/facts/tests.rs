use super::*;
use crate::canonical::effort::Effort;
use crate::target::caps::{Disable, SamplingRule, Thinking};

fn built_in(to: Format, host: Host, model: &str) -> Caps {
    let mut caps = Caps::MINIMAL;
    Facts::embedded().apply(to, host, model, &mut caps);
    caps
}

#[test]
fn the_embedded_facts_are_valid_and_total() {
    let text = include_str!("../models.json");
    let (facts, problems) = Facts::parse(text);
    assert_eq!((facts.rules.is_empty(), problems), (false, vec![]));
    let written: Value = serde_json::from_str(text).unwrap();
    let first = written["rules"][0]["set"].as_object().unwrap();
    for rule in written["rules"].as_array().unwrap() {
        let set = rule["set"].as_object().unwrap();
        // A capability without a default would keep the value of the code instead of the facts.
        let missing: Vec<_> = set.keys().filter(|name| !first.contains_key(*name)).collect();
        assert!(missing.is_empty() || missing == ["effort_levels"], "{missing:?}");
        let source = rule["source"].as_str();
        assert!(source.is_none_or(|source| !written["sources"][source].is_null()), "{rule}");
    }
    let unknown = Setting::parse("colour", &Value::Null).unwrap_err().to_string();
    let known = unknown.split('`').skip(3).step_by(2).filter(|name| *name != "effort_levels");
    assert!(known.clone().count() > 30 && known.clone().all(|name| first.contains_key(name)), "{unknown}");
}

#[test]
fn invalid_rules_are_named_and_the_rest_applies() {
    let (facts, problems) = Facts::parse(
        r#"{"rules": [{"hosts": ["moon"], "set": {}}, {"set": {"n": 1}}, {"sets": {}}, {"from": "x", "set": {}},
                {"series": ["claude"], "set": {"max_output": 7}}]}"#,
    );
    let expected = [
        "rules[0] is left out: hosts has no `moon`",
        "rules[1].set.n is `1`: invalid type: integer `1`, expected a boolean",
        "rules[2] is left out: unknown field `sets`",
        "rules[3] is left out: `x` is not a version",
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.starts_with(expected), "{problem}");
    }
    let mut caps = Caps::MINIMAL;
    facts.apply(Format::Chat, Host::Unknown, "acme/Claude-Next", &mut caps);
    assert_eq!(caps.max_output, 7);
    assert_eq!(Facts::parse("{").1.len(), 1);
}

#[test]
fn globs() {
    let rows = [
        ("*", "x", true),
        ("gpt-5", "gpt-5", true),
        ("gpt-5", "gpt-5.1", false),
        ("gpt-5*", "gpt-5.1", true),
        ("*/qwen*-32b", "acme/qwen3-32b", true),
        ("*/qwen*-32b", "acme/qwen3-8b", false),
        ("a*b*c", "abc", true),
        ("ab*b", "ab", false),
    ];
    for (pattern, name, hit) in rows {
        assert_eq!(glob(pattern, name), hit, "{pattern} {name}");
    }
}

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
        assert_eq!(claude(name), Some((tier, version)), "{name}");
    }
    assert_eq!(claude("gpt-4o"), None);
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
