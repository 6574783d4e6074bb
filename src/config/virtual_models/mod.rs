//! Virtual models: names that clients may ask for, each with the models behind it.
//!
//! A row is read here; `compile` puts the members of other virtual models in their places.

pub(crate) mod schema;

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::config::hedging::Hedging;
use crate::config::ordered;
use crate::config::rescue::Rescue;
use crate::config::share::Share;

/// The most members of one list.
const MAX_MEMBERS: usize = 64;
/// As that of a provider.
const MAX_WEIGHT: u32 = 1_000_000;

/// A virtual model, ready for use.
#[derive(Debug, PartialEq)]
pub struct VirtualModel {
    pub id: i64,
    pub name: Arc<str>,
    pub members: Vec<Member>,
    /// By the name of a credential.
    pub overrides: Vec<(Box<str>, Vec<Member>)>,
    pub options: Options,
}

impl VirtualModel {
    /// Returns the members for the credential of this name.
    pub fn members_for(&self, credential: Option<&str>) -> &[Member] {
        let own = self.overrides.iter().find(|(name, _)| Some(&**name) == credential);
        own.map_or(&self.members, |(_, members)| members)
    }

    /// Returns whether requests of this credential have other members than the rest.
    pub fn has_overrides_for(&self, credential: &str) -> bool {
        self.overrides.iter().any(|(name, _)| **name == *credential)
    }
}

/// A model of the providers that stands behind a virtual one.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    pub model: Box<str>,
    /// The only provider that is asked for it, by its name.
    pub provider: Option<Box<str>>,
    /// The share of its tier; zero is a standby.
    pub share: Share,
    /// 0 is the first tier.
    pub priority: u32,
    /// Tokens that fit into the model. `None`: what the facts about models say.
    pub context_window: Option<u64>,
}

/// What a virtual model does beside sharing requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// A request that is too long for one member goes to one with a longer window.
    pub on_context_length: bool,
    /// A request that a member's content filter refused goes to another one.
    pub on_content_filter: bool,
    /// A slow request gets a second attempt beside the first.
    pub hedge: Option<Hedging>,
    /// Whether another provider goes on with a stream that broke off. `None` is RESCUE_STREAMS.
    pub rescue: Option<Rescue>,
}

impl Default for Options {
    fn default() -> Options {
        Options { on_context_length: true, on_content_filter: false, hedge: None, rescue: None }
    }
}

/// A member as it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    pub model: Box<str>,
    pub provider: Option<Box<str>>,
    pub weight: u32,
    pub priority: u32,
    pub context_window: Option<u64>,
}

/// Reads the column `members`, or one list of `overrides`, which `what` names. What can't be read
/// is left out, and is a message of `problems`.
pub fn members(what: &str, json: &str, problems: &mut Vec<String>) -> Vec<Written> {
    let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(json) else {
        problems.push(format!("{what} is not a JSON array of models; write it as [\"gpt-5\",\"claude-opus-4\"]"));
        return Vec::new();
    };
    if items.len() > MAX_MEMBERS {
        problems.push(format!("{what} has {} entries; at most {MAX_MEMBERS} are used", items.len()));
    }
    let mut found = Vec::new();
    for (at, item) in items.iter().take(MAX_MEMBERS).enumerate() {
        match member(item.get()) {
            Ok(member) => found.push(member),
            Err(reason) => problems.push(format!("{what}: entry {} {reason}; it is left out", at + 1)),
        }
    }
    found
}

fn member(json: &str) -> Result<Written, String> {
    let mut member = Written { model: "".into(), provider: None, weight: 1, priority: 0, context_window: None };
    if let Ok(name) = serde_json::from_str::<String>(json) {
        member.model = name.into();
    } else {
        let pairs = ordered::pairs("the entry", json).map_err(|_| "is neither a name nor an object".to_owned())?;
        for (name, value) in pairs {
            let text =
                || serde_json::from_str::<String>(value.get()).map_err(|_| format!("has a {name} that is no text"));
            let number = |most: u64| {
                let number = serde_json::from_str::<u64>(value.get()).ok().filter(|number| *number <= most);
                number.ok_or_else(|| format!("has a {name} that is no number from 0 to {most}"))
            };
            let small = |most: u32| number(u64::from(most)).map(|number| u32::try_from(number).unwrap_or(most));
            match &*name {
                "model" => member.model = text()?.into(),
                "provider" => member.provider = Some(text()?.into()),
                "weight" => member.weight = small(MAX_WEIGHT)?,
                "priority" => member.priority = small(1000)?,
                "context_window" => member.context_window = Some(number(u64::from(u32::MAX))?),
                other => {
                    let shown: String = other.chars().take(60).collect();
                    return Err(format!(
                        "has `{shown}`, which is not known; known are model, provider, weight, priority and \
                         context_window"
                    ));
                }
            }
        }
    }
    match &*member.model {
        "" => Err("has no model".to_owned()),
        model if model.contains('*') || model.starts_with("re:") => {
            Err(format!("is the pattern `{model}`; a member is the name of one model"))
        }
        _ => Ok(member),
    }
}

/// Reads the column `overrides`: the lists by the names of credentials.
pub fn overrides(json: &str, problems: &mut Vec<String>) -> Vec<(Box<str>, Vec<Written>)> {
    let pairs = match ordered::pairs("overrides", json) {
        Ok(pairs) => pairs,
        Err(error) => {
            problems.push(error);
            return Vec::new();
        }
    };
    let list = |(name, value): (std::borrow::Cow<'_, str>, &RawValue)| {
        let members = members(&format!("overrides: `{name}`"), value.get(), problems);
        (Box::from(&*name), members)
    };
    pairs.into_iter().map(list).collect()
}

/// Reads the column `options`.
pub fn options(json: &str, problems: &mut Vec<String>) -> Options {
    let mut options = Options::default();
    let pairs = match ordered::pairs("options", json) {
        Ok(pairs) => pairs,
        Err(error) => {
            problems.push(error);
            return options;
        }
    };
    for (name, value) in pairs {
        let read = match &*name {
            "fallback_on" => fallback_on(value, &mut options),
            "hedge" => hedge(value).map(|hedge| options.hedge = hedge),
            "rescue" => rescue(value).map(|rescue| options.rescue = Some(rescue)),
            _ => Err(format!(
                "`{}` is not known; known are fallback_on, hedge and rescue",
                name.chars().take(60).collect::<String>()
            )),
        };
        if let Err(reason) = read {
            problems.push(format!("options: {reason}"));
        }
    }
    options
}

fn hedge(value: &RawValue) -> Result<Option<Hedging>, String> {
    let value: serde_json::Value = serde_json::from_str(value.get()).map_err(|error| format!("hedge: {error}"))?;
    Hedging::read(&value)
}

fn rescue(value: &RawValue) -> Result<Rescue, String> {
    let word: Option<String> = serde_json::from_str(value.get()).ok();
    let read = word.and_then(|word| Rescue::read(&word).ok());
    read.ok_or_else(|| "rescue is none of off, prompt and prefill".to_owned())
}

fn fallback_on(value: &RawValue, options: &mut Options) -> Result<(), String> {
    const EXPECTED: &str = "fallback_on is not a list of context_length and content_filter";
    let words: Vec<String> = serde_json::from_str(value.get()).map_err(|_| EXPECTED.to_owned())?;
    if words.iter().any(|word| !matches!(word.as_str(), "context_length" | "content_filter")) {
        return Err(EXPECTED.to_owned());
    }
    options.on_context_length = words.iter().any(|word| word == "context_length");
    options.on_content_filter = words.iter().any(|word| word == "content_filter");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_names_or_objects() {
        let mut problems = Vec::new();
        let json = r#"["a",{"model":"b","provider":"p","weight":0,"priority":2,"context_window":1000}]"#;
        let found = members("members", json, &mut problems);
        let plain = Written { model: "a".into(), provider: None, weight: 1, priority: 0, context_window: None };
        let b = Written {
            model: "b".into(),
            provider: Some("p".into()),
            weight: 0,
            priority: 2,
            context_window: Some(1000),
        };
        assert_eq!((found, problems), (vec![plain, b], Vec::new()));
    }

    #[test]
    fn what_is_wrong_is_left_out_and_reported() {
        let rows = [
            ("{}", "members is not a JSON array of models; write it as [\"gpt-5\",\"claude-opus-4\"]"),
            ("[1]", "members: entry 1 is neither a name nor an object; it is left out"),
            (r#"[{"weight":1}]"#, "members: entry 1 has no model; it is left out"),
            (
                r#"["gpt-*"]"#,
                "members: entry 1 is the pattern `gpt-*`; a member is the name of one model; it is left out",
            ),
            (
                r#"[{"model":"a","weight":-1}]"#,
                "members: entry 1 has a weight that is no number from 0 to 1000000; it is left out",
            ),
            (
                r#"[{"model":"a","wieght":1}]"#,
                "members: entry 1 has `wieght`, which is not known; known are model, provider, weight, priority and \
                 context_window; it is left out",
            ),
        ];
        for (json, message) in rows {
            let mut problems = Vec::new();
            assert_eq!((members("members", json, &mut problems), problems), (Vec::new(), vec![message.to_owned()]));
        }
        let mut problems = Vec::new();
        options(r#"{"fallback_on":["x"],"hedges":1}"#, &mut problems);
        assert_eq!(problems.len(), 2, "{problems:?}");
    }

    #[test]
    fn reasons() {
        let read = |json| options(json, &mut Vec::new());
        assert_eq!(read("{}"), Options::default());
        assert_eq!(
            read(r#"{"fallback_on":["content_filter"]}"#),
            Options { on_context_length: false, on_content_filter: true, ..Options::default() }
        );
        assert_eq!(
            read(r#"{"hedge":{"percent":5}}"#).hedge,
            Some(Hedging { share: 500, after: None, whole_after: None })
        );
    }
}
