//! A listener whose connections are accepted without losing one, also where another process accepts
//! from the same socket.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};

use monoio::io::CancelHandle;
use monoio::net::{TcpListener, TcpStream};

use super::handoff;

/// A listener of this thread's runtime.
///
/// It waits until there is a connection and accepts that then, with a call that never waits. An
/// accept on the ring would wait exclusively: the kernel wakes one of those who wait, and if that is
/// a process that ends its accept in this moment, since a successor has taken the listener over,
/// the successor learns of the connection only when the next one comes.
pub(crate) struct Acceptor {
    listener: StdListener,
    /// The same socket, for the runtime.
    waiting: TcpListener,
}

impl Acceptor {
    /// Makes the socket non-blocking, for all processes that share it.
    pub(crate) fn new(listener: StdListener) -> io::Result<Acceptor> {
        listener.set_nonblocking(true)?;
        let waiting = TcpListener::from_std(listener.try_clone()?)?;
        Ok(Acceptor { listener, waiting })
    }

    /// Waits for a connection and accepts it. `cancelled` ends the wait with an error.
    pub(crate) async fn accept(&self, cancelled: &CancelHandle) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            self.waiting.cancelable_readable(false, cancelled.clone()).await?;
            if let Some(accepted) = self.accept_queued() {
                return accepted;
            }
        }
    }

    /// Accepts a connection that the kernel has queued, if there is one.
    pub(crate) fn accept_queued(&self) -> Option<io::Result<(TcpStream, SocketAddr)>> {
        match self.listener.accept() {
            Ok((stream, peer)) => Some(handoff::attach(stream).map(|stream| (stream, peer))),
            // Another process was faster, or the client has left.
            Err(error) if is_over(error.kind()) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

fn is_over(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::runtime::{Choice, Driver, Worker};
    use monoio::io::Canceller;
    use std::net::TcpStream as StdStream;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc::{self, Sender};
    use std::thread::{self, JoinHandle};

    const LIMIT: std::time::Duration = std::time::Duration::from_secs(30);

    /// Accepts until `stop` is closed, as a process does that shares the listener.
    fn accepting(
        driver: Driver,
        listener: StdListener,
        stop: UnixStream,
        accepted: Sender<SocketAddr>,
    ) -> Option<JoinHandle<()>> {
        let (ready, is_ready) = mpsc::channel();
        let thread = thread::spawn(move || {
            let Ok(mut runtime) = Worker::build(Choice::Only(driver)) else { return ready.send(false).unwrap() };
            runtime.block_on(async move {
                let acceptor = Acceptor::new(listener).unwrap();
                let canceller = Canceller::new();
                let cancelled = canceller.handle();
                monoio::spawn(async move {
                    crate::net::closed(stop).await.unwrap();
                    canceller.cancel();
                });
                ready.send(true).unwrap();
                while let Ok((_stream, peer)) = acceptor.accept(&cancelled).await {
                    accepted.send(peer).unwrap();
                }
            });
        });
        is_ready.recv().unwrap().then_some(thread)
    }

    #[test]
    fn a_connection_that_comes_while_one_of_two_ends_is_accepted() {
        for driver in [Driver::IoUring, Driver::Epoll] {
            for round in 0..500u32 {
                let listener = StdListener::bind("127.0.0.1:0").unwrap();
                let addr = listener.local_addr().unwrap();
                let (accepted, peers) = mpsc::channel();
                let start = || {
                    let (kept, stop) = UnixStream::pair().unwrap();
                    let listener = listener.try_clone().unwrap();
                    Some((accepting(driver, listener, stop, accepted.clone())?, kept))
                };
                // A kernel that allows no io_uring has no accept on the ring either.
                let Some((first, stop_first)) = start() else { break };
                let (second, stop_second) = start().unwrap();
                let ending = thread::spawn(move || drop(stop_first));
                (0..round % 100 * 10).for_each(|_| std::hint::spin_loop());
                let client = StdStream::connect(addr).unwrap();
                assert_eq!(peers.recv_timeout(LIMIT), Ok(client.local_addr().unwrap()), "{driver:?}, round {round}");
                drop(stop_second);
                [ending, first, second].into_iter().for_each(|thread| thread.join().unwrap());
            }
        }
    }
}
