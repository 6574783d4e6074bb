//! Which worker serves a connection. The kernel gives each connection to some worker's listener, by
//! a hash that knows nothing of those that are open. A connection of an LLM client lives for
//! minutes, so an uneven start would last: the worker that accepts a connection passes it to the
//! one that has the fewest.
//!
//! A worker is told of a connection by a byte on a socket of its own. All of this happens once for
//! a connection, and nothing of it for a request.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam_queue::ArrayQueue;

/// Connections that wait for a worker to take them.
const INBOX: usize = 256;
/// With fewer connections than this for each worker, all have the same number of them. With more,
/// one may have one more before a connection is moved, since moving takes some microseconds.
const EXACT: usize = 8;
/// Tries to count a connection where other workers count theirs at the same time.
const TRIES: usize = 64;

/// The connections of all workers.
pub struct Placement {
    workers: Box<[Worker]>,
}

/// What others see of a worker, on cache lines of its own.
#[repr(align(128))]
struct Worker {
    /// Connections that it serves or is about to.
    count: AtomicUsize,
    inbox: ArrayQueue<Moved>,
    wake_socket: OnceLock<UnixStream>,
}

/// A connection on its way to another worker, as a socket that belongs to no runtime.
pub struct Moved {
    pub stream: TcpStream,
    pub peer: SocketAddr,
    pub share: Share,
}

/// A connection's place in the count of its worker, given back when this is dropped.
pub struct Share {
    placement: Arc<Placement>,
    worker: usize,
}

impl Share {
    /// Returns the worker that is to serve the connection.
    pub fn worker(&self) -> usize {
        self.worker
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.placement.workers[self.worker].count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Placement {
    /// Makes the counts and inboxes of this many workers.
    pub fn new(workers: usize) -> Arc<Placement> {
        let worker =
            |_| Worker { count: AtomicUsize::new(0), inbox: ArrayQueue::new(INBOX), wake_socket: OnceLock::new() };
        Arc::new(Placement { workers: (0..workers).map(worker).collect() })
    }

    /// Sets the socket by which a worker learns of connections. The first one counts.
    pub fn set_wake_socket(&self, worker: usize, wake_socket: UnixStream) -> io::Result<()> {
        wake_socket.set_nonblocking(true)?;
        let _ = self.workers[worker].wake_socket.set(wake_socket);
        Ok(())
    }

    /// Returns how many connections each worker has.
    pub fn counts(&self) -> impl Iterator<Item = usize> {
        self.workers.iter().map(|worker| worker.count.load(Ordering::Relaxed))
    }

    /// Counts a connection that `own` has accepted at the worker that is to serve it.
    ///
    /// A count grows only from the value that was compared, so that workers which accept at the
    /// same time do not all choose the same one: of n connections of which none has ended, no
    /// worker has more than n/W, rounded up, and one.
    pub fn assign(self: &Arc<Placement>, own: usize) -> Share {
        for _ in 0..TRIES {
            let (worker, count) = self.choose(own);
            let counted = &self.workers[worker].count;
            if counted.compare_exchange_weak(count, count + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return Share { placement: self.clone(), worker };
            }
        }
        self.keep(own)
    }

    /// Counts a connection at `own`, whatever the others have.
    pub fn keep(self: &Arc<Placement>, own: usize) -> Share {
        self.workers[own].count.fetch_add(1, Ordering::Relaxed);
        Share { placement: self.clone(), worker: own }
    }

    /// Returns the worker for a connection that `own` has accepted, and its count.
    fn choose(&self, own: usize) -> (usize, usize) {
        let own_count = self.workers[own].count.load(Ordering::Relaxed);
        let (fewest, fewest_at) = self.counts().zip(0..).min().unwrap_or((own_count, own));
        let more = usize::from(fewest >= EXACT);
        if own_count <= fewest + more { (own, own_count) } else { (fewest_at, fewest) }
    }

    /// Gives a connection to the worker of its share. It comes back if that one's inbox is full.
    pub fn send(&self, moved: Moved) -> Result<(), Moved> {
        let worker = &self.workers[moved.share.worker];
        worker.inbox.push(moved)?;
        if let Some(mut wake_socket) = worker.wake_socket.get() {
            // A socket that is full has woken the worker already.
            let _ = wake_socket.write(&[1]);
        }
        Ok(())
    }

    /// Takes a connection that was given to this worker.
    pub fn receive(&self, worker: usize) -> Option<Moved> {
        self.workers[worker].inbox.pop()
    }

    /// Returns whether connections wait for this worker.
    pub fn has_moved(&self, worker: usize) -> bool {
        !self.workers[worker].inbox.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn most(placement: &Placement) -> usize {
        placement.counts().max().unwrap()
    }

    #[test]
    fn connections_spread_whoever_accepts_them() {
        for workers in [1, 2, 3, 4, 8] {
            // All by the first worker, in turn, and by a sequence that looks random.
            let acceptors: [fn(usize) -> usize; 3] = [|_| 0, |n| n, |n| n.wrapping_mul(2_654_435_761) >> 7];
            for acceptor in acceptors {
                let placement = Placement::new(workers);
                let mut shares = Vec::new();
                for n in 1..=300_usize {
                    shares.push(placement.assign(acceptor(n) % workers));
                    let bound = n.div_ceil(workers) + usize::from(n > EXACT * workers);
                    assert!(
                        most(&placement) <= bound,
                        "{n} over {workers}: {:?}",
                        placement.counts().collect::<Vec<_>>()
                    );
                    assert_eq!(placement.counts().sum::<usize>(), n);
                }
                shares.clear();
                assert_eq!(most(&placement), 0);
            }
        }
    }

    #[test]
    fn workers_that_accept_at_once_spread_too() {
        const EACH: usize = 500;
        for workers in [2, 4] {
            let placement = Placement::new(workers);
            let accept = |own: usize| {
                let placement = placement.clone();
                // All accept by the listeners of the first two workers.
                move || (0..EACH).map(|_| placement.assign(own % 2)).collect::<Vec<_>>()
            };
            let threads: Vec<_> = (0..workers).map(|own| std::thread::spawn(accept(own))).collect();
            let shares: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
            assert_eq!(shares.len(), EACH * workers);
            assert!(most(&placement) <= EACH + 1, "{:?}", placement.counts().collect::<Vec<_>>());
        }
    }

    #[test]
    fn who_has_the_fewest_gets_the_next_one() {
        let placement = Placement::new(3);
        let mut shares: Vec<Share> = (0..9).map(|_| placement.assign(0)).collect();
        shares.retain(|share| share.worker() != 2);
        let next: Vec<usize> = (0..4)
            .map(|_| placement.assign(0))
            .map(|share| {
                let worker = share.worker();
                shares.push(share);
                worker
            })
            .collect();
        assert_eq!(next, [2, 2, 2, 0]);
        assert_eq!(placement.keep(1).worker(), 1);
    }

    #[test]
    fn an_inbox_has_a_bound() {
        let placement = Placement::new(2);
        let (wake_socket, mut heard) = UnixStream::pair().unwrap();
        placement.set_wake_socket(1, wake_socket).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = listener.local_addr().unwrap();
        let stream = TcpStream::connect(peer).unwrap();
        let moved = || Moved { stream: stream.try_clone().unwrap(), peer, share: placement.keep(1) };
        assert!((0..3).all(|_| placement.send(moved()).is_ok()));
        let mut rings = [0; 3];
        io::Read::read_exact(&mut heard, &mut rings).unwrap();
        assert!(placement.has_moved(1) && !placement.has_moved(0));
        while placement.receive(1).is_some() {}
        assert_eq!(placement.counts().collect::<Vec<_>>(), [0, 0], "who is dropped is not counted");
        // No descriptors for hundreds of sockets are needed to see the bound.
        assert_eq!(placement.workers[1].inbox.capacity(), INBOX);
    }
}
