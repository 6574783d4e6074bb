//! Settings that are fixed for the life of the process: flags first, then the environment, then a `.env` file, then the default.

use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// io_uring where the kernel allows it, else epoll.
    Auto,
    IoUring,
    Epoll,
}

/// Process settings. Durations are in the variables as seconds and may be fractions.
#[derive(Debug, Clone)]
pub struct Boot {
    pub host: std::net::IpAddr,
    pub port: u16,
    /// Worker threads; 0 is one per available core.
    pub workers: usize,
    pub driver: Driver,
    pub data_dir: PathBuf,
    pub admin_key: Option<String>,
    pub allow_anonymous: bool,
    /// A model prefix (`PROVIDER_SUFFIX` for history's sake): `Proxy` makes `Proxy/gpt-4` mean `gpt-4`.
    pub model_prefix: Option<String>,
    pub verify_ssl: bool,
    pub ssl_cert_file: Option<PathBuf>,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub connect_timeout: Duration,
    pub header_read_timeout: Duration,
    pub body_read_timeout: Duration,
    pub keepalive_timeout: Duration,
    /// First content of an answer; `None` is off.
    pub ttft_timeout: Option<Duration>,
    /// The longest silence of an upstream.
    pub request_timeout: Duration,
    /// `None`: an answer may take as long as it likes.
    pub total_timeout: Option<Duration>,
    pub shutdown_grace: Duration,
    /// How long the head of a stream is held back for the first content.
    pub commit_after: Duration,
    /// Bytes of a request body, after decoding.
    pub max_body_bytes: usize,
    /// Bytes of a request head.
    pub max_head_bytes: usize,
    /// Connections per worker; more are accepted and closed at once.
    pub max_connections: usize,
    /// Attempts per request over all candidates.
    pub max_attempts: usize,
}

impl Default for Boot {
    fn default() -> Boot {
        Boot {
            host: std::net::IpAddr::from([0, 0, 0, 0]),
            port: 18000,
            workers: 0,
            driver: Driver::Auto,
            data_dir: PathBuf::from("./data"),
            admin_key: None,
            allow_anonymous: false,
            model_prefix: None,
            verify_ssl: true,
            ssl_cert_file: None,
            tls_cert: None,
            tls_key: None,
            connect_timeout: Duration::from_secs(10),
            header_read_timeout: Duration::from_secs(30),
            body_read_timeout: Duration::from_secs(60),
            keepalive_timeout: Duration::from_secs(75),
            ttft_timeout: None,
            request_timeout: Duration::from_secs(300),
            total_timeout: None,
            shutdown_grace: Duration::from_secs(30),
            commit_after: Duration::from_secs(10),
            max_body_bytes: 64 << 20,
            max_head_bytes: 64 << 10,
            max_connections: 65_536,
            max_attempts: 3,
        }
    }
}
