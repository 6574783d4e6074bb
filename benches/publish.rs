//! What a change of the configuration costs the traffic that runs: latency with and without
//! publishing, in turns within one run.
//!
//! `cargo bench --bench publish`. The gateway is the real binary with [`PROVIDERS`] providers and
//! [`CREDENTIALS`] credentials. Its one worker has the first core; the second has its background
//! thread, which reads, compiles and publishes, and the clients and the provider. These go before
//! the background thread there, if this may be asked for (`chrt`, as root): else what they wait for
//! each other on that core is measured too.

#![allow(clippy::expect_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use llm_mock::{Knobs, MockOptions};
use llm_proxy::control_plane::store::blocking::Blocking;
use llm_proxy::control_plane::store::sqlite::FILE;
use rusqlite::{Connection, params};

const PROVIDERS: usize = 1_000;
const CREDENTIALS: usize = 100_000;
/// Requests per second of each credential at first: no client here comes near it.
const RATE: i64 = 1_000_000;
/// Each asks every [`PACE`], whether the answer before has come or not: what a request has waited
/// to be sent counts.
const CLIENTS: usize = 16;
const PACE: Duration = Duration::from_millis(8);
const ROUNDS: usize = 6;
/// Of each half of a round.
const TIME: Duration = Duration::from_secs(4);
/// Between two changes.
const CHANGES: Duration = Duration::from_millis(100);

fn main() {
    let dir = tempfile::tempdir().expect("a directory");
    let addr = SocketAddr::from(([127, 0, 0, 1], 0));
    let provider = llm_mock::start(MockOptions { addr, workers: 1, defaults: Knobs::default() }).expect("a mock");
    let store = fill(dir.path(), &provider.url());
    let gateway = Gateway::start(dir.path());
    let (samples, phase, done) = ([Mutex::default(), Mutex::default()], AtomicUsize::new(0), AtomicBool::new(false));
    let mut published = 0;
    std::thread::scope(|scope| {
        for n in 0..CLIENTS {
            let (samples, phase, done, addr) = (&samples, &phase, &done, gateway.addr);
            scope.spawn(move || client(addr, PACE * n as u32 / CLIENTS as u32, samples, phase, done));
        }
        println!("{}", place(gateway.child.id()));
        for _ in 0..ROUNDS {
            phase.store(0, Ordering::Relaxed);
            std::thread::sleep(TIME);
            phase.store(1, Ordering::Relaxed);
            let (before, started) = (gateway.generation(), Instant::now());
            for n in 0.. {
                if started.elapsed() >= TIME {
                    break;
                }
                let sql = "UPDATE credentials SET rate_limit = ?1 WHERE id = ?2";
                store.execute(sql, params![RATE + n, 1 + n * 997 % CREDENTIALS as i64]).expect("a change");
                std::thread::sleep(CHANGES);
            }
            published += gateway.generation() - before;
        }
        done.store(true, Ordering::Relaxed);
    });
    let [quiet, publishing] = samples.map(|samples| {
        let mut samples: Vec<Duration> = samples.into_inner().expect("samples");
        samples.sort_unstable();
        samples
    });
    let at = |samples: &[Duration], share: f64| samples[(samples.len() as f64 * share) as usize];
    for (name, samples) in [("quiet", &quiet), ("publishing", &publishing)] {
        let [half, most, nearly] = [0.5, 0.99, 0.999].map(|share| at(samples, share));
        println!("{name:>10}: {} requests, p50 {half:?}, p99 {most:?}, p99.9 {nearly:?}", samples.len());
    }
    let ratio = at(&publishing, 0.99).as_secs_f64() / at(&quiet, 0.99).as_secs_f64();
    println!(
        "{published} publishes of {PROVIDERS} providers and {CREDENTIALS} credentials; p99 is {ratio:.2} times that of quiet"
    );
}

/// A store as large as they come. Every model but that of the clients is served by somebody else.
fn fill(dir: &Path, provider: &str) -> Connection {
    drop(Blocking::embedded(dir).expect("a store"));
    let mut store = Connection::open(dir.join(FILE)).expect("the file");
    let all = store.transaction().expect("a transaction");
    for n in 0..PROVIDERS {
        let (base, mapping) = match n {
            0 => (format!("{provider}/v1"), r#"{"m":"m"}"#.to_owned()),
            _ => (format!("http://127.0.0.1:1/v{n}"), format!(r#"{{"model-{n}":"up-{n}","family-{n}-*":"up-*"}}"#)),
        };
        let sql = "INSERT INTO providers (provider_key, provider_type, api_base, api_key, model_mapping) VALUES (?1, 'openai', ?2, 'k', ?3)";
        all.execute(sql, params![format!("p{n}"), base, mapping]).expect("a provider");
    }
    for n in 0..CREDENTIALS {
        let key = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(format!("sk-{n}")));
        let allowed = if n % 2 == 0 { "[]" } else { r#"["m","gpt-*"]"# };
        let sql = "INSERT INTO credentials (credential_key, name, allowed_models, rate_limit) VALUES (?1, ?2, ?3, ?4)";
        all.execute(sql, params![key, format!("team-{n}"), allowed, RATE]).expect("a credential");
    }
    all.commit().expect("all of it");
    store
}

struct Gateway {
    addr: SocketAddr,
    child: Child,
}

impl Gateway {
    fn start(dir: &Path) -> Gateway {
        let addr = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
        let mut command = Command::new(env!("CARGO_BIN_EXE_llm-proxy"));
        command.env_clear().env("DATA_DIR", dir).env("LOG_LEVEL", "warn").env("MODEL_LIST_SECS", "0").current_dir(dir);
        command.args(["serve", "--host", "127.0.0.1", "--workers", "1", "--port", &addr.port().to_string()]);
        let child = command.stdin(Stdio::null()).spawn().expect("a gateway");
        let started = Instant::now();
        while TcpStream::connect(addr).is_err() {
            assert!(started.elapsed() < Duration::from_secs(30), "the gateway does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Gateway { addr, child }
    }

    /// Of the configuration in force.
    fn generation(&self) -> u64 {
        let text = ask(&mut connect(self.addr), "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n");
        let line = text.lines().find_map(|line| line.strip_prefix("llm_proxy_snapshot_generation "));
        line.and_then(|number| number.parse().ok()).expect("a generation")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(addr: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(addr).expect("a connection");
    socket.set_nodelay(true).expect("no delay");
    socket
}

/// Asks on time, and keeps how long each answer took from when it was to be asked for.
fn client(
    addr: SocketAddr,
    first: Duration,
    samples: &[Mutex<Vec<Duration>>; 2],
    phase: &AtomicUsize,
    done: &AtomicBool,
) {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"Hello"}]}"#;
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-77\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut socket = connect(addr);
    let mut due = Instant::now() + first;
    while !done.load(Ordering::Relaxed) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let answer = ask(&mut socket, &request);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        samples[phase.load(Ordering::Relaxed)].lock().expect("samples").push(due.elapsed());
        due += PACE;
    }
}

/// The whole answer, which has a length.
fn ask(socket: &mut TcpStream, request: &str) -> String {
    socket.write_all(request.as_bytes()).expect("a write");
    let (mut answer, mut buffer) = (Vec::new(), [0; 16 << 10]);
    loop {
        let read = socket.read(&mut buffer).expect("a read");
        assert!(read > 0, "closed");
        answer.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if body.len() >= length.expect("a length") {
                return text.into_owned();
            }
        }
    }
}

/// Puts each thread where it belongs, and tells how far that went. Only the changes themselves are
/// left to wait on the second core.
fn place(gateway: u32) -> String {
    let own = std::process::id();
    let run = |program: &str, args: &[&str]| {
        let done = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
        done.is_ok_and(|status| status.success())
    };
    let (mut pinned, mut first) = (true, true);
    for thread in threads(gateway) {
        let name = std::fs::read_to_string(format!("/proc/{gateway}/task/{thread}/comm")).unwrap_or_default();
        let core = if name.starts_with("worker") { "0" } else { "1" };
        pinned &= run("taskset", &["-p", "-c", core, &thread]);
    }
    for thread in threads(own) {
        pinned &= run("taskset", &["-p", "-c", "1", &thread]);
        if thread != own.to_string() {
            first &= run("chrt", &["-f", "-p", "1", &thread]);
        }
    }
    let word = |so| if so { "" } else { "not " };
    format!("threads are {}on their cores; clients and provider do {}go before the writer", word(pinned), word(first))
}

fn threads(process: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    tasks.map(|task| task.file_name().to_string_lossy().into_owned()).collect()
}
