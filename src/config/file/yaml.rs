//! Reads YAML as a tree with line numbers, with `${NAME}` filled in. It is YAML 1.2 as far as a
//! configuration needs it: one document, keys that are text and unique, numbers as JSON has them.
//! Plain words are text unless they are `true`, `false`, `null`, `~` or a number.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

pub(crate) use super::node::{Node, Value};
use super::problem::FileProblem;
use super::yaml_1_1;
use crate::config::env::Env;

/// Deeper nesting is refused.
const MAX_DEPTH: usize = 64;
/// More nodes are refused: an alias of an alias of an alias grows fast.
const MAX_NODES: usize = 2_000_000;

/// Reads the document in `text`. Returns all of its problems, and no document if its syntax is
/// wrong. Variables come from `env`; one that is missing stays as it is written.
pub(crate) fn parse(text: &str, env: &Env<'_>) -> (Option<Node>, Vec<FileProblem>) {
    read(text, env, Version::V1_2)
}

/// Reads a file of a program that has YAML 1.1, as Python's have. `${NAME}` stands for itself. A
/// key that appears twice is a problem as well, and the last one counts.
pub(crate) fn parse_1_1(text: &str) -> (Option<Node>, Vec<FileProblem>) {
    read(text, &|_| None, Version::V1_1)
}

fn read(text: &str, env: &Env<'_>, version: Version) -> (Option<Node>, Vec<FileProblem>) {
    let parser = Parser::new_from_str(text);
    let mut reader = Reader { parser, env, version, anchors: HashMap::new(), nodes: 0, problems: Vec::new() };
    match reader.document() {
        Ok(node) => (Some(node), reader.problems),
        // The rest of the text was not read.
        Err(problem) => {
            reader.problems.push(problem);
            (None, reader.problems)
        }
    }
}

/// What plain words and `<<` mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1_1,
    V1_2,
}

struct Reader<'t, 'e> {
    parser: Parser<'t, StrInput<'t>>,
    env: &'e Env<'e>,
    version: Version,
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
                let (why, hint) = (error.info(), advice(error.info()));
                Err(FileProblem::new(error.marker().line(), format!("this is no YAML: {why}{hint}")))
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
                if let Some(tag) = tag.as_deref().filter(|tag| !is_known(tag) && self.version == Version::V1_2) {
                    let shown: String = tag.suffix.chars().take(60).collect();
                    let why =
                        format!("the tag !{shown} is not known; ${{NAME}} stands for a variable of the environment");
                    self.problems.push(FileProblem::new(line, why));
                }
                let forced = tag.is_some_and(|tag| tag.suffix == "str");
                let text = self.fill(&text, line);
                let value = match self.version {
                    _ if style != ScalarStyle::Plain || forced => Value::Text(text),
                    Version::V1_1 => yaml_1_1::plain(text),
                    Version::V1_2 => plain(text),
                };
                (value, anchor)
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
        let mut merged = Vec::new();
        let mut lines = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            let line = span.start.line();
            let key = match event {
                Event::MappingEnd => {
                    yaml_1_1::merge(&mut pairs, merged);
                    return Ok(Value::Map(pairs));
                }
                Event::Scalar(text, ..) => self.fill(&text, line),
                _ => return Err(FileProblem::new(line, "a key must be text")),
            };
            let merges = key == "<<";
            let first = if merges { None } else { lines.insert(key.clone(), line) };
            if let Some(first) = first {
                self.problems.push(FileProblem::new(line, format!("`{key}` appears twice, first on line {first}")));
            }
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            if merges {
                if !yaml_1_1::can_be_merged(&node) {
                    let why = "`<<` takes a mapping, or a list of mappings, over; this is neither";
                    self.problems.push(FileProblem::new(line, why));
                }
                merged.push(node);
                continue;
            }
            if first.is_some() && self.version == Version::V1_1 {
                pairs.retain(|(known, _)| *known != key);
            }
            pairs.push((key, node));
        }
    }

    /// Puts variables in: `${NAME}`, `${NAME:-what if it is not set}`; `$$` is a dollar sign.
    fn fill(&mut self, text: &str, line: usize) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$').filter(|_| self.version == Version::V1_2) {
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
            } else if rest.starts_with('{') {
                // The text may be a key.
                let why = "a `${` has no `}` behind it; write `$$` for a dollar sign";
                self.problems.push(FileProblem::new(line, why));
                out.push('$');
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
            // The text may be a key.
            let why = "the name in a `${...}` is no name of a variable; write `$$` for a dollar sign";
            return Err(why.to_owned());
        }
        let unset = || format!("the variable {name} is not set or empty; set it, or write ${{{name}:-VALUE}}");
        (self.env)(name).or_else(|| default.map(str::to_owned)).ok_or_else(unset)
    }
}

/// Returns whether a tag is one of YAML's own for a single value. Bytes in base64 are no text.
fn is_known(tag: &Tag) -> bool {
    tag.is_yaml_core_schema() && tag.suffix != "binary"
}

/// Returns what to do about the commonest slips, by the parser's words for them.
fn advice(why: &str) -> &'static str {
    const ADVICE: [(&str, &str); 3] = [
        ("anchor or alias", "; a text that begins with `*` or `&` must stand in quotes: '*'"),
        ("unexpected character", "; a text that begins with it must stand in quotes"),
        ("mapping values are not allowed", "; a text with `: ` in it must stand in quotes"),
    ];
    ADVICE.iter().find(|(words, _)| why.contains(words)).map_or("", |(_, advice)| advice)
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
            ("a: &x {p: 1, q: 2}\nb:\n  <<: *x\n  q: 3", r#"{"a":{"p":1,"q":2},"b":{"q":3,"p":1}}"#),
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
            ("a: 1\nb: sk-${NO", &[(2, "a `${` has no `}` behind it; write `$$` for a dollar sign")]),
            ("a: 'sk-${two words}'", &[(1, "the name in a `${...}` is no name of a variable")]),
            ("a: !secret x\nb: !!binary eA==", &[(1, "the tag !secret is not known"), (2, "the tag !binary")]),
            (
                "a:\n  gpt-*: *",
                &[(
                    2,
                    "this is no YAML: while scanning an anchor or alias, did not find expected \
                alphabetic or numeric character; a text that begins with `*`",
                )],
            ),
            ("a: {<<: text}\nb: {<<: [{}, 5]}", &[(1, "`<<` takes a mapping"), (2, "`<<` takes a mapping")]),
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

    #[test]
    fn words_numbers_and_merges() {
        let rows = [
            ("[True, off, YES, Null, n]", r#"[true,false,true,null,"n"]"#),
            ("['True', \"off\", !!str 1]", r#"["True","off","1"]"#),
            ("[1_000, +1, .5, 1., 1e3, 010, 1.2.3]", r#"[1000,1,0.5,1.0,1e3,"010","1.2.3"]"#),
            ("- ${A}\n- $$\n- '${B:-x}'", r#"["${A}","$$","${B:-x}"]"#),
            ("a: &x {p: 1, q: 2}\nb:\n  <<: *x\n  q: 3", r#"{"a":{"p":1,"q":2},"b":{"q":3,"p":1}}"#),
            ("a: {<<: [{p: 1}, {p: 2, q: 2}], r: 3}", r#"{"a":{"r":3,"p":1,"q":2}}"#),
            ("a: {<<: {p: 1}, <<: {q: 2}}", r#"{"a":{"p":1,"q":2}}"#),
        ];
        for (text, json) in rows {
            let (Some(node), problems) = parse_1_1(text) else { panic!("{text}") };
            assert_eq!((node.json().as_str(), problems), (json, Vec::new()), "{text}");
        }
        let (node, problems) = parse_1_1("a: 1\na: 2");
        assert_eq!(node.map(|node| node.json()), Some(r#"{"a":2}"#.to_owned()));
        assert_eq!((problems[0].line, problems[0].message.as_str()), (2, "`a` appears twice, first on line 1"));
    }
}
