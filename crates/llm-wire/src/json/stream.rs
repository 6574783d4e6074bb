//! One JSON document that arrives in pieces.
//!
//! A whole (not streamed) answer may be megabytes long and is relayed while it arrives.
//! [`Document`] follows it without keeping it: it captures the values of a few top-level keys
//! (`usage`), without the long strings inside of them, and can put another string in the place of
//! the top-level `model`. Every other byte goes through unchanged, whatever the cuts. Bytes that
//! are not an object, or stop being one, go through unchanged from there: it is the client's
//! business to complain about them.
//!
//! | state | what is awaited or open | goes to |
//! |---|---|---|
//! | `Start` | `{`, or a comment or byte-order mark before it | `First`, `Comment` |
//! | `Comment` | the end of its line | `Start` |
//! | `First`, `Next` | a key (`First`: or `}`) | `Key`, `Ended` |
//! | `Key`, `KeyEscape` | the end of a key | `Colon` |
//! | `Colon` | `:` | `Value` |
//! | `Value` | the first byte of a top-level value | `Text`, `Nested`, `Scalar` |
//! | `Text`, `TextEscape` | the end of a string, at any depth | `Nested`, `After` |
//! | `Nested` | inside an array or object, outside strings | `Text`, `After` |
//! | `Scalar` | the end of a number or literal | `After` |
//! | `After` | `,` or `}` | `Next`, `Ended` |
//! | `Ended`, `Opaque` | nothing more: whole, or not understood | |

use memchr::memchr2;

use super::capture::{Capture, Inside};
use super::nest::{Nest, Open};
use super::raw::{RawStr, RawValue};
use super::scan::{plain_run, skip_space};

/// A key is compared up to this many escaped bytes; a longer one is not captured.
const MAX_KEY: usize = 64;

/// A model name longer than this is left alone rather than held.
const MAX_MODEL: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Comment,
    First,
    Next,
    Key,
    KeyEscape,
    Colon,
    Value,
    Text,
    TextEscape,
    Nested,
    Scalar,
    After,
    Ended,
    Opaque,
}

/// What is being done with the bytes of the open top-level value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taking {
    Nothing,
    /// Copied to the capture of this index as well as to the output.
    Capture(usize),
    /// Held back in `model`, since it may be replaced.
    Model,
}

/// Follows one document; see the module. Holds at most the limit for each key, a piece, and 1 KiB.
pub struct Document {
    state: State,
    nest: Nest,
    key: Vec<u8>,
    taking: Taking,
    captures: Vec<Capture>,
    limit: usize,
    /// The string to put in the place of the model, quotes included.
    replacement: Option<Vec<u8>>,
    model: Vec<u8>,
}

/// The piece at hand and how far it was dealt with.
struct Piece<'a> {
    input: &'a [u8],
    /// Where the bytes begin that were neither sent nor taken.
    from: usize,
    out: Option<&'a mut Vec<u8>>,
}

impl Piece<'_> {
    fn send_to(&mut self, end: usize) {
        if let Some(out) = &mut self.out {
            out.extend_from_slice(&self.input[self.from..end]);
        }
        self.from = end;
    }

    fn send(&mut self, bytes: &[u8]) {
        if let Some(out) = &mut self.out {
            out.extend_from_slice(bytes);
        }
    }
}

impl Document {
    /// Captures the values of `keys`, each up to `limit` bytes without its long strings; a longer
    /// value counts as absent.
    pub fn new(keys: &[&'static str], limit: usize) -> Document {
        Document {
            state: State::Start,
            nest: Nest::default(),
            key: Vec::with_capacity(MAX_KEY),
            taking: Taking::Nothing,
            captures: keys.iter().map(|&key| Capture::new(key)).collect(),
            limit,
            replacement: None,
            model: Vec::new(),
        }
    }

    /// Puts `name` in the place of the top-level `model`, if that is a string.
    pub fn replace_model(mut self, name: &str) -> Document {
        let mut text = Vec::with_capacity(name.len() + 2);
        super::write::string(&mut text, name);
        self.replacement = Some(text);
        self
    }

    /// Takes the next piece and appends what goes on to the client.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) {
        self.run(input, Some(out));
    }

    /// Takes the next piece, which the caller sends on itself. For documents in which nothing is
    /// replaced.
    pub fn observe(&mut self, input: &[u8]) {
        self.run(input, None);
    }

    /// Ends the document and appends what was held back.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.taking == Taking::Model {
            out.append(&mut self.model);
        }
        if let Taking::Capture(ix) = self.taking {
            self.captures[ix].value = None;
        }
        self.taking = Taking::Nothing;
        if self.state != State::Ended {
            self.state = State::Opaque;
        }
    }

    /// Returns whether the closing bracket was seen. `false` at the end means that the answer was
    /// cut or is not an object.
    pub fn is_whole(&self) -> bool {
        self.state == State::Ended
    }

    /// Captures the value of one more key.
    pub fn capture(mut self, key: &'static str) -> Document {
        self.captures.push(Capture::new(key));
        self
    }

    /// Returns the captured value of `key`: present once it is complete, and valid JSON. Of a model
    /// that is replaced, what it was.
    pub fn captured(&self, key: &str) -> Option<RawValue<'_>> {
        if self.replacement.is_some() && key == "model" {
            return (self.taking != Taking::Model).then(|| RawValue::parse(&self.model).ok()).flatten();
        }
        let ix = self.captures.iter().position(|c| c.key == key)?;
        if self.taking == Taking::Capture(ix) {
            return None;
        }
        RawValue::parse(self.captures[ix].value.as_ref()?).ok()
    }

    fn run(&mut self, input: &[u8], out: Option<&mut Vec<u8>>) {
        let mut piece = Piece { input, from: 0, out };
        let mut pos = 0;
        while pos < input.len() {
            pos = match self.state {
                State::Key | State::KeyEscape => self.in_key(input, pos),
                State::Text | State::TextEscape => self.in_text(&mut piece, pos),
                State::Nested => self.in_nested(&mut piece, pos),
                State::Scalar => self.in_scalar(&mut piece, pos),
                State::Ended | State::Opaque => input.len(),
                State::Comment => match memchr::memchr(b'\n', &input[pos..]) {
                    Some(end) => {
                        self.state = State::Start;
                        pos + end + 1
                    }
                    None => input.len(),
                },
                State::Start | State::First | State::Next | State::Colon | State::Value | State::After => {
                    match skip_space(input, pos) {
                        pos if pos == input.len() => pos,
                        pos => self.at_token(&mut piece, pos),
                    }
                }
            };
        }
        self.take(&mut piece, input.len());
    }

    /// One token of the top level that is a single byte, or the first byte of something longer.
    fn at_token(&mut self, piece: &mut Piece<'_>, pos: usize) -> usize {
        let byte = piece.input[pos];
        self.state = match (self.state, byte) {
            (State::Start, 0xef | 0xbb | 0xbf) => State::Start,
            (State::Start, b':' | b'/') => State::Comment,
            (State::Start, b'{') => match self.nest.push(Open::Object) {
                Ok(()) => State::First,
                Err(_) => State::Opaque,
            },
            (State::First | State::Next, b'"') => {
                self.key.clear();
                State::Key
            }
            (State::First | State::After, b'}') => State::Ended,
            (State::After, b',') => State::Next,
            (State::Colon, b':') => State::Value,
            (State::Value, b'"' | b'{' | b'[' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
                self.begin_value(piece, pos);
                match byte {
                    b'"' => State::Text,
                    // Left for the next state to read: it knows how to open a bracket, and where a
                    // scalar ends.
                    b'{' | b'[' => return self.in_nested(piece, pos),
                    _ => State::Scalar,
                }
            }
            _ => State::Opaque,
        };
        pos + 1
    }

    fn in_key(&mut self, input: &[u8], pos: usize) -> usize {
        let (end, next) = match self.state {
            State::KeyEscape => (pos + 1, State::Key),
            _ => match memchr2(b'"', b'\\', &input[pos..]) {
                None => (input.len(), State::Key),
                Some(n) if input[pos + n] == b'"' => (pos + n, State::Colon),
                Some(n) => (pos + n + 1, State::KeyEscape),
            },
        };
        // One byte over the limit is enough to make it a key that is not captured.
        let room = (MAX_KEY + 1).saturating_sub(self.key.len());
        self.key.extend_from_slice(&input[pos..end.min(pos + room)]);
        self.state = next;
        end + usize::from(next == State::Colon)
    }

    fn in_text(&mut self, piece: &mut Piece<'_>, mut pos: usize) -> usize {
        let input = piece.input;
        if self.state == State::TextEscape {
            self.state = State::Text;
            pos += 1;
        }
        loop {
            pos = plain_run(input, pos);
            match input.get(pos) {
                None => return input.len(),
                Some(b'"') => {
                    if let Some(ix) = self.capturing() {
                        self.take(piece, pos);
                        self.captures[ix].inside = Inside::Structure;
                    }
                    self.state = State::Nested;
                    return self.end_of_part(piece, pos + 1);
                }
                Some(b'\\') if pos + 1 == input.len() => {
                    self.state = State::TextEscape;
                    return input.len();
                }
                Some(b'\\') => pos += 2,
                // A control character is a fault that hurts nobody here.
                Some(_) => pos += 1,
            }
        }
    }

    fn in_nested(&mut self, piece: &mut Piece<'_>, mut pos: usize) -> usize {
        self.state = State::Nested;
        let is_mark = |b: &u8| matches!(b, b'"' | b'{' | b'}' | b'[' | b']');
        while let Some(n) = piece.input[pos..].iter().position(is_mark) {
            let byte = piece.input[pos + n];
            pos += n + 1;
            let goes_on = match byte {
                b'"' => {
                    if let Some(ix) = self.capturing() {
                        self.take(piece, pos);
                        self.captures[ix].begin_text();
                    }
                    self.state = State::Text;
                    return pos;
                }
                b'{' => self.nest.push(Open::Object).is_ok(),
                b'[' => self.nest.push(Open::Array).is_ok(),
                _ => {
                    let open = self.nest.top();
                    self.nest.pop();
                    open == Some(if byte == b'}' { Open::Object } else { Open::Array })
                }
            };
            if !goes_on {
                self.abandon(piece);
                return piece.input.len();
            }
            if self.nest.depth() == 1 {
                return self.end_of_part(piece, pos);
            }
        }
        piece.input.len()
    }

    fn in_scalar(&mut self, piece: &mut Piece<'_>, pos: usize) -> usize {
        let goes_on = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'z' | b'E' | b'+' | b'-' | b'.');
        let Some(n) = piece.input[pos..].iter().position(|b| !goes_on(b)) else { return piece.input.len() };
        self.end_of_part(piece, pos + n)
    }

    /// A string, bracket or scalar ended; at the top level that ends the value.
    fn end_of_part(&mut self, piece: &mut Piece<'_>, end: usize) -> usize {
        if self.nest.depth() == 1 {
            self.state = State::After;
            self.end_value(piece, end);
        }
        end
    }

    fn begin_value(&mut self, piece: &mut Piece<'_>, pos: usize) {
        let key = RawStr::new(&self.key);
        let is_ours = |name: &str| self.key.len() <= MAX_KEY && key.eq_str(name);
        if self.replacement.is_some() && piece.input[pos] == b'"' && is_ours("model") {
            piece.send_to(pos);
            self.model.clear();
            self.taking = Taking::Model;
        } else if let Some(ix) = self.captures.iter().position(|c| is_ours(c.key)) {
            piece.send_to(pos);
            let key = self.captures[ix].key;
            self.captures[ix] = Capture { value: Some(Vec::new()), ..Capture::new(key) };
            self.taking = Taking::Capture(ix);
        }
    }

    fn end_value(&mut self, piece: &mut Piece<'_>, end: usize) {
        self.take(piece, end);
        if std::mem::replace(&mut self.taking, Taking::Nothing) == Taking::Model {
            let body = &self.model[1..self.model.len() - 1];
            match (&self.replacement, RawStr::parse(body)) {
                (Some(name), Ok(_)) => piece.send(name),
                _ => piece.send(&self.model),
            }
        }
    }

    fn capturing(&self) -> Option<usize> {
        match self.taking {
            Taking::Capture(ix) => Some(ix),
            Taking::Nothing | Taking::Model => None,
        }
    }

    /// Deals with the bytes up to `end` as the open value requires.
    fn take(&mut self, piece: &mut Piece<'_>, end: usize) {
        let bytes = &piece.input[piece.from..end];
        match self.taking {
            Taking::Nothing => {}
            Taking::Capture(ix) => self.captures[ix].take(bytes, self.limit),
            Taking::Model if self.model.len() + bytes.len() <= MAX_MODEL => {
                self.model.extend_from_slice(bytes);
                piece.from = end;
            }
            Taking::Model => {
                piece.send(&self.model);
                self.model.clear();
                self.taking = Taking::Nothing;
            }
        }
        piece.send_to(end);
    }

    /// The document is broken inside an open value: nothing of it is captured.
    fn abandon(&mut self, piece: &mut Piece<'_>) {
        self.state = State::Opaque;
        if let Taking::Capture(ix) = std::mem::replace(&mut self.taking, Taking::Nothing) {
            self.captures[ix].value = None;
        }
        piece.send_to(piece.input.len());
    }
}

#[cfg(test)]
mod tests;
