//! Accepts connections from a listener that two processes share during an upgrade.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};

use monoio::io::CancelHandle;
use monoio::net::{TcpListener, TcpStream};

use super::handoff;

/// A listener that is registered with this thread's runtime.
///
/// It waits until the listener is readable and accepts then, with a call that does not block. An
/// accept operation of io_uring would wait exclusively: the kernel wakes one waiter for a connection.
/// If that is the old process of an upgrade, which cancels its accept at that moment, the new process
/// is not woken, and the connection stays in the queue until the next one arrives.
pub(crate) struct Acceptor {
    listener: StdListener,
    /// A duplicate of the descriptor, on which the runtime waits.
    readiness: TcpListener,
}

impl Acceptor {
    /// Makes the socket non-blocking, for all processes that share it.
    pub(crate) fn new(listener: StdListener) -> io::Result<Acceptor> {
        listener.set_nonblocking(true)?;
        let readiness = TcpListener::from_std(listener.try_clone()?)?;
        Ok(Acceptor { listener, readiness })
    }

    /// Waits for a connection and accepts it. Fails when `cancelled` is triggered.
    pub(crate) async fn accept(&self, cancelled: &CancelHandle) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            self.readiness.cancelable_readable(false, cancelled.clone()).await?;
            // There is none if the other process has accepted it.
            if let Some(accepted) = self.accept_queued() {
                return accepted;
            }
        }
    }

    /// Accepts the next connection of the kernel's queue. `None` if the queue is empty.
    pub(crate) fn accept_queued(&self) -> Option<io::Result<(TcpStream, SocketAddr)>> {
        loop {
            return match self.listener.accept() {
                Ok((stream, peer)) => Some(handoff::attach(stream).map(|stream| (stream, peer))),
                // The client has reset the connection. It is out of the queue.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
                Err(error) => Some(Err(error)),
            };
        }
    }
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

    /// Starts a thread that accepts until `stop` is closed. `None` if this kernel lacks the driver.
    fn start_accepting(
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
    fn no_connection_is_lost_when_one_of_two_acceptors_is_cancelled() {
        for driver in [Driver::IoUring, Driver::Epoll] {
            for round in 0..500u32 {
                let listener = StdListener::bind("127.0.0.1:0").unwrap();
                let addr = listener.local_addr().unwrap();
                let (accepted, peers) = mpsc::channel();
                let start = || {
                    let (kept, stop) = UnixStream::pair().unwrap();
                    let listener = listener.try_clone().unwrap();
                    Some((start_accepting(driver, listener, stop, accepted.clone())?, kept))
                };
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
