//! The settings of a process as values, with their defaults.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::db_url::DbUrl;
use super::memory;
use super::observe::Observe;
use crate::breaker::policy::Policy;
use crate::config::networks::Networks;
use crate::config::outbound;
use crate::config::rescue::Rescue;
use crate::config::secret::Secret;
use crate::config::timeouts::FirstContent;

/// The system interface that workers use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// io_uring where the kernel allows it, else epoll.
    Auto,
    IoUring,
    Epoll,
}

/// Which requests go to the provider of their conversation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Affinity {
    Off,
    /// Those whose client names its session in a header.
    #[default]
    Session,
    /// Also all others, by the prefix of their prompt.
    Prefix,
}

/// How providers that serve every model rank beside those whose mapping names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CatchAllRouting {
    /// By the facts that are known about a model: see `route::rank`.
    #[default]
    Ranked,
    /// All that serve a model share its requests by their weights.
    Equal,
}

/// The status of a request for which too little of a budget is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BudgetStatus {
    /// 402.
    #[default]
    PaymentRequired,
    /// 429.
    TooManyRequests,
}

/// The pages of llm-proxy v1's web interface, as it is served in development and by its image.
const ADMIN_CORS_ORIGINS: [&str; 4] =
    ["http://localhost:5173", "http://127.0.0.1:5173", "http://localhost:5176", "http://127.0.0.1:5176"];

/// Process settings. Durations are in the variables as seconds and may be fractions.
#[derive(Debug, Clone, PartialEq)]
pub struct Boot {
    /// The settings that were given, as they are shown.
    pub given: Vec<GivenSetting>,
    pub host: IpAddr,
    /// 0 takes any free one.
    pub port: u16,
    /// Worker threads; 0 is one per available core.
    pub workers: usize,
    pub driver: Driver,
    pub data_dir: PathBuf,
    /// Providers and credentials are in this database instead of `data_dir`...
    pub db_url: Option<DbUrl>,
    pub migrate_on_start: bool,
    /// How often the database is asked for changes, notices or not.
    pub config_poll: Duration,
    /// ...or in this file, which goes before the database.
    pub config_file: Option<PathBuf>,
    /// The operator's own facts about models.
    pub models_file: Option<PathBuf>,
    pub admin_key: Option<Secret>,
    /// The admin key was made in `data_dir`, and is valid for clients on this machine alone.
    pub is_admin_key_local: bool,
    /// This is `llm-proxy demo`, of which nothing is kept. `/health` reports it.
    pub is_demo: bool,
    /// The key that may read what the admin interface shows, and change nothing.
    pub admin_read_key: Option<Secret>,
    /// Providers' keys are encrypted with it; see `config::vault`, which reads it from the
    /// environment itself.
    pub secret_key: Option<Secret>,
    /// The former secret, which still opens what was sealed with it.
    pub secret_key_previous: Option<Secret>,
    /// A listener of the admin interface's own; without it, it is on the public one.
    pub admin_addr: Option<SocketAddr>,
    /// The file with a line for each change; `None` is `audit.jsonl` in `data_dir`.
    pub audit_log_path: Option<PathBuf>,
    /// `/metrics` is on the public listener even if `admin_addr` is set.
    pub metrics_public: bool,
    pub allow_anonymous: bool,
    /// Origins of pages that may call the admin interface.
    pub admin_cors_origins: Vec<String>,
    /// Providers may be at link-local and metadata addresses.
    pub allow_link_local_upstreams: bool,
    /// Names that the admin interface takes in `env:NAME` beside those of the usual forms.
    pub secret_env_allow: Vec<String>,
    /// The model prefix (`MODEL_PREFIX`, formerly `PROVIDER_SUFFIX`): `Proxy` makes `Proxy/gpt-4`
    /// mean `gpt-4`.
    pub model_prefix: Option<String>,
    pub verify_ssl: bool,
    pub ssl_cert_file: Option<PathBuf>,
    /// Both or neither.
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    /// Authorities of the certificates that clients must have; `None` demands none.
    pub tls_client_ca: Option<PathBuf>,
    /// Looked up by name when rows are compiled; see `config::outbound`.
    pub https_proxy: Option<Secret>,
    pub http_proxy: Option<Secret>,
    pub all_proxy: Option<Secret>,
    pub no_proxy: Option<String>,
    pub secret_file_dirs: Option<String>,
    pub connect_timeout: Duration,
    pub header_read_timeout: Duration,
    pub body_read_timeout: Duration,
    pub keepalive_timeout: Duration,
    /// How long a client may take for a piece of a response.
    pub write_timeout: Duration,
    /// First content of an answer; `None` is off.
    pub ttft_timeout: FirstContent,
    /// The longest silence of an upstream.
    pub request_timeout: Duration,
    /// The longest time for a whole response; `None` is no limit.
    pub total_timeout: Option<Duration>,
    /// How long the model list of a provider with an empty mapping is valid; `None` never fetches
    /// it.
    pub model_list: Option<Duration>,
    pub shutdown_grace: Duration,
    /// How long new connections are still served behind a SIGTERM.
    pub shutdown_delay: Duration,
    /// How long the head of a stream is held back for the first content.
    pub commit_after: Duration,
    /// The numbers of the circuit breakers.
    pub adaptive: Policy,
    /// The longest wait before the same provider is tried again.
    pub retry_max_wait: Duration,
    /// Retries of a provider, in percent of its requests.
    pub retry_budget: usize,
    pub hold_answer_bytes: usize,
    pub show_provider_headers: bool,
    /// Bytes of a request body, after decoding.
    pub max_body_bytes: usize,
    /// Bytes of all bodies that are held at a time; `None` is a quarter of the memory.
    pub max_buffered_bytes: Option<usize>,
    /// The least rate of a body in bytes per second; 0 is none.
    pub min_body_rate: usize,
    /// Bytes of a request head.
    pub max_head_bytes: usize,
    /// Requests to models in progress at a time; 0 is no limit.
    pub max_concurrent_requests: u32,
    /// How long a request waits for room, and how many may.
    pub queue_max_wait: Duration,
    pub queue_max_requests: u32,
    /// Connections per worker; more are accepted and closed at once.
    pub max_connections: usize,
    /// Connections of one address over all workers; 0 is no limit.
    pub max_connections_per_peer: usize,
    /// Load balancers and proxies that are trusted to report the address of a client.
    pub trusted_proxies: Networks,
    /// Whether each connection to the public listener begins with a PROXY header.
    pub proxy_protocol: bool,
    /// Who may reach the admin interface; empty is everyone.
    pub admin_allowed_addresses: Networks,
    /// Attempts per request over all candidates.
    pub max_attempts: usize,
    pub catch_all_routing: CatchAllRouting,
    pub affinity: Affinity,
    /// Whether another provider goes on with a stream that broke off.
    pub rescue: Rescue,
    /// Ids of stored responses of which the issuer is remembered.
    pub stored_response_ids: usize,
    /// Where nodes share their limits; may hold a password.
    pub limits_url: Option<Secret>,
    pub budget_status: BudgetStatus,
    /// Tags that requests may carry, in alphabetical order. Empty: those of budgets.
    pub allowed_tags: Vec<String>,
    /// The tokens and size of an image that cannot be measured, where tokens are counted here.
    pub image_tokens: u32,
    pub image_width: u32,
    pub image_height: u32,
    pub strict_translation: bool,
    /// Whether the process may be dumped and traced.
    pub core_dumps: bool,
    /// Whether the process restricts itself to what its settings name, and what else it may read.
    pub sandbox: bool,
    pub sandbox_read_paths: Vec<PathBuf>,
    /// 0 remembers nothing.
    pub reasoning_cache_bytes: usize,
    pub log_level: LevelFilter,
    pub observe: Observe,
}

impl Default for Boot {
    fn default() -> Boot {
        Boot {
            given: Vec::new(),
            host: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            port: 18000,
            workers: 0,
            driver: Driver::Epoll,
            data_dir: PathBuf::from("./data"),
            db_url: None,
            migrate_on_start: true,
            config_poll: Duration::from_secs(5),
            config_file: None,
            models_file: None,
            admin_key: None,
            is_admin_key_local: false,
            is_demo: false,
            admin_read_key: None,
            secret_key: None,
            secret_key_previous: None,
            admin_addr: None,
            audit_log_path: None,
            metrics_public: false,
            allow_anonymous: false,
            admin_cors_origins: ADMIN_CORS_ORIGINS.map(str::to_owned).to_vec(),
            allow_link_local_upstreams: false,
            secret_env_allow: Vec::new(),
            model_prefix: None,
            verify_ssl: true,
            ssl_cert_file: None,
            tls_cert: None,
            tls_key: None,
            tls_client_ca: None,
            https_proxy: None,
            http_proxy: None,
            all_proxy: None,
            no_proxy: None,
            secret_file_dirs: Some(outbound::SECRET_FILE_DIRS.to_owned()),
            connect_timeout: Duration::from_secs(5),
            header_read_timeout: Duration::from_secs(30),
            body_read_timeout: Duration::from_secs(60),
            keepalive_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(60),
            ttft_timeout: FirstContent::Auto,
            request_timeout: Duration::from_secs(300),
            total_timeout: None,
            model_list: Some(Duration::from_secs(600)),
            shutdown_grace: Duration::from_secs(30),
            shutdown_delay: Duration::from_secs(5),
            commit_after: Duration::from_secs(10),
            adaptive: Policy::default(),
            retry_max_wait: Duration::from_secs(5),
            retry_budget: 20,
            hold_answer_bytes: 1 << 20,
            show_provider_headers: true,
            max_body_bytes: 64 << 20,
            max_buffered_bytes: None,
            min_body_rate: 1000,
            max_head_bytes: 64 << 10,
            max_concurrent_requests: 0,
            queue_max_wait: Duration::from_secs(2),
            queue_max_requests: 1000,
            max_connections: 65_536,
            max_connections_per_peer: 0,
            trusted_proxies: Networks::default(),
            proxy_protocol: false,
            admin_allowed_addresses: Networks::default(),
            max_attempts: 3,
            catch_all_routing: CatchAllRouting::Ranked,
            affinity: Affinity::Session,
            rescue: Rescue::Off,
            stored_response_ids: 65_536,
            limits_url: None,
            budget_status: BudgetStatus::PaymentRequired,
            allowed_tags: Vec::new(),
            image_tokens: 250,
            image_width: 300,
            image_height: 300,
            strict_translation: false,
            core_dumps: false,
            sandbox: false,
            sandbox_read_paths: Vec::new(),
            reasoning_cache_bytes: 64 << 20,
            log_level: LevelFilter::INFO,
            observe: Observe::default(),
        }
    }
}

/// A setting that has another value than its default, or was set to its default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenSetting {
    pub name: &'static str,
    /// The value as it was given. `None` is a secret.
    pub value: Option<String>,
    /// Where it stands, such as `PORT in the environment`.
    pub place: String,
}

impl Boot {
    /// Returns `MAX_BUFFERED_BYTES` or its default, but no less than one body of the largest size.
    pub fn max_buffered_bytes(&self) -> usize {
        let bytes = self.max_buffered_bytes.unwrap_or_else(|| memory::available() / 4);
        bytes.max(self.max_body_bytes)
    }
}
