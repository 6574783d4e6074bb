//! Reasoning that arrives inside the text, between `<think>` tags: hosts with the quirk
//! `think_tags` alone.
//!
//! | state | holds back | goes to |
//! |---|---|---|
//! | `Start` | white space, and what may be `<think>` | `Inside` at the tag, `After` at anything else |
//! | `Inside` | what may be `</think>` | `Gap` at the tag |
//! | `Gap` | white space, which is dropped | `After` |
//! | `After` | nothing | |

use crate::json::RawStr;

const OPEN: &[u8] = b"<think>";
const CLOSE: &[u8] = b"</think>";

/// White space before a tag beyond this is text.
const SPACE_MAX: usize = 4096;

/// Separates the reasoning that a host writes into the text, between `<think>` and `</think>`.
#[derive(Debug, Default)]
pub(super) struct Think {
    state: State,
    held: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Start,
    Inside,
    Gap,
    After,
}

/// Takes what is known: whether it is reasoning, and the escaped text.
pub(super) type Emit<'e> = &'e mut dyn FnMut(bool, RawStr<'_>);

impl Think {
    /// Takes a delta of the text, and gives `emit` its parts: whether each is reasoning, and the
    /// part.
    pub(super) fn push(&mut self, delta: RawStr<'_>, emit: Emit<'_>) {
        if self.state == State::After && !delta.is_empty() {
            return emit(false, delta);
        }
        unescape_tags(delta, &mut self.held);
        while self.step(emit) {}
    }

    /// The text has ended: what was held is what it seemed.
    pub(super) fn finish(&mut self, emit: Emit<'_>) {
        if !self.held.is_empty() {
            emit(self.state == State::Inside, RawStr::new(&self.held));
            self.held.clear();
        }
    }

    /// One step through the held bytes; `false` when more must come.
    fn step(&mut self, emit: Emit<'_>) -> bool {
        let held = &self.held;
        let (take, show, next) = match self.state {
            State::Start => {
                let space = space_len(held);
                let rest = &held[space..];
                if rest.starts_with(OPEN) {
                    (space + OPEN.len(), None, State::Inside)
                } else if OPEN.starts_with(rest) && space <= SPACE_MAX {
                    return false;
                } else {
                    (held.len(), Some(false), State::After)
                }
            }
            State::Inside => match memchr::memmem::find(held, CLOSE) {
                Some(at) => {
                    if at > 0 {
                        emit(true, RawStr::new(&held[..at]));
                    }
                    (at + CLOSE.len(), None, State::Gap)
                }
                None => {
                    let tail = (1..CLOSE.len()).rev().find(|n| held.ends_with(&CLOSE[..*n])).unwrap_or(0);
                    let sure = held.len() - tail;
                    if sure == 0 {
                        return false;
                    }
                    (sure, Some(true), State::Inside)
                }
            },
            State::Gap => {
                let space = space_len(held);
                (space, None, if space < held.len() { State::After } else { State::Gap })
            }
            State::After => (held.len(), Some(false), State::After),
        };
        if let Some(thought) = show.filter(|_| take > 0) {
            emit(thought, RawStr::new(&held[..take]));
        }
        self.held.drain(..take);
        self.state = next;
        !self.held.is_empty()
    }
}

/// Escaped white space at the front, in bytes.
fn space_len(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += match &bytes[at..] {
            [b' ', ..] => 1,
            [b'\\', b'n' | b'r' | b't', ..] => 2,
            _ => return at,
        };
    }
}

/// Appends an escaped body in which `<`, `>` and `/` stand for themselves; some JSON writers escape
/// them.
fn unescape_tags(raw: RawStr<'_>, out: &mut Vec<u8>) {
    let mut rest = raw.as_bytes();
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let (plain, len): (&[u8], usize) = match rest {
            [_, b'/', ..] => (b"/", 2),
            [_, b'u', b'0', b'0', b'3', b'c' | b'C', ..] => (b"<", 6),
            [_, b'u', b'0', b'0', b'3', b'e' | b'E', ..] => (b">", 6),
            _ => (&rest[..rest.len().min(2)], rest.len().min(2)),
        };
        out.extend_from_slice(plain);
        rest = &rest[len..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(pieces: &[&str]) -> (String, String) {
        let (mut thought, mut text) = (Vec::new(), Vec::new());
        let mut emit = |is_thought: bool, raw: RawStr<'_>| {
            assert!(!raw.is_empty());
            if is_thought { &mut thought } else { &mut text }.extend_from_slice(raw.as_bytes());
        };
        let mut think = Think::default();
        for piece in pieces {
            think.push(RawStr::new(piece.as_bytes()), &mut emit);
        }
        think.finish(&mut emit);
        (String::from_utf8(thought).unwrap(), String::from_utf8(text).unwrap())
    }

    #[test]
    fn any_cut_gives_the_same() {
        let rows = [
            ("<think>a b</think>\\n\\nc", "a b", "c"),
            (" \\n<think>a<b</thin</think>c</think>", "a<b</thin", "c</think>"),
            ("<think></think>c", "", "c"),
            ("<think>never ends", "never ends", ""),
            ("<think>cut </thi", "cut </thi", ""),
            ("no <think>x</think>", "", "no <think>x</think>"),
            (" \\n ", "", " \\n "),
            ("<thi", "", "<thi"),
            ("", "", ""),
        ];
        for (input, thought, text) in rows {
            let cuts = (0..=input.len()).filter(|at| *at == 0 || input.as_bytes()[at - 1] != b'\\');
            for at in cuts {
                let (front, back) = input.split_at(at);
                assert_eq!(run(&[front, back]), (thought.to_owned(), text.to_owned()), "{front}|{back}");
            }
        }
        assert_eq!(run(&[r"\u003cthink\u003Ea\\u003c<\/think>b"]), (r"a\\u003c".to_owned(), "b".to_owned()));
    }
}
