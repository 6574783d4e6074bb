//! Values that several parts of a Bifrost configuration have.

use super::tree::{is_empty, member, text};
use crate::config::file::yaml::{Node, Value};

/// What an empty list of models or providers allows: `version` of the file. Before Bifrost 1.5 it
/// was everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lists {
    EmptyIsNone,
    EmptyIsAll,
}

/// Returns the name of the variable of `env.NAME`.
pub(super) fn env(given: &str) -> Option<&str> {
    given.strip_prefix("env.").map(str::trim).filter(|name| !name.is_empty())
}

/// Returns a value that may be secret: text, or an object with `value` or `env_var`. `env.NAME`
/// stays as it is; what is in a vault is not known here.
pub(super) fn value(node: &Node) -> Option<String> {
    let part = |name: &str| member(node, name).filter(|node| !is_empty(node)).and_then(text);
    let given = match &node.value {
        Value::Map(_) => part("env_var").map(|name| format!("env.{}", name.trim_start_matches("env."))),
        _ => None,
    };
    given.or_else(|| text(node).or_else(|| part("value")).map(str::to_owned)).filter(|text| !text.starts_with("vault."))
}
