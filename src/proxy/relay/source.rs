//! The body of an upstream's response: one reader for every relay.
//!
//! A relay calls [`UpstreamBody::next`] in a loop and acts on each [`BodyEvent`]. When to wait, for
//! how long, and what a client that leaves or an upstream that stops means is decided here.

use std::time::Duration;

use super::super::client::{ClientDisconnected, WaitError};
use super::super::request_context::RequestContext;
use super::super::upstream::UpstreamResponse;
use super::pace::{self, Pace};
use crate::net::stream::LARGE_READ;
use crate::shared::body_memory::HeldMemory;
use llm_http::{BodyDecoder, BodyError, Framing, ResponseHead, Step};
use llm_wire::error::{Error, Kind};

/// The most bytes that are discarded behind a response. Providers send the last chunk; one that
/// never pauses would let no deadline expire.
const REST_MAX: usize = 64 << 10;

/// A body that is being read.
pub struct UpstreamBody {
    response: UpstreamResponse,
    decoder: BodyDecoder,
    /// Where the undecoded part of `response.bytes` begins.
    position: usize,
    input: Input,
    /// Whether a piece of the body was returned. Until then the head stays in front of what is
    /// read.
    began: bool,
    /// A copy of the head, for those who write it after the buffer was reused.
    kept_head: Vec<u8>,
    /// When the upstream has been silent for too long, in microseconds on the request's clock. Set
    /// when a wait begins, cleared when bytes arrive.
    silent_at: Option<u64>,
    /// When the body must have ended, on the same clock.
    must_end_at: Option<u64>,
    /// What a decoded body takes of the memory for bodies.
    _held: Vec<HeldMemory>,
}

/// What is known of the bytes that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    Undecoded,
    /// All of them were decoded: the next step is to wait for more.
    Drained,
}

/// What [`UpstreamBody::next`] found.
#[derive(Debug)]
pub enum BodyEvent<'b> {
    /// A piece of the body.
    Data(&'b [u8]),
    /// More has arrived: the next call returns it, and [`UpstreamBody::peek`] shows it.
    Arrived,
    /// Everything that has arrived was returned. The next call waits for more.
    Drained,
    /// Nothing has arrived for as long as the [`Pace`] allows. The upstream may still send.
    Idle,
    /// The body is complete.
    End,
    /// The body broke off.
    Cut(Cut),
}

/// How a body broke off.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    /// The upstream closed the connection.
    Closed,
    /// The connection failed.
    ConnectionFailed,
    /// Nothing more arrived within the time allowed, or this gateway is stopping.
    TimedOut,
    Malformed(BodyError),
}

impl Cut {
    /// Returns the error that says so.
    pub fn error(self, req: &RequestContext<'_>, provider: &str) -> Error {
        match self {
            Cut::Closed => truncated(provider, "closed the connection"),
            Cut::ConnectionFailed => truncated(provider, "broke the connection"),
            Cut::TimedOut if req.core.stopping() => Error::stopping(),
            Cut::TimedOut => {
                let note = format!("provider `{provider}` stopped sending; nothing came within the time allowed");
                Error::upstream(Kind::UpstreamTimeout, note)
            }
            Cut::Malformed(error) => malformed(provider, error),
        }
    }
}

/// Returns the error of a response that ended too early. `how` is what the provider did.
pub(super) fn truncated(provider: &str, how: &str) -> Error {
    let note = format!("provider `{provider}` {how} before the end of its response");
    Error::upstream(Kind::UpstreamTruncated, note)
}

/// Returns the error of a response without a body.
pub(super) fn empty(provider: &str) -> Error {
    Error::upstream(Kind::UpstreamFault, format!("provider `{provider}` sent an empty response"))
}

/// Returns the error of a response that can't be read. `reason` is for the log.
pub(super) fn malformed(provider: &str, reason: impl std::fmt::Display) -> Error {
    Error::upstream(Kind::UpstreamFault, format!("provider `{provider}` sent a malformed response")).detail(reason)
}

impl UpstreamBody {
    /// Takes a response whose head was read.
    pub fn new(response: UpstreamResponse) -> UpstreamBody {
        UpstreamBody {
            decoder: BodyDecoder::new(response.head.framing),
            position: response.head.len,
            response,
            input: Input::Undecoded,
            began: false,
            kept_head: Vec::new(),
            silent_at: None,
            must_end_at: None,
            _held: Vec::new(),
        }
    }

    /// Returns the head of the response.
    pub fn head(&self) -> &ResponseHead {
        &self.response.head
    }

    /// Returns the bytes that the head's offsets refer to. They are there until a wait behind the
    /// first piece of the body reuses the buffer.
    pub fn head_bytes(&self) -> &[u8] {
        if self.kept_head.is_empty() { &self.response.bytes } else { &self.kept_head }
    }

    /// Keeps the head for as long as the body.
    pub fn keep_head(&mut self) {
        if self.kept_head.is_empty() {
            self.kept_head = self.response.bytes[..self.response.head.len].to_vec();
        }
    }

    /// Returns the response, of whose body nothing was read.
    pub fn response(&self) -> &UpstreamResponse {
        &self.response
    }

    /// Returns whether bytes have arrived that were not decoded.
    pub fn has_arrived(&self) -> bool {
        self.input == Input::Undecoded
    }

    /// Returns the piece that [`UpstreamBody::next`] will return, if it has arrived.
    pub fn peek(&self) -> Option<&[u8]> {
        if self.input == Input::Drained {
            return None;
        }
        let (mut decoder, mut position) = (self.decoder.clone(), self.position);
        match decoder.next(&self.response.bytes, &mut position) {
            Ok(Step::Data(range)) => Some(&self.response.bytes[range]),
            Ok(Step::More | Step::End) | Err(_) => None,
        }
    }

    /// Replaces a body that was read to its end by what it decodes to.
    pub fn with_body(self, body: &[u8], held: Vec<HeldMemory>) -> UpstreamBody {
        let UpstreamResponse { connection, origin, mut head, .. } = self.response;
        head.remove_coding(&self.kept_head);
        head.keep_alive &= self.decoder.ended_alone();
        head.framing = Framing::Length(body.len() as u64);
        let bytes = [&self.kept_head[..], body].concat();
        UpstreamBody { _held: held, ..UpstreamBody::new(UpstreamResponse::new(connection, origin, head, bytes)) }
    }

    /// Returns the response of a body of which nothing was read.
    pub fn into_response(self) -> UpstreamResponse {
        self.response
    }

    /// Bounds the rest of the body in time. The first call counts.
    pub fn limit_rest(&mut self, req: &RequestContext<'_>, limit: Duration) {
        let limit = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        self.must_end_at.get_or_insert(req.recorder.elapsed_us().saturating_add(limit));
    }

    /// Bounds the wait for the next bytes, and only this wait, in time.
    pub fn limit_wait(&mut self, req: &RequestContext<'_>, limit: Duration) {
        let limit = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        let limit = req.recorder.elapsed_us().saturating_add(limit);
        self.silent_at = Some(pace::silent_at(req).min(limit).min(self.must_end_at.unwrap_or(u64::MAX)));
    }

    /// Goes on after [`Cut::TimedOut`], with a limit of its own for the next wait.
    pub fn rearm(&mut self) {
        self.silent_at = None;
    }

    /// Returns what comes next: a piece that has arrived, or what became of waiting for one.
    pub async fn next(
        &mut self,
        req: &mut RequestContext<'_>,
        pace: Pace,
    ) -> Result<BodyEvent<'_>, ClientDisconnected> {
        if self.input == Input::Drained {
            return Ok(self.read(req, pace).await?.unwrap_or(BodyEvent::Arrived));
        }
        Ok(self.decode())
    }

    /// Shows the recorder what has arrived of the body, without its framing, where it reads the
    /// tier of service out of it.
    pub fn note_tier(&self, req: &mut RequestContext<'_>) {
        if !req.recorder.reads_tier() {
            return;
        }
        let (mut decoder, mut position) = (self.decoder.clone(), self.position);
        while let Ok(Step::Data(range)) = decoder.next(&self.response.bytes, &mut position) {
            req.recorder.note_tier(&self.response.bytes[range]);
        }
    }

    /// Returns what has arrived, if a chunk begins there. [`BodyDecoder::split_chunk`] takes one
    /// chunk after the other off it, each of them the piece that [`UpstreamBody::next`] would
    /// return.
    #[inline(always)]
    pub fn arrived_chunks(&self) -> Option<&[u8]> {
        let is_readable = self.input == Input::Undecoded && self.decoder.is_between_chunks();
        self.response.bytes.get(self.position..).filter(|_| is_readable)
    }

    /// Goes on behind the chunks that were taken off [`UpstreamBody::arrived_chunks`], of which
    /// `left` bytes are left.
    #[inline(always)]
    pub fn pass(&mut self, left: usize) {
        let position = self.response.bytes.len() - left;
        self.began |= position > self.position;
        self.position = position;
    }

    /// Hands the chunks that have arrived as a whole to `take`, one by one, until it returns false.
    #[inline]
    pub fn whole_chunks(&mut self, mut take: impl FnMut(&[u8]) -> bool) {
        let Some(mut rest) = self.arrived_chunks() else { return };
        while let Some((chunk, behind)) = BodyDecoder::split_chunk(rest) {
            if !take(chunk) {
                break;
            }
            rest = behind;
        }
        let left = rest.len();
        self.pass(left);
    }

    /// Hands the next chunk to `take`, if it has arrived as a whole. Returns whether that has taken
    /// it.
    pub fn whole_chunk(&mut self, take: impl FnOnce(&[u8]) -> bool) -> bool {
        let Some((chunk, behind)) = self.arrived_chunks().and_then(BodyDecoder::split_chunk) else { return false };
        let left = behind.len();
        let is_taken = take(chunk);
        if is_taken {
            self.pass(left);
        }
        is_taken
    }

    /// Appends the chunks that have arrived as a whole to `out`, up to the first that ends an
    /// event.
    pub fn event_chunks(&mut self, out: &mut Vec<u8>) {
        let mut is_event_end = false;
        self.whole_chunks(|chunk| {
            if is_event_end {
                return false;
            }
            out.extend_from_slice(chunk);
            is_event_end = chunk.ends_with(b"\n\n");
            true
        });
    }

    /// Finds the next piece in what has arrived.
    fn decode(&mut self) -> BodyEvent<'_> {
        match self.decoder.next(&self.response.bytes, &mut self.position) {
            Ok(Step::Data(range)) => {
                self.began = true;
                BodyEvent::Data(&self.response.bytes[range])
            }
            Ok(Step::More) => {
                self.input = Input::Drained;
                BodyEvent::Drained
            }
            Ok(Step::End) => BodyEvent::End,
            Err(error) => BodyEvent::Cut(Cut::Malformed(error)),
        }
    }

    /// Waits for bytes. `None` when some have arrived.
    async fn read(
        &mut self,
        req: &mut RequestContext<'_>,
        pace: Pace,
    ) -> Result<Option<BodyEvent<'static>>, ClientDisconnected> {
        let silent_at = match self.silent_at {
            Some(silent_at) => silent_at,
            None => pace::silent_at(req).min(self.must_end_at.unwrap_or(u64::MAX)),
        };
        self.silent_at = Some(silent_at);
        // An upstream that never pauses lets no deadline expire.
        if pace.is_overdue(req, silent_at) {
            return Ok(Some(BodyEvent::Cut(Cut::TimedOut)));
        }
        req.client.deadline.set(pace.patience(req, silent_at));
        let reader = &mut self.response.connection.reader;
        if self.began {
            reader.reuse(&mut self.response.bytes);
            self.position = 0;
        }
        let read = reader.read(&mut self.response.bytes);
        let event = match req.client.wait(read).await {
            Ok(Ok(n)) if n > 0 => {
                if self.response.connection.reader.fit_reads(n) {
                    req.received.shrink();
                }
                req.recorder.upstream_bytes_arrived(n);
                self.silent_at = None;
                self.input = Input::Undecoded;
                self.note_tier(req);
                return Ok(None);
            }
            Ok(Ok(_)) if self.decoder.eof().is_ok() => BodyEvent::End,
            Ok(Ok(_)) => BodyEvent::Cut(Cut::Closed),
            Ok(Err(_)) => BodyEvent::Cut(Cut::ConnectionFailed),
            Err(WaitError::ClientDisconnected) => return Err(ClientDisconnected),
            Err(WaitError::DeadlineExpired) if req.client.is_superseded => BodyEvent::Cut(Cut::ConnectionFailed),
            Err(WaitError::DeadlineExpired) if pace.is_overdue(req, silent_at) => BodyEvent::Cut(Cut::TimedOut),
            Err(WaitError::DeadlineExpired) => BodyEvent::Idle,
        };
        Ok(Some(event))
    }

    /// Returns whether the body was read to its end.
    pub fn is_ended(&self) -> bool {
        self.decoder.is_ended()
    }

    /// Skips what has arrived. An error means that the connection can't be used again.
    pub fn skip_arrived(&mut self) -> Result<(), BodyError> {
        while let Step::Data(_) = self.decoder.next(&self.response.bytes, &mut self.position)? {}
        Ok(())
    }

    /// Reads and discards the rest of the body, so that its connection can be used again. Gives up,
    /// and closes the connection, after `limit` or [`REST_MAX`].
    ///
    /// The client has its whole response, and may have sent its next request, of any size. So the
    /// client is not read meanwhile: what watches for its disconnect keeps a bounded number of
    /// bytes that come ahead of their time, and loses the others.
    pub async fn discard_rest(mut self, req: &mut RequestContext<'_>, limit: Duration) {
        let mut left = REST_MAX;
        self.response.connection.reader.read_size(LARGE_READ);
        req.client.deadline.set(limit);
        while !self.decoder.is_ended() {
            self.response.bytes.clear();
            self.position = 0;
            let read = self.response.connection.reader.read(&mut self.response.bytes);
            left = match req.client.deadline.limit(read).await {
                Some(Ok(n)) if n > 0 && n <= left => left - n,
                _ => return,
            };
            if self.skip_arrived().is_err() {
                return;
            }
        }
        self.release(req);
    }

    /// Gives the connection of a body that was read to its end back to the pool. It may serve
    /// another request if both sides agree and nothing came behind the response: that would be read
    /// as the response to the next request. The connection's next read reuses this body's buffer.
    pub fn release(mut self, req: &RequestContext<'_>) {
        self.response.head.keep_alive &= self.decoder.ended_alone();
        self.response.connection.reader.read_size(LARGE_READ);
        self.response.release(req);
    }
}
