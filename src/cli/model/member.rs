//! Members as they are typed: `MODEL`, or
//! `MODEL,weight=3,priority=1,provider=NAME,context_window=N`.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde_json::{Map, Value, json};

/// A member, as the column `members` has it.
#[derive(Debug, Clone)]
pub(super) struct Member(Value);

/// Reads `MODEL[,NAME=VALUE]...`.
pub(super) fn member(text: &str) -> Result<Member, String> {
    let mut parts = text.split(',');
    let model = parts.next().unwrap_or_default();
    if model.is_empty() {
        return Err("write it as MODEL or MODEL,weight=3,priority=1".to_owned());
    }
    let mut object = Map::new();
    for part in parts {
        let (name, value) = part.split_once('=').ok_or_else(|| format!("`{part}` is not of the form NAME=VALUE"))?;
        let value = match name {
            "provider" => Value::from(value),
            "weight" | "priority" | "context_window" => {
                json!(value.parse::<u64>().map_err(|_| format!("{name} is not a whole number: `{value}`"))?)
            }
            _ => return Err(format!("`{name}` is not known; known are provider, weight, priority and context_window")),
        };
        object.insert(name.to_owned(), value);
    }
    if object.is_empty() {
        return Ok(Member(model.into()));
    }
    object.insert("model".to_owned(), model.into());
    Ok(Member(object.into()))
}

/// Reads `CREDENTIAL=MEMBER`.
pub(super) fn for_key(text: &str) -> Result<(String, Member), String> {
    match text.split_once('=') {
        Some((name, text)) if !name.is_empty() => Ok((name.to_owned(), member(text)?)),
        _ => Err("write it as CREDENTIAL=MODEL".to_owned()),
    }
}

pub(super) fn members_json(members: &[Member]) -> String {
    Value::from_iter(members.iter().map(|member| member.0.clone())).to_string()
}

/// Writes the members of each credential as JSON, in the order in which they were typed.
pub(super) fn overrides_json(members: &[(String, Member)]) -> String {
    let mut lists: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for (name, member) in members {
        lists.entry(name).or_default().push(&member.0);
    }
    json!(lists).to_string()
}

/// Failures of the request itself that lead to another member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Reason {
    #[value(name = "context_length")]
    ContextLength,
    #[value(name = "content_filter")]
    ContentFilter,
    /// No failure of the request itself.
    None,
}

/// Returns the option `hedge`, as the admin interface takes it.
pub(super) fn hedge(percent: f64) -> Value {
    if percent == 0.0 { json!(false) } else { json!({ "percent": percent }) }
}

pub(super) fn reasons(reasons: &[Reason]) -> Value {
    let names = reasons.iter().filter_map(|reason| match reason {
        Reason::ContextLength => Some("context_length"),
        Reason::ContentFilter => Some("content_filter"),
        Reason::None => None,
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members() {
        let json = |text| member(text).map(|member| member.0.to_string());
        assert_eq!(json("gpt-5"), Ok(r#""gpt-5""#.to_owned()));
        assert_eq!(json("m:8b,weight=3,provider=p"), Ok(r#"{"model":"m:8b","provider":"p","weight":3}"#.to_owned()));
        for wrong in ["", ",weight=1", "m,weight", "m,weight=x", "m,colour=red"] {
            assert!(json(wrong).is_err(), "{wrong}");
        }
        let list = [for_key("a=x").unwrap(), for_key("a=y,weight=0").unwrap()];
        assert_eq!(overrides_json(&list), r#"{"a":["x",{"model":"y","weight":0}]}"#);
    }
}
