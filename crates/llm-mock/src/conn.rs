//! One connection of a client of the mock: requests one after the other, each answered by its
//! [`Plan`].

use std::future::pending;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt};
use monoio::net::TcpStream;

use llm_http::{BodyDecoder, HeadScan, Limits, Method, RequestHead, Step, Version, parse_request, write};

use super::counters::Counters;
use super::kind::Kind;
use super::knobs::Knobs;
use super::plan::{Request, plain, plan, refusal};
use super::stamp;
use super::timeline::{Ending, Plan};

/// Bytes taken from the socket at once.
const READ: usize = 16 * 1024;
/// The largest body; a few times what the vendors take.
const MAX_BODY: usize = 128 * 1024 * 1024;
/// Bytes of further requests that are read during an answer. Beyond it the mock no longer notices
/// that the client leaves.
const MAX_AHEAD: usize = 64 * 1024;

/// How long a connection that ends here waits for the other side to end it too.
const LINGER: Duration = Duration::from_secs(1);

/// A client's connection.
pub(crate) struct Conn<'a> {
    stream: TcpStream,
    counters: &'a Counters,
    defaults: &'a Knobs,
    /// What was read and not used yet.
    input: Vec<u8>,
    body: Vec<u8>,
}

/// What came instead of a request.
enum Stop {
    /// The client closed, or the connection broke.
    Gone,
    /// It cannot be read on; the client gets the reason.
    Refused(u16, &'static str),
}

/// Whether the connection can take another request.
#[derive(PartialEq, Eq)]
enum After {
    Next,
    Close,
}

impl<'a> Conn<'a> {
    /// Takes a connection that was accepted. `defaults` hold where a request names no option.
    pub(crate) fn new(stream: TcpStream, counters: &'a Counters, defaults: &'a Knobs) -> Conn<'a> {
        Conn { stream, counters, defaults, input: Vec::new(), body: Vec::new() }
    }

    /// Serves requests until either side ends the connection.
    pub(crate) async fn serve(mut self) {
        loop {
            let answer = match self.request().await {
                Ok(head) => self.answer(&head),
                Err(Stop::Refused(status, reason)) => refusal(status, reason),
                Err(Stop::Gone) => return,
            };
            if self.send(answer).await == After::Close {
                return;
            }
        }
    }

    /// Reads one request: its head stays at the front of `input`, its body is in `body`, and what
    /// follows is right behind the head.
    async fn request(&mut self) -> Result<RequestHead, Stop> {
        let mut scan = HeadScan::default();
        let head = loop {
            match parse_request(&self.input, &mut scan, &Limits::default()) {
                Ok(Some(head)) => break head,
                Ok(None) => self.read().await?,
                Err(refused) => return Err(Stop::Refused(refused.status, refused.reason)),
            }
        };
        if head.expect_continue && self.input.len() == head.len {
            let (written, _) = self.stream.write_all(write::CONTINUE).await;
            written.map_err(|_| Stop::Gone)?;
        }
        self.body.clear();
        let mut decoder = BodyDecoder::new(head.framing);
        let mut pos = head.len;
        loop {
            match decoder.next(&self.input, &mut pos).map_err(|_| Stop::Refused(400, "the body is badly framed"))? {
                Step::Data(range) if self.body.len() + range.len() > MAX_BODY => {
                    return Err(Stop::Refused(413, "the body is larger than 128 MiB"));
                }
                Step::Data(range) => self.body.extend_from_slice(&self.input[range]),
                Step::More => {
                    self.input.truncate(head.len);
                    pos = head.len;
                    self.read().await?;
                }
                Step::End => break,
            }
        }
        self.input.drain(head.len..pos);
        Ok(head)
    }

    /// Plans the answer to the request that was read, and forgets the request.
    fn answer(&mut self, head: &RequestHead) -> Plan {
        let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
        let headers: Vec<(&str, &[u8])> = head.fields(&self.input).map(|(name, value)| (text(name), value)).collect();
        let request = Request {
            method: text(head.method_text(&self.input)),
            path: text(head.path(&self.input)),
            headers: &headers,
            body: &self.body,
            keep_alive: head.keep_alive && head.version == Version::Http11,
        };
        let answer = match (head.method, request.path) {
            (Method::Get, "/__count") => plain(&request, self.counters.counts().to_json()),
            (Method::Get, "/__last") => {
                plain(&request, self.counters.last().map_or(b"null".to_vec(), |last| last.to_json()))
            }
            (_, path) => {
                let turn = if Kind::of(path).takes_body() { self.counters.turn() } else { 0 };
                let answer = plan(&request, self.defaults, turn);
                self.counters.request(Kind::of(path), answer.stream);
                self.counters.keep_last(&self.input[..head.len], &mut self.body);
                answer
            }
        };
        self.input.drain(..head.len);
        answer
    }

    async fn send(&mut self, answer: Plan) -> After {
        let mut bytes = answer.bytes;
        let mut start = 0;
        for piece in answer.pieces {
            if !piece.wait.is_zero() && self.client_left(Some(piece.wait)).await {
                return self.left();
            }
            if piece.end == start {
                continue;
            }
            if answer.stamped {
                stamp::fill(&mut bytes[start..piece.end], stamp::now());
            }
            let (written, slice) = self.stream.write_all(bytes.slice(start..piece.end)).await;
            if written.is_err() {
                return self.left();
            }
            bytes = slice.into_inner();
            start = piece.end;
        }
        match answer.ending {
            Ending::KeepAlive => After::Next,
            Ending::Close => {
                let _ = self.stream.shutdown().await;
                // A close with bytes unread is a reset, which may take back what was just sent.
                self.input.clear();
                self.client_left(Some(LINGER)).await;
                After::Close
            }
            Ending::Reset => {
                reset_on_close(&self.stream);
                After::Close
            }
            Ending::Silence => {
                self.client_left(None).await;
                self.left()
            }
        }
    }

    fn left(&self) -> After {
        self.counters.close_early();
        After::Close
    }

    /// Waits, for ever without a time, and watches the client meanwhile. True if it closed its
    /// side.
    ///
    /// Only readiness is awaited beside the timer, and the read that follows cannot block: on
    /// io_uring a read that is dropped half way may take bytes with it.
    async fn client_left(&mut self, time: Option<Duration>) -> bool {
        let mut timer = std::pin::pin!(async {
            match time {
                Some(time) => monoio::time::sleep(time).await,
                None => pending().await,
            }
        });
        loop {
            let watch = self.input.len() < MAX_AHEAD;
            monoio::select! {
                () = &mut timer => return false,
                _ = self.stream.readable(false), if watch => {}
            }
            if self.read().await.is_err() {
                return true;
            }
        }
    }

    /// Reads once, behind what is there.
    async fn read(&mut self) -> Result<(), Stop> {
        let mut input = std::mem::take(&mut self.input);
        let used = input.len();
        input.reserve(READ);
        let (read, slice) = self.stream.read(input.slice_mut(used..)).await;
        self.input = slice.into_inner();
        match read {
            Ok(n) if n > 0 => Ok(()),
            _ => {
                self.input.truncate(used);
                Err(Stop::Gone)
            }
        }
    }
}

/// Makes the coming close a TCP reset.
#[allow(unsafe_code)]
fn reset_on_close(stream: &TcpStream) {
    // SAFETY: the descriptor belongs to `stream`, which outlives this borrow. (monoio's stream has
    // no `AsFd` that would say so.)
    let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(stream.as_raw_fd()) };
    // Without it the close is an orderly one: a weaker fault, and nobody to tell.
    let _: io::Result<()> = socket2::SockRef::from(&fd).set_linger(Some(Duration::ZERO));
}
