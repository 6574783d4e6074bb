//! Values that several parts of a LiteLLM configuration have.

use super::import::{Import, Spending, variable};
use super::tree::{is_empty, member, number, pairs, text};
use crate::config::file::yaml::{Node, Value};

/// Returns the name of the variable of `os.environ/NAME`.
pub(super) fn environment(given: &str) -> Option<&str> {
    given.strip_prefix("os.environ/").map(str::trim).filter(|name| !name.is_empty())
}

/// Reads a mapping of names to budgets, such as `{openai: {budget_limit: 100, time_period: 1d}}`.
pub(super) fn budgets<'n>(
    path: &str,
    node: &'n Node,
    [amount, time]: [&str; 2],
    import: &mut Import,
) -> Vec<(&'n str, usize, Spending)> {
    let mut found = Vec::new();
    for (name, node) in pairs(node) {
        let dollars = member(node, amount).and_then(number);
        match Spending::new(dollars, member(node, time).filter(|node| !is_empty(node)).and_then(text)) {
            Ok(spending) => found.push((name.as_str(), node.line, spending)),
            Err(why) => import.leave(node.line, format!("{path}.{name} is not carried over: {why}")),
        }
        for (field, node) in pairs(node) {
            if field != amount && field != time && !is_empty(node) {
                import.leave_field(node.line, &format!("{path}.{name}.{field}"));
            }
        }
    }
    found
}

/// Returns the names in a list, or in a text that stands for a list of one.
pub(super) fn names(node: &Node) -> Vec<&Node> {
    match &node.value {
        Value::List(items) => items.iter().collect(),
        _ => vec![node],
    }
}

/// `os.environ/NAME` becomes a variable of the file.
pub(super) fn value(given: &str) -> String {
    environment(given).map_or_else(|| given.to_owned(), variable)
}
