//! Stop sequences for targets that have none (`docs/internals/translation/requests.md`, "Stop
//! sequences").
//!
//! The gateway watches the text and cuts it before the first match. What may be the beginning of a
//! match is held back; everything else goes on at once. Matching is on the plain text, output is
//! the escaped body as it came: a match may hide behind escapes (`\u0045ND`) or lie across deltas.

use crate::json::RawStr;

/// The watch over one text item.
#[derive(Debug, Default)]
pub(crate) struct StopScan {
    /// Escaped bytes that are not passed on yet.
    held: Vec<u8>,
    /// Scratch: the plain text of `held`, and where in `held` each of its bytes began.
    plain: Vec<u8>,
    starts: Vec<u32>,
}

/// What a delta brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watch {
    /// Go on.
    On,
    /// The text has ended before the sequence of this index.
    Hit(usize),
}

impl StopScan {
    /// Takes a delta and appends what may go on. `stops` are plain text and the same with each
    /// call; empty ones never match. After a hit the scan holds nothing and must not be fed again.
    pub(crate) fn push(&mut self, stops: &[String], delta: RawStr<'_>, out: &mut Vec<u8>) -> Watch {
        self.held.extend_from_slice(delta.as_bytes());
        let whole = self.decode();
        if let Some((at, stop)) = self.first_match(stops) {
            let cut = self.start_of(at);
            out.extend_from_slice(&self.held[..cut]);
            self.held.clear();
            return Watch::Hit(stop);
        }
        // Hold what is the beginning of a sequence, and a character that has not fully arrived.
        let keep_from =
            (0..self.plain.len()).find(|at| self.may_begin(stops, *at)).map_or(whole, |at| self.start_of(at));
        out.extend_from_slice(&self.held[..keep_from]);
        self.held.drain(..keep_from);
        Watch::On
    }

    /// The text has ended: appends what was held.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
    }

    /// The match that is complete first, however the text was cut; of those that end together the
    /// longest. `(start, index)`.
    fn first_match(&self, stops: &[String]) -> Option<(usize, usize)> {
        let hits = stops.iter().enumerate().filter(|(_, stop)| !stop.is_empty()).filter_map(|(n, stop)| {
            let at = memchr::memmem::find(&self.plain, stop.as_bytes())?;
            Some((at + stop.len(), at, n))
        });
        hits.min().map(|(_, at, n)| (at, n))
    }

    fn may_begin(&self, stops: &[String], at: usize) -> bool {
        let tail = &self.plain[at..];
        stops.iter().any(|stop| tail.len() < stop.len() && stop.as_bytes().starts_with(tail))
    }

    fn start_of(&self, plain_at: usize) -> usize {
        self.starts.get(plain_at).map_or(self.held.len(), |n| *n as usize)
    }

    /// Decodes `held` and returns up to where its characters are whole.
    fn decode(&mut self) -> usize {
        self.plain.clear();
        self.starts.clear();
        let mut at = 0;
        while at < self.held.len() {
            let Some(len) = char_len(&self.held[at..]) else { return at };
            let before = self.plain.len();
            RawStr::new(&self.held[at..at + len]).unescape_into(&mut self.plain);
            self.starts.extend(std::iter::repeat_n(at as u32, self.plain.len() - before));
            at += len;
        }
        at
    }
}

/// Bytes of the first character of an escaped body; a surrogate pair is one character. `None` if it
/// has not fully arrived.
fn char_len(body: &[u8]) -> Option<usize> {
    match body {
        [b'\\', b'u', ..] => {
            let unit = hex4(body.get(2..6)?);
            if !(0xd800..0xdc00).contains(&unit) {
                return Some(6);
            }
            match &body[6..] {
                [] | [b'\\'] => None,
                [b'\\', b'u', rest @ ..] => match rest.get(..4) {
                    None => None,
                    Some(low) if (0xdc00..0xe000).contains(&hex4(low)) => Some(12),
                    Some(_) => Some(6),
                },
                _ => Some(6),
            }
        }
        [b'\\'] => None,
        [b'\\', ..] => Some(2),
        _ => Some(1),
    }
}

fn hex4(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |code, d| code << 4 | char::from(*d).to_digit(16).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], deltas: &[&[u8]]) -> (String, Option<usize>) {
        let stops: Vec<String> = stops.iter().map(|s| s.to_string()).collect();
        let (mut scan, mut out) = (StopScan::default(), Vec::new());
        for delta in deltas {
            if let Watch::Hit(n) = scan.push(&stops, RawStr::new(delta), &mut out) {
                return (String::from_utf8(out).unwrap(), Some(n));
            }
        }
        scan.finish(&mut out);
        (String::from_utf8(out).unwrap(), None)
    }

    /// A sequence at the start, across deltas, across escapes, several sequences.
    #[test]
    fn matches_wherever_the_text_is_cut() {
        let rows: &[(&[&str], &str, &str, Option<usize>)] = &[
            (&["END"], "END", "", Some(0)),
            (&["END"], "a END b", "a ", Some(0)),
            (&["END"], "a EN", "a EN", None),
            (&["END"], r"x\u0045NDy", "x", Some(0)),
            (&["\n\n"], r"a\nb\n\nc", r"a\nb", Some(0)),
            (&["b", "ab"], "xab", "x", Some(1)),
            (&["\u{1f600}"], r"x\ud83d\ude00", "x", Some(0)),
            (&["\u{1f600}"], "x\u{1f600}", "x", Some(0)),
            (&["\u{1f600}"], r"x\ud83d\ude01\ud83dy", r"x\ud83d\ude01\ud83dy", None),
            (&["\"}"], r#"a\"}"#, "a", Some(0)),
            (&["abcd", "bc"], "abcd", "a", Some(1)),
            (&["aab"], "aaab", "a", Some(0)),
            (&[""], "text", "text", None),
            (&[], "text", "text", None),
        ];
        for (stops, text, kept, hit) in rows {
            let expected = (kept.to_string(), *hit);
            for cut in (0..=text.len()).filter(|n| text.is_char_boundary(*n)) {
                let (head, tail) = text.as_bytes().split_at(cut);
                assert_eq!(run(stops, &[head, tail]), expected, "{stops:?} {text} cut at {cut}");
            }
            let chars: Vec<String> = text.chars().map(String::from).collect();
            let chars: Vec<&[u8]> = chars.iter().map(|c| c.as_bytes()).collect();
            assert_eq!(run(stops, &chars), expected, "{stops:?} {text} char by char");
        }
    }

    #[test]
    fn what_cannot_match_goes_on_at_once() {
        let stops = ["STOP".to_owned()];
        let (mut scan, mut out) = (StopScan::default(), Vec::new());
        scan.push(&stops, RawStr::new(b"hello S"), &mut out);
        assert_eq!(out, b"hello ");
        scan.push(&stops, RawStr::new(b"un"), &mut out);
        assert_eq!(out, b"hello Sun");
    }
}
