//! What YAML 1.1 has and YAML 1.2 has not: more words for true, false and nothing, numbers with
//! underscores, and `<<`, which takes the members of another mapping over.

use super::node::{Node, Value};

/// The value of a plain word, as Python's YAML reads it. Octal and sexagesimal numbers stay text:
/// no field that is read here has them.
pub(super) fn plain(text: String) -> Value {
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Value::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return Value::Bool(false),
        _ => {}
    }
    let is_number = |text: &str| serde_json::from_str::<serde_json::Number>(text).is_ok();
    if is_number(&text) {
        return Value::Number(text);
    }
    if !text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) {
        return Value::Text(text);
    }
    // `1_000`, `+1`, `.5` and `1.`, as JSON writes them.
    let mut number = text.replace('_', "");
    number = number.strip_prefix('+').map(str::to_owned).unwrap_or(number);
    if number.starts_with('.') {
        number.insert(0, '0');
    }
    if number.ends_with('.') {
        number.push('0');
    }
    if is_number(&number) { Value::Number(number) } else { Value::Text(text) }
}

/// Returns whether a value can be given as `<<`.
pub(super) fn can_be_merged(node: &Node) -> bool {
    let is_mapping = |node: &Node| matches!(node.value, Value::Map(_));
    match &node.value {
        Value::List(items) => items.iter().all(is_mapping),
        _ => is_mapping(node),
    }
}

/// Adds the members of the mappings that were given as `<<`, each a mapping or a list of them,
/// where `pairs` does not have them. Of several the first that has a member counts.
pub(super) fn merge(pairs: &mut Vec<(String, Node)>, merged: Vec<Node>) {
    for node in merged {
        let mappings = match node.value {
            Value::List(items) => items,
            _ => vec![node],
        };
        for mapping in mappings {
            let Value::Map(members) = mapping.value else { continue };
            for (name, member) in members {
                if !pairs.iter().any(|(known, _)| *known == name) {
                    pairs.push((name, member));
                }
            }
        }
    }
}
