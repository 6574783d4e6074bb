//! The client's side of one connection: its bytes in, our bytes out, and the watch for its leaving.

use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::task::Poll;
use std::time::{Duration, Instant};

use super::core::Core;
use crate::net::runtime;
use crate::net::stream::{Reader, Writer};
use crate::net::timer::Deadline;
use crate::telemetry::user_agent::UserAgent;

/// A listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerKind {
    /// `HOST` and `PORT`; does not lead to the admin interface if that has a door of its own.
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
    /// The one deadline of this connection; each phase sets it anew.
    pub deadline: Deadline,
    pub peer: IpAddr,
    /// The listener that it came to.
    pub door: ListenerKind,
    /// Longest silence of a client that is being written to.
    pub write_timeout: Duration,
    /// When the first bytes of the head at hand came.
    pub head_began: Option<Instant>,
    agent: Agent,
    stint: CoopBudget,
}

/// How long a task has been running: waits that were over at once, since the last that was none.
///
/// Where bytes and room are always there, as with a fast peer on epoll, whose operations complete
/// at once, a task would never pause, and the other connections of its core would stand still.
#[derive(Debug, Default)]
struct CoopBudget(u8);

impl CoopBudget {
    /// Some half a megabyte in reads of 16 KiB.
    const LONGEST: u8 = 32;

    /// Takes note of a wait; true when it is time to give way.
    fn is_over(&mut self, paused: bool) -> bool {
        self.0 = if paused { 0 } else { self.0 + 1 };
        if self.0 < CoopBudget::LONGEST {
            return false;
        }
        self.0 = 0;
        true
    }
}

/// The program of the last request, and the User-Agent that it was told by: most connections have
/// one only.
#[derive(Debug)]
struct Agent {
    hash: u64,
    program: UserAgent,
}

/// How a wait ended.
#[derive(Debug)]
pub enum Waited<T> {
    Done(T),
    /// `Client::deadline` passed.
    Expired,
    /// The client closed its connection.
    Gone,
}

/// The client is not there any more, or does not take what it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

impl Client {
    pub fn new(core: &Core, (reader, writer): (Reader, Writer), peer: SocketAddr, door: ListenerKind) -> Client {
        let write_timeout = core.boot().request_timeout;
        Client {
            reader,
            writer,
            buf: Vec::new(),
            deadline: core.timers.deadline(),
            peer: peer.ip(),
            door,
            write_timeout,
            head_began: None,
            agent: Agent { hash: 0, program: UserAgent::UNKNOWN },
            stint: CoopBudget::default(),
        }
    }

    /// Which program the client is, by its User-Agent.
    pub fn program(&mut self, core: &Core, user_agent: &[u8]) -> UserAgent {
        let hash = core.hasher.hash_one(user_agent);
        if self.agent.hash != hash {
            self.agent = Agent { hash, program: UserAgent::of(user_agent) };
        }
        self.agent.program
    }

    /// Awaits `future`, but no longer than the deadline and only while the client is there. The
    /// future is dropped in the other two cases.
    pub async fn wait<F: Future>(&mut self, future: F) -> Waited<F::Output> {
        let mut future = std::pin::pin!(future);
        let mut paused = false;
        let waited = poll_fn(|cx| {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                return Poll::Ready(Waited::Done(value));
            }
            if self.reader.poll_gone(cx).is_ready() {
                return Poll::Ready(Waited::Gone);
            }
            paused = true;
            self.deadline.poll_expired(cx).map(|()| Waited::Expired)
        })
        .await;
        self.took(paused).await;
        waited
    }

    async fn took(&mut self, paused: bool) {
        if self.stint.is_over(paused) {
            // Boxed, since it is rare and every wait would carry it.
            Box::pin(runtime::give_way()).await;
        }
    }

    /// Sends all of `buf` and hands it back empty. Sets the deadline.
    pub async fn send(&mut self, buf: Vec<u8>) -> Result<Vec<u8>, Gone> {
        self.deadline.set_sending(self.write_timeout);
        let Client { reader, writer, deadline, .. } = self;
        let mut write = std::pin::pin!(writer.write_all(buf));
        poll_fn(|cx| {
            if let Poll::Ready((result, buf)) = write.as_mut().poll(cx) {
                return Poll::Ready(result.map(|()| buf).map_err(|_| Gone));
            }
            if reader.poll_gone(cx).is_ready() || deadline.poll_expired(cx).is_ready() {
                return Poll::Ready(Err(Gone));
            }
            Poll::Pending
        })
        .await
    }

    /// Appends what the client sends to `buf`, within the deadline.
    pub async fn read_into(&mut self, buf: &mut Vec<u8>) -> Waited<usize> {
        let Client { reader, deadline, .. } = self;
        let mut paused = false;
        let waited = poll_fn(|cx| {
            match reader.poll_read(cx, buf) {
                Poll::Ready(Ok(n)) if n > 0 => return Poll::Ready(Waited::Done(n)),
                Poll::Ready(_) => return Poll::Ready(Waited::Gone),
                Poll::Pending => paused = true,
            }
            deadline.poll_expired(cx).map(|()| Waited::Expired)
        })
        .await;
        self.took(paused).await;
        waited
    }

    /// Closes so that the last answer arrives although the client may still be sending: a socket
    /// closed with unread bytes resets the connection, and the reset can overtake the answer.
    /// Bounded in time and in bytes.
    pub async fn close_gently(&mut self) {
        const LINGER: Duration = Duration::from_secs(2);
        const LINGER_BYTES: usize = 1 << 20;
        if self.writer.shutdown().await.is_err() {
            return;
        }
        self.deadline.set(LINGER);
        let mut seen = 0;
        let mut scrap = std::mem::take(&mut self.buf);
        while seen < LINGER_BYTES {
            scrap.clear();
            match self.read_into(&mut scrap).await {
                Waited::Done(n) => seen += n,
                Waited::Expired | Waited::Gone => return,
            }
        }
    }
}
