//! Edits of a request body by byte range.
//!
//! In a bypass the client's bytes go on as they are, save for what is named here. Nothing is
//! written anew: a provider's prompt cache and the signatures in a conversation both depend on
//! bytes that stay equal from turn to turn.

use std::ops::Range;

use crate::json::{RawStr, RawValue, write};
use crate::passthrough::peek::Peek;

/// A few edits of one body, in rising order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Splice {
    edits: Vec<(Range<usize>, Vec<u8>)>,
}

impl Splice {
    /// Makes a splice without edits.
    pub fn new() -> Splice {
        Splice::default()
    }

    /// Returns whether there are no edits, so that the body goes on as it is.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Puts `with` in the place of the bytes `at`; an empty range inserts. Of edits that overlap
    /// the foremost is applied.
    pub fn replace(&mut self, at: Range<usize>, with: impl Into<Vec<u8>>) {
        let ix = self.edits.partition_point(|(other, _)| other.start <= at.start);
        self.edits.insert(ix, (at, with.into()));
    }

    /// Names another model. No edit where the name is the same already.
    pub fn model(&mut self, peek: &Peek<'_>, name: &str) {
        if !peek.model.eq_str(name) {
            self.replace(peek.model_at.clone(), quoted(name));
        }
    }

    /// Asks for the usage chunk of a chat stream: sets `stream_options.include_usage`, whatever
    /// is there now.
    ///
    /// `stream_options` of a wrong type is left alone, for the provider to refuse: the client
    /// should hear of it. `options_at` is their position in `body`, from [`Peek`]; the client
    /// must not have asked already.
    pub fn ask_usage(&mut self, body: &[u8], options_at: Option<Range<usize>>) {
        match options_at.map(|at| (RawValue::new(&body[at.clone()]), at)) {
            None => {
                self.put_first(body, br#""stream_options":{"include_usage":true}"#);
            }
            Some((options, at)) if options.is_null() => self.replace(at, *br#"{"include_usage":true}"#),
            Some((options, at)) if options.is_object() => self.ask_usage_in(options, at.start),
            Some(_) => {}
        }
    }

    /// Puts a member at the front of the object, which must not be empty.
    pub fn put_first(&mut self, body: &[u8], member: &[u8]) {
        let inside = body.iter().position(|&b| b == b'{').map_or(0, |at| at + 1);
        self.replace(inside..inside, [member, b","].concat());
    }

    fn ask_usage_in(&mut self, options: RawValue<'_>, start: usize) {
        let is_ours = |key: RawStr<'_>| key.eq_str("include_usage");
        match options.members().filter(|(key, ..)| is_ours(*key)).last() {
            Some((.., at)) => self.replace(start + at.start..start + at.end, *b"true"),
            None => {
                let comma: &[u8] = if options.members().next().is_some() { b"," } else { b"" };
                self.replace(start + 1..start + 1, [br#""include_usage":true"#, comma].concat());
            }
        }
    }

    /// How many bytes [`Splice::apply`] appends for a body of `len` bytes, as long as no edits
    /// overlap.
    pub fn len_after(&self, len: usize) -> usize {
        self.edits.iter().fold(len, |len, (at, with)| len.saturating_sub(at.len()) + with.len())
    }

    /// Appends `body` with all edits.
    pub fn apply(&self, body: &[u8], out: &mut Vec<u8>) {
        out.reserve(self.len_after(body.len()));
        let mut from = 0;
        for (at, with) in &self.edits {
            if at.start < from || at.end > body.len() {
                continue;
            }
            out.extend_from_slice(&body[from..at.start]);
            out.extend_from_slice(with);
            from = at.end;
        }
        out.extend_from_slice(&body[from..]);
    }
}

/// `name` as a JSON string: the replacement for a model name.
pub fn quoted(name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 2);
    write::string(&mut out, name);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::scan;
    use crate::passthrough::peek::peek;

    fn check(body: &str, expected: &str) {
        let seen = peek(body.as_bytes()).unwrap();
        let mut splice = Splice::new();
        if !seen.include_usage {
            splice.ask_usage(body.as_bytes(), seen.stream_options.clone().map(|(_, at)| at));
        }
        splice.model(&seen, "up\"");
        let mut out = Vec::new();
        splice.apply(body.as_bytes(), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected);
        assert_eq!(splice.len_after(body.len()), out.len());
        scan::validate(&out).unwrap();
    }

    #[test]
    fn model_and_usage_and_nothing_else() {
        let rows = [
            (r#" {"model":"m" } "#, r#" {"stream_options":{"include_usage":true},"model":"up\"" } "#),
            (r#"{"a":1.0,"model":"m"}"#, r#"{"stream_options":{"include_usage":true},"a":1.0,"model":"up\""}"#),
            (r#"{"stream_options":null,"model":"m"}"#, r#"{"stream_options":{"include_usage":true},"model":"up\""}"#),
            (r#"{"stream_options":{},"model":"m"}"#, r#"{"stream_options":{"include_usage":true},"model":"up\""}"#),
            (
                r#"{"model":"m","stream_options":{ "x":[1] }}"#,
                r#"{"model":"up\"","stream_options":{"include_usage":true, "x":[1] }}"#,
            ),
            (
                r#"{"model":"m","stream_options":{"include_usage" : false,"x":2}}"#,
                r#"{"model":"up\"","stream_options":{"include_usage" : true,"x":2}}"#,
            ),
            (
                r#"{"model":"m","stream_options":{"include_usage":null}}"#,
                r#"{"model":"up\"","stream_options":{"include_usage":true}}"#,
            ),
            (
                r#"{"model":"m","stream_options":{"include_usage":true}}"#,
                r#"{"model":"up\"","stream_options":{"include_usage":true}}"#,
            ),
            (r#"{"model":"m","stream_options":"x"}"#, r#"{"model":"up\"","stream_options":"x"}"#),
            (r#"{"model":"m","stream_options":[]}"#, r#"{"model":"up\"","stream_options":[]}"#),
        ];
        for (body, expected) in rows {
            check(body, expected);
        }
    }

    #[test]
    fn the_same_name_is_no_edit() {
        let seen = peek(br#"{"model":"a\/b"}"#).unwrap();
        let mut splice = Splice::new();
        splice.model(&seen, "a/b");
        assert!(splice.is_empty());
    }

    #[test]
    fn edits_that_overlap_or_lie_outside_do_no_harm() {
        let mut splice = Splice::new();
        splice.replace(4..6, *b"C");
        splice.replace(0..1, *b"A");
        splice.replace(1..1, *b"+");
        splice.replace(3..5, *b"B");
        splice.replace(9..99, *b"D");
        let mut out = Vec::new();
        splice.apply(b"0123456789", &mut out);
        assert_eq!(out, b"A+12B56789");
    }
}
