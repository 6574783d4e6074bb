//! A real PostgreSQL server, started for this run of the tests on a free port and stopped when it
//! ends, however it ends.
//!
//! [`Db::new`] makes a database on the one that all tests share; a test that stops its server
//! starts one of its own with [`Server::start`].

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use llm_proxy::config::boot::db_url::DbUrl;
use llm_proxy::control_plane::store::blocking::Blocking;
use llm_proxy::control_plane::store::postgres::{Options, Postgres};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::cert::Cert;
use super::{HANG, eventually, reserved_port};

/// A password that no URL can hold as it is.
const PASSWORD: &str = "p@ss/w:rd?%";
const USER: &str = "gateway";

pub struct Server {
    pub port: u16,
    /// Also holds `server.pem`, its certificate for `localhost`, which signs itself.
    pub dir: PathBuf,
    tls: bool,
    process: Mutex<Option<Child>>,
    /// Ends with this process, and then cleans up.
    watchdog: Child,
}

/// The server that tests share.
fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(Server::start)
}

impl Server {
    pub fn start() -> Server {
        Server::make(true)
    }

    pub fn without_tls() -> Server {
        Server::make(false)
    }

    fn make(tls: bool) -> Server {
        let dir = tempfile::Builder::new().prefix("llm-proxy-postgres-").tempdir().unwrap().keep();
        std::fs::write(dir.join("password"), PASSWORD).unwrap();
        let made = Cert::new();
        std::fs::copy(made.file(), dir.join("server.pem")).unwrap();
        std::fs::copy(made.key_file(), dir.join("server.key")).unwrap();
        std::fs::set_permissions(dir.join("server.key"), PermissionsExt::from_mode(0o600)).unwrap();
        if is_root() {
            assert!(Command::new("chown").args(["-R", "postgres"]).arg(&dir).status().unwrap().success());
        }
        let made = as_postgres("initdb")
            .args(["-U", USER, "-E", "UTF8", "--locale=C", "--auth=scram-sha-256", "--no-sync", "--pwfile"])
            .arg(dir.join("password"))
            .arg("-D")
            .arg(dir.join("data"))
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let port = reserved_port();
        // Reads until this process has gone: nobody ever writes.
        let script = "cat >/dev/null; pid=$(head -n 1 \"$1/data/postmaster.pid\" 2>/dev/null) && kill -QUIT \"$pid\"; rm -rf \"$1\"";
        let watchdog = Command::new("sh").args(["-c", script, "sh"]).arg(&dir).stdin(Stdio::piped()).spawn().unwrap();
        let server = Server { port, dir, tls, process: Mutex::default(), watchdog };
        server.resume();
        server
    }

    /// Starts it (again) on the same port, and returns when it answers.
    pub fn resume(&self) {
        let log = std::fs::File::create(self.dir.join("log")).unwrap();
        let settings = [
            format!("port={}", self.port),
            "listen_addresses=127.0.0.1".into(),
            format!("unix_socket_directories={}", self.dir.display()),
            "fsync=off".into(),
            "max_connections=200".into(),
            format!("ssl={}", if self.tls { "on" } else { "off" }),
            format!("ssl_cert_file={}", self.dir.join("server.pem").display()),
            format!("ssl_key_file={}", self.dir.join("server.key").display()),
        ];
        let mut command = as_postgres("postgres");
        command.arg("-D").arg(self.dir.join("data")).stdin(Stdio::null());
        settings.iter().for_each(|setting| {
            command.args(["-c", setting]);
        });
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        *self.process.lock().unwrap() = Some(child);
        eventually("PostgreSQL answers", || try_sql(&self.url("postgres", ""), "SELECT 1").is_ok());
    }

    /// Ends it as a crash does: no connection is told good-bye.
    pub fn crash(&self) {
        let mut child = self.process.lock().unwrap().take().unwrap();
        assert!(Command::new("kill").args(["-s", "QUIT", &child.id().to_string()]).status().unwrap().success());
        child.wait().unwrap();
    }

    /// Lets it take connections and bytes, and answer nothing, as a machine does whose disk hangs.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// To the server and then to the processes of its sessions, which have groups of their own.
    fn signal(&self, signal: &str) {
        let server = self.process.lock().unwrap().as_ref().unwrap().id().to_string();
        let kill = |pid: &str| Command::new("kill").args(["-s", signal, pid]).status().unwrap();
        assert!(kill(&server).success());
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            // `pid (name) state parent ..`
            let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
            if parent == Some(&server) {
                kill(&entry.file_name().to_string_lossy());
            }
        }
    }

    fn url(&self, database: &str, parameters: &str) -> String {
        format!("postgresql://{USER}:{PASSWORD}@localhost:{}/{database}{parameters}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
        if let Some(mut child) = self.process.lock().unwrap().take() {
            let _ = child.wait();
        }
    }
}

/// A database of one test's own.
pub struct Db {
    url: String,
    pub name: String,
    pub port: u16,
    pub root: PathBuf,
}

impl Db {
    pub fn new() -> Db {
        Db::on(shared())
    }

    pub fn on(server: &Server) -> Db {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        sql(&server.url("postgres", ""), &format!("CREATE DATABASE {name}"));
        Db { url: server.url(&name, ""), name, port: server.port, root: server.dir.join("server.pem") }
    }

    /// For `DB_URL`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// As another process opens it.
    pub fn store(&self) -> Blocking {
        open(&self.url, true)
    }

    /// The rows that some statements give, each value as text, `-` for null.
    pub fn sql(&self, text: &str) -> Vec<String> {
        sql(&self.url, text)
    }

    /// Runs the binary on it.
    pub fn cli(&self, args: &[&str]) -> Output {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_llm-proxy"));
        command
            .env_clear()
            .env("PORT", "1")
            .env("DB_URL", &self.url)
            .current_dir(dir.path())
            .args(args)
            .output()
            .unwrap()
    }

    /// All that is in it: tables with their columns, indexes, triggers, functions and rows.
    pub fn dump(&self) -> String {
        let output = Command::new(bin("pg_dump"))
            .args(["--dbname", &format!("postgresql://{USER}@localhost:{}/{}?sslmode=disable", self.port, self.name)])
            .args(["--inserts", "--no-owner"])
            .env("PGPASSWORD", PASSWORD)
            .output()
            .unwrap();
        assert!(output.status.success(), "pg_dump: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        // A key that is another in each dump.
        text.lines()
            .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

pub fn open(url: &str, migrate: bool) -> Blocking {
    let options = Options { migrate, poll: HANG };
    Blocking::new(Arc::new(Postgres::new(&DbUrl::parse(url).unwrap(), options).unwrap())).unwrap()
}

fn sql(url: &str, text: &str) -> Vec<String> {
    try_sql(url, text).unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

fn try_sql(url: &str, text: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    let url = DbUrl::parse(url).unwrap();
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(url.hosts[0].1).user(USER).password(PASSWORD);
    config.dbname(url.database.as_deref().unwrap()).ssl_mode(tokio_postgres::config::SslMode::Disable);
    runtime().block_on(async {
        let (client, connection) = config.connect(NoTls).await?;
        let driver = tokio::spawn(connection);
        let rows = client.simple_query(text).await?;
        drop(client);
        let _ = driver.await;
        let row = |message| match message {
            SimpleQueryMessage::Row(row) => {
                let cells: Vec<_> = (0..row.len()).map(|at| row.get(at).unwrap_or("-").to_owned()).collect();
                Some(cells.join("|"))
            }
            _ => None,
        };
        Ok(rows.into_iter().filter_map(row).collect())
    })
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// The newest that is installed.
fn bin(name: &str) -> PathBuf {
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut installed: Vec<_> = installed.filter_map(|path| Some((version(&path)?, path))).collect();
    installed.sort();
    match installed.pop() {
        Some((_, path)) => path.join("bin").join(name),
        None => panic!("PostgreSQL is not installed: `tests/run test` installs it, or `apt-get install postgresql`"),
    }
}

/// It refuses to run as root.
fn as_postgres(program: &str) -> Command {
    if !is_root() {
        return Command::new(bin(program));
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(bin(program)).current_dir("/");
    command
}
