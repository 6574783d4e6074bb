//! One key of a `model_mapping` or one entry of `allowed_models`: a plain name, a wildcard, or a
//! regular expression.
//!
//! | key | kind | matches |
//! |---|---|---|
//! | `gpt-4o` | plain | itself |
//! | `gpt-3.5*` | wildcard | `gpt-3.5-turbo`, not `gpt-3x5`: a dot is a dot; each `*` is a capture, `$1`, `$2`, ... |
//! | `re:gpt-(4\|5)` | regular expression | the whole name, as if written between `^` and `$` |
//! | `gpt-(4\|5).*` | regular expression | the same, because of its characters |
//!
//! The last line is for rows of llm-proxy v1, which took a key for an expression when it held `.*`,
//! `.+` or one of `[ ( | ^ $ \`; there, a `*` in an expression without `.*` and `.+` meant `.*`.
//! New rows should say `re:`.
//!
//! Matching is linear in the name for any pattern. Names longer than [`MAX_MODEL`] match no
//! pattern.

use regex::{Regex, RegexBuilder};

/// The most bytes of a key, or of the name that it maps to.
pub(super) const MAX_KEY: usize = 512;
/// The most bytes of a model name that is matched.
pub(super) const MAX_MODEL: usize = 512;
/// The most bytes of a compiled expression. `\w` alone takes some 30 KB.
const MAX_PROGRAM: usize = 256 << 10;
const META: [char; 6] = ['[', '(', '|', '^', '$', '\\'];

#[derive(Debug)]
pub(super) enum Pattern {
    Wildcard(Wildcard),
    Regex(Regex),
}

/// The text between the stars. `a*b*c` is prefix `a`, middle `[b]`, suffix `c`.
#[derive(Debug)]
pub(super) struct Wildcard {
    prefix: Box<str>,
    middle: Vec<Box<str>>,
    suffix: Box<str>,
}

impl Pattern {
    /// `None` when `key` is a plain name. The error is a sentence about the key, without the key.
    pub(super) fn parse(key: &str) -> Result<Option<Pattern>, String> {
        if key.is_empty() {
            return Err("is empty".to_owned());
        }
        if key.len() > MAX_KEY {
            return Err(format!("is longer than {MAX_KEY} bytes"));
        }
        if let Some(expression) = key.strip_prefix("re:") {
            return Ok(Some(Pattern::Regex(anchored(expression)?)));
        }
        let dotted = key.contains(".*") || key.contains(".+");
        if dotted {
            return Ok(Some(Pattern::Regex(anchored(key)?)));
        }
        if key.contains(META) {
            return Ok(Some(Pattern::Regex(anchored(&key.replace('*', ".*"))?)));
        }
        Ok(Wildcard::parse(key).map(Pattern::Wildcard))
    }

    pub(super) fn matches(&self, model: &str) -> bool {
        model.len() <= MAX_MODEL
            && match self {
                Pattern::Wildcard(wildcard) => wildcard.walk(model, |_| {}),
                Pattern::Regex(regex) => regex.is_match(model),
            }
    }

    /// Returns the text of each group, the whole name first; that of a group that matched nothing
    /// is empty. `None` if the pattern does not match.
    pub(super) fn captures<'m>(&self, model: &'m str) -> Option<Vec<&'m str>> {
        if model.len() > MAX_MODEL {
            return None;
        }
        match self {
            Pattern::Wildcard(wildcard) => {
                let mut groups = vec![model];
                wildcard.walk(model, |group| groups.push(group)).then_some(groups)
            }
            Pattern::Regex(regex) => {
                let captures = regex.captures(model)?;
                Some(captures.iter().map(|group| group.map_or("", |group| group.as_str())).collect())
            }
        }
    }

    /// Returns the highest `$n` that the pattern has.
    fn groups(&self) -> usize {
        match self {
            Pattern::Wildcard(wildcard) => wildcard.stars(),
            Pattern::Regex(regex) => regex.captures_len() - 1,
        }
    }

    fn stars(&self) -> usize {
        match self {
            Pattern::Wildcard(wildcard) => wildcard.stars(),
            Pattern::Regex(_) => 0,
        }
    }
}

impl Wildcard {
    fn parse(key: &str) -> Option<Wildcard> {
        let (prefix, rest) = key.split_once('*')?;
        let (middle, suffix) = match rest.rsplit_once('*') {
            Some((middle, suffix)) => (middle.split('*').map(Box::from).collect(), suffix),
            None => (Vec::new(), rest),
        };
        Some(Wildcard { prefix: prefix.into(), middle, suffix: suffix.into() })
    }

    fn stars(&self) -> usize {
        self.middle.len() + 1
    }

    /// Calls `each` with the text of every star. A star takes as little as it can, and the last one
    /// the rest.
    fn walk<'m>(&self, model: &'m str, mut each: impl FnMut(&'m str)) -> bool {
        let Some(mut rest) = model.strip_prefix(&*self.prefix).and_then(|rest| rest.strip_suffix(&*self.suffix)) else {
            return false;
        };
        for part in &self.middle {
            let Some((before, after)) = rest.split_once(&**part) else { return false };
            each(before);
            rest = after;
        }
        each(rest);
        true
    }
}

/// Compiles `expression` so that it must match a whole name.
fn anchored(expression: &str) -> Result<Regex, String> {
    // On its own first: `a)|(b` is not an expression, but between the brackets below it would be
    // one, and an unanchored one.
    build(expression)?;
    build(&format!(r"\A(?:{expression})\z"))
}

fn build(expression: &str) -> Result<Regex, String> {
    RegexBuilder::new(expression).size_limit(MAX_PROGRAM).dfa_size_limit(MAX_PROGRAM).nest_limit(32).build().map_err(
        |error| match error {
            regex::Error::CompiledTooBig(_) => "is too large a regular expression".to_owned(),
            // The last line of the report states the fault; those before it show the position.
            other => {
                let report = other.to_string();
                let reason = report.lines().last().unwrap_or_default();
                format!("is not a regular expression: {}", reason.trim_start_matches("error: "))
            }
        },
    )
}

/// A part of the upstream's name: text, or the text of a group of the pattern.
#[derive(Debug)]
pub(super) enum Target {
    Plain(Box<str>),
    Template(Vec<Piece>),
}

#[derive(Debug)]
pub(super) enum Piece {
    Text(Box<str>),
    Group(usize),
}

impl Target {
    /// `$1`, `${1}` and `$0` stand for groups of `pattern`; so does, of a wildcard, each `*` in its
    /// turn: `{"gpt-*": "openai/gpt-*"}`. Without a pattern the text stands for itself.
    pub(super) fn parse(text: &str, pattern: Option<&Pattern>) -> Result<Target, String> {
        if text.is_empty() {
            return Err("maps to an empty name".to_owned());
        }
        if text.len() > MAX_KEY {
            return Err(format!("maps to a name longer than {MAX_KEY} bytes"));
        }
        let Some(pattern) = pattern else { return Ok(Target::Plain(text.into())) };
        let pieces = pieces(text, pattern)?;
        if pieces.iter().any(|piece| matches!(piece, Piece::Group(_))) {
            Ok(Target::Template(pieces))
        } else {
            Ok(Target::Plain(text.into()))
        }
    }

    /// `groups` as [`Pattern::captures`] gives them.
    pub(super) fn fill(pieces: &[Piece], groups: &[&str]) -> String {
        let mut name = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => name.push_str(text),
                Piece::Group(n) => name.push_str(groups.get(*n).copied().unwrap_or_default()),
            }
        }
        name
    }
}

fn pieces(text: &str, pattern: &Pattern) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut stars = 0;
    let mut rest = text;
    while let Some(at) = rest.find(['$', '*']) {
        let (before, hole) = rest.split_at(at);
        let (group, length) = if hole.starts_with('*') && pattern.stars() > 0 {
            stars += 1;
            if stars > pattern.stars() {
                return Err(format!("maps to a name with more than its own {} `*`", pattern.stars()));
            }
            (stars, 1)
        } else if let Some((group, length)) = reference(hole) {
            if group > pattern.groups() {
                return Err(format!("maps to a name with `${group}`, but has {} captures", pattern.groups()));
            }
            (group, length)
        } else {
            // A `$` or `*` that is no reference stays text, with the text before it.
            push_text(&mut pieces, &rest[..=at]);
            rest = &rest[at + 1..];
            continue;
        };
        push_text(&mut pieces, before);
        pieces.push(Piece::Group(group));
        rest = &hole[length..];
    }
    push_text(&mut pieces, rest);
    Ok(pieces)
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text.into()));
    }
}

/// Returns the number and the length of a `$1` or `${1}` at the start of `text`.
fn reference(text: &str) -> Option<(usize, usize)> {
    let after = text.strip_prefix('$')?;
    let (digits, around) = match after.strip_prefix('{') {
        Some(inner) => (inner.split_once('}')?.0, 3),
        None => (&after[..after.bytes().take_while(u8::is_ascii_digit).count()], 1),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((digits.parse().ok()?, digits.len() + around))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_plain_a_wildcard_or_an_expression() {
        // key, names that match, names that do not
        let rows: &[(&str, &[&str], &[&str])] = &[
            ("*", &["", "a", "org/a:b"], &[]),
            ("gpt-3.5*", &["gpt-3.5", "gpt-3.5-turbo"], &["gpt-3x5", "xgpt-3.5"]),
            ("*-mini", &["gpt-mini", "-mini"], &["mini", "gpt-mini-2"]),
            ("a*a", &["aa", "aba"], &["a"]),
            ("a*b*b", &["abb", "axbxb"], &["ab", "axb"]),
            ("a**b", &["ab", "axb"], &["a"]),
            ("claude-*-2025*", &["claude-opus-2025", "claude-a-2025-2025"], &["claude-2025"]),
            ("re:gpt-[45]o?", &["gpt-4", "gpt-5o"], &["gpt-4o-mini", "re:gpt-4"]),
            ("re:a|ab", &["a", "ab"], &["abc", "ba"]),
            ("re:(?i)GPT", &["gpt"], &["gpt\n"]),
            ("gpt-4.*", &["gpt-4", "gpt-4o"], &["xgpt-4"]),
            ("gpt-.+", &["gpt-4"], &["gpt-"]),
            ("gpt|o1", &["gpt", "o1"], &["gpto1", "o1x"]),
            ("^gpt-4$", &["gpt-4"], &["gpt-4o"]),
            // The predecessor's reading of a star in an expression.
            ("(gpt|o)-*", &["gpt-4", "o-"], &["x-4"]),
        ];
        for (key, yes, no) in rows {
            let pattern = Pattern::parse(key).unwrap().unwrap();
            for name in *yes {
                assert!(pattern.matches(name), "`{key}` must match `{name}`");
                assert_eq!(pattern.captures(name).unwrap()[0], *name);
            }
            for name in *no {
                assert!(!pattern.matches(name), "`{key}` must not match `{name}`");
                assert!(pattern.captures(name).is_none());
            }
        }
        for plain in ["gpt-4", "gpt-3.5", "org/model:tag", "a+b", "x{1}"] {
            assert!(Pattern::parse(plain).unwrap().is_none(), "{plain}");
        }
    }

    #[test]
    fn invalid_pattern_keys_are_reported() {
        let rows = [
            ("", "is empty"),
            ("re:[a", "is not a regular expression: unclosed character class"),
            ("re:a)|(b", "is not a regular expression: unopened group"),
            ("gpt-(4", "is not a regular expression: unclosed group"),
            (r"re:\w{1000}", "is too large a regular expression"),
        ];
        for (key, message) in rows {
            assert_eq!(Pattern::parse(key).unwrap_err(), message, "{key}");
        }
        assert!(Pattern::parse(&"x".repeat(MAX_KEY + 1)).is_err());
    }

    #[test]
    fn long_names_match_nothing() {
        let pattern = Pattern::parse("*").unwrap().unwrap();
        assert!(pattern.matches(&"x".repeat(MAX_MODEL)));
        assert!(!pattern.matches(&"x".repeat(MAX_MODEL + 1)));
    }

    #[test]
    fn targets_take_captures() {
        // key, value, name asked, name sent
        let rows = [
            ("*", "*", "a", "a"),
            ("gpt-*", "openai/gpt-*", "gpt-4", "openai/gpt-4"),
            ("*-*", "$2.$1", "a-b-c", "b-c.a"),
            ("*-*", "*/*", "a-b", "a/b"),
            ("*", "$0$0", "a", "aa"),
            ("*", "x${1}0", "a", "xa0"),
            ("*", "$ $x ${y} a$", "a", "$ $x ${y} a$"),
            ("re:(a)?(b)", "<$1$2>", "b", "<b>"),
            ("re:g-(.*)", "*-$1", "g-1", "*-1"),
        ];
        for (key, value, asked, sent) in rows {
            let pattern = Pattern::parse(key).unwrap().unwrap();
            let name = match Target::parse(value, Some(&pattern)).unwrap() {
                Target::Plain(name) => name.into_string(),
                Target::Template(pieces) => Target::fill(&pieces, &pattern.captures(asked).unwrap()),
            };
            assert_eq!(name, sent, "{key} -> {value}");
        }
    }

    #[test]
    fn targets_without_their_capture_are_refused() {
        for (key, value) in
            [("a*", "$2"), ("a*", "*-*"), ("re:a", "$1"), ("*", ""), ("*", "${999999999999999999999}$3")]
        {
            let pattern = Pattern::parse(key).unwrap().unwrap();
            assert!(Target::parse(value, Some(&pattern)).is_err(), "{key} -> {value}");
        }
    }
}
