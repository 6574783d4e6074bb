//! Facts about models as data: the rules of `models.json`, and files of the same form that an
//! operator keeps.
//!
//! A rule names what it holds for (formats, hosts, series and versions of models, patterns of
//! names) and sets capabilities. All rules that fit are applied in order, so later ones win.

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

/// Returns a bit for each word; all bits if there is no word.
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

/// Returns the name without the path, region and vendor that some hosts put before it, in lower
/// case.
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

/// Returns the version at the beginning of `5.2-codex`; that of `4o` is 4.
fn leading_version(text: &str) -> Option<Version> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    version(&text[..end])
}

/// Returns the tier and version of a Claude name. Dots and dashes are equal, and dates are ignored.
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
mod tests;
