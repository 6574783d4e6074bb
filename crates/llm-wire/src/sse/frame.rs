//! Cuts a byte stream into server-sent events.
//!
//! The rules are those of the HTML standard, "9.2.6 Interpreting an event stream" (read 2026-09):
//! lines end with LF, CRLF or a lone CR and nothing else; a blank line ends an event; one space
//! after the colon goes; several `data` lines join with LF; a line without a colon is a field with
//! an empty value; comments, `id`, `retry` and unknown fields say nothing to us. Two departures: an
//! `event` with no name counts as none, and what is left at the end without a blank line is handed
//! out by [`Framer::finish`] instead of being dropped, since many hosts forget that line.
//!
//! [`Framer::next`] gives [`Block`]s: a run of input bytes that belongs together, and the [`Frame`]
//! in it, if there is one. Whoever translates looks at the frames alone. Whoever relays writes
//! `block.raw`, or leaves a block out; put together, the raw bytes of all blocks are the input,
//! byte for byte, and the output is between two events after each of them.
//!
//! ```
//! use llm_wire::sse::Framer;
//! let mut framer = Framer::default();
//! let mut read: &[u8] = b"event: ping\ndata: {}\n\ndata: [DO";
//! let block = framer.next(&mut read).unwrap().unwrap();
//! assert_eq!(block.raw, b"event: ping\ndata: {}\n\n");
//! assert_eq!(block.frame.unwrap().event, Some(&b"ping"[..]));
//! assert!(framer.next(&mut read).unwrap().is_none());
//! assert_eq!((read, framer.pending()), (&b""[..], 9));
//! ```
//!
//! A CR that ends a read may be half of a CRLF. The line counts as ended at once, so that nobody
//! waits for a byte that may never come; a LF that follows is then the first byte of the next
//! block.

use std::fmt;
use std::ops::Range;

use memchr::memchr2;

/// The largest event, in bytes without its blank line: one event may hold images or a whole answer.
pub(crate) const DEFAULT_LIMIT: usize = 16 << 20;

/// A buffer grown beyond this by one large event is given back after it.
const KEEP_CAPACITY: usize = 256 << 10;

/// One event with data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The name, unless it is absent or empty.
    pub event: Option<&'a [u8]>,
    /// May be empty, where a host sends `data:` alone. Not checked for UTF-8.
    pub data: &'a [u8],
}

/// Input bytes that belong together: an event with its blank line, or a comment between events, or
/// a blank line too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block<'a> {
    /// The bytes as they arrived, for a relay that forwards them.
    pub raw: &'a [u8],
    /// `None` where the bytes hold no data.
    pub frame: Option<Frame<'a>>,
}

/// An event outgrew the limit. The stream cannot be followed beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong {
    /// The limit on one event, in bytes.
    pub limit: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one server-sent event is longer than {} bytes", self.limit)
    }
}

impl std::error::Error for TooLong {}

/// Cuts one stream. Holds at most one unfinished event, and so at most the limit.
#[derive(Debug)]
pub struct Framer {
    limit: usize,
    /// The bytes of a block that began in an earlier read.
    carry: Vec<u8>,
    /// `carry` was handed out and is to be emptied before anything else.
    spent: bool,
    block: Parse,
    /// Several `data` lines, joined.
    joined: Vec<u8>,
}

impl Default for Framer {
    fn default() -> Framer {
        Framer::new(DEFAULT_LIMIT)
    }
}

impl Framer {
    /// Returns a framer for one stream; `limit` is the size of an event in bytes.
    pub fn new(limit: usize) -> Framer {
        let block = Parse { bom_may_come: true, ..Parse::default() };
        Framer { limit, carry: Vec::new(), spent: false, block, joined: Vec::new() }
    }

    /// Takes the next block off the front of `input`.
    ///
    /// `None` means that `input` is used up, an unfinished block having been copied aside; call
    /// again with the next read. Call until then: bytes left in `input` are not remembered. After
    /// [`TooLong`] the framer is of no further use.
    pub fn next<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Result<Option<Block<'a>>, TooLong> {
        self.begin();
        if self.carry.is_empty() {
            let read = *input;
            let Some(len) = self.block.advance(read, &mut self.joined) else {
                self.carry.extend_from_slice(read);
                *input = &[];
                return self.check_pending().map(|()| None);
            };
            self.check(self.block.content.len())?;
            *input = &read[len..];
            return Ok(Some(self.block.hand_out(&read[..len], &self.joined)));
        }
        // The block began in an earlier read. Line by line, so that what follows it in this read is
        // not copied.
        while !input.is_empty() {
            let end = memchr2(b'\n', b'\r', input)
                .map_or(input.len(), |n| n + 1 + usize::from(input[n..].starts_with(b"\r\n")));
            let (line, rest) = input.split_at(end);
            *input = rest;
            self.carry.extend_from_slice(line);
            if let Some(len) = self.block.advance(&self.carry, &mut self.joined) {
                self.check(self.block.content.len())?;
                self.spent = true;
                return Ok(Some(self.block.hand_out(&self.carry[..len], &self.joined)));
            }
            self.check_pending()?;
        }
        Ok(None)
    }

    /// Returns the frame of `event`, if the input is between two events and this is one as a whole,
    /// written in the usual way: a line with its name if it has one, a line with its data, LF at the
    /// end of each, and a blank line. It is what [`Framer::next`] would return, and taken with that.
    pub fn whole<'e>(&mut self, event: &'e [u8]) -> Option<Frame<'e>> {
        if !self.is_between_events() || event.len() > self.limit {
            return None;
        }
        let frame = plain_frame(event)?;
        self.begin();
        self.block.bom_may_come = false;
        Some(frame)
    }

    /// Ends the stream: what follows the last blank line, if anything.
    ///
    /// Such a block was never ended by its host. Its frame may be whole (many hosts forget the last
    /// blank line) or a part of one: its JSON decides. A relay that passes `raw` on must end it
    /// with a blank line before it writes anything else.
    pub fn finish(&mut self) -> Option<Block<'_>> {
        self.begin();
        if self.carry.is_empty() {
            return None;
        }
        self.block.end_of_stream(&self.carry, &mut self.joined);
        self.spent = true;
        Some(self.block.hand_out(&self.carry, &self.joined))
    }

    /// Returns how many bytes of an unfinished block are held. 0 means that the input is between
    /// two events.
    pub fn pending(&self) -> usize {
        if self.spent { 0 } else { self.carry.len() }
    }

    /// Returns whether the input is between two events, so that the next byte begins one: no
    /// block is unfinished, and no LF may come that belongs to the last line.
    pub fn is_between_events(&self) -> bool {
        self.pending() == 0 && !self.block.after_cr
    }

    fn begin(&mut self) {
        if std::mem::take(&mut self.spent) {
            self.carry.clear();
            if self.carry.capacity() > KEEP_CAPACITY {
                self.carry = Vec::new();
            }
        }
        if self.block.ended {
            self.block = Parse { after_cr: self.block.after_cr, ..Parse::default() };
            if self.joined.capacity() > KEEP_CAPACITY {
                self.joined = Vec::new();
            }
        }
    }

    fn check_pending(&self) -> Result<(), TooLong> {
        self.check(self.carry.len() - self.block.content.start)
    }

    fn check(&self, len: usize) -> Result<(), TooLong> {
        if len > self.limit { Err(TooLong { limit: self.limit }) } else { Ok(()) }
    }
}

/// How far the current block was understood. Positions count from the start of the block.
#[derive(Debug, Default)]
struct Parse {
    /// Where the open line begins.
    line: usize,
    /// Up to where the open line was searched for its end.
    searched: usize,
    /// The last line ended with a CR that was the last byte at hand: a LF that comes next belongs
    /// to it.
    after_cr: bool,
    /// The open line is the first of the stream.
    bom_may_come: bool,
    /// The block is complete; the next call begins another.
    ended: bool,
    /// The lines read so far, less the LF of an earlier block's CRLF and the blank line. Measured
    /// against the limit.
    content: Range<usize>,
    event: Range<usize>,
    data: Data,
}

#[derive(Debug, Default)]
enum Data {
    #[default]
    None,
    /// One line: a part of the block.
    One(Range<usize>),
    /// Several lines, joined in the framer's buffer.
    Many,
}

impl Parse {
    /// Reads on in `buf`, which begins with the block. Returns the length of the block once it is
    /// complete.
    fn advance(&mut self, buf: &[u8], joined: &mut Vec<u8>) -> Option<usize> {
        loop {
            if self.after_cr {
                let lf = *buf.get(self.line)? == b'\n';
                self.skip_lf(lf);
            }
            let Some(n) = memchr2(b'\n', b'\r', &buf[self.searched..]) else {
                self.searched = buf.len();
                return None;
            };
            let end = self.searched + n;
            let mut next = end + 1;
            if buf[end] == b'\r' {
                match buf.get(next) {
                    Some(b'\n') => next += 1,
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            let line = self.line..end;
            self.line = next;
            self.searched = next;
            let blank = line.is_empty();
            self.ended = self.line_ends_block(buf, line, joined);
            if !blank {
                self.content.end = next;
            }
            if self.ended {
                return Some(next);
            }
        }
    }

    fn skip_lf(&mut self, lf: bool) {
        self.after_cr = false;
        if lf {
            if self.content.is_empty() {
                self.content = self.line + 1..self.line + 1;
            }
            self.line += 1;
            self.searched = self.searched.max(self.line);
        }
    }

    /// Understands one line. A blank one ends the block, and a comment is a block of its own where
    /// none is open, so that a keep-alive is passed on at once.
    fn line_ends_block(&mut self, buf: &[u8], mut line: Range<usize>, joined: &mut Vec<u8>) -> bool {
        if std::mem::take(&mut self.bom_may_come) && buf[line.clone()].starts_with(b"\xef\xbb\xbf") {
            line.start += 3;
        }
        let is_first = self.content.is_empty();
        let bytes = &buf[line.clone()];
        if let Some(value) = field(bytes, b"data") {
            let value = line.end - value.len()..line.end;
            match std::mem::replace(&mut self.data, Data::Many) {
                Data::None => self.data = Data::One(value),
                Data::One(first) => {
                    joined.clear();
                    joined.extend_from_slice(&buf[first]);
                    joined.push(b'\n');
                    joined.extend_from_slice(&buf[value]);
                }
                Data::Many => {
                    joined.push(b'\n');
                    joined.extend_from_slice(&buf[value]);
                }
            }
        } else if let Some(value) = field(bytes, b"event") {
            self.event = line.end - value.len()..line.end;
        }
        bytes.is_empty() || (is_first && bytes[0] == b':')
    }

    /// Understands the open line as if it had ended.
    fn end_of_stream(&mut self, buf: &[u8], joined: &mut Vec<u8>) {
        if self.line < buf.len() && !self.after_cr {
            self.line_ends_block(buf, self.line..buf.len(), joined);
        }
        self.ended = true;
    }

    fn hand_out<'a>(&self, raw: &'a [u8], joined: &'a [u8]) -> Block<'a> {
        let data = match &self.data {
            Data::None => return Block { raw, frame: None },
            Data::One(line) => &raw[line.clone()],
            Data::Many => joined,
        };
        let event = Some(&raw[self.event.clone()]).filter(|name| !name.is_empty());
        Block { raw, frame: Some(Frame { event, data }) }
    }
}

/// Returns the frame of an event in its usual form: see [`Framer::whole`].
fn plain_frame(event: &[u8]) -> Option<Frame<'_>> {
    let lines = event.strip_suffix(b"\n\n")?;
    let (name, rest) = match lines.strip_prefix(b"event: ") {
        None => (None, lines),
        Some(named) => {
            let end = memchr2(b'\n', b'\r', named).filter(|end| named[*end] == b'\n')?;
            (Some(&named[..end]).filter(|name| !name.is_empty()), &named[end + 1..])
        }
    };
    let data = rest.strip_prefix(b"data: ")?;
    memchr2(b'\n', b'\r', data).is_none().then_some(Frame { event: name, data })
}

/// Returns the value of a line, if it is the field `name`.
#[inline]
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    match line.strip_prefix(name)? {
        [b':', b' ', value @ ..] | [b':', value @ ..] | value @ [] => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
