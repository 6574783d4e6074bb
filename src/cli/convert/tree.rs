//! Reading the tree of another gateway's configuration.

use crate::config::file::yaml::{Node, Value};

pub(super) fn pairs(node: &Node) -> &[(String, Node)] {
    match &node.value {
        Value::Map(pairs) => pairs,
        _ => &[],
    }
}

pub(super) fn items(node: &Node) -> &[Node] {
    match &node.value {
        Value::List(items) => items,
        _ => &[],
    }
}

pub(super) fn member<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    pairs(node).iter().find(|(known, _)| known == name).map(|(_, node)| node)
}

/// Text, or a number as it is written.
pub(super) fn text(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Text(text) | Value::Number(text) => Some(text.trim()),
        _ => None,
    }
}

pub(super) fn number(node: &Node) -> Option<f64> {
    text(node)?.parse().ok()
}

pub(super) fn whole(node: &Node) -> Option<i64> {
    number(node).filter(|number| (0.0..1e15).contains(number)).map(|number| number.round() as i64)
}

pub(super) fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::Null | Value::Bool(false) => true,
        Value::Text(text) => text.trim().is_empty(),
        Value::List(items) => items.is_empty(),
        Value::Map(pairs) => pairs.is_empty(),
        _ => false,
    }
}
