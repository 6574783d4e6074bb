//! One TCP connection, plain or TLS, as a [`Reader`] and a [`Writer`].
//!
//! On io_uring the reader keeps at most one read in flight and owns it: a caller may stop polling
//! at any time and continue later without losing a byte. The ring demands that (a dropped read may
//! have taken bytes into a buffer that nobody owns any more), and it lets a relay watch the client
//! while it waits for the upstream. On epoll the readiness of the socket is awaited, and what has
//! come is received then. Dropping reader and writer together closes the socket at once, in every
//! state.
//!
//! A write that is dropped leaves the peer with a part of a message: whoever drops a write must
//! drop the connection with it.

mod read_size;
mod tls;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use monoio::buf::IoBuf;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt, OwnedReadHalf, OwnedWriteHalf, Splitable};
use monoio::net::TcpStream;
use monoio::net::tcp::{Readiness, Receive};
use monoio::utils::is_legacy;

use super::acked::{bytes_acked, is_closed};
use super::buffers;
use super::receive::receive_now;
use super::send::send_now;
use read_size::ReadSize;
use tls::{Session, decrypt, drain_plaintext, feed};

/// Bytes of the first read of a message. It holds most request heads with their body, and keeps an
/// idle connection small.
pub const SMALL_READ: usize = buffers::SMALL;
/// Bytes of a read where more is expected.
pub const LARGE_READ: usize = buffers::LARGE;

/// The most bytes that are kept of what a peer sends before it is read.
const AHEAD_MAX: usize = 128 << 10;
/// The most bytes beyond that which are discarded while the peer is watched.
const EXCESS_MAX: usize = 64 << 20;
/// Reads of one poll that watches the peer, so that a fast one does not keep the worker.
const READS_OF_A_WATCH: usize = 4;

/// The most plain bytes that one TLS write encrypts.
const TLS_WRITE: usize = 64 << 10;

type ReadHalf = OwnedReadHalf<TcpStream>;
type WriteHalf = OwnedWriteHalf<TcpStream>;

/// What a [`Reader`] does.
enum State {
    Idle,
    /// A read is in flight. Its buffer is the kernel's.
    Reading(Receive<Vec<u8>>),
}

/// What receives, while the stream has not ended.
struct Open {
    half: ReadHalf,
    /// The socket, which is open for as long as `half` is.
    socket: RawFd,
    /// What epoll says of the socket. `None` on the ring, where a close is noticed only while a
    /// read is in flight.
    readiness: Option<Readiness>,
}

/// The receiving side.
pub struct Reader {
    state: State,
    /// Dropped when the stream has ended, which closes the socket if the writer is gone too.
    open: Option<Open>,
    spare: Vec<u8>,
    size: ReadSize,
    /// Bytes that arrived before they were requested ([`Reader::poll_disconnect`]).
    ahead: Vec<u8>,
    /// Bytes beyond those, which were discarded.
    excess: usize,
    session: Option<Session>,
    /// The failure of a record, to be reported by the next read: the records before it had
    /// plaintext.
    failure: Option<io::Error>,
}

/// The sending side.
pub struct Writer {
    half: WriteHalf,
    /// The socket, which is open for as long as a half of it is.
    socket: RawFd,
    /// Whether a write is tried before the runtime does it: on epoll, where it does the same with
    /// more steps. The ring sends for many connections in one call.
    sends_at_once: bool,
    /// Bytes that were given to the socket.
    sent: u64,
    session: Option<Session>,
    cipher: Vec<u8>,
}

/// Empties a buffer.
fn empty(mut buf: Vec<u8>) -> Vec<u8> {
    buf.clear();
    buf
}

/// Splits a connected stream. `session` must have completed its handshake.
pub fn split(stream: TcpStream, session: Option<rustls::Connection>) -> (Reader, Writer) {
    let session = session.map(|s| Rc::new(RefCell::new(s)));
    let socket = stream.as_raw_fd();
    let readiness = stream.readiness();
    let (read, write) = stream.into_split();
    let sends_at_once = is_legacy();
    let reader = Reader {
        state: State::Idle,
        open: Some(Open { half: read, socket, readiness }),
        spare: Vec::new(),
        size: ReadSize::new(),
        ahead: Vec::new(),
        excess: 0,
        session: session.clone(),
        failure: None,
    };
    (reader, Writer { half: write, socket, sends_at_once, sent: 0, session, cipher: Vec::new() })
}

impl Reader {
    /// Sets the size of the reads that start from now on.
    pub fn read_size(&mut self, bytes: usize) {
        self.size.set(bytes);
    }

    /// Sets the size of the next reads by the bytes of the last one. A stream of which little comes
    /// at a time waits with a small buffer. Returns true when it has just proved to be one.
    pub fn fit_reads(&mut self, bytes: usize) -> bool {
        let was_tiny = self.size.is_tiny();
        self.size.fit(bytes);
        self.size.is_tiny() && !was_tiny
    }

    /// Empties a buffer whose bytes were read. On a plain connection the next read takes it over,
    /// so that one buffer is enough; with TLS it stays, since plaintext is appended to it, unless
    /// little comes at a time.
    pub fn reuse(&mut self, buf: &mut Vec<u8>) {
        buf.clear();
        if self.session.is_none() {
            self.recycle(std::mem::take(buf));
        } else if self.size.is_tiny() && buf.capacity() > SMALL_READ {
            buffers::give(std::mem::take(buf));
        }
    }

    /// Returns a buffer for the next read.
    pub fn recycle(&mut self, buf: Vec<u8>) {
        if self.spare.capacity() < buf.capacity() {
            self.spare = buf;
        }
    }

    /// Appends what has arrived to `buf`. `Ok(0)` is the end of the stream. Cancel-safe.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        if !self.ahead.is_empty() {
            let n = self.ahead.len();
            take_into(&mut self.ahead, buf);
            return Poll::Ready(Ok(n));
        }
        self.poll_socket(cx, buf)
    }

    #[inline]
    fn poll_socket(&mut self, cx: &mut Context<'_>, buf: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        let Some(session) = &self.session else { return self.poll_plain(cx, buf) };
        self.poll_tls(&session.clone(), cx, buf)
    }

    /// Does the same as [`Reader::poll_read`], as a future.
    pub async fn read(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, buf)).await
    }

    /// Is ready when the peer has closed or reset the connection.
    ///
    /// Bytes that arrive instead are kept for the next read, up to a bound. More are discarded,
    /// since they would hide the close behind them ([`Reader::has_discarded`]); a peer that goes on
    /// for ever counts as closed.
    pub fn poll_disconnect(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..READS_OF_A_WATCH {
            // Nearly always: nothing has come, or the read that is in flight goes on.
            if self.session.is_none() && self.ahead.is_empty() {
                match self.poll_raw(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(got)) if !got.is_empty() => self.ahead = got,
                    Poll::Ready(_) => return Poll::Ready(()),
                }
                continue;
            }
            let mut ahead = std::mem::take(&mut self.ahead);
            let polled = self.poll_socket(cx, &mut ahead);
            self.excess += ahead.len().saturating_sub(AHEAD_MAX);
            ahead.truncate(AHEAD_MAX);
            self.ahead = ahead;
            match polled {
                Poll::Ready(Ok(n)) if n > 0 && self.excess <= EXCESS_MAX => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Returns whether bytes of the peer were lost, so that what follows can't be understood.
    pub fn has_discarded(&self) -> bool {
        self.excess > 0
    }

    /// Returns whether the connection can't be used any more. On the ring it starts a read if none
    /// is in flight, so that a later close is noticed.
    pub fn is_stale(&mut self) -> bool {
        if self.is_untouched() {
            return false;
        }
        let mut cx = Context::from_waker(std::task::Waker::noop());
        self.poll_disconnect(&mut cx).is_ready() || !self.ahead.is_empty()
    }

    /// Returns whether it is known, without a read, that nothing has come to a plain connection.
    fn is_untouched(&self) -> bool {
        let is_silent = |readiness: &Readiness| !readiness.may_be_readable();
        self.session.is_none() && self.ahead.is_empty() && self.readiness().is_some_and(is_silent)
    }

    /// Begins to watch a connection that becomes idle. Returns false if it is known already that it
    /// can't be used any more; [`Reader::is_stale`] knows it before the next use in any case.
    pub fn begin_idle(&mut self) -> bool {
        !(self.readiness().is_none() && self.is_stale())
    }

    #[inline]
    fn poll_plain(&mut self, cx: &mut Context<'_>, buf: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        let mut got = match ready!(self.poll_raw(cx)) {
            Ok(got) => got,
            Err(error) => return Poll::Ready(Err(error)),
        };
        let n = got.len();
        self.size.note_received(&got);
        take_into(&mut got, buf);
        self.spare = got;
        Poll::Ready(Ok(n))
    }

    fn poll_tls(&mut self, session: &Session, cx: &mut Context<'_>, buf: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        let start = buf.len();
        loop {
            match drain_plaintext(session, buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
            if let Some(error) = self.failure.take() {
                self.close();
                return Poll::Ready(Err(error));
            }
            let mut got = match ready!(self.poll_raw(cx)) {
                Ok(got) => got,
                Err(error) => return Poll::Ready(Err(error)),
            };
            let fed = feed(session, &got, buf);
            self.size.note_received(&got);
            let is_full = got.len() == got.capacity();
            got.clear();
            self.spare = got;
            match fed {
                Err(error) if buf.len() == start => return Poll::Ready(Err(error)),
                fed => self.failure = fed.err(),
            }
            if buf.len() > start {
                return Poll::Ready(Ok(buf.len() - start));
            }
            // A long record gives nothing until it is whole.
            if is_full {
                self.size.set(LARGE_READ);
            }
        }
    }
}

// What the socket gives: on the ring by a read in flight, on epoll once there is something.
impl Reader {
    /// Returns what the socket gave, in a buffer that may be kept or become `spare`. It is empty at
    /// the end of the stream, also when polled again.
    #[inline]
    fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        let Some(open) = &self.open else { return Poll::Ready(Ok(Vec::new())) };
        let Some(readiness) = &open.readiness else { return self.poll_read_in_flight(cx) };
        match readiness.poll_readable(cx) {
            Poll::Ready(()) => self.receive(cx),
            Poll::Pending => {
                // It would be kept as long as the wait takes.
                if self.spare.capacity() > 2 * self.size.bytes() {
                    buffers::give(std::mem::take(&mut self.spare));
                }
                Poll::Pending
            }
        }
    }

    /// Returns the readiness of the socket. `None` on the ring, and after the end of the stream.
    fn readiness(&self) -> Option<&Readiness> {
        self.open.as_ref()?.readiness.as_ref()
    }

    /// Ends the stream. No read may be in flight.
    fn close(&mut self) {
        self.state = State::Idle;
        self.open = None;
    }

    /// Takes what epoll has told of.
    fn receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        let mut buf = self.take_buffer();
        let Some(Open { socket, readiness: Some(readiness), .. }) = &self.open else {
            return Poll::Ready(Ok(Vec::new()));
        };
        match receive_now(*socket, &mut buf) {
            Ok(n) if n > 0 => {
                // Events are edge-triggered, and this has taken all.
                if n < buf.capacity() {
                    readiness.note_drained();
                }
                return Poll::Ready(Ok(buf));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                readiness.clear_readable();
                if readiness.poll_readable(cx).is_ready() {
                    cx.waker().wake_by_ref();
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => cx.waker().wake_by_ref(),
            result => {
                self.close();
                return Poll::Ready(result.map(|_| Vec::new()));
            }
        }
        self.spare = buf;
        Poll::Pending
    }

    /// Returns an empty buffer for a read.
    fn take_buffer(&mut self) -> Vec<u8> {
        let mut buf = std::mem::take(&mut self.spare);
        buf.clear();
        // An idle connection would keep the large buffer of an earlier read.
        if buf.capacity() < self.size.bytes() || buf.capacity() > 2 * self.size.bytes() {
            buffers::give(buf);
            buf = buffers::take(self.size.bytes());
        }
        buf
    }

    /// Polls the read that is in flight on the ring, or begins one.
    fn poll_read_in_flight(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        if matches!(self.state, State::Idle) {
            let buf = self.take_buffer();
            let Some(open) = &self.open else { return Poll::Ready(Ok(Vec::new())) };
            self.state = State::Reading(open.half.receive(buf));
        }
        let State::Reading(read) = &mut self.state else { return Poll::Ready(Ok(Vec::new())) };
        match ready!(Pin::new(read).poll(cx)) {
            (Ok(n), buf) if n > 0 => {
                self.state = State::Idle;
                Poll::Ready(Ok(buf))
            }
            (Err(error), buf) if error.kind() == io::ErrorKind::Interrupted => {
                self.state = State::Idle;
                self.spare = buf;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            (result, _) => {
                self.close();
                Poll::Ready(result.map(|_| Vec::new()))
            }
        }
    }
}

impl Writer {
    /// Sends as much of `bytes` as can be sent without a wait, and returns how much: nothing where
    /// a write is an operation, on the ring and with TLS. The rest is for [`Writer::write_rest`].
    #[inline]
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.sends_at_once || self.session.is_some() || bytes.is_empty() {
            return Ok(0);
        }
        self.sent += bytes.len() as u64;
        send_now(self.socket, bytes)
    }

    /// Writes all of `buf` and returns it empty. After an error it is unknown how much was sent.
    pub async fn write_all(&mut self, buf: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        match self.try_write(&buf) {
            Ok(sent) => self.write_rest(buf, sent).await,
            Err(error) => (Err(error), empty(buf)),
        }
    }

    /// Writes `buf` from `sent` on, which is what [`Writer::try_write`] has sent of it. Returns it
    /// empty.
    pub async fn write_rest(&mut self, buf: Vec<u8>, sent: usize) -> (io::Result<()>, Vec<u8>) {
        if sent == buf.len() {
            return (Ok(()), empty(buf));
        }
        match self.session.clone() {
            None => {
                let (result, buf) = self.send_rest(buf, sent).await;
                (result, empty(buf))
            }
            Some(session) => (self.encrypt(&session, &buf).await, empty(buf)),
        }
    }

    async fn encrypt(&mut self, session: &Session, plain: &[u8]) -> io::Result<()> {
        for part in plain.chunks(TLS_WRITE) {
            session.borrow_mut().writer().write_all(part)?;
            self.flush_session(session).await?;
        }
        Ok(())
    }

    /// Does the same as [`Writer::write_all`] for bytes that the caller needs again.
    pub async fn write_shared(&mut self, buf: &Rc<Vec<u8>>) -> io::Result<()> {
        let sent = self.try_write(buf)?;
        self.write_shared_rest(buf, sent).await
    }

    /// Does the same as [`Writer::write_rest`] for bytes that the caller needs again.
    pub async fn write_shared_rest(&mut self, buf: &Rc<Vec<u8>>, sent: usize) -> io::Result<()> {
        if sent == buf.len() {
            return Ok(());
        }
        match self.session.clone() {
            None => self.send_rest(buf.clone(), sent).await.0,
            Some(session) => self.encrypt(&session, buf).await,
        }
    }

    /// Returns how many bytes were given to the socket, those of the handshake included.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Returns whether the peer is known to have acknowledged nothing of what was written since
    /// [`Writer::sent`] returned `before`.
    pub fn is_unseen_since(&self, before: u64) -> bool {
        // A connection acknowledges one byte more than it carries, for its opening.
        bytes_acked(self.socket).is_some_and(|acked| acked <= before + 1)
    }

    /// Returns whether the connection is known to be closed, also where the event loop has not seen
    /// it yet. Costs a system call.
    pub fn is_closed(&self) -> bool {
        is_closed(self.socket)
    }

    /// Ends the stream: the peer sees the end after everything that was sent.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        use monoio::io::AsyncWriteRent;
        if let Some(session) = self.session.clone() {
            session.borrow_mut().send_close_notify();
            self.flush_session(&session).await?;
        }
        self.half.shutdown().await
    }

    /// Sends `buf` from `sent` on, which is more than nothing where a write was tried.
    async fn send_rest<T: IoBuf>(&mut self, buf: T, sent: usize) -> (io::Result<()>, T) {
        if !self.sends_at_once {
            self.sent += buf.bytes_init() as u64;
        }
        let (result, rest) = self.half.write_all(buf.slice(sent..)).await;
        (result.map(drop), rest.into_inner())
    }

    async fn flush_session(&mut self, session: &Session) -> io::Result<()> {
        let mut cipher = std::mem::take(&mut self.cipher);
        while session.borrow().wants_write() {
            session.borrow_mut().write_tls(&mut cipher)?;
        }
        if cipher.is_empty() {
            self.cipher = cipher;
            return Ok(());
        }
        let sent = match self.sends_at_once {
            true => {
                self.sent += cipher.len() as u64;
                send_now(self.socket, &cipher)?
            }
            false => 0,
        };
        if sent == cipher.len() {
            self.cipher = empty(cipher);
            return Ok(());
        }
        let (result, cipher) = self.send_rest(cipher, sent).await;
        self.cipher = empty(cipher);
        result
    }
}

/// Performs a handshake on a stream of which nothing was read.
pub async fn handshake(mut stream: TcpStream, mut session: rustls::Connection) -> io::Result<(Reader, Writer)> {
    session.set_buffer_limit(None);
    let mut incoming = Vec::with_capacity(LARGE_READ);
    let mut sent = 0;
    while session.is_handshaking() || session.wants_write() {
        if session.wants_write() {
            let mut cipher = Vec::new();
            while session.wants_write() {
                session.write_tls(&mut cipher)?;
            }
            sent += cipher.len() as u64;
            stream.write_all(cipher).await.0?;
            continue;
        }
        let (result, buf) = stream.read(incoming).await;
        incoming = buf;
        let closed = || io::Error::new(io::ErrorKind::UnexpectedEof, "closed during the TLS handshake");
        if result? == 0 {
            return Err(closed());
        }
        let mut rest = &incoming[..];
        while !rest.is_empty() {
            // After a close_notify the session takes nothing more.
            if session.read_tls(&mut rest)? == 0 {
                return Err(closed());
            }
            if let Err(error) = decrypt(&mut session) {
                send_alert(&mut stream, &mut session).await;
                return Err(error);
            }
        }
        incoming.clear();
    }
    let (reader, writer) = split(stream, Some(session));
    Ok((reader, Writer { sent, ..writer }))
}

/// Sends the alert that reports why the handshake failed.
async fn send_alert(stream: &mut TcpStream, session: &mut rustls::Connection) {
    let mut cipher = Vec::new();
    while session.wants_write() && session.write_tls(&mut cipher).is_ok() {}
    let _ = stream.write_all(cipher).await;
}

/// Appends `from` to `to` and empties it. Swaps them where that saves the copy.
fn take_into(from: &mut Vec<u8>, to: &mut Vec<u8>) {
    if to.is_empty() && to.capacity() <= from.capacity() {
        std::mem::swap(from, to);
    } else {
        to.extend_from_slice(from);
    }
    from.clear();
}

#[cfg(test)]
mod tests;
