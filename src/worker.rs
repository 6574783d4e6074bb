//! A worker: one pinned thread with its own runtime, listener, connection pools, deadlines and
//! counters.

mod accept;

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::ClientConfig;

use crate::config::boot;
use crate::net::listen;
use crate::net::pool::Pool;
use crate::net::runtime::{self, Driver};
use crate::net::timer::Timers;
use crate::net::{self, Canceller};
use crate::proxy::client::ListenerKind;
use crate::proxy::core::Core;
use crate::shared::ProcessState;

/// How often a draining worker checks whether its connections have ended.
const DRAIN_CHECK: Duration = Duration::from_millis(100);
/// How often a worker sweeps its pools.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// What a worker starts with.
pub struct WorkerConfig {
    pub index: usize,
    /// The CPU to stay on. `None` leaves that to the kernel.
    pub cpu: Option<usize>,
    /// Its listeners: one, unless more were inherited than there are workers.
    pub listeners: Vec<StdListener>,
    /// The listener of the admin interface. One worker has it.
    pub admin: Option<StdListener>,
    pub shared: Arc<ProcessState>,
    pub upstream_tls: Arc<ClientConfig>,
    /// Is closed by its peer when the process drains. A worker that looked at a flag would wake up
    /// for nothing while nothing happens.
    pub drained: UnixStream,
    /// Is closed when no more connections are accepted: then, or when another process accepts them.
    pub accepting: UnixStream,
    /// Gets a byte for each connection that another worker has given to this one.
    pub moved: UnixStream,
    pub seed: u64,
}

/// A running worker.
pub struct Handle {
    pub driver: Driver,
    thread: JoinHandle<()>,
}

impl Handle {
    /// Waits for the worker to end, which it does after [`ProcessState::drain`].
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("gateway: a panic ended a worker thread");
        }
    }
}

/// Starts a worker. Returns when its runtime is built and it is about to accept.
pub fn start(config: WorkerConfig) -> io::Result<Handle> {
    let (ready, built) = mpsc::sync_channel(1);
    let name = format!("worker-{}", config.index);
    let thread = thread::Builder::new().name(name).spawn(move || {
        if let Some(cpu) = config.cpu {
            // Some containers forbid it. The kernel then places the thread.
            let _ = net::bind_to_cpu_set([cpu]);
        }
        let choice = match config.shared.boot.driver {
            boot::Driver::Auto => runtime::Choice::Auto,
            boot::Driver::IoUring => runtime::Choice::Only(Driver::IoUring),
            boot::Driver::Epoll => runtime::Choice::Only(Driver::Epoll),
        };
        match runtime::Worker::build(choice) {
            Ok(mut runtime) => {
                if let Some(error) = runtime.io_uring_error() {
                    tracing::info!(
                        "gateway: worker {} runs on epoll, since it can't use io_uring: {error}",
                        config.index
                    );
                }
                // The first worker decides: the kernel is the same for all.
                let _ = config.shared.driver.set(runtime.driver().name());
                let _ = ready.send(Ok(runtime.driver()));
                runtime.block_on(run(config));
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

async fn run(config: WorkerConfig) {
    let timers = Timers::new(config.shared.origin);
    net::spawn(timers.clone().run());
    let pool =
        Pool::new(config.upstream_tls, config.shared.clone(), timers.clone(), config.shared.boot.connect_timeout);
    let core = Rc::new(Core::new(config.index, config.shared, pool, timers, config.seed));
    let canceller = Canceller::new();
    let cancelled = canceller.handle();
    net::spawn(cancel_when_closed(config.accepting, canceller));
    net::spawn(accept::receive(core.clone(), config.moved));
    if let Some(admin) = config.admin {
        let (core, cancelled) = (core.clone(), cancelled.clone());
        net::spawn(async move { accept::accept_until_drained(&core, admin, ListenerKind::Admin, cancelled).await });
    }
    for listener in config.listeners {
        let (core, cancelled) = (core.clone(), cancelled.clone());
        net::spawn(async move { accept::accept_until_drained(&core, listener, ListenerKind::Public, cancelled).await });
    }
    net::spawn(sweep(core.clone()));
    if let Err(error) = net::closed(config.drained).await {
        tracing::error!("gateway: a worker can't wait for the end of the process, and drains now: {error}");
    }
    // Time to accept what is queued.
    net::sleep(DRAIN_CHECK).await;
    drain(&core).await;
}

/// Cancels the accepts when no more connections are accepted. It is a task of its own, so that new
/// connections cannot delay it.
async fn cancel_when_closed(accepting: UnixStream, accepts: Canceller) {
    if let Err(error) = net::closed(accepting).await {
        tracing::error!("gateway: a worker can't wait for the end of the process, and accepts no more: {error}");
    }
    accepts.cancel();
}

/// Closes idle connections that are too old, at intervals while there are any.
async fn sweep(core: Rc<Core>) {
    while !core.shared.is_draining() {
        core.pool.wait_for_idle().await;
        net::sleep(SWEEP_INTERVAL).await;
        core.pool.sweep();
        core.request_metrics.borrow().set_idle_connections(core.pool.idle_count());
    }
}

/// Returns whether this worker serves connections, or is to serve some that another one has
/// accepted.
fn has_connections(core: &Core) -> bool {
    core.connections.get() > 0 || core.shared.placement.has_moved(core.index)
}

/// Lets running requests end within SHUTDOWN_GRACE_SECS, and then ends them with an error of their
/// format.
async fn drain(core: &Rc<Core>) {
    let grace = core.boot().shutdown_grace;
    let mut waited = Duration::ZERO;
    core.timers.expire(true);
    while has_connections(core) && waited < grace {
        net::sleep(DRAIN_CHECK).await;
        waited += DRAIN_CHECK;
        // Connections whose request has ended meanwhile are idle now.
        core.timers.expire(true);
    }
    if !has_connections(core) {
        return;
    }
    tracing::warn!(
        connections = core.connections.get(),
        "gateway: SHUTDOWN_GRACE_SECS is over, ending what still runs"
    );
    core.stop();
    // Time for the last error events to be written.
    let mut rounds = 0;
    while has_connections(core) && rounds < 20 {
        net::sleep(DRAIN_CHECK).await;
        core.timers.expire(true);
        rounds += 1;
    }
}

/// Why the workers can't start.
#[derive(Debug)]
pub enum StartError {
    /// Another process listens at the address.
    PortInUse(SocketAddr),
    /// A sentence that says what failed.
    Failed(String),
}

impl From<String> for StartError {
    fn from(why: String) -> StartError {
        StartError::Failed(why)
    }
}

/// All workers of the process.
pub struct WorkerPool {
    /// The address of the public listener, with its actual port.
    pub addr: SocketAddr,
    /// The address of the admin interface, if it has a listener of its own.
    pub admin_addr: Option<SocketAddr>,
    /// The sockets themselves, for a successor.
    pub listeners: Vec<StdListener>,
    pub admin_listener: Option<StdListener>,
    shared: Arc<ProcessState>,
    /// The peers of [`WorkerConfig::accepting`] and [`WorkerConfig::drained`].
    accepting: Vec<UnixStream>,
    running: Vec<UnixStream>,
    handles: Vec<Handle>,
}

impl WorkerPool {
    /// Starts one worker for each shard of `shared`, listening on the address in its settings, or
    /// on the sockets that were inherited. The error says what failed.
    pub fn start(
        shared: &Arc<ProcessState>,
        public: Vec<StdListener>,
        admin: Option<StdListener>,
    ) -> Result<WorkerPool, StartError> {
        let boot = &shared.boot;
        let upstream_tls = shared.upstream_tls.get().cloned();
        let upstream_tls = upstream_tls.ok_or_else(|| "the control plane has not started".to_owned())?;
        let requested = SocketAddr::new(boot.host, boot.port);
        let count = shared.shards.len();
        let listeners = match public.is_empty() {
            true => listen::bind(requested, count).map_err(|error| bind_failed(requested, &error))?,
            false => public,
        };
        let admin_listener = match (boot.admin_addr, admin) {
            (None, _) => None,
            (Some(_), Some(inherited)) => Some(inherited),
            (Some(addr), None) => listen::bind(addr, 1).map_err(|error| bind_failed(addr, &error))?.pop(),
        };
        let shared_out = |error: io::Error| format!("a listener can't be shared with the workers: {error}");
        let mut admin = admin_listener.as_ref().map(StdListener::try_clone).transpose().map_err(shared_out)?;
        let admin_addr = admin.as_ref().and_then(|listener| listener.local_addr().ok());
        let addr = listeners.first().and_then(|l| l.local_addr().ok()).unwrap_or(requested);
        let cpus = available_cpus();
        let mut handles = Vec::with_capacity(count);
        let (mut running, mut accepting) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (index, listeners) in share(&listeners, count).map_err(shared_out)?.into_iter().enumerate() {
            let pair = || UnixStream::pair().map_err(|error| start_failed(index, boot.driver, &error));
            let ((kept, drained), (kept_accepting, worker_accepting)) = (pair()?, pair()?);
            let (wake_socket, moved) = pair()?;
            let is_set = shared.placement.set_wake_socket(index, wake_socket);
            is_set.map_err(|error| start_failed(index, boot.driver, &error))?;
            running.push(kept);
            accepting.push(kept_accepting);
            let config = WorkerConfig {
                index,
                cpu: cpus.get(index % cpus.len().max(1)).copied().filter(|_| count <= cpus.len()),
                listeners,
                admin: admin.take(),
                shared: shared.clone(),
                upstream_tls: upstream_tls.clone(),
                drained,
                accepting: worker_accepting,
                moved,
                seed: seed()?,
            };
            handles.push(start(config).map_err(|error| start_failed(index, boot.driver, &error))?);
        }
        let shared = shared.clone();
        Ok(WorkerPool { addr, admin_addr, listeners, admin_listener, shared, accepting, running, handles })
    }

    /// Returns the system interface that the workers use. All use the same one.
    pub fn driver(&self) -> Driver {
        self.handles.first().map_or(Driver::Epoll, |handle| handle.driver)
    }

    /// Leaves new connections to another process. Kept ones are served, each response as the last.
    pub fn hand_over(&mut self) {
        self.shared.hand_over();
        self.accepting.clear();
    }

    /// Stops accepting, lets running requests end within SHUTDOWN_GRACE_SECS, and returns when all
    /// workers have ended.
    pub fn drain(self) {
        drop((self.listeners, self.admin_listener));
        self.shared.drain();
        drop((self.accepting, self.running));
        for handle in self.handles {
            handle.join();
        }
    }
}

/// Gives each worker a listener, or all of them to the workers in turn if there are more. Workers
/// that share one are woken in turn.
fn share(listeners: &[StdListener], workers: usize) -> io::Result<Vec<Vec<StdListener>>> {
    let mut shares: Vec<Vec<StdListener>> = (0..workers).map(|_| Vec::new()).collect();
    for at in 0..workers.max(listeners.len()) {
        shares[at % workers].push(listeners[at % listeners.len()].try_clone()?);
    }
    Ok(shares)
}

fn start_failed(index: usize, driver: boot::Driver, error: &io::Error) -> String {
    match driver {
        boot::Driver::IoUring => {
            format!("worker {index} can't use io_uring: {error}; with RUNTIME_DRIVER=auto it runs on epoll")
        }
        _ => format!("worker {index} can't start: {error}"),
    }
}

fn bind_failed(addr: SocketAddr, error: &io::Error) -> StartError {
    StartError::Failed(match error.kind() {
        io::ErrorKind::AddrInUse => return StartError::PortInUse(addr),
        io::ErrorKind::PermissionDenied => format!(
            "this user may not listen at {addr}: ports below 1024 need CAP_NET_BIND_SERVICE; grant it, or choose a \
             higher port"
        ),
        io::ErrorKind::AddrNotAvailable => format!(
            "this machine has no address {}, and so nothing can listen at {addr}; choose one of its own, or 0.0.0.0 \
             or :: for all of them",
            addr.ip()
        ),
        _ => format!("the gateway can't listen at {addr}: {error}; choose another address or port"),
    })
}

/// Returns the CPUs that this process may run on, in order.
fn available_cpus() -> Vec<usize> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    parse_cpus(list)
}

/// Parses a list such as `0-2,5`, which is `[0, 1, 2, 5]`.
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

/// Returns the number of workers that the setting stands for: 0 is one for each CPU.
pub fn count(setting: usize) -> usize {
    match setting {
        0 => available_cpus().len().max(1),
        n => n,
    }
}

fn seed() -> Result<u64, String> {
    getrandom::u64().map_err(|error| format!("the random source of the system can't be read: {error}"))
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
