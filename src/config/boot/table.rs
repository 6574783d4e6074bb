//! Every variable, once: its name, default, help and parser. Parsing, `serve --help` and the
//! reference of settings all come from here.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use crate::breaker::circuit::TICK;
use crate::config::compile::budget::{LONGEST_TAG, is_tag};
use crate::config::networks::Networks;
use crate::config::rescue::Rescue;
use crate::config::secret::Secret;
use crate::config::setting_value::{self, switch};
use crate::config::timeouts::FirstContent;

use super::db_url::DbUrl;
use super::observe::WebhookFormat;
use super::otlp;
use super::settings::{Affinity, Boot, BudgetStatus, CatchAllRouting, Driver};

/// A setting that this version honours.
#[derive(Debug)]
pub struct Variable {
    pub name: &'static str,
    /// A former name that is still read; empty if there is none. Setting both to different values
    /// is an error.
    pub alias: &'static str,
    /// As it would be written; empty is unset.
    pub default: &'static str,
    /// What the setting is for: whole sentences, on one line.
    pub help: &'static str,
    /// Whether the value must not be shown.
    pub secret: bool,
    /// Sets the value.
    pub set: fn(&mut Boot, &str) -> Result<(), InvalidValue>,
}

impl Variable {
    /// Returns whether `name` is this setting's name or its former one.
    pub fn is_named(&self, name: &str) -> bool {
        name == self.name || (name == self.alias && !name.is_empty())
    }

    /// Returns the help text, with the former name if there is one.
    pub fn description(&self) -> Cow<'static, str> {
        match self.alias {
            "" => self.help.into(),
            alias => format!("{} Its former name {alias} is still read.", self.help).into(),
        }
    }
}

/// Why a value cannot be used.
#[derive(Debug)]
pub enum InvalidValue {
    /// What a valid value is, such as `a port from 0 to 65535`.
    Expected(String),
    /// A whole sentence.
    Explained(String),
}

/// The parsers in this file return what they expect.
impl From<String> for InvalidValue {
    fn from(expected: String) -> InvalidValue {
        InvalidValue::Expected(expected)
    }
}

macro_rules! variables {
    ($( $name:literal $(($alias:literal))? $default:literal $help:literal $($secret:ident)? => $($field:ident).+, $parse:expr; )*) => {
        /// Every setting of the process, in the order of the reference.
        pub const VARIABLES: &[Variable] = &[ $( Variable {
            name: $name,
            alias: concat!($($alias)?),
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
    "HOST" "0.0.0.0" "The address that the server listens on." => host, host;
    "PORT" "18000" "The port that the server listens on; 0 takes any free port." => port, port;
    "WORKERS" "0" "The number of worker threads; 0 is one for each available core." => workers, |text| number(text, 0, 1024);
    "RUNTIME_DRIVER" "epoll" "How workers wait for sockets: epoll, io_uring, or auto, which is io_uring where the kernel allows it." => driver, driver;
    "DATA_DIR" "./data" "The directory of the embedded store, or with DB_URL of the last good copy of the configuration." => data_dir, path;
    "DB_URL" "" "A PostgreSQL database that holds providers and credentials instead of the embedded store: postgresql://USER:PASSWORD@HOST/DATABASE." secret => db_url, |text| DbUrl::parse(text).map(Some).map_err(InvalidValue::Explained);
    "MIGRATE_ON_START" "true" "Whether the server updates the tables of the database when it starts." => migrate_on_start, switch;
    "CONFIG_POLL_SECS" "5" "How often the server asks the database for changes, in addition to the notifications that it gets." => config_poll, seconds;
    "CONFIG_FILE" "" "A YAML file with providers, credentials and settings, which is used instead of a store." => config_file, |text| path(text).map(Some);
    "MODELS_FILE" "" "A JSON file with facts about models (limits, thinking, accepted parameters), which go before the built-in ones and behind the `capabilities` of a provider. It is followed while the server runs." => models_file, |text| path(text).map(Some);
    "ADMIN_KEY" "" "The key of the admin interface. Without it the interface is closed." secret => admin_key, |text| header_key(text).map(Some);
    "ADMIN_READ_KEY" "" "A second key of the admin interface, which may read everything that is shown there and change nothing. It has no effect without ADMIN_KEY." secret => admin_read_key, |text| header_key(text).map(Some);
    "ADMIN_ADDR" "" "The address and port of a separate listener for the admin interface, such as 127.0.0.1:18001. Without it the interface is on PORT." => admin_addr, |text| address(text).map(Some);
    "METRICS_PUBLIC" "false" "Whether /metrics is on PORT even if ADMIN_ADDR is set. Otherwise it is on ADMIN_ADDR alone, since it names keys and costs." => metrics_public, switch;
    "ADMIN_CORS_ORIGINS" "http://localhost:5173,http://127.0.0.1:5173,http://localhost:5176,http://127.0.0.1:5176" "The origins of pages in a browser that may call the admin interface, separated by commas; `*` is all, `none` is none. Pages of every origin may call the API of clients." => admin_cors_origins, origins;
    "AUDIT_LOG_PATH" "" "The file that gets a line of JSON for each change of the configuration. Without it the file is `audit.jsonl` in DATA_DIR." => audit_log_path, |text| path(text).map(Some);
    "SECRET_KEY" "" "The secret that encrypts the API keys of providers in the store: 32 characters or more, such as `openssl rand -hex 32` prints." secret => secret_key, |text| secret(text).map(Some);
    "SECRET_KEY_PREVIOUS" "" "The former SECRET_KEY, which is still used to decrypt. `llm-proxy provider reencrypt` makes it unnecessary." secret => secret_key_previous, |text| secret(text).map(Some);
    "SECRET_ENV_ALLOW" "" "Names of variables that the admin interface accepts in `env:NAME` beside *_API_KEY, vendors' *_KEY and LLM_PROXY_SECRET_*; several are separated by commas." => secret_env_allow, |text| Ok::<_, String>(setting_value::list(text));
    "ALLOW_LINK_LOCAL_UPSTREAMS" "false" "Whether providers may be at link-local addresses and at those of metadata services, where clouds serve the credentials of the machine." => allow_link_local_upstreams, switch;
    "ALLOW_ANONYMOUS" "false" "Whether requests without a key are served." => allow_anonymous, switch;
    "MODEL_PREFIX" ("PROVIDER_SUFFIX") "" "A prefix that clients may put before model names: with `Proxy`, `Proxy/gpt-4` means `gpt-4`." => model_prefix, |text| prefix(text).map(Some);
    "LOG_LEVEL" "info" "How much is logged: off, error, warn, info, debug or trace." => log_level, log_level;
    "VERIFY_SSL" "true" "Whether the certificates of providers are verified." => verify_ssl, switch;
    "SSL_CERT_FILE" "" "A PEM file with the certificate authorities that providers' certificates are checked against, instead of the system's." => ssl_cert_file, |text| path(text).map(Some);
    "TLS_CERT" "" "A PEM file with the certificate chain of this server. With it and TLS_KEY the server speaks https." => tls_cert, |text| path(text).map(Some);
    "TLS_KEY" "" "A PEM file with the private key of this server." => tls_key, |text| path(text).map(Some);
    "TLS_CLIENT_CA" "" "A PEM file with certificate authorities. With it a client must have a certificate of one of them, on every listener." => tls_client_ca, |text| path(text).map(Some);
    "HTTPS_PROXY" "" "The proxy through which https providers are reached, such as http://USER:PASSWORD@HOST:3128, unless `proxy` in their parameters says otherwise. It opens tunnels, by CONNECT (http://) or SOCKS5 (socks5://, or socks5h:// if it resolves the names of providers). The name in lower case is read, too." secret => https_proxy, |text| proxy_url(text).map(Some);
    "HTTP_PROXY" "" "The same for providers with http, which are reached by tunnels as well." secret => http_proxy, |text| proxy_url(text).map(Some);
    "ALL_PROXY" "" "The same for providers of both kinds, where HTTPS_PROXY or HTTP_PROXY is not set." secret => all_proxy, |text| proxy_url(text).map(Some);
    "NO_PROXY" "" "Hosts, domains, addresses and networks that HTTPS_PROXY, HTTP_PROXY and ALL_PROXY are not for, separated by commas; `*` is all. Addresses of this machine are never reached through a proxy." => no_proxy, |text: &str| Ok::<_, String>(Some(text.to_owned()));
    "SECRET_FILE_DIRS" "/run/secrets,/run/credentials,/etc/llm-proxy" "The directories below which `file:PATH` may read the API keys of providers and the secrets of this program, separated by commas." => secret_file_dirs, |text: &str| Ok::<_, String>(Some(text.to_owned()));
    "CONNECT_TIMEOUT_SECS" "5" "The longest time to connect to a provider, TLS included." => connect_timeout, seconds;
    "HEADER_READ_TIMEOUT_SECS" "30" "The longest time in which a client must have sent the head of a request." => header_read_timeout, seconds;
    "BODY_READ_TIMEOUT_SECS" "60" "The longest pause of a client while it sends a body." => body_read_timeout, seconds;
    "KEEPALIVE_TIMEOUT_SECS" "75" "How long an idle connection of a client is kept open." => keepalive_timeout, seconds;
    "WRITE_TIMEOUT_SECS" "60" "How long a client may take for a piece of a response before its connection is closed. A piece of more than 64 KiB has a second more for every MIN_BODY_RATE bytes." => write_timeout, seconds;
    "TTFT_TIMEOUT_SECS" "auto" "The longest time from the start of an attempt to the first content of a streamed response; 0 turns this limit off. `auto` is 60 s, or 180 s for models that may reason, and 1 s more for each 1,000 tokens of the prompt. A response that is not streamed has no first content to wait for: REQUEST_TIMEOUT_SECS and TOTAL_TIMEOUT_SECS limit it." => ttft_timeout, first_content;
    "REQUEST_TIMEOUT_SECS" "300" "The longest silence of a provider, before and within a response." => request_timeout, seconds;
    "TOTAL_TIMEOUT_SECS" "0" "The longest time for a whole response; 0 turns this limit off." => total_timeout, seconds_or_off;
    "MODEL_LIST_SECS" "600" "How often a provider with an empty mapping is asked which models it has, for model listings; 0 turns this off." => model_list, seconds_or_off;
    "SHUTDOWN_DELAY_SECS" "5" "How long new connections are still served after SIGTERM, while `/health/ready` answers 503. SIGINT does not wait." => shutdown_delay, seconds_or_zero;
    "SHUTDOWN_GRACE_SECS" "30" "How long running requests may take to finish when the server stops." => shutdown_grace, seconds_or_zero;
    "COMMIT_AFTER_SECS" "10" "The longest time that the head of a streamed response is held back, so that another provider can still be tried." => commit_after, seconds_or_zero;
    "HOLD_ANSWER_BYTES" "1048576" "The largest response that is held until it is whole and found to be a model's answer, so that another provider can still be tried; larger ones, and those for which MAX_BUFFERED_BYTES has no room, are forwarded as they come." => hold_answer_bytes, |text| number(text, 0, 1 << 30);
    "SHOW_PROVIDER_HEADERS" "true" "Whether responses name the provider, its model and the number of attempts (`x-llm-proxy-provider`, `x-llm-proxy-upstream-model`, `x-llm-proxy-attempts`)." => show_provider_headers, switch;
    "MAX_BODY_BYTES" "67108864" "The largest request body, after decompression." => max_body_bytes, |text| number(text, 1024, 1 << 40);
    "MAX_BUFFERED_BYTES" "" "The most memory in bytes that bodies may take at a time, over all workers: those of requests, copies for a provider of another format included, and responses that are held until they are whole. Requests beyond it are answered with 503; an answer that need not be held is forwarded as it comes instead. Without it, a quarter of the memory of the machine or of the control group; never less than MAX_BODY_BYTES." => max_buffered_bytes, |text| number(text, 1024, 1 << 50).map(Some);
    "MIN_BODY_RATE" "1000" "The least rate in bytes per second at which a request body must arrive, once it has taken longer than BODY_READ_TIMEOUT_SECS or 5 seconds; 0 turns this limit off." => min_body_rate, |text| number(text, 0, 1 << 30);
    "MAX_HEAD_BYTES" "65536" "The largest request head." => max_head_bytes, |text| number(text, 1024, 16 << 20);
    "MAX_CONNECTIONS" "65536" "The most client connections of one worker; more are closed at once." => max_connections, |text| number(text, 1, 1 << 24);
    "MAX_CONCURRENT_REQUESTS" "0" "The most requests to models that are in progress at a time, over all workers; more wait as QUEUE_MAX_WAIT_SECS says, and are then answered with 503. 0 turns this limit off." => max_concurrent_requests, |text| count(text, 0, 1 << 24);
    "QUEUE_MAX_WAIT_SECS" "2" "How long a request waits for room when this gateway has MAX_CONCURRENT_REQUESTS, or all its providers are at their own limits (`limits` in their parameters); 0 does not wait." => queue_max_wait, seconds_or_zero;
    "QUEUE_MAX_REQUESTS" "1000" "The most requests that wait for room at a time, over all workers." => queue_max_requests, |text| count(text, 0, 1 << 24);
    "MAX_CONNECTIONS_PER_PEER" "0" "The most client connections of one address over all workers, of an IPv6 address with its network of 64 bits; more are closed at once. Addresses in TRUSTED_PROXIES have no such limit. 0 turns it off." => max_connections_per_peer, |text| number(text, 0, 1 << 24);
    "TRUSTED_PROXIES" "" "Addresses and networks of the load balancers in front of this server, separated by commas. What they say of a client's address counts: the last address in `x-forwarded-for` that is none of theirs, and their PROXY headers." => trusted_proxies, Networks::parse;
    "PROXY_PROTOCOL" "false" "Whether each connection to PORT begins with a PROXY header, version 1 or 2, as a load balancer sends it. With TRUSTED_PROXIES it is taken from these addresses alone; a connection without it is closed." => proxy_protocol, switch;
    "ADMIN_ALLOWED_ADDRESSES" "" "Addresses and networks that may reach the admin interface, its page and /metrics, separated by commas; others are answered with 403. Without it all may." => admin_allowed_addresses, Networks::parse;
    "CORE_DUMPS" "false" "Whether a crash may write the memory of this process to a file, and a debugger may attach to it. Keys and conversations are in it." => core_dumps, switch;
    "SANDBOX" "false" "Whether `serve` restricts itself with Landlock, where the kernel has it: it reads and writes the files that its settings name and what the system needs, runs no program, and listens on no other port. The log says what is in force." => sandbox, switch;
    "SANDBOX_READ_PATHS" "" "More files and directories that may be read in the sandbox, separated by commas, such as those with the certificates of providers." => sandbox_read_paths, paths;
    "STRICT_TRANSLATION" "false" "Whether a request that cannot be translated without a loss is answered with 400, instead of a header that names the loss." => strict_translation, switch;
    "REASONING_CACHE_BYTES" ("REPLAY_CACHE_BYTES") "67108864" "The memory in bytes for opaque (signed or encrypted) reasoning that is kept for Chat clients that do not send it back; 0 keeps none." => reasoning_cache_bytes, |text| number(text, 0, 1 << 40);
    "MAX_ATTEMPTS" "3" "The most attempts of one request: each request that is sent counts, to the same provider or to another." => max_attempts, |text| number(text, 1, 100);
    "RETRY_MAX_WAIT_SECS" "5" "The longest wait before the same provider is tried again, when no other one is left; 0 never tries it again. A provider that asks for a longer wait is not tried again." => retry_max_wait, seconds_or_zero;
    "RETRY_BUDGET_PERCENT" "20" "How many retries of the same provider are made, in percent of its requests, so that an outage is not multiplied; 0 makes none." => retry_budget, |text| number(text, 0, 100);
    "ADAPTIVE_ROUTING_ENABLED" "true" "Whether failures are remembered: a provider that fails is taken out of service for a while, and its share of the requests adapts." => adaptive.enabled, switch;
    "ADAPTIVE_MIN_MULTIPLIER" "0.05" "The least share of its weight that a provider in service keeps, from 0.001 to 1." => adaptive.min_multiplier, thousandths;
    "ADAPTIVE_HALF_OPEN_WEIGHT_FACTOR" "0.2" "The share of its weight that a provider gets while it is on trial after a failure, from 0.001 to 1." => adaptive.half_open_share, thousandths;
    "ADAPTIVE_SUCCESS_RECOVERY_STEP" "0.1" "What each success gives back of the share that failures took, from 0.001 to 1." => adaptive.recovery_step, thousandths;
    "ADAPTIVE_SLOW_START_WINDOW_SECS" "60" "How long the share of a provider grows after it has come back into service." => adaptive.slow_start, ticks_or_zero;
    "ADAPTIVE_429_THRESHOLD" "3" "The responses with status 429 in a row that take a provider out of service." => adaptive.threshold_429, |text| count(text, 1, 15);
    "ADAPTIVE_5XX_THRESHOLD" "5" "The responses with a status of 500 or above in a row that take a provider out of service." => adaptive.threshold_5xx, |text| count(text, 1, 15);
    "ADAPTIVE_TRANSPORT_THRESHOLD" "4" "The failed or broken connections and expired deadlines in a row that take a provider out of service." => adaptive.threshold_transport, |text| count(text, 1, 15);
    "ADAPTIVE_HALF_OPEN_SUCCESS_THRESHOLD" "2" "The successes on trial that bring a provider back into service." => adaptive.half_open_successes, |text| count(text, 1, 15);
    "ADAPTIVE_HALF_OPEN_MAX_PROBES" "1" "The requests that a provider on trial gets at once." => adaptive.half_open_probes, |text| count(text, 1, 1000);
    "ADAPTIVE_BASE_429_COOLDOWN_SECS" "15" "How long a provider rests after a 429 that does not say how long; it doubles with each one in a row." => adaptive.base_cooldown, ticks;
    "ADAPTIVE_MAX_429_COOLDOWN_SECS" "300" "The longest rest after a 429." => adaptive.max_cooldown, ticks;
    "ADAPTIVE_BASE_OPEN_DURATION_SECS" "30" "How long a provider is out of service at first; it doubles with each time that it fails on trial." => adaptive.base_open, ticks;
    "ADAPTIVE_MAX_OPEN_DURATION_SECS" "300" "The longest time out of service before the next trial." => adaptive.max_open, ticks;
    "AFFINITY" "session" "Which requests of a conversation go to one provider, so that its prompt cache is used: session, those whose client names its session in a header; prefix, also all others, by the beginning of their prompt; or off." => affinity, affinity;
    "RESCUE_STREAMS" "off" "What becomes of a stream that breaks off behind its first content: off, an error event ends it; prompt, another provider is asked to go on where the text ends; prefill, it gets the text as the beginning of its own message." => rescue, Rescue::read;
    "STORED_RESPONSE_IDS" "65536" "The number of stored responses (`previous_response_id`, `GET /v1/responses/{id}`) of which the provider that has issued them is remembered, and a quarter as many files (`file_id`); 0 remembers none." => stored_response_ids, |text| number(text, 0, 1 << 24);
    "CATCH_ALL_ROUTING" "ranked" "How providers that serve every model are used: ranked, which prefers the provider whose mapping, model list or vendor has the model and uses the others for failover, or equal, which shares the requests by weight alone." => catch_all_routing, catch_all_routing;
    "LIMITS_URL" "" "The redis:// or rediss:// URL of a Redis or Valkey server through which several gateways share their limits and, without DB_URL, what they spend of budgets." secret => limits_url, |text| store_url(text).map(Some);
    "BUDGET_STATUS" "402" "The status of a request for which too little of a budget is left: 402, which clients do not try again, or 429 with `retry-after`." => budget_status, budget_status;
    "ALLOWED_TAGS" "" "The tags that requests may carry in `x-llm-proxy-tags`, beside those of budgets, separated by commas; a request with another one is refused. Without it, tags that no budget is of are ignored." => allowed_tags, tags;
    "WEBHOOK_URL" "" "The http:// or https:// URL that is called when a budget comes to one of its thresholds, a provider is out of service or back, or a key is about to expire." secret => observe.webhook.url, |text| call_url(text).map(Some);
    "WEBHOOK_SECRET" "" "The secret that calls of WEBHOOK_URL are signed with, as Standard Webhooks says; `whsec_` and base64, or any text of 24 characters or more." secret => observe.webhook.secret, |text| webhook_secret(text).map(Some);
    "WEBHOOK_FORMAT" "json" "The form of the calls of WEBHOOK_URL: json, or slack for an incoming webhook of Slack or one that takes its form." => observe.webhook.format, webhook_format;
    "STAGE_CLOCK" "true" "Whether the stages of each request are timed, for metrics, logs and the header `server-timing`." => observe.stage_clock, switch;
    "METRICS_MAX_CREDENTIALS" "1000" "The number of credentials that have a metric label of their own; the others are counted as `other`." => observe.metrics_max_credentials, |text| number(text, 0, 1_000_000);
    "METRICS_MAX_MODELS" "1000" "The number of models that have a metric label of their own, by the provider's name for them; the others are counted as `other`." => observe.metrics_max_models, |text| number(text, 0, 1_000_000);
    "RECORD_BUFFER_BYTES" "67108864" "The memory for captured heads and bodies that wait for logs and traces; beyond it records go on without them." => observe.record_buffer_bytes, |text| number(text, 0, 1 << 40);
    "TOKEN_COUNTING" "estimate" "How tokens are counted where the provider does not report them: estimate or exact." => observe.exact_tokens, counting;
    "LOG_FILE_MODE" "0600" "The mode of log and audit files that are created, in octal. Existing files keep theirs." => observe.log_file_mode, file_mode;
    "JSONL_LOG_ENABLED" "false" "Whether a file gets a line of JSON for each step of each request." => observe.jsonl.enabled, switch;
    "JSONL_LOG_PATH" "./logs/requests.jsonl" "The file of the JSONL log." => observe.jsonl.path, path;
    "JSONL_LOG_BUFFER_SIZE" "1000" "The number of requests that may wait to be written to the JSONL log; more are dropped and counted." => observe.jsonl.buffer, |text| number(text, 1, 1 << 20);
    "JSONL_LOG_MAX_BYTES" "104857600" "The size at which the file of the JSONL log is renamed and a new one is begun." => observe.jsonl.max_bytes, |text| number(text, 4096, 1 << 50).map(|bytes| bytes as u64);
    "JSONL_LOG_KEEP" "5" "The number of renamed files that are kept." => observe.jsonl.keep, |text| number(text, 0, 10_000);
    "JSONL_LOG_GZIP" "false" "Whether renamed files are compressed." => observe.jsonl.gzip, switch;
    "JSONL_LOG_BODY_MAX_BYTES" "262144" "The size at which bodies are cut in the JSONL log, in Langfuse and in the request log." => observe.jsonl.body_bytes, |text| number(text, 0, 1 << 30);
    "LANGFUSE_ENABLED" "false" "Whether traces are sent to Langfuse." => observe.langfuse.enabled, switch;
    "LANGFUSE_PUBLIC_KEY" "" "The public key of the Langfuse project." => observe.langfuse.public_key, |text| header_key(text).map(|key| Some(key.to_string()));
    "LANGFUSE_SECRET_KEY" "" "The secret key of the Langfuse project." secret => observe.langfuse.secret_key, |text| header_key(text).map(Some);
    "LANGFUSE_HOST" "https://cloud.langfuse.com" "The address of the Langfuse server." => observe.langfuse.host, web_url;
    "LANGFUSE_SAMPLE_RATE" "1.0" "The share of requests that are sent to Langfuse, from 0 to 1." => observe.langfuse.sample_rate, share;
    "LANGFUSE_FLUSH_INTERVAL" "5" "The longest time that a trace waits to be sent to Langfuse." => observe.langfuse.flush, seconds;
    "LANGFUSE_DEBUG" "false" "Whether the responses of Langfuse are logged." => observe.langfuse.debug, switch;
    "OTEL_EXPORTER_OTLP_ENDPOINT" "" "The base URL of a collector that accepts OTLP over HTTP. Without it no spans are sent." => observe.otlp.endpoint, |text| web_url(text).map(Some);
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" "" "The whole URL that spans are sent to, instead of `/v1/traces` at the base URL." => observe.otlp.traces_endpoint, |text| web_url(text).map(Some);
    "OTEL_EXPORTER_OTLP_HEADERS" "" "Headers for the collector, such as `authorization=Basic%20...`; several are separated by commas." secret => observe.otlp.headers, otlp::headers;
    "OTEL_EXPORTER_OTLP_TIMEOUT" "10000" "The longest time that the collector may take for a batch, in milliseconds." => observe.otlp.timeout, otlp::timeout;
    "OTEL_EXPORTER_OTLP_PROTOCOL" "http/protobuf" "The protocol of the collector; `http/protobuf` is the only one that is supported." => observe.otlp.protocol, otlp::protocol;
    "OTEL_SERVICE_NAME" "" "The name of this service in traces. Without it, it is `service.name` of OTEL_RESOURCE_ATTRIBUTES, or else llm-proxy." => observe.otlp.service_name, |text: &str| Ok::<_, String>(Some(text.to_owned()));
    "OTEL_RESOURCE_ATTRIBUTES" "" "Attributes of this process in traces: key=value, several separated by commas." => observe.otlp.resource, otlp::pairs;
    "OTEL_TRACES_SAMPLER" "parentbased_always_on" "Which requests have spans: always_on, always_off, traceidratio, or one of these with parentbased_ before it." => observe.otlp.sampler, otlp::sampler;
    "OTEL_TRACES_SAMPLER_ARG" "1.0" "The share of requests that traceidratio samples, from 0 to 1." => observe.otlp.sampler_arg, share;
    "OTEL_BSP_SCHEDULE_DELAY" "5000" "The longest time that a span waits to be sent in a batch, in milliseconds." => observe.otlp.delay, otlp::timeout;
    "OTEL_SDK_DISABLED" "false" "Turns spans off, whatever else is set." => observe.otlp.disabled, switch;
    "REQUEST_LOG_ENABLED" "true" "Whether the store keeps a row for each request (table request_logs) and one for each failed attempt (table error_logs)." => observe.request_log.enabled, switch;
    "REQUEST_LOG_BODY_ENABLED" "false" "Whether these rows include the bodies of requests and responses." => observe.request_log.bodies, switch;
    "REQUEST_LOG_RETENTION_DAYS" "30" "The number of days that these rows are kept; 0 keeps them forever." => observe.request_log.retention, days_or_ever;
    "REQUEST_LOG_MAX_PER_SEC" "500" "The most rows that each of the two tables gets in a second. Others are dropped and counted, successful requests first." => observe.request_log.per_second, |text| number(text, 1, 1_000_000);
    "HEALTH_CHECK_INTERVAL_SECS" "0" "How often each provider is asked for its list of models, to know whether it is well; one that has no list gets a one-token request. 0 turns this off." => observe.health_check, seconds_or_off;
    "DEFAULT_IMAGE_TOKEN_COUNT" "250" "The tokens of an image where the gateway counts tokens and the vendor publishes no rule for images." => image_tokens, |text| number(text, 0, 1 << 20).map(|n| n as u32);
    "DEFAULT_IMAGE_WIDTH" "300" "The width in pixels of an image whose size is unknown, such as one behind a URL, where the gateway counts tokens." => image_width, |text| number(text, 1, 1 << 16).map(|n| n as u32);
    "DEFAULT_IMAGE_HEIGHT" "300" "The height in pixels of such an image." => image_height, |text| number(text, 1, 1 << 16).map(|n| n as u32);
}

/// Variables of llm-proxy v1 or of later versions that have no effect here, each with the sentence
/// for its warning.
pub const LATER: &[(&str, &str)] = &[
    ("TOKIO_WORKER_THREADS", "the number of threads is WORKERS"),
    ("CONFIG_PATH", "a configuration file is named by CONFIG_FILE"),
];

/// Other variables of llm-proxy v1 and of later versions; those that are set are reported in one
/// line.
pub const IGNORED: &[&str] = &[
    "MIN_TOKENS_LIMIT",
    "MAX_TOKENS_LIMIT",
    "MAX_SHORT_SIDE_FOR_IMAGE_HIGH_RES",
    "MAX_LONG_SIDE_FOR_IMAGE_HIGH_RES",
    "MAX_TILE_WIDTH",
    "MAX_TILE_HEIGHT",
    "DISABLE_HF_TOKENIZER_DOWNLOAD",
];

/// Writes the list that `serve --help` ends with, in 80 columns.
pub fn help() -> String {
    const COLUMN: usize = 28;
    let mut text = String::from(
        "Environment variables. Flags take precedence over them; a `.env` file in the\n\
         working directory provides those that are not set. Times are in seconds and\n\
         may be fractions.\n",
    );
    for variable in VARIABLES {
        let default = if variable.default.is_empty() { "unset" } else { variable.default };
        // A list may be longer than a line, so it may break after its commas.
        let default = format!("[default: {}]", default.replace(',', ", "));
        let mut line = format!("  {}", variable.name);
        let description = variable.description();
        for word in description.split(' ').chain(default.split(' ')) {
            if line.len().max(COLUMN - 1) + 1 + word.len() >= 80 && !line.is_empty() {
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

fn affinity(text: &str) -> Result<Affinity, String> {
    match text.to_ascii_lowercase().as_str() {
        "session" => Ok(Affinity::Session),
        "prefix" => Ok(Affinity::Prefix),
        "off" | "false" => Ok(Affinity::Off),
        _ => Err("session, prefix or off".to_owned()),
    }
}

fn catch_all_routing(text: &str) -> Result<CatchAllRouting, String> {
    match text.to_ascii_lowercase().as_str() {
        "ranked" => Ok(CatchAllRouting::Ranked),
        "equal" => Ok(CatchAllRouting::Equal),
        _ => Err("ranked or equal".to_owned()),
    }
}

fn budget_status(text: &str) -> Result<BudgetStatus, String> {
    match text.trim() {
        "402" => Ok(BudgetStatus::PaymentRequired),
        "429" => Ok(BudgetStatus::TooManyRequests),
        _ => Err("402 or 429".to_owned()),
    }
}

/// Entries of ALLOWED_TAGS.
const MAX_TAGS: usize = 1000;

fn tags(text: &str) -> Result<Vec<String>, String> {
    let mut tags: Vec<String> =
        text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
    if let Some(tag) = tags.iter().find(|tag| !is_tag(tag)) {
        return Err(format!("tags of at most {LONGEST_TAG} letters, digits and -_.:/, which `{tag}` is not"));
    }
    if tags.len() > MAX_TAGS {
        return Err(format!("at most {MAX_TAGS} tags"));
    }
    tags.sort_unstable();
    tags.dedup();
    Ok(tags)
}

fn origins(text: &str) -> Result<Vec<String>, String> {
    let origins = setting_value::list(text);
    if text.trim().eq_ignore_ascii_case("none") {
        return Ok(Vec::new());
    }
    let is_origin = |origin: &String| {
        let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        origin == "*" || host.is_some_and(|host| !host.is_empty() && !host.contains('/'))
    };
    match origins.iter().all(is_origin) {
        true => Ok(origins.into_iter().map(|origin| origin.to_ascii_lowercase()).collect()),
        false => Err("origins such as https://admin.example.com, separated by commas, or * or none".to_owned()),
    }
}

fn file_mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| mode & 0o600 == 0o600 && *mode <= 0o777);
    mode.ok_or_else(|| "an octal mode that lets the owner read and write, such as 0600 or 0640".to_owned())
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("a path".to_owned()) } else { Ok(PathBuf::from(text)) }
}

fn paths(text: &str) -> Result<Vec<PathBuf>, String> {
    let paths: Vec<_> = setting_value::list(text).into_iter().map(PathBuf::from).collect();
    match paths.iter().all(|path| path.is_absolute()) {
        true => Ok(paths),
        false => Err("absolute paths, separated by commas".to_owned()),
    }
}

fn header_key(text: &str) -> Result<Secret, String> {
    // It arrives in a header, so nothing else could ever match.
    let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(text.into()) } else { Err("visible ASCII characters without spaces".to_owned()) }
}

fn store_url(text: &str) -> Result<Secret, String> {
    let known = ["redis://", "rediss://"].iter().any(|scheme| text.len() > scheme.len() && text.starts_with(scheme));
    if known { Ok(text.into()) } else { Err("a URL such as redis://host:6379".to_owned()) }
}

fn proxy_url(text: &str) -> Result<Secret, InvalidValue> {
    let explained = |why| InvalidValue::Explained(format!("the value {why}"));
    crate::config::tunnel::Proxy::parse(text).map(|_| text.into()).map_err(explained)
}

fn secret(text: &str) -> Result<Secret, String> {
    let shortest = crate::config::vault::SHORTEST;
    if text.len() >= shortest { Ok(text.into()) } else { Err(format!("at least {shortest} characters")) }
}

fn web_url(text: &str) -> Result<String, String> {
    let known = ["http://", "https://"].iter().any(|scheme| text.len() > scheme.len() && text.starts_with(scheme));
    if known { Ok(text.trim_end_matches('/').to_owned()) } else { Err("a URL such as https://host:4318".to_owned()) }
}

/// Unlike [`web_url`] with whatever it ends in.
fn call_url(text: &str) -> Result<Secret, String> {
    web_url(text).map(|_| text.into()).map_err(|_| "a URL such as https://host/path".to_owned())
}

fn webhook_secret(text: &str) -> Result<Secret, String> {
    /// Shorter ones can be guessed.
    const SHORTEST: usize = 24;
    if text.len() >= SHORTEST { Ok(text.into()) } else { Err(format!("at least {SHORTEST} characters")) }
}

fn webhook_format(text: &str) -> Result<WebhookFormat, String> {
    match text {
        "json" => Ok(WebhookFormat::Json),
        "slack" => Ok(WebhookFormat::Slack),
        _ => Err("json or slack".to_owned()),
    }
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
    // It is compared with the text before the first slash.
    if text.is_empty() || text.contains('/') { Err("a prefix without a slash".to_owned()) } else { Ok(text.to_owned()) }
}

fn log_level(text: &str) -> Result<LevelFilter, String> {
    // The type's own parser accepts numbers as well, which are no names of levels.
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

/// Thousandths of one.
fn thousandths(text: &str) -> Result<u32, String> {
    let value = text.parse::<f64>().ok().filter(|value| (0.001..=1.0).contains(value));
    value.map(|value| (value * 1000.0).round() as u32).ok_or_else(|| "a number from 0.001 to 1".to_owned())
}

fn count(text: &str, least: usize, most: usize) -> Result<u32, String> {
    number(text, least, most).map(|value| value as u32)
}

/// Returns a time in ticks of the circuit breakers.
fn ticks_or_zero(text: &str) -> Result<u32, String> {
    any_seconds(text, 0.0).map(|value| (value.as_millis() as u64 / TICK) as u32)
}

fn ticks(text: &str) -> Result<u32, String> {
    any_seconds(text, 0.1).map(|value| (value.as_millis() as u64 / TICK) as u32)
}

fn seconds(text: &str) -> Result<Duration, String> {
    any_seconds(text, 0.001)
}

fn first_content(text: &str) -> Result<FirstContent, String> {
    if text.eq_ignore_ascii_case("auto") {
        return Ok(FirstContent::Auto);
    }
    let limit = seconds_or_off(text).map_err(|expected| format!("auto, or {expected}"))?;
    Ok(limit.map_or(FirstContent::Off, FirstContent::Fixed))
}

fn seconds_or_zero(text: &str) -> Result<Duration, String> {
    any_seconds(text, 0.0)
}

fn seconds_or_off(text: &str) -> Result<Option<Duration>, String> {
    any_seconds(text, 0.0).map(|value| (!value.is_zero()).then_some(value))
}
