//! Reads YAML as a tree with line numbers, with `${NAME}` filled in. It is YAML 1.2 as far as a
//! configuration needs it: one document, keys that are text and unique, numbers as JSON has them.
//! Plain words are text unless they are `true`, `false`, `null`, `~` or a number.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use super::problem::FileProblem;
use crate::config::env::Env;

/// Deeper nesting is refused.
const MAX_DEPTH: usize = 64;
/// More nodes are refused: an alias of an alias of an alias grows fast.
const MAX_NODES: usize = 2_000_000;

/// A value of the file with the number of its line, from 1.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub line: usize,
    pub value: Value,
}

/// A value as YAML has it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// As JSON writes it.
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// Returns the words for such a value in an error message.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "empty",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// As JSON.
    pub(crate) fn json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    fn write_json(&self, out: &mut String) {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        match &self.value {
            Value::Null => out.push_str("null"),
            Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::Number(number) => out.push_str(number),
            Value::Text(value) => out.push_str(&text(value)),
            Value::List(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    item.write_json(out);
                }
                out.push(']');
            }
            Value::Map(pairs) => {
                out.push('{');
                for (at, (key, value)) in pairs.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    out.push_str(&text(key));
                    out.push(':');
                    value.write_json(out);
                }
                out.push('}');
            }
        }
    }
}

/// Reads the document in `text`. Returns all of its problems, and no document if its syntax is
/// wrong. Variables come from `env`; one that is missing stays as it is written.
pub(crate) fn parse(text: &str, env: &Env<'_>) -> (Option<Node>, Vec<FileProblem>) {
    let parser = Parser::new_from_str(text);
    let mut reader = Reader { parser, env, anchors: HashMap::new(), nodes: 0, problems: Vec::new() };
    match reader.document() {
        Ok(node) => (Some(node), reader.problems),
        // The rest of the text was not read.
        Err(problem) => {
            reader.problems.push(problem);
            (None, reader.problems)
        }
    }
}

struct Reader<'t, 'e> {
    parser: Parser<'t, StrInput<'t>>,
    env: &'e Env<'e>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    /// The problems that do not end the reading.
    problems: Vec<FileProblem>,
}

impl<'t> Reader<'t, '_> {
    fn next(&mut self) -> Result<(Event<'t>, Span), FileProblem> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                Err(FileProblem::new(error.marker().line(), format!("this is no YAML: {}", error.info())))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn document(&mut self) -> Result<Node, FileProblem> {
        let mut root = Node { line: 1, value: Value::Null };
        let mut documents = 0;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::StreamStart | Event::Nothing | Event::DocumentEnd => {}
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        return Err(FileProblem::new(
                            span.start.line(),
                            "a second document begins here; a file is one",
                        ));
                    }
                }
                event => root = self.node(event, span, 0)?,
            }
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, FileProblem> {
        let line = span.start.line();
        if depth > MAX_DEPTH {
            return Err(FileProblem::new(line, format!("this is nested deeper than {MAX_DEPTH}")));
        }
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let forced = tag.is_some_and(|tag| tag.suffix == "str");
                let text = self.fill(&text, line);
                (if style == ScalarStyle::Plain && !forced { plain(text) } else { Value::Text(text) }, anchor)
            }
            Event::SequenceStart(anchor, _) => (self.list(depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.map(depth)?, anchor),
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let node = node.ok_or_else(|| FileProblem::new(line, "this alias refers to no anchor before it"))?;
                self.nodes += size(&node);
                (node.value, 0)
            }
            _ => return Err(FileProblem::new(line, "this is no YAML")),
        };
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(FileProblem::new(line, format!("the file has more than {MAX_NODES} values")));
        }
        let node = Node { line, value };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Value, FileProblem> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Value::List(items));
            }
            items.push(self.node(event, span, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, FileProblem> {
        let mut pairs: Vec<(String, Node)> = Vec::new();
        let mut lines = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            let line = span.start.line();
            let key = match event {
                Event::MappingEnd => return Ok(Value::Map(pairs)),
                Event::Scalar(text, ..) => self.fill(&text, line),
                _ => return Err(FileProblem::new(line, "a key must be text")),
            };
            if let Some(first) = lines.insert(key.clone(), line) {
                self.problems.push(FileProblem::new(line, format!("`{key}` appears twice, first on line {first}")));
            }
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            pairs.push((key, node));
        }
    }

    /// Puts variables in: `${NAME}`, `${NAME:-what if it is not set}`; `$$` is a dollar sign.
    fn fill(&mut self, text: &str, line: usize) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some((inner, after)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
                match self.variable(inner) {
                    Ok(value) => out.push_str(&value),
                    Err(why) => {
                        self.problems.push(FileProblem::new(line, why));
                        out.extend(["${", inner, "}"]);
                    }
                }
                rest = after;
            } else {
                // As in `gpt-$1`.
                out.push('$');
            }
        }
        out.push_str(rest);
        out
    }

    fn variable(&self, inner: &str) -> Result<String, String> {
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(word) {
            return Err(format!("`${{{name}}}` names no variable; write `$$` for a dollar sign"));
        }
        let unset = || format!("the variable {name} is not set; set it, or write ${{{name}:-VALUE}}");
        (self.env)(name).or_else(|| default.map(str::to_owned)).ok_or_else(unset)
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.value {
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map(pairs) => pairs.iter().map(|(_, node)| size(node)).sum(),
        _ => 0,
    }
}

fn plain(text: String) -> Value {
    match text.as_str() {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        number if serde_json::from_str::<serde_json::Number>(number).is_ok() => Value::Number(text),
        _ => Value::Text(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        (name == "SET").then(|| "42".to_owned())
    }

    #[test]
    fn trees() {
        let rows = [
            ("", "null"),
            ("a: 1\nb: [x, 'y', \"z\\n\", ~]", r#"{"a":1,"b":["x","y","z\n",null]}"#),
            ("z: 1\na: {c: true, b: 1.5e3}", r#"{"z":1,"a":{"c":true,"b":1.5e3}}"#),
            // What other versions of YAML take for something else.
            (
                "[yes, no, 0x10, 010, 1_000, 12:30, .5, NULL]",
                r#"["yes","no","0x10","010","1_000","12:30",".5","NULL"]"#,
            ),
            ("!!str 1", r#""1""#),
            ("a: &x {b: 1}\nc: *x", r#"{"a":{"b":1},"c":{"b":1}}"#),
            (r#"{"a":{"b":[1,"2"]}}"#, r#"{"a":{"b":[1,"2"]}}"#),
            ("a: |\n  one\n  two\n", r#"{"a":"one\ntwo\n"}"#),
            // Variables: a plain one may be a number.
            (
                "- ${SET}\n- '${SET}'\n- a${SET}b\n- ${NO:-x}\n- '${NO:-}'\n- $$\n- $${SET}\n- gpt-$1\n- $",
                r#"[42,"42","a42b","x","","$","${SET}","gpt-$1","$"]"#,
            ),
        ];
        for (text, json) in rows {
            let (Some(node), problems) = parse(text, &env) else { panic!("{text}") };
            assert_eq!(problems, [], "{text}");
            assert_eq!(node.json(), json, "{text}");
        }
    }

    #[test]
    fn problems_name_their_line() {
        let deep = "[".repeat(100) + &"]".repeat(100);
        let bomb = (0..40)
            .fold("a0: &a0 [x, x]\n".to_owned(), |text, n| format!("{text}a{}: &a{} [*a{n}, *a{n}]\n", n + 1, n + 1));
        let rows = [
            ("a: 1\nb: 2\na: 3", &[(3, "`a` appears twice, first on line 1")][..]),
            ("a: ${NO}\nb: '${ALSO}'", &[(1, "the variable NO is not set"), (2, "the variable ALSO is not set")]),
            ("a: ${no such}", &[(1, "`${no such}` names no variable")]),
            ("a: 1\n b: 2", &[(2, "this is no YAML")]),
            ("a: 1\n---\nb: 2", &[(2, "a second document")]),
            ("? [a]\n: 1", &[(1, "a key must be text")]),
            (&deep, &[(1, "this is nested deeper than 64")]),
            (&bomb, &[(19, "the file has more than")]),
        ];
        for (text, expected) in rows {
            let (_, problems) = parse(text, &env);
            assert_eq!(problems.len(), expected.len(), "{text}: {problems:?}");
            for (problem, (line, begins)) in problems.iter().zip(expected) {
                assert!(problem.line == *line && problem.message.starts_with(begins), "{text}: {problem:?}");
            }
        }
    }
}
