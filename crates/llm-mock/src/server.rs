//! The mock's own threads: each accepts on the same listener and has a runtime and its connections.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use monoio::io::AsyncReadRent;
use monoio::net::TcpStream;
use monoio::{FusionDriver, RuntimeBuilder};
use socket2::{Domain, Socket, Type};

use crate::conn::Conn;
use crate::counters::{Counters, Counts, Last};
use crate::faults::Fault;
use crate::knobs::Knobs;
use crate::shutdown::Gate;
use crate::tls_faults::TlsFault;

/// How to run a mock.
#[derive(Debug, Clone)]
pub struct MockOptions {
    /// Port 0 is any free port; [`MockHandle::addr`] returns which.
    pub addr: SocketAddr,
    /// Threads, at least one.
    pub workers: usize,
    /// What a request that asks for nothing gets.
    pub defaults: Knobs,
}

/// A mock that runs. It stops when this is dropped.
#[derive(Debug)]
pub struct MockHandle {
    addr: SocketAddr,
    counters: Arc<Counters>,
    workers: Vec<Worker>,
    /// Whether clients must speak TLS, to fail.
    is_tls: bool,
    /// What holds the address where nobody is to be reached.
    _dead: Vec<Socket>,
}

#[derive(Debug)]
struct Worker {
    /// Its other end is the worker's; closing it is the word to stop.
    stop: UnixStream,
    thread: JoinHandle<()>,
}

/// Starts the workers and returns when all of them listen.
///
/// # Errors
/// The address cannot be listened on, or a thread or its runtime cannot be had. Nothing is left
/// running then.
pub fn start(options: MockOptions) -> io::Result<MockHandle> {
    if let Some(fault) = options.defaults.fault.filter(|fault| fault.is_of_the_listener()) {
        let (addr, dead) = dead_address(options.addr, fault)?;
        return Ok(MockHandle { addr, counters: Arc::default(), workers: Vec::new(), is_tls: false, _dead: dead });
    }
    let tls = match options.defaults.fault {
        Some(fault) => TlsFault::of(fault)?,
        None => None,
    };
    let listener = TcpListener::bind(options.addr)?;
    let addr = listener.local_addr()?;
    let (counters, is_tls) = (Arc::default(), tls.is_some());
    let mut handle = MockHandle { addr, counters, workers: Vec::new(), is_tls, _dead: Vec::new() };
    for number in 0..options.workers.max(1) {
        let served = Served { counters: handle.counters.clone(), defaults: options.defaults.clone(), tls: tls.clone() };
        handle.workers.push(Worker::start(number, listener.try_clone()?, served)?);
    }
    Ok(handle)
}

/// Returns an address that accepts no connection, and the sockets that keep it that way: one that
/// is bound and not listening, or a listener and connections that fill its backlog.
fn dead_address(addr: SocketAddr, fault: Fault) -> io::Result<(SocketAddr, Vec<Socket>)> {
    let new = || Socket::new(Domain::for_address(addr), Type::STREAM, None);
    let socket = new()?;
    socket.bind(&addr.into())?;
    let bound = socket.local_addr()?;
    let addr = bound.as_socket().unwrap_or(addr);
    let mut dead = vec![socket];
    if fault == Fault::BlackHole {
        dead[0].listen(0)?;
        for _ in 0..4 {
            let filler = new()?;
            filler.set_nonblocking(true)?;
            // A connection under way takes its place in the queue.
            let _ = filler.connect(&bound);
            dead.push(filler);
        }
    }
    Ok((addr, dead))
}

impl MockHandle {
    /// Returns the address that the server listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://host:port`, as a base URL begins; `https` where the fault is one of TLS.
    pub fn url(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.addr)
    }

    /// Returns the counts so far.
    pub fn counts(&self) -> Counts {
        self.counters.counts()
    }

    /// Returns the last request, whichever connection it came on.
    pub fn last(&self) -> Option<Last> {
        self.counters.last()
    }

    /// Closes the listeners and every connection, and waits for the threads.
    pub fn stop(self) {}
}

impl Drop for MockHandle {
    fn drop(&mut self) {
        let threads: Vec<JoinHandle<()>> =
            self.workers.drain(..).map(|Worker { stop, thread }| (drop(stop), thread).1).collect();
        for thread in threads {
            // A worker that panicked has reported it on stderr.
            let _ = thread.join();
        }
    }
}

impl Worker {
    fn start(number: usize, listener: TcpListener, served: Served) -> io::Result<Worker> {
        let (stop, stopped) = UnixStream::pair()?;
        let (sender, receiver) = mpsc::channel();
        let thread =
            std::thread::Builder::new().name(format!("mock-{number}")).spawn(move || {
                match RuntimeBuilder::<FusionDriver>::new().enable_timer().build() {
                    Ok(mut runtime) => {
                        let _ = sender.send(Ok(()));
                        runtime.block_on(work(listener, stopped, served));
                    }
                    Err(error) => {
                        let _ = sender.send(Err(error));
                    }
                }
            })?;
        receiver.recv().unwrap_or_else(|_| Err(io::Error::other("a thread of the mock died at its start")))?;
        Ok(Worker { stop, thread })
    }
}

/// What each worker serves its connections with.
struct Served {
    counters: Arc<Counters>,
    defaults: Knobs,
    tls: Option<TlsFault>,
}

/// What the connections of a worker share.
struct Core {
    served: Served,
    gate: Gate,
}

async fn work(listener: TcpListener, stopped: UnixStream, served: Served) {
    let core = Rc::new(Core { served, gate: Gate::default() });
    {
        let mut accepting = std::pin::pin!(accept(listener, &core));
        let mut stopping = std::pin::pin!(wait_for_stop(stopped));
        monoio::select! {
            _ = &mut accepting => {}
            _ = &mut stopping => {}
        }
    }
    core.gate.close();
    // Connections end in the next turns of the loop, and the sockets are closed in those that
    // follow; both are bounded, so that a stop never hangs.
    for turn in 0..200 {
        if turn > 5 && core.gate.is_empty() {
            break;
        }
        monoio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Accepts for ever, or until the listener is unusable. One accept is awaited at a time and never
/// dropped before the end: a dropped one may have taken a connection with it.
async fn accept(listener: TcpListener, core: &Rc<Core>) -> io::Result<()> {
    listener.set_nonblocking(monoio::utils::is_legacy())?;
    let listener = monoio::net::TcpListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                monoio::spawn(connection(stream, core.clone()));
            }
            // Out of descriptors, or a client that left already. Try again, not at once.
            Err(_) => monoio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Ready when the other end of the pair is closed.
async fn wait_for_stop(stopped: UnixStream) -> io::Result<()> {
    stopped.set_nonblocking(monoio::utils::is_legacy())?;
    let mut stopped = monoio::net::UnixStream::from_std(stopped)?;
    stopped.read(vec![0; 1]).await.0.map(|_| ())
}

async fn connection(stream: TcpStream, core: Rc<Core>) {
    let Served { counters, defaults, tls } = &core.served;
    counters.accept();
    let place = core.gate.enter();
    // Without it the last event of a stream may wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    {
        let mut serving = std::pin::pin!(async {
            match tls {
                Some(tls) => tls.end(stream).await,
                None => Conn::new(stream, counters, defaults).serve().await,
            }
        });
        monoio::select! {
            () = &mut serving => {}
            () = place.closing() => {}
        }
    }
    counters.close();
}
