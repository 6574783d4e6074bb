//! Restarts and upgrades under load: clients that keep connections and streams lose no request.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::support::sample::CHAT;
use super::support::*;

/// A provider that takes its time for each event of a stream.
fn provider() -> Fake {
    let provider = Fake::start();
    provider.serve_each(|mut conn| {
        while let Some(request) = conn.next_request() {
            if !request.text().contains("\"stream\":true") {
                conn.send(answer::json(200, CHAT.answer));
                continue;
            }
            conn.send(answer::SSE);
            for event in CHAT.events() {
                conn.send(answer::chunk(event));
                thread::sleep(Duration::from_millis(20));
            }
            conn.send(answer::LAST_CHUNK);
        }
    });
    provider
}

const CLIENTS: usize = 6;

/// Clients that each keep a connection until a response closes it, and then connect to wherever new
/// connections go.
struct Load {
    target: Arc<Mutex<SocketAddr>>,
    stop: Arc<AtomicBool>,
    /// Requests that were served, by client.
    done: Arc<[AtomicUsize; CLIENTS]>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(target: SocketAddr) -> Load {
        let (target, stop) = (Arc::new(Mutex::new(target)), Arc::<AtomicBool>::default());
        let done = Arc::<[AtomicUsize; CLIENTS]>::default();
        let client = |n: usize| {
            let (target, stop, done) = (target.clone(), stop.clone(), done.clone());
            let ask = if n.is_multiple_of(2) { CHAT.ask } else { CHAT.ask_stream };
            thread::spawn(move || run(ask, &target, &stop, &done[n]))
        };
        let clients = (0..CLIENTS).map(client).collect();
        Load { target, stop, done, clients }
    }

    fn done(&self) -> [usize; CLIENTS] {
        std::array::from_fn(|n| self.done[n].load(Ordering::Relaxed))
    }

    /// Waits until each client has been served this many times more. Counting them together would
    /// hide a client that hangs.
    fn wait(&self, more: usize) {
        let before = self.done();
        eventually("each client is served", || {
            self.done().iter().zip(before).all(|(done, before)| *done >= before + more)
        });
    }

    /// Ends the load. Returns the requests that were served, and what failed.
    fn finish(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let done = self.done.clone();
        let failures = self.clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        (done.iter().map(|done| done.load(Ordering::Relaxed)).sum(), failures)
    }
}

/// One client. Returns its failures.
fn run(ask: &str, target: &Mutex<SocketAddr>, stop: &AtomicBool, done: &AtomicUsize) -> Vec<String> {
    let mut failures = Vec::new();
    let mut kept: Option<TcpStream> = None;
    let request = post(CHAT.path).body(ask).bytes();
    while !stop.load(Ordering::Relaxed) {
        let addr = *target.lock().unwrap();
        let reused = kept.is_some();
        let connected = kept.take().map_or_else(|| TcpStream::connect(addr), Ok);
        let exchanged = connected.and_then(|mut socket| {
            socket.set_read_timeout(Some(HANG))?;
            socket.write_all(&request)?;
            let keep = read_response(&mut socket)?;
            Ok(keep.then_some(socket))
        });
        match exchanged {
            Ok(socket) => {
                kept = socket;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => failures.push(format!("reused: {reused}: {error}")),
        }
    }
    failures
}

/// Reads a whole response of status 200. Returns whether its connection may be used again.
fn read_response(socket: &mut TcpStream) -> std::io::Result<bool> {
    let failed = |bytes: &[u8]| std::io::Error::other(format!("{:?}", String::from_utf8_lossy(bytes)));
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let n = socket.read(&mut piece)?;
        bytes.extend_from_slice(&piece[..n]);
        if n == 0 {
            return Err(failed(&bytes));
        }
        let Some(end) = memchr::memmem::find(&bytes, b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let body = &bytes[end + 4..];
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        let is_whole = length.map_or_else(|| body.ends_with(b"0\r\n\r\n"), |length: usize| body.len() == length);
        match is_whole {
            true if head.starts_with("http/1.1 200") => return Ok(!head.contains("connection: close")),
            true => return Err(failed(&bytes)),
            false => {}
        }
    }
}

/// Instances behind a balancer, replaced one after the other: new connections go to the new one as
/// soon as it is there, and the old one gets a signal to stop.
#[test]
fn twenty_restarts_lose_no_request() {
    let provider = provider();
    let start = || Setup::new().provider(chat(&provider)).env("SHUTDOWN_DELAY_SECS", 3).start();
    let mut current = start();
    let load = Load::start(current.addr);
    let mut former = Vec::new();
    for _ in 0..20 {
        load.wait(2);
        let next = start();
        *load.target.lock().unwrap() = next.addr;
        current.term();
        former.push(std::mem::replace(&mut current, next));
    }
    load.wait(3);
    let (served, failures) = load.finish();
    assert_eq!(failures, Vec::<String>::new(), "of {served}");
    for mut gateway in former {
        assert_eq!(gateway.wait().code(), Some(0));
    }
}

/// The process that serves the store in a directory. Killed when dropped.
struct Successor(std::path::PathBuf);

impl Successor {
    fn pid(&self) -> Option<u32> {
        Successor::owner(&self.0)
    }

    fn owner(lock: &std::path::Path) -> Option<u32> {
        std::fs::read_to_string(lock).ok()?.lines().next()?.parse().ok()
    }

    fn signal(&self, name: &str) {
        if let Some(pid) = self.pid() {
            let _ = std::process::Command::new("kill").args(["-s", name, &pid.to_string()]).status();
        }
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        self.signal("KILL");
    }
}

fn runs(pid: u32) -> bool {
    // A zombie has ended.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// New processes take the sockets over, one after the other; clients notice nothing but that a
/// connection ends.
#[test]
fn twenty_upgrades_lose_no_request() {
    let provider = provider();
    let setup = Setup::new().provider(chat(&provider)).workers(2).env("SHUTDOWN_DELAY_SECS", 3);
    let mut first = setup.start();
    let current = Successor(first.data_dir().join("gateway.lock"));
    let load = Load::start(first.addr);
    let mut former = vec![first.pid()];
    for round in 0..20 {
        // One on the connection that was kept, one that closes it, and one on a new connection.
        load.wait(3);
        let before = current.pid().unwrap();
        if round % 2 == 0 {
            current.signal("USR2");
        } else {
            let upgraded = first.cli(&["upgrade"]);
            assert!(upgraded.status.success(), "{upgraded:?}");
        }
        eventually("another has taken over", || current.pid().is_some_and(|pid| pid != before));
        former.extend(current.pid());
    }
    load.wait(3);
    let (served, failures) = load.finish();
    assert_eq!(failures, Vec::<String>::new(), "of {served}");
    assert_eq!(first.wait().code(), Some(0));
    let last = former.pop().unwrap();
    eventually("the former ones have ended", || !former.iter().any(|pid| runs(*pid)));
    current.signal("TERM");
    eventually("the last one ends", || !runs(last));
}

/// A gateway that may start no program has its successors started by a process outside of the
/// sandbox. Each restricts itself anew, and not within the sandbox of the one before, of which the
/// kernel allows 16.
#[test]
fn upgrades_leave_the_sandbox() {
    let provider = provider();
    let mut first = Setup::new().provider(chat(&provider)).workers(2).env("SANDBOX", true).start();
    let current = Successor(first.data_dir().join("gateway.lock"));
    let mut former = vec![first.pid()];
    for _ in 0..17 {
        let before = current.pid().unwrap();
        let upgraded = first.cli(&["upgrade"]);
        assert!(upgraded.status.success(), "{upgraded:?}");
        assert_ne!(current.pid(), Some(before));
        former.extend(current.pid());
        assert_eq!(first.client().call(CHAT.path, CHAT.ask).status, 200);
    }
    assert_eq!(first.wait().code(), Some(0));
    let last = former.pop().unwrap();
    eventually("the former ones have ended", || !former.iter().any(|pid| runs(*pid)));
    // One that can't serve is ended, and its predecessor goes on.
    std::fs::write(first.data_dir().join(".env"), "MAX_ATTEMPTS=none\n").unwrap();
    current.signal("USR2");
    eventually("it says so", || first.log().iter().any(|line| line.contains("no process has taken over")));
    assert_eq!((current.pid(), first.client().call(CHAT.path, CHAT.ask).status), (Some(last), 200));
    current.signal("TERM");
    eventually("the last one ends", || !runs(last));
}

/// What can't take over changes nothing.
#[test]
fn a_failed_upgrade_changes_nothing() {
    let provider = provider();
    let gateway = Setup::new().provider(chat(&provider)).start();
    // A setting that the next start can't use.
    std::fs::write(gateway.data_dir().join(".env"), "MAX_ATTEMPTS=none\n").unwrap();
    gateway.signal("USR2");
    let is_logged = |text: &str| gateway.log().iter().any(|line| line.contains(text));
    eventually("it says so", || is_logged("no process has taken over"));
    assert_eq!(gateway.client().call(CHAT.path, CHAT.ask).status, 200);
    let lock = std::fs::read_to_string(gateway.data_dir().join("gateway.lock")).unwrap();
    assert_eq!(lock, format!("{}\n", gateway.pid()));
}

/// Two gateways on one embedded store would each apply all limits and overwrite one another's
/// records.
#[test]
fn one_gateway_serves_an_embedded_store() {
    let mut gateway = Setup::new().start();
    let second = gateway.cli(&["serve", "--port", "0"]);
    assert_eq!(second.status.code(), Some(1));
    let stderr = String::from_utf8(second.stderr).unwrap();
    assert!(stderr.contains(&format!("is served by process {} already", gateway.pid())), "{stderr}");
    // The command line writes meanwhile.
    let added = gateway.cli(&["key", "create", "--name", "another"]);
    assert!(added.status.success(), "{added:?}");
    gateway.term();
    assert!(gateway.wait().success());
    let idle = gateway.cli(&["upgrade"]);
    assert_eq!(idle.status.code(), Some(1), "{idle:?}");
}

/// systemd passes sockets and gets the state of the service.
#[test]
fn sockets_and_messages_of_systemd() {
    use std::os::fd::AsRawFd;
    let messages = tempfile::tempdir().unwrap();
    let socket = messages.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(HANG)).unwrap();
    let message = || {
        let mut bytes = [0; 256];
        let n = manager.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..n].to_vec()).unwrap()
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::empty()).unwrap();
    let script =
        format!("exec 3<&{}; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=http; exec \"$@\"", listener.as_raw_fd());
    let setup = Setup::new().workers(2).env("NOTIFY_SOCKET", socket.display());
    let mut gateway = setup.through(&["/bin/bash", "-c", &script, "bash"]).start();
    assert_eq!(gateway.addr, listener.local_addr().unwrap());
    assert_eq!(message(), "READY=1");
    for _ in 0..20 {
        let mut client = gateway.client();
        client.ask(&get("/health"));
        assert_eq!(client.response().status, 200);
    }
    gateway.signal("HUP");
    assert_eq!([message(), message()], ["RELOADING=1", "READY=1"]);
    gateway.term();
    assert_eq!(message(), "STOPPING=1");
    assert!(gateway.wait().success());
}

/// Whoever reads which process serves finds a number, also while it is written.
#[test]
fn the_owner_of_a_store_can_be_read_at_any_time() {
    let gateway = Setup::new().start();
    let lock = gateway.data_dir().join("gateway.lock");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let reads = std::iter::from_fn(|| (!done.load(Ordering::Relaxed)).then(|| Successor::owner(&lock)));
            reads.filter(Option::is_none).count()
        });
        let current = Successor(lock.clone());
        for _ in 0..3 {
            let upgraded = gateway.cli(&["upgrade"]);
            assert!(upgraded.status.success(), "{upgraded:?}");
        }
        done.store(true, Ordering::Relaxed);
        assert_eq!(reader.join().unwrap(), 0);
        drop(current);
    });
}
