//! The bytes of an answer and their times: head, framing, faults.
//!
//! The framing is written here by hand, in the way of other servers (no padded chunk sizes), not by
//! the gateway's chunk writer.

use std::time::Duration;

use llm_http::write;

use super::errors::{self, Family};
use super::event_script::Script;
use super::gzip;
use super::knobs::{Fault, Knobs, Say};
use super::wire_faults::{BEFORE_RESET, Wire};
pub(crate) use super::wire_faults::{Ending, Piece};

/// An answer as it goes over the wire, faults included.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Of the head that [`Plan::bytes`] begins with.
    #[cfg(test)]
    pub status: u16,
    /// The answer is a stream of events.
    pub stream: bool,
    /// Its text has time stamps, to be filled in when they are written.
    pub stamped: bool,
    pub bytes: Vec<u8>,
    pub pieces: Vec<Piece>,
    pub ending: Ending,
}

/// Who is answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub family: Family,
    /// Knows chunks and wishes to keep the connection; else the answer ends with the connection.
    pub keep_alive: bool,
    /// Asked with `HEAD`.
    pub head_only: bool,
}

/// An answer without its head and its faults.
#[derive(Debug)]
pub(crate) struct Draft {
    status: u16,
    content_type: &'static str,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Json(Vec<u8>),
    Stream(Script),
}

impl Body {
    fn len(&self) -> usize {
        match self {
            Body::Json(body) => body.len(),
            Body::Stream(script) => script.bytes.len(),
        }
    }
}

/// Room for a head and the framing of a body in one piece.
const HEAD_BYTES: usize = 1024;

const BETWEEN_HEADERS: u32 = 100;

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream; charset=utf-8";

impl Draft {
    /// Makes a draft with status 200 and this body of JSON.
    pub(crate) fn json(body: Vec<u8>) -> Draft {
        Draft::refusal(200, body)
    }

    /// Makes a draft of a stream with status 200.
    pub(crate) fn stream(script: Script) -> Draft {
        Draft { status: 200, content_type: EVENTS, body: Body::Stream(script) }
    }

    /// Makes a draft with the error body of a vendor.
    pub(crate) fn error(family: Family, status: u16, message: Option<&str>, param: Option<&str>) -> Draft {
        Draft::refusal(status, errors::body(family, status, message, param))
    }

    /// Returns a JSON body with a status of its own.
    pub(crate) fn refusal(status: u16, body: Vec<u8>) -> Draft {
        Draft { status, content_type: JSON, body: Body::Json(body) }
    }

    /// Returns a body of another type under status 200.
    pub(crate) fn text(content_type: &'static str, body: Vec<u8>) -> Draft {
        Draft { status: 200, content_type, body: Body::Json(body) }
    }

    /// Compresses the body, a stream's as a whole.
    fn compressed(self) -> Draft {
        let body = match self.body {
            Body::Json(body) => body,
            Body::Stream(script) => script.bytes,
        };
        Draft { body: Body::Json(gzip::stored(&body)), ..self }
    }

    /// Decides which bytes are sent when, with the delays and the fault that `knobs` name.
    pub(crate) fn lay_out(mut self, client: Client, knobs: &Knobs) -> Plan {
        let close = !client.keep_alive || knobs.fault == Some(Fault::UntilClose);
        let stream = matches!(self.body, Body::Stream(_));
        match knobs.fault {
            Some(Fault::Gzip) => self = self.compressed(),
            Some(Fault::LyingType) => self.content_type = if stream { JSON } else { EVENTS },
            _ => {}
        }
        let mut layout = Layout {
            bytes: Vec::with_capacity(HEAD_BYTES + self.body.len()),
            pieces: Vec::new(),
            ending: if close { Ending::Close } else { Ending::KeepAlive },
            wait: Duration::from_millis(knobs.delay_ms.into()),
        };
        let Draft { status, content_type, .. } = self;
        let head = Head { status, content_type, family: client.family, close, fault: knobs.fault };
        match (self.body, knobs.fault) {
            (_, Some(Fault::BadHead)) => {
                layout.bytes.extend_from_slice(b"this is not HTTP\r\n\r\n");
                layout.ending = Ending::Close;
            }
            (Body::Json(body), fault) => layout.json(&head, body, fault, client.head_only),
            (Body::Stream(script), fault) => layout.stream(&head, script, fault, knobs.interval_ms),
        }
        layout.piece();
        if let Some(fault) = knobs.fault {
            let interval = (knobs.interval_ms > 0).then(|| Duration::from_millis(knobs.interval_ms.into()));
            let Layout { bytes, pieces, ending, .. } = &mut layout;
            Wire { bytes, pieces, ending, stream, interval }.apply(fault);
        }
        match knobs.fault {
            Some(Fault::SlowHeaders) => {
                layout.slow_head(if knobs.interval_ms > 0 { knobs.interval_ms } else { BETWEEN_HEADERS })
            }
            Some(Fault::Reset) => layout.pieces.push(Piece { wait: BEFORE_RESET, end: layout.bytes.len() }),
            _ => {}
        }
        Plan {
            #[cfg(test)]
            status,
            stream,
            stamped: knobs.say == Some(Say::Stamp),
            bytes: layout.bytes,
            pieces: layout.pieces,
            ending: layout.ending,
        }
    }
}

struct Head {
    status: u16,
    content_type: &'static str,
    family: Family,
    close: bool,
    fault: Option<Fault>,
}

/// How the end of the body is marked.
enum Framing {
    Length(usize),
    Chunked,
    Close,
}

/// What the vendors send beside the answer, some of it at least.
const OPENAI_HEADERS: &[u8] = b"x-request-id: req_mock\r\nopenai-processing-ms: 1\r\nopenai-version: 2020-10-01\r\n\
    x-ratelimit-limit-requests: 10000\r\nx-ratelimit-remaining-requests: 9999\r\nx-ratelimit-reset-requests: 6ms\r\n";
const ANTHROPIC_HEADERS: &[u8] = b"request-id: req_mock\r\nanthropic-ratelimit-requests-limit: 4000\r\n\
    anthropic-ratelimit-requests-remaining: 3999\r\nanthropic-ratelimit-requests-reset: 2025-11-24T00:00:00Z\r\n";

impl Head {
    fn write(&self, framing: Framing, out: &mut Vec<u8>) {
        if self.fault == Some(Fault::EarlyHints) {
            out.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n");
        }
        write::status_line(out, self.status);
        match self.status {
            204 => {}
            307 => write::static_header(out, "location", "http://mock.invalid/v1"),
            _ => write::static_header(out, "content-type", self.content_type),
        }
        if self.fault == Some(Fault::Gzip) {
            write::static_header(out, "content-encoding", "gzip");
        }
        match framing {
            _ if self.status == 204 => {}
            Framing::Length(length) => write::content_length(out, length as u64),
            Framing::Chunked => write::transfer_chunked(out),
            Framing::Close => {}
        }
        if self.close {
            write::static_header(out, "connection", "close");
        }
        let says_when = !matches!(self.fault, Some(Fault::NoRetryAfter | Fault::Quota));
        if says_when && matches!(self.status, 429 | 503 | 529) {
            write::static_header(out, "retry-after", "1");
        }
        out.extend_from_slice(match self.family {
            Family::OpenAi => OPENAI_HEADERS,
            Family::Anthropic => ANTHROPIC_HEADERS,
        });
        write::end_head(out);
    }
}

/// A plan in the making.
struct Layout {
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
    ending: Ending,
    /// Before the piece that is being written.
    wait: Duration,
}

impl Layout {
    /// Ends the piece that is being written.
    fn piece(&mut self) {
        self.pieces.push(Piece { wait: std::mem::take(&mut self.wait), end: self.bytes.len() });
    }

    fn json(&mut self, head: &Head, mut body: Vec<u8>, fault: Option<Fault>, head_only: bool) {
        match fault {
            Some(Fault::Reset) => return self.ending = Ending::Reset,
            Some(Fault::Stall) => return self.ending = Ending::Silence,
            Some(Fault::Unfinished) => body.truncate(body.len() / 2),
            Some(Fault::Garbage | Fault::BadEvent) => body = errors::HTML.as_bytes().to_vec(),
            _ => {}
        }
        let framing = match fault {
            Some(Fault::UntilClose) => Framing::Close,
            Some(Fault::OpenEnd) => Framing::Chunked,
            Some(Fault::WrongLength) => Framing::Length(body.len() / 2),
            _ => Framing::Length(body.len()),
        };
        head.write(framing, &mut self.bytes);
        if fault == Some(Fault::Truncate) {
            body.truncate(body.len() / 2);
            self.ending = Ending::Close;
        }
        if fault == Some(Fault::OpenEnd) {
            self.run(&body, true);
        } else if !head_only {
            self.bytes.extend_from_slice(&body);
        }
    }

    fn stream(&mut self, head: &Head, mut script: Script, fault: Option<Fault>, interval_ms: u32) {
        let half = script.half();
        let mut torn = Vec::new();
        match fault {
            Some(Fault::BadEvent) => {
                let at = half.saturating_sub(1);
                let event = &script.bytes[script.end_of(at)..script.end_of(at + 1)];
                // It keeps its name, where the format has names.
                let named = &event[..memchr::memmem::find(event, b"data: ").unwrap_or(0)];
                script.replace(at, &[named, errors::BAD_EVENT.as_bytes()].concat());
            }
            Some(Fault::Truncate) => {
                torn.extend_from_slice(&script.bytes[script.end_of(half)..script.end_of(half + 1)]);
                script.cut(half);
            }
            Some(Fault::Reset | Fault::Stall | Fault::Unfinished | Fault::Garbage) => script.cut(half),
            Some(Fault::NoEndMark) => script.cut(script.marks.len().saturating_sub(1)),
            _ => {}
        }
        let framing = if head.close { Framing::Close } else { Framing::Chunked };
        head.write(framing, &mut self.bytes);
        self.events(&script, !head.close, interval_ms);
        match fault {
            Some(Fault::Truncate) => {
                if !head.close {
                    self.chunk_size(torn.len());
                }
                self.bytes.extend_from_slice(&torn[..torn.len() / 2]);
                self.ending = Ending::Close;
            }
            Some(Fault::Garbage) => {
                self.bytes.extend_from_slice(b"this is not a chunk\r\n");
                self.ending = Ending::Close;
            }
            Some(Fault::Reset) => self.ending = Ending::Reset,
            Some(Fault::Stall) => self.ending = Ending::Silence,
            _ if !head.close => self.bytes.extend_from_slice(b"0\r\n\r\n"),
            _ => {}
        }
    }

    /// The events, those without time between them in one chunk.
    fn events(&mut self, script: &Script, chunked: bool, interval_ms: u32) {
        let (mut start, mut end) = (0, 0);
        for mark in &script.marks {
            if mark.content && interval_ms > 0 {
                self.run(&script.bytes[start..end], chunked);
                start = end;
                self.piece();
                self.wait = Duration::from_millis(interval_ms.into());
            }
            end = mark.end;
        }
        self.run(&script.bytes[start..end], chunked);
    }

    fn run(&mut self, events: &[u8], chunked: bool) {
        if chunked && !events.is_empty() {
            self.chunk_size(events.len());
        }
        self.bytes.extend_from_slice(events);
        if chunked && !events.is_empty() {
            self.bytes.extend_from_slice(b"\r\n");
        }
    }

    fn chunk_size(&mut self, size: usize) {
        self.bytes.extend_from_slice(format!("{size:x}\r\n").as_bytes());
    }

    /// Cuts the head out of the first piece, line by line.
    fn slow_head(&mut self, between_ms: u32) {
        let Some(first) = self.pieces.first_mut() else { return };
        let head_end = memchr::memmem::find(&self.bytes, b"\r\n\r\n").map_or(0, |at| at + 2);
        let ends = memchr::memmem::find_iter(&self.bytes[..head_end], b"\r\n").map(|at| at + 2);
        let between = Duration::from_millis(between_ms.into());
        let mut wait = std::mem::replace(&mut first.wait, between);
        let lines: Vec<Piece> = ends.map(|end| Piece { wait: std::mem::replace(&mut wait, between), end }).collect();
        self.pieces.splice(0..0, lines);
    }
}

#[cfg(test)]
mod tests;
