//! Every variable, once: its name, default, help and parser. Parsing, `serve --help` and the
//! README's table all come from here.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::db_url::DbUrl;
use super::{Boot, Driver, otlp};

/// A setting that this version honours.
#[derive(Debug)]
pub struct Variable {
    pub name: &'static str,
    /// As it would be written; empty is unset.
    pub default: &'static str,
    /// One line, lower case, no full stop.
    pub help: &'static str,
    /// Whether the value must not be shown.
    pub secret: bool,
    /// Puts a value in its place. The error says what would be right.
    pub set: fn(&mut Boot, &str) -> Result<(), String>,
}

macro_rules! variables {
    ($( $name:literal $default:literal $help:literal $($secret:ident)? => $($field:ident).+, $parse:expr; )*) => {
        pub const VARIABLES: &[Variable] = &[ $( Variable {
            name: $name,
            default: $default,
            help: $help,
            secret: variables!(@secret $($secret)?),
            set: |boot, text| {
                boot.$($field).+ = $parse(text)?;
                Ok(())
            },
        }, )* ];
    };
    (@secret secret) => { true };
    (@secret) => { false };
}

variables! {
    "HOST" "0.0.0.0" "address to listen on" => host, host;
    "PORT" "18000" "port to listen on; 0 takes any free one" => port, port;
    "WORKERS" "0" "worker threads; 0 is one per available core" => workers, |text| number(text, 0, 1024);
    "RUNTIME_DRIVER" "auto" "auto, io_uring or epoll; auto is io_uring where the kernel allows it" => driver, driver;
    "DATA_DIR" "./data" "directory of the embedded store, or of the last good copy of the database" => data_dir, path;
    "DB_URL" "" "PostgreSQL database with providers and credentials, instead of the embedded store: postgresql://USER:PASSWORD@HOST/DATABASE" secret => db_url, |text| DbUrl::parse(text).map(Some);
    "MIGRATE_ON_START" "true" "bring the tables of that database up to date when the server starts" => migrate_on_start, switch;
    "CONFIG_POLL_SECS" "5" "how often that database is asked for changes beside its notices" => config_poll, seconds;
    "CONFIG_FILE" "" "YAML file with providers, credentials and settings, instead of a store" => config_file, |text| path(text).map(Some);
    "ADMIN_KEY" "" "key of the admin interface; without it the interface is closed" secret => admin_key, |text| header_key(text).map(Some);
    "ADMIN_ADDR" "" "address and port of the admin interface, such as 127.0.0.1:18001; without it, it is on PORT" => admin_addr, |text| address(text).map(Some);
    "AUDIT_LOG_PATH" "" "file for a line of JSON about each change of the configuration; unset is `audit.jsonl` in DATA_DIR" => audit_log_path, |text| path(text).map(Some);
    "SECRET_KEY" "" "encrypts providers' keys in the store; 32 characters or more, such as `openssl rand -hex 32` prints" secret => secret_key, |text| secret(text).map(Some);
    "SECRET_KEY_PREVIOUS" "" "the SECRET_KEY before, which still decrypts; see `provider reencrypt`" secret => secret_key_previous, |text| secret(text).map(Some);
    "ALLOW_ANONYMOUS" "false" "serve requests that bring no key" => allow_anonymous, switch;
    "PROVIDER_SUFFIX" "" "a prefix that clients may put before model names: `Proxy` makes `Proxy/gpt-4` mean `gpt-4`" => model_prefix, |text| prefix(text).map(Some);
    "LOG_LEVEL" "info" "off, error, warn, info, debug or trace" => log_level, log_level;
    "VERIFY_SSL" "true" "verify the certificates of providers" => verify_ssl, switch;
    "SSL_CERT_FILE" "" "PEM file of the authorities that sign providers' certificates, instead of the system's" => ssl_cert_file, |text| path(text).map(Some);
    "TLS_CERT" "" "PEM file of this server's certificate chain; with TLS_KEY it serves https" => tls_cert, |text| path(text).map(Some);
    "TLS_KEY" "" "PEM file of this server's private key" => tls_key, |text| path(text).map(Some);
    "CONNECT_TIMEOUT_SECS" "10" "longest wait for a connection to a provider, TLS included" => connect_timeout, seconds;
    "HEADER_READ_TIMEOUT_SECS" "30" "longest wait for the head of a request" => header_read_timeout, seconds;
    "BODY_READ_TIMEOUT_SECS" "60" "longest silence of a client while it sends a body" => body_read_timeout, seconds;
    "KEEPALIVE_TIMEOUT_SECS" "75" "how long an idle client connection is kept" => keepalive_timeout, seconds;
    "TTFT_TIMEOUT_SECS" "0" "longest wait for the first content of an answer; 0 is off" => ttft_timeout, seconds_or_off;
    "REQUEST_TIMEOUT_SECS" "300" "longest silence of a provider" => request_timeout, seconds;
    "TOTAL_TIMEOUT_SECS" "0" "longest time for a whole answer; 0 is off" => total_timeout, seconds_or_off;
    "MODEL_LIST_SECS" "600" "how often a provider with an empty mapping is asked for its models, for the listings; 0 is never" => model_list, seconds_or_off;
    "SHUTDOWN_GRACE_SECS" "30" "how long running requests may take to end when the server stops" => shutdown_grace, seconds_or_zero;
    "COMMIT_AFTER_SECS" "10" "how long the head of a stream is held back so that another provider can still be tried" => commit_after, seconds_or_zero;
    "MAX_BODY_BYTES" "67108864" "largest request body, after decompression" => max_body_bytes, |text| number(text, 1024, 1 << 40);
    "MAX_HEAD_BYTES" "65536" "largest request head" => max_head_bytes, |text| number(text, 1024, 16 << 20);
    "MAX_CONNECTIONS" "65536" "client connections per worker" => max_connections, |text| number(text, 1, 1 << 24);
    "STRICT_TRANSLATION" "false" "answer 400 where a request cannot be translated without a loss, instead of naming the loss in a header" => strict_translation, switch;
    "REPLAY_CACHE_BYTES" "67108864" "sealed reasoning remembered for Chat clients that do not send it back; 0 is none" => replay_cache_bytes, |text| number(text, 0, 1 << 40);
    "MAX_ATTEMPTS" "3" "attempts per request over all providers" => max_attempts, |text| number(text, 1, 100);
    "LIMITS_URL" "" "redis:// or rediss:// URL of a Redis or Valkey in which nodes share their limits" secret => limits_url, |text| store_url(text).map(Some);
    "STAGE_CLOCK" "true" "time the stages of each request, for metrics, logs and the header server-timing" => observe.stage_clock, switch;
    "METRICS_MAX_CREDENTIALS" "1000" "credentials with a metric label of their own; the others are counted as `other`" => observe.metrics_max_credentials, |text| number(text, 0, 1_000_000);
    "RECORD_BUFFER_BYTES" "67108864" "heads and bodies that may wait for logs and traces; beyond it records go without them" => observe.record_buffer_bytes, |text| number(text, 0, 1 << 40);
    "TOKEN_COUNTING" "estimate" "estimate or exact: how tokens are counted where the provider does not tell" => observe.exact_tokens, counting;
    "JSONL_LOG_ENABLED" "false" "write a line of JSON for each step of each request" => observe.jsonl.enabled, switch;
    "JSONL_LOG_PATH" "./logs/requests.jsonl" "file for these lines" => observe.jsonl.path, path;
    "JSONL_LOG_BUFFER_SIZE" "1000" "requests that may wait to be written; more are dropped and counted" => observe.jsonl.buffer, |text| number(text, 1, 1 << 20);
    "JSONL_LOG_MAX_BYTES" "104857600" "size at which the file is set aside and a new one begun" => observe.jsonl.max_bytes, |text| number(text, 4096, 1 << 50).map(|bytes| bytes as u64);
    "JSONL_LOG_KEEP" "5" "files set aside that are kept" => observe.jsonl.keep, |text| number(text, 0, 10_000);
    "JSONL_LOG_GZIP" "false" "compress files that were set aside" => observe.jsonl.gzip, switch;
    "JSONL_LOG_BODY_MAX_BYTES" "262144" "bytes of each body in these lines" => observe.jsonl.body_bytes, |text| number(text, 0, 1 << 30);
    "LANGFUSE_ENABLED" "false" "send traces to Langfuse" => observe.langfuse.enabled, switch;
    "LANGFUSE_PUBLIC_KEY" "" "public key of the Langfuse project" => observe.langfuse.public_key, |text| header_key(text).map(|key| Some(key.to_string()));
    "LANGFUSE_SECRET_KEY" "" "secret key of the Langfuse project" secret => observe.langfuse.secret_key, |text| header_key(text).map(Some);
    "LANGFUSE_HOST" "https://cloud.langfuse.com" "where Langfuse is" => observe.langfuse.host, web_url;
    "LANGFUSE_SAMPLE_RATE" "1.0" "share of the requests that are sent, from 0 to 1" => observe.langfuse.sample_rate, share;
    "LANGFUSE_FLUSH_INTERVAL" "5" "longest time that traces wait to be sent" => observe.langfuse.flush, seconds;
    "LANGFUSE_DEBUG" "false" "log what Langfuse answers" => observe.langfuse.debug, switch;
    "OTEL_EXPORTER_OTLP_ENDPOINT" "" "base URL of a collector that takes OTLP over HTTP; unset sends no spans" => observe.otlp.endpoint, |text| web_url(text).map(Some);
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" "" "the whole URL for spans, instead of /v1/traces behind that base" => observe.otlp.traces_endpoint, |text| web_url(text).map(Some);
    "OTEL_EXPORTER_OTLP_HEADERS" "" "headers for the collector, such as `authorization=Basic%20...`; commas between several" secret => observe.otlp.headers, otlp::headers;
    "OTEL_EXPORTER_OTLP_TIMEOUT" "10000" "milliseconds that the collector may take for a batch" => observe.otlp.timeout, otlp::timeout;
    "OTEL_EXPORTER_OTLP_PROTOCOL" "http/protobuf" "the one protocol that is spoken" => observe.otlp.protocol, otlp::protocol;
    "OTEL_SERVICE_NAME" "" "name of this service in traces; unset is `service.name` of OTEL_RESOURCE_ATTRIBUTES, else llm-proxy" => observe.otlp.service_name, |text: &str| Ok::<_, String>(Some(text.to_owned()));
    "OTEL_RESOURCE_ATTRIBUTES" "" "what else traces say of this process: key=value with commas between" => observe.otlp.resource, otlp::pairs;
    "OTEL_TRACES_SAMPLER" "parentbased_always_on" "always_on, always_off or traceidratio, or one of them behind parentbased_: which requests have spans" => observe.otlp.sampler, otlp::sampler;
    "OTEL_TRACES_SAMPLER_ARG" "1.0" "share of the requests for traceidratio, from 0 to 1" => observe.otlp.sampler_arg, share;
    "OTEL_BSP_SCHEDULE_DELAY" "5000" "milliseconds that spans wait for others to be sent with" => observe.otlp.delay, otlp::timeout;
    "OTEL_SDK_DISABLED" "false" "send no spans, whatever else is set" => observe.otlp.disabled, switch;
    "REQUEST_LOG_ENABLED" "true" "keep a row for each request in the store, table request_logs, and one for each failure in error_logs" => observe.request_log.enabled, switch;
    "REQUEST_LOG_BODY_ENABLED" "false" "with the bodies of request and answer" => observe.request_log.bodies, switch;
    "REQUEST_LOG_RETENTION_DAYS" "30" "days that these rows are kept; 0 is for ever" => observe.request_log.retention, days_or_ever;
    "REQUEST_LOG_MAX_PER_SEC" "500" "rows per second of each table; what is above is counted and not kept, failures last" => observe.request_log.per_second, |text| number(text, 1, 1_000_000);
    "HEALTH_CHECK_INTERVAL_SECS" "0" "how often each provider is asked for a word, which costs tokens; 0 is never" => observe.health_check, seconds_or_off;
    "DEFAULT_IMAGE_TOKEN_COUNT" "250" "tokens of a picture, where tokens are counted here and its vendor publishes no rule" => image_tokens, |text| number(text, 0, 1 << 20).map(|n| n as u32);
    "DEFAULT_IMAGE_WIDTH" "300" "width of a picture whose size can't be seen, such as one behind a URL" => image_width, |text| number(text, 1, 1 << 16).map(|n| n as u32);
    "DEFAULT_IMAGE_HEIGHT" "300" "height of such a picture" => image_height, |text| number(text, 1, 1 << 16).map(|n| n as u32);
}

/// Variables of the service that this one replaces, or of later versions, whose absence somebody
/// must know of: what it means here.
pub const LATER: &[(&str, &str)] = &[
    ("TOKIO_WORKER_THREADS", "the number of threads is WORKERS"),
    ("CONFIG_PATH", "a configuration file is named by CONFIG_FILE"),
];

/// The others of that service and of later versions; those that are set are told in one line.
pub const IGNORED: &[&str] = &[
    "MIN_TOKENS_LIMIT",
    "MAX_TOKENS_LIMIT",
    "ADAPTIVE_ROUTING_ENABLED",
    "ADAPTIVE_MIN_MULTIPLIER",
    "ADAPTIVE_HALF_OPEN_WEIGHT_FACTOR",
    "ADAPTIVE_SUCCESS_RECOVERY_STEP",
    "ADAPTIVE_SLOW_START_WINDOW_SECS",
    "ADAPTIVE_429_THRESHOLD",
    "ADAPTIVE_5XX_THRESHOLD",
    "ADAPTIVE_TRANSPORT_THRESHOLD",
    "ADAPTIVE_HALF_OPEN_SUCCESS_THRESHOLD",
    "ADAPTIVE_HALF_OPEN_MAX_PROBES",
    "ADAPTIVE_BASE_429_COOLDOWN_SECS",
    "ADAPTIVE_MAX_429_COOLDOWN_SECS",
    "ADAPTIVE_BASE_OPEN_DURATION_SECS",
    "ADAPTIVE_MAX_OPEN_DURATION_SECS",
    "MAX_SHORT_SIDE_FOR_IMAGE_HIGH_RES",
    "MAX_LONG_SIDE_FOR_IMAGE_HIGH_RES",
    "MAX_TILE_WIDTH",
    "MAX_TILE_HEIGHT",
    "DISABLE_HF_TOKENIZER_DOWNLOAD",
];

/// The list that `serve --help` ends with, in 80 columns.
pub fn help() -> String {
    const COLUMN: usize = 28;
    let mut text = String::from(
        "Environment variables. Flags go before them; a `.env` file in the working\n\
         directory fills in those that are not set. Times are seconds and may be\n\
         fractions.\n",
    );
    for Variable { name, default, help, .. } in VARIABLES {
        let default = format!("[default: {}]", if default.is_empty() { "unset" } else { default });
        let mut line = format!("  {name}");
        for word in help.split(' ').chain([default.as_str()]) {
            if line.len() + 1 + word.len() >= 80 {
                text.push_str(&line);
                text.push('\n');
                line.clear();
            }
            line.push_str(&" ".repeat(COLUMN.saturating_sub(line.len()).max(1)));
            line.push_str(word);
        }
        text.push_str(&line);
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

fn host(text: &str) -> Result<IpAddr, String> {
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(IpAddr::from([127, 0, 0, 1]));
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|_| "an IP address, such as 0.0.0.0, 127.0.0.1 or ::".to_owned())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let text = text.strip_prefix("localhost:").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    text.parse().map_err(|_| "an IP address and a port, such as 127.0.0.1:18001".to_owned())
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "a port from 0 to 65535".to_owned())
}

fn number(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let value = text.parse().ok().filter(|value| (least..=most).contains(value));
    value.ok_or_else(|| format!("a whole number from {least} to {most}"))
}

fn driver(text: &str) -> Result<Driver, String> {
    match text.to_ascii_lowercase().as_str() {
        "auto" => Ok(Driver::Auto),
        "io_uring" | "io-uring" | "iouring" => Ok(Driver::IoUring),
        "epoll" => Ok(Driver::Epoll),
        _ => Err("auto, io_uring or epoll".to_owned()),
    }
}

pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("true, 1, yes, on or false, 0, no, off".to_owned()),
    }
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("a path".to_owned()) } else { Ok(PathBuf::from(text)) }
}

fn header_key(text: &str) -> Result<super::Secret, String> {
    // It arrives in a header, so nothing else could ever match.
    let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(text.into()) } else { Err("visible ASCII characters without spaces".to_owned()) }
}

fn store_url(text: &str) -> Result<super::Secret, String> {
    let known = ["redis://", "rediss://"].iter().any(|scheme| text.len() > scheme.len() && text.starts_with(scheme));
    if known { Ok(text.into()) } else { Err("a URL such as redis://host:6379".to_owned()) }
}

fn secret(text: &str) -> Result<super::Secret, String> {
    let shortest = crate::config::vault::SHORTEST;
    if text.len() >= shortest { Ok(text.into()) } else { Err(format!("at least {shortest} characters")) }
}

fn web_url(text: &str) -> Result<String, String> {
    let known = ["http://", "https://"].iter().any(|scheme| text.len() > scheme.len() && text.starts_with(scheme));
    if known { Ok(text.trim_end_matches('/').to_owned()) } else { Err("a URL such as https://host:4318".to_owned()) }
}

fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "a number from 0 to 1".to_owned())
}

fn counting(text: &str) -> Result<bool, String> {
    match text {
        "exact" => Ok(true),
        "estimate" => Ok(false),
        _ => Err("estimate or exact".to_owned()),
    }
}

fn days_or_ever(text: &str) -> Result<Option<Duration>, String> {
    let days = number(text, 0, 36_500)?;
    Ok((days > 0).then(|| Duration::from_secs(days as u64 * 86_400)))
}

fn prefix(text: &str) -> Result<String, String> {
    // It is compared with what stands before the first slash.
    if text.is_empty() || text.contains('/') { Err("a prefix without a slash".to_owned()) } else { Ok(text.to_owned()) }
}

fn log_level(text: &str) -> Result<LevelFilter, String> {
    // The type's own parser also takes numbers, which nobody could read back.
    let word = text.to_ascii_lowercase();
    match word.as_str() {
        "warning" => Ok(LevelFilter::WARN),
        "off" | "error" | "warn" | "info" | "debug" | "trace" => word.parse().map_err(|_| String::new()),
        _ => Err("off, error, warn, info, debug or trace".to_owned()),
    }
}

/// A hundred days; a clock with room to add them never overflows.
const MAX_SECONDS: f64 = 8_640_000.0;

fn any_seconds(text: &str, least: f64) -> Result<Duration, String> {
    let value = text.parse::<f64>().ok().filter(|value| (least..=MAX_SECONDS).contains(value));
    let value = value.and_then(|value| Duration::try_from_secs_f64(value).ok());
    value.ok_or_else(|| format!("seconds from {least} to {MAX_SECONDS}"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    any_seconds(text, 0.001)
}

fn seconds_or_zero(text: &str) -> Result<Duration, String> {
    any_seconds(text, 0.0)
}

fn seconds_or_off(text: &str) -> Result<Option<Duration>, String> {
    any_seconds(text, 0.0).map(|value| (!value.is_zero()).then_some(value))
}
