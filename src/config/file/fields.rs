//! Reading one row of a configuration file, field by field.

use super::problem::FileProblem;
use super::yaml::{Node, Value};
use crate::rfc3339;

/// Returns the members of a mapping; none if the value is empty. Reports any other value.
pub(super) fn pairs<'n>(what: &str, node: &'n Node, problems: &mut Vec<FileProblem>) -> &'n [(String, Node)] {
    match &node.value {
        Value::Map(pairs) => pairs,
        Value::Null => &[],
        _ => {
            problems.push(FileProblem::new(
                node.line,
                format!("{what} is {}, not a mapping of names to values", node.kind()),
            ));
            &[]
        }
    }
}

/// Returns the elements of a list; none if the value is empty. Reports any other value.
pub(super) fn items<'n>(what: &str, node: &'n Node, problems: &mut Vec<FileProblem>) -> &'n [Node] {
    match &node.value {
        Value::List(items) => items,
        Value::Null => &[],
        _ => {
            problems.push(FileProblem::new(node.line, format!("{what} is {}, not a list", node.kind())));
            &[]
        }
    }
}

/// Makes the problem of a name that is none of `known`.
pub(super) fn unknown(line: usize, name: &str, known: &[&str]) -> FileProblem {
    let shown: String = name.chars().take(60).collect();
    FileProblem::new(line, format!("`{shown}` is not known here; known are {}", known.join(", ")))
}

/// The last second of the year 9999. Greater numbers are milliseconds.
const LAST_SECOND: i64 = 253_402_300_799;

/// Returns the advice for a value that is right but for its quotes.
fn quoted(node: &Node, is_right: impl Fn(&str) -> bool) -> &'static str {
    match &node.value {
        Value::Text(text) if is_right(text) => "; write it without quotes",
        _ => "",
    }
}

/// One row while it is read. Each field is taken out once; what is left at the end is unknown.
pub(super) struct Fields<'n> {
    /// The place of the row, such as `providers[2]`; its name once that was read.
    pub(super) what: String,
    pub(super) line: usize,
    pub(super) left: Vec<&'n (String, Node)>,
    problems: &'n mut Vec<FileProblem>,
}

impl<'n> Fields<'n> {
    pub(super) fn new(what: String, node: &'n Node, problems: &'n mut Vec<FileProblem>) -> Fields<'n> {
        let left = pairs(&what, node, problems).iter().collect();
        Fields { what, line: node.line, left, problems }
    }

    pub(super) fn take(&mut self, name: &str) -> Option<&'n Node> {
        let at = self.left.iter().position(|(other, _)| other == name)?;
        Some(&self.left.remove(at).1).filter(|node| node.value != Value::Null)
    }

    pub(super) fn report(&mut self, line: usize, what: impl std::fmt::Display) {
        self.problems.push(FileProblem::new(line, format!("{}: {what}", self.what)));
    }

    /// Takes a text. A number counts as the text that it is written as: names and keys may look
    /// like one.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let node = self.take(name)?;
        match &node.value {
            Value::Text(text) | Value::Number(text) => Some(text.clone()),
            _ => {
                self.report(node.line, format_args!("{name} is {}, not text", node.kind()));
                None
            }
        }
    }

    pub(super) fn required(&mut self, name: &str) -> String {
        if !self.left.iter().any(|(other, node)| other == name && node.value != Value::Null) {
            self.report(self.line, format_args!("{name} is missing"));
        }
        self.text(name).unwrap_or_default()
    }

    pub(super) fn number(&mut self, name: &str) -> Option<i64> {
        let node = self.take(name)?;
        let number = match &node.value {
            Value::Number(text) => text.parse().ok(),
            _ => None,
        };
        if number.is_none() {
            let hint = quoted(node, |text| text.parse::<i64>().is_ok());
            self.report(node.line, format_args!("{name} {} is not a whole number{hint}", node.shown()));
        }
        number
    }

    /// Takes a time: seconds since 1970, or text of RFC 3339.
    pub(super) fn time(&mut self, name: &str) -> Option<i64> {
        let node = self.take(name)?;
        let time = match &node.value {
            Value::Number(text) => text.parse::<i64>().ok().filter(|seconds| (0..=LAST_SECOND).contains(seconds)),
            Value::Text(text) => rfc3339::parse(text),
            _ => None,
        };
        if time.is_none() {
            let hint = match &node.value {
                Value::Number(_) => "; a number is seconds since 1970",
                _ => "",
            };
            self.report(
                node.line,
                format_args!("{name} {} is no time; write it as 2027-01-31T00:00:00Z{hint}", node.shown()),
            );
        }
        time
    }

    pub(super) fn switch(&mut self, name: &str, default: bool) -> bool {
        match self.take(name) {
            None => default,
            Some(Node { value: Value::Bool(value), .. }) => *value,
            Some(node) => {
                let hint = quoted(node, |text| matches!(text, "true" | "false"));
                self.report(node.line, format_args!("{name} {} is neither true nor false{hint}", node.shown()));
                default
            }
        }
    }

    /// Takes a mapping as JSON. Whether its values are valid is checked when the row is compiled.
    pub(super) fn mapping(&mut self, name: &str, example: &str) -> String {
        let Some(node) = self.take(name) else { return "{}".to_owned() };
        if !matches!(node.value, Value::Map(_)) {
            self.report(node.line, format_args!("{name} is {}, not a mapping; write it as {example}", node.kind()));
            return "{}".to_owned();
        }
        node.json()
    }

    /// Takes a list as JSON. Whether its values are valid is checked when the row is compiled.
    pub(super) fn list(&mut self, name: &str, example: &str) -> String {
        let Some(node) = self.take(name) else { return "[]".to_owned() };
        if !matches!(node.value, Value::List(_)) {
            self.report(node.line, format_args!("{name} is {}, not a list; write it as {example}", node.kind()));
            return "[]".to_owned();
        }
        node.json()
    }

    pub(super) fn end(mut self, known: &[&str]) {
        for (name, node) in std::mem::take(&mut self.left) {
            let FileProblem { line, message } = unknown(node.line, name, known);
            self.report(line, message);
        }
    }
}
