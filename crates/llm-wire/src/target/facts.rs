//! Facts about models as data: the rules of `models.json`, and files of the same form that an
//! operator keeps.
//!
//! A rule names what it holds for (formats, hosts, series and versions of models, patterns of names)
//! and sets capabilities. All rules that fit are applied in order, so later ones win.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::format::Format;
use crate::target::caps::Caps;
use crate::target::quirks::Host;
use crate::target::setting::{Setting, settings};

/// Rules about what models can do.
#[derive(Debug, Default)]
pub struct Facts {
    rules: Vec<Rule>,
}

/// A rule, compiled so that most of it is compared by single bits.
#[derive(Debug)]
struct Rule {
    /// A bit for each [`Format`].
    formats: u8,
    /// A bit for each [`Host`].
    hosts: u32,
    /// A bit for each [`Series`].
    series: u8,
    /// The words of Claude names, such as `opus`; empty is any.
    tiers: Vec<String>,
    from: Version,
    below: Version,
    /// Patterns; empty is any.
    names: Vec<String>,
    except_names: Vec<String>,
    settings: Vec<Setting>,
}

/// A rule as it is written. Members that only readers need are named so that others can be refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    #[serde(default, rename = "about")]
    _about: String,
    #[serde(default, rename = "source")]
    _source: String,
    #[serde(default)]
    formats: Vec<String>,
    #[serde(default)]
    hosts: Vec<String>,
    #[serde(default)]
    except_hosts: Vec<String>,
    #[serde(default)]
    series: Vec<String>,
    #[serde(default)]
    tiers: Vec<String>,
    from: Option<String>,
    below: Option<String>,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    except_names: Vec<String>,
    set: Map<String, Value>,
}

/// A file of facts.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFacts {
    #[serde(default, rename = "about")]
    _about: Value,
    #[serde(default, rename = "sources")]
    _sources: Value,
    rules: Vec<Value>,
}

/// Which models a name belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Series {
    Claude,
    Gpt,
    /// OpenAI's o1, o3 and their successors.
    O,
    Other,
}

impl Series {
    const ALL: [(Series, &'static str); 4] =
        [(Series::Claude, "claude"), (Series::Gpt, "gpt"), (Series::O, "o"), (Series::Other, "other")];

    fn named(word: &str) -> Option<Series> {
        Series::ALL.iter().find(|(_, name)| *name == word).map(|(series, _)| *series)
    }
}

/// Major and minor; `(0, 0)` if a name has none.
type Version = (u32, u32);

impl Facts {
    /// Returns the facts that come with this crate.
    pub fn embedded() -> &'static Facts {
        static FACTS: LazyLock<Facts> = LazyLock::new(|| Facts::parse(include_str!("models.json")).0);
        &FACTS
    }

    /// Reads rules from JSON text of the form of `models.json`. Rules and settings that are invalid
    /// are left out and named in the second value, in words for the person who wrote them.
    pub fn parse(text: &str) -> (Facts, Vec<String>) {
        let mut problems = Vec::new();
        let mut facts = Facts::default();
        match serde_json::from_str::<WrittenFacts>(text) {
            Ok(written) => {
                for (i, rule) in written.rules.into_iter().enumerate() {
                    let place = format!("rules[{i}]");
                    let rule = WrittenRule::deserialize(rule).map_err(|error| error.to_string());
                    match rule.and_then(|rule| Rule::compile(rule, &place, &mut problems)) {
                        Ok(rule) => facts.rules.push(rule),
                        Err(message) => problems.push(format!("{place} is left out: {message}")),
                    }
                }
            }
            Err(error) => problems.push(format!("the facts about models cannot be read: {error}")),
        }
        (facts, problems)
    }

    /// Applies every rule that fits `model` behind an endpoint of format `to` at `host`.
    pub(crate) fn apply(&self, to: Format, host: Host, model: &str, caps: &mut Caps) {
        if self.rules.is_empty() {
            return;
        }
        let model = bare(model);
        let name = Name::parse(&model);
        for rule in self.rules.iter().filter(|rule| rule.fits(to, host, &name)) {
            rule.settings.iter().for_each(|setting| setting.apply(caps));
        }
        match to {
            Format::Chat => caps.chat = true,
            Format::Messages => caps.messages = true,
            Format::Responses => caps.responses = true,
        }
    }
}

impl Rule {
    fn compile(written: WrittenRule, place: &str, problems: &mut Vec<String>) -> Result<Rule, String> {
        let formats = bits("formats", &written.formats, |word| Some(word.parse::<Format>().ok()? as u32))?;
        let hosts = bits("hosts", &written.hosts, |word| Host::named(word).map(|host| host as u32))?;
        let except = bits("except_hosts", &written.except_hosts, |word| Host::named(word).map(|host| host as u32))?;
        let except = if written.except_hosts.is_empty() { 0 } else { except };
        let series = bits("series", &written.series, |word| Series::named(word).map(|series| series as u32))?;
        let version = |text: Option<String>, default| match text {
            Some(text) => version(&text).ok_or_else(|| format!("`{text}` is not a version such as 5 or 4.5")),
            None => Ok(default),
        };
        let lower = |names: Vec<String>| names.into_iter().map(|name| name.to_ascii_lowercase()).collect();
        Ok(Rule {
            formats: formats as u8,
            hosts: hosts & !except,
            series: series as u8,
            tiers: lower(written.tiers),
            from: version(written.from, (0, 0))?,
            below: version(written.below, (u32::MAX, 0))?,
            names: lower(written.names),
            except_names: lower(written.except_names),
            settings: settings(written.set.iter(), &format!("{place}.set"), problems),
        })
    }

    fn fits(&self, to: Format, host: Host, name: &Name<'_>) -> bool {
        let is_any = |patterns: &[String]| patterns.iter().any(|pattern| glob(pattern, name.text));
        self.formats & (1 << to as u32) != 0
            && self.hosts & (1 << host as u32) != 0
            && self.series & (1 << name.series as u32) != 0
            && (self.from..self.below).contains(&name.version)
            && (self.tiers.is_empty() || self.tiers.iter().any(|tier| tier == name.tier))
            && (self.names.is_empty() || is_any(&self.names))
            && !is_any(&self.except_names)
    }
}

/// A bit for each word; all bits if there is no word.
fn bits(member: &str, words: &[String], parse: impl Fn(&str) -> Option<u32>) -> Result<u32, String> {
    if words.is_empty() {
        return Ok(u32::MAX);
    }
    words.iter().try_fold(0, |bits, word| {
        let bit = parse(word).ok_or_else(|| format!("{member} has no `{word}`"))?;
        Ok(bits | 1 << bit)
    })
}

/// Reads `5` and `4.5`.
fn version(text: &str) -> Option<Version> {
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The name without the path, region and vendor that some hosts put before it, in lower case.
fn bare(model: &str) -> String {
    let model = model.rsplit_once('/').map_or(model, |(_, name)| name).to_ascii_lowercase();
    match model.split_once("anthropic.") {
        Some((_, name)) => name.to_owned(),
        None => model,
    }
}

/// A model's name, parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Name<'a> {
    text: &'a str,
    series: Series,
    version: Version,
    /// The word of a Claude name, such as `opus`.
    tier: &'a str,
}

impl<'a> Name<'a> {
    /// Parses a [`bare`] name.
    fn parse(text: &'a str) -> Name<'a> {
        let (series, version, tier) = if let Some((tier, version)) = claude(text) {
            (Series::Claude, version, tier)
        } else if let Some(version) = text.strip_prefix("gpt-").and_then(leading_version) {
            (Series::Gpt, version, "")
        } else if text.strip_prefix('o').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
            (Series::O, (0, 0), "")
        } else {
            (Series::Other, (0, 0), "")
        };
        Name { text, series, version, tier }
    }
}

/// The version at the beginning of `5.2-codex`; that of `4o` is 4.
fn leading_version(text: &str) -> Option<Version> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    version(&text[..end])
}

/// The tier and version of a Claude name. Dots and dashes are equal, and dates are ignored.
fn claude(name: &str) -> Option<(&str, Version)> {
    let rest = &name[name.find("claude")? + "claude".len()..];
    let mut tier = "";
    let mut numbers = [0u32; 2];
    let mut seen = 0;
    for word in rest.split(['-', '.', '@', ':', '_']).filter(|word| !word.is_empty()) {
        let number = word.parse::<u32>().ok().filter(|_| word.len() <= 2);
        match number {
            Some(n) if seen < 2 => {
                numbers[seen] = n;
                seen += 1;
            }
            Some(_) => {}
            // A date ends what counts as the version.
            None if word.bytes().all(|b| b.is_ascii_digit()) => seen = 2,
            None if tier.is_empty() && word != "v" && word != "latest" => tier = word,
            None if word == "preview" => seen = 2,
            None => {}
        }
    }
    Some((tier, (numbers[0], numbers[1])))
}

/// Returns whether `name` matches `pattern`, where `*` stands for any run of characters.
pub(crate) fn glob(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let Some(last) = parts.pop() else { return true };
    for part in parts {
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    name.ends_with(last)
}

#[cfg(test)]
mod tests {
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
        let text = include_str!("models.json");
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
}
