//! What the codec reads from a whole byte stream, as plain data. For tests, fuzz targets, and as
//! the shortest example of how the parts are used together; nothing on the request path calls it.
//!
//! The property that rests on it: **a transcript depends on the bytes alone, not on how they were
//! cut into reads.**

use std::fmt;

use super::{
    BodyDecoder, BodyError, Field, Framing, HeadScan, Limits, Method, Refusal, Step, next_final_response, parse_request,
};

/// Every message of a stream, and how the stream ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Transcript {
    pub messages: Vec<Message>,
    pub end: End,
}

/// A message that was parsed, with its body as far as it came.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// `POST /path?query`, or the status.
    pub line: String,
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// As far as it came.
    pub body: Vec<u8>,
    pub expect_continue: bool,
}

/// Why no further message follows.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The stream ended between two messages.
    Idle,
    /// The last message asked for the close of the connection, or needed it.
    Close,
    /// The stream ended within a head.
    Cut,
    Refused(Refusal),
    /// The body of the last message is faulty or cut short.
    Body(BodyError),
}

/// What a server reads from a client that sends these pieces and then closes.
pub fn requests(pieces: &[&[u8]], limits: &Limits) -> Transcript {
    let mut input = Input::new(pieces);
    let mut messages = Vec::new();
    let end = loop {
        let mut scan = HeadScan::default();
        let head = match input.until(|buf| parse_request(buf, &mut scan, limits)) {
            Ok(Some(head)) => head,
            Ok(None) => break input.end(),
            Err(refusal) => break End::Refused(refusal),
        };
        let buf = &input.buf;
        let mut line = [head.method_text(buf), b" ", head.path(buf)].concat();
        if let Some(query) = head.query(buf) {
            line.push(b'?');
            line.extend_from_slice(query);
        }
        messages.push(Message {
            line: String::from_utf8_lossy(&line).into_owned(),
            fields: owned(head.fields(buf)),
            body: Vec::new(),
            expect_continue: head.expect_continue,
        });
        input.skip(head.len);
        if let Some(end) = input.body(head.framing, head.keep_alive, &mut messages) {
            break end;
        }
    };
    Transcript { messages, end }
}

/// What a client reads from an upstream that answers requests of these methods with these pieces
/// and then closes.
pub fn responses(pieces: &[&[u8]], methods: &[Method], limits: &Limits) -> Transcript {
    let mut input = Input::new(pieces);
    let mut messages = Vec::new();
    for &method in methods {
        let mut scan = HeadScan::default();
        let head = match input.until(|buf| next_final_response(buf, &mut scan, limits, method)) {
            Ok(Some(head)) => head,
            Ok(None) => return Transcript { messages, end: input.end() },
            Err(refusal) => return Transcript { messages, end: End::Refused(refusal) },
        };
        messages.push(Message {
            line: head.status.to_string(),
            fields: owned(head.fields(&input.buf)),
            body: Vec::new(),
            expect_continue: false,
        });
        input.skip(head.len);
        if let Some(end) = input.body(head.framing, head.keep_alive, &mut messages) {
            return Transcript { messages, end };
        }
    }
    Transcript { messages, end: End::Idle }
}

fn owned<'b>(fields: impl Iterator<Item = (&'b [u8], &'b [u8])>) -> Vec<(Vec<u8>, Vec<u8>)> {
    fields.map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

/// A read buffer and what is still to come.
struct Input<'p> {
    buf: Vec<u8>,
    pieces: std::slice::Iter<'p, &'p [u8]>,
}

impl<'p> Input<'p> {
    fn new(pieces: &'p [&'p [u8]]) -> Input<'p> {
        Input { buf: Vec::new(), pieces: pieces.iter() }
    }

    /// False at the end of the stream.
    fn read(&mut self) -> bool {
        let piece = self.pieces.next();
        self.buf.extend_from_slice(piece.copied().unwrap_or_default());
        piece.is_some()
    }

    fn skip(&mut self, len: usize) {
        self.buf.drain(..len);
    }

    /// Reads until `parse` has a result; `None` at the end of the stream.
    fn until<T>(&mut self, mut parse: impl FnMut(&[u8]) -> Result<Option<T>, Refusal>) -> Result<Option<T>, Refusal> {
        loop {
            let parsed = parse(&self.buf)?;
            if parsed.is_some() || !self.read() {
                return Ok(parsed);
            }
        }
    }

    fn end(&self) -> End {
        let only_empty_lines = self.buf.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
        if only_empty_lines { End::Idle } else { End::Cut }
    }

    /// Reads the body of the last message; the end of the transcript if no message can follow.
    fn body(&mut self, framing: Framing, keep_alive: bool, messages: &mut [Message]) -> Option<End> {
        let mut discarded = Vec::new();
        let body = messages.last_mut().map_or(&mut discarded, |message| &mut message.body);
        match self.decode(framing, body) {
            Err(error) => Some(End::Body(error)),
            Ok(()) => (!keep_alive).then_some(End::Close),
        }
    }

    fn decode(&mut self, framing: Framing, body: &mut Vec<u8>) -> Result<(), BodyError> {
        let mut decoder = BodyDecoder::new(framing);
        let mut pos = 0;
        loop {
            match decoder.next(&self.buf, &mut pos)? {
                Step::Data(range) => body.extend_from_slice(&self.buf[range]),
                Step::End => {
                    self.skip(pos);
                    return Ok(());
                }
                Step::More => {
                    self.buf.clear();
                    pos = 0;
                    if !self.read() {
                        return decoder.eof();
                    }
                }
            }
        }
    }
}

/// One line for a table of tests: `POST /a [body]; GET /b []; refused 400`.
impl fmt::Display for Transcript {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for message in &self.messages {
            write!(out, "{} [{}]; ", message.line, message.body.escape_ascii())?;
        }
        match &self.end {
            End::Idle => write!(out, "idle"),
            End::Close => write!(out, "close"),
            End::Cut => write!(out, "cut"),
            End::Refused(refusal) => write!(out, "refused {}", refusal.status),
            End::Body(BodyError::Truncated) => write!(out, "body cut"),
            End::Body(_) => write!(out, "body faulty"),
        }
    }
}

/// The property of the fuzz target `http_head`: any bytes, read as requests and as responses.
pub fn check_heads(bytes: &[u8]) {
    let limits = Limits { head_bytes: 4096 };
    let methods = [Method::Post, Method::Head, Method::Get];
    let (whole, parts) = cuts(bytes);
    for pieces in [&parts, &whole.chunks(1).collect()] {
        assert_eq!(requests(&[whole], &limits), requests(pieces, &limits));
        assert_eq!(responses(&[whole], &methods, &limits), responses(pieces, &methods, &limits));
    }
    let requests = requests(&[whole], &limits);
    let responses = responses(&[whole], &methods, &limits);
    for message in requests.messages.iter().chain(&responses.messages) {
        assert!(!message.line.contains(['\r', '\n', '\0']));
        assert!(message.fields.len() <= super::head::MAX_RESPONSE_FIELDS);
        for (name, value) in &message.fields {
            assert!(!name.is_empty() && name.iter().all(|&byte| super::head::is_token(byte)));
            assert!(value.iter().all(|&byte| super::head::is_value(byte)) && value.trim_ascii() == value.as_slice());
        }
    }
}

/// The property of the fuzz target `http_body`: any bytes, read as a chunked body, and written as
/// one.
pub fn check_bodies(bytes: &[u8]) {
    let read = |pieces: &[&[u8]]| {
        let mut input = Input::new(pieces);
        let mut body = Vec::new();
        let end = input.decode(Framing::Chunked, &mut body);
        while input.read() {}
        let rest = if end.is_ok() { input.buf } else { Vec::new() };
        (body, end, rest)
    };
    let (whole, parts) = cuts(bytes);
    let (body, end, rest) = read(&[whole]);
    assert!(body.len() + rest.len() <= whole.len());
    for pieces in [&parts, &whole.chunks(1).collect()] {
        assert_eq!((&body, &end, &rest), (&read(pieces).0, &read(pieces).1, &read(pieces).2));
    }

    let mut written = Vec::new();
    for part in &parts {
        super::write::chunk(&mut written, part);
    }
    super::write::last_chunk(&mut written);
    assert_eq!(read(&[&written]), (whole.to_vec(), Ok(()), Vec::new()));
}

/// Takes the sizes of the pieces from the first bytes, so that a fuzzer steers them, and cuts the
/// rest accordingly.
fn cuts(bytes: &[u8]) -> (&[u8], Vec<&[u8]>) {
    let (sizes, whole) = bytes.split_at(bytes.len().min(4));
    let mut parts = Vec::new();
    let mut rest = whole;
    for &size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (part, after) = rest.split_at(rest.len().min(usize::from(size) + 1));
        parts.push(part);
        rest = after;
    }
    (whole, parts)
}

/// For the compiler's eye: a parsed head is plain data without a lifetime, so it may live across an
/// await.
const _: fn() = || {
    fn plain<T: Send + 'static>() {}
    plain::<super::RequestHead>();
    plain::<super::ResponseHead>();
    plain::<BodyDecoder>();
    plain::<Field>();
};
