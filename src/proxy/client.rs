//! The client's side of one connection: bytes in, bytes out, and the watch for its disconnect.

use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::core::Core;
use super::head_facts::HeadFacts;
use super::known_head::{self, KnownHead};
use super::pinned::pinned;
use crate::net::runtime;
use crate::net::stream::{Reader, Writer};
use crate::net::timer::Deadline;
use llm_http::{HeadCache, RequestHead};

/// Which listener accepted a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerKind {
    /// `HOST` and `PORT`. Does not serve the admin API if that has a listener of its own.
    Public,
    /// `ADMIN_ADDR`.
    Admin,
}

/// A connected client.
pub struct Client {
    pub reader: Reader,
    pub writer: Writer,
    /// Bytes received and not used yet: a part of a head, or a pipelined request.
    pub buf: Vec<u8>,
    /// The one deadline of this connection. Each wait sets it anew.
    pub deadline: Deadline,
    pub peer: IpAddr,
    /// Of whoever sent the current request to the admin interface: that of the peer, or what a
    /// trusted proxy says.
    pub address: IpAddr,
    pub listener: ListenerKind,
    /// How long a client may take for a write.
    write_timeout: Duration,
    /// The bytes for which it has a second more in a large write.
    write_rate: usize,
    /// When the first bytes of the current head arrived, in nanoseconds on the worker's clock.
    pub head_began: Option<u64>,
    /// Whether the last send had to wait for the client.
    pub send_paused: bool,
    /// Parses heads, and knows whether one repeats.
    pub heads: HeadCache,
    /// What the last head says, if it is kept for the next one.
    pub known: Option<Rc<KnownHead>>,
    /// Runs beside what is awaited. Its end ends the wait, as the deadline does.
    pub beside: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// Whether it has ended, and so what was awaited is not needed any more.
    pub is_superseded: bool,
    budget: CoopBudget,
}

/// How much a task may do before it yields: counts the waits that ended at once.
///
/// With a fast peer on epoll, whose operations complete at once, a task would never pause, and the
/// other connections of its worker would stand still.
#[derive(Debug, Default)]
struct CoopBudget(u8);

impl CoopBudget {
    /// Some half a megabyte in reads of 16 KiB.
    const WAITS: u8 = 32;

    /// Counts a wait. Returns true when it is time to yield.
    fn spend(&mut self, paused: bool) -> bool {
        self.0 = if paused { 0 } else { self.0 + 1 };
        if self.0 < CoopBudget::WAITS {
            return false;
        }
        self.0 = 0;
        true
    }
}

/// A larger write has more time: it is no piece of a stream, and may be slow on a slow line.
const LARGE_WRITE: usize = 64 << 10;

/// Bytes of one read of what is discarded.
const LINGER_READ: usize = 64 << 10;

/// Why a wait ended without its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitError {
    ClientDisconnected,
    /// `Client::deadline` has expired.
    DeadlineExpired,
}

/// The client closed its connection, or does not take what it requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientDisconnected;

impl Client {
    /// Takes a connection that was accepted.
    pub fn new(core: &Core, (reader, writer): (Reader, Writer), peer: SocketAddr, listener: ListenerKind) -> Client {
        let write_timeout = core.boot().write_timeout.min(core.boot().request_timeout);
        Client {
            reader,
            writer,
            buf: Vec::new(),
            deadline: core.timers.deadline(),
            peer: peer.ip(),
            address: peer.ip(),
            listener,
            write_timeout,
            write_rate: core.boot().min_body_rate.max(1),
            head_began: None,
            send_paused: false,
            heads: HeadCache::default(),
            known: None,
            beside: None,
            is_superseded: false,
            budget: CoopBudget::default(),
        }
    }

    /// Returns what the head says that was parsed last. What was found for the one before holds if
    /// it has the same bytes.
    pub fn facts(&mut self, head: &RequestHead, bytes: &[u8]) -> Rc<HeadFacts> {
        if !self.heads.is_repeated() {
            self.known = known_head::get(&mut self.heads, || HeadFacts::of(head, bytes));
        }
        self.known.as_ref().map_or_else(|| Rc::new(HeadFacts::of(head, bytes)), |known| known.facts.clone())
    }

    /// Awaits `future` until the deadline, and only while the client is connected. On an error the
    /// future is dropped.
    pub async fn wait<F: Future>(&mut self, future: F) -> Result<F::Output, WaitError> {
        let mut future = std::pin::pin!(future);
        let mut paused = false;
        let result = poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            if self.reader.poll_disconnect(cx).is_ready() {
                return Poll::Ready(Err(WaitError::ClientDisconnected));
            }
            paused = true;
            if let Some(beside) = &mut self.beside
                && beside.as_mut().poll(cx).is_ready()
            {
                self.beside = None;
                self.is_superseded = true;
                return Poll::Ready(Err(WaitError::DeadlineExpired));
            }
            self.deadline.poll_expired(cx).map(|()| Err(WaitError::DeadlineExpired))
        })
        .await;
        if let Some(turn) = self.spend_budget(paused) {
            turn.await;
        }
        result
    }

    /// Returns the turn of other tasks, which is awaited if this one has used its own. Boxed because
    /// it is rare, and every wait would need its room.
    fn spend_budget(&mut self, paused: bool) -> Option<Pin<Box<impl Future<Output = ()> + use<>>>> {
        self.budget.spend(paused).then(|| Box::pin(runtime::yield_now()))
    }

    /// Sends all of `buf`, and returns it empty. Sets the deadline if it has to wait.
    pub async fn send(&mut self, mut buf: Vec<u8>) -> Result<Vec<u8>, ClientDisconnected> {
        let sent = self.try_send(&buf)?;
        if sent == buf.len() {
            buf.clear();
            return Ok(buf);
        }
        // Boxed, since whatever sends would have its room all the time that it waits for others: a
        // stream between two events, a request whose answer has not come.
        pinned(|| self.send_rest(buf, sent)).await
    }

    /// Sends what of `bytes` is sent without a wait, and returns how much that is. The rest is for
    /// [`Client::send_rest`].
    #[inline]
    pub fn try_send(&mut self, bytes: &[u8]) -> Result<usize, ClientDisconnected> {
        self.send_paused = false;
        self.writer.try_write(bytes).map_err(|_| ClientDisconnected)
    }

    /// Sends `buf` from `sent` on, which [`Client::try_send`] has sent of it, and returns it empty.
    pub async fn send_rest(&mut self, buf: Vec<u8>, sent: usize) -> Result<Vec<u8>, ClientDisconnected> {
        self.deadline.set_sending(match buf.len() {
            0..=LARGE_WRITE => self.write_timeout,
            bytes => self.write_timeout + Duration::from_secs((bytes / self.write_rate) as u64),
        });
        let Client { reader, writer, deadline, send_paused, .. } = self;
        let mut write = std::pin::pin!(writer.write_rest(buf, sent));
        poll_fn(|cx| {
            if let Poll::Ready((result, buf)) = write.as_mut().poll(cx) {
                return Poll::Ready(result.map(|()| buf).map_err(|_| ClientDisconnected));
            }
            *send_paused = true;
            if reader.poll_disconnect(cx).is_ready() || deadline.poll_expired(cx).is_ready() {
                return Poll::Ready(Err(ClientDisconnected));
            }
            Poll::Pending
        })
        .await
    }

    /// Appends what the client sends to `buf`, within the deadline. Returns the number of bytes,
    /// which is never 0.
    pub async fn read_into(&mut self, buf: &mut Vec<u8>) -> Result<usize, WaitError> {
        let Client { reader, deadline, .. } = self;
        let mut paused = false;
        let result = poll_fn(|cx| {
            match reader.poll_read(cx, buf) {
                Poll::Ready(Ok(n)) if n > 0 => return Poll::Ready(Ok(n)),
                Poll::Ready(_) => return Poll::Ready(Err(WaitError::ClientDisconnected)),
                Poll::Pending => paused = true,
            }
            deadline.poll_expired(cx).map(|()| Err(WaitError::DeadlineExpired))
        })
        .await;
        if let Some(turn) = self.spend_budget(paused) {
            turn.await;
        }
        result
    }

    /// Closes the connection so that the last response arrives although the client may still be
    /// sending: a socket closed with unread bytes resets the connection, and the reset can overtake
    /// the response. Bounded in time and in bytes.
    pub async fn close_gracefully(&mut self) {
        /// How long the client may be silent, and how long all of it may take.
        const SILENCE: Duration = Duration::from_secs(2);
        const LINGER: Duration = Duration::from_secs(10);
        /// A client that looks for a response only when it has sent all gets it behind any body
        /// of a common size.
        const LINGER_BYTES: usize = 256 << 20;
        if self.writer.shutdown().await.is_err() {
            return;
        }
        let began = Instant::now();
        let mut discarded = 0;
        let mut scratch = std::mem::take(&mut self.buf);
        self.reader.read_size(LINGER_READ);
        while discarded < LINGER_BYTES {
            self.deadline.set(SILENCE.min(LINGER.saturating_sub(began.elapsed())));
            scratch.clear();
            match self.read_into(&mut scratch).await {
                Ok(n) => discarded += n,
                Err(_) => return,
            }
        }
    }
}
