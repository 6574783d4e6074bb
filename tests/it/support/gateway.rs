//! The real binary, with a store of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use llm_proxy::config::rows::{BudgetRow, CredentialRow, GroupRow, ModelRow, ProviderRow};
use llm_proxy::control_plane::store::blocking::Blocking;
use sha2::{Digest, Sha256};

use super::fake::Fake;
use super::http::Client;
use super::{HANG, eventually, keep_the_hour};

/// The key of the credential that every store has, unless the test makes its own.
pub const KEY: &str = "sk-test";

/// The key that providers of [`provider`] have; upstream requests must carry it.
pub const PROVIDER_KEY: &str = "pk-upstream";

/// A row of `providers`, named `name`, at `base`.
pub fn provider(name: &str, kind: &str, base: &str) -> ProviderRow {
    ProviderRow {
        provider_key: name.into(),
        provider_type: kind.into(),
        api_base: base.into(),
        api_key: PROVIDER_KEY.into(),
        model_mapping: "{}".into(),
        weight: 1,
        provider_params: "{}".into(),
        is_enabled: true,
        ..ProviderRow::default()
    }
}

/// Providers of one format each, named after it. Another name or mapping: `ProviderRow { weight: 2,
/// ..chat(&fake) }`.
pub fn chat(fake: &Fake) -> ProviderRow {
    provider("chat", "openai", &fake.url("/v1"))
}

pub fn anthropic(fake: &Fake) -> ProviderRow {
    provider("anthropic", "anthropic", &fake.url(""))
}

pub fn responses(fake: &Fake) -> ProviderRow {
    provider("responses", "responses", &fake.url("/v1"))
}

/// One provider that speaks every format, so that nothing is translated.
pub fn every_format(fake: &Fake) -> ProviderRow {
    let formats = r#"{"formats":["chat","messages","responses"]}"#;
    ProviderRow { provider_params: formats.into(), ..provider("every", "openai", &fake.url("/v1")) }
}

/// A row of `credentials` for `key`, named after it.
pub fn credential(key: &str) -> CredentialRow {
    CredentialRow {
        credential_key: hex::encode(Sha256::digest(key.as_bytes())),
        name: key.into(),
        allowed_models: "[]".into(),
        is_enabled: true,
        ..CredentialRow::default()
    }
}

/// What a gateway is to start with.
#[derive(Default)]
pub struct Setup {
    providers: Vec<ProviderRow>,
    credentials: Option<Vec<CredentialRow>>,
    models: Vec<ModelRow>,
    groups: Vec<GroupRow>,
    budgets: Vec<BudgetRow>,
    env: Vec<(String, String)>,
    addr: Option<SocketAddr>,
    wrapper: Vec<String>,
    workers: Option<usize>,
}

impl Setup {
    pub fn new() -> Setup {
        Setup::default()
    }

    pub fn provider(mut self, row: ProviderRow) -> Setup {
        self.providers.push(row);
        self
    }

    /// Replaces the credential of [`KEY`]; may be repeated.
    pub fn credential(mut self, row: CredentialRow) -> Setup {
        self.credentials.get_or_insert_default().push(row);
        self
    }

    pub fn group(mut self, row: GroupRow) -> Setup {
        self.groups.push(row);
        self
    }

    /// Adds a virtual model.
    pub fn model(mut self, row: ModelRow) -> Setup {
        self.models.push(row);
        self
    }

    /// Adds a budget, whose window does not end while the test runs.
    pub fn budget(mut self, row: BudgetRow) -> Setup {
        keep_the_hour();
        self.budgets.push(row);
        self
    }

    pub fn no_credentials(mut self) -> Setup {
        self.credentials = Some(Vec::new());
        self
    }

    pub fn env(mut self, name: &str, value: impl ToString) -> Setup {
        self.env.push((name.into(), value.to_string()));
        self
    }

    /// Where it listens, if not on any port of 127.0.0.1.
    pub fn at(mut self, addr: SocketAddr) -> Setup {
        self.addr = Some(addr);
        self
    }

    /// How many workers it has, if not one.
    pub fn workers(mut self, workers: usize) -> Setup {
        self.workers = Some(workers);
        self
    }

    /// Starts it through a program that ends by executing the rest of its arguments.
    pub fn through(mut self, wrapper: &[&str]) -> Setup {
        self.wrapper = wrapper.iter().copied().map(str::to_owned).collect();
        self
    }

    /// Fills the store and starts the gateway on one worker; returns when it listens.
    pub fn start(self) -> Gateway {
        self.try_start().unwrap_or_else(|ended| panic!("the gateway does not listen: {ended:?}"))
    }

    /// The same, for one that may end instead.
    pub fn try_start(self) -> Result<Gateway, Ended> {
        let dir = tempfile::tempdir().unwrap();
        let store = Blocking::embedded(dir.path()).unwrap();
        for row in &self.providers {
            store.add_provider(row).unwrap();
        }
        for row in &self.groups {
            store.add_group(row).unwrap();
        }
        for row in &self.budgets {
            store.add_budget(row).unwrap();
        }
        for row in self.credentials.unwrap_or_else(|| vec![credential(KEY)]) {
            store.create_credential(&row).unwrap();
        }
        for row in &self.models {
            store.add_model(row).unwrap();
        }
        drop(store);
        let addr = self.addr.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
        Gateway::spawn(dir, addr, &self.wrapper, &self.env, self.workers.unwrap_or(1))
    }
}

/// How a gateway ended that was to start.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    pub code: Option<i32>,
    /// All that it wrote to stderr.
    pub stderr: String,
}

/// A running gateway. Killed when dropped; a test that fails prints its log.
pub struct Gateway {
    pub addr: SocketAddr,
    child: Child,
    dir: tempfile::TempDir,
    log: Arc<Mutex<Vec<String>>>,
}

impl Gateway {
    fn spawn(
        dir: tempfile::TempDir,
        at: SocketAddr,
        wrapper: &[String],
        env: &[(String, String)],
        workers: usize,
    ) -> Result<Gateway, Ended> {
        let mut command = binary(dir.path(), wrapper);
        let (host, port) = (at.ip().to_string(), at.port().to_string());
        command.args(["serve", "--host", &host, "--port", &port, "--workers", &workers.to_string()]);
        command.env("LOG_LEVEL", "debug");
        // A scripted provider would take the question for the request that its test waits for.
        command.env("MODEL_LIST_SECS", "0");
        command.env("SHUTDOWN_DELAY_SECS", "0");
        // A scripted provider expects each request once, and is not benched for the next case.
        command.env("RETRY_MAX_WAIT_SECS", "0");
        command.env("ADAPTIVE_ROUTING_ENABLED", "false");
        if let Ok(driver) = std::env::var("TEST_DRIVER") {
            command.env("RUNTIME_DRIVER", driver);
        }
        command.envs(env.iter().map(|(name, value)| (name, value)));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = follow(child.stderr.take().unwrap(), log.clone());
        let mut gateway = Gateway { addr: at, child, dir, log };
        match listening(&lines) {
            Some(addr) => {
                gateway.addr = addr;
                Ok(gateway)
            }
            None => Err(Ended { code: gateway.wait().code(), stderr: gateway.log().join("\n") }),
        }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.addr)
    }

    pub fn data_dir(&self) -> &Path {
        self.dir.path()
    }

    /// The store that it serves from, as another process sees it.
    pub fn store(&self) -> Blocking {
        Blocking::embedded(self.data_dir()).unwrap()
    }

    /// Runs the same binary beside it, on the same store.
    pub fn cli(&self, args: &[&str]) -> Output {
        binary(self.data_dir(), &[]).args(args).output().unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in bytes, without pages of files.
    pub fn rss(&self) -> usize {
        self.resident("RssAnon:")
    }

    /// Resident memory of a kind, in bytes, by its name in proc_pid_status(5).
    pub fn resident(&self, name: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    }

    /// How often its threads, those that run now, have waited for something.
    pub fn waits(&self) -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let status = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok());
        let waits = |status: String| {
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            line.unwrap().trim().parse::<u64>().unwrap()
        };
        status.map(waits).sum()
    }

    /// Open file descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Open sockets. Files that the gateway opens for a moment (`smaps` at its start, the journal of
    /// its store) change the count of descriptors, and not this one.
    pub fn sockets(&self) -> usize {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap();
        let targets = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    }

    /// The log so far, a line of JSON each.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// The value of a metric without labels, or with exactly these: `name{label="x"}`.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let mut client = self.client();
        client.ask(&super::http::get("/metrics"));
        let text = client.response();
        let line = text.text().lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        line.parse().ok()
    }

    /// Waits until a metric has a value: what is counted behind a response may come after it.
    pub fn expect_metric(&self, series: &str, value: f64) {
        let mut found = self.metric(series);
        let started = Instant::now();
        while found != Some(value) {
            assert!(started.elapsed() < HANG, "{series} is {found:?}, and not {value}");
            std::thread::sleep(std::time::Duration::from_millis(5));
            found = self.metric(series);
        }
    }

    /// Waits until a line of the log has all these parts: a line may come after the response that it
    /// is about, and after the end of the process.
    pub fn expect_log(&self, parts: &[&str]) {
        let is_meant = |line: &String| parts.iter().all(|part| line.contains(part));
        eventually(&format!("the log has {parts:?}"), || self.log().iter().any(is_meant));
    }

    /// SIGTERM: it drains and ends.
    pub fn term(&self) {
        self.signal("TERM");
    }

    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// How the process ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status,
                None => assert!(started.elapsed() < HANG, "still running after {HANG:?}"),
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the gateway\n{}\n---", self.log().join("\n"));
        }
    }
}

/// The binary with nothing of this process's environment, in a directory without a `.env` file.
fn binary(dir: &Path, wrapper: &[String]) -> Command {
    let own = [env!("CARGO_BIN_EXE_llm-proxy").to_owned()];
    let mut words = wrapper.iter().chain(&own);
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command.env_clear().env("DATA_DIR", dir).current_dir(dir);
    command
}

/// Keeps the lines that a process writes, and passes them on as they come.
fn follow(stderr: impl std::io::Read + Send + 'static, log: Arc<Mutex<Vec<String>>>) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            log.lock().unwrap().push(line.clone());
            // Nobody listens any more once the gateway runs.
            let _ = sender.send(line);
        }
    });
    lines
}

/// Returns the address that a gateway reports to listen on; `None` when it has ended.
fn listening(lines: &Receiver<String>) -> Option<SocketAddr> {
    loop {
        let line = match lines.recv_timeout(HANG) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => panic!("neither listening nor ended within {HANG:?}"),
        };
        if let Some((_, rest)) = line.split_once("listening: http") {
            let address = rest.trim_start_matches('s').trim_start_matches("://");
            let end = address.find(|c: char| !".:[]".contains(c) && !c.is_ascii_hexdigit()).unwrap_or(address.len());
            return Some(address[..end].parse().unwrap());
        }
    }
}
