//! A core: one pinned thread with its own runtime, listener, pools, deadlines and counters.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::ClientConfig;

use crate::config::boot;
use crate::metrics::names::Counter;
use crate::net::listen;
use crate::net::pool::Pool;
use crate::net::runtime::{self, Driver};
use crate::net::timer::Timers;
use crate::net::{self, Canceller, TcpListener};
use crate::proxy::client::ListenerKind;
use crate::proxy::conn;
use crate::proxy::core::Core;
use crate::shared::ProcessState;
use crate::tls;

/// How often a worker looks for the signal to stop.
const HOUSEKEEPING: Duration = Duration::from_millis(100);
/// How often a worker sweeps its pools.
const SWEEP: Duration = Duration::from_secs(2);
/// Pause after a failed accept, usually for want of file descriptors: the listener would fail again
/// at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a worker is started with.
pub struct WorkerConfig {
    pub index: usize,
    /// The core to stay on; `None` leaves that to the kernel.
    pub cpu: Option<usize>,
    pub listener: StdListener,
    /// Of the admin interface; one worker has it.
    pub admin: Option<StdListener>,
    pub shared: Arc<ProcessState>,
    pub upstream_tls: Arc<ClientConfig>,
    pub seed: u64,
}

/// A running worker.
pub struct Handle {
    pub driver: Driver,
    thread: JoinHandle<()>,
}

impl Handle {
    /// Waits for the worker to end, which it does after `ProcessState::drain`.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("gateway: a worker thread ended by a panic");
        }
    }
}

/// Starts a worker. Returns when its runtime was built and it is about to accept.
pub fn start(seat: WorkerConfig) -> io::Result<Handle> {
    let (ready, built) = mpsc::sync_channel(1);
    let name = format!("worker-{}", seat.index);
    let thread = thread::Builder::new().name(name).spawn(move || {
        if let Some(cpu) = seat.cpu {
            // Not allowed in some containers; the kernel then places the thread.
            let _ = net::bind_to_cpu_set([cpu]);
        }
        let choice = match seat.shared.boot.driver {
            boot::Driver::Auto => runtime::Choice::Auto,
            boot::Driver::IoUring => runtime::Choice::Only(Driver::IoUring),
            boot::Driver::Epoll => runtime::Choice::Only(Driver::Epoll),
        };
        match runtime::Worker::build(choice) {
            Ok(mut runtime) => {
                if let Some(error) = runtime.refused() {
                    tracing::info!(
                        "gateway: worker {} runs on epoll, since the kernel gives it no io_uring: {error}",
                        seat.index
                    );
                }
                // The first one tells: the kernel is the same for all.
                let _ = seat.shared.driver.set(runtime.driver().name());
                let _ = ready.send(Ok(runtime.driver()));
                runtime.block_on(run(seat));
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        }
    })?;
    match built.recv() {
        Ok(driver) => Ok(Handle { driver: driver?, thread }),
        Err(_) => Err(io::Error::other("the worker thread ended while it was starting")),
    }
}

async fn run(seat: WorkerConfig) {
    let timers = Timers::new();
    net::spawn(timers.clone().run());
    let pool = Pool::new(seat.upstream_tls, seat.shared.clone(), timers.clone(), seat.shared.boot.connect_timeout);
    let core = Rc::new(Core::new(seat.index, seat.shared, pool, timers, seat.seed));
    if let Some(admin) = seat.admin {
        let core = core.clone();
        net::spawn(async move { accept_until_drained(&core, admin, ListenerKind::Admin).await });
    }
    net::spawn(sweep(core.clone()));
    accept_until_drained(&core, seat.listener, ListenerKind::Public).await;
    drain(&core).await;
}

/// Accepts until the signal to stop. One accept is in flight at a time and is never dropped: what
/// it took from the kernel would be lost.
async fn accept_until_drained(core: &Rc<Core>, listener: StdListener, door: ListenerKind) {
    // A ring's accept on a non-blocking listener would fail where it should wait.
    let listener = listener.set_nonblocking(net::is_legacy()).map(|()| listener);
    let listener = match listener.and_then(TcpListener::from_std) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("gateway: the listener can't be used: {error}"),
    };
    let canceller = Canceller::new();
    let handle = canceller.handle();
    net::spawn(cancel_when_drained(core.clone(), canceller));
    loop {
        match listener.cancelable_accept(handle.clone()).await {
            Ok((stream, peer)) if core.connections.get() >= core.boot().max_connections => {
                core.metrics.inc(Counter::ConnectionsRefused);
                tracing::debug!(%peer, "gateway: MAX_CONNECTIONS reached, closing a new connection");
                drop(stream);
            }
            Ok((stream, peer)) => {
                core.metrics.inc(Counter::ConnectionsAccepted);
                net::spawn(conn::serve(core.clone(), stream, peer, core.shared.tls.load_full(), door));
            }
            Err(_) if core.shared.draining() => return,
            Err(error) => {
                tracing::warn!("gateway: accept failed: {error}");
                net::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Ends the accepting at the signal to stop. A task of its own, so that no number of new
/// connections delays it.
async fn cancel_when_drained(core: Rc<Core>, accepting: Canceller) {
    while !core.shared.draining() {
        net::sleep(HOUSEKEEPING).await;
    }
    accepting.cancel();
}

/// Sweeps the pool now and then.
async fn sweep(core: Rc<Core>) {
    while !core.shared.draining() {
        net::sleep(SWEEP).await;
        core.pool.sweep();
        core.tally.borrow().idle_connections(core.pool.idle_count());
    }
}

/// Lets what runs come to its end, within the grace; then ends it with an error of its format.
async fn drain(core: &Rc<Core>) {
    let grace = core.boot().shutdown_grace;
    let mut waited = Duration::ZERO;
    core.timers.expire(true);
    while core.connections.get() > 0 && waited < grace {
        net::sleep(HOUSEKEEPING).await;
        waited += HOUSEKEEPING;
        // Those that were answering at the signal are idle now.
        core.timers.expire(true);
    }
    if core.connections.get() == 0 {
        return;
    }
    tracing::warn!(
        connections = core.connections.get(),
        "gateway: SHUTDOWN_GRACE_SECS is over, ending what still runs"
    );
    core.stop();
    // Time for the last error events to be written.
    let mut rounds = 0;
    while core.connections.get() > 0 && rounds < 20 {
        net::sleep(HOUSEKEEPING).await;
        core.timers.expire(true);
        rounds += 1;
    }
}

/// All workers of the process.
pub struct WorkerPool {
    /// Where they listen, with the true port.
    pub addr: SocketAddr,
    /// Where the admin interface listens, if it has a listener of its own.
    pub admin_addr: Option<SocketAddr>,
    shared: Arc<ProcessState>,
    handles: Vec<Handle>,
}

impl WorkerPool {
    /// Starts as many workers as `shared` has shards, listening on the address of its settings. The
    /// note says what failed.
    pub fn start(shared: &Arc<ProcessState>) -> Result<WorkerPool, String> {
        let boot = &shared.boot;
        let trust = tls::Trust { insecure: !boot.verify_ssl, extra_roots: boot.ssl_cert_file.as_deref() };
        let (upstream_tls, warnings) = tls::client_config(&trust)?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let wanted = SocketAddr::new(boot.host, boot.port);
        let count = shared.shards.len();
        let listeners = listen::bind(wanted, count).map_err(|error| unbound(wanted, &error))?;
        let mut admin = match boot.admin_addr {
            None => None,
            Some(addr) => listen::bind(addr, 1).map_err(|error| unbound(addr, &error))?.pop(),
        };
        let admin_addr = admin.as_ref().and_then(|listener| listener.local_addr().ok());
        let addr = listeners.first().and_then(|l| l.local_addr().ok()).unwrap_or(wanted);
        let cpus = available_cpus();
        let mut handles = Vec::with_capacity(count);
        for (index, listener) in listeners.into_iter().enumerate() {
            let seat = WorkerConfig {
                index,
                cpu: cpus.get(index % cpus.len().max(1)).copied().filter(|_| count <= cpus.len()),
                listener,
                admin: admin.take(),
                shared: shared.clone(),
                upstream_tls: upstream_tls.clone(),
                seed: seed()?,
            };
            handles.push(start(seat).map_err(|error| unstarted(index, boot.driver, &error))?);
        }
        Ok(WorkerPool { addr, admin_addr, shared: shared.clone(), handles })
    }

    pub fn driver(&self) -> Driver {
        self.handles.first().map_or(Driver::Epoll, |handle| handle.driver)
    }

    /// Stops accepting, lets what runs end within the grace, and returns when all workers have
    /// ended.
    pub fn drain(self) {
        self.shared.drain();
        for handle in self.handles {
            handle.join();
        }
    }
}

fn unstarted(index: usize, driver: boot::Driver, error: &io::Error) -> String {
    match driver {
        boot::Driver::IoUring => {
            format!(
                "worker {index}: the kernel gives it no io_uring: {error}; with RUNTIME_DRIVER=auto it runs on epoll"
            )
        }
        _ => format!("worker {index} can't start: {error}"),
    }
}

fn unbound(addr: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "port {} of {} is in use by another process; stop that one, or choose another port with --port or PORT",
            addr.port(),
            addr.ip()
        ),
        io::ErrorKind::PermissionDenied => format!("{addr}: not permitted; ports below 1024 need a privilege"),
        _ => format!("{addr}: can't listen: {error}"),
    }
}

/// The cores this process may run on, in order.
fn available_cpus() -> Vec<usize> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    parse_cpus(list)
}

/// `0-2,5` to `[0, 1, 2, 5]`.
fn parse_cpus(list: &str) -> Vec<usize> {
    let mut cpus = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) {
            cpus.extend(first..=last.min(first + 4096));
        }
    }
    cpus
}

/// How many workers the setting means.
pub fn count(setting: usize) -> usize {
    match setting {
        0 => available_cpus().len().max(1),
        n => n,
    }
}

fn seed() -> Result<u64, String> {
    getrandom::u64().map_err(|error| format!("the system's random source can't be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists() {
        assert_eq!(parse_cpus("\t0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(parse_cpus("3"), [3]);
        assert_eq!(parse_cpus(""), Vec::<usize>::new());
    }
}
