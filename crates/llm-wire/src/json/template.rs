//! The structure of a text with JSON in it: its bytes, with holes where the insides of some strings
//! and some numbers were.
//!
//! Documents of one program have one structure: the same keys in the same order around other texts
//! and numbers. What follows from the structure alone is known of all of them once it is known of
//! one. To match costs a comparison for each run of bytes between holes and a search for the end of
//! each string. It is exact: a text that matches is the example with other strings and numbers, so
//! it is JSON where that is, in UTF-8 if all of its bytes are.

use super::scan;
use super::vectors::{Common, Lanes, Vectorized, is_equal, strip, vectorized};

/// What fills a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hole {
    /// The inside of a string.
    Text,
    /// The same, and not empty.
    SomeText,
    /// Digits, of which the first is 0 only where it is the last.
    Number,
    /// The text ends here.
    End,
}

impl Hole {
    /// Returns where the hole ends that begins at `pos`. `None` if nothing there can fill it. Adds
    /// the bits of what fills it to `high_bits` ([`scan::short_run_gathering`]).
    #[inline(always)]
    fn end_gathering(self, lanes: impl Lanes, buf: &[u8], pos: usize, high_bits: &mut u64) -> Option<usize> {
        match self {
            Hole::Text => text_end(lanes, buf, pos, high_bits),
            Hole::SomeText => text_end(lanes, buf, pos, high_bits).filter(|end| *end > pos),
            Hole::Number => number_end(buf, pos),
            Hole::End => Some(pos),
        }
    }
}

/// Bytes that must be equal, and what follows them.
#[derive(Debug, Clone)]
struct Run {
    literal: Box<[u8]>,
    /// Where it begins in the example.
    start: usize,
    then: Hole,
    /// Whether the value in the hole [`varies`].
    varies: bool,
}

impl Run {
    /// Returns the hole behind it, where a text that varies may be empty.
    fn then_or_empty(&self) -> Hole {
        match self.then {
            Hole::SomeText if self.varies => Hole::Text,
            then => then,
        }
    }
}

/// Returns whether strings of this key differ from one event to the next in nearly every stream.
fn is_text(key: &[u8]) -> bool {
    matches!(
        key,
        b"content"
            | b"text"
            | b"delta"
            | b"partial_json"
            | b"arguments"
            | b"reasoning_content"
            | b"thinking"
            | b"obfuscation"
    )
}

/// Returns whether strings of this key are padding, which changes nothing whether it is empty or
/// not.
pub(crate) fn is_padding(key: &[u8]) -> bool {
    key == b"obfuscation"
}

/// Returns whether numbers of this key differ from one event to the next.
fn is_counter(key: &[u8]) -> bool {
    key == b"sequence_number"
}

/// Returns whether a value differs from one event of a stream to the next.
pub(crate) fn varies(value: &Value<'_>) -> bool {
    if value.is_string { is_text(value.key) } else { is_counter(value.key) }
}

/// Returns whether a text is ASCII, and a string's body as it is.
pub(crate) fn is_plain_text(text: &[u8]) -> bool {
    scan::is_plain_ascii(text, text.len())
}

/// Returns the number that ends before `end`, where a hole for a number does. `None` if it has more
/// than `most` digits.
pub(crate) fn number_before(text: &[u8], end: usize, most: usize) -> Option<u64> {
    let (mut number, mut scale, mut left) = (0u64, 1u64, most);
    for digit in text[..end].iter().rev().map(|byte| byte.wrapping_sub(b'0')).take_while(|digit| *digit < 10) {
        left = left.checked_sub(1)?;
        number = number.wrapping_add(scale.wrapping_mul(u64::from(digit)));
        scale = scale.wrapping_mul(10);
    }
    Some(number)
}

/// A structure. The default is that of nothing.
#[derive(Debug, Default, Clone)]
pub(crate) struct Template {
    runs: Vec<Run>,
}

/// A structure with one hole, which is a text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OnlyText<'t> {
    before: &'t [u8],
    /// Begins with the quote that ends the text.
    behind: &'t [u8],
    may_be_empty: bool,
}

impl OnlyText<'_> {
    /// Returns whether all of `text` has this structure. Its end being known, the hole needs no
    /// search for its own.
    #[inline(always)]
    pub(crate) fn is_match(self, lanes: impl Lanes, text: &[u8]) -> bool {
        let Some(rest) = strip(lanes, text, self.before) else { return false };
        let Some((body, behind)) = rest.len().checked_sub(self.behind.len()).map(|end| rest.split_at(end)) else {
            return false;
        };
        is_equal(lanes, behind, self.behind)
            && (self.may_be_empty || !body.is_empty())
            && scan::is_string_body(lanes, rest, body.len())
    }
}

/// A document that has the structure of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Match {
    /// Whether what fills the holes is ASCII: the document is UTF-8 then, where the example is.
    pub is_ascii: bool,
}

/// Holes of a template at most.
pub(crate) const MAX_HOLES: usize = 32;

/// Where the runs of a template begin in a text that matches.
pub(crate) type Places = [usize; MAX_HOLES + 1];

/// The places of nothing.
pub(crate) const NOWHERE: Places = [0; MAX_HOLES + 1];

/// A range of an example that begins and ends in literals: each end is a run and an offset in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot {
    start: (usize, usize),
    end: (usize, usize),
}

impl Template {
    /// Cuts `example` at the values that are holes. An empty string is a hole only if
    /// `may_be_empty`, or if it is padding. `None` if there would be more than [`MAX_HOLES`].
    pub(crate) fn cut(example: &[u8], may_be_empty: bool, is_hole: impl Fn(&Value<'_>) -> bool) -> Option<Template> {
        let (mut runs, mut start) = (Vec::new(), 0);
        for value in Values::of(example) {
            let may_be_empty = may_be_empty || is_padding(value.key);
            if is_hole(&value) && (may_be_empty || value.start < value.end) {
                if runs.len() == MAX_HOLES {
                    return None;
                }
                let then = match value.is_string {
                    true if may_be_empty => Hole::Text,
                    true => Hole::SomeText,
                    false => Hole::Number,
                };
                let literal = example[start..value.start].into();
                runs.push(Run { literal, start, then, varies: varies(&value) });
                start = value.end;
            }
        }
        runs.push(Run { literal: example[start..].into(), start, then: Hole::End, varies: false });
        Some(Template { runs })
    }

    /// Returns the template of `text`, which matches, with holes for its texts and the number of
    /// the event alone. A text may be empty there. `None` if it has none.
    pub(crate) fn fixed(&self, text: &[u8]) -> Option<Template> {
        let mut places = NOWHERE;
        if !self.match_whole(text, &mut places) {
            return None;
        }
        let (mut runs, mut start) = (Vec::with_capacity(4), 0);
        for (n, run) in self.runs.iter().enumerate() {
            let end = places[n] + run.literal.len();
            if run.varies || run.then == Hole::End {
                let then = run.then_or_empty();
                runs.push(Run { literal: text[start..end].into(), start, then, varies: run.varies });
                start = places.get(n + 1).copied().unwrap_or(end);
            }
        }
        (runs.len() > 1).then_some(Template { runs })
    }

    /// Returns the same template, in which the texts that differ in nearly every stream may be
    /// empty.
    pub(crate) fn with_empty_texts(&self) -> Template {
        let runs = self.runs.iter().map(|run| Run { then: run.then_or_empty(), ..run.clone() });
        Template { runs: runs.collect() }
    }

    /// Returns the length of the text at the start of `buf` that has this structure. Returns `None`
    /// if it has another structure or is incomplete.
    pub(crate) fn match_start(&self, buf: &[u8]) -> Option<usize> {
        self.match_inlined(Common, buf)
    }

    /// Does the same, inlined.
    #[inline(always)]
    pub(crate) fn match_inlined(&self, lanes: impl Lanes, buf: &[u8]) -> Option<usize> {
        self.match_noting::<false>(lanes, buf, &mut 0, |_, _| {})
    }

    /// Returns the bytes before and behind the hole, if there is one and no other.
    pub(crate) fn surroundings(&self) -> Option<(&[u8], &[u8])> {
        let [before, after] = &self.runs[..] else { return None };
        Some((&before.literal, &after.literal))
    }

    /// Returns whether all of `text` has this structure.
    #[inline]
    pub(crate) fn is_match(&self, text: &[u8]) -> bool {
        match self.only_text() {
            Some(only) => only.is_match(Common, text),
            None => self.match_start(text) == Some(text.len()),
        }
    }

    /// Returns the only hole, if it is a text.
    #[inline]
    pub(crate) fn only_text(&self) -> Option<OnlyText<'_>> {
        let [Run { literal: before, then: hole @ (Hole::Text | Hole::SomeText), .. }, Run { literal: behind, .. }] =
            &self.runs[..]
        else {
            return None;
        };
        Some(OnlyText { before, behind, may_be_empty: *hole == Hole::Text })
    }

    /// Notes where the runs begin in `buf` if all of it has this structure.
    pub(crate) fn match_whole(&self, buf: &[u8], places: &mut Places) -> bool {
        self.match_document(buf, places).is_some()
    }

    /// Does the same, and looks at what fills the holes. `None` if not all of `buf` has this
    /// structure.
    pub(crate) fn match_document(&self, buf: &[u8], places: &mut Places) -> Option<Match> {
        vectorized(MatchDocument { template: self, buf, places })
    }

    /// Does what [`Template::match_start`] does. Tells `note` the number and the place of each run,
    /// and adds the bits of what fills the holes to `high_bits`, if it `GATHERS` them.
    #[inline(always)]
    fn match_noting<const GATHERS: bool>(
        &self,
        lanes: impl Lanes,
        buf: &[u8],
        high_bits: &mut u64,
        mut note: impl FnMut(usize, usize),
    ) -> Option<usize> {
        let mut pos = 0;
        for (n, run) in self.runs.iter().enumerate() {
            note(n, pos);
            strip(lanes, buf.get(pos..)?, &run.literal)?;
            pos += run.literal.len();
            if run.then == Hole::End {
                return Some(pos);
            }
            pos = match GATHERS {
                true => run.then.end_gathering(lanes, buf, pos, high_bits)?,
                false => run.then.end_gathering(lanes, buf, pos, &mut 0)?,
            };
        }
        None
    }

    /// Notes where the runs begin in the text at the start of `buf` that has this structure, and
    /// returns its length. It is inlined.
    #[inline(always)]
    pub(crate) fn match_places(&self, lanes: impl Lanes, buf: &[u8], places: &mut Places) -> Option<usize> {
        self.match_noting::<false>(lanes, buf, &mut 0, |run, at| places[run] = at)
    }

    /// Returns the bytes before, between and behind the holes.
    pub(crate) fn literals(&self) -> impl Iterator<Item = &[u8]> {
        self.runs.iter().map(|run| &*run.literal)
    }

    /// Returns where the holes of a text that matches begin and end.
    pub(crate) fn holes(&self, places: &Places) -> impl Iterator<Item = (usize, usize)> {
        let starts = self.runs.iter().zip(places).map(|(run, at)| at + run.literal.len());
        let ends = places[1..].iter().copied();
        starts.zip(ends).take(self.runs.len().saturating_sub(1))
    }

    /// Returns the place of a range of the example. `None` if an end of it is in a hole.
    pub(crate) fn spot(&self, range: std::ops::Range<usize>) -> Option<Spot> {
        let find = |at: usize| {
            let run = self.runs.iter().rposition(|run| run.start <= at)?;
            let offset = at - self.runs[run].start;
            (offset <= self.runs[run].literal.len()).then_some((run, offset))
        };
        Some(Spot { start: find(range.start)?, end: find(range.end)? })
    }
}

struct MatchDocument<'t> {
    template: &'t Template,
    buf: &'t [u8],
    places: &'t mut Places,
}

impl Vectorized for MatchDocument<'_> {
    type Output = Option<Match>;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Option<Match> {
        let MatchDocument { template, buf, places } = self;
        let mut high_bits = 0;
        let len = template.match_noting::<true>(lanes, buf, &mut high_bits, |run, at| places[run] = at)?;
        (len == buf.len()).then_some(Match { is_ascii: high_bits & scan::TOP_BITS == 0 })
    }
}

impl Spot {
    /// Returns the numbers of the holes in the range.
    pub(crate) fn holes(self) -> std::ops::Range<usize> {
        self.start.0..self.end.0
    }

    /// Returns the same range in a text that matches.
    pub(crate) fn in_match(self, places: &Places) -> std::ops::Range<usize> {
        let place = |(run, offset): (usize, usize)| places[run] + offset;
        place(self.start)..place(self.end)
    }
}

/// Returns the position of the closing quote of the string whose content begins at `pos`, or `None`
/// if the string is malformed. Short strings take no loop.
#[inline(always)]
fn text_end(lanes: impl Lanes, buf: &[u8], pos: usize, high_bits: &mut u64) -> Option<usize> {
    let end = pos + scan::short_run_gathering(lanes, buf, pos, high_bits);
    if buf.get(end) == Some(&b'"') { Some(end) } else { scan::string_end_gathering(buf, end, high_bits) }
}

#[inline(always)]
fn number_end(buf: &[u8], pos: usize) -> Option<usize> {
    let mut end = pos;
    while buf.get(end).is_some_and(u8::is_ascii_digit) {
        end += 1;
    }
    (end > pos && (end == pos + 1 || buf[pos] != b'0')).then_some(end)
}

/// A string that is no key, or a run of digits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value<'e> {
    pub number: u32,
    pub is_string: bool,
    /// Of a string, what is between the quotes.
    pub start: usize,
    pub end: usize,
    /// The key before it: its own, where it is the value of one.
    pub key: &'e [u8],
}

/// The values of a text in order. What is no JSON yields some values or none; a template that was
/// made of it matches nothing that differs in structure either.
pub(crate) struct Values<'e> {
    text: &'e [u8],
    pos: usize,
    number: u32,
    key: &'e [u8],
}

impl<'e> Values<'e> {
    /// Returns the values of `text`, in order.
    pub(crate) fn of(text: &'e [u8]) -> Values<'e> {
        Values { text, pos: 0, number: 0, key: b"" }
    }
}

impl<'e> Iterator for Values<'e> {
    type Item = Value<'e>;

    fn next(&mut self) -> Option<Value<'e>> {
        loop {
            let start = self.pos;
            let is_string = match self.text.get(start)? {
                b'"' => true,
                b'0'..=b'9' => false,
                _ => {
                    self.pos += 1;
                    continue;
                }
            };
            let (start, end) = if is_string {
                let end = scan::string_end(self.text, start + 1)?;
                self.pos = end + 1;
                (start + 1, end)
            } else {
                let digits = self.text[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                self.pos = start + digits;
                (start, start + digits)
            };
            if is_string && self.text.get(scan::skip_space(self.text, self.pos)) == Some(&b':') {
                self.key = &self.text[start..end];
                continue;
            }
            let value = Value { number: self.number, is_string, start, end, key: self.key };
            self.number += 1;
            return Some(value);
        }
    }
}

/// Returns the values in which two texts differ, as bits. `None` if they differ in anything else,
/// in a value that `decides` what a text is, or in one behind the first 64.
pub(crate) fn changed_values(
    one: &[u8],
    other: &[u8],
    decides: impl Fn(&Value<'_>, &Value<'_>) -> bool,
) -> Option<u64> {
    let (mut a, mut b) = (Values::of(one), Values::of(other));
    let (mut from_a, mut from_b, mut changed) = (0, 0, 0);
    loop {
        let (left, right) = match (a.next(), b.next()) {
            (Some(left), Some(right)) => (left, right),
            (None, None) => return (one[from_a..] == other[from_b..]).then_some(changed),
            _ => return None,
        };
        if left.is_string != right.is_string || one[from_a..left.start] != other[from_b..right.start] {
            return None;
        }
        (from_a, from_b) = (left.end, right.end);
        if one[left.start..left.end] != other[right.start..right.end] {
            if decides(&left, &right) || right.number >= u64::BITS {
                return None;
            }
            changed |= 1 << right.number;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::{RawValue, sample};

    fn template(example: &str) -> Template {
        Template::cut(example.as_bytes(), true, |value| value.key != b"fixed").unwrap()
    }

    /// Matches a document with and without wide instructions, which must come to the same.
    fn match_both(template: &Template, buf: &[u8]) -> (Option<Match>, Places) {
        let (mut places, mut common) = (NOWHERE, NOWHERE);
        let found = template.match_document(buf, &mut places);
        let by_common = MatchDocument { template, buf, places: &mut common }.run(Common);
        assert_eq!((found, places), (by_common, common), "{}", String::from_utf8_lossy(buf));
        (found, places)
    }

    /// Bytes that are no ASCII, escapes and ends of texts are found at every place.
    #[test]
    fn what_fills_a_hole_is_looked_at_to_its_end() {
        let template = template(r#"{"a":"x","b":"y"}"#);
        // What stands in a text, whether it matches, and whether it is ASCII.
        let rows: &[(&[u8], bool, bool)] = &[
            (b"", true, true),
            (b"\xff", true, false),
            ("\u{e9}".as_bytes(), true, false),
            (b"\\n", true, true),
            (b"\\n\xff", true, false),
            (b"\"", false, false),
            (b"\x1f", false, false),
        ];
        for len in 0..130 {
            for at in 0..=len {
                for (part, matches, is_ascii) in rows {
                    let (before, behind) = (vec![b'p'; at], vec![b'q'; len - at]);
                    let text = [&b"{\"a\":\""[..], &before, part, &behind, b"\",\"b\":\"short\"}"].concat();
                    let (found, places) = match_both(&template, &text);
                    assert_eq!(found, matches.then_some(Match { is_ascii: *is_ascii }), "{part:?} at {at} of {len}");
                    assert!(found.is_none() || places[..2] == [0, 6 + len + part.len()]);
                }
            }
        }
    }

    #[test]
    fn strings_and_numbers_may_differ() {
        let template = template(r#"{"a":"x","fixed":"y","n":[1,20],"b":""}"#);
        for text in [r#"{"a":"","fixed":"y","n":[0,7],"b":"\u00e9\""}"#, r#"{"a":"é","fixed":"y","n":[123,4],"b":"b"}"#]
        {
            assert_eq!(template.match_start(format!("{text} x").as_bytes()), Some(text.len()), "{text}");
            assert!(template.match_whole(text.as_bytes(), &mut NOWHERE.clone()));
            assert!(template.is_match(text.as_bytes()) && !template.is_match(format!("{text} ").as_bytes()));
            assert!((0..text.len()).all(|end| template.match_start(&text.as_bytes()[..end]).is_none()));
        }
        for text in [
            r#"{"a":"x","fixed":"z","n":[1,20],"b":""}"#,
            r#"{"a":"x","fixed":"y","n":[01,2],"b":""}"#,
            r#"{"a":"x","fixed":"y","n":[,2],"b":""}"#,
            r#"{"a":"x","fixed":"y","n":[-1,2],"b":""}"#,
            r#"{"a":"\x","fixed":"y","n":[1,2],"b":""}"#,
            "{\"a\":\"\n\",\"fixed\":\"y\",\"n\":[1,2],\"b\":\"\"}",
            r#"{"a":"x","fixed":"y","n":[1,2],"b":null}"#,
        ] {
            assert_eq!(template.match_start(text.as_bytes()), None, "{text}");
            assert!(!template.is_match(text.as_bytes()), "{text}");
        }
        assert_eq!(Template::default().match_start(b""), None);
    }

    #[test]
    fn ranges_move_with_what_is_before_them() {
        let example = r#"{"a":"xx","fixed":"y","o":{"n":1}}"#;
        let template = template(example);
        let text = r#"{"a":"","fixed":"y","o":{"n":1234}}"#;
        let mut places = NOWHERE;
        assert!(template.match_whole(text.as_bytes(), &mut places));
        for (part, moved) in [(r#""y""#, r#""y""#), (r#"{"n":1}"#, r#"{"n":1234}"#), (r#""xx""#, r#""""#)] {
            let at = example.find(part).unwrap();
            let spot = template.spot(at..at + part.len()).unwrap();
            assert_eq!(&text[spot.in_match(&places)], moved);
        }
        assert!(template.spot(7..8).is_none(), "it begins in a hole");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

        /// What matches a document is JSON, and has the same places of values.
        #[test]
        fn what_matches_is_json(
            document in sample::document(),
            other in sample::document(),
            cut in 0usize..200,
            fill in prop::collection::vec(0usize..200, 1..4),
        ) {
            prop_assume!(RawValue::parse(&document).is_ok());
            let Some(template) = Template::cut(&document, true, |value| value.number % 3 != 2) else { return Ok(()) };
            let mut mixed = document.clone();
            mixed.truncate(cut.min(document.len()));
            mixed.extend_from_slice(other.get(cut..).unwrap_or_default());
            // The same document with other texts and numbers.
            let mut filled = Vec::new();
            let mut from = 0;
            for value in Values::of(&document).filter(|value| value.number % 3 != 2) {
                filled.extend_from_slice(&document[from..value.start]);
                match value.is_string {
                    true => filled.resize(filled.len() + fill[value.number as usize % fill.len()], b'f'),
                    false => filled.extend_from_slice(b"1234"),
                }
                from = value.end;
            }
            filled.extend_from_slice(&document[from..]);
            for text in [&document, &other, &mixed, &filled] {
                match_both(&template, text);
                prop_assert_eq!(template.is_match(text), template.match_start(text) == Some(text.len()));
                if template.match_whole(text, &mut NOWHERE.clone()) && std::str::from_utf8(text).is_ok() {
                    prop_assert!(RawValue::parse(text).is_ok());
                }
            }
        }
    }
}
