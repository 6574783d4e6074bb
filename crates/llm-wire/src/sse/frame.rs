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
    /// A framer for one stream; `limit` is the size of an event in bytes.
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

    /// How many bytes of an unfinished block are held. 0 means that the input is between two
    /// events.
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

/// The value of a line, if it is the field `name`.
#[inline]
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    match line.strip_prefix(name)? {
        [b':', b' ', value @ ..] | [b':', value @ ..] | value @ [] => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sse::property;
    use proptest::prelude::*;

    #[derive(Debug, Default, PartialEq)]
    struct Seen {
        frames: Vec<(Option<String>, String)>,
        raw: Vec<u8>,
        tail: Option<String>,
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    fn see(seen: &mut Seen, block: Block<'_>) {
        seen.raw.extend_from_slice(block.raw);
        seen.frames.extend(block.frame.map(|f| (f.event.map(text), text(f.data))));
    }

    fn run<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Seen {
        let mut framer = Framer::default();
        let mut seen = Seen::default();
        for mut piece in pieces {
            while let Some(block) = framer.next(&mut piece).unwrap() {
                see(&mut seen, block);
            }
            assert!(piece.is_empty());
        }
        if let Some(block) = framer.finish() {
            seen.tail = Some(text(block.raw)).filter(|_| block.frame.is_some());
            see(&mut seen, block);
        }
        assert!(framer.finish().is_none());
        seen
    }

    /// Every way of cutting `input` gives these frames, and gives the input back.
    fn check(input: &[u8], frames: &[(&str, &str)], tail: Option<&str>) {
        let ways = (0..=input.len()).map(|cut| vec![&input[..cut], &input[cut..]]);
        for way in ways.chain([vec![input], input.chunks(1).collect(), input.chunks(2).collect()]) {
            let seen = run(way.iter().copied());
            let got: Vec<(&str, &str)> =
                seen.frames.iter().map(|(e, d)| (e.as_deref().unwrap_or(""), d.as_str())).collect();
            assert_eq!(got, frames, "{way:?}");
            assert_eq!(text(&seen.raw), text(input), "{way:?}");
            assert_eq!(seen.tail.as_deref(), tail, "{way:?}");
        }
    }

    #[test]
    fn line_ends_are_equivalent() {
        let lf = "event: a\ndata: 1\n\ndata: 2\n\n\n: c\ndata: 3\n\n";
        let frames = &[("a", "1"), ("", "2"), ("", "3")];
        check(lf.as_bytes(), frames, None);
        check(lf.replace('\n', "\r\n").as_bytes(), frames, None);
        check(lf.replace('\n', "\r").as_bytes(), frames, None);
        check(b"event: a\r\ndata: 1\r\r\ndata: 2\n\rdata: 3\r\n\n", frames, None);
    }

    #[test]
    fn comments_and_unknown_fields_are_ignored() {
        for input in [
            "data: x\n\n",
            "data:x\n\n",
            "\u{feff}data: x\n\n",
            ": hello\n\ndata: x\n\n",
            "data: x\n: in between\n\n",
            "id: 1\nretry: 5\nfoo: bar\nfoo\n:\ndata: x\nid\n\n",
            "event: lost\n\nid: 3\n\ndata: x\n\n",
            "event:\ndata: x\n\n",
            "event\ndata: x\n\n",
            "datax: y\ndata : y\n data: y\nDATA: y\ndata: x\n\n",
        ] {
            check(input.as_bytes(), &[("", "x")], None);
        }
        check(b"event: a\nevent:b\ndata: x\n\ndata: y\n\n", &[("b", "x"), ("", "y")], None);
        check(b"data:  x \n\ndata\n\ndata:\n\n", &[("", " x "), ("", ""), ("", "")], None);
        check("data: \u{feff}\n\n\u{feff}data: y\n\n".as_bytes(), &[("", "\u{feff}")], None);
        check(b"", &[], None);
        check(b"\n\r\n\r\r", &[], None);
    }

    #[test]
    fn data_lines_join_with_a_line_feed() {
        check(b"data: {\ndata:  \"a\":\r\ndata: 1}\n\n", &[("", "{\n \"a\":\n1}")], None);
        check(b"data\ndata: x\ndata\n\ndata: a\ndata: b\n\n", &[("", "\nx\n"), ("", "a\nb")], None);
    }

    #[test]
    fn only_lf_crlf_and_cr_end_a_line() {
        let data = "\u{2028}\u{2029}\u{85}\u{b}\u{c}\u{1f600}";
        check(format!("data: {data}\n\n").as_bytes(), &[("", data)], None);
    }

    #[test]
    fn last_event_needs_no_blank_line() {
        for end in ["", "\n", "\r", "\r\n"] {
            check(
                format!("data: 1\n\ndata: 2{end}").as_bytes(),
                &[("", "1"), ("", "2")],
                Some(&format!("data: 2{end}")),
            );
        }
        check(b"data: {\"a\nevent: x", &[("x", "{\"a")], Some("data: {\"a\nevent: x"));
        check(b"data: 1\n\nevent: x\n", &[("", "1")], None);
        check(b"data: 1\n\n: bye", &[("", "1")], None);
    }

    #[test]
    fn events_over_the_limit_are_refused() {
        let content = b"event: a\r\ndata: 12\r\n";
        let stream = [&b": c\r\n"[..], content, b"\r\n", content, b"\r\n"].concat();
        for cut in 0..stream.len() {
            for (limit, frames) in
                [(content.len(), Ok(2)), (content.len() - 1, Err(TooLong { limit: content.len() - 1 }))]
            {
                let mut framer = Framer::new(limit);
                let mut count = || {
                    let mut frames = 0;
                    for mut piece in [&stream[..cut], &stream[cut..]] {
                        while let Some(block) = framer.next(&mut piece)? {
                            frames += usize::from(block.frame.is_some());
                        }
                    }
                    Ok(frames)
                };
                assert_eq!(count(), frames, "limit {limit}, cut at {cut}");
            }
        }
    }

    #[test]
    fn a_large_event_leaves_no_large_buffer_behind() {
        let mut framer = Framer::default();
        let megabyte = vec![b'x'; 1 << 20];
        let mut pieces = vec![&b"data: "[..]];
        pieces.extend([&megabyte[..]; 15]);
        pieces.extend([&b"\ndata: y\n\n"[..], b"data: z\n\n"]);
        let mut lengths = Vec::new();
        for mut piece in pieces {
            while let Some(block) = framer.next(&mut piece).unwrap() {
                lengths.extend(block.frame.map(|f| f.data.len()));
            }
        }
        assert_eq!(lengths, [(15 << 20) + 2, 1]);
        assert!(framer.carry.capacity() <= KEEP_CAPACITY && framer.joined.capacity() <= KEEP_CAPACITY);
        for mut piece in [&b"data: "[..]].into_iter().chain([&megabyte[..]; 15]) {
            assert_eq!(framer.next(&mut piece), Ok(None));
        }
        let mut piece = &[b'x'; 2 << 20][..];
        assert_eq!(framer.next(&mut piece), Err(TooLong { limit: DEFAULT_LIMIT }));
    }

    /// A gigabyte would take a debug build half a minute; what could grow shows in the first
    /// megabytes.
    #[test]
    fn small_events_do_not_allocate() {
        let read: Vec<u8> =
            b"event: e\ndata: {\"delta\":\"some words\"}\n\n".iter().copied().cycle().take(10_007).collect();
        let mut framer = Framer::default();
        let mut frames = 0;
        for _ in 0..1000 {
            let mut rest = read.as_slice();
            while let Some(block) = framer.next(&mut rest).unwrap() {
                frames += usize::from(block.frame.is_some());
            }
            assert!(framer.carry.capacity() < 1024 && framer.joined.capacity() < 1024);
        }
        assert!(frames > 150_000);
    }

    /// Lines of every kind, in every order, some of them broken.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let line = prop::sample::select(vec![
            "",
            "",
            "",
            "data: {\"a\":1}",
            "data:x",
            "data",
            "data: ",
            "event: e",
            "event",
            "event:",
            ": c",
            ":",
            "id: 1",
            "foo",
            "\u{feff}",
            "data: \u{2028}\u{85}\u{1f600}",
            "dat",
            "data : x",
        ]);
        let end = prop::sample::select(vec!["\n", "\n", "\n", "\r\n", "\r", ""]);
        prop::collection::vec((line, end), 0..24)
            .prop_map(|lines| lines.into_iter().flat_map(|(line, end)| [line, end]).collect::<String>().into_bytes())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_split_of_the_input_gives_the_same_events(stream in stream(), seed: u64) {
            property::framing_ignores_cuts(&stream, seed);
        }

        #[test]
        fn arbitrary_bytes_are_survived(stream in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(&b"\n\r: dat"[..])], 0..80), seed: u64) {
            property::framing_ignores_cuts(&stream, seed);
        }
    }
}
