//! The client's side of one connection: its bytes in, our bytes out, and the watch for its leaving.

use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::task::Poll;
use std::time::Duration;

use super::core::Core;
use crate::net::stream::{Reader, Writer};
use crate::net::timer::Deadline;

/// A connected client.
pub struct Client {
    pub reader: Reader,
    pub writer: Writer,
    /// Bytes received and not used yet: a part of a head, or a pipelined request.
    pub buf: Vec<u8>,
    /// The one deadline of this connection; each phase sets it anew.
    pub deadline: Deadline,
    pub peer: IpAddr,
    /// Longest silence of a client that is being written to.
    pub write_timeout: Duration,
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
    pub fn new(core: &Core, (reader, writer): (Reader, Writer), peer: SocketAddr) -> Client {
        let write_timeout = core.boot().request_timeout;
        Client { reader, writer, buf: Vec::new(), deadline: core.timers.deadline(), peer: peer.ip(), write_timeout }
    }

    /// Awaits `future`, but no longer than the deadline and only while the client is there. The future is dropped in the other two cases.
    pub async fn wait<F: Future>(&mut self, future: F) -> Waited<F::Output> {
        let mut future = std::pin::pin!(future);
        poll_fn(|cx| {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                return Poll::Ready(Waited::Done(value));
            }
            if self.reader.poll_gone(cx).is_ready() {
                return Poll::Ready(Waited::Gone);
            }
            self.deadline.poll_expired(cx).map(|()| Waited::Expired)
        })
        .await
    }

    /// Sends all of `buf` and hands it back empty. Sets the deadline.
    pub async fn send(&mut self, buf: Vec<u8>) -> Result<Vec<u8>, Gone> {
        self.deadline.set(self.write_timeout);
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
        poll_fn(|cx| {
            match reader.poll_read(cx, buf) {
                Poll::Ready(Ok(n)) if n > 0 => return Poll::Ready(Waited::Done(n)),
                Poll::Ready(_) => return Poll::Ready(Waited::Gone),
                Poll::Pending => {}
            }
            deadline.poll_expired(cx).map(|()| Waited::Expired)
        })
        .await
    }

    /// Closes so that the last answer arrives although the client may still be sending: a socket closed with unread bytes resets the
    /// connection, and the reset can overtake the answer. Bounded in time and in bytes.
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
