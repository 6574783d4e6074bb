//! Custom (freeform) tools at hosts that know functions only
//! (`docs/internals/translation/requests.md`, "Custom tools").
//!
//! Such a tool is offered as a function with one string, `input`. Its calls come back as
//! `{"input":"…"}` and must reach the client as free text, live. The arguments arrive as JSON
//! inside a JSON string; behind the inner opening quote the inner bytes are themselves the body of
//! a JSON string, so they pass to the client as they are.
//!
//! | state | what is awaited or open | goes to |
//! |---|---|---|
//! | `Brace`, `Key`, `Colon`, `Quote` | `{`, `"input"`, `:`, `"` | the next, or `Whole` on anything else |
//! | `Live`, `Escape`, `Hex` | the inner string | `Done` at its closing quote |
//! | `Whole` | the end: the arguments are looked at as one | |
//! | `Done` | nothing; what follows is ignored | |

use crate::canonical::text::{Unescape, Unit};
use crate::json::{RawKind, RawStr, RawValue, write};

/// Most arguments held while they are not understood, in bytes. Beyond it the call fails.
pub(crate) const HELD_MAX: usize = 8 << 20;

/// The arguments of a shimmed tool outgrew [`HELD_MAX`] before they made sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Extracts the text of one shimmed call from its streamed arguments.
#[derive(Debug, Default)]
pub(crate) struct ShimInput {
    reader: Unescape,
    state: State,
    /// The arguments so far, as long as nothing of them was passed on.
    held: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Brace,
    /// Inside the key, of which this many characters matched, the opening quote included.
    Key(u8),
    Colon,
    Quote,
    Live,
    Escape,
    Hex {
        digits: u8,
        code: u16,
    },
    Whole,
    Done,
}

const KEY: &[u8] = b"\"input\"";

impl ShimInput {
    /// Takes a delta of arguments and appends what of the text is known: an escaped body.
    pub(crate) fn push(&mut self, delta: RawStr<'_>, out: &mut Vec<u8>) -> Result<(), TooLong> {
        if matches!(self.state, State::Brace | State::Key(_) | State::Colon | State::Quote | State::Whole) {
            if self.held.len() + delta.len() > HELD_MAX {
                return Err(TooLong);
            }
            self.held.extend_from_slice(delta.as_bytes());
        }
        for byte in delta.as_bytes() {
            if let Some(unit) = self.reader.push(*byte) {
                self.state = step(self.state, unit, out);
            }
        }
        if matches!(self.state, State::Live | State::Escape | State::Hex { .. } | State::Done) {
            self.held = Vec::new();
        }
        Ok(())
    }

    /// The call has ended: appends what is still missing.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        match self.state {
            State::Brace | State::Key(_) | State::Colon | State::Quote | State::Whole => {
                whole(RawStr::new(&std::mem::take(&mut self.held)), out);
            }
            // A cut escape is no content.
            State::Live | State::Escape | State::Hex { .. } | State::Done => {}
        }
        self.state = State::Done;
    }
}

/// The text of a shimmed call from its whole arguments: the same machine, so that a stream and its
/// fold agree.
pub(crate) fn unshim(arguments: RawStr<'_>, out: &mut Vec<u8>) {
    let mut shim = ShimInput::default();
    if shim.push(arguments, out).is_ok() {
        shim.finish(out);
    } else {
        out.extend_from_slice(arguments.as_bytes());
    }
}

fn step(state: State, unit: Unit, out: &mut Vec<u8>) -> State {
    let space = matches!(unit, Unit::Byte(b' ' | b'\t' | b'\n' | b'\r'));
    match (state, unit) {
        (State::Brace | State::Key(0) | State::Colon | State::Quote, _) if space => state,
        (State::Brace, Unit::Byte(b'{')) => State::Key(0),
        (State::Key(n), Unit::Byte(b)) if KEY[usize::from(n)] == b => {
            if usize::from(n) + 1 == KEY.len() {
                State::Colon
            } else {
                State::Key(n + 1)
            }
        }
        (State::Colon, Unit::Byte(b':')) => State::Quote,
        (State::Quote, Unit::Byte(b'"')) => State::Live,
        (State::Brace | State::Key(_) | State::Colon | State::Quote | State::Whole, _) => State::Whole,
        (State::Live, unit) => live(unit, out),
        (State::Escape, Unit::Byte(b @ (b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't'))) => {
            out.extend_from_slice(&[b'\\', b]);
            State::Live
        }
        (State::Escape, Unit::Byte(b'u')) => State::Hex { digits: 0, code: 0 },
        (State::Escape, unit) => {
            // No such escape: the backslash was meant.
            out.extend_from_slice(b"\\\\");
            live(unit, out)
        }
        (State::Hex { digits, code }, unit) => hex(digits, code, unit, out),
        (State::Done, _) => State::Done,
    }
}

fn live(unit: Unit, out: &mut Vec<u8>) -> State {
    match unit {
        Unit::Byte(b'"') => return State::Done,
        Unit::Byte(b'\\') => return State::Escape,
        // Models write line ends into strings unescaped; in the client's string they must be
        // escaped.
        Unit::Byte(b @ 0..0x20) => write::escaped(out, char::from(b).encode_utf8(&mut [0; 4])),
        Unit::Byte(b) => out.push(b),
        Unit::Code(code) => push_code(code, out),
    }
    State::Live
}

fn hex(digits: u8, code: u16, unit: Unit, out: &mut Vec<u8>) -> State {
    let digit = match unit {
        Unit::Byte(b) => char::from(b).to_digit(16),
        Unit::Code(_) => None,
    };
    match digit {
        Some(digit) if digits == 3 => {
            push_code(code << 4 | digit as u16, out);
            State::Live
        }
        Some(digit) => State::Hex { digits: digits + 1, code: code << 4 | digit as u16 },
        None => {
            out.extend_from_slice(b"\\\\u");
            let text = format!("{code:04x}");
            out.extend_from_slice(&text.as_bytes()[4 - usize::from(digits)..]);
            live(unit, out)
        }
    }
}

fn push_code(code: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("\\u{code:04x}").as_bytes());
}

/// Arguments that did not begin with `{"input":"`: an object with that key elsewhere or with
/// `patch` or `code`, a bare string, or whatever they are.
fn whole(arguments: RawStr<'_>, out: &mut Vec<u8>) {
    let plain = arguments.unescape();
    let parsed = RawValue::parse(plain.as_bytes()).ok();
    let text = parsed.and_then(|value| match value.kind() {
        RawKind::String => value.as_str(),
        _ => ["input", "patch", "code"].iter().find_map(|key| value.find(key)?.as_str()),
    });
    match text {
        Some(text) => out.extend_from_slice(text.as_bytes()),
        None => out.extend_from_slice(arguments.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any split gives what the whole gives.
    #[test]
    fn streamed_input_equals_whole_input() {
        let rows = [
            (r#"{"input":"*** Begin\n+x\n"}"#, r"*** Begin\n+x\n"),
            (r#" { "input" : "a\"b\\c\u0022\ud83d\ude00é" } "#, r#"a\"b\\c\u0022\ud83d\ude00é"#),
            (r#"{"input":"","x":1}"#, ""),
            (r#"{"x":1,"input":"late"}"#, "late"),
            (r#"{"patch":"p"}"#, "p"),
            (r#"{"code":"c"}"#, "c"),
            (r#""bare""#, "bare"),
            ("just text", "just text"),
            (r#"{"input":5}"#, r#"{\"input\":5}"#),
            (r#"{"inp"#, r#"{\"inp"#),
            (r#"{"input":"cut \"#, "cut "),
            (r#"{"input":"bad \q \u12x"}"#, r"bad \\q \\u12x"),
            ("{\"input\":\"raw\nline\"}", r"raw\nline"),
            ("", ""),
        ];
        for (arguments, text) in rows {
            let mut quoted = Vec::new();
            write::escaped(&mut quoted, arguments);
            let mut expected = Vec::new();
            unshim(RawStr::new(&quoted), &mut expected);
            assert_eq!(String::from_utf8_lossy(&expected), text, "{arguments}");
            assert!(RawStr::parse(&expected).is_ok());
            for cut in (0..=quoted.len()).filter(|n| std::str::from_utf8(&quoted[..*n]).is_ok()) {
                let (mut shim, mut out) = (ShimInput::default(), Vec::new());
                shim.push(RawStr::new(&quoted[..cut]), &mut out).unwrap();
                shim.push(RawStr::new(&quoted[cut..]), &mut out).unwrap();
                shim.finish(&mut out);
                assert_eq!(out, expected, "{arguments} cut at {cut}");
            }
        }
    }

    #[test]
    fn text_goes_out_as_it_comes() {
        let (mut shim, mut out) = (ShimInput::default(), Vec::new());
        shim.push(RawStr::new(br#"{\"inp"#), &mut out).unwrap();
        assert!(out.is_empty());
        shim.push(RawStr::new(br#"ut\":\"*** Begin\\n"#), &mut out).unwrap();
        assert_eq!(out, br"*** Begin\n");
        assert!(shim.held.is_empty());
    }

    #[test]
    fn what_is_held_is_bounded() {
        let junk = vec![b'x'; 1 << 20];
        let (mut shim, mut out) = (ShimInput::default(), Vec::new());
        let pushed = (0..20).map_while(|_| shim.push(RawStr::new(&junk), &mut out).ok()).count();
        assert_eq!(pushed, HELD_MAX >> 20);
    }
}
