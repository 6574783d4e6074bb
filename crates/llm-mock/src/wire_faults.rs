//! Faults that are made out of the bytes of a plain answer.

use std::time::Duration;

use super::faults::Fault;

/// Bytes that go out in one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Before the write.
    pub wait: Duration,
    /// Offset behind it; it begins where the piece before ended, and may be empty.
    pub end: usize,
}

/// What becomes of the connection after the last piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    KeepAlive,
    Close,
    /// Closed with a TCP reset.
    Reset,
    /// Nothing more is sent until the other side closes.
    Silence,
}

/// Time for what was sent to arrive: a reset drops what still waits in the send buffer.
pub(crate) const BEFORE_RESET: Duration = Duration::from_millis(20);

/// Interim responses of a flood: more than any head may have bytes.
const INTERIM: usize = 5000;
/// Fields of a head without end, and their size.
const FIELDS: usize = 64;
const FIELD_BYTES: usize = 4096;
/// Bytes of a drop.
const DROP: usize = 64;
const BETWEEN_DROPS: Duration = Duration::from_millis(5);
/// More than a client holds of one event.
const ENDLESS_EVENT: usize = 17 << 20;

/// An answer on its way to the wire.
pub(crate) struct Wire<'a> {
    pub bytes: &'a mut Vec<u8>,
    pub pieces: &'a mut Vec<Piece>,
    pub ending: &'a mut Ending,
    pub stream: bool,
    /// Between two pieces, if the request has asked for a time.
    pub interval: Option<Duration>,
}

impl Wire<'_> {
    /// Makes the fault. Nothing happens for those that are made elsewhere.
    pub(crate) fn apply(mut self, fault: Fault) {
        match fault {
            Fault::ResetHead => self.cut(0, Ending::Reset),
            Fault::ResetBody => self.cut(self.head_end(), Ending::Reset),
            Fault::Silent => self.cut(0, Ending::Silence),
            Fault::SilentBody => self.cut(self.head_end(), Ending::Silence),
            Fault::HalfHead => self.cut(self.head_end() / 2, Ending::Close),
            Fault::EndlessHead => {
                let mut bytes = b"HTTP/1.1 200 OK\r\n".to_vec();
                for n in 0..FIELDS {
                    bytes.extend_from_slice(format!("x-field-{n}: {}\r\n", "x".repeat(FIELD_BYTES)).as_bytes());
                }
                self.replace(bytes, Ending::Silence);
            }
            Fault::Flood1xx => {
                let flood = b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(INTERIM);
                let ending = *self.ending;
                self.replace([flood.as_slice(), self.bytes].concat(), ending);
            }
            Fault::OpenEnd => {
                // The last chunk is left out. That of a JSON body was not written.
                let end = self.bytes.strip_suffix(b"0\r\n\r\n").map_or(self.bytes.len(), <[u8]>::len);
                self.cut(end, Ending::Silence);
            }
            Fault::BadUtf8 => {
                let body = self.head_end();
                if let Some(at) = memchr::memmem::find(&self.bytes[body..], b"answers") {
                    self.bytes[body + at] = 0xff;
                }
            }
            Fault::WrongLength if self.stream => self.shorten_first_chunk(),
            Fault::EndlessEvent => self.endless_event(),
            Fault::Drip => self.drip(),
            _ => {}
        }
    }

    fn head_end(&self) -> usize {
        memchr::memmem::find(self.bytes, b"\r\n\r\n").map_or(self.bytes.len(), |at| at + 4)
    }

    /// Sends the first `end` bytes at once and then ends so.
    fn cut(&mut self, end: usize, ending: Ending) {
        self.bytes.truncate(end);
        let wait = self.pieces.first().map_or(Duration::ZERO, |piece| piece.wait);
        self.pieces.clear();
        self.pieces.push(Piece { wait, end });
        if ending == Ending::Reset {
            self.pieces.push(Piece { wait: BEFORE_RESET, end });
        }
        *self.ending = ending;
    }

    fn replace(&mut self, bytes: Vec<u8>, ending: Ending) {
        *self.bytes = bytes;
        self.cut(self.bytes.len(), ending);
    }

    /// Announces one byte less than the first chunk has.
    fn shorten_first_chunk(&mut self) {
        let body = self.head_end();
        let Some(line) = memchr::memmem::find(&self.bytes[body..], b"\r\n") else { return };
        let size = std::str::from_utf8(&self.bytes[body..body + line]).unwrap_or_default();
        let Ok(size) = usize::from_str_radix(size, 16) else { return };
        let size = format!("{:x}", size.saturating_sub(1));
        self.bytes.splice(body..body + line, size.bytes());
        let ending = *self.ending;
        self.cut(self.bytes.len(), ending);
    }

    fn endless_event(&mut self) {
        let (kind, start) = match self.stream {
            true => ("text/event-stream", "data: {\"x\":\""),
            false => ("application/json", "{\"x\":\""),
        };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n");
        let size = format!("{:x}\r\n", start.len() + ENDLESS_EVENT);
        let mut bytes = [head.as_bytes(), size.as_bytes(), start.as_bytes()].concat();
        bytes.resize(bytes.len() + ENDLESS_EVENT, b'x');
        bytes.extend_from_slice(b"\r\n");
        self.replace(bytes, Ending::Silence);
    }

    fn drip(&mut self) {
        let head = self.head_end();
        let between = self.interval.unwrap_or(BETWEEN_DROPS);
        self.pieces.clear();
        self.pieces.push(Piece { wait: Duration::ZERO, end: head });
        let ends = (head..self.bytes.len()).step_by(DROP).map(|at| (at + DROP).min(self.bytes.len()));
        self.pieces.extend(ends.map(|end| Piece { wait: between, end }));
    }
}
